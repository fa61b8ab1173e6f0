/* SPDX-License-Identifier: ISC */
/* Addresses, gateways and routes of a network, as the manifest and the command line say them.
 *
 * The first IPv4 address is the interface's own (or dhcp takes its place); further ones, and all of
 * IPv6, are in a list. What the command line says replaces what the manifest says, for each family
 * by itself: the first --ip with an IPv6 address forgets those of the manifest, further ones add.
 */
#include <mirari/err.h>
#include <mirari/format.h>

#include "lib/app/options.h"

/* Is it the first of its kind on the command line? */
static bool replaces(struct mir__app_net *net, unsigned kind)
{
    bool is_first = (net->of_manifest & kind) != 0;
    net->of_manifest &= ~kind;
    return is_first;
}

static void forget_family(struct mir__app_net *net, bool is_v4)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < net->address_count; i++) {
        if (mir_ip_is_v4(&net->addresses[i].ip) != is_v4)
            net->addresses[kept++] = net->addresses[i];
    }
    net->address_count = kept;
    if (is_v4)
        net->has_ip = net->use_dhcp = false;
}

bool mir__app_add_ip(struct mir__app_net *net, const char *text, size_t len)
{
    struct mir_net_prefix address;
    if (len == 4 && mir_memcmp(text, "dhcp", 4) == 0) {
        net->of_manifest &= ~(unsigned)MIR__APP_IP4;
        forget_family(net, true);
        net->use_dhcp = true;
        return true;
    }
    if (mir_ip_parse_prefix(text, len, &address.ip, &address.prefix_len) < 0 ||
        mir_ip_is_any(&address.ip) || address.prefix_len == 0)
        return false;
    bool is_v4 = mir_ip_is_v4(&address.ip);
    if (replaces(net, is_v4 ? MIR__APP_IP4 : MIR__APP_IP6))
        forget_family(net, is_v4);
    if (is_v4 && !net->has_ip) {
        net->has_ip = true;
        net->use_dhcp = false;
        net->ip = address.ip;
        net->prefix_len = address.prefix_len;
        return true;
    }
    if (net->address_count == MIR__APP_ADDRESSES_MAX)
        return false;
    net->addresses[net->address_count++] = address;
    return true;
}

bool mir__app_set_gateway(struct mir__app_net *net, const char *text, size_t len)
{
    struct mir_ip ip;
    if (mir_ip_parse(text, len, &ip) < 0)
        return false;
    /* 0.0.0.0 and :: take away what the manifest says. */
    if (mir_ip_is_v4(&ip)) {
        net->gateway = ip;
        net->has_gateway = !mir_ip_is_any(&ip);
    } else {
        net->gateway6 = ip;
    }
    return true;
}

bool mir__app_add_route(struct mir__app_net *net, const char *text, size_t len)
{
    struct mir_net_route route = {0};
    size_t equals = 0;
    while (equals < len && text[equals] != '=')
        equals++;
    if (equals == len || mir_ip_parse_prefix(text, equals, &route.prefix, &route.prefix_len) < 0 ||
        mir_ip_parse(text + equals + 1, len - equals - 1, &route.gateway) < 0 ||
        mir_ip_is_v4(&route.prefix) != mir_ip_is_v4(&route.gateway))
        return false;
    if (replaces(net, MIR__APP_ROUTES))
        net->route_count = 0;
    if (net->route_count == MIR__APP_ROUTES_MAX)
        return false;
    net->routes[net->route_count++] = route;
    return true;
}

static bool is_word(const char *word, const char *text, size_t len)
{
    return mir_str_len(word) == len && mir_memcmp(word, text, len) == 0;
}

bool mir__app_set_ip6(struct mir__app_net *net, const char *text, size_t len)
{
    static const struct {
        const char *name;
        enum mir_ip6_mode mode;
        bool is_temporary;
    } modes[] = {{"off", MIR_IP6_OFF, false},
                 {"link-local", MIR_IP6_LINK_LOCAL, false},
                 {"static", MIR_IP6_STATIC, false},
                 {"auto", MIR_IP6_AUTO, false},
                 {"temporary", MIR_IP6_AUTO, true}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(modes); i++) {
        if (is_word(modes[i].name, text, len)) {
            net->ip6 = modes[i].mode;
            net->ip6_temporary = modes[i].is_temporary;
            net->has_ip6 = true;
            return true;
        }
    }
    return false;
}

bool mir__app_set_acd(struct mir__app_net *net, const char *text, size_t len)
{
    if (is_word("quick", text, len))
        net->acd = MIR_NET_ACD_QUICK;
    else if (is_word("full", text, len))
        net->acd = MIR_NET_ACD_FULL;
    else if (is_word("off", text, len))
        net->acd = MIR_NET_ACD_OFF;
    else
        return false;
    return true;
}

bool mir__app_set_link_local4(struct mir__app_net *net, const char *text, size_t len)
{
    net->link_local4 = is_word("on", text, len);
    return net->link_local4 || is_word("off", text, len);
}

bool mir__app_set_host_ip(struct mir__app_net *net, const char *text, size_t len)
{
    struct mir_net_prefix host;
    if (mir_ip_parse_prefix(text, len, &host.ip, &host.prefix_len) < 0 || mir_ip_is_any(&host.ip))
        return false;
    if (mir_ip_is_v4(&host.ip)) {
        net->host_ip = host.ip;
        net->host_prefix_len = host.prefix_len;
        net->has_host_ip = true;
    } else {
        net->host6 = host;
    }
    return true;
}

int mir__app_net_config(const struct mir__app_net *net, uint16_t mtu,
                        struct mir_net_if_config *config)
{
    bool has_v6 = !mir_ip_is_any(&net->gateway6);
    for (uint32_t i = 0; i < net->address_count; i++)
        has_v6 |= !mir_ip_is_v4(&net->addresses[i].ip);
    config->addresses = net->addresses;
    config->address_count = net->address_count;
    config->gateway6 = net->gateway6;
    config->ip6 = net->has_ip6 ? net->ip6 : MIR_IP6_AUTO;
    config->ip6_temporary = net->ip6_temporary;
    config->acd = net->acd;
    config->link_local4 = net->link_local4;
    /* A link that is too small for IPv6 has none, unless somebody asks for it. */
    if (!net->has_ip6 && !has_v6 && mtu < 1280)
        config->ip6 = MIR_IP6_OFF;
    return has_v6 && config->ip6 == MIR_IP6_OFF ? -MIR_EINVAL : 0;
}

void mir__app_print_net(struct mir_app *app, const char *kind,
                        const struct mir_net_if_config *config, const char *place)
{
    char ip[MIR_IP_TEXT_MAX];
    mir_app_print(app, "net: %s", kind);
    if (config->use_dhcp)
        mir_app_print(app, " dhcp");
    else if (!mir_ip_is_any(&config->ip))
        mir_app_print(app, " %s/%u", mir_ip_text(&config->ip, ip), config->prefix_len);
    for (uint32_t i = 0; i < config->address_count; i++)
        mir_app_print(app, " %s/%u", mir_ip_text(&config->addresses[i].ip, ip),
                      config->addresses[i].prefix_len);
    mir_app_print(app, place[0] != '\0' ? " (%s)\n" : "%s\n", place);
}

int mir__app_add_routes(const struct mir__app_net *net, struct mir_net *stack, uint32_t if_index)
{
    int r = 0;
    for (uint32_t i = 0; i < net->route_count && r == 0; i++) {
        struct mir_net_route route = net->routes[i];
        route.if_index = if_index;
        r = mir_net_add_route(stack, &route);
    }
    return r;
}
