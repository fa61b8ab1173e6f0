/* SPDX-License-Identifier: ISC */
/* From a text to names to ask, and the names that need no server.
 *
 * A text with a dot at its end is asked as it is. Else it is tried with each search domain too:
 * before them if it has at least config.ndots dots, after them if not. The next one is tried only
 * when a name does not exist at all, so that A and AAAA of one text come from the same name.
 * Domains that are not configured are those that the network tells now; when it tells others, what
 * waits begins anew. They never apply to the names below: a network must not say where localhost
 * is.
 *
 * Answered here, and never asked of a server:
 *   addresses as text        themselves
 *   localhost, *.localhost   127.0.0.1 and ::1 (RFC 6761 section 6.3)
 *   *.invalid, *.onion       do not exist (RFC 6761 section 6.4, RFC 7686)
 *   *.local                  is asked of the link and never of a server (RFC 6762 section 22.1)
 *   config.hosts             as configured, for A and AAAA
 */
#include <mirari/format.h>

#include "lib/dns/internal.h"

int mir__dns_parse_search(struct mir_dns *dns)
{
    const char *at = dns->config.search;
    dns->search_count = 0;
    while (at != NULL && *at != '\0') {
        size_t len = 0;
        while (at[len] != '\0' && at[len] != ' ')
            len++;
        if (len > 0 && (dns->search_count == MIR_DNS_SEARCH_MAX ||
                        mir_dns_name_parse(at, len, &dns->search[dns->search_count++]) < 0))
            return -MIR_EINVAL;
        at += len;
        while (*at == ' ')
            at++;
    }
    return 0;
}

static bool is_in(const struct mir_dns_name *name, const char *domain)
{
    struct mir_dns_name parsed;
    int r = mir_dns_name_parse(domain, mir_str_len(domain), &parsed);
    return r == 0 && mir_dns_name_is_in(name, &parsed);
}

void mir__dns_follow_domains(struct mir_dns *dns)
{
    const char *text[MIR_DNS_SEARCH_MAX];
    struct mir_dns_name name;
    if (!dns->follows_domains || dns->stack->ops->dns_domains == NULL)
        return;
    uint32_t count = dns->stack->ops->dns_domains(dns->stack, text, MIR_DNS_SEARCH_MAX);
    bool is_same = count == dns->search_count;
    for (uint32_t i = 0; i < count && is_same; i++)
        is_same = mir_dns_name_parse(text[i], mir_str_len(text[i]), &name) == 0 &&
                  mir_dns_name_equal(&name, &dns->search[i]);
    if (is_same)
        return;
    dns->search_count = 0;
    for (uint32_t i = 0; i < count; i++)
        dns->search_count +=
            mir_dns_name_parse(text[i], mir_str_len(text[i]), &dns->search[dns->search_count]) == 0;
    mir__dns_restart_queries(dns);
}

/* No search domain may take the place of these: the network tells the domains. */
static bool needs_no_domain(struct mir_dns *dns, const struct mir_dns_name *name, const char *text,
                            size_t len)
{
    static const char *const special[] = {"localhost", "invalid", "onion", "local"};
    struct mir_dns_name host;
    struct mir_ip ip;
    bool is_special = mir_ip_parse(text, len, &ip) == 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(special) && !is_special; i++)
        is_special = is_in(name, special[i]);
    for (uint32_t i = 0; i < dns->config.host_count && !is_special; i++) {
        const char *known = dns->config.hosts[i].name;
        is_special = mir_dns_name_parse(known, mir_str_len(known), &host) == 0 &&
                     mir_dns_name_equal(&host, name);
    }
    return is_special;
}

int mir__dns_query_parse(struct mir_dns *dns, const char *text, uint16_t type,
                         struct mir_dns_query *query)
{
    size_t len = mir_str_len(text);
    uint32_t dots = 0;
    if (type == 0 || type == MIR_DNS_OPT || (type >= 249 && type <= MIR_DNS_ANY))
        return -MIR_EINVAL; /* no types of records */
    int r = mir_dns_name_parse(text, len, &query->base);
    /* An address of IPv6 is a label too, so it can be kept as a name. */
    if (r < 0)
        return r;
    for (uint32_t at = 0; query->base.wire[at] != 0; at += 1u + query->base.wire[at])
        dots++;
    query->type = type;
    query->dns = dns;
    query->candidate = 0;
    query->is_absolute = text[len - 1] == '.' || query->base.len == 1 ||
                         needs_no_domain(dns, &query->base, text, len);
    query->has_many_dots = dots > dns->config.ndots;
    return 0;
}

/* @base and @domain in one. False: too long. */
static bool join(const struct mir_dns_name *base, const struct mir_dns_name *domain,
                 struct mir_dns_name *name)
{
    if (base->len - 1u + domain->len > MIR_DNS_NAME_MAX)
        return false;
    *name = *base;
    mir_memcpy(name->wire + base->len - 1, domain->wire, domain->len);
    name->len = (uint8_t)(base->len - 1 + domain->len);
    return true;
}

bool mir__dns_candidate(const struct mir_dns_query *query, uint32_t candidate,
                        struct mir_dns_name *name)
{
    struct mir_dns *dns = query->dns;
    uint32_t bare = query->has_many_dots || query->is_absolute ? 0 : dns->search_count;
    uint32_t count = query->is_absolute ? 1 : 1 + dns->search_count;
    if (candidate >= count)
        return false;
    *name = query->base;
    if (candidate == bare)
        return true;
    uint32_t domain = candidate < bare ? candidate : candidate - 1;
    if (!join(&query->base, &dns->search[domain], name))
        *name = query->base; /* it cannot exist with this domain */
    return true;
}

/* ---- names that need no server ----------------------------------------------------------------
 */

/* What was found: up to 16 addresses of the asked family. */
struct local {
    bool is_known, is_nxdomain;
    uint32_t count;
    struct mir_ip ip[16];
};

static void add_address(struct local *local, const struct mir_ip *ip, uint16_t type)
{
    local->is_known = true;
    if (mir_ip_is_v4(ip) == (type == MIR_DNS_A) && (type == MIR_DNS_A || type == MIR_DNS_AAAA) &&
        local->count < MIR_ARRAY_LEN(local->ip))
        local->ip[local->count++] = *ip;
}

static void look_in_hosts(struct mir_dns *dns, const struct mir_dns_name *name, uint16_t type,
                          struct local *local)
{
    struct mir_dns_name host;
    if (type != MIR_DNS_A && type != MIR_DNS_AAAA)
        return;
    for (uint32_t i = 0; i < dns->config.host_count; i++) {
        const char *text = dns->config.hosts[i].name;
        if (mir_dns_name_parse(text, mir_str_len(text), &host) == 0 &&
            mir_dns_name_equal(&host, name))
            add_address(local, &dns->config.hosts[i].ip, type);
    }
}

static void look(struct mir_dns *dns, const struct mir_dns_name *name, uint16_t type,
                 struct local *local)
{
    static const char *const never[] = {"invalid", "onion", "local"};
    const struct mir_ip loopback6 = {.bytes = {[15] = 1}};
    struct mir_ip ip = mir_ip_from_v4(0x7f000001);
    char text[MIR_DNS_NAME_TEXT_MAX];
    mir_dns_name_text(name, text);
    look_in_hosts(dns, name, type, local);
    if (local->is_known)
        return;
    if (is_in(name, "localhost")) {
        add_address(local, &ip, type);
        add_address(local, &loopback6, type);
    } else if (mir_ip_parse(text, mir_str_len(text), &ip) == 0) {
        add_address(local, &ip, type);
    }
    /* What is below "local" is asked of the link (ask.c), unless that is not wished. */
    bool has_link = !dns->config.no_multicast && name->len > sizeof "\5local";
    size_t count = MIR_ARRAY_LEN(never) - has_link;
    for (size_t i = 0; i < count && !local->is_known; i++)
        local->is_known = local->is_nxdomain = is_in(name, never[i]);
}

struct mir_dns_answer *mir__dns_local(struct mir_dns *dns, const struct mir_dns_name *name,
                                      uint16_t type, bool *is_local)
{
    struct local local = {.count = 0};
    look(dns, name, type, &local);
    *is_local = local.is_known;
    if (!local.is_known)
        return NULL;
    struct mir_dns_answer *answer = mir__dns_answer_new(dns, name, type, local.count * 18);
    if (answer == NULL)
        return NULL;
    for (uint32_t i = 0; i < local.count; i++) {
        struct mir_dns_rdata rdata = {.type = type, .ip = local.ip[i]};
        mir__dns_answer_add(answer, &rdata);
    }
    answer->error = local.count > 0 ? 0 : -MIR_ENOENT;
    answer->is_nxdomain = local.is_nxdomain;
    answer->expires_us = MIR_TIME_NEVER;
    dns->stats.answered_locally++;
    return answer;
}
