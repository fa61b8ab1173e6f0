/* SPDX-License-Identifier: ISC */
/* A connection between a hostile peer and a careless application.
 *
 * The input is a list of operations, each one byte and its arguments: segments near the
 * connection's numbers, calls of the application, time. After each the invariants of check.c hold
 * (debug builds assert them), and in the end everything is given back.
 */
#include <stdlib.h>
#include <string.h>

#include "test/fuzz/input.h"
#include "test/harness/tcp_script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tcp_script s;

/* A number near the peer's or our own stream: most mistakes are made there. */
static uint32_t near_by(struct fuzz_input *in, uint32_t base)
{
    static const int32_t steps[] = {0, 1, -1, 100, 1459, 1460, 1461, 65535, -65536, 1 << 20};
    uint32_t kind = fuzz_u8(in);
    if (kind & 0x80)
        return base + fuzz_u8(in) * (kind & 0x7f);
    return base + (uint32_t)steps[kind % 10];
}

static void segment(struct fuzz_input *in)
{
    struct mir_tcp_info info = {0};
    char text[9];
    unsigned flags = fuzz_u8(in);
    unsigned n = 0;
    if (s.tcp != NULL)
        mir_tcp_get_info(s.tcp, &info);
    for (unsigned bit = 0; bit < 8; bit++)
        if (flags & 1u << bit)
            text[n++] = "FSRPAUEC"[bit];
    text[n] = '\0';
    uint32_t seq = near_by(in, (uint32_t)info.bytes_received + 1);
    uint32_t ack = near_by(in, (uint32_t)info.bytes_acked + 1);
    uint32_t len = fuzz_u8(in) * fuzz_u8(in) % 9000;
    s.wnd = (uint16_t)(fuzz_u8(in) << 8 | fuzz_u8(in));
    s.tsval += fuzz_u8(in) - 16;
    for (uint32_t i = flags & 0x40 ? 1 + fuzz_u8(in) % 4 : 0; i > 0; i--) {
        uint32_t left = near_by(in, (uint32_t)info.bytes_acked + 1);
        s.sack_block[s.sack_count][0] = left;
        s.sack_block[s.sack_count++][1] = near_by(in, left + 1);
    }
    script_in_more(&s, text, seq, ack, len);
}

static void take_one(void)
{
    struct mir_view view;
    if (s.tcp != NULL && mir_tcp_recv_view(s.tcp, &view) == 0)
        mir_view_release(&view);
}

static void call(struct fuzz_input *in)
{
    uint32_t what = fuzz_u8(in) % 9;
    if (s.tcp == NULL)
        return;
    if (what == 0) {
        (void)script_send(&s, fuzz_u8(in) * fuzz_u8(in));
    } else if (what == 1) {
        (void)mir_tcp_shutdown(s.tcp);
    } else if (what == 2) {
        mir_tcp_close(s.tcp);
        s.tcp = NULL;
    } else if (what == 3) {
        mir_tcp_abort(s.tcp);
        s.tcp = NULL;
    } else if (what == 4) {
        uint32_t option = fuzz_u8(in) % (MIR_TCP_MAXSEG + 1);
        uint32_t value = fuzz_u8(in) << (fuzz_u8(in) % 24);
        (void)!mir_tcp_set_option(s.tcp, (enum mir_tcp_option)option, value);
    } else if (what == 5) {
        struct mir_io_page *page;
        uint32_t len = 1 + fuzz_u8(in) * fuzz_u8(in) % 60000;
        if (mir_page_alloc(&s.bed.pages, len, MIR_PAGE_ZERO, &page) < 0)
            return;
        (void)!mir_tcp_send_view(s.tcp, mir_view_of_page(page, 0, len));
        mir_page_release(page);
    } else if (what == 6) {
        s.bed.dev.room = fuzz_u8(in) % 8;
        if (s.bed.dev.room == 0)
            s.bed.dev.room = UINT32_MAX;
        s.bed.dev.upper.tx_ready(s.bed.dev.upper.arg);
    } else {
        take_one();
    }
}

static void learn(void)
{
    while (script_next(&s))
        if (s.hdr.flags & MIR__TCP_SYN)
            s.our_isn = s.hdr.seq;
}

static void step(struct fuzz_input *in)
{
    uint32_t op = fuzz_u8(in);
    switch (op % 8) {
    case 0:
    case 1:
    case 2:
        segment(in);
        if (op & 0x80)
            break;
        script_batch_end(&s);
        break;
    case 3:
    case 4:
        call(in);
        testbed_run(&s.bed);
        break;
    case 5:
        testbed_advance(&s.bed, (mir_time_us)fuzz_u8(in) * 10000);
        break;
    case 6:
        if (fuzz_u8(in) == 0)
            testbed_advance(&s.bed, (mir_time_us)fuzz_u8(in) * MIR_US_PER_S);
        else
            mir_page_pool_fail_at(&s.bed.pages, fuzz_u8(in));
        break;
    default:
        s.reads = !s.reads;
        s.closes_on_accept = (op & 0x10) != 0;
        s.aborts_on_event = (op & 0x60) == 0x60;
        break;
    }
    learn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};
    uint32_t setup = fuzz_u8(&in);
    struct mir_net_config config = {.tcp_rcvbuf_bytes = setup & 1 ? 4096 : 0,
                                    .tcp_memory_max_bytes = setup & 2 ? 100000 : 0};
    script_memory_bytes = 1 << 20;
    script_open_caps(&s, &config,
                     setup & 4 ? MIR_NET_TX_SG | MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 : 0);
    s.ts = (setup & 8) != 0;
    s.sack = (setup & 24) != 16;
    s.wscale = setup & 16 ? 7 : -1;
    s.mss = setup & 32 ? 100 : 1460;
    if (setup & 64) {
        script_start_connect(&s);
    } else {
        script_listen(&s, setup & 128 ? 1 : 0);
        script_in(&s, "S", 0, 0, 0);
        learn();
        script_in(&s, "A", 1, 1, 0);
    }
    while (in.left > 0)
        step(&in);
    script_batch_end(&s);
    mir_page_pool_fail_at(&s.bed.pages, 0);
    s.is_wrong = false;
    testdev_clear(&s.bed.dev);
    if (s.tcp != NULL)
        mir_tcp_abort(s.tcp);
    if (s.listener != NULL)
        mir_tcp_unlisten(s.listener);
    s.tcp = NULL;
    s.listener = NULL;
    if (!testbed_close(&s.bed))
        abort();
    return 0;
}
