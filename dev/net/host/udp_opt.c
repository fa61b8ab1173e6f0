/* SPDX-License-Identifier: ISC */
/* Options, groups and peers of host UDP sockets.
 *
 * A socket of both families takes each option twice, once for either; only the family the socket
 * is of must accept it. Interface numbers are the host's own.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/net/host/internal.h"

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : mir__host_error(errno);
}

/* The option of IPv4 and that of IPv6. */
static int set_both(const struct mir__host_udp *udp, int v4_name, int v6_name, int value)
{
    int r = set_int(udp->watch.fd, IPPROTO_IP, v4_name, value);
    return udp->family == AF_INET ? r : set_int(udp->watch.fd, IPPROTO_IPV6, v6_name, value);
}

void mir__host_udp_ask_for_meta(struct mir__host_udp *udp)
{
    /* Old hosts that lack one of them only leave that field of the meta data empty. */
    (void)set_both(udp, IP_PKTINFO, IPV6_RECVPKTINFO, 1);
    (void)set_both(udp, IP_RECVTTL, IPV6_RECVHOPLIMIT, 1);
    (void)set_both(udp, IP_RECVTOS, IPV6_RECVTCLASS, 1);
    (void)set_both(udp, IP_RECVERR, IPV6_RECVERR, 1);
    /* A group's datagrams only to those who joined it. */
    (void)set_both(udp, IP_MULTICAST_ALL, IPV6_MULTICAST_ALL, 0);
}

static int set_group_if(const struct mir__host_udp *udp, uint32_t value)
{
    struct ip_mreqn v4 = {.imr_ifindex = (int)value};
    int r = setsockopt(udp->watch.fd, IPPROTO_IP, IP_MULTICAST_IF, &v4, sizeof v4) == 0
                ? 0
                : mir__host_error(errno);
    if (udp->family != AF_INET)
        r = set_int(udp->watch.fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)value);
    return r;
}

int mir__host_udp_set_option(struct mir_udp *head, enum mir_udp_option option, uint32_t value)
{
    struct mir__host_udp *udp = (struct mir__host_udp *)(void *)head;
    bool is_byte = option == MIR_UDP_TTL || option == MIR_UDP_TOS || option == MIR_UDP_GROUP_TTL;
    uint32_t max = is_byte ? 255u : option == MIR_UDP_GROUP_IF ? INT32_MAX : 1u;
    int number = (int)value;
    if (value > max || (option == MIR_UDP_TTL && value == 0))
        return -MIR_ERANGE;
    switch (option) {
    case MIR_UDP_TTL:
        return set_both(udp, IP_TTL, IPV6_UNICAST_HOPS, number);
    case MIR_UDP_TOS:
        return set_both(udp, IP_TOS, IPV6_TCLASS, number);
    case MIR_UDP_DONT_FRAGMENT:
        udp->dont_fragment = value != 0;
        return set_both(udp, IP_MTU_DISCOVER, IPV6_MTU_DISCOVER,
                        value != 0 ? IP_PMTUDISC_DO : IP_PMTUDISC_WANT);
    case MIR_UDP_BROADCAST:
        return set_int(udp->watch.fd, SOL_SOCKET, SO_BROADCAST, number);
    case MIR_UDP_GROUP_TTL:
        return set_both(udp, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS, number);
    case MIR_UDP_GROUP_LOOP:
        return set_both(udp, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP, number);
    case MIR_UDP_GROUP_IF: {
        int r = set_group_if(udp, value);
        return r == -MIR_EADDRNOTAVAIL || r == -MIR_EIO ? -MIR_ERANGE : r;
    }
    }
    return -MIR_ENOTSUP;
}

/* ---- groups --------------------------------------------------------------------------------- */

static int group_error(int posix)
{
    switch (posix) {
    case EADDRINUSE:
        return -MIR_EEXIST;
    case EADDRNOTAVAIL:
        return -MIR_ENOENT;
    case ENODEV:
        return -MIR_ENETUNREACH;
    case ENOBUFS:
        return -MIR_ELIMIT;
    default:
        return mir__host_error(posix);
    }
}

static int change_group(const struct mir_udp *head, const struct mir_udp_group *group, int plain,
                        int with_source)
{
    const struct mir__host_udp *udp = (const struct mir__host_udp *)(const void *)head;
    struct mir_endpoint to = {.ip = group->group}, from = {.ip = group->source};
    bool is_v4 = mir_ip_is_v4(&group->group);
    int family = is_v4 ? AF_INET : AF_INET6;
    int level = is_v4 ? IPPROTO_IP : IPPROTO_IPV6;
    struct group_source_req with = {.gsr_interface = group->if_index};
    struct group_req without = {.gr_interface = group->if_index};
    int r;
    if (is_v4 ? mir_ip_to_v4(&group->group) >> 28 != 0xe : group->group.bytes[0] != 0xff)
        return -MIR_EINVAL;
    if (mir_ip_is_any(&group->source)) {
        (void)mir__host_sockaddr(&to, family, &without.gr_group);
        r = setsockopt(udp->watch.fd, level, plain, &without, sizeof without);
    } else {
        (void)mir__host_sockaddr(&to, family, &with.gsr_group);
        (void)mir__host_sockaddr(&from, family, &with.gsr_source);
        r = setsockopt(udp->watch.fd, level, with_source, &with, sizeof with);
    }
    return r == 0 ? 0 : group_error(errno);
}

int mir__host_udp_join(struct mir_udp *head, const struct mir_udp_group *group)
{
    return change_group(head, group, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP);
}

int mir__host_udp_leave(struct mir_udp *head, const struct mir_udp_group *group)
{
    return change_group(head, group, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static int disconnect(struct mir__host_udp *udp)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    struct sockaddr_storage addr;
    struct mir_endpoint now;
    socklen_t len = sizeof addr;
    if (connect(udp->watch.fd, &none, sizeof none) != 0 ||
        getsockname(udp->watch.fd, (struct sockaddr *)&addr, &len) != 0)
        return mir__host_error(errno);
    /* The host takes back a port that it had chosen itself. */
    mir__host_endpoint(&addr, &now);
    if (now.port == 0) {
        len = mir__host_sockaddr(&udp->bound, udp->family, &addr);
        if (bind(udp->watch.fd, (const struct sockaddr *)&addr, len) != 0)
            return mir__host_error(errno);
    }
    udp->is_connected = false;
    udp->local = udp->bound;
    return 0;
}

int mir__host_udp_connect(struct mir_udp *head, const struct mir_endpoint *peer)
{
    struct mir__host_udp *udp = (struct mir__host_udp *)(void *)head;
    struct sockaddr_storage addr;
    socklen_t len;
    udp->head.error = 0;
    if (peer->port == 0)
        return udp->is_connected ? disconnect(udp) : 0;
    if (udp->family == AF_INET && !mir_ip_is_v4(&peer->ip))
        return -MIR_ENETUNREACH;
    len = mir__host_sockaddr(peer, udp->family, &addr);
    if (connect(udp->watch.fd, (const struct sockaddr *)&addr, len) != 0)
        return mir__host_error(errno);
    len = sizeof addr;
    if (getsockname(udp->watch.fd, (struct sockaddr *)&addr, &len) == 0)
        mir__host_endpoint(&addr, &udp->local);
    udp->remote = *peer;
    udp->is_connected = true;
    return 0;
}
