/* SPDX-License-Identifier: ISC */
/* What the network knows: netstat, addr, link, route, neigh.
 *
 * All of them stream: an item is an array of as many rows as fit a frame, and a call with many rows
 * gives others their turn between its items. The walk lies in the state of the call; addresses and
 * routes, of which there are some hundreds at most, are walked from the beginning for each item.
 */
#include <mirari/format.h>

#include "lib/control/control.h"

#define FLOW_BYTES 1100u /* of a row with everything */
#define ROW_BYTES  320u
#define ROWS_MAX   12u

enum { WITH_LISTENERS = 1, WITH_CONNECTIONS = 2, WITH_UDP = 4, WITH_INFO = 8 };

struct walk {
    struct mir_net_walk net;
    uint64_t count;
    unsigned wanted;
};

/* Rows that are told by a callback, from number `from` on. */
struct rows {
    struct mir__control *control;
    struct mir_json_out *out;
    uint32_t seen, from, left;
};

static struct mir__control *control_of(const struct mir_rpc_call *call)
{
    return call->arg;
}

static uint32_t rows_in(const struct mir_rpc_call *call, uint32_t row_bytes)
{
    uint32_t rows = (uint32_t)(mir_rpc_item_room(call) / row_bytes);
    return MIR_MIN(rows, ROWS_MAX);
}

static int tell_count(struct mir_rpc_call *call)
{
    const struct walk *walk = call->state;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "count", walk->count);
    mir_json_end(out, '}');
    return 0;
}

/* ---- netstat --------------------------------------------------------------------------------- */

static void put_endpoint(struct mir_json_out *out, const char *name, const struct mir_endpoint *ep)
{
    char text[MIR_ENDPOINT_TEXT_MAX];
    mir_json_member_text(out, name, mir_endpoint_text(ep, text));
}

static void put_info(struct mir_json_out *out, const struct mir_tcp_info *info)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"mss", info->mss},
        {"srtt_us", info->srtt_us},
        {"rttvar_us", info->rttvar_us},
        {"min_rtt_us", info->min_rtt_us},
        {"rto_us", info->rto_us},
        {"cwnd_bytes", info->cwnd_bytes},
        {"ssthresh_bytes", info->ssthresh_bytes},
        {"flight_bytes", info->flight_bytes},
        {"snd_wnd_bytes", info->snd_wnd_bytes},
        {"rcv_wnd_bytes", info->rcv_wnd_bytes},
        {"sndbuf_bytes", info->sndbuf_bytes},
        {"rcvbuf_bytes", info->rcvbuf_bytes},
        {"bytes_sent", info->bytes_sent},
        {"bytes_acked", info->bytes_acked},
        {"bytes_received", info->bytes_received},
        {"segs_out", info->segs_out},
        {"segs_in", info->segs_in},
        {"retransmits", info->retransmits},
        {"timeouts", info->timeouts},
        {"lost_bytes", info->lost_bytes},
        {"sacked_bytes", info->sacked_bytes},
        {"early_bytes", info->early_bytes},
        {"pacing_rate_bytes", info->pacing_rate_bytes},
        {"delivery_rate_bytes", info->delivery_rate_bytes},
        {"last_received_ms", info->last_received_ms},
    };
    mir_json_key(out, "info");
    mir_json_begin(out, '{');
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++)
        mir_json_member_u64(out, rows[i].name, rows[i].value);
    mir_json_member_bool(out, "timestamps", info->timestamps);
    mir_json_member_bool(out, "sack", info->sack);
    mir_json_member_bool(out, "ecn", info->ecn);
    mir_json_member_bool(out, "in_recovery", info->in_recovery);
    mir_json_member_text(out, "congestion", info->congestion);
    mir_json_end(out, '}');
}

static void put_flow(struct mir_json_out *out, const struct mir_net_flow *flow, bool with_info)
{
    static const char *const kinds[] = {"listener", "half-open", "connection", "time-wait",
                                        "socket"};
    mir_json_begin(out, '{');
    mir_json_member_text(out, "proto", flow->kind == MIR_NET_FLOW_UDP ? "udp" : "tcp");
    mir_json_member_text(out, "kind", kinds[flow->kind]);
    if (flow->kind != MIR_NET_FLOW_UDP)
        mir_json_member_text(out, "state", mir_tcp_state_name(flow->state));
    put_endpoint(out, "local", &flow->local);
    put_endpoint(out, "remote", &flow->remote);
    if (flow->kind == MIR_NET_FLOW_LISTENER) {
        mir_json_member_u64(out, "waiting", flow->waiting);
        mir_json_member_u64(out, "backlog", flow->backlog);
    }
    if (flow->kind == MIR_NET_FLOW_CONNECTION) {
        mir_json_member_u64(out, "recv_q", flow->info.recv_queue_bytes);
        mir_json_member_u64(out, "send_q", flow->info.send_queue_bytes);
        if (with_info)
            put_info(out, &flow->info);
    }
    mir_json_end(out, '}');
}

static bool is_wanted(const struct walk *walk, const struct mir_net_flow *flow)
{
    if (flow->kind == MIR_NET_FLOW_UDP)
        return walk->wanted & WITH_UDP;
    return walk->wanted & (flow->kind == MIR_NET_FLOW_LISTENER ? WITH_LISTENERS : WITH_CONNECTIONS);
}

/* As many flows as fit, all but a bounded number of them wanted. Returns how many were looked at.
 */
static uint32_t put_flows(struct mir_rpc_call *call, struct mir_json_out *out)
{
    struct walk *walk = call->state;
    struct mir_net_flow flows[ROWS_MAX];
    uint32_t count = mir_stack_next_flows(control_of(call)->app->stack, &walk->net, flows,
                                          rows_in(call, FLOW_BYTES));
    for (uint32_t i = 0; i < count; i++) {
        if (!is_wanted(walk, &flows[i]))
            continue;
        walk->count++;
        put_flow(out, &flows[i], walk->wanted & WITH_INFO);
    }
    return count;
}

/* An item a turn, so that a long list does not keep the loop; @put returns 0 when all was told. */
static int put_item(struct mir_rpc_call *call,
                    uint32_t (*put)(struct mir_rpc_call *call, struct mir_json_out *out))
{
    struct mir_json_out *out = mir_rpc_item_begin(call);
    if (out == NULL)
        return -MIR_EAGAIN;
    mir_json_begin(out, '[');
    uint32_t count = put(call, out);
    mir_json_end(out, ']');
    int r = mir_rpc_item_end(call);
    if (r < 0)
        return r;
    if (count == 0)
        return tell_count(call);
    mir_rpc_call_wake(call);
    return -MIR_EAGAIN;
}

static int netstat_more(struct mir_rpc_call *call)
{
    return put_item(call, put_flows);
}

static int netstat_begin(struct mir_rpc_call *call)
{
    struct walk *walk = call->state;
    walk->wanted = (mir_rpc_bool(call, "listeners", true) ? WITH_LISTENERS : 0) |
                   (mir_rpc_bool(call, "connections", true) ? WITH_CONNECTIONS : 0) |
                   (mir_rpc_bool(call, "udp", true) ? WITH_UDP : 0) |
                   (mir_rpc_bool(call, "info", true) ? WITH_INFO : 0);
    return netstat_more(call);
}

/* ---- addresses and routes -------------------------------------------------------------------- */

static bool is_next(struct rows *rows)
{
    if (rows->seen++ < rows->from || rows->left == 0)
        return false;
    rows->left--;
    return true;
}

static void put_seconds_left(struct rows *rows, const char *name, mir_time_us until_us)
{
    mir_time_us now_us = mir_loop_now(rows->control->app->loop);
    if (until_us != MIR_TIME_NEVER)
        mir_json_member_u64(rows->out, name,
                            until_us > now_us ? (until_us - now_us) / MIR_US_PER_S : 0);
}

static void put_address(void *arg, const struct mir_net_address *address)
{
    static const char *const states[] = {"tentative", "preferred", "deprecated", "duplicate"};
    static const char *const origins[] = {"manual", "dhcp", "link-local", "slaac", "temporary"};
    struct rows *rows = arg;
    if (!is_next(rows))
        return;
    mir_json_begin(rows->out, '{');
    mir_json_member_text(rows->out, "net", mir__control_if_name(rows->control, address->if_index));
    mir__control_put_ip(rows->out, "ip", &address->ip);
    mir_json_member_u64(rows->out, "prefix", address->prefix_len);
    mir_json_member_text(rows->out, "state", states[address->state]);
    mir_json_member_text(rows->out, "origin", origins[address->origin]);
    put_seconds_left(rows, "preferred_left_s", address->preferred_until_us);
    put_seconds_left(rows, "valid_left_s", address->valid_until_us);
    mir_json_end(rows->out, '}');
}

static void put_route(void *arg, const struct mir_net_route *route)
{
    static const char *const origins[] = {"connected", "manual", "dhcp", "router", "redirect"};
    struct rows *rows = arg;
    if (!is_next(rows))
        return;
    mir_json_begin(rows->out, '{');
    mir__control_put_ip(rows->out, "prefix", &route->prefix);
    mir_json_member_u64(rows->out, "prefix_len", route->prefix_len);
    if (mir_ip_is_any(&route->gateway))
        mir_json_member_text(rows->out, "gateway", NULL);
    else
        mir__control_put_ip(rows->out, "gateway", &route->gateway);
    mir_json_member_text(rows->out, "net", mir__control_if_name(rows->control, route->if_index));
    mir_json_member_u64(rows->out, "metric", route->metric);
    mir_json_member_text(rows->out, "origin", origins[route->origin]);
    mir_json_end(rows->out, '}');
}

static struct rows begin_rows(struct mir_rpc_call *call, struct mir_json_out *out)
{
    const struct walk *walk = call->state;
    return (struct rows){.control = control_of(call),
                         .out = out,
                         .from = (uint32_t)walk->count,
                         .left = rows_in(call, ROW_BYTES)};
}

static int no_net(struct mir_rpc_call *call)
{
    return mir_rpc_fail(call, -MIR_ENOTSUP,
                        "this appliance is on the host's network: ask the host (ip addr, ip route, "
                        "ip neigh)");
}

/* How many rows were told, with the @left that had room. */
static uint32_t end_rows(struct mir_rpc_call *call, const struct rows *rows, uint32_t left)
{
    struct walk *walk = call->state;
    walk->count += left - rows->left;
    return left - rows->left;
}

static uint32_t put_addresses(struct mir_rpc_call *call, struct mir_json_out *out)
{
    struct rows rows = begin_rows(call, out);
    uint32_t left = rows.left;
    mir_net_each_address(rows.control->net, put_address, &rows);
    return end_rows(call, &rows, left);
}

static uint32_t put_routes(struct mir_rpc_call *call, struct mir_json_out *out)
{
    struct rows rows = begin_rows(call, out);
    uint32_t left = rows.left;
    mir_net_each_route(rows.control->net, put_route, &rows);
    return end_rows(call, &rows, left);
}

static int addr_more(struct mir_rpc_call *call)
{
    return control_of(call)->net != NULL ? put_item(call, put_addresses) : no_net(call);
}

static int route_more(struct mir_rpc_call *call)
{
    return control_of(call)->net != NULL ? put_item(call, put_routes) : no_net(call);
}

/* ---- interfaces and neighbours --------------------------------------------------------------- */

static void put_mac(struct mir_json_out *out, const uint8_t mac[6])
{
    char text[18];
    mir_format(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
               mac[4], mac[5]);
    mir_json_member_text(out, "mac", text);
}

static uint32_t put_links(struct mir_rpc_call *call, struct mir_json_out *out)
{
    struct walk *walk = call->state;
    struct mir__control *control = control_of(call);
    struct mir_net_interface iface;
    uint32_t count = 0;
    for (uint32_t left = rows_in(call, 2 * ROW_BYTES); left > 0; left--) {
        if (mir_net_get_interface(control->net, (uint32_t)walk->count + 1, &iface) < 0)
            break;
        walk->count++;
        count++;
        mir_json_begin(out, '{');
        mir_json_member_text(out, "net", mir__control_if_name(control, (uint32_t)walk->count));
        mir_json_member_text(out, "kind", iface.dev.kind);
        put_mac(out, iface.dev.mac);
        mir_json_member_u64(out, "mtu", iface.mtu);
        mir_json_member_bool(out, "up", iface.is_up);
        mir_json_member_u64(out, "rx_frames", iface.stats.rx_frames);
        mir_json_member_u64(out, "rx_bytes", iface.stats.rx_bytes);
        mir_json_member_u64(out, "rx_dropped", iface.stats.rx_dropped);
        mir_json_member_u64(out, "rx_errors", iface.stats.rx_errors);
        mir_json_member_u64(out, "tx_frames", iface.stats.tx_frames);
        mir_json_member_u64(out, "tx_bytes", iface.stats.tx_bytes);
        mir_json_member_u64(out, "tx_dropped", iface.stats.tx_dropped);
        mir_json_member_u64(out, "tx_errors", iface.stats.tx_errors);
        mir_json_member_u64(out, "tx_full", iface.stats.tx_full);
        mir_json_end(out, '}');
    }
    return count;
}

static uint32_t put_neighbours(struct mir_rpc_call *call, struct mir_json_out *out)
{
    struct walk *walk = call->state;
    struct mir__control *control = control_of(call);
    struct mir_net_neighbour rows[ROWS_MAX];
    uint32_t count =
        mir_net_next_neighbours(control->net, &walk->net, rows, rows_in(call, ROW_BYTES));
    for (uint32_t i = 0; i < count; i++) {
        mir_json_begin(out, '{');
        mir__control_put_ip(out, "ip", &rows[i].ip);
        mir_json_member_text(out, "net", mir__control_if_name(control, rows[i].if_index));
        put_mac(out, rows[i].mac);
        mir_json_member_text(out, "state", rows[i].state);
        mir_json_member_bool(out, "router", rows[i].is_router);
        mir_json_end(out, '}');
    }
    walk->count += count;
    return count;
}

static int link_more(struct mir_rpc_call *call)
{
    return control_of(call)->net != NULL ? put_item(call, put_links) : no_net(call);
}

static int neigh_more(struct mir_rpc_call *call)
{
    return control_of(call)->net != NULL ? put_item(call, put_neighbours) : no_net(call);
}

static const struct mir_rpc_param netstat_params[] = {
    {.name = "listeners", .type = MIR_JSON_BOOL, .help = "those that wait for connections (true)"},
    {.name = "connections", .type = MIR_JSON_BOOL, .help = "of TCP, whatever their state (true)"},
    {.name = "udp", .type = MIR_JSON_BOOL, .help = "UDP sockets (true)"},
    {.name = "info", .type = MIR_JSON_BOOL, .help = "what TCP knows of a connection (true)"},
};

const struct mir_rpc_method mir__control_look[] = {
    {.name = "netstat",
     .help = "listeners, connections and UDP sockets",
     .is_stream = true,
     .begin = netstat_begin,
     .more = netstat_more,
     .params = netstat_params,
     .param_count = MIR_ARRAY_LEN(netstat_params)},
    {.name = "addr", .help = "addresses", .is_stream = true, .begin = addr_more, .more = addr_more},
    {.name = "link",
     .help = "network interfaces and their counters",
     .is_stream = true,
     .begin = link_more,
     .more = link_more},
    {.name = "route", .help = "routes", .is_stream = true, .begin = route_more, .more = route_more},
    {.name = "neigh",
     .help = "neighbours on the links (ARP and IPv6)",
     .is_stream = true,
     .begin = neigh_more,
     .more = neigh_more},
};
const uint32_t mir__control_look_count = MIR_ARRAY_LEN(mir__control_look);
