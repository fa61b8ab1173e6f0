/* SPDX-License-Identifier: ISC */
/* Route sockets of programs, answered with what the server says about our stack.
 *
 * A route socket is a pair of the kernel, SOCK_SEQPACKET because the room of such a pair is counted
 * in bytes and not in messages. Who serves its other end gives us what the program has sent, and
 * passes on what we answer.
 *
 * Lists of links, addresses and routes (RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE) are made from the
 * lists of the server; that is all that getifaddrs(), if_nametoindex(), Go's net.Interfaces() and
 * `ip address` ask. Everything else, changes above all, is refused with EOPNOTSUPP: our stack is
 * configured by options of its server. Nobody is notified of changes; who joins groups hears
 * nothing.
 *
 * Answers go out in pieces below 4 KiB: the C library reads into a page and takes a truncated
 * message for an error.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "cmd/socket/link.h"

#define PIECE_MAX 3072 /**< bytes after which a piece goes out */

int sock_link_pair(int flags, int *a, int *b)
{
    int fd[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | flags, 0, fd) != 0)
        return -errno;
    *a = fd[0];
    *b = fd[1];
    return 0;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

struct reply {
    const struct sock_link *link;
    uint32_t seq;
    uint16_t flags; /**< of each message */
    size_t len;
    size_t message; /**< where the current one begins */
    _Alignas(struct nlmsghdr) uint8_t bytes[8192];
};

static void send_reply(struct reply *reply)
{
    if (reply->len > 0)
        reply->link->answer(reply->link->context, reply->bytes, reply->len);
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
                              .nlmsg_pid = reply->link->port};
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

static void add_link(struct reply *reply, const struct sock_iface *iface)
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct ifinfomsg *body = begin_message(reply, RTM_NEWLINK, sizeof(*body));
    uint8_t operational = 6; /* IF_OPER_UP */
    *body = (struct ifinfomsg){.ifi_type = sock_iface_hardware(iface),
                               .ifi_index = (int)iface->index,
                               .ifi_flags = iface->flags};
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
        struct sock_addr broadcast;
        sock_iface_broadcast(address, &broadcast);
        add_attribute(reply, IFA_LOCAL, ip, 4);
        add_attribute(reply, IFA_BROADCAST, broadcast.ip, 4);
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
static uint32_t wanted_link(struct nlmsghdr *head, const struct sock_ifaces *ifaces)
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

/* A list that is being made. */
struct dump {
    struct reply *reply;
    uint16_t type; /**< RTM_GET* */
    uint8_t family;
};

static bool is_wanted(const struct dump *dump, const struct sock_addr *addr)
{
    return dump->family == AF_UNSPEC || dump->family == addr->family;
}

static void take_route(void *arg, const void *entry)
{
    const struct dump *dump = arg;
    struct sock_route route;
    memcpy(&route, entry, sizeof(route));
    if (is_wanted(dump, &route.prefix))
        add_route(dump->reply, &route);
}

static int dump_ifaces(const struct dump *dump)
{
    struct sock_ifaces all;
    int r = sock_ifaces_ask(&dump->reply->link->asker, &all);
    for (size_t i = 0; r == 0 && i < all.count; i++) {
        const struct sock_iface *iface = &all.iface[i];
        if (dump->type == RTM_GETLINK)
            add_link(dump->reply, iface);
        for (uint32_t j = 0; dump->type == RTM_GETADDR && j < iface->addr_count; j++)
            if (is_wanted(dump, &iface->addr[j].addr))
                add_address(dump->reply, iface, &iface->addr[j]);
    }
    return r;
}

static int dump_list(struct reply *reply, struct nlmsghdr *head)
{
    struct dump dump = {.reply = reply, .type = head->nlmsg_type};
    if (head->nlmsg_len > NLMSG_HDRLEN)
        dump.family = *(uint8_t *)NLMSG_DATA(head);
    if (head->nlmsg_type != RTM_GETROUTE)
        return dump_ifaces(&dump);
    return sock_each(&reply->link->asker, SOCK_ROUTES, sizeof(struct sock_route), take_route,
                     &dump);
}

/* One link, without DONE behind it. */
static int show_link(struct reply *reply, struct nlmsghdr *head)
{
    struct sock_ifaces all;
    int r = sock_ifaces_ask(&reply->link->asker, &all);
    uint32_t index = r == 0 ? wanted_link(head, &all) : 0;
    const struct sock_iface *iface = index != 0 ? sock_iface_by_index(&all, index) : NULL;
    if (iface == NULL)
        return r != 0 ? r : -ENODEV;
    add_link(reply, iface);
    send_reply(reply);
    return 0;
}

static void take_request(const struct sock_link *link, struct nlmsghdr *head)
{
    struct reply reply = {.link = link, .seq = head->nlmsg_seq};
    bool is_list = head->nlmsg_type == RTM_GETLINK || head->nlmsg_type == RTM_GETADDR ||
                   head->nlmsg_type == RTM_GETROUTE;
    bool is_dump = (head->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    int error = -EOPNOTSUPP;
    reply.flags = is_dump ? NLM_F_MULTI : 0;
    if (is_list && is_dump) {
        error = dump_list(&reply, head);
        if (error == 0) {
            end_reply(&reply, NLMSG_DONE, head, 0);
            return;
        }
    } else if (head->nlmsg_type == RTM_GETLINK) {
        error = show_link(&reply, head);
    } else if (head->nlmsg_type < NLMSG_MIN_TYPE) {
        error = 0; /* NLMSG_NOOP and its like */
    }
    if (error != 0 || (head->nlmsg_flags & NLM_F_ACK))
        end_reply(&reply, NLMSG_ERROR, head, error);
}

int sock_link_take(const struct sock_link *link, const void *data, size_t len)
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
        take_request(link, head);
        size_t step = NLMSG_ALIGN(head->nlmsg_len);
        at = step < len - at ? at + step : len;
    }
    return 0;
}
