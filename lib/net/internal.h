/* SPDX-License-Identifier: ISC */
/* What the parts of the direct stack know of each other. Not public.
 *
 *   net.c     the stack object: open, close, interfaces, statistics, the mir_stack operations
 *   iface.c   one interface: frames from the device upwards, frames down, batches
 *   neigh.c   neighbours of both families dnsinfo.c name servers that were told
 *   arp.c     IPv4 neighbours            dhcp*.c    address by DHCP
 *   ip.c      routing, output for both address families, transport checksums
 *   ip4.c     IPv4 input and headers     frag.c reass.c   fragments
 *   ip6.c     IPv6 input and headers     nd6.c      IPv6 neighbours and routers
 *   icmp4.c icmp6.c   ICMP               udp*.c     UDP
 *   ifaddr.c  addresses                  group.c    multicast groups, told by igmp.c and mld6.c
 *   route.c   the routing table          pmtu.c     path MTUs
 *   ahead.c   memory of connections is asked for ahead of their frames
 *   tcp/      TCP (tcp/internal.h)
 *
 * A received frame goes iface -> ip4 | ip6 -> (reassembly) -> tcp | udp | icmp in one call chain;
 * each layer strips its header from the same buffer. At the end of a device's batch
 * mir__tcp_input_end() lets TCP send what the batch caused: one ACK for many segments, data with
 * the ACK.
 *
 * TCP and UDP speak struct mir_ip only; what differs between the families is below them.
 */
#ifndef LIB_NET_INTERNAL_H
#define LIB_NET_INTERNAL_H

#include <mirari/dev_net.h>
#include <mirari/net.h>
#include <mirari/rng.h>

#include "lib/net/tcp/state.h"

#define MIR__IFACES_MAX 8

struct mir__neigh;
struct mir__iface;
struct mir__ifaddr;
struct mir__group;

/* IP protocol numbers (IANA). */
enum { MIR__PROTO_ICMP = 1, MIR__PROTO_IGMP = 2, MIR__PROTO_TCP = 6, MIR__PROTO_UDP = 17 };

/** Why a packet was dropped, and what else is counted. One table for names and fields. */
#define MIR__NET_COUNTERS(X)                                                                       \
    X(eth_in)                                                                                      \
    X(eth_in_bytes)                                                                                \
    X(eth_out)                                                                                     \
    X(eth_short)                                                                                   \
    X(eth_unknown_type)                                                                            \
    X(eth_vlan_dropped)                                                                            \
    X(eth_not_for_us)                                                                              \
    X(arp_in)                                                                                      \
    X(arp_malformed)                                                                               \
    X(arp_requests_out)                                                                            \
    X(arp_replies_out)                                                                             \
    X(arp_table_full)                                                                              \
    X(arp_evicted)                                                                                 \
    X(arp_unresolved_dropped)                                                                      \
    X(arp_conflict)                                                                                \
    X(nd_in)                                                                                       \
    X(nd_malformed)                                                                                \
    X(nd_ignored)                                                                                  \
    X(nd_solicits_out)                                                                             \
    X(nd_adverts_out)                                                                              \
    X(nd_router_solicits_out)                                                                      \
    X(nd_router_adverts_in)                                                                        \
    X(nd_redirects_in)                                                                             \
    X(nd_learned_full)                                                                             \
    X(nd_duplicate)                                                                                \
    X(nd_conflict)                                                                                 \
    X(nd_looped)                                                                                   \
    X(mld_queries_in)                                                                              \
    X(mld_reports_out)                                                                             \
    X(mld_ignored)                                                                                 \
    X(mld_malformed)                                                                               \
    X(neigh_rate_limited)                                                                          \
    X(nd_table_full)                                                                               \
    X(nd_evicted)                                                                                  \
    X(nd_unresolved_dropped)                                                                       \
    X(ip_in)                                                                                       \
    X(ip_out)                                                                                      \
    X(ip_malformed)                                                                                \
    X(ip_bad_checksum)                                                                             \
    X(ip_not_for_us)                                                                               \
    X(ip_martian)                                                                                  \
    X(ip_options)                                                                                  \
    X(ip_unknown_protocol)                                                                         \
    X(ip_no_route)                                                                                 \
    X(ip_too_big)                                                                                  \
    X(ip_fragments_in)                                                                             \
    X(ip_fragments_out)                                                                            \
    X(ip_reassembled)                                                                              \
    X(ip_reassembly_overlap)                                                                       \
    X(ip_reassembly_limit)                                                                         \
    X(ip_reassembly_timeout)                                                                       \
    X(ip6_in)                                                                                      \
    X(ip6_out)                                                                                     \
    X(ip6_extension_headers)                                                                       \
    X(ip6_extension_refused)                                                                       \
    X(ip6_group_not_joined)                                                                        \
    X(pmtu_lowered)                                                                                \
    X(pmtu_expired)                                                                                \
    X(icmp_in)                                                                                     \
    X(icmp_out)                                                                                    \
    X(icmp_malformed)                                                                              \
    X(icmp_bad_checksum)                                                                           \
    X(icmp_ignored)                                                                                \
    X(icmp_rate_limited)                                                                           \
    X(igmp_in)                                                                                     \
    X(igmp_out)                                                                                    \
    X(igmp_malformed)                                                                              \
    X(igmp_ignored)                                                                                \
    X(udp_in)                                                                                      \
    X(udp_out)                                                                                     \
    X(udp_malformed)                                                                               \
    X(udp_bad_checksum)                                                                            \
    X(udp_no_port)                                                                                 \
    X(udp_no_member)                                                                               \
    X(udp_error_in)                                                                                \
    X(udp_error_ignored)                                                                           \
    X(self_packets)                                                                                \
    X(self_dropped)                                                                                \
    X(udp_loop_dropped)                                                                            \
    X(dhcp_in)                                                                                     \
    X(dhcp_malformed)                                                                              \
    X(dhcp_ignored)                                                                                \
    X(dhcp_out)                                                                                    \
    X(no_memory)                                                                                   \
    X(tx_dropped)                                                                                  \
    X(tx_no_room)

struct mir__net_counters {
#define MIR__X(name) uint64_t name;
    MIR__NET_COUNTERS(MIR__X)
#undef MIR__X
};

/** How to reach a destination; kept by a connection and refreshed when generations differ. */
struct mir__route {
    struct mir__iface *iface;     /* NULL: not looked up */
    struct mir__neigh *neighbour; /* may be NULL; stable: entries are freed with a new
                                         route_generation */
    uint32_t generation;          /* of net->route_generation at look-up */
    union {                       /* ip_header_len tells which */
        uint32_t next_hop4;
        struct mir_ip next_hop6;
    };
    uint16_t mtu;          /* of the interface, the route or the path: the smallest */
    uint8_t ip_header_len; /* 20 or 40 */
    uint32_t caps;         /* of the device */
    uint32_t gso_max;      /* largest IP packet under TSO, 0 = none */
};

struct mir__ip_params {
    const struct mir_ip *src;
    const struct mir_ip *dst;
    uint8_t protocol;
    uint8_t ttl; /* 0 = 64 */
    uint8_t tos; /* or traffic class */
    bool dont_fragment;
    bool router_alert;   /* IPv6: a hop-by-hop header with that option (RFC 2711) */
    uint32_t flow_label; /* IPv6: 20 bits */
};

/** A received packet's IP layer, for transports. Valid during the call. */
struct mir__ip_meta {
    struct mir_ip src;
    struct mir_ip dst;
    uint8_t ttl;
    uint8_t tos;
    bool is_broadcast;     /* link or IP broadcast or multicast */
    bool has_router_alert; /* IPv6 */
    bool was_fragment;     /* IPv6: it had a fragment header, whole datagrams too */
    struct mir__iface *iface;
};

/* ---- ip.c --------------------------------------------------------------------------------- */

/** Can a socket have the address @ip: one of ours, or one that only we can reach ourselves by? */
bool mir__ip_is_bindable(const struct mir_net *net, const struct mir_ip *ip);
/** Look up @dst; fills @route and, if @src is any, the source address. 0 or -MIR_ENETUNREACH. */
int mir__ip_route(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                  struct mir__route *route) MIR_CHECK;
/** Where mir__ip_route() finds nothing: would it if an IPv6 address of ours that is being tested
 * were in use? @src any: chosen, as then. The route holds no more than sizes, and is looked up
 * again before it is used. 0 or -MIR_ENETUNREACH. */
int mir__ip_route_soon(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                       struct mir__route *route) MIR_CHECK;
/** Make a kept route valid again if anything changed. 0 or -MIR_ENETUNREACH. */
int mir__ip_route_refresh(struct mir_net *net, const struct mir_ip *dst, struct mir_ip *src,
                          struct mir__route *route) MIR_CHECK;
/** Prepend the IP and link headers and hand the packet to the device (or to the neighbour's
 *  queue). Fragments when needed and allowed. 0, -MIR_ETOOBIG, -MIR_ENETUNREACH,
 *  -MIR_EHOSTUNREACH (the neighbour does not answer), -MIR_EAGAIN, -MIR_ENOMEM. */
int mir__ip_output(struct mir_net *net, struct mir__route *route,
                   const struct mir__ip_params *params, MIR_GIVE struct mir_buf *buf_given);
/** Fill the transport checksum field, @csum_offset bytes into @buf: offloaded if the route's
 *  device can, else computed over linear part and views (ready block sums are used). The field
 *  must be zero. UDP's zero rule is the caller's. */
void mir__ip_transport_checksum(const struct mir__route *route, const struct mir_ip *src,
                                const struct mir_ip *dst, uint8_t protocol, struct mir_buf *buf,
                                uint16_t csum_offset);
/** Verify a received transport checksum; true if good or vouched for by the device. */
bool mir__ip_transport_checksum_ok(const struct mir__ip_meta *meta, uint8_t protocol,
                                   const struct mir_buf *buf);
/** A route to @dst, which is on the link of @iface: no look-up, no address of ours needed. For
 *  link-local messages, groups and broadcasts. */
void mir__ip_route_on_link(struct mir__iface *iface, const struct mir_ip *dst,
                           struct mir__route *route);
/** Is @ip one of ours and usable (not broadcast, not 127.0.0.1 or ::1)? */
bool mir__ip_is_local(const struct mir_net *net, const struct mir_ip *ip);
/** Nobody listens on the port of a datagram (its IP header still at buf->start + network_offset):
 *  say so, in its family. Borrowed. */
void mir__ip_refuse_port(struct mir_net *net, const struct mir__ip_meta *meta,
                         const struct mir_buf *buf);
/** Largest packet of the route's interface, whatever its path takes. */
uint16_t mir__ip_link_mtu(const struct mir__route *route);
/** A transport has heard, over @route, that what it sent arrived: the neighbour is there (RFC 4861
 *  section 7.3.1). Cheap: nearly always nobody wants to know. */
void mir__ip_confirm(struct mir_net *net, const struct mir__route *route);
/** Frames the route's device would take now. */
uint32_t mir__ip_tx_room(const struct mir__route *route);
/** Has mir__ip_tx_room() said 0, and is mir__tcp_tx_ready() still to come? */
bool mir__ip_is_tx_full(const struct mir__route *route);
/** Is the way there open for data that nobody sends again? If not it is counted as dropped here. */
bool mir__ip_may_send(struct mir_net *net, const struct mir__route *route) MIR_CHECK;

/* ---- tcp/ (implemented there, called from below) ------------------------------------------- */

int mir__tcp_init(struct mir_net *net, const struct mir_net_config *config) MIR_CHECK;
void mir__tcp_fini(struct mir_net *net);
/** @buf_given->data is at the TCP header, the packet is trimmed to the IP payload. */
void mir__tcp_input(struct mir_net *net, const struct mir__ip_meta *meta,
                    MIR_GIVE struct mir_buf *buf_given);
/** More connections than caches hold? Then it pays to look ahead (ahead.c). */
bool mir__tcp_is_crowded(struct mir_net *net);
/** Ask for the memory that the look-up of a segment between @here and @there begins with, then for
 *  the object it leads to, then for what that refers to. Returns the hash for the other two. */
uint32_t mir__tcp_ahead_bucket(struct mir_net *net, const struct mir_endpoint *here,
                               const struct mir_endpoint *there);
void mir__tcp_ahead_object(struct mir_net *net, uint32_t hash);
void mir__tcp_ahead_block(struct mir_net *net, uint32_t hash);
/** Addresses of ours came or went. */
void mir__tcp_addresses_changed(struct mir_net *net);
/** End of a device's batch. */
void mir__tcp_input_end(struct mir_net *net);
/** The device has room again. */
void mir__tcp_tx_ready(struct mir_net *net);
/** ICMP says something about a segment of ours: @segment is the first 8 bytes of our TCP header.
 *  @err  -MIR_ECONNREFUSED, -MIR_EHOSTUNREACH, -MIR_ENETUNREACH, -MIR_ETOOBIG (@mtu is valid). */
void mir__tcp_icmp_error(struct mir_net *net, const struct mir_ip *local,
                         const struct mir_ip *remote, const uint8_t segment[8], int err,
                         uint16_t mtu);
extern const struct mir_tcp_ops mir__tcp_ops;
/** Is there a congestion control of this name? */
bool mir__tcp_has_congestion(const char *name);
/** Another congestion control for one connection, which keeps its window. Returns 0, -MIR_ENOENT
 * (no such), -MIR_ENOTSUP (a connection of the host's stack). */
int mir__tcp_set_congestion(struct mir_tcp *tcp, const char *name) MIR_CHECK;
int mir__tcp_listen(struct mir_stack *stack, const struct mir_tcp_listen_config *config,
                    struct mir_tcp_listener **listener) MIR_CHECK;
void mir__tcp_unlisten(struct mir_tcp_listener *listener);
int mir__tcp_connect(struct mir_stack *stack, const struct mir_endpoint *remote,
                     mir_tcp_handler_fn handler, void *arg, struct mir_tcp **tcp) MIR_CHECK;
/** As mir__tcp_connect(), from @local: an address of ours or any, a port or 0. Beyond its errors
 *  -MIR_EADDRNOTAVAIL (not our address), -MIR_EADDRINUSE (that pair is connected). */
int mir__tcp_connect_from(struct mir_stack *stack, const struct mir_endpoint *local,
                          const struct mir_endpoint *remote, struct mir_tcp **tcp) MIR_CHECK;
int mir__tcp_connect_data(struct mir_stack *stack, const struct mir_tcp_connect_config *config,
                          size_t *queued_len, struct mir_tcp **tcp) MIR_CHECK;
void mir__tcp_stats(struct mir_net *net, void (*line)(void *arg, const char *name, uint64_t value),
                    void *arg);

/* ---- udp.c, udp_input.c, udp_output.c
 * -------------------------------------------------------------------------------- */

int mir__udp_init(struct mir_net *net, const struct mir_net_config *config) MIR_CHECK;
void mir__udp_fini(struct mir_net *net);
void mir__udp_input(struct mir_net *net, const struct mir__ip_meta *meta,
                    MIR_GIVE struct mir_buf *buf_given);
/** As mir__tcp_icmp_error(), for a datagram of ours. */
void mir__udp_icmp_error(struct mir_net *net, const struct mir_ip *local,
                         const struct mir_ip *remote, const uint8_t segment[8], int err,
                         uint16_t mtu);
int mir__udp_open(struct mir_stack *stack, const struct mir_udp_config *config,
                  struct mir_udp **udp) MIR_CHECK;

/* ---- icmp4.c ------------------------------------------------------------------------------ */

/** Answer a packet (its IP header still at buf->start + network_offset) with an error, if RFC 1122
 *  section 3.2.2 and the rate limit allow; borrowed. @mtu for type 3 code 4. */
void mir__icmp4_send_error(struct mir_net *net, const struct mir__ip_meta *meta,
                           const struct mir_buf *buf, uint8_t type, uint8_t code, uint16_t mtu);

/* struct mir_net and struct mir__iface are completed in lib/net/net_state.h, by the files that
 * need their fields. TCP reaches its own state through mir__net_tcp(). */
struct mir__tcp_state *mir__net_tcp(struct mir_net *net);
/** Is @port one of those that this stack may choose? */
bool mir__net_may_choose(const struct mir_net *net, uint16_t port);
/** mir__tcp_init() allocates its state (from mir_net_stack(net)->pages) and keeps it here. */
void mir__net_set_tcp(struct mir_net *net, struct mir__tcp_state *state);
struct mir_rng *mir__net_rng(struct mir_net *net);
struct mir_net *mir__net_of_stack(struct mir_stack *stack);
struct mir__net_counters *mir__net_counters(struct mir_net *net);

/** Tell [count] counters, which stand one after the other as their @names do, each with its NUL. */
void mir__net_put_counters(const char *names, const uint64_t *values, size_t count,
                           void (*line)(void *arg, const char *name, uint64_t value), void *arg);

#endif
