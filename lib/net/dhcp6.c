/* SPDX-License-Identifier: ISC */
/* Stateless DHCPv6: name servers and search list (RFC 8415 sections 6.1 and 18.2.6, RFC 3646).
 *
 *   flag O or M ──> wait up to 1 s ──> Information-request ──> Reply ──> quiet until the refresh
 *                                         ^      │ nobody: after 1, 2, 4 ... 3600 s, +-10 %
 *                                         └──────┘
 *
 * Asked for when a router's advertisement says that there is more to know. Addresses come from
 * prefixes only: with the flag M alone (a network that gives addresses by DHCPv6) the questions are
 * the same. The client is identified by its link-layer address (DUID-LL), as it has nowhere to keep
 * another identity. What a Reply tells is valid until it is refreshed: a day, or what the server
 * says but at least ten minutes (section 7.6). A Reply counts only if it answers the present
 * question, comes from a link-local address and bears our identity.
 *
 * Not done: addresses and prefixes by DHCPv6 (the stateful half), Rapid Commit, Reconfigure,
 * authentication.
 */
#include "lib/net/net_state.h"
#include "lib/wire/dhcp6.h"
#include "lib/wire/domain.h"

enum {
    CLIENT_PORT = 546,
    SERVER_PORT = 547,
    MAX_RT_S = 3600,
    REFRESH_S = 86400,
    REFRESH_MIN_S = 600
};
#define FIRST_WAIT_US (1 * MIR_US_PER_S)

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

static void set_timer(struct mir__iface *iface, mir_time_us wait_us)
{
    mir_timer_set(iface->net->loop, &iface->dhcp6.timer, now_of(iface) + wait_us);
}

/* A tenth more or less (section 15). */
static mir_time_us jitter(struct mir__iface *iface, mir_time_us wait_us)
{
    uint32_t fifth_ms = (uint32_t)(wait_us / 5 / MIR_US_PER_MS);
    return wait_us - wait_us / 10 + mir_rng_below(iface->net->rng, fifth_ms + 1) * MIR_US_PER_MS;
}

static void send_request(struct mir__iface *iface)
{
    static const struct mir_ip servers = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2}};
    struct mir_net *net = iface->net;
    const struct mir__dhcp6 *dhcp = &iface->dhcp6;
    const struct mir__ifaddr *from = mir__ifaddr_link_local(iface);
    struct mir__route route;
    if (from == NULL)
        return;
    struct mir_buf *buf = mir_buf_alloc(net->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    mir_time_us elapsed_cs = (now_of(iface) - dhcp->begin_us) / (10 * MIR_US_PER_MS);
    struct mir__udp udp = {
        .src = CLIENT_PORT,
        .dst = SERVER_PORT,
        .len = MIR__UDP_HEADER_LEN + MIR__DHCP6_REQUEST_LEN,
    };
    mir__udp_emit(&udp, mir_buf_append(buf, MIR__UDP_HEADER_LEN));
    mir__dhcp6_emit_request(dhcp->xid, iface->mac, (uint16_t)MIR_MIN(elapsed_cs, 65535u),
                            mir_buf_append(buf, MIR__DHCP6_REQUEST_LEN));
    mir__ip_route_on_link(iface, &servers, &route);
    mir__ip_transport_checksum(&route, &from->ip, &servers, MIR__PROTO_UDP, buf,
                               MIR__UDP_CHECKSUM_AT);
    if (!(buf->flags & MIR_BUF_CSUM_PARTIAL) && !mir__udp_has_checksum(buf->data))
        mir_put_be16(buf->data + MIR__UDP_CHECKSUM_AT, 0xffff);
    struct mir__ip_params params = {.src = &from->ip, .dst = &servers, .protocol = MIR__PROTO_UDP};
    net->counters.dhcp_out++;
    (void)mir__ip_output(net, &route, &params, buf);
}

/* The first question of an exchange, or another one. */
static void on_timer(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir__dhcp6 *dhcp = &iface->dhcp6;
    if (dhcp->is_done) {
        dhcp->is_done = false;
        dhcp->wait_us = 0;
    }
    if (dhcp->wait_us == 0) {
        dhcp->xid = mir_rng_u32(iface->net->rng) & 0xffffff;
        dhcp->begin_us = now_of(iface);
        dhcp->wait_us = FIRST_WAIT_US;
    } else {
        dhcp->wait_us = MIR_MIN(2 * dhcp->wait_us, dhcp->max_wait_s * MIR_US_PER_S);
    }
    send_request(iface);
    set_timer(iface, jitter(iface, dhcp->wait_us));
}

void mir__dhcp6_start(struct mir__iface *iface)
{
    struct mir__dhcp6 *dhcp = &iface->dhcp6;
    if (dhcp->is_asking)
        return;
    dhcp->is_asking = true;
    dhcp->is_done = false;
    dhcp->wait_us = 0;
    set_timer(iface, mir_rng_below(iface->net->rng, (uint32_t)MIR_US_PER_S));
}

/* ---- answers ------------------------------------------------------------------------------ */

static void take_names(struct mir__iface *iface, const struct mir__dhcp6_reply *reply,
                       mir_time_us lifetime_us)
{
    char text[MIR__DOMAIN_TEXT_MAX];
    size_t at = 0;
    int len;
    mir__dnsinfo_forget(iface, MIR__DNSINFO_DHCP6);
    for (uint32_t i = 0; i < reply->server_count; i++)
        mir__dnsinfo_server(iface, MIR__DNSINFO_DHCP6, &reply->servers[i], lifetime_us);
    while ((len = mir__domain_next(reply->domains, reply->domains_len, &at, text)) > 0)
        mir__dnsinfo_domain(iface, MIR__DNSINFO_DHCP6, text, (size_t)len, lifetime_us);
}

static void take_reply(struct mir__iface *iface, const struct mir__dhcp6_reply *reply)
{
    struct mir__dhcp6 *dhcp = &iface->dhcp6;
    uint32_t refresh_s = reply->has_refresh ? reply->refresh_s : REFRESH_S;
    if (reply->inf_max_rt_s != 0)
        dhcp->max_wait_s = reply->inf_max_rt_s;
    if (reply->status != 0) {
        iface->net->counters.dhcp_ignored++;
        return; /* asked again later */
    }
    dhcp->is_done = true;
    refresh_s = MIR_MAX(refresh_s, (uint32_t)REFRESH_MIN_S);
    MIR_LOG(DHCP, INFO, "name servers by DHCPv6 interface=%u count=%u refresh_s=%u",
            iface->index + 1, reply->server_count, refresh_s);
    mir_timer_cancel(&dhcp->timer);
    if (refresh_s == UINT32_MAX) {
        take_names(iface, reply, MIR_TIME_NEVER);
        return;
    }
    /* Somewhat longer than until the next question: a server may be slow. */
    take_names(iface, reply, ((mir_time_us)refresh_s + 60) * MIR_US_PER_S);
    set_timer(iface, refresh_s * MIR_US_PER_S);
}

void mir__dhcp6_input(struct mir__iface *iface, const struct mir__ip_meta *meta,
                      struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir__dhcp6 *dhcp = &iface->dhcp6;
    struct mir_buf *buf = mir_buf_linearize(net->bufs, buf_given, 0);
    struct mir__dhcp6_reply reply;
    mir_buf_release(buf_given);
    net->counters.dhcp_in++;
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    if (mir__dhcp6_parse_reply(buf->data, buf->len, iface->mac, &reply) < 0)
        net->counters.dhcp_malformed++;
    else if (!dhcp->is_asking || dhcp->is_done || dhcp->wait_us == 0 || reply.xid != dhcp->xid ||
             !mir__ip6_is_link_local(&meta->src))
        net->counters.dhcp_ignored++;
    else
        take_reply(iface, &reply);
    mir_buf_release(buf);
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__dhcp6_init(struct mir__iface *iface)
{
    iface->dhcp6 = (struct mir__dhcp6){.max_wait_s = MAX_RT_S};
    mir_timer_init(&iface->dhcp6.timer, on_timer, iface);
}

void mir__dhcp6_link_up(struct mir__iface *iface)
{
    mir_timer_cancel(&iface->dhcp6.timer);
    iface->dhcp6.is_asking = false;
}

void mir__dhcp6_stop(struct mir__iface *iface)
{
    mir__dhcp6_link_up(iface);
    mir__dnsinfo_forget(iface, MIR__DNSINFO_DHCP6);
}
