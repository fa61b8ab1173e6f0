/* SPDX-License-Identifier: ISC */
/* Making sockets and giving them addresses: arguments of socket(), what may be bound beside what,
 * wrong pointers and lengths, descriptors that are no sockets, and where connect() may go.
 */
#include "conform.h"

#include <sys/un.h>

static void arguments(void)
{
    static const struct {
        const char *name;
        int family, type, protocol;
    } rows[] = {
        {"inet-stream-tcp", AF_INET, SOCK_STREAM, IPPROTO_TCP},
        {"inet-dgram-udp", AF_INET, SOCK_DGRAM, IPPROTO_UDP},
        {"inet6-stream-tcp", AF_INET6, SOCK_STREAM, IPPROTO_TCP},
        {"inet6-dgram-udp", AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
        {"inet-stream-udp", AF_INET, SOCK_STREAM, IPPROTO_UDP},
        {"inet-dgram-tcp", AF_INET, SOCK_DGRAM, IPPROTO_TCP},
        {"inet-stream-ip", AF_INET, SOCK_STREAM, IPPROTO_IP},
        {"inet-stream-icmp", AF_INET, SOCK_STREAM, IPPROTO_ICMP},
        {"inet-dgram-icmp", AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
        {"inet-seqpacket", AF_INET, SOCK_SEQPACKET, 0},
        {"inet-rdm", AF_INET, SOCK_RDM, 0},
        {"inet-raw-0", AF_INET, SOCK_RAW, 0},
        {"inet-raw-icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP},
        {"inet-stream-negative", AF_INET, SOCK_STREAM, -1},
        {"inet-stream-large", AF_INET, SOCK_STREAM, 5000},
        {"inet-stream-99", AF_INET, SOCK_STREAM, 99},
        {"inet-type-0", AF_INET, 0, 0},
        {"inet-type-11", AF_INET, 11, 0},
        {"inet-type-negative", AF_INET, -1, 0},
        {"inet-bad-flags", AF_INET, SOCK_STREAM | 0x100, 0},
        {"unspec", AF_UNSPEC, SOCK_STREAM, 0},
        {"unix", AF_UNIX, SOCK_STREAM, 0},
        {"family-99", 99, SOCK_STREAM, 0},
        {"family-negative", -1, SOCK_STREAM, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (case_begin("socket.%s", rows[i].name)) {
            int fd = socket(rows[i].family, rows[i].type, rows[i].protocol);
            say(NULL, "%s", fd >= 0 ? "a descriptor" : ret(fd));
            case_end();
        }
    }
    if (case_begin("socketpair")) {
        int fds[2];
        say("inet", "%s", ret(socketpair(AF_INET, SOCK_STREAM, 0, fds)));
        say("inet6", "%s", ret(socketpair(AF_INET6, SOCK_DGRAM, 0, fds)));
        say("unix", "%s", ret(socketpair(AF_UNIX, SOCK_STREAM, 0, fds)));
        case_end();
    }
}

static void flags(int family)
{
    if (case_begin("socket-flags%s", family_text(family))) {
        for (int bits = 0; bits < 4; bits++) {
            int want = (bits & 1 ? SOCK_NONBLOCK : 0) | (bits & 2 ? SOCK_CLOEXEC : 0);
            int fd = socket(family, SOCK_STREAM | want, 0);
            say(NULL, "%d: fl %#x, fd %d", bits, fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE),
                fcntl(fd, F_GETFD));
        }
        int a = socket(family, SOCK_STREAM, 0), b = socket(family, SOCK_DGRAM, 0);
        close(a);
        int c = socket(family, SOCK_DGRAM, 0);
        say("lowest", "%s, %s", b == a + 1 ? "next" : "another",
            c == a ? "the same again" : "another");
        case_end();
    }
}

/* ---- what may be bound beside what
 * ----------------------------------------------------------------- */

static int bind_at(int fd, struct place at)
{
    return bind(fd, AT(at));
}

static int new_port(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    return getsockname(fd, (struct sockaddr *)&addr, &len) < 0 ? -1 : port_of(&addr);
}

/* The second socket at the port of the first, in all combinations of addresses, options and
 * listening. */
static void beside(int family, int type)
{
    static const enum who who[] = {WHO_ANY, WHO_SELF};
    static const char *const options[] = {"none", "reuseaddr", "reuseport", "first-only"};
    for (int n = 0; n < 32; n++) {
        enum who first = who[n & 1], second = who[n >> 1 & 1];
        int listens = n >> 2 & 1, option = n >> 3;
        if (listens && type == SOCK_DGRAM) {
            continue;
        }
        if (!case_begin("bind-beside.%s%s.%s-%s.%s%s", type == SOCK_STREAM ? "tcp" : "udp",
                        family_text(family), first == WHO_ANY ? "any" : "self",
                        second == WHO_ANY ? "any" : "self", options[option],
                        listens ? ".listening" : "")) {
            continue;
        }
        int one = 1, name = option == 1 ? SO_REUSEADDR : SO_REUSEPORT;
        /* Which ports the host would choose depends on what ran before. */
        int port = 21000 + n + (family == AF_INET6) * 100 + (type == SOCK_DGRAM) * 200;
        int a = socket(family, type, 0), b = socket(family, type, 0);
        if (option > 0) {
            setsockopt(a, SOL_SOCKET, name, &one, sizeof one);
        }
        if (option == 1 || option == 2) {
            setsockopt(b, SOL_SOCKET, name, &one, sizeof one);
        }
        if (bind_at(a, place(family, first, port)) < 0) {
            give_up("bind");
        }
        const char *listen_first = listens ? ret(listen(a, 3)) : "-";
        const char *text = ret(bind_at(b, place(family, second, port)));
        say(NULL, "%s, %s, listen %s", listen_first, text, listens ? ret(listen(b, 3)) : "-");
        case_end();
    }
}

static void two_families(int type)
{
    static const char *const names[] = {"6-then-4", "4-then-6", "6only-then-4", "4-then-6only"};
    for (int n = 0; n < 4; n++) {
        if (case_begin("bind-families.%s.%s", type == SOCK_STREAM ? "tcp" : "udp", names[n])) {
            int only = n >= 2, six = socket(AF_INET6, type, 0), four = socket(AF_INET, type, 0);
            setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
            int a = n & 1 ? four : six, b = n & 1 ? six : four;
            if (bind_at(a, place(n & 1 ? AF_INET : AF_INET6, WHO_ANY, 0)) < 0) {
                give_up("bind");
            }
            if (type == SOCK_STREAM) {
                listen(a, 3);
            }
            say(NULL, "%s",
                ret(bind_at(b, place(n & 1 ? AF_INET6 : AF_INET, WHO_ANY, new_port(a)))));
            case_end();
        }
    }
}

static void bind_addresses(int family, int type)
{
    int fd, zero = 0;
    int (*make)(int) = type == SOCK_STREAM ? stream : dgram;
    if (!case_begin("bind.%s%s", type == SOCK_STREAM ? "tcp" : "udp", family_text(family))) {
        return;
    }
    say("other", "%s", ret(bind_at(make(family), place(family, WHO_OTHER, 0))));
    say("peer", "%s", ret(bind_at(make(family), place(family, WHO_PEER, 0))));
    say("any", "%s", ret(bind_at(fd = make(family), place(family, WHO_ANY, 0))));
    say("any-name", "%s", local_text(fd, 1));
    say("again", "%s", ret(bind_at(fd, place(family, WHO_ANY, 0))));
    say("self", "%s", ret(bind_at(fd = make(family), place(family, WHO_SELF, 0))));
    say("self-name", "%s", local_text(fd, 1));
    say("fixed", "%s", ret(bind_at(fd = make(family), place(family, WHO_ANY, 7070))));
    say("fixed-name", "%s", local_text(fd, 7070));
    struct place p = place(family, WHO_ANY, 0);
    p.addr.ss_family = AF_UNSPEC;
    say("unspec-any", "%s", ret(bind_at(make(family), p)));
    p.addr.ss_family = AF_UNIX;
    say("unix", "%s", ret(bind_at(make(family), p)));
    p.addr.ss_family = 99;
    say("family-99", "%s", ret(bind_at(make(family), p)));
    say("other-family", "%s",
        ret(bind_at(make(family), place(family == AF_INET ? AF_INET6 : AF_INET, WHO_ANY, 0))));
    p = place(family, WHO_ANY, 0);
    say("long", "%s", ret(bind(make(family), (struct sockaddr *)&p.addr, sizeof p.addr)));
    say("too-long", "%s", ret(bind(make(family), (struct sockaddr *)&p.addr, 1000)));
    say("zero-length", "%s", ret(bind(make(family), (struct sockaddr *)&p.addr, 0)));
    if (family == AF_INET6) {
        say("mapped", "%s", ret(bind_at(fd = make(family), place_mapped(WHO_SELF, 0))));
        say("mapped-name", "%s", local_text(fd, 1));
        int only = 1;
        setsockopt(fd = make(family), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
        say("mapped-v6only", "%s", ret(bind_at(fd, place_mapped(WHO_SELF, 0))));
        say("v6only-late", "%s",
            ret(setsockopt(fd = make(family), IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero)));
        bind_at(fd, place(family, WHO_ANY, 0));
        say("v6only-bound", "%s",
            ret(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only)));
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
        say("broadcast", "%s", ret(bind(make(family), (struct sockaddr *)&in, sizeof in)));
        in.sin_addr.s_addr = htonl(0xef070707);
        say("multicast", "%s", ret(bind(make(family), (struct sockaddr *)&in, sizeof in)));
    }
    case_end();
}

/* ---- wrong descriptors and pointers
 * ---------------------------------------------------------------- */

static void every_call(const char *name, int fd)
{
    char data[8];
    struct sockaddr_storage addr = {.ss_family = AF_INET};
    struct sockaddr *to = (struct sockaddr *)&addr;
    socklen_t len = sizeof addr;
    int value = 0;
    struct msghdr msg = {0};
    struct mmsghdr many = {0};
    socklen_t four = sizeof value;
    say(name, "bind %s, listen %s, accept %s, connect %s, getsockname %s, getpeername %s",
        ret(bind(fd, to, 16)), ret(listen(fd, 1)), ret(accept(fd, to, &len)),
        ret(connect(fd, to, 16)), ret(getsockname(fd, to, &len)), ret(getpeername(fd, to, &len)));
    say(name,
        "send %s, sendto %s, sendmsg %s, sendmmsg %s, recv %s, recvfrom %s, recvmsg %s, recvmmsg "
        "%s",
        ret(send(fd, "x", 1, 0)), ret(sendto(fd, "x", 1, 0, to, 16)), ret(sendmsg(fd, &msg, 0)),
        ret(sendmmsg(fd, &many, 1, 0)), ret(recv(fd, data, 8, 0)),
        ret(recvfrom(fd, data, 8, 0, to, &len)), ret(recvmsg(fd, &msg, 0)),
        ret(recvmmsg(fd, &many, 1, 0, NULL)));
    say(name, "setsockopt %s, getsockopt %s, shutdown %s, accept4 %s",
        ret(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 4)),
        ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &four)), ret(shutdown(fd, SHUT_WR)),
        ret(accept4(fd, to, &len, 0)));
}

static void no_sockets(void)
{
    if (case_begin("no-socket")) {
        int ends[2], file = open("/dev/null", O_RDWR), path = open("/", O_PATH);
        every_call("closed", 900);
        every_call("negative", -1);
        every_call("file", file);
        every_call("path", path);
        every_call("pipe", pipe(ends) < 0 ? -1 : ends[0]);
        case_end();
    }
}

/* A case for each: what a wrong pointer does to a library is another matter than what it does to
 * the kernel. */
static void wrong_pointer(int family, int which)
{
    struct sockaddr *nowhere = (struct sockaddr *)8;
    socklen_t len = 16, *no_len = (socklen_t *)8;
    char room[128] = "";
    struct sockaddr *here = (struct sockaddr *)room;
    struct msghdr msg = {.msg_iov = (struct iovec *)8, .msg_iovlen = 1},
                  many = {.msg_iovlen = 5000};
    int port, fd = which < 10 ? connected(family).fd : stream(family);
    switch (which) {
    case 0:
        say("getsockname", "%s, %s", ret(getsockname(fd, nowhere, &len)),
            ret(getsockname(fd, here, no_len)));
        break;
    case 1:
        say("getpeername", "%s, %s", ret(getpeername(fd, nowhere, &len)),
            ret(getpeername(fd, here, no_len)));
        break;
    case 2:
        say("send", "%s", ret(send(fd, nowhere, 8, 0)));
        break;
    case 3:
        say("recv", "%s", ret(recv(fd, nowhere, 8, MSG_DONTWAIT)));
        break;
    case 4:
        say("sendmsg", "%s", ret(sendmsg(fd, (struct msghdr *)8, 0)));
        break;
    case 5:
        say("sendmsg-iov", "%s", ret(sendmsg(fd, &msg, 0)));
        break;
    case 6:
        say("sendmsg-many", "%s", ret(sendmsg(fd, &many, 0)));
        break;
    case 10:
        say("connect", "%s", ret(connect(fd, nowhere, 16)));
        break;
    case 11:
        say("bind", "%s", ret(bind(fd, nowhere, 16)));
        break;
    case 12:
        say("sendto", "%s", ret(sendto(dgram(family), "x", 1, 0, nowhere, 16)));
        break;
    case 13:
        fd = listening(family, 4, &port);
        nonblocking(fd);
        say("accept", "%s", ret(accept(fd, here, NULL)));
        break;
    case 14:
        fd = listening(family, 4, &port);
        peer_connect(family, port);
        await(fd, POLLIN);
        say("accept-ready", "%s", ret(accept(fd, nowhere, &len)));
        break;
    case 15:
        say("option", "%s", ret(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nowhere, 4)));
        break;
    case 16:
        say("option-get", "%s", ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nowhere, &len)));
        break;
    case 17:
        say("option-length", "%s", ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, room, no_len)));
        break;
    default:
        break;
    }
}

static void wrong_pointers(int family)
{
    for (int which = 0; which < 18; which++) {
        if (which != 7 && which != 8 && which != 9 &&
            case_begin("pointers%s", family_text(family))) {
            wrong_pointer(family, which);
            case_end();
        }
    }
    if (case_begin("lengths%s", family_text(family))) {
        char room[128] = "";
        struct sockaddr *here = (struct sockaddr *)room;
        socklen_t large = (socklen_t)-1, len = 4;
        struct ends e = connected(family);
        say("getsockname-negative", "%s", ret(getsockname(e.fd, here, &large)));
        say("getsockname-short", "%s/%u", ret(getsockname(e.fd, here, &len)), (unsigned)len);
        len = 0;
        say("getpeername-zero", "%s/%u", ret(getpeername(e.fd, here, &len)), (unsigned)len);
        say("connect-zero", "%s", ret(connect(stream(family), here, 0)));
        int port, listener = listening(family, 4, &port);
        nonblocking(listener);
        say("accept-bad-flags", "%s", ret(accept4(listener, NULL, NULL, 0x40000000)));
        case_end();
    }
}

static void accept_flags(int family)
{
    if (!case_begin("accept%s", family_text(family))) {
        return;
    }
    int port, listener = listening(family, 8, &port);
    for (int bits = 0; bits < 4; bits++) {
        int far = peer_connect(family, port);
        int fd = accept4(listener, NULL, NULL,
                         (bits & 1 ? SOCK_NONBLOCK : 0) | (bits & 2 ? SOCK_CLOEXEC : 0));
        say("flags", "%d: fl %#x, fd %d", bits, fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ACCMODE),
            fcntl(fd, F_GETFD));
        close(far);
        close(fd);
    }
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    int far = peer_connect(family, port);
    int fd = accept(listener, (struct sockaddr *)&addr, &len);
    struct sockaddr_storage theirs = {0};
    socklen_t theirs_len = sizeof theirs;
    getsockname(far, (struct sockaddr *)&theirs, &theirs_len);
    say("address", "%s", place_text(&addr, len, port_of(&theirs)));
    say("names", "%s %s", local_text(fd, port), remote_text(fd, port_of(&theirs)));
    peer_connect(family, port);
    len = 6;
    fd = accept(listener, (struct sockaddr *)&addr, &len);
    say("short-length", "%s, length %u", fd >= 0 ? "a descriptor" : ret(fd), (unsigned)len);
    len = (socklen_t)-1;
    peer_connect(family, port);
    await(listener, POLLIN);
    fd = accept(listener, (struct sockaddr *)&addr, &len);
    say("negative-length", "%s", fd >= 0 ? "a descriptor" : ret(fd));
    case_end();
}

/* ---- where connect() may go
 * ------------------------------------------------------------------------ */

static int connect_to(int fd, struct place to)
{
    return connect(fd, AT(to));
}

static void destinations(int family)
{
    int fd, port;
    if (!case_begin("connect%s", family_text(family))) {
        return;
    }
    say("refused", "%s",
        ret(connect_to(stream(family),
                       place(family, WHO_PEER, peer_closed_port(family, SOCK_STREAM)))));
    say("no-way", "%s", ret(connect_to(stream(family), place(family, WHO_NOWAY, 9))));
    say("udp-no-way", "%s", ret(connect_to(dgram(family), place(family, WHO_NOWAY, 9))));
    int id = peer_listen(family, 8, &port);
    say("peer", "%s", ret(connect_to(fd = stream(family), place(family, WHO_PEER, port))));
    say("peer-names", "%s %s", local_text(fd, 1), remote_text(fd, port));
    say("again", "%s", ret(connect_to(fd, place(family, WHO_PEER, port))));
    close(peer_accept(id));
    fd = stream(family);
    bind_at(fd, place(family, WHO_SELF, 7071));
    say("bound", "%s", ret(connect_to(fd, place(family, WHO_PEER, port))));
    struct sockaddr_storage from;
    peer_accept_from(id, &from);
    say("bound-name", "%s", place_text(&from, sizeof(struct sockaddr_in), 7071));
    struct place p = place(family, WHO_PEER, port);
    p.addr.ss_family = 99;
    say("family-99", "%s", ret(connect_to(stream(family), p)));
    say("other-family", "%s",
        ret(connect_to(stream(family),
                       place(family == AF_INET ? AF_INET6 : AF_INET, WHO_PEER, port))));
    say("unspec-fresh", "%s",
        ret(connect(stream(family), &(struct sockaddr){.sa_family = AF_UNSPEC},
                    sizeof(struct sockaddr))));
    int own_port, listener = listening(family, 4, &own_port);
    say("self", "%s", ret(connect_to(fd = stream(family), place(family, WHO_SELF, own_port))));
    say("self-names", "%s %s", local_text(fd, 1), remote_text(fd, own_port));
    say("self-accept", "%s", ret(accept(listener, NULL, NULL) >= 0 ? 0 : -1));
    say("self-refused", "%s", ret(connect_to(stream(family), place(family, WHO_SELF, 7072))));
    if (family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_port = htons(9),
                                 .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
        say("broadcast", "%s", ret(connect(stream(family), (struct sockaddr *)&in, sizeof in)));
        say("udp-broadcast", "%s", ret(connect(dgram(family), (struct sockaddr *)&in, sizeof in)));
        in.sin_addr.s_addr = htonl(0xef070707);
        say("multicast", "%s", ret(connect(stream(family), (struct sockaddr *)&in, sizeof in)));
    } else {
        say("mapped", "%s",
            ret(connect_to(fd = stream(family),
                           place_mapped(WHO_PEER, peer_closed_port(AF_INET, SOCK_STREAM)))));
        id = peer_listen(AF_INET, 4, &port);
        say("mapped-listening", "%s",
            ret(connect_to(fd = stream(family), place_mapped(WHO_PEER, port))));
        say("mapped-names", "%s %s", local_text(fd, 1), remote_text(fd, port));
        int one = 1;
        setsockopt(fd = stream(family), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        say("mapped-v6only", "%s", ret(connect_to(fd, place_mapped(WHO_PEER, port))));
        say("no-route", "%s", ret(connect_to(stream(family), place(family, WHO_OTHER, 9))));
    }
    case_end();
}

static void listens(int family)
{
    int port, fd;
    if (!case_begin("listen%s", family_text(family))) {
        return;
    }
    say("unbound", "%s", ret(listen(fd = stream(family), 3)));
    say("unbound-name", "%s", local_text(fd, 1));
    say("again", "%s", ret(listen(fd, 5)));
    say("negative", "%s", ret(listen(stream(family), -1)));
    say("zero", "%s", ret(listen(stream(family), 0)));
    say("udp", "%s", ret(listen(dgram(family), 3)));
    fd = listening(family, 0, &port);
    say("backlog-0", "%s", peer_connect(family, port) >= 0 ? "one gets in" : errno_text(errno));
    close(fd);
    say("after-close", "%s", peer_connect(family, port) >= 0 ? "gets in" : errno_text(errno));
    fd = listening(family, 8, &port);
    int far = peer_connect(family, port);
    close(fd);
    await(far, POLLHUP);
    char data[4];
    say("closed-with-pending", "%s", ret(recv(far, data, 4, MSG_DONTWAIT)));
    fd = listening(family, 8, &port);
    say("port-of-another", "%s", ret(bind_at(stream(family), place(family, WHO_ANY, port))));
    if (family == AF_INET6) {
        far = peer_connect(AF_INET, port);
        struct sockaddr_storage addr = {0};
        socklen_t len = sizeof addr;
        await(fd, POLLIN);
        nonblocking(fd);
        int got = accept(fd, (struct sockaddr *)&addr, &len);
        say("mapped", "%s", got < 0 ? ret(got) : place_text(&addr, len, 0));
        say("mapped-names", "%s %s", local_text(got, port), remote_text(got, 0));
        int one = 1;
        fd = stream(family);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        listen(fd, 3);
        say("v6only", "%s",
            peer_connect(AF_INET, new_port(fd)) >= 0 ? "gets in" : errno_text(errno));
    }
    case_end();
}

void cases_open(int family)
{
    if (family == AF_INET) {
        arguments();
        no_sockets();
        two_families(SOCK_STREAM);
        two_families(SOCK_DGRAM);
    }
    flags(family);
    wrong_pointers(family);
    accept_flags(family);
    destinations(family);
    listens(family);
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        bind_addresses(family, type);
        beside(family, type);
    }
}
