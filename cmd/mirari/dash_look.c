/* SPDX-License-Identifier: ISC */
/* What `mirari dash` knows of the running appliances: a control channel for each, without waiting.
 *
 * A look around reads the folder of running appliances and asks each of them for its counters. An
 * answer becomes a sample, kept in a ring as far back as the graphs go; all samples of one look
 * bear its time, so that they can be added up. An appliance whose answer is due is not asked again:
 * it is "silent" until it answers, and no more than one question waits for it. One that has no
 * channel, or has closed it, is tried again every few looks.
 *
 * What the page wants to know of one appliance goes over the same channel as other calls, each with
 * a time of its own. A call that is late is answered for the appliance, and keeps its place until
 * the appliance has answered or the channel is closed; so one that hangs cannot pile up anything.
 *
 * Everything an appliance sends is checked as anything from outside: frames are bounded, JSON is
 * parsed strictly before a piece of it is passed on, rows are counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/rpc.h>

#include "cmd/mirari/ctl.h"
#include "cmd/mirari/dash.h"

#define SAMPLES      121u /* two minutes of looks, a second each */
#define CALLS_MAX    MIR_RPC_CALLS_MAX
#define PATIENCE_US  (3 * MIR_US_PER_S)
#define DESCRIBE_US  (5 * MIR_US_PER_S)
#define RETRY_LOOKS  5u
#define ROWS_MAX     200u
#define OUT_MAX      ((size_t)64 << 10)
#define TEXT_MAX     128u
#define NODES_MAX    (MIR_RPC_FRAME_MAX / 2)
#define NUMBER_MAX   ((uint64_t)1 << 53) /* that a script can add 1 to */
#define HEAD_BYTES   4096u               /* of an appliance in a look, at most; and of a sample */
#define SAMPLE_BYTES 200u
#define UNKNOWN      UINT64_MAX
#define LOG_READ_MAX ((size_t)64 << 10)

enum look_field {
    AT_MS,
    UPTIME_US,
    CPU_US,
    MEMORY_USED,
    MEMORY_FREE,
    RX_BYTES,
    TX_BYTES,
    RX_FRAMES,
    TX_FRAMES,
    CONNECTIONS,
    LISTENERS,
    FIELDS,
};

struct sample {
    uint64_t value[FIELDS];
};

struct call {
    uint64_t id; /* 0: the place is free */
    uint64_t number;
    mir_time_us asked_us;
    uint64_t look_ms; /* of a question for counters: the time of its look */
    look_answer_fn answer;
    void *arg;
    struct str rows;
    uint32_t row_count;
    bool is_stats, is_describe, is_late;
};

struct appliance {
    struct look *look;
    char *folder, *name, *target; /* folder NULL: the place is free */
    char *id;
    unsigned worker; /* of an appliance in several processes, each of which is a row */
    uint64_t serial;
    bool is_seen;
    unsigned looks_closed;
    struct mir_host_watch watch; /* fd -1: no channel */
    struct str in, out;
    size_t out_at;
    uint64_t next_id;
    struct call calls[CALLS_MAX];
    struct sample samples[SAMPLES]; /* number n is at n % SAMPLES */
    uint64_t next_sample;
    mir_time_us answered_us, described_us, lease_until_us;
    uint64_t workers;
    char version[TEXT_MAX], stack[TEXT_MAX], address[TEXT_MAX], ends[TEXT_MAX];
};

struct look {
    struct look_config config;
    struct state state;
    uint64_t serial, number;
    struct appliance places[DASH_APPLIANCES_MAX];
    struct mir_json_node nodes[NODES_MAX];
};

static mir_time_us now_of(const struct look *look)
{
    return mir_loop_now(look->config.loop);
}

/* ---- calls ------------------------------------------------------------------------------------
 */

static void free_call(struct call *call)
{
    str_free(&call->rows);
    *call = (struct call){0};
}

/* Tell who waits, and nobody a second time. */
static void answer(struct call *call, enum look_result result, const char *text, bool is_cut)
{
    look_answer_fn fn = call->answer;
    call->answer = NULL;
    if (fn != NULL)
        fn(call->arg, result, text, &call->rows, is_cut);
}

static void close_channel(struct appliance *a)
{
    if (a->watch.fd < 0)
        return;
    a->look->config.poll->ops->remove(a->look->config.poll, &a->watch);
    close(a->watch.fd);
    a->watch.fd = -1;
    a->looks_closed = 1;
    str_free(&a->in);
    str_free(&a->out);
    a->out_at = 0;
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (a->calls[i].id != 0)
            answer(&a->calls[i], LOOK_GONE, "the appliance has closed its control channel", false);
        free_call(&a->calls[i]);
    }
}

static void free_appliance(struct appliance *a)
{
    close_channel(a);
    free(a->folder);
    free(a->id);
    free(a->name);
    free(a->target);
    *a = (struct appliance){.watch.fd = -1};
}

/* What waits to be sent, as far as it goes. False: the channel is no good. */
static bool push(struct appliance *a)
{
    const struct mir_host_poll_ops *ops = a->look->config.poll->ops;
    while (a->out_at < a->out.len) {
        ssize_t put = send(a->watch.fd, a->out.data + a->out_at, a->out.len - a->out_at,
                           MSG_NOSIGNAL | MSG_DONTWAIT);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN)
            return false;
        if (put < 0)
            break;
        a->out_at += (size_t)put;
    }
    bool is_sent = a->out_at == a->out.len;
    if (is_sent)
        a->out.len = a->out_at = 0;
    unsigned events = is_sent ? MIR_HOST_IN : MIR_HOST_IN | MIR_HOST_OUT;
    if (a->watch.events != events)
        ops->set(a->look->config.poll, &a->watch, events);
    return true;
}

static bool send_request(struct appliance *a, uint64_t id, const char *method, const char *params)
{
    struct str text = {0};
    uint8_t header[MIR_RPC_HEADER_BYTES];
    str_format(&text, "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":", (unsigned long long)id);
    str_json(&text, method);
    str_format(&text, ",\"params\":%s}", params);
    mir_put_be32(header, (uint32_t)text.len);
    str_add(&a->out, header, sizeof(header));
    str_add(&a->out, text.data, text.len);
    str_free(&text);
    return a->out.len - a->out_at <= OUT_MAX && push(a);
}

/* A call on its way, or NULL: there is no room, as the appliance does not answer, or the channel is
 * no good, and closed. */
static struct call *begin_call(struct appliance *a, const char *method, const char *params)
{
    struct call *call = NULL;
    for (size_t i = 0; i < CALLS_MAX && call == NULL; i++)
        call = a->calls[i].id == 0 ? &a->calls[i] : NULL;
    if (call == NULL)
        return NULL;
    *call = (struct call){.id = ++a->next_id, .asked_us = now_of(a->look)};
    if (send_request(a, call->id, method, params))
        return call;
    close_channel(a);
    return NULL;
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static uint64_t number_of(const struct mir_json *json, uint32_t object, const char *name)
{
    uint64_t value;
    return mir_json_u64(json, mir_json_find(json, object, name), NUMBER_MAX, &value) == 0 ? value
                                                                                          : UNKNOWN;
}

static void text_of(const struct mir_json *json, uint32_t object, const char *name,
                    char out[TEXT_MAX])
{
    if (mir_json_text(json, mir_json_find(json, object, name), out, TEXT_MAX) < 0)
        out[0] = '\0';
}

/* "dev3_rx_bytes": what a device counts, added up over all of them. */
static void add_device(struct sample *sample, const char *name, size_t len, uint64_t value)
{
    static const struct {
        const char *name;
        enum look_field field;
    } known[] = {{"_rx_bytes", RX_BYTES},
                 {"_tx_bytes", TX_BYTES},
                 {"_rx_frames", RX_FRAMES},
                 {"_tx_frames", TX_FRAMES}};
    size_t at = 3;
    if (len < at || memcmp(name, "dev", at) != 0)
        return;
    while (at < len && name[at] >= '0' && name[at] <= '9')
        at++;
    for (size_t i = 0; at > 3 && i < LEN(known); i++) {
        uint64_t *sum = &sample->value[known[i].field];
        if (strlen(known[i].name) == len - at && memcmp(known[i].name, name + at, len - at) == 0)
            *sum = (*sum == UNKNOWN ? 0 : *sum) + value;
    }
}

static void take_stats(struct appliance *a, const struct mir_json *json, uint32_t result,
                       uint64_t look_ms)
{
    struct sample *sample = &a->samples[a->next_sample % SAMPLES];
    if (!mir_json_is(json, result, MIR_JSON_OBJECT))
        return;
    for (size_t i = 0; i < FIELDS; i++)
        sample->value[i] = UNKNOWN;
    uint32_t at = result + 1;
    for (uint32_t i = 0; i < json->nodes[result].count; i++) {
        const struct mir_json_node *name = &json->nodes[at];
        uint64_t value;
        if (mir_json_u64(json, at + 1, NUMBER_MAX, &value) == 0)
            add_device(sample, json->text + name->at, name->len, value);
        at = json->nodes[at + 1].next;
    }
    sample->value[AT_MS] = look_ms;
    sample->value[UPTIME_US] = number_of(json, result, "uptime_us");
    sample->value[CPU_US] = number_of(json, result, "cpu_us");
    sample->value[MEMORY_USED] = number_of(json, result, "memory_used_bytes");
    sample->value[MEMORY_FREE] = number_of(json, result, "memory_free_bytes");
    sample->value[CONNECTIONS] = number_of(json, result, "tcp_connections");
    sample->value[LISTENERS] = number_of(json, result, "tcp_listeners");
    a->next_sample++;
}

static void take_description(struct appliance *a, const struct mir_json *json, uint32_t result)
{
    uint64_t left_us = number_of(json, result, "lease_left_us");
    uint64_t workers = number_of(json, result, "workers");
    a->workers = workers != UNKNOWN ? workers : 0;
    text_of(json, result, "version", a->version);
    text_of(json, result, "stack", a->stack);
    text_of(json, result, "address", a->address);
    text_of(json, result, "ends", a->ends);
    a->lease_until_us = left_us != UNKNOWN ? now_of(a->look) + left_us : 0;
}

static void take_rows(struct call *call, const struct mir_json *json, uint32_t item)
{
    if (!mir_json_is(json, item, MIR_JSON_ARRAY))
        return;
    uint32_t at = item + 1;
    for (uint32_t i = 0; i < json->nodes[item].count && call->row_count < ROWS_MAX; i++) {
        const struct mir_json_node *row = &json->nodes[at];
        at = row->next;
        if (row->type != MIR_JSON_OBJECT)
            continue;
        str_text(&call->rows, call->row_count++ > 0 ? "," : "");
        str_add(&call->rows, json->text + row->at, row->len);
    }
}

/* Enough rows: the rest is not wanted. False: the channel is no good. */
static bool cut(struct appliance *a, struct call *call)
{
    char params[48];
    snprintf(params, sizeof(params), "{\"id\":%llu}", (unsigned long long)call->id);
    answer(call, LOOK_DONE, "null", true);
    free_call(call);
    return send_request(a, ++a->next_id, "rpc.cancel", params);
}

static struct call *find_call(struct appliance *a, const struct mir_json *json, uint32_t object)
{
    uint64_t id;
    if (mir_json_u64(json, mir_json_find(json, object, "id"), UINT64_MAX, &id) < 0 || id == 0)
        return NULL;
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (a->calls[i].id == id)
            return &a->calls[i];
    }
    return NULL;
}

static void take_result(struct appliance *a, struct call *call, const struct mir_json *json)
{
    uint32_t result = mir_json_find(json, 0, "result"), error = mir_json_find(json, 0, "error");
    char message[TEXT_MAX * 2];
    if (result != MIR_JSON_NONE && call->is_stats) {
        take_stats(a, json, result, call->look_ms);
    } else if (result != MIR_JSON_NONE && call->is_describe) {
        take_description(a, json, result);
    } else if (result != MIR_JSON_NONE) {
        const struct mir_json_node *node = &json->nodes[result];
        size_t quote = node->type == MIR_JSON_STRING;
        char *text = need_text(json->text + node->at - quote, node->len + 2 * quote);
        answer(call, LOOK_DONE, text, false);
        free(text);
    } else {
        if (mir_json_text(json, mir_json_find(json, error, "message"), message, sizeof(message)) <
            0)
            snprintf(message, sizeof(message), "the appliance gives no reason");
        answer(call, LOOK_REFUSED, message, false);
    }
    free_call(call);
}

/* False: this is nobody who speaks the protocol. */
static bool take_frame(struct appliance *a, const char *text, size_t len)
{
    struct mir_json json;
    size_t error_at;
    if (mir_json_parse(&json, text, len, a->look->nodes, NODES_MAX, &error_at) < 0)
        return false;
    uint32_t item = mir_json_find(&json, 0, "params");
    struct call *call = find_call(a, &json, item != MIR_JSON_NONE ? item : 0);
    a->answered_us = now_of(a->look);
    if (call == NULL) /* canceled, or a refusal before it closes */
        return true;
    if (item == MIR_JSON_NONE) {
        take_result(a, call, &json);
        return true;
    }
    take_rows(call, &json, mir_json_find(&json, item, "item"));
    return call->row_count < ROWS_MAX || cut(a, call);
}

static bool pull(struct appliance *a)
{
    char bytes[16384];
    ssize_t got = recv(a->watch.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got == 0)
        return false;
    str_add(&a->in, bytes, (size_t)got);
    size_t at = 0;
    while (a->in.len - at >= MIR_RPC_HEADER_BYTES) {
        uint32_t len = mir_get_be32((const uint8_t *)a->in.data + at);
        if (len == 0 || len > MIR_RPC_FRAME_MAX)
            return false;
        if (a->in.len - at < MIR_RPC_HEADER_BYTES + len)
            break;
        if (!take_frame(a, a->in.data + at + MIR_RPC_HEADER_BYTES, len))
            return false;
        at += MIR_RPC_HEADER_BYTES + len;
    }
    memmove(a->in.data, a->in.data + at, a->in.len - at);
    a->in.len -= at;
    return true;
}

static void on_ready(void *arg, unsigned events)
{
    struct appliance *a = arg;
    bool is_good = true;
    if (events & MIR_HOST_IN)
        is_good = pull(a);
    else if (events & MIR_HOST_ERROR)
        is_good = false;
    if (is_good && a->watch.fd >= 0 && (events & MIR_HOST_OUT))
        is_good = push(a);
    if (!is_good)
        close_channel(a);
}

/* ---- looking around ---------------------------------------------------------------------------
 */

static void open_channel(struct appliance *a)
{
    struct look *look = a->look;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int folder =
        openat(look->state.base_fd, a->folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return;
    snprintf(address.sun_path, sizeof(address.sun_path),
             a->worker > 0 ? "/proc/self/fd/%d/control.%u" : "/proc/self/fd/%d/control", folder,
             a->worker);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is_good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(folder);
    a->watch =
        (struct mir_host_watch){.fd = fd, .events = MIR_HOST_IN, .ready = on_ready, .arg = a};
    if (is_good && look->config.poll->ops->add(look->config.poll, &a->watch) == 0) {
        a->answered_us = now_of(look);
        a->described_us = 0;
        if (look->config.is_read_only && !send_request(a, ++a->next_id, "rpc.drop", "{}"))
            close_channel(a);
        return;
    }
    if (fd >= 0)
        close(fd);
    a->watch.fd = -1;
}

static void see_worker(struct look *look, const char *folder, const char *name, const char *target,
                       unsigned worker)
{
    struct appliance *place = NULL;
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        struct appliance *a = &look->places[i];
        if (a->folder != NULL && strcmp(a->folder, folder) == 0 && a->worker == worker) {
            a->is_seen = true;
            return;
        }
        if (a->folder == NULL && place == NULL)
            place = a;
    }
    if (place == NULL)
        return;
    *place = (struct appliance){.look = look,
                                .folder = need_text(folder, strlen(folder)),
                                .id = worker > 0 ? need_format("%s.%u", folder, worker)
                                                 : need_text(folder, strlen(folder)),
                                .worker = worker,
                                .name = need_text(name, strlen(name)),
                                .target = need_text(target, strlen(target)),
                                .serial = ++look->serial,
                                .is_seen = true,
                                .watch.fd = -1};
}

/* An appliance, or each of its workers. */
static void see(void *arg, const char *folder, const char *name, const char *target)
{
    struct look *look = arg;
    int fd = openat(look->state.base_fd, folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    unsigned workers = ctl_count_workers(fd);
    close(fd);
    for (unsigned i = 0; i < workers; i++)
        see_worker(look, folder, name, target, i);
}

/* Answer for the appliance what is late. Is it silent? */
static bool is_silent(struct appliance *a)
{
    mir_time_us now_us = now_of(a->look);
    bool is_late = false;
    for (size_t i = 0; i < CALLS_MAX; i++) {
        struct call *call = &a->calls[i];
        if (call->id == 0 || now_us - call->asked_us < PATIENCE_US)
            continue;
        call->is_late = true;
        answer(call, LOOK_SILENT, "the appliance does not answer", false);
        is_late = true;
    }
    return is_late;
}

static bool is_asked(const struct appliance *a, bool is_stats)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (a->calls[i].id != 0 && (is_stats ? a->calls[i].is_stats : a->calls[i].is_describe))
            return true;
    }
    return false;
}

static void ask(struct appliance *a)
{
    struct look *look = a->look;
    mir_time_us now_us = now_of(look);
    if (a->watch.fd < 0 && a->looks_closed++ % RETRY_LOOKS == 0)
        open_channel(a);
    if (a->watch.fd < 0)
        return;
    (void)is_silent(a);
    if (!is_asked(a, true)) {
        struct call *call = begin_call(a, "stats", "{}");
        if (call != NULL) {
            call->is_stats = true;
            call->look_ms = now_us / MIR_US_PER_MS;
        }
    }
    bool is_due = a->described_us == 0 || now_us - a->described_us >= DESCRIBE_US;
    if (a->watch.fd >= 0 && is_due && !is_asked(a, false)) {
        struct call *call = begin_call(a, "describe", "{}");
        if (call != NULL) {
            call->is_describe = true;
            a->described_us = now_us;
        }
    }
}

void look_around(struct look *look)
{
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++)
        look->places[i].is_seen = false;
    state_each(&look->state, see, look);
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        struct appliance *a = &look->places[i];
        if (a->folder != NULL && !a->is_seen)
            free_appliance(a);
        else if (a->folder != NULL)
            ask(a);
    }
}

void look_rest(struct look *look)
{
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        close_channel(&look->places[i]);
        look->places[i].looks_closed = 0;
    }
}

int look_open(const struct look_config *config, struct look **out)
{
    struct look *look = need(sizeof(*look));
    look->config = *config;
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++)
        look->places[i].watch.fd = -1;
    if (state_open(&look->state) != 0) {
        free(look);
        return EXIT_FAIL;
    }
    *out = look;
    return 0;
}

const char *look_folder(const struct look *look)
{
    return look->state.base;
}

void look_close(struct look *look)
{
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++)
        free_appliance(&look->places[i]);
    close(look->state.base_fd);
    free(look->state.base);
    free(look);
}

/* ---- telling ----------------------------------------------------------------------------------
 */

static void put_known(struct mir_json_out *out, uint64_t value)
{
    if (value == UNKNOWN)
        mir_json_put_null(out);
    else
        mir_json_put_u64(out, value);
}

static const char *health_of(struct appliance *a)
{
    if (a->watch.fd < 0)
        return "closed";
    for (size_t i = 0; i < CALLS_MAX; i++) {
        if (a->calls[i].is_late)
            return "silent";
    }
    return a->next_sample > 0 ? "ok" : "new";
}

static void tell_one(struct appliance *a, struct mir_json_out *out)
{
    mir_time_us now_us = now_of(a->look);
    const char *dash = strrchr(a->folder, '-');
    mir_json_member_text(out, "id", a->id);
    mir_json_member_text(out, "name", a->name);
    mir_json_member_u64(out, "pid", dash != NULL ? strtoull(dash + 1, NULL, 10) : 0);
    mir_json_member_text(out, "target", a->target);
    if (a->workers > 1)
        mir_json_member_u64(out, "worker", a->worker);
    mir_json_member_text(out, "health", health_of(a));
    mir_json_member_text(out, "version", a->version);
    mir_json_member_text(out, "stack", a->stack);
    mir_json_member_text(out, "address", a->address);
    mir_json_member_text(out, "ends", a->ends);
    if (a->watch.fd >= 0)
        mir_json_member_u64(out, "answered_s", (now_us - a->answered_us) / MIR_US_PER_S);
    if (a->lease_until_us != 0)
        mir_json_member_u64(out, "lease_left_s",
                            (a->lease_until_us > now_us ? a->lease_until_us - now_us : 0) /
                                MIR_US_PER_S);
}

static void tell_samples(const struct appliance *a, uint64_t *next, size_t max,
                         struct mir_json_out *out)
{
    uint64_t first = a->next_sample > max ? a->next_sample - max : 0;
    mir_json_key(out, "samples");
    mir_json_begin(out, '[');
    for (uint64_t n = *next > first ? *next : first; n < a->next_sample; n++) {
        mir_json_begin(out, '[');
        for (size_t i = 0; i < FIELDS; i++)
            put_known(out, a->samples[n % SAMPLES].value[i]);
        mir_json_end(out, ']');
    }
    mir_json_end(out, ']');
    *next = a->next_sample;
}

void look_tell(struct look *look, struct look_cursor *cursor, struct mir_json_out *out)
{
    size_t left = 0;
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++)
        left += look->places[i].folder != NULL;
    mir_json_begin(out, '[');
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        struct appliance *a = &look->places[i];
        if (a->folder == NULL)
            continue;
        /* Each has its part of the room; where that is narrow it tells less of the past. */
        size_t part = (out->size - out->len) / left--;
        size_t max = part > HEAD_BYTES ? (part - HEAD_BYTES) / SAMPLE_BYTES : 0;
        if (cursor->serial[i] != a->serial) {
            cursor->serial[i] = a->serial;
            cursor->next[i] = 0;
        }
        mir_json_begin(out, '{');
        tell_one(a, out);
        tell_samples(a, &cursor->next[i], max < SAMPLES ? max : SAMPLES, out);
        mir_json_end(out, '}');
    }
    mir_json_end(out, ']');
}

/* ---- what is asked of one ---------------------------------------------------------------------
 */

static struct appliance *find(struct look *look, const char *id)
{
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        if (look->places[i].folder != NULL && strcmp(look->places[i].id, id) == 0)
            return &look->places[i];
    }
    return NULL;
}

uint64_t look_call(struct look *look, const char *id, const char *method, const char *params,
                   look_answer_fn fn, void *arg)
{
    struct appliance *a = find(look, id);
    struct str none = {0};
    if (a == NULL || a->watch.fd < 0) {
        fn(arg, LOOK_GONE,
           a == NULL ? "no such appliance is running" : "the appliance has no control channel",
           &none, false);
        return 0;
    }
    /* One that does not answer gets no more questions. */
    struct call *call = is_silent(a) ? NULL : begin_call(a, method, params);
    if (call == NULL) {
        fn(arg, LOOK_SILENT, "the appliance does not answer", &none, false);
        return 0;
    }
    call->number = ++look->number;
    call->answer = fn;
    call->arg = arg;
    return call->number;
}

void look_forget(struct look *look, uint64_t number)
{
    for (size_t i = 0; i < DASH_APPLIANCES_MAX; i++) {
        for (size_t k = 0; k < CALLS_MAX && number != 0; k++) {
            if (look->places[i].calls[k].number == number)
                look->places[i].calls[k].answer = NULL;
        }
    }
}

bool look_log(struct look *look, const char *id, size_t max, struct str *out)
{
    struct appliance *a = find(look, id);
    struct stat st;
    int folder = a != NULL ? openat(look->state.base_fd, a->folder,
                                    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                           : -1;
    int fd =
        folder >= 0 ? openat(folder, "log", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (folder >= 0)
        close(folder);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    max = max < LOG_READ_MAX ? max : LOG_READ_MAX;
    off_t at = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    char *bytes = need(max + 1);
    ssize_t got = pread(fd, bytes, max, at);
    close(fd);
    const char *from = bytes;
    if (got > 0 && at > 0) { /* from the beginning of a line */
        const char *line = memchr(bytes, '\n', (size_t)got);
        from = line != NULL ? line + 1 : bytes;
    }
    if (got > 0)
        str_add(out, from, (size_t)(bytes + got - from));
    free(bytes);
    return got >= 0;
}
