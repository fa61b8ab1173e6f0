/* SPDX-License-Identifier: ISC */
/* The pump of a connection: B <-> stack.
 *
 * From the program. The queue towards B is never empty once the program was told of the connection
 * (cmd/socket/proto.h, THE PILL). B has a peek offset (SO_PEEK_OFF): receiving with MSG_PEEK goes
 * on where it last stopped and leaves the bytes where they are.
 *
 *      queue of B:  [ old: seen already | new: not seen ]
 *                                       ^ peek offset
 *
 *   - little data (requests): peek. One system call, one copy. What was peeked is old; it is taken
 *     away in one go after PEEKS_MAX receptions or OLD_MAX bytes, but for one byte
 *   - much data: FIONREAD, then one receive that swallows the old and moves all of the new but one
 *     byte into a page run, which goes to the stack by reference. That one byte is then peeked
 *
 * So the last message always stays: its memory counts against the buffer of A, and is less than
 * what would make A not writable. So do old bytes: they may have been written one by one, each with
 * the memory of a message, so that a few hundred of them fill A and nothing more ever comes. More
 * than OLD_SMALL of them stay for TIDY_US only.
 *
 * Back-pressure. Without room in the stack nothing is read from B: the program's buffer fills, it
 * blocks. Without room in B nothing is taken from the stack: the window closes. Events come at
 * edges only, so each direction runs until it is blocked or has had its turn.
 *
 * The end.
 *   peer's FIN      after all data: shutdown(B, SHUT_WR); A reads 0
 *   program's FIN   B reads 0: mir_tcp_shutdown()
 *   both            B is emptied, so that A sees no reset, and closed
 *   A closed        the same as FIN for TCP; bytes that A had not read give ECONNRESET at B: abort
 *   RST, timeout    B is closed with the pill in it: A sees a reset
 */
#include "cmd/mirari-socketd/socketd.h"

#include <sys/ioctl.h>

#define PEEK_BYTES 16384u
#define PEEKS_MAX  16u
#define OLD_MAX    16384u
#define OLD_SMALL  64u /* messages of one byte: still less than what would make A not writable */
#define TIDY_US    2000
#define RUN_BYTES  (16u * MIR_PAGE_SIZE)

static uint8_t scratch[PEEK_BYTES];
static uint8_t trash[65536];

static void pump_in(struct sd_socket *s);
static void pump_out(struct sd_socket *s);

/* ---- the old bytes ----------------------------------------------------------------------------
 */

/* Take old bytes out of the queue until @left remain. */
static void take_away(struct sd_socket *s, uint32_t left)
{
    while (s->old > left) {
        size_t want = MIR_MIN(s->old - left, (uint32_t)sizeof trash);
        ssize_t got = recv(s->watch.fd, trash, want, MSG_DONTWAIT);
        if (got <= 0)
            break; /* somebody else has read there: it is his loss */
        s->old -= (uint32_t)got;
    }
    s->peeks = 0;
}

static void set_offset(const struct sd_socket *s)
{
    int offset = (int)s->old;
    (void)setsockopt(s->watch.fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset);
}

void sd_stream_tidy(void *arg)
{
    struct sd_socket *s = arg;
    if (s->state == SOCK_S_CONNECTED && s->old > OLD_SMALL)
        take_away(s, 1);
}

void sd_stream_drain(struct sd_socket *s)
{
    if (s->old > 1) {
        take_away(s, 1);
        set_offset(s);
    }
}

void sd_stream_forget(struct sd_socket *s, uint32_t skip)
{
    int there = 0;
    s->old += MIR_MIN(skip, SD_SKIP_MAX);
    if ((s->state == SOCK_S_NEW || s->state == SOCK_S_BOUND) &&
        ioctl(s->watch.fd, FIONREAD, &there) == 0 && (uint32_t)there > s->old)
        s->old = (uint32_t)there;
}

int sd_stream_unsent(const struct sd_socket *s)
{
    struct mir_tcp_info info = {.send_queue_bytes = 0};
    int there = 0;
    if (s->tcp == NULL || s->state != SOCK_S_CONNECTED)
        return 0;
    mir_tcp_get_info(s->tcp, &info);
    if (ioctl(s->watch.fd, FIONREAD, &there) < 0 || (uint32_t)there < s->old)
        there = (int)s->old;
    return (int)(info.send_queue_bytes + (uint32_t)there - s->old);
}

int sd_stream_empty(struct sd_socket *s)
{
    ssize_t got;
    s->old = 0;
    while ((got = recv(s->watch.fd, trash, sizeof trash, MSG_DONTWAIT)) > 0)
        ;
    return got < 0 ? errno : 0;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* Nothing more will come from either side: A must not see a reset. */
static void finish(struct sd_socket *s)
{
    bool is_unread = sd_stream_empty(s) == ECONNRESET || s->is_unread; /* by A, before its end */
    if (s->fin_out && !is_unread) /* A closed, or shut? Its names may still be asked for */
        sd_socket_end(s);
    else
        sd_socket_free(s, is_unread);
}

/* The end of the stream may be seen before the event that tells that A was closed. */
static bool is_closed(const struct sd_socket *s)
{
    struct pollfd look = {.fd = s->watch.fd};
    const struct timespec now = {0};
    return ppoll(&look, 1, &now, NULL) > 0 && (look.revents & POLLHUP) != 0;
}

static void told_eof(struct sd_socket *s)
{
    s->eof_in = true;
    s->is_hup = s->is_hup || is_closed(s);
    if (s->is_hup) {
        finish(s);
        return;
    }
    if (mir_tcp_shutdown(s->tcp) < 0)
        s->is_deaf = true; /* the connection has failed: its event comes */
}

/* B says that it is broken. */
static void broken(struct sd_socket *s, int error)
{
    if (error != ECONNRESET)
        MIR_LOG(APP, DEBUG, "end of a socket: errno %d", error);
    sd_socket_free(s, true);
}

static void told_reset(struct sd_socket *s, int err)
{
    s->so_error = mir_host_errno(err);
    sd.count.resets_told++;
    sd_socket_end(s);
}

/* ---- from the program -------------------------------------------------------------------------
 */

static void post(struct sd_socket *s)
{
    mir_loop_post(sd.app->loop, &s->work);
}

/* What was peeked goes to the stack; what finds no room is seen again. Returns false when it is
 * full. */
static bool queue_copy(struct sd_socket *s, const uint8_t *data, uint32_t len)
{
    size_t queued = 0;
    if (mir_tcp_send(s->tcp, data, len, &queued) < 0)
        queued = 0;
    s->old += (uint32_t)queued;
    s->bytes_out += queued;
    sd.count.stream_in_bytes += queued;
    if (queued == len)
        return true;
    set_offset(s);
    return false;
}

enum outcome { MORE, NOTHING, GONE };

/* Returns GONE when @s does not exist any more. */
static enum outcome read_failed(struct sd_socket *s, ssize_t got)
{
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return NOTHING;
    if (got == 0)
        told_eof(s);
    else
        broken(s, errno);
    return GONE; /* or at its end: nothing more to do in either case */
}

static enum outcome read_little(struct sd_socket *s, uint32_t room)
{
    uint32_t want = MIR_MIN(room, PEEK_BYTES);
    struct iovec iov = {scratch, want};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t got = recvmsg(s->watch.fd, &msg, MSG_PEEK | MSG_DONTWAIT);
    sd.count.stream_in_reads++;
    if (got <= 0)
        return read_failed(s, got);
    bool is_all = queue_copy(s, scratch, (uint32_t)got);
    s->is_bulk = (size_t)got == PEEK_BYTES;
    if (++s->peeks >= PEEKS_MAX || s->old >= OLD_MAX)
        take_away(s, 1);
    else if (s->old > OLD_SMALL && !mir_timer_is_set(&s->tidy))
        mir_timer_set(sd.app->loop, &s->tidy, mir_loop_now(sd.app->loop) + TIDY_US);
    /* A short read is all that there was, but for the end, which comes as one event with the last
     * bytes, and at descriptors that somebody put among them. */
    bool may_be_more = (size_t)got == want || s->is_last || (msg.msg_flags & MSG_CTRUNC) != 0;
    return is_all && may_be_more ? MORE : NOTHING;
}

/* All that is there but one byte, by reference. */
static enum outcome read_much(struct sd_socket *s, uint32_t room)
{
    struct mir_io_page *page;
    int there = 0;
    s->is_bulk = false;
    if (s->old > sizeof trash)
        take_away(s, 1);
    if (s->old > sizeof trash || ioctl(s->watch.fd, FIONREAD, &there) < 0 ||
        (uint32_t)there < s->old + PEEK_BYTES)
        return read_little(s, room); /* also when somebody else has read there */
    uint32_t want = MIR_MIN((uint32_t)there - s->old - 1, MIR_MIN(room, RUN_BYTES));
    if (mir_page_alloc(sd.app->pages, want, MIR_PAGE_OVERWRITE, &page) < 0)
        return read_little(s, room);
    struct iovec iov[2] = {{trash, s->old}, {page->base, want}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t got = recvmsg(s->watch.fd, &msg, MSG_DONTWAIT);
    sd.count.stream_in_reads++;
    if (got <= (ssize_t)s->old) {
        mir_page_release(page);
        if (got <= 0)
            return read_failed(s, got);
        s->old -= (uint32_t)got;
        return MORE;
    }
    uint32_t len = (uint32_t)got - s->old;
    s->old = 0;
    s->peeks = 0;
    s->is_bulk = true;
    struct mir_view view = mir_view_of_page(page, 0, len);
    mir_page_release(page);
    s->bytes_out += len;
    sd.count.stream_in_bytes += len;
    /* There was room for it; a connection that failed meanwhile tells so by its event. */
    return mir_tcp_send_view(s->tcp, view) == 0 ? MORE : NOTHING;
}

static void pump_in(struct sd_socket *s)
{
    uint32_t moved = 0;
    while (s->tcp != NULL && s->state == SOCK_S_CONNECTED && !s->eof_in && !s->is_filling) {
        uint32_t room = mir_tcp_send_room(s->tcp);
        if (room == 0)
            return; /* WRITABLE follows */
        if (moved >= SD_TURN_BYTES) {
            post(s);
            return;
        }
        uint64_t before = s->bytes_out;
        enum outcome outcome = s->is_bulk ? read_much(s, room) : read_little(s, room);
        if (outcome != MORE)
            return;
        moved += (uint32_t)(s->bytes_out - before);
    }
}

/* ---- to the program ---------------------------------------------------------------------------
 */

static void drop_held(struct sd_socket *s, size_t bytes)
{
    uint32_t gone = 0;
    while (gone < s->held_count && bytes >= s->held[gone].len) {
        bytes -= s->held[gone].len;
        mir_view_release(&s->held[gone++]);
    }
    if (gone < s->held_count && bytes > 0)
        mir_view_shrink_front(&s->held[gone], (uint32_t)bytes);
    s->held_count -= gone;
    if (gone > 0)
        memmove(s->held, s->held + gone, s->held_count * sizeof s->held[0]);
}

void sd_stream_release(struct sd_socket *s)
{
    drop_held(s, SIZE_MAX);
}

/* The program does not get what came for it: as in TCP, its closing is a reset then. */
static void drop_unread(struct sd_socket *s)
{
    s->is_deaf = true;
    s->is_unread = true;
    drop_held(s, SIZE_MAX);
}

/* Returns false when B takes no more. */
static bool write_held(struct sd_socket *s)
{
    struct iovec iov[SD_HELD_MAX];
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = s->held_count};
    size_t total = 0;
    for (uint32_t i = 0; i < s->held_count; i++) {
        iov[i] = (struct iovec){(void *)(uintptr_t)s->held[i].data, s->held[i].len};
        total += s->held[i].len;
    }
    if (s->is_deaf) {
        drop_unread(s);
        return true;
    }
    ssize_t put = sendmsg(s->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    sd.count.stream_out_writes++;
    if (put < 0 && errno != EAGAIN && errno != EINTR) {
        drop_unread(s); /* closed, or shut for reading: a hang-up tells which */
        return true;
    }
    if (put > 0) {
        sd.count.stream_out_bytes += (uint64_t)put;
        s->bytes_in += (uint64_t)put;
        drop_held(s, (size_t)put);
    }
    if (put == (ssize_t)total)
        return true;
    s->out_full = true;
    sd_watch_set(s, MIR_HOST_IN | MIR_HOST_OUT);
    return false;
}

static void told_fin(struct sd_socket *s)
{
    s->fin_out = true;
    (void)shutdown(s->watch.fd, SHUT_WR);
    if (s->eof_in)
        finish(s);
}

static void pump_out(struct sd_socket *s)
{
    uint32_t moved = 0;
    int r = 0;
    while (s->tcp != NULL && s->state == SOCK_S_CONNECTED && !s->out_full && !s->fin_out) {
        while (s->held_count < SD_HELD_MAX && r == 0) {
            r = mir_tcp_recv_view(s->tcp, &s->held[s->held_count]);
            if (r == 0)
                moved += s->held[s->held_count++].len;
        }
        if (s->held_count > 0 && !write_held(s))
            return;
        if (r == -MIR_EEOF)
            told_fin(s);
        if (r != 0)
            return; /* FAILED follows if that is it */
        if (moved >= SD_TURN_BYTES) {
            post(s);
            return;
        }
    }
}

/* ---- being connected --------------------------------------------------------------------------
 */

/* The program looks with poll when it is there: so A must be full. */
static void answer_begun(struct sd_socket *s)
{
    struct sock_names names;
    s->is_filling = true;
    sd_names(s, &names);
    sd_wake(s, -EINPROGRESS, &names, sizeof names);
}

void sd_stream_moment_over(void *arg)
{
    struct sd_socket *s = arg;
    sd.handshake_us = SD_SOON_US;
    if (s->waiter.control != NULL)
        answer_begun(s);
}

/* Peers nearby answer while the client would still be filling A. Whether this one does is judged by
 * the last one, so that who connects to many far ones does not wait a moment for each. */
int sd_stream_soon(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    if (sd.handshake_us >= SD_SOON_US || sd_wait(call, s) < 0) {
        s->is_filling = true;
        return sd_reply_names(call, -EINPROGRESS);
    }
    s->waiter.is_soon = true;
    mir_timer_set(sd.app->loop, &s->soon, s->began_us + SD_SOON_US);
    return 0;
}

int sd_op_filled(struct sd_call *call)
{
    struct sd_socket *s = call->socket;
    struct sock_filled filled;
    memcpy(&filled, call->body, sizeof filled);
    sd_reply(call, 0, NULL, 0); /* now: it may be gone afterwards */
    if (!s->is_filling)
        return 0;
    s->is_filling = false;
    s->old += MIR_MIN(filled.skip, SD_SKIP_MAX);
    if (s->state == SOCK_S_CONNECTED)
        sd_stream_start(s);
    return 0;
}

/* ---- events -----------------------------------------------------------------------------------
 */

void sd_stream_start(struct sd_socket *s)
{
    s->state = SOCK_S_CONNECTED;
    sd_stream_drain(s);
    pump_in(s);
}

/* A step may have freed the socket; its handle knows. */
static bool is_still(const struct sd_socket *s, uint64_t handle, const struct mir_tcp *tcp)
{
    return sd_socket_find(handle) == s && s->tcp == tcp;
}

static void connected(struct sd_socket *s)
{
    struct sock_names names;
    s->state = SOCK_S_CONNECTED; /* with a name of the peer */
    sd.handshake_us = mir_loop_now(sd.app->loop) - s->began_us;
    sd_names(s, &names);
    sd_wake(s, 0, &names, sizeof names);
    if (!s->is_filling)
        sd_stream_start(s);
}

/* The attempt has failed. Who waits may try again; who does not finds A broken. */
static void not_connected(struct sd_socket *s, int err)
{
    sd.count.connect_failures++;
    if (s->waiter.control != NULL && s->waiter.is_soon)
        answer_begun(s);
    if (s->waiter.control == NULL) {
        told_reset(s, err);
        return;
    }
    mir_tcp_close(s->tcp);
    s->tcp = NULL;
    s->state = s->has_local ? SOCK_S_BOUND : SOCK_S_NEW;
    memset(&s->remote, 0, sizeof s->remote);
    sd_wake(s, -mir_host_errno(err), NULL, 0);
}

/* The program is told when it has what was taken from the stack before. */
static void failed(struct sd_socket *s, int err)
{
    if (s->state == SOCK_S_CONNECTING)
        not_connected(s, err);
    else if (s->held_count == 0)
        told_reset(s, err);
    else
        s->end_err = err;
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct sd_socket *s = arg;
    uint64_t handle = s->handle;
    if (events & MIR_TCP_CONNECTED && s->state == SOCK_S_CONNECTING)
        connected(s);
    if (events & MIR_TCP_READABLE && is_still(s, handle, tcp))
        pump_out(s);
    if (events & MIR_TCP_WRITABLE && is_still(s, handle, tcp))
        pump_in(s);
    if (events & MIR_TCP_FAILED && is_still(s, handle, tcp))
        failed(s, mir_tcp_error(tcp));
}

void sd_stream_attach(struct sd_socket *s, struct mir_tcp *tcp_given)
{
    s->tcp = tcp_given;
    mir_tcp_set_handler(tcp_given, on_tcp, s);
    sd_options_apply(s);
}

/* Nobody is connected yet: is anybody there? */
static void idle_ready(struct sd_socket *s, unsigned events)
{
    if (events & MIR_HOST_HANGUP)
        sd_socket_free(s, true);
}

void sd_stream_ready(struct sd_socket *s, unsigned events)
{
    uint64_t handle = s->handle;
    if (events & MIR_HOST_HANGUP)
        s->is_hup = true;
    if (events & (MIR_HOST_HANGUP | MIR_HOST_END))
        s->is_last = true;
    if (s->state != SOCK_S_CONNECTED || (s->is_filling && s->is_hup)) {
        idle_ready(s, events);
        return;
    }
    if (s->out_full && events & (MIR_HOST_OUT | MIR_HOST_ERROR)) {
        s->out_full = false;
        sd_watch_set(s, MIR_HOST_IN);
    }
    pump_in(s);
    /* It may be gone: the handle knows. */
    if (sd_socket_find(handle) == s && s->state == SOCK_S_CONNECTED && s->tcp != NULL) {
        if (s->eof_in && s->is_hup)
            finish(s);
        else
            pump_out(s);
    }
    if (sd_socket_find(handle) == s && s->end_err != 0 && s->held_count == 0)
        told_reset(s, s->end_err);
}
