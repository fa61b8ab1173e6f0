/* SPDX-License-Identifier: ISC */
/* Two whole stacks joined by a pipe, and the input decides what happens to each frame between them:
 * passed, lost, repeated, shortened, or changed at some byte, in both directions. One side listens
 * and echoes, the other connects and sends, then both close. Whatever the wire does, nothing
 * crashes and all memory comes back.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/net.h>
#include <mirari/rng.h>

#include "dev/net/pipe/pipe.h"
#include "dev/net/trace/trace.h"
#include "dev/net/wrap/wrap.h"
#include "test/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA ((size_t)8 << 20)
#define STEPS 400

struct mangler {
    struct mir__wrap wrap; /* first */
    struct mir_buf_pool *bufs;
    struct fuzz_input *input;
};

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE);

/* A copy to be changed: the original's bytes may belong to a retransmission queue. */
static struct mir_buf *change(struct mangler *m, struct mir_buf *buf_given, uint8_t op)
{
    struct mir_buf *copy = mir_buf_linearize(m->bufs, buf_given, 64);
    mir_buf_release(buf_given);
    if (copy == NULL || copy->len == 0)
        return copy;
    uint32_t offset = fuzz_u8(m->input);
    if (op == 3) {
        mir_buf_trim(copy, offset % (copy->len + 1));
    } else {
        copy->data[offset % copy->len] ^= fuzz_u8(m->input);
    }
    return copy;
}

static void mangle_rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    struct mangler *m = (struct mangler *)(void *)wrap;
    char line[200];
    uint8_t op = fuzz_u8(m->input) % 8;
    struct mir_buf *buf = buf_given, *twin = NULL;
    mir_trace_format(buf, line, sizeof line);
    if (op == 1) {
        mir_buf_release(buf);
        return;
    }
    if (op == 2)
        twin = mir_buf_linearize(m->bufs, buf, 64);
    if (op == 3 || op == 4)
        buf = change(m, buf, op);
    if (buf != NULL)
        mir__wrap_up(wrap, buf);
    if (twin != NULL)
        mir__wrap_up(wrap, twin);
}

static void echo(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    int r;
    (void)arg;
    (void)events;
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        bool has_room = mir_tcp_send_room(tcp) > 0;
        if (!has_room)
            mir_view_release(&view);
        if (!has_room || mir_tcp_send_view(tcp, view) < 0) {
            mir_tcp_abort(tcp);
            return;
        }
    }
    if (r != -MIR_EAGAIN)
        mir_tcp_close(tcp);
}

static void accept_one(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    mir_tcp_set_handler(tcp_given, echo, arg);
    echo(tcp_given, MIR_TCP_READABLE, arg);
}

struct client {
    struct mir_tcp *tcp;
    uint32_t received;
};

static void on_client(struct mir_tcp *tcp, unsigned events, void *arg)
{
    static const uint8_t bytes[5000];
    struct client *client = arg;
    struct mir_view view;
    size_t queued;
    int r = -MIR_EAGAIN;
    if (events & MIR_TCP_CONNECTED && mir_tcp_send(tcp, bytes, sizeof bytes, &queued) < 0)
        r = -MIR_EIO;
    while (r == -MIR_EAGAIN && (r = mir_tcp_recv_view(tcp, &view)) == 0) {
        client->received += view.len;
        mir_view_release(&view);
        r = -MIR_EAGAIN;
        if (client->received >= sizeof bytes)
            r = -MIR_EEOF;
    }
    if (r != -MIR_EAGAIN || events & (MIR_TCP_FAILED | MIR_TCP_CLOSED)) {
        client->tcp = NULL;
        mir_tcp_close(tcp);
    }
}

static struct mir_net *open_net(struct mir_loop *loop, struct mir_page_pool *pages,
                                struct mir_buf_pool *bufs, struct mir_rng *rng,
                                struct mir_net_dev *dev, uint32_t ip)
{
    struct mir_net_config config = {.loop = loop,
                                    .pages = pages,
                                    .bufs = bufs,
                                    .rng = rng,
                                    .tcp_connections_max = 64,
                                    .tcp_memory_max_bytes = 1 << 20};
    struct mir_net_if_config interface = {.ip = mir_ip_from_v4(ip), .prefix_len = 24};
    struct mir_net *net;
    if (mir_net_open(&config, &net) < 0 || mir_net_add_interface(net, dev, &interface) < 0)
        abort();
    return net;
}

static void run(struct mir_loop *loop, mir_time_us *now_us)
{
    for (int i = 0; i < STEPS; i++) {
        mir_time_us next_us;
        mir_loop_step(loop, *now_us, &next_us);
        if (next_us == MIR_TIME_NEVER)
            break;
        *now_us = MIR_MAX(*now_us, next_us);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mir_loop loop;
    struct fuzz_input input = {data, size};
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_rng rng;
    struct mir_pipe pipe;
    struct mangler ends[2];
    struct mir_net *nets[2];
    struct client client = {0};
    mir_time_us now_us = 1000000;
    static const struct mir_net_dev_ops ops = {.start = mir__wrap_start,
                                               .stop = mir__wrap_stop,
                                               .tx = mir__wrap_tx,
                                               .flush = mir__wrap_flush,
                                               .tx_room = mir__wrap_tx_room,
                                               .stats = mir__wrap_stats,
                                               .close = mir__wrap_close};
    /* The first byte: what the pipe can do. */
    struct mir_pipe_config config = {.loop = &loop, .queue_max = 64};
    uint8_t kind = fuzz_u8(&input);
    if (kind & 1)
        config.caps |= MIR_NET_TX_SG;
    if (kind & 2)
        config.caps |= MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
    mir_loop_init(&loop, now_us);
    mir_rng_init_u64(&rng, 1);
    if (mir_page_pool_init(&pages, arena, ARENA) < 0 || mir_buf_pool_init(&bufs, &pages, 512) < 0 ||
        mir_pipe_init(&pipe, &config) < 0)
        abort();
    for (unsigned i = 0; i < 2; i++) {
        mir__wrap_init(&ends[i].wrap, mir_pipe_end(&pipe, i), &ops);
        ends[i].wrap.rx = mangle_rx;
        ends[i].bufs = &bufs;
        ends[i].input = &input;
        nets[i] = open_net(&loop, &pages, &bufs, &rng, &ends[i].wrap.dev, 0x0a000001 + i);
    }
    struct mir_tcp_listener *listener;
    struct mir_tcp_listen_config listen = {.local.port = 7, .on_accept = accept_one};
    struct mir_endpoint remote = {mir_ip_from_v4(0x0a000002), 7};
    if (mir_tcp_listen(mir_net_stack(nets[1]), &listen, &listener) < 0)
        abort();
    if (mir_tcp_connect(mir_net_stack(nets[0]), &remote, on_client, &client, &client.tcp) < 0)
        client.tcp = NULL;
    run(&loop, &now_us);
    for (unsigned i = 0; i < 2; i++) {
        mir_net_close(nets[i]);
        mir_net_dev_close(&ends[i].wrap.dev);
    }
    if (mir_pool_used(&bufs.pool) != 0)
        abort();
    mir_buf_pool_fini(&bufs);
    if (mir_page_pool_used_bytes(&pages) != 0)
        abort();
    return 0;
}
