/* SPDX-License-Identifier: ISC */
/* The devices that the monitor keeps: what a worker gets at its start, and again after a crash.
 *
 * A tap has one queue for each worker. The monitor holds a descriptor of every queue for as long as
 * the tap is attached, whether its worker lives or not:
 *
 *   - the interface with its addresses and routes stays while no worker is there;
 *   - the number of queues stays, and with it the host's choice of a queue for each flow, so that
 *     the end of one worker moves no connection of another;
 *   - frames that come meanwhile wait in the queue (500 of them), and the next worker reads them: a
 *     client that connects during a restart is answered late, not refused.
 *
 * An interface of mode packet has a socket for each worker in place of a queue; the same is true of
 * it, as their number is what the host's hash is taken by.
 *
 * The sockets of the control channels are kept, too, one for each worker. Their names stay, and who
 * connects while a worker is started again waits for it. The monitor itself reads nothing there.
 *
 * Of a network with DHCP the last lease is kept, as the bytes that worker 0 sent (follow.c). One
 * that was lost is remembered as that, so that a worker which could not be told at once is told
 * later.
 *
 * Workers also get each other's inboxes, packet sockets for frames that the host gave to the
 * wrong one (dev/net/share). Their two ends are kept here for the same reasons.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/log.h>

#include "target/unix/workers.h"

/* What several stacks of one address cannot have. */
int mir__keep_check(const struct mir__app_options *o, char error[MIR__ERROR_MAX])
{
    for (uint32_t i = 0; i < o->net_count && o->workers > 1; i++) {
        const struct mir__app_net *net = &o->net[i];
        const char *what =
            !mir__app_net_is(net, "tap") && !mir__app_net_is(net, "packet")
                ? "needs mode tap or packet (--net tap), which have a queue for each worker"
            : net->link_local4 ? "cannot have --link-local4: such an address is of one stack"
            : net->ip6_temporary
                ? "cannot have --ip6 temporary: each worker would have other addresses"
            : net->pcap != NULL
                ? "cannot have --pcap: each would write it; take mirari tcpdump --worker K"
                : NULL;
        if (what != NULL) {
            snprintf(error, MIR__ERROR_MAX, "--workers %u: the network %s %s", o->workers,
                     net->name, what);
            return -MIR_EINVAL;
        }
    }
    return 0;
}

int mir__keep_open(struct mir__keep *keep, unsigned workers)
{
    keep->workers = workers;
    keep->count = keep->lease_count = 0;
    for (unsigned i = 0; i < MIR__WORKERS_MAX; i++)
        keep->inboxes[i][0] = keep->inboxes[i][1] = keep->channels[i][0] = keep->channels[i][1] =
            -1;
    for (unsigned i = 0; i < workers; i++) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, keep->inboxes[i]) < 0)
            return -MIR_EIO;
    }
    return 0;
}

static struct mir__handover describe(const char *name, enum mir__handover_type type,
                                     const struct mir_tap_host *host, const uint8_t mac[6])
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_DEVICE);
    m.type = (uint16_t)type;
    m.flags = (uint16_t)((host->has_offloads ? MIR__HANDOVER_OFFLOADS : 0) |
                         (host->has_bundles ? MIR__HANDOVER_BUNDLES : 0));
    m.mtu = host->mtu;
    memcpy(m.mac, mac, sizeof m.mac);
    snprintf(m.name, sizeof m.name, "%s", name);
    memcpy(m.ifname, host->ifname, sizeof m.ifname);
    return m;
}

static void close_queues(struct mir__kept *tap)
{
    for (unsigned i = 0; i < MIR__WORKERS_MAX; i++) {
        if (tap->fds[i] >= 0)
            close(tap->fds[i]);
        tap->fds[i] = -1;
    }
}

/* Room for another one; NULL with a line: there is none. */
static struct mir__kept *place_of(struct mir__keep *keep, const struct mir__unix_net *net,
                                  char error[MIR__ERROR_MAX])
{
    if (keep->count == MIR_APP_NETS_MAX || strlen(net->options->name) >= MIR__HANDOVER_NAME_MAX) {
        snprintf(error, MIR__ERROR_MAX, "%s: at most %u networks, names of at most %u letters",
                 net->options->name, MIR_APP_NETS_MAX, MIR__HANDOVER_NAME_MAX - 1);
        return NULL;
    }
    struct mir__kept *kept = &keep->taps[keep->count];
    for (unsigned i = 0; i < MIR__WORKERS_MAX; i++)
        kept->fds[i] = -1;
    return kept;
}

int mir__keep_open_packet(struct mir__keep *keep, const struct mir__unix_net *net,
                          const struct mir_packet_config *config, char error[MIR__ERROR_MAX])
{
    struct mir_packet_queue queue;
    uint32_t group = 0;
    int r = 0;
    struct mir__kept *kept = place_of(keep, net, error);
    if (kept == NULL)
        return -MIR_ELIMIT;
    for (unsigned i = 0; i < keep->workers && r == 0; i++) {
        r = mir_packet_open_queue(config, keep->workers > 1 ? &group : NULL, &queue, error);
        if (r == 0)
            kept->fds[i] = queue.fd;
    }
    if (r < 0) {
        close_queues(kept);
        return r;
    }
    struct mir_tap_host host = {.mtu = queue.mtu};
    memcpy(host.ifname, queue.ifname, sizeof host.ifname);
    kept->message = describe(net->options->name, MIR__HANDOVER_PACKET, &host, config->mac);
    keep->count++;
    return 0;
}

int mir__keep_open_tap(struct mir__keep *keep, const struct mir__unix_net *net,
                       const struct mir_tap_config *config, char error[MIR__ERROR_MAX])
{
    struct mir_tap_config mine = *config;
    struct mir_tap_host host;
    struct mir__kept *tap = place_of(keep, net, error);
    if (tap == NULL)
        return -MIR_ELIMIT;
    mine.has_queues = keep->workers > 1;
    int r = mir_tap_open_host(&mine, &host, error);
    if (r < 0)
        return r;
    tap->fds[0] = host.fd;
    tap->message = describe(net->options->name, MIR__HANDOVER_TAP, &host, config->mac);
    for (unsigned i = 1; i < keep->workers && r == 0; i++) {
        struct mir_tap_host more;
        r = mir_tap_open_queue(&host, &more, error);
        if (r == 0)
            tap->fds[i] = more.fd;
    }
    if (r < 0)
        close_queues(tap);
    else
        keep->count++;
    return r;
}

struct mir__kept *mir__keep_find(struct mir__keep *keep, const char *name)
{
    for (uint32_t i = 0; i < keep->count; i++) {
        if (strcmp(keep->taps[i].message.name, name) == 0)
            return &keep->taps[i];
    }
    return NULL;
}

static struct mir__handover *find_lease(struct mir__keep *keep, const char *name)
{
    for (uint32_t i = 0; i < keep->lease_count; i++) {
        if (strcmp(keep->leases[i].name, name) == 0)
            return &keep->leases[i];
    }
    return NULL;
}

int mir__keep_lease(struct mir__keep *keep, const struct mir__handover *message)
{
    struct mir__handover *lease = find_lease(keep, message->name);
    if (lease == NULL && keep->lease_count == MIR_ARRAY_LEN(keep->leases))
        return -MIR_ELIMIT;
    if (lease == NULL)
        lease = &keep->leases[keep->lease_count++];
    *lease = *message;
    return 0;
}

int mir__keep_send_leases(const struct mir__keep *keep, int fd)
{
    int r = 0;
    for (uint32_t i = 0; i < keep->lease_count && r == 0; i++)
        r = mir__handover_send(fd, &keep->leases[i], -1);
    return r;
}

void mir__keep_remove(struct mir__keep *keep, struct mir__kept *tap)
{
    struct mir__handover *lease = find_lease(keep, tap->message.name);
    if (lease != NULL)
        *lease = keep->leases[--keep->lease_count];
    close_queues(tap);
    keep->count--;
    *tap = keep->taps[keep->count];
}

int mir__keep_open_channels(struct mir__keep *keep, const struct mir__app_options *options,
                            char error[MIR__ERROR_MAX])
{
    const struct {
        const char *option, *path;
        enum mir_rpc_role role;
    } rows[] = {{"--control", options->control, MIR_RPC_FULL},
                {"--control-ro", options->control_ro, MIR_RPC_READ_ONLY}};
    for (size_t row = 0; row < MIR_ARRAY_LEN(rows); row++) {
        const char *path = rows[row].path;
        if (path == NULL || strcmp(path, "off") == 0)
            continue;
        for (unsigned i = 0; i < keep->workers; i++) {
            char name[PATH_MAX];
            snprintf(name, sizeof name, i > 0 ? "%s.%u" : "%s", path, i);
            int fd = mir__control_listen(rows[row].option, name, rows[row].role, error);
            if (fd < 0)
                return fd;
            keep->channels[i][rows[row].role] = fd;
        }
    }
    return 0;
}

static int send_channels(const struct mir__keep *keep, int fd, unsigned index, bool is_second)
{
    int r = 0;
    for (unsigned role = 0; role < MIR_ARRAY_LEN(keep->channels[0]) && r == 0; role++) {
        struct mir__handover m = mir__handover_make(MIR__HANDOVER_CHANNEL);
        m.type = (uint16_t)role;
        m.flags = is_second ? MIR__HANDOVER_PAUSED : 0;
        if (keep->channels[index][role] >= 0)
            r = mir__handover_send(fd, &m, keep->channels[index][role]);
    }
    return r;
}

static int send_peers(const struct mir__keep *keep, int fd, unsigned index, int inbox)
{
    int r = 0;
    for (unsigned i = 0; i < keep->workers && r == 0; i++) {
        struct mir__handover m = mir__handover_make(MIR__HANDOVER_PEER);
        m.index = (uint16_t)i;
        int own = inbox >= 0 ? inbox : keep->inboxes[i][0];
        r = mir__handover_send(fd, &m, i == index ? own : keep->inboxes[i][1]);
    }
    return r;
}

int mir__keep_send_all(const struct mir__keep *keep, int fd, unsigned index, int inbox)
{
    struct mir__handover go = mir__handover_make(MIR__HANDOVER_GO);
    int r = send_peers(keep, fd, index, inbox);
    if (r == 0)
        r = send_channels(keep, fd, index, inbox >= 0);
    if (r == 0)
        r = mir__keep_send_leases(keep, fd);
    for (uint32_t i = 0; i < keep->count && r == 0; i++) {
        struct mir__handover m = keep->taps[i].message;
        m.index = (uint16_t)index;
        m.flags |= inbox >= 0 ? MIR__HANDOVER_PAUSED : 0;
        r = mir__handover_send(fd, &m, keep->taps[i].fds[index]);
    }
    return r == 0 ? mir__handover_send(fd, &go, -1) : r;
}

void mir__keep_close(struct mir__keep *keep)
{
    while (keep->count > 0)
        mir__keep_remove(keep, &keep->taps[keep->count - 1]);
    for (unsigned i = 0; i < MIR__WORKERS_MAX; i++) {
        for (unsigned end = 0; end < 2; end++) {
            if (keep->inboxes[i][end] >= 0)
                close(keep->inboxes[i][end]);
            if (keep->channels[i][end] >= 0)
                close(keep->channels[i][end]);
        }
    }
}
