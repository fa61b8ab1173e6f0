/* SPDX-License-Identifier: ISC */
/* A channel and two descriptors, joined: what `mirari vchan` does between the beginning and the
 * end.
 *
 * Nothing is copied here: input is read into the room of the one ring, output is written from the
 * other ring. One poll() waits for all: input if there is room, output if there are bytes, and the
 * bells of the channel. Neither direction waits for the other one, so two that talk past each other
 * do not lock up; where a descriptor could make write() wait, at most what poll() vouches for is
 * written.
 *
 * The end. A channel closes as a whole. When the input ends and the peer has taken everything, the
 * channel is closed - after linger_s without a byte from the peer, or never (is_kept, or the input
 * was empty from the beginning, as that of a job in the background is). When the peer ends, all
 * that it wrote is written out first.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"

#define SURE_BYTES 4096u /* what a pipe takes without waiting when poll() says it is writable */

struct joint {
    struct vchan_end *end;
    bool is_input_over, is_output_over;
    bool had_input;   /* an input that is empty from the beginning closes nothing */
    size_t write_max; /* at once */
    mir_time_us quiet_since_us;
    int status;
};

/* One of the ways of nothing more: true, with the status. */
static bool over(struct joint *joint, int r)
{
    if (r == -MIR_EEOF || r == -MIR_ECLOSED)
        return true;
    if (!joint->end->is_quiet)
        complain("vchan: the peer %s", r == -MIR_ECONNRESET ? "went without closing (killed?)"
                                                            : "does not keep to the rules");
    joint->status = EXIT_FAIL;
    return true;
}

/* Bytes of the input, into the ring. */
static void take(struct joint *joint, void *room, size_t len)
{
    ssize_t n = read(joint->end->in, room, len);
    joint->had_input |= n > 0;
    if (n > 0)
        mir_vchan_commit(&joint->end->vchan, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        joint->is_input_over = true;
    if (joint->is_input_over)
        joint->quiet_since_us = mir_memfd_now();
}

/* Bytes of the ring, to the output. */
static void give(struct joint *joint, const void *there, size_t len)
{
    struct vchan_end *end = joint->end;
    ssize_t n = end->is_socket ? send(end->out, there, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                               : write(end->out, there, MIR_MIN(len, joint->write_max));
    if (n > 0)
        mir_vchan_consume(&end->vchan, (size_t)n);
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        joint->is_output_over = true;
    joint->quiet_since_us = mir_memfd_now();
}

/* After the end of the input: how long to wait on; false if not at all. */
static bool may_wait(struct joint *joint, int *timeout_ms)
{
    const struct vchan_end *end = joint->end;
    *timeout_ms = -1;
    bool is_kept = end->is_kept || (!joint->had_input && !end->is_socket);
    if (!joint->is_input_over || is_kept)
        return true;
    if (mir_vchan_state(&joint->end->vchan) == MIR_VCHAN_WAITING ||
        !mir_vchan_is_drained(&joint->end->vchan))
        return true;
    mir_time_us until_us = joint->quiet_since_us + end->linger_s * MIR_US_PER_S,
                now_us = mir_memfd_now();
    *timeout_ms = now_us < until_us ? (int)((until_us - now_us) / 1000 + 1) : 0;
    return now_us < until_us;
}

/* One turn. False: nothing more will happen. */
static bool turn(struct joint *joint)
{
    struct vchan_end *end = joint->end;
    const void *there = NULL;
    void *room = NULL;
    size_t there_len = 0, room_len = 0;
    int fd[2], timeout_ms = -1, r_out = mir_vchan_peek(&end->vchan, &there, &there_len), r_in = -1;
    if (r_out < 0 && r_out != -MIR_EAGAIN)
        return !over(joint, r_out);
    if (!joint->is_input_over)
        r_in = mir_vchan_room(&end->vchan, &room, &room_len);
    if (r_out < 0 && !may_wait(joint, &timeout_ms))
        return false;
    struct pollfd fds[4] = {
        {.fd = r_in == 0 ? end->in : -1, .events = POLLIN},
        {.fd = end->out, .events = r_out == 0 ? POLLOUT : 0},
    };
    unsigned count = vchan_end_descriptors(end, fd);
    for (unsigned i = 0; i < count; i++)
        fds[2 + i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    if (poll(fds, 2 + count, r_out == 0 ? -1 : timeout_ms) < 0)
        return errno == EINTR;
    vchan_end_poll(end);
    if (fds[0].revents != 0)
        take(joint, room, room_len);
    if (fds[1].revents & POLLOUT)
        give(joint, there, there_len);
    else if (fds[1].revents & (POLLERR | POLLHUP | POLLNVAL))
        joint->is_output_over = !end->is_socket || joint->is_input_over;
    return !joint->is_output_over;
}

int vchan_join(struct vchan_end *end)
{
    struct stat st;
    struct joint joint = {.end = end, .write_max = SURE_BYTES};
    if (fstat(end->out, &st) == 0 && S_ISREG(st.st_mode))
        joint.write_max = SIZE_MAX;
    while (turn(&joint))
        ;
    mir_vchan_close(&end->vchan);
    return joint.status;
}
