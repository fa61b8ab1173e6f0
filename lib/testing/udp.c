/* SPDX-License-Identifier: ISC */
/* A UDP client for tests: numbered datagrams to an echo service, one at a time, each again until it
 * is answered. Answers to earlier tries are neither right nor wrong. */
#include <mirari/bytes.h>
#include <mirari/udp.h>

#include "lib/testing/testing.h"

#define BYTES_MIN 8u
#define BYTES_MAX 1400u
#define AGAIN_US  (200u * 1000u)
#define TRIES_MAX 200u /* of one datagram */

struct udp_job {
    struct mir__testing_job job; /* first */
    struct mir_udp *udp;
    struct mir_timer again;
    uint32_t count, bytes, answered, sent, wrong, tries;
    uint8_t datagram[BYTES_MAX];
};

static void transmit(struct udp_job *u)
{
    struct mir_loop *loop = u->job.kit->app->loop;
    if (u->tries++ == TRIES_MAX) {
        mir__testing_job_over(&u->job, -MIR_ETIMEDOUT);
        return;
    }
    mir_put_be64(u->datagram, u->answered);
    mir__testing_pattern(u->answered, u->datagram + 8, u->bytes - 8);
    u->sent++;
    (void)mir_udp_send(u->udp, &u->job.to, u->datagram, u->bytes);
    mir_timer_set(loop, &u->again, mir_loop_now(loop) + AGAIN_US);
}

static void on_again(void *arg)
{
    transmit(arg);
}

static void on_answer(struct mir_udp *udp, const struct mir_udp_meta *meta,
                      struct mir_buf *buf_given, void *arg)
{
    struct udp_job *u = arg;
    struct mir_buf *buf = mir_buf_linearize(u->job.kit->app->bufs, buf_given, 0);
    (void)udp;
    (void)meta;
    mir_buf_release(buf_given);
    if (buf == NULL)
        return;
    bool is_now = buf->len >= 8 && mir_get_be64(buf->data) == u->answered && !u->job.is_over;
    bool is_right = buf->len == u->bytes && mir_memcmp(buf->data, u->datagram, u->bytes) == 0;
    mir_buf_release(buf);
    if (!is_now)
        return;
    u->wrong += !is_right;
    u->answered++;
    u->tries = 0;
    if (u->answered == u->count)
        mir__testing_job_over(&u->job, 0);
    else
        transmit(u);
}

int mir__testing_udp_begin(struct mir_rpc_call *call)
{
    struct mir_endpoint any = {.port = 0};
    struct mir__testing_job *job;
    uint64_t bytes = mir_rpc_u64(call, "bytes", 100);
    if (bytes < BYTES_MIN || bytes > BYTES_MAX)
        return mir_rpc_fail(call, -MIR_EINVAL, "bytes: a datagram has %u to %u here", BYTES_MIN,
                            BYTES_MAX);
    int r = mir__testing_job_open(call, sizeof(struct udp_job), &job);
    if (r < 0)
        return r;
    struct udp_job *u = (struct udp_job *)(void *)job;
    u->bytes = (uint32_t)bytes;
    u->count = (uint32_t)mir_rpc_u64(call, "count", 10);
    r = mir_udp_open(job->kit->app->stack, &any, on_answer, u, &u->udp);
    if (r < 0) {
        mir__testing_job_close(call);
        return r;
    }
    ((void **)call->state)[1] = u; /* for the method that has both kinds */
    mir_timer_init(&u->again, on_again, u);
    if (u->count > 0)
        transmit(u);
    else
        mir__testing_job_over(job, 0);
    return -MIR_EAGAIN;
}

int mir__testing_udp_more(struct mir_rpc_call *call)
{
    struct udp_job *u = (struct udp_job *)(void *)mir__testing_job_of(call);
    if (!u->job.is_over)
        return -MIR_EAGAIN;
    if (u->job.err < 0)
        return mir_rpc_fail(call, u->job.err, "%u of %u datagrams were answered, %u sent",
                            u->answered, u->count, u->sent);
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "answered", u->answered);
    mir_json_member_u64(out, "sent", u->sent);
    mir_json_member_u64(out, "wrong", u->wrong);
    mir_json_member_u64(out, "us", mir__testing_job_us(&u->job));
    mir_json_end(out, '}');
    return 0;
}

void mir__testing_udp_end(struct mir_rpc_call *call)
{
    struct udp_job *u = (struct udp_job *)(void *)mir__testing_job_of(call);
    mir_timer_cancel(&u->again);
    mir_udp_close(u->udp);
    mir__testing_job_close(call);
}
