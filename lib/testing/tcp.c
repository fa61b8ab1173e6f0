/* SPDX-License-Identifier: ISC */
/* TCP clients for tests: test.echo sends a pattern and compares what comes back, test.send only
 * sends. Both end their direction when all is sent and wait for the end of the other. */
#include "lib/testing/testing.h"

#define CHUNK 1024u

struct tcp_job {
    struct mir__testing_job job; /* first */
    struct mir_tcp *tcp;
    uint64_t total, sent, received, wrong;
    bool is_echo, is_shut, has_end;
};

static void send_more(struct tcp_job *t)
{
    uint8_t chunk[CHUNK];
    while (t->sent < t->total && mir_tcp_send_room(t->tcp) > 0) {
        size_t len = (size_t)MIR_MIN(t->total - t->sent, (uint64_t)sizeof chunk), queued_len = 0;
        mir__testing_pattern(t->sent, chunk, len);
        if (mir_tcp_send(t->tcp, chunk, len, &queued_len) < 0)
            return;
        t->sent += queued_len;
    }
    if (t->sent == t->total && !t->is_shut) {
        t->is_shut = true;
        (void)mir_tcp_shutdown(t->tcp);
    }
}

static void receive(struct tcp_job *t)
{
    struct mir_view view;
    int r;
    while ((r = mir_tcp_recv_view(t->tcp, &view)) == 0) {
        t->wrong += mir__testing_wrong(t->received, view.data, view.len);
        t->received += view.len;
        mir_view_release(&view);
    }
    t->has_end = t->has_end || r == -MIR_EEOF;
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct tcp_job *t = arg;
    receive(t);
    send_more(t);
    if ((events & MIR_TCP_FAILED) != 0)
        mir__testing_job_over(&t->job, mir_tcp_error(tcp));
    else if ((events & MIR_TCP_CLOSED) != 0)
        mir__testing_job_over(&t->job, 0);
}

int mir__testing_tcp_begin(struct mir_rpc_call *call)
{
    struct mir__testing_job *job;
    int r = mir__testing_job_open(call, sizeof(struct tcp_job), &job);
    if (r < 0)
        return r;
    struct tcp_job *t = (struct tcp_job *)(void *)job;
    t->total = mir_rpc_u64(call, "bytes", 10000);
    t->is_echo = mir_memcmp(call->method->name, "test.echo", 10) == 0;
    r = mir_tcp_connect(job->kit->app->stack, &job->to, on_tcp, t, &t->tcp);
    if (r < 0) {
        mir__testing_job_close(call);
        return mir_rpc_fail(call, r, "cannot connect: %s", mir_strerror(r));
    }
    return -MIR_EAGAIN;
}

int mir__testing_tcp_more(struct mir_rpc_call *call)
{
    struct tcp_job *t = (struct tcp_job *)(void *)mir__testing_job_of(call);
    struct mir_tcp_info info;
    if (!t->job.is_over)
        return -MIR_EAGAIN;
    if (t->job.err < 0)
        return mir_rpc_fail(call, t->job.err, "%s, %llu bytes sent and %llu received",
                            mir_strerror(t->job.err), (unsigned long long)t->sent,
                            (unsigned long long)t->received);
    mir_tcp_get_info(t->tcp, &info);
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "sent", t->sent);
    mir_json_member_u64(out, "received", t->received);
    if (t->is_echo)
        mir_json_member_u64(out, "wrong", t->wrong);
    mir_json_member_u64(out, "retransmits", info.retransmits);
    mir_json_member_u64(out, "us", mir__testing_job_us(&t->job));
    mir_json_end(out, '}');
    return 0;
}

void mir__testing_tcp_end(struct mir_rpc_call *call)
{
    struct tcp_job *t = (struct tcp_job *)(void *)mir__testing_job_of(call);
    if (t->job.is_over)
        mir_tcp_close(t->tcp);
    else
        mir_tcp_abort(t->tcp);
    mir__testing_job_close(call);
}
