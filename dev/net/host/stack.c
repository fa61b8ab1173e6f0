/* SPDX-License-Identifier: ISC */
/* The socket stack: the host's sockets, with the manners of the direct stack.
 *
 * An application cannot tell the two apart, so three habits of the direct stack are kept:
 *
 *   events    handlers are called from the loop, never from inside a call of the application. The
 *             watch of a descriptor only notes what happened and posts the stack's one work item,
 *             which delivers.
 *   batches   what is queued during a step is written at its end by a step hook, so several small
 *             sends become one system call.
 *   lifetime  an object given back inside a handler is freed after the handlers are done.
 *
 * Watches are level-triggered. A connection stops watching for input when READABLE has been
 * delivered and watches again once the application has taken data, so an application that does not
 * read costs nothing and the host's window closes.
 *
 * Limits: connections, listeners, UDP sockets and bytes queued per connection. At the limit of
 * connections accepting pauses, and the host's own backlog fills.
 *
 * Not here: the address changes of the host after start, raw sockets, Unix sockets.
 */
#include <unistd.h>

#include "dev/net/host/internal.h"

static struct mir__host_stack *checked(struct mir_stack *stack);

void mir__host_kick(struct mir__host_stack *stack)
{
    mir_loop_post(stack->head.loop, &stack->work);
}

static void free_dead(struct mir__host_stack *stack)
{
    bool has_room = mir_list_is_linked(&stack->dead);
    for (struct mir_list *link; (link = mir_list_pop_front(&stack->dead)) != NULL;)
        mir__host_tcp_free(MIR_CONTAINER_OF(link, struct mir__host_tcp, pending));
    if (has_room)
        mir__host_listeners_resume(stack);
}

static void serve_listeners(struct mir__host_stack *stack)
{
    mir_list_for_each (link, &stack->listeners) {
        struct mir__host_listener *listener =
            MIR_CONTAINER_OF(link, struct mir__host_listener, all);
        if (listener->is_ready && !listener->is_dead)
            mir__host_listener_accept(listener);
    }
}

static void serve_sockets(struct mir__host_stack *stack)
{
    mir_list_for_each (link, &stack->sockets) {
        struct mir__host_udp *udp = MIR_CONTAINER_OF(link, struct mir__host_udp, all);
        if (udp->is_ready && !udp->is_dead)
            mir__host_udp_receive(udp);
    }
}

/* Listeners and UDP sockets closed while handlers ran. */
static void sweep(struct mir__host_stack *stack)
{
    mir_list_for_each (link, &stack->listeners) {
        struct mir__host_listener *listener =
            MIR_CONTAINER_OF(link, struct mir__host_listener, all);
        if (listener->is_dead) {
            mir_list_remove(&listener->all);
            mir_pool_free(&stack->listener_pool, listener);
        }
    }
    mir_list_for_each (node, &stack->sockets) {
        struct mir__host_udp *udp = MIR_CONTAINER_OF(node, struct mir__host_udp, all);
        if (udp->is_dead) {
            mir_list_remove(&udp->all);
            mir_pool_free(&stack->udp_pool, udp);
        }
    }
}

static void deliver(void *arg)
{
    struct mir__host_stack *stack = arg;
    struct mir_list batch;
    /* Only what is pending now: what handlers cause waits for the next turn. */
    mir_list_init(&batch);
    for (struct mir_list *link; (link = mir_list_pop_front(&stack->pending)) != NULL;)
        mir_list_push_back(&batch, link);
    for (struct mir_list *link; (link = mir_list_pop_front(&batch)) != NULL;)
        mir__host_tcp_deliver(MIR_CONTAINER_OF(link, struct mir__host_tcp, pending));
    serve_listeners(stack);
    serve_sockets(stack);
    sweep(stack);
    free_dead(stack);
}

static void end_step(void *arg)
{
    struct mir__host_stack *stack = arg;
    for (struct mir_list *link; (link = mir_list_pop_front(&stack->dirty)) != NULL;)
        mir__host_tcp_flush(MIR_CONTAINER_OF(link, struct mir__host_tcp, dirty));
}

static void get_stats(struct mir_stack *head,
                      void (*line)(void *arg, const char *name, uint64_t value), void *arg)
{
    struct mir__host_stack *stack = checked(head);
    uint64_t closing = 0;
    mir_list_for_each (node, &stack->connections)
        closing += MIR_CONTAINER_OF(node, struct mir__host_tcp, all)->state == MIR__HOST_LINGERING;
    line(arg, "tcp_connections", mir_pool_used(&stack->tcp_pool));
    line(arg, "tcp_closing", closing);
    line(arg, "tcp_connections_peak", stack->tcp_pool.peak);
    line(arg, "tcp_listeners", mir_pool_used(&stack->listener_pool));
    line(arg, "tcp_accepted", stack->count.tcp_accepted);
    line(arg, "tcp_connected", stack->count.tcp_connected);
    line(arg, "tcp_failed", stack->count.tcp_failed);
    line(arg, "tcp_aborted", stack->count.tcp_aborted);
    line(arg, "tcp_accept_paused", stack->count.tcp_accept_paused);
    line(arg, "tcp_accept_errors", stack->count.tcp_accept_errors);
    line(arg, "udp_sockets", mir_pool_used(&stack->udp_pool));
    line(arg, "udp_in", stack->count.udp_in);
    line(arg, "udp_out", stack->count.udp_out);
    line(arg, "udp_dropped", stack->count.udp_dropped);
    line(arg, "no_memory", stack->count.no_memory);
}

static void get_address(struct mir_stack *head, struct mir_ip *ip)
{
    *ip = checked(head)->address;
}

static const struct mir_stack_ops stack_ops = {
    .kind = "socket",
    .tcp_listen = mir__host_listen,
    .tcp_unlisten = mir__host_unlisten,
    .tcp_connect = mir__host_connect,
    .udp_open = mir__host_udp_open,
    .stats = get_stats,
    .address = get_address,
    .next_flows = mir__host_next_flows,
};

static struct mir__host_stack *checked(struct mir_stack *head)
{
    MIR_ASSERT(head->ops == &stack_ops);
    return mir__host_of(head);
}

static int init_pools(struct mir__host_stack *stack)
{
    struct mir_page_pool *pages = stack->head.pages;
    const struct mir_host_stack_limits *limits = &stack->limits;
    int r = mir_pool_init(&stack->tcp_pool, "host tcp", pages, sizeof(struct mir__host_tcp),
                          limits->tcp_connections_max);
    if (r == 0)
        r = mir_pool_init(&stack->listener_pool, "host listeners", pages,
                          sizeof(struct mir__host_listener), limits->tcp_listeners_max);
    if (r == 0)
        r = mir_pool_init(&stack->udp_pool, "host udp", pages, sizeof(struct mir__host_udp),
                          limits->udp_sockets_max);
    /* Bounded by the queued bytes of all connections: a chunk has at least one. */
    if (r == 0)
        r = mir_pool_init(&stack->chunk_pool, "host chunks", pages, sizeof(struct mir__host_chunk),
                          UINT32_MAX);
    return r;
}

static void apply_defaults(struct mir_host_stack_limits *limits)
{
    if (limits->tcp_connections_max == 0)
        limits->tcp_connections_max = 16384;
    if (limits->tcp_listeners_max == 0)
        limits->tcp_listeners_max = 64;
    if (limits->tcp_sndbuf_bytes == 0)
        limits->tcp_sndbuf_bytes = 256u << 10;
    if (limits->udp_sockets_max == 0)
        limits->udp_sockets_max = 256;
    if (limits->linger_us == 0)
        limits->linger_us = 60 * MIR_US_PER_S;
}

int mir_host_stack_open(const struct mir_host_stack_config *config, struct mir_stack **out)
{
    struct mir_io_page *memory;
    int r = mir_page_alloc(config->pages, sizeof(struct mir__host_stack), MIR_PAGE_ZERO, &memory);
    if (r < 0)
        return r;
    struct mir__host_stack *stack = (struct mir__host_stack *)(void *)memory->base;
    stack->memory = memory;
    stack->head.ops = &stack_ops;
    stack->head.loop = config->loop;
    stack->head.pages = config->pages;
    stack->head.bufs = config->bufs;
    stack->poll = config->poll;
    stack->limits = config->limits;
    apply_defaults(&stack->limits);
    mir_wait_init(&stack->head.address_ready);
    mir_wait_init(&stack->head.tx_ready);
    mir_list_init(&stack->connections);
    mir_list_init(&stack->listeners);
    mir_list_init(&stack->sockets);
    mir_list_init(&stack->pending);
    mir_list_init(&stack->dirty);
    mir_list_init(&stack->dead);
    mir_work_init(&stack->work, deliver, stack);
    stack->hook = (struct mir_step_hook){.run = end_step, .arg = stack};
    r = init_pools(stack);
    if (r < 0) {
        mir_page_release(memory);
        return r;
    }
    mir__host_own_address(&stack->address);
    mir_loop_add_step_hook(config->loop, &stack->hook);
    *out = &stack->head;
    return 0;
}

void mir_host_stack_close(struct mir_stack *head)
{
    struct mir__host_stack *stack = checked(head);
    mir_list_for_each (link, &stack->connections) {
        struct mir__host_tcp *tcp = MIR_CONTAINER_OF(link, struct mir__host_tcp, all);
        if (tcp->state != MIR__HOST_DEAD)
            mir__host_tcp_abort(&tcp->head);
    }
    mir_list_for_each (node, &stack->listeners) {
        struct mir__host_listener *listener =
            MIR_CONTAINER_OF(node, struct mir__host_listener, all);
        if (!listener->is_dead)
            mir__host_unlisten(&listener->head);
    }
    mir_list_for_each (item, &stack->sockets) {
        struct mir__host_udp *udp = MIR_CONTAINER_OF(item, struct mir__host_udp, all);
        if (!udp->is_dead)
            mir__host_udp_close(&udp->head);
    }
    free_dead(stack);
    sweep(stack);
    mir_work_cancel(&stack->work);
    mir_loop_remove_step_hook(&stack->hook);
    mir_pool_fini(&stack->tcp_pool);
    mir_pool_fini(&stack->listener_pool);
    mir_pool_fini(&stack->udp_pool);
    mir_pool_fini(&stack->chunk_pool);
    if (stack->udp_excess != NULL)
        mir_page_release(stack->udp_excess);
    mir_page_release(stack->memory);
}
