/* SPDX-License-Identifier: ISC */
/* A network device without any privilege: libslirp inside the process.
 *
 *     appliance 10.0.2.15  <- frames ->  slirp: gateway 10.0.2.2, DNS 10.0.2.3, DHCP
 *                                          |
 *                                        ordinary sockets of this process
 *
 * slirp is a TCP/IP stack that ends every connection of ours on its own network and continues it
 * with a socket of the host; ports of the host can be led to us. There is no wire: frames move by
 * calls in one thread and are never lost on the way, so frames may be large and received checksums
 * need no look. slirp has no window scaling: with its 64 KiB window an MTU of 16 KiB keeps four
 * segments in flight, so that neither side waits for the other's delayed acknowledgement, and is
 * four times as fast as 1,500; with an MTU near the window every segment meets such a wait.
 *
 * A frame of ours goes into slirp_input(), which may answer at once from inside that call. What
 * slirp sends is therefore copied into a queue and given upwards by work of the loop, as a batch.
 * The queue is limited by frames and bytes; beyond that frames are dropped and counted, and slirp's
 * TCP sends again.
 *
 * The name server passes queries on to the first one in the host's /etc/resolv.conf as it was at
 * the start.
 *
 * slirp allocates from the C heap as connections come and go, and aborts the process when malloc
 * fails: its limit is the number of descriptors.
 *
 * IPv6 has the prefix fd00::/64, gateway and router fd00::2; the appliance makes its address by
 * itself from the advertisements. slirp does not know it before it hears from it, which it does
 * when the stack announces the address (RFC 9131): a port forwarded by IPv6 leads to the first one
 * heard of.
 */
#include "dev/net/user/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <mirari/bytes.h>
#include <mirari/log.h>

#include "dev/net/user/internal.h"
#include "lib/wire/csum.h"

#define ETH_HEADER     14u
#define MTU_MAX        65520u
#define MTU_DEFAULT    16384u
#define QUEUE_FRAMES   4096u
#define QUEUE_BYTES    (16u << 20)
#define FRAME_ROOM     82u /* head room: the IP header is aligned to 4 bytes behind it */
#define DEFAULT_IP     0x0a00020fu
#define DEFAULT_PREFIX 24u

static struct mir__user *of_dev(struct mir_net_dev *dev)
{
    return (struct mir__user *)(void *)dev;
}

/* ---- from slirp to us ---------------------------------------------------------------------- */

static ssize_t send_packet(const void *data, size_t len, void *opaque)
{
    struct mir__user *user = opaque;
    struct mir_buf *buf = NULL;
    if (!user->is_started || len > MTU_MAX + ETH_HEADER) {
        user->stats.rx_dropped++;
        return (ssize_t)len;
    }
    if (user->in.count < QUEUE_FRAMES && user->in.bytes < QUEUE_BYTES)
        buf = FRAME_ROOM + len <= MIR_BUF_HEAD_BYTES
                  ? mir_buf_alloc(user->config.bufs, FRAME_ROOM)
                  : mir_buf_alloc_page(user->config.bufs, FRAME_ROOM + len, FRAME_ROOM);
    if (buf == NULL) {
        user->stats.rx_dropped++;
        return (ssize_t)len;
    }
    memcpy(mir_buf_append(buf, (uint32_t)len), data, len);
    buf->flags = MIR_BUF_CSUM_VALID;
    mir_buf_queue_push(&user->in, buf);
    mir_loop_post(user->config.loop, &user->deliver);
    return (ssize_t)len;
}

static void deliver(void *arg)
{
    struct mir__user *user = arg;
    uint32_t count = user->in.count;
    bool is_any = false;
    for (; count > 0 && user->is_started; count--) {
        struct mir_buf *buf = mir_buf_queue_pop(&user->in);
        if (buf == NULL)
            break;
        user->stats.rx_frames++;
        user->stats.rx_bytes += buf->len;
        is_any = true;
        user->upper.rx(user->upper.arg, buf);
    }
    if (is_any && user->is_started && user->upper.rx_end != NULL)
        user->upper.rx_end(user->upper.arg);
}

static void guest_error(const char *msg, void *opaque)
{
    (void)opaque;
    MIR_LOG(DEV, DEBUG, "slirp: %s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    struct mir__user *user = opaque;
    return (int64_t)(user->config.clock->monotonic(user->config.clock) * 1000);
}

const SlirpCb mir__user_callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new = mir__user_timer_new,
    .timer_free = mir__user_timer_free,
    .timer_mod = mir__user_timer_mod,
    .register_poll_fd = mir__user_register_fd,
    .unregister_poll_fd = mir__user_unregister_fd,
    .notify = mir__user_notify,
};

/* ---- from us to slirp ---------------------------------------------------------------------- */

static int user_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir__user *user = of_dev(dev);
    uint16_t unsupported =
        buf_given->flags & (MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6);
    int r = 0;
    if (!user->is_started)
        r = -MIR_EIO;
    else if (unsupported || buf_given->frag_count > 0)
        r = -MIR_ENOTSUP;
    else if (buf_given->len > dev->info.mtu + ETH_HEADER)
        r = -MIR_ETOOBIG;
    else if (buf_given->len < ETH_HEADER)
        r = -MIR_EINVAL;
    if (r == 0) {
        user->stats.tx_frames++;
        user->stats.tx_bytes += buf_given->len;
        user->is_stale = true;
        slirp_input(user->slirp, buf_given->data, (int)buf_given->len);
    } else {
        user->stats.tx_errors++;
    }
    mir_buf_release(buf_given);
    return r;
}

static int user_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__user *user = of_dev(dev);
    if (user->is_started)
        return -MIR_EBUSY;
    user->upper = *upper;
    user->is_started = true;
    mir__user_poll_init(user);
    if (user->upper.link != NULL)
        user->upper.link(user->upper.arg, true);
    return 0;
}

static void user_stop(struct mir_net_dev *dev)
{
    struct mir__user *user = of_dev(dev);
    if (!user->is_started)
        return;
    user->is_started = false;
    mir__user_poll_fini(user);
    mir_work_cancel(&user->deliver);
    mir_buf_queue_release(&user->in);
}

static void user_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct mir__user *)(const void *)dev)->stats;
}

static void user_close(struct mir_net_dev *dev)
{
    struct mir__user *user = of_dev(dev);
    user_stop(dev);
    slirp_cleanup(user->slirp);
    free(user);
}

static const struct mir_net_dev_ops user_ops = {
    .start = user_start,
    .stop = user_stop,
    .tx = user_tx,
    .stats = user_stats,
    .close = user_close,
};

static struct in_addr in_addr_of(uint32_t addr)
{
    return (struct in_addr){.s_addr = htonl(addr)};
}

/* Gateway and name server are the second and third address unless those are taken. */
static Slirp *make_slirp(struct mir__user *user, uint32_t mask, uint32_t *names_out)
{
    const struct mir_user_config *config = &user->config;
    uint32_t gateway = config->gateway != 0 ? config->gateway : user->network + 2;
    uint32_t names = user->network + 3;
    while (names == user->ip || names == gateway)
        names++;
    *names_out = names;
    SlirpConfig slirp_config = {
        .version = 4,
        .in_enabled = true,
        .vnetwork = in_addr_of(user->network),
        .vnetmask = in_addr_of(mask),
        .vhost = in_addr_of(gateway),
        .vdhcp_start = in_addr_of(user->ip),
        .vnameserver = in_addr_of(names),
        /* Addresses come from its router advertisements. */
        .in6_enabled = true,
        .vprefix_addr6 = {.s6_addr = {0xfd}},
        .vprefix_len = 64,
        .vhost6 = {.s6_addr = {0xfd, [15] = 2}},
        .vnameserver6 = {.s6_addr = {0xfd, [15] = 3}},
        .if_mtu = user->dev.info.mtu,
        .if_mru = user->dev.info.mtu,
        .outbound_addr = &user->outbound,
    };
    return slirp_new(&slirp_config, &mir__user_callbacks, user);
}

/* slirp reads /etc/resolv.conf when it first sees a datagram for its name server, and later only if
 * the file has changed since its second look. By then a sandbox may be closed. So it sees two now,
 * and between them it looks at the clock, which begins at zero: a second must have passed. Its
 * socket is bound to 127.0.0.1, from where the kernel lets nothing leave this host. */
static void read_resolver(struct mir__user *user, uint32_t names)
{
    uint8_t frame[ETH_HEADER + 28] = {0};
    uint8_t *ip = frame + ETH_HEADER;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, user->config.mac, 6);
    mir_put_be16(frame + 12, 0x0800);
    mir_put_be16(ip, 0x4500);
    mir_put_be16(ip + 2, 28);
    mir_put_be16(ip + 8, 64 << 8 | 17);
    mir_put_be32(ip + 12, user->ip);
    mir_put_be32(ip + 16, names);
    uint16_t check = (uint16_t)~mir__csum_partial(ip, 20);
    memcpy(ip + 10, &check, sizeof check);
    mir_put_be16(ip + 20, 9); /* a port no client uses: the socket lives on for some seconds */
    mir_put_be16(ip + 22, 53);
    mir_put_be16(ip + 24, 8);
    user->outbound.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    slirp_input(user->slirp, frame, (int)sizeof frame);
    slirp_pollfds_poll(user->slirp, 1, NULL, NULL);
    slirp_input(user->slirp, frame, (int)sizeof frame);
    user->outbound.sin_addr.s_addr = htonl(INADDR_ANY);
    memset(&user->stats, 0, sizeof user->stats);
}

static const char *check_config(const struct mir_user_config *config, uint32_t ip, uint32_t bits)
{
    uint32_t mask = UINT32_MAX << (32 - bits);
    uint32_t host = ip & ~mask;
    if (bits < 8 || bits > 28)
        return "the prefix length must be 8 to 28";
    if (host == 0 || host == ~mask)
        return "the address is that of the network or of its broadcast";
    if (config->gateway == 0 && host == 2)
        return "the second address of the network is the gateway's: choose another one";
    if (config->gateway != 0 && (config->gateway & mask) != (ip & mask))
        return "the gateway is not in the appliance's network";
    if (config->gateway == ip)
        return "gateway and appliance have the same address";
    if (config->mtu != 0 && config->mtu < 576)
        return "the MTU must be at least 576";
    return NULL;
}

int mir_user_open(const struct mir_user_config *config, struct mir_net_dev **dev, char *error)
{
    uint32_t ip = config->ip != 0 ? config->ip : DEFAULT_IP;
    uint32_t bits = config->prefix_len != 0 ? config->prefix_len : DEFAULT_PREFIX;
    const char *wrong = check_config(config, ip, bits);
    if (wrong != NULL) {
        snprintf(error, MIR_USER_ERROR_MAX, "user network: %s", wrong);
        return -MIR_EINVAL;
    }
    struct mir__user *user = calloc(1, sizeof *user);
    if (user == NULL) {
        snprintf(error, MIR_USER_ERROR_MAX, "user network: no memory");
        return -MIR_ENOMEM;
    }
    uint32_t mask = UINT32_MAX << (32 - bits), names = 0;
    user->config = *config;
    user->ip = ip;
    user->network = ip & mask;
    mir_work_init(&user->deliver, deliver, user);
    user->dev.ops = &user_ops;
    memcpy(user->dev.info.mac, config->mac, 6);
    user->dev.info.mtu = (uint16_t)(config->mtu != 0 ? MIR_MIN(config->mtu, MTU_MAX) : MTU_DEFAULT);
    user->dev.info.caps = MIR_NET_RX_CSUM;
    user->dev.info.kind = "user";
    user->outbound.sin_family = AF_INET;
    user->slirp = make_slirp(user, mask, &names);
    if (user->slirp == NULL) {
        snprintf(error, MIR_USER_ERROR_MAX, "user network: slirp refuses the configuration");
        free(user);
        return -MIR_EINVAL;
    }
    read_resolver(user, names);
    *dev = &user->dev;
    return 0;
}

/* ---- forwarded ports ----------------------------------------------------------------------- */

#define FORWARD_TRIES 100u
#define PRIVILEGED    1024u
#define LISTEN_QUEUE  1024

static uint16_t port_of(const struct sockaddr_storage *addr)
{
    uint16_t port;
    memcpy(&port, (const char *)addr + offsetof(struct sockaddr_in, sin_port), sizeof port);
    return ntohs(port);
}
_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
               "the port is at one place in both");

/* slirp listens with a queue of one, so a few clients at once would wait a second for the kernel to
 * take their SYN again. It does not tell the descriptor: the one that listens at the port is it. */
static void lengthen_queue(struct mir__user *user, sa_family_t family, uint16_t port)
{
    for (int fd = 0; fd < MIR__USER_LISTENER_MAX; fd++) {
        struct sockaddr_storage addr = {0};
        int is_listening = 0;
        socklen_t len = sizeof is_listening, addr_len = sizeof addr;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) < 0 || !is_listening)
            continue;
        if (getsockname(fd, (struct sockaddr *)&addr, &addr_len) < 0 || addr.ss_family != family ||
            port_of(&addr) != port)
            continue;
        user->is_listener[fd] = true;
        if (listen(fd, LISTEN_QUEUE) < 0)
            MIR_LOG(DEV, WARN, "port %u: a queue of one connection", port);
    }
}

static int add_forward4(struct mir__user *user, const struct mir_user_forward *forward, int port)
{
    return slirp_add_hostfwd(user->slirp, forward->is_udp,
                             in_addr_of(mir_ip_to_v4(&forward->host_ip)), port,
                             in_addr_of(user->ip), forward->port);
}

/* To the address :: of the guest, which slirp replaces for each client by the one it heard of. */
static int add_forward6(struct mir__user *user, const struct mir_user_forward *forward, int port)
{
    struct sockaddr_in6 host = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in6 guest = {.sin6_family = AF_INET6, .sin6_port = htons(forward->port)};
    memcpy(&host.sin6_addr, forward->host_ip.bytes, 16);
    return slirp_add_hostxfwd(user->slirp, (const struct sockaddr *)&host, sizeof host,
                              (const struct sockaddr *)&guest, sizeof guest,
                              SLIRP_HOSTFWD_V6ONLY | (forward->is_udp ? SLIRP_HOSTFWD_UDP : 0));
}

/* Port 80 that needs privileges becomes 8080; a taken one the next free above it. */
int mir_user_add_forward(struct mir_net_dev *dev, struct mir_user_forward *forward)
{
    struct mir__user *user = of_dev(dev);
    bool is_v4 = mir_ip_is_v4(&forward->host_ip);
    uint32_t port = forward->host_port;
    int err = 0;
    for (uint32_t i = 0; i < FORWARD_TRIES && port <= 65535; i++, port++) {
        int r =
            is_v4 ? add_forward4(user, forward, (int)port) : add_forward6(user, forward, (int)port);
        if (r == 0) {
            forward->host_port = (uint16_t)port;
            if (!forward->is_udp)
                lengthen_queue(user, is_v4 ? AF_INET : AF_INET6, forward->host_port);
            user->is_stale = true;
            return 0;
        }
        err = errno;
        if (err == EACCES && port < PRIVILEGED)
            port += 8000 - 1;
        else if (err != EADDRINUSE)
            break;
    }
    return err == EADDRNOTAVAIL ? -MIR_EADDRNOTAVAIL : -MIR_EADDRINUSE;
}
