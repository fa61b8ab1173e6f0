/* SPDX-License-Identifier: ISC */
/* Addresses and errors of the host in the terms of the API, and bound sockets.
 *
 * An IPv4 address is mapped into IPv6 in the API (RFC 4291 section 2.5.5.2) and plain on the host's
 * side. An any address binds a dual-stack socket where the host has IPv6, else an IPv4 one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "dev/net/host/internal.h"

socklen_t mir__host_sockaddr(const struct mir_endpoint *ep, int family,
                             struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        v4->sin_family = AF_INET;
        v4->sin_port = htons(ep->port);
        if (!mir_ip_is_any(&ep->ip))
            v4->sin_addr.s_addr = htonl(mir_ip_to_v4(&ep->ip));
        return sizeof *v4;
    }
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(ep->port);
    if (!mir_ip_is_any(&ep->ip))
        memcpy(&v6->sin6_addr, ep->ip.bytes, 16);
    return sizeof *v6;
}

void mir__host_endpoint(const struct sockaddr_storage *addr, struct mir_endpoint *out)
{
    if (addr->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)addr;
        out->ip = mir_ip_from_v4(ntohl(v4->sin_addr.s_addr));
        out->port = ntohs(v4->sin_port);
        return;
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)addr;
    memcpy(out->ip.bytes, &v6->sin6_addr, 16);
    out->port = ntohs(v6->sin6_port);
}

int mir__host_family(const struct mir_ip *ip)
{
    return mir_ip_is_v4(ip) ? AF_INET : AF_INET6;
}

int mir__host_error(int posix_errno)
{
    /* One errno can stand for several of our errors: the first that means it is listed first. */
    static const struct {
        int posix;
        int err;
    } table[] = {
        {EAGAIN, MIR_EAGAIN},
        {EINTR, MIR_EAGAIN},
        {EINPROGRESS, MIR_EAGAIN},
        {EINVAL, MIR_EINVAL},
        {ENOMEM, MIR_ENOMEM},
        {ENOBUFS, MIR_ENOMEM},
        {EMFILE, MIR_ELIMIT},
        {ENFILE, MIR_ELIMIT},
        {EMSGSIZE, MIR_ETOOBIG},
        {ETIMEDOUT, MIR_ETIMEDOUT},
        {EPIPE, MIR_ECONNRESET},
        {ECONNRESET, MIR_ECONNRESET},
        {ECONNREFUSED, MIR_ECONNREFUSED},
        {ECONNABORTED, MIR_ECONNABORTED},
        {EACCES, MIR_EPERM},
        {EPERM, MIR_EPERM},
        {ENOTCONN, MIR_ENOTCONN},
        {EISCONN, MIR_EISCONN},
        {EADDRINUSE, MIR_EADDRINUSE},
        {EADDRNOTAVAIL, MIR_EADDRNOTAVAIL},
        {ENETUNREACH, MIR_ENETUNREACH},
        {EAFNOSUPPORT, MIR_ENETUNREACH},
        {EHOSTUNREACH, MIR_EHOSTUNREACH},
        {ENETDOWN, MIR_ENETDOWN},
        {EPROTO, MIR_EPROTO},
        {EOPNOTSUPP, MIR_ENOTSUP},
        {ENOPROTOOPT, MIR_ENOTSUP},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(table); i++) {
        if (table[i].posix == posix_errno)
            return -table[i].err;
    }
    return -MIR_EIO;
}

void mir__host_own_address(struct mir_ip *ip)
{
    struct ifaddrs *list;
    *ip = mir_ip_from_v4(0);
    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *it = list; it != NULL; it = it->ifa_next) {
        if (it->ifa_addr == NULL || it->ifa_addr->sa_family != AF_INET || !(it->ifa_flags & IFF_UP))
            continue;
        /* Loopback stands in until something better is found. */
        bool is_loopback = (it->ifa_flags & IFF_LOOPBACK) != 0;
        if (is_loopback && !mir_ip_is_any(ip))
            continue;
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)it->ifa_addr;
        *ip = mir_ip_from_v4(ntohl(v4->sin_addr.s_addr));
        if (!is_loopback)
            break;
    }
    freeifaddrs(list);
}

static int bind_family(int type, const struct mir_endpoint *local, int family, unsigned flags,
                       int *out)
{
    struct sockaddr_storage addr;
    const int yes = 1, v6_only = (flags & MIR__HOST_V6_ONLY) != 0;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mir__host_error(errno);
    if (flags & MIR__HOST_REUSE_ADDR)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (flags & MIR__HOST_REUSE_PORT)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof v6_only);
    socklen_t len = mir__host_sockaddr(local, family, &addr);
    if (bind(fd, (const struct sockaddr *)&addr, len) != 0) {
        int r = mir__host_error(errno);
        close(fd);
        return r;
    }
    *out = fd;
    return 0;
}

int mir__host_bind(int type, const struct mir_endpoint *local, unsigned flags, int *fd, int *family)
{
    int r = -MIR_ENETUNREACH;
    *family = mir_ip_is_any(&local->ip) ? AF_INET6 : mir__host_family(&local->ip);
    r = bind_family(type, local, *family, flags, fd);
    bool has_no_v6 = r == -MIR_ENETUNREACH || r == -MIR_EADDRNOTAVAIL;
    if (has_no_v6 && mir_ip_is_any(&local->ip) && !(flags & MIR__HOST_V6_ONLY)) {
        *family = AF_INET;
        r = bind_family(type, local, AF_INET, flags, fd);
    }
    return r;
}
