/* SPDX-License-Identifier: ISC */
/* Turns frames that a host wrote somewhere into buffers of about their size.
 *
 * A frame that is read by a call lands in a run of 17 pages, header and all in one read, placed so
 * that the IP header is aligned to 4 bytes. A frame that fits a smaller class of runs is copied
 * there (the bytes are in the cache, the copy costs a few percent of the read that brought them); a
 * bigger one takes the run with it if there is another. So no frame pins much more than twice its
 * size, bulk data is not copied, and there is always a run to read into. When memory has run out,
 * data is dropped, but an ACK, which frees memory, still finds a spare buffer.
 */
#include "dev/net/vnet/landing.h"

#define AT        66u /* of the frame in the run: 2 modulo 4, and the header fits before it */
#define RUN_SIZE  ((size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)
#define COPY_ROOM MIR_BUF_HEADROOM
/* The largest frame that fits the class of runs below the landing run's. */
#define COPY_MAX (8u * MIR_PAGE_SIZE - COPY_ROOM)

bool mir__landing_prepare(struct mir__landing *landing, bool with_run)
{
    if (landing->spare == NULL)
        landing->spare = mir_buf_alloc(landing->bufs, COPY_ROOM - MIR__VNET_ETH);
    if (with_run && landing->run == NULL)
        landing->run = mir_buf_alloc_page(landing->bufs, RUN_SIZE, AT);
    return !with_run || landing->run != NULL;
}

uint8_t *mir__landing_at(struct mir__landing *landing)
{
    return landing->run->start + AT - MIR__VNET_LEN;
}

static void apply(struct mir_buf *buf, const uint8_t *header)
{
    if (header[0] != 0 || header[1] != 0)
        mir__vnet_apply(buf, header);
}

struct mir_buf *mir__landing_copy(struct mir__landing *landing, const uint8_t *frame, uint32_t len)
{
    bool is_inline = COPY_ROOM + len <= MIR_BUF_HEAD_BYTES;
    struct mir_buf *buf =
        is_inline ? mir_buf_alloc(landing->bufs, COPY_ROOM - MIR__VNET_ETH)
                  : mir_buf_alloc_page(landing->bufs, COPY_ROOM + len, COPY_ROOM - MIR__VNET_ETH);
    if (buf == NULL && is_inline) {
        buf = landing->spare;
        landing->spare = NULL;
    }
    if (buf == NULL)
        return NULL;
    mir_memcpy(mir_buf_append(buf, len), frame, len);
    apply(buf, frame - MIR__VNET_LEN);
    return buf;
}

struct mir_buf *mir__landing_take(struct mir__landing *landing, uint32_t len)
{
    struct mir_buf *buf = landing->run;
    const uint8_t *frame = buf->start + AT;
    if (len <= COPY_MAX)
        return mir__landing_copy(landing, frame, len);
    struct mir_buf *next = mir_buf_alloc_page(landing->bufs, RUN_SIZE, AT);
    if (next == NULL)
        return NULL;
    landing->run = next;
    buf->len = len;
    apply(buf, frame - MIR__VNET_LEN);
    return buf;
}

void mir__landing_release(struct mir__landing *landing)
{
    mir_buf_release(landing->run);
    mir_buf_release(landing->spare);
    landing->run = NULL;
    landing->spare = NULL;
}
