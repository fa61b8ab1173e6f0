/* SPDX-License-Identifier: ISC */
/* Neighbour discovery for IPv6: resolution, reachability, duplicate addresses (RFC 4861 section 7,
 * RFC 4862 section 5.4).
 *
 *   who has X?      solicitation to the solicited-node group of X        (INCOMPLETE)
 *   still there?    solicitation to X itself                             (PROBE)
 *   it is me        advertisement: solicited to the asker; to all nodes when somebody tests X
 *   is X free?      solicitation for X from ::, with a nonce
 *
 * The states of a neighbour are in neigh.c; here is what its messages mean. A message counts only
 * with a hop limit of 255, which no router can have let pass, never as a fragment (RFC 6980), and
 * when it keeps the rules of sections 7.1.1 and 7.1.2.
 *
 * Duplicate addresses. A new address is TENTATIVE for the retransmission time, and is asked for at
 * its beginning and in the middle: a host on a link that has just come up (Linux, for one) may not
 * be able to answer the first question yet. RFC 4862 has one question by default. A solicitation
 * for it from ::, or an advertisement, means that somebody has it. A nonce tells our own question
 * that a link sends back (RFC 7527). An address that routers' prefixes gave is made anew with
 * another identifier (slaac.c); a configured one stays DUPLICATE. Addresses are not delayed before
 * their test but for those that an advertisement to all nodes gave to everybody at once
 * (section 5.4.2). When they are there the routers are told (RFC 9131), which spares the first
 * packets from outside the wait for a question. When the link comes back, addresses are tested
 * while they stay in use.
 *
 * Floods: neigh.c bounds the table; malformed and senseless messages are counted and change
 * nothing.
 *
 * Not done: optimistic addresses (RFC 4429), proxies, anycast addresses of ours, SEND (RFC 3971).
 */
#include "lib/net/net_state.h"

#define DAD_TRANSMITS  2u
#define REACHABLE_US   (30 * MIR_US_PER_S) /* RFC 4861 section 10 */
#define RETRANS_US     (1 * MIR_US_PER_S)
#define DELAY_FIRST_US (5 * MIR_US_PER_S)

static const struct mir_ip unspecified = {{0}};
static const struct mir_ip all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
static const struct mir_ip all_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};

/* ---- sending ------------------------------------------------------------------------------ */

/* @known, if not NULL, is the way there: no look-up. */
static void send(struct mir__iface *iface, const struct mir_ip *src, const struct mir_ip *dst,
                 bool router_alert, struct mir__neigh *known, struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir__route route;
    struct mir__ip_params params = {
        .src = src,
        .dst = dst,
        .protocol = MIR__IP6_ICMP,
        .ttl = router_alert ? 1 : 255,
        .router_alert = router_alert,
    };
    mir__ip_route_on_link(iface, dst, &route);
    route.neighbour = known;
    if (router_alert)
        route.caps &= ~(uint32_t)MIR_NET_TX_CSUM; /* the offset of the sum is not the usual one */
    mir__ip_transport_checksum(&route, src, dst, MIR__IP6_ICMP, buf_given, 2);
    net->counters.icmp_out++;
    (void)mir__ip6_output(net, &route, &params, buf_given);
}

void mir__nd6_send(struct mir__iface *iface, const struct mir_ip *src, const struct mir_ip *dst,
                   bool router_alert, struct mir_buf *buf_given)
{
    send(iface, src, dst, router_alert, NULL, buf_given);
}

static void send_neighbour(struct mir__iface *iface, const struct mir_ip *src,
                           const struct mir_ip *dst, struct mir__nd6_neighbour *value,
                           struct mir__neigh *known)
{
    struct mir_net *net = iface->net;
    uint8_t msg[MIR__ND6_NEIGHBOUR_MAX];
    struct mir_buf *buf = mir_buf_alloc(net->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    mir_memcpy(value->mac, iface->mac, 6);
    size_t len = mir__nd6_emit_neighbour(value, msg);
    mir_memcpy(mir_buf_append(buf, (uint32_t)len), msg, len);
    if (value->type == MIR__ND6_SOLICIT)
        net->counters.nd_solicits_out++;
    else
        net->counters.nd_adverts_out++;
    send(iface, src, dst, false, known, buf);
}

/* RFC 4861 section 7.2.2: from the address that the waiting packet comes from. */
static bool choose_source(const struct mir__neigh *neigh, struct mir_ip *src)
{
    struct mir__iface *iface = neigh->iface;
    const struct mir_buf *waiting = neigh->queue.first;
    if (waiting != NULL) {
        *src = mir__ip6_src(waiting->data);
        const struct mir__ifaddr *addr = mir__ifaddr_find(iface->net, src);
        if (addr != NULL && addr->iface == iface && mir__ifaddr_is_usable(addr))
            return true;
    }
    const struct mir__ifaddr *link_local = mir__ifaddr_link_local(iface);
    if (link_local == NULL)
        return mir__ip6_select_source(iface, &neigh->ip, src);
    *src = link_local->ip;
    return true;
}

/* ---- the family --------------------------------------------------------------------------- */

static const struct mir__neigh_times *times(const struct mir__iface *iface)
{
    return &iface->nd6.times;
}

static void ask(struct mir__neigh *neigh, bool by_unicast)
{
    struct mir__nd6_neighbour value = {
        .type = MIR__ND6_SOLICIT, .has_mac = true, .target = neigh->ip};
    struct mir_ip src, dst = by_unicast ? neigh->ip : mir__ip6_solicited_node(&neigh->ip);
    if (choose_source(neigh, &src))
        send_neighbour(neigh->iface, &src, &dst, &value, NULL);
}

static void tell_unreachable(struct mir_net *net, const struct mir_buf *buf)
{
    mir__icmp6_tell_transport(net, buf->data, buf->len, -MIR_EHOSTUNREACH, 0);
}

const struct mir__neigh_family mir__neigh_nd6 = {
    .eth_type = MIR__ETH_TYPE_IP6,
    .is_v6 = true,
    .times = times,
    .ask = ask,
    .tell_unreachable = tell_unreachable,
    .changed = mir__nd6_gateway_changed,
};

/* RFC 2464 section 7: the last four bytes of the group. */
static int output_multicast(struct mir__iface *iface, const struct mir_ip *group,
                            struct mir_buf *buf)
{
    uint8_t *header = mir_buf_push(buf, MIR__ETH_HEADER_LEN);
    mir_put_be16(header, 0x3333);
    mir_memcpy(header + 2, group->bytes + 12, 4);
    mir_memcpy(header + 6, iface->mac, 6);
    mir_put_be16(header + 12, MIR__ETH_TYPE_IP6);
    return mir__iface_tx(iface, buf);
}

int mir__nd6_output(struct mir_net *net, struct mir__route *route, struct mir_buf *buf_given)
{
    /* Entries of an older generation may be gone. */
    if (MIR_UNLIKELY(route->generation != net->route_generation))
        route->neighbour = NULL;
    struct mir__neigh *neigh = route->neighbour;
    if (MIR_LIKELY(neigh != NULL && mir_loop_now(net->loop) < neigh->fresh_until_us)) {
        neigh->is_used = true;
        mir_memcpy(mir_buf_push(buf_given, MIR__ETH_HEADER_LEN), neigh->header,
                   MIR__ETH_HEADER_LEN);
        return mir__iface_tx(route->iface, buf_given);
    }
    if (mir__ip6_is_multicast(&route->next_hop6))
        return output_multicast(route->iface, &route->next_hop6, buf_given);
    return mir__neigh_output(net, route, &mir__neigh_nd6, &route->next_hop6, buf_given);
}

/* ---- is an address free? ------------------------------------------------------------------ */

/* Differs for each address and try, and cannot be guessed; nothing has to be kept. */
static void make_nonce(const struct mir__ifaddr *addr, uint8_t nonce[MIR__ND6_NONCE_LEN])
{
    uint64_t h = mir_siphash(addr->iface->net->neigh.hash_key, addr->ip.bytes, 16);
    h = (h + addr->dad_tries) * 0x9e3779b97f4a7c15u;
    mir_memcpy(nonce, &h, MIR__ND6_NONCE_LEN);
}

static void send_test(struct mir__ifaddr *addr)
{
    struct mir__nd6_neighbour value = {
        .type = MIR__ND6_SOLICIT, .has_nonce = true, .target = addr->ip};
    struct mir_ip group = mir__ip6_solicited_node(&addr->ip);
    make_nonce(addr, value.nonce);
    addr->dad_left--;
    send_neighbour(addr->iface, &unspecified, &group, &value, NULL);
}

static void set_dad_timer(struct mir__ifaddr *addr, mir_time_us wait_us)
{
    struct mir_loop *loop = addr->iface->net->loop;
    mir_timer_set(loop, &addr->dad_timer, mir_loop_now(loop) + wait_us);
}

/* It is ours: tell the routers before somebody asks them for us (RFC 9131 section 5). */
static void announce(struct mir__ifaddr *addr)
{
    struct mir__nd6_neighbour value = {
        .type = MIR__ND6_ADVERT, .has_mac = true, .target = addr->ip};
    send_neighbour(addr->iface, &addr->ip, &all_routers, &value, NULL);
}

static void tell_address(const struct mir__ifaddr *addr)
{
    static const char *const origins[] = {
        [MIR__IFADDR_MANUAL] = "manual",         [MIR__IFADDR_DHCP] = "dhcp",
        [MIR__IFADDR_LINK_LOCAL] = "link-local", [MIR__IFADDR_SLAAC] = "stable",
        [MIR__IFADDR_TEMPORARY] = "temporary",
    };
    char text[MIR_IP_TEXT_MAX];
    MIR_LOG(NET, INFO, "address in use interface=%u address=%s origin=%s", addr->iface->index + 1,
            mir_ip_text(&addr->ip, text), origins[addr->origin]);
}

static void end_test(struct mir__ifaddr *addr)
{
    struct mir__iface *iface = addr->iface;
    if (mir__ifaddr_is_usable(addr))
        return; /* the link had come back, nobody objected */
    bool is_first = mir__ip6_is_link_local(&addr->ip) && mir__ifaddr_link_local(iface) == NULL;
    mir__ifaddr_set_state(addr, MIR__IFADDR_PREFERRED);
    tell_address(addr);
    announce(addr);
    if (is_first) {
        mir__mld6_report_all(iface); /* with a source address now (RFC 3590 section 4) */
        mir__nd6_solicit_routers(iface);
    }
}

void mir__nd6_dad_start(struct mir__ifaddr *addr)
{
    struct mir__iface *iface = addr->iface;
    mir_time_us slack_us = iface->nd6.dad_slack_us;
    if (iface->ip6_no_dad) {
        end_test(addr);
        return;
    }
    addr->dad_left = DAD_TRANSMITS;
    addr->dad_tries++;
    if (slack_us > 0) {
        set_dad_timer(addr, mir_rng_below(iface->net->rng, (uint32_t)slack_us));
        return;
    }
    send_test(addr);
    set_dad_timer(addr, iface->nd6.times.retry_us / DAD_TRANSMITS);
}

void mir__nd6_dad_timer(struct mir__ifaddr *addr)
{
    if (addr->dad_left == 0) {
        end_test(addr);
        return;
    }
    send_test(addr);
    set_dad_timer(addr, addr->iface->nd6.times.retry_us / DAD_TRANSMITS);
}

/* @addr, of which we thought that it is ours or free, is somebody else's. */
static void on_duplicate(struct mir__ifaddr *addr)
{
    struct mir__iface *iface = addr->iface;
    char text[MIR_IP_TEXT_MAX];
    iface->net->counters.nd_duplicate++;
    MIR_LOG(NET, WARN, "address is in use by another host interface=%u address=%s",
            iface->index + 1, mir_ip_text(&addr->ip, text));
    mir_timer_cancel(&addr->dad_timer);
    if (!mir__slaac_duplicate(addr))
        mir__ifaddr_set_state(addr, MIR__IFADDR_DUPLICATE);
}

/* ---- solicitations ------------------------------------------------------------------------ */

static bool is_solicited_node(const struct mir_ip *ip)
{
    static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    return mir_memcmp(ip->bytes, prefix, sizeof prefix) == 0;
}

static void fill_known(struct mir__neigh *known, const struct mir__iface *iface,
                       const uint8_t mac[6])
{
    *known = (struct mir__neigh){.fresh_until_us = MIR_TIME_NEVER};
    mir_memcpy(known->header, mac, 6);
    mir_memcpy(known->header + 6, iface->mac, 6);
    mir_put_be16(known->header + 12, MIR__ETH_TYPE_IP6);
}

/* Straight to where the question came from: an answer is no reason to make an entry, nor to ask
 * whether the asker is there. */
static void answer(struct mir__iface *iface, const struct mir_ip *asker,
                   const struct mir__nd6_neighbour *question)
{
    bool is_test = mir__ip6_is_unspecified(asker);
    struct mir__neigh known;
    struct mir__nd6_neighbour value = {
        .type = MIR__ND6_ADVERT,
        .is_solicited = !is_test,
        .is_override = true,
        .has_mac = true,
        .target = question->target,
    };
    if (question->has_mac)
        fill_known(&known, iface, question->mac);
    send_neighbour(iface, &question->target, is_test ? &all_nodes : asker, &value,
                   question->has_mac ? &known : NULL);
}

/* Somebody asks for an address that we are testing ourselves (RFC 4862 section 5.4.3). */
static void solicit_for_tentative(struct mir__ifaddr *addr, const struct mir__ip_meta *meta,
                                  const struct mir__nd6_neighbour *value)
{
    uint8_t nonce[MIR__ND6_NONCE_LEN];
    make_nonce(addr, nonce);
    if (!mir__ip6_is_unspecified(&meta->src))
        return; /* looks for somebody who has it: not us yet */
    if (value->has_nonce && mir_memcmp(nonce, value->nonce, sizeof nonce) == 0) {
        addr->iface->net->counters.nd_looped++;
        return;
    }
    on_duplicate(addr);
}

static bool input_solicit(struct mir__iface *iface, const struct mir__ip_meta *meta,
                          const struct mir__nd6_neighbour *value)
{
    struct mir_net *net = iface->net;
    bool is_test = mir__ip6_is_unspecified(&meta->src);
    if (is_test && (!is_solicited_node(&meta->dst) || value->has_mac))
        return false;
    struct mir__ifaddr *addr = mir__ifaddr_find(net, &value->target);
    if (addr == NULL || addr->iface != iface) {
        net->counters.nd_ignored++;
        return true;
    }
    if (addr->state == MIR__IFADDR_TENTATIVE) {
        solicit_for_tentative(addr, meta, value);
        return true;
    }
    if (!mir__ifaddr_is_usable(addr))
        return true;
    if (!is_test && value->has_mac) {
        struct mir__neigh *neigh = mir__neigh_learn(iface, &mir__neigh_nd6, &meta->src);
        if (neigh != NULL)
            mir__neigh_set_stale(net, neigh, value->mac);
    }
    answer(iface, &meta->src, value);
    return true;
}

/* ---- advertisements ----------------------------------------------------------------------- */

static void advert_for_ours(struct mir__ifaddr *addr, const struct mir__nd6_neighbour *value)
{
    struct mir__iface *iface = addr->iface;
    if (value->has_mac && mir__mac_equal(value->mac, iface->mac))
        return; /* our own, come back */
    if (addr->state == MIR__IFADDR_TENTATIVE || mir_timer_is_set(&addr->dad_timer))
        on_duplicate(addr);
    else if (mir__ifaddr_is_usable(addr))
        iface->net->counters.nd_conflict++;
}

/* RFC 4861 section 7.2.5, for an entry whose link-layer address is known. */
static void update_known(struct mir_net *net, struct mir__neigh *neigh,
                         const struct mir__nd6_neighbour *value)
{
    bool is_same = !value->has_mac || mir__mac_equal(value->mac, neigh->header);
    if (!is_same && !value->is_override) {
        mir__neigh_doubt(net, neigh);
        return;
    }
    if (!is_same)
        mir__neigh_set_stale(net, neigh, value->mac);
    if (value->is_solicited)
        mir__neigh_confirm(net, neigh);
}

static bool input_advert(struct mir__iface *iface, const struct mir__ip_meta *meta,
                         const struct mir__nd6_neighbour *value)
{
    struct mir_net *net = iface->net;
    if (mir__ip6_is_multicast(&meta->dst) && value->is_solicited)
        return false;
    struct mir__ifaddr *addr = mir__ifaddr_find(net, &value->target);
    if (addr != NULL && addr->iface == iface) {
        advert_for_ours(addr, value);
        return true;
    }
    struct mir__neigh *neigh = mir__neigh_find(net, iface, &value->target);
    if (neigh == NULL) { /* nobody asked for it (RFC 4861 section 7.2.5) */
        net->counters.nd_ignored++;
        return true;
    }
    bool was_router = neigh->is_router;
    bool is_known = mir__neigh_is_resolved(neigh);
    if (!is_known && !value->has_mac)
        return true;
    neigh->is_router = value->is_router;
    if (is_known)
        update_known(net, neigh, value);
    else if (value->is_solicited)
        mir__neigh_set_reachable(net, neigh, value->mac);
    else
        mir__neigh_set_stale(net, neigh, value->mac);
    if (was_router && !value->is_router)
        mir__nd6_no_router(neigh);
    return true;
}

/* ---- input -------------------------------------------------------------------------------- */

/* False: malformed. */
static bool dispatch(struct mir__iface *iface, const struct mir__ip_meta *meta, const uint8_t *msg,
                     size_t len)
{
    struct mir__nd6_neighbour value;
    switch (msg[0]) {
    case MIR__ND6_SOLICIT:
    case MIR__ND6_ADVERT:
        if (mir__nd6_parse_neighbour(msg, len, &value) < 0)
            return false;
        return value.type == MIR__ND6_SOLICIT ? input_solicit(iface, meta, &value)
                                              : input_advert(iface, meta, &value);
    case MIR__ND6_ROUTER_ADVERT:
        return mir__nd6_router_advert(iface, meta, msg, len);
    case MIR__ND6_REDIRECT:
        return mir__nd6_redirect(iface, meta, msg, len);
    default:
        iface->net->counters.nd_ignored++; /* a router solicitation: we are none */
        return true;
    }
}

void mir__nd6_input(struct mir_net *net, const struct mir__ip_meta *meta, struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    net->counters.nd_in++;
    if (buf->frag_count > 0) {
        buf = mir_buf_linearize(net->bufs, buf_given, 0);
        mir_buf_release(buf_given);
        if (buf == NULL) {
            net->counters.no_memory++;
            return;
        }
    }
    if (meta->ttl != 255 || meta->was_fragment || !dispatch(meta->iface, meta, buf->data, buf->len))
        net->counters.nd_malformed++;
    mir_buf_release(buf);
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__nd6_iface_start(struct mir__iface *iface)
{
    mir_time_us half_us = REACHABLE_US / 2;
    iface->nd6.times = (struct mir__neigh_times){
        .reachable_us = half_us + mir_rng_below(iface->net->rng, (uint32_t)REACHABLE_US),
        .retry_us = RETRANS_US,
        .delay_us = DELAY_FIRST_US,
    };
    mir__nd6_router_init(iface);
    mir__slaac_init(iface);
    mir__mld6_init(iface);
    mir__dhcp6_init(iface);
    iface->nd6.is_running = true;
    mir__slaac_link_local(iface);
}

void mir__nd6_iface_stop(struct mir__iface *iface)
{
    mir__mld6_stop(iface);
    iface->nd6.is_running = false;
    mir__dhcp6_stop(iface);
    mir__nd6_router_stop(iface);
    mir__slaac_stop(iface);
    mir__neigh_forget(iface->net, iface, &mir__neigh_nd6);
}

void mir__nd6_link_up(struct mir__iface *iface)
{
    mir__neigh_forget(iface->net, iface, &mir__neigh_nd6);
    mir__dhcp6_link_up(iface);
    mir__mld6_report_all(iface);
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (!addr->is_v4 && !iface->ip6_no_dad && addr->state != MIR__IFADDR_DUPLICATE)
            mir__nd6_dad_start(addr);
    }
    if (mir__ifaddr_link_local(iface) != NULL)
        mir__nd6_solicit_routers(iface);
}
