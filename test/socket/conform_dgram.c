/* SPDX-License-Identifier: ISC */
/* Datagrams: sizes and truncation, addresses of both ends, errors that come back by ICMP, ancillary
 * data, several messages in one call, groups, sockets that share a port, IPv4 on IPv6 sockets.
 */
#include "conform.h"

#include <linux/errqueue.h>
#include <net/if.h>
#include <sys/time.h>

static bool begins(int family, const char *name)
{
    return case_begin("dgram%s.%s", family_text(family), name);
}

/* A socket at the wildcard address, and the helper's. */
static struct ends pair(int family)
{
    struct ends e = {.fd = dgram(family), .far = -1};
    struct place at = place(family, WHO_ANY, 0);
    socklen_t len = sizeof at.addr;
    if (bind(e.fd, AT(at)) < 0 || getsockname(e.fd, (struct sockaddr *)&at.addr, &len) < 0) {
        give_up("bind");
    }
    e.far = port_of(&at.addr); /* the own port; `port` is the peer's */
    e.id = peer_udp(family, &e.port);
    return e;
}

static void from_peer(struct ends *e, int family, int len)
{
    if (peer_send(e->id, WHO_SELF, family, e->far, len) != len || !await(e->fd, POLLIN)) {
        give_up("a datagram from the peer");
    }
}

static void sizes(int family)
{
    static char data[70000];
    if (!begins(family, "sizes")) {
        return;
    }
    struct ends e = pair(family);
    struct place to = place(family, WHO_PEER, e.port);
    static const int lengths[] = {0,     1,     1400,  1472,  1473,  8000,
                                  65000, 65507, 65508, 65527, 65528, 66000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char name[32];
        snprintf(name, sizeof name, "out-%d", lengths[i]);
        long r = sendto(e.fd, data, (size_t)lengths[i], 0, AT(to));
        const char *text = ret(r);
        say(name, "%s, peer %d", text, r < 0 ? -1 : peer_receive(e.id, NULL, NULL, NULL));
    }
    static const int in[] = {1, 1472, 1473, 20000, 65000};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++) {
        char name[32];
        snprintf(name, sizeof name, "in-%d", in[i]);
        from_peer(&e, family, in[i]);
        say(name, "%s", ret(recv(e.fd, data, sizeof data, MSG_DONTWAIT)));
    }
    peer_send(e.id, WHO_SELF, family, e.far, 0);
    const char *ready = poll_text(await(e.fd, POLLIN));
    say("in-0", "%s %s", ready, ret(recv(e.fd, data, sizeof data, MSG_DONTWAIT)));
    say("none", "%s", ret(recv(e.fd, data, sizeof data, MSG_DONTWAIT)));
    case_end();
}

static void truncation(int family)
{
    char data[16];
    int n = -1;
    struct iovec iov = {data, 4};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (!begins(family, "truncation")) {
        return;
    }
    struct ends e = pair(family);
    from_peer(&e, family, 10);
    const char *asked = ret(ioctl(e.fd, FIONREAD, &n));
    say("fionread", "%s %d", asked, n);
    say("peek-trunc", "%s", ret(recv(e.fd, data, 4, MSG_PEEK | MSG_TRUNC)));
    say("peek", "%s", ret(recv(e.fd, data, 4, MSG_PEEK)));
    say("recv", "%s", ret(recv(e.fd, data, 4, 0)));
    say("rest", "%s", ret(recv(e.fd, data, 4, MSG_DONTWAIT)));
    from_peer(&e, family, 10);
    long r = recvmsg(e.fd, &msg, 0);
    say("recvmsg", "%s, flags %#x", ret(r), msg.msg_flags);
    from_peer(&e, family, 10);
    r = recvmsg(e.fd, &msg, MSG_TRUNC);
    say("recvmsg-trunc", "%s, flags %#x", ret(r), msg.msg_flags);
    from_peer(&e, family, 3);
    from_peer(&e, family, 7);
    ioctl(e.fd, FIONREAD, &n);
    say("fionread-first", "%d", n);
    say("waitall", "%s", ret(recv(e.fd, data, 8, MSG_WAITALL)));
    say("read", "%s", ret(read(e.fd, data, 8)));
    case_end();
}

static void addresses(int family)
{
    char data[16];
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    if (!begins(family, "addresses")) {
        return;
    }
    struct ends e = pair(family);
    struct place to = place(family, WHO_PEER, e.port);
    from_peer(&e, family, 5);
    long r = recvfrom(e.fd, data, 16, 0, (struct sockaddr *)&from, &len);
    say("recvfrom", "%s %s", ret(r), place_text(&from, len, e.port));
    from_peer(&e, family, 5);
    len = 6;
    r = recvfrom(e.fd, data, 16, 0, (struct sockaddr *)&from, &len);
    say("recvfrom-short", "%s/%u", ret(r), (unsigned)len);
    from_peer(&e, family, 5);
    say("recvfrom-no-length", "%s",
        ret(recvfrom(e.fd, data, 16, MSG_DONTWAIT, (struct sockaddr *)&from, NULL)));
    say("recvfrom-no-address", "%s", ret(recvfrom(e.fd, data, 16, MSG_DONTWAIT, NULL, &len)));
    int fd = dgram(family);
    say("unbound-name", "%s", local_text(fd, 1));
    say("sendto", "%s", ret(sendto(fd, "abc", 3, 0, AT(to))));
    peer_receive(e.id, &from, NULL, NULL);
    say("sendto-from", "%s",
        place_text(&from, 0 + (socklen_t)(family == AF_INET ? 16 : 28), e.far));
    say("sendto-name", "%s", local_text(fd, port_of(&from)));
    say("connect", "%s", ret(connect(fd, AT(to))));
    say("connect-names", "%s %s", local_text(fd, port_of(&from)), remote_text(fd, e.port));
    say("send", "%s", ret(send(fd, "abcd", 4, 0)));
    say("peer", "%d", peer_receive(e.id, NULL, NULL, NULL));
    int port, other = peer_udp(family, &port);
    struct place second = place(family, WHO_PEER, port);
    say("sendto-another", "%s", ret(sendto(fd, "abcde", 5, 0, AT(second))));
    say("another", "%d", peer_receive(other, NULL, NULL, NULL));
    peer_send(other, WHO_SELF, family, port_of(&from), 3);
    say("filtered", "%s", stays(fd, POLLIN) ? "nothing" : "readable");
    say("reconnect", "%s", ret(connect(fd, AT(second))));
    peer_send(other, WHO_SELF, family, port_of(&from), 3);
    say("reconnected", "%s", poll_text(await(fd, POLLIN)));
    say("disconnect", "%s",
        ret(connect(fd, &(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr))));
    say("disconnect-name", "%s %s", local_text(fd, port_of(&from)), remote_text(fd, port));
    to = place(family, WHO_PEER, 0);
    say("port-0", "%s", ret(sendto(dgram(family), "x", 1, 0, AT(to))));
    to = place(family == AF_INET ? AF_INET6 : AF_INET, WHO_PEER, e.port);
    say("other-family", "%s", ret(sendto(dgram(family), "x", 1, 0, AT(to))));
    to = place(family, WHO_PEER, e.port);
    say("short-address", "%s",
        ret(sendto(dgram(family), "x", 1, 0, (struct sockaddr *)&to.addr, 5)));
    say("no-address", "%s", ret(send(dgram(family), "x", 1, 0)));
    to = place(family, WHO_NOWAY, 9);
    say("noway", "%s", ret(sendto(fd, "x", 1, 0, AT(to))));
    if (family == AF_INET6) {
        to = place(family, WHO_OTHER, 9);
        say("no-route", "%s", ret(sendto(fd, "x", 1, 0, AT(to))));
        say("no-route-connect", "%s", ret(connect(fd, AT(to))));
    }
    case_end();
}

static void refusals(int family)
{
    int value = -1;
    char data[16];
    socklen_t len = sizeof value;
    if (!begins(family, "refused")) {
        return;
    }
    struct place to = place(family, WHO_PEER, peer_closed_port(family, SOCK_DGRAM));
    int fd = dgram(family);
    if (connect(fd, AT(to)) < 0) {
        give_up("connect");
    }
    say("send", "%s", ret(send(fd, "x", 1, 0)));
    stays(fd, POLLERR);
    say("poll", "%s", poll_text(poll_now(fd, POLLERR)));
    say("send-again", "%s", ret(send(fd, "x", 1, 0)));
    say("third", "%s", ret(send(fd, "x", 1, 0)));
    stays(fd, POLLERR);
    say("recv", "%s", ret(recv(fd, data, 8, MSG_DONTWAIT)));
    send(fd, "x", 1, 0);
    stays(fd, POLLERR);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &len);
    say("so-error", "%s", errno_text(value));
    struct timeval limit = {2, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    send(fd, "x", 1, 0);
    say("blocked-recv", "%s", ret(recv(fd, data, 8, 0)));
    fd = dgram(family);
    sendto(fd, "x", 1, 0, AT(to));
    say("unconnected", "%s", stays(fd, POLLERR) ? "nothing" : poll_text(poll_now(fd, 0)));
    int on = 1, level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    say("recverr", "%s",
        ret(setsockopt(fd, level, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &on, sizeof on)));
    sendto(fd, "xy", 2, 0, AT(to));
    stays(fd, POLLERR);
    say("recverr-poll", "%s", poll_text(poll_now(fd, POLLERR)));
    char control[512];
    struct sockaddr_storage addr = {0};
    struct iovec iov = {data, sizeof data};
    struct msghdr msg = {&addr, sizeof addr, &iov, 1, control, sizeof control, 0};
    long r = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
    const char *text = ret(r);
    struct cmsghdr *c = r < 0 ? NULL : CMSG_FIRSTHDR(&msg);
    struct sock_extended_err *err = c ? (struct sock_extended_err *)(void *)CMSG_DATA(c) : NULL;
    say("errqueue", "%s, flags %#x, %s, origin %d, %s", text, msg.msg_flags,
        err ? errno_text((int)err->ee_errno) : "no error", err ? err->ee_origin : -1,
        r < 0 ? "-" : place_text(&addr, msg.msg_namelen, port_of(&to.addr)));
    case_end();
}

/* ---- ancillary data
 * --------------------------------------------------------------------------------- */

static void say_control(const char *name, long r, struct msghdr *msg)
{
    char text[200];
    size_t at = (size_t)snprintf(text, sizeof text, "%s", ret(r));
    struct place self = place(AF_INET6, WHO_SELF, 0), self4 = place(AF_INET, WHO_SELF, 0);
    for (struct cmsghdr *c = r < 0 ? NULL : CMSG_FIRSTHDR(msg); c && at < 150;
         c = CMSG_NXTHDR(msg, c)) {
        const char *what = "other";
        int value = -1;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *info = (struct in_pktinfo *)(void *)CMSG_DATA(c);
            what = "pktinfo";
            value = info->ipi_ifindex > 0 &&
                    info->ipi_addr.s_addr == ((struct sockaddr_in *)&self4.addr)->sin_addr.s_addr;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo *info = (struct in6_pktinfo *)(void *)CMSG_DATA(c);
            what = "pktinfo";
            value = info->ipi6_ifindex > 0 &&
                    IN6_ARE_ADDR_EQUAL(&info->ipi6_addr,
                                       &((struct sockaddr_in6 *)&self.addr)->sin6_addr);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            what = "tos";
            value = *CMSG_DATA(c);
        } else if (c->cmsg_level == SOL_SOCKET) {
            what = "time";
            value = 1;
        } else {
            what = c->cmsg_type == IP_TTL || c->cmsg_type == IPV6_HOPLIMIT ? "ttl" : "tclass";
            memcpy(&value, CMSG_DATA(c), sizeof value);
        }
        at += (size_t)snprintf(text + at, sizeof text - at, ", %s %d/%zu", what, value,
                               (size_t)c->cmsg_len);
    }
    say(name, "%s, flags %#x", text, r < 0 ? 0 : msg->msg_flags);
}

static long receive_with(int fd, struct msghdr *msg, size_t room)
{
    static char control[512], data[64];
    static struct iovec iov = {data, sizeof data};
    *msg = (struct msghdr){
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    return recvmsg(fd, msg, MSG_DONTWAIT);
}

static void ancillary(int family)
{
    int on = 1, six = family == AF_INET6, level = six ? IPPROTO_IPV6 : IPPROTO_IP;
    struct msghdr msg;
    if (!begins(family, "ancillary")) {
        return;
    }
    struct ends e = pair(family);
    from_peer(&e, family, 5);
    long r = receive_with(e.fd, &msg, 512);
    say_control("none", r, &msg);
    setsockopt(e.fd, level, six ? IPV6_RECVPKTINFO : IP_PKTINFO, &on, sizeof on);
    from_peer(&e, family, 5);
    r = receive_with(e.fd, &msg, 512);
    say_control("pktinfo", r, &msg);
    from_peer(&e, family, 5);
    r = receive_with(e.fd, &msg, 10);
    say_control("pktinfo-no-room", r, &msg);
    setsockopt(e.fd, level, six ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &on, sizeof on);
    setsockopt(e.fd, level, six ? IPV6_RECVTCLASS : IP_RECVTOS, &on, sizeof on);
    from_peer(&e, family, 5);
    r = receive_with(e.fd, &msg, 512);
    say_control("all", r, &msg);
    int plain = dgram(family);
    struct place at = place(family, WHO_SELF, 0);
    bind(plain, AT(at));
    socklen_t len = sizeof at.addr;
    getsockname(plain, (struct sockaddr *)&at.addr, &len);
    setsockopt(plain, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on);
    peer_send(e.id, WHO_SELF, family, port_of(&at.addr), 5);
    await(plain, POLLIN);
    r = receive_with(plain, &msg, 512);
    say_control("timestamp", r, &msg);
    case_end();
}

static void sent_values(int family)
{
    int six = family == AF_INET6, level = six ? IPPROTO_IPV6 : IPPROTO_IP, ttl, tos;
    if (!begins(family, "sent")) {
        return;
    }
    struct ends e = pair(family);
    struct place to = place(family, WHO_PEER, e.port), self = place(family, WHO_SELF, 0);
    sendto(e.fd, "a", 1, 0, AT(to));
    peer_receive(e.id, NULL, &ttl, &tos);
    say("default", "ttl %d, tos %d", ttl, tos);
    int hops = 33, class = 0x28;
    setsockopt(e.fd, level, six ? IPV6_UNICAST_HOPS : IP_TTL, &hops, sizeof hops);
    setsockopt(e.fd, level, six ? IPV6_TCLASS : IP_TOS, &class, sizeof class);
    sendto(e.fd, "a", 1, 0, AT(to));
    peer_receive(e.id, NULL, &ttl, &tos);
    say("options", "ttl %d, tos %d", ttl, tos);
    char control[64] = {0};
    struct iovec iov = {control, 3};
    struct msghdr msg = {&to.addr, to.len, &iov, 1, control, CMSG_SPACE(sizeof(int)), 0};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = level;
    c->cmsg_type = six ? IPV6_HOPLIMIT : IP_TTL;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    hops = 44;
    memcpy(CMSG_DATA(c), &hops, sizeof hops);
    long r = sendmsg(e.fd, &msg, 0);
    const char *text = ret(r);
    if (r == 3) {
        peer_receive(e.id, NULL, &ttl, &tos);
    }
    say("message", "%s, ttl %d", text, ttl);
    size_t size = six ? sizeof(struct in6_pktinfo) : sizeof(struct in_pktinfo);
    memset(control, 0, sizeof control);
    msg.msg_controllen = CMSG_SPACE(size);
    c->cmsg_level = level;
    c->cmsg_type = six ? IPV6_PKTINFO : IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(size);
    if (six) {
        memcpy(CMSG_DATA(c), &((struct sockaddr_in6 *)&self.addr)->sin6_addr, 16);
    } else {
        struct in_pktinfo info = {.ipi_spec_dst = ((struct sockaddr_in *)&self.addr)->sin_addr};
        memcpy(CMSG_DATA(c), &info, sizeof info);
    }
    struct sockaddr_storage from = {0};
    r = sendmsg(e.fd, &msg, 0);
    text = ret(r);
    if (r == 3) {
        peer_receive(e.id, &from, NULL, NULL);
    }
    say("source", "%s, %s", text, place_text(&from, (socklen_t)(six ? 28 : 16), e.far));
    c->cmsg_type = 9999;
    say("unknown", "%s", ret(sendmsg(e.fd, &msg, 0)));
    c->cmsg_len = 3;
    say("short", "%s", ret(sendmsg(e.fd, &msg, 0)));
    case_end();
}

/* ---- several at once, groups, sharing
 * --------------------------------------------------------------- */

static void many(int family)
{
    if (!begins(family, "many")) {
        return;
    }
    struct ends e = pair(family);
    struct place to = place(family, WHO_PEER, e.port);
    char room[4][16];
    struct iovec iov[4];
    struct sockaddr_storage from[4];
    struct mmsghdr msg[4] = {0};
    for (int i = 0; i < 4; i++) {
        iov[i] = (struct iovec){room[i], (size_t)i + 1};
        msg[i].msg_hdr = (struct msghdr){
            .msg_name = &to.addr, .msg_namelen = to.len, .msg_iov = &iov[i], .msg_iovlen = 1};
    }
    say("sendmmsg", "%s: %u %u %u %u", ret(sendmmsg(e.fd, msg, 4, 0)), msg[0].msg_len,
        msg[1].msg_len, msg[2].msg_len, msg[3].msg_len);
    int came[4] = {0};
    for (int i = 0; i < 4 && (i == 0 || came[i - 1] >= 0); i++) {
        came[i] = peer_receive(e.id, NULL, NULL, NULL);
    }
    say("peer", "%d %d %d %d", came[0], came[1], came[2], came[3]);
    for (int i = 0; i < 3; i++) {
        from_peer(&e, family, i + 3);
    }
    usleep(20000);
    for (int i = 0; i < 4; i++) {
        iov[i].iov_len = 16;
        msg[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                         .msg_namelen = sizeof from[i],
                                         .msg_iov = &iov[i],
                                         .msg_iovlen = 1};
    }
    int n = recvmmsg(e.fd, msg, 4, MSG_DONTWAIT, NULL);
    say("recvmmsg", "%s: %u %u %u", ret(n), msg[0].msg_len, msg[1].msg_len, msg[2].msg_len);
    say("recvmmsg-from", "%s",
        n > 2 ? place_text(&from[2], msg[2].msg_hdr.msg_namelen, e.port) : "-");
    say("recvmmsg-none", "%s", ret(recvmmsg(e.fd, msg, 4, MSG_DONTWAIT, NULL)));
    from_peer(&e, family, 5);
    say("wait-for-one", "%s", ret(recvmmsg(e.fd, msg, 4, MSG_WAITFORONE, NULL)));
    struct timespec limit = {0, 50000000};
    from_peer(&e, family, 5);
    from_peer(&e, family, 5);
    usleep(20000);
    say("two-of-two", "%s", ret(recvmmsg(e.fd, msg, 2, 0, &limit)));
    say("sendmmsg-zero", "%s", ret(sendmmsg(e.fd, msg, 0, 0)));
    case_end();
}

static void groups(int family)
{
    char data[16];
    int port;
    if (!begins(family, "groups")) {
        return;
    }
    int id = peer_udp(family, &port), fd = dgram(family), six = family == AF_INET6;
    struct place self = place(family, WHO_SELF, 0), group = place(family, WHO_ANY, port),
                 at = place(family, WHO_ANY, 0);
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    inet_pton(family, six ? "ff05::777" : "239.7.7.7",
              six ? (void *)&((struct sockaddr_in6 *)&group.addr)->sin6_addr
                  : (void *)&((struct sockaddr_in *)&group.addr)->sin_addr);
    bind(fd, AT(at));
    getsockname(fd, (struct sockaddr *)&from, &len);
    ((struct sockaddr_in *)&group.addr)->sin_port = ((struct sockaddr_in *)&from)->sin_port;
    struct group_req ask = {0};
    memcpy(&ask.gr_group, &group.addr, sizeof group.addr);
    say("join", "%s",
        ret(setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, &ask, sizeof ask)));
    if (!six) {
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &((struct sockaddr_in *)&self.addr)->sin_addr,
                   4);
    }
    int sender = dgram(family), on = 1;
    setsockopt(sender, six ? IPPROTO_IPV6 : IPPROTO_IP,
               six ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, &on, sizeof on);
    say("send", "%s", ret(sendto(sender, "self", 4, 0, AT(group))));
    const char *ready = poll_text(await(fd, POLLIN));
    say("loop", "%s %s", ready, ret(recv(fd, data, 16, MSG_DONTWAIT)));
    on = 0;
    setsockopt(sender, six ? IPPROTO_IPV6 : IPPROTO_IP,
               six ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP, &on, sizeof on);
    sendto(sender, "self", 4, 0, AT(group));
    say("no-loop", "%s", stays(fd, POLLIN) ? "nothing" : "readable");
    say("leave", "%s",
        ret(setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_LEAVE_GROUP, &ask, sizeof ask)));
    say("peer-joins", "%s", ret(peer_join(id, family)));
    ((struct sockaddr_in *)&group.addr)->sin_port = htons((uint16_t)port);
    say("to-peer", "%s", ret(sendto(sender, "out", 3, 0, AT(group))));
    if (!six) {
        struct sockaddr_in all = {.sin_family = AF_INET,
                                  .sin_port = htons(9),
                                  .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
        say("broadcast", "%s", ret(sendto(sender, "b", 1, 0, (struct sockaddr *)&all, sizeof all)));
        on = 1;
        setsockopt(sender, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
        say("broadcast-allowed", "%s",
            ret(sendto(sender, "b", 1, 0, (struct sockaddr *)&all, sizeof all)));
    }
    case_end();
}

static void itself(int family)
{
    char data[16];
    if (!begins(family, "itself")) {
        return;
    }
    struct ends e = pair(family);
    struct place to = place(family, WHO_SELF, e.far);
    int other = dgram(family);
    say("send", "%s", ret(sendto(other, "abc", 3, 0, AT(to))));
    say("poll", "%s", poll_text(await(e.fd, POLLIN)));
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    long r = recvfrom(e.fd, data, 16, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    say("from", "%s %s", ret(r), place_text(&from, len, 0));
    say("answer", "%s", ret(sendto(e.fd, "abcd", 4, 0, (struct sockaddr *)&from, len)));
    const char *ready = poll_text(await(other, POLLIN));
    say("answered", "%s %s", ready, ret(recv(other, data, 16, MSG_DONTWAIT)));
    case_end();
}

static void waiting(int family)
{
    char data[16];
    struct timeval limit = {0, 100000};
    if (!begins(family, "waiting")) {
        return;
    }
    struct ends e = pair(family);
    setsockopt(e.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    say("recv", "%s", ret(recv(e.fd, data, 16, 0)));
    say("recvfrom", "%s", ret(recvfrom(e.fd, data, 16, 0, (struct sockaddr *)&from, &len)));
    limit.tv_usec = 0;
    setsockopt(e.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    on_signal(0);
    tick();
    say("interrupted", "%s", ret(recv(e.fd, data, 16, 0)));
    say("interrupted-from", "%s", ret(recvfrom(e.fd, data, 16, 0, (struct sockaddr *)&from, &len)));
    struct iovec iov = {data, 16};
    struct msghdr msg = {
        .msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &iov, .msg_iovlen = 1};
    say("interrupted-msg", "%s", ret(recvmsg(e.fd, &msg, 0)));
    on_signal(SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) {
        int port, id = peer_udp(family, &port);
        usleep(100000);
        peer_send(id, WHO_SELF, family, e.far, 5);
        _exit(0);
    }
    len = sizeof from;
    long r = recvfrom(e.fd, data, 16, 0, (struct sockaddr *)&from, &len);
    say("restarted", "%s %s", ret(r), r < 0 ? "-" : place_text(&from, len, 0));
    case_end();
}

static void dual(void)
{
    char data[16];
    struct sockaddr_storage from = {0};
    socklen_t len = sizeof from;
    int port;
    if (!case_begin("dgram6.mapped")) {
        return;
    }
    struct ends e = pair(AF_INET6);
    int id = peer_udp(AF_INET, &port);
    peer_send(id, WHO_SELF, AF_INET, e.far, 5);
    await(e.fd, POLLIN);
    long r = recvfrom(e.fd, data, 16, MSG_DONTWAIT, (struct sockaddr *)&from, &len);
    say("recvfrom", "%s %s", ret(r), r < 0 ? "-" : place_text(&from, len, port));
    struct place to = place_mapped(WHO_PEER, port);
    say("sendto", "%s", ret(sendto(e.fd, "abc", 3, 0, AT(to))));
    say("peer", "%d", peer_receive(id, &from, NULL, NULL));
    say("from", "%s", place_text(&from, 16, e.far));
    int fd = dgram(AF_INET6);
    say("connect", "%s", ret(connect(fd, AT(to))));
    say("names", "%s %s", local_text(fd, 1), remote_text(fd, port));
    int one = 1;
    setsockopt(fd = dgram(AF_INET6), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    say("v6only", "%s", ret(sendto(fd, "abc", 3, 0, AT(to))));
    case_end();
}

void cases_dgram(int family)
{
    static void (*const all[])(int) = {
        sizes,       truncation, addresses, refusals, ancillary,
        sent_values, many,       groups,    itself,   waiting,
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        all[i](family);
    }
    if (family == AF_INET6) {
        dual();
    }
}
