/* SPDX-License-Identifier: ISC */
/* What an appliance knows, as tables: netstat, addr, route, arp, stats, pages, log; and shutdown.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/mirari/ctl.h"

static const char *number(uint64_t value)
{
    return need_format("%llu", (unsigned long long)value);
}

/* "1.5 MiB" */
static const char *size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    double value = (double)bytes;
    for (; value >= 1024 && unit + 1 < LEN(units); unit++)
        value /= 1024;
    return unit == 0 ? need_format("%llu B", (unsigned long long)bytes)
                     : need_format("%.1f %s", value, units[unit]);
}

struct rows {
    struct table *table;
    const char *first; /* column of every row, if there is one */
    void (*row)(struct ctl *ctl, uint32_t object, struct table *table);
};

static bool take_rows(struct ctl *ctl, uint32_t item, void *arg)
{
    struct rows *rows = arg;
    if (!mir_json_is(&ctl->json, item, MIR_JSON_ARRAY))
        return true;
    uint32_t at = item + 1;
    for (uint32_t i = 0; i < ctl->json.nodes[item].count; i++, at = ctl->json.nodes[at].next) {
        if (rows->first != NULL)
            table_add(rows->table, rows->first);
        rows->row(ctl, at, rows->table);
    }
    return true;
}

static int call_rows(struct ctl *ctl, const char *method, const char *params, struct table *table,
                     void (*row)(struct ctl *ctl, uint32_t object, struct table *table))
{
    struct rows rows = {.table = table, .row = row};
    return ctl_call(ctl, method, params, take_rows, &rows);
}

/* A command that is one call whose items are arrays of rows. */
static int show_rows(int argc, char **argv, const char *method, struct table *table,
                     void (*row)(struct ctl *ctl, uint32_t object, struct table *table))
{
    struct ctl_args args;
    struct ctl ctl;
    int r = ctl_arguments(&args, argc, argv, "", NULL, false);
    if (r == 0)
        r = ctl_open(&ctl, argv[0], args.who);
    if (r != 0)
        return r;
    r = call_rows(&ctl, method, NULL, table, row);
    ctl_close(&ctl);
    if (r == 0)
        table_show(table);
    return r;
}

/* ---- netstat --------------------------------------------------------------------------------- */

static void row_flow(struct ctl *ctl, uint32_t flow, struct table *table)
{
    bool is_udp = strcmp(ctl_text(ctl, flow, "proto"), "udp") == 0;
    bool is_listener = strcmp(ctl_text(ctl, flow, "kind"), "listener") == 0;
    table_add(table, ctl_text(ctl, flow, "proto"));
    table_add(table, number(ctl_number(ctl, flow, is_listener ? "waiting" : "recv_q")));
    table_add(table, number(ctl_number(ctl, flow, is_listener ? "backlog" : "send_q")));
    table_add(table, ctl_text(ctl, flow, "local"));
    table_add(table, is_listener ? "*" : ctl_text(ctl, flow, "remote"));
    table_add(table, is_udp ? "" : ctl_text(ctl, flow, "state"));
}

static void row_flow_info(struct ctl *ctl, uint32_t flow, struct table *table)
{
    uint32_t info = mir_json_find(&ctl->json, flow, "info");
    row_flow(ctl, flow, table);
    if (info == MIR_JSON_NONE) {
        table_add(table, "");
        return;
    }
    uint64_t srtt_us = ctl_number(ctl, info, "srtt_us"),
             var_us = ctl_number(ctl, info, "rttvar_us");
    char *text = need_format(
        "%s rtt:%llu.%03llu/%llu.%03llu ms cwnd:%llu mss:%llu sent:%llu acked:%llu received:%llu "
        "flight:%llu retrans:%llu lost:%llu delivery:%llu/s%s%s%s%s",
        ctl_text(ctl, info, "congestion"), (unsigned long long)(srtt_us / 1000),
        (unsigned long long)(srtt_us % 1000), (unsigned long long)(var_us / 1000),
        (unsigned long long)(var_us % 1000),
        (unsigned long long)ctl_number(ctl, info, "cwnd_bytes"),
        (unsigned long long)ctl_number(ctl, info, "mss"),
        (unsigned long long)ctl_number(ctl, info, "bytes_sent"),
        (unsigned long long)ctl_number(ctl, info, "bytes_acked"),
        (unsigned long long)ctl_number(ctl, info, "bytes_received"),
        (unsigned long long)ctl_number(ctl, info, "flight_bytes"),
        (unsigned long long)ctl_number(ctl, info, "retransmits"),
        (unsigned long long)ctl_number(ctl, info, "lost_bytes"),
        (unsigned long long)ctl_number(ctl, info, "delivery_rate_bytes"),
        ctl_flag(ctl, info, "sack") ? " sack" : "", ctl_flag(ctl, info, "timestamps") ? " ts" : "",
        ctl_flag(ctl, info, "ecn") ? " ecn" : "",
        ctl_flag(ctl, info, "in_recovery") ? " RECOVERY" : "");
    table_add(table, text);
    free(text);
}

int cmd_netstat(int argc, char **argv)
{
    static const char *const titles[] = {"WORKER", "PROTO",  ">RECV-Q", ">SEND-Q",
                                         "LOCAL",  "REMOTE", "STATE",   "INFO"};
    static const char *const names[] = {"l=listening", "t=tcp", "u=udp", "i=info", NULL};
    struct ctl_args args;
    struct ctl ctls[CTL_WORKERS_MAX];
    int r = ctl_arguments(&args, argc, argv, "ltui", names, false);
    if (r != 0)
        return r;
    unsigned count = ctl_open_all(ctls, argv[0], args.who);
    if (count == 0)
        return EXIT_FAIL;
    bool is_tcp = args.has['t'] || !args.has['u'], is_udp = args.has['u'] || !args.has['t'];
    char *params =
        need_format("{\"listeners\":%s,\"connections\":%s,\"udp\":%s,\"info\":%s}",
                    is_tcp ? "true" : "false", is_tcp && !args.has['l'] ? "true" : "false",
                    is_udp ? "true" : "false", args.has['i'] ? "true" : "false");
    struct table table = {.titles = titles + (count == 1)};
    table.columns = (args.has['i'] ? 7 : 6) + (count > 1);
    for (unsigned i = 0; i < count; i++) {
        struct rows rows = {.table = &table, .row = args.has['i'] ? row_flow_info : row_flow};
        rows.first = count > 1 ? number(ctls[i].worker) : NULL;
        r = r != 0 ? r : ctl_call(&ctls[i], "netstat", params, take_rows, &rows);
        ctl_close(&ctls[i]);
    }
    free(params);
    if (r == 0)
        table_show(&table);
    return r;
}

/* ---- addr, route, arp ------------------------------------------------------------------------ */

static void row_link(struct ctl *ctl, uint32_t link, struct table *table)
{
    table_add(table, ctl_text(ctl, link, "net"));
    table_add(table, ctl_text(ctl, link, "kind"));
    table_add(table, ctl_text(ctl, link, "mac"));
    table_add(table, number(ctl_number(ctl, link, "mtu")));
    table_add(table, ctl_flag(ctl, link, "up") ? "up" : "down");
    table_add(table,
              need_format("%llu frames, %s", (unsigned long long)ctl_number(ctl, link, "rx_frames"),
                          size_text(ctl_number(ctl, link, "rx_bytes"))));
    table_add(table,
              need_format("%llu frames, %s", (unsigned long long)ctl_number(ctl, link, "tx_frames"),
                          size_text(ctl_number(ctl, link, "tx_bytes"))));
    table_add(table,
              number(ctl_number(ctl, link, "rx_dropped") + ctl_number(ctl, link, "rx_errors") +
                     ctl_number(ctl, link, "tx_dropped") + ctl_number(ctl, link, "tx_errors")));
}

static void row_address(struct ctl *ctl, uint32_t address, struct table *table)
{
    table_add(table, ctl_text(ctl, address, "net"));
    table_add(table, need_format("%s/%llu", ctl_text(ctl, address, "ip"),
                                 (unsigned long long)ctl_number(ctl, address, "prefix")));
    table_add(table, ctl_text(ctl, address, "state"));
    table_add(table, ctl_text(ctl, address, "origin"));
    table_add(table, ctl_has(ctl, address, "valid_left_s")
                         ? need_format("%llu s",
                                       (unsigned long long)ctl_number(ctl, address, "valid_left_s"))
                         : "for ever");
}

int cmd_addr(int argc, char **argv)
{
    static const char *const link_titles[] = {"NET",  "KIND", "MAC", ">MTU",
                                              "LINK", "IN",   "OUT", ">DROPPED"};
    static const char *const titles[] = {"NET", "ADDRESS", "STATE", "ORIGIN", "VALID"};
    struct table links = {.titles = link_titles, .columns = LEN(link_titles)};
    struct table addresses = {.titles = titles, .columns = LEN(titles)};
    struct ctl_args args;
    struct ctl ctl;
    int r = ctl_arguments(&args, argc, argv, "", NULL, false);
    if (r == 0)
        r = ctl_open(&ctl, argv[0], args.who);
    if (r != 0)
        return r;
    r = call_rows(&ctl, "link", NULL, &links, row_link);
    if (r == 0)
        r = call_rows(&ctl, "addr", NULL, &addresses, row_address);
    ctl_close(&ctl);
    if (r != 0)
        return r;
    table_show(&links);
    printf("\n");
    table_show(&addresses);
    return 0;
}

static void row_route(struct ctl *ctl, uint32_t route, struct table *table)
{
    const char *prefix = ctl_text(ctl, route, "prefix");
    uint64_t len = ctl_number(ctl, route, "prefix_len");
    table_add(table, len == 0 ? strchr(prefix, ':') != NULL ? "default (IPv6)" : "default"
                              : need_format("%s/%llu", prefix, (unsigned long long)len));
    table_add(table,
              ctl_has(ctl, route, "gateway") ? ctl_text(ctl, route, "gateway") : "on the link");
    table_add(table, ctl_text(ctl, route, "net"));
    table_add(table, number(ctl_number(ctl, route, "metric")));
    table_add(table, ctl_text(ctl, route, "origin"));
}

int cmd_route(int argc, char **argv)
{
    static const char *const titles[] = {"DESTINATION", "GATEWAY", "NET", ">METRIC", "ORIGIN"};
    struct table table = {.titles = titles, .columns = LEN(titles)};
    return show_rows(argc, argv, "route", &table, row_route);
}

static void row_neighbour(struct ctl *ctl, uint32_t neighbour, struct table *table)
{
    const char *mac = ctl_text(ctl, neighbour, "mac");
    table_add(table, ctl_text(ctl, neighbour, "ip"));
    table_add(table, strcmp(mac, "00:00:00:00:00:00") == 0 ? "-" : mac);
    table_add(table, ctl_text(ctl, neighbour, "net"));
    table_add(table, need_format("%s%s", ctl_text(ctl, neighbour, "state"),
                                 ctl_flag(ctl, neighbour, "router") ? " router" : ""));
}

int cmd_arp(int argc, char **argv)
{
    static const char *const titles[] = {"NEIGHBOUR", "MAC", "NET", "STATE"};
    struct table table = {.titles = titles, .columns = LEN(titles)};
    return show_rows(argc, argv, "neigh", &table, row_neighbour);
}

/* ---- stats, pages, log ----------------------------------------------------------------------- */

static void show_members(const struct ctl *ctl)
{
    uint32_t object = ctl->result, at = object + 1;
    if (!mir_json_is(&ctl->json, object, MIR_JSON_OBJECT))
        return;
    for (uint32_t i = 0; i < ctl->json.nodes[object].count; i++) {
        const struct mir_json_node *name = &ctl->json.nodes[at], *value = name + 1;
        at = value->next;
        printf("%-30.*s %.*s\n", (int)name->len, ctl->json.text + name->at, (int)value->len,
               ctl->json.text + value->at);
    }
}

/* Counters of several workers, added up; of the time since the start, the longest. */
static void show_sums(const struct ctl *ctls, unsigned count, bool with_zeros)
{
    uint32_t object = ctls[0].result, at = object + 1;
    if (!mir_json_is(&ctls[0].json, object, MIR_JSON_OBJECT))
        return;
    for (uint32_t i = 0; i < ctls[0].json.nodes[object].count; i++) {
        const struct mir_json_node *node = &ctls[0].json.nodes[at];
        char *name = need_text(ctls[0].json.text + node->at, node->len);
        bool is_longest = strcmp(name, "uptime_us") == 0;
        uint64_t sum = 0;
        at = node[1].next;
        for (unsigned k = 0; k < count; k++) {
            uint64_t value = ctl_number(&ctls[k], ctls[k].result, name);
            sum = !is_longest ? sum + value : value > sum ? value : sum;
        }
        if (sum != 0 || with_zeros)
            printf("%-30s %llu\n", name, (unsigned long long)sum);
        free(name);
    }
}

/* The text of a worker's metrics, or NULL. */
static char *metrics_of(const struct ctl *ctl)
{
    if (!mir_json_is(&ctl->json, ctl->result, MIR_JSON_STRING))
        return NULL;
    size_t size = ctl->json.nodes[ctl->result].len + 1;
    char *text = need(size);
    if (mir_json_text(&ctl->json, ctl->result, text, size) == 0)
        return text;
    free(text);
    return NULL;
}

/* The line behind this one, or the end. */
static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return line + (*line == '\n');
}

/* The samples of one metric, behind its line "# TYPE", as those of a worker. */
static void show_metric(const char *text, const char *type, size_t type_len, unsigned worker)
{
    while (*text != '\0' && (strncmp(text, type, type_len) != 0 || text[type_len] != '\n'))
        text = next_line(text);
    for (text = next_line(text); *text != '\0' && *text != '#'; text = next_line(text)) {
        size_t len = strcspn(text, "\n"), name = strcspn(text, "{ \n");
        bool has_labels = text[name] == '{';
        printf("%.*s{worker=\"%u\"%s%.*s\n", (int)name, text, worker, has_labels ? "," : "}",
               (int)(len - name - has_labels), text + name + has_labels);
    }
}

/* Of one process as it says it. Of several, lines of one name stand together, whoever says them. */
static int show_metrics(const struct ctl *ctls, unsigned count)
{
    char *texts[CTL_WORKERS_MAX] = {0};
    int r = 0;
    for (unsigned k = 0; k < count; k++) {
        texts[k] = metrics_of(&ctls[k]);
        r = texts[k] != NULL ? r : EXIT_FAIL;
    }
    if (r == 0 && count == 1)
        fputs(texts[0], stdout);
    for (const char *line = texts[0]; r == 0 && count > 1 && *line != '\0';
         line = next_line(line)) {
        size_t len = strcspn(line, "\n");
        if (line[0] != '#')
            continue;
        printf("%.*s\n", (int)len, line);
        for (unsigned k = 0; k < count; k++)
            show_metric(texts[k], line, len, ctls[k].worker);
    }
    for (unsigned k = 0; k < count; k++)
        free(texts[k]);
    return r;
}

int cmd_stats(int argc, char **argv)
{
    static const char *const names[] = {"p=prometheus", "a=all", NULL};
    struct ctl_args args;
    struct ctl ctls[CTL_WORKERS_MAX];
    int r = ctl_arguments(&args, argc, argv, "pa", names, false);
    if (r != 0)
        return r;
    unsigned count = ctl_open_all(ctls, argv[0], args.who);
    if (count == 0)
        return EXIT_FAIL;
    for (unsigned k = 0; k < count && r == 0; k++)
        r = ctl_call(&ctls[k], args.has['p'] ? "metrics" : "stats", NULL, NULL, NULL);
    if (r == 0 && args.has['p'])
        r = show_metrics(ctls, count);
    else if (r == 0)
        show_sums(ctls, count, args.has['a']);
    for (unsigned k = 0; k < count; k++)
        ctl_close(&ctls[k]);
    return r;
}

int cmd_pages(int argc, char **argv)
{
    static const char *const titles[] = {"HOLDER", ">BYTES", ">IN USE", ">PEAK",
                                         ">LIMIT", ">EACH",  ">REFUSED"};
    struct table table = {.titles = titles, .columns = LEN(titles)};
    struct ctl_args args;
    struct ctl ctl;
    int r = ctl_arguments(&args, argc, argv, "", NULL, false);
    if (r == 0)
        r = ctl_open(&ctl, argv[0], args.who);
    if (r == 0)
        r = ctl_call(&ctl, "pages", NULL, NULL, NULL);
    if (r != 0)
        return r;
    uint32_t pools = mir_json_find(&ctl.json, ctl.result, "pools"), at = pools + 1;
    for (uint32_t i = 0; i < ctl.json.nodes[pools].count; i++, at = ctl.json.nodes[at].next) {
        static const char *const columns[] = {"bytes", "used",         "peak",
                                              "limit", "object_bytes", "failures"};
        table_add(&table, ctl_text(&ctl, at, "name"));
        for (size_t k = 0; k < LEN(columns); k++)
            table_add(&table, number(ctl_number(&ctl, at, columns[k])));
    }
    table_show(&table);
    printf("\nused %s (other page runs %s, of them control channel %s), free %s, peak %s, "
           "refused %llu\n",
           size_text(ctl_number(&ctl, ctl.result, "used_bytes")),
           size_text(ctl_number(&ctl, ctl.result, "other_bytes")),
           size_text(ctl_number(&ctl, ctl.result, "control_bytes")),
           size_text(ctl_number(&ctl, ctl.result, "free_bytes")),
           size_text(ctl_number(&ctl, ctl.result, "peak_bytes")),
           (unsigned long long)ctl_number(&ctl, ctl.result, "failures"));
    ctl_close(&ctl);
    return 0;
}

int cmd_log(int argc, char **argv)
{
    struct ctl_args args;
    struct ctl ctls[CTL_WORKERS_MAX];
    struct str params = {0};
    int r = ctl_arguments(&args, argc, argv, "", NULL, true);
    if (r == 0 && args.rest.count > 1)
        r = usage_error("log", args.rest.item[1], NULL, 0);
    if (r != 0)
        return r;
    unsigned count = ctl_open_all(ctls, argv[0], args.who);
    if (count == 0)
        return EXIT_FAIL;
    if (args.rest.count == 1) {
        str_text(&params, "{\"set\":");
        str_json(&params, args.rest.item[0]);
        str_text(&params, "}");
    }
    for (unsigned k = 0; k < count && r == 0; k++)
        r = ctl_call(&ctls[k], params.len > 0 ? "log.set" : "log.levels", params.data, NULL, NULL);
    if (r == 0)
        show_members(&ctls[0]);
    for (unsigned k = 0; k < count; k++)
        ctl_close(&ctls[k]);
    return r;
}

/* ---- shutdown -------------------------------------------------------------------------------- */

int cmd_shutdown(int argc, char **argv)
{
    static const char *const names[] = {"n=no-wait", NULL};
    struct ctl_args args;
    struct ctl ctls[CTL_WORKERS_MAX];
    struct state_end end;
    int r = ctl_arguments(&args, argc, argv, "n", names, false);
    if (r != 0)
        return r;
    unsigned count = ctl_open_all(ctls, argv[0], args.who);
    if (count == 0)
        return EXIT_FAIL;
    state_watch_end(&end, args.who);
    /* The end of one worker is that of all. */
    if (ctl_call(&ctls[0], "shutdown", NULL, NULL, NULL) != 0)
        return EXIT_FAIL;
    bool is_first = ctl_flag(&ctls[0], ctls[0].result, "asked");
    if (!is_first)
        complain("shutdown: \"%s\" ends already (%s)", args.who,
                 ctl_text(&ctls[0], ctls[0].result, "ends"));
    for (unsigned k = 0; k < count; k++) {
        /* The channel closes with the appliance, a little before its process is gone. */
        while (!args.has['n'] && ctl_receive(&ctls[k]))
            continue;
        ctl_close(&ctls[k]);
    }
    if (!args.has['n'] && !state_await_end(&end)) {
        complain("shutdown: \"%s\" has closed its channel, but goes on; `mirari stop` ends it",
                 args.who);
        return EXIT_FAIL;
    }
    printf(args.has['n'] ? "asked %s to end\n" : "%s has ended\n", args.who);
    return 0;
}
