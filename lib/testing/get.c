/* SPDX-License-Identifier: ISC */
/* An HTTP client for tests: the same page again and again, each time over a connection of its own,
 * several at a time. Of an answer it looks at the status and counts the bytes of the body; what
 * HTTP says about it otherwise is for tests of their own. */
#include <mirari/format.h>

#include "lib/testing/testing.h"

#define LANES_MAX 16u

struct get_job;

/** One connection after another. */
struct lane {
    struct get_job *get;
    struct mir_tcp *tcp; /* NULL: has nothing to do */
    uint32_t status_at;  /* bytes of the status line seen, up to 12 */
    char status[12];     /* "HTTP/1.1 200" */
    uint8_t ends;        /* bytes of the empty line seen: 4 = in the body */
};

struct get_job {
    struct mir__testing_job job; /* first */
    char request[256];
    size_t request_len;
    uint64_t wanted, begun, good, failed, bytes;
    uint32_t last_status, open;
    int last_error;
    struct lane lane[LANES_MAX];
};

static void take(struct lane *lane, const uint8_t *data, uint32_t len)
{
    static const char empty_line[4] = "\r\n\r\n";
    uint32_t i = 0;
    for (; i < len && lane->ends < 4; i++) {
        if (lane->status_at < sizeof lane->status)
            lane->status[lane->status_at++] = (char)data[i];
        bool is_next = data[i] == (uint8_t)empty_line[lane->ends];
        lane->ends = is_next ? lane->ends + 1 : data[i] == '\r';
    }
    lane->get->bytes += len - i;
}

static void next_request(struct lane *lane);

static void finish(struct lane *lane, int err)
{
    struct get_job *get = lane->get;
    uint64_t status = 0;
    if (lane->status_at == sizeof lane->status && lane->ends == 4 &&
        mir_parse_u64(lane->status + 9, 3, 999, &status) < 0)
        status = 0;
    get->last_status = (uint32_t)status;
    get->good += err == 0 && status >= 200 && status < 300;
    get->failed += err != 0 || status < 200 || status >= 300;
    get->last_error = err != 0 ? err : get->last_error;
    mir_tcp_close(lane->tcp);
    lane->tcp = NULL;
    get->open--;
    next_request(lane);
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct lane *lane = arg;
    struct mir_view view;
    size_t queued_len;
    int r = 0;
    if ((events & MIR_TCP_CONNECTED) != 0)
        r = mir_tcp_send(tcp, lane->get->request, lane->get->request_len, &queued_len);
    while (r == 0 && (r = mir_tcp_recv_view(tcp, &view)) == 0) {
        take(lane, view.data, view.len);
        mir_view_release(&view);
    }
    if ((events & MIR_TCP_FAILED) != 0)
        finish(lane, mir_tcp_error(tcp));
    else if (r == -MIR_EEOF || (events & MIR_TCP_CLOSED) != 0)
        finish(lane, 0);
    else if (r < 0 && r != -MIR_EAGAIN)
        finish(lane, r);
}

static void next_request(struct lane *lane)
{
    struct get_job *get = lane->get;
    while (get->begun < get->wanted && lane->tcp == NULL) {
        get->begun++;
        lane->status_at = 0;
        lane->ends = 0;
        int r = mir_tcp_connect(get->job.kit->app->stack, &get->job.to, on_tcp, lane, &lane->tcp);
        get->open += r == 0;
        get->failed += r < 0;
        get->last_error = r < 0 ? r : get->last_error;
        if (r < 0)
            lane->tcp = NULL;
    }
    if (get->open == 0 && get->begun == get->wanted)
        mir__testing_job_over(&get->job, 0);
}

int mir__testing_get_begin(struct mir_rpc_call *call)
{
    struct mir__testing_job *job;
    char path[128] = "/", host[MIR_ENDPOINT_TEXT_MAX];
    int r = mir_rpc_text(call, "path", path, sizeof path);
    if (r < 0 && r != -MIR_ENOENT)
        return mir_rpc_fail(call, r, "path: at most %zu bytes", sizeof path - 1);
    r = mir__testing_job_open(call, sizeof(struct get_job), &job);
    if (r < 0)
        return r;
    struct get_job *get = (struct get_job *)(void *)job;
    get->wanted = mir_rpc_u64(call, "count", 1);
    get->request_len = mir_format(get->request, sizeof get->request,
                                  "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
                                  mir_endpoint_text(&job->to, host));
    uint64_t lanes = mir_rpc_u64(call, "parallel", 1);
    lanes = MIR_MAX(1u, MIR_MIN(lanes, LANES_MAX));
    for (uint64_t i = 0; i < lanes; i++) {
        get->lane[i].get = get;
        next_request(&get->lane[i]);
    }
    return -MIR_EAGAIN;
}

int mir__testing_get_more(struct mir_rpc_call *call)
{
    struct get_job *get = (struct get_job *)(void *)mir__testing_job_of(call);
    if (!get->job.is_over)
        return -MIR_EAGAIN;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_member_u64(out, "good", get->good);
    mir_json_member_u64(out, "failed", get->failed);
    mir_json_member_u64(out, "bytes", get->bytes);
    mir_json_member_u64(out, "status", get->last_status);
    mir_json_member_text(out, "error", get->last_error != 0 ? mir_strerror(get->last_error) : "");
    mir_json_member_u64(out, "us", mir__testing_job_us(&get->job));
    mir_json_end(out, '}');
    return 0;
}

void mir__testing_get_end(struct mir_rpc_call *call)
{
    struct get_job *get = (struct get_job *)(void *)mir__testing_job_of(call);
    for (uint32_t i = 0; i < LANES_MAX; i++) {
        if (get->lane[i].tcp != NULL)
            mir_tcp_abort(get->lane[i].tcp);
    }
    mir__testing_job_close(call);
}
