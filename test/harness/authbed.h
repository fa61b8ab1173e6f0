/* SPDX-License-Identifier: ISC */
/* A name server of ours on a test bed: zones from texts, questions in, answers as text.
 *
 *   authbed_open(&bed, &limits);                       the stack; no server yet
 *   authbed_zone(&bed, "example.org", text);           0 or the error; reports in bed.report
 *   authbed_serve(&bed, &config);                      config may be NULL
 *   authbed_ask(&bed, "www.example.org", MIR_DNS_A);   "NOERROR aa | www.example.org 60 A 1.2.3.4
 * |" authbed_close(&bed);                               checks that everything was given back
 */
#ifndef TEST_AUTHBED_H
#define TEST_AUTHBED_H

#include <mirari/dns_server.h>

#include "lib/dns/auth.h"
#include "test/harness/testdev.h"

#define AUTHBED_ZONES_MAX 8u

struct authbed {
    struct testbed bed;
    struct mir_dns_zone *zones[AUTHBED_ZONES_MAX];
    uint32_t zone_count;
    struct mir_dns_server *server;
    char report[8192]; /* lines of the last authbed_zone() */
    const char *include_name;
    const char *include_text;
    /* of the next questions */
    bool is_tcp, has_opt, dnssec_ok;
    uint16_t udp_bytes;
    uint8_t version;
    uint16_t class; /* 0 = IN */
    uint16_t flags;
    /* of the last answer */
    uint8_t msg[65535];
    uint32_t msg_len;
    char text[131072];
};

void authbed_open(struct authbed *bed);
int authbed_zone(struct authbed *bed, const char *origin, const char *text);
void authbed_serve(struct authbed *bed, const struct mir_dns_server_config *config);
/** A question on the wire. Returns its length. */
uint32_t authbed_question(const struct authbed *bed, const char *name, uint16_t type,
                          uint8_t out[512]);
/** What the server says to [len] octets: an answer in bed->msg, length 0: nothing. */
void authbed_give(struct authbed *bed, const uint8_t *question, uint32_t len);
/** Code and flags, then the sections divided by " |", records by " ;", each with a blank before. */
const char *authbed_text(struct authbed *bed);
const char *authbed_ask(struct authbed *bed, const char *name, uint16_t type);
void authbed_close(struct authbed *bed);

#endif
