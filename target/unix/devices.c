/* SPDX-License-Identifier: ISC */
/* The devices of target unix: one table from network mode to implementation.
 *
 * A new network device gets one row. Middlewares go around whatever the row opened, in the order
 * device, fault, pcap, vlan, trace: a capture shows what the wire really got and sent, after the
 * faults and with the tags.
 *
 * Defaults that depend on the mode are here too:
 *
 *   user  10.0.2.15/24, gateway 10.0.2.2 (slirp's own)
 *   tap   10.0.0.2/24; the host's side of a new tap gets the gateway's address, or the first of the
 *         network, and is the gateway
 *   packet  none: the network is there already, so --ip (or dhcp) says who we are in it
 *
 * Everything is opened before privileges are dropped and the sandbox closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mirari/format.h>

#include "dev/net/fault/fault.h"
#include "dev/net/packet/packet.h"
#include "dev/net/pcap/pcap.h"
#include "dev/net/share/share.h"
#include "dev/net/tap/tap.h"
#include "dev/net/trace/trace.h"
#include "dev/net/vlan/vlan.h"
#include "dev/net/user/user.h"
#include "target/unix/workers.h"

typedef int (*open_fn)(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX]);

struct row {
    const char *mode;
    open_fn open;
    unsigned sandbox_needs;
};

static int open_user(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX]);
static int open_tap(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX]);
static int open_packet(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX]);
static int open_socket(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX]);

/* The first row is the default. */
static const struct row table[] = {
    {"user", open_user, MIR__SANDBOX_USER},
    {"tap", open_tap, MIR__SANDBOX_TAP},
    {"packet", open_packet, MIR__SANDBOX_PACKET},
    {"socket", open_socket, MIR__SANDBOX_SOCKET},
};

#define TAP_DEFAULT_IP     0x0a000002u
#define TAP_DEFAULT_PREFIX 24

static uint32_t mask_of(uint8_t prefix_len)
{
    return prefix_len == 0 ? 0 : UINT32_MAX << (32 - prefix_len);
}

/* Stable for an appliance and its network, so that neighbours' tables survive a restart. */
static void choose_mac(struct mir__unix *u, const struct mir__app_net *options, uint8_t mac[6])
{
    static const uint8_t key[16] = "mirari mac addr";
    char text[256];
    if (options->has_mac) {
        memcpy(mac, options->mac, 6);
        return;
    }
    size_t len = mir_format(text, sizeof text, "%s/%s", u->options.manifest->name, options->name);
    uint64_t hash = mir_siphash(key, text, MIR_MIN(len, sizeof text - 1));
    memcpy(mac, &hash, 6);
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

/* The identity of this machine, which no other one knows (machine-id(5)). */
static bool read_machine_id(uint8_t id[16])
{
    char text[32];
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool is_whole = read(fd, text, sizeof text) == (ssize_t)sizeof text;
    close(fd);
    for (size_t i = 0; is_whole && i < 16; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0}, *end;
        id[i] = (uint8_t)strtoul(digits, &end, 16);
        is_whole = end == digits + 2;
    }
    return is_whole;
}

/* Under the same prefix the same IPv6 address after a restart (RFC 7217 section 5), which nobody
 * elsewhere can compute. Without an identity of the machine the stack draws a secret. */
static void choose_secret(struct mir__unix *u, struct mir__unix_net *net)
{
    uint8_t id[16];
    char text[256];
    if (!read_machine_id(id))
        return;
    for (unsigned half = 0; half < 2; half++) {
        size_t len = mir_format(text, sizeof text, "mirari ip6 %u %s/%s", half,
                                u->options.manifest->name, net->options->name);
        uint64_t hash = mir_siphash(id, text, MIR_MIN(len, sizeof text - 1));
        memcpy(net->ip6_secret + 8 * half, &hash, sizeof hash);
    }
    net->config.ip6_secret = net->ip6_secret;
}

static int set_address(struct mir__unix *u, struct mir__unix_net *net, uint32_t ip,
                       uint8_t prefix_len, char error[MIR__ERROR_MAX])
{
    const struct mir__app_net *options = net->options;
    choose_secret(u, net);
    if (mir__app_net_config(options, options->mtu != 0 ? options->mtu : 1500, &net->config) < 0) {
        snprintf(error, MIR__ERROR_MAX, "--ip6 off, but %s has an IPv6 address or gateway",
                 options->name);
        return -MIR_EINVAL;
    }
    net->config.use_dhcp = options->use_dhcp;
    mir__follow_configure(u, net);
    if (options->use_dhcp)
        return 0;
    if (options->link_local4 && !options->has_ip)
        return 0; /* what it gives itself is its only address */
    net->config.ip = options->has_ip ? options->ip : mir_ip_from_v4(ip);
    net->config.prefix_len = options->has_ip ? options->prefix_len : prefix_len;
    if (options->has_gateway)
        net->config.gateway = options->gateway;
    return 0;
}

/* ---- modes --------------------------------------------------------------------------------- */

static int open_user(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    const struct mir__app_net *options = net->options;
    struct mir_user_config config = {
        .poll = &u->poll.base,
        .loop = &u->loop,
        .clock = u->app.clock,
        .bufs = &u->bufs,
        .mtu = options->mtu,
    };
    choose_mac(u, options, config.mac);
    if (options->link_local4 && !options->has_ip && !options->use_dhcp) {
        snprintf(error, MIR__ERROR_MAX, "--link-local4 alone needs --net tap or packet, not user");
        return -MIR_EINVAL;
    }
    int r = set_address(u, net, 0x0a00020f, 24, error);
    if (r < 0)
        return r;
    if (options->has_ip) {
        config.ip = mir_ip_to_v4(&options->ip);
        config.prefix_len = options->prefix_len;
    }
    if (options->has_gateway)
        config.gateway = mir_ip_to_v4(&options->gateway);
    else if (!options->use_dhcp)
        net->config.gateway =
            mir_ip_from_v4((mir_ip_to_v4(&net->config.ip) & mask_of(net->config.prefix_len)) + 2);
    return mir_user_open(&config, &net->dev, error);
}

/* Address of the host's side: as said, the gateway, or the first of the network that is free. */
static bool host_address(const struct mir__unix_net *net, uint32_t *ip, uint8_t *prefix_len)
{
    const struct mir__app_net *options = net->options;
    if (options->has_host_ip) {
        *ip = mir_ip_to_v4(&options->host_ip);
        *prefix_len = options->host_prefix_len;
        return true;
    }
    if (options->use_dhcp)
        return false;
    uint32_t ours = mir_ip_to_v4(&net->config.ip), mask = mask_of(net->config.prefix_len);
    *prefix_len = net->config.prefix_len;
    *ip = (ours & mask) + 1;
    if (*ip == ours)
        *ip += 1;
    if (options->has_gateway && ((mir_ip_to_v4(&options->gateway) ^ ours) & mask) == 0)
        *ip = mir_ip_to_v4(&options->gateway);
    return net->config.prefix_len <= 30;
}

static int open_tap(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    const struct mir__app_net *options = net->options;
    struct mir_tap_config config = {
        .poll = &u->poll.base,
        .bufs = &u->bufs,
        .ifname = options->ifname,
        .mtu = options->mtu,
        /* Faults happen to frames of the wire, not to segments of 64 KiB. */
        .is_plain = options->fault != NULL,
    };
    choose_mac(u, options, config.mac);
    int r = set_address(u, net, TAP_DEFAULT_IP, TAP_DEFAULT_PREFIX, error);
    if (r < 0)
        return r;
    config.host6 = options->host6;
    config.has_host_ip = host_address(net, &config.host_ip, &config.host_prefix_len);
    if (config.has_host_ip && !options->use_dhcp && !options->has_gateway)
        net->config.gateway = mir_ip_from_v4(config.host_ip);
    if (u->keep != NULL)
        return mir__keep_open_tap(u->keep, net, &config, error);
    r = u->worker != NULL ? mir__worker_open_tap(u, net, &config, error)
                          : mir_tap_open(&config, &net->dev, error);
    if (r == 0) {
        net->host_name = mir_tap_ifname(net->dev);
        net->tap = net->dev;
    }
    return r;
}

static int open_packet(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    const struct mir__app_net *options = net->options;
    struct mir_packet_config config = {
        .poll = &u->poll.base,
        .bufs = &u->bufs,
        .ifname = options->ifname,
        .mtu = options->mtu,
        .is_plain = options->fault != NULL,
    };
    if (!options->has_ip && !options->use_dhcp && options->address_count == 0) {
        snprintf(error, MIR__ERROR_MAX,
                 "mode packet joins a network that is there: --ip ADDR/LEN or --ip dhcp is needed");
        return -MIR_EINVAL;
    }
    choose_mac(u, options, config.mac);
    int r = set_address(u, net, 0, 0, error);
    if (r < 0)
        return r;
    if (u->keep != NULL)
        return mir__keep_open_packet(u->keep, net, &config, error);
    r = u->worker != NULL ? mir__worker_open_packet(u, net, &config, error)
                          : mir_packet_open(&config, &net->dev, error);
    if (r == 0) {
        net->host_name = mir_packet_ifname(net->dev);
        net->packet = net->dev;
    }
    return r;
}

static int open_socket(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    (void)net;
    if (u->options.net_count > 1) {
        snprintf(error, MIR__ERROR_MAX,
                 "mode socket is the host's own network: it cannot be mixed with others");
        return -MIR_ENOTSUP;
    }
    if (net->options->pcap != NULL || net->options->fault != NULL || net->options->is_traced ||
        net->options->vlan != 0) {
        snprintf(error, MIR__ERROR_MAX,
                 "--pcap, --fault, --trace and --vlan need frames; mode socket has none");
        return -MIR_ENOTSUP;
    }
    return 0;
}

/* ---- middlewares --------------------------------------------------------------------------- */

static int write_capture(void *arg, const void *data, size_t len)
{
    const struct mir__unix_net *net = arg;
    const char *from = data;
    while (len > 0) {
        ssize_t n = write(net->pcap_fd, from, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -MIR_EIO;
        from += n;
        len -= (size_t)n;
    }
    return 0;
}

/* As the user behind sudo, so that root's files are safe and the capture is the user's. */
static int open_capture(struct mir__unix *u, const char *path, char error[MIR__ERROR_MAX])
{
    bool is_sudo = u->identity.is_root && getenv("SUDO_UID") != NULL;
    if (is_sudo && (setegid(u->identity.gid) < 0 || seteuid(u->identity.uid) < 0)) {
        snprintf(error, MIR__ERROR_MAX, "--pcap: %s", strerror(errno));
        return -1;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0)
        snprintf(error, MIR__ERROR_MAX, "--pcap: cannot write %s: %s", path, strerror(errno));
    if (is_sudo && (seteuid(0) < 0 || setegid(0) < 0))
        mir__assert_fail(__FILE__, __LINE__, "root again", 0, 0);
    return fd;
}

static int add_pcap(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    struct mir_pcap *pcap = calloc(1, sizeof *pcap);
    net->pcap_fd = open_capture(u, net->options->pcap, error);
    if (pcap == NULL || net->pcap_fd < 0) {
        free(pcap);
        return -MIR_EIO;
    }
    net->pcap = pcap;
    struct mir_pcap_config config = {
        .inner = net->dev,
        .loop = &u->loop,
        .clock = u->app.clock,
        .pages = &u->pages,
        .name = net->options->name,
        .sink = write_capture,
        .arg = net,
    };
    net->dev = NULL;
    int r = mir_pcap_init(pcap, &config);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX, "--pcap %s: %s", net->options->pcap, mir_strerror(r));
        return r;
    }
    net->dev = &pcap->wrap.dev;
    return 0;
}

static int add_fault(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    char why[MIR_FAULT_ERROR_MAX];
    struct mir_fault_config config = {.inner = net->dev, .loop = &u->loop, .bufs = &u->bufs};
    int r = mir_fault_parse(net->options->fault, &config.spec, why);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX, "--fault: %s", why);
        return r;
    }
    struct mir_fault *fault = malloc(sizeof *fault);
    if (fault == NULL) {
        snprintf(error, MIR__ERROR_MAX, "--fault: no memory");
        return -MIR_ENOMEM;
    }
    mir_fault_init(fault, &config);
    mir_fault_control_add(&u->faults, net->options->name, fault);
    net->fault = fault;
    net->dev = &fault->wrap.dev;
    return 0;
}

static int add_trace(struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    struct mir_trace *trace = calloc(1, sizeof *trace);
    if (trace == NULL) {
        snprintf(error, MIR__ERROR_MAX, "--trace: no memory");
        return -MIR_ENOMEM;
    }
    mir_trace_init(trace, net->dev, net->options->name, mir__log_line, NULL);
    net->trace = trace;
    net->dev = &trace->wrap.dev;
    return 0;
}

static int add_vlan(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    /* A packet socket gets its frames without their tags, and slirp knows none. */
    if (strcmp(net->kind, "tap") != 0) {
        snprintf(error, MIR__ERROR_MAX, "--vlan: mode %s has no tags, mode tap has", net->kind);
        return -MIR_ENOTSUP;
    }
    struct mir_vlan *vlan = calloc(1, sizeof *vlan);
    if (vlan == NULL) {
        snprintf(error, MIR__ERROR_MAX, "--vlan: no memory");
        return -MIR_ENOMEM;
    }
    mir_vlan_init(vlan, net->dev, &u->bufs, net->options->vlan);
    net->vlan = vlan;
    net->dev = &vlan->wrap.dev;
    return 0;
}

static int add_share(struct mir__unix *u, struct mir__unix_net *net, char error[MIR__ERROR_MAX])
{
    net->share = calloc(1, sizeof *net->share);
    if (net->share == NULL) {
        snprintf(error, MIR__ERROR_MAX, "--workers: no memory");
        return -MIR_ENOMEM;
    }
    net->dev = mir__mesh_share(u, (uint32_t)(net - u->nets), net->share, net->dev);
    return 0;
}

static int add_middlewares(struct mir__unix *u, struct mir__unix_net *net,
                           char error[MIR__ERROR_MAX])
{
    int r = 0;
    if ((net->tap != NULL || net->packet != NULL) && u->worker != NULL)
        r = add_share(u, net, error);
    if (r < 0)
        return r;
    if (net->options->fault != NULL)
        r = add_fault(u, net, error);
    if (r == 0 && net->options->pcap != NULL)
        r = add_pcap(u, net, error);
    if (r == 0 && net->options->vlan != 0)
        r = add_vlan(u, net, error);
    if (r == 0 && net->options->is_traced)
        r = add_trace(net, error);
    return r;
}

/* ---- forwarded ports ----------------------------------------------------------------------- */

/* Which port was asked is lost when another is taken, so this says it here. */
static int add_forwards(struct mir__unix *u, uint32_t index, char error[MIR__ERROR_MAX])
{
    struct mir__unix_net *net = &u->nets[index];
    char text[MIR_IP_TEXT_MAX];
    for (uint32_t i = 0; i < u->options.forward_count; i++) {
        struct mir__app_forward *f = &u->options.forward[i];
        if (f->net != index)
            continue;
        if (strcmp(net->kind, "user") != 0) {
            if (net->options->has_forwards)
                MIR_LOG(TARGET, WARN, "port %u is not forwarded: %s is reached at its own address",
                        f->port, net->kind);
            continue;
        }
        struct mir_user_forward forward = {f->is_udp, f->host_ip, f->host_port, f->port};
        bool is_v4 = mir_ip_is_v4(&f->host_ip);
        if (!is_v4 && net->config.ip6 == MIR_IP6_OFF) {
            snprintf(error, MIR__ERROR_MAX,
                     "--forward: [%s]:%u needs IPv6, which is off (--ip6 auto)",
                     mir_ip_text(&f->host_ip, text), f->host_port);
            return -MIR_EINVAL;
        }
        int r = mir_user_add_forward(net->dev, &forward);
        if (r < 0) {
            snprintf(error, MIR__ERROR_MAX,
                     is_v4 ? "--forward: %s:%u: %s" : "--forward: [%s]:%u: %s",
                     mir_ip_text(&f->host_ip, text), f->host_port, mir_strerror(r));
            return r;
        }
        if (forward.host_port != f->host_port)
            fprintf(stderr, "mirari: port %u of the host is not free, taking %u\n", f->host_port,
                    forward.host_port);
        f->host_port = forward.host_port;
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static const struct row *find_row(const struct mir__app_net *options)
{
    if (options->mode == NULL)
        return &table[0];
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        if (mir__app_net_is(options, table[i].mode))
            return &table[i];
    }
    return NULL;
}

int mir__devices_open_one(struct mir__unix *u, uint32_t index, char error[MIR__ERROR_MAX])
{
    struct mir__unix_net *net = &u->nets[index];
    const struct row *row = find_row(&u->options.net[index]);
    net->options = &u->options.net[index];
    net->pcap_fd = -1;
    net->config.hostname = u->options.manifest->name;
    if (row == NULL) {
        snprintf(error, MIR__ERROR_MAX, "--net: mode %.*s does not exist in target unix",
                 (int)net->options->mode_len, net->options->mode);
        return -MIR_ENOTSUP;
    }
    net->kind = row->mode;
    if (u->keep != NULL && row->open != open_tap && row->open != open_packet)
        return 0; /* that is opened by each worker */
    u->sandbox_needs |= row->sandbox_needs;
    int r = row->open(u, net, error);
    if (r == 0 && u->keep == NULL)
        r = add_forwards(u, index, error);
    if (r == 0 && net->dev != NULL)
        r = add_middlewares(u, net, error);
    return r;
}

int mir__devices_open(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        int r = mir__devices_open_one(u, i, error);
        if (r < 0)
            return r;
    }
    return 0;
}

static void announce_net(struct mir__unix *u, const struct mir__unix_net *net)
{
    if (net->dev == NULL)
        mir_app_print(&u->app, "net: %s\n", net->kind);
    else
        mir__app_print_net(&u->app, net->kind, &net->config,
                           net->host_name != NULL ? net->host_name : "");
}

/* Over IPv6 the appliance makes its address by itself later, so the network stands for it. */
static void announce_forward(struct mir__unix *u, const struct mir__app_forward *f)
{
    char host[MIR_IP_TEXT_MAX], guest[MIR_IP_TEXT_MAX];
    const struct mir__unix_net *net = &u->nets[f->net];
    bool is_v4 = mir_ip_is_v4(&f->host_ip), is_any = mir_ip_is_any(&f->host_ip);
    struct mir_ip ip = net->config.use_dhcp ? mir_ip_from_v4(0x0a00020f) : net->config.ip;
    mir_ip_text(&f->host_ip, host);
    mir_app_print(&u->app,
                  is_v4 ? "forward: %s:%u -> %s:%u/%s\n" : "forward: [%s]:%u -> [%s]:%u/%s\n", host,
                  f->host_port, is_v4 ? mir_ip_text(&ip, guest) : "fd00::/64", f->port,
                  f->is_udp ? "udp" : "tcp");
    if (f->port != 80 || f->is_udp)
        return;
    if (is_v4)
        mir_app_print(&u->app, "http://%s:%u/\n", is_any ? "127.0.0.1" : host, f->host_port);
    else
        mir_app_print(&u->app, "http://[%s]:%u/\n", is_any ? "::1" : host, f->host_port);
}

void mir__devices_announce_one(struct mir__unix *u, uint32_t index)
{
    announce_net(u, &u->nets[index]);
}

/* Of several workers one is enough. */
void mir__devices_announce(struct mir__unix *u)
{
    if (u->worker != NULL && u->worker->index > 0)
        return;
    for (uint32_t i = 0; i < u->options.net_count; i++)
        announce_net(u, &u->nets[i]);
    for (uint32_t i = 0; i < u->options.forward_count; i++) {
        const struct mir__app_forward *f = &u->options.forward[i];
        if (strcmp(u->nets[f->net].kind, "user") == 0)
            announce_forward(u, f);
    }
}

void mir__devices_close(struct mir__unix *u)
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        struct mir__unix_net *net = &u->nets[i];
        if (net->dev != NULL)
            mir_net_dev_close(net->dev);
        net->dev = NULL;
        if (net->pcap != NULL)
            close(net->pcap_fd);
        free(net->trace);
        free(net->vlan);
        free(net->pcap);
        free(net->fault);
        free(net->share);
        net->share = NULL;
        net->trace = net->pcap = net->fault = net->vlan = NULL;
    }
}
