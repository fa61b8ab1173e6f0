/* SPDX-License-Identifier: ISC */
/* A router: forwards IPv4 and IPv6 between its ports.
 *
 * A frame for one of its own addresses' MAC is looked at:
 *
 *   checksum, lengths -> own address? -> TTL - 1 -> longest prefix -> neighbour -> MTU -> out
 *
 * Routes are a binary trie over 128 bits, IPv4 as ::ffff:a.b.c.d, so a look-up costs at most as
 * many steps as the longest prefix has bits. Neighbours are told by whoever builds the network, and
 * learned from ARP, neighbour solicitations and advertisements. It answers ARP, neighbour
 * solicitations and echo requests for its own addresses.
 *
 * A port that advertises answers router solicitations with its prefix, for hosts that configure
 * themselves (RFC 4861 section 6.2, RFC 4862). It does not advertise unasked, so it says the
 * longest lifetimes there are. Who is behind an address of that prefix it asks when a packet for
 * it comes; the packet itself is dropped. Elsewhere nobody is asked.
 *
 * Errors: time exceeded, destination unreachable (no route, no neighbour), fragmentation needed or
 * packet too big with the MTU; never about an ICMP error, a later fragment or a group address (RFC
 * 1812 section 4.3.2.7, RFC 4443 section 2.4). An IPv4 packet without DF is fragmented instead.
 *
 * It takes no time; queues belong to wires. IPv4 options are passed on unread.
 *
 * Source: RFC 1812 sections 4.2.2.9, 5.2, 5.3; RFC 792; RFC 8200 section 3; RFC 4443; RFC 4861 7.2
 */
#include "target/sim/internal.h"

#include <mirari/bytes.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/wire/arp.h"
#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/ip4.h"

#define ETH        14u
#define QUOTED4    576u
#define QUOTED6    1232u
#define PORTS_MAX  4096u
#define NEIGHBOURS 512u /* buckets */
#define TTL        64

enum { ICMP = 1, ICMP6 = 58 };
enum { V6_UNREACHABLE = 1, V6_TOO_BIG = 2, V6_TIME = 3, V6_ECHO = 128, V6_REPLY = 129 };
enum { V6_ROUTER_SOLICIT = 133, V6_ROUTER_ADVERT = 134, V6_SOLICIT = 135, V6_ADVERT = 136 };

struct neighbour {
    struct neighbour *next;
    struct mir_ip ip;
    uint8_t mac[6];
};

struct route {
    struct mir_ip via; /* any: on the link */
    uint32_t port;
};

struct trie {
    struct trie *child[2];
    struct route *route;
};

struct port {
    struct mir_sim_plug plug; /* first */
    uint8_t mac[6];
    uint16_t mtu;
    struct mir_ip ip4, ip6, link_local; /* any: none */
    bool advertises;                    /* the prefix of ip6, 64 bits long */
};

struct mir_sim_router {
    struct mir_sim *sim;
    struct mir_list link;
    const char *name;
    uint32_t port_count;
    struct port *port[PORTS_MAX];
    struct trie root;
    struct neighbour *neighbour[NEIGHBOURS];
    uint16_t next_id;
    struct mir_sim_router_stats stats;
};

static const struct mir_ip any4 = {{[10] = 0xff, 0xff}};

/* ---- making -------------------------------------------------------------------------------------
 */

int mir_sim_add_router(struct mir_sim *sim, const char *name, struct mir_sim_router **out)
{
    struct mir_sim_router *router = calloc(1, sizeof *router);
    if (router == NULL)
        return -MIR_ENOMEM;
    router->sim = sim;
    router->name = name;
    mir_list_push_back(&sim->routers, &router->link);
    *out = router;
    return 0;
}

static void link_local_of(const uint8_t mac[6], struct mir_ip *ip)
{
    *ip = (struct mir_ip){{0xfe, 0x80}};
    ip->bytes[8] = mac[0] ^ 2;
    ip->bytes[9] = mac[1];
    ip->bytes[10] = mac[2];
    ip->bytes[11] = 0xff;
    ip->bytes[12] = 0xfe;
    memcpy(ip->bytes + 13, mac + 3, 3);
}

int mir_sim_router_plug(struct mir_sim_router *router, const struct mir_sim_router_port *config,
                        struct mir_sim_plug **plug)
{
    if (router->port_count == PORTS_MAX)
        return -MIR_ELIMIT;
    struct port *port = calloc(1, sizeof *port);
    if (port == NULL)
        return -MIR_ENOMEM;
    uint32_t number = ++router->sim->plug_count;
    port->plug = (struct mir_sim_plug){
        .sim = router->sim, .index = number, .router = router, .router_port = router->port_count};
    port->mtu = config->mtu != 0 ? config->mtu : 1500;
    port->ip4 = config->ip4;
    port->ip6 = config->ip6;
    port->advertises = config->advertises;
    uint8_t mac[6] = {2, 1, 0, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number};
    memcpy(port->mac, mac, 6);
    link_local_of(mac, &port->link_local);
    router->port[router->port_count++] = port;
    *plug = &port->plug;
    return 0;
}

void mir_sim_router_mtu(struct mir_sim_plug *plug, uint16_t mtu)
{
    MIR_ASSERT(plug->router != NULL);
    plug->router->port[plug->router_port]->mtu = mtu;
}

static unsigned bit_of(const struct mir_ip *ip, uint32_t at)
{
    return ip->bytes[at / 8] >> (7 - at % 8) & 1;
}

int mir_sim_router_route(struct mir_sim_router *router, const struct mir_ip *prefix,
                         uint32_t prefix_bits, const struct mir_ip *via, uint32_t port)
{
    struct trie *at = &router->root;
    for (uint32_t i = 0; i < prefix_bits; i++) {
        struct trie **child = &at->child[bit_of(prefix, i)];
        if (*child == NULL)
            *child = calloc(1, sizeof **child);
        if (*child == NULL)
            return -MIR_ENOMEM;
        at = *child;
    }
    if (at->route == NULL)
        at->route = calloc(1, sizeof *at->route);
    if (at->route == NULL)
        return -MIR_ENOMEM;
    *at->route = (struct route){via != NULL ? *via : (struct mir_ip){{0}}, port};
    return 0;
}

static struct neighbour **bucket_of(struct mir_sim_router *router, const struct mir_ip *ip)
{
    uint64_t low;
    memcpy(&low, ip->bytes + 8, 8);
    return &router->neighbour[low * 0x9e3779b97f4a7c15ull >> 55 & (NEIGHBOURS - 1)];
}

void mir_sim_router_neighbour(struct mir_sim_router *router, const struct mir_ip *ip,
                              const uint8_t mac[6])
{
    struct neighbour **bucket = bucket_of(router, ip);
    struct neighbour *at = *bucket;
    while (at != NULL && !mir_ip_equal(&at->ip, ip))
        at = at->next;
    if (at == NULL) {
        at = calloc(1, sizeof *at);
        MIR_ASSERT(at != NULL);
        at->ip = *ip;
        at->next = *bucket;
        *bucket = at;
    }
    memcpy(at->mac, mac, 6);
}

void mir_sim_router_get_stats(const struct mir_sim_router *router,
                              struct mir_sim_router_stats *stats)
{
    *stats = router->stats;
}

static void free_trie(struct trie *at)
{
    for (unsigned i = 0; i < 2; i++) {
        if (at->child[i] != NULL) {
            free_trie(at->child[i]);
            free(at->child[i]);
        }
    }
    free(at->route);
}

void mir__sim_routers_close(struct mir_sim *sim)
{
    for (struct mir_list *link; (link = mir_list_pop_front(&sim->routers)) != NULL;) {
        struct mir_sim_router *router = MIR_CONTAINER_OF(link, struct mir_sim_router, link);
        for (uint32_t i = 0; i < router->port_count; i++)
            free(router->port[i]);
        for (uint32_t i = 0; i < NEIGHBOURS; i++) {
            for (struct neighbour *at = router->neighbour[i], *next; at != NULL; at = next) {
                next = at->next;
                free(at);
            }
        }
        free_trie(&router->root);
        free(router);
    }
}

/* ---- sending ------------------------------------------------------------------------------------
 */

static const struct route *look_up(const struct mir_sim_router *router, const struct mir_ip *ip)
{
    const struct route *best = router->root.route;
    const struct trie *at = &router->root;
    for (uint32_t i = 0; i < 128; i++) {
        at = at->child[bit_of(ip, i)];
        if (at == NULL)
            break;
        if (at->route != NULL)
            best = at->route;
    }
    return best;
}

bool mir__sim_router_has(const struct mir_sim_router *router, const struct mir_ip *prefix,
                         uint32_t prefix_bits)
{
    const struct trie *at = &router->root;
    for (uint32_t i = 0; i < prefix_bits && at != NULL; i++)
        at = at->child[bit_of(prefix, i)];
    return at != NULL && at->route != NULL;
}

static const struct neighbour *find_neighbour(struct mir_sim_router *router,
                                              const struct mir_ip *ip)
{
    const struct neighbour *at = *bucket_of(router, ip);
    while (at != NULL && !mir_ip_equal(&at->ip, ip))
        at = at->next;
    return at;
}

static void put_ethernet(uint8_t *frame, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
    memcpy(frame, dst, 6);
    memcpy(frame + 6, src, 6);
    mir_put_be16(frame + 12, type);
}

/* A new frame of the router's own, as a packet behind an Ethernet header. */
static struct mir__sim_frame *new_packet(struct mir_sim_router *router, uint32_t packet_len)
{
    struct mir__sim_frame *frame = mir__sim_frame_alloc(router->sim, ETH + packet_len);
    memset(frame->data, 0, ETH + packet_len);
    return frame;
}

static void put_ip4(uint8_t *ip, const struct mir_ip *src, const struct mir_ip *dst,
                    uint32_t packet_len, uint8_t protocol)
{
    struct mir__ip4 value = {.ttl = TTL,
                             .protocol = protocol,
                             .total_len = (uint16_t)packet_len,
                             .src = mir_ip_to_v4(src),
                             .dst = mir_ip_to_v4(dst)};
    mir__ip4_emit(&value, ip);
}

static void put_ip6(uint8_t *ip, const struct mir_ip *src, const struct mir_ip *dst,
                    uint32_t payload_len, uint8_t hop_limit)
{
    mir_put_be32(ip, 6u << 28);
    mir_put_be16(ip + 4, (uint16_t)payload_len);
    ip[6] = ICMP6;
    ip[7] = hop_limit;
    memcpy(ip + 8, src->bytes, 16);
    memcpy(ip + 24, dst->bytes, 16);
}

static void put_icmp6_sum(uint8_t *ip, uint32_t len)
{
    struct mir_ip src, dst;
    memcpy(src.bytes, ip + 8, 16);
    memcpy(dst.bytes, ip + 24, 16);
    mir_put_be16(ip + 42, 0);
    uint16_t sum = (uint16_t)~mir__csum_add(mir__csum_partial(ip + 40, len),
                                            mir__csum_pseudo(&src, &dst, ICMP6, len));
    memcpy(ip + 42, &sum, 2);
}

/* Send a packet of our own, answering on the port and to the station that @to came from. */
static void answer(struct port *port, const uint8_t *to_mac, struct mir__sim_frame *frame,
                   uint16_t type)
{
    put_ethernet(frame->data, to_mac, port->mac, type);
    mir__sim_transmit(&port->plug, frame);
}

/* ---- errors -------------------------------------------------------------------------------------
 */

static bool may_complain4(const uint8_t *ip)
{
    uint32_t dst = mir__ip4_dst(ip);
    uint32_t header = mir__ip4_header_len(ip);
    if (mir__ip4_offset(ip) != 0 || dst >> 28 == 14 || dst == 0xffffffff)
        return false;
    return mir__ip4_protocol(ip) != ICMP || !mir__icmp4_type_is_error(ip[header]);
}

static void complain4(struct port *port, const struct mir__sim_frame *about, uint8_t type,
                      uint8_t code, uint32_t rest)
{
    struct mir_sim_router *router = port->plug.router;
    const uint8_t *ip = about->data + ETH;
    if (!may_complain4(ip) || mir_ip_is_any(&port->ip4))
        return;
    uint32_t quoted = MIR_MIN((uint32_t)mir__ip4_total_len(ip), QUOTED4 - 28);
    struct mir__icmp4 icmp = {type, code, rest, ip, quoted};
    struct mir__sim_frame *frame = new_packet(router, 28 + quoted);
    struct mir_ip to = mir_ip_from_v4(mir__ip4_src(ip));
    put_ip4(frame->data + ETH, &port->ip4, &to, 28 + quoted, ICMP);
    mir__icmp4_emit(&icmp, frame->data + ETH + 20);
    answer(port, about->data + 6, frame, 0x0800);
    router->stats.errors_out++;
}

static void complain6(struct port *port, const struct mir__sim_frame *about, uint8_t type,
                      uint8_t code, uint32_t rest)
{
    struct mir_sim_router *router = port->plug.router;
    const uint8_t *ip = about->data + ETH;
    if (ip[24] == 0xff || ip[8] == 0xff || (ip[6] == ICMP6 && ip[40] < 128))
        return;
    uint32_t quoted = MIR_MIN(40u + mir_get_be16(ip + 4), QUOTED6);
    struct mir__sim_frame *frame = new_packet(router, 48 + quoted);
    uint8_t *out = frame->data + ETH;
    struct mir_ip to;
    memcpy(to.bytes, ip + 8, 16);
    put_ip6(out, mir_ip_is_any(&port->ip6) ? &port->link_local : &port->ip6, &to, 8 + quoted, TTL);
    out[40] = type;
    out[41] = code;
    mir_put_be32(out + 44, rest);
    memcpy(out + 48, ip, quoted);
    put_icmp6_sum(out, 8 + quoted);
    answer(port, about->data + 6, frame, 0x86dd);
    router->stats.errors_out++;
}

static void complain(struct port *port, const struct mir__sim_frame *about, bool is_v4,
                     const uint8_t v4[2], const uint8_t v6[2])
{
    if (is_v4)
        complain4(port, about, v4[0], v4[1], 0);
    else
        complain6(port, about, v6[0], v6[1], 0);
}

/* ---- forwarding ---------------------------------------------------------------------------------
 */

/* RFC 791 section 3.2: pieces of multiples of eight bytes. The frame has its Ethernet header. */
static void send_fragments(struct port *out, const struct mir__sim_frame *frame)
{
    struct mir_sim_router *router = out->plug.router;
    const uint8_t *ip = frame->data + ETH;
    uint32_t header = mir__ip4_header_len(ip);
    uint32_t len = mir__ip4_total_len(ip) - header;
    uint32_t piece = (out->mtu - header) & ~7u;
    uint16_t word = mir__ip4_fragment_word(ip);
    for (uint32_t at = 0; at < len; at += piece) {
        uint32_t part = MIR_MIN(piece, len - at);
        bool is_last = at + part == len;
        struct mir__sim_frame *copy = mir__sim_frame_alloc(router->sim, ETH + header + part);
        uint8_t *to = copy->data + ETH;
        memcpy(copy->data, frame->data, ETH + header);
        memcpy(to + header, ip + header + at, part);
        mir_put_be16(to + 2, (uint16_t)(header + part));
        mir_put_be16(to + 6, (uint16_t)((word & MIR__IP4_OFFSET) + at / 8) |
                                 (uint16_t)(word & MIR__IP4_MF) |
                                 (is_last ? 0 : (uint16_t)MIR__IP4_MF));
        mir_put_be16(to + 10, 0);
        uint16_t sum = (uint16_t)~mir__csum_partial(to, header);
        memcpy(to + 10, &sum, 2);
        mir__sim_transmit(&out->plug, copy);
        router->stats.fragments++;
    }
}

/* False: it is too large, and its sender has been told. */
static bool fits(struct port *in, struct port *out, struct mir__sim_frame *frame, bool is_v4)
{
    const uint8_t *ip = frame->data + ETH;
    uint32_t len = is_v4 ? mir__ip4_total_len(ip) : 40u + mir_get_be16(ip + 4);
    if (len <= out->mtu)
        return true;
    in->plug.router->stats.too_big++;
    if (!is_v4)
        complain6(in, frame, V6_TOO_BIG, 0, out->mtu);
    else if (mir__ip4_fragment_word(ip) & MIR__IP4_DF)
        complain4(in, frame, MIR__ICMP4_UNREACHABLE, MIR__ICMP4_FRAG_NEEDED, out->mtu);
    else
        return true;
    return false;
}

/* TTL and hop limit, with the checksum. False: it has come to its end. */
static bool age(struct mir__sim_frame *frame, bool is_v4)
{
    uint8_t *ip = frame->data + ETH;
    if (!is_v4)
        return ip[7] > 1 && ip[7]-- > 0;
    if (ip[8] <= 1)
        return false;
    uint16_t check, was, is;
    memcpy(&was, ip + 8, 2);
    ip[8]--;
    memcpy(&is, ip + 8, 2);
    memcpy(&check, ip + 10, 2);
    check = mir__csum_update(check, was, is);
    memcpy(ip + 10, &check, 2);
    return true;
}

static void put_multicast(uint8_t *mac, const struct mir_ip *group)
{
    mac[0] = mac[1] = 0x33;
    memcpy(mac + 2, group->bytes + 12, 4);
}

/* Who has @target? */
static void ask(struct port *port, const struct mir_ip *target)
{
    struct mir__sim_frame *out = new_packet(port->plug.router, 40 + 32);
    struct mir_ip group = {{0xff, 2, [11] = 1, [12] = 0xff}};
    uint8_t *to = out->data + ETH, mac[6];
    memcpy(group.bytes + 13, target->bytes + 13, 3);
    put_ip6(to, &port->link_local, &group, 32, 255);
    to[40] = V6_SOLICIT;
    memcpy(to + 48, target->bytes, 16);
    to[64] = 1;
    to[65] = 1;
    memcpy(to + 66, port->mac, 6);
    put_icmp6_sum(to, 32);
    put_multicast(mac, &group);
    answer(port, mac, out, 0x86dd);
}

/* Takes the frame only if it returns true. */
static bool forward(struct port *in, struct mir__sim_frame *frame, bool is_v4,
                    const struct mir_ip *dst)
{
    static const uint8_t time4[2] = {MIR__ICMP4_TIME_EXCEEDED, 0}, time6[2] = {V6_TIME, 0};
    static const uint8_t net4[2] = {MIR__ICMP4_UNREACHABLE, MIR__ICMP4_NET};
    static const uint8_t net6[2] = {V6_UNREACHABLE, 0};
    static const uint8_t host4[2] = {MIR__ICMP4_UNREACHABLE, MIR__ICMP4_HOST};
    static const uint8_t host6[2] = {V6_UNREACHABLE, 3};
    struct mir_sim_router *router = in->plug.router;
    const struct route *route = look_up(router, dst);
    if (route == NULL) {
        router->stats.no_route++;
        complain(in, frame, is_v4, net4, net6);
        return false;
    }
    if (!age(frame, is_v4)) {
        router->stats.expired++;
        complain(in, frame, is_v4, time4, time6);
        return false;
    }
    bool is_near = mir_ip_is_any(&route->via);
    const struct neighbour *next = find_neighbour(router, is_near ? dst : &route->via);
    struct port *out = router->port[route->port];
    if (next == NULL && !is_v4 && is_near && out->advertises) {
        router->stats.no_neighbour++;
        ask(out, dst);
        return false;
    }
    if (next == NULL) {
        router->stats.no_neighbour++;
        complain(in, frame, is_v4, host4, host6);
        return false;
    }
    if (!fits(in, out, frame, is_v4))
        return false;
    router->stats.forwarded++;
    put_ethernet(frame->data, next->mac, out->mac, is_v4 ? 0x0800 : 0x86dd);
    if (is_v4 && mir__ip4_total_len(frame->data + ETH) > out->mtu) {
        send_fragments(out, frame);
        return false;
    }
    mir__sim_transmit(&out->plug, frame);
    return true;
}

/* ---- what is for the router itself --------------------------------------------------------------
 */

static bool is_own(const struct mir_sim_router *router, const struct mir_ip *ip)
{
    for (uint32_t i = 0; i < router->port_count; i++) {
        const struct port *port = router->port[i];
        if (mir_ip_equal(&port->ip4, ip) || mir_ip_equal(&port->ip6, ip) ||
            mir_ip_equal(&port->link_local, ip))
            return true;
    }
    return false;
}

/* Somebody says who he is: believed if the address belongs to the link he says it on. */
static void learn(struct port *port, const struct mir_ip *ip, const uint8_t mac[6])
{
    const struct route *route = look_up(port->plug.router, ip);
    if (route != NULL && mir_ip_is_any(&route->via) && route->port == port->plug.router_port)
        mir_sim_router_neighbour(port->plug.router, ip, mac);
}

static void take_arp(struct port *port, const struct mir__sim_frame *frame)
{
    struct mir__arp arp;
    if (mir__arp_parse(frame->data + ETH, frame->len - ETH, &arp) < 0)
        return;
    struct mir_ip sender = mir_ip_from_v4(arp.sender_ip), target = mir_ip_from_v4(arp.target_ip);
    if (arp.sender_ip != 0)
        learn(port, &sender, arp.sender_mac);
    if (arp.op != MIR__ARP_REQUEST || !mir_ip_equal(&target, &port->ip4))
        return;
    struct mir__arp reply = {
        .op = MIR__ARP_REPLY, .sender_ip = arp.target_ip, .target_ip = arp.sender_ip};
    memcpy(reply.sender_mac, port->mac, 6);
    memcpy(reply.target_mac, arp.sender_mac, 6);
    struct mir__sim_frame *out = new_packet(port->plug.router, MIR__ARP_LEN);
    mir__arp_emit(&reply, out->data + ETH);
    answer(port, arp.sender_mac, out, MIR__ETH_TYPE_ARP);
}

static void echo4(struct port *port, const struct mir__sim_frame *frame)
{
    const uint8_t *ip = frame->data + ETH;
    uint32_t header = mir__ip4_header_len(ip);
    uint32_t len = mir__ip4_total_len(ip) - header;
    if (mir__ip4_protocol(ip) != ICMP || len < 8 || mir__ip4_is_fragment(ip) ||
        ip[header] != MIR__ICMP4_ECHO || mir__csum_partial(ip + header, len) != 0xffff)
        return;
    struct mir__sim_frame *out = new_packet(port->plug.router, 20 + len);
    struct mir_ip src = mir_ip_from_v4(mir__ip4_dst(ip)), dst = mir_ip_from_v4(mir__ip4_src(ip));
    struct mir__icmp4 icmp = {0, 0, mir_get_be32(ip + header + 4), ip + header + 8, len - 8};
    put_ip4(out->data + ETH, &src, &dst, 20 + len, ICMP);
    mir__icmp4_emit(&icmp, out->data + ETH + 20);
    answer(port, frame->data + 6, out, 0x0800);
}

static void answer_solicit(struct port *port, const struct mir__sim_frame *frame, uint32_t len)
{
    const uint8_t *ip = frame->data + ETH, *icmp = ip + 40;
    struct mir_ip target, src;
    memcpy(src.bytes, ip + 8, 16);
    memcpy(target.bytes, icmp + 8, 16);
    bool is_probe = mir_ip_is_any(&src);
    if (!is_probe && len >= 32 && icmp[24] == 1 && icmp[25] == 1)
        learn(port, &src, icmp + 26);
    if (!mir_ip_equal(&target, &port->ip6) && !mir_ip_equal(&target, &port->link_local))
        return;
    static const struct mir_ip all_nodes = {{0xff, 2, [15] = 1}};
    struct mir__sim_frame *out = new_packet(port->plug.router, 40 + 32);
    uint8_t *to = out->data + ETH;
    put_ip6(to, &target, is_probe ? &all_nodes : &src, 32, 255);
    to[40] = V6_ADVERT;
    to[44] = is_probe ? 0xa0 : 0xe0; /* router, solicited, override */
    memcpy(to + 48, target.bytes, 16);
    to[64] = 2;
    to[65] = 1;
    memcpy(to + 66, port->mac, 6);
    put_icmp6_sum(to, 32);
    answer(port, frame->data + 6, out, 0x86dd);
}

/* To all: others want to know it as well. */
static void advertise(struct port *port)
{
    static const struct mir_ip all_nodes = {{0xff, 2, [15] = 1}};
    struct mir__sim_frame *out = new_packet(port->plug.router, 40 + 64);
    uint8_t *to = out->data + ETH, *option = to + 56, mac[6];
    put_ip6(to, &port->link_local, &all_nodes, 64, 255);
    to[40] = V6_ROUTER_ADVERT;
    to[44] = TTL;
    mir_put_be16(to + 46, UINT16_MAX); /* lifetime, RFC 8319 section 4 */
    option[0] = 1;                     /* our link-layer address */
    option[1] = 1;
    memcpy(option + 2, port->mac, 6);
    option += 8;
    option[0] = 3; /* the prefix: on the link, and for addresses, for ever */
    option[1] = 4;
    option[2] = 64;
    option[3] = 0xc0;
    mir_put_be32(option + 4, UINT32_MAX);
    mir_put_be32(option + 8, UINT32_MAX);
    memcpy(option + 16, port->ip6.bytes, 8);
    option += 32;
    option[0] = 5; /* MTU */
    option[1] = 1;
    mir_put_be32(option + 4, port->mtu);
    put_icmp6_sum(to, 64);
    put_multicast(mac, &all_nodes);
    answer(port, mac, out, 0x86dd);
}

/* An answer to our question, or a host that tells routers of its new address (RFC 9131). */
static void take_advert(struct port *port, const uint8_t *icmp, uint32_t len)
{
    struct mir_ip target;
    memcpy(target.bytes, icmp + 8, 16);
    if (len >= 32 && icmp[24] == 2 && icmp[25] == 1)
        learn(port, &target, icmp + 26);
}

static void take_icmp6(struct port *port, const struct mir__sim_frame *frame)
{
    const uint8_t *ip = frame->data + ETH, *icmp = ip + 40;
    uint32_t len = mir_get_be16(ip + 4);
    struct mir_ip src, dst;
    memcpy(src.bytes, ip + 8, 16);
    memcpy(dst.bytes, ip + 24, 16);
    if (ip[6] != ICMP6 || len < 8 ||
        mir__csum_add(mir__csum_partial(icmp, len), mir__csum_pseudo(&src, &dst, ICMP6, len)) !=
            0xffff)
        return;
    if (icmp[0] == V6_SOLICIT && ip[7] == 255 && len >= 24) {
        answer_solicit(port, frame, len);
    } else if (icmp[0] == V6_ADVERT && ip[7] == 255 && len >= 24) {
        take_advert(port, icmp, len);
    } else if (icmp[0] == V6_ROUTER_SOLICIT && ip[7] == 255 && port->advertises) {
        advertise(port);
    } else if (icmp[0] == V6_ECHO && is_own(port->plug.router, &dst)) {
        struct mir__sim_frame *out = new_packet(port->plug.router, 40 + len);
        uint8_t *to = out->data + ETH;
        put_ip6(to, &dst, &src, len, TTL);
        memcpy(to + 40, icmp, len);
        to[40] = V6_REPLY;
        put_icmp6_sum(to, len);
        answer(port, frame->data + 6, out, 0x86dd);
    }
}

/* True: the frame was taken. */
static bool take_ip4(struct port *port, struct mir__sim_frame *frame)
{
    uint8_t *ip = frame->data + ETH;
    if (mir__ip4_check(ip, frame->len - ETH, frame->len - ETH) < 0 || !mir__ip4_checksum_ok(ip)) {
        port->plug.router->stats.malformed++;
        return false;
    }
    struct mir_ip dst = mir_ip_from_v4(mir__ip4_dst(ip));
    uint32_t dst4 = mir__ip4_dst(ip);
    if (dst4 == 0xffffffff || dst4 >> 28 == 14 || mir_ip_equal(&dst, &any4))
        return false;
    if (is_own(port->plug.router, &dst)) {
        echo4(port, frame);
        return false;
    }
    return forward(port, frame, true, &dst);
}

static bool take_ip6(struct port *port, struct mir__sim_frame *frame)
{
    uint8_t *ip = frame->data + ETH;
    struct mir_ip dst;
    if (frame->len < ETH + 40 || ip[0] >> 4 != 6 || frame->len < ETH + 40u + mir_get_be16(ip + 4)) {
        port->plug.router->stats.malformed++;
        return false;
    }
    memcpy(dst.bytes, ip + 24, 16);
    if (dst.bytes[0] == 0xff || is_own(port->plug.router, &dst)) {
        take_icmp6(port, frame);
        return false;
    }
    bool is_local = ip[8] == 0xfe || dst.bytes[0] == 0xfe; /* never beyond their link */
    return !is_local && forward(port, frame, false, &dst);
}

void mir__sim_router_receive(struct mir_sim_plug *plug, struct mir__sim_frame *frame)
{
    struct mir_sim_router *router = plug->router;
    struct port *port = router->port[plug->router_port];
    bool is_taken = false;
    if (frame->len >= ETH + 20 &&
        ((frame->data[0] & 1) || memcmp(frame->data, port->mac, 6) == 0)) {
        uint16_t type = mir_get_be16(frame->data + 12);
        if (type == 0x0800)
            is_taken = take_ip4(port, frame);
        else if (type == 0x86dd)
            is_taken = take_ip6(port, frame);
        else if (type == MIR__ETH_TYPE_ARP)
            take_arp(port, frame);
    }
    if (!is_taken)
        mir__sim_frame_free(router->sim, frame);
}

const uint8_t *mir_sim_router_mac(const struct mir_sim_plug *plug)
{
    return plug->router->port[plug->router_port]->mac;
}
