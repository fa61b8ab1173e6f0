/* SPDX-License-Identifier: ISC */
/* Fuzzes frames that claim to be several datagrams: 10 bytes are the vnet header, the rest the
 * frame. It is taken apart; then its pieces are joined again, as far as they can be.
 */
#include <stdlib.h>
#include <string.h>

#include "dev/net/vnet/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA ((size_t)4 << 20)

enum { ETH = 14, UDP_HEADER = 8 };

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;

/* A piece is a whole frame: its lengths say so. */
static void check_piece(const struct mir_buf *piece, uint32_t head)
{
    const uint8_t *ip = piece->data + ETH, *udp = piece->data + head - UDP_HEADER;
    uint32_t ip_len = ip[0] >> 4 == 4 ? mir_get_be16(ip + 2) : 40u + mir_get_be16(ip + 4);
    if (piece->len <= head || ip_len != piece->len - ETH ||
        mir_get_be16(udp + 4) != piece->len - head + UDP_HEADER)
        abort();
    if (piece->flags & (MIR_BUF_GSO_UDP | MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6))
        abort();
}

static void join(struct mir_buf **held, struct mir_buf *piece_given)
{
    struct mir_buf *piece = piece_given;
    if (*held != NULL && mir__bundle_join(&bufs, held, piece)) {
        uint32_t count = mir__bundle_count(*held);
        if (count < 2 || count > MIR__BUNDLE_MAX || (*held)->len > MIR__VNET_FRAME_MAX)
            abort();
        mir_buf_release(piece);
        return;
    }
    mir_buf_release(*held);
    *held = piece;
}

static void take_apart(struct mir_buf *all)
{
    struct mir__bundle bundle;
    struct mir_buf *held = NULL, *piece;
    uint32_t sum = 0;
    if (!mir__bundle_open(&bundle, all))
        return;
    while ((piece = mir__bundle_next(&bundle, &bufs)) != NULL) {
        check_piece(piece, bundle.head);
        sum += piece->len - bundle.head;
        join(&held, piece);
    }
    if (sum != all->len - bundle.head)
        abort(); /* there is memory enough */
    mir_buf_release(held);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (pages.arena == NULL && (mir_page_pool_init(&pages, arena, ARENA) < 0 ||
                                mir_buf_pool_init(&bufs, &pages, 4096) < 0))
        abort();
    if (size < MIR__VNET_LEN || size > MIR__VNET_LEN + MIR__VNET_FRAME_MAX)
        return 0;
    uint32_t len = (uint32_t)(size - MIR__VNET_LEN);
    struct mir_buf *all = mir_buf_alloc_page(&bufs, len + MIR_BUF_HEADROOM, MIR_BUF_HEADROOM);
    if (all == NULL)
        abort();
    memcpy(mir_buf_append(all, len), data + MIR__VNET_LEN, len);
    mir__vnet_apply(all, data);
    if (mir__bundle_is(all))
        take_apart(all);
    mir_buf_release(all);
    if (mir_pool_used(&bufs.pool) != 0)
        abort();
    return 0;
}
