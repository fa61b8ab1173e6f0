/* SPDX-License-Identifier: ISC */
/* IPv6: input, extension headers, output (RFC 8200, RFC 4291, RFC 8504).
 *
 *   [ IPv6 40 ][ hop-by-hop ][ destination ][ routing ][ fragment ] [ TCP | UDP | ICMPv6 ...
 *               `---------- walked here, one after the other ------'
 *
 * Nearly every packet has no extension header and goes straight to its transport. The rest is
 * walked with bounds, because each header is work that a stranger orders: eight headers, 512 bytes
 * of them and eight options a header that are not padding (RFC 8504 section 5.3). What is beyond is
 * dropped and counted, without an answer. Hop-by-hop options must come first; other headers may
 * come in any order (RFC 8200 section 4.1).
 *
 * What cannot be understood is told to the sender as parameter problem: unknown headers, options
 * whose two high bits ask for it (jumbograms are such an option to us), routing headers that want
 * the packet to go on. Type 0 of these can be used to make two hosts talk to each other for ever;
 * it is refused like every other (RFC 5095).
 *
 * A packet is dropped as martian if its source is a group, ::1, or one of ours, or if either
 * address is IPv4 in IPv6 form: inside the stack such an address *is* IPv4, and must not come from
 * here (RFC 4291 section 2.5.5.2, RFC 6890). The source :: is for ICMPv6 alone (RFC 4862).
 *
 * Addresses are accepted on every interface (weak model), link-local ones on their own only.
 *
 * Output never fragments for TCP; a packet for a path of 1280 bytes carries no fragment header
 * unless it is one (RFC 8021). Not done: forwarding, mobility, IPsec.
 */
#include "lib/net/net_state.h"

enum { EXT_HEADERS_MAX = 8, EXT_BYTES_MAX = 512, OPTIONS_MAX = 8 };

/* ---- output ------------------------------------------------------------------------------- */

static void push_router_alert(struct mir_buf *buf, uint8_t next)
{
    static const uint8_t options[] = {MIR__IP6_OPTION_ROUTER_ALERT, 2, 0, 0,
                                      MIR__IP6_OPTION_PADN,         0};
    uint8_t *ext = mir_buf_push(buf, 8);
    ext[0] = next;
    ext[1] = 0;
    mir_memcpy(ext + 2, options, sizeof options);
}

void mir__ip6_push_header(struct mir_buf *buf, const struct mir__route *route,
                          const struct mir__ip_params *params, uint8_t next)
{
    uint8_t hops = params->ttl != 0 ? params->ttl : route->iface->hops6;
    uint32_t payload_len = mir_buf_total(buf);
    uint8_t *h = mir_buf_push(buf, MIR__IP6_HEADER_LEN);
    mir_put_be32(h, 6u << 28 | (uint32_t)params->tos << 20 | (params->flow_label & 0xfffff));
    mir_put_be32(h + 4, payload_len << 16 | (uint32_t)next << 8 | hops);
    mir_memcpy(h + 8, params->src->bytes, 16);
    mir_memcpy(h + 24, params->dst->bytes, 16);
    buf->network_offset = (uint16_t)mir_buf_headroom(buf);
}

int mir__ip6_output(struct mir_net *net, struct mir__route *route,
                    const struct mir__ip_params *params, struct mir_buf *buf_given)
{
    uint8_t next = params->protocol;
    bool is_gso = (buf_given->flags & MIR_BUF_GSO_TCP6) != 0;
    uint32_t total = mir_buf_total(buf_given) + MIR__IP6_HEADER_LEN;
    if (MIR_UNLIKELY(total > (is_gso ? route->gso_max : route->mtu))) {
        if (!is_gso && !params->dont_fragment && !params->router_alert)
            return mir__frag_output(net, route, params, buf_given);
        net->counters.ip_too_big++;
        mir_buf_release(buf_given);
        return -MIR_ETOOBIG;
    }
    if (params->router_alert) {
        push_router_alert(buf_given, next);
        next = MIR__IP6_HOP_BY_HOP;
    }
    mir__ip6_push_header(buf_given, route, params, next);
    net->counters.ip6_out++;
    return mir__nd6_output(net, route, buf_given);
}

/* ---- input: addresses ---------------------------------------------------------------------- */

static bool is_martian(const struct mir_net *net, const struct mir__iface *iface, const uint8_t *ip,
                       const struct mir_ip *src, const struct mir_ip *dst)
{
    if (MIR_UNLIKELY(iface == &net->self.iface))
        return !mir__self_is(net, src) || !mir__self_is(net, dst);
    /* Scopes 0 and 1 never leave a host (RFC 4291 section 2.7). */
    if (mir__ip6_is_multicast(dst) ? mir__ip6_multicast_scope(dst) <= 1 : !mir__ip6_is_host(dst))
        return true;
    if (mir__ip6_is_unspecified(src))
        return mir__ip6_next(ip) != MIR__IP6_ICMP && mir__ip6_next(ip) != MIR__IP6_HOP_BY_HOP;
    return !mir__ip6_is_host(src) || mir__ip_is_local(net, src);
}

static bool is_for_us(struct mir_net *net, const struct mir__iface *iface, const struct mir_ip *dst)
{
    if (MIR_UNLIKELY(iface == &net->self.iface))
        return true;
    if (mir__ip6_is_multicast(dst)) {
        if (mir__group_find(iface, dst) != NULL)
            return true;
        net->counters.ip6_group_not_joined++;
        return false;
    }
    const struct mir__ifaddr *addr = mir__ifaddr_find(net, dst);
    if (addr != NULL && mir__ifaddr_is_usable(addr) &&
        (addr->iface == iface || !mir__ip6_is_link_local(dst)))
        return true;
    net->counters.ip_not_for_us++;
    return false;
}

/* ---- input: extension headers -------------------------------------------------------------- */

struct walk {
    struct mir_net *net;
    struct mir__ip_meta *meta;
    struct mir_buf *buf; /* data at the next header */
    uint32_t next_at;    /* where the number of that header is, from the IP header */
    uint8_t next;
    uint32_t headers;
    uint32_t bytes;
    bool is_reassembled;
};

enum verdict { GO_ON, DROP, TAKEN };

static const uint8_t *packet_of(const struct mir_buf *buf)
{
    return buf->start + buf->network_offset;
}

static uint32_t offset_of(const struct mir_buf *buf, const uint8_t *at)
{
    return (uint32_t)(at - packet_of(buf));
}

static enum verdict complain(const struct walk *w, uint8_t code, uint32_t pointer)
{
    w->net->counters.ip6_extension_refused++;
    mir__icmp6_send_error(w->net, w->meta, w->buf, MIR__ICMP6_PARAMETER_PROBLEM, code, pointer);
    return DROP;
}

/* RFC 8200 section 4.2: the two high bits of a type we do not know. */
static enum verdict unknown_option(const struct walk *w, const uint8_t *option)
{
    switch (option[0] >> 6) {
    case 0:
        return GO_ON;
    case 2:
        return complain(w, MIR__ICMP6_BAD_OPTION, offset_of(w->buf, option));
    case 3:
        if (!mir__ip6_is_multicast(&w->meta->dst))
            return complain(w, MIR__ICMP6_BAD_OPTION, offset_of(w->buf, option));
        break;
    default:
        break;
    }
    w->net->counters.ip6_extension_refused++;
    return DROP;
}

/* Options of a hop-by-hop or destination header [ext, ext+len). */
static enum verdict walk_options(const struct walk *w, const uint8_t *ext, uint32_t len)
{
    uint32_t count = 0;
    for (uint32_t at = 2; at < len;) {
        const uint8_t *option = ext + at;
        if (option[0] == MIR__IP6_OPTION_PAD1) {
            at++;
            continue;
        }
        if (len - at < 2 || option[1] > len - at - 2)
            return complain(w, MIR__ICMP6_BAD_FIELD, offset_of(w->buf, option));
        if (option[0] == MIR__IP6_OPTION_ROUTER_ALERT && option[1] == 2 &&
            w->next == MIR__IP6_HOP_BY_HOP) {
            w->meta->has_router_alert = true;
        } else if (option[0] != MIR__IP6_OPTION_PADN) {
            enum verdict verdict = unknown_option(w, option);
            if (verdict != GO_ON)
                return verdict;
        }
        if (option[0] != MIR__IP6_OPTION_PADN && ++count > OPTIONS_MAX) {
            w->net->counters.ip6_extension_refused++;
            return DROP;
        }
        at += 2u + option[1];
    }
    return GO_ON;
}

static enum verdict walk_fragment(struct walk *w)
{
    struct mir_buf *buf = w->buf;
    const uint8_t *ext = buf->data;
    uint32_t ext_at = offset_of(buf, ext);
    if (w->is_reassembled) { /* fragments of fragments: nobody sends such */
        w->net->counters.ip6_extension_refused++;
        return DROP;
    }
    w->meta->was_fragment = true;
    if (mir__ip6_fragment_offset(ext) != 0 || mir__ip6_fragment_more(ext)) {
        struct mir__fragment fragment = {
            .id = mir__ip6_fragment_id(ext),
            .offset = (uint16_t)mir__ip6_fragment_offset(ext),
            .header_len = (uint16_t)(ext_at + MIR__IP6_FRAGMENT_LEN),
            .next_at = (uint16_t)w->next_at,
            .protocol = ext[0],
            .more = mir__ip6_fragment_more(ext),
        };
        /* The headers in front were pulled off, but are still there. */
        (void)mir_buf_push(buf, ext_at);
        mir__reass6_input(w->net, w->meta, &fragment, buf);
        return TAKEN;
    }
    /* A whole datagram in one "fragment" stands for itself (RFC 6946 section 4). */
    w->next_at = ext_at;
    w->next = ext[0];
    mir_buf_pull(buf, MIR__IP6_FRAGMENT_LEN);
    return GO_ON;
}

/* One header, complete in the linear part or refused; moves on to the next. */
static enum verdict walk_one(struct walk *w)
{
    struct mir_buf *buf = w->buf;
    const uint8_t *ext = buf->data;
    if (buf->len < 8 || (w->next != MIR__IP6_FRAGMENT && buf->len < mir__ip6_ext_len(ext))) {
        w->net->counters.ip_malformed++;
        return DROP;
    }
    if (w->next == MIR__IP6_FRAGMENT)
        return walk_fragment(w);
    uint32_t len = mir__ip6_ext_len(ext);
    w->bytes += len;
    if (w->bytes > EXT_BYTES_MAX) {
        w->net->counters.ip6_extension_refused++;
        return DROP;
    }
    if (w->next == MIR__IP6_ROUTING) {
        /* Segments are left: it would have to go on, over an address that we do not know how to
         * read (RFC 8200 section 4.4, RFC 5095 section 3). */
        if (ext[3] != 0)
            return complain(w, MIR__ICMP6_BAD_FIELD, offset_of(buf, ext + 2));
    } else {
        enum verdict verdict = walk_options(w, ext, len);
        if (verdict != GO_ON)
            return verdict;
    }
    w->next_at = offset_of(buf, ext);
    w->next = ext[0];
    mir_buf_pull(buf, len);
    return GO_ON;
}

static bool is_extension(uint8_t next)
{
    return next == MIR__IP6_HOP_BY_HOP || next == MIR__IP6_DESTINATION ||
           next == MIR__IP6_ROUTING || next == MIR__IP6_FRAGMENT;
}

static enum verdict deliver(struct walk *w)
{
    struct mir_net *net = w->net;
    switch (w->next) {
    case MIR__PROTO_TCP:
        if (w->meta->is_broadcast) {
            net->counters.ip_martian++;
            return DROP;
        }
        mir__tcp_input(net, w->meta, w->buf);
        return TAKEN;
    case MIR__PROTO_UDP:
        mir__udp_input(net, w->meta, w->buf);
        return TAKEN;
    case MIR__IP6_ICMP:
        mir__icmp6_input(net, w->meta, w->buf);
        return TAKEN;
    case MIR__IP6_NONE:
        return DROP;
    default:
        net->counters.ip_unknown_protocol++;
        mir__icmp6_send_error(net, w->meta, w->buf, MIR__ICMP6_PARAMETER_PROBLEM,
                              MIR__ICMP6_BAD_NEXT, w->next_at);
        return DROP;
    }
}

static enum verdict walk(struct walk *w)
{
    while (MIR_UNLIKELY(is_extension(w->next))) {
        bool is_misplaced = w->next == MIR__IP6_HOP_BY_HOP && w->headers > 0;
        if (w->headers == 0 || (w->headers == 1 && w->is_reassembled))
            w->net->counters.ip6_extension_headers++;
        if (is_misplaced)
            return complain(w, MIR__ICMP6_BAD_NEXT, w->next_at);
        if (++w->headers > EXT_HEADERS_MAX) {
            w->net->counters.ip6_extension_refused++;
            return DROP;
        }
        enum verdict verdict = walk_one(w);
        if (verdict != GO_ON)
            return verdict;
    }
    /* The source :: asks or tells on a link and nothing else. */
    if (mir__ip6_is_unspecified(&w->meta->src) && w->next != MIR__IP6_ICMP) {
        w->net->counters.ip_martian++;
        return DROP;
    }
    return deliver(w);
}

void mir__ip6_deliver(struct mir_net *net, const struct mir__ip_meta *meta, uint8_t next,
                      uint32_t next_at, struct mir_buf *buf_given)
{
    struct mir__ip_meta own = *meta;
    struct walk w = {
        .net = net,
        .meta = &own,
        .buf = buf_given,
        .next = next,
        .next_at = next_at,
        .headers = 1, /* hop-by-hop options cannot come any more */
        .is_reassembled = true,
    };
    if (walk(&w) == DROP)
        mir_buf_release(w.buf);
}

/* ---- input --------------------------------------------------------------------------------- */

/* Extension headers and what follows must be at hand; rare packets are copied for it. */
static struct mir_buf *make_linear(struct mir_net *net, struct mir_buf *buf)
{
    if (buf->frag_count == 0 || !is_extension(mir__ip6_next(buf->data)))
        return buf;
    struct mir_buf *copy = mir_buf_linearize(net->bufs, buf, 0);
    if (copy == NULL)
        net->counters.no_memory++;
    mir_buf_release(buf);
    return copy;
}

static bool fill_meta(struct mir_net *net, struct mir__iface *iface, const struct mir_buf *buf,
                      struct mir__ip_meta *meta)
{
    const uint8_t *ip = buf->data;
    bool is_link_group = (buf->flags & (MIR_BUF_BROADCAST | MIR_BUF_MULTICAST)) != 0;
    *meta = (struct mir__ip_meta){
        .src = mir__ip6_src(ip),
        .dst = mir__ip6_dst(ip),
        .ttl = mir__ip6_hops(ip),
        .tos = mir__ip6_class(ip),
        .iface = iface,
    };
    meta->is_broadcast = is_link_group || mir__ip6_is_multicast(&meta->dst);
    if (is_martian(net, iface, ip, &meta->src, &meta->dst)) {
        net->counters.ip_martian++;
        return false;
    }
    return is_for_us(net, iface, &meta->dst);
}

void mir__ip6_input(struct mir_net *net, struct mir__iface *iface, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    struct mir__ip_meta meta;
    net->counters.ip6_in++;
    if (MIR_UNLIKELY(mir__ip6_check(buf->data, buf->len, mir_buf_total(buf)) < 0)) {
        net->counters.ip_malformed++;
        mir_buf_release(buf);
        return;
    }
    uint32_t total = MIR__IP6_HEADER_LEN + mir__ip6_payload_len(buf->data);
    if (mir_buf_total(buf) > total)
        mir_buf_trim(buf, total);
    if (!fill_meta(net, iface, buf, &meta)) {
        mir_buf_release(buf);
        return;
    }
    buf = make_linear(net, buf);
    if (buf == NULL)
        return;
    buf->network_offset = (uint16_t)mir_buf_headroom(buf);
    struct walk w = {
        .net = net,
        .meta = &meta,
        .buf = buf,
        .next = mir__ip6_next(buf->data),
        .next_at = 6,
    };
    mir_buf_pull(buf, MIR__IP6_HEADER_LEN);
    if (walk(&w) == DROP)
        mir_buf_release(w.buf);
}
