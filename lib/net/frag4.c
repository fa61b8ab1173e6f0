/* SPDX-License-Identifier: ISC */
/* IPv4 fragments on the way out (RFC 791 section 3.2, "Fragmentation").
 *
 *    payload     |============================================|
 *    fragments   |IP|=== n*8 ===|  |IP|=== n*8 ===|  |IP|=rest=|     MF set on all but the last
 *
 * Fragments refer to the payload's pages; only bytes in the buffer's inline storage (at most 222)
 * are copied. If the device has not room for all of them, none is sent: a datagram without one
 * fragment is only work for everybody.
 */
#include "lib/net/net_state.h"

enum { HEADERS = MIR__ETH_HEADER_LEN + MIR__IP4_HEADER_LEN };

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

int mir__frag4_output(struct mir_net *net, struct mir__route *route,
                      const struct mir__ip_params *params, struct mir_buf *buf_given)
{
    uint32_t total = mir_buf_total(buf_given);
    uint32_t piece_max = (route->mtu - MIR__IP4_HEADER_LEN) & ~7u;
    uint32_t count = (total + piece_max - 1) / piece_max;
    uint16_t id = mir__ip4_next_id(net);
    int r = 0;
    if (total + MIR__IP4_HEADER_LEN > 65535) {
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
        mir__ip4_push_header(piece, params, id,
                             (uint16_t)(offset / 8 | (is_last ? 0 : MIR__IP4_MF)));
        net->counters.ip_fragments_out++;
        r = mir__ip4_send(net, route, piece);
    }
    if (r == 0)
        net->counters.ip_out++;
    mir_buf_release(buf_given);
    return r;
}
