/* SPDX-License-Identifier: ISC */
/* The host's side of a virtual machine's networks.
 *
 *   mode                what it is                            addresses if nobody says
 *   user                QEMU's own network stack (slirp)      10.0.2.15/24, router .2, names .3
 *   tap, tap:IF         a tap made by us, or an existing one  10.0.0.2/24, router .1 (this machine)
 *   passt               passt(1), started by us               DHCP: those of this machine
 *   vhost-user:PATH     a switch in user space                DHCP
 *   socket:listen=A:P   another machine of QEMU, as           DHCP
 *   socket:connect=A:P  -netdev socket has it
 *   socket:mcast=A:P
 *   socket:PATH         a stream socket of Unix
 *
 * Addresses of user and tap are given to the guest as options, so it needs no DHCP at start. The
 * same rules as for target unix decide on the host's address. Ports that are taken are replaced by
 * free ones, and it is said.
 *
 * The MAC address is the one that target unix would take: from the names of appliance and network.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/rng.h>

#include "cmd/mirari/vm.h"
#include "dev/net/tap/tap.h"

#define LOCALHOST 0x7f000001u

/** Addresses of a network, IPv4. */
struct plan {
    bool is_dhcp, has_ip, has_gateway; /**< as manifest or options say */
    bool is_none;                      /**< none wanted: a link-local one, or IPv6 only */
    struct cidr ip;
    uint32_t gateway, dns;
};

bool vm_net_mode(const char *mode)
{
    static const char *const modes[] = {"user", "tap", "passt", "vhost-user", "socket"};
    for (size_t i = 0; i < LEN(modes); i++)
        if (mode_is(mode, modes[i]))
            return strcmp(mode, "socket") != 0;
    return mode == NULL;
}

static const char *mode_of(const struct manifest_net *net)
{
    return net->mode.text != NULL ? net->mode.text : "user";
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* The first word without a colon (an IPv4 address, or dhcp) of a list, to be freed; or NULL. */
static char *word_v4(const char *list)
{
    char *found = NULL, *save = NULL;
    char *copy = need_text(list != NULL ? list : "", list != NULL ? strlen(list) : 0);
    for (char *word = strtok_r(copy, ",", &save); word != NULL && found == NULL;
         word = strtok_r(NULL, ",", &save))
        if (strchr(word, ':') == NULL)
            found = need_text(word, strlen(word));
    free(copy);
    return found;
}

static uint32_t host_bits(const struct cidr *ip)
{
    return UINT32_MAX >> ip->len;
}

/* Host @number of the subnet, or the next that is neither ours nor the router. */
static uint32_t pick(const struct plan *p, uint32_t number)
{
    uint32_t base = p->ip.addr & ~host_bits(&p->ip), addr = base + number;
    while (addr == p->ip.addr || (p->gateway != 0 && addr == p->gateway))
        addr++;
    return addr;
}

static struct plan plan_of(const struct manifest_net *net)
{
    struct plan p = {0};
    bool is_user = mode_is(mode_of(net), "user"), is_tap = mode_is(mode_of(net), "tap");
    char *ip = word_v4(net->ip.text), *gateway = word_v4(net->gateway.text);
    p.has_ip = ip != NULL && valid_cidr(ip, &p.ip, NULL);
    p.is_dhcp = ip != NULL && !p.has_ip;
    p.has_gateway = gateway != NULL && valid_ip4(gateway, &p.gateway, NULL);
    p.is_none =
        ip == NULL && net->link_local4.text != NULL && strcmp(net->link_local4.text, "on") == 0;
    if (ip == NULL && !is_user && !is_tap)
        p.is_dhcp = !p.is_none;
    if (!p.has_ip)
        p.ip = (struct cidr){.addr = is_tap ? 0x0a000002u : 0x0a00020fu, .len = 24};
    if (!p.has_gateway)
        p.gateway = pick(&p, is_tap ? 1 : 2);
    p.dns = pick(&p, 3);
    free(ip);
    free(gateway);
    return p;
}

static void add_ip(struct str *out, uint32_t ip)
{
    str_format(out, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void add_word(struct list *words, const char *option, const char *net, uint32_t ip,
                     unsigned len)
{
    struct str value = {0};
    if (net != NULL)
        str_format(&value, "%s=", net);
    add_ip(&value, ip);
    if (len != 0)
        str_format(&value, "/%u", len);
    list_add(words, option);
    list_add(words, value.data);
    str_free(&value);
}

void vm_net_words(const struct run *run, bool is_ours, struct list *words)
{
    const struct manifest *m = &run->manifest;
    bool has_dns = m->net_count > 0 && m->net[0].dns.text != NULL;
    for (size_t i = 0; i < run->options.count; i += 2)
        has_dns = has_dns || strcmp(run->options.item[i], "--dns") == 0;
    for (size_t i = 0; i < m->net_count; i++) {
        const struct manifest_net *net = &m->net[i];
        struct plan p = plan_of(net);
        bool is_user = mode_is(mode_of(net), "user"), is_tap = mode_is(mode_of(net), "tap");
        if (p.is_none)
            continue;
        if (p.is_dhcp || (!is_ours && !p.has_ip)) {
            if (net->ip.text == NULL || !p.is_dhcp) {
                char *value = need_format("%s=dhcp", net->name);
                list_add(words, "--ip");
                list_add(words, value);
                free(value);
            }
            continue;
        }
        if (!p.has_ip)
            add_word(words, "--ip", net->name, p.ip.addr, p.ip.len);
        if (!p.has_gateway && is_ours && (is_user || is_tap) && p.ip.len <= 30)
            add_word(words, "--gateway", net->name, p.gateway, 0);
        if (i == 0 && is_ours && is_user && !has_dns)
            add_word(words, "--dns", NULL, p.dns, 0);
    }
}

/* ---- forwarded ports ------------------------------------------------------------------------- */

/* Is the port free? One that is not becomes one that is. */
static bool find_port(struct forward *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(f->host_port),
                                  .sin_addr.s_addr = htonl(f->host_addr)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, (f->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0 && !f->is_udp)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    bool good = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (!good && fd >= 0 && (errno == EADDRINUSE || errno == EACCES)) {
        address.sin_port = 0;
        good = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
               getsockname(fd, (struct sockaddr *)&address, &len) == 0;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (!good) {
        struct str ip = {0};
        add_ip(&ip, f->host_addr);
        complain("cannot forward %s:%u: %s; name an address of this machine", ip.data, f->host_port,
                 strerror(error));
        str_free(&ip);
        return false;
    }
    uint16_t port = ntohs(address.sin_port);
    if (port != f->host_port)
        complain("port %u of the host is not free, taking %u", f->host_port, port);
    f->host_port = port;
    return true;
}

static void announce(struct vm *vm, const struct forward *f, uint32_t guest)
{
    str_text(&vm->announce, "forward: ");
    add_ip(&vm->announce, f->host_addr);
    str_format(&vm->announce, ":%u -> ", f->host_port);
    if (guest != 0)
        add_ip(&vm->announce, guest);
    str_format(&vm->announce, ":%u/%s\n", f->port, f->is_udp ? "udp" : "tcp");
    if (f->port != 80 || f->is_udp)
        return;
    str_text(&vm->announce, "http://");
    add_ip(&vm->announce, f->host_addr == 0 ? LOCALHOST : f->host_addr);
    str_format(&vm->announce, ":%u/\n", f->host_port);
}

/* Ports of network @index, as texts; with @is_open they are made free and announced. */
static int take_forwards(const struct run *run, struct vm *vm, size_t index, bool is_open)
{
    const struct manifest_net *net = &run->manifest.net[index];
    bool is_passt = mode_is(mode_of(net), "passt");
    struct plan p = plan_of(net);
    struct str all = {0};
    char *save = NULL;
    int result = 0;
    if (net->forward.text == NULL || !(mode_is(mode_of(net), "user") || is_passt))
        return 0;
    char *copy = need_text(net->forward.text, strlen(net->forward.text));
    for (char *word = strtok_r(copy, ",", &save); word != NULL && result == 0;
         word = strtok_r(NULL, ",", &save)) {
        struct forward f;
        if (!valid_forward(word, &f, NULL))
            continue;
        if (strchr(word, ':') == strrchr(word, ':'))
            f.host_addr = LOCALHOST; /* not given; 0.0.0.0 is said by name */
        if (is_open && !find_port(&f))
            result = EXIT_FAIL;
        str_text(&all, all.len > 0 ? "," : "");
        add_ip(&all, f.host_addr);
        str_format(&all, ":%u:%u/%s", f.host_port, f.port, f.is_udp ? "udp" : "tcp");
        if (is_open)
            announce(vm, &f, is_passt ? 0 : p.ip.addr);
    }
    free(copy);
    free(vm->net[index].forwards);
    vm->net[index].forwards = all.data;
    return result;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void choose_mac(struct run *run, struct manifest_net *net)
{
    static const uint8_t key[16] = "mirari mac addr";
    uint8_t mac[6];
    if (net->mac.text != NULL)
        return;
    char *text = need_format("%s/%s", run->manifest.name, net->name);
    uint64_t hash = mir_siphash(key, text, strlen(text));
    memcpy(mac, &hash, sizeof(mac));
    mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
    free(text);
    net->mac.text = need_format("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                                mac[4], mac[5]);
}

/* Our side of a tap as --host-ip says, for network @name. NULL: not given. */
static const char *host_ip_of(const struct run *run, const char *name, bool is_v6)
{
    const char *found = NULL;
    for (size_t i = 0; i < run->options.count; i += 2) {
        const char *value = run->options.item[i + 1];
        const char *equal = strchr(value, '=');
        if (strcmp(run->options.item[i], "--host-ip") != 0)
            continue;
        bool is_ours = equal != NULL ? strlen(name) == (size_t)(equal - value) &&
                                           memcmp(name, value, strlen(name)) == 0
                                     : strcmp(name, run->manifest.net[0].name) == 0;
        value = equal != NULL ? equal + 1 : value;
        if (is_ours && (strchr(value, ':') != NULL) == is_v6)
            found = value;
    }
    return found;
}

static int open_tap(struct run *run, struct vm *vm, size_t index)
{
    const struct manifest_net *net = &run->manifest.net[index];
    struct plan p = plan_of(net);
    struct mir_tap_host host = {.fd = -1};
    struct cidr given = {.addr = p.gateway, .len = p.ip.len};
    char error[MIR_TAP_ERROR_MAX];
    const char *colon = strchr(mode_of(net), ':');
    const char *v4 = host_ip_of(run, net->name, false), *v6 = host_ip_of(run, net->name, true);
    struct mir_tap_config config = {.ifname = colon != NULL ? colon + 1 : NULL};
    if (net->mtu.text != NULL)
        (void)valid_mtu(net->mtu.text, &config.mtu, NULL);
    bool is_outside = ((given.addr ^ p.ip.addr) & ~host_bits(&p.ip)) != 0;
    config.has_host_ip = v4 != NULL ? valid_cidr(v4, &given, NULL)
                                    : !p.is_dhcp && !p.is_none && !is_outside && p.ip.len <= 30;
    config.host_ip = given.addr;
    config.host_prefix_len = (uint8_t)given.len;
    if (v6 != NULL) {
        char *address = need_text(v6, strcspn(v6, "/"));
        if (inet_pton(AF_INET6, address, config.host6.ip.bytes) == 1)
            config.host6.prefix_len = (uint8_t)strtoul(v6 + strcspn(v6, "/") + 1, NULL, 10);
        free(address);
    }
    if (mir_tap_open_host(&config, &host, error) < 0) {
        complain("%s", error);
        return EXIT_FAIL;
    }
    vm->net[index].fd = host.fd;
    snprintf(vm->net[index].ifname, sizeof(vm->net[index].ifname), "%s", host.ifname);
    str_format(&vm->announce, "tap: %s is %s of this machine\n", net->name, host.ifname);
    return 0;
}

/* "-t 127.0.0.1/8080:80,..." of the forwards of one protocol. */
static char *passt_ports(const char *forwards, const char *protocol)
{
    struct str out = {0};
    char *save = NULL, *copy = need_text(forwards != NULL ? forwards : "",
                                         forwards != NULL ? strlen(forwards) : 0);
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        char *slash = strchr(word, '/'), *colon = strchr(word, ':');
        if (strcmp(slash + 1, protocol) != 0)
            continue;
        str_format(&out, "%s%.*s/%.*s", out.len > 0 ? "," : "", (int)(colon - word), word,
                   (int)(slash - colon - 1), colon + 1);
    }
    free(copy);
    return out.len > 0 ? out.data : need_text("none", 4);
}

static int start_passt(struct run *run, struct vm *vm, size_t index)
{
    const struct manifest_net *net = &run->manifest.net[index];
    struct vm_net *side = &vm->net[index];
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        complain("cannot make a socket pair: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    char *fd = need_format("%d", ends[1]);
    char *tcp = passt_ports(side->forwards, "tcp"), *udp = passt_ports(side->forwards, "udp");
    pid_t parent = getpid();
    fflush(NULL);
    side->helper = fork();
    if (side->helper == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        setpgid(0, 0);
        fcntl(ends[1], F_SETFD, 0);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        if (run->detach)
            dup2(null, STDERR_FILENO); /* nobody waits for it */
        if (getppid() == parent)
            execlp("passt", "passt", "--quiet", "--foreground", "--fd", fd, "-t", tcp, "-u", udp,
                   (char *)NULL);
        dprintf(STDERR_FILENO, "mirari: %s: cannot run passt: %s; apt-get install passt\n",
                net->name, strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    side->fd = ends[0];
    free(fd);
    free(tcp);
    free(udp);
    if (side->helper > 0)
        return 0;
    complain("cannot start a process: %s; close other programs", strerror(errno));
    return EXIT_FAIL;
}

void vm_net_plan(struct run *run, struct vm *vm)
{
    for (size_t i = 0; i < run->manifest.net_count; i++) {
        choose_mac(run, &run->manifest.net[i]);
        (void)take_forwards(run, vm, i, false);
    }
}

int vm_net_open(struct run *run, struct vm *vm)
{
    int r = 0;
    for (size_t i = 0; i < run->manifest.net_count && r == 0; i++) {
        const char *mode = mode_of(&run->manifest.net[i]);
        r = take_forwards(run, vm, i, true);
        if (r == 0 && mode_is(mode, "tap"))
            r = open_tap(run, vm, i);
        else if (r == 0 && mode_is(mode, "passt"))
            r = start_passt(run, vm, i);
    }
    return r;
}

/* ---- words of QEMU --------------------------------------------------------------------------- */

static void user_args(const struct manifest_net *net, const struct vm_net *side, struct str *out)
{
    struct plan p = plan_of(net);
    char *save = NULL;
    str_format(out, "user,id=%s", net->name);
    if (p.has_ip || p.has_gateway) {
        str_text(out, ",net=");
        add_ip(out, p.ip.addr & ~host_bits(&p.ip));
        str_format(out, "/%u,host=", p.ip.len);
        add_ip(out, p.gateway);
        str_text(out, ",dns=");
        add_ip(out, p.dns);
    }
    char *copy = need_text(side->forwards != NULL ? side->forwards : "",
                           side->forwards != NULL ? strlen(side->forwards) : 0);
    for (char *word = strtok_r(copy, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
        char *slash = strchr(word, '/'), *colon = strrchr(word, ':');
        str_format(out, ",hostfwd=%s:%.*s-", slash + 1, (int)(colon - word), word);
        add_ip(out, p.ip.addr);
        str_format(out, ":%.*s", (int)(slash - colon - 1), colon + 1);
    }
    free(copy);
}

static void socket_args(const struct manifest_net *net, struct list *argv, struct str *out)
{
    const char *what = strchr(net->mode.text, ':') + 1;
    (void)argv;
    if (strchr(what, '=') != NULL)
        str_format(out, "socket,id=%s,%s", net->name, what);
    else
        str_format(out, "stream,id=%s,server=off,addr.type=unix,addr.path=%s", net->name, what);
}

void vm_net_args(const struct run *run, const struct vm *vm, size_t index, bool is_dry,
                 struct list *argv)
{
    const struct manifest_net *net = &run->manifest.net[index];
    const struct vm_net *side = &vm->net[index];
    const char *mode = mode_of(net), *colon = strchr(mode, ':');
    struct str out = {0};
    if (mode_is(mode, "user")) {
        user_args(net, side, &out);
    } else if (mode_is(mode, "tap")) {
        str_format(&out, "tap,id=%s", net->name);
        if (is_dry)
            str_format(&out, "%s%s,script=no,downscript=no", colon != NULL ? ",ifname=" : "",
                       colon != NULL ? colon + 1 : "");
        else
            str_format(&out, ",fd=%d", side->fd);
    } else if (mode_is(mode, "passt")) {
        str_format(&out, "stream,id=%s,server=off,", net->name);
        if (is_dry)
            str_text(&out, "addr.type=unix,addr.path=/tmp/passt_1.socket");
        else
            str_format(&out, "addr.type=fd,addr.str=%d", side->fd);
    } else if (mode_is(mode, "vhost-user")) {
        char *chardev = need_format("socket,id=%s.vhost,path=%s", net->name, colon + 1);
        list_add(argv, "-chardev");
        list_add(argv, chardev);
        free(chardev);
        str_format(&out, "vhost-user,id=%s,chardev=%s.vhost", net->name, net->name);
    } else {
        socket_args(net, argv, &out);
    }
    list_add(argv, "-netdev");
    list_add(argv, out.data);
    str_free(&out);
    for (size_t i = 0; i < run->options.count; i += 2) {
        const char *value = run->options.item[i + 1];
        size_t len = strlen(net->name);
        bool is_named = strncmp(value, net->name, len) == 0 && value[len] == '=';
        if (strcmp(run->options.item[i], "--pcap") != 0 || (!is_named && index != 0))
            continue;
        char *dump = need_format("filter-dump,id=%s.pcap,netdev=%s,file=%s", net->name, net->name,
                                 is_named ? value + len + 1 : value);
        list_add(argv, "-object");
        list_add(argv, dump);
        free(dump);
    }
}
