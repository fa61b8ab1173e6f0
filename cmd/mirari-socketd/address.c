/* SPDX-License-Identifier: ISC */
/* Addresses as programs know them, and as the stack does.
 *
 * The stack has one form for both families, IPv4 inside IPv6. A socket of AF_INET6 shows it as it
 * is, one of AF_INET its last four bytes. The any-address of either family is all zero inside.
 */
#include "cmd/mirari-socketd/socketd.h"

int sd_endpoint(uint16_t domain, const struct sock_addr *addr, struct mir_endpoint *ep)
{
    *ep = (struct mir_endpoint){.port = addr->port};
    if (addr->family != domain)
        return -EAFNOSUPPORT;
    if (domain == AF_INET)
        ep->ip = mir_ip_from_v4((uint32_t)addr->ip[0] << 24 | (uint32_t)addr->ip[1] << 16 |
                                (uint32_t)addr->ip[2] << 8 | addr->ip[3]);
    else
        memcpy(ep->ip.bytes, addr->ip, 16);
    if (mir_ip_is_any(&ep->ip))
        memset(&ep->ip, 0, sizeof ep->ip);
    return 0;
}

void sd_addr(uint16_t domain, const struct mir_endpoint *ep, uint32_t scope, struct sock_addr *addr)
{
    *addr = (struct sock_addr){.family = domain, .port = ep->port};
    if (domain == AF_INET) {
        if (mir_ip_is_v4(&ep->ip))
            memcpy(addr->ip, ep->ip.bytes + 12, 4);
        return;
    }
    memcpy(addr->ip, ep->ip.bytes, 16);
    if (ep->ip.bytes[0] == 0xfe && (ep->ip.bytes[1] & 0xc0) == 0x80)
        addr->scope = scope != 0 ? scope : 1;
}
