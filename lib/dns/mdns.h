/* SPDX-License-Identifier: ISC */
/* What the files of the multicast DNS responder share: mdns.c (states), mdns_answer.c (messages).
 */
#ifndef LIB_DNS_MDNS_H
#define LIB_DNS_MDNS_H

#include <mirari/mdns.h>
#include <mirari/rng.h>

#include "lib/wire/dns.h"

#define MIR__MDNS_PORT        5353
#define MIR__MDNS_MESSAGE_MAX 1400u
#define MIR__MDNS_FLUSH       0x8000u /* top bit of a class: cache flush, or unicast wanted */
#define MIR__MDNS_TTL_HOST_S  120u    /* records with the host's name or address in them */
#define MIR__MDNS_TTL_S       4500u

/** Our records, as bits of a mask. */
enum mir__mdns_record {
    MIR__MDNS_A,
    MIR__MDNS_AAAA,
    MIR__MDNS_SRV,
    MIR__MDNS_TXT,
    MIR__MDNS_PTR,  /* type -> instance; shared with others */
    MIR__MDNS_META, /* _services._dns-sd._udp -> type; shared */
    MIR__MDNS_NSEC, /* which types the host has, for those it lacks */
    MIR__MDNS_RECORDS
};

enum mir__mdns_state {
    MIR__MDNS_NO_ADDRESS,
    MIR__MDNS_PROBING,
    MIR__MDNS_ANNOUNCING,
    MIR__MDNS_READY
};

struct mir_mdns {
    struct mir_io_page *page;
    struct mir_stack *stack;
    struct mir_rng *rng;
    struct mir_udp *udp;
    mir_mdns_fn on_names;
    void *arg;
    struct mir_dns_name host, instance, type, meta;
    char host_label[64], instance_label[64]; /* as configured */
    uint32_t host_number, instance_number;   /* of renaming, 1 = none yet */
    uint16_t port;
    bool has_service, has_group6;
    struct mir_ip ip4, ip6; /* any = none */
    uint8_t txt[256];
    uint16_t txt_len;
    uint8_t nsec[MIR_DNS_NAME_MAX + 8];
    enum mir__mdns_state state;
    uint32_t step; /* probes or announcements sent */
    uint32_t recent_conflicts;
    mir_time_us conflicts_since_us;
    struct mir_timer timer;       /* of the state */
    struct mir_timer reply_timer; /* an answer that waits */
    uint32_t pending;             /* its records */
    struct mir_ip pending_for;    /* who asked first */
    mir_time_us sent_us[MIR__MDNS_RECORDS];
    mir_time_us unicasts_since_us; /* answers to single askers, in the second that began then */
    uint32_t unicasts;
    struct mir_mdns_stats stats;
    uint8_t out[MIR__MDNS_MESSAGE_MAX];
    uint8_t in[9000];
};

static inline mir_time_us mir__mdns_now(const struct mir_mdns *m)
{
    return mir_loop_now(m->stack->loop);
}

/* ---- mdns_answer.c ------------------------------------------------------------------------ */

bool mir__mdns_has(const struct mir_mdns *m, enum mir__mdns_record record);
/** Data of a record we have. Pointers lead into @m. */
void mir__mdns_build(struct mir_mdns *m, enum mir__mdns_record record,
                     const struct mir_dns_name **name, struct mir_dns_rdata *rdata,
                     uint32_t *ttl_s);
/** Multicast an unsolicited response with the records of @mask; @is_goodbye: time 0. */
void mir__mdns_announce(struct mir_mdns *m, uint32_t mask, bool is_goodbye);
void mir__mdns_send_probe(struct mir_mdns *m);
/** A datagram on port 5353. */
void mir__mdns_take(struct mir_mdns *m, const struct mir_udp_meta *meta, const uint8_t *msg,
                    uint32_t len);
void mir__mdns_on_reply_timer(void *arg);

/* ---- mdns.c ------------------------------------------------------------------------------- */

/** Somebody else has the name: another one, or probe again. */
void mir__mdns_conflict(struct mir_mdns *m, bool is_host);
/** Somebody else probes at the same time, and wins. */
void mir__mdns_defer(struct mir_mdns *m);

#endif
