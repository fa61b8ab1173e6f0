/* SPDX-License-Identifier: ISC */
/* Whole stacks: bytes through two of them over wires of all kinds, both ways at once, then closed.
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/tap.h"
#include "test/harness/tcp_pair.h"

/* One end of a connection: sends `total` bytes of a stream that both ends can compute, checks what
 * it receives, shuts down when done, closes at the end of the peer's stream. */
struct end {
    struct tcp_pair *pair;
    struct mir_tcp *tcp;
    uint64_t seed;      /* of what we send */
    uint64_t peer_seed; /* of what we expect */
    uint64_t total, sent, received;
    uint64_t expected;
    uint32_t write_max; /* bytes a write */
    bool by_view;
    bool is_wrong, saw_end, is_closed;
    int error;
    int *open_ends;
};

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
    return (uint8_t)((offset * 131 + (offset >> 8) * 17 + (offset >> 16)) ^ seed);
}

static int send_view(struct end *end, uint32_t len)
{
    struct mir_io_page *page;
    if (mir_page_alloc(&end->pair->pages, len, MIR_PAGE_OVERWRITE, &page) < 0)
        return -MIR_EAGAIN;
    for (uint32_t i = 0; i < len; i++)
        page->base[i] = byte_at(end->seed, end->sent + i);
    struct mir_view view = mir_view_of_page(page, 0, len);
    mir_page_release(page);
    int r = mir_tcp_send_view(end->tcp, view);
    if (r == 0)
        end->sent += len;
    return r;
}

static void write_more(struct end *end)
{
    static uint8_t block[65536];
    while (end->sent < end->total) {
        uint64_t left = end->total - end->sent;
        uint32_t len = (uint32_t)MIR_MIN(left, (uint64_t)end->write_max);
        size_t queued;
        if (mir_tcp_send_room(end->tcp) == 0)
            return;
        if (end->by_view) {
            if (send_view(end, len) < 0)
                return;
            continue;
        }
        for (uint32_t i = 0; i < len; i++)
            block[i] = byte_at(end->seed, end->sent + i);
        if (mir_tcp_send(end->tcp, block, len, &queued) < 0)
            return;
        end->sent += queued;
    }
    (void)mir_tcp_shutdown(end->tcp);
}

static void end_closed(struct end *end)
{
    if (end->is_closed)
        return;
    end->is_closed = true;
    mir_tcp_close(end->tcp);
    end->tcp = NULL;
    if (--*end->open_ends == 0)
        end->pair->stop = true;
}

static void on_events(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct end *end = arg;
    struct mir_view view;
    int r;
    if (events & MIR_TCP_FAILED) {
        end->error = mir_tcp_error(tcp);
        end_closed(end);
        return;
    }
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        for (uint32_t i = 0; i < view.len; i++)
            if (view.data[i] != byte_at(end->peer_seed, end->received + i))
                end->is_wrong = true;
        end->received += view.len;
        mir_view_release(&view);
    }
    if (r == -MIR_EEOF)
        end->saw_end = true;
    write_more(end);
    if (end->saw_end && end->sent == end->total)
        end_closed(end);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    struct end *end = arg;
    (void)listener;
    end->tcp = tcp;
    mir_tcp_set_handler(tcp, on_events, end);
    write_more(end);
}

struct run {
    const char *name;
    struct tcp_pair_config wire;
    uint64_t up, down; /* bytes from the client, from the server */
    uint32_t write_max;
    bool by_view;
    mir_time_us limit_us;
};

static void transfer(const struct run *run, uint64_t seed)
{
    struct tcp_pair pair;
    struct tcp_pair_config wire = run->wire;
    int open_ends = 2;
    struct mir_tcp_listener *listener;
    wire.seed = seed;
    tap_case("%s, seed %llu", run->name, (unsigned long long)seed);
    tcp_pair_open(&pair, &wire);
    struct end server = {.pair = &pair,
                         .seed = 1,
                         .peer_seed = 2,
                         .total = run->down,
                         .expected = run->up,
                         .write_max = run->write_max,
                         .by_view = run->by_view,
                         .open_ends = &open_ends};
    struct end client = {.pair = &pair,
                         .seed = 2,
                         .peer_seed = 1,
                         .total = run->up,
                         .expected = run->down,
                         .write_max = run->write_max,
                         .by_view = run->by_view,
                         .open_ends = &open_ends};
    struct mir_tcp_listen_config config = {
        .local = {mir_ip_from_v4(0), 80}, .on_accept = on_accept, .arg = &server};
    check_int(mir_tcp_listen(pair.side[0].stack, &config, &listener), ==, 0);
    struct mir_endpoint remote = {pair.side[0].ip, 80};
    check_int(mir_tcp_connect(pair.side[1].stack, &remote, on_events, &client, &client.tcp), ==, 0);
    mir_time_us start_us = pair.now_us;
    check(tcp_pair_run(&pair, run->limit_us));
    mir_time_us took_us = pair.now_us - start_us;
    check_int(client.error, ==, 0);
    check_int(server.error, ==, 0);
    check(!client.is_wrong && !server.is_wrong);
    check_int(client.received, ==, run->down);
    check_int(server.received, ==, run->up);
    check(client.saw_end && server.saw_end);
    /* TIME_WAIT and everything else goes by itself. */
    tcp_pair_run(&pair, 130 * MIR_US_PER_S);
    for (int i = 0; i < 2; i++) {
        check_int(tcp_pair_stat(&pair, i, "connections"), ==, 0);
        check_int(tcp_pair_stat(&pair, i, "time_wait"), ==, 0);
        check_int(tcp_pair_stat(&pair, i, "half_open"), ==, 0);
        check_int(tcp_pair_stat(&pair, i, "memory_used_bytes"), ==, 0);
    }
    tap_note("%s: %llu ms, frames %llu/%llu, lost %llu, timeouts %llu, fast %llu, retransmits %llu",
             run->name, (unsigned long long)(took_us / 1000),
             (unsigned long long)pair.side[1].frames, (unsigned long long)pair.side[0].frames,
             (unsigned long long)(pair.side[0].lost + pair.side[1].lost),
             (unsigned long long)(tcp_pair_stat(&pair, 0, "timeouts") +
                                  tcp_pair_stat(&pair, 1, "timeouts")),
             (unsigned long long)(tcp_pair_stat(&pair, 0, "fast_retransmits") +
                                  tcp_pair_stat(&pair, 1, "fast_retransmits")),
             (unsigned long long)(tcp_pair_stat(&pair, 0, "retransmits") +
                                  tcp_pair_stat(&pair, 1, "retransmits")));
    mir_tcp_unlisten(listener);
    tcp_pair_close(&pair);
}

#define OFFLOADS                                                                                   \
    (MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO | MIR_NET_TX_SG)

static const struct run runs[] = {
    {"clean", {0}, 4 << 20, 0, 65536, false, 60 * MIR_US_PER_S},
    {"clean, other way", {0}, 100, 4 << 20, 65536, false, 60 * MIR_US_PER_S},
    {"both ways", {0}, 2 << 20, 3 << 20, 30000, false, 60 * MIR_US_PER_S},
    {"views", {.caps = MIR_NET_TX_SG}, 2 << 20, 2 << 20, 16000, true, 60 * MIR_US_PER_S},
    {"offloads", {.caps = OFFLOADS}, 8 << 20, 4 << 20, 65536, true, 60 * MIR_US_PER_S},
    {"offloads, device with little room",
     {.caps = OFFLOADS, .tx_room = 2},
     4 << 20,
     1 << 20,
     65536,
     true,
     60 * MIR_US_PER_S},
    {"one-byte writes", {0}, 20000, 20000, 1, false, 60 * MIR_US_PER_S},
    {"nothing at all", {0}, 0, 0, 1, false, 60 * MIR_US_PER_S},
    {"small windows",
     {.net = {.tcp_rcvbuf_bytes = 4096, .tcp_sndbuf_bytes = 8192}},
     300000,
     300000,
     5000,
     false,
     120 * MIR_US_PER_S},
    {"small mtu", {.mtu = 576}, 1 << 20, 1 << 20, 10000, false, 120 * MIR_US_PER_S},
    {"loss 1 %", {.loss_ppm = 10000}, 2 << 20, 2 << 20, 20000, false, 600 * MIR_US_PER_S},
    {"loss 10 %", {.loss_ppm = 100000}, 300000, 300000, 20000, false, 900 * MIR_US_PER_S},
    {"reordering 20 %",
     {.reorder_ppm = 200000},
     2 << 20,
     1 << 20,
     20000,
     false,
     600 * MIR_US_PER_S},
    {"duplicates 20 %", {.dup_ppm = 200000}, 1 << 20, 1 << 20, 20000, false, 600 * MIR_US_PER_S},
    {"all faults",
     {.loss_ppm = 30000, .dup_ppm = 50000, .reorder_ppm = 100000},
     1 << 20,
     1 << 20,
     9000,
     true,
     900 * MIR_US_PER_S},
    {"all faults, offloads",
     {.caps = OFFLOADS, .loss_ppm = 30000, .dup_ppm = 50000, .reorder_ppm = 100000},
     2 << 20,
     2 << 20,
     65536,
     false,
     900 * MIR_US_PER_S},
};

int main(int argc, char **argv)
{
    uint64_t seed = tap_seed(argc, argv, 1);
    tap_begin("tcp_transfer");
    for (size_t i = 0; i < MIR_ARRAY_LEN(runs); i++)
        transfer(&runs[i], seed);
    for (uint64_t s = 1; s <= 10; s++)
        transfer(&runs[MIR_ARRAY_LEN(runs) - 2], seed + s);
    return tap_done();
}
