/* SPDX-License-Identifier: ISC */
/* Frames over a Linux tap with vnet header (dev/net/vnet).
 *
 * With the header host and appliance exchange bulk data without cutting it into MTUs and without
 * summing it.
 *
 * Receive. Each frame is read into a landing run, from where it goes up in a buffer of about its
 * size (dev/net/vnet/landing.c). At most BATCH frames or BATCH_BYTES are taken a wake-up, then
 * rx_end: what an application has released by then is read into again while the caches still hold
 * it, which is worth a third of the rate of bulk data.
 *
 * Send. A linear frame with head room gets its header pushed in front and is one write; anything
 * else is one writev. The kernel takes the frame through its whole stack during the call, so
 * batching would gain nothing: only datagrams are held back, until flush or the next frame of
 * another flow, because several of one flow can be one frame (dev/net/vnet/bundle.c). But what is
 * sent while single frames are being read leaves at once: the peer takes it and asks for more
 * meanwhile, where it would go to sleep while it waits for the end of the batch. The frame for
 * which the queue has no room (EAGAIN) waits here until it has; so do some control frames behind
 * it.
 *
 * Nothing is allocated but buffers and pages, and the set of watched events changes only when the
 * tap is full. The host is trusted not to lie about lengths, but its fields are checked all the
 * same.
 */
#include "dev/net/tap/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mirari/log.h>

#include "dev/net/vnet/bundle.h"
#include "dev/net/vnet/landing.h"

#define BATCH       64u
#define BATCH_BYTES (512u << 10)
#define GATHER_MAX  1514u

struct tap {
    struct mir_net_dev dev; /* first */
    struct mir_host_poll *poll;
    struct mir_host_watch watch;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir__landing landing;
    bool is_started;
    bool is_full;
    bool is_paused;               /* not read */
    bool is_gone;                 /* the host's interface does not exist any more */
    bool is_eager;                /* what is sent leaves at once */
    bool joins;                   /* datagrams to bundles */
    struct mir_buf *held;         /* a datagram, or a bundle that may still grow; NULL: none */
    struct mir_buf_queue waiting; /* while is_full: taken, and to be sent first */
    char ifname[16];
    uint8_t gather[MIR__VNET_LEN + GATHER_MAX];
};

static struct tap *of_dev(struct mir_net_dev *dev)
{
    return (struct tap *)(void *)dev;
}

static void tap_flush(struct mir_net_dev *dev);
static void send_waiting(struct tap *tap);

static unsigned events_of(const struct tap *tap)
{
    return (tap->is_paused ? 0 : MIR_HOST_IN) | (tap->is_full ? MIR_HOST_OUT : 0);
}

/* ---- receive ------------------------------------------------------------------------------ */

static void hand_up(struct tap *tap, struct mir_buf *buf_given)
{
    tap->stats.rx_frames++;
    tap->stats.rx_bytes += buf_given->len;
    tap->upper.rx(tap->upper.arg, buf_given);
}

/* Each datagram of a bundle, as if they had come one by one. */
static void take_apart(struct tap *tap, struct mir_buf *all_given)
{
    struct mir__bundle bundle;
    struct mir_buf *buf;
    bool is_good = mir__bundle_open(&bundle, all_given);
    tap->stats.rx_errors += !is_good;
    tap->is_eager = false; /* its answers are one frame too */
    while (is_good && tap->is_started &&
           (buf = mir__bundle_next(&bundle, tap->landing.bufs)) != NULL)
        hand_up(tap, buf);
    tap->is_eager = true;
    tap_flush(&tap->dev);
    tap->stats.rx_dropped += is_good && bundle.at < all_given->len;
    mir_buf_release(all_given);
}

static void take_frame(struct tap *tap, uint32_t len)
{
    struct mir_buf *buf = mir__landing_take(&tap->landing, len);
    if (MIR_UNLIKELY(buf == NULL))
        tap->stats.rx_dropped++;
    else if (MIR_UNLIKELY(mir__bundle_is(buf)))
        take_apart(tap, buf);
    else
        hand_up(tap, buf);
}

static bool is_gone(int error)
{
    return error == EBADFD || error == ENODEV;
}

/* Somebody removed the interface. It does not come back under this descriptor, which would now be
 * reported as ready forever. */
static void lose_interface(struct tap *tap)
{
    MIR_LOG(DEV, ERROR, "the tap %s was removed from the host", tap->ifname);
    tap->is_gone = true;
    tap->poll->ops->remove(tap->poll, &tap->watch);
    if (tap->upper.link != NULL)
        tap->upper.link(tap->upper.arg, false);
}

/* Without memory a frame is read away, so that the tap's queue does not keep the loop awake. */
static void discard_frame(struct tap *tap)
{
    uint8_t nowhere[64];
    if (read(tap->watch.fd, nowhere, sizeof nowhere) > 0)
        tap->stats.rx_dropped++;
    else if (is_gone(errno))
        lose_interface(tap);
}

static void receive(struct tap *tap)
{
    uint32_t count = 0;
    uint64_t enough = tap->stats.rx_bytes + BATCH_BYTES;
    tap->is_eager = true;
    while (count < BATCH && tap->stats.rx_bytes < enough && tap->is_started) {
        if (MIR_UNLIKELY(!mir__landing_prepare(&tap->landing, true))) {
            discard_frame(tap);
            break;
        }
        ssize_t n = read(tap->watch.fd, mir__landing_at(&tap->landing),
                         MIR__VNET_LEN + MIR__VNET_FRAME_MAX);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno != EAGAIN)
                tap->stats.rx_errors++;
            if (is_gone(errno))
                lose_interface(tap);
            break;
        }
        count++;
        if ((size_t)n < MIR__VNET_LEN + MIR__VNET_ETH) {
            tap->stats.rx_errors++;
            continue;
        }
        take_frame(tap, (uint32_t)n - MIR__VNET_LEN);
    }
    tap->is_eager = false;
    tap->watch.found = count > 0;
    if (count > 0 && tap->is_started && tap->upper.rx_end != NULL)
        tap->upper.rx_end(tap->upper.arg);
}

static void on_ready(void *arg, unsigned events)
{
    struct tap *tap = arg;
    if (events & MIR_HOST_OUT && tap->is_full)
        send_waiting(tap);
    if (events & (MIR_HOST_IN | MIR_HOST_ERROR) && tap->is_started && !tap->is_paused)
        receive(tap);
}

/* ---- send --------------------------------------------------------------------------------- */

static ssize_t write_frame(struct tap *tap, struct mir_buf *buf)
{
    uint8_t hdr[MIR__VNET_LEN];
    struct iovec iov[2 + MIR_BUF_FRAG_MAX];
    int count = 2;
    if (buf->frag_count == 0 && mir_buf_headroom(buf) >= MIR__VNET_LEN) {
        uint8_t *front = buf->data - MIR__VNET_LEN;
        mir__vnet_fill(front, buf);
        return write(tap->watch.fd, front, MIR__VNET_LEN + buf->len);
    }
    if (buf->frag_count > 0 && mir_buf_total(buf) <= GATHER_MAX) {
        /* A copy of a few hundred bytes costs less than the kernel's walk over an iovec. */
        uint32_t len = mir_buf_total(buf);
        mir__vnet_fill(tap->gather, buf);
        if (mir_buf_copy_out(buf, 0, tap->gather + MIR__VNET_LEN, len) == 0)
            return write(tap->watch.fd, tap->gather, MIR__VNET_LEN + len);
    }
    mir__vnet_fill(hdr, buf);
    iov[0] = (struct iovec){hdr, MIR__VNET_LEN};
    iov[1] = (struct iovec){buf->data, buf->len};
    for (uint32_t i = 0; i < buf->frag_count; i++) {
        /* writev only reads; its type cannot say so. */
        void *data = (void *)(uintptr_t)buf->frag[i].data;
        iov[count++] = (struct iovec){data, buf->frag[i].len};
    }
    return writev(tap->watch.fd, iov, count);
}

/* Write one frame and count it. On -MIR_EAGAIN it is still the caller's. */
static int write_out(struct tap *tap, struct mir_buf *buf_given)
{
    ssize_t n;
    int r = 0;
    do
        n = write_frame(tap, buf_given);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        tap->stats.tx_frames += mir__bundle_count(buf_given);
        tap->stats.tx_bytes += mir_buf_total(buf_given);
    } else if (errno == EAGAIN || errno == ENOBUFS) {
        return -MIR_EAGAIN;
    } else {
        r = -MIR_EIO;
        tap->stats.tx_errors += mir__bundle_count(buf_given);
    }
    mir_buf_release(buf_given);
    return r;
}

/* Write it, or have it wait behind what waits already. */
static int send_out(struct tap *tap, struct mir_buf *buf_given)
{
    int r = tap->is_full ? -MIR_EAGAIN : write_out(tap, buf_given);
    if (MIR_LIKELY(r != -MIR_EAGAIN))
        return r;
    if (!tap->is_full) {
        tap->is_full = true;
        tap->stats.tx_full++;
        tap->poll->ops->set(tap->poll, &tap->watch, events_of(tap));
    }
    if (tap->waiting.count > MIR_NET_TX_KEPT) {
        tap->stats.tx_dropped += mir__bundle_count(buf_given);
        mir_buf_release(buf_given);
        return r;
    }
    mir_buf_queue_push(&tap->waiting, buf_given);
    return 0;
}

static void send_waiting(struct tap *tap)
{
    struct mir_buf *buf;
    while ((buf = mir_buf_queue_pop(&tap->waiting)) != NULL) {
        if (write_out(tap, buf) != -MIR_EAGAIN)
            continue;
        mir_buf_queue_push_front(&tap->waiting, buf);
        return;
    }
    tap->is_full = false;
    tap->poll->ops->set(tap->poll, &tap->watch, events_of(tap));
    if (tap->upper.tx_ready != NULL)
        tap->upper.tx_ready(tap->upper.arg);
}

static void tap_flush(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    struct mir_buf *held = tap->held;
    tap->held = NULL;
    if (held != NULL)
        (void)send_out(tap, held);
}

static int tap_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct tap *tap = of_dev(dev);
    int r = tap->is_started && !tap->is_gone ? mir__vnet_check(&dev->info, buf_given) : -MIR_EIO;
    if (MIR_UNLIKELY(r < 0)) {
        tap->stats.tx_errors++;
        mir_buf_release(buf_given);
        return r;
    }
    bool may_join = tap->joins && !tap->is_eager && mir__bundle_may(buf_given);
    if (may_join && tap->held != NULL &&
        mir__bundle_join(tap->landing.bufs, &tap->held, buf_given)) {
        mir_buf_release(buf_given);
        return 0;
    }
    tap_flush(dev); /* what was held goes first */
    if (!may_join)
        return send_out(tap, buf_given);
    tap->held = buf_given;
    return 0;
}

static uint32_t tap_tx_room(struct mir_net_dev *dev)
{
    return of_dev(dev)->is_full ? 0 : UINT32_MAX;
}

/* ---- life --------------------------------------------------------------------------------- */

static int tap_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct tap *tap = of_dev(dev);
    if (tap->is_started)
        return -MIR_EBUSY;
    if (tap->is_gone)
        return -MIR_EIO;
    tap->upper = *upper;
    tap->is_started = true;
    tap->is_full = false;
    tap->watch.events = events_of(tap);
    int r = tap->poll->ops->add(tap->poll, &tap->watch);
    if (r < 0) {
        tap->is_started = false;
        return r;
    }
    if (tap->upper.link != NULL)
        tap->upper.link(tap->upper.arg, true);
    return 0;
}

static void tap_stop(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    if (!tap->is_started)
        return;
    tap->is_started = false;
    if (!tap->is_gone)
        tap->poll->ops->remove(tap->poll, &tap->watch);
    mir_buf_release(tap->held);
    tap->held = NULL;
    mir_buf_queue_release(&tap->waiting);
    mir__landing_release(&tap->landing);
}

static void tap_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct tap *)(const void *)dev)->stats;
}

static void tap_close(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    tap_stop(dev);
    if (tap->watch.fd >= 0)
        close(tap->watch.fd);
    free(tap);
}

static const struct mir_net_dev_ops tap_ops = {
    .start = tap_start,
    .stop = tap_stop,
    .tx = tap_tx,
    .flush = tap_flush,
    .tx_room = tap_tx_room,
    .stats = tap_stats,
    .close = tap_close,
};

static void describe(struct mir_net_dev_info *info, const struct mir_tap_host *host)
{
    info->mtu = host->mtu;
    info->kind = "tap";
    info->caps = MIR_NET_TX_SG;
    info->gso_max = 0;
    if (host->has_offloads) {
        info->caps |=
            MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
        info->gso_max = MIR__VNET_FRAME_MAX;
    }
}

int mir_tap_adopt(const struct mir_tap_config *config, const struct mir_tap_host *host,
                  struct mir_net_dev **dev)
{
    struct tap *tap = calloc(1, sizeof *tap);
    if (tap == NULL) {
        close(host->fd);
        return -MIR_ENOMEM;
    }
    tap->poll = config->poll;
    tap->landing.bufs = config->bufs;
    tap->watch = (struct mir_host_watch){.fd = host->fd, .ready = on_ready, .arg = tap};
    mir_memcpy(tap->ifname, host->ifname, sizeof tap->ifname);
    tap->dev.ops = &tap_ops;
    mir_memcpy(tap->dev.info.mac, config->mac, 6);
    describe(&tap->dev.info, host);
    tap->joins = host->has_offloads && host->has_bundles;
    tap->is_paused = config->is_paused;
    *dev = &tap->dev;
    return 0;
}

int mir_tap_open(const struct mir_tap_config *config, struct mir_net_dev **dev, char *error)
{
    struct mir_tap_host host = {.fd = -1};
    int r = mir_tap_open_host(config, &host, error);
    if (r < 0)
        return r;
    r = mir_tap_adopt(config, &host, dev);
    if (r < 0)
        snprintf(error, MIR_TAP_ERROR_MAX, "tap: no memory");
    return r;
}

void mir_tap_resume(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    if (!tap->is_paused)
        return;
    tap->is_paused = false;
    if (tap->is_started && !tap->is_gone)
        tap->poll->ops->set(tap->poll, &tap->watch, events_of(tap));
}

void mir_tap_unplug(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    if (tap->watch.fd < 0)
        return;
    if (tap->is_started && !tap->is_gone) {
        tap->poll->ops->remove(tap->poll, &tap->watch);
        if (tap->upper.link != NULL)
            tap->upper.link(tap->upper.arg, false);
    }
    tap->is_gone = true;
    mir_buf_release(tap->held);
    tap->held = NULL;
    close(tap->watch.fd);
    tap->watch.fd = -1;
}

int mir_tap_replug(struct mir_net_dev *dev, const struct mir_tap_host *host)
{
    struct tap *tap = of_dev(dev);
    struct mir_net_dev_info info = dev->info;
    int r = tap->watch.fd >= 0 ? -MIR_EBUSY : 0;
    describe(&info, host);
    if (r == 0 && (info.mtu != dev->info.mtu || info.caps != dev->info.caps))
        r = -MIR_EINVAL;
    tap->watch.fd = r == 0 ? host->fd : tap->watch.fd;
    tap->is_full = false;
    tap->watch.events = events_of(tap);
    if (r == 0 && tap->is_started)
        r = tap->poll->ops->add(tap->poll, &tap->watch);
    if (r < 0) {
        close(host->fd);
        tap->watch.fd = r == -MIR_EBUSY ? tap->watch.fd : -1;
        return r;
    }
    mir_memcpy(tap->ifname, host->ifname, sizeof tap->ifname);
    tap->joins = host->has_offloads && host->has_bundles;
    tap->is_gone = false;
    if (tap->is_started && tap->upper.link != NULL)
        tap->upper.link(tap->upper.arg, true);
    return 0;
}

const char *mir_tap_ifname(const struct mir_net_dev *dev)
{
    return ((const struct tap *)(const void *)dev)->ifname;
}
