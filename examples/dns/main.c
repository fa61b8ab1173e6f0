/* SPDX-License-Identifier: ISC */
/* An authoritative name server. Every file NAME.zone of the store "zones" is the zone NAME.
 *
 * The server does the work (lib/dns); here is what an appliance adds: reading the store, the lists
 * of addresses among the options, and saying what it serves.
 */
#include <mirari/dns_server.h>
#include <mirari/mirari.h>

#define ZONES_MAX 256u

static struct mir_app *app;
static struct mir_kv *store;
static struct mir_dns_zone *zones[ZONES_MAX];
static uint32_t zone_count;

static unsigned long long number(uint64_t value)
{
    return value;
}

/* ---- zones ---------------------------------------------------------------------------------- */

static void report(void *arg, bool is_error, const char *line)
{
    (void)arg;
    (void)is_error;
    mir_app_print(app, "%s\n", line);
}

static int include(void *arg, const char *name, const char **text, size_t *len)
{
    const struct mir_kv_entry *entry;
    (void)arg;
    if (mir_kv_get(store, name, mir_str_len(name), &entry) < 0)
        return -MIR_ENOENT;
    *text = (const char *)entry->body[MIR_KV_IDENTITY].page->base;
    *len = entry->body[MIR_KV_IDENTITY].size_bytes;
    return 0;
}

static int add_zone(const struct mir_kv_entry *entry, const char *origin)
{
    struct mir_dns_zone_info info;
    struct mir_dns_zone_config config = {
        .pages = app->pages,
        .origin = origin,
        .file = entry->key,
        .text = (const char *)entry->body[MIR_KV_IDENTITY].page->base,
        .len = entry->body[MIR_KV_IDENTITY].size_bytes,
        .include = include,
        .report = report,
    };
    int r = zone_count < ZONES_MAX ? mir_dns_zone_open(&config, &zones[zone_count]) : -MIR_ELIMIT;
    if (r < 0) {
        mir_app_print(app, "%s: not served: %s\n", entry->key, mir_strerror(r));
        return r;
    }
    mir_dns_zone_get_info(zones[zone_count++], &info);
    mir_app_print(app, "zone %s: serial %u, %u names, %u records\n", origin, info.serial,
                  info.names, info.records);
    return 0;
}

static int add_zones(void)
{
    static const char end[] = ".zone";
    const struct mir_kv_entry *entry;
    char origin[256];
    int worst = 0;
    for (uint32_t i = 0; mir_kv_at(store, i, &entry) == 0; i++) {
        size_t len = entry->key_len, end_len = sizeof end - 1;
        if (len <= end_len || len - end_len >= sizeof origin ||
            mir_memcmp(entry->key + len - end_len, end, end_len) != 0)
            continue;
        mir_memcpy(origin, entry->key, len - end_len);
        origin[len - end_len] = '\0';
        int r = add_zone(entry, origin);
        worst = r < 0 ? r : worst;
    }
    return worst;
}

/* ---- lists of addresses --------------------------------------------------------------------- */

/* The next word of a list with commas or blanks between; 0: no more. */
static size_t next_word(const char **at)
{
    size_t len = 0;
    while (**at == ' ' || **at == ',')
        (*at)++;
    while ((*at)[len] != '\0' && (*at)[len] != ' ' && (*at)[len] != ',')
        len++;
    return len;
}

static int say_wrong(const char *option, const char *text, size_t len)
{
    mir_app_print(app, "--%s: '%.*s' is wrong, or one too many (%u)\n", option, (int)len, text,
                  MIR_DNS_PEERS_MAX);
    return -MIR_EINVAL;
}

/* "192.0.2.0/24"; an address alone is itself. */
static int parse_network(const char *text, size_t len, struct mir_net_prefix *network)
{
    if (mir_ip_parse_prefix(text, len, &network->ip, &network->prefix_len) == 0)
        return 0;
    network->prefix_len = 128;
    int r = mir_ip_parse(text, len, &network->ip);
    if (r == 0 && mir_ip_is_v4(&network->ip))
        network->prefix_len = 32;
    return r;
}

static int parse_networks(struct mir_net_prefix *out, uint32_t *count)
{
    const char *at = mir_app_string(app, "transfer");
    size_t len;
    for (*count = 0; (len = next_word(&at)) > 0; at += len) {
        if (*count == MIR_DNS_PEERS_MAX || parse_network(at, len, &out[*count]) < 0)
            return say_wrong("transfer", at, len);
        (*count)++;
    }
    return 0;
}

static int parse_notify(struct mir_endpoint *out, uint32_t *count)
{
    const char *at = mir_app_string(app, "notify");
    size_t len;
    for (*count = 0; (len = next_word(&at)) > 0; at += len) {
        if (*count == MIR_DNS_PEERS_MAX || mir_ip_parse(at, len, &out[*count].ip) < 0)
            return say_wrong("notify", at, len);
        (*count)++;
    }
    return 0;
}

/* ---- the appliance -------------------------------------------------------------------------- */

static void print_statistics(const struct mir_dns_server *server)
{
    struct mir_dns_server_stats s;
    mir_dns_server_get_stats(server, &s);
    mir_app_print(app,
                  "dns: %llu questions by UDP, %llu by TCP, %llu answered ready, %llu made, "
                  "%llu no such name, %llu truncated, %llu refused, %llu malformed, "
                  "%llu limited, %llu transfers, %llu notices heard\n",
                  number(s.queries_udp), number(s.queries_tcp), number(s.answered_ready),
                  number(s.answered_made), number(s.nxdomain), number(s.truncated),
                  number(s.refused), number(s.formerr), number(s.dropped_rate + s.slipped),
                  number(s.transfers), number(s.notify_answered));
}

static int serve(void)
{
    struct mir_net_prefix transfer[MIR_DNS_PEERS_MAX];
    struct mir_endpoint notify[MIR_DNS_PEERS_MAX] = {{.port = 0}};
    struct mir_dns_server_stats stats;
    struct mir_dns_server *server;
    struct mir_dns_server_config config = {
        .stack = app->stack,
        .rng = app->rng,
        .local = {.port = (uint16_t)mir_app_int(app, "port")},
        .zones = zones,
        .zone_count = zone_count,
        .transfer = transfer,
        .notify = notify,
        .limits = {.rate_per_second = (uint32_t)mir_app_int(app, "rate")},
    };
    int r = parse_networks(transfer, &config.transfer_count);
    if (r == 0)
        r = parse_notify(notify, &config.notify_count);
    if (r < 0)
        return r;
    r = mir_dns_server_open(&config, &server);
    if (r < 0) {
        mir_app_print(app, "port %u: %s\n", config.local.port, mir_strerror(r));
        return r;
    }
    mir_dns_server_get_stats(server, &stats);
    mir_app_print(app, "dns on port %u: %u zones, %u answers ready in %llu KiB\n",
                  config.local.port, zone_count, stats.ready, number(stats.ready_bytes / 1024));
    mir_app_wait_stop(app);
    print_statistics(server);
    mir_dns_server_close(server);
    return 0;
}

int mir_app_main(struct mir_app *this_app)
{
    app = this_app;
    store = mir_app_kv(app, "zones");
    int r = add_zones();
    if (r == 0)
        r = serve();
    for (uint32_t i = 0; i < zone_count; i++)
        mir_dns_zone_close(zones[i]);
    return r == 0 ? 0 : 1;
}
