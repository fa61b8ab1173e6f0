/* SPDX-License-Identifier: ISC */
/* Reassembly with bounds, of both families (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2,
 * RFC 8200 section 4.5).
 *
 *   datagram (src, dst, id; IPv4: protocol too)
 *      └── fragments sorted by offset:  [0,1480) [1480,2960) ... [.., total)     no overlaps
 *
 * A datagram is whole when the fragments touch each other from 0 to the end that the fragment
 * without MF has told. It is then copied once into one linear run behind the headers of the first
 * fragment; of IPv6 those in front of the fragment header.
 *
 * Bounds, because every fragment may come from an attacker:
 *   - all datagrams together hold at most bytes_max of memory, counted as what they really pin
 *     (an eight-byte fragment in a 4 KiB page counts as the page; such are copied into smaller
 *     buffers first), and at most 64 datagrams exist; the oldest gives way
 *   - one datagram has at most 128 fragments: enough for 64 KiB at the smallest MTU of 576
 *   - 30 seconds (IPv6: 60) after the first fragment it is given up, with ICMP time exceeded if the
 *     first fragment (offset 0) is there
 *   - two fragments that overlap kill the datagram, and it stays dead until its time is over, so
 *     that the rest does not start anew (RFC 5722 section 4). An exact copy of a fragment is a
 *     duplicate of the network and is dropped alone.
 *
 * A held fragment keeps its headers: data is at the IP header, csum_start says how many bytes they
 * are and csum_offset where the payload belongs. Nobody else uses these fields on the way in.
 */
#include "lib/net/net_state.h"

struct datagram {
    struct mir_list link;
    mir_time_us deadline_us;
    struct mir_ip src, dst;
    uint32_t id;
    uint8_t protocol; /* IPv6: of the first fragment */
    bool is_v4;
    bool is_dead;
    uint16_t next_at;  /* IPv6: of the first fragment */
    uint32_t total;    /* payload bytes; 0 = end not seen */
    uint32_t received; /* payload bytes held */
    uint32_t bytes;    /* memory pinned */
    uint32_t count;
    struct mir_buf *first; /* sorted by offset, linked by next */
    struct mir__ip_meta meta;
};

static uint32_t offset_of(const struct mir_buf *buf)
{
    return buf->csum_offset;
}

static uint32_t headers_of(const struct mir_buf *buf)
{
    return buf->csum_start;
}

static uint32_t payload_of(const struct mir_buf *buf)
{
    return mir_buf_total(buf) - headers_of(buf);
}

static uint32_t memory_of(const struct mir_buf *buf)
{
    uint32_t bytes = (uint32_t)sizeof *buf;
    if (buf->page != NULL)
        bytes += buf->page->size_bytes;
    for (uint32_t i = 0; i < buf->frag_count; i++)
        bytes += buf->frag[i].page->size_bytes;
    return bytes;
}

/* ---- life of a datagram -------------------------------------------------------------------- */

/* The oldest of a family ends first, but the families' times differ. */
static void arm_timer(struct mir_net *net)
{
    mir_time_us next_us = MIR_TIME_NEVER;
    mir_list_for_each (node, &net->reass.datagrams)
        next_us = MIR_MIN(next_us, MIR_CONTAINER_OF(node, struct datagram, link)->deadline_us);
    mir_timer_set(net->loop, &net->reass.timer, next_us);
}

static void drop_fragments(struct mir_net *net, struct datagram *d)
{
    while (d->first != NULL) {
        struct mir_buf *buf = d->first;
        d->first = buf->next;
        buf->next = NULL;
        mir_buf_release(buf);
    }
    net->reass.bytes -= d->bytes;
    d->bytes = 0;
    d->count = 0;
    d->received = 0;
}

static void remove_datagram(struct mir_net *net, struct datagram *d)
{
    drop_fragments(net, d);
    mir_list_remove(&d->link);
    net->reass.count--;
    mir_pool_free(&net->reass.pool, d);
}

static void kill_datagram(struct mir_net *net, struct datagram *d)
{
    drop_fragments(net, d);
    d->is_dead = true;
}

static void remove_oldest(struct mir_net *net)
{
    struct datagram *d = MIR_CONTAINER_OF(net->reass.datagrams.next, struct datagram, link);
    if (!d->is_dead)
        net->counters.ip_reassembly_limit++;
    remove_datagram(net, d);
}

/* Its time is over: who sent the first fragment hears of it. */
static void give_up(struct mir_net *net, struct datagram *d)
{
    struct mir_buf *first = d->first;
    if (!d->is_dead)
        net->counters.ip_reassembly_timeout++;
    if (first != NULL && offset_of(first) == 0) {
        first->network_offset = (uint16_t)mir_buf_headroom(first);
        if (d->is_v4)
            mir__icmp4_send_error(net, &d->meta, first, MIR__ICMP4_TIME_EXCEEDED, 1, 0);
        else
            mir__icmp6_send_error(net, &d->meta, first, MIR__ICMP6_TIME_EXCEEDED, 1, 0);
    }
    remove_datagram(net, d);
}

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    mir_list_for_each (node, &net->reass.datagrams) {
        struct datagram *d = MIR_CONTAINER_OF(node, struct datagram, link);
        if (d->deadline_us <= mir_loop_now(net->loop))
            give_up(net, d);
    }
    arm_timer(net);
}

static struct datagram *find(struct mir_net *net, const struct mir__ip_meta *meta,
                             const struct mir__fragment *fragment)
{
    mir_list_for_each (node, &net->reass.datagrams) {
        struct datagram *d = MIR_CONTAINER_OF(node, struct datagram, link);
        if (d->id == fragment->id && mir_ip_equal(&d->src, &meta->src) &&
            mir_ip_equal(&d->dst, &meta->dst) && (!d->is_v4 || d->protocol == fragment->protocol))
            return d;
    }
    return NULL;
}

static struct datagram *make(struct mir_net *net, const struct mir__ip_meta *meta,
                             const struct mir__fragment *fragment)
{
    struct mir__reass_state *reass = &net->reass;
    bool is_v4 = mir_ip_is_v4(&meta->dst);
    if (reass->count == MIR__REASS_DATAGRAMS_MAX)
        remove_oldest(net);
    struct datagram *d = mir_pool_alloc(&reass->pool);
    if (d == NULL) {
        net->counters.no_memory++;
        return NULL;
    }
    *d = (struct datagram){
        .deadline_us =
            mir_loop_now(net->loop) + (is_v4 ? MIR__REASS4_TIMEOUT_US : MIR__REASS6_TIMEOUT_US),
        .src = meta->src,
        .dst = meta->dst,
        .id = fragment->id,
        .protocol = fragment->protocol,
        .is_v4 = is_v4,
        .meta = *meta,
    };
    mir_list_push_back(&reass->datagrams, &d->link);
    reass->count++;
    arm_timer(net);
    return d;
}

/* ---- putting together ---------------------------------------------------------------------- */

static bool is_same(const struct mir_buf *a, const struct mir_buf *b)
{
    uint32_t len = payload_of(a);
    uint8_t x[64], y[64];
    if (offset_of(a) != offset_of(b) || payload_of(b) != len)
        return false;
    for (uint32_t at = 0; at < len; at += sizeof x) {
        uint32_t n = MIR_MIN((uint32_t)sizeof x, len - at);
        if (mir_buf_copy_out(a, headers_of(a) + at, x, n) < 0 ||
            mir_buf_copy_out(b, headers_of(b) + at, y, n) < 0 || mir_memcmp(x, y, n) != 0)
            return false;
    }
    return true;
}

enum verdict { TAKEN, DUPLICATE, OVERLAP };

/* Sort @buf in; it is not taken unless the answer is TAKEN. */
static enum verdict insert(struct datagram *d, struct mir_buf *buf,
                           const struct mir__fragment *fragment)
{
    uint32_t offset = offset_of(buf), end = offset + payload_of(buf);
    bool is_last = !fragment->more;
    struct mir_buf **link = &d->first;
    struct mir_buf *before = NULL;
    while (*link != NULL && offset_of(*link) < offset) {
        before = *link;
        link = &before->next;
    }
    if (*link != NULL && is_same(*link, buf))
        return DUPLICATE;
    if (before != NULL && offset_of(before) + payload_of(before) > offset)
        return OVERLAP;
    if (*link != NULL && offset_of(*link) < end)
        return OVERLAP;
    /* The end was told once; nothing may lie behind it. */
    if ((d->total != 0 && (end > d->total || is_last)) || (is_last && *link != NULL))
        return OVERLAP;
    if (is_last)
        d->total = end;
    if (offset == 0) {
        d->protocol = fragment->protocol;
        d->next_at = fragment->next_at;
    }
    buf->next = *link;
    *link = buf;
    d->received += end - offset;
    d->bytes += memory_of(buf);
    d->count++;
    return TAKEN;
}

/* The headers of the datagram it once was, for an ICMP error to quote. */
static void mend_header4(uint8_t *ip, uint32_t header_len, uint32_t payload_len)
{
    mir_put_be16(ip + 2, (uint16_t)(header_len + payload_len));
    mir_put_be16(ip + 6, 0);
    mir_put_be16(ip + 10, 0);
    uint16_t check = (uint16_t)~mir__csum_partial(ip, header_len);
    mir_memcpy(ip + 10, &check, sizeof check);
}

static void mend_header6(const struct datagram *d, uint8_t *ip, uint32_t header_len)
{
    mir_put_be16(ip + 4, (uint16_t)(header_len - MIR__IP6_HEADER_LEN + d->total));
    ip[d->next_at] = d->protocol;
}

/* One linear buffer: the first fragment's headers and all payload. NULL without memory. */
static struct mir_buf *join(struct mir_net *net, const struct datagram *d)
{
    uint32_t header_len = headers_of(d->first) - (d->is_v4 ? 0 : MIR__IP6_FRAGMENT_LEN);
    struct mir_buf *whole = mir_buf_alloc_page(net->bufs, (size_t)header_len + d->total, 0);
    if (whole == NULL)
        return NULL;
    uint8_t *header = mir_buf_append(whole, header_len);
    mir_memcpy(header, d->first->data, header_len);
    if (d->is_v4)
        mend_header4(header, header_len, d->total);
    else
        mend_header6(d, header, header_len);
    for (const struct mir_buf *buf = d->first; buf != NULL; buf = buf->next) {
        uint32_t len = payload_of(buf);
        int r = mir_buf_copy_out(buf, headers_of(buf), mir_buf_append(whole, len), len);
        MIR_ASSERT(r == 0);
    }
    whole->network_offset = 0;
    mir_buf_pull(whole, header_len);
    return whole;
}

static void complete(struct mir_net *net, struct datagram *d)
{
    struct mir__ip_meta meta = d->meta;
    uint8_t protocol = d->protocol;
    uint16_t next_at = d->next_at;
    bool is_v4 = d->is_v4;
    struct mir_buf *whole = join(net, d);
    remove_datagram(net, d);
    arm_timer(net);
    if (whole == NULL) {
        net->counters.no_memory++;
        return;
    }
    net->counters.ip_reassembled++;
    if (is_v4)
        mir__ip4_deliver(net, &meta, protocol, whole);
    else
        mir__ip6_deliver(net, &meta, protocol, next_at, whole);
}

/* A fragment in a far larger page would pin all of it: move it to where it fits. */
static struct mir_buf *make_compact(struct mir_net *net, struct mir_buf *buf)
{
    uint32_t total = mir_buf_total(buf);
    uint32_t needed = total <= MIR_BUF_HEAD_BYTES ? 0 : MIR_MAX(total, MIR_PAGE_SIZE);
    if (memory_of(buf) - sizeof *buf <= (size_t)2 * needed)
        return buf;
    struct mir_buf *copy = mir_buf_linearize(net->bufs, buf, 0);
    if (copy == NULL)
        return buf;
    mir_buf_release(buf);
    return copy;
}

static void input(struct mir_net *net, const struct mir__ip_meta *meta,
                  const struct mir__fragment *fragment, struct mir_buf *buf_given)
{
    struct mir__reass_state *reass = &net->reass;
    struct datagram *d = find(net, meta, fragment);
    if (d == NULL)
        d = make(net, meta, fragment);
    if (d == NULL || d->is_dead) {
        mir_buf_release(buf_given);
        return;
    }
    struct mir_buf *buf = make_compact(net, buf_given);
    buf->csum_start = fragment->header_len;
    buf->csum_offset = fragment->offset;
    d->meta.is_broadcast |= meta->is_broadcast;
    reass->bytes -= d->bytes;
    enum verdict verdict = d->count < MIR__REASS_FRAGMENTS_MAX ? insert(d, buf, fragment) : OVERLAP;
    bool is_limit = d->count == MIR__REASS_FRAGMENTS_MAX && verdict == OVERLAP;
    reass->bytes += d->bytes;
    if (verdict != TAKEN)
        mir_buf_release(buf);
    if (verdict == OVERLAP) {
        net->counters.ip_reassembly_overlap += !is_limit;
        net->counters.ip_reassembly_limit += is_limit;
        kill_datagram(net, d);
        return;
    }
    if (d->total != 0 && d->received == d->total) {
        complete(net, d);
        return;
    }
    if (reass->bytes <= reass->bytes_max)
        return;
    while (reass->bytes > reass->bytes_max)
        remove_oldest(net);
    arm_timer(net);
}

void mir__reass4_input(struct mir_net *net, const struct mir__ip_meta *meta,
                       struct mir_buf *buf_given)
{
    const uint8_t *ip = buf_given->data;
    struct mir__fragment fragment = {
        .id = mir__ip4_id(ip),
        .offset = (uint16_t)mir__ip4_offset(ip),
        .header_len = (uint16_t)mir__ip4_header_len(ip),
        .protocol = mir__ip4_protocol(ip),
        .more = (mir__ip4_fragment_word(ip) & MIR__IP4_MF) != 0,
    };
    uint32_t payload = mir_buf_total(buf_given) - fragment.header_len;
    net->counters.ip_fragments_in++;
    if (payload == 0 || (fragment.more && payload % 8 != 0) ||
        fragment.offset + payload + fragment.header_len > 65535) {
        net->counters.ip_malformed++;
        mir_buf_release(buf_given);
        return;
    }
    input(net, meta, &fragment, buf_given);
}

/* Is the chain of headers complete, up to the transport's? (RFC 7112 section 5) */
static bool has_whole_chain(const struct mir_buf *buf, const struct mir__fragment *fragment)
{
    const uint8_t *ip = buf->data;
    uint32_t at = fragment->header_len;
    uint8_t next = fragment->protocol;
    for (int i = 0; i < 8; i++) {
        if (next != MIR__IP6_DESTINATION && next != MIR__IP6_ROUTING &&
            next != MIR__IP6_HOP_BY_HOP) {
            uint32_t least = next == MIR__PROTO_TCP   ? 20
                             : next == MIR__PROTO_UDP ? 8
                             : next == MIR__IP6_ICMP  ? 4
                                                      : 0;
            return at + least <= buf->len;
        }
        if (at + 8 > buf->len)
            return false;
        next = ip[at];
        at += mir__ip6_ext_len(ip + at);
    }
    return false;
}

void mir__reass6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                       const struct mir__fragment *fragment, struct mir_buf *buf_given)
{
    uint32_t payload = mir_buf_total(buf_given) - fragment->header_len;
    uint32_t headers = fragment->header_len - MIR__IP6_HEADER_LEN - MIR__IP6_FRAGMENT_LEN;
    uint32_t fragment_at = fragment->header_len - MIR__IP6_FRAGMENT_LEN;
    int code = -1;
    uint32_t pointer = 0;
    net->counters.ip_fragments_in++;
    if (fragment->more && payload % 8 != 0) {
        code = MIR__ICMP6_BAD_FIELD;
        pointer = 4;
    } else if (fragment->offset + payload + headers > 65535) {
        code = MIR__ICMP6_BAD_FIELD;
        pointer = fragment_at + 2;
    } else if (fragment->offset == 0 && !has_whole_chain(buf_given, fragment)) {
        code = MIR__ICMP6_SHORT_FIRST;
    }
    if (code < 0 && payload > 0) {
        input(net, meta, fragment, buf_given);
        return;
    }
    net->counters.ip_malformed++;
    if (code >= 0)
        mir__icmp6_send_error(net, meta, buf_given, MIR__ICMP6_PARAMETER_PROBLEM, (uint8_t)code,
                              pointer);
    mir_buf_release(buf_given);
}

int mir__reass_init(struct mir_net *net, uint32_t bytes_max)
{
    struct mir__reass_state *reass = &net->reass;
    mir_list_init(&reass->datagrams);
    mir_timer_init(&reass->timer, on_timer, net);
    reass->bytes_max = bytes_max;
    return mir_pool_init(&reass->pool, "reassembly", net->pages, sizeof(struct datagram),
                         MIR__REASS_DATAGRAMS_MAX);
}

void mir__reass_fini(struct mir_net *net)
{
    struct mir_list *list = &net->reass.datagrams;
    while (!mir_list_is_empty(list))
        remove_datagram(net, MIR_CONTAINER_OF(list->next, struct datagram, link));
    mir_timer_cancel(&net->reass.timer);
    mir_pool_fini(&net->reass.pool);
}
