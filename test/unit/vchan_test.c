/* SPDX-License-Identifier: ISC */
/* lib/vchan over the channel inside a process: layout, all orders, streams, ends, lies of the peer.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/rng.h>
#include <mirari/vchan.h>

#include "dev/channel/pipe/pipe.h"
#include "test/harness/tap.h"

#define PAGES 520u

struct bed {
    struct mir_loop loop;
    mir_time_us now_us;
    struct mir_channel_pipe pipe;
    struct mir_vchan s, c;
    uint8_t *memory;
    unsigned events_s, events_c;
};

static struct bed bed;
static uint8_t pattern[3 << 20], got[3 << 20];

static void on_event(void *arg, struct mir_vchan *vchan)
{
    unsigned *count = arg;
    check(vchan == &bed.s || vchan == &bed.c);
    ++*count;
}

static void run_loop(void)
{
    mir_time_us next;
    while (mir_loop_step(&bed.loop, bed.now_us, &next))
        ;
}

static void setup_server(uint32_t read_bytes, uint32_t write_bytes, uint64_t delay_us)
{
    bed.now_us = 1000;
    mir_loop_init(&bed.loop, bed.now_us);
    if (bed.memory == NULL)
        bed.memory = aligned_alloc(MIR_CHANNEL_PAGE, (size_t)PAGES * MIR_CHANNEL_PAGE);
    memset(bed.memory, 0xa5, (size_t)PAGES * MIR_CHANNEL_PAGE);
    bed.events_s = bed.events_c = 0;
    struct mir_channel_pipe_config config = {.loop = &bed.loop,
                                             .memory = bed.memory,
                                             .bytes = (size_t)PAGES * MIR_CHANNEL_PAGE,
                                             .delay_us = delay_us};
    check_int(mir_channel_pipe_init(&bed.pipe, &config), ==, 0);
    struct mir_vchan_config server = {.read_bytes = read_bytes,
                                      .write_bytes = write_bytes,
                                      .event = on_event,
                                      .arg = &bed.events_s};
    check_int(mir_vchan_serve(&bed.s, mir_channel_pipe_server(&bed.pipe), &server), ==, 0);
}

static int join_client(void)
{
    struct mir_vchan_config client = {.event = on_event, .arg = &bed.events_c};
    return mir_vchan_connect(&bed.c, mir_channel_pipe_client(&bed.pipe), &client);
}

static void setup(uint32_t read_bytes, uint32_t write_bytes)
{
    setup_server(read_bytes, write_bytes, 0);
    check_int(join_client(), ==, 0);
    run_loop();
}

static uint32_t word(unsigned offset)
{
    uint32_t value;
    memcpy(&value, bed.memory + offset, 4);
    return value;
}

static void set_word(unsigned offset, uint32_t value)
{
    memcpy(bed.memory + offset, &value, 4);
}

/* ---- layout -------------------------------------------------------------------------------------
 */

static void test_layout(void)
{
    tap_case("the first page is that of libxenvchan.h");
    setup_server(4096, 8192, 0);
    check_int(word(0) | word(4) | word(8) | word(12), ==, 0);
    check_int(word(16), ==, 12 | 13 << 16);
    check_int(bed.memory[20], ==, 2); /* no client yet */
    check_int(bed.memory[21], ==, 1);
    check_int(bed.memory[22], ==, 1); /* tell the server of writes: the client's coming is one */
    check_int(bed.memory[23], ==, 0);
    check_int(word(24), ==, 1); /* left's page, then right's two */
    check_int(word(28), ==, 2);
    check_int(word(32), ==, 3);
    check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_WAITING);
    tap_case("a client says that it is here, asks for news, and knocks");
    check_int(join_client(), ==, 0);
    check_int(bed.memory[20], ==, 1);
    check_int(bed.memory[23], ==, 1);
    run_loop();
    check_int(bed.events_s, ==, 1);
    check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_OPEN);
    check_int(mir_vchan_state(&bed.c), ==, MIR_VCHAN_OPEN);
    tap_case("left is what the client writes");
    size_t n;
    check_int(mir_vchan_write(&bed.c, "hello", 5, &n), ==, 0);
    check_int(n, ==, 5);
    check_int(word(4), ==, 5);
    check_mem(bed.memory + 4096, "hello", 5);
    check_int(bed.memory[22], ==, 0); /* asked, told, and cleared */
    check_int(mir_vchan_write(&bed.s, "world!", 6, &n), ==, 0);
    check_int(word(12), ==, 6);
    check_mem(bed.memory + 8192, "world!", 6);
    check_int(mir_vchan_read(&bed.s, got, sizeof(got), &n), ==, 0);
    check_int(word(0), ==, 5);
    check_mem(got, "hello", 5);
    mir_vchan_close(&bed.c);
    check_int(bed.memory[20], ==, 0);
    mir_vchan_close(&bed.s);
    check_int(bed.memory[21], ==, 0);
}

static void test_orders(void)
{
    static const struct {
        uint32_t read, write, left, right;
    } wanted[] = {{1, 1, 10, 11},          {1024, 2048, 10, 11},   {2048, 1024, 11, 10},
                  {2048, 2048, 11, 12},    {1024, 4096, 11, 12},   {4096, 1000, 12, 11},
                  {0, 0, 18, 18},          {4097, 65536, 13, 16},  {1 << 20, 1 << 20, 20, 20},
                  {1 << 20, 1024, 20, 11}, {1024, 1 << 20, 11, 20}};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        tap_case("rings of %u and %u bytes at least", wanted[i].read, wanted[i].write);
        setup(wanted[i].read, wanted[i].write);
        check_int(word(16), ==, wanted[i].left | wanted[i].right << 16);
        check_int(mir_vchan_read_size(&bed.s), ==, 1u << wanted[i].left);
        check_int(mir_vchan_write_size(&bed.c), ==, 1u << wanted[i].left);
        check_int(mir_vchan_write_size(&bed.s), ==, 1u << wanted[i].right);
        /* Fill both, across the end of the ring, and find all of it. */
        size_t n;
        for (unsigned round = 0; round < 3; round++) {
            uint32_t part = mir_vchan_write_size(&bed.c) - 300 + 100 * round;
            check_int(mir_vchan_write(&bed.c, pattern, part, &n), ==, 0);
            check_int(n, ==, part);
            check_int(mir_vchan_send(&bed.s, pattern + 1, mir_vchan_write_size(&bed.s)), ==, 0);
            check_int(mir_vchan_read(&bed.s, got, sizeof(got), &n), ==, 0);
            check_int(n, ==, part);
            check_mem(got, pattern, part);
            check_int(mir_vchan_recv(&bed.c, got, mir_vchan_read_size(&bed.c)), ==, 0);
            check_mem(got, pattern + 1, mir_vchan_read_size(&bed.c));
        }
        mir_vchan_close(&bed.s);
        mir_vchan_close(&bed.c);
    }
    tap_case("more than 1 MiB is refused");
    setup_server(0, 0, 0);
    struct mir_vchan_config config = {.read_bytes = (1 << 20) + 1};
    check_int(mir_vchan_serve(&bed.s, mir_channel_pipe_server(&bed.pipe), &config), ==,
              -MIR_EINVAL);
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static void test_stream(uint64_t seed, uint32_t size, uint32_t start)
{
    tap_case("bytes in order, ring of %u, indices from %x", size, start);
    struct mir_rng rng;
    mir_rng_init_u64(&rng, seed);
    setup_server(size, size, 0);
    /* An earlier client's indices: those of a ring in use for long. */
    for (unsigned i = 0; i < 16; i += 4)
        set_word(i, start);
    bed.s.in.mine = bed.s.in.theirs = bed.s.out.mine = bed.s.out.theirs = start;
    check_int(join_client(), ==, 0);
    size_t sent = 0, read = 0, n;
    while (read < 300000) {
        size_t want = 1 + mir_rng_below(&rng, 2 * size);
        if (mir_rng_below(&rng, 2) == 0) {
            int r = mir_vchan_write(&bed.c, pattern + sent, want, &n);
            check(r == 0 || (r == -MIR_EAGAIN && sent - read == mir_vchan_write_size(&bed.c)));
            sent += r == 0 ? n : 0;
        } else {
            int r = mir_vchan_read(&bed.s, got + read, want, &n);
            check(r == 0 || (r == -MIR_EAGAIN && sent == read));
            read += r == 0 ? n : 0;
        }
    }
    check_mem(got, pattern, read);
    check_int(mir_vchan_unread(&bed.c), ==, sent - read);
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.c);
}

static void test_whole(void)
{
    tap_case("all or nothing");
    setup(1024, 2048);
    size_t n;
    check_int(mir_vchan_send(&bed.c, pattern, 1025), ==, -MIR_ETOOBIG);
    check_int(mir_vchan_send(&bed.c, pattern, 1000), ==, 0);
    check_int(mir_vchan_send(&bed.c, pattern, 25), ==, -MIR_EAGAIN);
    check_int(mir_vchan_send(&bed.c, pattern + 1000, 24), ==, 0);
    check_int(mir_vchan_recv(&bed.s, got, 1024), ==, 0);
    check_mem(got, pattern, 1024);
    check_int(mir_vchan_recv(&bed.s, got, 1), ==, -MIR_EAGAIN);
    check_int(mir_vchan_recv(&bed.s, got, 2000), ==, -MIR_ETOOBIG);
    check_int(mir_vchan_send(&bed.c, pattern, 0), ==, 0);
    tap_case("less than a whole one is left behind: the end, and it can still be read");
    check_int(mir_vchan_send(&bed.c, "abc", 3), ==, 0);
    mir_vchan_close(&bed.c);
    check_int(mir_vchan_recv(&bed.s, got, 4), ==, -MIR_EEOF);
    check_int(mir_vchan_read(&bed.s, got, 4, &n), ==, 0);
    check_int(n, ==, 3);
    check_int(mir_vchan_read(&bed.s, got, 4, &n), ==, -MIR_EEOF);
    mir_vchan_close(&bed.s);
}

static void test_in_place(void)
{
    tap_case("room and peek stop at the end of the ring; nothing is copied");
    setup(4096, 4096);
    void *room;
    const void *there;
    size_t n;
    check_int(mir_vchan_room(&bed.c, &room, &n), ==, 0);
    check(room == bed.memory + 4096);
    check_int(n, ==, 4096);
    memcpy(room, pattern, 3000);
    mir_vchan_commit(&bed.c, 3000);
    check_int(mir_vchan_peek(&bed.s, &there, &n), ==, 0);
    check(there == bed.memory + 4096);
    check_int(n, ==, 3000);
    mir_vchan_consume(&bed.s, 2000);
    check_int(mir_vchan_room(&bed.c, &room, &n), ==, 0);
    check(room == bed.memory + 4096 + 3000);
    check_int(n, ==, 1096);
    mir_vchan_commit(&bed.c, 1096);
    check_int(mir_vchan_room(&bed.c, &room, &n), ==, 0);
    check(room == bed.memory + 4096);
    check_int(n, ==, 2000);
    check_int(mir_vchan_peek(&bed.s, &there, &n), ==, 0);
    check_int(n, ==, 1000);
    mir_vchan_consume(&bed.s, 0);
    mir_vchan_close(&bed.c);
    mir_vchan_close(&bed.s);
}

/* ---- events -------------------------------------------------------------------------------------
 */

static void test_events(void)
{
    tap_case("who finds nothing is told of the next byte, once");
    setup(4096, 4096);
    size_t n;
    bed.events_s = bed.events_c = 0;
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EAGAIN);
    uint64_t before = bed.pipe.notifications;
    check_int(mir_vchan_write(&bed.c, "a", 1, &n), ==, 0);
    check_int(mir_vchan_write(&bed.c, "b", 1, &n), ==, 0);
    check_int(bed.pipe.notifications - before, ==, 1);
    run_loop();
    check_int(bed.events_s, ==, 1);
    tap_case("who looks again soon does not ask");
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, 0);
    check(!mir_vchan_ready(&bed.s, MIR_VCHAN_READABLE));
    before = bed.pipe.notifications;
    check_int(mir_vchan_write(&bed.c, "c", 1, &n), ==, 0);
    check_int(bed.pipe.notifications, ==, before);
    check(mir_vchan_ready(&bed.s, MIR_VCHAN_READABLE));
    tap_case("who finds no room is told of the next byte taken");
    check_int(mir_vchan_write(&bed.c, pattern, 5000, &n), ==, 0);
    check_int(n, ==, 4095);
    check_int(mir_vchan_write(&bed.c, pattern, 1, &n), ==, -MIR_EAGAIN);
    check(!mir_vchan_arm(&bed.c, MIR_VCHAN_WRITABLE));
    check_int(mir_vchan_read(&bed.s, got, 1, &n), ==, 0);
    check_int(mir_vchan_read(&bed.s, got, 1, &n), ==, 0);
    run_loop();
    check_int(bed.events_c, ==, 1);
    check(mir_vchan_arm(&bed.c, MIR_VCHAN_WRITABLE));
    tap_case("who waits until all is taken is told");
    check_int(mir_vchan_read(&bed.s, got, sizeof(got), &n), ==, 0);
    check(mir_vchan_is_drained(&bed.c));
    check_int(mir_vchan_write(&bed.c, "ab", 2, &n), ==, 0);
    check(!mir_vchan_is_drained(&bed.c));
    before = bed.pipe.notifications;
    check_int(mir_vchan_read(&bed.s, got, 2, &n), ==, 0);
    check_int(bed.pipe.notifications, ==, before + 1);
    check(mir_vchan_is_drained(&bed.c));
    tap_case("notifications that arrive late and together");
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.c);
    setup_server(4096, 4096, 500);
    check_int(join_client(), ==, 0);
    run_loop();
    check_int(bed.events_s, ==, 0);
    bed.now_us += 5000;
    run_loop();
    check_int(bed.events_s, ==, 1);
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.c);
}

/* ---- the end ------------------------------------------------------------------------------------
 */

static void test_close(void)
{
    size_t n;
    tap_case("the last bytes before a close are delivered, then the end");
    setup(4096, 4096);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EAGAIN);
    check_int(mir_vchan_write(&bed.c, "last", 4, &n), ==, 0);
    mir_vchan_close(&bed.c);
    run_loop();
    check(bed.events_s > 0);
    check_int(mir_vchan_write(&bed.s, "x", 1, &n), ==, -MIR_ECLOSED);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, 0);
    check_int(n, ==, 4);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EEOF);
    check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_PEER_CLOSED);
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.s);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_ECLOSED);
    check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_CLOSED);
    tap_case("a peer that crashed: what it wrote, then a reset");
    setup(4096, 4096);
    check_int(mir_vchan_write(&bed.s, "last", 4, &n), ==, 0);
    mir_channel_pipe_crash(&bed.pipe, 0);
    run_loop();
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, 0);
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, -MIR_ECONNRESET);
    check_int(mir_vchan_write(&bed.c, "x", 1, &n), ==, -MIR_ECLOSED);
    check_int(mir_vchan_state(&bed.c), ==, MIR_VCHAN_PEER_LOST);
    mir_vchan_close(&bed.c);
    tap_case("a server that has gone is not connected to");
    setup_server(4096, 4096, 0);
    mir_vchan_close(&bed.s);
    check_int(join_client(), ==, -MIR_ECLOSED);
    tap_case("unless it left something to read");
    setup_server(4096, 4096, 0);
    check_int(mir_vchan_write(&bed.s, "left", 4, &n), ==, 0);
    mir_vchan_close(&bed.s);
    check_int(join_client(), ==, 0);
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, 0);
    check_mem(got, "left", 4);
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, -MIR_EEOF);
    mir_vchan_close(&bed.c);
    tap_case("a server may write before anybody comes");
    setup_server(4096, 4096, 0);
    check_int(mir_vchan_write(&bed.s, "early", 5, &n), ==, 0);
    check_int(join_client(), ==, 0);
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, 0);
    check_mem(got, "early", 5);
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.c);
}

static void test_persistent(void)
{
    tap_case("a persistent server's next client goes on where the last one stopped");
    size_t n;
    setup(4096, 4096);
    bed.s.is_persistent = true;
    check_int(mir_vchan_write(&bed.c, "one", 3, &n), ==, 0);
    bed.memory[20] = 0; /* as a client of Xen's that closes */
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, 0);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EAGAIN);
    check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_WAITING);
    check_int(mir_vchan_write(&bed.s, "two", 3, &n), ==, 0);
    check_int(join_client(), ==, 0);
    check_int(mir_vchan_read(&bed.c, got, 10, &n), ==, 0);
    check_mem(got, "two", 3);
    check_int(mir_vchan_write(&bed.c, "three", 5, &n), ==, 0);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, 0);
    check_int(n, ==, 5);
    mir_vchan_close(&bed.s);
    mir_vchan_close(&bed.c);
}

/* ---- lies ---------------------------------------------------------------------------------------
 */

static void test_lies(void)
{
    size_t n;
    static const uint32_t wrong[] = {4097, 0x80000000u, 0xffffffffu, 8192};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        tap_case("an index that cannot be ends the channel: %u", wrong[i]);
        setup(4096, 4096);
        set_word(4, wrong[i]); /* left.prod: the client's */
        check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EPROTO);
        check_int(mir_vchan_state(&bed.s), ==, MIR_VCHAN_FAULTY);
        check_int(bed.memory[21], ==, 0);
        set_word(4, 0);
        check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, -MIR_EPROTO);
        check_int(mir_vchan_write(&bed.s, got, 10, &n), ==, -MIR_EPROTO);
        mir_vchan_close(&bed.c);
        mir_vchan_close(&bed.s);
        setup(4096, 4096);
        check_int(mir_vchan_write(&bed.s, pattern, 10, &n), ==, 0);
        set_word(8, wrong[i] == 4097 ? 11 : wrong[i]); /* right.cons: more than was written */
        check_int(mir_vchan_write(&bed.s, got, 5000, &n), ==, -MIR_EPROTO);
        check(mir_vchan_ready(&bed.s, MIR_VCHAN_READABLE));
        mir_vchan_close(&bed.c);
        mir_vchan_close(&bed.s);
    }
    tap_case("our own words may be overwritten: they are not read");
    setup(4096, 4096);
    check_int(mir_vchan_write(&bed.c, "abc", 3, &n), ==, 0);
    set_word(0, 77); /* left.cons: the server's */
    set_word(16, 0xffffffff);
    check_int(mir_vchan_read(&bed.s, got, 10, &n), ==, 0);
    check_int(n, ==, 3);
    check_int(word(0), ==, 3);
    mir_vchan_close(&bed.c);
    mir_vchan_close(&bed.s);
    tap_case("a server's impossible description is refused");
    static const uint32_t orders[] = {
        9 | 12 << 16, 12 | 9 << 16,  21 | 12 << 16, 12 | 21 << 16, 10 | 10 << 16, 11 | 11 << 16, 0,
        0xffffffff,   20 | 10 << 16, 10 | 20 << 16, 32 | 32 << 16};
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        setup_server(4096, 4096, 0);
        set_word(16, orders[i]);
        check_int(join_client(), ==, -MIR_EPROTO);
    }
    setup_server(4096, 4096, 0);
    set_word(24, 3); /* no such page */
    check_int(join_client(), ==, -MIR_EPROTO);
    setup_server(4096, 4096, 0);
    set_word(12, 4097);
    check_int(join_client(), ==, -MIR_EPROTO);
    setup_server(4096, 4096, 0);
    set_word(0, 1);
    check_int(join_client(), ==, -MIR_EPROTO);
}

int main(int argc, char **argv)
{
    tap_begin("vchan");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8) * 13 + (i >> 16));
    test_layout();
    test_orders();
    test_stream(seed, 1024, 0);
    test_stream(seed + 1, 4096, 0xfffffff0u);
    test_stream(seed + 2, 65536, 0xffff0000u);
    test_whole();
    test_in_place();
    test_events();
    test_close();
    test_persistent();
    test_lies();
    free(bed.memory);
    return tap_done();
}
