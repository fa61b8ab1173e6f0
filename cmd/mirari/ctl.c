/* SPDX-License-Identifier: ISC */
/* Calls methods of a running appliance over its control channel, and `mirari ctl`, which calls any.
 *
 *   mirari ── NAME-PID/control (Unix socket) ── appliance, or `mirari run` in front of a machine
 *
 * The protocol is JSON-RPC 2.0 in frames (<mirari/rpc.h>). Parameters of `mirari ctl` are written
 * KEY=VALUE; the appliance is asked first what types the method wants, so that nobody needs to
 * write JSON, and a mistake is found here with a useful message.
 *
 * An appliance in several processes has a channel for each: control, control.1, and so on. Some
 * commands add up what all of them say, the others speak to one.
 *
 * What an appliance sends is checked as anything from outside: frames are bounded, texts are shown
 * with their control bytes made visible.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/rpc.h>

#include "cmd/mirari/ctl.h"

#define SOCKET_NAME "control"
#define TIMEOUT_MS  5000 /* for the answer to a call that was canceled */

static int chosen_worker = -1; /* --worker */
static volatile sig_atomic_t is_interrupted;

/* ---- the channel ----------------------------------------------------------------------------- */

int ctl_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return -1;
}

/* Does somebody listen there? Nobody is disturbed by the question: it is put with a socket of
 * another type, which is refused for its type where somebody does. */
static bool is_served(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return false;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_good = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 &&
                   errno == EPROTOTYPE;
    if (fd >= 0)
        close(fd);
    return is_good;
}

/* How many sockets PATH, PATH.1, PATH.2 ... there are; 1 at least. An earlier appliance may have
 * had more, and have left them. */
static unsigned count_sockets(const char *path)
{
    unsigned count = 1;
    for (; count < CTL_WORKERS_MAX; count++) {
        char *name = need_format("%s.%u", path, count);
        bool is_there = is_served(name);
        free(name);
        if (!is_there)
            break;
    }
    return count;
}

unsigned ctl_count_workers(int folder_fd)
{
    char *path = need_format("/proc/self/fd/%d/" SOCKET_NAME, folder_fd);
    unsigned count = count_sockets(path);
    free(path);
    return count;
}

static bool open_worker(struct ctl *ctl, const char *command, const char *who, const char *path,
                        unsigned worker)
{
    *ctl = (struct ctl){.command = command, .who = who, .fd = -1, .worker = worker};
    char *name = worker > 0 ? need_format("%s.%u", path, worker) : need_text(path, strlen(path));
    ctl->fd = ctl_connect(name);
    int error = errno;
    free(name);
    if (ctl->fd >= 0)
        return true;
    if (strchr(who, '/') != NULL)
        complain("%s: cannot connect to \"%s\": %s; is the appliance running, with --control "
                 "of this path?",
                 command, who, strerror(error));
    else
        complain("%s: \"%s\" has no control channel: %s", command, who,
                 error == ENOENT
                     ? "it was started with --control off or elsewhere, is of another "
                       "version, or a machine whose manifest does not have vm { control "
                       "= true }"
                     : strerror(error));
    return false;
}

/* The path of the socket of worker 0; *@folder is a descriptor that it needs, or -1. NULL after a
 * message. */
static char *path_of(const char *who, int *folder)
{
    struct state state;
    *folder = -1;
    if (strchr(who, '/') != NULL)
        return need_text(who, strlen(who));
    if (state_open(&state) != 0)
        return NULL;
    *folder = state_find(&state, who);
    close(state.base_fd);
    return *folder >= 0 ? need_format("/proc/self/fd/%d/" SOCKET_NAME, *folder) : NULL;
}

/* Which workers: from *@first on, so many of those that are @there. 0 after a message. */
static unsigned choose_workers(unsigned there, unsigned max, const char *command, const char *who,
                               unsigned *first)
{
    *first = chosen_worker > 0 ? (unsigned)chosen_worker : 0;
    if (chosen_worker >= 0 && *first < there)
        return 1;
    if (chosen_worker >= 0)
        complain("%s: \"%s\" has no worker %d; the last one is number %u", command, who,
                 chosen_worker, there - 1);
    else if (there > max)
        complain("%s: \"%s\" has %u workers; this is number 0, --worker chooses another one",
                 command, who, there);
    return chosen_worker >= 0 ? 0 : there < max ? there : max;
}

static unsigned open_some(struct ctl *ctls, unsigned max, const char *command, const char *who)
{
    int folder;
    char *path = path_of(who, &folder);
    unsigned opened = 0, first, wanted = 0;
    if (path != NULL)
        wanted = choose_workers(count_sockets(path), max, command, who, &first);
    while (opened < wanted && open_worker(&ctls[opened], command, who, path, first + opened))
        opened++;
    for (unsigned i = 0; i < opened && opened < wanted; i++)
        ctl_close(&ctls[i]);
    free(path);
    if (folder >= 0)
        close(folder);
    return opened < wanted ? 0 : opened;
}

int ctl_open(struct ctl *ctl, const char *command, const char *who)
{
    return open_some(ctl, 1, command, who) == 1 ? 0 : EXIT_FAIL;
}

unsigned ctl_open_all(struct ctl ctls[CTL_WORKERS_MAX], const char *command, const char *who)
{
    return open_some(ctls, CTL_WORKERS_MAX, command, who);
}

void ctl_close(struct ctl *ctl)
{
    if (ctl->fd >= 0)
        close(ctl->fd);
    free(ctl->frame);
    free(ctl->nodes);
    *ctl = (struct ctl){.fd = -1};
}

static bool put_whole(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, data, len, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        data += put;
        len -= (size_t)put;
    }
    return true;
}

bool ctl_send(struct ctl *ctl, const char *method, const char *params)
{
    struct str text = {0};
    uint8_t header[4];
    str_format(&text,
               "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":", (unsigned long long)++ctl->id);
    str_json(&text, method);
    str_format(&text, ",\"params\":%s}", params != NULL ? params : "{}");
    mir_put_be32(header, (uint32_t)text.len);
    bool good = put_whole(ctl->fd, (char *)header, sizeof(header)) &&
                put_whole(ctl->fd, text.data, text.len);
    str_free(&text);
    return good;
}

static void on_interrupt(int number)
{
    (void)number;
    is_interrupted = 1;
}

void ctl_catch_interrupt(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* All @len bytes. False: the end. */
static bool get_whole(struct ctl *ctl, char *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t got = recv(ctl->fd, data + at, len - at, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

bool ctl_receive(struct ctl *ctl)
{
    uint8_t header[4];
    size_t error_at;
    if (!get_whole(ctl, (char *)header, sizeof(header)))
        return false;
    uint32_t len = mir_get_be32(header);
    if (len == 0 || len > MIR_RPC_FRAME_MAX)
        return false;
    free(ctl->frame);
    ctl->frame = need(len + 1);
    if (!get_whole(ctl, ctl->frame, len))
        return false;
    int r = -MIR_ELIMIT;
    if (ctl->nodes == NULL) {
        ctl->nodes_max = MIR_RPC_FRAME_MAX / 2;
        ctl->nodes = need(ctl->nodes_max * sizeof(*ctl->nodes));
    }
    r = mir_json_parse(&ctl->json, ctl->frame, len, ctl->nodes, ctl->nodes_max, &error_at);
    return r == 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int lost(const struct ctl *ctl)
{
    complain("%s: \"%s\" has closed the control channel; did it end?", ctl->command, ctl->who);
    return EXIT_FAIL;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Sleeps until a frame comes. False: the time is over, or, where there is no limit (-1), somebody
 * has interrupted us, be it just before we fell asleep. With a limit further interrupts are not
 * heard: timeout(1) sends two, and who presses Ctrl-C once more has been understood already. */
static bool await_frame(const struct ctl *ctl, int64_t until_ms)
{
    struct pollfd wait = {.fd = ctl->fd, .events = POLLIN};
    sigset_t interrupts, before;
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    sigprocmask(SIG_BLOCK, &interrupts, &before);
    bool has_frame = false, goes_on = true;
    while (goes_on && !has_frame) {
        int64_t left_ms = until_ms - now_ms();
        struct timespec limit = {left_ms / 1000, left_ms % 1000 * 1000000};
        goes_on = until_ms < 0 ? !is_interrupted : left_ms > 0;
        has_frame = goes_on && ppoll(&wait, 1, until_ms < 0 ? NULL : &limit, &before) > 0;
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return has_frame;
}

/* The answer to our call: 0, or a message. */
static int take_answer(struct ctl *ctl, const char *method, bool is_canceled)
{
    uint32_t error = mir_json_find(&ctl->json, 0, "error");
    ctl->result = mir_json_find(&ctl->json, 0, "result");
    if (ctl->result != MIR_JSON_NONE)
        return 0;
    if (is_canceled)
        return 0;
    const char *message = ctl_text(ctl, error, "message");
    complain("%s: %s: %s", ctl->command, method, message[0] != '\0' ? message : "no answer");
    return EXIT_FAIL;
}

/* Asks for the end of our call, which has to come until *@until_ms. */
static bool cancel(struct ctl *ctl, int64_t *until_ms)
{
    char params[48];
    uint64_t id = ctl->id;
    *until_ms = now_ms() + TIMEOUT_MS;
    snprintf(params, sizeof(params), "{\"id\":%llu}", (unsigned long long)id);
    bool good = ctl_send(ctl, "rpc.cancel", params);
    ctl->id = id;
    return good;
}

/* Is the frame that came about our call? Else it is an answer to a cancel, or one without id. */
static bool is_ours(const struct ctl *ctl, uint32_t object)
{
    uint64_t id;
    return mir_json_u64(&ctl->json, mir_json_find(&ctl->json, object, "id"), UINT64_MAX, &id) ==
               0 &&
           id == ctl->id;
}

/* An error without an id: the appliance refuses us. */
static bool is_refusal(const struct ctl *ctl)
{
    return mir_json_is(&ctl->json, mir_json_find(&ctl->json, 0, "id"), MIR_JSON_NULL);
}

int ctl_call(struct ctl *ctl, const char *method, const char *params, ctl_item_fn each, void *arg)
{
    int64_t until_ms = -1;               /* of the answer, once the call was canceled */
    (void)ctl_send(ctl, method, params); /* who refuses us has said why, and closed */
    for (;;) {
        if (!await_frame(ctl, until_ms)) {
            if (until_ms >= 0) {
                complain("%s: \"%s\" does not end the call within %d s; is it stuck?", ctl->command,
                         ctl->who, TIMEOUT_MS / 1000);
                return EXIT_FAIL;
            }
            if (!cancel(ctl, &until_ms))
                return lost(ctl);
            continue;
        }
        if (!ctl_receive(ctl))
            return lost(ctl);
        uint32_t item = mir_json_find(&ctl->json, 0, "params");
        if (item != MIR_JSON_NONE) {
            bool goes_on = !is_ours(ctl, item) || each == NULL || until_ms >= 0 ||
                           each(ctl, mir_json_find(&ctl->json, item, "item"), arg);
            if (!goes_on && !cancel(ctl, &until_ms))
                return lost(ctl);
        } else if (is_ours(ctl, 0) || is_refusal(ctl)) {
            /* The cancel has the id behind ours. */
            return take_answer(ctl, method, until_ms >= 0);
        }
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

uint64_t ctl_number(const struct ctl *ctl, uint32_t object, const char *name)
{
    uint64_t value;
    uint32_t node = mir_json_find(&ctl->json, object, name);
    return mir_json_u64(&ctl->json, node, UINT64_MAX, &value) == 0 ? value : 0;
}

bool ctl_flag(const struct ctl *ctl, uint32_t object, const char *name)
{
    bool value;
    uint32_t node = mir_json_find(&ctl->json, object, name);
    return mir_json_bool(&ctl->json, node, &value) == 0 && value;
}

bool ctl_has(const struct ctl *ctl, uint32_t object, const char *name)
{
    uint32_t node = mir_json_find(&ctl->json, object, name);
    return node != MIR_JSON_NONE && !mir_json_is(&ctl->json, node, MIR_JSON_NULL);
}

const char *ctl_text(const struct ctl *ctl, uint32_t object, const char *name)
{
    uint32_t node = mir_json_find(&ctl->json, object, name);
    struct str shown = {0};
    if (!mir_json_is(&ctl->json, node, MIR_JSON_STRING))
        return "";
    size_t size = ctl->json.nodes[node].len + 1;
    char *text = need(size);
    if (mir_json_text(&ctl->json, node, text, size) < 0)
        text[0] = '\0';
    str_add(&shown, "", 0);
    str_visible(&shown, text);
    free(text);
    return shown.data;
}

/* ---- tables ---------------------------------------------------------------------------------- */

void table_add(struct table *table, const char *cell)
{
    list_add(&table->cells, cell);
}

static void show_cell(const char *text, int width, bool is_right, bool is_last)
{
    if (is_last && !is_right)
        printf("%s\n", text);
    else
        printf(is_right ? "%*s%s" : "%-*s%s", width, text, is_last ? "\n" : "  ");
}

void table_show(const struct table *table)
{
    size_t columns = table->columns;
    int *width = need(columns * sizeof(*width));
    for (size_t i = 0; i < columns; i++)
        width[i] = (int)strlen(table->titles[i]) - (table->titles[i][0] == '>');
    for (size_t i = 0; i < table->cells.count; i++) {
        int len = (int)strlen(table->cells.item[i]);
        width[i % columns] = len > width[i % columns] ? len : width[i % columns];
    }
    for (size_t i = 0; i < columns + table->cells.count; i++) {
        size_t column = i % columns;
        const char *title = table->titles[column];
        bool is_right = title[0] == '>';
        const char *text = i < columns ? title + is_right : table->cells.item[i - columns];
        show_cell(text, width[column], is_right, column + 1 == columns);
    }
    free(width);
}

/* ---- arguments ------------------------------------------------------------------------------- */

/* The letter of an option, from "l:" lists and "letter=long" names; 0: there is none. */
static char find_option(const char *arg, const char *options, const char *const *long_names)
{
    if (arg[0] == '-' && arg[1] != '-' && arg[1] != '\0' && arg[1] != ':' && arg[2] == '\0' &&
        strchr(options, arg[1]) != NULL)
        return arg[1];
    for (size_t i = 0; long_names != NULL && long_names[i] != NULL; i++)
        if (strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, long_names[i] + 2) == 0)
            return long_names[i][0];
    return '\0';
}

/* --worker K, of every command here. */
static bool take_worker(const char *command, const char *value)
{
    struct why why;
    int64_t number;
    if (value == NULL || !valid_int(value, &number, &why) || number < 0 ||
        number >= (int64_t)CTL_WORKERS_MAX) {
        complain("%s: --worker takes the number of a worker, from 0 on; `mirari attach NAME` lists "
                 "them",
                 command);
        return false;
    }
    chosen_worker = (int)number;
    return true;
}

static int unknown_option(const char *command, const char *arg, const char *const *long_names)
{
    const char *names[16];
    size_t count = 0;
    names[count++] = "--worker";
    for (size_t i = 0; long_names != NULL && long_names[i] != NULL && count < LEN(names); i++)
        names[count++] = need_format("--%s", long_names[i] + 2);
    return usage_error(command, arg, names, count);
}

int ctl_arguments(struct ctl_args *args, int argc, char **argv, const char *options,
                  const char *const *long_names, bool takes_rest)
{
    *args = (struct ctl_args){0};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool is_option = arg[0] == '-' && arg[1] != '\0' && args->rest.count == 0;
        if (is_option && strcmp(arg, "--worker") == 0) {
            if (!take_worker(argv[0], ++i < argc ? argv[i] : NULL))
                return EXIT_USAGE;
            continue;
        }
        char letter = '\0';
        if (is_option)
            letter = find_option(arg, options, long_names);
        if (is_option && letter == '\0' && args->who != NULL && takes_rest && arg[1] == '-' &&
            arg[2] == '\0')
            continue;
        if (is_option && letter == '\0')
            return unknown_option(argv[0], arg, long_names);
        if (is_option) {
            args->has[(int)letter] = true;
            if (strchr(options, letter)[1] != ':')
                continue;
            if (i + 1 >= argc) {
                complain("%s: option %s needs a value; write it after the option", argv[0], arg);
                return EXIT_USAGE;
            }
            args->value[(int)letter] = argv[++i];
        } else if (args->who == NULL) {
            args->who = arg;
        } else if (takes_rest) {
            list_add(&args->rest, arg);
        } else {
            return usage_error(argv[0], arg, NULL, 0);
        }
    }
    if (args->who != NULL)
        return 0;
    complain("%s: name an appliance or its process id; `mirari ps` lists them", argv[0]);
    return EXIT_USAGE;
}

/* ---- mirari ctl ------------------------------------------------------------------------------ */

static void show_node(const struct ctl *ctl, uint32_t node)
{
    if (node == MIR_JSON_NONE)
        return;
    const struct mir_json_node *n = &ctl->json.nodes[node];
    size_t quote = n->type == MIR_JSON_STRING;
    printf("%.*s\n", (int)(n->len + 2 * quote), ctl->json.text + n->at - quote);
}

static bool show_item(struct ctl *ctl, uint32_t item, void *arg)
{
    (void)arg;
    show_node(ctl, item);
    fflush(stdout);
    return !ferror(stdout);
}

/* Member @i of an array of objects. */
static uint32_t element(const struct ctl *ctl, uint32_t array, uint32_t i)
{
    uint32_t at = array + 1;
    for (; i > 0; i--)
        at = ctl->json.nodes[at].next;
    return at;
}

static uint32_t count_of(const struct ctl *ctl, uint32_t array)
{
    return mir_json_is(&ctl->json, array, MIR_JSON_ARRAY) ? ctl->json.nodes[array].count : 0;
}

static int list_methods(struct ctl *ctl)
{
    static const char *const titles[] = {"METHOD", "ROLE", "PARAMETERS", "WHAT IT DOES"};
    struct table table = {.titles = titles, .columns = LEN(titles)};
    if (ctl_call(ctl, "rpc.methods", NULL, NULL, NULL) != 0)
        return EXIT_FAIL;
    uint32_t methods = mir_json_find(&ctl->json, ctl->result, "methods");
    for (uint32_t i = 0; i < count_of(ctl, methods); i++) {
        uint32_t method = element(ctl, methods, i);
        uint32_t params = mir_json_find(&ctl->json, method, "params");
        struct str names = {0};
        str_add(&names, "", 0);
        for (uint32_t k = 0; k < count_of(ctl, params); k++) {
            uint32_t param = element(ctl, params, k);
            bool is_needed = ctl_flag(ctl, param, "required");
            str_format(&names, "%s%s%s%s", k > 0 ? " " : "", is_needed ? "" : "[",
                       ctl_text(ctl, param, "name"), is_needed ? "" : "]");
        }
        table_add(&table, ctl_text(ctl, method, "name"));
        table_add(&table, ctl_text(ctl, method, "role"));
        table_add(&table, names.data);
        table_add(&table, ctl_text(ctl, method, "help"));
        str_free(&names);
    }
    table_show(&table);
    return 0;
}

/* The description of a method, or MIR_JSON_NONE after a message. */
static uint32_t find_method(struct ctl *ctl, const char *name)
{
    if (ctl_call(ctl, "rpc.methods", NULL, NULL, NULL) != 0)
        return MIR_JSON_NONE;
    uint32_t methods = mir_json_find(&ctl->json, ctl->result, "methods");
    const char *names[256];
    uint32_t count = count_of(ctl, methods);
    for (uint32_t i = 0; i < count && i < LEN(names); i++) {
        uint32_t method = element(ctl, methods, i);
        names[i] = ctl_text(ctl, method, "name");
        if (strcmp(names[i], name) == 0)
            return method;
    }
    complain("ctl: \"%s\" has no method \"%s\"%s; `mirari ctl %s` lists them", ctl->who, name,
             did_you_mean(name, names, count < LEN(names) ? count : LEN(names)), ctl->who);
    return MIR_JSON_NONE;
}

/* KEY=VALUE as a member, by the type that the method wants. */
static bool add_param(struct ctl *ctl, uint32_t method, const char *word, struct str *params)
{
    uint32_t known = mir_json_find(&ctl->json, method, "params");
    const char *equal = strchr(word, '=');
    struct str all = {0};
    struct why why;
    int64_t number;
    bool flag;
    str_add(&all, "", 0);
    char *key = need_text(word, equal != NULL ? (size_t)(equal - word) : strlen(word));
    for (uint32_t i = 0; i < count_of(ctl, known); i++) {
        uint32_t param = element(ctl, known, i);
        const char *name = ctl_text(ctl, param, "name"), *type = ctl_text(ctl, param, "type");
        str_format(&all, " %s", name);
        if (equal == NULL || strcmp(name, key) != 0)
            continue;
        str_text(params, params->len > 1 ? "," : "");
        str_json(params, key);
        str_text(params, ":");
        if (strcmp(type, "string") == 0)
            str_json(params, equal + 1);
        else if (strcmp(type, "boolean") == 0 && valid_bool(equal + 1, &flag, &why))
            str_text(params, flag ? "true" : "false");
        else if (strcmp(type, "number") == 0 && valid_int(equal + 1, &number, &why))
            str_text(params, equal + 1);
        else
            complain("ctl: %s: \"%s\" is not a %s", key, equal + 1, type);
        bool good = params->data[params->len - 1] != ':';
        free(key);
        return good;
    }
    complain(equal == NULL ? "ctl: \"%s\" is not KEY=VALUE; this method has:%s"
                           : "ctl: there is no parameter \"%s\"; this method has:%s",
             key, all.len > 0 ? all.data : " none");
    free(key);
    return false;
}

int cmd_ctl(int argc, char **argv)
{
    struct ctl_args args;
    struct ctl ctl;
    struct str params = {0};
    int r = ctl_arguments(&args, argc, argv, "", NULL, true);
    if (r == 0)
        r = ctl_open(&ctl, "ctl", args.who);
    if (r != 0)
        return r;
    if (args.rest.count == 0) {
        r = list_methods(&ctl);
        ctl_close(&ctl);
        return r;
    }
    uint32_t method = find_method(&ctl, args.rest.item[0]);
    r = method != MIR_JSON_NONE ? 0 : EXIT_FAIL;
    str_text(&params, "{");
    for (size_t i = 1; i < args.rest.count && r == 0; i++)
        r = add_param(&ctl, method, args.rest.item[i], &params) ? 0 : EXIT_USAGE;
    str_text(&params, "}");
    if (r == 0) {
        ctl_catch_interrupt();
        r = ctl_call(&ctl, args.rest.item[0], params.data, show_item, NULL);
    }
    if (r == 0)
        show_node(&ctl, ctl.result);
    str_free(&params);
    ctl_close(&ctl);
    return r;
}
