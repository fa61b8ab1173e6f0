/* SPDX-License-Identifier: ISC */
/* The interfaces of our stack, in the three forms that programs ask for them: getifaddrs(), the
 * if_name calls, and ioctl() on a socket of ours. Route sockets: link.c.
 *
 * getifaddrs() makes one allocation for its list and if_nameindex() one for each name, as the C
 * library does, whose own functions free them.
 */
#include <ifaddrs.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "cmd/mirari-socket-preload/preload.h"

static bool is_ours(void)
{
    return pre_is_on && (sock_rules_initial(&pre_rules, false) == SOCK_OURS ||
                         sock_rules_initial(&pre_rules, true) == SOCK_OURS);
}

static ssize_t ask_page(void *context, uint16_t op, const struct sock_page *page, void *out,
                        size_t room)
{
    struct pre_ask ask = {.op = op,
                          .body = {PRE_BYTES(page, sizeof(*page))},
                          .body_count = 1,
                          .reply = out,
                          .reply_room = room};
    (void)context;
    int r = pre_ask(&ask);
    return r != 0 ? r : (ssize_t)ask.reply_len;
}

const struct sock_asker pre_asker = {.ask = ask_page};

static int load(struct sock_ifaces *out)
{
    return sock_ifaces_ask(&pre_asker, out);
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
    ll->sll_hatype = sock_iface_hardware(iface);
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
    sock_iface_mask(addr, &other);
    pre_addr_make(addr->addr.family, &other, &e->mask);
    e->head.ifa_addr = (void *)&e->addr;
    e->head.ifa_netmask = (void *)&e->mask;
    if (addr->addr.family == AF_INET && (iface->flags & IFF_BROADCAST)) {
        sock_iface_broadcast(addr, &other);
        pre_addr_make(AF_INET, &other, &e->other);
        e->head.ifa_broadaddr = (void *)&e->other;
    }
}

HOOK int getifaddrs(struct ifaddrs **out)
{
    struct sock_ifaces all;
    if (!is_ours())
        return pre_real.getifaddrs(out);
    int r = load(&all);
    if (r != 0)
        return pre_fail(r);
    size_t count = all.count, n = 0;
    for (size_t i = 0; i < all.count; i++)
        count += all.iface[i].addr_count;
    *out = NULL;
    if (count == 0)
        return 0;
    struct entry *list = calloc(count, sizeof(*list));
    if (list == NULL)
        return pre_fail(ENOMEM);
    for (size_t i = 0; i < all.count; i++)
        link_entry(&list[n++], &all.iface[i]);
    for (size_t i = 0; i < all.count; i++)
        for (uint32_t k = 0; k < all.iface[i].addr_count; k++)
            addr_entry(&list[n++], &all.iface[i], &all.iface[i].addr[k]);
    list[count - 1].head.ifa_next = NULL;
    *out = &list[0].head;
    return 0;
}

/* ---- names and numbers
 * ----------------------------------------------------------------------------- */

HOOK unsigned if_nametoindex(const char *name)
{
    struct sock_ifaces all;
    if (!is_ours())
        return pre_real.if_nametoindex(name);
    int r = load(&all);
    const struct sock_iface *found = r == 0 ? sock_iface_by_name(&all, name) : NULL;
    if (found == NULL) {
        errno = r != 0 ? -r : ENODEV;
        return 0;
    }
    return found->index;
}

HOOK char *if_indextoname(unsigned index, char name[IF_NAMESIZE])
{
    struct sock_ifaces all;
    if (!is_ours())
        return pre_real.if_indextoname(index, name);
    int r = load(&all);
    const struct sock_iface *found = r == 0 ? sock_iface_by_index(&all, index) : NULL;
    if (found == NULL) {
        errno = r != 0 ? -r : ENXIO;
        return NULL;
    }
    memcpy(name, found->name, IFNAMSIZ);
    return name;
}

HOOK struct if_nameindex *if_nameindex(void)
{
    struct sock_ifaces all;
    if (!is_ours())
        return pre_real.if_nameindex();
    int r = load(&all);
    struct if_nameindex *list = r == 0 ? calloc(all.count + 1, sizeof(*list)) : NULL;
    if (list == NULL) {
        errno = r != 0 ? -r : ENOBUFS;
        return NULL;
    }
    for (size_t i = 0; i < all.count; i++) {
        list[i].if_index = all.iface[i].index;
        list[i].if_name = strdup(all.iface[i].name);
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

static int list_addresses(const struct sock_ifaces *all, struct ifconf *conf)
{
    struct ifreq row;
    int room = conf->ifc_len, used = 0;
    for (size_t i = 0; sock_iface_row(all, i, &row); i++) {
        if (conf->ifc_req != NULL) {
            if (room - used < (int)sizeof(row))
                break;
            memcpy(conf->ifc_buf + used, &row, sizeof(row));
        }
        used += (int)sizeof(row);
    }
    conf->ifc_len = used;
    return 0;
}

static int ask_iface(unsigned long op, void *arg)
{
    struct sock_ifaces all;
    int r = pre_is_bad(arg) ? -EFAULT : load(&all);
    if (r != 0)
        return r;
    return op == SIOCGIFCONF ? list_addresses(&all, arg) : sock_iface_request(&all, op, arg);
}

/* Of the stack, not of the pair, where the pill waits. */
static int count_unsent(struct pre_sock *s, int fd, int *bytes)
{
    struct {
        struct sock_option head;
        int value[2];
    } out = {.head = {.level = SOCK_LEVEL_SERVER, .name = SOCK_O_UNSENT, .len = sizeof(int)}}, in;
    memset(&in, 0, sizeof(in));
    if (atomic_load(&s->state) == PRE_LISTENING)
        return -EINVAL;
    if (atomic_load(&s->state) == PRE_CONNECTED)
        (void)pre_op_simple(s, fd, SOCK_GETOPT, PRE_BYTES(&out.head, sizeof(out.head)),
                            PRE_BYTES(&in, sizeof(in)));
    *bytes = in.value[0];
    return 0;
}

bool pre_ioctl(struct pre_sock *s, int fd, unsigned long op, void *arg, int *result)
{
    if (sock_iface_is_request(op)) {
        /* A pair would answer for the host. */
        *result = ask_iface(op, arg);
        return true;
    }
    if (pre_has(s, PRE_LINK))
        return false;
    switch (op) {
    case SIOCATMARK:
        if (s->is_udp)
            *result = -ENOTTY;
        else
            *(int *)arg = 0;
        return true;
    case SIOCGSTAMP_OLD:
    case SIOCGSTAMPNS_OLD:
        *result = -ENOENT;
        return true;
    case SIOCOUTQ:
        return !s->is_udp && (*result = count_unsent(s, fd, arg), true);
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
