/* SPDX-License-Identifier: ISC */
/* Asks name servers and prints what they answer.
 *
 * Everything waits in one task, so the program reads from top to bottom: the resolver, like TCP,
 * has calls that look blocking and take a deadline.
 */
#include <mirari/mirari.h>

static struct mir_app *app;
static struct mir_dns *dns;
static bool has_no_server;

static mir_time_us deadline(void)
{
    return mir_loop_now(app->loop) + (uint64_t)mir_app_int(app, "timeout") * MIR_US_PER_S;
}

static int say_error(const char *name, int error)
{
    bool is_serverless = error == -MIR_ENETUNREACH && has_no_server;
    mir_app_print(app, "%s: %s\n", name,
                  is_serverless ? "no name server is known, --dns names one" : mir_strerror(error));
    return error;
}

static int ask_addresses(const char *name)
{
    struct mir_dns_addresses found;
    char text[MIR_IP_TEXT_MAX];
    int r = mir_dns_lookup_wait(dns, name, deadline(), &found);
    if (r < 0)
        return say_error(name, r);
    for (uint32_t i = 0; i < found.count; i++)
        mir_app_print(app, "%s %s %s\n", name, mir_ip_is_v4(&found.ip[i]) ? "A" : "AAAA",
                      mir_ip_text(&found.ip[i], text));
    return 0;
}

static int ask_records(const char *name, uint16_t type, bool is_quiet)
{
    static char text[65536]; /* one task; too large for its stack */
    char type_text[MIR_DNS_TYPE_TEXT_MAX], canonical[MIR_DNS_NAME_TEXT_MAX];
    struct mir_dns_answer *answer;
    struct mir_dns_rdata rdata;
    uint32_t at = 0;
    int r = mir_dns_resolve_wait(dns, name, type, deadline(), &answer);
    if (r == -MIR_ENOENT && !answer->is_nxdomain) {
        mir_app_print(app, "%s: no %s\n", name, mir_dns_type_text(type, type_text));
        mir_dns_answer_release(answer);
        return r;
    }
    if (r < 0) {
        mir_dns_answer_release(answer);
        return say_error(name, r);
    }
    mir_dns_name_text(&answer->canonical, canonical);
    while (!is_quiet && mir_dns_answer_next(answer, &at, &rdata)) {
        mir_dns_rdata_text(&rdata, text, sizeof text);
        mir_app_print(app, "%s %s %s\n", canonical, mir_dns_type_text(type, type_text), text);
    }
    mir_dns_answer_release(answer);
    return 0;
}

/* The name of an address is asked under in-addr.arpa or ip6.arpa. */
static int ask(const char *name, uint16_t type, bool is_quiet)
{
    char reverse[MIR_DNS_NAME_TEXT_MAX];
    struct mir_dns_name parsed;
    struct mir_ip ip;
    if (type == 0)
        return ask_addresses(name);
    if (type == MIR_DNS_PTR && mir_ip_parse(name, mir_str_len(name), &ip) == 0) {
        mir_dns_name_of_ip(&ip, &parsed);
        return ask_records(mir_dns_name_text(&parsed, reverse), type, is_quiet);
    }
    return ask_records(name, type, is_quiet);
}

static int connect_to(const char *name, uint16_t port)
{
    struct mir_endpoint local, remote;
    struct mir_tcp_task flow;
    char text[MIR_ENDPOINT_TEXT_MAX];
    mir_time_us began_us = mir_loop_now(app->loop);
    int r = mir_tcp_connect_name_wait(dns, name, port, deadline(), &flow);
    if (r < 0)
        return say_error(name, r);
    mir_tcp_get_endpoints(flow.tcp, &local, &remote);
    mir_app_print(app, "%s: connected to %s in %llu ms\n", name, mir_endpoint_text(&remote, text),
                  (unsigned long long)((mir_loop_now(app->loop) - began_us) / MIR_US_PER_MS));
    mir_tcp_task_close(&flow);
    return 0;
}

static int ask_often(const char *name, uint16_t type, int64_t times)
{
    struct mir_dns_stats stats;
    mir_time_us began_us = app->clock->monotonic(app->clock);
    int r = 0;
    for (int64_t i = 0; i < times && r == 0; i++)
        r = ask(name, type, true);
    mir_time_us took_us = app->clock->monotonic(app->clock) - began_us;
    mir_dns_get_stats(dns, &stats);
    mir_app_print(app, "%s: %llu answers/s, %llu from the cache, %llu datagrams sent\n", name,
                  (unsigned long long)((uint64_t)times * MIR_US_PER_S / MIR_MAX(took_us, 1u)),
                  (unsigned long long)stats.answered_by_cache, (unsigned long long)stats.sent_udp);
    return r;
}

static int serve_name(const char *name, uint16_t type)
{
    int64_t port = mir_app_int(app, "connect"), times = mir_app_int(app, "repeat");
    if (port > 0)
        return connect_to(name, (uint16_t)port);
    return times > 1 && type != 0 ? ask_often(name, type, times) : ask(name, type, false);
}

/* By DHCP it may take a while until there is a server. */
static int open_resolver(void)
{
    int r = mir_app_dns_open(app, NULL, &dns);
    if (r == 0)
        r = mir_dns_wait_servers(dns, deadline());
    has_no_server = r == -MIR_ETIMEDOUT || r == -MIR_ENETUNREACH;
    if (has_no_server)
        r = 0; /* some names need none */
    return r < 0 ? say_error("name servers", r) : 0;
}

int mir_app_main(struct mir_app *this_app)
{
    const char *type_text = mir_app_string(this_app, "type");
    const char *at = mir_app_string(this_app, "names");
    char name[MIR_DNS_NAME_TEXT_MAX];
    uint16_t type = 0;
    int failed = 0, r = 0;
    app = this_app;
    if (!mir_str_equal(type_text, "addresses") &&
        mir_dns_type_parse(type_text, mir_str_len(type_text), &type) < 0)
        r = say_error(type_text, -MIR_EINVAL);
    if (r == 0)
        r = open_resolver();
    if (r < 0)
        return 2;
    while (*at != '\0' && !app->is_stopping) {
        size_t len = 0;
        while (*at == ' ' || *at == ',')
            at++;
        while (at[len] != '\0' && at[len] != ' ' && at[len] != ',')
            len++;
        if (len > 0 && len < sizeof name) {
            mir_memcpy(name, at, len);
            name[len] = '\0';
            failed |= serve_name(name, type) < 0;
        }
        at += len;
    }
    mir_dns_close(dns);
    return failed;
}
