/* SPDX-License-Identifier: ISC */
/* Conflict detection of IPv4 addresses (acd4.c), and addresses that a host gives itself
 * (linklocal4.c): what the rest of the stack calls. */
#ifndef LIB_NET_ACD4_H
#define LIB_NET_ACD4_H

#include <mirari/list.h>
#include <mirari/net.h>
#include <mirari/run.h>

struct mir__iface;

enum mir__acd4_phase { MIR__ACD4_IDLE, MIR__ACD4_PROBING, MIR__ACD4_HOLDING };

/** The watch over one address of an interface. Whoever wants an address owns one. */
struct mir__acd4 {
    struct mir__iface *iface;
    struct mir_list link; /* iface->acd4s, unless IDLE */
    uint32_t ip;
    uint8_t phase;    /* enum mir__acd4_phase */
    uint8_t left;     /* probes or announcements to send */
    bool is_quick;    /* probes within 0.3 s, else RFC 5227's times */
    bool is_stubborn; /* never given up */
    struct mir_timer timer;
    mir_time_us conflict_us; /* the last one while HOLDING; 0 = none */
    /** Nobody else has it. */
    void (*on_free)(struct mir__iface *iface);
    /** Somebody has it: while probing, or for the second time in ten seconds while holding. The
     *  watch is IDLE. */
    void (*on_conflict)(struct mir__iface *iface, bool was_held);
};

void mir__acd4_init(struct mir__acd4 *acd, struct mir__iface *iface,
                    void (*on_free)(struct mir__iface *iface),
                    void (*on_conflict)(struct mir__iface *iface, bool was_held));
/** Ask whether @ip is free; ends by on_free or on_conflict, never inside this call. */
void mir__acd4_probe(struct mir__acd4 *acd, uint32_t ip, bool is_quick);
/** The same after a pause, in which a sign of another host begins the pause anew. */
void mir__acd4_probe_later(struct mir__acd4 *acd, uint32_t ip, mir_time_us wait_us);
/** @ip is ours now: announce it, and defend it from now on. */
void mir__acd4_hold(struct mir__acd4 *acd, uint32_t ip);
void mir__acd4_stop(struct mir__acd4 *acd);
/** @ip is no longer an address of @iface: neither announced nor defended any more. */
void mir__acd4_forget(struct mir__iface *iface, uint32_t ip);
/** An ARP packet of somebody else. Returns true if it was about a conflict and nothing more is to
 *  be done with it. */
bool mir__acd4_input(struct mir__iface *iface, uint32_t sender_ip, uint32_t target_ip,
                     bool is_request);

/* ---- linklocal4.c --------------------------------------------------------------------------- */

struct mir__linklocal4 {
    bool is_enabled;
    uint32_t ip;       /* held; 0 = none */
    uint32_t attempts; /* addresses tried since the start */
    uint32_t conflicts;
    struct mir__acd4 acd;
    struct mir_timer timer; /* when conflicts come too often */
};

void mir__linklocal4_init(struct mir__iface *iface, bool is_enabled);
/** Take an address of 169.254/16, unless that is going on already or switched off. */
void mir__linklocal4_start(struct mir__iface *iface);
/** Give it up. */
void mir__linklocal4_stop(struct mir__iface *iface);
static inline bool mir__ip4_is_link_local(uint32_t ip)
{
    return ip >> 16 == 0xa9fe;
}

#endif
