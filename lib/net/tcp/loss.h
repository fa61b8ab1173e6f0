/* SPDX-License-Identifier: ISC */
/* Loss recovery with selective acknowledgment, from the inside.
 *
 *   sack.c        what we report as receiver
 *   scoreboard.c  what was sent and not acknowledged: ranges of sequence space with their fate
 *   rack.c        which of them are lost, by time; the tail loss probe
 *   recovery.c    what that means for the window, and what is sent again
 *   undo.c        what happens when it turns out that nothing was lost
 *
 * A connection without SACK, or without memory for a scoreboard, recovers as ack.c says (NewReno).
 */
#ifndef LIB_NET_TCP_LOSS_H
#define LIB_NET_TCP_LOSS_H

#include "lib/net/tcp/internal.h"

#define MIR__TCP_RANGES_MAX    2048u  /* of one connection; more are rounded, not refused */
#define MIR__TCP_RANGES_ALL    65536u /* of all of them */
#define MIR__TCP_PROBE_MIN_US  (2 * MIR_US_PER_MS)
#define MIR__TCP_PEER_DELAY_US (200 * MIR_US_PER_MS) /* of a lone segment's ACK; RFC 8985 7.2 */
#define MIR__TCP_REO_MULT_MAX  64u

enum {
    MIR__TCP_R_SACKED = 1, /* the receiver has it */
    MIR__TCP_R_LOST = 2,   /* taken for lost, not sent again since */
    MIR__TCP_R_AGAIN = 4,  /* sent more than once */
};

/** A piece of what is outstanding; the list of them is sorted and without gaps. */
struct mir__tcp_range {
    struct mir__tcp_range *next;
    mir_time_us sent_us; /* last time */
    uint32_t seq;
    uint32_t end;
    uint8_t flags;
};

/** What a reduction took away, until it is certain that it was right (undo.c). */
struct mir__tcp_undo {
    uint8_t cc_state[64];
    uint32_t cwnd;
    uint32_t ssthresh;
    uint32_t flight;
    uint32_t una;    /* snd_una at the beginning */
    uint32_t resent; /* bytes sent again and not reported as received twice */
    uint32_t stamp;  /* TSval of the first retransmission, with has_stamp */
    uint32_t until;  /* with is_settled: forgotten when this is acknowledged */
    uint32_t point;  /* F-RTO: snd_max when new data was allowed */
    uint8_t frto;
    bool is_open : 1;
    bool is_timeout : 1;
    bool is_answered : 1; /* something new was acknowledged since */
    bool is_settled : 1;  /* recovery is over */
    bool has_stamp : 1;
};

enum {
    MIR__TCP_FRTO_OFF,
    MIR__TCP_FRTO_WAIT, /* for the first ACK after a timeout */
    MIR__TCP_FRTO_NEW,  /* new data goes first, its ACK will tell */
};

/** What is known about data in flight. Exists only while there is some. */
struct mir__tcp_loss {
    struct mir__tcp_range own;    /* most flights need only one */
    struct mir__tcp_range *first; /* begins at snd_una; the last one ends at snd_max */
    struct mir__tcp_range *last;
    uint32_t count;
    uint32_t sacked; /* bytes with the flag */
    uint32_t lost;
    uint32_t again;

    bool own_used : 1;
    bool in_timeout : 1;      /* until `recover` is acknowledged: RTO recovery */
    bool is_reordering : 1;   /* the timer waits for the reordering window, not to probe */
    bool has_rack : 1;        /* rack_* are valid */
    bool rack_is_again : 1;   /* it was a retransmission */
    bool has_round : 1;       /* dsack_round is valid */
    bool has_probe : 1;       /* a tail loss probe was sent and not judged */
    bool probe_is_again : 1;  /* ... and was no new data */
    bool probe_due : 1;       /* output shall send one */
    bool probe_waits : 1;     /* its time is over; what came meanwhile is looked at first */
    bool has_mtu_probe : 1;   /* a larger segment is in flight (path_mtu.c) */
    mir_time_us rack_sent_us; /* of the youngest segment delivered (RFC 8985 section 5.2) */
    uint32_t rack_end;
    uint32_t rack_rtt_us;
    uint32_t fack; /* highest sequence number delivered */
    uint32_t dsack_round;
    uint32_t probe_end;
    uint32_t mtu_seq; /* with has_mtu_probe: the probe's first byte, and behind it */
    uint32_t mtu_end;

    uint32_t delivered;      /* bytes, by the ACK being processed */
    uint32_t delivered_once; /* of these, never sent again */
    uint32_t prr_delivered;
    uint32_t prr_out;
    uint32_t prr_flight; /* RecoverFS of RFC 9937 */
    struct mir__tcp_undo undo;
};
_Static_assert(sizeof(((struct mir__tcp_busy *)0)->cc_state) <= 64, "undo.c keeps a copy");

/** Bytes believed to be in the network (RFC 6675 section 4, "pipe"). */
static inline uint32_t mir__tcp_pipe(const struct mir__tcp_pcb *pcb)
{
    const struct mir__tcp_loss *loss = pcb->loss;
    return pcb->snd_max - pcb->snd_una - loss->sacked - loss->lost;
}

/* ---- sack.c ------------------------------------------------------------------------------------
 */

/** Reassembly holds [left, right) now. */
void mir__tcp_sack_held(struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right);
/** rcv_nxt has moved. */
void mir__tcp_sack_passed(struct mir__tcp_pcb *pcb);
/** [left, right) came again. */
void mir__tcp_sack_repeated(struct mir__tcp_pcb *pcb, uint32_t left, uint32_t right);
/** The blocks of the next bare ACK. */
void mir__tcp_sack_fill(struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt);

/* ---- scoreboard.c ------------------------------------------------------------------------------
 */

/** Bytes [seq, end) leave now: the first ones of a flight, further ones, or some of it again.
 *  Called before snd_max moves. Opens the scoreboard if it can. */
void mir__tcp_board_sent(struct mir__tcp_pcb *pcb, uint32_t seq, uint32_t end);
/** A window probe left with bytes beyond snd_max that may not be taken: not in flight. */
void mir__tcp_board_probed(struct mir__tcp_pcb *pcb, uint32_t end);
/** snd_una has moved: what lies below is delivered. */
void mir__tcp_board_acked(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
/** Take over the SACK blocks of @seg that are true news. */
void mir__tcp_board_sack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg);
/** Everything has to be sent again; with @forget also what the receiver said it has. */
void mir__tcp_board_all_lost(struct mir__tcp_pcb *pcb, bool forget);
/** The receiver does not have what it said it had: that is lost. */
void mir__tcp_board_reneged(struct mir__tcp_pcb *pcb);
/** The first lost range, NULL if none. */
const struct mir__tcp_range *mir__tcp_board_next_lost(const struct mir__tcp_pcb *pcb);
void mir__tcp_board_flag(struct mir__tcp_loss *loss, struct mir__tcp_range *range, uint8_t flags);
/** All of it is acknowledged: no ranges. */
void mir__tcp_board_drop(struct mir__tcp_pcb *pcb);
void mir__tcp_board_close(struct mir__tcp_pcb *pcb);

/* ---- rack.c ------------------------------------------------------------------------------------
 */

/** Bytes up to @end of @range were delivered, as @seg tells. */
void mir__tcp_rack_delivered(struct mir__tcp_pcb *pcb, const struct mir__tcp_range *range,
                             uint32_t end, const struct mir__tcp_segment *seg);
/** Mark what must be lost by now; sets the timer for what may be soon. Returns the bytes. */
uint32_t mir__tcp_rack_detect(struct mir__tcp_pcb *pcb, mir_time_us now_us);
/** The D-SACK block of @seg, NULL if it has none that can be believed. */
bool mir__tcp_rack_dsack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                         struct mir__tcp_block *block);
/** Recovery ended: perhaps the reordering window may be small again. */
void mir__tcp_rack_recovered(struct mir__tcp_pcb *pcb);
/** (Re)start the probe timer, where a probe makes sense. */
void mir__tcp_probe_schedule(struct mir__tcp_pcb *pcb);
/** What an acknowledgment says of an outstanding probe. */
void mir__tcp_probe_acked(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                          const struct mir__tcp_block *dsack);

/* ---- undo.c ------------------------------------------------------------------------------------
 */

/** The window will be reduced now, by a timeout or for a loss. */
void mir__tcp_undo_begin(struct mir__tcp_pcb *pcb, bool is_timeout);
/** @bytes are sent again. */
void mir__tcp_undo_resent(struct mir__tcp_pcb *pcb, uint32_t bytes);
/** Recovery has ended; a D-SACK may still prove that it was not needed. */
void mir__tcp_undo_settled(struct mir__tcp_pcb *pcb);
/** There is another reason for the reduction. */
void mir__tcp_undo_forget(struct mir__tcp_pcb *pcb);
/** May a D-SACK still come that matters? */
bool mir__tcp_undo_waits(struct mir__tcp_pcb *pcb) MIR_CHECK;
/** An ACK of @acked new bytes; the scoreboard has seen it. True: nothing was lost, all is undone.
 */
bool mir__tcp_undo_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                       uint32_t acked);
/** @block was received twice. */
void mir__tcp_undo_dsack(struct mir__tcp_pcb *pcb, const struct mir__tcp_block *block);

/* ---- recovery.c --------------------------------------------------------------------------------
 */

/** An ACK that brought @acked new bytes, SACK blocks, or both. There is a scoreboard. */
void mir__tcp_recovery_ack(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *seg,
                           uint32_t acked);
/** The retransmission timer went off. */
void mir__tcp_recovery_timeout(struct mir__tcp_pcb *pcb);
/** MIR__TCP_T_LOSS went off: the reordering window has passed, or a probe is due. */
void mir__tcp_recovery_timer(struct mir__tcp_pcb *pcb, mir_time_us now_us);

#endif
