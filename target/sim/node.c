/* SPDX-License-Identifier: ISC */
/* Nodes of the simulator and their network devices.
 *
 * A node owns an arena from the C library and makes of it what a target makes: page pool, buffer
 * pool, loop, generator (seeded from the run's seed and the node's number), clock, task stacks, and
 * a direct stack unless the node is raw.
 *
 * A port is a network device. What a stack transmits is gathered into a frame of the simulator's
 * own memory and the buffer released at once; what arrives is copied into a buffer of the receiving
 * node. So no page is ever held by two nodes, and each node's accounts must balance on their own.
 *
 * A port may show offloads. What the opposite port cannot take is finished here, as a network card
 * does: checksums are completed and large TCP frames cut.
 */
#include "target/sim/internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/page/poison.h"

#define NS_PER_US       1000ull
#define ETH_HEADER      14u
#define TASK_STACKS_MAX 1024u

/* ---- clock and task stacks ------------------------------------------------------------------ */

/* @ppm millionths of @v, towards zero. */
static int64_t share(uint64_t v, int32_t ppm)
{
    return (int64_t)(v / 1000000) * ppm + (int64_t)(v % 1000000) * ppm / 1000000;
}

static mir_time_us node_now(const struct mir_sim_node *node)
{
    uint64_t since_ns = node->sim->now_ns - node->clock_base_ns;
    return node->clock_base_us +
           (since_ns + (uint64_t)share(since_ns, node->drift_ppm)) / NS_PER_US;
}

/* When the local clock will show @local_us, or a little later. */
static uint64_t when_ns(const struct mir_sim_node *node, mir_time_us local_us)
{
    uint64_t local_ns = (local_us - node->clock_base_us) * NS_PER_US;
    if (node->drift_ppm == 0)
        return node->clock_base_ns + local_ns;
    uint64_t rate = (uint64_t)(1000000 + node->drift_ppm);
    return node->clock_base_ns + local_ns / rate * 1000000 + local_ns % rate * 1000000 / rate + 1;
}

/* What follows is measured from here. */
static void rebase_clock(struct mir_sim_node *node)
{
    mir_time_us now_us = node_now(node);
    node->wall_offset_us += (int64_t)(now_us - node->clock_base_us) -
                            (int64_t)((node->sim->now_ns - node->clock_base_ns) / NS_PER_US);
    node->clock_base_us = now_us;
    node->clock_base_ns = node->sim->now_ns;
}

void mir_sim_node_drift(struct mir_sim_node *node, int32_t ppm)
{
    MIR_ASSERT(ppm > -1000000);
    rebase_clock(node);
    node->drift_ppm = ppm;
    mir_sim_wake(node);
}

void mir_sim_node_jump(struct mir_sim_node *node, int64_t by_us)
{
    rebase_clock(node);
    node->wall_offset_us += by_us;
    if (by_us > 0)
        node->clock_base_us += (mir_time_us)by_us;
    mir_sim_wake(node);
}

static mir_time_us clock_monotonic(struct mir_clock *clock)
{
    return node_now(MIR_CONTAINER_OF(clock, struct mir_sim_node, clock));
}

static mir_time_us clock_wall(struct mir_clock *clock)
{
    const struct mir_sim_node *node = MIR_CONTAINER_OF(clock, struct mir_sim_node, clock);
    uint64_t since_ns = node->sim->now_ns - node->clock_base_ns;
    return MIR__SIM_WALL_START_US + mir_sim_now(node->sim) + (uint64_t)node->wall_offset_us +
           (uint64_t)(share(since_ns, node->drift_ppm) / (int64_t)NS_PER_US);
}

static void *stack_acquire(void *arg, size_t size, size_t *usable)
{
    struct mir_sim_node *node = arg;
    size_t bytes = (size + MIR_PAGE_SIZE - 1) / MIR_PAGE_SIZE * MIR_PAGE_SIZE;
    if (node->stacks_used == TASK_STACKS_MAX)
        return NULL;
    uint8_t *base = mmap(NULL, bytes + MIR_PAGE_SIZE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    if (mprotect(base, MIR_PAGE_SIZE, PROT_NONE) != 0) {
        munmap(base, bytes + MIR_PAGE_SIZE);
        return NULL;
    }
    node->stacks_used++;
    *usable = bytes;
    return base + MIR_PAGE_SIZE;
}

static void stack_release(void *arg, void *base, size_t usable)
{
    struct mir_sim_node *node = arg;
    node->stacks_used--;
    mir__unpoison(base, usable);
    munmap((uint8_t *)base - MIR_PAGE_SIZE, usable + MIR_PAGE_SIZE);
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static int open_stack(struct mir_sim_node *node, const struct mir_sim_node_config *config)
{
    struct mir_net_config net = config->net;
    if (config->is_raw)
        return 0;
    net.loop = &node->loop;
    net.pages = &node->pages;
    net.bufs = &node->bufs;
    net.rng = &node->rng;
    int r = mir_net_open(&net, &node->net);
    if (r == 0)
        node->stack = mir_net_stack(node->net);
    return r;
}

static int init_node(struct mir_sim_node *node, const struct mir_sim_node_config *config)
{
    struct mir_sim *sim = node->sim;
    uint8_t seed[32] = {'n', 'o', 'd', 'e'};
    uint32_t buffers = config->buffers != 0
                           ? config->buffers
                           : (uint32_t)(node->arena_bytes / 4 / sizeof(struct mir_buf));
    memcpy(seed + 8, &sim->seed, sizeof sim->seed);
    memcpy(seed + 16, &node->index, sizeof node->index);
    mir_rng_init(&node->rng, seed);
    node->clock_base_ns = sim->now_ns;
    node->clock_base_us = mir_sim_now(sim) + config->clock_offset_us;
    node->clock = (struct mir_clock){clock_monotonic, clock_wall};
    node->stacks = (struct mir_stack_source){stack_acquire, stack_release, node};
    mir_list_init(&node->due_link);
    mir_list_init(&node->ports);
    mir_loop_init(&node->loop, node_now(node));
    int r = mir_page_pool_init(&node->pages, node->arena, node->arena_bytes);
    if (r == 0)
        r = mir_buf_pool_init(&node->bufs, &node->pages, buffers);
    return r == 0 ? open_stack(node, config) : r;
}

static void free_arena(struct mir_sim_node *node)
{
    mir__unpoison(node->arena, node->arena_bytes);
    munmap(node->arena, node->arena_bytes);
}

int mir_sim_add_node(struct mir_sim *sim, const struct mir_sim_node_config *config,
                     struct mir_sim_node **out)
{
    struct mir_sim_node *node = calloc(1, sizeof *node);
    if (node == NULL)
        return -MIR_ENOMEM;
    size_t bytes = config->memory_bytes != 0 ? config->memory_bytes : (size_t)32 << 20;
    node->arena_bytes = (bytes + MIR_PAGE_SIZE - 1) / MIR_PAGE_SIZE * MIR_PAGE_SIZE;
    node->arena = mmap(NULL, node->arena_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (node->arena == MAP_FAILED) {
        free(node);
        return -MIR_ENOMEM;
    }
    node->sim = sim;
    node->name = config->name != NULL ? config->name : "node";
    node->index = ++sim->node_count;
    int r = init_node(node, config);
    if (r < 0) {
        free_arena(node);
        free(node);
        return r;
    }
    mir_list_push_back(&sim->nodes, &node->link);
    *out = node;
    return 0;
}

void mir__sim_node_stop(struct mir_sim_node *node)
{
    mir__sim_unschedule(node->sim, &node->wake);
    if (node->net != NULL)
        mir_net_close(node->net);
    node->net = NULL;
    node->stack = NULL;
}

size_t mir__sim_node_close(struct mir_sim_node *node)
{
    mir_list_for_each (link, &node->ports) {
        struct mir_sim_port *port = MIR_CONTAINER_OF(link, struct mir_sim_port, link);
        mir_net_dev_close(&port->dev);
    }
    size_t left_bytes = (size_t)mir_pool_used(&node->bufs.pool) * sizeof(struct mir_buf);
    if (left_bytes == 0) {
        mir_buf_pool_fini(&node->bufs);
        left_bytes = mir_page_pool_used_bytes(&node->pages);
    }
    mir_list_remove(&node->link);
    free_arena(node);
    free(node);
    return left_bytes;
}

static void end_batches(struct mir_sim_node *node)
{
    mir_list_for_each (link, &node->ports) {
        struct mir_sim_port *port = MIR_CONTAINER_OF(link, struct mir_sim_port, link);
        if (port->has_batch && port->is_started && port->upper.rx_end != NULL)
            port->upper.rx_end(port->upper.arg);
        port->has_batch = false;
    }
}

void mir__sim_node_step(struct mir_sim_node *node)
{
    struct mir_sim *sim = node->sim;
    mir_time_us next_us;
    mir_time_us now_us = node_now(node);
    end_batches(node);
    mir_loop_step(&node->loop, now_us, &next_us);
    node->steps++;
    sim->stats.steps++;
    if (sim->trace != NULL)
        mir__sim_trace_node(sim->trace, node);
    if (next_us == MIR_TIME_NEVER) {
        mir__sim_unschedule(sim, &node->wake);
        return;
    }
    /* Work that is left takes time: a loop that never rests must not stop the clock. */
    next_us = MIR_MAX(next_us, now_us + 1);
    mir__sim_schedule(sim, &node->wake, MIR__SIM_WAKE, when_ns(node, next_us));
}

/* ---- ports: the device contract -------------------------------------------------------------- */

static struct mir_sim_port *port_of(struct mir_net_dev *dev)
{
    return MIR_CONTAINER_OF(dev, struct mir_sim_port, dev);
}

static int port_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir_sim_port *port = port_of(dev);
    MIR_ASSERT(!port->is_started);
    port->upper = *upper;
    port->is_started = true;
    return 0;
}

static void port_stop(struct mir_net_dev *dev)
{
    port_of(dev)->is_started = false;
}

static void port_close(struct mir_net_dev *dev)
{
    struct mir_sim_port *port = port_of(dev);
    struct mir_sim *sim = port->node->sim;
    mir__sim_unschedule(sim, &port->room);
    mir_list_remove(&port->link);
    free(port);
}

static void port_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    /* The device is the first member of the port. */
    *stats = ((const struct mir_sim_port *)(const void *)dev)->stats;
}

/* Does the frame keep the promises of the contract? */
static int check_frame(struct mir_sim_port *port, const struct mir_buf *buf)
{
    struct mir_sim *sim = port->node->sim;
    const struct mir_net_dev_info *info = &port->dev.info;
    uint32_t total = mir_buf_total(buf);
    bool is_gso = (buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)) != 0;
    if (total < ETH_HEADER)
        mir__sim_violation(sim, "frame shorter than an Ethernet header", total);
    else if (is_gso && !(info->caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6)))
        mir__sim_violation(sim, "large frame without the capability", total);
    else if (is_gso && total > info->gso_max)
        mir__sim_violation(sim, "frame above gso_max", total);
    else if (!is_gso && total > info->mtu + ETH_HEADER)
        mir__sim_violation(sim, "frame above the MTU", total);
    else if ((buf->flags & MIR_BUF_CSUM_PARTIAL) && !(info->caps & MIR_NET_TX_CSUM))
        mir__sim_violation(sim, "checksum left to a device that has no such offload", total);
    else if (buf->frag_count > 0 && !(info->caps & MIR_NET_TX_SG))
        mir__sim_violation(sim, "views given to a device without scatter-gather", total);
    else
        return 0;
    return -MIR_ETOOBIG;
}

static void send_frame(struct mir_sim_port *port, struct mir__sim_frame *frame)
{
    const struct mir_sim_port *opposite = mir__sim_opposite(&port->plug);
    uint32_t caps = opposite != NULL ? opposite->dev.info.caps : 0;
    if (frame->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)) {
        if ((caps & MIR_NET_RX_GRO) && (caps & MIR_NET_RX_CSUM)) {
            mir__sim_transmit(&port->plug, frame);
            return;
        }
        mir__sim_segment(&port->plug, frame);
        return;
    }
    if ((frame->flags & MIR_BUF_CSUM_PARTIAL) && !(caps & MIR_NET_RX_CSUM) &&
        !mir__sim_complete_csum(frame)) {
        mir__sim_violation(port->node->sim, "checksum offset outside the frame", frame->csum_start);
        mir__sim_frame_free(port->node->sim, frame);
        return;
    }
    mir__sim_transmit(&port->plug, frame);
}

static int port_tx(struct mir_net_dev *dev, struct mir_buf *buf)
{
    struct mir_sim_port *port = port_of(dev);
    uint32_t total = mir_buf_total(buf);
    int r = check_frame(port, buf);
    if (r < 0) {
        port->stats.tx_errors++;
        mir_buf_release(buf);
        return r;
    }
    struct mir__sim_frame *frame = mir__sim_frame_alloc(port->node->sim, total);
    r = mir_buf_copy_out(buf, 0, frame->data, total);
    MIR_ASSERT(r == 0);
    frame->flags = buf->flags & (MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
    frame->gso_size = buf->gso_size;
    frame->csum_start = buf->csum_start;
    frame->csum_offset = buf->csum_offset;
    mir_buf_release(buf);
    if (port->node->sim->tamper != NULL)
        port->node->sim->tamper(port->node, frame);
    mir__sim_watch(port, frame, true);
    uint32_t kept = MIR_NET_TX_KEPT * (dev->info.mtu + ETH_HEADER);
    if (port->config.ring_bytes != 0 &&
        mir__sim_backlog(&port->plug) >= port->config.ring_bytes + kept) {
        port->stats.tx_dropped++;
        mir__sim_frame_free(port->node->sim, frame);
        return -MIR_EAGAIN;
    }
    port->stats.tx_frames++;
    port->stats.tx_bytes += total;
    send_frame(port, frame);
    return 0;
}

static uint32_t port_tx_room(struct mir_net_dev *dev)
{
    struct mir_sim_port *port = port_of(dev);
    if (port->config.ring_bytes == 0)
        return UINT32_MAX;
    uint64_t backlog = mir__sim_backlog(&port->plug);
    if (backlog < port->config.ring_bytes)
        return 1 + (uint32_t)((port->config.ring_bytes - backlog) / (dev->info.mtu + ETH_HEADER));
    if (!port->wants_room) {
        port->wants_room = true;
        port->stats.tx_full++;
        mir__sim_schedule(port->node->sim, &port->room, MIR__SIM_ROOM,
                          mir__sim_drain_ns(&port->plug, port->config.ring_bytes / 2));
    }
    return 0;
}

void mir__sim_port_room(struct mir_sim_port *port)
{
    port->wants_room = false;
    if (port->is_started && port->upper.tx_ready != NULL)
        port->upper.tx_ready(port->upper.arg);
    mir__sim_due(port->node);
}

static const struct mir_net_dev_ops port_ops = {
    .start = port_start,
    .stop = port_stop,
    .tx = port_tx,
    .tx_room = port_tx_room,
    .stats = port_stats,
    .close = port_close,
};

/* A frame large enough for a page, or small enough for the buffer's own storage. */
static struct mir_buf *to_buf(struct mir_sim_node *node, const struct mir__sim_frame *frame)
{
    const uint32_t headroom = 2; /* puts the IP header on a multiple of four */
    struct mir_buf *buf =
        frame->len + headroom <= MIR_BUF_HEAD_BYTES
            ? mir_buf_alloc(&node->bufs, headroom)
            : mir_buf_alloc_page(&node->bufs, (size_t)frame->len + headroom, headroom);
    if (buf == NULL)
        return NULL;
    memcpy(mir_buf_append(buf, frame->len), frame->data, frame->len);
    buf->flags = frame->flags;
    buf->gso_size = frame->gso_size;
    buf->csum_start = frame->csum_start;
    buf->csum_offset = frame->csum_offset;
    return buf;
}

void mir__sim_port_receive(struct mir_sim_port *port, struct mir__sim_frame *frame)
{
    struct mir_sim_node *node = port->node;
    struct mir_sim *sim = node->sim;
    if (!port->is_started) {
        port->stats.rx_dropped++;
        mir__sim_frame_free(sim, frame);
        return;
    }
    mir__sim_watch(port, frame, false);
    struct mir_buf *buf = to_buf(node, frame);
    if (buf != NULL) {
        port->stats.rx_frames++;
        port->stats.rx_bytes += frame->len;
        port->has_batch = true;
        /* The loop's time moves with the first thing that happens at this instant. */
        mir_loop_set_now(&node->loop, node_now(node));
        port->upper.rx(port->upper.arg, buf);
    } else {
        port->stats.rx_dropped++;
        sim->stats.rx_no_memory++;
    }
    mir__sim_frame_free(sim, frame);
    mir__sim_due(node);
}

int mir_sim_add_port(struct mir_sim_node *node, const struct mir_sim_port_config *config,
                     struct mir_sim_port **out)
{
    static const uint8_t no_mac[6];
    uint16_t mtu = config->mtu != 0 ? config->mtu : 1500;
    if (mtu < 68)
        return -MIR_EINVAL;
    struct mir_sim_port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return -MIR_ENOMEM;
    uint32_t number = ++node->sim->plug_count;
    port->node = node;
    port->config = *config;
    port->plug.sim = node->sim;
    port->plug.port = port;
    port->plug.index = number;
    port->dev.ops = &port_ops;
    port->dev.info = (struct mir_net_dev_info){
        .mac = {2, 0, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
        .mtu = mtu,
        .caps = config->caps,
        .gso_max = config->caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6) ? 65535 + ETH_HEADER : 0,
        .kind = "sim",
    };
    if (memcmp(config->mac, no_mac, 6) != 0)
        memcpy(port->dev.info.mac, config->mac, 6);
    mir_list_push_back(&node->ports, &port->link);
    *out = port;
    return 0;
}

struct mir_sim_port *mir_sim_first_port(struct mir_sim_node *node)
{
    MIR_ASSERT(!mir_list_is_empty(&node->ports));
    return MIR_CONTAINER_OF(node->ports.next, struct mir_sim_port, link);
}

/* "10.0.0.1/24", "fd00::1/64", or both with a comma. @more is room for one. */
static int parse_addresses(const char *text, struct mir_net_prefix *more,
                           struct mir_net_if_config *interface)
{
    size_t comma = strcspn(text, ",");
    struct mir_net_prefix first;
    int r = mir_ip_parse_prefix(text, comma, &first.ip, &first.prefix_len);
    if (r < 0)
        return r;
    if (mir_ip_is_v4(&first.ip)) {
        interface->ip = first.ip;
        interface->prefix_len = first.prefix_len;
        if (text[comma] == '\0')
            return 0;
        text += comma + 1;
        r = mir_ip_parse_prefix(text, strlen(text), &first.ip, &first.prefix_len);
    }
    *more = first;
    interface->addresses = more;
    interface->address_count = 1;
    interface->ip6 = MIR_IP6_STATIC;
    return r;
}

int mir_sim_add_host(struct mir_sim *sim, const struct mir_sim_node_config *config,
                     const struct mir_sim_port_config *port_config, const char *address,
                     struct mir_sim_node **out)
{
    struct mir_sim_port_config plain = {0};
    struct mir_net_if_config interface = {0};
    struct mir_net_prefix more;
    struct mir_sim_port *port;
    struct mir_sim_node *node;
    int r = parse_addresses(address, &more, &interface);
    if (r == 0)
        r = mir_sim_add_node(sim, config, &node);
    if (r == 0)
        r = mir_sim_add_port(node, port_config != NULL ? port_config : &plain, &port);
    if (r == 0)
        r = mir_net_add_interface(node->net, &port->dev, &interface);
    if (r == 0)
        *out = node;
    return r;
}
