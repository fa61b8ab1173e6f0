/* SPDX-License-Identifier: ISC */
/* What IPv6 routers tell a host: advertisements and redirects (RFC 4861 sections 6.3 and 8.3), more
 * specific routes and preferences (RFC 4191), name servers (RFC 8106); and asking them (RFC 7559).
 *
 *   advertisement ─┬─> hop limit, reachable time, retransmission time, MTU   (of the interface)
 *                  ├─> default router, on-link prefixes, routes  ──> learned[] ──> routing table
 *                  ├─> prefixes for addresses                    ──> slaac.c
 *                  ├─> name servers, search list                 ──> dnsinfo.c
 *                  └─> flags M, O                                ──> dhcp6.c
 *   redirect ─────────> one destination's router, or that it is a neighbour ──> learned[]
 *
 * learned[] keeps lifetimes; the routing table has no clock. One timer takes out what is over. The
 * array is small: beyond it routes are refused and counted, but a new one pushes out the redirect
 * that is oldest, and the first two default routers any other route. Routes that were configured,
 * before or after, are never touched. A redirect counts for ten minutes,
 * a router that is gone takes its redirects along.
 *
 * Which router? The best preference among those whose neighbour entry has a link-layer address;
 * one that does not answer is marked in the routing table until it does (section 6.3.6). When all
 * are silent the marks of the others are taken off, so they are tried in turn.
 *
 * What a liar on the link can do is bounded, but believed: hop limits below 32 are ignored, so are
 * MTUs below 1280, times outside of reason, and redirects that do not come from the router in use.
 * An advertisement is listened to only where the interface is to configure itself.
 *
 * Solicitations go out until a router answers: after 4, 8, 16 ... 3600 seconds, a tenth more or
 * less by chance. The first goes when the link-local address is there, without the delay of up to a
 * second of section 6.3.7: start-up counts in milliseconds here.
 *
 * Not done: advertising.
 */
#include "lib/net/net_state.h"
#include "lib/wire/domain.h"

#define RS_FIRST_US      (4 * MIR_US_PER_S)
#define RS_MAX_US        (3600 * MIR_US_PER_S)
#define REDIRECT_US      (600 * MIR_US_PER_S)
#define REDRAW_US        (7200 * MIR_US_PER_S)
#define SLACK_US         (1 * MIR_US_PER_S)
#define HOPS_MIN         32u
#define ROUTERS_MIN      2u
#define REACHABLE_MS_MAX 3600000u
#define RETRANS_MS_MIN   100u
#define RETRANS_MS_MAX   60000u

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

/* A lifetime of seconds from now. */
static mir_time_us until(const struct mir__iface *iface, uint32_t lifetime_s)
{
    return lifetime_s == UINT32_MAX ? MIR_TIME_NEVER : now_of(iface) + lifetime_s * MIR_US_PER_S;
}

/* ---- what was learned --------------------------------------------------------------------- */

static uint32_t metric_of(int8_t preference)
{
    return preference > 0 ? 512 : preference < 0 ? 2048 : 1024;
}

static struct mir__route_spec spec_of(struct mir__iface *iface,
                                      const struct mir__nd6_learned *learned)
{
    return (struct mir__route_spec){
        .prefix = learned->prefix,
        .prefix_len = learned->prefix_len,
        .gateway = learned->gateway,
        .iface = iface,
        .origin = learned->is_redirect ? MIR__ROUTE_REDIRECT : MIR__ROUTE_RA,
        .metric = metric_of(learned->preference),
    };
}

static bool is_same_route(const struct mir__nd6_learned *a, const struct mir__nd6_learned *b)
{
    return a->prefix_len == b->prefix_len && mir_ip_equal(&a->prefix, &b->prefix) &&
           mir_ip_equal(&a->gateway, &b->gateway);
}

static void arm_timer(struct mir__iface *iface)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    mir_time_us first_us = MIR_TIME_NEVER;
    for (uint32_t i = 0; i < nd6->learned_count; i++)
        first_us = MIR_MIN(first_us, nd6->learned[i].expires_us);
    mir_timer_set(iface->net->loop, &nd6->timer, first_us);
}

static bool is_learned(const struct mir__route_entry *entry)
{
    return entry->origin == MIR__ROUTE_RA || entry->origin == MIR__ROUTE_REDIRECT;
}

static void forget_at(struct mir__iface *iface, uint32_t at)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    struct mir__route_spec spec = spec_of(iface, &nd6->learned[at]);
    struct mir__route_entry *entry = mir__route_get(iface->net, &spec);
    /* Somebody may have configured the same one meanwhile: then it is not ours to remove. */
    if (entry != NULL && is_learned(entry))
        mir__route_remove_entry(iface->net, entry);
    nd6->learned_count--;
    for (uint32_t i = at; i < nd6->learned_count; i++)
        nd6->learned[i] = nd6->learned[i + 1];
}

static bool is_default(const struct mir__nd6_learned *learned)
{
    return learned->prefix_len == 0;
}

/* The oldest redirect; else, for one of the first default routers, the newest route that is none
 * (RFC 4861 section 6.3.4: at least two routers are kept). learned_count: nothing may go. */
static uint32_t find_victim(const struct mir__nd6 *nd6, bool for_default)
{
    uint32_t routers = 0, newest = nd6->learned_count;
    for (uint32_t i = 0; i < nd6->learned_count; i++) {
        if (nd6->learned[i].is_redirect)
            return i;
        routers += is_default(&nd6->learned[i]);
        if (!is_default(&nd6->learned[i]))
            newest = i;
    }
    return for_default && routers < ROUTERS_MIN ? newest : nd6->learned_count;
}

static bool make_room(struct mir__iface *iface, bool for_default)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    if (nd6->learned_count < MIR__ND6_LEARNED_MAX)
        return true;
    uint32_t at = find_victim(nd6, for_default);
    iface->net->counters.nd_learned_full++;
    if (at == nd6->learned_count)
        return false;
    forget_at(iface, at);
    return true;
}

/* Add, refresh, or with a lifetime that is over remove. */
static void learn(struct mir__iface *iface, const struct mir__nd6_learned *told)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    uint32_t at = 0;
    while (at < nd6->learned_count && !is_same_route(&nd6->learned[at], told))
        at++;
    if (told->expires_us <= now_of(iface)) {
        if (at < nd6->learned_count)
            forget_at(iface, at);
        arm_timer(iface);
        return;
    }
    struct mir__route_spec spec = spec_of(iface, told);
    const struct mir__route_entry *entry = mir__route_get(iface->net, &spec);
    bool is_configured = entry != NULL && !is_learned(entry);
    /* A refreshed lifetime is no news to the routing table: kept routes stay valid. */
    bool is_news = entry == NULL || entry->metric != spec.metric || entry->origin != spec.origin;
    if (at == nd6->learned_count) {
        if (is_configured || !make_room(iface, is_default(told)))
            return;
        at = nd6->learned_count++;
    }
    nd6->learned[at] = *told;
    if (!is_configured && is_news && mir__route_add(iface->net, &spec, NULL) < 0)
        forget_at(iface, at);
    arm_timer(iface);
}

static void on_timer(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir__nd6 *nd6 = &iface->nd6;
    mir_time_us now_us = now_of(iface);
    for (uint32_t i = nd6->learned_count; i-- > 0;) {
        if (nd6->learned[i].expires_us <= now_us)
            forget_at(iface, i);
    }
    arm_timer(iface);
}

/* Everything that leads over @gateway; only redirects if so wished. */
static void forget_gateway(struct mir__iface *iface, const struct mir_ip *gateway,
                           bool only_redirects)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    for (uint32_t i = nd6->learned_count; i-- > 0;) {
        if ((nd6->learned[i].is_redirect || !only_redirects) &&
            mir_ip_equal(&nd6->learned[i].gateway, gateway))
            forget_at(iface, i);
    }
    arm_timer(iface);
}

/* ---- do gateways answer? ------------------------------------------------------------------ */

static bool leads_over(const struct mir__route_entry *entry, const struct mir__neigh *neigh)
{
    return entry->iface == neigh->iface && mir_ip_equal(&entry->gateway, &neigh->ip);
}

/* All default routers of the interface but @neigh: another chance. */
static void retry_others(struct mir_net *net, const struct mir__neigh *neigh)
{
    mir_list_for_each (node, &net->route.all) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        if (entry->iface == neigh->iface && entry->prefix_len == 0 && !leads_over(entry, neigh))
            mir__route_set_unreachable(net, entry, false);
    }
}

static bool has_reachable_default(const struct mir_net *net, const struct mir__iface *iface)
{
    mir_list_for_each (node, &net->route.all) {
        const struct mir__route_entry *entry =
            MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        if (entry->iface == iface && entry->prefix_len == 0 && !entry->is_unreachable)
            return true;
    }
    return false;
}

void mir__nd6_gateway_changed(struct mir__neigh *neigh, bool is_reachable)
{
    struct mir_net *net = neigh->iface->net;
    bool was_default = false;
    if (is_reachable && !neigh->is_router && !neigh->is_bad_gateway)
        return; /* nearly always: an ordinary neighbour was found */
    mir_list_for_each (node, &net->route.all) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        if (!leads_over(entry, neigh))
            continue;
        neigh->is_bad_gateway = !is_reachable;
        was_default |= entry->prefix_len == 0;
        mir__route_set_unreachable(net, entry, !is_reachable);
    }
    if (is_reachable)
        return;
    forget_gateway(neigh->iface, &neigh->ip, true);
    if (was_default && !has_reachable_default(net, neigh->iface))
        retry_others(net, neigh);
}

void mir__nd6_no_router(struct mir__neigh *neigh)
{
    forget_gateway(neigh->iface, &neigh->ip, false);
}

/* ---- advertisements ----------------------------------------------------------------------- */

static void take_reachable_time(struct mir__iface *iface, uint32_t reachable_ms)
{
    struct mir__nd6 *nd6 = &iface->nd6;
    mir_time_us now_us = now_of(iface);
    bool is_due = nd6->reachable_ms != 0 && now_us - nd6->drawn_us >= REDRAW_US;
    if (reachable_ms == 0 || reachable_ms > REACHABLE_MS_MAX)
        reachable_ms = nd6->reachable_ms;
    if (reachable_ms == nd6->reachable_ms && !is_due)
        return;
    nd6->reachable_ms = reachable_ms;
    nd6->drawn_us = now_us;
    /* Between half and one and a half of it (RFC 4861 section 6.3.2). */
    nd6->times.reachable_us =
        (reachable_ms / 2 + mir_rng_below(iface->net->rng, reachable_ms + 1)) * MIR_US_PER_MS;
}

static void take_parameters(struct mir__iface *iface, const struct mir__nd6_router *router)
{
    uint16_t mtu = iface->mtu6;
    if (router->hop_limit >= HOPS_MIN)
        iface->hops6 = router->hop_limit;
    take_reachable_time(iface, router->reachable_ms);
    if (router->retrans_ms != 0)
        iface->nd6.times.retry_us =
            MIR_MIN(MIR_MAX(router->retrans_ms, RETRANS_MS_MIN), RETRANS_MS_MAX) * MIR_US_PER_MS;
    if (router->mtu >= MIR__IP6_MTU_MIN && router->mtu <= iface->dev->info.mtu)
        mtu = (uint16_t)router->mtu;
    if (mtu != iface->mtu6) {
        iface->mtu6 = mtu;
        mir__net_routes_changed(iface->net);
    }
}

static void take_prefix(struct mir__iface *iface, const struct mir__nd6_option *option)
{
    struct mir__nd6_prefix prefix;
    if (mir__nd6_parse_prefix(option, &prefix) < 0 || prefix.preferred_s > prefix.valid_s ||
        mir__ip6_is_link_local(&prefix.prefix) || mir__ip6_is_multicast(&prefix.prefix) ||
        prefix.len == 0) {
        iface->net->counters.nd_ignored++;
        return;
    }
    if (prefix.is_on_link) {
        struct mir__nd6_learned told = {
            .prefix = prefix.prefix,
            .prefix_len = prefix.len,
            .expires_us = until(iface, prefix.valid_s),
        };
        learn(iface, &told);
    }
    if (prefix.is_autonomous)
        mir__slaac_prefix(iface, &prefix);
}

static void take_route(struct mir__iface *iface, const struct mir_ip *gateway,
                       const struct mir__nd6_option *option)
{
    struct mir__nd6_route route;
    if (mir__nd6_parse_route(option, &route) < 0 || mir__ip6_is_link_local(&route.prefix) ||
        mir__ip6_is_multicast(&route.prefix)) {
        iface->net->counters.nd_ignored++;
        return;
    }
    struct mir__nd6_learned told = {
        .prefix = route.prefix,
        .prefix_len = route.len,
        .gateway = *gateway,
        .preference = route.preference,
        .expires_us = until(iface, route.lifetime_s),
    };
    learn(iface, &told);
}

static mir_time_us dns_lifetime(const struct mir__nd6_option *option)
{
    uint32_t lifetime_s = mir__nd6_dns_lifetime_s(option);
    return lifetime_s == UINT32_MAX ? MIR_TIME_NEVER : lifetime_s * MIR_US_PER_S;
}

static void take_servers(struct mir__iface *iface, const struct mir__nd6_option *option)
{
    for (size_t i = 0; i < mir__nd6_rdnss_count(option); i++) {
        struct mir_ip ip = mir__nd6_rdnss_at(option, i);
        mir__dnsinfo_server(iface, MIR__DNSINFO_RA, &ip, dns_lifetime(option));
    }
}

static void take_domains(struct mir__iface *iface, const struct mir__nd6_option *option)
{
    char text[MIR__DOMAIN_TEXT_MAX];
    size_t at = 0;
    int len;
    while ((len = mir__domain_next(option->data + 6, option->len - 6, &at, text)) > 0)
        mir__dnsinfo_domain(iface, MIR__DNSINFO_RA, text, (size_t)len, dns_lifetime(option));
}

static void take_options(struct mir__iface *iface, const struct mir_ip *router, const uint8_t *msg,
                         size_t len)
{
    struct mir__nd6_option option;
    size_t at = MIR__ND6_ADVERT_OPTIONS_AT;
    while (mir__nd6_next_option(msg, len, &at, &option) > 0) {
        switch (option.type) {
        case MIR__ND6_OPT_PREFIX:
            take_prefix(iface, &option);
            break;
        case MIR__ND6_OPT_ROUTE:
            take_route(iface, router, &option);
            break;
        case MIR__ND6_OPT_RDNSS:
            take_servers(iface, &option);
            break;
        case MIR__ND6_OPT_DNSSL:
            take_domains(iface, &option);
            break;
        default:
            break;
        }
    }
}

static void take_default_router(struct mir__iface *iface, const struct mir_ip *ip,
                                const struct mir__nd6_router *router)
{
    struct mir__nd6_learned told = {
        .gateway = *ip,
        .preference = router->preference,
        .expires_us = until(iface, router->lifetime_s),
    };
    learn(iface, &told);
    if (router->lifetime_s == 0)
        return;
    iface->nd6.has_router = true;
    mir_timer_cancel(&iface->nd6.rs_timer);
}

bool mir__nd6_router_advert(struct mir__iface *iface, const struct mir__ip_meta *meta,
                            const uint8_t *msg, size_t len)
{
    struct mir__nd6_router router;
    if (!mir__ip6_is_link_local(&meta->src) || mir__nd6_parse_router(msg, len, &router) < 0)
        return false;
    if (iface->ip6_mode != MIR_IP6_AUTO || !iface->nd6.is_running) {
        iface->net->counters.nd_ignored++;
        return true;
    }
    iface->net->counters.nd_router_adverts_in++;
    take_parameters(iface, &router);
    struct mir__neigh *neigh = router.has_mac ? mir__neigh_learn(iface, &mir__neigh_nd6, &meta->src)
                                              : mir__neigh_find(iface->net, iface, &meta->src);
    if (neigh != NULL) {
        neigh->is_router = true;
        if (router.has_mac)
            mir__neigh_set_stale(iface->net, neigh, router.mac);
    }
    take_default_router(iface, &meta->src, &router);
    /* Everybody on the link has got this one now (RFC 4862 section 5.4.2). */
    iface->nd6.dad_slack_us = mir__ip6_is_multicast(&meta->dst) ? SLACK_US : 0;
    take_options(iface, &meta->src, msg, len);
    iface->nd6.dad_slack_us = 0;
    if (router.is_other || router.is_managed)
        mir__dhcp6_start(iface);
    return true;
}

/* ---- redirects ---------------------------------------------------------------------------- */

bool mir__nd6_redirect(struct mir__iface *iface, const struct mir__ip_meta *meta,
                       const uint8_t *msg, size_t len)
{
    struct mir_net *net = iface->net;
    struct mir__nd6_redirect redirect;
    if (!mir__ip6_is_link_local(&meta->src) || mir__nd6_parse_redirect(msg, len, &redirect) < 0)
        return false;
    bool is_neighbour = mir_ip_equal(&redirect.target, &redirect.destination);
    if (!is_neighbour && !mir__ip6_is_link_local(&redirect.target))
        return false;
    /* Only the router that we use for this destination may send us elsewhere. */
    const struct mir__route_entry *used = mir__route_find_on(net, &redirect.destination, iface);
    if (iface->ip6_mode != MIR_IP6_AUTO || used == NULL ||
        !mir_ip_equal(&used->gateway, &meta->src) || mir__ifaddr_find(net, &redirect.target)) {
        net->counters.nd_ignored++;
        return true;
    }
    net->counters.nd_redirects_in++;
    /* One redirect for a destination: the new one is the right one. */
    for (uint32_t i = iface->nd6.learned_count; i-- > 0;) {
        const struct mir__nd6_learned *old = &iface->nd6.learned[i];
        if (old->is_redirect && mir_ip_equal(&old->prefix, &redirect.destination))
            forget_at(iface, i);
    }
    struct mir__nd6_learned told = {
        .prefix = redirect.destination,
        .prefix_len = 128,
        .is_redirect = true,
        .expires_us = now_of(iface) + REDIRECT_US,
    };
    if (!is_neighbour)
        told.gateway = redirect.target;
    learn(iface, &told);
    if (!redirect.has_mac)
        return true;
    struct mir__neigh *neigh = mir__neigh_learn(iface, &mir__neigh_nd6, &redirect.target);
    if (neigh == NULL)
        return true;
    neigh->is_router |= !is_neighbour;
    mir__neigh_set_stale(net, neigh, redirect.mac);
    return true;
}

/* ---- solicitations ------------------------------------------------------------------------ */

/* A tenth more or less (RFC 7559 section 2, as RFC 8415 section 15). */
static mir_time_us jitter(struct mir__iface *iface, mir_time_us wait_us)
{
    return wait_us - wait_us / 10 +
           mir_rng_below(iface->net->rng, (uint32_t)(wait_us / 5 / MIR_US_PER_MS) + 1) *
               MIR_US_PER_MS;
}

static void solicit(struct mir__iface *iface)
{
    static const struct mir_ip all_routers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
    struct mir_net *net = iface->net;
    struct mir__nd6 *nd6 = &iface->nd6;
    const struct mir__ifaddr *from = mir__ifaddr_link_local(iface);
    nd6->rs_wait_us = nd6->rs_wait_us == 0 ? RS_FIRST_US : MIR_MIN(2 * nd6->rs_wait_us, RS_MAX_US);
    mir_timer_set(net->loop, &nd6->rs_timer, now_of(iface) + jitter(iface, nd6->rs_wait_us));
    if (from == NULL)
        return;
    struct mir_buf *buf = mir_buf_alloc(net->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    (void)mir__nd6_emit_router_solicit(iface->mac,
                                       mir_buf_append(buf, MIR__ND6_ROUTER_SOLICIT_MAX));
    nd6->rs_sent++;
    net->counters.nd_router_solicits_out++;
    mir__nd6_send(iface, &from->ip, &all_routers, false, buf);
}

static void on_rs_timer(void *arg)
{
    solicit(arg);
}

void mir__nd6_solicit_routers(struct mir__iface *iface)
{
    if (iface->ip6_mode != MIR_IP6_AUTO)
        return;
    iface->nd6.has_router = false;
    iface->nd6.rs_wait_us = 0;
    solicit(iface);
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__nd6_router_init(struct mir__iface *iface)
{
    mir_timer_init(&iface->nd6.timer, on_timer, iface);
    mir_timer_init(&iface->nd6.rs_timer, on_rs_timer, iface);
}

void mir__nd6_router_stop(struct mir__iface *iface)
{
    mir_timer_cancel(&iface->nd6.rs_timer);
    while (iface->nd6.learned_count > 0)
        forget_at(iface, iface->nd6.learned_count - 1);
    mir_timer_cancel(&iface->nd6.timer);
    mir__dnsinfo_forget(iface, MIR__DNSINFO_RA);
}
