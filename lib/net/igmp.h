/* SPDX-License-Identifier: ISC */
/* Membership reports of IPv4: state of an interface, and what the rest calls (igmp.c). */
#ifndef LIB_NET_IGMP_H
#define LIB_NET_IGMP_H

#include <mirari/page.h>
#include <mirari/run.h>

#define MIR__IGMP_LEAVES_MAX  8u
#define MIR__IGMP_SOURCES_MAX 32u

struct mir__iface;
struct mir__group;
struct mir__ip_meta;
struct mir_net;

struct mir__igmp_leave {
    uint32_t group; /* 0: free */
    uint8_t left;   /* reports to send */
};

struct mir__igmp_state {
    mir_time_us v1_until_us; /* an older querier is on the link */
    mir_time_us v2_until_us;
    uint8_t robustness;
    struct mir_timer general; /* an answer about all groups is due */
    struct mir_timer leaving; /* leaves are told again */
    struct mir__igmp_leave leaves[MIR__IGMP_LEAVES_MAX];
};

void mir__igmp_init(struct mir__iface *iface);
/** Timers stop; nothing is sent any more. */
void mir__igmp_stop(struct mir__iface *iface);
/** The link came back: routers there do not know our groups. */
void mir__igmp_link_up(struct mir__iface *iface);
/** buf->data at the IGMP message. */
void mir__igmp_input(struct mir_net *net, const struct mir__ip_meta *meta,
                     MIR_GIVE struct mir_buf *buf_given);
/** The senders that are wanted have changed. */
void mir__igmp_filter_changed(struct mir__group *group);

#endif
