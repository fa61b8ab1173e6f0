/* SPDX-License-Identifier: ISC */
/* Expressions in calls, and the constants they may name.
 *
 *   expression = term { "|" term }
 *   term       = number | CONSTANT | "text" | ... | [list] | {fields} | name(expression)
 *
 * htons() and inet_addr() are what C's are; other names with parentheses (msg_iov(1) = [...]) are
 * the names of fields, and what is in the parentheses says nothing we do not know.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>
#include <linux/tcp.h>

#include "test/packetdrill/script.h"

#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif
#define DEPTH_MAX 16u

#define C(name)                                                                                    \
    {                                                                                              \
#name, name                                                                                \
    }

static const struct {
    const char *name;
    int64_t value;
} constants[] = {
    {"NULL", 0},
    C(AF_INET),
    C(AF_INET6),
    C(AF_UNSPEC),
    C(PF_INET),
    C(PF_INET6),
    C(SOCK_STREAM),
    C(SOCK_DGRAM),
    C(SOCK_RAW),
    C(SOCK_NONBLOCK),
    C(SOCK_CLOEXEC),
    C(IPPROTO_IP),
    C(IPPROTO_IPV6),
    C(IPPROTO_TCP),
    C(IPPROTO_UDP),
    C(IPPROTO_ICMP),
    C(SOL_SOCKET),
    {"SOL_IP", IPPROTO_IP},
    {"SOL_IPV6", IPPROTO_IPV6},
    {"SOL_TCP", IPPROTO_TCP},
    {"SOL_UDP", IPPROTO_UDP},
    C(SO_REUSEADDR),
    C(SO_REUSEPORT),
    C(SO_KEEPALIVE),
    C(SO_SNDBUF),
    C(SO_RCVBUF),
    C(SO_LINGER),
    C(SO_ERROR),
    C(SO_TYPE),
    C(SO_RCVTIMEO),
    C(SO_SNDTIMEO),
    C(SO_ACCEPTCONN),
    C(SO_DOMAIN),
    C(SO_PROTOCOL),
    C(SO_ZEROCOPY),
    C(SO_MARK),
    C(SO_RCVLOWAT),
    C(SO_TIMESTAMPING),
    C(IP_TOS),
    C(IP_TTL),
    C(IP_MTU_DISCOVER),
    C(IP_PMTUDISC_DONT),
    C(IP_PMTUDISC_DO),
    C(IP_PMTUDISC_WANT),
    C(IP_PMTUDISC_PROBE),
    C(IP_MTU),
    C(IP_RECVERR),
    C(IPV6_V6ONLY),
    C(IPV6_TCLASS),
    C(TCP_NODELAY),
    C(TCP_CORK),
    C(TCP_MAXSEG),
    C(TCP_KEEPIDLE),
    C(TCP_KEEPINTVL),
    C(TCP_KEEPCNT),
    C(TCP_SYNCNT),
    C(TCP_LINGER2),
    C(TCP_DEFER_ACCEPT),
    C(TCP_WINDOW_CLAMP),
    C(TCP_INFO),
    C(TCP_QUICKACK),
    C(TCP_CONGESTION),
    C(TCP_MD5SIG),
    C(TCP_USER_TIMEOUT),
    C(TCP_FASTOPEN),
    C(TCP_FASTOPEN_CONNECT),
    C(TCP_FASTOPEN_KEY),
    C(TCP_FASTOPEN_NO_COOKIE),
    C(TCP_NOTSENT_LOWAT),
    C(TCP_INQ),
    C(MSG_PEEK),
    C(MSG_WAITALL),
    C(MSG_DONTWAIT),
    C(MSG_TRUNC),
    C(MSG_MORE),
    C(MSG_NOSIGNAL),
    C(MSG_OOB),
    C(MSG_FASTOPEN),
    C(MSG_EOR),
    C(MSG_ERRQUEUE),
    C(MSG_CTRUNC),
    C(MSG_ZEROCOPY),
    C(SHUT_RD),
    C(SHUT_WR),
    C(SHUT_RDWR),
    C(F_GETFL),
    C(F_SETFL),
    C(F_GETFD),
    C(F_SETFD),
    C(O_NONBLOCK),
    C(O_RDWR),
    C(O_RDONLY),
    C(O_WRONLY),
    C(FIONREAD),
    C(FIONBIO),
    {"SIOCINQ", FIONREAD},
    C(SIOCOUTQ),
    C(SIOCOUTQNSD),
    C(POLLIN),
    C(POLLOUT),
    C(POLLERR),
    C(POLLHUP),
    C(POLLNVAL),
    C(POLLPRI),
    C(POLLRDHUP),
    C(POLLRDNORM),
    C(POLLWRNORM),
    C(EPOLLIN),
    C(EPOLLOUT),
    C(EPOLLERR),
    C(EPOLLHUP),
    C(EPOLLRDHUP),
    C(EPOLLPRI),
    C(EPOLLET),
    C(EPOLLONESHOT),
    C(EPOLL_CTL_ADD),
    C(EPOLL_CTL_MOD),
    C(EPOLL_CTL_DEL),
    C(EAGAIN),
    C(EBADF),
    {"EWOULDBLOCK", EAGAIN},
    C(EINVAL),
    C(EFAULT),
    C(ENOMEM),
    C(EMFILE),
    C(ENOTSOCK),
    C(EOPNOTSUPP),
    C(ENOPROTOOPT),
    C(EPROTONOSUPPORT),
    C(EAFNOSUPPORT),
    C(ESOCKTNOSUPPORT),
    C(EADDRINUSE),
    C(EADDRNOTAVAIL),
    C(ENETUNREACH),
    C(EHOSTUNREACH),
    C(ENETDOWN),
    C(ECONNREFUSED),
    C(ECONNRESET),
    C(ECONNABORTED),
    C(ENOTCONN),
    C(EISCONN),
    C(EINPROGRESS),
    C(EALREADY),
    C(EPIPE),
    C(ETIMEDOUT),
    C(EMSGSIZE),
    C(EDESTADDRREQ),
    C(ENOENT),
    C(EEXIST),
    C(EINTR),
    C(EPERM),
    C(EACCES),
    C(ENOBUFS),
    C(EDOM),
    C(ENOTTY),
    C(EDEADLK),
    C(EPROTO),
};

bool pd_constant(const char *name, size_t len, int64_t *value)
{
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        if (strlen(constants[i].name) == len && memcmp(constants[i].name, name, len) == 0) {
            *value = constants[i].value;
            return true;
        }
    }
    return false;
}

static struct pd_value *new_value(struct pd_lexer *lex, enum pd_value_kind kind)
{
    struct pd_value *value = pd_alloc(lex, sizeof *value);
    value->kind = kind;
    return value;
}

static struct pd_value *parse_function(struct pd_lexer *lex, const char *name)
{
    struct pd_value *value = new_value(lex, PD_INT);
    pd_expect(lex, '(');
    struct pd_value *arg = pd_value_parse(lex);
    pd_expect(lex, ')');
    if (strcmp(name, "htons") == 0 && arg->kind == PD_INT) {
        value->number = htons((uint16_t)arg->number);
    } else if ((strcmp(name, "inet_addr") == 0 || strcmp(name, "inet6_addr") == 0) &&
               arg->kind == PD_TEXT) {
        value->kind = PD_TEXT;
        value->text = arg->text;
    } else {
        value->kind = PD_FIELD; /* msg_iov(1): the field's name */
        value->text = name;
    }
    return value;
}

static struct pd_value *parse_word(struct pd_lexer *lex)
{
    int64_t number;
    if (pd_constant(lex->start, lex->len, &number)) {
        struct pd_value *value = new_value(lex, PD_INT);
        value->number = number;
        pd_lex(lex);
        return value;
    }
    const char *name = pd_text(lex);
    pd_lex(lex);
    struct pd_value *value;
    if (pd_is(lex, '(')) {
        value = parse_function(lex, name);
        if (value->kind != PD_FIELD)
            return value;
    } else {
        value = new_value(lex, PD_FIELD);
        value->text = name;
    }
    pd_expect(lex, '=');
    value->first = pd_value_parse(lex);
    return value;
}

static struct pd_value *parse_list(struct pd_lexer *lex, enum pd_value_kind kind, char end)
{
    struct pd_value *list = new_value(lex, kind);
    struct pd_value **last = &list->first;
    pd_lex(lex);
    while (!pd_take(lex, end)) {
        if (list->first != NULL)
            pd_expect(lex, ',');
        *last = pd_value_parse(lex);
        last = &(*last)->next;
    }
    return list;
}

static struct pd_value *parse_term(struct pd_lexer *lex)
{
    bool is_negative = pd_take(lex, '-');
    struct pd_value *value;
    if (is_negative || lex->token == PD_T_NUMBER) {
        value = new_value(lex, PD_INT);
        value->number = pd_number(lex, UINT32_MAX);
        if (is_negative)
            value->number = -value->number;
        return value;
    }
    switch (lex->token) {
    case PD_T_WORD:
        return parse_word(lex);
    case PD_T_STRING:
        value = new_value(lex, PD_TEXT);
        value->text = pd_text(lex);
        pd_lex(lex);
        return value;
    case PD_T_ELLIPSIS:
        pd_lex(lex);
        return new_value(lex, PD_ELLIPSIS);
    default:
        break;
    }
    if (pd_is(lex, '['))
        return parse_list(lex, PD_LIST, ']');
    if (pd_is(lex, '{'))
        return parse_list(lex, PD_STRUCT, '}');
    pd_fail(lex, "'%.*s' is no expression", (int)(lex->len < 40 ? lex->len : 40), lex->start);
}

struct pd_value *pd_value_parse(struct pd_lexer *lex)
{
    if (++lex->depth > DEPTH_MAX)
        pd_fail(lex, "expressions are nested too deeply");
    struct pd_value *value = parse_term(lex);
    while (value->kind == PD_INT && pd_take(lex, '|')) {
        struct pd_value *right = parse_term(lex);
        if (right->kind != PD_INT)
            pd_fail(lex, "'|' joins numbers");
        value->number |= right->number;
    }
    lex->depth--;
    return value;
}
