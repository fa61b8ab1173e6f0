/* SPDX-License-Identifier: ISC */
/* A region whose other peers do what the input says: write anywhere on the board and in the slots
 * at any moment, ring, die, come again. We are one peer, server and client of several channels,
 * with vchan over them. Nothing crashes, no byte outside the region is touched, what is rung is a
 * number that can be, and everything can be closed. */
#include <stdlib.h>
#include <string.h>

#include <mirari/vchan.h>

#include "dev/channel/region/region.h"
#include "test/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 200u
#define BYTES 32768u
#define ENDS  3u

static struct mir_region region;
static struct end {
    struct mir_region_end end;
    struct mir_vchan vchan;
    bool is_open;
} ends[ENDS];
static uint8_t buffer[8192];

static void ring(void *arg, uint32_t peer)
{
    (void)arg;
    fuzz_must(peer <= 0xffff);
}

/* Slots' words and peers mostly, then the first pages of channels, else anywhere. */
static void scribble(struct fuzz_input *in, uint8_t *memory)
{
    struct mir_region_board *board = (void *)memory;
    uint8_t where = fuzz_u8(in);
    if (where < 100)
        ((uint8_t *)&board->slot[where % 4].word)[fuzz_u8(in) % 8] = fuzz_u8(in);
    else if (where < 140)
        board->peer[where % MIR_REGION_PEERS_MAX].number = fuzz_u16(in);
    else if (where < 220)
        memory[MIR_CHANNEL_PAGE * (1 + where % 7) + fuzz_u8(in) % 32] = fuzz_u8(in);
    else
        memory[fuzz_u16(in) % BYTES] = fuzz_u8(in);
}

static void begin(struct end *e, bool is_server)
{
    static const struct mir_vchan_config config = {.read_bytes = 2048, .write_bytes = 1024};
    int r = is_server ? mir_region_offer(&region, &e->end) : mir_region_take(&region, &e->end);
    if (r < 0)
        return;
    r = is_server ? mir_vchan_serve(&e->vchan, &e->end.channel, &config)
                  : mir_vchan_connect(&e->vchan, &e->end.channel, &config);
    e->is_open = r == 0;
    if (r < 0)
        e->end.channel.ops->close(&e->end.channel);
}

static void use(struct fuzz_input *in, struct end *e, uint8_t op)
{
    size_t want = fuzz_u16(in) % sizeof(buffer), n = 0;
    if (op % 4 == 0) {
        mir_vchan_close(&e->vchan);
        e->is_open = false;
    } else if (op % 4 == 1) {
        fuzz_must(mir_vchan_read(&e->vchan, buffer, want, &n) != 0 || n <= want);
    } else if (op % 4 == 2) {
        fuzz_must(mir_vchan_write(&e->vchan, buffer, want, &n) != 0 || n <= want);
    } else {
        (void)!mir_vchan_arm(&e->vchan, want & 3);
        (void)!mir_region_is_taken(&e->end);
    }
}

static void step(struct fuzz_input *in, uint8_t *memory)
{
    uint8_t op = fuzz_u8(in);
    struct end *e = &ends[op % ENDS];
    switch (op >> 5) {
    case 0:
    case 1:
    case 2:
        scribble(in, memory);
        break;
    case 3:
        mir_region_heard(&region);
        break;
    case 4:
        (void)mir_region_poll(&region);
        break;
    case 5:
        (void)mir_region_bury(memory, fuzz_u16(in));
        break;
    default:
        if (e->is_open)
            use(in, e, op >> 2);
        else
            begin(e, op & 4);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    uint8_t *memory = aligned_alloc(MIR_CHANNEL_PAGE, BYTES);
    const struct mir_region_config config = {
        .memory = memory, .bytes = BYTES, .self = 1, .ring = ring};
    memset(memory, 0, BYTES);
    fuzz_must(mir_region_make(memory, BYTES, 1 + fuzz_u8(&in) % 3, "fuzz") == 0);
    fuzz_must(mir_region_admit(memory, 1, 1) == 0);
    for (unsigned i = fuzz_u8(&in) % 8; i > 0; i--)
        scribble(&in, memory);
    memset(ends, 0, sizeof(ends));
    if (mir_region_open(&region, &config) == 0) {
        for (unsigned i = 0; i < STEPS && in.left > 0; i++)
            step(&in, memory);
        mir_region_close(&region);
    }
    free(memory);
    return 0;
}
