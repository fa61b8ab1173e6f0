/* SPDX-License-Identifier: ISC */
/* The appliance of the interop tests: real programs meet real programs through our stack.
 *
 *   --relay PORT=ADDR:PORT   server and client role at once. TCP: what arrives is sent on as views,
 *                            nothing is taken that the other side has no room for (so a closed
 *                            window travels through), ends and resets of each direction too. UDP:
 *                            each asker gets a socket of its own towards the target.
 *   --connect ADDR:PORT      client role: sends --send bytes of a pattern and prints CRC-32 sums of
 *                            what it sent and received
 *   --udp ADDR:PORT          client role: datagrams of 8 to 3000 bytes, again until they come back
 *
 * Everything is static: PAIRS_MAX connections, FLOWS_MAX askers. Ends when told, or with the
 * client.
 */
#include <mirari/mirari.h>

#include "peer.h"

enum { PAIRS_MAX = 512, PORTS_MAX = 16 };

struct leg {
    struct mir_tcp *tcp; /* NULL: given back */
    struct leg *other;
    bool is_open;   /* connected: may be sent to */
    bool is_ended;  /* its end of stream was read, and passed on */
    bool is_closed; /* only the rest of what it sent is still to be read */
};

struct pair {
    struct leg leg[2];
};

static struct pair pairs[PAIRS_MAX];
static struct peer_port ports[PORTS_MAX];
static uint32_t port_count;
static struct {
    uint64_t relayed, bytes, failed, refused;
} counts;

/* ---- TCP relay ------------------------------------------------------------------------------ */

static void give_back(struct leg *leg)
{
    if (leg->tcp != NULL)
        mir_tcp_close(leg->tcp);
    leg->tcp = NULL;
}

/* What one side failed of, the other learns as a reset. */
static void fail(struct leg *leg)
{
    counts.failed++;
    give_back(leg);
    if (leg->other->tcp != NULL)
        mir_tcp_abort(leg->other->tcp);
    leg->other->tcp = NULL;
}

static void pump(struct leg *from)
{
    struct leg *to = from->other;
    if (from->tcp == NULL || from->is_ended || !from->is_open || !to->is_open)
        return;
    while (to->tcp != NULL && mir_tcp_send_room(to->tcp) > 0) {
        struct mir_view view;
        int err = mir_tcp_recv_view(from->tcp, &view);
        if (err == -MIR_EEOF) {
            from->is_ended = true;
            (void)mir_tcp_shutdown(to->tcp);
        }
        if (err < 0)
            break;
        counts.bytes += view.len;
        if (mir_tcp_send_view(to->tcp, view) < 0)
            break; /* its FAILED follows */
    }
}

/* Pass on what there is; a leg that is over and was read to its end is given back. */
static void serve_leg(struct leg *leg)
{
    pump(leg);
    if (leg->is_closed && leg->is_ended)
        give_back(leg);
}

static void on_leg(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct leg *leg = arg;
    (void)tcp;
    if ((events & MIR_TCP_FAILED) != 0) {
        fail(leg);
        return;
    }
    leg->is_open = leg->is_open || (events & MIR_TCP_CONNECTED) != 0;
    leg->is_closed = leg->is_closed || (events & MIR_TCP_CLOSED) != 0;
    serve_leg(leg);
    serve_leg(leg->other);
}

static struct pair *free_pair(void)
{
    for (uint32_t i = 0; i < PAIRS_MAX; i++) {
        if (pairs[i].leg[0].tcp == NULL && pairs[i].leg[1].tcp == NULL)
            return &pairs[i];
    }
    return NULL;
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    const struct peer_port *port = arg;
    struct pair *pair = free_pair();
    (void)listener;
    if (pair == NULL) {
        counts.refused++;
        mir_tcp_abort(tcp_given);
        return;
    }
    *pair = (struct pair){.leg = {{.other = &pair->leg[1], .is_open = true, .tcp = tcp_given},
                                  {.other = &pair->leg[0]}}};
    mir_tcp_set_handler(tcp_given, on_leg, &pair->leg[0]);
    int err =
        mir_tcp_connect(port->app->stack, &port->target, on_leg, &pair->leg[1], &pair->leg[1].tcp);
    if (err == 0)
        err = mir_tcp_set_option(pair->leg[1].tcp, MIR_TCP_NODELAY, 1);
    if (err == 0)
        err = mir_tcp_set_option(tcp_given, MIR_TCP_NODELAY, 1);
    if (err < 0)
        fail(&pair->leg[0]);
    else
        counts.relayed++;
}

/* ---- texts ---------------------------------------------------------------------------------- */

const char *peer_parse_endpoint(const char *text, struct mir_endpoint *ep)
{
    const char *end = text;
    const char *colon = NULL;
    while (*end != '\0' && *end != ',')
        end++;
    for (const char *at = text; at < end; at++)
        colon = *at == ':' ? at : colon;
    if (colon == NULL)
        return NULL;
    bool is_v6 = *text == '[' && colon[-1] == ']';
    if (mir_ip_parse(text + is_v6, (size_t)(colon - text) - 2u * is_v6, &ep->ip) < 0)
        return NULL;
    uint32_t port = 0;
    for (const char *at = colon + 1; at < end && port < 65536; at++)
        port = *at >= '0' && *at <= '9' ? port * 10 + (uint32_t)(*at - '0') : 65536;
    ep->port = (uint16_t)port;
    return port == 0 || port > 65535 ? NULL : end;
}

/* "PORT=ADDR:PORT,..." into the table of ports. */
static bool parse_relay(struct mir_app *app, const char *text)
{
    while (text != NULL && *text != '\0') {
        struct peer_port *port = &ports[port_count];
        uint32_t local = 0;
        if (port_count == PORTS_MAX)
            return false;
        while (*text >= '0' && *text <= '9' && local < 65536)
            local = local * 10 + (uint32_t)(*text++ - '0');
        if (*text++ != '=' || local == 0 || local > 65535)
            return false;
        *port = (struct peer_port){.app = app, .local.port = (uint16_t)local};
        text = peer_parse_endpoint(text, &port->target);
        if (text == NULL)
            return false;
        text += *text == ',';
        port_count++;
    }
    return true;
}

/* ---- counters ------------------------------------------------------------------------------- */

static void send_line(void *arg, const char *name, uint64_t value)
{
    char line[80];
    size_t queued_len,
        len = mir_format(line, sizeof line, "%s %llu\n", name, (unsigned long long)value);
    if (mir_tcp_send(arg, line, MIR_MIN(len, sizeof line - 1), &queued_len) < 0)
        counts.refused++;
}

static void on_asked(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir_app *app = arg;
    (void)listener;
    send_line(tcp_given, "relayed", counts.relayed);
    send_line(tcp_given, "relayed_bytes", counts.bytes);
    send_line(tcp_given, "relay_failed", counts.failed);
    app->stack->ops->stats(app->stack, send_line, tcp_given);
    mir_tcp_close(tcp_given);
}

/* ---- the appliance -------------------------------------------------------------------------- */

static int listen(struct mir_app *app)
{
    struct mir_tcp_listener *listener;
    struct mir_tcp_listen_config stats = {
        .local.port = (uint16_t)mir_app_int(app, "stats"), .on_accept = on_asked, .arg = app};
    int err = mir_tcp_listen(app->stack, &stats, &listener);
    for (uint32_t i = 0; i < port_count && err == 0; i++) {
        struct mir_tcp_listen_config config = {
            .local = ports[i].local, .on_accept = on_accept, .arg = &ports[i]};
        err = mir_tcp_listen(app->stack, &config, &listener);
        if (err == 0)
            err = peer_relay_udp(&ports[i]);
    }
    return err;
}

int mir_app_main(struct mir_app *app)
{
    struct mir_endpoint to;
    uint64_t amount = (uint64_t)mir_app_int(app, "send");
    if (!parse_relay(app, mir_app_string(app, "relay"))) {
        mir_app_print(app, "peer: --relay %s: not understood\n", mir_app_string(app, "relay"));
        return 2;
    }
    int err = listen(app);
    if (err < 0) {
        mir_app_print(app, "peer: %s\n", mir_strerror(err));
        return 1;
    }
    if (peer_parse_endpoint(mir_app_string(app, "connect"), &to) != NULL)
        return peer_client(app, &to, amount);
    if (peer_parse_endpoint(mir_app_string(app, "udp"), &to) != NULL)
        return peer_udp_client(app, &to, (uint32_t)amount);
    mir_app_wait_stop(app);
    mir_app_print(app, "peer: %llu connections relayed, %llu bytes, %llu failed, %llu refused\n",
                  (unsigned long long)counts.relayed, (unsigned long long)counts.bytes,
                  (unsigned long long)counts.failed, (unsigned long long)counts.refused);
    return 0;
}
