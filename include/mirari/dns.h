/* SPDX-License-Identifier: ISC */
/* Names: what the domain name system stores, and how an appliance asks for it.
 *
 *   struct mir_dns_name    a domain name as it is on the wire, with a text form
 *   struct mir_dns_rdata   the data of one record, by type
 *   struct mir_dns         a resolver: servers, cache, questions under way
 *   struct mir_dns_answer  what a question led to; counted by reference
 *
 * As with TCP there are two styles: callbacks (mir_dns_resolve) and tasks (mir_dns_resolve_wait).
 * A resolver works over any struct mir_stack. All calls belong to the loop's thread.
 */
#ifndef MIRARI_DNS_H
#define MIRARI_DNS_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>
#include <mirari/net.h>

/* ---- names -------------------------------------------------------------------------------- */

/** Octets of a name, lengths and the root's zero included (RFC 1035 section 2.3.4). */
#define MIR_DNS_NAME_MAX 255u
/** Of its text: every octet may need "\DDD"; with NUL. */
#define MIR_DNS_NAME_TEXT_MAX 1012u

/** A domain name: length, octets ... 0. Case is kept, and does not matter in comparisons. */
struct mir_dns_name {
    uint8_t len; /**< 1 (the root) .. 255; 0 = no name */
    uint8_t wire[MIR_DNS_NAME_MAX];
};

/**
 * mir_dns_name_parse() - name from text.
 *
 * @text  [len] bytes: labels divided by dots; "\." and "\DDD" (decimal) as in zone files. A dot at
 *        the end changes nothing; "." is the root
 *
 * Returns 0, -MIR_EMALFORMED (empty, empty label, bad escape), -MIR_ETOOBIG (label of more than 63
 * octets, name of more than 255).
 * Source  RFC 1035 sections 2.3.4, 5.1
 */
int mir_dns_name_parse(const char *text, size_t len, struct mir_dns_name *name) MIR_CHECK;
/** Into [MIR_DNS_NAME_TEXT_MAX] bytes; returns @out. No dot at the end but for the root. */
const char *mir_dns_name_text(const struct mir_dns_name *name, char out[MIR_DNS_NAME_TEXT_MAX]);
/** Without regard to the case of ASCII letters (RFC 4343). */
bool mir_dns_name_equal(const struct mir_dns_name *a, const struct mir_dns_name *b);
/** Is @name @ancestor or below it? */
bool mir_dns_name_is_in(const struct mir_dns_name *name, const struct mir_dns_name *ancestor);

/** "4.3.2.1.in-addr.arpa" or "....ip6.arpa" of an address: what to ask with MIR_DNS_PTR. */
void mir_dns_name_of_ip(const struct mir_ip *ip, struct mir_dns_name *name);

/* ---- records ------------------------------------------------------------------------------ */

/** Types that are understood; others pass as octets (RFC 3597). */
enum mir_dns_type {
    MIR_DNS_A = 1,
    MIR_DNS_NS = 2,
    MIR_DNS_CNAME = 5,
    MIR_DNS_SOA = 6,
    MIR_DNS_PTR = 12,
    MIR_DNS_MX = 15,
    MIR_DNS_TXT = 16,
    MIR_DNS_AAAA = 28,
    MIR_DNS_SRV = 33,
    MIR_DNS_OPT = 41,
    MIR_DNS_NSEC = 47,
    MIR_DNS_ANY = 255,
    MIR_DNS_CAA = 257,
};

struct mir_dns_mx {
    uint16_t preference;
    struct mir_dns_name exchange;
};
struct mir_dns_srv {
    uint16_t priority, weight, port;
    struct mir_dns_name target;
};
struct mir_dns_soa {
    struct mir_dns_name primary, mailbox;
    uint32_t serial, refresh_s, retry_s, expire_s, minimum_s;
};
struct mir_dns_caa {
    uint8_t flags, tag_len, tag[15];
    uint16_t value_len;
    const uint8_t *value;
};
/** TXT: character strings, each with its length in front. Unknown types, OPT: as on the wire. */
struct mir_dns_raw {
    const uint8_t *data;
    uint16_t len;
};

/** Data of a record. Pointers lead into the message or answer it was read from. */
struct mir_dns_rdata {
    uint16_t type;
    union {
        struct mir_ip ip;         /**< A, AAAA */
        struct mir_dns_name name; /**< NS, CNAME, PTR */
        struct mir_dns_mx mx;
        struct mir_dns_srv srv;
        struct mir_dns_soa soa;
        struct mir_dns_caa caa;
        struct mir_dns_raw raw; /**< TXT, OPT, NSEC and every other type */
    };
};

/** "A", "SRV", "TYPE65280"; into [MIR_DNS_TYPE_TEXT_MAX] bytes, returns @out (RFC 3597 s. 5). */
const char *mir_dns_type_text(uint16_t type, char out[10]);
#define MIR_DNS_TYPE_TEXT_MAX 10
/** The number of "AAAA" or "TYPE28", in any case. Returns 0 or -MIR_EINVAL. */
int mir_dns_type_parse(const char *text, size_t len, uint16_t *type) MIR_CHECK;
/** Data as in a zone file, into [size] bytes, always with NUL; returns the length of the whole
 *  (>= size: it was cut). */
size_t mir_dns_rdata_text(const struct mir_dns_rdata *rdata, char *out, size_t size);

/* ---- asking ------------------------------------------------------------------------------- */

struct mir_rng;
struct mir_dns;
struct mir_dns_query;

#define MIR_DNS_SERVERS_MAX 4u
#define MIR_DNS_SEARCH_MAX  6u

/** A name that needs no server, as in /etc/hosts. */
struct mir_dns_host {
    const char *name;
    struct mir_ip ip;
};

struct mir_dns_config {
    struct mir_stack *stack;
    struct mir_rng *rng;
    struct mir_endpoint servers[MIR_DNS_SERVERS_MAX]; /**< recursive ones; port 0 = 53 */
    uint32_t server_count;
    const char *search; /**< domains divided by blanks, up to 6, tried as ends; "" = none, NULL =
                             those that the network tells */
    uint32_t ndots;     /**< a name with fewer dots is tried with @search first; 0 = 1 */
    const struct mir_dns_host *hosts; /**< [host_count], lent until mir_dns_close */
    uint32_t host_count;
    uint32_t cache_max;          /**< answers kept; 0 = 256; the one not used longest gives way */
    uint32_t cache_max_bytes;    /**< of answers that are long (beyond 1 KiB each); 0 = 256 KiB */
    uint32_t questions_max;      /**< under way at one time; 0 = 64 */
    uint32_t queries_max;        /**< that wait for them; 0 = 256 */
    uint32_t ttl_max_s;          /**< an answer is kept at most so long; 0 = 86,400 */
    uint32_t negative_ttl_max_s; /**< that there is none; 0 = 900 */
    uint32_t try_ms;             /**< patience of the first round, doubled each round; 0 = 1,000 */
    uint32_t rounds;             /**< every server is asked so often; 0 = 3 */
    bool no_edns;                /**< plain RFC 1035 */
    bool no_case_mix;            /**< no random case in questions */
    bool no_multicast;           /**< names below .local do not exist, instead of being asked of all
                                      on the link (RFC 6762 section 5.1) */
};

struct mir_dns_stats {
    uint64_t queries, answered_by_cache, answered_locally, joined;
    uint64_t sent_udp, sent_tcp, responses, timeouts, truncated, server_failures;
    uint64_t refused_source;   /**< not from the server that was asked */
    uint64_t refused_id;       /**< wrong id, or no response at all */
    uint64_t refused_question; /**< the answer to another question */
    uint64_t refused_case;     /**< letters changed: asked again over TCP */
    uint64_t refused_form;     /**< malformed */
    uint64_t evicted, no_memory;
    uint32_t cached, cached_bytes, questions, waiting;
};

/** What a question led to. Counted by reference: the cache may hold the same one. */
struct mir_dns_answer {
    int error;        /**< 0, or -MIR_ENOENT: no such name, or none of that type */
    bool is_nxdomain; /**< the name does not exist at all */
    uint16_t type;
    uint16_t record_count;
    struct mir_dns_name name;      /**< that was asked, search domain included */
    struct mir_dns_name canonical; /**< at the end of its aliases */
    mir_time_us expires_us;        /**< by the loop's clock */
    /* private: */
    struct mir_dns *dns;
    struct mir_list bucket, age;
    uint32_t refs;
    uint32_t data_len;
    const uint8_t *data;
    struct mir_io_page *page;
    uint8_t own[320];
};

/**
 * mir_dns_open() - make a resolver; its memory comes from the stack's pages.
 *
 * @config  borrowed, but hosts and their texts are lent
 *
 * Returns 0, -MIR_EINVAL (servers, search domains), -MIR_ENOMEM.
 * Source  RFC 1034 section 5.3.1 (stub resolvers)
 */
int mir_dns_open(const struct mir_dns_config *config, struct mir_dns **dns) MIR_CHECK;
/** Cancel everything (handlers are not called) and release the memory. Every answer that was held
 *  must have been released. */
void mir_dns_close(struct mir_dns *dns);
/** Ask these servers from now on. Returns 0 or -MIR_EINVAL (too many). */
int mir_dns_set_servers(struct mir_dns *dns, const struct mir_endpoint *servers,
                        uint32_t count) MIR_CHECK;
/** Wait until there is a server to ask, as when DHCP has not told one yet, and for a moment until
 *  there is a way to it, as while IPv6 addresses are tested. Returns 0, -MIR_ETIMEDOUT,
 *  -MIR_ECANCELED, -MIR_ENETUNREACH (none, and nobody who could tell one). Only in a task. */
int mir_dns_wait_servers(struct mir_dns *dns, mir_time_us deadline_us) MIR_CHECK;
void mir_dns_get_stats(const struct mir_dns *dns, struct mir_dns_stats *stats);
/** Forget what was learnt from servers. */
void mir_dns_flush(struct mir_dns *dns);
/** The stack it asks over. */
struct mir_stack *mir_dns_stack(const struct mir_dns *dns);

/** @error 0, -MIR_ENOENT (@answer says which kind), -MIR_ETIMEDOUT, -MIR_EIO (servers fail),
 *  -MIR_ENETUNREACH (no server), -MIR_ENOMEM. @answer is borrowed, NULL on other errors. */
typedef void (*mir_dns_fn)(void *arg, int error, const struct mir_dns_answer *answer);

/**
 * mir_dns_resolve() - ask for the records of one type of a name.
 *
 * @name         text; a dot at the end: no search domains. Addresses as text are their own answer
 * @type         MIR_DNS_A, MIR_DNS_SRV ...; not MIR_DNS_ANY
 * @deadline_us  -MIR_ETIMEDOUT then; MIR_TIME_NEVER = until the servers are given up
 * @handler      called once, never inside this call, unless canceled
 * @query        out, may be NULL: handle for mir_dns_cancel(), valid until the handler is called
 *
 * Returns 0, -MIR_EMALFORMED or -MIR_ETOOBIG (no name), -MIR_EINVAL (type), -MIR_ELIMIT.
 * Cost    one datagram each way if it is not in the cache; the same question is asked once
 * Source  RFC 1034 section 5.3.3, RFC 1123 section 6.1.3, RFC 5452 (what is believed), RFC 2308
 */
int mir_dns_resolve(struct mir_dns *dns, const char *name, uint16_t type, mir_time_us deadline_us,
                    mir_dns_fn handler, void *arg, struct mir_dns_query **query) MIR_CHECK;
/** Take a question back: its handler is not called. */
void mir_dns_cancel(struct mir_dns_query *query);

/**
 * mir_dns_resolve_wait() - the same from a task.
 *
 * @answer  out: to be released; also set on -MIR_ENOENT, else NULL on errors
 *
 * Returns as mir_dns_resolve() and mir_dns_fn, or -MIR_ECANCELED (the task).
 * Cost    O(records) without a wait if the answer is in the cache
 * Source  RFC 1034 section 5.3.3
 */
int mir_dns_resolve_wait(struct mir_dns *dns, const char *name, uint16_t type,
                         mir_time_us deadline_us, struct mir_dns_answer **answer) MIR_CHECK;

/** Keep an answer beyond the handler; give it back. NULL is fine for release. */
struct mir_dns_answer *mir_dns_answer_hold(const struct mir_dns_answer *answer);
void mir_dns_answer_release(struct mir_dns_answer *answer);
/** The next record. *@at is 0 at first. Returns false when there is no more. */
bool mir_dns_answer_next(const struct mir_dns_answer *answer, uint32_t *at,
                         struct mir_dns_rdata *rdata);

/* ---- addresses of a name ------------------------------------------------------------------ */

#define MIR_DNS_ADDRESSES_MAX 16u

/** Addresses of both families, those to be tried first in front. */
struct mir_dns_addresses {
    uint32_t count;
    struct mir_ip ip[MIR_DNS_ADDRESSES_MAX];
    struct mir_dns_name canonical;
};

/** @error as mir_dns_fn; @addresses has at least one if it is 0. */
typedef void (*mir_dns_addresses_fn)(void *arg, int error,
                                     const struct mir_dns_addresses *addresses);

/** Two questions at once. Caller's memory, from mir_dns_lookup() until the handler or cancel. */
struct mir_dns_lookup {
    /* private: */
    struct mir_dns *dns;
    struct mir_dns_query *query[2];
    int error[2];
    struct mir_dns_addresses found;
    mir_dns_addresses_fn handler;
    void *arg;
};

/**
 * mir_dns_lookup() - ask for A and AAAA at the same time.
 *
 * @handler  called once when both are answered, never inside this call
 *
 * Returns as mir_dns_resolve().
 * Cost    two questions; at most 16 addresses are kept
 * Source  RFC 8305 section 3 (both at once), RFC 6724 section 6 (order)
 */
int mir_dns_lookup(struct mir_dns_lookup *lookup, struct mir_dns *dns, const char *name,
                   mir_time_us deadline_us, mir_dns_addresses_fn handler, void *arg) MIR_CHECK;
/** The handler is not called. */
void mir_dns_lookup_cancel(struct mir_dns_lookup *lookup);
/** The same from a task. Returns 0 or an error; -MIR_ECANCELED. */
int mir_dns_lookup_wait(struct mir_dns *dns, const char *name, mir_time_us deadline_us,
                        struct mir_dns_addresses *addresses) MIR_CHECK;

/**
 * mir_dns_sort() - order destinations by what the stack can reach, and how well.
 *
 * @ip  [count] at most MIR_DNS_ADDRESSES_MAX
 *
 * Returns nothing. Each source is what a UDP socket connected there would have.
 * Cost    O(count^2), a socket for each
 * Source  RFC 6724 sections 2.1 (policy table), 6 (rules 1, 2, 5, 6, 8, 9, 10)
 */
void mir_dns_sort(struct mir_stack *stack, struct mir_ip *ip, uint32_t count);

/* ---- connecting by name ------------------------------------------------------------------- */

/** The connection is given on 0; else the error of the attempt that got furthest. It may have
 *  data already: take it before waiting for READABLE. */
typedef void (*mir_tcp_race_fn)(void *arg, int error, MIR_GIVE struct mir_tcp *tcp_given);

struct mir_tcp_attempt {
    struct mir_tcp_race *race;
    struct mir_tcp *tcp; /* NULL: not begun, or over */
};

/** Attempts that compete. Caller's memory, from mir_tcp_connect_name() until handler or cancel. */
struct mir_tcp_race {
    /* private: */
    struct mir_dns *dns;
    struct mir_dns_query *query[2];
    uint16_t port;
    bool has_begun, last_was_v4;
    uint32_t todo_count, attempt_count, open_count;
    int error; /* the best so far */
    int rank;
    struct mir_ip todo[2 * MIR_DNS_ADDRESSES_MAX];
    struct mir_tcp_attempt attempt[2 * MIR_DNS_ADDRESSES_MAX];
    struct mir_timer next, deadline;
    mir_tcp_race_fn handler;
    void *arg;
};

/**
 * mir_tcp_connect_name() - connect to the first address of a name that answers.
 *
 * A and AAAA are asked at once. AAAA is waited for 50 ms longer than A; then an attempt begins
 * every 250 ms, or when one fails, families in turn; the first that succeeds ends the others.
 *
 * @deadline_us  -MIR_ETIMEDOUT then, unless an attempt says more
 * @handler      called once, never inside this call
 *
 * Returns as mir_dns_resolve(), -MIR_EINVAL (port 0).
 * Source  RFC 8305 sections 3 to 5
 */
int mir_tcp_connect_name(struct mir_tcp_race *race, struct mir_dns *dns, const char *name,
                         uint16_t port, mir_time_us deadline_us, mir_tcp_race_fn handler,
                         void *arg) MIR_CHECK;
/** Abort every attempt; the handler is not called. */
void mir_tcp_race_cancel(struct mir_tcp_race *race);
/** The same from a task. Returns 0, or an error; -MIR_ECANCELED. */
int mir_tcp_connect_name_wait(struct mir_dns *dns, const char *name, uint16_t port,
                              mir_time_us deadline_us, struct mir_tcp_task *flow) MIR_CHECK;

#endif
