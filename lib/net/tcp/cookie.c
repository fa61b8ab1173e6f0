/* SPDX-License-Identifier: ISC */
/* SYN cookies: a SYN-ACK whose acknowledgment tells us all we did not remember.
 *
 *   ISN of the SYN-ACK    | 24 bits of SipHash | 8 bits: slot (2), MSS index (3), 0 (3), masked |
 *   its timestamp         | clock of 1 ms, low 6 bits: window scale (4), SACK (1), 1 (1)         |
 *
 * The hash covers a secret, both endpoints, the peer's ISN, the full slot number, the MSS index
 * and, if timestamps are used, the six bits. A slot is 64 s; the present and the last one are
 * accepted, so a cookie lives 64 to 128 s, and none is accepted from a listener that sent none in
 * that time. A blind guess has one chance in 2^23 per segment.
 *
 * What does not fit is lost: the MSS is rounded down to one of eight, and a peer without timestamps
 * gets no window scale and no SACK. Cookies are the fallback when the backlog is full, never the
 * normal case.
 */
#include "lib/net/tcp/internal.h"

#define SLOT_US (64 * MIR_US_PER_S)
#define TS_BITS 6u
#define TS_MASK ((1u << TS_BITS) - 1)
#define TS_TAG  1u
#define TS_SACK 2u

static const uint16_t mss_of_index[8] = {88, 216, 536, 1220, 1380, 1440, 1460, 8960};

static uint32_t index_of_mss(uint16_t mss)
{
    uint32_t index = 7;
    while (index > 0 && mss_of_index[index] > mss)
        index--;
    return index;
}

static uint64_t mac_of(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                       uint32_t irs, uint64_t slot, uint32_t data)
{
    uint8_t input[52];
    mir_memcpy(input, tuple->local->bytes, 16);
    mir_memcpy(input + 16, tuple->remote->bytes, 16);
    mir_put_be16(input + 32, tuple->local_port);
    mir_put_be16(input + 34, tuple->remote_port);
    mir_put_be32(input + 36, irs);
    mir_put_be64(input + 40, slot);
    mir_put_be32(input + 48, data);
    return mir_siphash(host->cookie_key, input, sizeof input);
}

/* 24 bits of hash, and eight bits of data under a mask that only slotless hashing gives. */
static uint32_t compose(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                        uint32_t irs, uint64_t slot, uint32_t data)
{
    uint8_t mask = (uint8_t)mac_of(host, tuple, irs, 0, 0);
    uint32_t mac = (uint32_t)mac_of(host, tuple, irs, slot, data) & 0xffffff00u;
    return mac | (uint8_t)((data & 0xff) ^ mask);
}

void mir__tcp_cookie_make(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                          const struct mir__tcp_segment *syn, uint32_t *iss, uint32_t *tsval)
{
    uint64_t slot = now_of(host) / SLOT_US;
    uint32_t data = (uint32_t)(slot & 3) << 6 | index_of_mss(mir__tcp_peer_mss(&syn->opt)) << 3;
    uint32_t ts_bits = 0;
    if (syn->opt.has_ts && !host->no_timestamps) {
        uint32_t wscale = syn->opt.has_wscale
                              ? MIR_MIN(syn->opt.wscale, (uint8_t)MIR__TCP_WSCALE_MAX)
                              : MIR__TCP_NO_WSCALE;
        uint32_t clock = ms_of(now_of(host)) + mir__tcp_ts_offset(host, tuple);
        ts_bits = wscale << 2 | (syn->opt.sack_permitted && !host->no_sack ? TS_SACK : 0) | TS_TAG;
        *tsval = (clock & ~TS_MASK) | ts_bits;
        if (seq_gt(*tsval, clock)) /* never ahead of the clock that goes on from here */
            *tsval -= 1u << TS_BITS;
    }
    *iss = compose(host, tuple, syn->hdr.seq, slot, data | ts_bits << 8);
}

bool mir__tcp_cookie_check(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                           const struct mir__tcp_segment *ack, struct mir__tcp_half_open *half)
{
    uint32_t irs = ack->hdr.seq - 1;
    uint32_t iss = ack->hdr.ack - 1;
    uint32_t data = (iss ^ (uint32_t)mac_of(host, tuple, irs, 0, 0)) & 0xff;
    uint64_t now_slot = now_of(host) / SLOT_US;
    uint64_t slot = now_slot - ((now_slot - (data >> 6)) & 3);
    uint32_t ts_bits = ack->opt.has_ts ? ack->opt.tsecr & TS_MASK : 0;
    bool has_ts = (ts_bits & TS_TAG) != 0; /* else nothing was agreed, whatever comes now */
    if (now_slot - slot > 1 || (data & 7) != 0)
        return false;
    if (compose(host, tuple, irs, slot, data | ts_bits << 8) != iss)
        return false;
    *half = (struct mir__tcp_half_open){
        .iss = iss,
        .irs = irs,
        .mss = mss_of_index[data >> 3 & 7],
        .wscale = has_ts ? (uint8_t)(ts_bits >> 2) : MIR__TCP_NO_WSCALE,
        .ts_recent = has_ts ? ack->opt.tsval : 0,
        .wnd = ack->hdr.wnd,
        .has_sack = has_ts && (ts_bits & TS_SACK) != 0,
    };
    half->node.has_ts = has_ts;
    return true;
}
