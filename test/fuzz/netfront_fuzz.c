/* SPDX-License-Identifier: ISC */
/* A Xen network backend that does what the input says: answers with any identity, status and
 * length, moves its indices, writes into the rings, changes its state. The frontend sends and
 * receives meanwhile. Nothing crashes, no frame has an impossible length, and all memory comes back
 * but what the backend kept. */
#include <stdlib.h>

#include "test/harness/xenbed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 60u

static struct xenbed bed;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 8)
        return 0;
    xenbed_init(&bed, 1);
    bed.b.input = data + 4;
    bed.b.input_len = size - 4;
    uint32_t rate = 1u << data[1] % 10;
    uint32_t *kinds[] = {&bed.b.evil.bad_id,  &bed.b.evil.bad_status, &bed.b.evil.index_jump,
                         &bed.b.evil.twice,   &bed.b.evil.bad_len,    &bed.b.evil.bad_flags,
                         &bed.b.evil.scribble};
    for (size_t i = 0; i < MIR_ARRAY_LEN(kinds); i++)
        *kinds[i] = data[0] >> i & 1 ? rate : 0;
    bool keeps = data[0] >> 7;
    xenback_set_back(&bed.b, "feature-sg", data[2] & 1);
    xenback_set_back(&bed.b, "feature-gso-tcpv6", data[2] >> 1 & 1);
    xenback_set_back(&bed.b, "feature-no-csum-offload", data[2] >> 2 & 1);
    struct mir_netfront_config config = {.rx_pages = 20, .is_plain = data[2] >> 3 & 1};
    if (xenbed_open(&bed, &config) == 0 && xenbed_start(&bed) == 0) {
        xenbed_run(&bed);
        bed.b.evil.keep = keeps ? rate : 0;
        for (uint32_t i = 0; i < STEPS && bed.b.input_len > 0; i++)
            xenbed_step(&bed);
    }
    size_t left = xenbed_close(&bed);
    if ((left != 0 && !keeps) || bed.wrong != 0)
        abort();
    return 0;
}
