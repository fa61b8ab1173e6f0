/* SPDX-License-Identifier: ISC */
/* DNS servers and search domains, as DHCP and routers tell them.
 *
 * Two small ordered arrays. An entry lives until its lifetime is over, until its origin takes it
 * back (lifetime 0) or is forgotten (lease lost, interface stopped). What is over is removed when
 * somebody asks or adds: no timer. Of each origin three servers are kept at most, so that a
 * router's advertisement cannot push out what DHCP told (RFC 8106 section 5.3.1); a fourth one
 * takes the place of the one with the shortest time left, if it lives longer itself
 * (section 5.3.1).
 *
 * Not done: which server belongs to which search domain (RFC 6731).
 */
#include "lib/net/dnsinfo.h"

#include "lib/net/net_state.h"

enum { SERVERS_PER_ORIGIN = 3, DOMAINS_PER_ORIGIN = 2 };

static mir_time_us expiry(const struct mir_net *net, mir_time_us lifetime_us)
{
    return lifetime_us == MIR_TIME_NEVER ? MIR_TIME_NEVER : mir_loop_now(net->loop) + lifetime_us;
}

static void remove_server(struct mir__dnsinfo *info, uint32_t at)
{
    info->server_count--;
    for (uint32_t i = at; i < info->server_count; i++)
        info->servers[i] = info->servers[i + 1];
}

static void remove_domain(struct mir__dnsinfo *info, uint32_t at)
{
    info->domain_count--;
    for (uint32_t i = at; i < info->domain_count; i++)
        info->domains[i] = info->domains[i + 1];
}

static void expire(struct mir_net *net)
{
    struct mir__dnsinfo *info = &net->dnsinfo;
    mir_time_us now_us = mir_loop_now(net->loop);
    for (uint32_t i = info->server_count; i-- > 0;) {
        if (info->servers[i].expires_us <= now_us)
            remove_server(info, i);
    }
    for (uint32_t i = info->domain_count; i-- > 0;) {
        if (info->domains[i].expires_us <= now_us)
            remove_domain(info, i);
    }
}

/* ---- servers ------------------------------------------------------------------------------ */

static bool can_be_server(const struct mir_ip *ip)
{
    static const struct mir_ip loopback = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    if (mir_ip_is_v4(ip))
        return mir__ip4_is_host(mir_ip_to_v4(ip));
    return !mir_ip_is_any(ip) && ip->bytes[0] != 0xff && !mir_ip_equal(ip, &loopback);
}

/* True: there is room for one more of @origin that lives until @expires_us. */
static bool make_room_for_server(struct mir__dnsinfo *info, uint8_t origin, mir_time_us expires_us)
{
    uint32_t count = 0, shortest = 0;
    for (uint32_t i = 0; i < info->server_count; i++) {
        if (info->servers[i].origin != origin)
            continue;
        if (count++ == 0 || info->servers[i].expires_us < info->servers[shortest].expires_us)
            shortest = i;
    }
    if (count < SERVERS_PER_ORIGIN)
        return true;
    if (info->servers[shortest].expires_us >= expires_us)
        return false;
    remove_server(info, shortest);
    return true;
}

static void insert_server(struct mir__dnsinfo *info, const struct mir__dnsinfo_server *server)
{
    uint32_t at = info->server_count++;
    for (; at > 0 && info->servers[at - 1].origin > server->origin; at--)
        info->servers[at] = info->servers[at - 1];
    info->servers[at] = *server;
}

void mir__dnsinfo_server(struct mir__iface *iface, enum mir__dnsinfo_origin origin,
                         const struct mir_ip *ip, mir_time_us lifetime_us)
{
    struct mir_net *net = iface->net;
    struct mir__dnsinfo *info = &net->dnsinfo;
    struct mir__dnsinfo_server server = {*ip, expiry(net, lifetime_us), iface, (uint8_t)origin};
    expire(net);
    for (uint32_t i = 0; i < info->server_count; i++) {
        struct mir__dnsinfo_server *known = &info->servers[i];
        if (known->iface != iface || known->origin != origin || !mir_ip_equal(&known->ip, ip))
            continue;
        known->expires_us = server.expires_us;
        if (lifetime_us == 0)
            remove_server(info, i);
        return;
    }
    if (lifetime_us == 0 || !can_be_server(ip) ||
        !make_room_for_server(info, server.origin, server.expires_us))
        return;
    insert_server(info, &server);
    mir_wait_wake_all(&net->stack.address_ready);
}

size_t mir_net_dns_servers(struct mir_net *net, struct mir_ip *out, size_t max)
{
    const struct mir__dnsinfo *info = &net->dnsinfo;
    size_t count = 0;
    expire(net);
    for (uint32_t i = 0; i < info->server_count && count < max; i++) {
        bool is_known = false;
        for (size_t k = 0; k < count; k++)
            is_known |= mir_ip_equal(&out[k], &info->servers[i].ip);
        if (!is_known)
            out[count++] = info->servers[i].ip;
    }
    return count;
}

/* ---- domains ------------------------------------------------------------------------------ */

static bool is_domain(const char *text, size_t len)
{
    size_t label_len = 0;
    if (len == 0 || len >= MIR_NET_DNS_DOMAIN_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        bool is_ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_';
        if (c == '.' ? label_len == 0 : !is_ok || label_len == 63)
            return false;
        label_len = c == '.' ? 0 : label_len + 1;
    }
    return label_len > 0;
}

static bool make_room_for_domain(const struct mir__dnsinfo *info, uint8_t origin)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < info->domain_count; i++)
        count += info->domains[i].origin == origin;
    return count < DOMAINS_PER_ORIGIN;
}

void mir__dnsinfo_domain(struct mir__iface *iface, enum mir__dnsinfo_origin origin,
                         const char *text, size_t len, mir_time_us lifetime_us)
{
    struct mir_net *net = iface->net;
    struct mir__dnsinfo *info = &net->dnsinfo;
    /* Some DHCP servers send the NUL, some the root's dot. */
    while (len > 0 && (text[len - 1] == 0 || text[len - 1] == '.'))
        len--;
    if (!is_domain(text, len))
        return;
    expire(net);
    for (uint32_t i = 0; i < info->domain_count; i++) {
        struct mir__dnsinfo_domain *known = &info->domains[i];
        if (known->iface != iface || known->origin != origin ||
            mir_memcmp(known->text, text, len) != 0 || known->text[len] != 0)
            continue;
        known->expires_us = expiry(net, lifetime_us);
        if (lifetime_us == 0)
            remove_domain(info, i);
        return;
    }
    if (lifetime_us == 0 || !make_room_for_domain(info, (uint8_t)origin))
        return;
    uint32_t at = info->domain_count++;
    for (; at > 0 && info->domains[at - 1].origin > origin; at--)
        info->domains[at] = info->domains[at - 1];
    struct mir__dnsinfo_domain *domain = &info->domains[at];
    mir_memset(domain, 0, sizeof *domain);
    mir_memcpy(domain->text, text, len);
    domain->expires_us = expiry(net, lifetime_us);
    domain->iface = iface;
    domain->origin = (uint8_t)origin;
}

size_t mir_net_dns_domains(struct mir_net *net, char (*out)[MIR_NET_DNS_DOMAIN_MAX], size_t max)
{
    const struct mir__dnsinfo *info = &net->dnsinfo;
    size_t count = 0;
    expire(net);
    for (uint32_t i = 0; i < info->domain_count && count < max; i++)
        mir_memcpy(out[count++], info->domains[i].text, sizeof info->domains[i].text);
    return count;
}

uint32_t mir__dnsinfo_domains(struct mir_net *net, const char **out, uint32_t max)
{
    const struct mir__dnsinfo *info = &net->dnsinfo;
    uint32_t count = 0;
    expire(net);
    for (uint32_t i = 0; i < info->domain_count && count < max; i++) {
        bool is_known = false;
        for (uint32_t k = 0; k < count; k++)
            is_known |= mir_str_equal(out[k], info->domains[i].text);
        if (!is_known)
            out[count++] = info->domains[i].text;
    }
    return count;
}

/* ---- both ---------------------------------------------------------------------------------- */

void mir__dnsinfo_forget(struct mir__iface *iface, enum mir__dnsinfo_origin origin)
{
    struct mir__dnsinfo *info = &iface->net->dnsinfo;
    for (uint32_t i = info->server_count; i-- > 0;) {
        if (info->servers[i].iface == iface && info->servers[i].origin == origin)
            remove_server(info, i);
    }
    for (uint32_t i = info->domain_count; i-- > 0;) {
        if (info->domains[i].iface == iface && info->domains[i].origin == origin)
            remove_domain(info, i);
    }
}
