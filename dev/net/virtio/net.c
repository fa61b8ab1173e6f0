/* SPDX-License-Identifier: ISC */
/* A virtio network device: its life, its features, its link (VIRTIO 1.2 section 5.1).
 *
 *   open: reset, features, configuration        what we are, said in info; the device is quiet
 *   start: queues, pages lent, DRIVER_OK        frames flow
 *   stop: reset, confirmed; all memory is back
 *
 *              fault, DEVICE_NEEDS_RESET
 *        up --------------------------------> reset --- after a pause --> up
 *                                               | not confirmed
 *                                               v
 *                                             dead: what it had lent is never used again
 *
 * A device that misbehaves (lib/ring says how) or asks for it is reset, and what was on its way is
 * dropped and counted; TCP sends it again. The pause before the next try is short once and doubles
 * while that does not help. A device that does not confirm its reset is left alone for good, with
 * all the memory that it holds (advisory MSA02); the appliance lives on without it.
 *
 * Features are agreed on at open and must be the same at every later start: info cannot change.
 * Several pairs of queues are negotiated where the device has them, as its control queue moves with
 * their number, but one is used: there is one thread.
 */
#include <mirari/log.h>

#include "dev/net/virtio/internal.h"

#define QUEUE_DEFAULT 256u
#define PAGES_DEFAULT 256u
#define PAGES_MIN     20u /* a frame of 64 KiB, and a little */
#define CTRL_SIZE     16u
#define TX_TABLES     64u
#define MTU_MIN       576u
#define PAIRS_MAX     0x7fffu
#define RETRY_MIN_US  MIR_US_PER_MS
#define RETRY_MAX_US  (30 * MIR_US_PER_S)
#define CALM_US       (60 * MIR_US_PER_S)
#define DRAIN_US      (10 * MIR_US_PER_MS)

/* ---- features -----------------------------------------------------------------------------------
 */

static const uint64_t plain_features =
    MIR__VIRTNET_F_MTU | MIR__VIRTNET_F_MAC | MIR__VIRTNET_F_MRG_RXBUF | MIR__VIRTNET_F_STATUS |
    MIR__VIRTNET_F_CTRL_VQ | MIR__VIRTNET_F_CTRL_RX | MIR__VIRTNET_F_ANNOUNCE | MIR__VIRTNET_F_MQ |
    MIR__VIRTNET_F_CTRL_MAC;
static const uint64_t offload_features = MIR__VIRTNET_F_CSUM | MIR__VIRTNET_F_GUEST_CSUM |
                                         MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6 |
                                         MIR__VIRTNET_F_GUEST_ECN | MIR__VIRTNET_F_HOST_TSO4 |
                                         MIR__VIRTNET_F_HOST_TSO6;

static uint64_t without(uint64_t features, uint64_t needed, uint64_t unwanted)
{
    return (features & needed) == needed ? features : features & ~unwanted;
}

/* What needs another feature goes with it (section 5.1.3.1): a device may offer anything. */
static uint64_t choose(void *arg, uint64_t offered)
{
    const struct mir__virtnet *n = arg;
    const uint64_t guest_tso =
        MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6 | MIR__VIRTNET_F_GUEST_ECN;
    uint64_t f = offered & plain_features;
    if (n->features == 0) /* open: wishes; later what was agreed on */
        f |= offered & offload_features & (n->dev.info.gso_max != 0 ? UINT64_MAX : 0);
    else
        f = offered & n->features;
    f = without(f, MIR__VIRTNET_F_GUEST_CSUM, guest_tso);
    f = without(f, MIR__VIRTNET_F_MRG_RXBUF, guest_tso);
    if (!(f & (MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6)))
        f &= ~MIR__VIRTNET_F_GUEST_ECN;
    f = without(f, MIR__VIRTNET_F_CSUM, MIR__VIRTNET_F_HOST_TSO4 | MIR__VIRTNET_F_HOST_TSO6);
    f = without(f, MIR__VIRTNET_F_CTRL_VQ,
                MIR__VIRTNET_F_CTRL_RX | MIR__VIRTNET_F_MQ | MIR__VIRTNET_F_CTRL_MAC |
                    MIR__VIRTNET_F_ANNOUNCE);
    return without(f, MIR__VIRTNET_F_STATUS, MIR__VIRTNET_F_ANNOUNCE);
}

static int negotiate(struct mir__virtnet *n)
{
    int r = mir__virtio_reset(n->virtio);
    if (r < 0)
        return -MIR_EIO;
    r = mir__virtio_negotiate(n->virtio, choose, n);
    if (r == 0 && n->features != 0 && n->virtio->features != n->features)
        r = -MIR_ENOTSUP;
    if (r < 0) {
        mir__virtio_fail(n->virtio);
        return r;
    }
    n->features = n->virtio->features;
    n->is_negotiated = true;
    return 0;
}

static uint32_t caps_of(uint64_t features)
{
    uint32_t caps = MIR_NET_TX_SG;
    caps |= features & MIR__VIRTNET_F_CSUM ? MIR_NET_TX_CSUM : 0u;
    caps |= features & MIR__VIRTNET_F_HOST_TSO4 ? MIR_NET_TX_TSO4 : 0u;
    caps |= features & MIR__VIRTNET_F_HOST_TSO6 ? MIR_NET_TX_TSO6 : 0u;
    caps |= features & MIR__VIRTNET_F_GUEST_CSUM ? MIR_NET_RX_CSUM : 0u;
    if (features & (MIR__VIRTNET_F_GUEST_TSO4 | MIR__VIRTNET_F_GUEST_TSO6))
        caps |= MIR_NET_RX_GRO;
    return caps;
}

/* ---- configuration ------------------------------------------------------------------------------
 */

static int read_mac(struct mir__virtnet *n, const struct mir_virtio_net_config *config)
{
    bool has_own = n->features & MIR__VIRTNET_F_MAC;
    mir_memcpy(n->own_mac, config->mac, 6);
    if (has_own) {
        int r = mir__virtio_config(n->virtio, MIR__VIRTNET_CONFIG_MAC, n->own_mac, 1, 6);
        if (r < 0)
            return r;
    }
    mir_memcpy(n->dev.info.mac, config->has_mac ? config->mac : n->own_mac, 6);
    return n->dev.info.mac[0] & 1 ? -MIR_EINVAL : 0;
}

static int read_mtu(struct mir__virtnet *n, const struct mir_virtio_net_config *config)
{
    uint16_t mtu = 1500;
    if (n->features & MIR__VIRTNET_F_MTU) {
        int r = mir__virtio_config(n->virtio, MIR__VIRTNET_CONFIG_MTU, &mtu, 2, 1);
        if (r < 0)
            return r;
        if (mtu < MTU_MIN)
            return -MIR_ENOTSUP;
    } else if (config->mtu != 0) {
        mtu = config->mtu;
    }
    if (config->mtu != 0)
        mtu = MIR_MIN(mtu, config->mtu);
    n->dev.info.mtu = mtu;
    return 0;
}

/* The control queue lies behind all pairs, and its number must be one: of 32,768 pairs it would be
 * that of the first queue. */
static int find_control(struct mir__virtnet *n)
{
    uint16_t pairs = 1;
    if (n->features & MIR__VIRTNET_F_MQ) {
        int r = mir__virtio_config(n->virtio, MIR__VIRTNET_CONFIG_PAIRS, &pairs, 2, 1);
        if (r < 0)
            return r;
        if (pairs == 0 || pairs > PAIRS_MAX)
            return -MIR_ENOTSUP;
    }
    n->ctrl_index = (uint16_t)(2u * pairs);
    return 0;
}

static int describe(struct mir__virtnet *n, const struct mir_virtio_net_config *config)
{
    int r = read_mac(n, config);
    if (r == 0)
        r = read_mtu(n, config);
    if (r == 0)
        r = find_control(n);
    if (r < 0)
        return r;
    bool is_merged = n->features & MIR__VIRTNET_F_MRG_RXBUF;
    bool is_modern = mir__virtio_has(n->virtio, MIR_VIRTIO_F_VERSION_1);
    n->header_len = is_merged || is_modern ? MIR__VIRTNET_HEADER_MAX : MIR__VNET_LEN;
    n->has_one_piece = is_modern || mir__virtio_has(n->virtio, MIR_VIRTIO_F_ANY_LAYOUT);
    n->dev.info.caps = caps_of(n->features);
    bool has_tso = n->dev.info.caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6);
    n->dev.info.gso_max = has_tso ? MIR__VNET_FRAME_MAX : 0;
    bool is_large = n->dev.info.caps & MIR_NET_RX_GRO;
    n->rx_frame_max = is_large ? MIR__VNET_FRAME_MAX + 4u : n->dev.info.mtu + MIR__VNET_ETH + 4u;
    uint32_t whole = MIR__VIRTNET_RX_OFFSET + n->header_len + n->rx_frame_max;
    n->rx_page_bytes = is_merged || whole <= MIR_PAGE_SIZE ? MIR_PAGE_SIZE : whole;
    n->rx_room = (is_merged ? MIR_PAGE_SIZE : whole) - MIR__VIRTNET_RX_OFFSET;
    return 0;
}

static bool read_link(struct mir__virtnet *n, bool *is_announcing)
{
    uint16_t status = MIR__VIRTNET_LINK_UP;
    if (n->features & MIR__VIRTNET_F_STATUS &&
        mir__virtio_config(n->virtio, MIR__VIRTNET_CONFIG_STATUS, &status, 2, 1) < 0)
        status = 0;
    *is_announcing = n->features & MIR__VIRTNET_F_ANNOUNCE && status & MIR__VIRTNET_ANNOUNCE;
    return status & MIR__VIRTNET_LINK_UP;
}

static void tell_link(struct mir__virtnet *n, bool is_up)
{
    n->has_link = is_up;
    if (n->upper.link != NULL)
        n->upper.link(n->upper.arg, is_up);
}

static void on_config(struct mir__virtnet *n)
{
    bool is_announcing;
    if (mir__virtio_needs_reset(n->virtio)) {
        mir__virtnet_reset(n, "it asks for a reset");
        return;
    }
    bool is_up = read_link(n, &is_announcing);
    if (is_announcing)
        mir__virtnet_ctrl_want(n, MIR__VIRTNET_ACK_ANNOUNCE);
    /* Who hears that the link is up tells the network where we are. */
    if (is_up != n->has_link || (is_announcing && is_up))
        tell_link(n, is_up);
}

/* ---- up and down --------------------------------------------------------------------------------
 */

static void release_all(struct mir__virtnet *n)
{
    void *token;
    while (n->rx.shared != NULL && (token = mir__virtq_reclaim(&n->rx.ring)) != NULL)
        mir_page_release(token);
    while (n->tx.shared != NULL && (token = mir__virtq_reclaim(&n->tx.ring)) != NULL) {
        mir_buf_release(token);
        n->stats.tx_dropped++;
    }
}

/* The queues end here. All memory is ours again, or lost for good. */
static void take_down(struct mir__virtnet *n)
{
    n->epoch++;
    n->is_up = false;
    n->is_held = false;
    n->is_negotiated = false;
    mir_timer_cancel(&n->timer);
    n->counters.notifications += n->rx.ring.notifications + n->tx.ring.notifications;
    n->rx.ring.notifications = 0;
    n->tx.ring.notifications = 0;
    if (mir__virtio_reset(n->virtio) == 0) {
        release_all(n);
    } else {
        n->is_dead = true;
        n->counters.quarantined += n->rx.ring.in_flight + n->tx.ring.in_flight;
        MIR_LOG(DEV, ERROR, "the network device does not confirm its reset: it is left alone");
    }
    mir_buf_release(n->rx_spare);
    n->rx_spare = NULL;
}

static int open_queues(struct mir__virtnet *n)
{
    int r = mir__virtio_queue_open(n->virtio, &n->rx, 0, n->rx.size, 0);
    if (r == 0)
        r = mir__virtio_queue_open(n->virtio, &n->tx, 1, n->tx.size, TX_TABLES);
    if (r == 0 && n->features & MIR__VIRTNET_F_CTRL_VQ)
        r = mir__virtio_queue_open(n->virtio, &n->ctrl, n->ctrl_index, CTRL_SIZE, 0);
    if (r == 0 && n->tx.ring.size < MIR__VIRTNET_TX_SEGS + 1 && n->tx.ring.table_count == 0)
        r = -MIR_ENOTSUP;
    if (r < 0)
        return r;
    n->rx_target = MIR_MIN(n->rx_target, n->rx.ring.size);
    mir__virtq_disarm(&n->tx.ring);
    return mir__virtnet_rx_fill(n);
}

static int bring_up(struct mir__virtnet *n)
{
    int r = n->is_negotiated ? 0 : negotiate(n);
    if (r == 0)
        r = open_queues(n);
    if (r < 0) {
        take_down(n);
        return r;
    }
    mir__virtio_ready(n->virtio);
    n->is_up = true;
    n->up_since_us = mir_loop_now(n->loop);
    mir__virtio_kick(&n->rx);
    mir__virtnet_ctrl_start(n);
    return 0;
}

void mir__virtnet_reset(struct mir__virtnet *n, const char *why)
{
    if (!n->is_up)
        return;
    bool is_fault = n->rx.ring.fault != 0 || n->tx.ring.fault != 0 || n->ctrl.ring.fault != 0;
    mir_time_us now_us = mir_loop_now(n->loop);
    n->counters.resets++;
    n->counters.faults += is_fault || !mir__virtio_needs_reset(n->virtio);
    MIR_LOG(DEV, WARN, "network device: %s; it is reset", why);
    take_down(n);
    if (now_us - n->up_since_us > CALM_US)
        n->retry_us = RETRY_MIN_US;
    if (n->has_link && n->is_started)
        tell_link(n, false);
    if (n->is_started && !n->is_dead)
        mir_timer_set(n->loop, &n->timer, now_us + n->retry_us);
    n->retry_us = MIR_MIN(n->retry_us * 2, RETRY_MAX_US);
}

static void on_timer(void *arg)
{
    struct mir__virtnet *n = arg;
    bool is_announcing;
    if (n->is_up) {
        mir__virtnet_tx_look(n);
    } else if (n->is_started && !n->is_dead) {
        if (bring_up(n) == 0)
            tell_link(n, read_link(n, &is_announcing));
        else if (!n->is_dead)
            mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + n->retry_us);
        n->retry_us = MIR_MIN(n->retry_us * 2, RETRY_MAX_US);
    }
}

/* ---- what a target calls ------------------------------------------------------------------------
 */

static struct mir__virtnet *of_driver(struct mir_virtio_driver *driver)
{
    return MIR_CONTAINER_OF(driver, struct mir__virtnet, driver);
}

static bool net_poll(struct mir_virtio_driver *driver, unsigned events)
{
    struct mir__virtnet *n = of_driver(driver);
    if (!n->is_up)
        return false;
    mir__virtq_disarm(&n->rx.ring);
    if (MIR_UNLIKELY(events & MIR_VIRTIO_EVENT_CONFIG))
        on_config(n);
    bool found = n->is_up && mir__virtnet_tx_poll(n);
    found |= n->is_up && n->ctrl_sent != 0 && mir__virtnet_ctrl_poll(n);
    found |= n->is_up && mir__virtnet_rx_poll(n);
    return found;
}

static bool net_arm(struct mir_virtio_driver *driver)
{
    struct mir__virtnet *n = of_driver(driver);
    if (!n->is_up)
        return false;
    bool is_there = mir__virtq_arm(&n->rx.ring, 1);
    if (n->is_full && n->tx.ring.in_flight > 0)
        is_there |= mir__virtq_arm(&n->tx.ring, (uint16_t)((n->tx.ring.in_flight + 1u) / 2));
    if (n->ctrl_sent != 0)
        is_there |= mir__virtq_arm(&n->ctrl.ring, 1);
    return is_there;
}

/* ---- the contract -------------------------------------------------------------------------------
 */

static int net_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    bool is_announcing;
    if (n->is_started)
        return -MIR_EBUSY;
    if (n->is_dead)
        return -MIR_EIO;
    int r = bring_up(n);
    if (r < 0)
        return r;
    n->upper = *upper;
    n->is_started = true;
    n->is_full = false;
    n->retry_us = RETRY_MIN_US;
    tell_link(n, read_link(n, &is_announcing));
    return 0;
}

/* What was given for sending goes out, if the device is quick. */
static void drain(struct mir__virtnet *n)
{
    struct mir_clock *clock = n->virtio->clock;
    mir_time_us end_us = clock->monotonic(clock) + DRAIN_US;
    n->is_full = false; /* nobody is to be told of room */
    mir__virtnet_tx_flush(&n->dev);
    while (n->is_up && n->tx.ring.in_flight > 0 && clock->monotonic(clock) < end_us)
        (void)mir__virtnet_tx_poll(n);
}

static void net_stop(struct mir_net_dev *dev)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    if (!n->is_started)
        return;
    n->is_started = false;
    if (n->is_up)
        drain(n);
    mir_timer_cancel(&n->timer);
    if (n->is_up)
        take_down(n);
}

static void net_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct mir__virtnet *)(const void *)dev)->stats;
}

static void net_close(struct mir_net_dev *dev)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    net_stop(dev);
    if (!n->is_dead) {
        mir__virtio_queue_close(&n->rx);
        mir__virtio_queue_close(&n->tx);
        mir__virtio_queue_close(&n->ctrl);
        if (n->ctrl_page != NULL)
            mir_page_release(n->ctrl_page);
    }
    mir_page_release(n->self);
}

static const struct mir_net_dev_ops net_ops = {
    .start = net_start,
    .stop = net_stop,
    .tx = mir__virtnet_tx,
    .flush = mir__virtnet_tx_flush,
    .tx_room = mir__virtnet_tx_room,
    .stats = net_stats,
    .close = net_close,
};

static struct mir__virtnet *make(const struct mir_virtio_net_config *config)
{
    struct mir_io_page *self;
    if (mir_page_alloc(config->bufs->pages, sizeof(struct mir__virtnet), MIR_PAGE_ZERO, &self) < 0)
        return NULL;
    struct mir__virtnet *n = (struct mir__virtnet *)(void *)self->base;
    n->self = self;
    n->virtio = config->virtio;
    n->loop = config->loop;
    n->bufs = config->bufs;
    n->dev.ops = &net_ops;
    n->dev.info.kind = "virtio";
    n->dev.info.gso_max = config->is_plain ? 0 : MIR__VNET_FRAME_MAX;
    n->driver =
        (struct mir_virtio_driver){.poll = net_poll, .arm = net_arm, .virtio = config->virtio};
    n->is_promiscuous = config->is_promiscuous;
    n->retry_us = RETRY_MIN_US;
    n->rx.size = config->queue_max != 0 ? config->queue_max : QUEUE_DEFAULT;
    n->tx.size = n->rx.size;
    n->rx_target = config->rx_pages != 0 ? config->rx_pages : PAGES_DEFAULT;
    mir_timer_init(&n->timer, on_timer, n);
    return n;
}

int mir_virtio_net_open(const struct mir_virtio_net_config *config, struct mir_net_dev **dev)
{
    if (config->virtio->device != MIR_VIRTIO_NET ||
        (config->rx_pages != 0 && config->rx_pages < PAGES_MIN) ||
        (config->mtu != 0 && config->mtu < MTU_MIN))
        return -MIR_EINVAL;
    struct mir__virtnet *n = make(config);
    if (n == NULL)
        return -MIR_ENOMEM;
    int r = negotiate(n);
    if (r == 0)
        r = describe(n, config);
    if (r == 0 && n->features & MIR__VIRTNET_F_CTRL_VQ)
        r = mir_page_alloc(config->bufs->pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &n->ctrl_page);
    if (r < 0) {
        mir__virtio_fail(config->virtio);
        net_close(&n->dev);
        return r;
    }
    *dev = &n->dev;
    return 0;
}

struct mir_virtio_driver *mir_virtio_net_driver(struct mir_net_dev *dev)
{
    return &mir__virtnet_of(dev)->driver;
}

void mir_virtio_net_counters(const struct mir_net_dev *dev,
                             struct mir_virtio_net_counters *counters)
{
    const struct mir__virtnet *n = (const struct mir__virtnet *)(const void *)dev;
    *counters = n->counters;
    counters->notifications += n->rx.ring.notifications + n->tx.ring.notifications;
}

void mir_virtio_net_set_promiscuous(struct mir_net_dev *dev, bool is_promiscuous)
{
    struct mir__virtnet *n = mir__virtnet_of(dev);
    n->is_promiscuous = is_promiscuous;
    if (n->is_up && n->features & MIR__VIRTNET_F_CTRL_RX)
        mir__virtnet_ctrl_want(n, MIR__VIRTNET_SET_PROMISCUOUS);
}
