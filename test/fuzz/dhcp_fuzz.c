/* SPDX-License-Identifier: ISC */
/* The DHCP client against a server that says anything at any time.
 *
 *   bytes      op argument...
 *   op % 4     0  a message to the client: type, length, that many bytes of options
 *              1  time goes on by 2^(argument % 32) us
 *              2  a whole UDP payload: length, bytes
 *              3  somebody uses the offered address (ARP)
 *
 * Messages of kind 0 have the right xid and hardware address, so that they get far.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/fuzz/input.h"
#include "test/harness/testdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t last_xid;
static uint32_t sent;

static bool on_tx(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    sent++;
    if (frame->len > 42 + 240 && mir__udp_dst(frame->data + 34) == 67)
        last_xid = mir__dhcp_xid(frame->data + 42);
    return true;
}

static void inject(struct testbed *bed, const uint8_t *payload, size_t len)
{
    static uint8_t frame[2000];
    struct mir__ip4 ip;
    size_t n = testbed_make_udp(frame, 67, 68, payload, len);
    if (mir__ip4_parse(frame + 14, n - 14, &ip) < 0)
        abort();
    ip.dst = UINT32_MAX;
    mir__ip4_emit(&ip, frame + 14);
    memset(frame, 0xff, 6);
    testdev_inject(&bed->dev, frame, n);
    testbed_run(bed);
}

static void message(struct testbed *bed, struct fuzz_input *in)
{
    uint8_t bytes[240 + 3 + 6 + 256] = {2, 1, 6, 0};
    uint8_t type = fuzz_u8(in), len = fuzz_u8(in);
    mir_put_be32(bytes + 4, last_xid);
    mir_put_be32(bytes + 16, 0x0a000042u + (type >> 5));
    memcpy(bytes + 28, testbed_mac, 6);
    mir_put_be32(bytes + 236, 0x63825363);
    memcpy(bytes + 240, (const uint8_t[]){53, 1, (uint8_t)(type % 9), 54, 4, 10, 0, 0, 1}, 9);
    len = (uint8_t)MIR_MIN(len, in->left);
    memcpy(bytes + 249, in->at, len);
    in->at += len;
    in->left -= len;
    inject(bed, bytes, 249u + len);
}

static void step(struct testbed *bed, struct fuzz_input *in)
{
    static const uint8_t other[6] = {2, 1, 1, 1, 1, 1};
    uint8_t len;
    switch (fuzz_u8(in) % 4) {
    case 0:
        message(bed, in);
        break;
    case 1:
        testbed_advance(bed, 1ull << fuzz_u8(in) % 32);
        break;
    case 2:
        len = fuzz_u8(in);
        len = (uint8_t)MIR_MIN(len, in->left);
        inject(bed, in->at, len);
        in->at += len;
        in->left -= len;
        break;
    default:
        testbed_inject_arp(bed, MIR__ARP_REQUEST, fuzz_u8(in) & 1 ? 0 : 0x0a000042, other,
                           0x0a000042);
        testbed_run(bed);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct testbed bed;
    struct mir_net_if_config config = {.use_dhcp = true, .hostname = "fuzz"};
    struct fuzz_input in = {data, MIR_MIN(size, (size_t)4096)};
    testbed_init(&bed, 1, 1 << 20, 0);
    bed.dev.on_tx = on_tx;
    sent = 0;
    testbed_open_if(&bed, NULL, &config);
    testbed_run(&bed);
    mir_time_us begin_us = bed.now_us;
    uint32_t steps = 0;
    for (; in.left > 0 && steps < 64; steps++)
        step(&bed, &in);
    /* No storms: some frames a step, and some a minute of waiting. */
    if (sent > 20 + 10 * steps + 40 * ((bed.now_us - begin_us) / (60 * MIR_US_PER_S) + 1))
        abort();
    if (!testbed_close(&bed))
        abort();
    return 0;
}
