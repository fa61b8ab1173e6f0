/* SPDX-License-Identifier: ISC */
/* What hosts of a network do: built-in clients and servers.
 *
 * All of it runs in handlers and timers on the host's own loop, by the same calls an appliance
 * uses, and without a stack per connection, so a thousand clients are cheap. Bytes depend on their
 * place and on the connection (its client's port), so a byte that is lost, doubled, moved or of
 * another connection is seen. A sink that sees the end of a stream looks up the flow that sent it
 * and compares lengths: data that is cut off quietly is wrong data.
 *
 * A flow of a client ends well (all sent, all expected received, closed), or fails with an error of
 * the connection, which is no fault of a stack when wires lose enough; or it hangs, which is.
 */
#include <mirari/bytes.h>
#include <mirari/http.h>
#include <mirari/udp.h>

#include <stdlib.h>
#include <string.h>

#include "target/sim/topology.h"

#define CHUNK_DEFAULT 16384u
#define CHUNK_MAX     65536u
#define BYTES_DEFAULT 100000u
#define HEAD_MAX      1024u
#define TICK_US       (100 * MIR_US_PER_MS)
#define UDP_MAX       1400u
#define PAGE_KEY      1u

struct flow {
    struct mir__job *job;
    struct flow *next;
    struct mir_tcp *tcp;
    struct mir_timer timer; /* start of a client's flow; reading of a slow reader */
    uint64_t key;
    uint64_t sent, received, expected;
    struct mir_endpoint local;
    mir_time_us began_us, ended_us;
    uint32_t requests;  /* HTTP: answered */
    uint32_t allowance; /* slow reader */
    uint64_t body_left, body_at;
    uint32_t head_len;
    struct mir_view held; /* echo: not sent yet */
    uint32_t held_at;
    bool has_head, is_shut, has_eof, is_done, is_client;
    int error;
    char head[];
};

struct mir__job {
    struct mir__world *world;
    const struct mir__topo_job *topo;
    struct mir__world_node *node;
    struct mir_tcp_listener *listener;
    struct mir_udp *udp;
    struct mir_http_server *web;
    struct mir__hostile *hostile;
    struct mir_timer timer; /* datagrams */
    struct flow *flows;
    uint8_t *page;
    uint32_t open, started, done, failed, wrong, refused;
    uint64_t bytes, datagrams;
    mir_time_us first_us, last_us, longest_us;
    int last_error;
    bool is_client, is_stopped, is_over;
    bool knows_page; /* the web server is a built-in one */
};

static struct mir_loop *loop_of(struct mir__job *job)
{
    return &job->node->host->loop;
}

static uint64_t bytes_of(const struct mir__job *job)
{
    return job->topo->bytes != 0 ? job->topo->bytes : BYTES_DEFAULT;
}

static uint16_t port_of(const struct mir__topo_job *topo)
{
    if (topo->port != 0)
        return topo->port;
    switch (topo->role) {
    case MIR__ROLE_ECHO:
    case MIR__ROLE_ASK:
        return 7;
    case MIR__ROLE_WEB:
    case MIR__ROLE_HTTP:
        return 80;
    default:
        return 5001;
    }
}

static void complain(struct mir__job *job, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "%s %s: %s", job->node->topo->name,
             mir__topo_roles[job->topo->role], what);
    mir__world_complain(job->world, text);
}

/* ---- the data -----------------------------------------------------------------------------------
 */

static uint64_t word_at(uint64_t key, uint64_t index)
{
    uint64_t z = key * 0xd1342543de82ef95ull + (index + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    return z ^ z >> 29;
}

static void make_data(uint64_t key, uint64_t at, uint8_t *out, size_t len)
{
    while (len > 0) {
        uint64_t word = word_at(key, at / 8);
        size_t skip = at % 8, n = MIR_MIN(8 - skip, len);
        memcpy(out, (const uint8_t *)&word + skip, n);
        out += n;
        at += n;
        len -= n;
    }
}

static bool is_data(uint64_t key, uint64_t at, const uint8_t *data, size_t len)
{
    uint8_t good[512];
    while (len > 0) {
        size_t n = MIR_MIN(sizeof good, len);
        make_data(key, at, good, n);
        if (memcmp(good, data, n) != 0)
            return false;
        data += n;
        at += n;
        len -= n;
    }
    return true;
}

/* ---- flows --------------------------------------------------------------------------------------
 */

static void fire_flow(void *arg);

static struct flow *new_flow(struct mir__job *job)
{
    struct flow *flow = calloc(1, sizeof *flow + HEAD_MAX);
    MIR_ASSERT(flow != NULL);
    flow->job = job;
    flow->next = job->flows;
    flow->is_client = job->is_client;
    job->flows = flow;
    mir_timer_init(&flow->timer, fire_flow, flow);
    return flow;
}

static void count_end(struct flow *flow)
{
    struct mir__job *job = flow->job;
    struct mir__world_result *result = &job->world->result;
    flow->ended_us = mir_loop_now(loop_of(job));
    job->last_us = MIR_MAX(job->last_us, flow->ended_us);
    job->bytes += flow->received;
    result->bytes += flow->received;
    if (!flow->is_client)
        return;
    job->open--;
    job->longest_us = MIR_MAX(job->longest_us, flow->ended_us - flow->began_us);
    if (flow->error == 0) {
        job->done++;
        result->done++;
    } else {
        job->failed++;
        job->last_error = flow->error;
        result->failed++;
        result->resets += flow->error == -MIR_ECONNRESET || flow->error == -MIR_ECONNREFUSED;
    }
    if (job->open == 0) {
        job->is_over = true;
        job->world->ours--;
    }
}

static void end_flow(struct flow *flow, int error)
{
    struct mir_tcp *tcp = flow->tcp;
    if (flow->is_done)
        return;
    flow->tcp = NULL;
    flow->is_done = true;
    flow->error = error;
    mir_timer_cancel(&flow->timer);
    if (flow->held.data != NULL)
        mir_view_release(&flow->held);
    flow->held.data = NULL;
    if (tcp != NULL && error == -MIR_EPROTO)
        mir_tcp_abort(tcp);
    else if (tcp != NULL)
        mir_tcp_close(tcp);
    count_end(flow);
}

static void wrong_data(struct flow *flow, const char *what)
{
    flow->job->wrong++;
    flow->job->world->result.wrong++;
    complain(flow->job, what);
    end_flow(flow, -MIR_EPROTO);
}

/* The client that is at the other end of a server's flow, if it is one of ours. */
static const struct flow *find_client(const struct flow *flow, const struct mir_endpoint *local,
                                      const struct mir_endpoint *remote)
{
    const struct mir__world *world = flow->job->world;
    for (uint32_t i = 0; i < world->topo->job_count; i++) {
        const struct mir__job *job = world->jobs[i];
        if (job == NULL || !job->is_client || port_of(job->topo) != local->port)
            continue;
        for (const struct flow *at = job->flows; at != NULL; at = at->next) {
            if (at->local.port == remote->port && mir_ip_equal(&at->local.ip, &remote->ip))
                return at;
        }
    }
    return NULL;
}

/* Queue what is left of our data; 0, or an error. */
static int push_data(struct flow *flow)
{
    const struct mir__job *job = flow->job;
    static uint8_t data[CHUNK_MAX];
    uint32_t chunk = job->topo->chunk != 0 ? MIR_MIN(job->topo->chunk, CHUNK_MAX) : CHUNK_DEFAULT;
    while (flow->sent < bytes_of(job)) {
        size_t len = (size_t)MIR_MIN((uint64_t)chunk, bytes_of(job) - flow->sent), queued;
        make_data(flow->key, flow->sent, data, len);
        int r = mir_tcp_send(flow->tcp, data, len, &queued);
        if (r < 0)
            return r == -MIR_EAGAIN || r == -MIR_ENOMEM ? 0 : r;
        flow->sent += queued;
    }
    if (flow->is_shut)
        return 0;
    flow->is_shut = true;
    return mir_tcp_shutdown(flow->tcp);
}

/* ---- HTTP client --------------------------------------------------------------------------------
 */

static int ask_page(struct flow *flow)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: sim\r\n\r\n";
    size_t queued;
    flow->has_head = false;
    flow->head_len = 0;
    return mir_tcp_send(flow->tcp, request, sizeof request - 1, &queued);
}

static bool take_head(struct flow *flow, const uint8_t **data, uint32_t *len)
{
    while (*len > 0 && !flow->has_head && flow->head_len < HEAD_MAX - 1) {
        flow->head[flow->head_len++] = (char)*(*data)++;
        flow->head[flow->head_len] = '\0';
        --*len;
        flow->has_head =
            flow->head_len >= 4 && memcmp(flow->head + flow->head_len - 4, "\r\n\r\n", 4) == 0;
    }
    if (!flow->has_head)
        return flow->head_len < HEAD_MAX - 1;
    if (*len > 0 && flow->body_left > 0)
        return true;
    const char *length = strstr(flow->head, "Content-Length: ");
    flow->body_left = length != NULL ? strtoull(length + 16, NULL, 10) : 0;
    flow->body_at = 0;
    return strncmp(flow->head, "HTTP/1.1 200", 12) == 0;
}

static void take_page(struct flow *flow, const uint8_t *data, uint32_t len)
{
    flow->received += len;
    while (len > 0 && !flow->is_done) {
        if (!flow->has_head && !take_head(flow, &data, &len)) {
            wrong_data(flow, "an answer that is not 200");
            return;
        }
        uint32_t part = (uint32_t)MIR_MIN((uint64_t)len, flow->body_left);
        if (part > 0 && flow->job->knows_page && !is_data(PAGE_KEY, flow->body_at, data, part)) {
            wrong_data(flow, "another page than the server's");
            return;
        }
        flow->body_left -= part;
        flow->body_at += part;
        data += part;
        len -= part;
        if (!flow->has_head || flow->body_left > 0)
            continue;
        if (len > 0) {
            wrong_data(flow, "more than one answer to a request");
            return;
        }
        if (++flow->requests >= flow->job->topo->count) {
            end_flow(flow, 0);
            return;
        }
        int r = ask_page(flow);
        if (r < 0)
            end_flow(flow, r);
    }
}

/* ---- receiving ----------------------------------------------------------------------------------
 */

static void take_eof(struct flow *flow)
{
    struct mir__job *job = flow->job;
    struct mir_endpoint local, remote;
    flow->has_eof = true;
    if (job->topo->role == MIR__ROLE_HTTP) {
        end_flow(flow, -MIR_EEOF);
        return;
    }
    if (flow->is_client) {
        if (job->topo->role == MIR__ROLE_ASK && flow->received != bytes_of(job))
            wrong_data(flow, "the echo ends early");
        else if (flow->is_shut)
            end_flow(flow, 0);
        return;
    }
    mir_tcp_get_endpoints(flow->tcp, &local, &remote);
    const struct flow *client = find_client(flow, &local, &remote);
    if (client != NULL && client->error == 0 && flow->received != bytes_of(client->job))
        wrong_data(flow, "the stream ends early");
    else if (job->topo->role == MIR__ROLE_SINK)
        end_flow(flow, 0);
}

static bool send_back(struct flow *flow)
{
    while (flow->held.data != NULL && flow->held_at < flow->held.len) {
        size_t queued;
        int r = mir_tcp_send(flow->tcp, flow->held.data + flow->held_at,
                             flow->held.len - flow->held_at, &queued);
        if (r == -MIR_EAGAIN || r == -MIR_ENOMEM)
            return false;
        if (r < 0) {
            end_flow(flow, r);
            return false;
        }
        flow->held_at += (uint32_t)queued;
        flow->sent += queued;
    }
    if (flow->held.data != NULL)
        mir_view_release(&flow->held);
    flow->held.data = NULL;
    return true;
}

static void take_view(struct flow *flow, struct mir_view *view)
{
    struct mir__job *job = flow->job;
    if (job->topo->role == MIR__ROLE_HTTP) {
        take_page(flow, view->data, view->len);
        mir_view_release(view);
        return;
    }
    bool is_good = is_data(flow->key, flow->received, view->data, view->len);
    flow->received += view->len;
    if (job->topo->role == MIR__ROLE_ECHO && is_good) {
        flow->held = *view;
        flow->held_at = 0;
        return;
    }
    mir_view_release(view);
    if (!is_good)
        wrong_data(flow, "other data than was sent");
}

static void pull_data(struct flow *flow)
{
    struct mir__job *job = flow->job;
    struct mir_view view;
    while (!flow->is_done && !flow->has_eof) {
        if (job->topo->role == MIR__ROLE_ECHO && !send_back(flow))
            return;
        if (job->topo->rate != 0 && flow->allowance == 0)
            return;
        int r = mir_tcp_recv_view(flow->tcp, &view);
        if (r == -MIR_EAGAIN)
            return;
        if (r == -MIR_EEOF) {
            take_eof(flow);
            break;
        }
        if (r < 0) {
            end_flow(flow, r);
            return;
        }
        flow->allowance -= MIR_MIN(flow->allowance, view.len);
        take_view(flow, &view);
    }
    /* An echo has sent all back and knows of the end: so does the client. */
    if (!flow->is_done && flow->has_eof && job->topo->role == MIR__ROLE_ECHO && send_back(flow))
        end_flow(flow, 0);
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct flow *flow = arg;
    int r = 0;
    if (events & MIR_TCP_FAILED) {
        int error = mir_tcp_error(tcp);
        end_flow(flow, error != 0 ? error : -MIR_ECONNRESET);
        return;
    }
    if (flow->is_client && (events & MIR_TCP_CONNECTED)) {
        struct mir_endpoint remote;
        mir_tcp_get_endpoints(tcp, &flow->local, &remote);
        flow->key = flow->local.port;
        if (flow->job->topo->role == MIR__ROLE_HTTP)
            r = ask_page(flow);
    }
    if (r == 0 && flow->is_client && flow->key != 0 && flow->job->topo->role != MIR__ROLE_HTTP)
        r = push_data(flow);
    if (r < 0 && r != -MIR_EAGAIN)
        end_flow(flow, r);
    if (!flow->is_done)
        pull_data(flow);
}

/* ---- clients ------------------------------------------------------------------------------------
 */

static void connect_flow(struct flow *flow)
{
    struct mir__job *job = flow->job;
    const struct mir__world_node *to = &job->world->nodes[job->topo->to];
    struct mir_endpoint remote = {job->topo->is_ip6 ? to->ip6 : to->ip, port_of(job->topo)};
    flow->began_us = mir_loop_now(loop_of(job));
    if (job->first_us == 0)
        job->first_us = flow->began_us;
    job->started++;
    job->world->result.started++;
    int r = mir_tcp_connect(job->node->host->stack, &remote, on_tcp, flow, &flow->tcp);
    if (r < 0)
        end_flow(flow, r);
}

static void fire_flow(void *arg)
{
    struct flow *flow = arg;
    struct mir__job *job = flow->job;
    if (flow->is_client) {
        connect_flow(flow);
        return;
    }
    flow->allowance = MIR_MAX(job->topo->rate / 10, 1u);
    mir_timer_set(loop_of(job), &flow->timer, mir_loop_now(loop_of(job)) + TICK_US);
    pull_data(flow);
}

static void start_flows(struct mir__job *job)
{
    mir_time_us now_us = mir_loop_now(loop_of(job));
    job->open = job->topo->flows;
    for (uint32_t i = 0; i < job->topo->flows; i++) {
        struct flow *flow = new_flow(job);
        mir_timer_set(loop_of(job), &flow->timer,
                      now_us + job->topo->start_us + i * job->topo->every_us);
    }
}

static void send_datagram(void *arg)
{
    struct mir__job *job = arg;
    const struct mir__world_node *to = &job->world->nodes[job->topo->to];
    struct mir_endpoint remote = {job->topo->is_ip6 ? to->ip6 : to->ip, port_of(job->topo)};
    uint8_t data[UDP_MAX];
    size_t len = job->topo->bytes != 0 ? (size_t)MIR_MIN(job->topo->bytes, (uint64_t)UDP_MAX) : 100;
    make_data(7, 0, data, len);
    job->refused += mir_udp_send(job->udp, &remote, data, len) < 0;
    if (++job->datagrams < job->topo->count) {
        mir_timer_set(loop_of(job), &job->timer,
                      mir_loop_now(loop_of(job)) + MIR_MAX(job->topo->every_us, 1ull));
        return;
    }
    job->is_over = true;
    job->world->ours--;
}

/* ---- servers ------------------------------------------------------------------------------------
 */

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir__job *job = arg;
    struct mir_endpoint remote;
    struct flow *flow = new_flow(job);
    (void)listener;
    flow->tcp = tcp_given;
    mir_tcp_get_endpoints(tcp_given, &flow->local, &remote);
    flow->key = remote.port;
    flow->began_us = mir_loop_now(loop_of(job));
    flow->allowance = job->topo->rate / 10;
    job->started++;
    mir_tcp_set_handler(tcp_given, on_tcp, flow);
    if (job->topo->rate != 0)
        mir_timer_set(loop_of(job), &flow->timer, flow->began_us + TICK_US);
    pull_data(flow);
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    struct mir__job *job = arg;
    uint8_t data[UDP_MAX];
    uint32_t len = mir_buf_total(buf_given);
    job->datagrams++;
    job->bytes += len;
    if (len > UDP_MAX || mir_buf_copy_out(buf_given, 0, data, len) < 0 ||
        !is_data(7, 0, data, len)) {
        job->wrong++;
        job->world->result.wrong++;
        complain(job, "a datagram that was not sent like this");
    } else if (job->topo->role == MIR__ROLE_ECHO) {
        job->refused += mir_udp_send(udp, &meta->from, data, len) < 0;
    }
    mir_buf_release(buf_given);
}

static void on_request(struct mir_http_exchange *exchange, void *arg)
{
    struct mir__job *job = arg;
    (void)mir_http_respond(exchange, 200, "application/octet-stream", job->page,
                           (size_t)bytes_of(job));
}

static int start_web(struct mir__job *job)
{
    struct mir_http_config config = {.stack = job->node->host->stack,
                                     .clock = &job->node->host->clock};
    config.local.port = port_of(job->topo);
    job->page = malloc((size_t)bytes_of(job));
    if (job->page == NULL)
        return -MIR_ENOMEM;
    make_data(PAGE_KEY, 0, job->page, (size_t)bytes_of(job));
    int r = mir_http_server_open(&config, &job->web);
    return r < 0 ? r : mir_http_route(job->web, "/", MIR_HTTP_GET, on_request, job);
}

static int start_server(struct mir__job *job)
{
    struct mir_tcp_listen_config config = {.on_accept = on_accept, .arg = job};
    config.local.port = port_of(job->topo);
    int r = mir_tcp_listen(job->node->host->stack, &config, &job->listener);
    if (r == 0)
        r = mir_udp_open(job->node->host->stack, &config.local, on_datagram, job, &job->udp);
    return r;
}

/* ---- jobs ---------------------------------------------------------------------------------------
 */

static int start_client(struct mir__job *job)
{
    struct mir_endpoint any = {0};
    const struct mir__topo *topo = job->world->topo;
    job->is_client = true;
    job->world->ours++;
    for (uint32_t i = 0; i < topo->job_count; i++)
        job->knows_page |= topo->jobs[i].role == MIR__ROLE_WEB &&
                           topo->jobs[i].node == job->topo->to &&
                           port_of(&topo->jobs[i]) == port_of(job->topo);
    if (job->topo->role != MIR__ROLE_UDP) {
        start_flows(job);
        return 0;
    }
    mir_timer_init(&job->timer, send_datagram, job);
    mir_timer_set(loop_of(job), &job->timer, mir_loop_now(loop_of(job)) + job->topo->start_us);
    return mir_udp_open(job->node->host->stack, &any, on_datagram, job, &job->udp);
}

int mir__job_start(struct mir__world *world, const struct mir__topo_job *topo,
                   struct mir__job **out)
{
    struct mir__job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return -MIR_ENOMEM;
    *out = job;
    job->world = world;
    job->topo = topo;
    job->node = &world->nodes[topo->node];
    mir_timer_init(&job->timer, send_datagram, job);
    mir_loop_set_now(loop_of(job), job->node->host->clock.monotonic(&job->node->host->clock));
    mir_sim_wake(job->node->host);
    switch (topo->role) {
    case MIR__ROLE_ATTACK:
        return mir__hostile_start(world, topo, &job->hostile);
    case MIR__ROLE_APP:
        return world->start_app != NULL ? world->start_app(world->app_arg, job->node)
                                        : -MIR_ENOTSUP;
    case MIR__ROLE_WEB:
        return job->node->host->stack != NULL ? start_web(job) : -MIR_EINVAL;
    case MIR__ROLE_SINK:
    case MIR__ROLE_ECHO:
        return job->node->host->stack != NULL ? start_server(job) : -MIR_EINVAL;
    default:
        return job->node->host->stack != NULL ? start_client(job) : -MIR_EINVAL;
    }
}

void mir__job_stop(struct mir__job *job)
{
    if (job->is_stopped)
        return;
    job->is_stopped = true;
    if (job->hostile != NULL)
        mir__hostile_stop(job->hostile);
    if (job->node->host->stack == NULL)
        return;
    if (job->is_client && !job->is_over) {
        job->world->result.hung += job->open;
        if (job->world->topo->duration_us == 0)
            complain(job, "it did not come to an end");
    }
    for (struct flow *flow = job->flows; flow != NULL; flow = flow->next) {
        mir_timer_cancel(&flow->timer);
        if (flow->is_done)
            continue;
        struct mir_tcp *tcp = flow->tcp;
        flow->tcp = NULL;
        flow->is_done = true;
        if (flow->held.data != NULL)
            mir_view_release(&flow->held);
        flow->held.data = NULL;
        job->bytes += flow->received;
        if (tcp != NULL)
            mir_tcp_abort(tcp);
    }
    if (job->listener != NULL)
        mir_tcp_unlisten(job->listener);
    if (job->udp != NULL)
        mir_udp_close(job->udp);
    if (job->web != NULL)
        mir_http_server_close(job->web);
    mir_timer_cancel(&job->timer);
    mir_sim_wake(job->node->host);
}

void mir__job_report(const struct mir__job *job, FILE *out)
{
    const struct mir__topo_job *topo = job->topo;
    mir_time_us span_us = job->last_us > job->first_us ? job->last_us - job->first_us : 0;
    fprintf(out, "%s %s", job->node->topo->name, mir__topo_roles[topo->role]);
    if (topo->to != MIR__TOPO_NONE)
        fprintf(out, " to %s", job->world->nodes[topo->to].topo->name);
    if (topo->role == MIR__ROLE_UDP)
        fprintf(out, ": %llu datagrams sent, %u refused", (unsigned long long)job->datagrams,
                job->refused);
    else if (job->is_client)
        fprintf(out, ": %u of %u flows done, %u failed, %llu.%03llu s, the longest %llu.%03llu s",
                job->done, job->started, job->failed, (unsigned long long)(span_us / 1000000),
                (unsigned long long)(span_us / 1000 % 1000),
                (unsigned long long)(job->longest_us / 1000000),
                (unsigned long long)(job->longest_us / 1000 % 1000));
    else if (job->listener != NULL)
        fprintf(out, ": %u connections, %llu bytes, %llu datagrams", job->started,
                (unsigned long long)job->bytes, (unsigned long long)job->datagrams);
    if (job->last_error != 0)
        fprintf(out, " (%s)", mir_strerror(job->last_error));
    if (job->wrong > 0)
        fprintf(out, ", %u WRONG", job->wrong);
    fputc('\n', out);
}

void mir__job_free(struct mir__job *job)
{
    for (struct flow *flow = job->flows, *next; flow != NULL; flow = next) {
        next = flow->next;
        free(flow);
    }
    if (job->hostile != NULL)
        mir__hostile_free(job->hostile);
    free(job->page);
    free(job);
}
