/* SPDX-License-Identifier: ISC */
/* A resolver on one stack and name servers on another, joined by a cable, on virtual time.
 *
 * The servers are the ports 53, 54, ... of one host; a test writes what they answer.
 *
 *   struct dnsbed bed;
 *   dnsbed_open(&bed, &config, 2, answer);        config may be NULL
 *   ... mir_dns_resolve(bed.dns, ...); dnsbed_run(&bed, MIR_US_PER_S); ...
 *   dnsbed_close(&bed);                           checks that everything was given back
 */
#ifndef TEST_DNSBED_H
#define TEST_DNSBED_H

#include "lib/wire/dns.h"
#include "test/harness/stacks.h"
#include "test/harness/testdev.h"

#define DNSBED_SERVERS   3u
#define DNSBED_SERVER_IP 0x0a000009u

struct dnsbed;

/** A question as a server sees it; the answer is written into @w. */
struct dnsbed_query {
    struct dnsbed *bed;
    uint32_t server;
    bool is_tcp, has_edns;
    struct mir_endpoint from;
    struct mir__dns_question question;
    char name[MIR_DNS_NAME_TEXT_MAX]; /* as it came, letters mixed */
    char lower[MIR_DNS_NAME_TEXT_MAX];
    struct mir__dns_writer w; /* question copied; flags QR RD RA */
    uint16_t id;              /* to answer with */
};

/** Write records to query->w. Returns false to stay silent. */
typedef bool (*dnsbed_answer_fn)(struct dnsbed_query *query);

struct dnsbed {
    struct testbed client;
    struct testdev server_dev;
    struct mir_net *server_net;
    struct mir_udp *udp[DNSBED_SERVERS];
    struct mir_tcp_listener *tcp[DNSBED_SERVERS];
    struct mir_dns *dns;
    struct test_stacks stacks;
    dnsbed_answer_fn answer;
    uint32_t asked_udp, asked_tcp; /* questions that arrived */
    uint16_t udp_limit;            /* longer answers are truncated; 0 = no limit */
    uint16_t ports[64];            /* that questions came from, by asked_udp */
    bool is_cut;
    uint8_t out[2 + 65535];
};

void dnsbed_open(struct dnsbed *bed, const struct mir_dns_config *config, uint32_t servers,
                 dnsbed_answer_fn answer);
/** Frames go to and fro, time goes on by @delta_us. */
void dnsbed_run(struct dnsbed *bed, mir_time_us delta_us);
/** Close the resolver and everything else. */
void dnsbed_close(struct dnsbed *bed);
void dnsbed_spawn(struct dnsbed *bed, void (*entry)(void *arg), void *arg);

/* Records for an answer; names as text. */
void dnsbed_a(struct dnsbed_query *query, const char *name, uint32_t ttl_s, uint32_t ip);
void dnsbed_cname(struct dnsbed_query *query, const char *name, uint32_t ttl_s, const char *target);
void dnsbed_soa(struct dnsbed_query *query, const char *zone, uint32_t ttl_s, uint32_t minimum_s);
void dnsbed_record(struct dnsbed_query *query, enum mir__dns_section section, const char *name,
                   uint32_t ttl_s, const struct mir_dns_rdata *rdata);
/** Send a datagram from a server's socket: forged answers. */
void dnsbed_send(struct dnsbed_query *query, uint32_t server, struct mir__dns_writer *w);

#endif
