/* SPDX-License-Identifier: ISC */
/* Runs one test file on one target, in this process, which does nothing else.
 *
 * The appliances start together; then the tests run one after another. A step that fails ends its
 * test, the next test goes on with the appliances that are left: what needs one that has died fails
 * by itself and says so. At the end all that still run are asked to end, and one that does not, or
 * not with status 0, is the last result.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/test.h"

#define CALL_MS      20000
#define BOOT_MS      60000
#define COMMAND_MS   60000
#define END_MS       30000
#define HANG_MS      2000
#define OUTPUT_MAX   ((size_t)64 << 10)
#define OUTPUT_LINES 40

/* ---- small helpers --------------------------------------------------------------------------- */

static int64_t limit_of(const struct test_run *run, const struct test_step *step, int64_t usual_ms)
{
    return test_now() + (step->within_ms > 0 ? step->within_ms : usual_ms) * run->options->slower;
}

static void free_text(char **text)
{
    free(*text);
    *text = NULL;
}

/* What a step's check says about the last value; @why says what there was instead. */
static bool holds(struct test_run *run, const struct test_check *check, struct why *why)
{
    char *got = test_value_get(&run->value, check->path);
    char *want = test_expand(&run->vars, check->value, NULL);
    bool good = got != NULL ? test_compare(got, check->op, want, why)
                            : fail(why, "there is no \"%.80s\" in what was answered%s", check->path,
                                   test_value_hint(&run->value, check->path));
    free_text(&got);
    free_text(&want);
    return good;
}

static void show_value(struct test_run *run)
{
    char *output = test_value_get(&run->value, "output"), *save = NULL;
    size_t lines = 0;
    for (char *line = output != NULL ? strtok_r(output, "\n", &save) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &save))
        if (lines++ < OUTPUT_LINES)
            test_fail(run, "| %.200s", line);
    if (lines > OUTPUT_LINES)
        test_fail(run, "| ... %zu lines more", lines - OUTPUT_LINES);
    if (output == NULL && run->value.text != NULL)
        test_fail(run, "answered: %.600s%s", run->value.text,
                  strlen(run->value.text) > 600 ? "..." : "");
    free_text(&output);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static bool check_status(struct test_run *run, const struct test_running *app, int wanted)
{
    if (wanted < 0 || app->status == wanted)
        return true;
    return test_fail(run, "\"%s\" has ended with status %d, not %d", app->app->name, app->status,
                     wanted);
}

static bool do_call(struct test_run *run, struct test_running *app, const struct test_step *step)
{
    int64_t until = limit_of(run, step, CALL_MS);
    char *error = NULL;
    app->may_end = step->must_end;
    app->may_be_late = step->must_fail;
    bool good = test_app_call(run, app, step, until, &error);
    if (good && step->must_end) {
        free_text(&error);
        return test_app_ended(run, app, until) && check_status(run, app, step->status);
    }
    app->may_end = app->may_be_late = false;
    if (good && step->must_fail && error == NULL) {
        good = test_fail(run, "it was done, and should not have been");
        show_value(run);
    } else if (good && !step->must_fail && error != NULL) {
        good = test_fail(run, "\"%s\" says: %s", app->app->name, error);
    } else if (good && error != NULL) {
        struct str text = {0};
        str_text(&text, "{\"error\":");
        str_json(&text, error);
        str_text(&text, "}");
        (void)test_value_set(&run->value, text.data);
    }
    free_text(&error);
    return good;
}

static bool do_until(struct test_run *run, struct test_running *app, const struct test_step *step)
{
    int64_t until = limit_of(run, step, CALL_MS);
    struct why why = {""};
    for (;;) {
        char *error = NULL;
        int64_t next = test_now() + 50;
        if (!test_app_call(run, app, step, until, &error))
            return false;
        if (error != NULL)
            (void)fail(&why, "\"%s\" says: %.160s", app->app->name, error);
        else if (holds(run, &step->check, &why))
            return true;
        free_text(&error);
        if (next >= until) {
            test_fail(run, "not in time: %s", why.text);
            show_value(run);
            return false;
        }
        while (test_now() < next)
            if (!test_wait(run, -1, next, NULL))
                return false;
    }
}

static bool do_expect(struct test_run *run, const struct test_step *step)
{
    struct why why = {""};
    if (run->value.text == NULL)
        return test_fail(run, "nothing was answered before; call something first");
    if (holds(run, &step->check, &why))
        return true;
    test_fail(run, "%s", why.text);
    show_value(run);
    return false;
}

static bool do_let(struct test_run *run, const struct test_step *step)
{
    char *got = test_value_get(&run->value, step->check.path);
    if (got == NULL) {
        test_fail(run, "there is no \"%s\" in what was answered%s", step->check.path,
                  test_value_hint(&run->value, step->check.path));
        show_value(run);
        return false;
    }
    test_var_set(&run->vars, step->word, got);
    free_text(&got);
    return true;
}

static void become_command(const struct test_run *run, const char *command, const char *output,
                           pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    int null = open("/dev/null", O_RDONLY);
    int out = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    for (size_t i = 0; i < run->vars.names.count; i++)
        setenv(run->vars.names.item[i], run->vars.values.item[i], 1);
    setenv("MIRARI", run->options->self, 1);
    if (null < 0 || out < 0 || getppid() != parent)
        _exit(127);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

/* The value is {"status":N,"output":TEXT}. */
static void take_output(struct test_run *run, const char *output)
{
    struct str text = {0}, all = {0};
    str_add(&all, "", 0);
    (void)file_read(output, OUTPUT_MAX * 16, &all);
    if (all.len > OUTPUT_MAX)
        all.data[OUTPUT_MAX] = '\0';
    while (all.len > 0 && all.data[all.len - 1] == '\n')
        all.data[--all.len] = '\0';
    str_format(&text, "{\"status\":%d,\"output\":", run->command_status);
    str_json(&text, all.data);
    str_text(&text, "}");
    (void)test_value_set(&run->value, text.data);
    str_free(&all);
}

static bool do_run(struct test_run *run, const struct test_step *step)
{
    int64_t until = limit_of(run, step, COMMAND_MS);
    int wanted = step->status >= 0 ? step->status : 0;
    char *output = path_join(run->work, "command.out");
    pid_t parent = getpid();
    bool good = true;
    fflush(NULL);
    run->command_ended = false;
    run->command = fork();
    if (run->command == 0)
        become_command(run, step->word, output, parent);
    while (good && run->command > 0 && !run->command_ended && test_now() < until)
        good = test_wait(run, -1, until, NULL);
    if (!run->command_ended && run->command > 0)
        (void)kill(-run->command, SIGKILL);
    if (good && !run->command_ended)
        good = test_fail(run, "the command did not end in time");
    take_output(run, output);
    if (good && run->command_status != wanted)
        good =
            test_fail(run, "the command ended with status %d, not %d", run->command_status, wanted);
    if (!good)
        show_value(run);
    run->command = 0;
    free(output);
    return good;
}

static bool do_fault(struct test_run *run, struct test_running *app, const struct test_step *step)
{
    struct str params = {0};
    char *error = NULL;
    str_text(&params, "{\"spec\":");
    str_json(&params, step->word);
    if (step->net != NULL) {
        /* The appliance knows its networks by the names of its manifest, in the same order. */
        const struct test_app *what = app->app;
        size_t place = 0;
        for (size_t i = 0; i < (what->has_nets ? what->nets.count : run->file->net_count); i++)
            if (strcmp(what->has_nets ? what->nets.item[i] : run->file->net[i].name, step->net) ==
                0)
                place = i;
        struct manifest manifest = {0};
        if (manifest_load(what->folder, NULL, true, &manifest) == 0 && place < manifest.net_count) {
            str_text(&params, ",\"net\":");
            str_json(&params, manifest.net[place].name);
            manifest_free(&manifest);
        }
    }
    str_text(&params, "}");
    bool good =
        test_app_ask(run, app, "fault.set", params.data, limit_of(run, step, CALL_MS), &error);
    if (good && error != NULL)
        good = test_fail(run, "\"%s\" says: %s", app->app->name, error);
    free_text(&error);
    str_free(&params);
    return good;
}

static bool do_boot(struct test_run *run, struct test_running *app, const struct test_step *step)
{
    return test_app_start(run, app) && test_app_wait(run, app, limit_of(run, step, BOOT_MS));
}

static bool do_shutdown(struct test_run *run, struct test_running *app,
                        const struct test_step *step)
{
    int64_t until = limit_of(run, step, END_MS);
    return test_app_stop(run, app, until) && test_app_ended(run, app, until) &&
           check_status(run, app, step->status >= 0 ? step->status : 0);
}

/* The appliance loses its power; its `mirari run` sees that and ends. */
static bool do_kill(struct test_run *run, struct test_running *app)
{
    app->may_end = true;
    if (app->pid == 0)
        return test_fail(run, "\"%s\" does not run", app->app->name);
    test_kill_children(app->pid);
    return test_app_ended(run, app, test_now() + END_MS);
}

static bool do_says(struct test_run *run, struct test_running *app, const struct test_step *step)
{
    int64_t until = limit_of(run, step, CALL_MS);
    char *text = test_expand(&run->vars, step->word, NULL);
    bool is_said = false, good = true;
    while (good && !is_said) {
        char *log = test_app_log(app);
        is_said = strstr(log, text) != NULL;
        free(log);
        int64_t now = test_now();
        if (is_said)
            break;
        if (now >= until) {
            good = test_fail(run,
                             "it does not say so; the end of what \"%s\" printed:", app->app->name);
            log = test_app_log(app);
            size_t len = strlen(log), from = len > 1000 ? len - 1000 : 0;
            test_fail(run, "%s", log + from);
            free(log);
        } else {
            good = test_wait(run, -1, now + 50 < until ? now + 50 : until, NULL);
        }
    }
    free(text);
    return good;
}

static bool do_step(struct test_run *run, const struct test_step *step)
{
    struct test_running *app = &run->apps[step->app];
    switch (step->what) {
    case TEST_CALL:
        return do_call(run, app, step);
    case TEST_UNTIL:
        return do_until(run, app, step);
    case TEST_EXPECT:
        return do_expect(run, step);
    case TEST_LET:
        return do_let(run, step);
    case TEST_RUN:
        return do_run(run, step);
    case TEST_FAULT:
        return do_fault(run, app, step);
    case TEST_BOOT:
        return do_boot(run, app, step);
    case TEST_SHUTDOWN:
        return do_shutdown(run, app, step);
    case TEST_KILL:
        return do_kill(run, app);
    case TEST_ENDS:
        return test_app_ended(run, app, limit_of(run, step, CALL_MS)) &&
               check_status(run, app, step->status);
    case TEST_SAYS:
        return do_says(run, app, step);
    }
    return false;
}

/* ---- a file ---------------------------------------------------------------------------------- */

size_t test_result_count(const struct test_file *file)
{
    return file->case_count + 1;
}

char *test_result_title(const struct test_file *file, const char *target, size_t index)
{
    const char *title =
        index < file->case_count ? file->cases[index].title : "the appliances end in order";
    const char *slash = strrchr(file->path, '/');
    return need_format("%s [%s]: %s", slash != NULL ? slash + 1 : file->path, target, title);
}

static bool start_all(struct test_run *run)
{
    int64_t until = test_now() + BOOT_MS * run->options->slower;
    bool good = true;
    for (size_t i = 0; i < run->file->app_count && good; i++)
        good = run->file->app[i].is_later || test_app_start(run, &run->apps[i]);
    for (size_t i = 0; i < run->file->app_count && good; i++)
        good = run->file->app[i].is_later || test_app_wait(run, &run->apps[i], until);
    return good;
}

static bool run_case(struct test_run *run, size_t index)
{
    const struct test_case *one = &run->file->cases[index];
    if (index == 0 && !start_all(run))
        return false;
    for (size_t i = 0; i < one->count; i++) {
        const struct test_step *step = &one->step[i];
        if (do_step(run, step))
            continue;
        struct str why = run->why;
        run->why = (struct str){0};
        test_fail(run, "%s:%d: %s", run->file->path, step->line, step->text);
        str_text(&run->why, why.data != NULL ? why.data : "");
        str_free(&why);
        return false;
    }
    return true;
}

static bool end_all(struct test_run *run)
{
    int64_t until = test_now() + END_MS * run->options->slower;
    bool good = true, is_asked[TEST_APPS_MAX] = {false};
    for (size_t i = 0; i < run->file->app_count; i++) {
        struct test_running *app = &run->apps[i];
        if (app->pid == 0)
            continue;
        /* One that did not answer before gets little time to do so now. */
        int64_t limit = app->hangs ? test_now() + HANG_MS : until;
        is_asked[i] = test_app_stop(run, app, limit);
        good = good && is_asked[i];
    }
    for (size_t i = 0; i < run->file->app_count; i++) {
        struct test_running *app = &run->apps[i];
        if (is_asked[i])
            good = test_app_ended(run, app, until) && check_status(run, app, 0) && good;
    }
    return good;
}

static void put_result(struct test_run *run, int out, size_t index, int kind, int64_t began_ms)
{
    struct test_result result = {.title = test_result_title(run->file, run->target, index),
                                 .kind = kind,
                                 .why = run->why.len > 0 ? run->why.data : NULL,
                                 .ms = test_now() - began_ms};
    test_record_put(out, &result);
    free(result.title);
    str_free(&run->why);
    run->why = (struct str){0};
}

/* The folder of sockets and logs; its path is short, since a socket's must be. */
static bool make_work(struct test_run *run)
{
    const char *tmp = getenv("TMPDIR");
    bool is_usable = tmp != NULL && tmp[0] == '/' && strlen(tmp) < 60;
    char *work = need_format("%s/mirari-test.XXXXXX", is_usable ? tmp : "/tmp");
    if (mkdtemp(work) == NULL) {
        complain("test: cannot make a folder \"%s\": %s", work, strerror(errno));
        return false;
    }
    run->work = work;
    char *runtime = path_join(work, "run");
    (void)mkdir(runtime, 0700);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    free(runtime);
    return true;
}

static void prepare(struct test_run *run)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    test_net_vars(run->file, &run->vars);
    for (size_t i = 0; i < run->file->app_count; i++) {
        struct test_running *app = &run->apps[i];
        const struct test_app *what = &run->file->app[i];
        *app = (struct test_running){.app = what,
                                     .target = what->target != NULL ? what->target : run->target,
                                     .ctl = {.command = "test", .who = what->name, .fd = -1}};
        char *file = need_format("%s.ctl", what->name);
        char *ctl = need_format("%s_ctl", what->name), *log = need_format("%s_log", what->name);
        app->control = path_join(run->work, file);
        app->log = need_format("%s/%s.log", run->work, what->name);
        test_var_set(&run->vars, ctl, app->control);
        test_var_set(&run->vars, log, app->log);
        free(file);
        free(ctl);
        free(log);
    }
}

static int skip_all(struct test_run *run, int out, const char *why)
{
    for (size_t i = 0; i < test_result_count(run->file); i++) {
        test_fail(run, "%s", why);
        put_result(run, out, i, TEST_SKIPPED, test_now());
    }
    return 0;
}

static bool run_results(struct test_run *run, int out)
{
    bool all_good = true, has_started = true;
    for (size_t i = 0; i < test_result_count(run->file); i++) {
        int64_t began = test_now();
        bool good = !has_started                ? test_fail(run, "the appliances did not start")
                    : i < run->file->case_count ? run_case(run, i)
                                                : end_all(run);
        if (!good && (all_good || run->options->keep))
            test_fail(run, "logs: %s", run->work);
        put_result(run, out, i, good ? TEST_OK : TEST_FAILED, began);
        all_good = all_good && good;
        has_started = has_started && (i > 0 || good);
        if (run->is_stopped)
            break;
    }
    return all_good;
}

int test_run_all(const struct test_file *file, const char *target,
                 const struct test_options *options, int out)
{
    struct test_run *run = need(sizeof(*run));
    struct why why;
    *run = (struct test_run){.file = file, .options = options, .target = target};
    pid_t parent = getppid();
    int r = test_net_open(file, &why);
    if (r == TEST_NO_NET)
        return skip_all(run, out, why.text);
    if (r != 0) {
        complain("test: %s", why.text);
        return EXIT_FAIL;
    }
    if (!make_work(run))
        return EXIT_FAIL;
    prepare(run);
    /* Behind what may change who we are, which makes the kernel forget it. */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    run->is_stopped = getppid() != parent;
    run->end_ms = test_now() + file->limit_ms * options->slower;
    bool good = run_results(run, out);
    test_apps_kill(run);
    if (good && !options->keep)
        (void)remove_tree(AT_FDCWD, run->work);
    else if (good)
        complain("test: logs of %s [%s] are in %s", file->path, target, run->work);
    return good ? 0 : EXIT_FAIL;
}
