/* SPDX-License-Identifier: ISC */
/* A worker's side of the split: the process that is the appliance, started by a monitor.
 *
 *   begin     the monitor's socket is a descriptor of a fixed number, which worker this is comes by
 *             the environment; everything else that was open is closed
 *   take_all  HELLO, then DEVICE, CHANNEL, ..., GO: taps and the sockets of the control channel
 *             are there before privileges go
 *   run       READY, and from then on devices come and go as messages, inside the sandbox
 *
 * The command line is the monitor's own, so a network that it or the manifest names is configured
 * as without a monitor; only the descriptor of its tap is not opened but taken. A network that was
 * attached later brings its configuration along as a text of words:
 *
 *   ip=ADDR/LEN gateway=ADDR route=PREFIX/LEN=ADDR ip6=MODE        without ip: DHCP
 *
 * One that is detached keeps its place in the stack, without a link and without addresses, since a
 * stack has no way to forget an interface; it is taken up again when the same name comes back.
 *
 * When the monitor is gone the appliance is asked to end, as by SIGTERM.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/format.h>
#include <mirari/log.h>

#include "target/unix/workers.h"

static struct mir__worker the_worker;

/* ---- the start ------------------------------------------------------------------------------ */

static bool is_packet_socket(int fd)
{
    int type = 0, domain = 0;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

void mir__worker_begin(struct mir__unix *u)
{
    struct mir__worker *w = &the_worker;
    const char *text = getenv(MIR__WORKER_ENV);
    char rest;
    if (text == NULL)
        return;
    if (sscanf(text, "%u/%u%c", &w->index, &w->count, &rest) != 2 || w->index >= w->count ||
        w->count > MIR__WORKERS_MAX || !is_packet_socket(MIR__WORKER_FD)) {
        fprintf(stderr, "%s: %s is set, but this is no worker of a monitor; unset it\n",
                mir_manifest.name, MIR__WORKER_ENV);
        exit(MIR__EXIT_USAGE);
    }
    (void)fcntl(MIR__WORKER_FD, F_SETFD, FD_CLOEXEC);
    (void)unsetenv(MIR__WORKER_ENV);
    w->inbox = w->successor = -1;
    for (unsigned i = 0; i < MIR__WORKERS_MAX; i++)
        w->peers[i] = -1;
    u->worker = w;
}

static void tell(enum mir__handover_kind kind)
{
    struct mir__handover message = mir__handover_make(kind);
    if (mir__handover_send(MIR__WORKER_FD, &message, -1) < 0)
        MIR_LOG(TARGET, WARN, "the monitor does not listen");
}

static void take_host(const struct mir__handover *m, int fd, struct mir_tap_host *host)
{
    *host = (struct mir_tap_host){
        .fd = fd,
        .mtu = m->mtu,
        .has_offloads = m->flags & MIR__HANDOVER_OFFLOADS,
        .has_bundles = m->flags & MIR__HANDOVER_BUNDLES,
    };
    memcpy(host->ifname, m->ifname, sizeof host->ifname);
}

static int find_net(const struct mir__unix *u, const char *name)
{
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        if (strcmp(u->options.net[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int take_device(struct mir__unix *u, const struct mir__handover *m, int fd,
                       char error[MIR__ERROR_MAX])
{
    struct mir__worker *w = u->worker;
    if (w->taken_count == MIR_APP_NETS_MAX) {
        close(fd);
        snprintf(error, MIR__ERROR_MAX, "the monitor has more than %u devices", MIR_APP_NETS_MAX);
        return -MIR_ELIMIT;
    }
    struct mir__taken *taken = &w->taken[w->taken_count++];
    memcpy(taken->name, m->name, sizeof taken->name);
    memcpy(taken->mac, m->mac, 6);
    taken->type = m->type;
    w->is_second = w->is_second || m->flags & MIR__HANDOVER_PAUSED;
    take_host(m, fd, &taken->host);
    if (find_net(u, m->name) >= 0)
        return 0;
    int r = mir__worker_describe(u, m, error);
    return r < 0 ? r : 0;
}

static int take_channel(struct mir__unix *u, const struct mir__handover *m, int fd)
{
    u->worker->is_second = u->worker->is_second || m->flags & MIR__HANDOVER_PAUSED;
    return mir__control_take(u, (enum mir_rpc_role)m->type, fd);
}

static int take_peer(struct mir__worker *w, const struct mir__handover *m, int fd)
{
    int *place = m->index == w->index ? &w->inbox : &w->peers[m->index % MIR__WORKERS_MAX];
    if (m->index >= w->count || *place >= 0) {
        close(fd);
        return -MIR_EPROTO;
    }
    *place = fd;
    return 0;
}

int mir__worker_take_all(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    struct mir__handover m;
    int fd, r;
    snprintf(error, MIR__ERROR_MAX, "what the monitor says makes no sense");
    tell(MIR__HANDOVER_HELLO);
    for (;;) {
        r = mir__handover_receive(MIR__WORKER_FD, MIR__HANDOVER_WORKER, &m, &fd);
        if (r == -MIR_ECLOSED)
            exit(0); /* we are not wanted any more */
        if (r == 0 && m.kind == MIR__HANDOVER_GO && fcntl(MIR__WORKER_FD, F_SETFL, O_NONBLOCK) < 0)
            r = -MIR_EIO;
        if (r == 0 && m.kind == MIR__HANDOVER_GO)
            mir__follow_begin(u->worker);
        if (r < 0 || m.kind == MIR__HANDOVER_GO)
            return r;
        if (m.kind == MIR__HANDOVER_STOP)
            exit(0);
        if (m.kind == MIR__HANDOVER_DEVICE)
            r = take_device(u, &m, fd, error);
        else if (m.kind == MIR__HANDOVER_PEER)
            r = take_peer(u->worker, &m, fd);
        else if (m.kind == MIR__HANDOVER_CHANNEL)
            r = take_channel(u, &m, fd);
        else if (m.kind == MIR__HANDOVER_LEASE)
            r = mir__follow_keep(u->worker, &m);
        else
            r = -MIR_EPROTO;
        if (r < 0)
            return r;
    }
}

static struct mir__taken *find_taken(struct mir__worker *w, const struct mir__unix_net *net,
                                     enum mir__handover_type type, char error[MIR__ERROR_MAX])
{
    for (uint32_t i = 0; i < w->taken_count; i++) {
        struct mir__taken *taken = &w->taken[i];
        if (strcmp(taken->name, net->options->name) == 0 && taken->host.fd >= 0 &&
            taken->type == type)
            return taken;
    }
    snprintf(error, MIR__ERROR_MAX, "the monitor has passed no %s for %s", net->kind,
             net->options->name);
    return NULL;
}

int mir__worker_open_tap(struct mir__unix *u, struct mir__unix_net *net,
                         const struct mir_tap_config *config, char error[MIR__ERROR_MAX])
{
    struct mir__taken *taken = find_taken(u->worker, net, MIR__HANDOVER_TAP, error);
    struct mir_tap_config mine = *config;
    if (taken == NULL)
        return -MIR_ENOENT;
    mine.is_paused = u->worker->is_second;
    memcpy(mine.mac, taken->mac, 6);
    int r = mir_tap_adopt(&mine, &taken->host, &net->dev);
    taken->host.fd = -1;
    if (r < 0)
        snprintf(error, MIR__ERROR_MAX, "no memory for the tap of %s", net->options->name);
    return r;
}

int mir__worker_open_packet(struct mir__unix *u, struct mir__unix_net *net,
                            const struct mir_packet_config *config, char error[MIR__ERROR_MAX])
{
    struct mir__taken *taken = find_taken(u->worker, net, MIR__HANDOVER_PACKET, error);
    struct mir_packet_config mine = *config;
    if (taken == NULL)
        return -MIR_ENOENT;
    struct mir_packet_queue queue = {.fd = taken->host.fd, .mtu = taken->host.mtu};
    mine.is_paused = u->worker->is_second;
    memcpy(mine.mac, taken->mac, 6);
    taken->host.fd = -1;
    return mir_packet_adopt(&mine, &queue, &net->dev, error);
}

/* ---- networks that come later ---------------------------------------------------------------- */

static bool take_word(struct mir__app_net *net, const char *word, size_t len)
{
    static const struct {
        const char *key;
        bool (*take)(struct mir__app_net *net, const char *text, size_t len);
    } words[] = {{"ip=", mir__app_add_ip},
                 {"gateway=", mir__app_set_gateway},
                 {"route=", mir__app_add_route},
                 {"ip6=", mir__app_set_ip6},
                 {"host-ip=", mir__app_set_host_ip}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(words); i++) {
        size_t key_len = strlen(words[i].key);
        if (len > key_len && memcmp(word, words[i].key, key_len) == 0)
            return words[i].take(net, word + key_len, len - key_len);
    }
    return false;
}

static int take_words(struct mir__app_net *net, const char *text, char error[MIR__ERROR_MAX])
{
    while (*text != '\0') {
        size_t len = strcspn(text, " ");
        if (len > 0 && !take_word(net, text, len)) {
            snprintf(error, MIR__ERROR_MAX,
                     "\"%.*s\" is none of ip=ADDR/LEN, ip=dhcp, gateway=ADDR, "
                     "route=PREFIX/LEN=ADDR, ip6=MODE, host-ip=ADDR/LEN",
                     (int)MIR_MIN(len, 80u), text);
            return -MIR_EINVAL;
        }
        text += len;
        text += *text == ' ';
    }
    if (!net->has_ip && net->address_count == 0)
        net->use_dhcp = true;
    return 0;
}

int mir__worker_describe(struct mir__unix *u, const struct mir__handover *message,
                         char error[MIR__ERROR_MAX])
{
    uint32_t index = u->options.net_count;
    if (index == MIR_APP_NETS_MAX) {
        snprintf(error, MIR__ERROR_MAX, "an appliance has at most %u networks", MIR_APP_NETS_MAX);
        return -MIR_ELIMIT;
    }
    struct mir__app_net *net = &u->options.net[index];
    struct mir__unix_net *place = &u->nets[index];
    *net = (struct mir__app_net){.name = place->name, .mode = "tap", .mode_len = 3};
    memcpy(place->name, message->name, sizeof place->name);
    memcpy(place->ifname, message->ifname, sizeof place->ifname);
    place->lease_fd = -1;
    net->ifname = place->ifname;
    int r = take_words(net, message->text, error);
    if (r < 0)
        return r;
    u->options.net_count++;
    return (int)index;
}

static void forget_address(void *arg, const struct mir_net_address *address)
{
    struct mir_net_address *found = arg;
    if (address->if_index == found->if_index)
        *found = *address;
}

/* Addresses cannot be removed while they are counted: one after the other. */
static void forget_addresses(struct mir__unix *u, uint32_t if_index)
{
    for (;;) {
        struct mir_net_address found = {.if_index = if_index};
        mir_net_each_address(u->net, forget_address, &found);
        if (mir_ip_is_any(&found.ip) || mir_net_remove_address(u->net, &found.ip) < 0)
            return;
    }
}

/* The device below the middlewares is the one to plug. */
static int detach(struct mir__unix *u, const char *name, char error[MIR__ERROR_MAX])
{
    int index = find_net(u, name);
    struct mir__unix_net *net = index >= 0 ? &u->nets[index] : NULL;
    if (net == NULL || net->tap == NULL || net->is_detached) {
        snprintf(error, MIR__ERROR_MAX, "no network \"%s\"", name);
        return -MIR_ENOENT;
    }
    mir_tap_unplug(net->tap);
    mir__follow_detach(u, (uint32_t)index);
    forget_addresses(u, (uint32_t)index + 1);
    net->is_detached = true;
    MIR_LOG(TARGET, INFO, "network %s is detached", name);
    return 0;
}

static int attach_again(struct mir__unix *u, uint32_t index, const struct mir__handover *m, int fd,
                        char error[MIR__ERROR_MAX])
{
    struct mir__unix_net *net = &u->nets[index];
    struct mir_net_prefix ip = {net->config.ip, net->config.prefix_len};
    struct mir_tap_host host;
    take_host(m, fd, &host);
    int r = mir_tap_replug(net->tap, &host);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX, "%s is not like the tap that %s had: %s", host.ifname,
                 net->options->name, mir_strerror(r));
        return r;
    }
    net->is_detached = false;
    mir__follow_attach(u, index);
    if (!net->config.use_dhcp && !mir_ip_is_any(&ip.ip))
        r = mir_net_add_address(u->net, index + 1, &ip);
    for (uint32_t i = 0; i < net->config.address_count && r == 0; i++)
        r = mir_net_add_address(u->net, index + 1, &net->config.addresses[i]);
    if (r == 0)
        r = mir__app_add_routes(net->options, u->net, index + 1);
    if (r < 0)
        snprintf(error, MIR__ERROR_MAX, "%s: %s", net->options->name, mir_strerror(r));
    return r;
}

static int attach(struct mir__unix *u, const struct mir__handover *m, int fd,
                  char error[MIR__ERROR_MAX])
{
    struct mir__worker *w = u->worker;
    int index = find_net(u, m->name);
    if (index >= 0 && u->nets[index].is_detached)
        return attach_again(u, (uint32_t)index, m, fd, error);
    if (index >= 0 || u->net == NULL) {
        close(fd);
        snprintf(error, MIR__ERROR_MAX, "network \"%s\" is there already", m->name);
        return -MIR_EEXIST;
    }
    w->taken_count = 0;
    int r = take_device(u, m, fd, error);
    index = find_net(u, m->name);
    if (r < 0 || index < 0)
        return r;
    r = mir__devices_open_one(u, (uint32_t)index, error);
    if (r == 0) {
        r = mir_net_add_interface(u->net, u->nets[index].dev, &u->nets[index].config);
        if (r == 0)
            r = mir__app_add_routes(&u->options.net[index], u->net, (uint32_t)index + 1);
        if (r < 0)
            snprintf(error, MIR__ERROR_MAX, "%s: %s", m->name, mir_strerror(r));
    }
    if (r < 0) {
        u->options.net_count--;
        if (u->nets[index].dev != NULL)
            mir_net_dev_close(u->nets[index].dev);
        u->nets[index].dev = NULL;
        return r;
    }
    mir__devices_announce_one(u, (uint32_t)index);
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

void mir__worker_end(struct mir__unix *u, const char *why)
{
    if (mir_app_shutdown(&u->app, MIR_APP_END_SIGNAL))
        MIR_LOG(TARGET, INFO, "%s: asking the appliance to end", why);
}

/* The one before us has ended: its queues and its inbox are ours. */
static void take_over(struct mir__unix *u, int inbox)
{
    u->worker->is_second = false;
    mir__control_accept(u, true);
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        if (u->nets[i].tap != NULL)
            mir_tap_resume(u->nets[i].tap);
        if (u->nets[i].packet != NULL)
            mir_packet_resume(u->nets[i].packet);
    }
    mir__follow_lead(u, true);
    if (mir__mesh_listen(u, inbox) < 0)
        MIR_LOG(TARGET, ERROR, "the inbox of the worker before cannot be read");
}

static void answer(const struct mir__handover *question, int r, const char *text)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_DONE);
    m.ticket = question->ticket;
    m.status = r;
    snprintf(m.text, sizeof m.text, "%s", r < 0 ? text : "");
    if (mir__handover_send(MIR__WORKER_FD, &m, -1) < 0)
        MIR_LOG(TARGET, WARN, "the monitor does not listen");
}

static void take_message(struct mir__unix *u, const struct mir__handover *m, int fd)
{
    char error[MIR__ERROR_MAX] = "";
    switch (m->kind) {
    case MIR__HANDOVER_DEVICE:
        answer(m, attach(u, m, fd, error), error);
        return;
    case MIR__HANDOVER_REMOVE:
        answer(m, detach(u, m->name, error), error);
        return;
    case MIR__HANDOVER_STOP:
        mir__worker_end(u, "the monitor");
        return;
    case MIR__HANDOVER_LEAVE:
        mir__control_accept(u, false);
        mir__follow_lead(u, false);
        mir__mesh_leave(u, fd);
        return;
    case MIR__HANDOVER_TAKE:
        take_over(u, fd);
        return;
    case MIR__HANDOVER_LEASE:
        mir__follow_take(u, m);
        return;
    default:
        if (fd >= 0)
            close(fd);
    }
}

static void on_monitor(void *arg, unsigned events)
{
    struct mir__unix *u = arg;
    struct mir__handover m;
    int fd, r;
    (void)events;
    while ((r = mir__handover_receive(MIR__WORKER_FD, MIR__HANDOVER_WORKER, &m, &fd)) == 0)
        take_message(u, &m, fd);
    if (r == -MIR_EAGAIN)
        return;
    u->poll.base.ops->remove(&u->poll.base, &u->worker->watch);
    mir__worker_end(u, r == -MIR_ECLOSED ? "the monitor is gone" : "the monitor makes no sense");
}

int mir__worker_run(struct mir__unix *u)
{
    struct mir__worker *w = u->worker;
    w->watch = (struct mir_host_watch){
        .fd = MIR__WORKER_FD, .events = MIR_HOST_IN, .ready = on_monitor, .arg = u};
    if (mir__mesh_listen(u, w->inbox) < 0)
        return -MIR_EIO;
    tell(MIR__HANDOVER_READY);
    return u->poll.base.ops->add(&u->poll.base, &w->watch);
}
