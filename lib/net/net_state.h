/* SPDX-License-Identifier: ISC */
/* The stack object in full, and what the files below TCP know of each other.
 *
 *   struct mir_net ── ifaces[] ── struct mir__iface ── addresses, groups, dhcp client, ...
 *        │
 *        ├── ifaddr  addresses of all interfaces, by hash
 *        ├── group   multicast groups of all interfaces, by hash
 *        ├── route   the routing table
 *        ├── pmtu    path MTUs
 *        ├── neigh   neighbours of all interfaces, one hash table
 *        ├── dnsinfo name servers and domains that were told
 *        ├── reass   datagrams being put together
 *        ├── icmp    token bucket for errors
 *        ├── udp     bound sockets
 *        ├── self    packets to ourselves
 *        └── tcp     TCP's own state, opaque here
 */
#ifndef LIB_NET_NET_STATE_H
#define LIB_NET_NET_STATE_H

#include <mirari/bytes.h>
#include <mirari/log.h>

#include "lib/net/acd4.h"
#include "lib/net/dnsinfo.h"
#include "lib/net/ifaddr.h"
#include "lib/net/igmp.h"
#include "lib/net/internal.h"
#include "lib/net/nd6.h"
#include "lib/net/neigh.h"
#include "lib/net/route.h"
#include "lib/net/udp_state.h"
#include "lib/wire/arp.h"
#include "lib/wire/csum.h"
#include "lib/wire/dhcp.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/icmp6.h"
#include "lib/wire/ip4.h"
#include "lib/wire/ip6.h"
#include "lib/wire/udp.h"

/* ---- arp.c -------------------------------------------------------------------------------- */

#define MIR__ARP_RETRY_US (1 * MIR_US_PER_S)
#define MIR__ARP_FRESH_US (60 * MIR_US_PER_S)

void mir__arp_input(struct mir_net *net, struct mir__iface *iface, MIR_GIVE struct mir_buf *given);
/** Send, queue or refuse an IP packet whose neighbour is not fresh. Room for the Ethernet header
 *  is in front. */
int mir__arp_output(struct mir_net *net, struct mir__route *route,
                    MIR_GIVE struct mir_buf *buf_given);
/** Ask whether somebody has @ip, as one who has no address (RFC 5227 section 2.1.1). */
void mir__arp_send_probe(struct mir__iface *iface, uint32_t ip);
/** Tell everybody that @ip is ours, once (section 2.3). */
void mir__arp_send_announcement(struct mir__iface *iface, uint32_t ip);
/** Ask for a neighbour that will be needed soon, if it is on this link and not known. */
void mir__arp_warm(struct mir__iface *iface, uint32_t ip);
/** Forget the neighbours of an interface. */
void mir__arp_forget(struct mir_net *net, const struct mir__iface *iface);

/* ---- dhcp.c ------------------------------------------------------------------------------- */

enum mir__dhcp_state {
    MIR__DHCP_OFF,
    MIR__DHCP_REBOOTING,  /* REQUEST for the address of last time sent */
    MIR__DHCP_SELECTING,  /* DISCOVER sent */
    MIR__DHCP_REQUESTING, /* REQUEST sent */
    MIR__DHCP_PROBING,    /* ACK received; is the address free? */
    MIR__DHCP_WAITING,    /* after a DECLINE or a NAK: pause */
    MIR__DHCP_BOUND,
    MIR__DHCP_RENEWING,
    MIR__DHCP_REBINDING,
    MIR__DHCP_FOLLOWING, /* another stack asks and tells us */
};

struct mir__dhcp_client {
    enum mir__dhcp_state state;
    uint32_t xid;
    uint32_t tries;
    mir_time_us begin_us; /* of the exchange, for secs */
    mir_time_us sent_us;  /* last REQUEST: lease times count from it */
    struct mir_timer timer;
    struct mir__acd4 acd; /* while PROBING */
    const char *hostname;
    bool keeps_lease; /* no RELEASE at the end */
    uint32_t ip;      /* leased and in use; 0 = none */
    uint32_t offered_ip;
    uint32_t server_id;
    mir_time_us t1_us, t2_us, expire_us;
    struct mir__dhcp lease; /* the ACK */
};

/** Begin; the address comes later, unless the configuration has a lease. */
void mir__dhcp_start(struct mir__iface *iface, const struct mir_net_if_config *config);
/** Release the lease (RFC 2131 section 4.4.6) and stop. */
void mir__dhcp_stop(struct mir__iface *iface);
/** The link came back: is the lease still right? */
void mir__dhcp_link_up(struct mir__iface *iface);
/** A datagram from port 67 to port 68; payload at buf->data. */
void mir__dhcp_input(struct mir__iface *iface, const struct mir__ip_meta *meta,
                     MIR_GIVE struct mir_buf *buf_given);
/** Somebody else insists on the address that we have leased. */
void mir__dhcp_conflict(struct mir__iface *iface);
static inline bool mir__dhcp_wants_input(const struct mir__dhcp_client *dhcp)
{
    return dhcp->state != MIR__DHCP_OFF && dhcp->state != MIR__DHCP_FOLLOWING;
}

/** Fill in who we are and send @msg; 255.255.255.255 needs no route (dhcp_send.c). */
void mir__dhcp_send(struct mir__iface *iface, struct mir__dhcp *msg, uint32_t dst_ip);

/* ---- iface.c ------------------------------------------------------------------------------ */

#define MIR__AHEAD_FRAMES 16u

/** Frames of a batch that wait for the memory of their connections (ahead.c). */
struct mir__ahead {
    struct mir_buf *frames[MIR__AHEAD_FRAMES];
    uint32_t hash[MIR__AHEAD_FRAMES];
    bool is_new[MIR__AHEAD_FRAMES]; /* not for the connection of the frame before */
    uint8_t flow[36];               /* addresses and ports of the last frame */
    uint8_t flow_len;               /* of an address; 0: no frame yet */
    uint8_t count;
    bool is_on; /* in this batch */
};

struct mir__iface {
    struct mir_net *net;
    struct mir_net_dev *dev;
    uint8_t mac[6];
    uint16_t mtu;     /* the device's, or less by DHCP */
    uint16_t mtu6;    /* for IPv6: the device's, or less by a router (RFC 4861 section 6.3.4) */
    uint8_t hops6;    /* hop limit that routers ask for; 0 = 64 */
    uint8_t ip6_mode; /* enum mir_ip6_mode */
    bool ip6_no_dad;  /* addresses are not tested before use */
    uint32_t index;
    struct mir_list addresses; /* struct mir__ifaddr.link, oldest first, both families */
    struct mir_list groups;    /* struct mir__group.link */
    struct mir__igmp_state igmp;
    /* Copy of the first IPv4 address, for the fast path. */
    uint32_t ip; /* 0 = none; host order like all below */
    uint32_t mask;
    uint32_t broadcast; /* directed; 0 = none (prefix 31, 32) */
    uint32_t gateway;   /* 0 = none */
    uint32_t set_ip;    /* by mir__iface_set_address(), and still there; 0 = none */
    bool is_started;
    bool has_tx_pending;
    bool has_flush;
    bool is_tx_full;           /* tx_room() said 0 to TCP, tx_ready() did not come yet */
    uint8_t acd_mode;          /* enum mir_net_acd */
    struct mir_list acd4s;     /* struct mir__acd4.link: addresses probed and held */
    struct mir__acd4 acd;      /* of the first IPv4 address */
    mir_time_us defended_us;   /* another one of several */
    uint8_t probed_prefix_len; /* of an address by hand that is being probed */
    uint32_t probed_gateway;
    struct mir__linklocal4 linklocal4;
    struct mir__ahead ahead;
    struct mir__neigh to_all; /* broadcast, always fresh */
    struct mir__dhcp_client dhcp;
    struct mir__nd6 nd6;
    struct mir__slaac slaac;
    struct mir__mld6 mld6;
    struct mir__dhcp6 dhcp6;
};

/** Set or remove (@ip 0) the IPv4 address of DHCP or of the configuration, which then is the first,
 *  and the IPv4 default route that came with it; neighbours and routes are looked up again. Other
 *  addresses of the interface stay. */
void mir__iface_set_address(struct mir__iface *iface, uint32_t ip, uint8_t prefix_len,
                            uint32_t gateway);
/** The same after a test whether the address is free, if that is wished. */
void mir__iface_take_address(struct mir__iface *iface, uint32_t ip, uint8_t prefix_len,
                             uint32_t gateway);
/** Watches of the interface's addresses, before anything is sent. */
void mir__iface_init_watches(struct mir__iface *iface, const struct mir_net_if_config *config);
/** Give a whole frame to the device. Returns the device's answer. */
int mir__iface_tx(struct mir__iface *iface, MIR_GIVE struct mir_buf *buf_given);
int mir__iface_start(struct mir__iface *iface) MIR_CHECK;
void mir__iface_stop(struct mir__iface *iface);
/** Flush what this step or batch has sent, on all interfaces. */
void mir__iface_flush_all(struct mir_net *net);
static inline bool mir__iface_is_on_link(const struct mir__iface *iface, uint32_t ip)
{
    return iface->ip != 0 && ((ip ^ iface->ip) & iface->mask) == 0;
}

/* ---- self.c ------------------------------------------------------------------------------- */

/** The interface of packets to ourselves; it is not one of net->ifaces. */
struct mir__self {
    struct mir_net *net;
    struct mir_net_dev dev;
    struct mir__iface iface;
    struct mir__neigh neigh4, neigh6; /* always fresh */
    struct mir_buf_queue queue;
    struct mir_work work;
    bool was_full; /* somebody was told that there is no room */
};

void mir__self_init(struct mir_net *net);
void mir__self_fini(struct mir_net *net);
/** Does a packet to @ip come to ourselves: an address of ours in use, 127.0.0.0/8, ::1? */
bool mir__self_is(const struct mir_net *net, const struct mir_ip *ip);
/** The route to such an address. */
void mir__self_route(struct mir_net *net, const struct mir_ip *dst, struct mir__route *route);
/** The address to speak to it from, if none was chosen. */
void mir__self_source(const struct mir_ip *dst, struct mir_ip *src);

/* ---- ahead.c ------------------------------------------------------------------------------ */

/** Keep the frame for now. True: take them all. */
bool mir__ahead_hold(struct mir__iface *iface, MIR_GIVE struct mir_buf *buf_given) MIR_CHECK;
/** Move the frames that are held to @frames, oldest first. Returns how many. */
uint32_t mir__ahead_take(struct mir__iface *iface,
                         struct mir_buf *frames[MIR__AHEAD_FRAMES]) MIR_CHECK;
void mir__ahead_release(struct mir__iface *iface);

/* ---- ip6.c -------------------------------------------------------------------------------- */

/** An IPv6 packet; buf->data at the IP header, flags tell a link multicast. */
void mir__ip6_input(struct mir_net *net, struct mir__iface *iface,
                    MIR_GIVE struct mir_buf *buf_given);
/** A datagram put together from fragments; buf->data behind the headers that all of them had, @next
 *  says what is there and @next_at where that number is, from the IP header. */
void mir__ip6_deliver(struct mir_net *net, const struct mir__ip_meta *meta, uint8_t next,
                      uint32_t next_at, MIR_GIVE struct mir_buf *buf_given);
/** As mir__ip_output(), for a route of IPv6. */
int mir__ip6_output(struct mir_net *net, struct mir__route *route,
                    const struct mir__ip_params *params, MIR_GIVE struct mir_buf *buf_given);
/** Prepend an IPv6 header in front of what is there. */
void mir__ip6_push_header(struct mir_buf *buf, const struct mir__route *route,
                          const struct mir__ip_params *params, uint8_t next);
/** The address to speak to @dst from over @iface (RFC 6724); false: there is none. */
bool mir__ip6_select_source(const struct mir__iface *iface, const struct mir_ip *dst,
                            struct mir_ip *src);

/** The same with addresses that are still being tested among them. */
bool mir__ip6_select_soon(const struct mir__iface *iface, const struct mir_ip *dst,
                          struct mir_ip *src);

/* ---- nd6.c, mld6.c ------------------------------------------------------------------------- */

/** IPv6 begins on @iface: it makes its link-local address and asks for routers. */
void mir__nd6_iface_start(struct mir__iface *iface);
/** It ends: timers stop, what was learned is forgotten. */
void mir__nd6_iface_stop(struct mir__iface *iface);
/** Is @addr free? Ends by setting its state. */
void mir__nd6_dad_start(struct mir__ifaddr *addr);
/** The timer of such a test. */
void mir__nd6_dad_timer(struct mir__ifaddr *addr);
/** Neighbour and router messages, checksum verified; buf->data at the ICMPv6 header. */
void mir__nd6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                    MIR_GIVE struct mir_buf *buf_given);
/** Link output of a packet with its IPv6 header, to route->next_hop6. */
int mir__nd6_output(struct mir_net *net, struct mir__route *route,
                    MIR_GIVE struct mir_buf *buf_given);
/** Multicast listener messages, as mir__nd6_input(). */
void mir__mld6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                     MIR_GIVE struct mir_buf *buf_given);

/* ---- icmp6.c ------------------------------------------------------------------------------ */

/** buf->data at the ICMPv6 header. */
void mir__icmp6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                      MIR_GIVE struct mir_buf *buf_given);
/** Answer a packet (its IPv6 header still at buf->start + network_offset) with an error, if RFC
 *  4443 section 2.4 and the rate limit allow; borrowed. @rest is the word behind the checksum: MTU
 *  or pointer. */
void mir__icmp6_send_error(struct mir_net *net, const struct mir__ip_meta *meta,
                           const struct mir_buf *buf, uint8_t type, uint8_t code, uint32_t rest);
/** Tell the transport that sent the IPv6 packet [ip, ip+len) that it did not arrive. */
void mir__icmp6_tell_transport(struct mir_net *net, const uint8_t *ip, size_t len, int err,
                               uint16_t mtu);

/* ---- ip4.c, frag.c, reass.c --------------------------------------------------------------- */

#define MIR__IP4_MTU_MIN 68u

static inline bool mir__ip4_is_multicast(uint32_t ip)
{
    return ip >> 28 == 0xe;
}
static inline bool mir__ip4_is_loopback(uint32_t ip)
{
    return ip >> 24 == 127;
}
/** Can it be one host's address? Not 0/8, 127/8, multicast, reserved or broadcast. */
static inline bool mir__ip4_is_host(uint32_t ip)
{
    return ip >> 24 != 0 && !mir__ip4_is_loopback(ip) && ip >> 28 < 0xe;
}

/** An IP packet; buf->data at the IP header, flags tell a link broadcast. */
void mir__ip4_input(struct mir_net *net, struct mir__iface *iface,
                    MIR_GIVE struct mir_buf *buf_given);
/** A whole datagram; buf->data at the transport header. */
void mir__ip4_deliver(struct mir_net *net, const struct mir__ip_meta *meta, uint8_t protocol,
                      MIR_GIVE struct mir_buf *buf_given);
/** Prepend an IPv4 header; @fragment_word as on the wire. */
void mir__ip4_push_header(struct mir_buf *buf, const struct mir__ip_params *params, uint16_t id,
                          uint16_t fragment_word);
/** An identification that has not been used for long and cannot be guessed (RFC 6864, 7739). */
uint16_t mir__ip4_next_id(struct mir_net *net);
/** Link output of a packet with its IP header. */
int mir__ip4_send(struct mir_net *net, struct mir__route *route,
                  MIR_GIVE struct mir_buf *buf_given);
/** Send a packet in pieces; buf->data at the transport header. */
int mir__frag_output(struct mir_net *net, struct mir__route *route,
                     const struct mir__ip_params *params, MIR_GIVE struct mir_buf *buf_given);

#define MIR__REASS_DATAGRAMS_MAX 64u
#define MIR__REASS_FRAGMENTS_MAX 128u
#define MIR__REASS4_TIMEOUT_US   (30 * MIR_US_PER_S)
#define MIR__REASS6_TIMEOUT_US   (60 * MIR_US_PER_S) /* RFC 8200 section 4.5 */

struct mir__reass_state {
    struct mir_list datagrams; /* oldest first */
    struct mir_pool pool;
    struct mir_timer timer;
    uint32_t count;
    uint32_t bytes;
    uint32_t bytes_max;
};

int mir__reass_init(struct mir_net *net, uint32_t bytes_max) MIR_CHECK;
void mir__reass_fini(struct mir_net *net);

/** What a fragment says of itself. */
struct mir__fragment {
    uint32_t id;
    uint16_t offset;     /* of its payload in the datagram's */
    uint16_t header_len; /* bytes in front of its payload, from the IP header on */
    uint16_t next_at;    /* IPv6: where the number of the fragment header is */
    uint8_t protocol;    /* of the datagram; IPv6: the header behind the fragment header */
    bool more;
};

/** A fragment; buf->data at the IP header, the headers in the linear part. Delivers the datagram
 *  when it is whole. */
void mir__reass4_input(struct mir_net *net, const struct mir__ip_meta *meta,
                       MIR_GIVE struct mir_buf *buf_given);
void mir__reass6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                       const struct mir__fragment *fragment, MIR_GIVE struct mir_buf *buf_given);

/* ---- icmp4.c ------------------------------------------------------------------------------ */

#define MIR__ICMP_BURST      50u
#define MIR__ICMP_PER_SECOND 100u

struct mir__icmp_state {
    uint32_t tokens;
    mir_time_us filled_us;
};

/** Take one of the errors that may be sent now; both families share them. */
bool mir__icmp_take_token(struct mir_net *net);
/** The answer to an echo request of either family: its bytes with @type, the checksum adjusted
 *  (RFC 1624); the caller's. NULL: no memory or no room in the device, counted. */
struct mir_buf *mir__icmp_echo_reply(struct mir_net *net, const struct mir__ip_meta *meta,
                                     const struct mir_buf *request, uint8_t type);
void mir__icmp4_input(struct mir_net *net, const struct mir__ip_meta *meta,
                      MIR_GIVE struct mir_buf *buf_given);
/** Tell the transport that sent the packet [ip, ip+len) that it did not arrive. */
void mir__icmp4_tell_transport(struct mir_net *net, const uint8_t *ip, size_t len, int err,
                               uint16_t mtu);

/* ---- look.c ------------------------------------------------------------------------------- */

uint32_t mir__net_next_flows(struct mir_stack *stack, struct mir_net_walk *walk,
                             struct mir_net_flow *out, uint32_t max);
/** Show a frame to those who look; only if net->has_taps. */
void mir__net_show(struct mir__iface *iface, bool is_out, const struct mir_buf *buf);

/* ---- net.c -------------------------------------------------------------------------------- */

struct mir_net {
    struct mir_stack stack;
    struct mir__net_counters counters;
    struct mir_loop *loop;
    struct mir_buf_pool *bufs;
    struct mir_page_pool *pages;
    struct mir_rng *rng;
    struct mir_io_page *page; /* this structure's own */
    struct mir__iface ifaces[MIR__IFACES_MAX];
    struct mir__self self;
    uint32_t iface_count;
    uint32_t route_generation; /* never 0 */
    uint16_t ip_id;
    uint32_t ip6_id;
    uint32_t ip_id_key;
    uint16_t port_share, port_shares; /* of ports that are chosen; 0, 0: all */
    bool is_in_batch;                 /* between a device's first rx and its rx_end */
    bool is_tx_pending;               /* some interface has_tx_pending */
    bool has_taps;
    struct mir_list taps; /* struct mir_net_tap */
    struct mir_step_hook flush_hook;
    struct mir_work flush_work;
    struct mir__neigh_table neigh;
    struct mir__dnsinfo dnsinfo;
    struct mir__ifaddr_state_table ifaddr;
    struct mir__group_state group;
    struct mir__route_state route;
    struct mir__pmtu_state pmtu;
    struct mir__reass_state reass;
    struct mir__icmp_state icmp;
    struct mir__udp_state udp;
    struct mir__tcp_state *tcp;
};

/** Addresses or neighbours changed: kept routes are no longer valid. */
static inline void mir__net_routes_changed(struct mir_net *net)
{
    if (++net->route_generation == 0)
        net->route_generation = 1;
}

/** The interface that the API calls @if_index: from 1, 0 = the one added first. NULL: none. */
static inline struct mir__iface *mir__net_iface(const struct mir_net *net, uint32_t if_index)
{
    uint32_t at = if_index != 0 ? if_index - 1 : 0;
    return at < net->iface_count ? (struct mir__iface *)(uintptr_t)&net->ifaces[at] : NULL;
}

#endif
