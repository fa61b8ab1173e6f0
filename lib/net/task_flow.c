/* SPDX-License-Identifier: ISC */
/* TCP from tasks: calls that look blocking, over any stack.
 *
 * A struct mir_tcp_task takes over the connection's handler: events are gathered in a set and the
 * task that waits is woken. Each call tries the operation first and waits only on -MIR_EAGAIN, so
 * an event that came before the wait is never missed: between the try and the wait nothing else
 * runs.
 */
#include <mirari/net.h>

static void on_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_tcp_task *flow = arg;
    (void)tcp;
    flow->events |= events;
    mir_wait_wake_all(&flow->wait);
}

void mir_tcp_task_init(struct mir_tcp_task *flow, struct mir_tcp *tcp)
{
    flow->tcp = tcp;
    flow->events = 0;
    mir_wait_init(&flow->wait);
    mir_tcp_set_handler(tcp, on_event, flow);
}

int mir_tcp_connect_wait(struct mir_stack *stack, const struct mir_endpoint *remote,
                         mir_time_us deadline_us, struct mir_tcp_task *flow)
{
    flow->tcp = NULL;
    flow->events = 0;
    mir_wait_init(&flow->wait);
    int r = mir_tcp_connect(stack, remote, on_event, flow, &flow->tcp);
    if (r < 0)
        return r;
    while ((flow->events & (MIR_TCP_CONNECTED | MIR_TCP_FAILED)) == 0) {
        r = mir_wait_on(stack->loop, &flow->wait, deadline_us);
        if (r == 0)
            continue;
        mir_tcp_abort(flow->tcp);
        flow->tcp = NULL;
        return r;
    }
    if (flow->events & MIR_TCP_CONNECTED)
        return 0;
    r = mir_tcp_error(flow->tcp);
    mir_tcp_close(flow->tcp);
    flow->tcp = NULL;
    return r < 0 ? r : -MIR_ECONNRESET;
}

int mir_tcp_recv_view_wait(struct mir_tcp_task *flow, mir_time_us deadline_us,
                           struct mir_view *view)
{
    for (;;) {
        int r = mir_tcp_recv_view(flow->tcp, view);
        if (r != -MIR_EAGAIN)
            return r;
        r = mir_wait_on(flow->tcp->stack->loop, &flow->wait, deadline_us);
        if (r < 0)
            return r;
    }
}

int mir_tcp_send_wait(struct mir_tcp_task *flow, const void *data, size_t len,
                      mir_time_us deadline_us)
{
    const uint8_t *from = data;
    while (len > 0) {
        size_t queued_len = 0;
        int r = mir_tcp_send(flow->tcp, from, len, &queued_len);
        if (r == -MIR_EAGAIN)
            r = mir_wait_on(flow->tcp->stack->loop, &flow->wait, deadline_us);
        if (r < 0)
            return r;
        from += queued_len;
        len -= queued_len;
    }
    return 0;
}

int mir_tcp_send_view_wait(struct mir_tcp_task *flow, struct mir_view view_given,
                           mir_time_us deadline_us)
{
    const unsigned ended = MIR_TCP_FAILED | MIR_TCP_CLOSED;
    while (mir_tcp_send_room(flow->tcp) == 0 && (flow->events & ended) == 0 &&
           mir_tcp_error(flow->tcp) == 0) {
        int r = mir_wait_on(flow->tcp->stack->loop, &flow->wait, deadline_us);
        if (r < 0) {
            mir_view_release(&view_given);
            return r;
        }
    }
    return mir_tcp_send_view(flow->tcp, view_given);
}

int mir_tcp_send_views(struct mir_tcp *tcp, struct mir_view *views, uint32_t count,
                       uint32_t *queued_count)
{
    int r = 0;
    *queued_count = 0;
    while (r == 0 && *queued_count < count) {
        struct mir_view *view = &views[*queued_count];
        if (mir_tcp_send_room(tcp) == 0 && *queued_count > 0)
            break;
        /* With a reference of its own: a refusal consumes what it was given. */
        struct mir_view copy = view->len > 0 ? mir_view_sub(view, 0, view->len) : *view;
        if (view->len > 0)
            r = mir_tcp_send_view(tcp, copy);
        if (r == 0) {
            mir_view_release(view);
            (*queued_count)++;
        }
    }
    return *queued_count > 0 ? 0 : r;
}

int mir_tcp_send_views_wait(struct mir_tcp_task *flow, struct mir_view *views_given, uint32_t count,
                            mir_time_us deadline_us)
{
    int r = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (r < 0)
            mir_view_release(&views_given[i]);
        else
            r = mir_tcp_send_view_wait(flow, views_given[i], deadline_us);
    }
    return r;
}

void mir_tcp_task_close(struct mir_tcp_task *flow)
{
    if (flow->tcp != NULL)
        mir_tcp_close(flow->tcp);
    flow->tcp = NULL;
}

int mir_stack_wait_address(struct mir_stack *stack, mir_time_us deadline_us, struct mir_ip *ip)
{
    for (;;) {
        struct mir_ip address;
        stack->ops->address(stack, &address);
        if (!mir_ip_is_any(&address)) {
            *ip = address;
            return 0;
        }
        int r = mir_wait_on(stack->loop, &stack->address_ready, deadline_us);
        if (r < 0)
            return r;
    }
}
