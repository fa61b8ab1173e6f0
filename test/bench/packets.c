/* SPDX-License-Identifier: ISC */
/* Instructions of the stack for one packet of a kind, counted by callgrind:
 *
 *   valgrind --tool=callgrind --toggle-collect=mir_measured packets KIND COUNT
 *
 *   data_in    TCP data of 1448 bytes, in order, until the application has read it; in batches of
 *              32, with the acknowledgment each batch causes
 *   ack_in     acknowledgments of two segments each, in batches of 32; nothing is left to send
 *   data_out   TCP data of 1448 bytes, from the queue to the device, by reference
 *   udp_in     datagrams of 100 bytes to a handler that releases them, in batches of 32
 *   udp_out    datagrams of 100 bytes, copied
 *   handshake  a connection: opened, one byte each way, closed by both, both ends together
 *   scattered  TCP data of one byte on a connection chosen by chance for each, until it is
 *              acknowledged, both ends together; see IDLE
 *
 * With a third argument IDLE so many further connections are there. Without callgrind the processor
 * time of each packet is printed, and what memory each idle connection takes. Memory is in large
 * pages where the kernel has them, as it is without a kernel:
 *
 *   packets KIND COUNT IDLE
 *
 * Two stacks hold what the other has sent until they are told to deliver, so that each step can be
 * measured apart from the others. MTU 1500, checksums in software on both sides, no vectors beyond
 * what the compiler uses: equal runs execute equal instructions on every machine of one
 * architecture. Prints how many packets were measured; test/bench/budget divides and compares.
 */
#include <mirari/mirari.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MEMORY_BYTES ((size_t)64 << 20)
#define MSS          1448u
#define BATCH        32u
#define LARGE_PAGE   ((size_t)2 << 20)
#define PORTS_EACH   15000u /* connections of one listener: ephemeral ports are 16384 */

struct side {
    struct mir_net_dev dev;
    struct mir_net_upper upper;
    struct mir_buf_queue held; /* sent by this side */
    struct side *peer;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_rng rng;
    struct mir_net *net;
    struct mir_stack *stack;
    struct mir_tcp *tcp;
    uint64_t received, opened, closed;
};

static struct mir_loop loop;
static mir_time_us now_us = 1000 * MIR_US_PER_S;
static struct side client, server;
static struct mir_io_page block;
static bool is_echo;
static uint64_t measured;
static double measured_s;
static struct mir_tcp **idle; /* the client's ends */
static uint32_t idle_count;

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "packets: %s\n", text);
    abort();
}

static void must(int error, const char *what)
{
    if (error == 0)
        return;
    fprintf(stderr, "packets: %s: %s\n", what, mir_strerror(error));
    exit(1);
}

/* ---- devices that hold frames ------------------------------------------------------------------
 */

static struct side *side_of(struct mir_net_dev *dev)
{
    return MIR_CONTAINER_OF(dev, struct side, dev);
}

static int dev_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    side_of(dev)->upper = *upper;
    return 0;
}

static void dev_stop(struct mir_net_dev *dev)
{
    mir_buf_queue_release(&side_of(dev)->held);
}

static int dev_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    mir_buf_queue_push(&side_of(dev)->held, buf_given);
    return 0;
}

static void dev_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    (void)dev;
    *stats = (struct mir_net_dev_stats){0};
}

static const struct mir_net_dev_ops dev_ops = {
    .start = dev_start, .stop = dev_stop, .tx = dev_tx, .stats = dev_stats, .close = dev_stop};

/* At most @count frames of @from reach the other side, as one batch. Returns how many did. */
static uint32_t deliver(struct side *from, uint32_t count)
{
    struct side *to = from->peer;
    uint32_t done = 0;
    while (done < count && from->held.count > 0) {
        to->upper.rx(to->upper.arg, mir_buf_queue_pop(&from->held));
        done++;
    }
    if (done > 0)
        to->upper.rx_end(to->upper.arg);
    return done;
}

static void step(void)
{
    mir_time_us next;
    mir_loop_step(&loop, now_us, &next);
}

static void settle(void)
{
    for (uint32_t quiet = 0; quiet < 3; quiet++) {
        step();
        if (deliver(&client, 1000) + deliver(&server, 1000) > 0)
            quiet = 0;
    }
}

static void pass(mir_time_us us)
{
    for (mir_time_us end = now_us + us; now_us < end; now_us += 10000)
        settle();
}

/* ---- what is counted ---------------------------------------------------------------------------
 */

enum what { DELIVER_FROM_CLIENT, DELIVER_FROM_SERVER, STEP, SEND_UDP };

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void mir_measured(enum what what, struct mir_udp *udp, const struct mir_endpoint *to);

__attribute__((noinline)) void mir_measured(enum what what, struct mir_udp *udp,
                                            const struct mir_endpoint *to)
{
    if (what == DELIVER_FROM_CLIENT)
        deliver(&client, BATCH);
    else if (what == DELIVER_FROM_SERVER)
        deliver(&server, BATCH);
    else if (what == STEP)
        step();
    else
        must(mir_udp_send(udp, to, block.base, 100), "datagram");
}

static void measure(enum what what, struct mir_udp *udp, const struct mir_endpoint *to)
{
    double begin = cpu_s();
    mir_measured(what, udp, to);
    measured_s += cpu_s() - begin;
}

/* ---- applications ------------------------------------------------------------------------------
 */

static void on_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct side *side = arg;
    struct mir_view view;
    int r;
    if (events & MIR_TCP_CONNECTED)
        side->opened++;
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        side->received += view.len;
        if (is_echo && side == &server) {
            must(mir_tcp_send_view(tcp, view), "echo");
            (void)mir_tcp_shutdown(tcp);
        } else {
            mir_view_release(&view);
        }
    }
    if ((events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) || (is_echo && r == -MIR_EEOF)) {
        side->closed++;
        mir_tcp_close(tcp);
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    server.tcp = tcp_given;
    mir_tcp_set_handler(tcp_given, on_event, &server);
    on_event(tcp_given, MIR_TCP_READABLE, &server);
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *from,
                        struct mir_buf *buf_given, void *arg)
{
    (void)udp, (void)from, (void)arg;
    server.received++;
    mir_buf_release(buf_given);
}

/* ---- kinds -------------------------------------------------------------------------------------
 */

static void queue_data(uint32_t segments)
{
    for (uint32_t i = 0; i < segments; i++)
        must(mir_tcp_send_view(client.tcp, mir_view_of_page(&block, 0, MSS)), "send");
}

/* The congestion window grows, quick acknowledgments are used up. */
static void warm_up(void)
{
    for (int i = 0; i < 200; i++) {
        queue_data(2 * BATCH);
        settle();
    }
}

static void measure_data(const char *kind, uint64_t count)
{
    bool is_out = strcmp(kind, "data_out") == 0;
    warm_up();
    while (measured < count) {
        queue_data(BATCH);
        if (is_out) {
            measure(STEP, NULL, NULL);
            measured += client.held.count;
        } else {
            step();
            measured += client.held.count;
            measure(DELIVER_FROM_CLIENT, NULL, NULL);
        }
        settle();
    }
}

static void measure_acks(uint64_t count)
{
    warm_up();
    while (measured < count) {
        queue_data(2 * BATCH);
        step();
        while (deliver(&client, 2) > 0)
            continue;
        measured += MIR_MIN(server.held.count, BATCH);
        measure(DELIVER_FROM_SERVER, NULL, NULL);
        settle();
    }
}

static void measure_udp(const char *kind, uint64_t count)
{
    struct mir_udp_config here = {.handler = on_datagram};
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0x0a000002u), .port = 7};
    struct mir_udp *sender, *receiver;
    bool is_out = strcmp(kind, "udp_out") == 0;
    must(mir_udp_open_config(client.stack, &here, &sender), "socket");
    here.local.port = 7;
    must(mir_udp_open_config(server.stack, &here, &receiver), "socket");
    while (measured < count) {
        for (uint32_t i = 0; i < BATCH; i++) {
            if (is_out)
                measure(SEND_UDP, sender, &to);
            else
                must(mir_udp_send(sender, &to, block.base, 100), "datagram");
        }
        measured += BATCH;
        step();
        if (is_out)
            settle();
        else
            measure(DELIVER_FROM_CLIENT, NULL, NULL);
    }
}

void mir_measured_life(const struct mir_endpoint *to);

__attribute__((noinline)) void mir_measured_life(const struct mir_endpoint *to)
{
    size_t queued;
    must(mir_tcp_connect(client.stack, to, on_event, &client, &client.tcp), "connect");
    must(mir_tcp_send(client.tcp, "x", 1, &queued), "request");
    settle();
}

static void measure_handshakes(const struct mir_endpoint *to, uint64_t count)
{
    is_echo = true;
    for (; measured < count; measured++) {
        mir_measured_life(to);
        if (measured % 64 == 63)
            now_us += 100000;
    }
    if (client.closed < count || server.closed < count)
        must(-MIR_ECONNABORTED, "connections did not end");
}

/* Many connections that do nothing, on as many listeners as their ports need. */
static void open_idle(uint32_t count)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0x0a000002u)};
    size_t before[2] = {mir_page_pool_used_bytes(&client.pages),
                        mir_page_pool_used_bytes(&server.pages)};
    idle = calloc(count + 1, sizeof(struct mir_tcp *));
    double begin = cpu_s();
    for (idle_count = 0; idle_count < count; idle_count++) {
        to.port = (uint16_t)(1000 + idle_count / PORTS_EACH);
        if (idle_count % PORTS_EACH == 0) {
            struct mir_tcp_listen_config listen = {.local = {.port = to.port},
                                                   .on_accept = on_accept};
            struct mir_tcp_listener *listener;
            must(mir_tcp_listen(server.stack, &listen, &listener), "listen");
        }
        must(mir_tcp_connect(client.stack, &to, on_event, &client, &idle[idle_count]), "connect");
        if (idle_count % 64 == 63) {
            settle();
            now_us += 2000;
        }
    }
    settle();
    begin = cpu_s() - begin;
    pass(10 * MIR_US_PER_S); /* to rest */
    must(client.opened == count + 1 ? 0 : -MIR_ETIMEDOUT, "connections");
    printf("connect_each %.0f ns\n", begin / count * 1e9);
    printf("idle_client %.1f bytes\nidle_server %.1f bytes\n",
           (double)(mir_page_pool_used_bytes(&client.pages) - before[0]) / count,
           (double)(mir_page_pool_used_bytes(&server.pages) - before[1]) / count);
}

static void measure_scattered(uint64_t count)
{
    struct mir_rng dice;
    size_t queued;
    mir_rng_init_u64(&dice, 1);
    for (uint32_t batch = 0; measured < count; batch++) {
        for (uint32_t i = 0; i < BATCH; i++)
            must(mir_tcp_send(idle[mir_rng_below(&dice, idle_count)], "x", 1, &queued), "send");
        measure(STEP, NULL, NULL);
        measured += client.held.count;
        measure(DELIVER_FROM_CLIENT, NULL, NULL);
        now_us += 50000; /* delayed acknowledgments */
        measure(STEP, NULL, NULL);
        measured += server.held.count;
        measure(DELIVER_FROM_SERVER, NULL, NULL);
        settle();
    }
}

/* ---- start -------------------------------------------------------------------------------------
 */

static void open_side(struct side *side, uint32_t index, struct side *peer, uint32_t further)
{
    struct mir_net_config config = {.loop = &loop,
                                    .pages = &side->pages,
                                    .bufs = &side->bufs,
                                    .rng = &side->rng,
                                    .tcp_connections_max = further + 16384,
                                    .tcp_listeners_max = 64 + further / PORTS_EACH,
                                    .tcp_sndbuf_bytes = 1u << 20,
                                    .tcp_rcvbuf_bytes = 1u << 20};
    struct mir_net_if_config address = {.ip = mir_ip_from_v4(0x0a000001u + index), .prefix_len = 8};
    size_t size = MEMORY_BYTES + (size_t)further / 4 * MIR_PAGE_SIZE;
    size = (size + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE;
    void *arena = aligned_alloc(LARGE_PAGE, size);
    (void)madvise(arena, size, MADV_HUGEPAGE);
    side->peer = peer;
    side->dev = (struct mir_net_dev){.ops = &dev_ops,
                                     .info = {.mtu = 1500, .caps = MIR_NET_TX_SG, .kind = "held"}};
    side->dev.info.mac[0] = 2;
    side->dev.info.mac[5] = (uint8_t)(index + 1);
    must(arena == NULL ? -MIR_ENOMEM : 0, "arena");
    must(mir_page_pool_init(&side->pages, arena, size), "pages");
    must(mir_buf_pool_init(&side->bufs, &side->pages, 4096), "buffers");
    mir_rng_init_u64(&side->rng, index + 1);
    must(mir_net_open(&config, &side->net), "stack");
    side->stack = mir_net_stack(side->net);
    must(mir_net_add_interface(side->net, &side->dev, &address), "interface");
}

int main(int argc, char **argv)
{
    struct mir_tcp_listen_config listen = {.local = {.port = 9}, .on_accept = on_accept};
    struct mir_endpoint to = {.ip = mir_ip_from_v4(0x0a000002u), .port = 9};
    struct mir_tcp_listener *listener;
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: packets data_in|ack_in|data_out|udp_in|udp_out|handshake|"
                        "scattered COUNT [IDLE]\n");
        return 64;
    }
    const char *kind = argv[1];
    uint32_t further = argc == 4 ? (uint32_t)strtoul(argv[3], NULL, 10) : 0;
    uint64_t count = strtoull(argv[2], NULL, 10);
    mir_page_wrap(&block, aligned_alloc(MIR_PAGE_SIZE, MIR_PAGE_SIZE), MIR_PAGE_SIZE,
                  MIR_PAGE_STATIC, NULL, NULL);
    memset(block.base, 'x', MIR_PAGE_SIZE);
    mir_loop_init(&loop, now_us);
    open_side(&client, 0, &server, further);
    open_side(&server, 1, &client, further);
    must(mir_tcp_listen(server.stack, &listen, &listener), "listen");
    must(mir_tcp_connect(client.stack, &to, on_event, &client, &client.tcp), "connect");
    pass(3 * MIR_US_PER_S); /* announcements of addresses are over */
    must(client.opened == 1 ? 0 : -MIR_ETIMEDOUT, "connection");
    if (further > 0)
        open_idle(further);
    if (strcmp(kind, "scattered") == 0)
        measure_scattered(further > 0 ? count : 0);
    else if (strcmp(kind, "ack_in") == 0)
        measure_acks(count);
    else if (strncmp(kind, "udp", 3) == 0)
        measure_udp(kind, count);
    else if (strcmp(kind, "handshake") == 0)
        measure_handshakes(&to, count);
    else
        measure_data(kind, count);
    printf("packets %llu packets\n", (unsigned long long)measured);
    if (measured > 0 && measured_s > 0)
        printf("time_each %.1f ns\n", measured_s / (double)measured * 1e9);
    return 0;
}
