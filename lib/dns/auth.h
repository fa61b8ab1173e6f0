/* SPDX-License-Identifier: ISC */
/* What the files of the authoritative server share.
 *
 *   auth.c           open, close; datagrams
 *   auth_ask.c       a message in: what is wrong with it, or what it asks
 *   auth_find.c      a question to its answer: ready ones, and those made for it
 *   auth_build.c     an answer as octets, from a zone
 *   auth_write.c     records with compressed names
 *   auth_ready.c     the answers that a zone can give, made when the server opens
 *   auth_rate.c      equal answers to one network: a limit
 *   auth_tcp.c       connections;  auth_transfer.c  whole zones over them
 *   auth_notify.c    telling secondaries
 *
 * A body is an answer behind the question. What compressed names point to is in the question or in
 * the body, and the body follows the question: when an answer made for one name is given for a
 * longer one (a wildcard, a referral, "no such name"), every pointer in it moves by the difference
 * in length, but for those to the question's own name. So a body remembers where its pointers are.
 *
 *   +--------+--------------------------+---------------------------------------+-----+
 *   | header | question                 | body: answer, authority, additional   | OPT |
 *   +--------+--------------------------+---------------------------------------+-----+
 *     copied    the asker's own octets     ready, by reference or copied
 */
#ifndef LIB_DNS_AUTH_H
#define LIB_DNS_AUTH_H

#include <mirari/log.h>

#include "lib/dns/zone.h"

#define MIR__AUTH_OPT_LEN   11u
#define MIR__AUTH_MOVES_MAX 1024u
#define MIR__AUTH_ENDS_MAX  128u
#define MIR__AUTH_HOPS_MAX  16u
#define MIR__AUTH_ADDED_MAX 64u
/** An answer may be moved behind the longest question. */
#define MIR__AUTH_MESSAGE_MAX (65535u - MIR__AUTH_OPT_LEN - 255u)

enum { MIR__DNS_NOTAUTH = 9, MIR__DNS_YXDOMAIN = 6 };

enum mir__auth_kind {
    MIR__AUTH_DATA,
    MIR__AUTH_NODATA,
    MIR__AUTH_REFERRAL,
    MIR__AUTH_NXDOMAIN,
    MIR__AUTH_KINDS
};

struct mir__auth_body {
    const uint8_t *bytes;
    struct mir_io_page *page; /* NULL: the server's scratch, until the next question */
    const uint16_t *moves;    /* [move_count] offsets of pointers in bytes */
    uint16_t move_count;
    uint16_t len;
    uint16_t min_len;  /* without additional records that may be left out */
    uint16_t count[3]; /* answer, authority, additional */
    uint16_t min_additional;
    uint16_t flags;   /* AA, and the response code */
    uint32_t tag;     /* what counts as the same answer for the rate limit */
    uint8_t name_len; /* of the question it was made for */
    uint8_t kind;     /* enum mir__auth_kind */
};

/** A body that is kept, in a table by name and type. */
struct mir__auth_ready {
    struct mir__auth_ready *in_bucket;
    uint32_t hash;
    uint16_t type; /* 0: every type that has no answer of its own, at an alias */
    uint8_t name_len;
    struct mir__auth_body body;
    uint8_t name[]; /* folded; then moves, then bytes */
};

/* ---- auth_write.c ------------------------------------------------------------------------- */

struct mir__auth_writer {
    uint8_t *out;
    uint32_t at, size;
    uint16_t count[3];
    uint32_t move_count, end_count;
    uint16_t moves[MIR__AUTH_MOVES_MAX]; /* of pointers, in the message */
    struct {
        const uint8_t *wire; /* a name that stays where it is until the writer is done */
        uint16_t at;         /* where it begins in the message */
        uint8_t len;
    } end[MIR__AUTH_ENDS_MAX];
};

/** Who owns a record: a name, or that of the question (wire NULL). */
struct mir__auth_owner {
    const uint8_t *wire;
    uint32_t len;
};

/** Begin behind a header and a question with a name of @name_len octets. */
void mir__auth_write(struct mir__auth_writer *w, uint8_t *out, uint32_t size, uint32_t name_len);
/** The question's name from its label @skip on can be pointed to. */
void mir__auth_write_question(struct mir__auth_writer *w, const uint8_t *wire, uint32_t len,
                              uint32_t skip);
/** A set, whole or not at all; @section 0 answer, 1 authority, 2 additional. False: no room. */
bool mir__auth_write_set(struct mir__auth_writer *w, uint32_t section, struct mir__auth_owner owner,
                         const struct mir__zone_set *set, uint32_t ttl_s);
/** One record; @first_at: where its owner was written by an earlier one, 0: nowhere. */
bool mir__auth_write_record(struct mir__auth_writer *w, uint32_t section,
                            struct mir__auth_owner owner, const struct mir__zone_set *set,
                            const struct mir__zone_record *record, uint32_t ttl_s);

/* ---- the server --------------------------------------------------------------------------- */

struct mir__auth_rate_bucket {
    uint32_t tag;
    int32_t left; /* answers of this second that are left; negative: how many were too many */
    uint32_t second;
};

struct mir__auth_notice {
    struct mir_dns_server *server;
    const struct mir_dns_zone *zone;
    struct mir_endpoint to;
    struct mir_timer timer;
    uint32_t tries;
    uint16_t id;
    bool is_done;
};

struct mir_dns_server {
    struct mir_io_page *page; /* this structure's */
    struct mir_stack *stack;
    struct mir_rng *rng;
    struct mir_dns_server_limits limits;
    struct mir_dns_server_stats stats;
    struct mir_endpoint local;
    struct mir_net_prefix transfer[MIR_DNS_PEERS_MAX];
    uint32_t transfer_count;
    struct mir_udp *udp;
    struct mir_tcp_listener *listener;
    /* zones by name */
    struct mir_io_page *zone_page;
    struct mir_dns_zone **zones; /* [zone_count] */
    uint32_t zone_count;
    uint8_t labels_max; /* of the longest name of a zone */
    /* ready answers */
    struct mir__zone_mem mem;
    struct mir__zone_table table;
    /* what an answer is made in */
    struct mir_io_page *scratch, *out;
    struct mir_io_page *opt_page; /* OPT records, without DO and with it */
    struct mir__auth_writer writer;
    struct mir__auth_body made;
    uint16_t made_moves[MIR__AUTH_MOVES_MAX];
    /* the rate limit */
    struct mir_io_page *rate_dir;
    struct mir_io_page **rate_pages;
    uint32_t rate_count;
    uint8_t rate_key[16];
    uint32_t slip_turn;
    /* connections */
    struct mir_pool conn_pool;
    struct mir_list conns; /* the one that was active last is the last */
    uint32_t transfers;
    /* notices */
    struct mir_udp *notify_udp;
    struct mir_io_page *notify_page;
    struct mir__auth_notice *notices;
    uint32_t notice_count;
};

static inline mir_time_us mir__auth_now(const struct mir_dns_server *server)
{
    return mir_loop_now(server->stack->loop);
}

/* ---- auth_ask.c --------------------------------------------------------------------------- */

/** What to answer: a header, a part of the message itself, a body, an OPT record. */
struct mir__auth_reply {
    enum {
        MIR__AUTH_DROP,
        MIR__AUTH_REPLY,
        MIR__AUTH_TRANSFER /**< TCP: the whole zone, if the asker may */
    } verdict;
    const struct mir__auth_body *body; /* NULL: none */
    const struct mir_dns_zone *zone;   /* of a transfer */
    uint32_t serial;                   /* IXFR: what the asker has */
    bool is_incremental;
    bool has_opt, dnssec_ok;
    uint8_t rcode_high;
    uint16_t flags;
    uint16_t question_len; /* octets of the message behind the header that are kept; 0: none */
    uint16_t body_len;
    uint16_t additional;
    uint16_t limit; /* octets of the longest answer */
    uint8_t name_len;
    uint32_t tag; /* what counts as the same answer for the rate limit */
};

/** Read a message of [len] octets and find its answer. */
void mir__auth_ask(struct mir_dns_server *server, const uint8_t *msg, uint32_t len, bool is_tcp,
                   struct mir__auth_reply *reply);
/** Make it an answer without records and with TC set. */
void mir__auth_truncate(struct mir_dns_server *server, struct mir__auth_reply *reply);
/** Length of the answer. */
uint32_t mir__auth_reply_len(const struct mir__auth_reply *reply);
/** Write the header over that of the question. */
void mir__auth_put_header(const struct mir__auth_reply *reply, uint8_t *msg);
/** Write the body at @out, pointers moved. */
void mir__auth_put_body(const struct mir__auth_reply *reply, uint8_t *out);
/** Octets of an OPT record of ours. */
void mir__auth_put_opt(const struct mir_dns_server *server, const struct mir__auth_reply *reply,
                       uint8_t out[MIR__AUTH_OPT_LEN]);
/** The whole answer behind a copy of the question, into [mir__auth_reply_len()] octets. */
void mir__auth_put(const struct mir_dns_server *server, const struct mir__auth_reply *reply,
                   const uint8_t *question, uint8_t *out);

/* ---- auth_find.c -------------------------------------------------------------------------- */

/** The deepest zone that holds @key, NULL: none. DS is asked of the zone above. */
const struct mir_dns_zone *mir__auth_zone_of(const struct mir_dns_server *server,
                                             const struct mir__zone_key *key, uint16_t type);
/** The answer, or NULL: none of our zones. *@rcode: NXDOMAIN where the body does not say it. */
const struct mir__auth_body *mir__auth_find(struct mir_dns_server *server,
                                            const struct mir__zone_key *key, uint16_t type,
                                            enum mir__auth_kind *kind);
static inline uint32_t mir__auth_hash(uint32_t name_hash, uint16_t type)
{
    return name_hash ^ (uint32_t)type * 0x9e3779b1u;
}
const struct mir__auth_ready *mir__auth_get(const struct mir_dns_server *server,
                                            const uint8_t *lower, uint32_t len, uint32_t name_hash,
                                            uint16_t type);

/* ---- auth_build.c ------------------------------------------------------------------------- */

struct mir__auth_question {
    const struct mir_dns_zone *zone;
    struct mir__zone_found found;
    const uint8_t *name; /* as a body is made for */
    uint8_t name_len;
    uint8_t skip; /* labels of it that other questions may not share */
    uint16_t type;
};

/** Make an answer in the server's scratch; server->made says what it is. */
const struct mir__auth_body *mir__auth_build(struct mir_dns_server *server,
                                             const struct mir__auth_question *question);
/** The set that answers ANY; NULL: the name has none. */
const struct mir__zone_set *mir__auth_any(const struct mir__zone_node *node);
/** Where an alias leads in its zone: to its end, or to a DNAME. False: out of it, or round. */
bool mir__auth_chain_end(const struct mir_dns_zone *zone, const struct mir__zone_node *node,
                         struct mir__zone_found *found);

/* ---- auth_ready.c ------------------------------------------------------------------------- */

/** Make every answer of every zone. Returns 0 or -MIR_ENOMEM. */
int mir__auth_ready_open(struct mir_dns_server *server) MIR_CHECK;
void mir__auth_ready_close(struct mir_dns_server *server);

/* ---- auth_rate.c -------------------------------------------------------------------------- */

enum mir__auth_verdict { MIR__AUTH_PASS, MIR__AUTH_LIMITED, MIR__AUTH_SLIP };

int mir__auth_rate_open(struct mir_dns_server *server) MIR_CHECK;
void mir__auth_rate_close(struct mir_dns_server *server);
/** Count an answer to @to. */
enum mir__auth_verdict mir__auth_rate(struct mir_dns_server *server, const struct mir_ip *to,
                                      const struct mir__auth_reply *reply);

/* ---- auth_tcp.c, auth_transfer.c ---------------------------------------------------------- */

/** A whole zone on its way. */
struct mir__auth_transfer {
    const struct mir_dns_zone *zone; /* NULL: none */
    const struct mir__zone_node *node;
    const struct mir__zone_set *set;
    const struct mir__zone_record *record;
    bool has_begun, is_at_end, is_single;
    uint8_t question[MIR_DNS_NAME_MAX + 4];
    uint16_t question_len;
    uint16_t id;
    uint16_t flags;
    bool has_opt, dnssec_ok;
};

struct mir__auth_conn {
    struct mir_list link;
    struct mir_dns_server *server;
    struct mir_tcp *tcp;
    struct mir_timer timer;
    mir_time_us active_us;
    struct mir_view in;       /* received and not looked at */
    struct mir_io_page *page; /* a question in several pieces */
    uint32_t got;             /* of prefix and question */
    uint64_t acked;           /* what the peer had taken when the timer fired */
    uint8_t prefix[2];
    bool has_eof;
    struct mir__auth_transfer transfer;
};

int mir__auth_tcp_open(struct mir_dns_server *server) MIR_CHECK;
void mir__auth_tcp_close(struct mir_dns_server *server);
/** May this address have whole zones? */
bool mir__auth_may_transfer(const struct mir_dns_server *server, const struct mir_ip *ip);
void mir__auth_transfer_begin(struct mir__auth_conn *conn, const struct mir__auth_reply *reply,
                              const uint8_t *msg);
/** The next message of it into [65537] octets, length in front. Returns its octets; the transfer is
 *  over when zone is NULL. */
uint32_t mir__auth_transfer_next(struct mir__auth_conn *conn, uint8_t *out);

/* ---- auth_notify.c ------------------------------------------------------------------------ */

int mir__auth_notify_open(struct mir_dns_server *server,
                          const struct mir_dns_server_config *config) MIR_CHECK;
void mir__auth_notify_close(struct mir_dns_server *server);

#endif
