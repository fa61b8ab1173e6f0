/* SPDX-License-Identifier: ISC */
/* Socket options: what each is at first, what may be set, and what is read back.
 *
 * One row of the table is one option. For an integer: the value at first, after setting `to`, after
 * setting 0, what a length of two bytes does to set and to get. Sockets: a fresh TCP one, a fresh
 * UDP one, and a connected TCP one. Values that are a setting of the machine (buffer sizes) are
 * described and not printed.
 */
#include "conform.h"

#include <linux/filter.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <sys/time.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

struct option_row {
    const char *name;
    int level, option, to;
    bool hide; /* the value is a setting of the machine */
};

#define ROW(level, option, to)                                                                     \
    {                                                                                              \
#option, level, option, to, false                                                          \
    }
#define HIDDEN(level, option, to)                                                                  \
    {                                                                                              \
#option, level, option, to, true                                                           \
    }

static const struct option_row rows[] = {
    ROW(SOL_SOCKET, SO_REUSEADDR, 1),
    ROW(SOL_SOCKET, SO_REUSEPORT, 1),
    ROW(SOL_SOCKET, SO_KEEPALIVE, 1),
    ROW(SOL_SOCKET, SO_BROADCAST, 1),
    ROW(SOL_SOCKET, SO_OOBINLINE, 1),
    ROW(SOL_SOCKET, SO_DONTROUTE, 1),
    HIDDEN(SOL_SOCKET, SO_RCVBUF, 20000),
    HIDDEN(SOL_SOCKET, SO_SNDBUF, 20000),
    HIDDEN(SOL_SOCKET, SO_RCVBUFFORCE, 20000),
    HIDDEN(SOL_SOCKET, SO_SNDBUFFORCE, 20000),
    ROW(SOL_SOCKET, SO_RCVLOWAT, 3),
    ROW(SOL_SOCKET, SO_SNDLOWAT, 3),
    ROW(SOL_SOCKET, SO_TYPE, 1),
    ROW(SOL_SOCKET, SO_PROTOCOL, 1),
    ROW(SOL_SOCKET, SO_DOMAIN, 1),
    ROW(SOL_SOCKET, SO_ERROR, 1),
    ROW(SOL_SOCKET, SO_ACCEPTCONN, 1),
    ROW(SOL_SOCKET, SO_PRIORITY, 3),
    ROW(SOL_SOCKET, SO_MARK, 7),
    ROW(SOL_SOCKET, SO_TIMESTAMP, 1),
    ROW(SOL_SOCKET, SO_TIMESTAMPNS, 1),
    ROW(SOL_SOCKET, SO_TIMESTAMPING, 0x10),
    ROW(SOL_SOCKET, SO_PASSCRED, 1),
    ROW(SOL_SOCKET, SO_PEEK_OFF, 2),
    ROW(SOL_SOCKET, SO_BUSY_POLL, 10),
    HIDDEN(SOL_SOCKET, SO_INCOMING_CPU, 0),
    HIDDEN(SOL_SOCKET, SO_INCOMING_NAPI_ID, 0),
    ROW(SOL_SOCKET, SO_ZEROCOPY, 1),
    ROW(SOL_SOCKET, SO_RXQ_OVFL, 1),
    ROW(SOL_SOCKET, SO_NO_CHECK, 1),
    ROW(SOL_SOCKET, SO_LOCK_FILTER, 1),
    ROW(SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1),
    {"bogus", SOL_SOCKET, 9999, 1, false},
    ROW(IPPROTO_TCP, TCP_NODELAY, 1),
    HIDDEN(IPPROTO_TCP, TCP_MAXSEG, 1000),
    ROW(IPPROTO_TCP, TCP_CORK, 1),
    ROW(IPPROTO_TCP, TCP_KEEPIDLE, 33),
    ROW(IPPROTO_TCP, TCP_KEEPINTVL, 11),
    ROW(IPPROTO_TCP, TCP_KEEPCNT, 4),
    ROW(IPPROTO_TCP, TCP_SYNCNT, 2),
    ROW(IPPROTO_TCP, TCP_LINGER2, 20),
    ROW(IPPROTO_TCP, TCP_DEFER_ACCEPT, 1),
    HIDDEN(IPPROTO_TCP, TCP_WINDOW_CLAMP, 40000),
    HIDDEN(IPPROTO_TCP, TCP_QUICKACK, 1),
    ROW(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000),
    ROW(IPPROTO_TCP, TCP_FASTOPEN, 5),
    ROW(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1),
    HIDDEN(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384),
    ROW(IPPROTO_TCP, TCP_INQ, 1),
    ROW(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1),
    HIDDEN(IPPROTO_TCP, TCP_TIMESTAMP, 5),
    ROW(IPPROTO_TCP, TCP_SAVE_SYN, 1),
    {"bogus", IPPROTO_TCP, 9999, 1, false},
    ROW(IPPROTO_IP, IP_TOS, 0x28),
    ROW(IPPROTO_IP, IP_TTL, 33),
    ROW(IPPROTO_IP, IP_MINTTL, 2),
    ROW(IPPROTO_IP, IP_HDRINCL, 1),
    ROW(IPPROTO_IP, IP_PKTINFO, 1),
    ROW(IPPROTO_IP, IP_RECVTOS, 1),
    ROW(IPPROTO_IP, IP_RECVTTL, 1),
    ROW(IPPROTO_IP, IP_RECVOPTS, 1),
    ROW(IPPROTO_IP, IP_RETOPTS, 1),
    ROW(IPPROTO_IP, IP_RECVERR, 1),
    ROW(IPPROTO_IP, IP_RECVORIGDSTADDR, 1),
    ROW(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO),
    ROW(IPPROTO_IP, IP_MTU, 1),
    ROW(IPPROTO_IP, IP_FREEBIND, 1),
    ROW(IPPROTO_IP, IP_TRANSPARENT, 1),
    ROW(IPPROTO_IP, IP_MULTICAST_TTL, 5),
    ROW(IPPROTO_IP, IP_MULTICAST_LOOP, 1),
    ROW(IPPROTO_IP, IP_MULTICAST_ALL, 1),
    ROW(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1),
    {"bogus", IPPROTO_IP, 9999, 1, false},
    ROW(IPPROTO_IPV6, IPV6_V6ONLY, 1),
    ROW(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33),
    ROW(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 5),
    ROW(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1),
    ROW(IPPROTO_IPV6, IPV6_TCLASS, 0x28),
    ROW(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1),
    ROW(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1),
    ROW(IPPROTO_IPV6, IPV6_RECVTCLASS, 1),
    ROW(IPPROTO_IPV6, IPV6_RECVERR, 1),
    ROW(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO),
    ROW(IPPROTO_IPV6, IPV6_MTU, 1400),
    ROW(IPPROTO_IPV6, IPV6_DONTFRAG, 1),
    ROW(IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 1),
    ROW(IPPROTO_IPV6, IPV6_FREEBIND, 1),
    {"bogus", IPPROTO_IPV6, 9999, 1, false},
    ROW(IPPROTO_UDP, UDP_CORK, 1),
    ROW(IPPROTO_UDP, UDP_SEGMENT, 1000),
    ROW(IPPROTO_UDP, UDP_GRO, 1),
    {"bogus", IPPROTO_UDP, 9999, 1, false},
    {"bogus-level", 12345, 1, 1, false},
};

static const char *got(int fd, const struct option_row *row)
{
    static char room[8][64];
    static unsigned next;
    char *text = room[next++ % 8];
    int value = 0;
    socklen_t len = sizeof value;
    int r = getsockopt(fd, row->level, row->option, &value, &len);
    if (r < 0) {
        return ret(r);
    }
    if (row->hide) {
        snprintf(text, 64, "a number/%u", (unsigned)len);
    } else {
        snprintf(text, 64, "%d/%u", value, (unsigned)len);
    }
    return text;
}

static void one_option(int fd, const struct option_row *row)
{
    int to = row->to, zero = 0;
    const char *first = got(fd, row);
    const char *set = ret(setsockopt(fd, row->level, row->option, &to, sizeof to));
    const char *then = got(fd, row);
    const char *clear = ret(setsockopt(fd, row->level, row->option, &zero, sizeof zero));
    const char *last = got(fd, row);
    char small[2] = {0};
    socklen_t len = sizeof small;
    const char *short_set = ret(setsockopt(fd, row->level, row->option, small, sizeof small));
    int r = getsockopt(fd, row->level, row->option, small, &len);
    say(NULL, "%s; set %d: %s, %s; set 0: %s, %s; short: %s, %s/%u", first, to, set, then, clear,
        last, short_set, ret(r), r < 0 ? 0 : (unsigned)len);
}

static const char *level_text(int level)
{
    return level == SOL_SOCKET     ? "socket"
           : level == IPPROTO_TCP  ? "tcp"
           : level == IPPROTO_IP   ? "ip"
           : level == IPPROTO_IPV6 ? "ipv6"
           : level == IPPROTO_UDP  ? "udp"
                                   : "none";
}

static void table(int family)
{
    const char *f = family_text(family);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct option_row *row = &rows[i];
        const char *level = level_text(row->level);
        if (case_begin("option.tcp%s.%s.%s", f, level, row->name)) {
            one_option(stream(family), row);
            case_end();
        }
        if (case_begin("option.udp%s.%s.%s", f, level, row->name)) {
            one_option(dgram(family), row);
            case_end();
        }
        if (case_begin("option.connected%s.%s.%s", f, level, row->name)) {
            one_option(connected(family).fd, row);
            case_end();
        }
    }
}

/* ---- options that are no integer
 * ------------------------------------------------------------------ */

static void linger(int fd)
{
    struct linger l = {-1, -1};
    socklen_t len = sizeof l;
    const char *get = ret(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
    int was_on = l.l_onoff, was = l.l_linger;
    l = (struct linger){1, 7};
    const char *set = ret(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
    l = (struct linger){-1, -1};
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len);
    const char *bad = ret(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4));
    say("linger", "%s %d/%d, %s, %d/%d, short %s", get, was_on, was, set, l.l_onoff, l.l_linger,
        bad);
}

static void one_timeout(int fd, const char *name, int option)
{
    struct timeval t = {-1, -1};
    socklen_t len = sizeof t;
    const char *get = ret(getsockopt(fd, SOL_SOCKET, option, &t, &len));
    long was = t.tv_sec * 1000 + t.tv_usec / 1000;
    t = (struct timeval){2, 500000};
    const char *set = ret(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t));
    t = (struct timeval){0, 0};
    getsockopt(fd, SOL_SOCKET, option, &t, &len);
    struct timeval wrong = {0, 2000000};
    const char *bad = ret(setsockopt(fd, SOL_SOCKET, option, &wrong, sizeof wrong));
    const char *small = ret(setsockopt(fd, SOL_SOCKET, option, &wrong, 4));
    say(name, "%s %ld, %s, %ld, too many microseconds %s, short %s", get, was, set,
        t.tv_sec * 1000 + t.tv_usec / 1000, bad, small);
}

static void congestion(int fd)
{
    char name[16] = "";
    socklen_t len = sizeof name;
    const char *get = ret(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
    const char *set = ret(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    char now[16] = "";
    len = sizeof now;
    getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now, &len);
    const char *bad = ret(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no-such", 7));
    say("congestion", "%s %s/%u, reno %s %s, unknown %s", get, *name ? "a name" : "none",
        (unsigned)len, set, now, bad);
}

static void device(int fd)
{
    char name[IFNAMSIZ] = "x";
    socklen_t len = sizeof name;
    const char *get = ret(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
    unsigned at_first = (unsigned)len;
    const char *bad = ret(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", 8));
    const char *none = ret(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
    say("bindtodevice", "%s/%u, unknown %s, none %s", get, at_first, bad, none);
}

static void filter(int fd)
{
    struct sock_filter all[] = {BPF_STMT(BPF_RET | BPF_K, 0xffff)};
    struct sock_fprog program = {1, all};
    const char *set = ret(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
    say("filter", "%s, %s", set, ret(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, NULL, 0)));
}

static void cookie(int fd)
{
    uint64_t value = 0, again = 1;
    socklen_t len = sizeof value;
    const char *get = ret(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &value, &len));
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &again, &len);
    say("cookie", "%s, %s, %s", get, value ? "some" : "0", value == again ? "same" : "another");
}

/* A length larger than the value is cut; a wrong one is refused. */
static void lengths(int fd)
{
    int value[4] = {-1, -1, -1, -1};
    socklen_t len = sizeof value;
    const char *large = ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, &len));
    unsigned cut = (unsigned)len;
    len = (socklen_t)-1;
    const char *negative = ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, &len));
    len = 0;
    const char *zero = ret(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, &len));
    const char *set_large = ret(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, sizeof value));
    const char *set_negative = ret(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, (socklen_t)-1));
    say("lengths", "large %s/%u, negative %s, zero %s; set large %s, negative %s", large, cut,
        negative, zero, set_large, set_negative);
}

static void buffers(int fd)
{
    int before = 0, to = 30000, after = 0;
    socklen_t len = sizeof before;
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &before, &len);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &to, sizeof to);
    getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &after, &len);
    const char *receive = after == 2 * to ? "doubled" : after >= to ? "enough" : "less";
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &to, sizeof to);
    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &after, &len);
    say("buffers", "at first %s, receive %s, send %s", before > 4096 ? "some" : "few", receive,
        after == 2 * to ? "doubled"
        : after >= to   ? "enough"
                        : "less");
}

static void membership4(int fd)
{
    struct ip_mreqn m = {.imr_multiaddr.s_addr = htonl(0xef070707)};
    struct place self = place(AF_INET, WHO_SELF, 0);
    m.imr_address = ((struct sockaddr_in *)&self.addr)->sin_addr;
    const char *drop_early = ret(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    const char *add = ret(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    const char *twice = ret(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    const char *drop = ret(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof m));
    m.imr_multiaddr.s_addr = htonl(0x0a010101);
    const char *no_group = ret(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof m));
    const char *iface =
        ret(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m.imr_address, sizeof m.imr_address));
    say("membership", "drop early %s, add %s, twice %s, drop %s, no group %s, interface %s",
        drop_early, add, twice, drop, no_group, iface);
}

static void membership6(int fd)
{
    struct ipv6_mreq m = {0};
    inet_pton(AF_INET6, "ff05::777", &m.ipv6mr_multiaddr);
    const char *drop_early = ret(setsockopt(fd, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &m, sizeof m));
    const char *add = ret(setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m));
    const char *twice = ret(setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m));
    const char *drop = ret(setsockopt(fd, IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &m, sizeof m));
    inet_pton(AF_INET6, "fd00::1", &m.ipv6mr_multiaddr);
    const char *no_group = ret(setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &m, sizeof m));
    say("membership", "drop early %s, add %s, twice %s, drop %s, no group %s", drop_early, add,
        twice, drop, no_group);
}

static void info(int fd)
{
    struct tcp_info t = {0};
    socklen_t len = sizeof t;
    const char *get = ret(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len));
    say("tcp-info", "%s, state %d, rto %s, mss %s, rtt %s, cwnd %s, retransmits %d, options %s%s",
        get, t.tcpi_state, t.tcpi_rto >= 200000 && t.tcpi_rto <= 3000000 ? "fair" : "odd",
        t.tcpi_snd_mss >= 536 ? "fair" : "odd", t.tcpi_rtt > 0 ? "some" : "0",
        t.tcpi_snd_cwnd >= 2 ? "fair" : "odd", t.tcpi_retransmits,
        t.tcpi_options & TCPI_OPT_TIMESTAMPS ? "timestamps " : "",
        t.tcpi_options & TCPI_OPT_SACK ? "sack" : "");
    len = 10;
    say("tcp-info-short", "%s/%u", ret(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len)),
        (unsigned)len);
}

static void kept_over_connect(int family)
{
    int fd = stream(family), one = 1, port, value = -1;
    socklen_t len = sizeof value;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    peer_listen(family, 4, &port);
    struct place to = place(family, WHO_PEER, port);
    if (connect(fd, AT(to)) < 0) {
        give_up("connect");
    }
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    say("nodelay", "%d", value);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len);
    say("keepalive", "%d", value);
}

static void inherited_by_accept(int family)
{
    int port, one = 1, value = -1, idle = 77;
    int listener = listening(family, 4, &port);
    struct linger l = {1, 9};
    socklen_t len = sizeof value;
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    setsockopt(listener, SOL_SOCKET, SO_LINGER, &l, sizeof l);
    peer_connect(family, port);
    await(listener, POLLIN);
    nonblocking(listener);
    int fd = accept(listener, NULL, NULL);
    getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    say("nodelay", "%d", value);
    getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len);
    say("keepalive", "%d", value);
    getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len);
    say("keepidle", "%d", value);
    len = sizeof l;
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len);
    say("linger", "%d/%d", l.l_onoff, l.l_linger);
    say("flags", "%s%s", fcntl(fd, F_GETFL) & O_NONBLOCK ? "nonblocking " : "blocking ",
        fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec" : "kept");
}

void cases_option(int family)
{
    static void (*const both[])(int) = {linger, device, filter, cookie, lengths, buffers};
    const char *f = family_text(family);
    table(family);
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        if (case_begin("option.%s%s", type == SOCK_STREAM ? "tcp" : "udp", f)) {
            int (*make)(int) = type == SOCK_STREAM ? stream : dgram;
            for (size_t i = 0; i < sizeof both / sizeof *both; i++) {
                both[i](make(family));
            }
            one_timeout(make(family), "rcvtimeo", SO_RCVTIMEO);
            one_timeout(make(family), "sndtimeo", SO_SNDTIMEO);
            congestion(make(family));
            (family == AF_INET ? membership4 : membership6)(make(family));
            case_end();
        }
    }
    if (case_begin("option.connected%s", f)) {
        struct ends e = connected(family);
        info(e.fd);
        linger(e.fd);
        congestion(e.fd);
        buffers(e.fd);
        case_end();
    }
    if (case_begin("option.kept%s", f)) {
        kept_over_connect(family);
        case_end();
    }
    if (case_begin("option.inherited%s", f)) {
        inherited_by_accept(family);
        case_end();
    }
}
