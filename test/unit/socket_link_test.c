/* SPDX-License-Identifier: ISC */
/* Interfaces as programs see them: answers on route sockets and to ioctl(), from lists of a server
 * that is this test, also when those lists or the requests are wrong. */
#include "cmd/socket/iface.c"
#include "cmd/socket/link.c"
#include "test/harness/tap.h"

#include <arpa/inet.h>

/* ---- the server -------------------------------------------------------------------------------
 */

static struct {
    struct sock_iface iface[4];
    struct sock_route route[400];
    uint32_t ifaces, routes;
    uint32_t per_page; /**< entries in a page */
    uint32_t said;     /**< what a page says that it has; 0: the truth */
    int error;
    int asked;
} server;

static ssize_t ask(void *context, uint16_t op, const struct sock_page *page, void *out, size_t room)
{
    bool is_iface = op == SOCK_IFACES;
    size_t size = is_iface ? sizeof(server.iface[0]) : sizeof(server.route[0]);
    uint32_t all = is_iface ? server.ifaces : server.routes;
    const uint8_t *from = is_iface ? (void *)server.iface : (void *)server.route;
    struct sock_page answer = {.start = page->start};
    (void)context;
    server.asked++;
    if (server.error != 0)
        return server.error;
    uint32_t left = page->start < all ? all - page->start : 0;
    answer.count = left < server.per_page ? left : server.per_page;
    answer.next = left > answer.count ? page->start + answer.count : 0;
    size_t len = answer.count * size;
    check(sizeof(answer) + len <= room);
    memcpy((uint8_t *)out + sizeof(answer), from + page->start * size, len);
    if (server.said != 0)
        answer.count = server.said;
    memcpy(out, &answer, sizeof(answer));
    return (ssize_t)(sizeof(answer) + len);
}

static struct sock_addr addr(const char *text)
{
    struct sock_addr a = {.family = AF_INET};
    if (inet_pton(AF_INET, text, a.ip) != 1) {
        a.family = AF_INET6;
        check_int(inet_pton(AF_INET6, text, a.ip), ==, 1);
    }
    return a;
}

static void begin(void)
{
    memset(&server, 0, sizeof(server));
    server.per_page = 3;
    server.ifaces = 2;
    server.iface[0] = (struct sock_iface){.index = 2,
                                          .flags = IFF_UP | IFF_BROADCAST,
                                          .mtu = 1400,
                                          .addr_count = 3,
                                          .mac = {2, 0, 0, 0, 0, 9},
                                          .name = "net0"};
    server.iface[0].addr[0] = (struct sock_iface_addr){.addr = addr("10.9.1.1"), .prefix_len = 20};
    server.iface[0].addr[1] = (struct sock_iface_addr){.addr = addr("fe80::9"), .prefix_len = 64};
    server.iface[0].addr[2] = (struct sock_iface_addr){.addr = addr("10.8.0.1"), .prefix_len = 32};
    server.iface[1] = (struct sock_iface){.index = 3, .mtu = 1500, .name = "net1"};
    server.routes = 2;
    server.route[0] =
        (struct sock_route){.prefix = addr("10.9.0.0"), .prefix_len = 20, .if_index = 2};
    server.route[1] = (struct sock_route){
        .prefix = addr("::"), .gateway = addr("fe80::1"), .if_index = 2, .metric = 5};
}

/* ---- a program --------------------------------------------------------------------------------
 */

static struct {
    _Alignas(struct nlmsghdr) uint8_t bytes[65536];
    size_t len;
    size_t pieces, largest;
} got;

static void take_answer(void *context, const void *bytes, size_t len)
{
    (void)context;
    check(got.len + len <= sizeof(got.bytes));
    memcpy(got.bytes + got.len, bytes, len);
    got.len += len;
    got.pieces++;
    got.largest = len > got.largest ? len : got.largest;
}

static int send_request(const void *data, size_t len)
{
    struct sock_link link = {.asker = {.ask = ask}, .port = 77, .answer = take_answer};
    memset(&got, 0, sizeof(got));
    return sock_link_take(&link, data, len);
}

static void request(uint16_t type, uint16_t flags, uint8_t family)
{
    struct {
        struct nlmsghdr head;
        uint8_t family, rest[3];
    } out = {.head = {.nlmsg_len = sizeof(out),
                      .nlmsg_type = type,
                      .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
                      .nlmsg_seq = 5},
             .family = family};
    check_int(send_request(&out, sizeof(out)), ==, 0);
}

/* Message number @n of the answer. */
static struct nlmsghdr *message(size_t n)
{
    struct nlmsghdr *head = (void *)got.bytes;
    size_t left = got.len;
    while (NLMSG_OK(head, left)) {
        if (n-- == 0)
            return head;
        head = NLMSG_NEXT(head, left);
    }
    return NULL;
}

static int type_of(size_t n)
{
    struct nlmsghdr *head = message(n);
    if (head == NULL)
        return -1;
    check_int(head->nlmsg_pid, ==, 77);
    check_int(head->nlmsg_seq, ==, 5);
    return head->nlmsg_type;
}

static const void *attribute(size_t n, size_t body, unsigned short type, size_t len)
{
    struct nlmsghdr *head = message(n);
    size_t left = head == NULL ? 0 : head->nlmsg_len - NLMSG_SPACE(body);
    struct rtattr *at = (void *)((uint8_t *)head + NLMSG_SPACE(body));
    for (; RTA_OK(at, left); at = RTA_NEXT(at, left))
        if (at->rta_type == type && RTA_PAYLOAD(at) == len)
            return RTA_DATA(at);
    return NULL;
}

static int error_of(size_t n)
{
    struct nlmsghdr *head = message(n);
    const struct nlmsgerr *body = head != NULL ? NLMSG_DATA(head) : NULL;
    return head != NULL && head->nlmsg_type == NLMSG_ERROR ? body->error : 1;
}

/* ---- cases ------------------------------------------------------------------------------------
 */

static void test_lists(void)
{
    begin();
    tap_case("links, addresses and routes are listed");
    request(RTM_GETLINK, NLM_F_DUMP, AF_UNSPEC);
    check_int(type_of(0), ==, RTM_NEWLINK);
    check_int(type_of(1), ==, RTM_NEWLINK);
    check_int(type_of(2), ==, NLMSG_DONE);
    check(message(3) == NULL);
    check_str(attribute(0, sizeof(struct ifinfomsg), IFLA_IFNAME, 5), "net0");
    check_mem(attribute(0, sizeof(struct ifinfomsg), IFLA_ADDRESS, 6), "\2\0\0\0\0\11", 6);
    request(RTM_GETADDR, NLM_F_DUMP, AF_UNSPEC);
    check_int(type_of(2), ==, RTM_NEWADDR);
    check_int(type_of(3), ==, NLMSG_DONE);
    check_mem(attribute(0, sizeof(struct ifaddrmsg), IFA_BROADCAST, 4), "\12\11\17\377", 4);
    check(attribute(1, sizeof(struct ifaddrmsg), IFA_LOCAL, 16) == NULL);
    const struct ifaddrmsg *body = NLMSG_DATA(message(1));
    check_int(body->ifa_scope, ==, RT_SCOPE_LINK);
    request(RTM_GETADDR, NLM_F_DUMP, AF_INET6);
    check_int(type_of(1), ==, NLMSG_DONE);
    request(RTM_GETROUTE, NLM_F_DUMP, AF_INET);
    check_int(type_of(0), ==, RTM_NEWROUTE);
    check_int(type_of(1), ==, NLMSG_DONE);
    request(RTM_GETROUTE, NLM_F_DUMP, AF_INET6);
    check(attribute(0, sizeof(struct rtmsg), RTA_GATEWAY, 16) != NULL);
    check(attribute(0, sizeof(struct rtmsg), RTA_DST, 16) == NULL); /* the default route */
}

static void test_long_list(void)
{
    begin();
    tap_case("a long list comes in pieces that a page holds, over many pages of the server");
    server.routes = 400;
    for (uint32_t i = 0; i < server.routes; i++)
        server.route[i] =
            (struct sock_route){.prefix = addr("10.0.0.0"), .prefix_len = 24, .if_index = i + 1};
    request(RTM_GETROUTE, NLM_F_DUMP, AF_INET);
    check_int(type_of(server.routes - 1), ==, RTM_NEWROUTE);
    check_int(type_of(server.routes), ==, NLMSG_DONE);
    check(got.pieces > 3);
    check_int(got.largest, <, 4096);
    check_int(server.asked, ==, (server.routes + 2) / 3);
}

static void test_one_link(void)
{
    struct {
        struct nlmsghdr head;
        struct ifinfomsg body;
        struct rtattr name_head;
        char name[8];
    } out = {.head = {.nlmsg_len = sizeof(out), .nlmsg_type = RTM_GETLINK, .nlmsg_seq = 5},
             .name_head = {.rta_type = IFLA_IFNAME, .rta_len = RTA_LENGTH(5)},
             .name = "net1"};
    begin();
    tap_case("one link, by name and by number");
    check_int(send_request(&out, sizeof(out)), ==, 0);
    check_int(type_of(0), ==, RTM_NEWLINK);
    check(message(1) == NULL);
    check_int(((const struct ifinfomsg *)NLMSG_DATA(message(0)))->ifi_index, ==, 3);
    memcpy(out.name, "net9", 5);
    check_int(send_request(&out, sizeof(out)), ==, 0);
    check_int(error_of(0), ==, -ENODEV);
    out.body.ifi_index = 2;
    check_int(send_request(&out, sizeof(out)), ==, 0);
    check_int(type_of(0), ==, RTM_NEWLINK);
    out.name_head.rta_len = 200; /* beyond the message */
    out.body.ifi_index = 0;
    check_int(send_request(&out, sizeof(out)), ==, 0);
    check_int(error_of(0), ==, -ENODEV);
}

static void test_refused(void)
{
    struct nlmsghdr two[2] = {{.nlmsg_len = sizeof(two[0]), .nlmsg_type = NLMSG_NOOP},
                              {.nlmsg_len = sizeof(two[0]), .nlmsg_type = RTM_DELLINK}};
    begin();
    tap_case("changes are refused; requests that cannot be are left alone");
    request(RTM_NEWADDR, NLM_F_ACK, AF_INET);
    check_int(error_of(0), ==, -EOPNOTSUPP);
    request(RTM_GETNEIGH, NLM_F_DUMP, AF_INET);
    check_int(error_of(0), ==, -EOPNOTSUPP);
    request(NLMSG_NOOP, NLM_F_ACK, 0);
    check_int(error_of(0), ==, 0);
    check_int(send_request(two, sizeof(two)), ==, 0);
    check(message(0) != NULL && message(1) == NULL);
    two[0].nlmsg_len = 3;
    check_int(send_request(two, sizeof(two)), ==, 0);
    check_int(got.len, ==, 0);
    two[0].nlmsg_len = sizeof(two) + 1;
    check_int(send_request(two, sizeof(two)), ==, 0);
    check_int(got.len, ==, 0);
    check_int(send_request(two, sizeof(two[0]) - 1), ==, 0);
    check_int(got.len, ==, 0);
    check_int(send_request(got.bytes, 4097), ==, -EMSGSIZE);
}

static void test_bad_server(void)
{
    begin();
    tap_case("a server that has gone, or says what cannot be");
    server.error = -ENETDOWN;
    request(RTM_GETLINK, NLM_F_DUMP, 0);
    check_int(error_of(0), ==, -ENETDOWN);
    server.error = 3; /* too short for a page */
    request(RTM_GETROUTE, NLM_F_DUMP, 0);
    check_int(error_of(0), ==, -EPROTO);
    server.error = 0;
    server.said = 1000;
    request(RTM_GETADDR, NLM_F_DUMP, 0);
    check_int(error_of(0), ==, -EPROTO);
    server.said = 0;
    memset(server.iface[0].name, 'x', sizeof(server.iface[0].name));
    server.iface[0].addr_count = 1000;
    request(RTM_GETADDR, NLM_F_DUMP, AF_INET);
    check_int(type_of(2), ==, NLMSG_DONE);
    check_str(attribute(0, sizeof(struct ifaddrmsg), IFA_LABEL, 16), "xxxxxxxxxxxxxxx");
}

static void test_ioctl(void)
{
    static const struct sock_asker asker = {.ask = ask};
    struct sock_ifaces all;
    struct ifreq request = {.ifr_name = "net0"}, row;
    const struct sockaddr_in *in = (const void *)&request.ifr_addr;
    begin();
    tap_case("ioctl: one interface, and all addresses");
    check_int(sock_ifaces_ask(&asker, &all), ==, 0);
    check_int(sock_iface_request(&all, SIOCGIFNETMASK, &request), ==, 0);
    check_str(inet_ntoa(in->sin_addr), "255.255.240.0");
    check_int(sock_iface_request(&all, SIOCGIFBRDADDR, &request), ==, 0);
    check_str(inet_ntoa(in->sin_addr), "10.9.15.255");
    check_int(sock_iface_request(&all, SIOCGIFINDEX, &request), ==, 0);
    check_int(request.ifr_ifindex, ==, 2);
    request.ifr_ifindex = 3;
    check_int(sock_iface_request(&all, SIOCGIFNAME, &request), ==, 0);
    check_str(request.ifr_name, "net1");
    check_int(sock_iface_request(&all, SIOCGIFADDR, &request), ==, -EADDRNOTAVAIL);
    request.ifr_name[0] = 'x';
    check_int(sock_iface_request(&all, SIOCGIFADDR, &request), ==, -ENODEV);
    check(sock_iface_row(&all, 1, &row));
    memcpy(&request.ifr_addr, &row.ifr_addr, sizeof(row.ifr_addr));
    check_str(inet_ntoa(in->sin_addr), "10.8.0.1");
    check(!sock_iface_row(&all, 2, &row));
    check(sock_iface_is_request(SIOCGIFCONF) && !sock_iface_is_request(SIOCSIFADDR));
}

int main(void)
{
    tap_begin("socket_link");
    test_lists();
    test_long_list();
    test_one_link();
    test_refused();
    test_bad_server();
    test_ioctl();
    return tap_done();
}
