/* SPDX-License-Identifier: ISC */
/* A watcher of TCP on the wire: follows each connection from outside and says which rule a segment
 * breaks. It knows nothing of a stack's insides, so it judges ours and captures of others alike.
 */
#ifndef TARGET_SIM_WATCH_H
#define TARGET_SIM_WATCH_H

#include <mirari/net.h>

struct mir__watch;

/** One frame, where it was seen. */
struct mir__watch_frame {
    uint32_t place;    /**< connections are kept apart by place */
    const char *where; /**< its name, static */
    mir_time_us now_us;
    const uint8_t *data; /**< from the Ethernet header on, borrowed */
    uint32_t len;
    uint16_t gso_size; /**< 0: not a large frame */
    bool is_sum_known; /**< checksums are vouched for, or left to a device */
    bool is_checked;   /**< rules are applied; else the frame is only taken note of */
    bool is_from_here; /**< leaves its sender: nothing was lost or reordered before */
    bool may_lack;     /**< its sender has lacked memory: what it sent may not have been seen */
};

/** A rule was broken: @text has one line for it and one for each of the last packets. */
typedef void (*mir__watch_report_fn)(void *arg, const char *rule, const char *text);

/**
 * mir__watch_open() - follow no connection yet.
 *
 * Returns 0 or -MIR_ENOMEM.
 * Source  none
 */
int mir__watch_open(mir__watch_report_fn report, void *arg, struct mir__watch **watch) MIR_CHECK;
void mir__watch_close(struct mir__watch *watch);
void mir__watch_see(struct mir__watch *watch, const struct mir__watch_frame *frame);

struct mir__watch_stats {
    uint64_t segments;  /**< TCP segments looked at */
    uint64_t checked;   /**< of them, rules were applied to */
    uint64_t broken;    /**< rules broken */
    uint64_t damaged;   /**< wrong checksum or header; ignored if not from here */
    uint64_t opened;    /**< connections seen from their first SYN */
    uint64_t forgotten; /**< connections given up for others: the table is bounded */
};
void mir__watch_get_stats(const struct mir__watch *watch, struct mir__watch_stats *stats);

/* ---- between watch.c and watch_rules.c ------------------------------------------------------ */

#define MIR__WATCH_RANGES 12

struct mir__watch_range {
    uint32_t left;
    uint32_t right;
};

/** What a SYN said. */
struct mir__watch_syn {
    bool is_set;
    bool has_wscale, has_ts, has_sack;
    uint8_t wscale;
    uint16_t mss; /* 0: no option */
    uint32_t isn;
    uint32_t len; /* data in the SYN */
};

/** One direction of a connection, by what its sender sent and promised. */
struct mir__watch_half {
    struct mir__watch_syn syn;       /* agreed */
    struct mir__watch_syn candidate; /* seen, not acknowledged yet */
    bool is_known;                   /* sequence numbers are known */
    bool has_edge, has_fin, has_tsval, has_ack;
    bool has_fragments; /* not all that was sent was seen */
    bool is_vague;      /* `range` could not hold what arrived */
    bool is_learned;    /* in the middle: more may have been sent than we saw */
    uint8_t range_count;
    uint32_t max_end;  /* highest sequence number sent, plus one */
    uint32_t in_order; /* all before it was seen */
    uint32_t fin_seq;
    uint32_t ack;   /* highest sent */
    uint32_t edge;  /* highest right edge of the window it promised */
    uint32_t tsval; /* highest sent */
    struct mir__watch_range range[MIR__WATCH_RANGES]; /* above in_order, in no order */
};

struct mir__watch_conn {
    struct mir_ip ip[2]; /* the lower endpoint first */
    uint16_t port[2];
    uint32_t place;
    uint32_t next; /* of the bucket, plus one */
    uint32_t bucket;
    struct mir__watch_half half[2];
};

struct mir__watch_segment {
    struct mir_ip src, dst;
    uint16_t src_port, dst_port;
    uint32_t seq, ack;
    uint32_t wnd;
    uint32_t len; /* payload */
    uint8_t flags;
    uint8_t options_len;
    bool is_fragment; /* the first: what it holds is not known */
    bool has_mss, has_wscale, has_ts, has_sack_permitted;
    uint8_t wscale, sack_count;
    uint16_t mss;
    uint32_t tsval, tsecr;
    struct mir__watch_range sack[4];
};

struct mir__watch_look {
    struct mir__watch *watch;
    const struct mir__watch_frame *frame;
    const struct mir__watch_segment *seg;
    struct mir__watch_conn *conn;
    struct mir__watch_half *from, *to;
};

/** Apply the rules, take note of what was said. */
void mir__watch_judge(struct mir__watch_look *look);
/** @value and @limit are shown relative to the first sequence number of @of, if it is not NULL. */
void mir__watch_break(const struct mir__watch_look *look, const char *rule, uint32_t value,
                      uint32_t limit, const struct mir__watch_half *of);
void mir__watch_opened(struct mir__watch *watch);

#endif
