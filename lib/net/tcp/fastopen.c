/* SPDX-License-Identifier: ISC */
/* TCP Fast Open (RFC 7413): data in the SYN, answered a round trip earlier.
 *
 *   client                                   server
 *     |-- SYN, cookie? ------------------------>|   first time: an ordinary handshake
 *     |<------------------- SYN-ACK, cookie ----|   remembered by the server's address
 *     |-- SYN, cookie, request ---------------->|   next time: request delivered at once
 *     |<------- SYN-ACK of all, answer ---------|   the answer does not wait for the ACK
 *
 * Server, on listeners with fastopen_max. A cookie is SipHash of both addresses with a key that
 * changes every two hours; cookies of the key before are still good. Servers behind one address
 * share a key that is set (section 6.3.4); the computation is that of Linux, so they may be mixed.
 * A SYN with a good cookie becomes a connection object at once, in SYN_RECEIVED with is_fast_open,
 * is given to the application, and may send within the initial window. Its sequence variables are
 * those of a connection whose SYN has been acknowledged; the retransmission timer sends the SYN-ACK
 * alone until the handshake ends, FIN waits for that too. Since the object exists before the peer
 * has shown that it can receive, their number is limited (section 5.1): above the listener's limit,
 * and with a bad cookie, the SYN is treated as any other, its data ignored and sent again by the
 * peer. One that is reset instead of answered, as by a host whose address somebody else uses,
 * counts for thirty to sixty seconds more, or the limit would be none.
 *
 * Client, mir_tcp_connect_data(). Cookies live in a table of 128 hosts, four to a bucket, the
 * longest unused goes. The data goes into the SYN as far as the peer's MSS of last time allows. A
 * SYN that gets no answer is sent again without data and option, as for peers that never heard of
 * it; if that one is answered, the host is asked for nothing more for an hour (section 4.1.3.1).
 * What the SYN-ACK does not acknowledge is sent as ordinary data.
 *
 * A network may deliver a SYN twice, and a server that was restarted cannot know (section 6.1):
 * only requests that may be executed twice belong into a SYN.
 */
#include "lib/net/tcp/loss.h"

#define KEY_US    (7200 * MIR_US_PER_S)
#define SILENT_MS (3600u * 1000u)
#define PERIOD_US (30 * MIR_US_PER_S)
#define SETS      32u
#define WAYS      4u

struct mir__tcp_fast_entry {
    struct mir_ip remote;
    uint8_t cookie[MIR__TCP_COOKIE_MAX];
    uint8_t len; /* 0: no cookie */
    bool is_used;
    bool is_silent; /* since silent_ms: SYNs with the option vanish */
    uint16_t mss;
    uint32_t used_ms;
    uint32_t silent_ms;
};

/* ---- server ------------------------------------------------------------------------------------
 */

static void rotate(struct mir__tcp_state *host)
{
    mir_time_us age_us = now_of(host) - host->fast_key_us;
    if (host->fast_key_us == MIR_TIME_NEVER) /* a key of all servers behind an address */
        return;
    if (host->fast_key_us != 0 && age_us < KEY_US)
        return;
    if (host->fast_key_us == 0 || age_us >= 2 * KEY_US)
        mir_rng_bytes(host->rng, host->fast_key[0], sizeof host->fast_key[0]);
    mir_memcpy(host->fast_key[1], host->fast_key[0], sizeof host->fast_key[0]);
    mir_rng_bytes(host->rng, host->fast_key[0], sizeof host->fast_key[0]);
    host->fast_key_us = now_of(host);
}

static uint64_t mac_of(const struct mir__tcp_state *host, uint32_t which,
                       const struct mir__tcp_tuple *tuple)
{
    uint32_t len = mir_ip_is_v4(tuple->remote) ? 4 : 16;
    uint8_t input[32];
    mir_memcpy(input, tuple->remote->bytes + 16 - len, len);
    mir_memcpy(input + len, tuple->local->bytes + 16 - len, len);
    return mir_siphash(host->fast_key[which], input, 2 * len);
}

void mir__tcp_fast_key(struct mir__tcp_state *host, const uint8_t key[16])
{
    mir_memcpy(host->fast_key[0], key, sizeof host->fast_key[0]);
    mir_memcpy(host->fast_key[1], key, sizeof host->fast_key[1]);
    host->fast_key_us = MIR_TIME_NEVER;
}

void mir__tcp_fast_cookie(struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                          uint8_t cookie[MIR__TCP_FAST_COOKIE])
{
    rotate(host);
    mir_put_le64(cookie, mac_of(host, 0, tuple));
    MIR__TCP_COUNT(host, fastopen_cookies_out);
}

bool mir__tcp_fast_check(struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                         const struct mir__tcp_options *opt)
{
    if (!opt->has_cookie || opt->cookie_len == 0)
        return false;
    rotate(host);
    uint64_t cookie = opt->cookie_len == MIR__TCP_FAST_COOKIE ? mir_get_le64(opt->cookie) : 0;
    bool is_good = cookie == mac_of(host, 0, tuple) || cookie == mac_of(host, 1, tuple);
    if (!is_good || opt->cookie_len != MIR__TCP_FAST_COOKIE) {
        MIR__TCP_COUNT(host, fastopen_bad_cookies);
        return false;
    }
    return true;
}

void mir__tcp_fast_begin(struct mir__tcp_pcb *pcb, struct mir__tcp_listener *listener,
                         struct mir__tcp_segment *syn)
{
    MIR__TCP_COUNT(pcb->host, fastopen_accepted);
    pcb->busy->fast_listener = listener;
    listener->fast_pending++;
    pcb->is_fast_open = true;
    pcb->syn_due = true;
    pcb->snd_una = pcb->iss + 1;
    pcb->small_end = pcb->iss;
    pcb->is_timing = true; /* the SYN-ACK */
    pcb->busy->rtt_seq = pcb->iss + 1;
    pcb->busy->rtt_start_us = syn->now_us;
    pcb->cc->init(pcb);
    pcb->had_syn_data = syn->len > 0;
    syn->seq = pcb->rcv_nxt;
    syn->len = MIR_MIN(syn->len, pcb->rcv_adv - pcb->rcv_nxt);
    mir__tcp_process_text(pcb, syn);
    mir__tcp_mark(pcb);
}

void mir__tcp_fast_completed(struct mir__tcp_pcb *pcb)
{
    mir__tcp_fast_over(pcb);
    mir__tcp_mark(pcb);
    /* No ACK of anything new may follow that would say how long the SYN-ACK took. */
    if (pcb->is_timing && pcb->busy->rtt_seq == pcb->iss + 1) {
        mir_time_us rtt_us = now_of(pcb->host) - pcb->busy->rtt_start_us;
        pcb->is_timing = false;
        mir__tcp_rtt_sample(pcb, (uint32_t)MIR_MIN(rtt_us, MIR__TCP_RTO_MAX_US));
    }
    if (pcb->snd_una == pcb->snd_max) {
        mir__tcp_timer_stop(pcb, MIR__TCP_T_REXMT);
    } else if (pcb->rexmt_count > 0) {
        /* The SYN-ACK was lost, and what came after it ignored. */
        if (pcb->loss != NULL)
            mir__tcp_board_all_lost(pcb, false);
        else
            pcb->snd_nxt = pcb->snd_una;
        pcb->rexmt_count = 0;
        mir__tcp_timer_rexmt(pcb);
    } else {
        mir__tcp_timer_rexmt(pcb);
        if (pcb->loss != NULL)
            mir__tcp_probe_schedule(pcb);
    }
}

void mir__tcp_fast_over(struct mir__tcp_pcb *pcb)
{
    if (!pcb->is_fast_open)
        return;
    struct mir__tcp_listener *listener = pcb->busy->fast_listener;
    pcb->is_fast_open = false;
    if (listener == NULL)
        return; /* it is gone */
    MIR_ASSERT_OP(listener->fast_pending, >, 0);
    listener->fast_pending--;
    pcb->busy->fast_listener = NULL;
}

void mir__tcp_fast_unlisten(struct mir__tcp_listener *listener)
{
    mir_list_for_each (node, &listener->host->all) {
        struct mir__tcp_pcb *pcb = MIR_CONTAINER_OF(node, struct mir__tcp_pcb, all);
        if (listener->fast_pending == 0)
            return;
        if (!pcb->is_fast_open || pcb->busy->fast_listener != listener)
            continue;
        pcb->busy->fast_listener = NULL;
        listener->fast_pending--;
    }
}

uint32_t mir__tcp_fast_pending(struct mir__tcp_listener *listener)
{
    uint32_t period = (uint32_t)(now_of(listener->host) / PERIOD_US);
    if (period != listener->fast_period) {
        bool is_next = period == listener->fast_period + 1;
        listener->fast_resets[1] = is_next ? listener->fast_resets[0] : 0;
        listener->fast_resets[0] = 0;
        listener->fast_period = period;
    }
    return listener->fast_pending + listener->fast_resets[0] + listener->fast_resets[1];
}

void mir__tcp_fast_reset(struct mir__tcp_pcb *pcb)
{
    if (!pcb->is_fast_open || pcb->busy->fast_listener == NULL)
        return;
    (void)mir__tcp_fast_pending(pcb->busy->fast_listener);
    pcb->busy->fast_listener->fast_resets[0]++;
}

/* ---- client ------------------------------------------------------------------------------------
 */

/* The entry of @remote; with @make, one that may be overwritten if there is none. NULL: none. */
static struct mir__tcp_fast_entry *entry_of(struct mir__tcp_state *host,
                                            const struct mir_ip *remote, bool make)
{
    if (host->fast_cache == NULL) {
        if (!make ||
            mir_page_alloc(host->stack->pages, SETS * WAYS * sizeof(struct mir__tcp_fast_entry),
                           MIR_PAGE_ZERO, &host->fast_cache) < 0)
            return NULL;
    }
    struct mir__tcp_fast_entry *entry =
        (struct mir__tcp_fast_entry *)(void *)host->fast_cache->base;
    entry += mir_siphash(host->isn_key, remote->bytes, sizeof remote->bytes) % SETS * WAYS;
    struct mir__tcp_fast_entry *oldest = entry;
    uint32_t now_ms = ms_of(now_of(host));
    for (uint32_t i = 0; i < WAYS; i++, entry++) {
        if (entry->is_used && mir_ip_equal(&entry->remote, remote)) {
            entry->used_ms = now_ms;
            return entry;
        }
        if (!entry->is_used ||
            (oldest->is_used && now_ms - entry->used_ms > now_ms - oldest->used_ms))
            oldest = entry;
    }
    if (!make)
        return NULL;
    *oldest = (struct mir__tcp_fast_entry){.remote = *remote, .is_used = true, .used_ms = now_ms};
    return oldest;
}

bool mir__tcp_fast_knows(struct mir__tcp_state *host, const struct mir_ip *remote)
{
    const struct mir__tcp_fast_entry *entry = entry_of(host, remote, false);
    return entry != NULL && entry->len > 0 && !entry->is_silent;
}

/* For all the options that a segment can have, as Linux does: what the application was told of the
 * room stays true whatever a SYN that is sent again carries. */
static uint32_t room_in(const struct mir__tcp_pcb *pcb, const struct mir__tcp_fast_entry *entry)
{
    /* What the path takes; the SYN must not be fragmented. */
    uint32_t fixed = pcb->busy->route.ip_header_len + MIR__TCP_HEADER_BYTES;
    uint32_t mtu = pcb->busy->route.mtu;
    uint32_t mss = MIR_MIN((uint32_t)entry->mss, mtu > fixed ? mtu - fixed : 0);
    return mss > MIR__TCP_OPTIONS_MAX ? mss - MIR__TCP_OPTIONS_MAX : 0;
}

uint32_t mir__tcp_fast_room(struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_fast_entry *entry = entry_of(pcb->host, &pcb->node.remote, false);
    if (entry == NULL || entry->len == 0 || entry->is_silent)
        return 0;
    return room_in(pcb, entry);
}

uint32_t mir__tcp_fast_ask(struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt)
{
    struct mir__tcp_state *host = pcb->host;
    const struct mir__tcp_fast_entry *entry = entry_of(host, &pcb->node.remote, false);
    if (!pcb->wants_fast_open || pcb->syn_rexmitted)
        return 0;
    if (entry != NULL && entry->is_silent && ms_of(now_of(host)) - entry->silent_ms < SILENT_MS) {
        pcb->wants_fast_open = false;
        return 0;
    }
    opt->has_cookie = true;
    opt->cookie_len = 0;
    if (entry == NULL || entry->len == 0)
        return 0;
    opt->cookie_len = entry->len;
    opt->cookie = entry->cookie;
    MIR__TCP_COUNT(host, fastopen_sent);
    return MIR_MIN(room_in(pcb, entry), pcb->busy->sendq.q.bytes);
}

void mir__tcp_fast_answered(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *syn_ack)
{
    struct mir__tcp_state *host = pcb->host;
    const struct mir__tcp_options *opt = &syn_ack->opt;
    if (!pcb->wants_fast_open)
        return;
    pcb->wants_fast_open = false;
    if (pcb->syn_rexmitted) {
        struct mir__tcp_fast_entry *entry = entry_of(host, &pcb->node.remote, true);
        MIR__TCP_COUNT(host, fastopen_fallbacks);
        if (entry != NULL) {
            entry->is_silent = true;
            entry->silent_ms = ms_of(now_of(host));
        }
    } else if (opt->has_cookie && opt->cookie_len >= MIR__TCP_COOKIE_MIN) {
        struct mir__tcp_fast_entry *entry = entry_of(host, &pcb->node.remote, true);
        if (entry != NULL) {
            entry->is_silent = false;
            entry->len = opt->cookie_len;
            mir_memcpy(entry->cookie, opt->cookie, opt->cookie_len);
        }
    }
    struct mir__tcp_fast_entry *entry = entry_of(host, &pcb->node.remote, false);
    if (entry != NULL)
        entry->mss = pcb->peer_mss;
    if (seq_gt(pcb->snd_max, pcb->iss + 1) && pcb->snd_una != pcb->iss + 1) {
        MIR__TCP_COUNT(host, fastopen_acked);
        pcb->had_syn_data = true;
    }
    pcb->snd_nxt = pcb->snd_una; /* what is missing is ordinary data from here on */
}

int mir__tcp_connect_data(struct mir_stack *stack, const struct mir_tcp_connect_config *config,
                          size_t *queued_len, struct mir_tcp **tcp_out)
{
    struct mir_tcp *tcp;
    int r = mir__tcp_connect(stack, &config->remote, config->handler, config->arg, &tcp);
    if (r < 0)
        return r;
    r = mir_tcp_send(tcp, config->data, config->len, queued_len);
    if (r < 0) {
        mir_tcp_abort(tcp);
        return r == -MIR_EAGAIN ? -MIR_ENOMEM : r;
    }
    pcb_of(tcp)->wants_fast_open = true;
    *tcp_out = tcp;
    return 0;
}

void mir__tcp_fast_fini(struct mir__tcp_state *host)
{
    if (host->fast_cache != NULL)
        mir_page_release(host->fast_cache);
    host->fast_cache = NULL;
}
