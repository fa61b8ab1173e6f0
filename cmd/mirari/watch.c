/* SPDX-License-Identifier: ISC */
/* Runs an appliance as a child and looks after it until it ends.
 *
 *   mirari run ── pipes ── appliance, or QEMU (own process group; ended when we die)
 *       │
 *       ├─ terminal    what it prints, through a bounded buffer
 *       ├─ console     those attached by `mirari console` (console.c)
 *       ├─ control     the control channel of a machine (vm_control.c)
 *       └─ NAME-PID/log, and lines "net: ..." and "http://..." into NAME-PID/info
 *
 * The child waits on a pipe until its state folder exists, so `mirari ps` never misses a running
 * appliance; then it executes. SIGINT, SIGTERM and SIGHUP are forwarded (one signal that comes
 * twice within 100 ms, to us and to our group, counts once); the appliance forces its end at the
 * second, we kill it at the third. After it has ended, its pipes are emptied before the folder
 * goes, so no last words are lost.
 *
 * A virtual machine gets no signals: the first becomes the power button and a Ctrl-C on its serial
 * port, the second ends QEMU. What is typed here goes to its serial port. Its exit status comes
 * through QEMU's (vm.c), the reason of its end over QMP (qmp.c).
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

#include "cmd/mirari/vm.h"

#define BUFFER_MAX 65536
/** Exit status of an appliance that found a mistake of its own; a machine that resets itself. */
#define EXIT_CRASH 70
/** A machine that has run for so long listens, even if it said nothing. */
#define START_MS 3000

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
    struct console console;
    struct vm_control control;
    struct qmp qmp;    /**< of a virtual machine; its descriptor is -1 otherwise */
    struct str line;   /**< of standard output, until its newline */
    struct str report; /**< lines about a crash */
    int last_signal;
    unsigned signal_count;
    struct timespec last_signal_at;
    bool has_ended, is_stdin_over;
    bool has_spoken;          /**< the appliance printed something */
    bool is_ask_due;          /**< a machine that is still starting is to be asked to end */
    struct timespec panicked; /**< when a machine said so; 0: it did not */
    struct timespec began;    /**< when the child was started */
    int status;
    bool is_lease_over; /**< it was asked to end because of it */
    int tell;           /**< detached: a byte here says that something was printed */
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

/* A machine prints what it has to say about its crash, and nothing after it. */
static void note_report(struct watch *w)
{
    if (w->report.len > 4000)
        return;
    str_text(&w->report, w->line.data);
    str_text(&w->report, "\n");
}

/* "net: user 10.0.2.15/24" and "http://..." go into the info, for ps. */
static void note_lines(struct watch *w, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n') {
            if (w->line.len < 200 && data[i] != '\r')
                str_add(&w->line, &data[i], 1);
            continue;
        }
        if (w->line.len > 5 && strncmp(w->line.data, "net: ", 5) == 0)
            state_note(&w->state, "net", w->line.data + 5);
        else if (w->line.len > 7 && strncmp(w->line.data, "http://", 7) == 0)
            state_note(&w->state, "url", w->line.data);
        else if (w->line.len > 8 && strncmp(w->line.data, "mirari: ", 8) == 0)
            note_report(w);
        w->line.len = 0;
    }
}

/* Everywhere but to the terminal. */
static void hand_on(struct watch *w, struct stream *stream, const char *data, size_t len)
{
    write_log(w, data, len);
    if (stream == &w->stream[0])
        note_lines(w, data, len);
    console_write(&w->console, data, len);
}

/* Lines of ours, before the appliance's first. */
static void announce(struct watch *w, const struct str *lines)
{
    struct stream *stream = &w->stream[0];
    if (lines->len == 0 || lines->len > BUFFER_MAX - stream->len)
        return;
    hand_on(w, stream, lines->data, lines->len);
    if (stream->to < 0)
        return;
    memcpy(stream->buffer + stream->len, lines->data, lines->len);
    stream->len += lines->len;
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
        w->has_spoken = w->has_spoken || stream == &w->stream[0];
        hand_on(w, stream, at, (size_t)got);
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

static int64_t ms_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000;
}

/* To end in order: the power button where there is one, and Ctrl-C on the serial port. A machine
 * that has not printed anything may be starting, and would hear neither: it is asked when it
 * speaks, or is old enough. */
static void ask_machine(struct watch *w)
{
    const struct vm *vm = w->run->vm;
    w->is_ask_due = !w->has_spoken && ms_since(&w->began) < START_MS;
    if (w->is_ask_due)
        return;
    if (!vm->is_mmio)
        qmp_send(&w->qmp, "system_powerdown");
    ssize_t put = vm->input >= 0 ? write(vm->input, "\x03", 1) : 0;
    (void)put; /* a machine that reads nothing is ended by the second signal */
}

static void forward_signal(struct watch *w, int signal_number)
{
    if (w->signal_count > 0 && signal_number == w->last_signal &&
        ms_since(&w->last_signal_at) < 100)
        return;
    w->last_signal = signal_number;
    clock_gettime(CLOCK_MONOTONIC, &w->last_signal_at);
    w->signal_count++;
    if (w->run->vm != NULL && w->signal_count == 1) {
        ask_machine(w);
        return;
    }
    if (w->signal_count >= 3)
        complain("\"%s\" does not end; killing it", w->run->manifest.name);
    bool is_term = signal_number == SIGHUP || w->run->vm != NULL;
    kill(w->pid, w->signal_count >= 3 ? SIGKILL : is_term ? SIGTERM : signal_number);
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

/* What is typed at our terminal goes to the machine, while we are in its foreground. */
static int typed_from(const struct watch *w)
{
    bool is_ours = w->run->vm != NULL && w->tell < 0 && !w->is_stdin_over && isatty(STDIN_FILENO) &&
                   tcgetpgrp(STDIN_FILENO) == getpgrp();
    return is_ours ? STDIN_FILENO : -1;
}

static void read_typed(struct watch *w)
{
    char bytes[256];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (got == 0)
        w->is_stdin_over = true;
    ssize_t put =
        got > 0 && w->run->vm->input >= 0 ? write(w->run->vm->input, bytes, (size_t)got) : 0;
    (void)put; /* a full serial port loses what is typed */
}

/* The appliance ends itself when its lease is over; one that does not is asked a little later, and
 * killed when the time it has for its end is over, too. Returns the milliseconds until there is
 * something to do, -1: never. */
#define LEASE_EXTRA_MS 5000
static int keep_lease(struct watch *w)
{
    const struct run *run = w->run;
    if (run->lease_ms == 0 || w->has_ended)
        return -1;
    int64_t ask_ms = run->lease_ms + LEASE_EXTRA_MS - ms_since(&w->began);
    int64_t kill_ms = ask_ms + (run->grace_ms != 0 ? run->grace_ms : 30000) + LEASE_EXTRA_MS;
    if (ask_ms <= 0 && !w->is_lease_over) {
        w->is_lease_over = true;
        forward_signal(w, SIGTERM);
    }
    if (kill_ms <= 0) {
        complain("the lease of \"%s\" is over and it does not end; killing it", run->manifest.name);
        kill(w->pid, SIGKILL);
        return 1000;
    }
    int64_t wait_ms = w->is_lease_over ? kill_ms : ask_ms;
    return wait_ms < 1000000 ? (int)wait_ms : 1000000;
}

/* A machine that has crashed runs hooks and ends; one that does not is killed. Returns the
 * milliseconds until then, or @wait_ms. */
#define PANIC_MS 5000
static int keep_panic(struct watch *w, int wait_ms)
{
    if (!w->qmp.has_panicked || w->has_ended)
        return wait_ms;
    if (w->panicked.tv_sec == 0)
        clock_gettime(CLOCK_MONOTONIC, &w->panicked);
    int64_t left_ms = PANIC_MS - ms_since(&w->panicked);
    if (left_ms <= 0) {
        complain("\"%s\" has crashed and does not end; killing it", w->run->manifest.name);
        kill(w->pid, SIGKILL);
        return 1000;
    }
    return wait_ms < 0 || wait_ms > left_ms ? (int)left_ms : wait_ms;
}

enum { SIGNALS, OUTPUTS, SINKS = OUTPUTS + 2, CONTROL = SINKS + 2, TYPED, LISTENER, CLIENTS };
enum { SESSIONS = CLIENTS + CONSOLE_CLIENTS_MAX, WATCHED = SESSIONS + VM_CONTROL_FDS };

static void choose_watched(const struct watch *w, struct pollfd fds[WATCHED])
{
    for (size_t i = 0; i < WATCHED; i++)
        fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    fds[SIGNALS].fd = w->signals;
    for (size_t i = 0; i < 2; i++) {
        const struct stream *s = &w->stream[i];
        fds[OUTPUTS + i].fd = s->len < BUFFER_MAX ? s->from : -1;
        fds[SINKS + i] = (struct pollfd){.fd = s->len > 0 ? s->to : -1, .events = POLLOUT};
    }
    fds[CONTROL].fd = w->qmp.fd;
    fds[TYPED].fd = typed_from(w);
    fds[LISTENER].fd = w->console.listener;
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
        fds[CLIENTS + i].fd = w->console.client[i];
    vm_control_watch(&w->control, &fds[SESSIONS]);
}

/* What concerns the machine and those attached to it. */
static void serve_others(struct watch *w, const struct pollfd fds[WATCHED])
{
    int input = w->run->vm != NULL ? w->run->vm->input : -1;
    if (fds[CONTROL].revents != 0)
        qmp_read(&w->qmp);
    if (fds[TYPED].revents != 0)
        read_typed(w);
    for (size_t i = 0; i < CONSOLE_CLIENTS_MAX; i++)
        if (fds[CLIENTS + i].revents != 0)
            console_read(&w->console, i, input);
    if (fds[LISTENER].revents != 0)
        console_accept(&w->console);
    vm_control_serve(&w->control, &fds[SESSIONS]);
}

/* Until the appliance has ended and all it printed is handed on. */
static void watch_until_end(struct watch *w)
{
    int patience = 20; /* times 100 ms for a reader that does not read, after the end */
    for (;;) {
        struct pollfd fds[WATCHED];
        bool is_drained = w->stream[0].len == 0 && w->stream[1].len == 0;
        if (w->has_ended && is_drained)
            break;
        choose_watched(w, fds);
        int wait_ms = keep_panic(w, keep_lease(w));
        int ready = poll(fds, WATCHED, w->has_ended || w->is_ask_due ? 100 : wait_ms);
        if (ready == 0 && w->has_ended && --patience == 0)
            break;
        read_signals(w);
        if (w->is_ask_due)
            ask_machine(w);
        serve_others(w, fds);
        bool some = false;
        for (size_t i = 0; i < 2; i++) {
            some = pull(w, &w->stream[i]) || some;
            if (fds[SINKS + i].revents != 0 && w->stream[i].to >= 0)
                push(&w->stream[i]);
        }
        if (some)
            tell(w);
    }
    qmp_read(&w->qmp);
    /* A reader that left, or none: the rest is for the log. */
    for (int i = 0; i < 2; i++) {
        w->stream[i].to = -1;
        w->stream[i].len = 0;
        (void)pull(w, &w->stream[i]);
    }
}

/* Pipes and the like between us and the child. */
struct ends {
    int go[2], in[2], out[2], err[2];
};

/* What only QEMU gets. */
static void keep_descriptors(const struct vm *vm)
{
    fcntl(vm->control[1], F_SETFD, 0);
    if (vm->line[1] >= 0)
        fcntl(vm->line[1], F_SETFD, 0);
    if (vm->ram >= 0)
        fcntl(vm->ram, F_SETFD, 0);
    for (size_t i = 0; i < LEN(vm->net); i++)
        if (vm->net[i].fd >= 0)
            fcntl(vm->net[i].fd, F_SETFD, 0);
}

/* As systemd hands over sockets. */
static void hand_listener(int fd)
{
    if (fd == 3)
        fcntl(fd, F_SETFD, 0);
    else
        dup2(fd, 3);
    setenv("LISTEN_FDS", "1", 1);
    unsetenv("LISTEN_PID");
}

/* The control channel is a socket in the appliance's folder, which bears the name of this process.
 * With workers there is one more for each of the others, control.1 and so on. */
static void add_control(struct run *run, const struct state *state)
{
    struct list argv = {0};
    if (run->has_control)
        return;
    char *path =
        need_format("--control=%s/%s-%d/control", state->base, run->manifest.name, (int)getpid());
    list_add(&argv, run->argv.item[0]);
    list_add(&argv, path);
    for (size_t i = 1; i < run->argv.count; i++)
        list_add(&argv, run->argv.item[i]);
    run->argv = argv;
    free(path);
}

/* What it did last is kept in its folder while it runs; workers make theirs beside it. */
static void add_recorder(const struct run *run, const struct state *state)
{
    char *path = need_format("%s/%s-%d/record", state->base, run->manifest.name, (int)getpid());
    setenv("MIRARI_RECORDER", path, 0);
    free(path);
}

static void child(struct watch *w, const struct ends *ends, pid_t parent, const sigset_t *mask)
{
    struct run *run = w->run;
    char byte;
    setpgid(0, 0);
    /* QEMU would tell its guest nothing, and may hang with it. */
    prctl(PR_SET_PDEATHSIG, run->vm != NULL ? SIGKILL : SIGTERM);
    int null = open("/dev/null", O_RDWR);
    dup2(run->vm != NULL ? ends->in[0] : null, STDIN_FILENO);
    dup2(ends->out[1], STDOUT_FILENO);
    dup2(ends->err[1], STDERR_FILENO);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGTTIN, SIG_DFL);
    signal(SIGINT, SIG_DFL); /* a shell's background jobs ignore it; we forward it */
    sigprocmask(SIG_SETMASK, mask, NULL);
    close(ends->go[1]);
    /* No byte: the parent gave up, or died before PDEATHSIG was set. */
    if (getppid() != parent || read(ends->go[0], &byte, 1) != 1)
        _exit(EXIT_FAIL);
    if (run->vm != NULL) {
        keep_descriptors(run->vm);
        execvp(run->argv.item[0], run->argv.item);
    } else {
        if (run->listen_fd != 0)
            hand_listener(run->listen_fd);
        workers_listen(run, &w->state);
        add_control(run, &w->state);
        add_recorder(run, &w->state);
        execv(run->argv.item[0], run->argv.item);
    }
    dprintf(STDERR_FILENO, "mirari: cannot execute \"%s\": %s; %s\n", run->argv.item[0],
            strerror(errno), run->vm != NULL ? "install it" : "build it again");
    _exit(126);
}

static void make_info(struct run *run, pid_t pid, struct str *info)
{
    char *command = command_line(run->vm != NULL ? &run->vm->shown : &run->argv);
    char *folder = realpath(run->manifest.folder, NULL);
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

/* The same for a machine whose QEMU ended by itself with @status. */
static int machine_status(const struct watch *w, int status)
{
    const char *name = w->run->manifest.name;
    if (!w->qmp.has_started) {
        complain("the virtual machine of \"%s\" did not start: see above what QEMU said", name);
        return EXIT_FAIL;
    }
    if (w->qmp.has_panicked)
        complain("\"%s\" panicked", name);
    if ((status & 1) != 0)
        return vm_status(w->run->vm, status);
    if (w->qmp.end == VM_END_RESET) {
        complain("the virtual machine of \"%s\" reset itself: a fault while it handled a fault, or "
                 "too little memory to start",
                 name);
        return EXIT_CRASH;
    }
    if (w->signal_count >= 2)
        return 128 + w->last_signal;
    if (w->qmp.has_panicked)
        return EXIT_CRASH;
    return w->qmp.end == VM_END_FORCED ? 128 + SIGTERM : vm_status(w->run->vm, status);
}

/* Exit status of the tool for the end of its appliance. */
static int status_of(const struct watch *w)
{
    const char *name = w->run->manifest.name;
    if (WIFEXITED(w->status))
        return w->run->vm != NULL ? machine_status(w, WEXITSTATUS(w->status))
                                  : WEXITSTATUS(w->status);
    int number = WTERMSIG(w->status);
    if (w->qmp.has_panicked)
        return EXIT_CRASH;
    if (w->signal_count == 0)
        complain("\"%s\" was ended by signal %d (%s)", name, number, strsignal(number));
    return 128 + number;
}

static bool make_ends(struct ends *ends)
{
    bool good = pipe2(ends->go, O_CLOEXEC) == 0 && pipe2(ends->in, O_CLOEXEC) == 0 &&
                pipe2(ends->out, O_CLOEXEC) == 0 && pipe2(ends->err, O_CLOEXEC) == 0;
    if (!good)
        complain("cannot make pipes: %s; close other programs", strerror(errno));
    return good;
}

static void take_signals(struct watch *w, sigset_t *before)
{
    static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    sigset_t mask;
    sigemptyset(&mask);
    for (size_t i = 0; i < LEN(taken); i++)
        sigaddset(&mask, taken[i]);
    sigprocmask(SIG_BLOCK, &mask, before);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTIN, SIG_IGN); /* reading of the terminal fails when it is not ours any more */
    w->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Our ends, after the fork. */
static void keep_ends(struct watch *w, const struct ends *ends)
{
    struct vm *vm = w->run->vm;
    bool is_detached = w->tell >= 0;
    close(ends->go[0]);
    close(ends->in[0]);
    close(ends->out[1]);
    close(ends->err[1]);
    w->stream[0].from = ends->out[0];
    w->stream[1].from = ends->err[0];
    w->stream[0].to = is_detached ? -1 : STDOUT_FILENO;
    w->stream[1].to = is_detached ? -1 : STDERR_FILENO;
    fcntl(ends->out[0], F_SETFL, O_NONBLOCK);
    fcntl(ends->err[0], F_SETFL, O_NONBLOCK);
    if (vm == NULL) {
        close(ends->in[1]);
        return;
    }
    vm->input = ends->in[1];
    fcntl(vm->input, F_SETFL, O_NONBLOCK);
    close(vm->control[1]);
    w->qmp.fd = vm->control[0];
    w->qmp.is_debugged = vm->gdb_port != 0;
    fcntl(w->qmp.fd, F_SETFL, O_NONBLOCK);
}

/* The folder of this appliance with its log and its console. */
static bool open_folder(struct watch *w)
{
    struct run *run = w->run;
    struct str info = {0};
    char *kept = need_format("%s.log", run->manifest.name);
    (void)unlinkat(w->state.base_fd, kept, 0); /* of an earlier run that failed */
    free(kept);
    make_info(run, w->pid, &info);
    int r = state_add(&w->state, run->manifest.name, w->pid, &info);
    str_free(&info);
    if (r != 0) {
        complain("cannot write in \"%s\": %s; make room there", w->state.base, strerror(-r));
        return false;
    }
    w->log = openat(w->state.fd, "log", O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    console_open(&w->console, &w->state);
    vm_control_open(&w->control, run->vm, &w->state);
    return true;
}

static void keep_record(struct watch *w, int status)
{
    const struct run *run = w->run;
    char *image = realpath(run->place.binary, NULL);
    crash_keep(&(struct crash_end){.name = run->manifest.name,
                                   .target = run->common.target,
                                   .image = image,
                                   .began = (int64_t)time(NULL) - ms_since(&w->began) / 1000,
                                   .status = status,
                                   .signal = WIFSIGNALED(w->status) ? WTERMSIG(w->status) : 0,
                                   .base_fd = w->state.base_fd,
                                   .folder_fd = w->state.fd,
                                   .memory_fd = run->vm != NULL ? run->vm->ram : -1,
                                   .report = &w->report});
    free(image);
}

int look_after(struct run *run, int tell_fd)
{
    struct watch *w = need(sizeof(*w));
    struct ends ends;
    sigset_t before;
    w->run = run;
    w->tell = tell_fd;
    w->qmp.fd = -1;
    if (state_open(&w->state) != 0 || !make_ends(&ends))
        return EXIT_FAIL;
    take_signals(w, &before);
    fflush(NULL);
    pid_t self = getpid();
    clock_gettime(CLOCK_MONOTONIC, &w->began);
    w->pid = fork();
    if (w->pid == 0)
        child(w, &ends, self, &before);
    keep_ends(w, &ends);
    if (w->pid < 0) {
        complain("cannot start a process: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    if (!open_folder(w)) {
        close(ends.go[1]);
        waitpid(w->pid, NULL, 0);
        return EXIT_FAIL;
    }
    if (tell_fd >= 0 && write(tell_fd, &w->pid, sizeof(w->pid)) != (ssize_t)sizeof(w->pid))
        w->tell = -1;
    if (run->vm != NULL)
        announce(w, &run->vm->announce);
    if (write(ends.go[1], "g", 1) != 1)
        kill(w->pid, SIGKILL);
    close(ends.go[1]);
    if (run->listen_fd != 0)
        close(run->listen_fd); /* when the child ends nobody listens */
    watch_until_end(w);
    console_close(&w->console);
    vm_control_close(&w->control);
    int status = status_of(w);
    keep_record(w, status);
    if (run->listen_path != NULL)
        (void)unlink(run->listen_path);
    state_remove(&w->state, run->manifest.name, tell_fd >= 0 && status != 0);
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

/* The first process: wait until the second has news. It tells the child's id, then that there are
 * words of it. */
static int await_start(struct run *run, pid_t supervisor, int news)
{
    union {
        char bytes[64];
        pid_t pid;
    } told = {.pid = 0};
    size_t len = 0;
    int timeout = 5000, status;
    time_t end = 0;
    struct state state;
    struct pollfd wait = {.fd = news, .events = POLLIN};
    bool has_ended = false;
    /* The first words, and those that follow them closely; one that talks on is not waited for. */
    while ((end == 0 || time(NULL) < end) && poll(&wait, 1, timeout) > 0) {
        size_t at = len < sizeof(told) - 1 ? len : sizeof(told) - 1;
        ssize_t got = read(news, told.bytes + at, sizeof(told) - at);
        if (got <= 0) {
            has_ended = true;
            break;
        }
        len = at + (size_t)got;
        if (len <= sizeof(told.pid))
            continue;
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
    int pid = (int)told.pid;
    char *folder = need_format("%s-%d", run->manifest.name, pid);
    show_beginning(&state, folder, kept, stdout);
    printf("%s runs as process %d; end it with: mirari stop %d\n", run->manifest.name, pid, pid);
    return 0;
}

int run_detached(struct run *run)
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
    /* While there is somebody to hear what is wrong. */
    int r = run->vm != NULL ? vm_open(run) : 0;
    fflush(NULL);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    r = r == 0 ? look_after(run, news[1]) : r;
    if (run->vm != NULL)
        vm_finish(run->vm);
    _exit(r);
}
