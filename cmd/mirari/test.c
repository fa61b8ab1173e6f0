/* SPDX-License-Identifier: ISC */
/* `mirari test`: runs test files on targets and prints TAP.
 *
 *   mirari test ──┬── file x target (test_step.c) ── namespace, appliances, commands
 *      TAP        └── file x target ...              -j of them at a time
 *
 * All files are read and all appliances built before anything starts, so that a mistake in a file
 * costs nothing, and two runs do not build the same. Results come over a pipe from each run and are
 * printed in the order of the runs, those of the first as they come.
 *
 * SIGINT and SIGTERM are handed on; each run ends what it started. A run whose process dies itself
 * is a failed result.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/test.h"

#define RUNS_MAX 1000
#define JOBS_MAX 64

/** A file on a target. */
struct one_run {
    const struct test_file *file;
    const char *target;
    char *skip; /**< why it cannot be, or NULL */
    pid_t pid;
    int from; /**< its results; -1: none (yet) */
    struct str data;
    struct test_result *results;
    size_t count, wanted;
    bool is_over;
};

struct all {
    struct test_options options;
    const char *target, *junit;
    unsigned jobs;
    bool is_list, no_build;
    struct list paths;
    struct test_file *files;
    size_t file_count;
    struct one_run runs[RUNS_MAX];
    size_t run_count;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

char *test_out_of(const struct test_options *options, const char *folder)
{
    char real[PATH_MAX];
    if (options->out == NULL)
        return NULL;
    const char *name = realpath(folder, real) != NULL ? strrchr(real, '/') + 1 : "";
    return path_join(options->out, name);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static const char *const option_names[] = {
    "-t", "--target", "-j",      "--jobs",   "-k",      "--keep",     "-l", "--list",
    "-o", "--out",    "--accel", "--slower", "--junit", "--no-build", "-C", "--folder"};

static bool take_number(const char *option, const char *text, int64_t max, int64_t *number)
{
    struct why why;
    if (valid_int(text, number, &why) && *number >= 1 && *number <= max)
        return true;
    complain("test: %s takes a number from 1 to %d, not \"%s\"", option, (int)max, text);
    return false;
}

/* One with a value. Returns 0 or EXIT_USAGE. */
static int take_value(struct all *all, const char *option, const char *value)
{
    struct why why;
    int64_t number;
    if (strcmp(option, "-t") == 0 || strcmp(option, "--target") == 0) {
        if (strcmp(value, "unix") != 0 && strcmp(value, "virt") != 0) {
            complain("test: no target \"%s\"; there are unix and virt", value);
            return EXIT_USAGE;
        }
        all->target = value;
    } else if (strcmp(option, "-j") == 0 || strcmp(option, "--jobs") == 0) {
        if (!take_number(option, value, JOBS_MAX, &number))
            return EXIT_USAGE;
        all->jobs = (unsigned)number;
    } else if (strcmp(option, "--slower") == 0) {
        if (!take_number(option, value, 100, &all->options.slower))
            return EXIT_USAGE;
    } else if (strcmp(option, "--accel") == 0) {
        if (!valid_accel(value, &why)) {
            complain("test: --accel: %s", why.text);
            return EXIT_USAGE;
        }
        all->options.accel = value;
    } else if (strcmp(option, "--junit") == 0) {
        all->junit = value;
    } else if (strcmp(option, "-C") == 0 || strcmp(option, "--folder") == 0) {
        if (chdir(value) != 0) {
            complain("test: folder \"%s\": %s", value, strerror(errno));
            return EXIT_USAGE;
        }
    } else {
        all->options.out = value;
    }
    return 0;
}

static bool has_value(const char *option)
{
    static const char *const with[] = {"-t",      "--target", "-j",      "--jobs",
                                       "-o",      "--out",    "--accel", "--slower",
                                       "--junit", "-C",       "--folder"};
    for (size_t i = 0; i < LEN(with); i++)
        if (strcmp(option, with[i]) == 0)
            return true;
    return false;
}

static int read_arguments(struct all *all, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (has_value(arg)) {
            if (i + 1 == argc) {
                complain("test: option %s needs a value; write it after the option", arg);
                return EXIT_USAGE;
            }
            int r = take_value(all, arg, argv[++i]);
            if (r != 0)
                return r;
        } else if (strcmp(arg, "-k") == 0 || strcmp(arg, "--keep") == 0) {
            all->options.keep = true;
        } else if (strcmp(arg, "-l") == 0 || strcmp(arg, "--list") == 0) {
            all->is_list = true;
        } else if (strcmp(arg, "--no-build") == 0) {
            all->no_build = true;
        } else if (arg[0] == '-') {
            return usage_error("test", arg, option_names, LEN(option_names));
        } else {
            list_add(&all->paths, arg);
        }
    }
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

static bool is_test_name(const char *name)
{
    size_t len = strlen(name);
    return len > 5 && name[0] != '.' && strcmp(name + len - 5, ".test") == 0;
}

static size_t add_folder(struct list *files, const char *path)
{
    struct list names = {0};
    DIR *dir = opendir(path);
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;)
        if (is_test_name(item->d_name))
            list_add(&names, item->d_name);
    if (dir != NULL)
        closedir(dir);
    list_sort(&names);
    for (size_t i = 0; i < names.count; i++) {
        char *file = strcmp(path, ".") == 0 ? need_format("%s", names.item[i])
                                            : path_join(path, names.item[i]);
        list_add(files, file);
        free(file);
    }
    return names.count;
}

/* Folders become the tests in them. Without any path: those here, and in test/. */
static int find_files(struct all *all, struct list *files)
{
    for (size_t i = 0; i < all->paths.count; i++) {
        struct stat st;
        const char *path = all->paths.item[i];
        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            if (add_folder(files, path) == 0) {
                complain("test: no *.test in \"%s\"", path);
                return EXIT_FAIL;
            }
        } else {
            list_add(files, path);
        }
    }
    if (all->paths.count == 0 && add_folder(files, ".") + add_folder(files, "test") == 0) {
        complain("test: no *.test here or in test/; name a file or a folder");
        return EXIT_FAIL;
    }
    return 0;
}

static int read_file(const char *path, struct test_file *file)
{
    struct diag diag = {.file = path};
    struct str text = {0};
    int r = file_read(path, TEST_FILE_MAX, &text);
    file->path = path;
    if (r != 0) {
        complain("test: cannot read \"%s\": %s", path, strerror(-r));
        return EXIT_FAIL;
    }
    test_parse(text.data != NULL ? text.data : "", text.len, file, &diag);
    diag_show(&diag, stderr, true);
    r = diag.errors > 0 ? EXIT_MANIFEST : 0;
    diag_free(&diag);
    str_free(&text);
    return r;
}

static int read_files(struct all *all)
{
    struct list paths = {0};
    int result = find_files(all, &paths);
    all->files = need((paths.count + 1) * sizeof(*all->files));
    for (size_t i = 0; i < paths.count && result != EXIT_FAIL; i++) {
        int r = read_file(paths.item[i], &all->files[all->file_count++]);
        result = r != 0 ? r : result;
    }
    return result;
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* Why there can be no machine here; NULL: there can. */
static char *why_no_machine(void)
{
    struct sdk sdk;
    char *qemu = find_program("qemu-system-" NATIVE_ARCH);
    if (qemu == NULL)
        return need_format("qemu-system-" NATIVE_ARCH " is not installed");
    free(qemu);
    if (sdk_find(&sdk, NULL) != 0)
        return need_format("no libraries");
    char *lib = path_join(sdk.virt_libs, "libmirari-virt.a");
    bool is_there = access(lib, R_OK) == 0;
    free(lib);
    return is_there ? NULL : need_format("the libraries for target virt are not built");
}

static bool uses(const struct test_file *file, const char *run_target, const char *target)
{
    for (size_t i = 0; i < file->app_count; i++) {
        const char *own = file->app[i].target;
        if (strcmp(own != NULL ? own : run_target, target) == 0)
            return true;
    }
    return false;
}

static int make_runs(struct all *all)
{
    char *no_machine = NULL;
    bool has_looked = false;
    for (size_t i = 0; i < all->file_count; i++) {
        const struct test_file *file = &all->files[i];
        for (size_t k = 0; k < file->targets.count; k++) {
            const char *target = file->targets.item[k];
            if (all->target != NULL && strcmp(all->target, target) != 0)
                continue;
            if (all->run_count == RUNS_MAX) {
                complain("test: more than %d runs; name fewer files", RUNS_MAX);
                return EXIT_FAIL;
            }
            struct one_run *run = &all->runs[all->run_count++];
            *run = (struct one_run){.file = file, .target = target, .from = -1};
            run->wanted = test_result_count(file);
            run->results = need(run->wanted * sizeof(*run->results));
            if (!uses(file, target, "virt") || all->is_list)
                continue;
            no_machine = has_looked ? no_machine : why_no_machine();
            has_looked = true;
            run->skip = no_machine;
        }
    }
    return 0;
}

static void list_runs(const struct all *all)
{
    for (size_t i = 0; i < all->run_count; i++) {
        const struct one_run *run = &all->runs[i];
        for (size_t k = 1; k < run->file->case_count; k++)
            printf("%s [%s]: %s\n", run->file->path, run->target, run->file->cases[k].title);
    }
}

/* ---- builds ---------------------------------------------------------------------------------- */

/* The folder of a file, to be freed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? need_text(".", 1) : need_text(path, (size_t)(slash - path) + 1);
}

static int build_one(const struct all *all, const char *folder, const char *target)
{
    const char *const words[] = {all->options.self, "build", "-q", "-C", folder, "-t", target};
    struct list argv = {0};
    int status = -1;
    for (size_t i = 0; i < LEN(words); i++)
        list_add(&argv, words[i]);
    char *out = test_out_of(&all->options, folder);
    if (out != NULL) {
        list_add(&argv, "-o");
        list_add(&argv, out);
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv.item[0], argv.item);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    free(out);
    return status;
}

static int build_all(const struct all *all)
{
    struct list done = {0};
    for (size_t i = 0; i < all->run_count; i++) {
        const struct one_run *run = &all->runs[i];
        for (size_t k = 0; k < run->file->app_count && run->skip == NULL; k++) {
            const struct test_app *app = &run->file->app[k];
            const char *target = app->target != NULL ? app->target : run->target;
            char *base = folder_of(run->file->path);
            char *folder = app->folder[0] == '/' ? need_format("%s", app->folder)
                                                 : path_join(base, app->folder);
            char *key = need_format("%s %s", target, folder);
            bool is_done = false;
            for (size_t d = 0; d < done.count; d++)
                is_done = is_done || strcmp(done.item[d], key) == 0;
            if (!is_done)
                list_add(&done, key);
            int status = is_done || interrupted ? 0 : build_one(all, folder, target);
            if (status != 0)
                complain("%s:%d: app %s: cannot build \"%s\" for target %s", run->file->path,
                         app->line, app->name, folder, target);
            free(base);
            free(folder);
            free(key);
            if (status != 0 || interrupted)
                return EXIT_FAIL;
        }
    }
    return 0;
}

/* ---- doing it -------------------------------------------------------------------------------- */

static bool start_run(struct all *all, struct one_run *run)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    fflush(NULL);
    run->pid = fork();
    if (run->pid == 0) {
        char *folder = folder_of(run->file->path);
        if (chdir(folder) != 0) {
            complain("test: folder \"%s\": %s", folder, strerror(errno));
            _exit(EXIT_FAIL);
        }
        _exit(test_run_all(run->file, run->target, &all->options, ends[1]));
    }
    close(ends[1]);
    run->from = ends[0];
    if (run->pid > 0)
        return true;
    close(ends[0]);
    run->from = -1;
    return false;
}

static void add_result(struct one_run *run, struct test_result result)
{
    if (run->count < run->wanted)
        run->results[run->count++] = result;
}

/* What is missing of a run that is over. */
static void fill_up(struct one_run *run)
{
    while (run->count < run->wanted) {
        struct test_result result = {
            .title = test_result_title(run->file, run->target, run->count),
            .kind = run->skip != NULL ? TEST_SKIPPED : TEST_FAILED,
            .why = need_format("%s", run->skip != NULL ? run->skip
                                     : interrupted     ? "interrupted"
                                                       : "the run ended before it came to this"),
        };
        add_result(run, result);
    }
    run->is_over = true;
}

static void take_results(struct one_run *run)
{
    char chunk[4096];
    struct test_result result;
    size_t used, at = 0;
    ssize_t got = read(run->from, chunk, sizeof(chunk));
    if (got < 0 && errno == EINTR)
        return;
    if (got > 0)
        str_add(&run->data, chunk, (size_t)got);
    while ((used = test_record_take(run->data.data + at, run->data.len - at, &result)) > 0) {
        add_result(run, result);
        at += used;
    }
    if (at > 0)
        memmove(run->data.data, run->data.data + at, run->data.len - at);
    run->data.len -= at;
    if (got > 0)
        return;
    close(run->from);
    run->from = -1;
    while (waitpid(run->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    run->pid = 0;
    fill_up(run);
}

/* Results are printed in order, as far as all before them are there. */
static void print_ready(const struct all *all, size_t *run, size_t *result, size_t *number)
{
    while (*run < all->run_count) {
        const struct one_run *one = &all->runs[*run];
        for (; *result < one->count; (*result)++)
            test_report(++*number, &one->results[*result]);
        if (!one->is_over)
            return;
        (*run)++;
        *result = 0;
    }
}

static void hand_on(struct all *all)
{
    for (size_t i = 0; i < all->run_count; i++)
        if (all->runs[i].pid > 0)
            (void)kill(all->runs[i].pid, SIGTERM);
}

/* Start what may start; returns how many runs are under way. */
static size_t start_some(struct all *all, size_t *next, size_t running)
{
    while (*next < all->run_count && running < all->jobs) {
        struct one_run *run = &all->runs[(*next)++];
        if (run->skip == NULL && !interrupted && start_run(all, run))
            running++;
        else
            fill_up(run);
    }
    return running;
}

static void do_runs(struct all *all)
{
    size_t next = 0, at_run = 0, at_result = 0, number = 0, running = 0;
    bool has_told = false;
    for (;;) {
        struct pollfd fds[JOBS_MAX];
        struct one_run *of[JOBS_MAX];
        nfds_t count = 0;
        running = start_some(all, &next, running);
        print_ready(all, &at_run, &at_result, &number);
        if (running == 0)
            return;
        for (size_t i = 0; i < all->run_count; i++) {
            if (all->runs[i].from < 0)
                continue;
            of[count] = &all->runs[i];
            fds[count++] = (struct pollfd){.fd = all->runs[i].from, .events = POLLIN};
        }
        if (interrupted && !has_told)
            hand_on(all);
        has_told = interrupted != 0;
        if (poll(fds, count, 500) <= 0)
            continue;
        for (nfds_t i = 0; i < count; i++) {
            if (fds[i].revents == 0)
                continue;
            take_results(of[i]);
            running -= of[i]->is_over;
        }
    }
}

/* Returns the exit status. */
static int finish(const struct all *all)
{
    size_t count = 0, failed = 0;
    struct test_result *results = need((all->run_count * 1000 + 1) * sizeof(*results));
    for (size_t i = 0; i < all->run_count; i++) {
        for (size_t k = 0; k < all->runs[i].count && count < all->run_count * 1000; k++) {
            results[count] = all->runs[i].results[k];
            failed += results[count++].kind == TEST_FAILED;
        }
    }
    int r = all->junit != NULL ? test_report_junit(all->junit, results, count) : 0;
    if (r != 0)
        complain("test: cannot write \"%s\": %s", all->junit, strerror(-r));
    if (failed > 0)
        complain("test: %zu of %zu failed", failed, count);
    return failed > 0 || r != 0 || interrupted ? EXIT_FAIL : 0;
}

int cmd_test(int argc, char **argv)
{
    static struct all all = {.jobs = 1, .options.slower = 1};
    static char self[PATH_MAX], out[PATH_MAX];
    struct sigaction action = {.sa_handler = on_signal};
    size_t count = 0;
    int r = read_arguments(&all, argc, argv);
    if (r == 0)
        r = read_files(&all);
    if (r == 0)
        r = make_runs(&all);
    if (r != 0)
        return r;
    if (all.is_list) {
        list_runs(&all);
        return 0;
    }
    if (readlink("/proc/self/exe", self, sizeof(self) - 1) <= 0) {
        complain("test: cannot tell where this program is; mount /proc");
        return EXIT_FAIL;
    }
    all.options.self = self;
    if (all.options.out != NULL) {
        (void)make_folders(all.options.out);
        if (realpath(all.options.out, out) == NULL) {
            complain("test: folder \"%s\": %s", all.options.out, strerror(errno));
            return EXIT_FAIL;
        }
        all.options.out = out;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    if (!all.no_build && build_all(&all) != 0) {
        puts("Bail out! an appliance cannot be built");
        return EXIT_FAIL;
    }
    for (size_t i = 0; i < all.run_count; i++)
        count += all.runs[i].wanted;
    test_report_begin(count);
    do_runs(&all);
    return finish(&all);
}
