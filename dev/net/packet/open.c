/* SPDX-License-Identifier: ISC */
/* Opens a packet socket on an interface of the host: filter, vnet header, ring.
 *
 * A classic BPF program lets through what is for us, by destination: our MAC, broadcast and
 * multicast. The rest, the host's own traffic above all, never reaches the ring. The interface is
 * asked to take our MAC and all multicast beside its own, which it forgets with the socket; a
 * driver that cannot becomes promiscuous.
 *
 * Of several sockets of one appliance each gets a part of the frames (PACKET_FANOUT): the kernel
 * hashes addresses and ports, the same for both directions, over the sockets in the order in which
 * they joined. It puts fragments of IPv4 together first, or they would come to another socket than
 * the rest of their flow; of IPv6 it does not, so there all fragments between two hosts come to one
 * socket. Whether what we send is shown to us is then a matter of the group and not of a socket.
 * The ring of such a socket outlives whoever maps it.
 *
 * Everything here happens before privileges are dropped. The socket receives nothing until it is
 * bound, which is the last step.
 */
#include "dev/net/packet/open.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/bytes.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

#define BLOCK_SIZE   (128u << 10)
#define RING_SIZE    ((size_t)MIR__PACKET_SLOTS * MIR__PACKET_SLOT_SIZE)
#define BUFFER_BYTES (4 << 20) /* of large frames that wait, either way */

static int fail(char *error, int err, const char *what, const char *why)
{
    snprintf(error, MIR_PACKET_ERROR_MAX, "%s: %s", what, why);
    return err;
}

static int fail_errno(char *error, const char *ifname, const char *what)
{
    int err = errno == EPERM ? -MIR_EPERM : errno == ENOMEM ? -MIR_ENOMEM : -MIR_EIO;
    snprintf(error, MIR_PACKET_ERROR_MAX, "%s: %s: %s", ifname, what, strerror(errno));
    return err;
}

/* ---- the interface ------------------------------------------------------------------------ */

static int read_interface(const struct mir_packet_config *config, struct mir__packet_host *host,
                          char *error)
{
    struct ifreq ifr;
    memset(&ifr, 0, sizeof ifr);
    memcpy(ifr.ifr_name, host->ifname, IFNAMSIZ);
    if (ioctl(host->fd, SIOCGIFINDEX, &ifr) < 0)
        return fail(error, -MIR_EINVAL, host->ifname,
                    "this host has no such interface (ip link lists them)");
    host->ifindex = ifr.ifr_ifindex;
    if (ioctl(host->fd, SIOCGIFHWADDR, &ifr) < 0)
        return fail_errno(error, host->ifname, "its address");
    if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
        return fail(error, -MIR_EINVAL, host->ifname, "is not an Ethernet interface");
    if (memcmp(ifr.ifr_hwaddr.sa_data, config->mac, 6) == 0)
        return fail(error, -MIR_EINVAL, host->ifname,
                    "has this MAC itself: the appliance needs one of its own (leave --mac out)");
    if (ioctl(host->fd, SIOCGIFFLAGS, &ifr) < 0)
        return fail_errno(error, host->ifname, "its state");
    host->is_up = ifr.ifr_flags & IFF_UP && ifr.ifr_flags & IFF_RUNNING;
    if (ioctl(host->fd, SIOCGIFMTU, &ifr) < 0)
        return fail_errno(error, host->ifname, "its MTU");
    host->mtu = (uint16_t)MIR_MIN(ifr.ifr_mtu, 65535);
    if (config->mtu != 0 && config->mtu < host->mtu)
        host->mtu = config->mtu;
    if (host->mtu < 576)
        return fail(error, -MIR_EINVAL, host->ifname, "its MTU is below 576");
    return 0;
}

/* ---- the socket --------------------------------------------------------------------------- */

static int open_socket(char *error)
{
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        return fd;
    if (errno == EPERM || errno == EACCES)
        return fail(error, -MIR_EPERM, "packet",
                    "frames of an interface need CAP_NET_RAW: run with sudo, or use --net user");
    if (errno == EAFNOSUPPORT)
        return fail(error, -MIR_ENOTSUP, "packet", "this host has no packet sockets");
    return fail(error, -MIR_EIO, "packet", strerror(errno));
}

static int set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value);
}

/* Until a socket has its place in the group it would get what another one gets, too. */
static int refuse_all(const struct mir__packet_host *host)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_fprog program = {MIR_ARRAY_LEN(code), code};
    return setsockopt(host->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int set_filter(const struct mir__packet_host *host, const uint8_t mac[6])
{
    struct sock_filter code[] = {
        /* Older kernels show us what the host sends. */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 7, 0),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 4, 0), /* group bit: broadcast, multicast */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mir_get_be32(mac + 2), 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, mir_get_be16(mac), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {MIR_ARRAY_LEN(code), code};
    return setsockopt(host->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Beyond the limit of ordinary processes if we may (@forced); else up to it. */
static void set_buffer(int fd, int forced, int usual)
{
    int size = BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) < 0)
        (void)setsockopt(fd, SOL_SOCKET, usual, &size, sizeof size);
}

/* Bound without a protocol: it receives nothing. */
static int open_sender(struct mir__packet_host *host, char *error)
{
    struct sockaddr_ll addr = {.sll_family = AF_PACKET, .sll_ifindex = host->ifindex};
    host->tx_fd = open_socket(error);
    if (host->tx_fd < 0)
        return host->tx_fd;
    set_buffer(host->tx_fd, SO_SNDBUFFORCE, SO_SNDBUF);
    if (set(host->tx_fd, PACKET_VNET_HDR, 1) < 0 ||
        bind(host->tx_fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return fail_errno(error, host->ifname, "the socket to send on");
    return 0;
}

static int make_ring(struct mir__packet_host *host, char *error)
{
    struct tpacket_req ring = {.tp_block_size = BLOCK_SIZE,
                               .tp_block_nr = (unsigned)(RING_SIZE / BLOCK_SIZE),
                               .tp_frame_size = MIR__PACKET_SLOT_SIZE,
                               .tp_frame_nr = MIR__PACKET_SLOTS};
    if (set(host->fd, PACKET_VERSION, TPACKET_V2) < 0 || set(host->fd, PACKET_VNET_HDR, 1) < 0 ||
        set(host->fd, PACKET_COPY_THRESH, 1) < 0 ||
        setsockopt(host->fd, SOL_PACKET, PACKET_RX_RING, &ring, sizeof ring) < 0) {
        if (errno == EINVAL || errno == ENOPROTOOPT)
            return fail(error, -MIR_ENOTSUP, host->ifname,
                        "this kernel has no packet ring with vnet header (Linux 4.6 has)");
        return fail_errno(error, host->ifname, "its ring");
    }
    return 0;
}

static int map_ring(struct mir__packet_host *host, char *error)
{
    void *at =
        mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, host->fd, 0);
    if (at == MAP_FAILED)
        return fail_errno(error, host->ifname, "its ring");
    host->ring = at;
    return 0;
}

static int join(const struct mir__packet_host *host, const uint8_t mac[6], char *error)
{
    struct packet_mreq ours = {
        .mr_ifindex = host->ifindex, .mr_type = PACKET_MR_UNICAST, .mr_alen = 6};
    struct packet_mreq groups = {.mr_ifindex = host->ifindex, .mr_type = PACKET_MR_ALLMULTI};
    struct sockaddr_ll addr = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = host->ifindex};
    memcpy(ours.mr_address, mac, 6);
    if (setsockopt(host->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &ours, sizeof ours) < 0 ||
        setsockopt(host->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &groups, sizeof groups) < 0)
        return fail_errno(error, host->ifname, "it does not take another MAC");
    if (bind(host->fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return fail_errno(error, host->ifname, "bind");
    return 0;
}

static int begin(const struct mir_packet_config *config, struct mir__packet_host *host, char *error)
{
    error[0] = '\0';
    *host = (struct mir__packet_host){.fd = -1, .tx_fd = -1, .link_fd = -1};
    if (config->ifname == NULL || strlen(config->ifname) >= IFNAMSIZ)
        return fail(error, -MIR_EINVAL, "packet",
                    "which interface? packet:IFNAME with a name of 1 to 15 letters");
    memcpy(host->ifname, config->ifname, strlen(config->ifname) + 1);
    return 0;
}

/* A socket with a ring that receives nothing yet. */
static int open_receiver(const struct mir_packet_config *config, struct mir__packet_host *host,
                         char *error)
{
    int r = begin(config, host, error);
    if (r < 0)
        return r;
    host->fd = open_socket(error);
    if (host->fd < 0)
        return host->fd;
    r = read_interface(config, host, error);
    if (r < 0)
        return r;
    (void)set(host->fd, PACKET_IGNORE_OUTGOING, 1); /* spares the filter's run; Linux 4.20 */
    set_buffer(host->fd, SO_RCVBUFFORCE, SO_RCVBUF);
    return make_ring(host, error);
}

/* What sends and what tells of changes. */
static int open_rest(struct mir__packet_host *host, char *error)
{
    int r = open_sender(host, error);
    if (r < 0)
        return r;
    host->link_fd = mir__packet_link_open();
    return host->link_fd >= 0 ? 0 : fail_errno(error, host->ifname, "news of its state");
}

int mir__packet_open_host(const struct mir_packet_config *config, struct mir__packet_host *host,
                          char *error)
{
    int r = open_receiver(config, host, error);
    if (r == 0)
        r = map_ring(host, error);
    if (r == 0 && set_filter(host, config->mac) < 0)
        r = fail_errno(error, host->ifname, "its filter");
    if (r == 0)
        r = open_rest(host, error);
    if (r == 0)
        r = join(host, config->mac, error);
    if (r < 0)
        mir__packet_close_host(host);
    return r;
}

/* ---- one of several ------------------------------------------------------------------------- */

static int set_group(const struct mir__packet_host *host, uint32_t group)
{
    return setsockopt(host->fd, SOL_PACKET, PACKET_FANOUT, &group, sizeof group);
}

/* For the first one the kernel chooses a number that is free in this network namespace; the others
 * join it, in the same words. Older kernels show a group what we send; the filter refuses it. */
static int fan_out(const struct mir__packet_host *host, uint32_t *group, char *error)
{
    uint32_t how = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_DEFRAG | PACKET_FANOUT_FLAG_UNIQUEID;
    socklen_t len = sizeof *group;
    int r;
    if (*group != 0) {
        r = set_group(host, *group);
    } else {
        r = set_group(host, (how | PACKET_FANOUT_FLAG_IGNORE_OUTGOING) << 16);
        if (r < 0)
            r = set_group(host, how << 16);
        if (r == 0)
            r = getsockopt(host->fd, SOL_PACKET, PACKET_FANOUT, group, &len);
    }
    return r == 0 ? 0 : fail_errno(error, host->ifname, "several sockets on it (PACKET_FANOUT)");
}

int mir_packet_open_queue(const struct mir_packet_config *config, uint32_t *group,
                          struct mir_packet_queue *queue, char *error)
{
    struct mir__packet_host host;
    int r = open_receiver(config, &host, error);
    if (r == 0 && refuse_all(&host) < 0)
        r = fail_errno(error, host.ifname, "its filter");
    if (r == 0)
        r = join(&host, config->mac, error);
    if (r == 0 && group != NULL)
        r = fan_out(&host, group, error);
    if (r == 0 && set_filter(&host, config->mac) < 0)
        r = fail_errno(error, host.ifname, "its filter");
    if (r < 0) {
        mir__packet_close_host(&host);
        return r;
    }
    *queue = (struct mir_packet_queue){.fd = host.fd, .mtu = host.mtu};
    memcpy(queue->ifname, host.ifname, sizeof queue->ifname);
    return 0;
}

int mir__packet_adopt_host(const struct mir_packet_config *config, int fd,
                           struct mir__packet_host *host, char *error)
{
    int r = begin(config, host, error);
    host->fd = fd;
    if (r == 0)
        r = read_interface(config, host, error);
    if (r == 0)
        r = map_ring(host, error);
    if (r == 0)
        r = open_rest(host, error);
    if (r < 0)
        mir__packet_close_host(host);
    return r;
}

void mir__packet_close_host(struct mir__packet_host *host)
{
    if (host->ring != NULL)
        (void)munmap(host->ring, RING_SIZE);
    if (host->link_fd >= 0)
        close(host->link_fd);
    if (host->tx_fd >= 0)
        close(host->tx_fd);
    if (host->fd >= 0)
        close(host->fd);
    host->ring = NULL;
    host->fd = host->tx_fd = host->link_fd = -1;
}
