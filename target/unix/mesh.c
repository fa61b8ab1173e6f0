/* SPDX-License-Identifier: ISC */
/* Frames from worker to worker: what dev/net/share decides is carried here.
 *
 * Each worker has an inbox, a packet socket whose other end all its peers have. A message is a
 * small head (which network, offload fields) and the frame. It never waits: a full inbox loses the
 * frame, as a full queue of the host would, and counts it. What comes is checked like what a device
 * says: a peer may have been taken over.
 *
 * A worker that replaces another one has an inbox of its own at first, into which the old worker
 * passes what it no longer wants; when the old one has ended, it reads that one's inbox as well.
 *
 * The old worker leaves when it has no connection any more, or after LEAVE_US.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/log.h>

#include "dev/net/share/share.h"
#include "target/unix/workers.h"

#define FRAME_MAX  (65535u + 64u)
#define BATCH      64u
#define LEAVE_US   (10 * MIR_US_PER_S)
#define LOOK_US    (20 * MIR_US_PER_MS)
#define KEPT_FLAGS (MIR_BUF_CSUM_VALID | MIR_BUF_CSUM_PARTIAL | MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6)

struct head {
    uint16_t net;
    uint16_t flags;
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint16_t zero;
};

/* ---- out ------------------------------------------------------------------------------------- */

static void pass(void *arg, uint32_t to, const struct mir_buf *buf)
{
    struct mir__mesh_net *place = arg;
    struct mir__worker *w = place->worker;
    struct head head = {.net = (uint16_t)place->net,
                        .flags = buf->flags & KEPT_FLAGS,
                        .gso_size = buf->gso_size,
                        .csum_start = buf->csum_start,
                        .csum_offset = buf->csum_offset};
    struct iovec iov[2 + MIR_BUF_FRAG_MAX] = {{&head, sizeof head}, {buf->data, buf->len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    int fd = to == MIR_SHARE_SUCCESSOR ? w->successor : to < w->count ? w->peers[to] : -1;
    for (uint32_t i = 0; i < buf->frag_count; i++) {
        /* sendmsg only reads; its type cannot say so. */
        void *data = (void *)(uintptr_t)buf->frag[i].data;
        iov[msg.msg_iovlen++] = (struct iovec){data, buf->frag[i].len};
    }
    if (fd < 0 || sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        w->lost++;
}

/* ---- in -------------------------------------------------------------------------------------- */

static bool is_good(const struct mir__unix *u, const struct head *head, size_t len)
{
    bool has_sum = (size_t)head->csum_start + head->csum_offset + 2 <= len;
    return head->net < u->options.net_count && u->nets[head->net].share != NULL &&
           !(head->flags & ~KEPT_FLAGS) && (!(head->flags & MIR_BUF_CSUM_PARTIAL) || has_sum);
}

static struct mir_buf *make_buf(struct mir__unix *u, const struct head *head, const uint8_t *data,
                                size_t len)
{
    struct mir_buf *buf = len <= MIR_BUF_HEAD_BYTES ? mir_buf_alloc(&u->bufs, 0)
                                                    : mir_buf_alloc_page(&u->bufs, len, 0);
    if (buf == NULL)
        return NULL;
    mir_memcpy(mir_buf_append(buf, (uint32_t)len), data, len);
    buf->flags |= head->flags;
    buf->gso_size = head->gso_size;
    buf->csum_start = head->csum_start;
    buf->csum_offset = head->csum_offset;
    return buf;
}

/* Returns the network it was for, or -1: none left, -2: lost. */
static int take_frame(struct mir__unix *u, int fd)
{
    static uint8_t frame[FRAME_MAX];
    struct head head;
    struct iovec iov[2] = {{&head, sizeof head}, {frame, sizeof frame}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);
    if (n <= 0)
        return -1;
    size_t len = (size_t)n - MIR_MIN((size_t)n, sizeof head);
    struct mir_buf *buf = len > 0 && !(msg.msg_flags & MSG_TRUNC) && is_good(u, &head, len)
                              ? make_buf(u, &head, frame, len)
                              : NULL;
    if (buf == NULL) {
        u->worker->lost++;
        return -2;
    }
    mir_share_give(u->nets[head.net].share, buf);
    return head.net;
}

static void on_inbox(void *arg, unsigned events)
{
    struct mir__inbox *inbox = arg;
    struct mir__unix *u = inbox->u;
    bool has_some[MIR_APP_NETS_MAX] = {false};
    int net = 0;
    (void)events;
    for (unsigned i = 0; i < BATCH && net != -1; i++) {
        net = take_frame(u, inbox->watch.fd);
        if (net >= 0)
            has_some[net] = true;
    }
    for (unsigned i = 0; i < MIR_APP_NETS_MAX; i++) {
        if (has_some[i])
            mir_share_give_end(u->nets[i].share);
    }
}

int mir__mesh_listen(struct mir__unix *u, int fd)
{
    struct mir__worker *w = u->worker;
    if (fd < 0)
        return 0;
    if (w->inbox_count == MIR_ARRAY_LEN(w->inboxes)) {
        close(fd);
        return -MIR_ELIMIT;
    }
    struct mir__inbox *inbox = &w->inboxes[w->inbox_count++];
    inbox->u = u;
    inbox->watch =
        (struct mir_host_watch){.fd = fd, .events = MIR_HOST_IN, .ready = on_inbox, .arg = inbox};
    return u->poll.base.ops->add(&u->poll.base, &inbox->watch);
}

struct mir_net_dev *mir__mesh_share(struct mir__unix *u, uint32_t net, struct mir_share *share,
                                    struct mir_net_dev *inner)
{
    struct mir__worker *w = u->worker;
    w->mesh[net] = (struct mir__mesh_net){.worker = w, .net = net};
    struct mir_share_config config = {
        .inner = inner, .index = w->index, .count = w->count, .pass = pass, .arg = &w->mesh[net]};
    mir_share_init(share, &config);
    return &share->wrap.dev;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void take_count(void *arg, const char *name, uint64_t value)
{
    if (strcmp(name, "tcp_connections") == 0)
        *(uint64_t *)arg = value;
}

static void look(void *arg)
{
    struct mir__unix *u = arg;
    struct mir__worker *w = u->worker;
    mir_time_us now_us = mir_loop_now(&u->loop);
    uint64_t connections = 0;
    if (u->app.stack != NULL)
        u->app.stack->ops->stats(u->app.stack, take_count, &connections);
    if (connections > 0 && now_us < w->leave_until_us)
        mir_timer_set(&u->loop, &w->leave_timer, now_us + LOOK_US);
    else
        mir__worker_end(u, "replaced");
}

void mir__mesh_leave(struct mir__unix *u, int fd)
{
    struct mir__worker *w = u->worker;
    if (w->successor >= 0 || u->net == NULL) {
        close(fd);
        mir__worker_end(u, "replaced");
        return;
    }
    w->successor = fd;
    for (uint32_t i = 0; i < u->options.net_count; i++) {
        if (u->nets[i].share != NULL)
            mir_share_leave(u->nets[i].share, u->net);
    }
    w->leave_until_us = mir_loop_now(&u->loop) + LEAVE_US;
    mir_timer_init(&w->leave_timer, look, u);
    mir_timer_set(&u->loop, &w->leave_timer, mir_loop_now(&u->loop) + LOOK_US);
}
