/* SPDX-License-Identifier: ISC */
/* Frames over a Linux packet socket: a ring inwards, batches outwards.
 *
 * Receive. The kernel copies each frame for us, with a vnet header (dev/net/vnet) in front, into
 * the next slot of a ring that both map; looking at the ring costs no call. A slot has room for a
 * frame of the usual MTU. A larger one, a TCP segment of up to 64 KiB that a local peer left uncut,
 * only marks its slot and waits whole in the socket's queue, in the order of the marks, for a read
 * into a landing run: one copy as on a tap. At most BATCH frames or BATCH_BYTES are taken a
 * wake-up, then rx_end.
 *
 *   slot   +--------------+------+-------------+------------------+
 *          | tpacket2_hdr | ...  | vnet header | frame            |
 *          +--------------+------+-------------+------------------+
 *                                              ^ tp_mac
 *            tp_status: KERNEL -> the kernel fills it -> USER -> we have copied it -> KERNEL
 *
 * Slots are copied out and given back at once. They could be lent upwards as foreign pages, but the
 * kernel uses them strictly in turn: one that an application keeps would stop the device for all
 * others a turn later, and nobody can bound how long it keeps it. The copy of 1,514 bytes that are
 * just being read costs a few percent of what the frame costs anyhow. For the same reason the ring
 * is one of slots (TPACKET_V2): version 3 hands over blocks, and a block that is not full only
 * after a timer, which a request would wait for.
 *
 * Send. Frames are held back until flush, or until HOLD are there, and leave in one sendmmsg, each
 * with its header and views as an iovec. Datagrams of one flow become one frame
 * (dev/net/vnet/bundle.c). A ring outwards (PACKET_TX_RING) was slower by a tenth: each frame is
 * copied into it, and a buffer is made around that. What is oversize is cut by the host if the
 * interface cannot. Sending has a socket of its own, which is watched only while it is full: on a
 * watched one each frame that has gone wakes the poll to say so. Frames go through the queue
 * discipline of the interface like the host's own: without it (PACKET_QDISC_BYPASS, worth about 5
 * %) nothing could cut segments, and the host's own traffic would be pushed aside. What the socket
 * has no room for (EAGAIN) waits here until it has, and a few control frames behind it.
 *
 * A socket that somebody else has read before, or still reads, has a ring whose next slot nobody
 * told us. Slots that are filled are always one run, since the kernel fills them in turn and they
 * are given back in turn: the one whose predecessor is not filled is the next. If all are, it is
 * the oldest.
 *
 * Link. link.c tells when the interface goes down, comes up or is removed. Down and up again is
 * nothing the socket minds; removed is for good.
 *
 * What is tagged for a VLAN is not for us and is dropped. Several processes on one interface each
 * have their own MAC and socket; the kernel shows broadcasts to all.
 */
#include "dev/net/packet/packet.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mirari/log.h>

#include "dev/net/packet/open.h"
#include "dev/net/vnet/bundle.h"
#include "dev/net/vnet/landing.h"

#define BATCH       64u
#define BATCH_BYTES (512u << 10) /* what caches hold: see dev/net/tap */
#define HOLD        64u
#define PLACES      (HOLD + MIR_NET_TX_KEPT)

struct packet {
    struct mir_net_dev dev; /* first */
    struct mir_host_poll *poll;
    struct mir__packet_host host;
    struct mir_host_watch watch;
    struct mir_host_watch tx_watch; /* while is_full */
    struct mir_host_watch link_watch;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir__landing landing;
    uint32_t slot; /* of the ring, the next to look at */
    bool is_started;
    bool is_watched;
    bool is_full;
    bool is_up;
    bool is_gone;   /* the interface does not exist any more */
    bool joins;     /* datagrams to bundles */
    bool is_paused; /* somebody else reads */
    bool is_lost;   /* adopted: which slot is the next? */
    /* frames held back */
    uint32_t held;
    struct mir_buf *held_buf[PLACES];
    uint8_t held_hdr[PLACES][MIR__VNET_LEN];
    struct mmsghdr message[PLACES];
    struct iovec iov[PLACES][2 + MIR_BUF_FRAG_MAX];
};

static struct packet *of_dev(struct mir_net_dev *dev)
{
    return (struct packet *)(void *)dev;
}

/* ---- receive ------------------------------------------------------------------------------ */

static struct tpacket2_hdr *slot_at(const struct packet *packet, uint32_t at)
{
    return (void *)(packet->host.ring + (size_t)at * MIR__PACKET_SLOT_SIZE);
}

static struct tpacket2_hdr *slot_now(struct packet *packet)
{
    return slot_at(packet, packet->slot);
}

static bool is_filled(const struct packet *packet, uint32_t at)
{
    return __atomic_load_n(&slot_at(packet, at)->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

static bool is_older(const struct tpacket2_hdr *a, const struct tpacket2_hdr *b)
{
    return a->tp_sec != b->tp_sec ? a->tp_sec < b->tp_sec : a->tp_nsec < b->tp_nsec;
}

/* False: none is filled, so it does not matter yet. */
static bool find_slot(struct packet *packet)
{
    uint32_t oldest = 0, before = MIR__PACKET_SLOTS - 1;
    bool was_filled = is_filled(packet, before), is_any = false, is_full = was_filled;
    for (uint32_t i = 0; i < MIR__PACKET_SLOTS; i++) {
        bool is_one = is_filled(packet, i);
        if (is_one && !was_filled) {
            packet->slot = i;
            return true;
        }
        if (is_one && (!is_any || is_older(slot_at(packet, i), slot_at(packet, oldest))))
            oldest = i;
        is_any |= is_one;
        is_full &= is_one;
        was_filled = is_one;
    }
    packet->slot = oldest;
    return is_full;
}

static void give_slot(struct packet *packet, struct tpacket2_hdr *slot)
{
    __atomic_store_n(&slot->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    packet->slot = (packet->slot + 1) % MIR__PACKET_SLOTS;
}

/* One frame of the socket's queue to @to. An error of the socket that was waiting is reported
 * first, once; the frame is there all the same. */
static ssize_t read_queue(struct packet *packet, uint8_t *to, size_t size)
{
    for (int tries = 0; tries < 3; tries++) {
        ssize_t n = recv(packet->host.fd, to, size, MSG_DONTWAIT);
        if (n >= 0 || errno == EAGAIN)
            return n;
    }
    return -1;
}

/* A frame that is too large for a slot; NULL: none, or no memory. */
static struct mir_buf *take_large(struct packet *packet)
{
    uint8_t nowhere[MIR__VNET_LEN];
    if (MIR_UNLIKELY(!mir__landing_prepare(&packet->landing, true))) {
        (void)read_queue(packet, nowhere, sizeof nowhere);
        return NULL;
    }
    ssize_t n =
        read_queue(packet, mir__landing_at(&packet->landing), MIR__VNET_LEN + MIR__VNET_FRAME_MAX);
    if (n < (ssize_t)(MIR__VNET_LEN + MIR__VNET_ETH))
        return NULL;
    return mir__landing_take(&packet->landing, (uint32_t)n - MIR__VNET_LEN);
}

/* The frame of a slot, copied; NULL: counted as dropped or wrong. */
static struct mir_buf *take_slot(struct packet *packet, const struct tpacket2_hdr *slot,
                                 uint32_t status)
{
    struct mir_buf *buf = NULL;
    uint32_t at = slot->tp_mac, len = slot->tp_snaplen;
    bool is_wrong = len < MIR__VNET_ETH || at < sizeof *slot + MIR__VNET_LEN ||
                    at > MIR__PACKET_SLOT_SIZE || len > MIR__PACKET_SLOT_SIZE - at;
    if (status & TP_STATUS_COPY)
        buf = take_large(packet);
    else if (!is_wrong && len == slot->tp_len)
        buf = mir__landing_copy(&packet->landing, (const uint8_t *)slot + at, len);
    if (MIR_UNLIKELY(buf != NULL && status & TP_STATUS_VLAN_VALID)) {
        mir_buf_release(buf);
        buf = NULL;
    }
    if (MIR_UNLIKELY(buf == NULL)) {
        if (is_wrong)
            packet->stats.rx_errors++;
        else
            packet->stats.rx_dropped++;
    }
    return buf;
}

static void hand_up(struct packet *packet, struct mir_buf *buf_given)
{
    packet->stats.rx_frames++;
    packet->stats.rx_bytes += buf_given->len;
    packet->upper.rx(packet->upper.arg, buf_given);
}

/* Each datagram of a bundle, as if they had come one by one. */
static void take_apart(struct packet *packet, struct mir_buf *all_given)
{
    struct mir__bundle bundle;
    struct mir_buf *buf;
    bool is_good = mir__bundle_open(&bundle, all_given);
    packet->stats.rx_errors += !is_good;
    while (is_good && packet->is_started &&
           (buf = mir__bundle_next(&bundle, packet->landing.bufs)) != NULL)
        hand_up(packet, buf);
    packet->stats.rx_dropped += is_good && bundle.at < all_given->len;
    mir_buf_release(all_given);
}

static void receive(struct packet *packet)
{
    uint32_t count = 0;
    uint64_t enough = packet->stats.rx_bytes + BATCH_BYTES;
    if (!mir__landing_prepare(&packet->landing, false))
        return;
    packet->is_lost = packet->is_lost && !find_slot(packet);
    while (count < BATCH && packet->stats.rx_bytes < enough && packet->is_started &&
           !packet->is_lost) {
        struct tpacket2_hdr *slot = slot_now(packet);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        struct mir_buf *buf = take_slot(packet, slot, status);
        give_slot(packet, slot);
        count++;
        if (MIR_UNLIKELY(buf != NULL && mir__bundle_is(buf)))
            take_apart(packet, buf);
        else if (buf != NULL)
            hand_up(packet, buf);
    }
    packet->watch.found = count > 0;
    if (count > 0 && packet->is_started && packet->upper.rx_end != NULL)
        packet->upper.rx_end(packet->upper.arg);
}

/* What came while nobody listened is too old to be of use. */
static void drain(struct packet *packet)
{
    uint8_t nowhere[MIR__VNET_LEN];
    for (uint32_t i = 0; i < MIR__PACKET_SLOTS; i++) {
        struct tpacket2_hdr *slot = slot_now(packet);
        uint32_t status = __atomic_load_n(&slot->tp_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        if (status & TP_STATUS_COPY)
            (void)read_queue(packet, nowhere, sizeof nowhere);
        give_slot(packet, slot);
    }
}

static void on_ready(void *arg, unsigned events)
{
    struct packet *packet = arg;
    if (events & MIR_HOST_ERROR) {
        /* The interface went down, which link.c tells as well: only take the error away. */
        int error;
        socklen_t len = sizeof error;
        (void)getsockopt(packet->host.fd, SOL_SOCKET, SO_ERROR, &error, &len);
    }
    if (packet->is_started && !packet->is_paused)
        receive(packet);
}

/* ---- link --------------------------------------------------------------------------------- */

static void set_link(struct packet *packet, bool is_up)
{
    if (packet->is_up == is_up)
        return;
    packet->is_up = is_up;
    if (!packet->is_gone)
        MIR_LOG(DEV, WARN, "the interface %s is %s", packet->host.ifname,
                is_up ? "up again" : "down");
    if (packet->is_started && packet->upper.link != NULL)
        packet->upper.link(packet->upper.arg, is_up);
}

static void read_link(struct packet *packet)
{
    switch (mir__packet_link_read(packet->host.link_fd, packet->host.ifindex)) {
    case MIR__PACKET_LINK_SAME:
        break;
    case MIR__PACKET_LINK_UP:
        set_link(packet, true);
        break;
    case MIR__PACKET_LINK_DOWN:
        set_link(packet, false);
        break;
    case MIR__PACKET_LINK_GONE:
        MIR_LOG(DEV, ERROR, "the interface %s was removed from the host", packet->host.ifname);
        packet->is_gone = true;
        set_link(packet, false);
        break;
    }
}

static void unwatch(struct packet *packet)
{
    if (!packet->is_watched)
        return;
    packet->is_watched = false;
    packet->poll->ops->remove(packet->poll, &packet->watch);
    packet->poll->ops->remove(packet->poll, &packet->link_watch);
    if (packet->is_full)
        packet->poll->ops->remove(packet->poll, &packet->tx_watch);
    packet->is_full = false;
}

static void on_link(void *arg, unsigned events)
{
    struct packet *packet = arg;
    (void)events;
    read_link(packet);
    if (packet->is_gone)
        unwatch(packet); /* its socket would be reported as ready forever */
}

/* ---- send --------------------------------------------------------------------------------- */

/* What sendmmsg needs to know of the frame @at. */
static void describe(struct packet *packet, uint32_t at)
{
    struct mir_buf *buf = packet->held_buf[at];
    struct iovec *iov = packet->iov[at];
    uint32_t count = 0;
    uint8_t *hdr = packet->held_hdr[at];
    if (mir_buf_headroom(buf) >= MIR__VNET_LEN) {
        hdr = buf->data - MIR__VNET_LEN;
        iov[count++] = (struct iovec){hdr, MIR__VNET_LEN + buf->len};
    } else {
        iov[count++] = (struct iovec){hdr, MIR__VNET_LEN};
        iov[count++] = (struct iovec){buf->data, buf->len};
    }
    mir__vnet_fill(hdr, buf);
    for (uint32_t i = 0; i < buf->frag_count; i++) {
        /* Sending only reads; the type cannot say so. */
        void *data = (void *)(uintptr_t)buf->frag[i].data;
        iov[count++] = (struct iovec){data, buf->frag[i].len};
    }
    packet->message[at].msg_hdr.msg_iov = iov;
    packet->message[at].msg_hdr.msg_iovlen = count;
}

static void hold(struct packet *packet, struct mir_buf *buf_given)
{
    uint32_t last = packet->held - 1;
    if (packet->joins && mir__bundle_may(buf_given) && packet->held > 0 &&
        mir__bundle_join(packet->landing.bufs, &packet->held_buf[last], buf_given)) {
        mir_buf_release(buf_given);
        return;
    }
    packet->held_buf[packet->held++] = buf_given;
}

static void packet_flush(struct mir_net_dev *dev);

static void on_room(void *arg, unsigned events)
{
    struct packet *packet = arg;
    (void)events;
    packet->is_full = false;
    packet->poll->ops->remove(packet->poll, &packet->tx_watch);
    packet_flush(&packet->dev); /* what waited goes first */
    if (packet->is_full)
        return;
    if (packet->upper.tx_ready != NULL)
        packet->upper.tx_ready(packet->upper.arg);
}

/* The frame @at did not go, for @err. Returns the first that is worth another try. */
static uint32_t count_failure(struct packet *packet, uint32_t at, int err)
{
    switch (err) {
    case EINTR:
        return at;
    case EAGAIN:
        packet->is_full = packet->poll->ops->add(packet->poll, &packet->tx_watch) == 0;
        packet->stats.tx_full += packet->is_full;
        packet->stats.tx_dropped += packet->is_full ? 0 : packet->held - at;
        return packet->is_full ? at : packet->held;
    case ENOBUFS: /* the queue of the interface is full; nobody tells when it is not */
        packet->stats.tx_dropped++;
        return at + 1;
    case ENETDOWN:
    case ENXIO:
        packet->stats.tx_errors += packet->held - at;
        return packet->held;
    case EINVAL:
        /* Linux before 6.2 does not know bundles. */
        packet->joins &= !mir__bundle_is(packet->held_buf[at]);
        /* fallthrough */
    default:
        packet->stats.tx_errors++;
        return at + 1;
    }
}

static void packet_flush(struct mir_net_dev *dev)
{
    struct packet *packet = of_dev(dev);
    uint32_t at = 0, left = 0;
    if (packet->is_full)
        return;
    for (uint32_t i = 0; i < packet->held; i++)
        describe(packet, i);
    while (at < packet->held && !packet->is_full) {
        int n = sendmmsg(packet->host.tx_fd, packet->message + at, packet->held - at, MSG_DONTWAIT);
        if (n <= 0) {
            at = count_failure(packet, at, n < 0 ? errno : EIO);
            continue;
        }
        for (uint32_t end = at + (uint32_t)n; at < end; at++) {
            packet->stats.tx_frames += mir__bundle_count(packet->held_buf[at]);
            packet->stats.tx_bytes += mir_buf_total(packet->held_buf[at]);
        }
    }
    for (uint32_t i = 0; i < at; i++)
        mir_buf_release(packet->held_buf[i]);
    for (; at < packet->held; at++)
        packet->held_buf[left++] = packet->held_buf[at];
    packet->held = left;
}

static int packet_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct packet *packet = of_dev(dev);
    int r = packet->is_started && packet->is_up ? mir__vnet_check(&dev->info, buf_given) : -MIR_EIO;
    if (r == 0 && packet->held == PLACES)
        r = -MIR_EAGAIN;
    if (r < 0) {
        if (r == -MIR_EAGAIN)
            packet->stats.tx_dropped++;
        else
            packet->stats.tx_errors++;
        mir_buf_release(buf_given);
        return r;
    }
    hold(packet, buf_given);
    if (packet->held >= HOLD)
        packet_flush(dev);
    return 0;
}

static uint32_t packet_tx_room(struct mir_net_dev *dev)
{
    return of_dev(dev)->is_full ? 0 : UINT32_MAX;
}

/* ---- life --------------------------------------------------------------------------------- */

static int packet_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct packet *packet = of_dev(dev);
    if (packet->is_started)
        return -MIR_EBUSY;
    read_link(packet); /* what happened while nobody listened */
    if (packet->is_gone)
        return -MIR_EIO;
    packet->upper = *upper;
    packet->is_full = false;
    packet->watch.events = packet->is_paused ? 0 : MIR_HOST_IN;
    packet->link_watch.events = MIR_HOST_IN;
    if (!packet->is_lost) /* else it was meant for us */
        drain(packet);
    int r = packet->poll->ops->add(packet->poll, &packet->watch);
    if (r < 0)
        return r;
    r = packet->poll->ops->add(packet->poll, &packet->link_watch);
    if (r < 0) {
        packet->poll->ops->remove(packet->poll, &packet->watch);
        return r;
    }
    packet->is_started = true;
    packet->is_watched = true;
    if (!packet->is_up)
        MIR_LOG(DEV, WARN, "the interface %s is down: nothing moves until it is up",
                packet->host.ifname);
    if (packet->is_up && packet->upper.link != NULL)
        packet->upper.link(packet->upper.arg, true);
    return 0;
}

static void packet_stop(struct mir_net_dev *dev)
{
    struct packet *packet = of_dev(dev);
    if (!packet->is_started)
        return;
    packet->is_started = false;
    unwatch(packet);
    for (uint32_t i = 0; i < packet->held; i++)
        mir_buf_release(packet->held_buf[i]);
    packet->held = 0;
    mir__landing_release(&packet->landing);
}

static void packet_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    /* What the kernel dropped for want of a slot is forgotten there when it is read. */
    struct packet *packet = of_dev((struct mir_net_dev *)(uintptr_t)dev);
    struct tpacket_stats kernel = {0};
    socklen_t len = sizeof kernel;
    if (getsockopt(packet->host.fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &len) == 0)
        packet->stats.rx_dropped += kernel.tp_drops;
    *stats = packet->stats;
}

static void packet_close(struct mir_net_dev *dev)
{
    struct packet *packet = of_dev(dev);
    packet_stop(dev);
    mir__packet_close_host(&packet->host);
    free(packet);
}

static const struct mir_net_dev_ops packet_ops = {
    .start = packet_start,
    .stop = packet_stop,
    .tx = packet_tx,
    .flush = packet_flush,
    .tx_room = packet_tx_room,
    .stats = packet_stats,
    .close = packet_close,
};

static struct packet *make(char *error)
{
    struct packet *packet = calloc(1, sizeof *packet);
    if (packet == NULL)
        snprintf(error, MIR_PACKET_ERROR_MAX, "packet: no memory");
    return packet;
}

static void fill(struct packet *packet, const struct mir_packet_config *config)
{
    packet->poll = config->poll;
    packet->landing.bufs = config->bufs;
    packet->is_up = packet->host.is_up;
    packet->watch =
        (struct mir_host_watch){.fd = packet->host.fd, .ready = on_ready, .arg = packet};
    packet->tx_watch = (struct mir_host_watch){
        .fd = packet->host.tx_fd, .events = MIR_HOST_OUT, .ready = on_room, .arg = packet};
    packet->link_watch =
        (struct mir_host_watch){.fd = packet->host.link_fd, .ready = on_link, .arg = packet};
    packet->dev.ops = &packet_ops;
    mir_memcpy(packet->dev.info.mac, config->mac, 6);
    packet->dev.info.mtu = packet->host.mtu;
    packet->dev.info.kind = "packet";
    /* Inwards nothing can be refused: a local peer's segments come as it sent them. */
    packet->dev.info.caps = MIR_NET_TX_SG | MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
    if (!config->is_plain) {
        packet->dev.info.caps |= MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6;
        packet->dev.info.gso_max = MIR__VNET_FRAME_MAX;
        packet->joins = true;
    }
}

int mir_packet_open(const struct mir_packet_config *config, struct mir_net_dev **dev, char *error)
{
    struct packet *packet = make(error);
    if (packet == NULL)
        return -MIR_ENOMEM;
    int r = mir__packet_open_host(config, &packet->host, error);
    if (r < 0) {
        free(packet);
        return r;
    }
    fill(packet, config);
    *dev = &packet->dev;
    return 0;
}

int mir_packet_adopt(const struct mir_packet_config *config, const struct mir_packet_queue *queue,
                     struct mir_net_dev **dev, char *error)
{
    struct packet *packet = make(error);
    if (packet == NULL) {
        close(queue->fd);
        return -MIR_ENOMEM;
    }
    int r = mir__packet_adopt_host(config, queue->fd, &packet->host, error);
    if (r < 0) {
        free(packet);
        return r;
    }
    fill(packet, config);
    packet->is_lost = true;
    packet->is_paused = config->is_paused;
    *dev = &packet->dev;
    return 0;
}

void mir_packet_resume(struct mir_net_dev *dev)
{
    struct packet *packet = of_dev(dev);
    if (!packet->is_paused)
        return;
    packet->is_paused = false;
    if (packet->is_watched)
        packet->poll->ops->set(packet->poll, &packet->watch, MIR_HOST_IN);
}

const char *mir_packet_ifname(const struct mir_net_dev *dev)
{
    return ((const struct packet *)(const void *)dev)->host.ifname;
}
