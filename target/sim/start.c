/* SPDX-License-Identifier: ISC */
/* main() of an appliance inside the simulator.
 *
 *   node 1: the appliance, mir_app_main() in a task      node 2: a scripted peer
 *                 [port]================ one wire ================[port]
 *
 * The command line is that of every target, and of the simulator: which peer, which wire, which
 * seed, how long. Time is virtual; what is printed is the same in every run of a seed. --net and
 * --forward are accepted and change nothing: there is one wire, and the peer is on it. An address
 * by DHCP becomes 10.0.2.15/24, since nobody serves one here.
 *
 * With --topology the appliance is one host of a network from a file (topo_parse.c), the one whose
 * role is "app"; the network's own clients ask it, and its addresses are the network's.
 *
 * Exit status: what mir_app_main() returned; if that is 0, 1 when an exchange of the peer or a call
 * of --call failed, or the appliance did not end; 64 for a wrong command line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/format.h>

#include "dev/net/fault/fault.h"
#include "lib/app/options.h"
#include "target/sim/control.h"
#include "target/sim/internal.h"
#include "target/sim/peer.h"
#include "target/sim/topology.h"

#define STATUS_USAGE       64
#define STATUS_UNAVAILABLE 69
#define STACK_BYTES        (1u << 20)
#define BUFS_PER_MIB       256u
#define GRACE_US           (10 * MIR_US_PER_S)
#define ARGS_MAX           256
#define CAPTURES_MAX       16

struct run {
    struct mir__app_options options;
    struct mir_app app;
    struct mir_sim *sim;
    struct mir_sim_node *node;
    struct mir_sim_wire *wire;
    struct mir_console console;
    struct mir__sim_peer peer;
    struct mir__sim_control control;
    struct mir_sim_wire_config wire_config[2];
    struct mir_sim_call stop_call;
    uint64_t seed;
    uint64_t duration_s;
    const char *trace_tcp;
    const char *topology;
    const char *capture[CAPTURES_MAX];
    uint32_t capture_count;
    struct mir__topo topo;
    struct mir__world world;
    uint16_t peer_port;
    bool has_ended;
    int status;
};

static struct run the_run;

MIR_NORETURN static void refuse(int status, const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s\n", mir_manifest.name, text);
    exit(status);
}

/* ---- command line -------------------------------------------------------------------------------
 */

static bool take_number(const char *text, uint64_t max, uint64_t *value)
{
    return mir_parse_u64(text, strlen(text), max, value) == 0;
}

static bool set_wire(struct run *run, const char *value)
{
    size_t at;
    if (mir_sim_wire_parse(value, &run->wire_config[0], &at) < 0)
        return false;
    run->wire_config[1] = run->wire_config[0];
    return true;
}

static bool set_port(struct run *run, const char *value)
{
    uint64_t port;
    if (!take_number(value, 65535, &port))
        return false;
    run->peer_port = (uint16_t)port;
    return true;
}

static bool set_count(struct run *run, const char *value)
{
    uint64_t count;
    if (!take_number(value, 1000000, &count))
        return false;
    run->peer.count = (uint32_t)count;
    return true;
}

static bool set_bytes(struct run *run, const char *value)
{
    uint64_t bytes;
    if (!take_number(value, 1u << 30, &bytes))
        return false;
    run->peer.bytes = (uint32_t)bytes;
    return true;
}

static bool set_seed(struct run *run, const char *value)
{
    return take_number(value, UINT64_MAX, &run->seed);
}

static bool set_duration(struct run *run, const char *value)
{
    return take_number(value, 1000000, &run->duration_s);
}

static bool set_peer(struct run *run, const char *value)
{
    return mir__sim_peer_parse(value, &run->peer) == 0;
}

static bool add_call(struct run *run, const char *value)
{
    return mir__sim_control_add(&run->control, value) == 0;
}

static bool set_trace_tcp(struct run *run, const char *value)
{
    run->trace_tcp = value;
    return value[0] != '\0';
}

static bool set_topology(struct run *run, const char *value)
{
    run->topology = value;
    return value[0] != '\0';
}

static bool set_capture(struct run *run, const char *value)
{
    if (strchr(value, '=') == NULL || run->capture_count == CAPTURES_MAX)
        return false;
    run->capture[run->capture_count++] = value;
    return true;
}

static const struct {
    const char *name;
    bool (*set)(struct run *run, const char *value);
    const char *expected;
    const char *help;
} sim_options[] = {
    {"--peer", set_peer, "none, http:/PATH, echo or udp-echo",
     "KIND         none, http:/PATH, echo, udp-echo"},
    {"--peer-port", set_port, "a port", "PORT    of the appliance (80; 7 for echoes)"},
    {"--peer-count", set_count, "a number of exchanges",
     "N      exchanges, one after the other (1)"},
    {"--peer-bytes", set_bytes, "a number of bytes", "N      of an echo (100000)"},
    {"--seed", set_seed, "a number", "N            of all chance in the run (1)"},
    {"--duration", set_duration, "a number of seconds",
     "S        virtual seconds, then the appliance is asked to end (60)"},
    {"--topology", set_topology, "a file's name",
     "FILE     a network; the appliance is the host whose role is app"},
    {"--capture", set_capture, "LINK=FILE",
     "LINK=FILE of a link of the network, as pcapng; may be given again"},
    {"--call", add_call, "SECONDS:METHOD or SECONDS:METHOD:{PARAMS}, at most 32 of them",
     "T:METHOD[:JSON] of the control channel, at T virtual seconds; may be given again"},
    {"--trace-tcp", set_trace_tcp, "a file's name",
     "FILE    a line for each change of a connection's window, see tools/plot-tcp"},
    {"--wire", set_wire,
     "words such as rate=10m,delay=20ms,jitter=1ms,loss=1%,burst=1%/30%,reorder=2%/5ms,dup=1%,"
     "corrupt=0.1%,queue=64k,mtu=1400",
     "SPEC         rate= delay= jitter= loss= burst= reorder= dup= corrupt= queue= mtu="},
};

/* Takes one of our options from argv[*at]; false if it is none of ours. */
static bool take_option(struct run *run, int argc, char **argv, int *at)
{
    char text[400];
    for (size_t i = 0; i < MIR_ARRAY_LEN(sim_options); i++) {
        size_t len = strlen(sim_options[i].name);
        const char *arg = argv[*at];
        if (strncmp(arg, sim_options[i].name, len) != 0 || (arg[len] != '\0' && arg[len] != '='))
            continue;
        const char *value = arg[len] == '=' ? arg + len + 1 : *at + 1 < argc ? argv[++*at] : NULL;
        if (value == NULL || !sim_options[i].set(run, value)) {
            snprintf(text, sizeof text, "%s: \"%.80s\" is not %s", sim_options[i].name,
                     value != NULL ? value : "", sim_options[i].expected);
            refuse(STATUS_USAGE, text);
        }
        return true;
    }
    return false;
}

static void print_help(void)
{
    static char text[16384];
    mir__app_options_help(&mir_manifest, text, sizeof text);
    fputs(text, stdout);
    fputs("\nThis is the simulator:\n", stdout);
    for (size_t i = 0; i < MIR_ARRAY_LEN(sim_options); i++)
        printf("  %s %s\n", sim_options[i].name, sim_options[i].help);
}

static void apply_fault(struct run *run, const char *text)
{
    char error[MIR_FAULT_ERROR_MAX];
    struct mir_fault_spec spec;
    if (mir_fault_parse(text, &spec, error) < 0)
        refuse(STATUS_USAGE, error);
    for (unsigned i = 0; i < 2; i++) {
        const struct mir_fault_rule *rule = &spec.rule[i == 0 ? MIR_FAULT_OUT : MIR_FAULT_IN];
        struct mir_sim_wire_config *config = &run->wire_config[i];
        config->loss_ppm = rule->loss_ppm;
        config->duplicate_ppm = rule->dup_ppm;
        config->reorder_ppm = rule->reorder_ppm;
        config->corrupt_ppm = rule->corrupt_ppm;
        config->delay_us += rule->delay_us;
        config->jitter_us += rule->jitter_us;
        if (rule->rate_bps != 0)
            config->rate_bps = rule->rate_bps;
    }
}

static void read_command_line(struct run *run, int argc, char **argv)
{
    static const char *rest[ARGS_MAX];
    size_t bad_at;
    int count = 0;
    for (int i = 0; i < argc; i++) {
        if (i > 0 && take_option(run, argc, argv, &i))
            continue;
        if (count == ARGS_MAX)
            refuse(STATUS_USAGE, "too many arguments");
        rest[count++] = argv[i];
    }
    if (mir__app_options_parse(&run->options, &mir_manifest, count, rest) < 0)
        refuse(STATUS_USAGE, run->options.error);
    if (mir__app_missing_disk(&mir_manifest, 0) != NULL)
        refuse(STATUS_UNAVAILABLE, "the appliance needs a disk, and a simulation has none");
    if (run->options.workers > 0)
        refuse(STATUS_USAGE, "--workers: there are processes of a host on target unix only");
    if (run->options.store_count > 0)
        refuse(STATUS_USAGE, "--kv: nothing of the host is seen here; there are folders and "
                             "archives on target unix");
    if (run->options.is_help) {
        print_help();
        exit(0);
    }
    if (run->options.is_version) {
        printf("%s %s\n", mir_manifest.name, mir_manifest.version);
        exit(0);
    }
    if (run->options.log != NULL && mir_log_set_levels(run->options.log, &bad_at) < 0)
        refuse(STATUS_USAGE, "--log: not LEVEL[,MODULE=LEVEL] of known levels and modules");
    if (run->options.net_count > 0 && run->options.net[0].fault != NULL)
        apply_fault(run, run->options.net[0].fault);
}

/* ---- the world
 * ------------------------------------------------------------------------------------ */

static void on_log(void *arg, enum mir_log_level level, const char *module, const char *line,
                   size_t len)
{
    static const char *const names[] = {"error", "warn", "info", "debug", "trace"};
    const struct run *run = arg;
    mir_time_us now_us = run->sim != NULL ? mir_sim_now(run->sim) : 0;
    fprintf(stderr, "%llu.%06llu %s %s: %.*s\n", (unsigned long long)(now_us / MIR_US_PER_S),
            (unsigned long long)(now_us % MIR_US_PER_S), names[level], module, (int)len, line);
}

static void write_console(struct mir_console *console, const char *data, size_t len)
{
    (void)console;
    (void)fwrite(data, 1, len, stdout);
}

static void ask_to_stop(void *arg)
{
    struct run *run = arg;
    if (!mir_app_shutdown(&run->app, MIR_APP_END_SIGNAL))
        return;
    mir_sim_wake(run->node);
    /* An appliance that does not listen is left behind. */
    run->stop_call.run = (void (*)(void *))mir_sim_stop;
    run->stop_call.arg = run->sim;
    mir_sim_at(run->sim, &run->stop_call, mir_sim_now(run->sim) + GRACE_US);
}

static void run_main(void *arg)
{
    struct run *run = arg;
    mir__app_returned(&run->app, mir_app_main(&run->app));
}

static void leave(struct mir_app *app, int status)
{
    struct run *run = MIR_CONTAINER_OF(app, struct run, app);
    run->status = status;
    run->has_ended = true;
    mir_sim_stop(run->sim);
}

static void fill_app(struct run *run)
{
    struct mir_app *app = &run->app;
    run->console.write = write_console;
    app->manifest = &mir_manifest;
    app->loop = &run->node->loop;
    app->stack = run->options.net_count > 0 ? run->node->stack : NULL;
    app->pages = &run->node->pages;
    app->bufs = &run->node->bufs;
    app->rng = &run->node->rng;
    app->clock = &run->node->clock;
    app->console = &run->console;
    app->stacks = &run->node->stacks;
    app->param_values = run->options.param_values;
    app->dns = run->options.dns;
    app->dns_count = run->options.dns_count;
    mir__app_end_init(app, &(struct mir__app_end_config){.lease_us = run->options.lease_us,
                                                         .has_limit = run->options.has_grace,
                                                         .limit_us = run->options.grace_us,
                                                         .finish = leave});
}

static struct mir_net_prefix own6[MIR_APP_NETS_MAX], peer6[MIR__APP_ADDRESSES_MAX];

static int read_address(const struct mir__app_net *net, uint32_t index,
                        struct mir_net_if_config *config)
{
    *config = (struct mir_net_if_config){.prefix_len = 24};
    config->ip = mir_ip_from_v4(0x0a00020f + (index << 8)); /* 10.0.2.15, 10.0.3.15 ... */
    config->gateway = mir_ip_from_v4(0);
    if (net->has_ip) {
        config->ip = net->ip;
        config->prefix_len = net->prefix_len;
    }
    if (net->has_gateway)
        config->gateway = net->gateway;
    int r = mir__app_net_config(net, net->mtu != 0 ? net->mtu : 1500, config);
    /* Nobody advertises a prefix here: fd00:0:0:2::f and so on, unless something is given. */
    if (r == 0 && config->address_count == 0 && config->ip6 == MIR_IP6_AUTO) {
        own6[index] = (struct mir_net_prefix){.ip = {{0xfd, [7] = (uint8_t)(2 + index), [15] = 15}},
                                              .prefix_len = 64};
        config->addresses = &own6[index];
        config->address_count = 1;
    }
    return r;
}

/* The peer is the gateway if there is one, else a neighbour of the appliance. */
static void address_of_peer(const struct mir_net_if_config *ours, struct mir_net_if_config *peer)
{
    uint32_t ip = mir_ip_to_v4(&ours->ip);
    *peer = *ours;
    peer->ip = mir_ip_is_any(&ours->gateway) ? mir_ip_from_v4(ip ^ ((ip & 3) == 3 ? 1 : 3))
                                             : ours->gateway;
    peer->gateway = mir_ip_from_v4(0);
    peer->gateway6 = (struct mir_ip){{0}};
    peer->address_count = 0;
    for (uint32_t i = 0; i < ours->address_count; i++) {
        struct mir_net_prefix *address = &peer6[peer->address_count];
        *address = ours->addresses[i];
        address->ip.bytes[15] ^= (address->ip.bytes[15] & 3) == 3 ? 1 : 3;
        peer->address_count += !mir_ip_is_v4(&address->ip);
    }
    peer->addresses = peer6;
}

static int attach(struct mir_sim_node *node, const struct mir_sim_port_config *port_config,
                  const struct mir_net_if_config *config, struct mir_sim_port **port)
{
    int r = mir_sim_add_port(node, port_config, port);
    return r < 0 ? r : mir_net_add_interface(node->net, &(*port)->dev, config);
}

static int open_net(struct run *run, uint32_t index, struct mir_sim_port **peer_port)
{
    const struct mir__app_net *net = &run->options.net[index];
    struct mir_sim_port_config port_config = {.mtu = net->mtu};
    struct mir_net_if_config config, peer_config;
    struct mir_sim_port *port;
    char text[MIR_IP_TEXT_MAX];
    if (net->has_mac)
        memcpy(port_config.mac, net->mac, 6);
    int r = read_address(net, index, &config);
    if (r == 0)
        r = attach(run->node, &port_config, &config, &port);
    if (r < 0)
        return r;
    printf("net: sim %s/%u\n", mir_ip_text(&config.ip, text), config.prefix_len);
    if (index > 0)
        return 0; /* nothing is plugged in there */
    address_of_peer(&config, &peer_config);
    port_config = (struct mir_sim_port_config){.mtu = net->mtu};
    r = attach(run->peer.node, &port_config, &peer_config, peer_port);
    if (r == 0)
        r = mir_sim_join(&port->plug, &(*peer_port)->plug, &run->wire_config[0],
                         &run->wire_config[1], &run->wire);
    if (r == 0 && net->pcap != NULL)
        r = mir_sim_wire_pcap(run->wire, net->pcap);
    run->peer.to.ip = config.ip;
    return r;
}

static void open_world(struct run *run)
{
    struct mir_sim_node_config config = {.name = mir_manifest.name};
    struct mir_sim_port *peer_port;
    config.memory_bytes = (size_t)run->options.memory_mib << 20;
    config.buffers = run->options.memory_mib * BUFS_PER_MIB;
    int r = mir_sim_open(&(struct mir_sim_config){.seed = run->seed}, &run->sim);
    if (r == 0)
        r = mir_sim_add_node(run->sim, &config, &run->node);
    if (r == 0 && run->trace_tcp != NULL)
        r = mir_sim_trace_tcp(run->sim, run->trace_tcp);
    config.name = "peer";
    if (r == 0)
        r = mir_sim_add_node(run->sim, &config, &run->peer.node);
    for (uint32_t i = 0; i < run->options.net_count && r == 0; i++)
        r = open_net(run, i, &peer_port);
    if (r < 0)
        refuse(STATUS_UNAVAILABLE, mir_strerror(r));
    fill_app(run);
}

/* Which port the peer talks to: what was asked for, else the first forward, else the usual one. */
static uint16_t choose_port(const struct run *run)
{
    bool is_udp = run->peer.kind == MIR__SIM_PEER_UDP_ECHO;
    if (run->peer_port != 0)
        return run->peer_port;
    for (uint32_t i = 0; i < run->options.forward_count; i++) {
        if (run->options.forward[i].is_udp == is_udp)
            return run->options.forward[i].port;
    }
    return run->peer.kind == MIR__SIM_PEER_HTTP ? 80 : 7;
}

static void start_all(struct run *run)
{
    struct mir__sim_peer *peer = &run->peer;
    mir_time_us end_us = mir_sim_now(run->sim) + run->duration_s * MIR_US_PER_S;
    peer->to.port = choose_port(run);
    /* It gives up in time to say so. */
    peer->deadline_us = run->duration_s > 2 ? end_us - MIR_US_PER_S : end_us;
    peer->on_done = ask_to_stop;
    peer->arg = run;
    run->stop_call.run = ask_to_stop;
    run->stop_call.arg = run;
    mir_sim_at(run->sim, &run->stop_call, end_us);
    int r = mir__sim_control_start(&run->control, &run->app, run->node);
    if (r < 0)
        refuse(STATUS_UNAVAILABLE, "no memory for the control channel");
    r = mir_task_spawn(&run->node->loop, &run->node->stacks, "main", STACK_BYTES, run_main, run,
                       NULL);
    if (r == 0 && peer->kind != MIR__SIM_PEER_NONE && run->options.net_count > 0)
        r = mir__sim_peer_start(peer);
    else
        peer->is_done = true;
    if (r < 0)
        refuse(STATUS_UNAVAILABLE, "no memory for a task");
}

static int finish(struct run *run)
{
    struct mir__sim_peer *peer = &run->peer;
    struct mir_sim_stats stats;
    mir_time_us now_us = mir_sim_now(run->sim);
    mir__sim_control_finish(&run->control);
    mir_sim_get_stats(run->sim, &stats);
    if (!run->has_ended)
        printf("the appliance did not end when it was asked to\n");
    if (!peer->is_done)
        printf("peer: not done\n");
    printf("ended: %llu.%06llu virtual s, %llu events, %llu frames, seed %llu, run %016llx\n",
           (unsigned long long)(now_us / MIR_US_PER_S - 1),
           (unsigned long long)(now_us % MIR_US_PER_S), (unsigned long long)stats.events,
           (unsigned long long)stats.frames, (unsigned long long)run->seed,
           (unsigned long long)mir_sim_hash(run->sim));
    if (run->status != 0)
        return run->status;
    bool is_good = peer->is_done && peer->bad == 0 && run->control.failed == 0;
    return run->has_ended && is_good && stats.violations == 0 ? 0 : 1;
}

/* ---- a network ----------------------------------------------------------------------------------
 */

static int start_app(void *arg, struct mir__world_node *node)
{
    struct run *run = arg;
    run->node = node->host;
    fill_app(run);
    run->app.stack = run->node->stack;
    int r = mir__sim_control_start(&run->control, &run->app, run->node);
    return r < 0 ? r
                 : mir_task_spawn(&run->node->loop, &run->node->stacks, "main", STACK_BYTES,
                                  run_main, run, NULL);
}

static void open_network(struct run *run)
{
    struct mir_sim_config config = {.seed = run->seed};
    char error[MIR__TOPO_ERROR_MAX];
    uint32_t apps = 0, clients = 0;
    if (mir__topo_load(run->topology, &run->topo, error) < 0)
        refuse(STATUS_USAGE, error);
    for (uint32_t i = 0; i < run->topo.job_count; i++) {
        apps += run->topo.jobs[i].role == MIR__ROLE_APP;
        clients += run->topo.jobs[i].to != MIR__TOPO_NONE;
    }
    if (apps != 1)
        refuse(STATUS_USAGE, "--topology: one host must have the role app");
    if (clients == 0 && run->topo.duration_us == 0)
        run->topo.duration_us = run->duration_s * MIR_US_PER_S;
    if (mir__world_build(&run->topo, &config, &run->world, error) < 0)
        refuse(STATUS_USAGE, error);
    run->sim = run->world.sim;
    run->world.start_app = start_app;
    run->world.app_arg = run;
    run->stop_call.run = ask_to_stop;
    run->stop_call.arg = run;
    if (run->trace_tcp != NULL && mir_sim_trace_tcp(run->sim, run->trace_tcp) < 0)
        refuse(STATUS_UNAVAILABLE, "--trace-tcp: the file cannot be written");
    for (uint32_t i = 0; i < run->capture_count; i++) {
        int r = mir__world_pcap(&run->world, run->capture[i]);
        if (r < 0)
            refuse(STATUS_UNAVAILABLE, r == -MIR_ENOENT ? "--capture: there is no such link"
                                                        : "--capture: it cannot be written");
    }
}

static int run_network(struct run *run)
{
    open_network(run);
    mir__world_run(&run->world, 0);
    ask_to_stop(run);
    if (!run->has_ended)
        (void)mir_sim_run(run->sim, MIR_TIME_NEVER);
    for (uint32_t i = 0; i < run->topo.job_count; i++) {
        if (run->world.jobs[i] != NULL && run->topo.jobs[i].role != MIR__ROLE_APP)
            mir__job_report(run->world.jobs[i], stdout);
    }
    if (!run->has_ended) {
        printf("the appliance did not end when it was asked to\n");
        return 1; /* its tasks still have stacks and connections */
    }
    mir_sim_cancel(run->sim, &run->stop_call);
    mir__sim_control_finish(&run->control);
    mir__world_close(&run->world);
    const struct mir__world_result *result = &run->world.result;
    printf("flows: %u started, %u done, %u failed, %u hung\n", result->started, result->done,
           result->failed, result->hung);
    if (result->first[0] != '\0')
        printf("FAILED: %s\n", result->first);
    printf("ended: %llu.%06llu virtual s, %llu events, %llu frames, seed %llu, run %016llx\n",
           (unsigned long long)(result->took_us / MIR_US_PER_S),
           (unsigned long long)(result->took_us % MIR_US_PER_S), (unsigned long long)result->events,
           (unsigned long long)result->frames, (unsigned long long)run->seed,
           (unsigned long long)result->hash);
    bool is_bad = result->first[0] != '\0' || result->failed > 0 || run->control.failed > 0;
    return run->status != 0 ? run->status : is_bad;
}

int main(int argc, char **argv)
{
    struct run *run = &the_run;
    run->seed = 1;
    run->duration_s = 60;
    run->peer.count = 1;
    run->peer.bytes = 100000;
    run->wire_config[0] = (struct mir_sim_wire_config){.rate_bps = 1000000000, .delay_us = 1000};
    run->wire_config[1] = run->wire_config[0];
    mir_log_set_sink(on_log, run);
    read_command_line(run, argc, argv);
    if (run->topology != NULL) {
        int network_status = run_network(run);
        fflush(NULL);
        return network_status;
    }
    open_world(run);
    start_all(run);
    (void)mir_sim_run(run->sim, MIR_TIME_NEVER);
    int status = finish(run);
    /* Tasks that still run have stacks and connections of their own: the process ends with them. */
    fflush(NULL);
    return status;
}
