/* SPDX-License-Identifier: ISC */
/* Accepting on host sockets.
 *
 * A turn accepts a batch, so that one busy listener does not keep others waiting; the watch is
 * level-triggered and brings the rest. At the limit of connections, or when the host has no
 * descriptor left, the listener is not watched for a while: the host's own backlog holds further
 * peers, and nothing is accepted only to be closed.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/net/host/internal.h"

#define ACCEPT_BATCH    64
#define BACKLOG_DEFAULT 256
#define RETRY_US        100000u

static void on_ready(void *arg, unsigned events)
{
    struct mir__host_listener *listener = arg;
    (void)events;
    listener->is_ready = true;
    mir__host_kick(mir__host_of(listener->head.stack));
}

static void pause_listener(struct mir__host_listener *listener)
{
    struct mir__host_stack *stack = mir__host_of(listener->head.stack);
    listener->is_ready = false;
    if (listener->is_watched)
        stack->poll->ops->remove(stack->poll, &listener->watch);
    listener->is_watched = false;
}

static void resume_listener(struct mir__host_listener *listener)
{
    struct mir__host_stack *stack = mir__host_of(listener->head.stack);
    if (listener->is_dead || listener->is_watched)
        return;
    if (stack->poll->ops->add(stack->poll, &listener->watch) == 0)
        listener->is_watched = true;
    else
        mir_timer_set(stack->head.loop, &listener->retry,
                      mir_loop_now(stack->head.loop) + RETRY_US);
}

static void on_retry(void *arg)
{
    resume_listener(arg);
}

void mir__host_listeners_resume(struct mir__host_stack *stack)
{
    mir_list_for_each (link, &stack->listeners) {
        resume_listener(MIR_CONTAINER_OF(link, struct mir__host_listener, all));
    }
}

int mir__host_listen(struct mir_stack *head, const struct mir_tcp_listen_config *config,
                     struct mir_tcp_listener **out)
{
    struct mir__host_stack *stack = mir__host_of(head);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    int fd, family;
    MIR_ASSERT(config->on_accept != NULL);
    struct mir__host_listener *listener = mir_pool_alloc(&stack->listener_pool);
    if (listener == NULL)
        return -MIR_ENOMEM;
    unsigned flags = MIR__HOST_REUSE_ADDR | (config->v6_only ? MIR__HOST_V6_ONLY : 0u);
    int r = mir__host_bind(SOCK_STREAM, &config->local, flags, &fd, &family);
    if (r < 0)
        goto err_object;
    int backlog = config->backlog != 0 ? (int)MIR_MIN(config->backlog, 65535u) : BACKLOG_DEFAULT;
    if (listen(fd, backlog) != 0 || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        r = mir__host_error(errno);
        goto err_socket;
    }
    *listener = (struct mir__host_listener){
        .head = {.stack = head,
                 .local = config->local,
                 .on_accept = config->on_accept,
                 .arg = config->arg},
        .watch = {.fd = fd, .events = MIR_HOST_IN, .ready = on_ready, .arg = listener},
        .is_watched = true,
    };
    struct mir_endpoint bound;
    mir__host_endpoint(&addr, &bound);
    listener->head.local.port = bound.port;
    mir_timer_init(&listener->retry, on_retry, listener);
    r = stack->poll->ops->add(stack->poll, &listener->watch);
    if (r < 0)
        goto err_socket;
    mir_list_push_back(&stack->listeners, &listener->all);
    *out = &listener->head;
    return 0;

err_socket:
    close(fd);
err_object:
    mir_pool_free(&stack->listener_pool, listener);
    return r;
}

void mir__host_unlisten(struct mir_tcp_listener *head)
{
    struct mir__host_listener *listener = (struct mir__host_listener *)(void *)head;
    MIR_ASSERT(!listener->is_dead);
    pause_listener(listener);
    mir_timer_cancel(&listener->retry);
    close(listener->watch.fd);
    listener->is_dead = true;
    mir__host_kick(mir__host_of(head->stack));
}

/* Returns false when there is nothing more to accept now. */
static bool accept_one(struct mir__host_listener *listener)
{
    struct mir__host_stack *stack = mir__host_of(listener->head.stack);
    struct sockaddr_storage addr;
    struct mir__host_tcp *tcp;
    socklen_t len = sizeof addr;
    int fd =
        accept4(listener->watch.fd, (struct sockaddr *)&addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        /* Errors of a connection that died in the queue are not the listener's (accept(2)). */
        bool is_full = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
        if (is_full) {
            stack->count.tcp_accept_errors++;
            pause_listener(listener);
            mir_timer_set(stack->head.loop, &listener->retry,
                          mir_loop_now(stack->head.loop) + RETRY_US);
        }
        return !is_full && errno != EAGAIN && errno != EBADF && errno != EINVAL;
    }
    if (mir__host_tcp_adopt(stack, fd, MIR__HOST_OPEN, &tcp) < 0)
        return false;
    mir__host_endpoint(&addr, &tcp->remote);
    len = sizeof addr;
    if (getsockname(fd, (struct sockaddr *)&addr, &len) == 0)
        mir__host_endpoint(&addr, &tcp->local);
    stack->count.tcp_accepted++;
    listener->head.on_accept(&listener->head, &tcp->head, listener->head.arg);
    return true;
}

void mir__host_listener_accept(struct mir__host_listener *listener)
{
    struct mir__host_stack *stack = mir__host_of(listener->head.stack);
    listener->is_ready = false;
    for (int i = 0; i < ACCEPT_BATCH && !listener->is_dead; i++) {
        if (mir_pool_used(&stack->tcp_pool) >= stack->limits.tcp_connections_max) {
            stack->count.tcp_accept_paused++;
            pause_listener(listener);
            return;
        }
        if (!accept_one(listener))
            return;
    }
}
