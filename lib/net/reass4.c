/* SPDX-License-Identifier: ISC */
/* IPv4 reassembly with bounds (RFC 791 section 3.2, RFC 815, RFC 1122 section 3.3.2).
 *
 *   datagram (src, dst, id, protocol)
 *      └── fragments sorted by offset:  [0,1480) [1480,2960) ... [.., total)     no overlaps
 *
 * A datagram is whole when the fragments touch each other from 0 to the end that the fragment
 * without MF has told. It is then copied once into one linear run with its IP header in front.
 *
 * Bounds, because every fragment may come from an attacker:
 *   - all datagrams together hold at most bytes_max of memory, counted as what they really pin
 *     (an eight-byte fragment in a 4 KiB page counts as the page; such are copied into smaller
 *     buffers first), and at most 64 datagrams exist; the oldest gives way
 *   - one datagram has at most 128 fragments: enough for 64 KiB at the smallest MTU of 576
 *   - 30 seconds after the first fragment it is given up, with ICMP time exceeded if the first
 *     fragment (offset 0) is there
 *   - two fragments that overlap kill the datagram, and it stays dead until its time is over, so
 *     that the rest does not start anew (in the spirit of RFC 5722). An exact copy of a fragment
 *     is a duplicate of the network and is dropped alone.
 */
#include "lib/net/net_state.h"

struct datagram {
    struct mir_list link;
    mir_time_us deadline_us;
    uint32_t src, dst;
    uint16_t id;
    uint8_t protocol;
    bool is_dead;
    uint32_t total;    /* payload bytes; 0 = end not seen */
    uint32_t received; /* payload bytes held */
    uint32_t bytes;    /* memory pinned */
    uint32_t count;
    struct mir_buf *first; /* sorted by offset, linked by next */
    struct mir__ip_meta meta;
};

/* A held fragment keeps its IP header: buf->data is at it. */
static uint32_t offset_of(const struct mir_buf *buf)
{
    return mir__ip4_offset(buf->data);
}

static uint32_t payload_of(const struct mir_buf *buf)
{
    return mir_buf_total(buf) - mir__ip4_header_len(buf->data);
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

static void arm_timer(struct mir_net *net)
{
    struct mir__reass_state *reass = &net->reass;
    if (mir_list_is_empty(&reass->datagrams)) {
        mir_timer_cancel(&reass->timer);
        return;
    }
    struct datagram *oldest = MIR_CONTAINER_OF(reass->datagrams.next, struct datagram, link);
    mir_timer_set(net->loop, &reass->timer, oldest->deadline_us);
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

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    struct mir_list *list = &net->reass.datagrams;
    while (!mir_list_is_empty(list)) {
        struct datagram *d = MIR_CONTAINER_OF(list->next, struct datagram, link);
        if (d->deadline_us > mir_loop_now(net->loop))
            break;
        if (!d->is_dead)
            net->counters.ip_reassembly_timeout++;
        struct mir_buf *first = d->first;
        if (first != NULL && offset_of(first) == 0) {
            first->network_offset = (uint16_t)mir_buf_headroom(first);
            mir__icmp4_send_error(net, &d->meta, first, MIR__ICMP4_TIME_EXCEEDED, 1, 0);
        }
        remove_datagram(net, d);
    }
    arm_timer(net);
}

static struct datagram *find(struct mir_net *net, const uint8_t *ip)
{
    mir_list_for_each (node, &net->reass.datagrams) {
        struct datagram *d = MIR_CONTAINER_OF(node, struct datagram, link);
        if (d->id == mir__ip4_id(ip) && d->src == mir__ip4_src(ip) && d->dst == mir__ip4_dst(ip) &&
            d->protocol == mir__ip4_protocol(ip))
            return d;
    }
    return NULL;
}

static struct datagram *make(struct mir_net *net, const struct mir__ip_meta *meta,
                             const uint8_t *ip)
{
    struct mir__reass_state *reass = &net->reass;
    if (reass->count == MIR__REASS_DATAGRAMS_MAX)
        remove_oldest(net);
    struct datagram *d = mir_pool_alloc(&reass->pool);
    if (d == NULL) {
        net->counters.no_memory++;
        return NULL;
    }
    *d = (struct datagram){
        .deadline_us = mir_loop_now(net->loop) + MIR__REASS_TIMEOUT_US,
        .src = mir__ip4_src(ip),
        .dst = mir__ip4_dst(ip),
        .id = mir__ip4_id(ip),
        .protocol = mir__ip4_protocol(ip),
        .meta = *meta,
    };
    mir_list_push_back(&reass->datagrams, &d->link);
    reass->count++;
    if (reass->count == 1)
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
        if (mir_buf_copy_out(a, mir__ip4_header_len(a->data) + at, x, n) < 0 ||
            mir_buf_copy_out(b, mir__ip4_header_len(b->data) + at, y, n) < 0 ||
            mir_memcmp(x, y, n) != 0)
            return false;
    }
    return true;
}

enum verdict { TAKEN, DUPLICATE, OVERLAP };

/* Sort @buf in; it is not taken unless the answer is TAKEN. */
static enum verdict insert(struct datagram *d, struct mir_buf *buf)
{
    uint32_t offset = offset_of(buf), end = offset + payload_of(buf);
    bool is_last = (mir__ip4_fragment_word(buf->data) & MIR__IP4_MF) == 0;
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
    buf->next = *link;
    *link = buf;
    d->received += end - offset;
    d->bytes += memory_of(buf);
    d->count++;
    return TAKEN;
}

/* One linear buffer: the first fragment's IP header and all payload. NULL without memory. */
static struct mir_buf *join(struct mir_net *net, const struct datagram *d)
{
    uint32_t header_len = mir__ip4_header_len(d->first->data);
    struct mir_buf *whole = mir_buf_alloc_page(net->bufs, (size_t)header_len + d->total, 0);
    if (whole == NULL)
        return NULL;
    uint8_t *header = mir_buf_append(whole, header_len);
    mir_memcpy(header, d->first->data, header_len);
    /* The header of the datagram it once was, for an ICMP error to quote. */
    mir_put_be16(header + 2, (uint16_t)(header_len + d->total));
    mir_put_be16(header + 6, 0);
    mir_put_be16(header + 10, 0);
    uint16_t check = (uint16_t)~mir__csum_partial(header, header_len);
    mir_memcpy(header + 10, &check, sizeof check);
    for (const struct mir_buf *buf = d->first; buf != NULL; buf = buf->next) {
        uint32_t len = payload_of(buf);
        int r =
            mir_buf_copy_out(buf, mir__ip4_header_len(buf->data), mir_buf_append(whole, len), len);
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
    struct mir_buf *whole = join(net, d);
    bool was_first = net->reass.datagrams.next == &d->link;
    remove_datagram(net, d);
    if (was_first)
        arm_timer(net);
    if (whole == NULL) {
        net->counters.no_memory++;
        return;
    }
    net->counters.ip_reassembled++;
    mir__ip4_deliver(net, &meta, protocol, whole);
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

static bool is_sane(const uint8_t *ip, uint32_t payload)
{
    uint32_t header_len = mir__ip4_header_len(ip);
    bool has_more = (mir__ip4_fragment_word(ip) & MIR__IP4_MF) != 0;
    return payload > 0 && (!has_more || payload % 8 == 0) &&
           mir__ip4_offset(ip) + payload + header_len <= 65535;
}

void mir__reass4_input(struct mir_net *net, const struct mir__ip_meta *meta,
                       struct mir_buf *buf_given)
{
    struct mir__reass_state *reass = &net->reass;
    struct mir_buf *buf = buf_given;
    net->counters.ip_fragments_in++;
    if (!is_sane(buf->data, payload_of(buf))) {
        net->counters.ip_malformed++;
        mir_buf_release(buf);
        return;
    }
    struct datagram *d = find(net, buf->data);
    if (d == NULL)
        d = make(net, meta, buf->data);
    if (d == NULL || d->is_dead) {
        mir_buf_release(buf);
        return;
    }
    buf = make_compact(net, buf);
    d->meta.is_broadcast |= meta->is_broadcast;
    reass->bytes -= d->bytes;
    enum verdict verdict = d->count < MIR__REASS_FRAGMENTS_MAX ? insert(d, buf) : OVERLAP;
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
    while (reass->bytes > reass->bytes_max)
        remove_oldest(net);
    arm_timer(net);
}

int mir__reass4_init(struct mir_net *net, uint32_t bytes_max)
{
    struct mir__reass_state *reass = &net->reass;
    mir_list_init(&reass->datagrams);
    mir_timer_init(&reass->timer, on_timer, net);
    reass->bytes_max = bytes_max;
    return mir_pool_init(&reass->pool, "reassembly", net->pages, sizeof(struct datagram),
                         MIR__REASS_DATAGRAMS_MAX);
}

void mir__reass4_fini(struct mir_net *net)
{
    struct mir_list *list = &net->reass.datagrams;
    while (!mir_list_is_empty(list))
        remove_datagram(net, MIR_CONTAINER_OF(list->next, struct datagram, link));
    mir_timer_cancel(&net->reass.timer);
    mir_pool_fini(&net->reass.pool);
}
