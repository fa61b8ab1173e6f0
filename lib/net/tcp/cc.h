/* SPDX-License-Identifier: ISC */
/* Congestion control behind one interface, and what its algorithms remember in a connection.
 *
 *   cc_reno.c   NewReno        cc_cubic.c  CUBIC, the default        hystart.c  HyStart++
 *
 * An algorithm sets cwnd and ssthresh in the hooks below; which segments are lost, and what is sent
 * while losses are repaired, is not its business. Another one, BBR say, adds its state to the union
 * cc_state of struct mir__tcp_busy, at most 64 bytes, and a line to mir__tcp_cc_find().
 */
#ifndef LIB_NET_TCP_CC_H
#define LIB_NET_TCP_CC_H

#include <mirari/base.h>

struct mir__tcp_pcb;

/** Largest window; ssthresh is this until the first sign of congestion. */
#define MIR__TCP_CWND_MAX (1u << 30)

/** Congestion control: decides cwnd and ssthresh; loss detection and recovery are in ack.c. */
struct mir__tcp_cc {
    const char *name;
    bool is_paced; /* it wants smooth traffic */
    /** The connection is established and mss is known. */
    void (*init)(struct mir__tcp_pcb *pcb);
    /** @acked bytes were acknowledged outside of recovery. */
    void (*on_ack)(struct mir__tcp_pcb *pcb, uint32_t acked);
    /** Loss was detected by duplicate acknowledgments; @flight bytes were outstanding. */
    void (*on_loss)(struct mir__tcp_pcb *pcb, uint32_t flight);
    /** Recovery is over. */
    void (*on_recovered)(struct mir__tcp_pcb *pcb, uint32_t flight);
    /** The retransmission timer went off, for the first time for this data or @again. */
    void (*on_timeout)(struct mir__tcp_pcb *pcb, uint32_t flight, bool again);
    /** Nothing was sent for longer than a retransmission timeout. */
    void (*on_idle)(struct mir__tcp_pcb *pcb);
    /** An ACK of new data measured a round trip; before on_ack, in recovery too. May be NULL. */
    void (*on_rtt)(struct mir__tcp_pcb *pcb, uint32_t rtt_us);
    /** Data leaves and nothing was outstanding before. May be NULL. */
    void (*on_restart)(struct mir__tcp_pcb *pcb);
    /** The connection was at rest: cc_state is zero again. May be NULL. */
    void (*on_wake)(struct mir__tcp_pcb *pcb);
};
extern const struct mir__tcp_cc mir__tcp_cc_reno;
extern const struct mir__tcp_cc mir__tcp_cc_cubic;

/** HyStart++ (RFC 9406 section 4.2). UINT32_MAX for a round trip: none yet. */
struct mir__tcp_hystart {
    uint32_t window_end; /* the round ends when this is acknowledged */
    uint32_t last_rtt_us;
    uint32_t round_rtt_us;
    uint32_t baseline_us; /* delay when CSS began */
    uint8_t samples;
    uint8_t css_round; /* 0: slow start, else the round of CSS, from 1 */
};

/** CUBIC (RFC 9438 section 4.1.2), in bytes and milliseconds. */
struct mir__tcp_cubic {
    uint32_t w_max;
    uint32_t cwnd_prior; /* cwnd when it was last reduced */
    uint32_t w_est;
    uint32_t est_acked; /* bytes counted towards w_est's next mss */
    uint32_t k_ms;
    uint32_t epoch_ms; /* when this congestion avoidance began, idle time taken out */
    uint32_t last_ms;  /* the last ACK */
    struct mir__tcp_hystart hystart;
    bool has_epoch;
};

/* ---- cc_reno.c, cc_cubic.c, hystart.c ----------------------------------------------------------
 */

/** The algorithm called @name, NULL = the default one. NULL: there is none. */
const struct mir__tcp_cc *mir__tcp_cc_find(const char *name);
/** Ten segments (RFC 6928). */
uint32_t mir__tcp_initial_window(const struct mir__tcp_pcb *pcb);

/** K of RFC 9438 figure 2: how long CUBIC takes back to a window @drop_bytes larger. */
uint32_t mir__tcp_cubic_k_ms(uint32_t drop_bytes, uint32_t mss);
/** W_cubic(t) of figure 1, at most MIR__TCP_CWND_MAX. */
uint32_t mir__tcp_cubic_window(uint32_t w_max, uint32_t k_ms, uint32_t t_ms, uint32_t mss);

void mir__tcp_hystart_init(struct mir__tcp_hystart *h, uint32_t snd_nxt);
void mir__tcp_hystart_rtt(struct mir__tcp_hystart *h, uint32_t rtt_us);
/** An ACK: judge the round's delay, begin the next round if this one is over. True: slow start is
 *  over, five rounds of CSS have passed. */
bool mir__tcp_hystart_round(struct mir__tcp_hystart *h, uint32_t snd_una, uint32_t snd_nxt);
/** @acked bytes in the first slow start (0: the window was not used): grow cwnd; sets ssthresh at
 *  the end. */
void mir__tcp_hystart_ack(struct mir__tcp_pcb *pcb, struct mir__tcp_hystart *h, uint32_t acked);

#endif
