/* SPDX-License-Identifier: ISC */
/* Addresses between the program (struct sockaddr) and the server (struct sock_addr).
 *
 * Checks of form are made here, with the errors of Linux, so that a wrong address costs no round
 * trip. What an address means is the server's business; IPv4 inside IPv6 passes as it is.
 */
#include <arpa/inet.h>

#include "cmd/mirari-socket-preload/preload.h"

int pre_addr_in(const struct pre_sock *s, const struct sockaddr *addr, socklen_t len,
                struct sock_addr *out)
{
    struct sockaddr_storage copy;
    memset(out, 0, sizeof(*out));
    if (pre_is_bad(addr) && len != 0)
        return -EFAULT;
    if (len > sizeof(copy) || len < sizeof(copy.ss_family))
        return -EINVAL;
    memset(&copy, 0, sizeof(copy));
    memcpy(&copy, addr, len);
    out->family = copy.ss_family;
    if (copy.ss_family == AF_UNSPEC)
        return 0;
    if (copy.ss_family == AF_INET && (s->domain == AF_INET || s->is_udp)) {
        const struct sockaddr_in *in = (const void *)&copy;
        if (len < sizeof(*in))
            return -EINVAL;
        memcpy(out->ip, &in->sin_addr, 4);
        out->port = ntohs(in->sin_port);
        return 0;
    }
    if (copy.ss_family == AF_INET6 && s->domain == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&copy;
        if (len < offsetof(struct sockaddr_in6, sin6_scope_id))
            return -EINVAL;
        memcpy(out->ip, &in6->sin6_addr, 16);
        out->port = ntohs(in6->sin6_port);
        out->scope = in6->sin6_scope_id;
        return 0;
    }
    return -EAFNOSUPPORT;
}

socklen_t pre_addr_make(int domain, const struct sock_addr *addr, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (domain == AF_INET) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (void *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(addr->port);
    if (addr->family == AF_INET) {
        in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
        memcpy(in6->sin6_addr.s6_addr + 12, addr->ip, 4);
    } else {
        memcpy(&in6->sin6_addr, addr->ip, 16);
        in6->sin6_scope_id = addr->scope;
    }
    return sizeof(*in6);
}

void pre_addr_out(int domain, const struct sock_addr *addr, struct sockaddr *to, socklen_t *len)
{
    struct sockaddr_storage whole;
    if (to == NULL || len == NULL)
        return;
    socklen_t size = pre_addr_make(domain, addr, &whole);
    memcpy(to, &whole, *len < size ? *len : size);
    *len = size;
}
