/* SPDX-License-Identifier: ISC */
/* Appliances of a test: each behind a `mirari run` of its own, whose output is a file, driven over
 * its control channel.
 *
 * Whatever is waited for - an answer, an address, the end of a command - the end of any appliance
 * is waited for as well: one that dies is reported in that moment, with its last lines. Every wait
 * has a time at which it ends. All processes are children of ours, orphans included (we are their
 * subreaper), so that nothing outlives a test.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/mirari/test.h"

#define LOOK_MS     20 /* between two looks at what tells nobody when it changes */
#define FRAME_MS    5000
#define ITEMS_MAX   ((size_t)1 << 20)
#define LAST_LINES  20
#define LOG_SHOWN   ((size_t)64 << 10)
#define GRACE_LIMIT "10"

int64_t test_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool test_fail(struct test_run *run, const char *fmt, ...)
{
    va_list args;
    char *line = NULL;
    va_start(args, fmt);
    if (vasprintf(&line, fmt, args) < 0)
        line = NULL;
    va_end(args);
    str_text(&run->why, line != NULL ? line : "?");
    str_text(&run->why, "\n");
    free(line);
    return false;
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int status_of(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void reap(struct test_run *run)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == run->command) {
            run->command_ended = true;
            run->command_status = status_of(status);
        }
        for (size_t i = 0; i < run->file->app_count; i++) {
            struct test_running *app = &run->apps[i];
            if (app->pid != pid)
                continue;
            app->pid = 0;
            app->has_ended = true;
            app->status = status_of(status);
        }
    }
}

/* The last lines of what it printed. */
static void add_last_lines(struct test_run *run, const struct test_running *app)
{
    char *text = test_app_log(app), *at = text + strlen(text);
    for (int lines = 0; at > text && lines <= LAST_LINES; at--)
        lines += at[-1] == '\n' && at[0] != '\0';
    at += at > text;
    if (*at == '\0')
        test_fail(run, "it printed nothing");
    for (char *save = NULL, *line = strtok_r(at, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save))
        test_fail(run, "%s| %s", app->app->name, line);
    free(text);
}

static bool check_alive(struct test_run *run)
{
    bool good = true;
    for (size_t i = 0; i < run->file->app_count; i++) {
        struct test_running *app = &run->apps[i];
        if (!app->has_ended || app->may_end || app->is_told)
            continue;
        app->is_told = true;
        good = false;
        test_fail(run, "\"%s\" has ended, with status %d", app->app->name, app->status);
        add_last_lines(run, app);
    }
    return good;
}

static void take_signals(struct test_run *run)
{
    struct signalfd_siginfo info;
    while (read(run->signals, &info, sizeof(info)) == sizeof(info))
        run->is_stopped = run->is_stopped || info.ssi_signo != SIGCHLD;
    reap(run);
}

bool test_wait(struct test_run *run, int fd, int64_t until_ms, bool *is_ready)
{
    struct pollfd fds[2] = {{.fd = run->signals, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    int64_t now = test_now(), end = until_ms < run->end_ms ? until_ms : run->end_ms;
    int64_t left = end > now ? end - now : 0;
    int count = poll(fds, 2, (int)(left < 60000 ? left : 60000));
    if (is_ready != NULL)
        *is_ready = count > 0 && fds[1].revents != 0;
    take_signals(run);
    if (run->is_stopped)
        return test_fail(run, "interrupted");
    if (test_now() >= run->end_ms)
        return test_fail(run, "the time of the whole file is over (limit)");
    return check_alive(run);
}

static bool pause_for(struct test_run *run, int64_t until_ms)
{
    int64_t next = test_now() + LOOK_MS;
    return test_wait(run, -1, next < until_ms ? next : until_ms, NULL);
}

/* ---- start ----------------------------------------------------------------------------------- */

static bool add_words(struct test_run *run, struct test_running *app, struct list *argv)
{
    const struct test_app *what = app->app;
    const struct test_options *options = run->options;
    const char *const words[] = {options->self, "run", "-q",        "--no-build", "-C",
                                 what->folder,  "-t",  app->target, "--grace",    GRACE_LIMIT};
    struct manifest manifest = {0};
    struct why why;
    for (size_t i = 0; i < LEN(words); i++)
        list_add(argv, words[i]);
    char *out = test_out_of(options, what->folder);
    if (out != NULL) {
        list_add(argv, "-o");
        list_add(argv, out);
    }
    free(out);
    if (options->accel != NULL && is_virt(app->target)) {
        list_add(argv, "--accel");
        list_add(argv, options->accel);
    }
    if (manifest_load(what->folder, NULL, true, &manifest) != 0)
        return test_fail(run, "app %s: the manifest of \"%s\" is wrong", what->name, what->folder);
    app->is_mute = is_virt(app->target) && !manifest.vm.has_control;
    if (app->is_mute && what->ready == NULL) {
        manifest_free(&manifest);
        return test_fail(run,
                         "the image of \"%s\" has no control channel; write vm { control = true } "
                         "into its manifest, or behind its folder ready=\"WHAT IT PRINTS\"",
                         what->name);
    }
    if (!app->is_mute) {
        list_add(argv, "--control");
        list_add(argv, app->control);
    }
    bool good = run->file->net_count == 0 ||
                test_net_words(run->file, (size_t)(what - run->file->app), &manifest, argv, &why);
    manifest_free(&manifest);
    for (size_t i = 0; i < what->options.count; i++) {
        char *text = test_expand(&run->vars, what->options.item[i], NULL);
        list_add(argv, text);
        free(text);
    }
    return good || test_fail(run, "%s", why.text);
}

static void become_child(const struct test_running *app, char *const *argv, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* Ctrl-C is for us; we end it in order */
    int null = open("/dev/null", O_RDONLY);
    int log = open(app->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (null < 0 || log < 0 || getppid() != parent)
        _exit(127);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "mirari: cannot run \"%s\": %s\n", argv[0], strerror(errno));
    _exit(127);
}

bool test_app_start(struct test_run *run, struct test_running *app)
{
    struct list argv = {0};
    pid_t parent = getpid();
    if (app->pid != 0)
        return test_fail(run, "\"%s\" runs already", app->app->name);
    if (!add_words(run, app, &argv))
        return false;
    int log = open(app->log, O_RDONLY | O_CLOEXEC);
    app->log_at = log >= 0 ? (long long)lseek(log, 0, SEEK_END) : 0;
    if (log >= 0)
        close(log);
    (void)unlink(app->control);
    app->has_ended = app->may_end = app->is_told = app->hangs = false;
    fflush(NULL);
    app->pid = fork();
    if (app->pid == 0)
        become_child(app, argv.item, parent);
    if (app->pid > 0)
        return true;
    app->pid = 0;
    return test_fail(run, "cannot start a process: %s", strerror(errno));
}

/* ---- the control channel --------------------------------------------------------------------- */

static bool connect_control(struct test_run *run, struct test_running *app, int64_t until_ms)
{
    struct timeval limit = {.tv_sec = FRAME_MS / 1000};
    ctl_close(&app->ctl);
    while ((app->ctl.fd = ctl_connect(app->control)) < 0) {
        if (test_now() >= until_ms) {
            test_fail(run, "\"%s\" has no control channel yet", app->app->name);
            add_last_lines(run, app);
            return false;
        }
        if (!pause_for(run, until_ms))
            return false;
    }
    (void)setsockopt(app->ctl.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    (void)setsockopt(app->ctl.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return true;
}

/* JSON of a node of the frame. */
static void add_node(const struct mir_json *json, uint32_t node, struct str *out)
{
    const struct mir_json_node *n = &json->nodes[node];
    size_t quote = n->type == MIR_JSON_STRING;
    str_add(out, json->text + n->at - quote, n->len + 2 * quote);
}

/* An item of a stream. Lists come in pieces that fit a frame, which are put together here. */
static void add_item(const struct mir_json *json, uint32_t item, struct str *items)
{
    bool is_list = mir_json_is(json, item, MIR_JSON_ARRAY);
    uint32_t count = is_list ? json->nodes[item].count : 1, at = is_list ? item + 1 : item;
    if (items->len == 0)
        str_text(items, "{\"items\":[");
    for (uint32_t i = 0; i < count; i++, at = json->nodes[at].next) {
        str_text(items, items->data[items->len - 1] != '[' ? "," : "");
        add_node(json, at, items);
    }
}

/* What came: an item, or the answer, which ends the call. */
static bool take_frame(struct test_run *run, struct test_running *app, struct str *items,
                       char **error)
{
    struct ctl *ctl = &app->ctl;
    const struct mir_json *json = &ctl->json;
    uint32_t params = mir_json_find(json, 0, "params"), item = MIR_JSON_NONE;
    uint32_t holder = params != MIR_JSON_NONE ? params : 0;
    uint64_t id = 0;
    if (mir_json_u64(json, mir_json_find(json, holder, "id"), UINT64_MAX, &id) != 0 ||
        id != ctl->id)
        return mir_json_is(json, mir_json_find(json, 0, "id"), MIR_JSON_NULL);
    if (params != MIR_JSON_NONE) {
        item = mir_json_find(json, params, "item");
        if (item != MIR_JSON_NONE && items->len < ITEMS_MAX)
            add_item(json, item, items);
        return false;
    }
    uint32_t result = mir_json_find(json, 0, "result");
    if (result == MIR_JSON_NONE) {
        *error = need_format("%s", ctl_text(ctl, mir_json_find(json, 0, "error"), "message"));
        return true;
    }
    struct str text = {0};
    if (items->len > 0) {
        str_format(&text, "%s],\"result\":", items->data);
        add_node(json, result, &text);
        str_text(&text, "}");
    } else {
        add_node(json, result, &text);
    }
    (void)test_value_set(&run->value, text.data);
    return true;
}

/* The frames of a call, until its answer. */
static bool await_answer(struct test_run *run, struct test_running *app, const char *method,
                         int64_t until_ms, char **error)
{
    struct str items = {0};
    bool is_over = false, is_ready = false, good = true;
    while (good && !is_over) {
        if (app->may_be_late && test_now() >= until_ms) {
            ctl_close(&app->ctl); /* which ends the call */
            *error = need_format("no answer in time");
            is_over = true;
        } else if (app->ctl.fd < 0 || test_now() >= until_ms) {
            good = test_fail(run, "\"%s\" did not answer %s in time", app->app->name, method);
            add_last_lines(run, app);
            app->hangs = true;
            ctl_close(&app->ctl); /* which ends the call, if it is only slow */
        } else if (!test_wait(run, app->ctl.fd, until_ms, &is_ready)) {
            good = false;
        } else if (app->has_ended) {
            break; /* as was wanted */
        } else if (is_ready && !ctl_receive(&app->ctl)) {
            /* Closed: it is ending, which is another process that may be slower. */
            ctl_close(&app->ctl);
            int64_t limit = test_now() + FRAME_MS;
            while (good && !app->has_ended && test_now() < limit)
                good = pause_for(run, limit);
            if (good && !app->has_ended)
                good = test_fail(run, "\"%s\" closed its control channel", app->app->name);
            break;
        } else if (is_ready) {
            is_over = take_frame(run, app, &items, error);
            app->hangs = false;
        }
    }
    str_free(&items);
    return good;
}

bool test_app_ask(struct test_run *run, struct test_running *app, const char *method,
                  const char *params, int64_t until_ms, char **error)
{
    *error = NULL;
    if (app->pid == 0)
        return test_fail(run, "\"%s\" does not run", app->app->name);
    if (app->is_mute)
        return test_fail(run,
                         "the image of \"%s\" has no control channel; write vm { control = "
                         "true } into its manifest",
                         app->app->name);
    if (app->ctl.fd < 0 && !connect_control(run, app, until_ms))
        return false;
    (void)ctl_send(&app->ctl, method, params); /* one that is gone shows when we listen */
    return await_answer(run, app, method, until_ms, error);
}

/* "tentative" means that nobody may be sent from it yet. */
static bool has_addresses(struct test_run *run)
{
    char *count = test_value_get(&run->value, "items.count");
    unsigned long total = count != NULL ? strtoul(count, NULL, 10) : 0;
    bool good = true;
    free(count);
    for (unsigned long i = 0; i < total && good; i++) {
        char *path = need_format("items.%lu.state", i), *state = test_value_get(&run->value, path);
        good = state == NULL || strcmp(state, "tentative") != 0;
        free(path);
        free(state);
    }
    return good;
}

/* Until it has printed what it prints when it can be used. */
static bool wait_text(struct test_run *run, const struct test_running *app, int64_t until_ms)
{
    for (;;) {
        char *log = test_app_log(app);
        bool is_there = strstr(log, app->app->ready) != NULL;
        free(log);
        if (is_there)
            return true;
        if (test_now() >= until_ms) {
            test_fail(run, "\"%s\" has not printed \"%s\"", app->app->name, app->app->ready);
            add_last_lines(run, app);
            return false;
        }
        if (!pause_for(run, until_ms))
            return false;
    }
}

bool test_app_wait(struct test_run *run, struct test_running *app, int64_t until_ms)
{
    char *error = NULL;
    if (app->app->ready != NULL && !wait_text(run, app, until_ms))
        return false;
    if (app->is_mute)
        return true;
    if (!connect_control(run, app, until_ms) ||
        !test_app_ask(run, app, "rpc.methods", NULL, until_ms, &error))
        return false;
    free(error);
    test_value_free(&app->methods);
    app->methods = run->value;
    run->value = (struct test_value){0};
    for (;;) {
        if (!test_app_ask(run, app, "addr", NULL, until_ms, &error))
            return false;
        bool has_none = error != NULL; /* no network, or the host's */
        free(error);
        if (has_none || has_addresses(run))
            return true;
        if (!pause_for(run, until_ms))
            return false;
    }
}

/* ---- calls with parameters ------------------------------------------------------------------- */

/* The description of a method; MIR_JSON_NONE after a message. */
static uint32_t find_method(struct test_run *run, const struct test_running *app, const char *name)
{
    const struct mir_json *json = &app->methods.json;
    uint32_t list = json->count > 0 ? mir_json_find(json, 0, "methods") : MIR_JSON_NONE;
    const char *names[256];
    uint32_t count = list != MIR_JSON_NONE ? json->nodes[list].count : 0, at = list + 1;
    for (uint32_t i = 0; i < count && i < LEN(names); i++, at = json->nodes[at].next) {
        if (mir_json_equal(json, mir_json_find(json, at, "name"), name))
            return at;
        char *path = need_format("methods.%u.name", i);
        names[i] = test_value_get(&app->methods, path);
        free(path);
    }
    if (strncmp(name, "rpc.", 4) == 0)
        return list;
    test_fail(run, "\"%s\" has no method \"%s\"%s%s", app->app->name, name,
              did_you_mean(name, names, count < LEN(names) ? count : LEN(names)),
              strncmp(name, "test.", 5) == 0 ? "; write testable = true into its manifest" : "");
    return MIR_JSON_NONE;
}

/* Is parameter @key of the method a text? Unknown ones are the appliance's to refuse. */
static bool is_text_param(const struct mir_json *json, uint32_t method, const char *key)
{
    uint32_t params = mir_json_find(json, method, "params");
    uint32_t count = params != MIR_JSON_NONE ? json->nodes[params].count : 0, at = params + 1;
    for (uint32_t i = 0; i < count; i++, at = json->nodes[at].next)
        if (mir_json_equal(json, mir_json_find(json, at, "name"), key))
            return mir_json_equal(json, mir_json_find(json, at, "type"), "string");
    return false;
}

bool test_app_call(struct test_run *run, struct test_running *app, const struct test_step *step,
                   int64_t until_ms, char **error)
{
    struct str params = {0};
    int64_t number;
    struct why why;
    *error = NULL;
    if (app->pid == 0)
        return test_fail(run, "\"%s\" does not run", app->app->name);
    uint32_t method = app->is_mute ? 0 : find_method(run, app, step->word);
    if (method == MIR_JSON_NONE)
        return false;
    str_text(&params, "{");
    for (size_t i = 0; i < step->params.count; i++) {
        const char *word = step->params.item[i], *equal = strchr(word, '=');
        char *key = need_text(word, (size_t)(equal - word));
        char *value = test_expand(&run->vars, equal + 1, NULL);
        str_text(&params, i > 0 ? "," : "");
        str_json(&params, key);
        str_text(&params, ":");
        bool is_plain = valid_int(value, &number, &why) || strcmp(value, "true") == 0 ||
                        strcmp(value, "false") == 0;
        if (is_plain && !is_text_param(&app->methods.json, method, key))
            str_text(&params, value);
        else
            str_json(&params, value);
        free(key);
        free(value);
    }
    str_text(&params, "}");
    bool good = test_app_ask(run, app, step->word, params.data, until_ms, error);
    str_free(&params);
    return good;
}

/* ---- logs and ends --------------------------------------------------------------------------- */

char *test_app_log(const struct test_running *app)
{
    struct str text = {0};
    str_add(&text, "", 0);
    int fd = open(app->log, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0, from = (off_t)app->log_at;
    if (end - from > (off_t)LOG_SHOWN)
        from = end - (off_t)LOG_SHOWN;
    char chunk[4096];
    ssize_t got;
    while (fd >= 0 && (got = pread(fd, chunk, sizeof(chunk), from)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            str_add(&text, chunk[i] == '\0' ? "?" : &chunk[i], chunk[i] == '\r' ? 0 : 1);
        from += got;
    }
    if (fd >= 0)
        close(fd);
    return text.data;
}

bool test_app_stop(struct test_run *run, struct test_running *app, int64_t until_ms)
{
    char *error = NULL;
    app->may_end = true;
    if (app->pid != 0 && app->is_mute) {
        (void)kill(app->pid, SIGTERM); /* its power button */
        return true;
    }
    if (!test_app_ask(run, app, "shutdown", NULL, until_ms, &error))
        return false;
    bool good = error == NULL || test_fail(run, "\"%s\" says: %s", app->app->name, error);
    free(error);
    return good;
}

bool test_app_ended(struct test_run *run, struct test_running *app, int64_t until_ms)
{
    app->may_end = true;
    while (!app->has_ended && test_now() < until_ms)
        if (!test_wait(run, -1, until_ms, NULL))
            return false;
    ctl_close(&app->ctl);
    if (app->has_ended)
        return true;
    test_fail(run, "\"%s\" has not ended", app->app->name);
    add_last_lines(run, app);
    return false;
}

void test_kill_children(pid_t parent)
{
    struct str text = {0};
    char *path = need_format("/proc/%d/task/%d/children", (int)parent, (int)parent), *save = NULL;
    int r = file_read(path, 65536, &text);
    for (char *word = r == 0 && text.len > 0 ? strtok_r(text.data, " ", &save) : NULL; word != NULL;
         word = strtok_r(NULL, " ", &save))
        (void)kill((pid_t)strtol(word, NULL, 10), SIGKILL);
    free(path);
    str_free(&text);
}

/* All of ours, and those that others left to us: behind a `mirari run` that was killed, and of
 * commands. */
static void kill_all(void)
{
    for (int round = 0; round < 500; round++) {
        test_kill_children(getpid());
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0)
            return;
        poll(NULL, 0, 10);
    }
}

void test_apps_kill(struct test_run *run)
{
    for (size_t i = 0; i < run->file->app_count; i++) {
        run->apps[i].may_end = true;
        ctl_close(&run->apps[i].ctl);
    }
    kill_all();
}
