/* SPDX-License-Identifier: ISC */
/* Frames over a Linux tap with vnet header.
 *
 *   0            1          2              4            6            8              10
 *   +------------+----------+--------------+------------+------------+--------------+-- frame
 *   | flags      | gso_type | hdr_len      | gso_size   | csum_start | csum_offset  |
 *   +------------+----------+--------------+------------+------------+--------------+--
 *   (all numbers little-endian; VIRTIO 1.2 section 5.1.6, struct virtio_net_hdr)
 *
 * With the header each side may hand over a TCP segment of up to 64 KiB and leave the checksum to
 * whoever needs it: host and appliance exchange bulk data without cutting it into MTUs and without
 * summing it.
 *
 * Receive. A frame is read into a landing run of 17 pages, header and all in one read, placed so
 * that the IP header is aligned to 4 bytes. A frame that fits a smaller class of runs is copied
 * there (the bytes are in the cache, the copy costs a few percent of the read that brought them); a
 * bigger one takes the run with it if there is another. So no frame pins much more than twice its
 * size, bulk data is not copied, and there is always a run to read into. When memory has run out,
 * data is dropped, but an ACK, which frees memory, still finds a spare buffer. At most BATCH frames
 * are taken a wake-up, then rx_end.
 *
 * Send. A linear frame with head room gets its header pushed in front and is one write; anything
 * else is one writev. Nothing is held back: the kernel takes the frame through its whole stack
 * during the call, so batching would gain nothing. A full queue (EAGAIN) drops and counts the frame
 * and watches for room.
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

#include <mirari/bytes.h>
#include <mirari/log.h>

#include "dev/net/tap/open.h"

enum { HDR_NEEDS_CSUM = 1, HDR_DATA_VALID = 2 };
enum { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80 };

#define HDR_LEN      10u
#define ETH_HEADER   14u
#define BATCH        64u
#define GATHER_MAX   1514u
#define LANDING_AT   66u /* of the frame in the run: 2 modulo 4, and the header fits before it */
#define LANDING_SIZE ((size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
#define FRAME_MAX    (65535u + ETH_HEADER)
#define COPY_ROOM    MIR_BUF_HEADROOM
/* The largest frame that fits the class of runs below the landing run's. */
#define COPY_MAX (8u * MIR_PAGE_SIZE - COPY_ROOM)

struct tap {
    struct mir_net_dev dev; /* first */
    struct mir_host_poll *poll;
    struct mir_buf_pool *bufs;
    struct mir_host_watch watch;
    struct mir_net_upper upper;
    struct mir_net_dev_stats stats;
    struct mir_buf *landing; /* NULL: no memory at the last try */
    struct mir_buf *spare;   /* for an ACK when there is no memory left */
    bool is_started;
    bool is_full;
    bool is_gone; /* the host's interface does not exist any more */
    char ifname[IFNAMSIZ];
    uint8_t gather[HDR_LEN + GATHER_MAX];
};

static struct tap *of_dev(struct mir_net_dev *dev)
{
    return (struct tap *)(void *)dev;
}

/* ---- receive ------------------------------------------------------------------------------ */

/* What the header says becomes flags; an impossible offset means no help with the checksum. */
static void apply_header(struct mir_buf *buf, const uint8_t *hdr)
{
    uint32_t csum_start = mir_get_le16(hdr + 6), csum_offset = mir_get_le16(hdr + 8);
    uint8_t gso_type = hdr[1] & (uint8_t)~GSO_ECN;
    if (hdr[0] & HDR_NEEDS_CSUM && csum_start + csum_offset + 2 <= buf->len) {
        buf->flags |= MIR_BUF_CSUM_PARTIAL;
        buf->csum_start = (uint16_t)csum_start;
        buf->csum_offset = (uint16_t)csum_offset;
    } else if (hdr[0] & HDR_DATA_VALID) {
        buf->flags |= MIR_BUF_CSUM_VALID;
    }
    if (gso_type == GSO_NONE)
        return;
    buf->gso_size = mir_get_le16(hdr + 4);
    if (gso_type == GSO_TCPV4)
        buf->flags |= MIR_BUF_GSO_TCP4;
    else if (gso_type == GSO_TCPV6)
        buf->flags |= MIR_BUF_GSO_TCP6;
}

/* A right-sized copy of the landed frame; NULL without memory. */
static struct mir_buf *copy_small(struct tap *tap, const uint8_t *frame, uint32_t len)
{
    bool is_inline = COPY_ROOM + len <= MIR_BUF_HEAD_BYTES;
    struct mir_buf *buf =
        is_inline ? mir_buf_alloc(tap->bufs, COPY_ROOM - ETH_HEADER)
                  : mir_buf_alloc_page(tap->bufs, COPY_ROOM + len, COPY_ROOM - ETH_HEADER);
    if (buf == NULL && is_inline) {
        buf = tap->spare;
        tap->spare = NULL;
    }
    if (buf == NULL)
        return NULL;
    mir_memcpy(mir_buf_append(buf, len), frame, len);
    return buf;
}

static bool prepare_landing(struct tap *tap)
{
    if (tap->spare == NULL)
        tap->spare = mir_buf_alloc(tap->bufs, COPY_ROOM - ETH_HEADER);
    if (tap->landing == NULL)
        tap->landing = mir_buf_alloc_page(tap->bufs, LANDING_SIZE, LANDING_AT);
    return tap->landing != NULL;
}

/* The landing run itself, if there is another to take its place. */
static struct mir_buf *give_landing(struct tap *tap, uint32_t len)
{
    struct mir_buf *next = mir_buf_alloc_page(tap->bufs, LANDING_SIZE, LANDING_AT);
    struct mir_buf *buf = tap->landing;
    if (next == NULL)
        return NULL;
    tap->landing = next;
    buf->len = len;
    return buf;
}

static void take_frame(struct tap *tap, uint32_t len)
{
    uint8_t *frame = tap->landing->start + LANDING_AT;
    struct mir_buf *buf = len <= COPY_MAX ? copy_small(tap, frame, len) : give_landing(tap, len);
    if (MIR_UNLIKELY(buf == NULL)) {
        tap->stats.rx_dropped++;
        return;
    }
    if (frame[-(int)HDR_LEN] != 0 || frame[1 - (int)HDR_LEN] != 0)
        apply_header(buf, frame - HDR_LEN);
    tap->stats.rx_frames++;
    tap->stats.rx_bytes += len;
    tap->upper.rx(tap->upper.arg, buf);
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
    while (count < BATCH && tap->is_started) {
        if (MIR_UNLIKELY(!prepare_landing(tap))) {
            discard_frame(tap);
            break;
        }
        uint8_t *hdr = tap->landing->start + LANDING_AT - HDR_LEN;
        ssize_t n = read(tap->watch.fd, hdr, HDR_LEN + FRAME_MAX);
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
        if ((size_t)n < HDR_LEN + ETH_HEADER) {
            tap->stats.rx_errors++;
            continue;
        }
        take_frame(tap, (uint32_t)n - HDR_LEN);
    }
    tap->watch.found = count > 0;
    if (count > 0 && tap->is_started && tap->upper.rx_end != NULL)
        tap->upper.rx_end(tap->upper.arg);
}

static void on_ready(void *arg, unsigned events)
{
    struct tap *tap = arg;
    if (events & MIR_HOST_OUT && tap->is_full) {
        tap->is_full = false;
        tap->poll->ops->set(tap->poll, &tap->watch, MIR_HOST_IN);
        if (tap->upper.tx_ready != NULL)
            tap->upper.tx_ready(tap->upper.arg);
    }
    if (events & (MIR_HOST_IN | MIR_HOST_ERROR) && tap->is_started)
        receive(tap);
}

/* ---- send --------------------------------------------------------------------------------- */

static void fill_header(uint8_t hdr[HDR_LEN], const struct mir_buf *buf)
{
    mir_memset(hdr, 0, HDR_LEN);
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL))
        return;
    hdr[0] = HDR_NEEDS_CSUM;
    mir_put_le16(hdr + 6, buf->csum_start);
    mir_put_le16(hdr + 8, buf->csum_offset);
    if (!(buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)))
        return;
    hdr[1] = buf->flags & MIR_BUF_GSO_TCP4 ? GSO_TCPV4 : GSO_TCPV6;
    /* Link, IP and TCP headers together: the data offset is in the TCP header. */
    uint32_t tcp_len = (uint32_t)(buf->data[buf->csum_start + 12] >> 4) * 4;
    mir_put_le16(hdr + 2, (uint16_t)(buf->csum_start + tcp_len));
    mir_put_le16(hdr + 4, buf->gso_size);
}

static int check_frame(const struct tap *tap, const struct mir_buf *buf)
{
    bool is_gso = buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
    uint32_t limit = is_gso ? tap->dev.info.gso_max : tap->dev.info.mtu + ETH_HEADER;
    if (is_gso && (!(buf->flags & MIR_BUF_CSUM_PARTIAL) || buf->gso_size == 0))
        return -MIR_EINVAL;
    if (buf->flags & MIR_BUF_CSUM_PARTIAL &&
        (uint32_t)buf->csum_start + buf->csum_offset + 2 > buf->len)
        return -MIR_EINVAL;
    if (is_gso && buf->csum_start + 20u > buf->len)
        return -MIR_EINVAL;
    if (mir_buf_total(buf) > limit)
        return -MIR_ETOOBIG;
    return buf->len >= ETH_HEADER ? 0 : -MIR_EINVAL;
}

static ssize_t write_frame(struct tap *tap, struct mir_buf *buf)
{
    uint8_t hdr[HDR_LEN];
    struct iovec iov[2 + MIR_BUF_FRAG_MAX];
    int count = 2;
    if (buf->frag_count == 0 && mir_buf_headroom(buf) >= HDR_LEN) {
        uint8_t *front = buf->data - HDR_LEN;
        fill_header(front, buf);
        return write(tap->watch.fd, front, HDR_LEN + buf->len);
    }
    if (buf->frag_count > 0 && mir_buf_total(buf) <= GATHER_MAX) {
        /* A copy of a few hundred bytes costs less than the kernel's walk over an iovec. */
        uint32_t len = mir_buf_total(buf);
        fill_header(tap->gather, buf);
        if (mir_buf_copy_out(buf, 0, tap->gather + HDR_LEN, len) == 0)
            return write(tap->watch.fd, tap->gather, HDR_LEN + len);
    }
    fill_header(hdr, buf);
    iov[0] = (struct iovec){hdr, HDR_LEN};
    iov[1] = (struct iovec){buf->data, buf->len};
    for (uint32_t i = 0; i < buf->frag_count; i++) {
        /* writev only reads; its type cannot say so. */
        void *data = (void *)(uintptr_t)buf->frag[i].data;
        iov[count++] = (struct iovec){data, buf->frag[i].len};
    }
    return writev(tap->watch.fd, iov, count);
}

static int tap_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct tap *tap = of_dev(dev);
    int r = tap->is_started && !tap->is_gone ? check_frame(tap, buf_given) : -MIR_EIO;
    if (r == 0) {
        ssize_t n;
        do
            n = write_frame(tap, buf_given);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
            r = 0;
        else
            r = errno == EAGAIN || errno == ENOBUFS ? -MIR_EAGAIN : -MIR_EIO;
    }
    if (r == 0) {
        tap->stats.tx_frames++;
        tap->stats.tx_bytes += mir_buf_total(buf_given);
    } else if (r == -MIR_EAGAIN) {
        tap->stats.tx_dropped++;
        if (!tap->is_full) {
            tap->is_full = true;
            tap->poll->ops->set(tap->poll, &tap->watch, MIR_HOST_IN | MIR_HOST_OUT);
        }
    } else {
        tap->stats.tx_errors++;
    }
    mir_buf_release(buf_given);
    return r;
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
    tap->watch.events = MIR_HOST_IN;
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
    mir_buf_release(tap->landing);
    mir_buf_release(tap->spare);
    tap->landing = NULL;
    tap->spare = NULL;
}

static void tap_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct tap *)(const void *)dev)->stats;
}

static void tap_close(struct mir_net_dev *dev)
{
    struct tap *tap = of_dev(dev);
    tap_stop(dev);
    close(tap->watch.fd);
    free(tap);
}

static const struct mir_net_dev_ops tap_ops = {
    .start = tap_start,
    .stop = tap_stop,
    .tx = tap_tx,
    .tx_room = tap_tx_room,
    .stats = tap_stats,
    .close = tap_close,
};

int mir_tap_open(const struct mir_tap_config *config, struct mir_net_dev **dev, char *error)
{
    struct mir__tap_host host = {.fd = -1};
    struct tap *tap = calloc(1, sizeof *tap);
    if (tap == NULL) {
        snprintf(error, MIR_TAP_ERROR_MAX, "tap: no memory");
        return -MIR_ENOMEM;
    }
    int r = mir__tap_open_host(config, &host, error);
    if (r < 0) {
        free(tap);
        return r;
    }
    tap->poll = config->poll;
    tap->bufs = config->bufs;
    tap->watch = (struct mir_host_watch){.fd = host.fd, .ready = on_ready, .arg = tap};
    mir_memcpy(tap->ifname, host.ifname, sizeof tap->ifname);
    tap->dev.ops = &tap_ops;
    mir_memcpy(tap->dev.info.mac, config->mac, 6);
    tap->dev.info.mtu = host.mtu;
    tap->dev.info.kind = "tap";
    tap->dev.info.caps = MIR_NET_TX_SG;
    if (host.has_offloads) {
        tap->dev.info.caps |=
            MIR_NET_TX_CSUM | MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6 | MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
        tap->dev.info.gso_max = FRAME_MAX;
    }
    *dev = &tap->dev;
    return 0;
}

const char *mir_tap_ifname(const struct mir_net_dev *dev)
{
    return ((const struct tap *)(const void *)dev)->ifname;
}
