/* SPDX-License-Identifier: ISC */
/* What the files of the resolver share.
 *
 *   dns.c      open, close; queries: deadlines, delivery, servers
 *   search.c   names: search domains, and those that need no server
 *   ask.c      one question under way: servers, rounds, datagrams, TCP
 *   judge.c    what a response says: which of it is believed, and what follows
 *   cache.c    answers: their memory, look-up, age
 *   task.c     calls that look blocking
 *   lookup.c   A and AAAA at once;  sort.c  their order;  race.c  connecting to them
 *
 *   query --(1)--> local names, cache --(2)--> ask, new or joined --(3)--> servers
 *     <--- answer, by work posted to the loop <--- judged response
 */
#ifndef LIB_DNS_INTERNAL_H
#define LIB_DNS_INTERNAL_H

#include <mirari/dns.h>
#include <mirari/log.h>
#include <mirari/rng.h>

#include "lib/wire/dns.h"

#define MIR__DNS_BUCKETS   256u
#define MIR__DNS_UDP_BYTES 1232u /* what we say we can take: RFC 9715 section 3.1 */
#define MIR__DNS_TAKE_MAX  4096u /* and what we do take */
#define MIR__DNS_HOPS_MAX  8u    /* aliases of one name */

struct mir__dns_server {
    struct mir_endpoint at;
    mir_time_us bad_until_us;   /* asked last until then */
    mir_time_us plain_until_us; /* its habits below are believed until then */
    uint32_t failures;
    bool no_edns; /* it refused EDNS */
    bool no_case; /* it changes letters, as seen over TCP */
};

/* A question under way; asked of one server at a time. */
struct mir__dns_ask {
    struct mir_list link;
    struct mir_list queries; /* who waits for it */
    struct mir_dns *dns;
    struct mir_dns_name name;   /* the question */
    struct mir_dns_name target; /* what is asked now: name, or where its aliases led */
    struct mir_dns_name sent;   /* the same with letters mixed */
    uint16_t type;
    uint16_t id;
    uint16_t mismatches; /* responses that were none, in this try */
    uint8_t server;      /* index */
    uint8_t round;
    uint8_t hops;   /* aliases followed */
    uint8_t tried;  /* servers of this round, by bit */
    uint8_t failed; /* and those that said they cannot */
    bool has_edns;  /* as sent */
    bool to_group;  /* everybody on the link is asked, no server */
    uint8_t group_tries;
    uint32_t ttl_s; /* least of the aliases */
    int error;      /* of the last failure */
    struct mir_udp *udp;
    struct mir_tcp *tcp;
    struct mir_io_page *tcp_page; /* the message; NULL until its length is known */
    uint32_t tcp_got, tcp_len;
    uint8_t tcp_prefix[2];
    struct mir_timer timer;
};

struct mir_dns_query {
    struct mir_list link; /* of dns->queries or an ask */
    struct mir_dns *dns;
    struct mir__dns_ask *ask; /* NULL: nothing to wait for */
    struct mir_dns_name base; /* as given */
    uint16_t type;
    uint8_t candidate;
    bool is_absolute;
    bool has_many_dots; /* at least ndots: tried as it is first */
    int error;
    struct mir_dns_answer *answer; /* held */
    struct mir_timer deadline;
    struct mir_work work;
    mir_dns_fn handler;
    void *arg;
};

struct mir_dns {
    struct mir_io_page *page; /* this structure's */
    struct mir_stack *stack;
    struct mir_dns_config config; /* defaults filled in; server_count is the present one */
    bool follows_stack;           /* servers are those that the network told */
    bool follows_domains;         /* and so is dns->search */
    bool is_delivering;           /* a handler runs */
    bool is_closed;               /* by that handler: its end releases the memory */
    struct mir__dns_server servers[MIR_DNS_SERVERS_MAX];
    struct mir_dns_name search[MIR_DNS_SEARCH_MAX];
    uint32_t search_count;
    uint8_t hash_key[16];
    struct mir_pool ask_pool, query_pool, answer_pool;
    struct mir_list asks;    /* struct mir__dns_ask */
    struct mir_list queries; /* that wait for no ask: about to be delivered */
    struct mir_list age;     /* answers in the cache, the one used last in front */
    struct mir_dns_stats stats;
    uint8_t scratch[MIR__DNS_TAKE_MAX];
    struct mir_list bucket[MIR__DNS_BUCKETS];
};

static inline mir_time_us mir__dns_now(const struct mir_dns *dns)
{
    return mir_loop_now(dns->stack->loop);
}

/* ---- cache.c ------------------------------------------------------------------------------ */

/** An answer in nobody's cache yet, with one reference, without records. NULL: no memory. */
struct mir_dns_answer *mir__dns_answer_new(struct mir_dns *dns, const struct mir_dns_name *name,
                                           uint16_t type, uint32_t data_bytes);
/** Add a record; the room was asked for at the beginning. */
void mir__dns_answer_add(struct mir_dns_answer *answer, const struct mir_dns_rdata *rdata);
/** Bytes one record takes in an answer; 0: too large. */
uint32_t mir__dns_answer_bytes(const struct mir_dns_rdata *rdata);
/** Put it into the cache until answer->expires_us; the cache takes a reference of its own. */
void mir__dns_cache_put(struct mir_dns_answer *answer);
/** One that is good now, with a reference for the caller, or NULL. */
struct mir_dns_answer *mir__dns_cache_get(struct mir_dns *dns, const struct mir_dns_name *name,
                                          uint16_t type);
void mir__dns_cache_clear(struct mir_dns *dns);

/* ---- dns.c -------------------------------------------------------------------------------- */

/** Every query of @ask gets @answer (borrowed; may be NULL) and @error; the ask is over. */
void mir__dns_ask_done(struct mir__dns_ask *ask, int error, struct mir_dns_answer *answer);

/** Names mean other things now: every query that waits begins anew. */
void mir__dns_restart_queries(struct mir_dns *dns);

/** Take the servers that the network tells now, unless others were given. */
void mir__dns_follow_stack(struct mir_dns *dns);

/* ---- search.c ----------------------------------------------------------------------------- */

/** Fill in what the text of a question says. Errors as mir_dns_resolve(). */
int mir__dns_query_parse(struct mir_dns *dns, const char *text, uint16_t type,
                         struct mir_dns_query *query) MIR_CHECK;
/** The name to try as the @candidate-th. False: there is no more. */
bool mir__dns_candidate(const struct mir_dns_query *query, uint32_t candidate,
                        struct mir_dns_name *name);
/** Take the search domains that the network tells now, unless others were given. */
void mir__dns_follow_domains(struct mir_dns *dns);
/** Domains of config.search. Returns 0 or -MIR_EINVAL. */
int mir__dns_parse_search(struct mir_dns *dns) MIR_CHECK;
/** An answer that no server is needed for: addresses as text, localhost, config.hosts. Held, NULL:
 *  it is none of these; *@is_local says that it is, if there is no memory for the answer. */
struct mir_dns_answer *mir__dns_local(struct mir_dns *dns, const struct mir_dns_name *name,
                                      uint16_t type, bool *is_local);

/* ---- sort.c ------------------------------------------------------------------------------- */

/** The address that datagrams to @dst come from. False: it cannot be reached. */
bool mir__dns_source(struct mir_stack *stack, const struct mir_ip *dst, struct mir_ip *src);

/* ---- lookup.c ----------------------------------------------------------------------------- */

/** Which of the two errors of a pair of questions says more. */
int mir__dns_worse(int a, int b);

/* ---- ask.c -------------------------------------------------------------------------------- */

/** Begin to ask. The ask may be over, and gone, on return. */
void mir__dns_ask_start(struct mir__dns_ask *ask);
/** Begin again: there are other servers. As above. */
void mir__dns_ask_again(struct mir__dns_ask *ask);
/** Close sockets and timers. */
void mir__dns_ask_stop(struct mir__dns_ask *ask);

/* ---- judge.c ------------------------------------------------------------------------------ */

enum mir__dns_verdict {
    MIR__DNS_IS_ANSWER,   /**< the answer is made */
    MIR__DNS_IS_ALIAS,    /**< ask->target is to be asked next */
    MIR__DNS_IS_REFUSAL,  /**< this server cannot: the next one */
    MIR__DNS_IS_NO_EDNS,  /**< the same server again, without EDNS */
    MIR__DNS_IS_NO_MEMORY /**< */
};

/** What a response to ask->sent says. @reader stands behind the question. */
enum mir__dns_verdict mir__dns_judge(struct mir__dns_ask *ask, struct mir__dns_reader *reader,
                                     struct mir_dns_answer **answer);

#endif
