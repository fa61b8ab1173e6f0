/* SPDX-License-Identifier: ISC */
/* A Xen network interface, the frontend: its life, its link (public/io/netif.h).
 *
 *   open    the backend is InitWait: what it can is read and said in info
 *   start   rings and event channel are made and offered: Connected; frames flow when it is, too
 *   stop    Closing, Closed; all grants end, all memory is back
 *
 *                     fault, backend closes
 *   offered -> up ------------------------------> given up --- after a pause, InitWait --> offered
 *                                                    | it keeps a page
 *                                                    v
 *                                                 that page is never used again
 *
 * A backend that does what no honest one does is given up and offered new rings after a pause,
 * which doubles while that does not help. A backend that was restarted says so by its state. What
 * was on its way is dropped and counted; TCP sends it again. Memory that a backend keeps mapped is
 * left alone for good, piece by piece (MirageOS advisory MSA02), and counted; after some hundred
 * the interface is, too.
 *
 * What the backend can is agreed on at open; one that comes back with less is not used.
 *
 * Tried against a backend in the same process, not on Xen yet. Not here: several pairs of rings,
 * split event channels, multicast filters, the control ring, suspend and resume.
 */
#include <mirari/log.h>

#include "dev/net/xen/internal.h"

#define PAGES_MIN    20u
#define MTU_MIN      576u
#define RETRY_MIN_US (10 * MIR_US_PER_MS)
#define RETRY_MAX_US (30 * MIR_US_PER_S)

enum { TX = 0, RX = 1 };

void mir__netfront_notify(struct mir__netfront *n)
{
    n->counters.notifications++;
    n->device.xen->ops->notify(n->device.xen, n->port);
}

static void tell_link(struct mir__netfront *n, bool is_up)
{
    if (n->is_started && n->upper.link != NULL)
        n->upper.link(n->upper.arg, is_up);
}

/* ---- rings ------------------------------------------------------------------------------------
 */

static void close_ring(struct mir__netfront *n, int which)
{
    struct mir_io_page *page = n->ring_page[which];
    struct mir_xen *xen = n->device.xen;
    n->ring_page[which] = NULL;
    if (page == NULL)
        return;
    if (n->ring_ref[which] == MIR_XEN_NO_REF || xen->ops->grant_end(xen, n->ring_ref[which]) == 0)
        mir_page_release(page);
    else
        n->counters.quarantined++;
}

static int open_ring(struct mir__netfront *n, int which)
{
    struct mir_xen *xen = n->device.xen;
    struct mir__xring *ring = which == TX ? &n->tx : &n->rx;
    n->ring_ref[which] = MIR_XEN_NO_REF;
    if (mir_page_alloc(n->bufs->pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &n->ring_page[which]) < 0)
        return -MIR_ENOMEM;
    struct mir__xring_config config = {
        .shared = n->ring_page[which]->base,
        .bytes = MIR_PAGE_SIZE,
        .entry_bytes = which == TX ? sizeof(union mir__netif_tx) : sizeof(union mir__netif_rx),
        .is_front = true,
        .packet_max = which == TX ? MIR__NETIF_SLOTS_MAX + 1 : 1,
        .own = which == TX ? n->tx_own : n->rx_own,
    };
    int r = mir__xring_init(ring, &config);
    MIR_ASSERT(r == 0 && ring->count == MIR__NETFRONT_SLOTS);
    return xen->ops->grant(xen, n->device.back_domain, config.shared, false, &n->ring_ref[which]);
}

/* All of it ends here; what the backend keeps is left alone. */
static void take_down(struct mir__netfront *n)
{
    struct mir_xen *xen = n->device.xen;
    n->epoch++;
    n->is_up = false;
    n->is_offered = false;
    mir_timer_cancel(&n->timer);
    (void)mir__xen_close(&n->device);
    if (n->ring_page[TX] != NULL)
        mir__netfront_tx_fini(n);
    mir__netfront_rx_fini(n);
    close_ring(n, TX);
    close_ring(n, RX);
    if (n->port != 0)
        xen->ops->event_close(xen, n->port);
    n->port = 0;
}

static void go_up(struct mir__netfront *n)
{
    n->is_up = true;
    if (mir__xring_publish(&n->rx))
        mir__netfront_notify(n);
    tell_link(n, true);
    if (n->is_up && n->is_full) {
        n->is_full = false;
        if (n->upper.tx_ready != NULL)
            n->upper.tx_ready(n->upper.arg);
    }
}

static int make_all(struct mir__netfront *n)
{
    struct mir_xen *xen = n->device.xen;
    mir__netfront_tx_init(n);
    int r = open_ring(n, TX);
    if (r == 0)
        r = open_ring(n, RX);
    if (r == 0)
        r = xen->ops->event_open(xen, n->device.back_domain, &n->port);
    if (r == 0)
        r = mir__netfront_rx_fill(n);
    if (r == 0)
        r = mir__netfront_features_write(&n->device, n->ring_ref, n->port, n->is_plain);
    return r == 0 ? mir__xen_set_state(&n->device, MIR_XENBUS_CONNECTED) : r;
}

static int offer(struct mir__netfront *n)
{
    int r = make_all(n);
    if (r < 0) {
        take_down(n);
        return r;
    }
    n->is_offered = true;
    if (mir__xen_back_state(&n->device) == MIR_XENBUS_CONNECTED)
        go_up(n);
    return 0;
}

/* ---- the backend comes and goes ---------------------------------------------------------------
 */

static void retry_later(struct mir__netfront *n)
{
    if (mir__netfront_is_dead(n))
        MIR_LOG(DEV, ERROR, "network interface %s: the backend keeps our memory: it gets no more",
                n->device.front);
    else if (n->is_started)
        mir_timer_set(n->loop, &n->timer, mir_loop_now(n->loop) + n->retry_us);
    n->retry_us = MIR_MIN(n->retry_us * 2, RETRY_MAX_US);
}

static void give_up(struct mir__netfront *n)
{
    bool was_up = n->is_up;
    n->counters.resets++;
    take_down(n);
    if (was_up)
        tell_link(n, false);
    retry_later(n);
}

void mir__netfront_reset(struct mir__netfront *n, const char *why)
{
    if (!n->is_offered)
        return;
    n->counters.faults++;
    MIR_LOG(DEV, WARN, "network interface %s: the backend misbehaves: %s; it is given up",
            n->device.front, why);
    give_up(n);
}

/* The same as at open, or more. */
static bool is_as_good(const struct mir__netfront *n)
{
    struct mir__netfront_features now;
    struct mir_net_dev_info info = {.caps = 0};
    if (mir__netfront_features_read(&n->device, &now) < 0)
        return false;
    mir__netfront_features_caps(&now, n->is_plain, &info);
    return now.has_copy && (info.caps & n->dev.info.caps) == n->dev.info.caps &&
           info.mtu >= n->dev.info.mtu && (now.is_trusted || !n->features.is_trusted) &&
           mir_memcmp(now.mac, n->dev.info.mac, 6) == 0;
}

static void try_again(struct mir__netfront *n)
{
    if (mir__netfront_is_dead(n))
        return;
    if (mir__xen_set_state(&n->device, MIR_XENBUS_INITIALISING) < 0 ||
        mir__xen_back_state(&n->device) != MIR_XENBUS_INIT_WAIT || !is_as_good(n) || offer(n) < 0)
        retry_later(n);
}

void mir_netfront_store_changed(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    enum mir_xenbus_state state = mir__xen_back_state(&n->device);
    if (!n->is_started)
        return;
    if (!n->is_offered) {
        if (state == MIR_XENBUS_INIT_WAIT)
            try_again(n);
    } else if (state == MIR_XENBUS_CONNECTED) {
        if (!n->is_up)
            go_up(n);
    } else if (n->is_up || state >= MIR_XENBUS_CLOSING) {
        MIR_LOG(DEV, WARN, "network interface %s: the backend is gone", n->device.front);
        give_up(n);
    }
}

static void on_timer(void *arg)
{
    struct mir__netfront *n = arg;
    if (n->is_up)
        mir__netfront_tx_look(n);
    else if (n->is_started && !n->is_offered)
        try_again(n);
}

/* ---- what a target calls ----------------------------------------------------------------------
 */

bool mir_netfront_poll(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    bool found = n->is_up && mir__netfront_tx_poll(n);
    found |= n->is_up && mir__netfront_rx_poll(n);
    return found;
}

bool mir_netfront_arm(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    if (!n->is_up)
        return false;
    bool is_there = mir__xring_arm(&n->rx);
    if (n->is_full)
        is_there |= mir__xring_arm(&n->tx);
    return is_there;
}

void mir_netfront_counters(const struct mir_net_dev *dev, struct mir_netfront_counters *counters)
{
    *counters = ((const struct mir__netfront *)(const void *)dev)->counters;
}

/* ---- the contract -----------------------------------------------------------------------------
 */

static int net_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    if (n->is_started)
        return -MIR_EBUSY;
    if (mir__netfront_is_dead(n))
        return -MIR_EIO;
    n->upper = *upper;
    n->is_started = true;
    n->is_full = false;
    n->retry_us = RETRY_MIN_US;
    if (mir__xen_back_state(&n->device) == MIR_XENBUS_INIT_WAIT) {
        int r = offer(n);
        n->is_started = r == 0;
        return r;
    }
    retry_later(n); /* it was in use before and its backend is not done with that */
    return 0;
}

static void net_stop(struct mir_net_dev *dev)
{
    struct mir__netfront *n = mir__netfront_of(dev);
    struct mir_xen *xen = n->device.xen;
    if (!n->is_started)
        return;
    mir__netfront_tx_flush(dev);
    /* What was given for sending goes out, if the backend is quick; nobody is told of room. */
    n->is_full = false;
    for (uint32_t i = 0; n->is_up && n->tx.published != n->tx.taken && i < 10; i++) {
        xen->ops->pause(xen);
        (void)mir__netfront_tx_poll(n);
    }
    n->is_started = false;
    mir_timer_cancel(&n->timer);
    if (n->is_offered)
        take_down(n);
}

static void net_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct mir__netfront *)(const void *)dev)->stats;
}

static void net_close(struct mir_net_dev *dev)
{
    net_stop(dev);
    mir_page_release(mir__netfront_of(dev)->self);
}

static const struct mir_net_dev_ops net_ops = {
    .start = net_start,
    .stop = net_stop,
    .tx = mir__netfront_tx,
    .flush = mir__netfront_tx_flush,
    .tx_room = mir__netfront_tx_room,
    .stats = net_stats,
    .close = net_close,
};

static int describe(struct mir__netfront *n, const struct mir_netfront_config *config)
{
    int r = mir__netfront_features_read(&n->device, &n->features);
    if (r < 0)
        return r;
    if (!n->features.has_copy)
        return -MIR_ENOTSUP;
    mir__netfront_features_caps(&n->features, config->is_plain, &n->dev.info);
    if (config->mtu != 0)
        n->dev.info.mtu = MIR_MIN(n->dev.info.mtu, config->mtu);
    n->slots_max = n->features.has_sg ? MIR__NETIF_SLOTS_MAX : 1;
    return 0;
}

int mir_netfront_open(const struct mir_netfront_config *config, struct mir_net_dev **dev)
{
    struct mir_io_page *self;
    if ((config->rx_pages != 0 &&
         (config->rx_pages < PAGES_MIN || config->rx_pages > MIR__NETFRONT_SLOTS)) ||
        (config->mtu != 0 && config->mtu < MTU_MIN))
        return -MIR_EINVAL;
    if (mir__xen_back_state(config->device) != MIR_XENBUS_INIT_WAIT)
        return -MIR_EAGAIN;
    if (mir_page_alloc(config->bufs->pages, sizeof(struct mir__netfront), MIR_PAGE_ZERO, &self) < 0)
        return -MIR_ENOMEM;
    struct mir__netfront *n = (struct mir__netfront *)(void *)self->base;
    n->self = self;
    n->device = *config->device;
    n->loop = config->loop;
    n->bufs = config->bufs;
    n->is_plain = config->is_plain;
    n->dev.ops = &net_ops;
    n->dev.info.kind = "xen";
    n->rx_target = config->rx_pages != 0 ? config->rx_pages : MIR__NETFRONT_SLOTS;
    mir_timer_init(&n->timer, on_timer, n);
    int r = describe(n, config);
    if (r < 0) {
        mir_page_release(self);
        return r;
    }
    *dev = &n->dev;
    return 0;
}
