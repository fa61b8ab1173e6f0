/* SPDX-License-Identifier: ISC */
/* UDP on any stack: datagrams gathered from views, and sockets used from tasks.
 *
 * A struct mir_udp_task takes over the socket's handlers: datagrams are put into a ring that the
 * caller gave, and the task that waits is woken. What finds the ring full is dropped and counted,
 * as a socket's full receive buffer drops it on other systems; the buffers of the ring are all that
 * a flood can hold. Sending may wait for room in the device, without holding anything.
 */
#include <mirari/net.h>

/* Buffers may be what is missing, and the host's stack does not tell when it has room. */
#define SEND_RETRY_US (10 * MIR_US_PER_MS)

int mir_udp_send_views(struct mir_udp *udp, const struct mir_udp_msg *msg,
                       struct mir_view *views_given, uint32_t view_count)
{
    struct mir_buf *buf = mir_buf_alloc(udp->stack->bufs, MIR_BUF_HEADROOM);
    int r = buf != NULL ? 0 : -MIR_EAGAIN;
    for (uint32_t i = 0; i < view_count; i++) {
        if (r == 0)
            r = mir_buf_add_view(buf, views_given[i]);
        else
            mir_view_release(&views_given[i]);
    }
    if (r == 0)
        return mir_udp_send_msg(udp, msg, buf);
    mir_buf_release(buf);
    return r;
}

int mir_udp_send_wait(struct mir_udp *udp, const struct mir_endpoint *to, const void *data,
                      size_t len, mir_time_us deadline_us)
{
    struct mir_stack *stack = udp->stack;
    struct mir_loop *loop = stack->loop;
    for (;;) {
        int r = mir_udp_send(udp, to, data, len);
        mir_time_us now_us = mir_loop_now(loop);
        if (r != -MIR_EAGAIN)
            return r;
        if (deadline_us <= now_us)
            return -MIR_ETIMEDOUT;
        r = mir_wait_on(loop, &stack->tx_ready, MIR_MIN(deadline_us, now_us + SEND_RETRY_US));
        if (r < 0 && r != -MIR_ETIMEDOUT)
            return r;
    }
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    struct mir_udp_task *task = arg;
    (void)udp;
    if (task->count == task->slot_count) {
        task->dropped++;
        mir_buf_release(buf_given);
        return;
    }
    task->slots[(task->first + task->count) % task->slot_count] =
        (struct mir_udp_slot){.meta = *meta, .buf = buf_given};
    task->count++;
    mir_wait_wake_one(&task->wait);
}

static void on_error(struct mir_udp *udp, const struct mir_udp_error *error, void *arg)
{
    struct mir_udp_task *task = arg;
    (void)udp;
    task->error = error->err;
    mir_wait_wake_one(&task->wait);
}

void mir_udp_task_init(struct mir_udp_task *task, struct mir_udp *udp, struct mir_udp_slot *slots,
                       uint32_t slot_count)
{
    MIR_ASSERT_OP(slot_count, >, 0u);
    *task = (struct mir_udp_task){.udp = udp, .slots = slots, .slot_count = slot_count};
    mir_wait_init(&task->wait);
    mir_udp_set_handler(udp, on_datagram, on_error, task);
}

int mir_udp_recv_wait(struct mir_udp_task *task, mir_time_us deadline_us, struct mir_udp_meta *meta,
                      struct mir_buf **buf)
{
    struct mir_loop *loop = task->udp->stack->loop;
    while (task->count == 0) {
        int r = task->error;
        task->error = 0;
        if (r == 0 && deadline_us <= mir_loop_now(loop))
            r = -MIR_ETIMEDOUT;
        if (r == 0)
            r = mir_wait_on(loop, &task->wait, deadline_us);
        if (r < 0)
            return r;
    }
    struct mir_udp_slot *slot = &task->slots[task->first];
    task->first = (task->first + 1) % task->slot_count;
    task->count--;
    if (meta != NULL)
        *meta = slot->meta;
    *buf = slot->buf;
    return 0;
}

void mir_udp_task_close(struct mir_udp_task *task)
{
    for (; task->count > 0; task->count--) {
        mir_buf_release(task->slots[task->first].buf);
        task->first = (task->first + 1) % task->slot_count;
    }
    if (task->udp != NULL)
        mir_udp_close(task->udp);
    task->udp = NULL;
}
