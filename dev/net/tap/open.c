/* SPDX-License-Identifier: ISC */
/* Makes or finds the tap interface and configures the host's side of a new one.
 *
 * Only a tap that did not exist before gets an address, an MTU and is set up: an existing one
 * belongs to whoever made it. A new tap is not persistent, so the kernel removes it with its
 * addresses and routes when the descriptor goes, whatever way the process ends.
 *
 * Everything here happens before privileges are dropped.
 */
#include "dev/net/tap/tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <mirari/log.h>

#define VNET_HEADER_LEN 10

/* Newer than the headers of Debian 12. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static const char hint_privilege[] =
    "making a tap needs CAP_NET_ADMIN: run with sudo, or use --net user";

static int fail(char *error, int err, const char *what, const char *why)
{
    snprintf(error, MIR_TAP_ERROR_MAX, "%s: %s", what, why);
    return err;
}

static int open_control(char *error)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    if (errno == EACCES || errno == EPERM)
        return fail(error, -MIR_EPERM, "/dev/net/tun", hint_privilege);
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return fail(error, -MIR_ENOTSUP, "/dev/net/tun",
                    "this host has no tap driver: load it (modprobe tun), or use --net user");
    return fail(error, -MIR_EIO, "/dev/net/tun", strerror(errno));
}

static int attach(int fd, const char *ifname, bool has_queues, struct ifreq *request, char *error)
{
    memset(request, 0, sizeof *request);
    request->ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (has_queues)
        request->ifr_flags |= IFF_MULTI_QUEUE;
    if (ifname != NULL)
        snprintf(request->ifr_name, IFNAMSIZ, "%s", ifname);
    else
        snprintf(request->ifr_name, IFNAMSIZ, "mir%%d");
    if (ioctl(fd, TUNSETIFF, request) == 0)
        return 0;
    const char *name = ifname != NULL ? ifname : "tap";
    if (errno == EPERM || errno == EACCES)
        return fail(error, -MIR_EPERM, name, hint_privilege);
    if (errno == EBUSY)
        return fail(error, -MIR_EBUSY, name, "the tap is used by another process");
    if (errno == EINVAL)
        return fail(error, -MIR_EINVAL, name,
                    has_queues ? "exists but is not a tap with several queues: make it with "
                                 "`ip tuntap add ... multi_queue`"
                               : "exists but is not a tap this can attach to (another kind of "
                                 "interface, or made with multi_queue)");
    return fail(error, -MIR_EIO, name, strerror(errno));
}

static int set_header(int fd, bool is_plain, struct mir_tap_host *host, char *error)
{
    int len = VNET_HEADER_LEN;
    unsigned offloads = is_plain ? 0 : TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    if (ioctl(fd, TUNSETVNETHDRSZ, &len) < 0)
        return fail(error, -MIR_ENOTSUP, host->ifname, "the tap driver has no vnet header");
    host->has_bundles =
        !is_plain && ioctl(fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) == 0;
    host->has_offloads =
        host->has_bundles || (!is_plain && ioctl(fd, TUNSETOFFLOAD, offloads) == 0);
    if (!host->has_offloads && ioctl(fd, TUNSETOFFLOAD, 0) < 0)
        return fail(error, -MIR_EIO, host->ifname, strerror(errno));
    return 0;
}

static void set_sockaddr(struct sockaddr *to, uint32_t addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(addr)};
    memcpy(to, &in, sizeof in);
}

static int configure_step(int sock, unsigned long request, struct ifreq *ifr, const char *what,
                          char *error)
{
    if (ioctl(sock, request, ifr) == 0)
        return 0;
    int err = errno == EPERM ? -MIR_EPERM : -MIR_EIO;
    snprintf(error, MIR_TAP_ERROR_MAX, "%s: cannot set %s: %s", ifr->ifr_name, what,
             strerror(errno));
    return err;
}

/* Two taps with one network: the host sends to the first only. Said, since the second looks dead.
 */
static void warn_of_twin(const struct mir_tap_host *host, uint32_t addr)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0)
        return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        struct sockaddr_in in;
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        memcpy(&in, i->ifa_addr, sizeof in);
        if (ntohl(in.sin_addr.s_addr) == addr && strcmp(i->ifa_name, host->ifname) != 0)
            MIR_LOG(DEV, WARN, "%s has the address of %s too: the host may not reach the appliance",
                    i->ifa_name, host->ifname);
    }
    freeifaddrs(all);
}

/* The kernel's own struct in6_ifreq (linux/ipv6.h), which does not go with netinet/in.h. */
struct in6_request {
    struct in6_addr address;
    uint32_t prefix_len;
    int ifindex;
};

static int set_host6(const struct mir_net_prefix *host6, const struct mir_tap_host *host,
                     char *error)
{
    struct in6_request request = {
        .prefix_len = host6->prefix_len,
        .ifindex = (int)if_nametoindex(host->ifname),
    };
    memcpy(&request.address, host6->ip.bytes, sizeof request.address);
    int sock = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = sock < 0 ? -1 : ioctl(sock, SIOCSIFADDR, &request);
    int saved = errno;
    if (sock >= 0)
        close(sock);
    if (r == 0 || saved == EEXIST)
        return 0;
    snprintf(error, MIR_TAP_ERROR_MAX, "%s: cannot set the host's IPv6 address: %s", host->ifname,
             strerror(saved));
    return saved == EPERM ? -MIR_EPERM : -MIR_EIO;
}

/* MTU first: an interface that goes up with the wrong one announces it. */
static int configure_new(int sock, const struct mir_tap_config *config, struct mir_tap_host *host,
                         char *error)
{
    struct ifreq ifr;
    int r;
    memset(&ifr, 0, sizeof ifr);
    memcpy(ifr.ifr_name, host->ifname, IFNAMSIZ);
    host->mtu = config->mtu != 0 ? config->mtu : 1500;
    ifr.ifr_mtu = host->mtu;
    r = configure_step(sock, SIOCSIFMTU, &ifr, "the MTU", error);
    if (r < 0)
        return r;
    if (config->has_host_ip) {
        warn_of_twin(host, config->host_ip);
        uint32_t bits = config->host_prefix_len;
        set_sockaddr(&ifr.ifr_addr, config->host_ip);
        r = configure_step(sock, SIOCSIFADDR, &ifr, "the host's address", error);
        if (r < 0)
            return r;
        set_sockaddr(&ifr.ifr_netmask, bits == 0 ? 0 : UINT32_MAX << (32 - bits));
        r = configure_step(sock, SIOCSIFNETMASK, &ifr, "the host's prefix length", error);
        if (r < 0)
            return r;
    }
    /* With its own flags: one that lost IFF_MULTICAST is no interface to avahi and others. */
    if (ioctl(sock, SIOCGIFFLAGS, &ifr) < 0)
        ifr.ifr_flags = IFF_BROADCAST | IFF_MULTICAST;
    ifr.ifr_flags |= IFF_UP | IFF_RUNNING;
    r = configure_step(sock, SIOCSIFFLAGS, &ifr, "it up", error);
    if (r == 0 && !mir_ip_is_any(&config->host6.ip))
        r = set_host6(&config->host6, host, error);
    return r;
}

static int read_existing(int sock, const struct mir_tap_config *config, struct mir_tap_host *host,
                         char *error)
{
    struct ifreq ifr;
    memset(&ifr, 0, sizeof ifr);
    memcpy(ifr.ifr_name, host->ifname, IFNAMSIZ);
    if (ioctl(sock, SIOCGIFMTU, &ifr) < 0)
        return fail(error, -MIR_EIO, host->ifname, strerror(errno));
    host->mtu = (uint16_t)MIR_MIN(ifr.ifr_mtu, 65535);
    if (config->mtu != 0 && config->mtu < host->mtu)
        host->mtu = config->mtu;
    if (host->mtu < 576)
        return fail(error, -MIR_EINVAL, host->ifname, "its MTU is below 576");
    return 0;
}

int mir_tap_open_host(const struct mir_tap_config *config, struct mir_tap_host *host, char *error)
{
    struct ifreq ifr;
    int r;
    error[0] = '\0';
    if (config->ifname != NULL && strlen(config->ifname) >= IFNAMSIZ)
        return fail(error, -MIR_EINVAL, config->ifname, "an interface name has at most 15 letters");
    bool is_new = config->ifname == NULL || if_nametoindex(config->ifname) == 0;
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return fail(error, -MIR_EIO, "tap", strerror(errno));
    host->fd = open_control(error);
    if (host->fd < 0) {
        close(sock);
        return host->fd;
    }
    r = attach(host->fd, config->ifname, config->has_queues, &ifr, error);
    if (r == 0) {
        memcpy(host->ifname, ifr.ifr_name, IFNAMSIZ);
        r = set_header(host->fd, config->is_plain, host, error);
    }
    if (r == 0)
        r = is_new ? configure_new(sock, config, host, error)
                   : read_existing(sock, config, host, error);
    close(sock);
    if (r < 0)
        close(host->fd);
    return r;
}

/* The header and the offloads are those of the interface, not of a queue. */
int mir_tap_open_queue(const struct mir_tap_host *first, struct mir_tap_host *host, char *error)
{
    struct ifreq ifr;
    error[0] = '\0';
    *host = *first;
    host->fd = open_control(error);
    if (host->fd < 0)
        return host->fd;
    int r = attach(host->fd, first->ifname, true, &ifr, error);
    if (r < 0)
        close(host->fd);
    return r;
}
