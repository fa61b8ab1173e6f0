/* SPDX-License-Identifier: ISC */
/* Socket options: one table of those that are a number, and a few that are more.
 *
 * A row says for which sockets an option is, what values it takes, and what happens to others.
 * Values are kept with the socket and told to the stack when there is something to tell them to: at
 * connect, at accept, when a UDP socket is opened, and at once for one that is there. What the
 * stack knows nothing of (SO_BUSY_POLL) is kept and given back, if programs lose nothing by it; all
 * else is ENOPROTOOPT. docs/socket-server.md has the table for users.
 *
 * Buffers. The program's bytes wait in the pair's buffers first, which are the kernel's; SO_SNDBUF
 * and SO_RCVBUF are about the stack's behind them. As on Linux twice the value asked for is given
 * back.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <linux/in6.h>
#include <linux/tcp.h>
#include <linux/sockios.h>

#include "lib/net/internal.h"
#include "lib/net/net_state.h"

/* <netinet/tcp.h> and <linux/tcp.h> do not go together; these only the first one has. */
#ifndef SOL_TCP
#define SOL_TCP IPPROTO_TCP
#endif

#define KEEP_IDLE_S  7200
#define MAXSEG_MIN   88 /* or 0: what the path allows */
#define BUF_MIN      2304
#define SNDBUF_MOST  (4 << 20)
#define RCVBUF_LEAST 65536 /* of the stack, whatever the program asks: one segment of loopback */
#define RCVBUF_MOST  (16 << 20)
#define SHOWN_SNDBUF 87040 /* what an untouched socket says: it follows the path */
#define SHOWN_RCVBUF 131072

enum { FOR_TCP = 1, FOR_UDP = 2, FOR_ALL = 3 };
enum style { IS_BOOL, IS_INT, IS_CLAMPED, IS_BYTE };

/** An option that is a number. */
struct row {
    int level, name;
    uint8_t number; /* enum sd_number */
    uint8_t kinds;
    uint8_t style;
    int32_t least, most, untouched;
};

#define SO(name, kinds, style, ...)                                                                \
    {                                                                                              \
        SOL_SOCKET, SO_##name, SD_N_##name, kinds, style, __VA_ARGS__                              \
    }
#define TCP(name, style, ...)                                                                      \
    {                                                                                              \
        SOL_TCP, TCP_##name, SD_N_##name, FOR_TCP, style, __VA_ARGS__                              \
    }
#define IP(o, number, kinds, style, ...)                                                           \
    {                                                                                              \
        IPPROTO_IP, IP_##o, SD_N_##number, kinds, style, __VA_ARGS__                               \
    }
#define IP6(o, number, kinds, style, ...)                                                          \
    {                                                                                              \
        IPPROTO_IPV6, IPV6_##o, SD_N_##number, kinds, style, __VA_ARGS__                           \
    }

static const struct row rows[] = {
    SO(REUSEADDR, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(REUSEPORT, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(KEEPALIVE, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(BROADCAST, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(DONTROUTE, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(OOBINLINE, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(PRIORITY, FOR_ALL, IS_INT, 0, 6, 0),
    SO(MARK, FOR_ALL, IS_INT, INT32_MIN, INT32_MAX, 0),
    SO(SNDBUF, FOR_ALL, IS_CLAMPED, BUF_MIN, SNDBUF_MOST, SHOWN_SNDBUF),
    SO(RCVBUF, FOR_ALL, IS_CLAMPED, BUF_MIN, RCVBUF_MOST, SHOWN_RCVBUF),
    SO(TIMESTAMP, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(TIMESTAMPNS, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(BUSY_POLL, FOR_ALL, IS_INT, 0, INT32_MAX, 0),
    SO(RXQ_OVFL, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(NO_CHECK, FOR_ALL, IS_BOOL, 0, 1, 0),
    SO(SELECT_ERR_QUEUE, FOR_ALL, IS_BOOL, 0, 1, 0),
    TCP(NODELAY, IS_BOOL, 0, 1, 0),
    TCP(CORK, IS_BOOL, 0, 1, 0),
    TCP(MAXSEG, IS_INT, 0, 32767, 536),
    TCP(KEEPIDLE, IS_INT, 1, 32767, KEEP_IDLE_S),
    TCP(KEEPINTVL, IS_INT, 1, 32767, 75),
    TCP(KEEPCNT, IS_INT, 1, 127, 9),
    TCP(SYNCNT, IS_INT, 1, 127, 6),
    TCP(LINGER2, IS_INT, INT32_MIN, INT32_MAX, 60),
    TCP(DEFER_ACCEPT, IS_INT, INT32_MIN, INT32_MAX, 0),
    TCP(WINDOW_CLAMP, IS_INT, 0, INT32_MAX, 0),
    TCP(QUICKACK, IS_BOOL, 0, 1, 1),
    TCP(USER_TIMEOUT, IS_INT, 0, INT32_MAX, 0),
    TCP(FASTOPEN, IS_INT, 0, INT32_MAX, 0),
    TCP(FASTOPEN_CONNECT, IS_INT, 0, 1, 0),
    TCP(NOTSENT_LOWAT, IS_INT, INT32_MIN, INT32_MAX, 0),
    TCP(THIN_LINEAR_TIMEOUTS, IS_BOOL, 0, 1, 0),
    IP(TOS, TOS, FOR_ALL, IS_BYTE, 0, 255, 0),
    IP(TTL, TTL, FOR_ALL, IS_BYTE, 1, 255, 64),
    IP(MULTICAST_TTL, GROUP_TTL, FOR_ALL, IS_BYTE, 0, 255, 1),
    IP(MULTICAST_LOOP, GROUP_LOOP, FOR_ALL, IS_BOOL, 0, 1, 1),
    IP(PKTINFO, PKTINFO, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(RECVTTL, RECVTTL, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(RECVTOS, RECVTOS, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(RECVERR, RECVERR, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(MTU_DISCOVER, MTU_DISCOVER, FOR_ALL, IS_INT, 0, 5, 1),
    IP(FREEBIND, FREEBIND, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(BIND_ADDRESS_NO_PORT, BIND_NO_PORT, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP(MULTICAST_ALL, GROUP_ALL, FOR_ALL, IS_BOOL, 0, 1, 1),
    IP(MINTTL, MINTTL, FOR_ALL, IS_BYTE, 0, 255, 0),
    IP(RECVOPTS, RECVOPTS, FOR_ALL, IS_BOOL, 0, 1, 0), /* and none ever come */
    IP(RETOPTS, RETOPTS, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(MTU, MTU6, FOR_ALL, IS_INT, 0, 65535, 0),
    IP6(AUTOFLOWLABEL, AUTOFLOWLABEL, FOR_ALL, IS_BOOL, 0, 1, 1),
    IP6(FREEBIND, FREEBIND, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(V6ONLY, V6ONLY, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(TCLASS, TCLASS, FOR_ALL, IS_INT, -1, 255, 0),
    IP6(UNICAST_HOPS, HOPS, FOR_ALL, IS_INT, -1, 255, 64),
    IP6(MULTICAST_HOPS, GROUP_HOPS, FOR_ALL, IS_INT, -1, 255, 1),
    IP6(MULTICAST_LOOP, GROUP_LOOP6, FOR_ALL, IS_BOOL, 0, 1, 1),
    IP6(RECVPKTINFO, PKTINFO6, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(RECVHOPLIMIT, RECVHOPS, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(RECVTCLASS, RECVTCLASS, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(RECVERR, RECVERR6, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(MTU_DISCOVER, MTU_DISCOVER6, FOR_ALL, IS_INT, 0, 5, 1),
    IP6(DONTFRAG, DONTFRAG, FOR_ALL, IS_BOOL, 0, 1, 0),
    IP6(ADDR_PREFERENCES, ADDR_PREFERENCES, FOR_ALL, IS_INT, 0, INT32_MAX, 2),
};

_Static_assert(SD_N_COUNT <= 64, "the bits of is_set");

/* 0 and the row, or what Linux says about such a socket and option. */
static int find(const struct sd_socket *s, int level, int name, const struct row **row)
{
    uint8_t kind = s->kind == SD_TCP ? FOR_TCP : FOR_UDP;
    for (size_t i = 0; i < MIR_ARRAY_LEN(rows); i++) {
        if (rows[i].level != level || rows[i].name != name)
            continue;
        if (!(rows[i].kinds & kind) || (level == IPPROTO_IPV6 && s->domain != AF_INET6))
            return -ENOPROTOOPT;
        *row = &rows[i];
        return 0;
    }
    return -ENOPROTOOPT;
}

/* What Linux says about an option that is none. The levels of others end at different places. */
static int no_option(const struct sd_socket *s, int level, bool is_set)
{
    int own = s->kind == SD_TCP ? SOL_TCP : IPPROTO_UDP;
    bool is_own = level == SOL_SOCKET || level == IPPROTO_IP || level == own;
    return is_set || is_own || s->domain == AF_INET6 ? -ENOPROTOOPT : -EOPNOTSUPP;
}

static bool is_set(const struct sd_socket *s, enum sd_number number)
{
    return s->options.is_set >> number & 1;
}

/* ---- telling the stack ------------------------------------------------------------------------
 */

static void tell_tcp(struct sd_socket *s, enum mir_tcp_option option, uint32_t value)
{
    if (mir_tcp_set_option(s->tcp, option, value) < 0)
        MIR_LOG(APP, DEBUG, "the stack does not take option %d = %u", (int)option, value);
}

static void tell_udp(struct sd_socket *s, enum mir_udp_option option, int32_t value)
{
    if (mir_udp_set_option(s->udp, option, (uint32_t)value) < 0)
        MIR_LOG(APP, DEBUG, "the stack does not take option %d = %d", (int)option, value);
}

static void apply_tcp(struct sd_socket *s)
{
    static const struct {
        uint8_t number, option;
    } same[] = {
        {SD_N_NODELAY, MIR_TCP_NODELAY},
        {SD_N_CORK, MIR_TCP_CORK},
        {SD_N_KEEPINTVL, MIR_TCP_KEEPALIVE_INTVL_S},
        {SD_N_KEEPCNT, MIR_TCP_KEEPALIVE_COUNT},
        {SD_N_USER_TIMEOUT, MIR_TCP_USER_TIMEOUT_MS},
        {SD_N_SNDBUF, MIR_TCP_SNDBUF},
        {SD_N_TOS, MIR_TCP_TOS},
    };
    const int32_t *number = s->options.number;
    for (size_t i = 0; i < MIR_ARRAY_LEN(same); i++) {
        if (is_set(s, same[i].number))
            tell_tcp(s, same[i].option, (uint32_t)number[same[i].number]);
    }
    if (is_set(s, SD_N_RCVBUF)) /* a window far below what the peer has seen makes it wait */
        tell_tcp(s, MIR_TCP_RCVBUF, (uint32_t)MIR_MAX(number[SD_N_RCVBUF], RCVBUF_LEAST));
    if (is_set(s, SD_N_MAXSEG) && number[SD_N_MAXSEG] != 0)
        tell_tcp(s, MIR_TCP_MAXSEG, (uint32_t)number[SD_N_MAXSEG]);
    if (is_set(s, SD_N_TCLASS) && number[SD_N_TCLASS] >= 0)
        tell_tcp(s, MIR_TCP_TOS, (uint32_t)number[SD_N_TCLASS]);
    if (is_set(s, SD_N_KEEPALIVE)) {
        uint32_t idle_s = is_set(s, SD_N_KEEPIDLE) ? (uint32_t)number[SD_N_KEEPIDLE] : KEEP_IDLE_S;
        tell_tcp(s, MIR_TCP_KEEPALIVE_IDLE_S, number[SD_N_KEEPALIVE] ? idle_s : 0);
    }
    if (s->options.congestion[0] != '\0' &&
        mir__tcp_set_congestion(s->tcp, s->options.congestion) < 0)
        MIR_LOG(APP, DEBUG, "the stack does not take %s", s->options.congestion);
    if (s->options.linger.l_onoff != 0 && s->options.linger.l_linger == 0)
        tell_tcp(s, MIR_TCP_LINGER_MS, 0);
    else if (s->options.linger.l_onoff == 0)
        tell_tcp(s, MIR_TCP_LINGER_MS, MIR_TCP_LINGER_OFF);
}

static void apply_udp(struct sd_socket *s)
{
    static const struct {
        uint8_t number, option;
    } same[] = {
        {SD_N_TTL, MIR_UDP_TTL},
        {SD_N_TOS, MIR_UDP_TOS},
        {SD_N_BROADCAST, MIR_UDP_BROADCAST},
        {SD_N_GROUP_TTL, MIR_UDP_GROUP_TTL},
        {SD_N_GROUP_LOOP, MIR_UDP_GROUP_LOOP},
        {SD_N_DONTFRAG, MIR_UDP_DONT_FRAGMENT},
        {SD_N_TCLASS, MIR_UDP_TOS},
        {SD_N_HOPS, MIR_UDP_TTL},
        {SD_N_GROUP_HOPS, MIR_UDP_GROUP_TTL},
        {SD_N_GROUP_LOOP6, MIR_UDP_GROUP_LOOP},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(same); i++) {
        int32_t value = s->options.number[same[i].number];
        if (is_set(s, same[i].number) && value >= 0)
            tell_udp(s, same[i].option, value);
    }
    if (is_set(s, SD_N_MTU_DISCOVER)) /* IP_PMTUDISC_DO and _PROBE */
        tell_udp(s, MIR_UDP_DONT_FRAGMENT,
                 s->options.number[SD_N_MTU_DISCOVER] == 2 ||
                     s->options.number[SD_N_MTU_DISCOVER] == 3);
    if (s->options.group_if != 0)
        tell_udp(s, MIR_UDP_GROUP_IF, (int32_t)s->options.group_if);
}

void sd_options_apply(struct sd_socket *s)
{
    if (s->tcp != NULL)
        apply_tcp(s);
    if (s->udp != NULL)
        apply_udp(s);
}

/* ---- interfaces -------------------------------------------------------------------------------
 */

/* "net0" or the like: as IFACES tells it. 0: there is none. */
static uint32_t if_of_name(const char *name)
{
    for (uint32_t i = 0; i < sd.app->manifest->net_count; i++)
        if (strcmp(sd.app->manifest->nets[i].name, name) == 0)
            return i + 1;
    return 0;
}

struct seek {
    struct mir_ip ip;
    uint32_t if_index;
};

static void look_for(void *arg, const struct mir_net_address *address)
{
    struct seek *seek = arg;
    if (mir_ip_equal(&address->ip, &seek->ip))
        seek->if_index = address->if_index;
}

static uint32_t if_of_address(const struct in_addr *addr)
{
    struct seek seek = {.ip = mir_ip_from_v4(ntohl(addr->s_addr))};
    if (sd.net != NULL)
        mir_net_each_address(sd.net, look_for, &seek);
    return seek.if_index;
}

static int set_device(struct sd_socket *s, const char *value, uint32_t len)
{
    char name[16] = {0};
    memcpy(name, value, MIR_MIN(len, 15u));
    uint32_t index = name[0] != '\0' ? if_of_name(name) : 0;
    if (name[0] != '\0' && index == 0)
        return -ENODEV;
    memcpy(s->options.device, name, sizeof name);
    s->options.bound_if = index;
    return 0;
}

/* ---- groups -----------------------------------------------------------------------------------
 */

static int change_group(struct sd_socket *s, const struct mir_udp_group *group, bool is_join)
{
    int r = sd_dgram_open(s);
    if (r < 0)
        return r;
    r = is_join ? mir_udp_join(s->udp, group) : mir_udp_leave(s->udp, group);
    s->has_groups |= is_join && r == 0;
    if (r == -MIR_EEXIST)
        return -EADDRINUSE;
    if (r == -MIR_ENOENT)
        return -EADDRNOTAVAIL;
    if (r == -MIR_ENETUNREACH)
        return -ENODEV;
    return r < 0 ? -mir_host_errno(r) : 0;
}

static int set_group4(struct sd_socket *s, int name, const void *value, uint32_t len)
{
    struct ip_mreqn request = {.imr_ifindex = 0};
    if (len < sizeof(struct ip_mreq))
        return -EINVAL;
    memcpy(&request, value, MIR_MIN((size_t)len, sizeof request));
    if (len < sizeof request)
        request.imr_ifindex = 0;
    struct mir_udp_group group = {
        .group = mir_ip_from_v4(ntohl(request.imr_multiaddr.s_addr)),
        .if_index = (uint32_t)request.imr_ifindex,
    };
    if (group.if_index == 0 && request.imr_address.s_addr != 0) {
        group.if_index = if_of_address(&request.imr_address);
        if (group.if_index == 0)
            return -ENODEV;
    }
    return change_group(s, &group, name == IP_ADD_MEMBERSHIP);
}

static int set_source4(struct sd_socket *s, int name, const void *value, uint32_t len)
{
    struct ip_mreq_source request;
    if (len < sizeof request)
        return -EINVAL;
    memcpy(&request, value, sizeof request);
    struct mir_udp_group group = {
        .group = mir_ip_from_v4(ntohl(request.imr_multiaddr.s_addr)),
        .source = mir_ip_from_v4(ntohl(request.imr_sourceaddr.s_addr)),
        .if_index = if_of_address(&request.imr_interface),
    };
    return change_group(s, &group, name == IP_ADD_SOURCE_MEMBERSHIP);
}

static int set_group6(struct sd_socket *s, int name, const void *value, uint32_t len)
{
    struct ipv6_mreq request;
    struct mir_udp_group group = {.if_index = 0};
    if (len < sizeof request)
        return -EINVAL;
    memcpy(&request, value, sizeof request);
    memcpy(group.group.bytes, &request.ipv6mr_multiaddr, 16);
    group.if_index = (uint32_t)request.ipv6mr_interface;
    return change_group(s, &group, name == IPV6_ADD_MEMBERSHIP);
}

/* The form for both families. */
static int set_group(struct sd_socket *s, int name, const void *value, uint32_t len)
{
    struct group_req request;
    struct mir_udp_group group = {.if_index = 0};
    if (len < sizeof request)
        return -EINVAL;
    memcpy(&request, value, sizeof request);
    const struct sockaddr_storage *to = &request.gr_group;
    if (to->ss_family == AF_INET)
        group.group = mir_ip_from_v4(ntohl(((const struct sockaddr_in *)to)->sin_addr.s_addr));
    else if (to->ss_family == AF_INET6 && s->domain == AF_INET6)
        memcpy(group.group.bytes, &((const struct sockaddr_in6 *)to)->sin6_addr, 16);
    else
        return -EADDRNOTAVAIL;
    group.if_index = request.gr_interface;
    return change_group(s, &group, name == MCAST_JOIN_GROUP);
}

static int set_group_if4(struct sd_socket *s, const void *value, uint32_t len)
{
    struct ip_mreqn request = {.imr_ifindex = 0};
    if (len >= sizeof(struct ip_mreq))
        memcpy(&request, value, MIR_MIN((size_t)len, sizeof request));
    else if (len >= sizeof(struct in_addr))
        memcpy(&request.imr_address, value, sizeof(struct in_addr));
    else
        return -EINVAL;
    uint32_t index = (uint32_t)request.imr_ifindex;
    if (index == 0 && request.imr_address.s_addr != 0) {
        index = if_of_address(&request.imr_address);
        if (index == 0)
            return -EADDRNOTAVAIL;
    }
    s->options.group_if = index;
    return 0;
}

/* ---- set --------------------------------------------------------------------------------------
 */

static int set_timeout(struct timeval *to, const void *value, uint32_t len)
{
    struct timeval tv;
    if (len < sizeof tv)
        return -EINVAL;
    memcpy(&tv, value, sizeof tv);
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    *to = tv;
    return 0;
}

/* Options that are no number. 1: not one of them. */
static int set_other(struct sd_socket *s, int level, int name, const void *value, uint32_t len)
{
    bool is_udp = s->kind == SD_UDP;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        if (len < sizeof s->options.linger)
            return -EINVAL;
        memcpy(&s->options.linger, value, sizeof s->options.linger);
        return 0;
    }
    if (level == SOL_SOCKET && name == SO_RCVTIMEO)
        return set_timeout(&s->options.rcv_timeout, value, len);
    if (level == SOL_SOCKET && name == SO_SNDTIMEO)
        return set_timeout(&s->options.snd_timeout, value, len);
    if (level == SOL_SOCKET && name == SO_BINDTODEVICE)
        return set_device(s, value, len);
    if (level == SOL_TCP && name == TCP_CONGESTION && !is_udp) {
        char text[16] = {0};
        memcpy(text, value, MIR_MIN(len, 15u));
        if (!mir__tcp_has_congestion(text))
            return -ENOENT;
        memcpy(s->options.congestion, text, sizeof text);
        return 0;
    }
    if (level == SOL_TCP && name == TCP_ULP && !is_udp)
        return -ENOENT; /* no TLS in the stack */
    if (level == SOL_TCP && name == TCP_TIMESTAMP && !is_udp)
        return -EPERM; /* it is for who restores connections */
    if (level == SOL_SOCKET && name == SO_PASSCRED)
        return -EOPNOTSUPP;
    if (level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP))
        return is_udp ? set_group4(s, name, value, len) : -EPROTO;
    if (level == IPPROTO_IP &&
        (name == IP_ADD_SOURCE_MEMBERSHIP || name == IP_DROP_SOURCE_MEMBERSHIP) && is_udp)
        return set_source4(s, name, value, len);
    if ((level == IPPROTO_IP || (level == IPPROTO_IPV6 && s->domain == AF_INET6)) &&
        (name == MCAST_JOIN_GROUP || name == MCAST_LEAVE_GROUP) && is_udp)
        return set_group(s, name, value, len);
    if (level == IPPROTO_IP && name == IP_MULTICAST_IF)
        return is_udp ? set_group_if4(s, value, len) : -EINVAL;
    if (level == IPPROTO_IPV6 && s->domain == AF_INET6 &&
        (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP))
        return is_udp ? set_group6(s, name, value, len) : -EPROTO;
    if (level == IPPROTO_IPV6 && s->domain == AF_INET6 && is_udp && name == IPV6_MULTICAST_IF) {
        if (len < sizeof s->options.group_if)
            return -EINVAL;
        memcpy(&s->options.group_if, value, sizeof s->options.group_if);
        return 0;
    }
    return 1;
}

/* What depends on the socket, or is not one range. */
static int check_state(const struct sd_socket *s, const struct row *row, int32_t number)
{
    bool is_new = s->state == SOCK_S_NEW;
    if (row->number == SD_N_V6ONLY && (s->has_local || !is_new))
        return -EINVAL;
    if (row->number == SD_N_GROUP_TTL && s->kind == SD_TCP)
        return -EINVAL;
    if (row->number == SD_N_WINDOW_CLAMP && number == 0 && s->state >= SOCK_S_LISTENING)
        return -EINVAL;
    if (row->number == SD_N_FASTOPEN_CONNECT && !is_new)
        return -EINVAL;
    if (row->number == SD_N_FASTOPEN &&
        (s->state == SOCK_S_CONNECTED || s->state == SOCK_S_CONNECTING))
        return -EINVAL;
    if (row->number == SD_N_MAXSEG && number != 0 && number < MAXSEG_MIN)
        return -EINVAL;
    if (row->number == SD_N_MTU6 && number != 0 && number < 1280)
        return -EINVAL;
    if (row->number == SD_N_MARK && s->uid != 0)
        return -EPERM;
    return 0;
}

static int take_number(const struct row *row, int32_t *number)
{
    switch (row->style) {
    case IS_BOOL:
        *number = *number != 0;
        return 0;
    case IS_CLAMPED:
        *number = MIR_MIN(MIR_MAX(*number, row->least), row->most);
        return 0;
    default:
        return *number < row->least || *number > row->most ? -EINVAL : 0;
    }
}

/* Of IP_TOS and its like one byte is enough, as on Linux. */
static int read_number(const struct row *row, const void *value, uint32_t len, int32_t *number)
{
    if (len >= sizeof *number) {
        memcpy(number, value, sizeof *number);
        return 0;
    }
    if (row->number == SD_N_AUTOFLOWLABEL || row->number == SD_N_DONTFRAG) {
        *number = 0;
        return 0;
    }
    if (row->level != IPPROTO_IP || len < 1)
        return -EINVAL;
    *number = *(const uint8_t *)value;
    return 0;
}

int sd_option_set(struct sd_socket *s, int level, int name, const void *value, uint32_t len)
{
    const struct row *row = NULL;
    int32_t number = 0;
    if (level == SOL_SOCKET && name == SO_SNDBUFFORCE)
        name = SO_SNDBUF;
    if (level == SOL_SOCKET && name == SO_RCVBUFFORCE)
        name = SO_RCVBUF;
    bool is_text = (level == SOL_SOCKET && name == SO_BINDTODEVICE) ||
                   (level == SOL_TCP && (name == TCP_CONGESTION || name == TCP_ULP));
    int own = s->kind == SD_TCP ? SOL_TCP : IPPROTO_UDP;
    bool is_short = len < sizeof number && (level == SOL_SOCKET || level == own) && !is_text;
    int r = is_short ? -EINVAL : set_other(s, level, name, value, len);
    if (r <= 0) {
        sd_options_apply(s);
        return r;
    }
    r = find(s, level, name, &row) < 0 ? no_option(s, level, true) : 0;
    if (r == 0 && row->number == SD_N_GROUP_HOPS && s->kind == SD_TCP)
        r = -ENOPROTOOPT;
    if (r == 0)
        r = read_number(row, value, len, &number);
    if (r == 0)
        r = take_number(row, &number);
    if (r == 0)
        r = check_state(s, row, number);
    if (r < 0)
        return r;
    if (row->number == SD_N_TOS && s->kind == SD_TCP)
        number &= ~3; /* ECN is the stack's */
    s->options.number[row->number] = number;
    s->options.is_set |= 1ull << row->number;
    sd_options_apply(s);
    return 0;
}

/* ---- get --------------------------------------------------------------------------------------
 */

static int give(void *value, uint32_t *len, const void *from, size_t size)
{
    *len = (uint32_t)MIR_MIN((size_t)*len, size);
    memcpy(value, from, *len);
    return 0;
}

static int give_number(void *value, uint32_t *len, int32_t number)
{
    return give(value, len, &number, sizeof number);
}

/* Options of IP are one byte for who has no room for more. */
static int give_flag(void *value, uint32_t *len, int32_t number)
{
    uint8_t byte = (uint8_t)number;
    return *len > 0 && *len < sizeof number ? give(value, len, &byte, 1)
                                            : give_number(value, len, number);
}

static int take_error(struct sd_socket *s)
{
    int error = s->so_error;
    s->so_error = 0;
    if (s->udp != NULL && error == 0)
        error = mir_host_errno(mir_udp_take_error(s->udp));
    return error;
}

static int path_mtu(const struct sd_socket *s)
{
    struct mir_tcp_info info;
    if (s->tcp == NULL || s->state != SOCK_S_CONNECTED)
        return s->remote.port != 0 ? 1500 : -ENOTCONN;
    mir_tcp_get_info(s->tcp, &info);
    return info.mss + (info.timestamps ? 12 : 0) + (mir_ip_is_v4(&s->remote.ip) ? 40 : 60);
}

static int get_socket(struct sd_socket *s, int name, void *value, uint32_t *len)
{
    switch (name) {
    case SO_ERROR:
        return give_number(value, len, take_error(s));
    case SO_TYPE:
        return give_number(value, len, s->kind == SD_TCP ? SOCK_STREAM : SOCK_DGRAM);
    case SO_DOMAIN:
        return give_number(value, len, s->domain);
    case SO_PROTOCOL:
        return give_number(value, len, s->kind == SD_TCP ? IPPROTO_TCP : IPPROTO_UDP);
    case SO_SNDLOWAT:
        return give_number(value, len, 1);
    case SO_PASSCRED:
        return -EOPNOTSUPP;
    case SO_ACCEPTCONN:
        return give_number(value, len, s->state == SOCK_S_LISTENING);
    case SO_LINGER:
        return give(value, len, &s->options.linger, sizeof s->options.linger);
    case SO_RCVTIMEO:
        return give(value, len, &s->options.rcv_timeout, sizeof s->options.rcv_timeout);
    case SO_SNDTIMEO:
        return give(value, len, &s->options.snd_timeout, sizeof s->options.snd_timeout);
    case SO_BINDTODEVICE:
        return give(value, len, s->options.device,
                    s->options.device[0] != '\0' ? strlen(s->options.device) + 1 : 0);
    case SO_COOKIE: {
        uint64_t cookie = s->handle & UINT32_MAX;
        return *len < sizeof cookie ? -EINVAL : give(value, len, &cookie, sizeof cookie);
    }
    default:
        return 1;
    }
}

static int get_other(struct sd_socket *s, int level, int name, void *value, uint32_t *len)
{
    int mtu;
    if (level == SOCK_LEVEL_SERVER && name == SOCK_O_UNSENT)
        return give_number(value, len, s->kind == SD_TCP ? sd_stream_unsent(s) : 0);
    if (level == SOL_SOCKET)
        return get_socket(s, name, value, len);
    if (level == SOL_TCP && s->kind == SD_TCP && name == TCP_INFO) {
        *len = sd_tcp_info(s, value, *len);
        return 0;
    }
    if (level == SOL_TCP && s->kind == SD_TCP && name == TCP_CONGESTION) {
        struct mir_tcp_info info = {.congestion = NULL};
        if (s->tcp != NULL)
            mir_tcp_get_info(s->tcp, &info);
        char text[16] = "cubic";
        if (info.congestion != NULL)
            mir_format(text, sizeof text, "%s", info.congestion);
        else if (s->options.congestion[0] != '\0')
            memcpy(text, s->options.congestion, sizeof text);
        return give(value, len, text, sizeof text);
    }
    if (level == SOL_TCP && s->kind == SD_TCP && name == TCP_MAXSEG && s->tcp != NULL &&
        s->state == SOCK_S_CONNECTED) {
        struct mir_tcp_info info;
        mir_tcp_get_info(s->tcp, &info);
        return give_number(value, len, info.mss);
    }
    if ((level == IPPROTO_IP && name == IP_MTU) ||
        (level == IPPROTO_IPV6 && name == IPV6_MTU && s->domain == AF_INET6)) {
        mtu = path_mtu(s);
        return mtu < 0 ? mtu : give_number(value, len, mtu);
    }
    if (level == IPPROTO_IP && name == IP_OPTIONS)
        return give(value, len, "", 0);
    if (level == IPPROTO_IP && name == IP_HDRINCL)
        return give_flag(value, len, 0);
    if (level == SOL_TCP && s->kind == SD_TCP && name == TCP_TIMESTAMP)
        return give_number(value, len, (int32_t)(mir_loop_now(sd.app->loop) / MIR_US_PER_MS));
    if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF && s->domain == AF_INET6)
        return give(value, len, &s->options.group_if, sizeof s->options.group_if);
    return 1;
}

int sd_option_get(struct sd_socket *s, int level, int name, void *value, uint32_t *len)
{
    const struct row *row;
    int r = get_other(s, level, name, value, len);
    if (r <= 0)
        return r;
    if (find(s, level, name, &row) < 0)
        return no_option(s, level, false);
    int32_t number = is_set(s, row->number) ? s->options.number[row->number] : row->untouched;
    if (row->style == IS_CLAMPED && is_set(s, row->number))
        number *= 2;
    if (row->number == SD_N_GROUP_ALL && s->domain == AF_INET6 && !is_set(s, SD_N_GROUP_ALL))
        number = 0;
    if (row->number == SD_N_LINGER2 && number == 0)
        number = row->untouched;
    if (number < 0 && row->level == IPPROTO_IPV6 && row->least == -1)
        number = row->untouched;
    if (row->level == IPPROTO_IP && *len > 0 && *len < sizeof number && number <= 255) {
        uint8_t byte = (uint8_t)number;
        return give(value, len, &byte, 1);
    }
    return give_number(value, len, number);
}

/* ---- the operations ---------------------------------------------------------------------------
 */

int sd_op_setopt(struct sd_call *call)
{
    struct sock_option option;
    memcpy(&option, call->body, sizeof option);
    if (option.len != call->len - sizeof option)
        return -EBADMSG;
    sd_dgram_catch_up(call->socket);
    return sd_option_set(call->socket, option.level, option.name, call->body + sizeof option,
                         option.len);
}

int sd_op_getopt(struct sd_call *call)
{
    struct {
        struct sock_option head;
        uint8_t value[SOCK_OPTION_MAX];
    } answer = {.head = {.level = 0}};
    memcpy(&answer.head, call->body, sizeof answer.head);
    answer.head.len = MIR_MIN(answer.head.len, SOCK_OPTION_MAX);
    int r = sd_option_get(call->socket, answer.head.level, answer.head.name, answer.value,
                          &answer.head.len);
    if (r < 0)
        return r;
    sd_reply(call, 0, &answer, (uint32_t)sizeof answer.head + answer.head.len);
    return 0;
}
