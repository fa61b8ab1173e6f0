/* SPDX-License-Identifier: ISC */
/* An authoritative name server: zones from master files, answers over UDP and TCP.
 *
 *   struct mir_dns_zone     what a master file says, checked: names, sets of records, delegations
 *   struct mir_dns_server   zones, the answers made of them, the ports they are given at
 *
 * A zone is read once and does not change. A server makes each answer that its zones can give once,
 * as octets, when it is opened: a question is then one look-up, and id, flags and question are all
 * that is still written. Memory comes from the page pool and is bounded by two numbers, the bytes
 * of a zone and those of ready answers; what is beyond the second is made when it is asked for.
 *
 * All calls belong to the loop's thread.
 */
#ifndef MIRARI_DNS_SERVER_H
#define MIRARI_DNS_SERVER_H

#include <mirari/dns.h>
#include <mirari/net.h>
#include <mirari/rng.h>

struct mir_dns_zone;
struct mir_dns_server;

/* ---- zones -------------------------------------------------------------------------------- */

/** One line about a zone: "file:line: what is wrong; what to do". @is_error: the zone cannot be
 *  served; else it can, but its author should look. */
typedef void (*mir_dns_zone_report_fn)(void *arg, bool is_error, const char *line);

/** The text that $INCLUDE names, lent until mir_dns_zone_open() returns. Returns 0, -MIR_ENOENT. */
typedef int (*mir_dns_zone_include_fn)(void *arg, const char *name, const char **text, size_t *len);

struct mir_dns_zone_config {
    struct mir_page_pool *pages;
    const char *origin; /**< name of the zone: "example.org"; "." is the root */
    const char *file;   /**< what the text is called in reports */
    const char *text;   /**< [len] the master file, borrowed */
    size_t len;
    mir_dns_zone_include_fn include; /**< NULL: $INCLUDE is an error */
    mir_dns_zone_report_fn report;   /**< NULL: nobody is told */
    void *arg;                       /**< of both */
    uint32_t names_max;              /**< 0 = 1,000,000 */
    uint64_t bytes_max;              /**< of memory; 0 = as the page pool has */
};

struct mir_dns_zone_info {
    struct mir_dns_name origin;
    uint32_t serial;
    uint32_t names;   /**< those that exist only because of others below them included */
    uint32_t records; /**< each once */
    uint32_t warnings;
    uint64_t bytes; /**< of memory */
};

/**
 * mir_dns_zone_open() - read a master file and check the zone.
 *
 * $ORIGIN, $TTL, $INCLUDE, parentheses, quotes, escapes, times with units, the types of RFC 1035
 * and those of mir_dns_type_parse(), any other as RFC 3597 writes it. All errors are reported, up
 * to 20 of them.
 *
 * @config  borrowed
 * @zone    out
 *
 * Returns 0, -MIR_EMALFORMED (errors were reported), -MIR_EINVAL (@config->origin), -MIR_ELIMIT
 *         (names_max, bytes_max), -MIR_ENOMEM.
 * Cost    O(length); about 200 bytes of memory for a name with one record
 * Source  RFC 1035 section 5, RFC 2308 section 4 ($TTL), RFC 3597 section 5, RFC 2181 sections 5
 *         and 10.1 (sets, CNAME alone), RFC 6672 section 2.4 (DNAME), RFC 4592 section 2.2.2
 */
int mir_dns_zone_open(const struct mir_dns_zone_config *config,
                      struct mir_dns_zone **zone) MIR_CHECK;
/** Release it; no server may serve it any more. NULL is fine. */
void mir_dns_zone_close(struct mir_dns_zone *zone);
void mir_dns_zone_get_info(const struct mir_dns_zone *zone, struct mir_dns_zone_info *info);

/* ---- the server --------------------------------------------------------------------------- */

#define MIR_DNS_PEERS_MAX 16u

/** Bounds; 0 takes the default in brackets. */
struct mir_dns_server_limits {
    uint16_t udp_bytes;       /**< largest answer in a datagram [1232], at least 512 */
    uint64_t ready_bytes;     /**< of ready answers [a quarter of the page pool] */
    uint32_t tcp_connections; /**< [256]; then the one idle longest gives way */
    uint32_t tcp_idle_ms;     /**< between two questions, or without progress [10000] */
    uint32_t tcp_query_bytes; /**< longest question [4096] */
    uint32_t transfers;       /**< AXFR at one time [16]; more are refused */
    uint32_t rate_per_second; /**< equal answers to one network; 0 = no limit */
    uint32_t rate_slip;       /**< every n-th answer beyond is sent, truncated [2] */
    uint32_t rate_buckets;    /**< networks and kinds of answer that are counted [16384] */
    uint8_t rate_prefix4;     /**< what one network is [24] */
    uint8_t rate_prefix6;     /**< [56] */
    uint32_t notify_tries;    /**< of one NOTIFY, with doubled patience [5] */
};

struct mir_dns_server_config {
    struct mir_stack *stack;
    struct mir_rng *rng;
    struct mir_endpoint local;             /**< port 0 = 53 */
    struct mir_dns_zone *const *zones;     /**< [zone_count] lent until mir_dns_server_close() */
    uint32_t zone_count;                   /**< at most 4096 */
    const struct mir_net_prefix *transfer; /**< [transfer_count] who may ask for whole zones */
    uint32_t transfer_count;               /**< at most MIR_DNS_PEERS_MAX */
    const struct mir_endpoint *notify;     /**< [notify_count] who is told of zones; port 0 = 53 */
    uint32_t notify_count;                 /**< at most MIR_DNS_PEERS_MAX */
    struct mir_dns_server_limits limits;
};

struct mir_dns_server_stats {
    uint64_t queries_udp, queries_tcp;
    uint64_t answered_ready; /**< by octets that were there */
    uint64_t answered_made;  /**< by an answer made for this question */
    uint64_t noerror, nodata, referrals, nxdomain, refused, formerr, notimp, badvers, servfail;
    uint64_t truncated;      /**< TC: ask again over TCP */
    uint64_t dropped_form;   /**< no question at all: short, or a response */
    uint64_t dropped_rate;   /**< by the rate limit; those that slipped not counted */
    uint64_t slipped;        /**< sent truncated instead */
    uint64_t dropped_memory; /**< no buffer for the answer, or no way to the asker */
    uint64_t tcp_accepted, tcp_refused, tcp_evicted, tcp_timeouts, tcp_bad;
    uint64_t transfers, transfers_refused;
    uint64_t notify_sent, notify_answered, notify_failed;
    uint32_t tcp_open;
    uint32_t ready;      /**< answers kept */
    uint32_t ready_left; /**< answers that did not fit into ready_bytes */
    uint64_t ready_bytes;
};

/**
 * mir_dns_server_open() - make the answers, listen, tell the secondaries.
 *
 * @config  borrowed; stack, rng and zones must live as long as the server
 * @server  out
 *
 * Returns 0, -MIR_EINVAL (limits, counts), -MIR_EEXIST (one zone twice), -MIR_ENOMEM, or the error
 *         of mir_udp_open() and mir_tcp_listen().
 * Cost    O(records); answers take the memory that limits.ready_bytes bounds
 * Source  RFC 1034 section 4.3, RFC 1035, RFC 2181, RFC 2308, RFC 4592, RFC 6891, RFC 7766,
 *         RFC 8482, RFC 9619, RFC 9471
 */
int mir_dns_server_open(const struct mir_dns_server_config *config,
                        struct mir_dns_server **server) MIR_CHECK;
/** End all connections and give the memory back. */
void mir_dns_server_close(struct mir_dns_server *server);
/** Counters since it was opened. */
void mir_dns_server_get_stats(const struct mir_dns_server *server,
                              struct mir_dns_server_stats *stats);
/** Where it listens. */
void mir_dns_server_local(const struct mir_dns_server *server, struct mir_endpoint *local);

#endif
