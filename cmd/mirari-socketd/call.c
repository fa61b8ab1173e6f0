/* SPDX-License-Identifier: ISC */
/* The calls that change what a socket is: bind, connect, listen, shutdown; and its names.
 *
 *   NEW ── bind ──> BOUND ── listen ──> LISTENING
 *    └── connect ─────┴───> CONNECTING ──> CONNECTED ──> ENDED
 *                               └── failed while somebody waited: as before
 *
 * Errors are those of Linux in the same state. What the client has checked already (is it a
 * socket, is the address readable) is not checked again; what would harm us is.
 */
#include "cmd/mirari-socketd/socketd.h"

#include "lib/net/internal.h"
#include "lib/net/udp_state.h"

/* ---- names ------------------------------------------------------------------------------------
 */

void sd_names(const struct sd_socket *s, struct sock_names *names)
{
    struct mir_endpoint local = s->local, remote = s->remote;
    memset(names, 0, sizeof *names);
    if (s->tcp != NULL)
        mir_tcp_get_endpoints(s->tcp, &local, &remote);
    else if (s->udp != NULL && remote.port == 0)
        mir_udp_get_local(s->udp, &local);
    else if (s->udp != NULL)
        mir_udp_get_local(s->udp, &local);
    sd_addr(s->domain, &local, s->scope, &names->local);
    bool has_peer = s->kind == SD_UDP || s->state == SOCK_S_CONNECTED;
    if (has_peer && remote.port != 0)
        sd_addr(s->domain, &remote, 0, &names->peer);
}

int sd_reply_names(struct sd_call *call, int error)
{
    struct sock_names names;
    sd_names(call->socket, &names);
    sd_reply(call, error, &names, sizeof names);
    return 0;
}

int sd_op_name(struct sd_call *call)
{
    return sd_reply_names(call, 0);
}

/* ---- bind -------------------------------------------------------------------------------------
 */

/* May it be an address of ours? The stack knows. As on Linux a stream, too, may be bound to a
 * group or broadcast of IPv4, from which nothing comes. */
static int check_local(const struct sd_socket *s, const struct mir_ip *ip)
{
    if (mir_ip_is_any(ip) || sd.net == NULL)
        return 0;
    if (s->domain == AF_INET6 && s->options.number[SD_N_V6ONLY] && mir_ip_is_v4(ip))
        return -EINVAL;
    if (s->kind == SD_UDP)
        return 0;
    bool is_to_many =
        s->domain == AF_INET && (mir__udp_is_group(ip) || mir__udp_is_broadcast(sd.net, ip));
    return is_to_many || mir__ip_is_bindable(sd.net, ip) ? 0 : -EADDRNOTAVAIL;
}

static int bind_to(struct sd_socket *s, const struct mir_endpoint *local)
{
    struct mir_endpoint before = s->local;
    s->local = *local;
    int r = s->kind == SD_UDP ? sd_dgram_open(s) : sd_port_hold(s);
    if (r == -EADDRINUSE && sd_reap_port(s, local->port))
        r = s->kind == SD_UDP ? sd_dgram_open(s) : sd_port_hold(s);
    if (r < 0) {
        s->local = before;
        return r;
    }
    s->has_local = true;
    s->is_port_chosen = local->port != 0;
    s->is_address_chosen = !mir_ip_is_any(&local->ip);
    s->state = SOCK_S_BOUND;
    return 0;
}

int sd_op_bind(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    struct sock_addr addr;
    struct mir_endpoint local;
    memcpy(&addr, call->body, sizeof addr);
    int r = sd_endpoint(s->domain, &addr, &local);
    if (r == 0 && (s->has_local || s->state != SOCK_S_NEW))
        r = -EINVAL;
    if (r == 0)
        r = check_local(s, &local.ip);
    if (r == 0) {
        s->scope = addr.scope;
        r = bind_to(s, &local);
    }
    return r < 0 ? r : sd_reply_names(call, 0);
}

/* ---- listen -----------------------------------------------------------------------------------
 */

int sd_op_listen(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    static const struct mir_endpoint anywhere;
    struct sock_listen listen;
    int r = 0;
    memcpy(&listen, call->body, sizeof listen);
    if (s->kind != SD_TCP)
        return -EOPNOTSUPP;
    if (s->state != SOCK_S_NEW && s->state != SOCK_S_BOUND && s->state != SOCK_S_LISTENING)
        return -EINVAL;
    if (!s->has_local)
        r = bind_to(s, &anywhere);
    if (r == 0)
        r = sd_listen(s, listen.backlog);
    if (r == -EADDRINUSE && sd_reap_port(s, s->port))
        r = sd_listen(s, listen.backlog);
    return r < 0 ? r : sd_reply_names(call, 0);
}

/* ---- connect ----------------------------------------------------------------------------------
 */

/* The any-address means this host. */
static void not_any(const struct sd_socket *s, struct mir_endpoint *remote)
{
    if (!mir_ip_is_any(&remote->ip))
        return;
    if (s->domain == AF_INET6)
        remote->ip.bytes[15] = 1;
    else
        remote->ip = mir_ip_from_v4(0x7f000001);
}

static int start_tcp(struct sd_socket *s, const struct mir_endpoint *remote)
{
    struct mir_tcp *tcp;
    struct mir_endpoint from = s->local;
    int r = sd.net != NULL ? mir__tcp_connect_from(sd.stack, &from, remote, &tcp)
                           : mir_tcp_connect(sd.stack, remote, NULL, NULL, &tcp);
    if (r < 0)
        return -mir_host_errno(r);
    sd.count.connects++;
    s->remote = *remote;
    s->state = SOCK_S_CONNECTING;
    s->began_us = mir_loop_now(sd.app->loop);
    s->so_error = 0;
    sd_stream_attach(s, tcp);
    if (mir_tcp_set_option(tcp, MIR_TCP_UNREACHABLE_ENDS, 1) < 0)
        MIR_LOG(APP, DEBUG, "unreachable hosts are found out by waiting");
    return 0;
}

static bool is_broadcast(const struct mir_ip *ip)
{
    struct mir_ip all = mir_ip_from_v4(0xffffffff);
    return mir_ip_equal(ip, &all);
}

static int connect_tcp(struct sd_call *call, const struct mir_endpoint *remote)
{
    struct sd_socket *s = call->socket;
    switch (s->state) {
    case SOCK_S_NEW:
    case SOCK_S_BOUND:
        break;
    case SOCK_S_CONNECTING:
        return -EALREADY;
    case SOCK_S_ENDED:
        return -ECONNABORTED;
    default:
        return -EISCONN;
    }
    if (mir__udp_is_group(&remote->ip) || is_broadcast(&remote->ip))
        return -ENETUNREACH;
    int r = start_tcp(s, remote);
    if (r < 0)
        return r;
    if (call->head.flags & SOCK_F_SOON)
        return sd_stream_soon(call);
    if (!(call->head.flags & SOCK_F_WAIT))
        return sd_reply_names(call, -EINPROGRESS);
    r = sd_wait(call, s);
    return r < 0 ? sd_reply_names(call, -EINPROGRESS) : 0;
}

static int begin_connect(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    struct sock_connect connect;
    struct mir_endpoint remote = {.port = 0};
    memcpy(&connect, call->body, sizeof connect);
    if (s->kind == SD_TCP)
        sd_stream_forget(s, connect.skip);
    sd_dgram_catch_up(s);
    if (connect.remote.family != AF_UNSPEC) {
        int r = sd_endpoint(s->domain, &connect.remote, &remote);
        if (r < 0)
            return r;
        not_any(s, &remote);
        if (s->domain == AF_INET6 && s->options.number[SD_N_V6ONLY] && mir_ip_is_v4(&remote.ip))
            return -ENETUNREACH;
    } else if (s->kind == SD_TCP) {
        return -EAFNOSUPPORT;
    }
    if (s->kind == SD_TCP)
        return connect_tcp(call, &remote);
    if (is_broadcast(&remote.ip) && !s->options.number[SD_N_BROADCAST])
        return -EACCES;
    int r =
        connect.remote.family == AF_UNSPEC ? sd_dgram_disconnect(s) : sd_dgram_connect(s, &remote);
    return r < 0 ? r : sd_reply_names(call, 0);
}

/* Who waits for no answer finds A broken, and asks why. */
int sd_op_connect(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    int r = begin_connect(call);
    bool is_new = s->state == SOCK_S_NEW || s->state == SOCK_S_BOUND;
    if (r < 0 && r != -EBADMSG && (call->head.flags & SOCK_F_SILENT) && s->kind == SD_TCP &&
        is_new) {
        s->so_error = -r;
        sd_socket_end(s);
        r = 0;
    }
    return r;
}

/* ---- shutdown ---------------------------------------------------------------------------------
 */

int sd_op_shutdown(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    struct sock_shutdown how;
    memcpy(&how, call->body, sizeof how);
    if (how.how != SHUT_RD && how.how != SHUT_WR && how.how != SHUT_RDWR)
        return -EINVAL;
    if (s->kind == SD_UDP) {
        sd_dgram_catch_up(s);
        s->shut_rd |= how.how != SHUT_WR;
        s->shut_wr |= how.how != SHUT_RD;
        return s->remote.port != 0 ? 0 : -ENOTCONN;
    }
    if (s->state == SOCK_S_LISTENING && how.how != SHUT_WR) {
        sd_stream_empty(s); /* whoever accepts finds the end, and no reset */
        sd_socket_end(s);
        return 0;
    }
    if (s->state == SOCK_S_CONNECTING) {
        sd_socket_end(s);
        return 0;
    }
    return s->state == SOCK_S_CONNECTED || s->state == SOCK_S_LISTENING ? 0 : -ENOTCONN;
}
