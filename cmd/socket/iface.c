/* SPDX-License-Identifier: ISC */
/* The interfaces of our stack, as the server lists them and as ioctl() shows them.
 *
 * Both ways in, the supervisor of `mirari socket run` and the preloaded library, answer programs
 * that ask about interfaces; what they answer is made here, how they are asked is their own affair.
 * The list is asked for each time: there are few interfaces and few questions.
 *
 * What comes from the server is checked here once, so that nobody else has to: counts, lengths,
 * names without an end. Interfaces beyond SOCK_IFACES_MAX are not shown.
 *
 * What it does not do: change anything. Our stack is configured by options of its server.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cmd/socket/iface.h"

int sock_each(const struct sock_asker *asker, uint16_t op, size_t size,
              void (*take)(void *arg, const void *entry), void *arg)
{
    struct sock_page page = {0};
    uint8_t *body = malloc(SOCK_MESSAGE_MAX);
    int r = body != NULL ? 0 : -ENOMEM;
    while (r == 0) {
        uint32_t start = page.start;
        ssize_t got = asker->ask(asker->context, op, &page, body, SOCK_MESSAGE_MAX);
        if (got < (ssize_t)sizeof(page)) {
            r = got < 0 ? (int)got : -EPROTO;
            break;
        }
        size_t len = (size_t)got < SOCK_MESSAGE_MAX ? (size_t)got : SOCK_MESSAGE_MAX;
        memcpy(&page, body, sizeof(page));
        if (page.count > (len - sizeof(page)) / size) {
            r = -EPROTO;
            break;
        }
        for (size_t i = 0; i < page.count; i++)
            take(arg, body + sizeof(page) + i * size);
        if (page.next <= start) /* 0: that was all; and a list never goes back */
            break;
        page.start = page.next;
    }
    free(body);
    return r;
}

static void take_iface(void *arg, const void *entry)
{
    struct sock_ifaces *all = arg;
    if (all->count == SOCK_IFACES_MAX)
        return;
    struct sock_iface *to = &all->iface[all->count++];
    memcpy(to, entry, sizeof(*to));
    to->name[sizeof(to->name) - 1] = '\0';
    if (to->addr_count > SOCK_IFACE_ADDRS)
        to->addr_count = SOCK_IFACE_ADDRS;
}

int sock_ifaces_ask(const struct sock_asker *asker, struct sock_ifaces *out)
{
    out->count = 0;
    return sock_each(asker, SOCK_IFACES, sizeof(struct sock_iface), take_iface, out);
}

const struct sock_iface *sock_iface_by_index(const struct sock_ifaces *all, unsigned index)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->iface[i].index == index)
            return &all->iface[i];
    return NULL;
}

const struct sock_iface *sock_iface_by_name(const struct sock_ifaces *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++)
        if (strncmp(all->iface[i].name, name, IFNAMSIZ) == 0)
            return &all->iface[i];
    return NULL;
}

uint16_t sock_iface_hardware(const struct sock_iface *iface)
{
    return iface->flags & IFF_LOOPBACK ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
}

void sock_iface_mask(const struct sock_iface_addr *from, struct sock_addr *out)
{
    uint32_t most = from->addr.family == AF_INET ? 32 : 128;
    uint32_t bits = from->prefix_len < most ? from->prefix_len : most;
    memset(out, 0, sizeof(*out));
    out->family = from->addr.family;
    for (uint32_t i = 0; i < bits; i++)
        out->ip[i / 8] |= (uint8_t)(0x80u >> (i % 8));
}

void sock_iface_broadcast(const struct sock_iface_addr *from, struct sock_addr *out)
{
    struct sock_addr mask;
    sock_iface_mask(from, &mask);
    *out = from->addr;
    for (unsigned i = 0; i < 4; i++)
        out->ip[i] |= (uint8_t)~mask.ip[i];
}

/* ---- ioctl ------------------------------------------------------------------------------------
 */

static void put_address(struct ifreq *request, const struct sock_addr *addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    memcpy(&in.sin_addr, addr->ip, sizeof(in.sin_addr));
    memcpy(&request->ifr_addr, &in, sizeof(in));
}

/* The first IPv4 address of an interface, or what belongs to it. */
static int fill_address(struct ifreq *request, const struct sock_iface *iface, unsigned long what)
{
    for (uint32_t i = 0; i < iface->addr_count; i++) {
        struct sock_addr shown = iface->addr[i].addr;
        if (shown.family != AF_INET)
            continue;
        if (what == SIOCGIFNETMASK)
            sock_iface_mask(&iface->addr[i], &shown);
        else if (what == SIOCGIFBRDADDR)
            sock_iface_broadcast(&iface->addr[i], &shown);
        put_address(request, &shown);
        return 0;
    }
    return -EADDRNOTAVAIL;
}

bool sock_iface_is_request(unsigned long what)
{
    switch (what) {
    case SIOCGIFCONF:
    case SIOCGIFNAME:
    case SIOCGIFINDEX:
    case SIOCGIFFLAGS:
    case SIOCGIFMTU:
    case SIOCGIFMETRIC:
    case SIOCGIFTXQLEN:
    case SIOCGIFHWADDR:
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
    case SIOCGIFDSTADDR:
        return true;
    default:
        return false;
    }
}

int sock_iface_request(const struct sock_ifaces *all, unsigned long what, struct ifreq *request)
{
    const struct sock_iface *iface = what == SIOCGIFNAME
                                         ? sock_iface_by_index(all, (unsigned)request->ifr_ifindex)
                                         : sock_iface_by_name(all, request->ifr_name);
    if (iface == NULL)
        return -ENODEV;
    switch (what) {
    case SIOCGIFNAME:
        memcpy(request->ifr_name, iface->name, sizeof(request->ifr_name));
        return 0;
    case SIOCGIFINDEX:
        request->ifr_ifindex = (int)iface->index;
        return 0;
    case SIOCGIFFLAGS:
        request->ifr_flags = (short)iface->flags;
        return 0;
    case SIOCGIFMTU:
        request->ifr_mtu = (int)iface->mtu;
        return 0;
    case SIOCGIFMETRIC:
        request->ifr_metric = 0;
        return 0;
    case SIOCGIFTXQLEN:
        request->ifr_qlen = 1000;
        return 0;
    case SIOCGIFHWADDR:
        memset(&request->ifr_hwaddr, 0, sizeof(request->ifr_hwaddr));
        request->ifr_hwaddr.sa_family = sock_iface_hardware(iface);
        memcpy(request->ifr_hwaddr.sa_data, iface->mac, 6);
        return 0;
    default:
        return fill_address(request, iface, what);
    }
}

bool sock_iface_row(const struct sock_ifaces *all, size_t row, struct ifreq *out)
{
    size_t at = 0;
    for (size_t i = 0; i < all->count; i++) {
        const struct sock_iface *iface = &all->iface[i];
        for (uint32_t j = 0; j < iface->addr_count; j++) {
            if (iface->addr[j].addr.family != AF_INET || at++ != row)
                continue;
            memset(out, 0, sizeof(*out));
            memcpy(out->ifr_name, iface->name, sizeof(out->ifr_name));
            put_address(out, &iface->addr[j].addr);
            return true;
        }
    }
    return false;
}
