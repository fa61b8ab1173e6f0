/* SPDX-License-Identifier: ISC */
/* What programs ask about interfaces, answered with those of our stack: route sockets and ioctls.
 *
 * A route socket (AF_NETLINK, NETLINK_ROUTE) of a program is a pair of which we hold the other end.
 * Lists of links, addresses and routes (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE) are made from what
 * the server says about itself; that is all that getifaddrs(), if_nametoindex(), Go's
 * net.Interfaces() and `ip address` ask. Everything else, changes above all, is refused with
 * EOPNOTSUPP: our stack is configured by options of its server. Nobody is notified of changes; who
 * joins groups hears nothing.
 *
 * Answers go out in pieces below 4 KiB: the C library reads into a page and takes a truncated
 * message for an error.
 */
#include <errno.h>
#include <net/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

#define IFACES_MAX 64
#define PIECE_MAX  3072 /**< bytes after which a piece goes out */

struct ifaces {
    struct sock_iface iface[IFACES_MAX];
    size_t count;
};

/* All pages of a list into @out, of [max] entries of @size bytes. Returns the count or -errno. */
static int ask_list(struct sup *sup, uint16_t op, void *out, size_t size, size_t max)
{
    static uint8_t body[SOCK_MESSAGE_MAX];
    struct sock_page page = {0};
    size_t count = 0;
    do {
        ssize_t len = control_ask_now(sup, op, &page, sizeof(page), body, sizeof(body));
        if (len < (ssize_t)sizeof(page))
            return len < 0 ? (int)len : -EPROTO;
        memcpy(&page, body, sizeof(page));
        if (page.count > ((size_t)len - sizeof(page)) / size)
            return -EPROTO;
        size_t take = page.count < max - count ? page.count : max - count;
        memcpy((uint8_t *)out + count * size, body + sizeof(page), take * size);
        count += take;
        page.start = page.next;
    } while (page.next != 0 && count < max);
    return (int)count;
}

static int ask_ifaces(struct sup *sup, struct ifaces *ifaces)
{
    int r = ask_list(sup, SOCK_IFACES, ifaces->iface, sizeof(ifaces->iface[0]), IFACES_MAX);
    ifaces->count = r > 0 ? (size_t)r : 0;
    for (size_t i = 0; i < ifaces->count; i++) {
        struct sock_iface *iface = &ifaces->iface[i];
        iface->name[sizeof(iface->name) - 1] = '\0';
        if (iface->addr_count > SOCK_IFACE_ADDRS)
            iface->addr_count = SOCK_IFACE_ADDRS;
    }
    return r < 0 ? r : 0;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

struct reply {
    struct served *sock;
    uint32_t seq;
    uint16_t flags; /**< of each message */
    size_t len;
    size_t message; /**< where the current one begins */
    _Alignas(struct nlmsghdr) uint8_t bytes[8192];
};

static void send_reply(struct reply *reply)
{
    if (reply->len > 0) /* a program that does not read loses answers, as with the kernel */
        (void)send(reply->sock->b, reply->bytes, reply->len, MSG_DONTWAIT | MSG_NOSIGNAL);
    reply->len = 0;
}

static void *begin_message(struct reply *reply, uint16_t type, size_t body_len)
{
    if (reply->len > PIECE_MAX)
        send_reply(reply);
    reply->message = reply->len;
    struct nlmsghdr *head = (void *)(reply->bytes + reply->len);
    size_t len = NLMSG_SPACE(body_len);
    memset(head, 0, len);
    *head = (struct nlmsghdr){.nlmsg_len = (uint32_t)NLMSG_LENGTH(body_len),
                              .nlmsg_type = type,
                              .nlmsg_flags = reply->flags,
                              .nlmsg_seq = reply->seq,
                              .nlmsg_pid = (uint32_t)reply->sock->ino};
    reply->len += len;
    return NLMSG_DATA(head);
}

static void add_attribute(struct reply *reply, uint16_t type, const void *data, size_t len)
{
    struct nlmsghdr *head = (void *)(reply->bytes + reply->message);
    struct rtattr *attribute = (void *)(reply->bytes + reply->len);
    if (reply->len + RTA_SPACE(len) > sizeof(reply->bytes))
        return;
    memset(attribute, 0, RTA_SPACE(len));
    *attribute = (struct rtattr){.rta_type = type, .rta_len = (unsigned short)RTA_LENGTH(len)};
    memcpy(RTA_DATA(attribute), data, len);
    reply->len += RTA_SPACE(len);
    head->nlmsg_len = (uint32_t)(reply->len - reply->message);
}

static void add_u32(struct reply *reply, uint16_t type, uint32_t value)
{
    add_attribute(reply, type, &value, sizeof(value));
}

static uint16_t hardware_of(const struct sock_iface *iface)
{
    return iface->flags & IFF_LOOPBACK ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
}

static void add_link(struct reply *reply, const struct sock_iface *iface)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct ifinfomsg *body = begin_message(reply, RTM_NEWLINK, sizeof(*body));
    uint8_t operational = 6; /* IF_OPER_UP */
    *body = (struct ifinfomsg){
        .ifi_type = hardware_of(iface), .ifi_index = (int)iface->index, .ifi_flags = iface->flags};
    add_attribute(reply, IFLA_IFNAME, iface->name, strlen(iface->name) + 1);
    add_u32(reply, IFLA_MTU, iface->mtu);
    add_u32(reply, IFLA_TXQLEN, 1000);
    add_attribute(reply, IFLA_OPERSTATE, &operational, 1);
    add_attribute(reply, IFLA_ADDRESS, iface->mac, 6);
    add_attribute(reply, IFLA_BROADCAST, broadcast, 6);
}

static void add_address(struct reply *reply, const struct sock_iface *iface,
                        const struct sock_iface_addr *address)
{
    bool is_4 = address->addr.family == AF_INET;
    const uint8_t *ip = address->addr.ip;
    bool is_link_local = !is_4 && ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
    struct ifaddrmsg *body = begin_message(reply, RTM_NEWADDR, sizeof(*body));
    *body = (struct ifaddrmsg){.ifa_family = (uint8_t)address->addr.family,
                               .ifa_prefixlen = (uint8_t)address->prefix_len,
                               .ifa_flags = IFA_F_PERMANENT,
                               .ifa_scope = is_link_local ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
                               .ifa_index = iface->index};
    /* In the kernel's order: Go takes the first that is not IFA_ADDRESS when there is a local one.
     */
    add_attribute(reply, IFA_ADDRESS, ip, is_4 ? 4 : 16);
    if (is_4) {
        uint32_t local, mask = address->prefix_len == 0 ? 0 : ~0u << (32 - address->prefix_len);
        memcpy(&local, ip, sizeof(local));
        add_attribute(reply, IFA_LOCAL, ip, 4);
        add_u32(reply, IFA_BROADCAST, local | htonl(~mask));
        add_attribute(reply, IFA_LABEL, iface->name, strlen(iface->name) + 1);
    }
    add_u32(reply, IFA_FLAGS, IFA_F_PERMANENT);
}

static void add_route(struct reply *reply, const struct sock_route *route)
{
    bool is_4 = route->prefix.family == AF_INET, has_gateway = route->gateway.family != AF_UNSPEC;
    struct rtmsg *body = begin_message(reply, RTM_NEWROUTE, sizeof(*body));
    *body = (struct rtmsg){.rtm_family = (unsigned char)route->prefix.family,
                           .rtm_dst_len = (unsigned char)route->prefix_len,
                           .rtm_table = RT_TABLE_MAIN,
                           .rtm_protocol = has_gateway ? RTPROT_STATIC : RTPROT_KERNEL,
                           .rtm_scope = has_gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                           .rtm_type = RTN_UNICAST};
    add_u32(reply, RTA_TABLE, RT_TABLE_MAIN);
    if (route->prefix_len > 0)
        add_attribute(reply, RTA_DST, route->prefix.ip, is_4 ? 4 : 16);
    if (has_gateway)
        add_attribute(reply, RTA_GATEWAY, route->gateway.ip, is_4 ? 4 : 16);
    add_u32(reply, RTA_OIF, route->if_index);
    if (route->metric != 0)
        add_u32(reply, RTA_PRIORITY, route->metric);
}

/* ---- requests ---------------------------------------------------------------------------------
 */

/* The one link that a request names, by index or by name; 0: none. */
static uint32_t wanted_link(struct nlmsghdr *head, const struct ifaces *ifaces)
{
    struct ifinfomsg body;
    if (head->nlmsg_len < NLMSG_LENGTH(sizeof(body)))
        return 0;
    memcpy(&body, NLMSG_DATA(head), sizeof(body));
    if (body.ifi_index > 0)
        return (uint32_t)body.ifi_index;
    size_t left = head->nlmsg_len - NLMSG_LENGTH(sizeof(body));
    struct rtattr *at = (void *)((uint8_t *)head + NLMSG_SPACE(sizeof(body)));
    while (RTA_OK(at, left)) {
        const char *name = RTA_DATA(at);
        for (size_t i = 0; at->rta_type == IFLA_IFNAME && i < ifaces->count; i++)
            if (strnlen(name, RTA_PAYLOAD(at)) == strlen(ifaces->iface[i].name) &&
                memcmp(name, ifaces->iface[i].name, strlen(ifaces->iface[i].name)) == 0)
                return ifaces->iface[i].index;
        at = RTA_NEXT(at, left);
    }
    return 0;
}

static void end_reply(struct reply *reply, uint16_t type, const struct nlmsghdr *head, int error)
{
    if (type == NLMSG_DONE) {
        *(int *)begin_message(reply, NLMSG_DONE, sizeof(int)) = error;
    } else {
        reply->flags = 0;
        struct nlmsgerr *body = begin_message(reply, NLMSG_ERROR, sizeof(*body));
        *body = (struct nlmsgerr){.error = error, .msg = *head};
    }
    send_reply(reply);
}

static int dump_routes(struct sup *sup, struct reply *reply, unsigned family)
{
    static struct sock_route routes[1024];
    int count = ask_list(sup, SOCK_ROUTES, routes, sizeof(routes[0]), LEN(routes));
    for (int i = 0; i < count; i++)
        if (family == AF_UNSPEC || family == routes[i].prefix.family)
            add_route(reply, &routes[i]);
    return count < 0 ? count : 0;
}

static int dump(struct sup *sup, struct reply *reply, struct nlmsghdr *head)
{
    static struct ifaces ifaces;
    unsigned family = head->nlmsg_len > NLMSG_HDRLEN ? *(uint8_t *)NLMSG_DATA(head) : 0;
    if (head->nlmsg_type == RTM_GETROUTE)
        return dump_routes(sup, reply, family);
    int r = ask_ifaces(sup, &ifaces);
    for (size_t i = 0; i < ifaces.count; i++) {
        const struct sock_iface *iface = &ifaces.iface[i];
        if (head->nlmsg_type == RTM_GETLINK)
            add_link(reply, iface);
        for (uint32_t j = 0; head->nlmsg_type == RTM_GETADDR && j < iface->addr_count; j++)
            if (family == AF_UNSPEC || family == iface->addr[j].addr.family)
                add_address(reply, iface, &iface->addr[j]);
    }
    return r;
}

/* One link, without DONE behind it. */
static int show_link(struct sup *sup, struct reply *reply, struct nlmsghdr *head)
{
    static struct ifaces ifaces;
    int r = ask_ifaces(sup, &ifaces);
    uint32_t index = r == 0 ? wanted_link(head, &ifaces) : 0;
    for (size_t i = 0; i < ifaces.count; i++) {
        if (ifaces.iface[i].index != index)
            continue;
        add_link(reply, &ifaces.iface[i]);
        send_reply(reply);
        return 0;
    }
    return r != 0 ? r : -ENODEV;
}

static void take_request(struct sup *sup, struct served *sock, struct nlmsghdr *head)
{
    static struct reply reply;
    bool is_list = head->nlmsg_type == RTM_GETLINK || head->nlmsg_type == RTM_GETADDR ||
                   head->nlmsg_type == RTM_GETROUTE;
    bool is_dump = (head->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    int error = -EOPNOTSUPP;
    reply.sock = sock;
    reply.seq = head->nlmsg_seq;
    reply.len = 0;
    reply.flags = is_dump ? NLM_F_MULTI : 0;
    if (is_list && is_dump) {
        error = dump(sup, &reply, head);
        if (error == 0) {
            end_reply(&reply, NLMSG_DONE, head, 0);
            return;
        }
    } else if (head->nlmsg_type == RTM_GETLINK) {
        error = show_link(sup, &reply, head);
    } else if (head->nlmsg_type < NLMSG_MIN_TYPE) {
        error = 0; /* NLMSG_NOOP and its like */
    }
    if (error != 0 || (head->nlmsg_flags & NLM_F_ACK))
        end_reply(&reply, NLMSG_ERROR, head, error);
}

int link_take(struct sup *sup, struct served *sock, const void *data, size_t len)
{
    _Alignas(struct nlmsghdr) uint8_t request[4096];
    size_t at = 0;
    if (len > sizeof(request))
        return -EMSGSIZE;
    memcpy(request, data, len);
    while (len - at >= sizeof(struct nlmsghdr)) {
        struct nlmsghdr *head = (void *)(request + at);
        if (head->nlmsg_len < sizeof(*head) || head->nlmsg_len > len - at)
            break;
        take_request(sup, sock, head);
        size_t step = NLMSG_ALIGN(head->nlmsg_len);
        at = step < len - at ? at + step : len;
    }
    return 0;
}

void link_readable(struct sup *sup, struct served *sock)
{
    ssize_t got = recv(sock->b, sup->data, sizeof(sup->data), MSG_DONTWAIT);
    if (got > 0)
        (void)link_take(sup, sock, sup->data, (size_t)got);
    else if (got == 0 && sock->users == 0) /* closed */
        served_remove(sup, sock);
}

/* ---- ioctl ------------------------------------------------------------------------------------
 */

static const struct sock_iface *find_iface(const struct ifaces *ifaces, const struct ifreq *request,
                                           unsigned long what)
{
    for (size_t i = 0; i < ifaces->count; i++) {
        const struct sock_iface *iface = &ifaces->iface[i];
        if (what == SIOCGIFNAME
                ? (int)iface->index == request->ifr_ifindex
                : strncmp(iface->name, request->ifr_name, sizeof(request->ifr_name)) == 0)
            return iface;
    }
    return NULL;
}

static const struct sock_iface_addr *first_ip4(const struct sock_iface *iface)
{
    for (uint32_t i = 0; i < iface->addr_count; i++)
        if (iface->addr[i].addr.family == AF_INET)
            return &iface->addr[i];
    return NULL;
}

/* An IPv4 address of an interface, as the kernel writes it. */
static int fill_address(struct ifreq *request, const struct sock_iface_addr *address,
                        unsigned long what)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    if (address == NULL)
        return -EADDRNOTAVAIL;
    uint32_t mask = htonl(address->prefix_len == 0 ? 0 : ~0u << (32 - address->prefix_len));
    memcpy(&in.sin_addr, address->addr.ip, 4);
    if (what == SIOCGIFNETMASK)
        in.sin_addr.s_addr = mask;
    else if (what == SIOCGIFBRDADDR)
        in.sin_addr.s_addr |= ~mask;
    memcpy(&request->ifr_addr, &in, sizeof(in));
    return 0;
}

static int fill_request(struct ifreq *request, const struct sock_iface *iface, unsigned long what)
{
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
    case SIOCGIFTXQLEN:
        request->ifr_qlen = 1000;
        return 0;
    case SIOCGIFMETRIC:
        request->ifr_metric = 0;
        return 0;
    case SIOCGIFHWADDR:
        request->ifr_hwaddr.sa_family = hardware_of(iface);
        memcpy(request->ifr_hwaddr.sa_data, iface->mac, 6);
        return 0;
    default:
        return fill_address(request, first_ip4(iface), what);
    }
}

static int list_interfaces(const struct call *call, const struct ifaces *ifaces)
{
    struct ifconf list;
    int32_t used = 0;
    if (peer_read(call, call->arg[2], &list, sizeof(list)) != 0)
        return -EFAULT;
    for (size_t i = 0; i < ifaces->count; i++) {
        const struct sock_iface *iface = &ifaces->iface[i];
        for (uint32_t j = 0; j < iface->addr_count; j++) {
            struct ifreq row = {0};
            if (iface->addr[j].addr.family != AF_INET)
                continue;
            memcpy(row.ifr_name, iface->name, sizeof(row.ifr_name));
            (void)fill_address(&row, &iface->addr[j], SIOCGIFADDR);
            if (list.ifc_buf != NULL && used + (int32_t)sizeof(row) > list.ifc_len)
                break;
            if (list.ifc_buf != NULL &&
                peer_write(call, (uint64_t)(uintptr_t)list.ifc_buf + (uint32_t)used, &row,
                           sizeof(row)) != 0)
                return -EFAULT;
            used += (int32_t)sizeof(row);
        }
    }
    return peer_write(call, call->arg[2] + offsetof(struct ifconf, ifc_len), &used, sizeof(used));
}

void handle_ioctl(struct sup *sup, struct call *call)
{
    static struct ifaces ifaces;
    struct ifreq request;
    unsigned long what = call->arg[1];
    if (!call_copy_fd(sup, call, (int)call->arg[0]))
        return;
    /* The C library asks through any socket, also a Unix one. */
    if (call->sock == NULL && sock_rules_initial(&sup->rules, false) == SOCK_HOST) {
        call_continue(sup, call);
        return;
    }
    int r = ask_ifaces(sup, &ifaces);
    if (r == 0 && !call_is_valid(sup, call))
        r = -EINTR;
    if (r == 0 && what == SIOCGIFCONF) {
        call_return(sup, call, list_interfaces(call, &ifaces));
        return;
    }
    if (r == 0)
        r = peer_read(call, call->arg[2], &request, sizeof(request));
    const struct sock_iface *iface = r == 0 ? find_iface(&ifaces, &request, what) : NULL;
    if (r == 0)
        r = iface != NULL ? fill_request(&request, iface, what) : -ENODEV;
    if (r == 0)
        r = peer_write(call, call->arg[2], &request, sizeof(request));
    call_return(sup, call, r);
}
