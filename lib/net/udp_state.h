/* SPDX-License-Identifier: ISC */
/* What the files of UDP know of each other (udp.c, udp_input.c, udp_output.c), and the part of the
 * stack object that is theirs. */
#ifndef LIB_NET_UDP_STATE_H
#define LIB_NET_UDP_STATE_H

#include "lib/net/internal.h"

struct mir__group;

#define MIR__UDP_BUCKETS_MAX 4096u
#define MIR__UDP_LOOP_MAX    64u
/* Destinations that a socket remembers to have sent to. */
#define MIR__UDP_RECENT 16u

struct mir__udp_socket {
    struct mir_udp udp;     /* first: the API's object */
    struct mir_list lookup; /* in by_flow if connected, else in by_local */
    struct mir_list by_port;
    struct mir_net *net;
    struct mir_ip bound; /* as opened; :: for any */
    struct mir_ip local; /* the same, or the source address of the connection */
    struct mir_endpoint remote;
    uint16_t port;
    bool reuse_addr, reuse_port, v6_only, v4_only;
    bool dont_fragment, may_broadcast, group_loop;
    uint8_t ttl; /* 0 = the default */
    uint8_t tos;
    uint8_t group_ttl;
    uint32_t group_if;
    struct mir_list members; /* struct mir__udp_member */
    /* The kept route: to peer, with source peer_src. */
    bool is_plain; /* made without a wish of mir_udp_msg */
    bool is_to_group, is_to_broadcast;
    uint32_t peer_if;
    struct mir_ip peer;
    struct mir_ip peer_from; /* source address asked for */
    struct mir_ip peer_src;
    uint32_t flow_key; /* IPv6: of the addresses and our port, not to be guessed */
    struct mir__route route;
    /* Hashes of destinations before this one, so that ICMP about them can be believed. */
    uint32_t recent[MIR__UDP_RECENT];
    uint8_t recent_at;
};

/* One socket's membership of one group on one interface. */
struct mir__udp_member {
    struct mir_list link;
    struct mir_ip group;
    struct mir_ip source; /* any: every sender */
    uint32_t if_index;
};

/* A walk over the sockets of a port that survives the closing of any of them. */
struct mir__udp_walk {
    struct mir_list *at;
    struct mir__udp_walk *outer;
};

struct mir__udp_state {
    struct mir_pool sockets;
    struct mir_pool members;
    struct mir_io_page *pages[3]; /* memory of the tables */
    struct mir_list *by_port;     /* all sockets: conflicts, groups */
    struct mir_list *by_local;    /* port and address, :: for any */
    struct mir_list *by_flow;     /* port and peer */
    uint32_t bucket_mask;
    uint32_t hash_key[6];
    uint32_t flow_count;     /* connected sockets */
    uint32_t specific_count; /* unconnected sockets bound to one address */
    struct mir__udp_walk *walks;
    struct mir_buf_queue loop; /* to groups of ours, behind the meta data at their start */
    struct mir_work loop_work;
};

static inline struct mir__udp_socket *mir__udp_of(const struct mir_udp *udp)
{
    return (struct mir__udp_socket *)(uintptr_t)udp;
}

/** Multicast of either family. */
bool mir__udp_is_group(const struct mir_ip *ip);
/** 255.255.255.255, or the broadcast address of a subnet of ours. */
bool mir__udp_is_broadcast(const struct mir_net *net, const struct mir_ip *ip);
struct mir_list *mir__udp_port_bucket(struct mir_net *net, uint16_t port);
/** The socket that a packet from @from to @dst, @port is for; NULL: none. Not for groups. */
struct mir__udp_socket *mir__udp_find(struct mir_net *net, const struct mir_ip *dst, uint16_t port,
                                      const struct mir_endpoint *from);
void mir__udp_link(struct mir__udp_socket *s);
void mir__udp_unlink(struct mir__udp_socket *s);
/** Is there another connected socket with the addresses of @s? */
bool mir__udp_flow_exists(struct mir__udp_socket *s, const struct mir_ip *local,
                          const struct mir_endpoint *remote);
/** Deliver to the members of a group or broadcast; buf->data at the UDP header. Returns the number
 *  of sockets that got it. */
uint32_t mir__udp_deliver_group(struct mir_net *net, const struct mir__ip_meta *meta,
                                MIR_GIVE struct mir_buf *buf_given);
void mir__udp_loop_run(void *net);
/** Has the socket sent to @dst lately? */
bool mir__udp_has_sent_to(const struct mir__udp_socket *s, const struct mir_ip *dst);
/** The senders that sockets want of a group, each once, into [max]; negative: every sender, or
 *  more than @max. */
int mir__udp_group_sources(const struct mir__group *group, uint32_t *out, uint32_t max);

/* Operations of a socket, udp_output.c. */
int mir__udp_send(struct mir_udp *udp, const struct mir_endpoint *to, const void *data, size_t len);
int mir__udp_send_buf(struct mir_udp *udp, const struct mir_endpoint *to,
                      MIR_GIVE struct mir_buf *buf_given);
int mir__udp_send_msg(struct mir_udp *udp, const struct mir_udp_msg *msg,
                      MIR_GIVE struct mir_buf *buf_given);
/** A route to @dst into the socket, kept. 0, -MIR_ENETUNREACH, -MIR_EPERM. */
int mir__udp_route(struct mir__udp_socket *s, const struct mir_ip *dst, const struct mir_ip *from,
                   uint32_t if_index) MIR_CHECK;

#endif
