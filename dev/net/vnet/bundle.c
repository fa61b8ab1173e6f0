/* SPDX-License-Identifier: ISC */
/* Takes apart and makes frames that carry several datagrams of one flow.
 *
 * A program on Linux may give its kernel up to 64 datagrams of one size at once (UDP_SEGMENT), and
 * the kernel hands them on as one frame as far as it goes: over a veth, into a tap that said it
 * knows them. The same is possible the other way. Both ways most of what a datagram costs the
 * kernel (a system call, a buffer, the way through its layers) is then paid once for all of them.
 *
 *   +-----+----+-----+-----------+-----------+-----------+-------+
 *   | Eth | IP | UDP | gso_size  | gso_size  | gso_size  | <=    |   lengths in IP and UDP: of all
 *   +-----+----+-----+-----------+-----------+-----------+-------+
 *
 * Taking apart makes frames as if they had come one by one; the layers above know nothing of
 * bundles. The checksum of such a frame is as whoever made the bundle left it, not summed: each
 * piece gets the sum of its own pseudo-header.
 *
 * Making looks at two frames that are to leave one after the other. The first two of a flow are
 * copied into a run with room for more, every later one behind them. A datagram shorter than the
 * first closes the bundle, a longer one begins another. The identifications of IPv4 become those
 * that follow on the first one's.
 *
 * Extension headers, IP options, VLAN tags and fragments are left alone when a bundle is made.
 * Source: VIRTIO 1.3 section 5.1.6 (VIRTIO_NET_HDR_GSO_UDP_L4).
 */
#include "dev/net/vnet/bundle.h"

#include "lib/wire/csum.h"

enum { IP = MIR__VNET_ETH, HEADER4 = 20, HEADER6 = 40, UDP_HEADER = 8, UDP = 17 };

static uint16_t load(const uint8_t *at)
{
    uint16_t value;
    mir_memcpy(&value, at, sizeof value);
    return value;
}

static void store(uint8_t *at, uint16_t value)
{
    mir_memcpy(at, &value, sizeof value);
}

/* A header field that is summed changes; returns @sum as it is afterwards. */
static uint16_t change(uint16_t sum, uint8_t *field, uint32_t value)
{
    uint16_t was = load(field);
    mir_put_be16(field, (uint16_t)value);
    return mir__csum_add(mir__csum_add(sum, (uint16_t)~was), load(field));
}

/* Lengths and checksums of a frame with @len bytes from its IP header on. @id: NULL or new. */
static void set_lengths(uint8_t *ip, uint32_t udp_at, uint32_t len, const uint16_t *id)
{
    uint8_t *udp = ip + udp_at;
    if (ip[0] >> 4 == 4) {
        uint16_t sum = change((uint16_t)~load(ip + 10), ip + 2, len);
        if (id != NULL)
            sum = change(sum, ip + 4, *id);
        store(ip + 10, (uint16_t)~sum);
    } else {
        mir_put_be16(ip + 4, (uint16_t)(len - HEADER6));
    }
    uint16_t sum = change(load(udp + 6), udp + 4, len - udp_at);
    store(udp + 6, sum);
}

/* ---- apart --------------------------------------------------------------------------------- */

uint32_t mir__bundle_count(const struct mir_buf *buf)
{
    if (!mir__bundle_is(buf))
        return 1;
    uint32_t payload = mir_buf_total(buf) - MIR_MIN(mir_buf_total(buf), buf->csum_start + 8u);
    return (payload + buf->gso_size - 1) / buf->gso_size;
}

/* Where the UDP header begins, from the front of the frame; 0: nowhere. */
static uint32_t find_udp(const uint8_t *frame, uint32_t len)
{
    const uint8_t *ip = frame + IP;
    if (len < IP + HEADER4 + UDP_HEADER)
        return 0;
    if (mir_get_be16(frame + 12) == 0x0800) {
        uint32_t header = (ip[0] & 15u) * 4;
        bool is_fragment = (mir_get_be16(ip + 6) & 0x3fff) != 0;
        if (ip[0] >> 4 != 4 || header < HEADER4 || ip[9] != UDP || is_fragment)
            return 0;
        return IP + header;
    }
    if (mir_get_be16(frame + 12) != 0x86dd || ip[0] >> 4 != 6 || ip[6] != UDP)
        return 0;
    return IP + HEADER6;
}

bool mir__bundle_open(struct mir__bundle *bundle, const struct mir_buf *buf)
{
    uint32_t udp = buf->frag_count == 0 ? find_udp(buf->data, buf->len) : 0;
    if (udp == 0 || buf->gso_size == 0 || buf->len <= udp + UDP_HEADER)
        return false;
    if (buf->flags & MIR_BUF_CSUM_PARTIAL && buf->csum_start != udp)
        return false;
    *bundle = (struct mir__bundle){
        .buf = buf,
        .head = udp + UDP_HEADER,
        .at = udp + UDP_HEADER,
        .id = mir_get_be16(buf->data + IP + 4),
        .is_v4 = buf->data[IP] >> 4 == 4,
    };
    return true;
}

struct mir_buf *mir__bundle_next(struct mir__bundle *bundle, struct mir_buf_pool *bufs)
{
    const struct mir_buf *all = bundle->buf;
    uint32_t len = MIR_MIN(all->gso_size, all->len - bundle->at), total = bundle->head + len;
    if (len == 0)
        return NULL;
    struct mir_buf *buf =
        MIR_BUF_HEADROOM + total <= MIR_BUF_HEAD_BYTES
            ? mir_buf_alloc(bufs, MIR_BUF_HEADROOM - MIR__VNET_ETH)
            : mir_buf_alloc_page(bufs, MIR_BUF_HEADROOM + total, MIR_BUF_HEADROOM - MIR__VNET_ETH);
    if (buf == NULL)
        return NULL;
    uint8_t *frame = mir_buf_append(buf, total);
    mir_memcpy(frame, all->data, bundle->head);
    mir_memcpy(frame + bundle->head, all->data + bundle->at, len);
    set_lengths(frame + IP, bundle->head - UDP_HEADER - IP, total - IP, &bundle->id);
    buf->flags = all->flags & (MIR_BUF_CSUM_PARTIAL | MIR_BUF_CSUM_VALID);
    buf->csum_start = all->csum_start;
    buf->csum_offset = all->csum_offset;
    bundle->at += len;
    bundle->id++;
    return buf;
}

/* ---- together ------------------------------------------------------------------------------ */

/* Same flow, and nothing in the headers that one frame for both could not say. */
static bool is_alike(const uint8_t *a, const uint8_t *b, uint32_t udp)
{
    if (udp == IP + HEADER4 && a[IP] == 0x45 && mir_get_be16(a + 12) == 0x0800)
        return mir_memcmp(a, b, IP + 2) == 0 && mir_memcmp(a + IP + 6, b + IP + 6, 4) == 0 &&
               (mir_get_be16(a + IP + 6) & 0x3fff) == 0 && a[IP + 9] == UDP &&
               mir_memcmp(a + IP + 12, b + IP + 12, 8 + 4) == 0;
    if (udp == IP + HEADER6 && mir_get_be16(a + 12) == 0x86dd)
        return mir_memcmp(a, b, IP + 4) == 0 && a[IP + 6] == UDP &&
               mir_memcmp(a + IP + 6, b + IP + 6, 2 + 32 + 4) == 0;
    return false;
}

/* A copy of @buf in a run with room for the largest bundle it can begin. */
static struct mir_buf *begin(struct mir_buf_pool *bufs, const struct mir_buf *buf, uint32_t head,
                             uint32_t size)
{
    uint32_t room = MIR_MIN(head + size * MIR__BUNDLE_MAX, MIR__VNET_FRAME_MAX);
    struct mir_buf *bundle = mir_buf_alloc_page(bufs, MIR_BUF_HEADROOM + room, MIR_BUF_HEADROOM);
    if (bundle == NULL)
        return NULL;
    int r = mir_buf_copy_out(buf, 0, mir_buf_append(bundle, head + size), head + size);
    MIR_ASSERT(r == 0);
    bundle->flags = buf->flags | MIR_BUF_GSO_UDP;
    bundle->csum_start = buf->csum_start;
    bundle->csum_offset = buf->csum_offset;
    bundle->gso_size = (uint16_t)size;
    return bundle;
}

bool mir__bundle_join(struct mir_buf_pool *bufs, struct mir_buf **held, const struct mir_buf *buf)
{
    struct mir_buf *first = *held;
    uint32_t head = buf->csum_start + (uint32_t)UDP_HEADER;
    if (!mir__bundle_may(buf) || !mir__bundle_may(first) || first->csum_start != buf->csum_start ||
        mir__bundle_is(buf) || first->len < head || buf->len < head)
        return false;
    uint32_t payload = mir_buf_total(first) - head, len = mir_buf_total(buf) - head;
    uint32_t size = mir__bundle_is(first) ? first->gso_size : payload;
    bool has_room = payload + len <= MIR__VNET_FRAME_MAX - head &&
                    (!mir__bundle_is(first) || mir_buf_tailroom(first) >= len);
    if (len == 0 || len > size || payload % size != 0 || payload >= size * MIR__BUNDLE_MAX ||
        !has_room || !is_alike(first->data, buf->data, buf->csum_start))
        return false;
    if (!mir__bundle_is(first)) {
        struct mir_buf *bundle = begin(bufs, first, head, size);
        if (bundle == NULL)
            return false;
        mir_buf_release(first);
        *held = first = bundle;
    }
    int r = mir_buf_copy_out(buf, head, mir_buf_append(first, len), len);
    MIR_ASSERT(r == 0);
    set_lengths(first->data + IP, head - UDP_HEADER - IP, first->len - IP, NULL);
    return true;
}
