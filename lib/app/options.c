/* SPDX-License-Identifier: ISC */
/* The command line of an appliance, parsed against its manifest.
 *
 * One table of options; each row has a function that takes the value's text. Manifest values go
 * through the same functions first, so there is one parser for both and a value wrong in the
 * manifest is reported like one on the command line.
 *
 *   --opt VALUE   --opt=VALUE   -p VALUE   --param VALUE (declared under args in app.conf)
 *
 * Options about a network take [NAME=]VALUE; without NAME they mean the first network. "NAME=" is
 * recognised only if it names a network of the manifest or what follows could not be right
 * otherwise, since a file name or a fault specification may contain "=" itself.
 *
 * Nothing here opens, prints or allocates: errors are one line of text in options->error, values
 * that are texts point into argv or the manifest.
 */
#include <mirari/err.h>
#include <mirari/format.h>

#include "lib/app/options.h"

struct text {
    const char *at;
    size_t len;
};

/* Where a value comes from, for errors. */
struct source {
    struct mir__app_options *options;
    const char *what; /* "--ip", "manifest: ip" */
};

typedef int (*net_value_fn)(const struct source *source, uint32_t net, struct text value);
typedef int (*value_fn)(const struct source *source, const char *value);

static struct text text_of(const char *s)
{
    return (struct text){s, mir_str_len(s)};
}

static bool text_is(struct text t, const char *s)
{
    return mir_str_len(s) == t.len && mir_memcmp(t.at, s, t.len) == 0;
}

/* Position of @c in @t, or t.len. */
static size_t find(struct text t, char c)
{
    size_t i = 0;
    while (i < t.len && t.at[i] != c)
        i++;
    return i;
}

static struct text rest(struct text t, size_t from)
{
    return from < t.len ? (struct text){t.at + from, t.len - from} : (struct text){t.at + t.len, 0};
}

static int refuse(const struct source *source, struct text value, const char *expected)
{
    mir_format(source->options->error, MIR__APP_ERROR_MAX, "%s: \"%.*s\" is not %s", source->what,
               (int)MIR_MIN(value.len, 80u), value.at, expected);
    return -MIR_EINVAL;
}

/* ---- values about a network --------------------------------------------------------------- */

static int set_mode(const struct source *source, uint32_t net, struct text value)
{
    static const char *const modes[] = {"user", "tap", "packet", "socket", "pipe"};
    struct mir__app_net *n = &source->options->net[net];
    size_t colon = find(value, ':');
    struct text mode = {value.at, colon};
    for (size_t i = 0; i < MIR_ARRAY_LEN(modes); i++) {
        if (!text_is(mode, modes[i]))
            continue;
        bool is_packet = text_is(mode, "packet");
        if (colon < value.len && !is_packet && !text_is(mode, "tap"))
            return refuse(source, value, "valid: only tap and packet take an interface name");
        if (colon < value.len && (value.len - colon - 1 == 0 || value.len - colon - 1 > 15))
            return refuse(source, value, "MODE:IFNAME with a name of 1 to 15 letters");
        if (colon == value.len && is_packet)
            return refuse(source, value, "complete: packet:IFNAME says on which interface");
        n->mode = value.at;
        n->mode_len = colon;
        n->ifname = colon < value.len ? value.at + colon + 1 : NULL;
        return 0;
    }
    return refuse(source, value, "a network mode: user, tap, tap:IFNAME, packet:IFNAME, socket");
}

/* Calls @set for each word of a list with commas. */
static int set_words(const struct source *source, struct mir__app_net *net, struct text list,
                     bool (*set)(struct mir__app_net *net, const char *text, size_t len),
                     const char *expected)
{
    do {
        size_t comma = find(list, ',');
        struct text word = {list.at, comma};
        while (word.len > 0 && word.at[0] == ' ')
            word = rest(word, 1);
        if (!set(net, word.at, word.len))
            return refuse(source, word, expected);
        list = rest(list, comma + 1);
    } while (list.len > 0);
    return 0;
}

static int set_ip(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_add_ip,
                     "an address with prefix length such as 10.0.0.2/24, or dhcp");
}

static int set_gateway(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_set_gateway,
                     "an address such as 10.0.0.1");
}

static int set_route(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_add_route,
                     "a route such as 192.0.2.0/24=10.0.0.1 or 2001:db8::/32=fe80::1");
}

static int set_ip6(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_set_ip6,
                     "off, link-local, static, auto or temporary");
}

static int set_acd(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_set_acd,
                     "quick, full or off");
}

static int set_link_local4(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_set_link_local4,
                     "on or off");
}

static int set_host_ip(const struct source *source, uint32_t net, struct text value)
{
    return set_words(source, &source->options->net[net], value, mir__app_set_host_ip,
                     "an address with prefix length such as 10.0.0.1/24");
}

static int set_mac(const struct source *source, uint32_t net, struct text value)
{
    static const char expected[] = "a unicast MAC address such as 02:00:00:00:00:01";
    struct mir__app_net *n = &source->options->net[net];
    uint8_t mac[6];
    if (value.len != 17)
        return refuse(source, value, expected);
    for (size_t i = 0; i < 6; i++) {
        int high = mir_hex_digit(value.at[3 * i]), low = mir_hex_digit(value.at[3 * i + 1]);
        if (high < 0 || low < 0 || (i < 5 && value.at[3 * i + 2] != ':'))
            return refuse(source, value, expected);
        mac[i] = (uint8_t)(high << 4 | low);
    }
    if (mac[0] & 1 || (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) == 0)
        return refuse(source, value, expected);
    mir_memcpy(n->mac, mac, 6);
    n->has_mac = true;
    return 0;
}

static int set_mtu(const struct source *source, uint32_t net, struct text value)
{
    uint64_t mtu;
    if (mir_parse_u64(value.at, value.len, 65535, &mtu) < 0 || mtu < 576)
        return refuse(source, value, "an MTU of 576 to 65535");
    source->options->net[net].mtu = (uint16_t)mtu;
    return 0;
}

static int set_vlan(const struct source *source, uint32_t net, struct text value)
{
    uint64_t id;
    if (mir_parse_u64(value.at, value.len, 4094, &id) < 0 || id == 0)
        return refuse(source, value, "a VLAN of 1 to 4094");
    source->options->net[net].vlan = (uint16_t)id;
    return 0;
}

static bool parse_port(struct text t, uint16_t *port)
{
    uint64_t number;
    if (mir_parse_u64(t.at, t.len, 65535, &number) < 0 || number == 0)
        return false;
    *port = (uint16_t)number;
    return true;
}

/* The address in front of HOSTPORT:PORT, if there is one: 127.0.0.1: or [::1]:. */
static bool take_host(struct text *value, struct mir_ip *ip)
{
    if (value->len > 0 && value->at[0] == '[') {
        size_t end = find(*value, ']');
        struct text after = rest(*value, end + 1);
        if (end == value->len || mir_ip_parse(value->at + 1, end - 1, ip) < 0 || mir_ip_is_v4(ip) ||
            after.len == 0 || after.at[0] != ':')
            return false;
        *value = rest(after, 1);
        return true;
    }
    size_t first = find(*value, ':');
    struct text after = rest(*value, first + 1);
    if (find(after, ':') == after.len)
        return true;
    if (mir_ip_parse(value->at, first, ip) < 0 || !mir_ip_is_v4(ip))
        return false;
    *value = after;
    return true;
}

/* [HOSTADDR:]HOSTPORT:PORT[/udp|/tcp] */
static bool parse_forward(struct text value, struct mir__app_forward *forward)
{
    size_t slash = find(value, '/');
    if (slash < value.len) {
        struct text protocol = rest(value, slash + 1);
        forward->is_udp = text_is(protocol, "udp");
        if (!forward->is_udp && !text_is(protocol, "tcp"))
            return false;
        value.len = slash;
    }
    forward->host_ip = mir_ip_from_v4(0x7f000001);
    if (!take_host(&value, &forward->host_ip))
        return false;
    size_t first = find(value, ':');
    return parse_port((struct text){value.at, first}, &forward->host_port) &&
           parse_port(rest(value, first + 1), &forward->port);
}

static int add_forward(const struct source *source, uint32_t net, struct text value)
{
    struct mir__app_options *o = source->options;
    struct mir__app_forward forward = {.net = net};
    if (!parse_forward(value, &forward))
        return refuse(source, value,
                      "[HOSTADDR:]HOSTPORT:PORT[/udp] such as 8080:80 or [::1]:8080:80");
    if (o->forward_count == MIR__APP_FORWARDS_MAX)
        return refuse(source, value, "possible: there are 32 forwarded ports already");
    o->forward[o->forward_count++] = forward;
    return 0;
}

static int set_forward(const struct source *source, uint32_t net, struct text value)
{
    struct mir__app_options *o = source->options;
    if (!o->net[net].has_forwards) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < o->forward_count; i++) {
            if (o->forward[i].net != net)
                o->forward[kept++] = o->forward[i];
        }
        o->forward_count = kept;
        o->net[net].has_forwards = true;
    }
    return add_forward(source, net, value);
}

static int set_pcap(const struct source *source, uint32_t net, struct text value)
{
    if (value.len == 0)
        return refuse(source, value, "a file name");
    source->options->net[net].pcap = value.at;
    return 0;
}

static int set_lease_file(const struct source *source, uint32_t net, struct text value)
{
    if (value.len == 0)
        return refuse(source, value, "a file name");
    source->options->net[net].lease_file = value.at;
    return 0;
}

static int set_fault(const struct source *source, uint32_t net, struct text value)
{
    if (value.len == 0)
        return refuse(source, value, "a specification such as loss=1%,delay=10ms");
    source->options->net[net].fault = value.at;
    return 0;
}

static int set_trace(const struct source *source, uint32_t net, struct text value)
{
    if (value.len != 0)
        return refuse(source, value, "a network of this appliance");
    source->options->net[net].is_traced = true;
    return 0;
}

/* ADDR[,ADDR]..., at most MIR_DNS_SERVERS_MAX; of the manifest, those of several networks add up.
 */
static int add_dns(const struct source *source, uint32_t net, struct text value)
{
    struct mir__app_options *o = source->options;
    (void)net;
    do {
        size_t comma = find(value, ',');
        struct mir_ip ip;
        if (mir_ip_parse(value.at, comma, &ip) < 0 || o->dns_count == MIR_DNS_SERVERS_MAX)
            return refuse(source, value, "up to 4 addresses of name servers: ADDR,ADDR");
        o->dns[o->dns_count++] = ip;
        value = rest(value, comma + 1);
    } while (value.len > 0);
    return 0;
}

/* ---- other values ------------------------------------------------------------------------- */

static int set_log(const struct source *source, const char *value)
{
    source->options->log = value;
    return 0;
}

static int set_memory(const struct source *source, const char *value)
{
    uint64_t mib;
    if (mir_parse_u64(value, mir_str_len(value), 1u << 20, &mib) < 0 || mib < 4)
        return refuse(source, text_of(value), "a number of MiB from 4 on");
    source->options->memory_mib = (uint32_t)mib;
    return 0;
}

/* --lease, --grace, --control, --control-ro */
static int set_life(const struct source *source, const char *value)
{
    if (mir__app_set_life(source->options, source->what, value) == 0)
        return 0;
    return refuse(source, text_of(value), "a time such as 90, 30m or 2h, or a path");
}

static int set_dns(const struct source *source, const char *value)
{
    source->options->dns_count = 0;
    return add_dns(source, 0, text_of(value));
}

static int set_no_sandbox(const struct source *source, const char *value)
{
    (void)value;
    source->options->no_sandbox = true;
    return 0;
}

static int set_help(const struct source *source, const char *value)
{
    (void)value;
    source->options->is_help = true;
    return 0;
}

static int set_version(const struct source *source, const char *value)
{
    (void)value;
    source->options->is_version = true;
    return 0;
}

/* ---- the table ---------------------------------------------------------------------------- */

static int set_kv(const struct source *source, const char *value)
{
    return mir__app_add_store(source->options, value);
}

static int set_channel(const struct source *source, const char *value)
{
    struct mir__app_options *o = source->options;
    if (o->channel_count == MIR_APP_CHANNELS_MAX)
        return -MIR_EINVAL;
    o->channel[o->channel_count++] = value;
    return 0;
}

static int set_process(const struct source *source, const char *value)
{
    return mir__app_set_process(source->options, source->what, value);
}

enum takes { TAKES_NOTHING, TAKES_VALUE, TAKES_NET_NAME };

struct option {
    const char *name;
    const char *short_name;
    enum takes takes;
    net_value_fn set_net; /* or set */
    value_fn set;
    const char *help; /* "VALUE|what it does" */
};

static const struct option option_table[] = {
    {"--net", NULL, TAKES_VALUE, set_mode, NULL,
     "[NAME=]MODE|how it is connected: user, tap[:IFNAME], packet:IFNAME, socket"},
    {"--ip", NULL, TAKES_VALUE, set_ip, NULL,
     "[NAME=]ADDR/LEN|own address, IPv4 or IPv6, or dhcp; repeatable"},
    {"--gateway", NULL, TAKES_VALUE, set_gateway, NULL,
     "[NAME=]ADDR|default route, one for IPv4 and one for IPv6"},
    {"--route", NULL, TAKES_VALUE, set_route, NULL,
     "[NAME=]PREFIX/LEN=ADDR|route over that gateway; repeatable"},
    {"--ip6", NULL, TAKES_VALUE, set_ip6, NULL,
     "[NAME=]MODE|IPv6: off, link-local, static (no routers asked), auto, temporary"},
    {"--acd", NULL, TAKES_VALUE, set_acd, NULL,
     "[NAME=]MODE|is an IPv4 address free? quick (0.3 s), full (7 s, RFC 5227), off"},
    {"--link-local4", NULL, TAKES_VALUE, set_link_local4, NULL,
     "[NAME=]WORD|on: 169.254/16 where no DHCP server answers, or without an address"},
    {"--mac", NULL, TAKES_VALUE, set_mac, NULL, "[NAME=]MAC|own hardware address"},
    {"--mtu", NULL, TAKES_VALUE, set_mtu, NULL, "[NAME=]N|largest IP packet"},
    {"--vlan", NULL, TAKES_VALUE, set_vlan, NULL, "[NAME=]N|tag its frames with this VLAN"},
    {"--forward", "-p", TAKES_VALUE, set_forward, NULL,
     "[NAME=][HOSTADDR:]HOSTPORT:PORT[/udp]|port of the host that leads here (user)"},
    {"--host-ip", NULL, TAKES_VALUE, set_host_ip, NULL,
     "[NAME=]ADDR/LEN|the host's address on a tap made here"},
    {"--pcap", NULL, TAKES_VALUE, set_pcap, NULL, "[NAME=]FILE|write a capture (pcapng)"},
    {"--lease-file", NULL, TAKES_VALUE, set_lease_file, NULL,
     "[NAME=]FILE|keep the DHCP lease there for the next start"},
    {"--fault", NULL, TAKES_VALUE, set_fault, NULL,
     "[NAME=]SPEC|disturb frames: loss=1%,dup=1%,reorder=1%,corrupt=1%,delay=10ms,..."},
    {"--trace", NULL, TAKES_NET_NAME, set_trace, NULL, "[NAME]|print a line for each frame"},
    {"--log", NULL, TAKES_VALUE, NULL, set_log, "LEVEL[,MODULE=LEVEL]|error warn info debug trace"},
    {"--memory", NULL, TAKES_VALUE, NULL, set_memory, "MIB|memory for packets and data"},
    {"--spin", NULL, TAKES_VALUE, NULL, set_process,
     "US|look for events this long before sleeping (latency for CPU time)"},
    {"--dns", NULL, TAKES_VALUE, NULL, set_dns,
     "ADDR[,ADDR]|name servers, instead of those the network tells"},
    {"--kv", NULL, TAKES_VALUE, NULL, set_kv,
     "NAME=PLACE|a folder, archive (tar) or disk as that store"},
    {"--workers", NULL, TAKES_VALUE, NULL, set_process, "N|processes, kept by a monitor (unix)"},
    {"--monitor", NULL, TAKES_VALUE, NULL, set_process, "PATH|where the monitor listens (unix)"},
    {"--channel", NULL, TAKES_VALUE, NULL, set_channel, "NAME=PATH|its region (unix)"},
    {"--lease", NULL, TAKES_VALUE, NULL, set_life, "TIME|end by itself after 90 (s), 30m, 2h"},
    {"--grace", NULL, TAKES_VALUE, NULL, set_life, "TIME|what an end may take (30s)"},
    {"--control", NULL, TAKES_VALUE, NULL, set_life, "PATH|control channel, or off"},
    {"--control-ro", NULL, TAKES_VALUE, NULL, set_life, "PATH|another, to look only"},
    {"--no-sandbox", NULL, TAKES_NOTHING, NULL, set_no_sandbox, "|for debuggers"},
    {"--help", "-h", TAKES_NOTHING, NULL, set_help, "|this text"},
    {"--version", NULL, TAKES_NOTHING, NULL, set_version, "|name and version"},
};

static const struct option *find_option(struct text name)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(option_table); i++) {
        const struct option *option = &option_table[i];
        if (text_is(name, option->name) ||
            (option->short_name != NULL && text_is(name, option->short_name)))
            return option;
    }
    return NULL;
}

static int find_net(const struct mir__app_options *o, struct text name)
{
    for (uint32_t i = 0; i < o->net_count; i++) {
        if (text_is(name, o->net[i].name))
            return (int)i;
    }
    return -1;
}

/* Could @value be meant as NAME=...? A name is letters, digits, '-' and '_'. */
static bool looks_like_name(struct text value, size_t equals)
{
    if (equals == 0 || equals == value.len)
        return false;
    for (size_t i = 0; i < equals; i++) {
        char c = value.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

static int refuse_net(const struct source *source, struct text name)
{
    struct mir__app_options *o = source->options;
    size_t at =
        mir_format(o->error, MIR__APP_ERROR_MAX, "%s: no network \"%.*s\"; there is:", source->what,
                   (int)MIR_MIN(name.len, 40u), name.at);
    for (uint32_t i = 0; i < o->net_count && at < MIR__APP_ERROR_MAX; i++)
        at += mir_format(o->error + at, MIR__APP_ERROR_MAX - at, " %s", o->net[i].name);
    return -MIR_EINVAL;
}

/* [NAME=]VALUE */
static int set_for_net(const struct source *source, const struct option *option, const char *value)
{
    struct mir__app_options *o = source->options;
    MIR_ASSERT(value != NULL);
    struct text text = text_of(value);
    uint32_t net = 0;
    if (o->net_count == 0) {
        mir_format(o->error, MIR__APP_ERROR_MAX, "%s: this appliance has no network", source->what);
        return -MIR_EINVAL;
    }
    size_t equals = find(text, '=');
    if (looks_like_name(text, equals)) {
        int found = find_net(o, (struct text){value, equals});
        bool may_contain_equals = option->set_net == set_pcap || option->set_net == set_fault ||
                                  option->set_net == set_route;
        if (found < 0 && !may_contain_equals)
            return refuse_net(source, (struct text){value, equals});
        if (found >= 0) {
            net = (uint32_t)found;
            text = rest(text, equals + 1);
        }
    }
    return option->set_net(source, net, text);
}

/* ---- parameters of the manifest ----------------------------------------------------------- */

static int set_param(const struct source *source, uint32_t index, const char *value)
{
    static const char *const expected[] = {"a text", "a whole number", "true or false"};
    struct mir__app_options *o = source->options;
    enum mir_param_type type = o->manifest->params[index].type;
    int64_t number;
    if (!mir__app_param_value(type, value, &number))
        return refuse(source, text_of(value), expected[type]);
    o->param_values[index] = value;
    return 0;
}

static int find_param(const struct mir_manifest *manifest, struct text name)
{
    if (name.len < 3 || name.at[0] != '-' || name.at[1] != '-')
        return -1;
    for (uint32_t i = 0; i < manifest->param_count; i++) {
        if (text_is(rest(name, 2), manifest->params[i].name))
            return (int)i;
    }
    return -1;
}

static int refuse_unknown(struct mir__app_options *o, struct text name)
{
    const char *names[MIR_ARRAY_LEN(option_table) + MIR__APP_PARAMS_MAX];
    size_t count = 0;
    if (name.len < 2 || name.at[0] != '-') {
        mir_format(o->error, MIR__APP_ERROR_MAX, "unexpected argument \"%.*s\"; try --help",
                   (int)MIR_MIN(name.len, 80u), name.at);
        return -MIR_EINVAL;
    }
    for (size_t i = 0; i < MIR_ARRAY_LEN(option_table); i++)
        names[count++] = option_table[i].name + 2;
    for (uint32_t i = 0; i < o->manifest->param_count; i++)
        names[count++] = o->manifest->params[i].name;
    size_t dashes = name.at[1] == '-' ? 2 : 1;
    struct text word = rest(name, dashes);
    const char *near = mir__app_nearest(word.at, word.len, names, count);
    if (near != NULL)
        mir_format(o->error, MIR__APP_ERROR_MAX, "unknown option %.*s; did you mean --%s?",
                   (int)MIR_MIN(name.len, 80u), name.at, near);
    else
        mir_format(o->error, MIR__APP_ERROR_MAX, "unknown option %.*s; try --help",
                   (int)MIR_MIN(name.len, 80u), name.at);
    return -MIR_EINVAL;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* "8080:80,5353:53/udp" */
static int load_forwards(const struct source *source, uint32_t net, const char *list)
{
    struct text left = text_of(list);
    while (left.len > 0) {
        size_t comma = find(left, ',');
        size_t skip = 0;
        while (skip < comma && left.at[skip] == ' ')
            skip++;
        int r = add_forward(source, net, (struct text){left.at + skip, comma - skip});
        if (r < 0)
            return r;
        left = rest(left, comma + 1);
    }
    return 0;
}

static int load_net(struct mir__app_options *o, uint32_t i, const struct mir_manifest_net *net)
{
    const struct {
        const char *value;
        const char *what;
        net_value_fn set;
    } rows[] = {
        {net->mode, "manifest: mode", set_mode},
        {net->ip, "manifest: ip", set_ip},
        {net->gateway, "manifest: gateway", set_gateway},
        {net->route, "manifest: route", set_route},
        {net->dns, "manifest: dns", add_dns},
        {net->ip6, "manifest: ip6", set_ip6},
        {net->acd, "manifest: acd", set_acd},
        {net->link_local4, "manifest: link-local4", set_link_local4},
        {net->mac, "manifest: mac", set_mac},
    };
    o->net[i].name = net->name;
    o->net[i].mtu = net->mtu;
    o->net[i].vlan = net->vlan;
    for (size_t row = 0; row < MIR_ARRAY_LEN(rows); row++) {
        struct source source = {o, rows[row].what};
        if (rows[row].value == NULL)
            continue;
        int r = rows[row].set(&source, i, text_of(rows[row].value));
        if (r < 0)
            return r;
    }
    o->net[i].of_manifest = MIR__APP_IP4 | MIR__APP_IP6 | MIR__APP_ROUTES;
    struct source source = {o, "manifest: forward"};
    return net->forward != NULL ? load_forwards(&source, i, net->forward) : 0;
}

static int load_manifest(struct mir__app_options *o, const struct mir_manifest *manifest)
{
    *o = (struct mir__app_options){.manifest = manifest};
    MIR_ASSERT_OP(manifest->net_count, <=, MIR_APP_NETS_MAX);
    MIR_ASSERT_OP(manifest->param_count, <=, MIR__APP_PARAMS_MAX);
    o->memory_mib = manifest->memory_mib != 0 ? manifest->memory_mib : 256;
    o->log = manifest->log;
    o->net_count = manifest->net_count;
    for (uint32_t i = 0; i < manifest->net_count; i++) {
        int r = load_net(o, i, &manifest->nets[i]);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < manifest->param_count; i++) {
        struct source source = {o, manifest->params[i].name};
        int r = set_param(&source, i, manifest->params[i].default_text);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The value of an option: after "=", or the next argument. NULL: there is none. */
static const char *take_value(const char *inline_value, int argc, const char *const *argv, int *at)
{
    if (inline_value != NULL)
        return inline_value;
    return *at + 1 < argc ? argv[++*at] : NULL;
}

static int refuse_missing(struct mir__app_options *o, const char *name)
{
    mir_format(o->error, MIR__APP_ERROR_MAX, "%s needs a value; try --help", name);
    return -MIR_EINVAL;
}

/* --trace, --trace NAME, --trace=NAME */
static int parse_net_name(const struct source *source, const struct option *option,
                          const char *inline_value, int argc, const char *const *argv, int *at)
{
    struct mir__app_options *o = source->options;
    int net = 0;
    if (inline_value != NULL) {
        net = find_net(o, text_of(inline_value));
        if (net < 0)
            return refuse_net(source, text_of(inline_value));
    } else if (*at + 1 < argc && find_net(o, text_of(argv[*at + 1])) >= 0) {
        net = find_net(o, text_of(argv[++*at]));
    }
    if (o->net_count == 0)
        return set_for_net(source, option, "");
    return option->set_net(source, (uint32_t)net, (struct text){"", 0});
}

static int parse_param(struct mir__app_options *o, int index, const char *inline_value, int argc,
                       const char *const *argv, int *at)
{
    const struct mir_param *param = &o->manifest->params[index];
    char what[48];
    struct source source = {o, what};
    const char *value = inline_value;
    mir_format(what, sizeof what, "--%s", param->name);
    int64_t number;
    if (value == NULL && param->type == MIR_PARAM_BOOL &&
        (*at + 1 >= argc || !mir__app_param_value(MIR_PARAM_BOOL, argv[*at + 1], &number)))
        value = "true";
    if (value == NULL)
        value = take_value(NULL, argc, argv, at);
    if (value == NULL)
        return refuse_missing(o, what);
    return set_param(&source, (uint32_t)index, value);
}

static int parse_argument(struct mir__app_options *o, int argc, const char *const *argv, int *at)
{
    struct text name = text_of(argv[*at]);
    const char *inline_value = NULL;
    size_t equals = find(name, '=');
    if (name.len > 2 && name.at[0] == '-' && equals < name.len) {
        inline_value = name.at + equals + 1;
        name.len = equals;
    }
    const struct option *option = find_option(name);
    if (option == NULL) {
        int param = find_param(o->manifest, name);
        if (param >= 0)
            return parse_param(o, param, inline_value, argc, argv, at);
        return refuse_unknown(o, name);
    }
    struct source source = {o, option->name};
    if (option->takes == TAKES_NET_NAME)
        return parse_net_name(&source, option, inline_value, argc, argv, at);
    const char *value = NULL;
    if (option->takes == TAKES_VALUE) {
        value = take_value(inline_value, argc, argv, at);
        if (value == NULL)
            return refuse_missing(o, option->name);
    } else if (inline_value != NULL) {
        return refuse(&source, text_of(inline_value), "expected: it takes no value");
    }
    return option->set != NULL ? option->set(&source, value) : set_for_net(&source, option, value);
}

int mir__app_options_parse(struct mir__app_options *options, const struct mir_manifest *manifest,
                           int argc, const char *const *argv)
{
    int r = load_manifest(options, manifest);
    if (r < 0)
        return r;
    for (int at = 1; at < argc; at++) {
        r = parse_argument(options, argc, argv, &at);
        if (r < 0)
            return r;
    }
    return 0;
}

bool mir__app_net_is(const struct mir__app_net *net, const char *mode)
{
    return net->mode != NULL && text_is((struct text){net->mode, net->mode_len}, mode);
}

static size_t help_line(char *out, size_t size, const char *name, const char *help)
{
    struct text text = text_of(help);
    size_t bar = find(text, '|');
    struct text what = rest(text, bar + 1);
    return mir_format(out, size, "  %s %.*s\n        %.*s\n", name, (int)bar, help, (int)what.len,
                      what.at);
}

size_t mir__app_options_help(const struct mir_manifest *manifest, char *out, size_t size)
{
    size_t at = mir_format(out, size, "%s %s, a Mirari appliance\n\nOptions:\n", manifest->name,
                           manifest->version);
    for (size_t i = 0; i < MIR_ARRAY_LEN(option_table); i++) {
        size_t used = MIR_MIN(at, size);
        at += help_line(out + used, size - used, option_table[i].name, option_table[i].help);
    }
    if (manifest->param_count > 0)
        at += mir_format(out + MIR_MIN(at, size), size - MIR_MIN(at, size),
                         "\nParameters of this appliance:\n");
    for (uint32_t i = 0; i < manifest->param_count; i++) {
        const struct mir_param *param = &manifest->params[i];
        size_t used = MIR_MIN(at, size);
        at += mir_format(out + used, size - used, "  --%s VALUE\n        %s (now: %s)\n",
                         param->name, param->doc, param->default_text);
    }
    return at;
}
