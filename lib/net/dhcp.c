/* SPDX-License-Identifier: ISC */
/* DHCP client for IPv4 (RFC 2131 section 4.4; options RFC 2132, 3397, 3442, 4361).
 *
 *   REBOOTING ──────────────────────┐ACK
 *       │ NAK, no answer            v
 *       v  OFFER             ACK         nobody has it
 *   SELECTING ──> REQUESTING ──> PROBING ──────────────────> BOUND <─────────────┐
 *     ^   ^           │ NAK         │ somebody has it          │ T1              │ ACK
 *     │   │           v             v  (DECLINE)               v         T2      │
 *     │   └────────────── WAITING <─┘                      RENEWING ──> REBINDING┘
 *     │                                                     │ NAK          │ NAK, end of lease
 *     └─────────────────────────────────────────────────────┴──────────────┘
 *
 * DISCOVER and REQUEST are repeated after 4, 8, 16, 32, 64, 64 ... seconds, each one second more or
 * less by chance (section 4.1); a REQUEST four times, then all begins anew. RENEWING asks the
 * server alone, REBINDING asks everybody, both again after half of the time that is left, but not
 * within 60 seconds (section 4.4.5). At the end of the lease the address is taken away. Times count
 * from when the REQUEST left.
 *
 * REBOOTING asks for the address of last time (section 3.2), after a start or when the link comes
 * back. In the second case the address stays in use meanwhile, and if nobody answers, for the rest
 * of the lease; a server of another network says NAK.
 *
 * An address is probed by ARP before it is used (section 4.4.1), by default the quick way of
 * acd4.c: RFC 5227's seven seconds are more than an appliance's whole start may take. For the same
 * reason the first DISCOVER goes out at once and not after the 1 to 10 seconds of section 4.4.1.
 * Somebody who insists on a leased address gets it: DECLINE, and another one is asked for.
 *
 * An answer counts only if xid, hardware address and, after the choice, the server agree, and if
 * what it says makes sense: one host's address, a contiguous mask, a lease of at least ten seconds.
 * Others are counted and dropped. The first valid offer is taken.
 *
 * Classless routes are all routes there are: routers of option 3 are then ignored (RFC 3442).
 * Without them the first router is the default route, the further ones take over when it does not
 * answer. The client identifier is that of RFC 4361, with the DUID that DHCPv6 uses here too.
 *
 * Of several stacks of one interface, each in a process of its own, one has the client. The others
 * are FOLLOWING: they ask nobody, take what the first one hands on as bytes (the ACK, and when its
 * REQUEST left), give the address up at the end of the lease by themselves, and leave quarrels
 * about it to the first. Who has followed can lead at any time: it goes on with the lease it has
 * and asks whether that still holds, as after a change of the link. The times are those of one
 * clock, so such stacks are on one machine.
 *
 * Not done: INFORM, DHCP authentication, options 33 (classful routes) and 108.
 */
#include "lib/net/net_state.h"

enum {
    REQUEST_TRIES = 4,
    REBOOT_TRIES = 2,
    DISCOVERS_ALONE = 3, /* unanswered ones before an address is made up */
    LEASE_MIN_S = 10,
    TIME_BYTES = 8, /* of a copy: when the REQUEST left */
};
#define DECLINE_PAUSE_US (10 * MIR_US_PER_S)
#define NAK_PAUSE_US     (1 * MIR_US_PER_S)
#define RENEW_SPACING_US (60 * MIR_US_PER_S)

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

static void set_timer(struct mir__iface *iface, mir_time_us deadline_us)
{
    if (deadline_us == MIR_TIME_NEVER)
        mir_timer_cancel(&iface->dhcp.timer);
    else
        mir_timer_set(iface->net->loop, &iface->dhcp.timer, deadline_us);
}

/* ---- messages ------------------------------------------------------------------------------ */

static bool holds_lease(const struct mir__dhcp_client *dhcp)
{
    return dhcp->state == MIR__DHCP_BOUND || dhcp->state == MIR__DHCP_RENEWING ||
           dhcp->state == MIR__DHCP_REBINDING;
}

static void send_discover(struct mir__iface *iface)
{
    struct mir__dhcp msg = {.type = MIR__DHCP_DISCOVER, .requested_ip = iface->dhcp.offered_ip};
    mir__dhcp_send(iface, &msg, UINT32_MAX);
}

static void send_request(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    struct mir__dhcp msg = {.type = MIR__DHCP_REQUEST};
    bool is_renewal = holds_lease(dhcp);
    if (is_renewal) {
        msg.ciaddr = dhcp->ip;
    } else {
        msg.requested_ip = dhcp->offered_ip;
        /* Who asks for the address of last time has not chosen a server yet. */
        msg.server_id = dhcp->state == MIR__DHCP_REBOOTING ? 0 : dhcp->server_id;
    }
    dhcp->sent_us = now_of(iface);
    mir__dhcp_send(iface, &msg, dhcp->state == MIR__DHCP_RENEWING ? dhcp->server_id : UINT32_MAX);
}

static void send_decline(struct mir__iface *iface)
{
    struct mir__dhcp msg = {
        .type = MIR__DHCP_DECLINE,
        .requested_ip = iface->dhcp.offered_ip,
        .server_id = iface->dhcp.server_id,
    };
    mir__dhcp_send(iface, &msg, UINT32_MAX);
}

static void send_release(struct mir__iface *iface)
{
    struct mir__dhcp msg = {
        .type = MIR__DHCP_RELEASE,
        .ciaddr = iface->dhcp.ip,
        .server_id = iface->dhcp.server_id,
    };
    mir__dhcp_send(iface, &msg, iface->dhcp.server_id);
}

/* ---- states -------------------------------------------------------------------------------- */

/* Exponential, with one second of chance to both sides. */
static mir_time_us backoff_us(struct mir__iface *iface)
{
    uint32_t shift = MIR_MIN(iface->dhcp.tries, 4u);
    mir_time_us base_us = (mir_time_us)(4u << shift) * MIR_US_PER_S;
    return base_us - MIR_US_PER_S + mir_rng_below(iface->net->rng, 2 * MIR_US_PER_S);
}

static bool is_following(const struct mir__iface *iface)
{
    return iface->dhcp.state == MIR__DHCP_FOLLOWING;
}

static void begin(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    dhcp->state = MIR__DHCP_SELECTING;
    dhcp->xid = mir_rng_u32(iface->net->rng);
    dhcp->begin_us = now_of(iface);
    dhcp->tries = 0;
    set_timer(iface, now_of(iface) + backoff_us(iface));
    send_discover(iface);
}

/* Ask for the address of last time. */
static void reboot(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    dhcp->state = MIR__DHCP_REBOOTING;
    dhcp->xid = mir_rng_u32(iface->net->rng);
    dhcp->begin_us = now_of(iface);
    dhcp->tries = 0;
    set_timer(iface, now_of(iface) + backoff_us(iface));
    send_request(iface);
}

/* With the lease there is, which holds until everybody was asked: it may be another network now. Or
 * with the address of last time, or from nothing. */
static void resume(struct mir__iface *iface)
{
    iface->acd.is_stubborn = false;
    if (iface->dhcp.ip != 0)
        iface->dhcp.offered_ip = iface->dhcp.ip;
    if (iface->dhcp.offered_ip != 0)
        reboot(iface);
    else
        begin(iface);
}

static void pause(struct mir__iface *iface, mir_time_us pause_us)
{
    iface->dhcp.state = MIR__DHCP_WAITING;
    set_timer(iface, now_of(iface) + pause_us);
}

static void lose_lease(struct mir__iface *iface, const char *reason)
{
    if (iface->dhcp.ip == 0)
        return;
    MIR_LOG(DHCP, WARN, "address given up interface=%u reason=%s", iface->index + 1, reason);
    if (!is_following(iface))
        iface->dhcp.state = MIR__DHCP_WAITING;
    iface->dhcp.ip = 0;
    mir__dnsinfo_forget(iface, MIR__DNSINFO_DHCP4);
    mir__route_forget(iface->net, iface, MIR__ROUTE_DHCP);
    mir__iface_set_address(iface, 0, 0, 0);
}

/* When to ask again while a lease is being renewed: half of what is left, not too often. */
static void arm_renewal(struct mir__iface *iface, mir_time_us end_us)
{
    mir_time_us now_us = now_of(iface);
    mir_time_us left_us = end_us > now_us ? end_us - now_us : 0;
    mir_time_us wait_us = MIR_MAX(left_us / 2, RENEW_SPACING_US);
    set_timer(iface, now_us + MIR_MIN(wait_us, left_us));
}

static void renew(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    mir_time_us now_us = now_of(iface);
    if (now_us >= dhcp->expire_us) {
        lose_lease(iface, "expired");
        begin(iface);
        return;
    }
    if (dhcp->state == MIR__DHCP_BOUND) {
        dhcp->state = MIR__DHCP_RENEWING;
        dhcp->xid = mir_rng_u32(iface->net->rng);
        dhcp->begin_us = now_us;
    }
    if (dhcp->state == MIR__DHCP_RENEWING && now_us >= dhcp->t2_us)
        dhcp->state = MIR__DHCP_REBINDING;
    arm_renewal(iface, dhcp->state == MIR__DHCP_RENEWING ? dhcp->t2_us : dhcp->expire_us);
    send_request(iface);
}

/* Contiguous ones from the left; the class of the address when the server told no mask. */
static int prefix_of(const struct mir__dhcp *msg)
{
    uint32_t mask = msg->subnet_mask;
    if (mask == 0)
        return msg->yiaddr >> 31 == 0 ? 8 : msg->yiaddr >> 30 == 2 ? 16 : 24;
    if ((~mask & (~mask + 1)) != 0)
        return -MIR_EMALFORMED;
    return (int)mir_popcount32(mask);
}

static void take_times(struct mir__dhcp_client *dhcp, const struct mir__dhcp *msg)
{
    mir_time_us lease_us = msg->lease_s * MIR_US_PER_S;
    mir_time_us t1_us = msg->t1_s * MIR_US_PER_S, t2_us = msg->t2_s * MIR_US_PER_S;
    if (msg->lease_s == UINT32_MAX) { /* for ever: RFC 2131 section 3.3 */
        dhcp->t1_us = dhcp->t2_us = dhcp->expire_us = MIR_TIME_NEVER;
        return;
    }
    if (t1_us == 0)
        t1_us = lease_us / 2;
    if (t2_us == 0)
        t2_us = lease_us / 8 * 7;
    if (t2_us <= t1_us || lease_us <= t2_us) {
        t1_us = lease_us / 2;
        t2_us = lease_us / 8 * 7;
    }
    dhcp->t1_us = dhcp->sent_us + t1_us;
    dhcp->t2_us = dhcp->sent_us + t2_us;
    dhcp->expire_us = dhcp->sent_us + lease_us;
}

/* Name servers and domain live as long as the lease. */
static void tell_names(struct mir__iface *iface)
{
    const struct mir__dhcp_client *dhcp = &iface->dhcp;
    const struct mir__dhcp *lease = &dhcp->lease;
    mir_time_us lifetime_us = dhcp->expire_us;
    if (lifetime_us != MIR_TIME_NEVER)
        lifetime_us -= MIR_MIN(now_of(iface), lifetime_us);
    mir__dnsinfo_forget(iface, MIR__DNSINFO_DHCP4);
    for (uint32_t i = 0; i < lease->dns_count; i++) {
        struct mir_ip ip = mir_ip_from_v4(lease->dns[i]);
        mir__dnsinfo_server(iface, MIR__DNSINFO_DHCP4, &ip, lifetime_us);
    }
    /* A list of domains is more than the one domain. */
    char domain[MIR__DHCP_SEARCH_MAX];
    size_t at = 0, len;
    while ((len = mir__dhcp_next_domain(lease, &at, domain)) > 0)
        mir__dnsinfo_domain(iface, MIR__DNSINFO_DHCP4, domain, len, lifetime_us);
    mir__dnsinfo_domain(iface, MIR__DNSINFO_DHCP4, lease->domain, lease->domain_len, lifetime_us);
}

/* 0: none, or one that can be no router. */
static uint32_t gateway_of(const struct mir__dhcp *lease)
{
    uint32_t gateway = lease->route_count == 0 && lease->router_count > 0 ? lease->routers[0] : 0;
    for (uint32_t i = 0; i < lease->route_count && gateway == 0; i++) {
        if (lease->routes[i].prefix_len == 0)
            gateway = lease->routes[i].gateway;
    }
    return mir__ip4_is_host(gateway) && gateway != lease->yiaddr ? gateway : 0;
}

static void add_route(struct mir__iface *iface, uint32_t dst, uint32_t prefix_len, uint32_t gateway,
                      uint32_t metric)
{
    struct mir__route_spec spec = {
        .prefix = mir_ip_from_v4(dst),
        .prefix_len = (uint8_t)prefix_len,
        .gateway = mir_ip_from_v4(gateway),
        .iface = iface,
        .origin = MIR__ROUTE_DHCP,
        .metric = metric,
    };
    if ((gateway != 0 && !mir__ip4_is_host(gateway)) || gateway == iface->dhcp.ip)
        iface->net->counters.dhcp_malformed++;
    else if (mir__route_add(iface->net, &spec, NULL) < 0)
        MIR_LOG(DHCP, WARN, "no room for a route interface=%u", iface->index + 1);
}

/* All routes of the lease but the one that mir__iface_set_address() has set. */
static void add_routes(struct mir__iface *iface)
{
    const struct mir__dhcp *lease = &iface->dhcp.lease;
    for (uint32_t i = 0; i < lease->route_count; i++) {
        const struct mir__dhcp_route *route = &lease->routes[i];
        if (route->prefix_len != 0 || route->gateway != iface->gateway || route->gateway == 0)
            add_route(iface, route->dst, route->prefix_len, route->gateway, 0);
    }
    for (uint32_t i = 1; i < lease->router_count && lease->route_count == 0; i++)
        add_route(iface, 0, 0, lease->routers[i], i);
}

static bool is_same_config(const struct mir__dhcp *a, const struct mir__dhcp *b)
{
    return a->yiaddr == b->yiaddr && a->subnet_mask == b->subnet_mask && a->mtu == b->mtu &&
           a->router_count == b->router_count && a->route_count == b->route_count &&
           mir_memcmp(a->routers, b->routers, a->router_count * sizeof a->routers[0]) == 0 &&
           mir_memcmp(a->routes, b->routes, a->route_count * sizeof a->routes[0]) == 0;
}

/* Take the lease into use, the first time or again; @is_news: something but the times is new. */
static void bind(struct mir__iface *iface, bool is_news)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    const struct mir__dhcp *lease = &dhcp->lease;
    uint16_t device_mtu = iface->dev->info.mtu;
    int prefix = prefix_of(lease);
    MIR_ASSERT(prefix > 0 && prefix <= 32); /* is_sane_lease() saw to it */
    if (!is_following(iface))
        dhcp->state = MIR__DHCP_BOUND;
    set_timer(iface, is_following(iface) ? dhcp->expire_us : dhcp->t1_us);
    tell_names(iface);
    if (!is_news && dhcp->ip == lease->yiaddr) {
        mir_wait_wake_all(&iface->net->stack.address_ready); /* the lease is longer now */
        return;
    }
    iface->mtu = lease->mtu >= 576 ? MIR_MIN(lease->mtu, device_mtu) : device_mtu;
    MIR_LOG(DHCP, INFO, "address %u.%u.%u.%u/%u interface=%u lease_s=%u", lease->yiaddr >> 24,
            lease->yiaddr >> 16 & 255, lease->yiaddr >> 8 & 255, lease->yiaddr & 255,
            (uint32_t)prefix, iface->index + 1, lease->lease_s);
    mir__linklocal4_stop(iface);
    mir__route_forget(iface->net, iface, MIR__ROUTE_DHCP);
    dhcp->ip = lease->yiaddr;
    mir__iface_set_address(iface, lease->yiaddr, (uint8_t)prefix, gateway_of(lease));
    add_routes(iface);
    /* Renewals and the RELEASE at the very end must not wait for an answer of ARP. */
    mir__arp_warm(iface, dhcp->server_id);
}

/* Nobody knows the address of last time, or nobody is there. */
static void end_reboot(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    if (dhcp->ip == 0 || now_of(iface) >= dhcp->expire_us) {
        lose_lease(iface, "expired");
        begin(iface);
        return;
    }
    dhcp->state = MIR__DHCP_BOUND;
    set_timer(iface, dhcp->t1_us);
}

static void on_timer(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    switch (dhcp->state) {
    case MIR__DHCP_OFF:
        break;
    case MIR__DHCP_REBOOTING:
        if (++dhcp->tries >= REBOOT_TRIES) {
            end_reboot(iface);
            break;
        }
        set_timer(iface, now_of(iface) + backoff_us(iface));
        send_request(iface);
        break;
    case MIR__DHCP_SELECTING:
        if (++dhcp->tries >= DISCOVERS_ALONE)
            mir__linklocal4_start(iface);
        set_timer(iface, now_of(iface) + backoff_us(iface));
        send_discover(iface);
        break;
    case MIR__DHCP_REQUESTING:
        if (++dhcp->tries >= REQUEST_TRIES) {
            begin(iface);
            break;
        }
        set_timer(iface, now_of(iface) + backoff_us(iface));
        send_request(iface);
        break;
    case MIR__DHCP_FOLLOWING:
        lose_lease(iface, "expired");
        break;
    case MIR__DHCP_PROBING:
        break; /* acd4.c tells */
    case MIR__DHCP_WAITING:
        begin(iface);
        break;
    case MIR__DHCP_BOUND:
    case MIR__DHCP_RENEWING:
    case MIR__DHCP_REBINDING:
        renew(iface);
        break;
    }
}

/* ---- answers ------------------------------------------------------------------------------- */

static bool is_sane_lease(const struct mir__dhcp *msg)
{
    int prefix_len = prefix_of(msg);
    if (!mir__ip4_is_host(msg->yiaddr) || prefix_len <= 0 || msg->lease_s < LEASE_MIN_S)
        return false;
    if (msg->router_count > 0 && !mir__ip4_is_host(msg->routers[0]))
        return false;
    uint32_t host_mask = prefix_len == 32 ? 0 : UINT32_MAX >> prefix_len;
    uint32_t host = msg->yiaddr & host_mask;
    return prefix_len >= 31 || (host != 0 && host != host_mask);
}

static void on_offer(struct mir__iface *iface, const struct mir__dhcp *msg)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    if (dhcp->state != MIR__DHCP_SELECTING) {
        iface->net->counters.dhcp_ignored++;
        return;
    }
    if (!mir__ip4_is_host(msg->yiaddr) || !mir__ip4_is_host(msg->server_id)) {
        iface->net->counters.dhcp_malformed++;
        return;
    }
    dhcp->offered_ip = msg->yiaddr;
    dhcp->server_id = msg->server_id;
    dhcp->state = MIR__DHCP_REQUESTING;
    dhcp->tries = 0;
    set_timer(iface, now_of(iface) + backoff_us(iface));
    send_request(iface);
}

static bool is_renewal(const struct mir__dhcp_client *dhcp)
{
    return dhcp->state == MIR__DHCP_RENEWING || dhcp->state == MIR__DHCP_REBINDING;
}

/* Is an ACK or NAK about what we have asked? Whom we ask alone, only he may answer. */
static bool is_expected(const struct mir__dhcp_client *dhcp, const struct mir__dhcp *msg)
{
    switch (dhcp->state) {
    case MIR__DHCP_REQUESTING:
    case MIR__DHCP_RENEWING:
        return msg->server_id == dhcp->server_id;
    case MIR__DHCP_REBINDING:
    case MIR__DHCP_REBOOTING:
        return true;
    default:
        return false;
    }
}

static void on_ack(struct mir__iface *iface, const struct mir__dhcp *msg)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    uint32_t expected_ip = is_renewal(dhcp) ? dhcp->ip : dhcp->offered_ip;
    if (!is_expected(dhcp, msg) || msg->yiaddr != expected_ip) {
        iface->net->counters.dhcp_ignored++;
        return;
    }
    if (!is_sane_lease(msg)) {
        iface->net->counters.dhcp_malformed++;
        return;
    }
    bool is_news = !is_same_config(&dhcp->lease, msg);
    dhcp->lease = *msg;
    if (mir__ip4_is_host(msg->server_id))
        dhcp->server_id = msg->server_id;
    take_times(dhcp, msg);
    if (dhcp->ip == msg->yiaddr) {
        bind(iface, is_news);
    } else if (iface->acd_mode == MIR_NET_ACD_OFF) {
        bind(iface, true);
    } else {
        dhcp->state = MIR__DHCP_PROBING;
        mir_timer_cancel(&dhcp->timer);
        mir__acd4_probe(&dhcp->acd, dhcp->offered_ip, iface->acd_mode != MIR_NET_ACD_FULL);
    }
}

static void on_nak(struct mir__iface *iface, const struct mir__dhcp *msg)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    if (!is_expected(dhcp, msg)) {
        iface->net->counters.dhcp_ignored++;
        return;
    }
    dhcp->offered_ip = 0;
    bool was_held = dhcp->ip != 0;
    lose_lease(iface, "refused");
    if (was_held || dhcp->state == MIR__DHCP_REBOOTING)
        begin(iface);
    else /* a server that offers and refuses in turn must not make us spin */
        pause(iface, NAK_PAUSE_US + mir_rng_below(iface->net->rng, MIR_US_PER_S));
}

void mir__dhcp_input(struct mir__iface *iface, const struct mir__ip_meta *meta,
                     struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir__dhcp msg;
    uint8_t bytes[1500];
    uint32_t len = MIR_MIN(mir_buf_total(buf_given), (uint32_t)sizeof bytes);
    (void)meta;
    net->counters.dhcp_in++;
    int r = mir_buf_copy_out(buf_given, 0, bytes, len);
    mir_buf_release(buf_given);
    if (r < 0 || mir__dhcp_parse(bytes, len, &msg) < 0) {
        net->counters.dhcp_malformed++;
        return;
    }
    if (msg.op != MIR__DHCP_BOOTREPLY || msg.xid != iface->dhcp.xid ||
        !mir__mac_equal(msg.chaddr, iface->mac)) {
        net->counters.dhcp_ignored++;
        return;
    }
    switch (msg.type) {
    case MIR__DHCP_OFFER:
        on_offer(iface, &msg);
        break;
    case MIR__DHCP_ACK:
        on_ack(iface, &msg);
        break;
    case MIR__DHCP_NAK:
        on_nak(iface, &msg);
        break;
    default:
        net->counters.dhcp_ignored++;
        break;
    }
}

/* ---- from outside -------------------------------------------------------------------------- */

static void decline(struct mir__iface *iface)
{
    MIR_LOG(DHCP, WARN, "address is in use by another host, declined interface=%u",
            iface->index + 1);
    send_decline(iface);
    iface->dhcp.offered_ip = 0;
    pause(iface, DECLINE_PAUSE_US);
}

static void on_free(struct mir__iface *iface)
{
    bind(iface, true);
}

static void on_conflict(struct mir__iface *iface, bool was_held)
{
    (void)was_held;
    decline(iface);
}

void mir__dhcp_conflict(struct mir__iface *iface)
{
    iface->dhcp.offered_ip = iface->dhcp.ip;
    lose_lease(iface, "conflict");
    decline(iface);
}

/* ---- a lease that another stack has got -------------------------------------------------------
 */

int mir_net_copy_lease(const struct mir_net *net, uint32_t if_index,
                       uint8_t bytes[MIR_NET_LEASE_BYTES_MAX], size_t *len)
{
    const struct mir__iface *iface = mir__net_iface(net, if_index);
    if (iface == NULL || iface->dhcp.ip == 0 || iface->dhcp.ip != iface->dhcp.lease.yiaddr)
        return -MIR_ENOENT;
    const struct mir__dhcp_client *dhcp = &iface->dhcp;
    struct mir__dhcp lease = dhcp->lease;
    mir_time_us sent_us = 0;
    if (dhcp->expire_us != MIR_TIME_NEVER)
        sent_us = dhcp->expire_us - lease.lease_s * MIR_US_PER_S;
    lease.server_id = dhcp->server_id;
    lease.hostname_len = lease.message_len = lease.client_id_len = lease.parameter_count = 0;
    mir_put_be32(bytes, (uint32_t)(sent_us >> 32));
    mir_put_be32(bytes + 4, (uint32_t)sent_us);
    size_t ack_len = mir__dhcp_emit(&lease, bytes + TIME_BYTES);
    if (ack_len == 0) { /* all that can be given up; the rest fits */
        lease.search_len = 0;
        ack_len = mir__dhcp_emit(&lease, bytes + TIME_BYTES);
    }
    MIR_ASSERT_OP(ack_len, >, 0);
    *len = TIME_BYTES + ack_len;
    return 0;
}

/* It comes from another process, so it is read like what comes from a wire. */
static int read_copy(struct mir__iface *iface, const uint8_t *bytes, size_t len,
                     struct mir__dhcp *lease, mir_time_us *sent_us)
{
    if (len < TIME_BYTES || len > MIR_NET_LEASE_BYTES_MAX ||
        mir__dhcp_parse(bytes + TIME_BYTES, len - TIME_BYTES, lease) < 0 ||
        lease->op != MIR__DHCP_BOOTREPLY || lease->type != MIR__DHCP_ACK ||
        !mir__mac_equal(lease->chaddr, iface->mac) || !is_sane_lease(lease))
        return -MIR_EMALFORMED;
    *sent_us = (mir_time_us)mir_get_be32(bytes) << 32 | mir_get_be32(bytes + 4);
    *sent_us = MIR_MIN(*sent_us, now_of(iface)); /* this loop's clock may be a step behind */
    return 0;
}

/* Take a copy into use; what is over is none. */
static int take_copy(struct mir__iface *iface, const uint8_t *bytes, size_t len)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    struct mir__dhcp lease;
    mir_time_us sent_us;
    int r = read_copy(iface, bytes, len, &lease, &sent_us);
    if (r < 0) {
        iface->net->counters.dhcp_malformed++;
        return r;
    }
    if (lease.lease_s != UINT32_MAX && sent_us + lease.lease_s * MIR_US_PER_S <= now_of(iface))
        return -MIR_ENOENT;
    bool is_news = !is_same_config(&dhcp->lease, &lease);
    dhcp->lease = lease;
    dhcp->server_id = lease.server_id;
    dhcp->sent_us = sent_us;
    take_times(dhcp, &lease);
    bind(iface, is_news);
    return 0;
}

int mir_net_follow_lease(struct mir_net *net, uint32_t if_index, const uint8_t *bytes, size_t len)
{
    struct mir__iface *iface = mir__net_iface(net, if_index);
    if (iface == NULL || !is_following(iface))
        return -MIR_ENOENT;
    if (len > 0)
        return take_copy(iface, bytes, len);
    lose_lease(iface, "lost by the stack that asks for it");
    return 0;
}

int mir_net_lead_lease(struct mir_net *net, uint32_t if_index, bool leads)
{
    struct mir__iface *iface = mir__net_iface(net, if_index);
    if (iface == NULL || iface->dhcp.state == MIR__DHCP_OFF)
        return -MIR_ENOENT;
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    if (leads != is_following(iface))
        return 0;
    mir__acd4_stop(&dhcp->acd);
    if (leads) {
        resume(iface);
        return 0;
    }
    mir__linklocal4_stop(iface);
    iface->acd.is_stubborn = true;
    dhcp->state = MIR__DHCP_FOLLOWING;
    set_timer(iface, dhcp->ip != 0 ? dhcp->expire_us : MIR_TIME_NEVER);
    return 0;
}

/* ---- life -------------------------------------------------------------------------------------
 */

void mir__dhcp_start(struct mir__iface *iface, const struct mir_net_if_config *config)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    uint32_t last_ip =
        mir_ip_is_any(&config->dhcp_last_ip) ? 0 : mir_ip_to_v4(&config->dhcp_last_ip);
    dhcp->hostname = config->hostname;
    dhcp->keeps_lease = config->dhcp_keep;
    dhcp->offered_ip = mir__ip4_is_host(last_ip) ? last_ip : 0;
    mir_timer_init(&dhcp->timer, on_timer, iface);
    mir__acd4_init(&dhcp->acd, iface, on_free, on_conflict);
    dhcp->state = MIR__DHCP_FOLLOWING;
    if (config->dhcp_lease_len > 0 &&
        take_copy(iface, config->dhcp_lease, config->dhcp_lease_len) < 0)
        MIR_LOG(DHCP, INFO, "the lease of before is not used interface=%u", iface->index + 1);
    if (!config->dhcp_follows)
        resume(iface);
}

void mir__dhcp_link_up(struct mir__iface *iface)
{
    if (is_following(iface))
        return;
    mir__acd4_stop(&iface->dhcp.acd);
    if (iface->dhcp.ip != 0)
        resume(iface);
    else
        begin(iface);
}

void mir__dhcp_stop(struct mir__iface *iface)
{
    struct mir__dhcp_client *dhcp = &iface->dhcp;
    if (dhcp->state == MIR__DHCP_OFF)
        return;
    if (dhcp->ip != 0 && !dhcp->keeps_lease && !is_following(iface))
        send_release(iface);
    mir_timer_cancel(&dhcp->timer);
    mir__acd4_stop(&dhcp->acd);
    dhcp->state = MIR__DHCP_OFF;
}

int mir_net_get_lease(const struct mir_net *net, uint32_t if_index, struct mir_net_lease *lease)
{
    const struct mir__iface *iface = mir__net_iface(net, if_index);
    if (iface == NULL || iface->dhcp.ip == 0)
        return -MIR_ENOENT;
    *lease = (struct mir_net_lease){
        .ip = mir_ip_from_v4(iface->dhcp.ip),
        .prefix_len = (uint8_t)mir_popcount32(iface->mask),
        .gateway = mir_ip_from_v4(iface->gateway),
        .server = mir_ip_from_v4(iface->dhcp.server_id),
        .renew_us = iface->dhcp.t1_us,
        .expires_us = iface->dhcp.expire_us,
    };
    return 0;
}
