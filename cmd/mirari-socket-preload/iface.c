/* SPDX-License-Identifier: ISC */
/* The interfaces of our stack, in the three forms that programs ask for them: getifaddrs(), the
 * if_name calls, and ioctl() on a socket of ours.
 *
 * The list is asked for each time; there are few interfaces and few questions. getifaddrs() makes
 * one allocation and if_nameindex() one for each name, as the C library does, whose own functions
 * free them.
 *
 * What it does not do: netlink sockets, which belong to the host (`ip addr` shows the host's).
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "cmd/mirari-socket-preload/preload.h"

enum { IFACES = 32 };

struct ifaces {
    unsigned count;
    struct sock_iface at[IFACES];
};

static bool is_ours(void)
{
    return pre_is_on && (sock_rules_initial(&pre_rules, false) == SOCK_OURS ||
                         sock_rules_initial(&pre_rules, true) == SOCK_OURS);
}

static int load(struct ifaces *out)
{
    struct sock_page page = {.start = 0};
    out->count = 0;
    do {
        struct {
            struct sock_page page;
            struct sock_iface at[IFACES];
        } in;
        memset(&in.page, 0, sizeof(in.page));
        struct pre_ask ask = {.op = SOCK_IFACES,
                              .body = {{&page, sizeof(page)}},
                              .body_count = 1,
                              .reply = &in,
                              .reply_room = sizeof(in)};
        int r = pre_ask(&ask);
        if (r != 0)
            return r;
        size_t len = ask.reply_len < sizeof(in) ? ask.reply_len : sizeof(in);
        if (len < sizeof(in.page) || in.page.count > (len - sizeof(in.page)) / sizeof(in.at[0]))
            return -EPROTO;
        for (uint32_t i = 0; i < in.page.count && out->count < IFACES; i++) {
            struct sock_iface *to = &out->at[out->count++];
            *to = in.at[i];
            to->name[sizeof(to->name) - 1] = '\0';
            if (to->addr_count > SOCK_IFACE_ADDRS)
                to->addr_count = SOCK_IFACE_ADDRS;
        }
        if (in.page.next <= page.start)
            break;
        page.start = in.page.next;
    } while (out->count < IFACES);
    return 0;
}

static const struct sock_iface *by_index(const struct ifaces *all, unsigned index)
{
    for (unsigned i = 0; i < all->count; i++)
        if (all->at[i].index == index)
            return &all->at[i];
    return NULL;
}

static const struct sock_iface *by_name(const struct ifaces *all, const char *name)
{
    for (unsigned i = 0; i < all->count; i++)
        if (strncmp(all->at[i].name, name, IFNAMSIZ) == 0)
            return &all->at[i];
    return NULL;
}

/* ---- addresses of an interface
 * --------------------------------------------------------------------- */

static void mask_of(const struct sock_iface_addr *from, struct sock_addr *out)
{
    memset(out, 0, sizeof(*out));
    out->family = from->addr.family;
    uint32_t bits = from->addr.family == AF_INET ? 32 : 128;
    bits = from->prefix_len < bits ? from->prefix_len : bits;
    for (uint32_t i = 0; i < bits; i++)
        out->ip[i / 8] |= (uint8_t)(0x80u >> (i % 8));
}

static void broadcast_of(const struct sock_iface_addr *from, struct sock_addr *out)
{
    struct sock_addr mask;
    mask_of(from, &mask);
    *out = from->addr;
    for (unsigned i = 0; i < 4; i++)
        out->ip[i] |= (uint8_t)~mask.ip[i];
}

static const struct sock_iface_addr *first4(const struct sock_iface *iface)
{
    for (uint32_t i = 0; i < iface->addr_count; i++)
        if (iface->addr[i].addr.family == AF_INET)
            return &iface->addr[i];
    return NULL;
}

/* ---- getifaddrs
 * ------------------------------------------------------------------------------------ */

struct entry {
    struct ifaddrs head;
    struct sockaddr_storage addr, mask, other;
    char name[IFNAMSIZ];
};

static void begin_entry(struct entry *e, const struct sock_iface *iface)
{
    memcpy(e->name, iface->name, sizeof(e->name));
    e->head.ifa_name = e->name;
    e->head.ifa_flags = iface->flags;
    e->head.ifa_next = &e[1].head;
}

static void link_entry(struct entry *e, const struct sock_iface *iface)
{
    struct sockaddr_ll *ll = (void *)&e->addr;
    begin_entry(e, iface);
    ll->sll_family = AF_PACKET;
    ll->sll_ifindex = (int)iface->index;
    ll->sll_hatype = iface->flags & IFF_LOOPBACK ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
    ll->sll_halen = 6;
    memcpy(ll->sll_addr, iface->mac, 6);
    e->head.ifa_addr = (void *)&e->addr;
}

static void addr_entry(struct entry *e, const struct sock_iface *iface,
                       const struct sock_iface_addr *addr)
{
    struct sock_addr other;
    begin_entry(e, iface);
    pre_addr_make(addr->addr.family, &addr->addr, &e->addr);
    mask_of(addr, &other);
    pre_addr_make(addr->addr.family, &other, &e->mask);
    e->head.ifa_addr = (void *)&e->addr;
    e->head.ifa_netmask = (void *)&e->mask;
    if (addr->addr.family == AF_INET && (iface->flags & IFF_BROADCAST)) {
        broadcast_of(addr, &other);
        pre_addr_make(AF_INET, &other, &e->other);
        e->head.ifa_broadaddr = (void *)&e->other;
    }
}

HOOK int getifaddrs(struct ifaddrs **out)
{
    struct ifaces all;
    if (!is_ours())
        return pre_real.getifaddrs(out);
    int r = load(&all);
    if (r != 0)
        return pre_fail(r);
    size_t count = all.count, n = 0;
    for (unsigned i = 0; i < all.count; i++)
        count += all.at[i].addr_count;
    *out = NULL;
    if (count == 0)
        return 0;
    struct entry *list = calloc(count, sizeof(*list));
    if (list == NULL)
        return pre_fail(ENOMEM);
    for (unsigned i = 0; i < all.count; i++)
        link_entry(&list[n++], &all.at[i]);
    for (unsigned i = 0; i < all.count; i++)
        for (uint32_t k = 0; k < all.at[i].addr_count; k++)
            addr_entry(&list[n++], &all.at[i], &all.at[i].addr[k]);
    list[count - 1].head.ifa_next = NULL;
    *out = &list[0].head;
    return 0;
}

/* ---- names and numbers
 * ----------------------------------------------------------------------------- */

HOOK unsigned if_nametoindex(const char *name)
{
    struct ifaces all;
    if (!is_ours())
        return pre_real.if_nametoindex(name);
    int r = load(&all);
    const struct sock_iface *found = r == 0 ? by_name(&all, name) : NULL;
    if (found == NULL) {
        errno = r != 0 ? -r : ENODEV;
        return 0;
    }
    return found->index;
}

HOOK char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
    struct ifaces all;
    if (!is_ours())
        return pre_real.if_indextoname(index, name);
    int r = load(&all);
    const struct sock_iface *found = r == 0 ? by_index(&all, index) : NULL;
    if (found == NULL) {
        errno = r != 0 ? -r : ENXIO;
        return NULL;
    }
    memcpy(name, found->name, IFNAMSIZ);
    return name;
}

HOOK struct if_nameindex *if_nameindex(void)
{
    struct ifaces all;
    if (!is_ours())
        return pre_real.if_nameindex();
    int r = load(&all);
    struct if_nameindex *list = r == 0 ? calloc(all.count + 1, sizeof(*list)) : NULL;
    if (list == NULL) {
        errno = r != 0 ? -r : ENOBUFS;
        return NULL;
    }
    for (unsigned i = 0; i < all.count; i++) {
        list[i].if_index = all.at[i].index;
        list[i].if_name = strdup(all.at[i].name);
        if (list[i].if_name == NULL) {
            list[i].if_index = 0;
            if_freenameindex(list);
            errno = ENOBUFS;
            return NULL;
        }
    }
    return list;
}

/* ---- ioctl
 * ----------------------------------------------------------------------------------------- */

static int list_addresses(const struct ifaces *all, struct ifconf *conf)
{
    int room = conf->ifc_len, used = 0;
    for (unsigned i = 0; i < all->count; i++) {
        const struct sock_iface_addr *addr = first4(&all->at[i]);
        struct ifreq req;
        if (addr == NULL)
            continue;
        if (conf->ifc_req != NULL) {
            struct sockaddr_storage whole;
            if (room - used < (int)sizeof(req))
                break;
            memset(&req, 0, sizeof(req));
            memcpy(req.ifr_name, all->at[i].name, IFNAMSIZ);
            pre_addr_make(AF_INET, &addr->addr, &whole);
            memcpy(&req.ifr_addr, &whole, sizeof(struct sockaddr_in));
            memcpy(conf->ifc_buf + used, &req, sizeof(req));
        }
        used += (int)sizeof(req);
    }
    conf->ifc_len = used;
    return 0;
}

static int give_address(const struct sock_iface *iface, unsigned long op, struct ifreq *req)
{
    const struct sock_iface_addr *addr = first4(iface);
    struct sockaddr_storage whole;
    struct sock_addr shown;
    if (addr == NULL)
        return -EADDRNOTAVAIL;
    shown = addr->addr;
    if (op == SIOCGIFNETMASK)
        mask_of(addr, &shown);
    else if (op == SIOCGIFBRDADDR)
        broadcast_of(addr, &shown);
    pre_addr_make(AF_INET, &shown, &whole);
    memcpy(&req->ifr_addr, &whole, sizeof(struct sockaddr_in));
    return 0;
}

static int ask_iface(unsigned long op, void *arg)
{
    struct ifaces all;
    struct ifreq *req = arg;
    int r = arg == NULL ? -EFAULT : load(&all);
    if (r != 0)
        return r;
    if (op == SIOCGIFCONF)
        return list_addresses(&all, arg);
    const struct sock_iface *iface = op == SIOCGIFNAME ? by_index(&all, (unsigned)req->ifr_ifindex)
                                                       : by_name(&all, req->ifr_name);
    if (iface == NULL)
        return -ENODEV;
    switch (op) {
    case SIOCGIFNAME:
        memcpy(req->ifr_name, iface->name, IFNAMSIZ);
        return 0;
    case SIOCGIFINDEX:
        req->ifr_ifindex = (int)iface->index;
        return 0;
    case SIOCGIFFLAGS:
        req->ifr_flags = (short)iface->flags;
        return 0;
    case SIOCGIFMTU:
        req->ifr_mtu = (int)iface->mtu;
        return 0;
    case SIOCGIFMETRIC:
        req->ifr_metric = 0;
        return 0;
    case SIOCGIFTXQLEN:
        req->ifr_qlen = 1000;
        return 0;
    case SIOCGIFHWADDR:
        memset(&req->ifr_hwaddr, 0, sizeof(req->ifr_hwaddr));
        req->ifr_hwaddr.sa_family = iface->flags & IFF_LOOPBACK ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
        memcpy(req->ifr_hwaddr.sa_data, iface->mac, 6);
        return 0;
    default:
        return give_address(iface, op, req);
    }
}

bool pre_ioctl(struct pre_sock *s, int fd, unsigned long op, void *arg, int *result)
{
    switch (op) {
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
        /* A pair answers for the host, from whom programs have numbers by netlink. */
        *result = ask_iface(op, arg);
        return *result != -ENODEV;
    case SIOCATMARK:
        *(int *)arg = 0;
        return true;
    case SIOCGSTAMP_OLD:
    case SIOCGSTAMPNS_OLD:
        *result = -ENOENT;
        return true;
    case FIONREAD:
        if (s->is_udp)
            *(int *)arg = pre_dgram_first(fd);
        else if (atomic_load(&s->state) == PRE_LISTENING)
            *result = -EINVAL;
        return s->is_udp || *result != 0;
    default:
        return false;
    }
}
