/* SPDX-License-Identifier: ISC */
/* Fragments on the way out, of both families (RFC 791 section 3.2, RFC 8200 section 4.5).
 *
 *    payload     |============================================|
 *    fragments   |IP|=== n*8 ===|  |IP|=== n*8 ===|  |IP|=rest=|     MF set on all but the last
 *
 * IPv6 has a fragment header between the IP header and the piece. Its identifications come from a
 * counter that goes through a keyed permutation of 32 bits (RFC 7739 section 5.3). What fits into
 * one packet never has that header, even if a path claims to be smaller than 1280 (RFC 8021).
 *
 * Fragments refer to the payload's pages; only bytes in the buffer's inline storage (at most 222)
 * are copied. If the device has not room for all of them, none is sent: a datagram without one
 * fragment is only work for everybody.
 */
#include "lib/net/net_state.h"

enum { HEADERS = MIR__ETH_HEADER_LEN + MIR__IP6_HEADER_LEN + MIR__IP6_FRAGMENT_LEN };

/* Add [offset, offset+len) of the linear part. Returns 0 or an error. */
static int add_linear(struct mir_buf *piece, const struct mir_buf *buf, uint32_t offset,
                      uint32_t len)
{
    if (buf->page == NULL) {
        mir_memcpy(mir_buf_append(piece, len), buf->data + offset, len);
        return 0;
    }
    uint32_t at = (uint32_t)(buf->data + offset - buf->page->base);
    return mir_buf_add_view(piece, mir_view_of_page(buf->page, at, len));
}

/* A buffer with [offset, offset+len) of @buf and room for headers; NULL without memory. */
static struct mir_buf *slice(struct mir_net *net, const struct mir_buf *buf, uint32_t offset,
                             uint32_t len)
{
    struct mir_buf *piece = mir_buf_alloc(net->bufs, HEADERS);
    if (piece == NULL)
        return NULL;
    if (offset < buf->len) {
        uint32_t n = MIR_MIN(len, buf->len - offset);
        if (add_linear(piece, buf, offset, n) < 0)
            goto err;
        len -= n;
        offset = 0;
    } else {
        offset -= buf->len;
    }
    for (uint32_t i = 0; i < buf->frag_count && len > 0; i++) {
        const struct mir_view *view = &buf->frag[i];
        if (offset >= view->len) {
            offset -= view->len;
            continue;
        }
        uint32_t n = MIR_MIN(len, view->len - offset);
        if (mir_buf_add_view(piece, mir_view_sub(view, offset, n)) < 0)
            goto err;
        len -= n;
        offset = 0;
    }
    return piece;
err:
    mir_buf_release(piece);
    return NULL;
}

static uint32_t next_id6(struct mir_net *net)
{
    uint32_t counter = net->ip6_id++, key = net->ip_id_key;
    uint32_t left = counter >> 16, right = counter & 0xffff;
    /* As mir__ip4_next_id(), over two halves of 16 bits. */
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t f = (right + round * 0x3d4d + (key >> 8 * round)) * 0x9e3779b1u ^ key;
        uint32_t next = left ^ ((f ^ f >> 15) & 0xffff);
        left = right;
        right = next;
    }
    return left << 16 | right;
}

static int send_piece(struct mir_net *net, struct mir__route *route,
                      const struct mir__ip_params *params, struct mir_buf *piece_given,
                      const struct mir__ip6_fragment *fragment)
{
    net->counters.ip_fragments_out++;
    if (route->ip_header_len == MIR__IP4_HEADER_LEN) {
        mir__ip4_push_header(piece_given, params, (uint16_t)fragment->id,
                             (uint16_t)(fragment->offset / 8 | (fragment->more ? MIR__IP4_MF : 0)));
        return mir__ip4_send(net, route, piece_given);
    }
    mir__ip6_fragment_emit(fragment, mir_buf_push(piece_given, MIR__IP6_FRAGMENT_LEN));
    mir__ip6_push_header(piece_given, route, params, MIR__IP6_FRAGMENT);
    return mir__nd6_output(net, route, piece_given);
}

int mir__frag_output(struct mir_net *net, struct mir__route *route,
                     const struct mir__ip_params *params, struct mir_buf *buf_given)
{
    bool is_v4 = route->ip_header_len == MIR__IP4_HEADER_LEN;
    uint32_t headers = is_v4 ? MIR__IP4_HEADER_LEN : MIR__IP6_HEADER_LEN + MIR__IP6_FRAGMENT_LEN;
    uint32_t total = mir_buf_total(buf_given);
    uint32_t piece_max = (route->mtu - headers) & ~7u;
    uint32_t count = (total + piece_max - 1) / piece_max;
    uint32_t id = is_v4 ? mir__ip4_next_id(net) : next_id6(net);
    int r = 0;
    if (total + (is_v4 ? MIR__IP4_HEADER_LEN : 0) > 65535) {
        net->counters.ip_too_big++;
        r = -MIR_ETOOBIG;
    } else if (mir__ip_tx_room(route) < count) {
        net->counters.tx_dropped++;
        r = -MIR_EAGAIN;
    }
    for (uint32_t offset = 0; r == 0 && offset < total; offset += piece_max) {
        uint32_t len = MIR_MIN(piece_max, total - offset);
        bool is_last = offset + len == total;
        struct mir_buf *piece = slice(net, buf_given, offset, len);
        if (piece == NULL) {
            net->counters.no_memory++;
            r = -MIR_ENOMEM;
            break;
        }
        struct mir__ip6_fragment fragment = {
            .next = params->protocol, .more = !is_last, .offset = (uint16_t)offset, .id = id};
        r = send_piece(net, route, params, piece, &fragment);
    }
    if (r == 0 && is_v4)
        net->counters.ip_out++;
    else if (r == 0)
        net->counters.ip6_out++;
    mir_buf_release(buf_given);
    return r;
}
