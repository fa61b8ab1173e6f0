/* SPDX-License-Identifier: ISC */
/* Two stacks of ours back to back in memory: what the stack itself costs, without any device.
 *
 *   inmem bulk COUNT   send COUNT MiB in one direction       -> inmem_gbit_per_s (both ends, one
 * core) inmem rr COUNT     COUNT round trips of one byte         -> inmem_rr_per_s inmem idle COUNT
 * COUNT established idle connections    -> inmem_idle_bytes for each, server's side
 *
 * Option --offload gives the wire segmentation and checksum offload (64 KiB frames); without it
 * frames have an MTU of 1500 and are summed twice. The frames that crossed are printed too, so that
 * instructions for each frame can be had from two runs under callgrind.
 *
 * Both stacks share a loop, as two appliances in one process would; their pools are apart, so that
 * the memory of one side is seen alone. Time is a counter that only moves when nothing is ready:
 * equal runs execute equal instructions.
 */
#include <mirari/mirari.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dev/net/pipe/pipe.h"
#include "lib/wire/csum.h"

#define MEMORY_BYTES ((size_t)512 << 20)
#define BLOCK_BYTES  65536u
#define WINDOW_BYTES (1u << 20)

struct side {
    void *arena;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_rng rng;
    struct mir_net *net;
    struct mir_stack *stack;
};

static struct {
    struct mir_loop loop;
    mir_time_us now_us;
    struct mir_pipe pipe;
    struct side client, server;
    bool is_echo;
    uint64_t wanted, queued, got; /* bytes or round trips */
    uint32_t accepted, connected;
    struct mir_io_page block;
} lab = {.now_us = 1000 * MIR_US_PER_S};

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "inmem: %s\n", text);
    abort();
}

static void must(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "inmem: %s: %s\n", what, mir_strerror(error));
    exit(1);
}

static double clock_s(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/** One step; if nothing was ready the clock jumps to the next deadline. */
static void step(void)
{
    mir_time_us next;
    mir_loop_step(&lab.loop, lab.now_us, &next);
    if (next != MIR_TIME_NEVER && next > lab.now_us)
        lab.now_us = next;
}

static void open_side(struct side *side, unsigned index, uint64_t seed)
{
    struct mir_net_config config = {.loop = &lab.loop,
                                    .pages = &side->pages,
                                    .bufs = &side->bufs,
                                    .rng = &side->rng,
                                    .tcp_connections_max = 65536,
                                    /* Tuning needs time to pass; here it stands still. */
                                    .tcp_sndbuf_bytes = WINDOW_BYTES,
                                    .tcp_rcvbuf_bytes = WINDOW_BYTES};
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(0x0a000001u + index),
                                          .prefix_len = 8};

    side->arena = aligned_alloc(MIR_PAGE_SIZE, MEMORY_BYTES);
    must(side->arena == NULL ? -MIR_ENOMEM : 0, "arena");
    must(mir_page_pool_init(&side->pages, side->arena, MEMORY_BYTES), "pages");
    must(mir_buf_pool_init(&side->bufs, &side->pages, 65536), "buffers");
    mir_rng_init_u64(&side->rng, seed);
    must(mir_net_open(&config, &side->net), "stack");
    side->stack = mir_net_stack(side->net);
    must(mir_net_add_interface(side->net, mir_pipe_end(&lab.pipe, index), &interface), "interface");
}

static void on_server(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;

    (void)arg;
    if (events & (MIR_TCP_FAILED | MIR_TCP_CLOSED)) {
        mir_tcp_close(tcp);
        return;
    }
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        if (lab.is_echo) {
            must(mir_tcp_send_view(tcp, view), "echo");
        } else {
            lab.got += view.len;
            mir_view_release(&view);
        }
    }
}

static void accept_one(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    (void)arg;
    lab.accepted++;
    must(mir_tcp_set_option(tcp_given, MIR_TCP_NODELAY, 1), "option");
    mir_tcp_set_handler(tcp_given, on_server, NULL);
    on_server(tcp_given, MIR_TCP_READABLE, NULL);
}

static void fill(struct mir_tcp *tcp)
{
    while (lab.queued < lab.wanted && mir_tcp_send_room(tcp) > 0) {
        must(mir_tcp_send_view(tcp, mir_view_of_page(&lab.block, 0, BLOCK_BYTES)), "send");
        lab.queued += BLOCK_BYTES;
    }
}

static void ask(struct mir_tcp *tcp)
{
    size_t queued;
    must(mir_tcp_send(tcp, "x", 1, &queued), "request");
}

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;

    (void)arg;
    if (events & MIR_TCP_FAILED)
        must(mir_tcp_error(tcp), "connection");
    if (events & MIR_TCP_CONNECTED) {
        lab.connected++;
        if (lab.wanted > 0 && lab.is_echo)
            ask(tcp);
    }
    while (lab.is_echo && mir_tcp_recv_view(tcp, &view) == 0) {
        mir_view_release(&view);
        if (++lab.got < lab.wanted)
            ask(tcp);
    }
    if (!lab.is_echo && lab.wanted > 0)
        fill(tcp);
}

static struct mir_tcp *connect_one(void)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0x0a000002u), .port = 9};
    struct mir_tcp *tcp;

    must(mir_tcp_connect(lab.client.stack, &to, on_client, NULL, &tcp), "connect");
    must(mir_tcp_set_option(tcp, MIR_TCP_NODELAY, 1), "option");
    return tcp;
}

static uint64_t frames_crossed(void)
{
    struct mir_net_dev_stats a, b;
    mir_net_dev_stats(mir_pipe_end(&lab.pipe, 0), &a);
    mir_net_dev_stats(mir_pipe_end(&lab.pipe, 1), &b);
    return a.tx_frames + b.tx_frames;
}

static void transfer(bool is_echo, uint64_t wanted)
{
    double begin = clock_s(CLOCK_MONOTONIC), elapsed;
    double cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID);

    lab.is_echo = is_echo;
    lab.wanted = wanted;
    (void)connect_one();
    while (lab.got < lab.wanted)
        step();
    elapsed = clock_s(CLOCK_MONOTONIC) - begin;
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (is_echo)
        printf("inmem_rr_per_s %.0f 1/s\n", (double)lab.got / elapsed);
    else
        printf("inmem_gbit_per_s %.3f Gbit/s\ninmem_gbit_per_cpu_s %.3f Gbit/s\n",
               (double)lab.got * 8 / elapsed / 1e9, (double)lab.got * 8 / cpu / 1e9);
    printf("inmem_frames %llu frames\n", (unsigned long long)frames_crossed());
}

static void measure_idle(uint32_t count)
{
    size_t before;

    (void)connect_one(); /* the first one brings what is there once: ARP entries, chunks of pools */
    while (lab.accepted < 1)
        step();
    before = mir_page_pool_used_bytes(&lab.server.pages);
    for (uint32_t i = 1; i <= count; i++) {
        (void)connect_one();
        while (lab.accepted < i + 1 || lab.connected < i + 1)
            step();
    }
    for (int i = 0; i < 50; i++) { /* they come to rest */
        lab.now_us += 100 * MIR_US_PER_MS;
        step();
    }
    printf("inmem_idle_bytes %.1f bytes\n",
           (double)(mir_page_pool_used_bytes(&lab.server.pages) - before) / count);
}

int main(int argc, char **argv)
{
    bool is_offloaded = argc == 4 && strcmp(argv[3], "--offload") == 0;
    struct mir_pipe_config config = {.loop = &lab.loop, .queue_max = 256};
    struct mir_tcp_listen_config listen = {.local = {.port = 9}, .on_accept = accept_one};
    struct mir_tcp_listener *listener;
    uint64_t count;

    if (argc < 3 || (argc == 4 && !is_offloaded) || argc > 4) {
        fprintf(stderr, "usage: inmem bulk|rr|idle COUNT [--offload]\n");
        return 64;
    }
    count = strtoull(argv[2], NULL, 10);
    if (is_offloaded)
        config.caps =
            MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO | MIR_NET_TX_SG;
    /* As target/unix does. */
    mir__csum_use(mir__csum_has_simd() ? mir__csum_blocks_simd : NULL);
    mir_page_wrap(&lab.block, aligned_alloc(MIR_PAGE_SIZE, BLOCK_BYTES), BLOCK_BYTES,
                  MIR_PAGE_STATIC, NULL, NULL);
    memset(lab.block.base, 'x', BLOCK_BYTES);
    mir_loop_init(&lab.loop, lab.now_us);
    must(mir_pipe_init(&lab.pipe, &config), "pipe");
    open_side(&lab.client, 0, 1);
    open_side(&lab.server, 1, 2);
    must(mir_tcp_listen(lab.server.stack, &listen, &listener), "listen");
    if (strcmp(argv[1], "bulk") == 0)
        transfer(false, count << 20);
    else if (strcmp(argv[1], "rr") == 0)
        transfer(true, count);
    else
        measure_idle((uint32_t)count);
    return 0;
}
