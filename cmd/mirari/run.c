/* SPDX-License-Identifier: ISC */
/* Starts an appliance as a child, with options checked before, and looks after it until it ends.
 *
 *   mirari run ── pipes ── appliance (own process group; SIGTERM when we die)
 *       │
 *       ├─ terminal    what it prints, through a bounded buffer
 *       └─ NAME-PID/log, and lines "net: ..." and "http://..." into NAME-PID/info
 *
 * The child waits on a pipe until its state folder exists, so `mirari ps` never misses a running
 * appliance; then it executes. SIGINT, SIGTERM and SIGHUP are forwarded (one signal that comes
 * twice within 100 ms, to us and to our group, counts once); the appliance forces its end at the
 * second, we kill it at the third. After it has ended, its pipes are emptied before the folder
 * goes, so no last words are lost.
 *
 * A terminal or pipe that does not take output slows the appliance down but never us: we stop
 * reading when the buffer is full and still answer signals.
 *
 * Detached: a second process in its own session does all this; the first waits until the
 * appliance has printed something or ended, shows that, and leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"

#define BUFFER_MAX 65536

struct run {
    struct common common;
    bool no_build, dry_run, detach;
    struct list options;  /**< of the appliance: pairs "--name", "value"; value "" = has none */
    struct list verbatim; /**< after "--" */
    struct manifest manifest;
    struct place place;
    struct list argv;
};

/* ---- options of the appliance
 * ---------------------------------------------------------------------- */

static const char *const run_names[] = {"-C",          "-f",
                                        "-t",          "-o",
                                        "-q",          "-d",
                                        "-p",          "--folder",
                                        "--file",      "--target",
                                        "--out",       "--quiet",
                                        "--detach",    "--no-build",
                                        "--dry-run",   "--asan",
                                        "--jobs",      "--net",
                                        "--ip",        "--gateway",
                                        "--mac",       "--route",
                                        "--ip6",       "--mtu",
                                        "--vlan",      "--forward",
                                        "--host-ip",   "--pcap",
                                        "--fault",     "--trace",
                                        "--log",       "--memory",
                                        "--spin",      "--no-sandbox",
                                        "--help",      "--dns",
                                        "--acd",       "--link-local4",
                                        "--lease-file"};

static int need_value(struct run *run, const char *name, int argc, char **argv, int *at)
{
    if (*at + 1 >= argc) {
        complain("run: option %s needs a value; write it after the option", name);
        return EXIT_USAGE;
    }
    list_add(&run->options, name);
    list_add(&run->options, argv[++*at]);
    return 0;
}

/* An option that is not ours: of every appliance, or a parameter of this one (known later). */
static int take_option(struct run *run, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    if (strncmp(arg, "-p", 2) == 0) {
        if (arg[2] == '\0')
            return need_value(run, "--forward", argc, argv, at);
        list_add(&run->options, "--forward");
        list_add(&run->options, arg + 2);
        return 0;
    }
    if (strncmp(arg, "--", 2) != 0)
        return usage_error("run", arg, run_names, LEN(run_names));
    const char *equal = strchr(arg, '=');
    if (equal != NULL) {
        char *name = need_text(arg, (size_t)(equal - arg));
        list_add(&run->options, name);
        list_add(&run->options, equal + 1);
        free(name);
        return 0;
    }
    bool is_trace = strcmp(arg, "--trace") == 0;
    if (strcmp(arg, "--no-sandbox") == 0 ||
        (is_trace && (*at + 1 >= argc || argv[*at + 1][0] == '-'))) {
        list_add(&run->options, arg);
        list_add(&run->options, "");
        return 0;
    }
    return need_value(run, arg, argc, argv, at);
}

static int parse_arguments(struct run *run, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--") == 0) {
            while (++i < argc)
                list_add(&run->verbatim, argv[i]);
            break;
        }
        int r = common_option(&run->common, argc, argv, &i, "CftoqjvA");
        if (r < 0)
            return EXIT_USAGE;
        if (r > 0)
            continue;
        if (strcmp(arg, "--no-build") == 0)
            run->no_build = true;
        else if (strcmp(arg, "--dry-run") == 0)
            run->dry_run = true;
        else if (strcmp(arg, "-d") == 0 || strcmp(arg, "--detach") == 0)
            run->detach = true;
        else if ((r = take_option(run, argc, argv, &i)) != 0)
            return r;
    }
    return 0;
}

/* The net that [NAME=]VALUE is about; *value goes behind the "=". NULL after a message. */
static struct manifest_net *net_of(struct run *run, const char *option, const char **value)
{
    struct manifest *m = &run->manifest;
    const char *equal = strchr(*value, '=');
    size_t len = equal != NULL ? (size_t)(equal - *value) : 0;
    if (m->net_count == 0) {
        complain("%s: \"%s\" has no network; add a section net { } to %s", option, m->name,
                 m->file);
        return NULL;
    }
    for (size_t i = 0; i < m->net_count && equal != NULL; i++) {
        if (strlen(m->net[i].name) == len && memcmp(m->net[i].name, *value, len) == 0) {
            *value = equal + 1;
            return &m->net[i];
        }
    }
    bool may_hold_equal = strcmp(option, "--pcap") == 0 || strcmp(option, "--fault") == 0 ||
                          strcmp(option, "--lease-file") == 0;
    if (equal == NULL || may_hold_equal)
        return &m->net[0];
    struct str all = {0};
    for (size_t i = 0; i < m->net_count; i++)
        str_format(&all, " %s", m->net[i].name);
    complain("%s: no network \"%.*s\"; there is:%s", option, (int)len, *value, all.data);
    str_free(&all);
    return NULL;
}

/* A field of a network, replaced. The first value of a list replaces the manifest's. */
static bool set_net_field(struct run *run, const char *option, const char *value)
{
    struct manifest_net *net = net_of(run, option, &value);
    if (net == NULL)
        return false;
    const struct {
        const char *name;
        struct field *field;
    } fields[] = {{"--net", &net->mode},
                  {"--mac", &net->mac},
                  {"--mtu", &net->mtu},
                  {"--ip6", &net->ip6},
                  {"--vlan", &net->vlan},
                  {"--acd", &net->acd},
                  {"--link-local4", &net->link_local4},
                  {"--ip", &net->ip},
                  {"--gateway", &net->gateway},
                  {"--route", &net->route},
                  {"--forward", &net->forward}};
    for (size_t i = 0; i < LEN(fields); i++) {
        struct field *field = fields[i].field;
        if (strcmp(option, fields[i].name) != 0)
            continue;
        bool is_list = i >= 7;
        bool adds = is_list && field->text != NULL && field->line == 0;
        *field = (struct field){.text = adds ? need_format("%s,%s", field->text, value)
                                             : need_text(value, strlen(value))};
    }
    return true;
}

static bool check_param(struct run *run, const char *name, const char *value)
{
    struct manifest *m = &run->manifest;
    const char *known[LEN(run_names) + MANIFEST_PARAMS_MAX];
    size_t count = 0;
    struct why why;
    for (size_t i = 0; i < m->param_count; i++) {
        const struct manifest_param *param = &m->param[i];
        if (strcmp(name + 2, param->name) == 0) {
            bool good = param->type == PARAM_INT    ? valid_int(value, NULL, &why)
                        : param->type == PARAM_BOOL ? valid_bool(value, NULL, &why)
                                                    : true;
            if (!good)
                complain("run: %s: %s", name, why.text);
            return good;
        }
        known[count++] = need_format("--%s", param->name);
    }
    for (size_t i = 0; i < LEN(run_names); i++)
        known[count++] = run_names[i];
    usage_error("run", name, known, count);
    return false;
}

static bool check_spin(const char *value, struct why *why)
{
    int64_t us;
    return (valid_int(value, &us, why) && us >= 0 && us <= 1000000) ||
           fail(why, "\"%.64s\" is not a time; write microseconds from 0 to 1000000", value);
}

/* One option of the appliance: into the manifest, or checked by itself. */
static bool check_option(struct run *run, const char *name, char **value)
{
    static const char *const of_nets[] = {"--net",     "--ip",   "--gateway",    "--mac",
                                          "--mtu",     "--vlan", "--route",      "--ip6",
                                          "--forward", "--acd",  "--link-local4"};
    struct why why = {""};
    uint32_t mib;
    const char *text = *value;
    bool good = true;
    for (size_t i = 0; i < LEN(of_nets); i++)
        if (strcmp(name, of_nets[i]) == 0)
            return set_net_field(run, name, *value);
    if (strcmp(name, "--host-ip") == 0) {
        if (net_of(run, name, &text) == NULL)
            return false;
        good = strchr(text, ':') != NULL ? valid_cidr6(text, &why) : valid_cidr(text, NULL, &why);
    } else if (strcmp(name, "--pcap") == 0 || strcmp(name, "--fault") == 0 ||
               strcmp(name, "--lease-file") == 0) {
        if (net_of(run, name, &text) == NULL)
            return false;
        good = text[0] != '\0' || fail(&why, "the value is empty; write one");
    } else if (strcmp(name, "--log") == 0) {
        good = valid_log(text, &why);
    } else if (strcmp(name, "--memory") == 0) {
        good = valid_memory(text, true, &mib, &why);
        if (good)
            *value = need_format("%u", mib); /* the appliance takes MiB only */
    } else if (strcmp(name, "--dns") == 0) {
        good = valid_dns(text, &why);
    } else if (strcmp(name, "--spin") == 0) {
        good = check_spin(text, &why);
    } else if (strcmp(name, "--trace") != 0 && strcmp(name, "--no-sandbox") != 0) {
        return check_param(run, name, text);
    }
    if (!good)
        complain("run: %s: %s", name, why.text);
    return good;
}

/* Check all options against the manifest. Returns 0 or EXIT_USAGE. */
static int check_options(struct run *run)
{
    bool good = true;
    for (size_t i = 0; i < run->options.count; i += 2)
        good = check_option(run, run->options.item[i], &run->options.item[i + 1]) && good;
    struct diag diag = {.file = "mirari: run"};
    manifest_check_nets(&run->manifest, &diag);
    diag_show(&diag, stderr, false);
    good = good && diag.errors == 0;
    diag_free(&diag);
    return good ? 0 : EXIT_USAGE;
}

static void make_argv(struct run *run)
{
    list_add(&run->argv, run->place.binary);
    for (size_t i = 0; i < run->options.count; i += 2) {
        list_add(&run->argv, run->options.item[i]);
        if (strcmp(run->options.item[i], "--no-sandbox") != 0 &&
            (strcmp(run->options.item[i], "--trace") != 0 || run->options.item[i + 1][0] != '\0'))
            list_add(&run->argv, run->options.item[i + 1]);
    }
    for (size_t i = 0; i < run->verbatim.count; i++)
        list_add(&run->argv, run->verbatim.item[i]);
}

/* Networks with DHCP keep their lease for the next start of an appliance of this name, whose MAC is
 * made of it. The folder of the state is that of a session, which is long enough: after a reboot
 * the appliance asks as for the first time. */
static void add_lease_files(struct run *run)
{
    const struct manifest *m = &run->manifest;
    struct state state = {.base_fd = -1};
    if (strcmp(run->common.target, "unix") != 0)
        return;
    for (size_t i = 0; i < run->options.count; i += 2)
        if (strcmp(run->options.item[i], "--lease-file") == 0)
            return;
    for (size_t i = 0; i < m->net_count; i++) {
        const struct field *ip = &m->net[i].ip;
        if (ip->text == NULL || strstr(ip->text, "dhcp") == NULL)
            continue;
        if (state.base_fd < 0 && state_open(&state) != 0)
            return;
        char *value =
            need_format("%s=%s/%s.%s.lease", m->net[i].name, state.base, m->name, m->net[i].name);
        list_add(&run->options, "--lease-file");
        list_add(&run->options, value);
        free(value);
    }
    if (state.base_fd >= 0)
        close(state.base_fd);
}

static char *command_line(const struct run *run)
{
    struct str line = {0};
    for (size_t i = 0; i < run->argv.count; i++) {
        str_text(&line, i > 0 ? " " : "");
        str_shell(&line, run->argv.item[i]);
    }
    return line.data;
}

/* ---- looking after a running appliance
 * ---------------------------------------------------------------- */

struct stream {
    int from, to; /**< -1: closed, or nobody to show it to */
    char buffer[BUFFER_MAX];
    size_t len;
};

struct watch {
    struct run *run;
    struct state state;
    pid_t pid;
    int signals, log;
    size_t log_len;
    struct stream stream[2];
    struct str line; /**< of standard output, until its newline */
    int last_signal;
    unsigned signal_count;
    struct timespec last_signal_at;
    bool has_ended;
    int status;
    int tell; /**< detached: a byte here says that something was printed */
};

static void rotate_log(struct watch *w)
{
    (void)renameat(w->state.fd, "log", w->state.fd, "log.1");
    close(w->log);
    w->log =
        openat(w->state.fd, "log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    w->log_len = 0;
}

static void write_log(struct watch *w, const char *data, size_t len)
{
    if (w->log_len + len > LOG_SIZE_MAX)
        rotate_log(w);
    while (len > 0 && w->log >= 0) {
        ssize_t put = write(w->log, data, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return; /* a full disk must not end the appliance */
        w->log_len += (size_t)put;
        data += put;
        len -= (size_t)put;
    }
}

/* "net: user 10.0.2.15/24" and "http://..." go into the info, for ps. */
static void note_lines(struct watch *w, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n') {
            if (w->line.len < 200)
                str_add(&w->line, &data[i], 1);
            continue;
        }
        if (w->line.len > 5 && strncmp(w->line.data, "net: ", 5) == 0)
            state_note(&w->state, "net", w->line.data + 5);
        else if (w->line.len > 7 && strncmp(w->line.data, "http://", 7) == 0)
            state_note(&w->state, "url", w->line.data);
        w->line.len = 0;
    }
}

/* Take what is there. Returns true if there was something. */
static bool pull(struct watch *w, struct stream *stream)
{
    bool some = false;
    while (stream->from >= 0 && stream->len < BUFFER_MAX) {
        char *at = stream->buffer + stream->len;
        ssize_t got = read(stream->from, at, BUFFER_MAX - stream->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            close(stream->from);
            stream->from = -1;
            break;
        }
        some = true;
        write_log(w, at, (size_t)got);
        if (stream == &w->stream[0])
            note_lines(w, at, (size_t)got);
        if (stream->to >= 0)
            stream->len += (size_t)got;
    }
    return some;
}

/* Hand on up to PIPE_BUF bytes: that much poll() promised room for. */
static void push(struct stream *stream)
{
    size_t len = stream->len < 4096 ? stream->len : 4096;
    ssize_t put = write(stream->to, stream->buffer, len);
    if (put < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (put < 0) { /* the reader left: keep the log only */
        stream->to = -1;
        stream->len = 0;
        return;
    }
    stream->len -= (size_t)put;
    memmove(stream->buffer, stream->buffer + put, stream->len);
}

static void forward_signal(struct watch *w, int signal_number)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = (now.tv_sec - w->last_signal_at.tv_sec) * 1000 +
                 (now.tv_nsec - w->last_signal_at.tv_nsec) / 1000000;
    if (w->signal_count > 0 && signal_number == w->last_signal && ms < 100)
        return;
    w->last_signal = signal_number;
    w->last_signal_at = now;
    if (++w->signal_count >= 3)
        complain("\"%s\" does not end; killing it", w->run->manifest.name);
    kill(w->pid, w->signal_count >= 3      ? SIGKILL
                 : signal_number == SIGHUP ? SIGTERM
                                           : signal_number);
}

static void read_signals(struct watch *w)
{
    struct signalfd_siginfo info;
    while (read(w->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo != SIGCHLD) {
            forward_signal(w, (int)info.ssi_signo);
            continue;
        }
        int status;
        if (waitpid(w->pid, &status, WNOHANG) == w->pid) {
            w->has_ended = true;
            w->status = status;
        }
    }
}

static void tell(struct watch *w)
{
    if (w->tell >= 0 && write(w->tell, "o", 1) < 0)
        w->tell = -1;
}

/* Until the appliance has ended and all it printed is handed on. */
static void watch_until_end(struct watch *w)
{
    int patience = 20; /* times 100 ms for a reader that does not read, after the end */
    for (;;) {
        struct pollfd fds[5] = {{.fd = w->signals, .events = POLLIN}};
        for (int i = 0; i < 2; i++) {
            struct stream *s = &w->stream[i];
            fds[1 + i] =
                (struct pollfd){.fd = s->len < BUFFER_MAX ? s->from : -1, .events = POLLIN};
            fds[3 + i] = (struct pollfd){.fd = s->len > 0 ? s->to : -1, .events = POLLOUT};
        }
        bool is_drained = w->stream[0].len == 0 && w->stream[1].len == 0;
        if (w->has_ended && is_drained)
            break;
        int ready = poll(fds, 5, w->has_ended ? 100 : -1);
        if (ready == 0 && --patience == 0)
            break;
        read_signals(w);
        bool some = false;
        for (int i = 0; i < 2; i++) {
            some = pull(w, &w->stream[i]) || some;
            if (fds[3 + i].revents != 0 && w->stream[i].to >= 0)
                push(&w->stream[i]);
        }
        if (some)
            tell(w);
    }
    /* A reader that left, or none: the rest is for the log. */
    for (int i = 0; i < 2; i++) {
        w->stream[i].to = -1;
        w->stream[i].len = 0;
        (void)pull(w, &w->stream[i]);
    }
}

static void child(struct run *run, int go, int out, int err, pid_t parent, const sigset_t *mask)
{
    char byte;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL); /* a shell's background jobs ignore it; we forward it */
    sigprocmask(SIG_SETMASK, mask, NULL);
    /* No byte: the parent gave up, or died before PDEATHSIG was set. */
    if (getppid() != parent || read(go, &byte, 1) != 1)
        _exit(EXIT_FAIL);
    execv(run->argv.item[0], run->argv.item);
    dprintf(STDERR_FILENO, "mirari: cannot execute \"%s\": %s; build it again\n", run->argv.item[0],
            strerror(errno));
    _exit(126);
}

static void make_info(struct run *run, pid_t pid, struct str *info)
{
    char *command = command_line(run), *folder = realpath(run->manifest.folder, NULL);
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"pid", (uint64_t)pid},
                   {"start", process_start(pid)},
                   {"supervisor", (uint64_t)getpid()},
                   {"supervisor-start", process_start(getpid())},
                   {"began", (uint64_t)time(NULL)}};
    for (size_t i = 0; i < LEN(numbers); i++)
        str_format(info, "%s %llu\n", numbers[i].key, (unsigned long long)numbers[i].value);
    info_line(info, "name", run->manifest.name);
    info_line(info, "target", run->common.target);
    info_line(info, "folder", folder != NULL ? folder : run->manifest.folder);
    info_line(info, "command", command);
    free(command);
    free(folder);
}

/* Exit status of the tool for the end of its appliance. */
static int status_of(const struct watch *w)
{
    const char *name = w->run->manifest.name;
    if (WIFEXITED(w->status))
        return WEXITSTATUS(w->status);
    int number = WTERMSIG(w->status);
    if (w->signal_count == 0)
        complain("\"%s\" was ended by signal %d (%s)", name, number, strsignal(number));
    return 128 + number;
}

/* Run the appliance and stay with it. @tell_fd: -1, or where a detached one reports. */
static int look_after(struct run *run, int tell_fd)
{
    struct watch *w = need(sizeof(*w));
    int go[2], out[2], err[2];
    sigset_t mask, before;
    w->run = run;
    w->tell = tell_fd;
    if (state_open(&w->state) != 0)
        return EXIT_FAIL;
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
        complain("cannot make pipes: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    sigemptyset(&mask);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGHUP);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, &before);
    signal(SIGPIPE, SIG_IGN);
    w->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    fflush(NULL);
    pid_t self = getpid();
    w->pid = fork();
    if (w->pid == 0) {
        close(go[1]);
        child(run, go[0], out[1], err[1], self, &before);
    }
    close(go[0]);
    close(out[1]);
    close(err[1]);
    if (w->pid < 0) {
        complain("cannot start a process: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    struct str info = {0};
    char *kept = need_format("%s.log", run->manifest.name);
    (void)unlinkat(w->state.base_fd, kept, 0); /* of an earlier run that failed */
    free(kept);
    make_info(run, w->pid, &info);
    int r = state_add(&w->state, run->manifest.name, w->pid, &info);
    str_free(&info);
    if (r == 0) {
        w->log = openat(w->state.fd, "log", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    } else {
        complain("cannot write in \"%s\": %s; make room there", w->state.base, strerror(-r));
        close(go[1]);
        waitpid(w->pid, NULL, 0);
        return EXIT_FAIL;
    }
    bool is_detached = tell_fd >= 0;
    w->stream[0].from = out[0];
    w->stream[1].from = err[0];
    w->stream[0].to = is_detached ? -1 : STDOUT_FILENO;
    w->stream[1].to = is_detached ? -1 : STDERR_FILENO;
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    fcntl(err[0], F_SETFL, O_NONBLOCK);
    if (write(go[1], "g", 1) != 1)
        kill(w->pid, SIGKILL);
    close(go[1]);
    watch_until_end(w);
    int status = status_of(w);
    state_remove(&w->state, run->manifest.name, is_detached && status != 0);
    return status;
}

/* ---- detached
 * --------------------------------------------------------------------------------------- */

/* Show what the appliance printed so far. */
static void show_beginning(struct state *state, const char *folder, const char *kept, FILE *out)
{
    char path[320];
    struct str text = {0};
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s%s", state->base_fd, folder,
             folder[0] != '\0' ? "/log" : kept);
    if (file_read(path, LOG_SIZE_MAX, &text) == 0)
        fwrite(text.data, 1, text.len, out);
    str_free(&text);
}

/* The first process: wait until the second has news. */
static int await_start(struct run *run, pid_t supervisor, int news)
{
    char bytes[64];
    int timeout = 5000, status;
    time_t end = 0;
    struct state state;
    struct pollfd wait = {.fd = news, .events = POLLIN};
    bool has_ended = false;
    /* The first words, and those that follow them closely; one that talks on is not waited for. */
    while ((end == 0 || time(NULL) < end) && poll(&wait, 1, timeout) > 0) {
        if (read(news, bytes, sizeof(bytes)) <= 0) {
            has_ended = true;
            break;
        }
        timeout = 150;
        end = end != 0 ? end : time(NULL) + 2;
    }
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    char *kept = need_format("%s.log", run->manifest.name);
    if (has_ended) {
        waitpid(supervisor, &status, 0);
        int result = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAIL;
        if (result != 0)
            show_beginning(&state, "", kept, stderr);
        complain("\"%s\" has ended already, with status %d", run->manifest.name, result);
        return result;
    }
    pid_t pid = 0;
    /* The supervisor has one child, the appliance. */
    char *path = need_format("/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
    struct str text = {0};
    if (file_read(path, 4096, &text) == 0)
        pid = (pid_t)strtol(text.data, NULL, 10);
    char *folder = need_format("%s-%d", run->manifest.name, (int)pid);
    show_beginning(&state, folder, kept, stdout);
    printf("%s runs as process %d; end it with: mirari stop %d\n", run->manifest.name, (int)pid,
           (int)pid);
    return 0;
}

static int run_detached(struct run *run)
{
    int news[2];
    struct state state; /* what is wrong there is said while somebody listens */
    if (state_open(&state) != 0)
        return EXIT_FAIL;
    close(state.base_fd);
    if (pipe2(news, O_CLOEXEC) != 0) {
        complain("cannot make pipes: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    fflush(NULL);
    pid_t supervisor = fork();
    if (supervisor < 0) {
        complain("cannot start a process: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    if (supervisor > 0) {
        close(news[1]);
        return await_start(run, supervisor, news[0]);
    }
    close(news[0]);
    setsid();
    fcntl(news[1], F_SETFL, O_NONBLOCK);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    _exit(look_after(run, news[1]));
}

int cmd_run(int argc, char **argv)
{
    struct run *run = need(sizeof(*run));
    int r = parse_arguments(run, argc, argv);
    if (r == 0)
        r = common_finish(&run->common);
    if (r == 0)
        r = manifest_load(run->common.folder, run->common.file, run->common.quiet, &run->manifest);
    if (r == 0)
        r = check_options(run);
    if (r != 0)
        return r;
    if (!run->dry_run && !run->no_build) {
        bool was_quiet = run->common.quiet;
        run->common.quiet = true;
        r = build(&run->common, &run->manifest, &run->place);
        run->common.quiet = was_quiet;
        if (r != 0)
            return r;
    } else {
        place_of(&run->common, &run->manifest, &run->place);
    }
    if (!run->dry_run)
        add_lease_files(run);
    make_argv(run);
    char *command = command_line(run);
    if (run->dry_run) {
        puts(command);
        return 0;
    }
    if (access(run->place.binary, X_OK) != 0) {
        complain("no executable \"%s\": %s; build it: mirari build", run->place.binary,
                 strerror(errno));
        return EXIT_FAIL;
    }
    if (!run->common.quiet)
        fprintf(stderr, "+ %s\n", command);
    return run->detach ? run_detached(run) : look_after(run, -1);
}
