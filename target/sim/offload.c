/* SPDX-License-Identifier: ISC */
/* What a network card does for a stack: checksums, and cutting large TCP frames.
 *
 * A stack that offloads leaves the pseudo-header's sum in the checksum field and says where the
 * summed range starts; a large frame has one set of headers for many segments. If the other end of
 * the wire takes such frames (as two guests of one host do) they pass as they are, else they are
 * finished here: lengths, IP identification, sequence number, flags (PSH and FIN only on the last
 * segment) and checksums are those that the stack would have written itself.
 *
 * Source: RFC 9293 section 3.1, RFC 791 section 3.1, RFC 8200 section 3; IPv6 without extension
 * headers.
 */
#include "target/sim/internal.h"

#include <mirari/bytes.h>

#include <string.h>

#include "lib/wire/csum.h"

#define ETH_HEADER 14u

static void put_sum(uint8_t *field, uint16_t sum)
{
    sum = (uint16_t)~sum;
    memcpy(field, &sum, sizeof sum);
}

bool mir__sim_complete_csum(struct mir__sim_frame *frame)
{
    uint32_t field = (uint32_t)frame->csum_start + frame->csum_offset;
    if (frame->csum_start < ETH_HEADER || field + 2 > frame->len)
        return false;
    /* The field holds the pseudo-header's sum, which thereby joins the sum. */
    put_sum(frame->data + field,
            mir__csum_partial(frame->data + frame->csum_start, frame->len - frame->csum_start));
    frame->flags &= (uint16_t)~MIR_BUF_CSUM_PARTIAL;
    return true;
}

bool mir__sim_mark_congestion(struct mir__sim_frame *frame)
{
    uint8_t *ip = frame->data + ETH_HEADER;
    if (frame->len < ETH_HEADER + 20)
        return false;
    uint16_t type = mir_get_be16(frame->data + 12);
    if (type == 0x86dd && (ip[1] & 0x30) != 0) {
        ip[1] |= 0x30;
        return true;
    }
    if (type != 0x0800 || (ip[1] & 3) == 0)
        return false;
    uint16_t check, was, is;
    memcpy(&was, ip, 2);
    ip[1] |= 3;
    memcpy(&is, ip, 2);
    memcpy(&check, ip + 10, 2);
    check = mir__csum_update(check, was, is);
    memcpy(ip + 10, &check, 2);
    return true;
}

/* Sum of addresses, protocol and length. */
static uint16_t pseudo_sum(const uint8_t *ip, bool is_v4, uint32_t tcp_len)
{
    uint8_t tail[4] = {0, 6, (uint8_t)(tcp_len >> 8), (uint8_t)tcp_len};
    uint16_t sum = is_v4 ? mir__csum_partial(ip + 12, 8) : mir__csum_partial(ip + 8, 32);
    return mir__csum_add(sum, mir__csum_partial(tail, sizeof tail));
}

struct cut {
    bool is_v4;
    uint32_t tcp_at;
    uint32_t headers_len;
    uint32_t payload_len;
};

static bool read_headers(const struct mir__sim_frame *frame, struct cut *cut)
{
    const uint8_t *ip = frame->data + ETH_HEADER;
    if (frame->len < ETH_HEADER + 40 || frame->gso_size == 0)
        return false;
    cut->is_v4 = (frame->flags & MIR_BUF_GSO_TCP4) != 0;
    cut->tcp_at = ETH_HEADER + (cut->is_v4 ? (ip[0] & 15u) * 4 : 40);
    if (ip[0] >> 4 != (cut->is_v4 ? 4 : 6) || frame->len < cut->tcp_at + 20)
        return false;
    cut->headers_len = cut->tcp_at + (frame->data[cut->tcp_at + 12] >> 4) * 4u;
    if (cut->headers_len < cut->tcp_at + 20 || frame->len <= cut->headers_len)
        return false;
    cut->payload_len = frame->len - cut->headers_len;
    return true;
}

static void write_headers(struct mir__sim_frame *out, const struct cut *cut, uint32_t at,
                          uint32_t number)
{
    uint8_t *ip = out->data + ETH_HEADER;
    uint8_t *tcp = out->data + cut->tcp_at;
    uint32_t tcp_len = out->len - cut->tcp_at;
    bool is_last = at + (out->len - cut->headers_len) == cut->payload_len;
    if (cut->is_v4) {
        mir_put_be16(ip + 2, (uint16_t)(out->len - ETH_HEADER));
        mir_put_be16(ip + 4, (uint16_t)(mir_get_be16(ip + 4) + number));
        mir_put_be16(ip + 10, 0);
        put_sum(ip + 10, mir__csum_partial(ip, cut->tcp_at - ETH_HEADER));
    } else {
        mir_put_be16(ip + 4, (uint16_t)tcp_len);
    }
    mir_put_be32(tcp + 4, mir_get_be32(tcp + 4) + at);
    if (!is_last)
        tcp[13] &= (uint8_t) ~(0x01 | 0x08); /* FIN, PSH */
    if (number > 0)
        tcp[13] &= (uint8_t)~0x80; /* CWR: the first only (RFC 3168) */
    mir_put_be16(tcp + 16, 0);
    put_sum(tcp + 16,
            mir__csum_add(mir__csum_partial(tcp, tcp_len), pseudo_sum(ip, cut->is_v4, tcp_len)));
}

void mir__sim_segment(struct mir_sim_plug *from, struct mir__sim_frame *frame)
{
    struct mir_sim *sim = from->sim;
    struct cut cut;
    if (!read_headers(frame, &cut)) {
        mir__sim_violation(sim, "large frame is not TCP over IP with payload", frame->len);
        mir__sim_frame_free(sim, frame);
        return;
    }
    uint32_t number = 0;
    for (uint32_t at = 0; at < cut.payload_len; at += frame->gso_size, number++) {
        uint32_t len = MIR_MIN(cut.payload_len - at, (uint32_t)frame->gso_size);
        struct mir__sim_frame *out = mir__sim_frame_alloc(sim, cut.headers_len + len);
        memcpy(out->data, frame->data, cut.headers_len);
        memcpy(out->data + cut.headers_len, frame->data + cut.headers_len + at, len);
        write_headers(out, &cut, at, number);
        mir__sim_transmit(from, out);
    }
    mir__sim_frame_free(sim, frame);
}
