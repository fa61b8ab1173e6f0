/* SPDX-License-Identifier: ISC */
/* The monitor: a process with privileges and without a network, which keeps devices and workers.
 *
 *   monitor (root)                        worker 0 .. N-1 (nobody, sandbox)
 *     opens taps, one queue a worker
 *     socket pair, fork, exec       ->      reads the same command line
 *     <- HELLO
 *     DEVICE + descriptor ..., GO   ->      drops privileges, confines itself, runs
 *     <- READY
 *
 * It never reads a byte that came from a network. What it reads is messages of workers, which are
 * checked (handover.c), requests of the tool at a socket that only its own user can open, and
 * signals.
 *
 * A worker ends
 *   - by a signal or a crash (status 70): another one is started with the same devices after a
 * pause of 100 ms, 200 ms, ... 10 s; half a minute of life makes it short again. One that never
 * gets as far as READY is tried five times.
 *   - with a status of its own: that is the end of the appliance, and the others are asked to end.
 *
 * A replacement (`mirari upgrade`): the program is opened again by its name and started beside the
 * old worker. It gets the devices too, but does not read them; when it is READY, the old one is
 * told to LEAVE: it keeps its connections and passes everything else to the new one, until no
 * connection is left, ten seconds at most. Then it ends, and the new one is told to TAKE the
 * devices. Workers are replaced one after the other.
 *
 * What worker 0 says about a DHCP lease is kept and passed on to the others, unread (follow.c). One
 * whose socket is full is told again later, what is true then.
 *
 * SIGINT, SIGTERM and SIGHUP ask the workers to end, a second one kills them. If the monitor is
 * killed, its workers are killed by the host and the taps vanish.
 *
 * Not done: it keeps all privileges it was started with, as it may have to open another tap at any
 * time.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mirari/log.h>

#include "target/unix/workers.h"

#define PAUSE_MIN_MS 100u
#define PAUSE_MAX_MS 10000u
#define HEALTHY_MS   30000u
#define HELLO_MS     10000u
#define END_MS       5000u
#define LEAVE_MS     10000u
#define TRIES_MAX    5u
#define NEVER        UINT64_MAX
#define REQUEST_MS   1000
#define BEHIND_MS    100u

struct process {
    pid_t pid; /* 0: none */
    int fd;    /* to it */
    bool is_ready;
    bool has_hello;
    bool is_deaf;   /* its end of the socket is closed */
    bool is_behind; /* it could not be told about a lease */
    unsigned life;  /* of the worker: which of its records */
    uint64_t started_ms;
    uint64_t kill_ms; /* when patience ends */
};

struct worker {
    struct process now;
    struct process next; /* will replace it */
    uint64_t due_ms;     /* of a start; NEVER: none */
    unsigned failures;   /* in a row */
    unsigned long restarts;
    unsigned lives;
    bool is_replaced; /* `now` was asked to make room */
    int inbox[2];     /* of `next`, while it is that; -1 */
};

struct monitor {
    struct mir__unix *u;
    struct mir__keep keep;
    struct worker workers[MIR__WORKERS_MAX];
    char **argv;
    char path[PATH_MAX];
    int program_fd; /* what is started */
    int signal_fd;
    int control_fd;    /* listens; -1: none */
    int client_fd;     /* asked for a replacement, and waits for its end */
    unsigned replaced; /* workers that are new already */
    bool is_replacing;
    sigset_t old_mask;
    uint32_t ticket;
    bool is_stopping;
    bool is_killed;
    int status;
};

static struct monitor the_monitor;

static uint64_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static unsigned index_of(const struct monitor *m, const struct worker *w)
{
    return (unsigned)(w - m->workers);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* In the child. The number of the descriptor is fixed, so that the program knows it. */
MIR_NORETURN static void become_worker(const struct monitor *m, unsigned index, int fd,
                                       pid_t monitor)
{
    char text[32];
    mir__record_be_worker(index, m->workers[index].lives);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != monitor)
        _exit(MIR__EXIT_UNAVAILABLE);
    int program_fd = fcntl(m->program_fd, F_DUPFD_CLOEXEC, MIR__WORKER_FD + 1);
    if (fd == MIR__WORKER_FD)
        (void)fcntl(fd, F_SETFD, 0);
    else if (dup2(fd, MIR__WORKER_FD) < 0)
        _exit(MIR__EXIT_UNAVAILABLE);
    snprintf(text, sizeof text, "%u/%u", index, m->keep.workers);
    (void)setenv(MIR__WORKER_ENV, text, 1);
    (void)sigprocmask(SIG_SETMASK, &m->old_mask, NULL);
    (void)syscall(SYS_execveat, program_fd, "", m->argv, environ, AT_EMPTY_PATH);
    fprintf(stderr, "%s: cannot start a worker: %s\n", mir_manifest.name, strerror(errno));
    _exit(MIR__EXIT_UNAVAILABLE);
}

static int start(struct monitor *m, struct worker *w, struct process *process)
{
    int ends[2];
    pid_t monitor = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -MIR_EIO;
    pid_t pid = fork();
    if (pid == 0)
        become_worker(m, index_of(m, w), ends[1], monitor);
    close(ends[1]);
    if (pid < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
        close(ends[0]);
        return -MIR_EIO;
    }
    *process = (struct process){.pid = pid,
                                .fd = ends[0],
                                .life = w->lives++,
                                .started_ms = now_ms(),
                                .kill_ms = now_ms() + HELLO_MS};
    return 0;
}

static void plan_start(struct worker *w)
{
    uint64_t pause = PAUSE_MIN_MS << MIR_MIN(w->failures, 10u);
    w->due_ms = now_ms() + MIR_MIN(pause, PAUSE_MAX_MS);
}

static void start_due(struct monitor *m, struct worker *w)
{
    if (w->due_ms > now_ms() || m->is_stopping)
        return;
    w->due_ms = NEVER;
    if (start(m, w, &w->now) == 0)
        return;
    w->failures++;
    plan_start(w);
    MIR_LOG(TARGET, ERROR, "cannot start worker %u: %s", index_of(m, w), strerror(errno));
}

/* ---- the end --------------------------------------------------------------------------------- */

static void ask_end(struct process *process)
{
    struct mir__handover stop = mir__handover_make(MIR__HANDOVER_STOP);
    if (process->pid != 0 && mir__handover_send(process->fd, &stop, -1) < 0)
        (void)kill(process->pid, SIGTERM);
}

static void ask_all(struct monitor *m, int status)
{
    if (m->is_stopping)
        return;
    m->is_stopping = true;
    m->status = status;
    for (unsigned i = 0; i < m->keep.workers; i++) {
        ask_end(&m->workers[i].now);
        ask_end(&m->workers[i].next);
        m->workers[i].due_ms = NEVER;
    }
}

static void kill_all(struct monitor *m, int number)
{
    m->is_killed = true;
    m->status = 128 + number;
    for (unsigned i = 0; i < m->keep.workers; i++) {
        if (m->workers[i].now.pid != 0)
            (void)kill(m->workers[i].now.pid, SIGKILL);
        if (m->workers[i].next.pid != 0)
            (void)kill(m->workers[i].next.pid, SIGKILL);
    }
}

static bool is_over(const struct monitor *m)
{
    for (unsigned i = 0; i < m->keep.workers; i++) {
        if (m->workers[i].now.pid != 0 || m->workers[i].next.pid != 0)
            return false;
    }
    return m->is_stopping;
}

static void forget(struct process *process)
{
    close(process->fd);
    *process = (struct process){.fd = -1};
}

/* ---- replacing ------------------------------------------------------------------------------- */

static void answer(int fd, int status, const char *text)
{
    struct mir__handover m = mir__handover_make(MIR__HANDOVER_ANSWER);
    m.status = status;
    snprintf(m.text, sizeof m.text, "%s", text);
    if (mir__handover_send(fd, &m, -1) < 0)
        MIR_LOG(TARGET, DEBUG, "who asked is gone");
}

static void end_replacing(struct monitor *m, int status, const char *text)
{
    m->is_replacing = false;
    MIR_LOG(TARGET, INFO, "replacing: %s", text);
    if (m->client_fd >= 0) {
        answer(m->client_fd, status, text);
        close(m->client_fd);
        m->client_fd = -1;
    }
}

static void close_inbox(struct worker *w)
{
    for (unsigned end = 0; end < 2; end++) {
        if (w->inbox[end] >= 0)
            close(w->inbox[end]);
        w->inbox[end] = -1;
    }
}

static void replace_next(struct monitor *m)
{
    if (m->replaced == m->keep.workers) {
        end_replacing(m, 0, "all workers are new");
        return;
    }
    struct worker *w = &m->workers[m->replaced];
    if (w->now.pid == 0) { /* it has crashed, and is started again anyway: with the new program */
        w->due_ms = 0;
        return;
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, w->inbox) < 0) {
        end_replacing(m, -MIR_EIO, "cannot make a pair of sockets");
    } else if (start(m, w, &w->next) < 0) {
        close_inbox(w);
        end_replacing(m, -MIR_EIO, "cannot start a process");
    }
}

/* The program as it is on the disk now; the old one if that is none. */
static int reopen_program(struct monitor *m)
{
    int fd = open(m->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -MIR_ENOENT;
    close(m->program_fd);
    m->program_fd = fd;
    return 0;
}

static void on_hello(struct monitor *m, struct worker *w, struct process *process)
{
    int inbox = process == &w->next && w->now.pid != 0 ? w->inbox[0] : -1;
    process->has_hello = true;
    process->kill_ms = NEVER;
    if (mir__keep_send_all(&m->keep, process->fd, index_of(m, w), inbox) < 0)
        MIR_LOG(TARGET, ERROR, "worker %u does not take its devices", index_of(m, w));
}

static void on_replaced(struct monitor *m, struct worker *w)
{
    if (!m->is_replacing || index_of(m, w) != m->replaced || w->next.pid != 0)
        return;
    m->replaced++;
    replace_next(m);
}

/* The old worker is gone. */
static void promote(struct monitor *m, struct worker *w)
{
    struct mir__handover take = mir__handover_make(MIR__HANDOVER_TAKE);
    w->now = w->next;
    w->next = (struct process){.fd = -1};
    w->is_replaced = false;
    w->due_ms = NEVER;
    w->failures = 0;
    if (w->now.has_hello &&
        mir__handover_send(w->now.fd, &take, m->keep.inboxes[index_of(m, w)][0]) < 0)
        MIR_LOG(TARGET, ERROR, "worker %u does not take over", index_of(m, w));
    close_inbox(w);
    if (w->now.is_ready)
        on_replaced(m, w);
}

/* ---- messages of workers ----------------------------------------------------------------------
 */

static void on_ready(struct monitor *m, struct worker *w, struct process *process)
{
    struct mir__handover leave = mir__handover_make(MIR__HANDOVER_LEAVE);
    process->is_ready = true;
    if (process == &w->now) {
        on_replaced(m, w);
        return;
    }
    w->is_replaced = true;
    w->now.kill_ms = now_ms() + LEAVE_MS + END_MS;
    if (mir__handover_send(w->now.fd, &leave, w->inbox[1]) < 0)
        ask_end(&w->now);
}

static void tell_leases(struct monitor *m, struct process *process)
{
    if (process->pid != 0 && process->has_hello && !process->is_deaf)
        process->is_behind = mir__keep_send_leases(&m->keep, process->fd) == -MIR_EAGAIN;
}

static void on_lease(struct monitor *m, struct worker *w, struct process *process,
                     const struct mir__handover *message)
{
    if (index_of(m, w) != 0 || process != &w->now || mir__keep_lease(&m->keep, message) < 0) {
        MIR_LOG(TARGET, WARN, "worker %u: a lease of it is not wanted", index_of(m, w));
        return;
    }
    for (unsigned i = 0; i < m->keep.workers; i++) {
        if (i > 0)
            tell_leases(m, &m->workers[i].now);
        tell_leases(m, &m->workers[i].next);
    }
}

static void on_message(struct monitor *m, struct worker *w, struct process *process)
{
    struct mir__handover message;
    int fd, r = mir__handover_receive(process->fd, MIR__HANDOVER_MONITOR, &message, &fd);
    if (r == -MIR_EAGAIN)
        return;
    if (r == -MIR_ECLOSED) {
        process->is_deaf = true;
        process->kill_ms = MIR_MIN(process->kill_ms, now_ms() + END_MS);
        return;
    }
    if (r < 0) {
        MIR_LOG(TARGET, ERROR, "worker %u makes no sense (%s): killed", index_of(m, w),
                mir_strerror(r));
        (void)kill(process->pid, SIGKILL);
        return;
    }
    if (message.kind == MIR__HANDOVER_HELLO && !process->has_hello)
        on_hello(m, w, process);
    else if (message.kind == MIR__HANDOVER_READY && !process->is_ready)
        on_ready(m, w, process);
    else if (message.kind == MIR__HANDOVER_LEASE)
        on_lease(m, w, process, &message);
    else if (message.kind == MIR__HANDOVER_DONE && message.status < 0)
        MIR_LOG(TARGET, WARN, "worker %u: %s", index_of(m, w), message.text);
}

/* ---- workers that have ended ------------------------------------------------------------------
 */

static void describe_end(int wait_status, char text[64])
{
    if (WIFSIGNALED(wait_status))
        snprintf(text, 64, "was ended by signal %d", WTERMSIG(wait_status));
    else
        snprintf(text, 64, "ended with status %d", WEXITSTATUS(wait_status));
}

static bool is_crash(int wait_status)
{
    return WIFSIGNALED(wait_status) || WEXITSTATUS(wait_status) == MIR__EXIT_CRASH;
}

static int status_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static void restart(struct monitor *m, struct worker *w, const struct process *old, int wait_status)
{
    char text[64];
    if (now_ms() - old->started_ms >= HEALTHY_MS)
        w->failures = 0;
    plan_start(w);
    w->failures++;
    w->restarts++;
    describe_end(wait_status, text);
    MIR_LOG(TARGET, ERROR, "worker %u (process %d) %s: start %lu in %llu ms", index_of(m, w),
            (int)old->pid, text, w->restarts + 1, (unsigned long long)(w->due_ms - now_ms()));
}

static void on_end_of_now(struct monitor *m, struct worker *w, int wait_status)
{
    struct process old = w->now;
    forget(&w->now);
    if (is_crash(wait_status)) {
        char text[64];
        describe_end(wait_status, text);
        mir__record_end_worker(index_of(m, w), old.life, text);
    }
    if (m->is_stopping) {
        if (m->status == 0 && !m->is_killed)
            m->status = status_of(wait_status);
        return;
    }
    if (w->next.pid != 0) {
        promote(m, w);
        return;
    }
    if (w->is_replaced) { /* the one that was to follow has crashed */
        w->is_replaced = false;
        w->due_ms = 0;
        return;
    }
    bool was_useless = !old.is_ready && (w->failures + 1 >= TRIES_MAX || !is_crash(wait_status));
    if (!is_crash(wait_status) && (old.is_ready || w->restarts == 0)) {
        ask_all(m, status_of(wait_status));
        return;
    }
    if (was_useless && is_crash(wait_status)) {
        MIR_LOG(TARGET, ERROR, "worker %u does not start: giving up", index_of(m, w));
        ask_all(m, status_of(wait_status));
        return;
    }
    restart(m, w, &old, wait_status);
}

/* The replacement: the old worker goes on. */
static void on_end_of_next(struct monitor *m, struct worker *w, int wait_status)
{
    char text[64], all[MIR__HANDOVER_TEXT_MAX];
    forget(&w->next);
    if (m->is_stopping)
        return;
    describe_end(wait_status, text);
    snprintf(all, sizeof all, "the new worker %u %s%s", index_of(m, w), text,
             w->is_replaced ? "" : "; the old one goes on");
    close_inbox(w);
    if (w->is_replaced)
        ask_end(&w->now);
    if (m->is_replacing)
        end_replacing(m, -MIR_EIO, all);
}

static void reap(struct monitor *m)
{
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < m->keep.workers; i++) {
            if (m->workers[i].now.pid == pid)
                on_end_of_now(m, &m->workers[i], wait_status);
            else if (m->workers[i].next.pid == pid)
                on_end_of_next(m, &m->workers[i], wait_status);
        }
    }
}

static void on_signal(struct monitor *m)
{
    struct signalfd_siginfo info;
    while (read(m->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(m);
        else if (m->is_stopping)
            kill_all(m, (int)info.ssi_signo);
        else
            ask_all(m, 0);
    }
}

/* ---- requests of the tool ---------------------------------------------------------------------
 */

static void tell_all(struct monitor *m, struct mir__handover *message, const struct mir__kept *tap)
{
    message->ticket = ++m->ticket;
    for (unsigned i = 0; i < m->keep.workers; i++) {
        const struct process *p = &m->workers[i].now;
        message->index = (uint16_t)i;
        /* One that has not got its first devices yet gets this one with them. */
        if (p->pid != 0 && p->has_hello && !p->is_deaf &&
            mir__handover_send(p->fd, message, tap != NULL ? tap->fds[i] : -1) < 0)
            MIR_LOG(TARGET, WARN, "worker %u does not listen", i);
    }
}

/* The networks that the options know stay known, so that the same name can come back. */
static int attach(struct monitor *m, const struct mir__handover *request,
                  char error[MIR__ERROR_MAX])
{
    struct mir__unix *u = m->u;
    if (mir__keep_find(&m->keep, request->name) != NULL) {
        snprintf(error, MIR__ERROR_MAX, "network \"%s\" is there already", request->name);
        return -MIR_EEXIST;
    }
    int index = mir__worker_describe(u, request, error);
    if (index < 0)
        return index;
    u->nets[index].options = &u->options.net[index];
    int r = mir__devices_open_one(u, (uint32_t)index, error);
    u->options.net_count--;
    if (r < 0)
        return r;
    struct mir__kept *tap = mir__keep_find(&m->keep, request->name);
    memcpy(tap->message.text, request->text, sizeof tap->message.text);
    tell_all(m, &tap->message, tap);
    snprintf(error, MIR__ERROR_MAX, "%s is %s", tap->message.name, tap->message.ifname);
    return 0;
}

static int detach(struct monitor *m, const struct mir__handover *request,
                  char error[MIR__ERROR_MAX])
{
    struct mir__kept *tap = mir__keep_find(&m->keep, request->name);
    struct mir__handover remove = mir__handover_make(MIR__HANDOVER_REMOVE);
    if (tap == NULL || tap->message.type != MIR__HANDOVER_TAP) {
        snprintf(error, MIR__ERROR_MAX, "no network \"%s\" on a tap", request->name);
        return -MIR_ENOENT;
    }
    memcpy(remove.name, request->name, sizeof remove.name);
    tell_all(m, &remove, NULL);
    mir__keep_remove(&m->keep, tap);
    snprintf(error, MIR__ERROR_MAX, "%s is detached", request->name);
    return 0;
}

static void list(const struct monitor *m, char *text, size_t size)
{
    size_t at = 0;
    for (unsigned i = 0; i < m->keep.workers; i++)
        at += (size_t)snprintf(text + MIR_MIN(at, size - 1), size - MIR_MIN(at, size - 1),
                               "worker %u process %d starts %lu\n", i, (int)m->workers[i].now.pid,
                               m->workers[i].restarts + 1);
    for (uint32_t i = 0; i < m->keep.count; i++)
        at += (size_t)snprintf(text + MIR_MIN(at, size - 1), size - MIR_MIN(at, size - 1),
                               "net %s %s\n", m->keep.taps[i].message.name,
                               m->keep.taps[i].message.ifname);
}

static int replace(struct monitor *m, char error[MIR__ERROR_MAX])
{
    int r = m->is_stopping ? -MIR_ECANCELED : reopen_program(m);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX, "%.200s: %s", m->path, mir_strerror(r));
        return r;
    }
    m->is_replacing = true;
    m->replaced = 0;
    return 0;
}

static void serve(struct monitor *m, int fd)
{
    struct mir__handover request;
    char text[MIR__ERROR_MAX] = "";
    int passed;
    int r = mir__handover_receive(fd, MIR__HANDOVER_CONTROL, &request, &passed);
    if (r < 0) {
        snprintf(text, sizeof text, "not understood: %s", mir_strerror(r));
    } else if (m->is_replacing && request.kind != MIR__HANDOVER_LIST) {
        r = -MIR_EBUSY;
        snprintf(text, sizeof text, "workers are being replaced; ask again when that is done");
    } else if (request.kind == MIR__HANDOVER_ATTACH) {
        r = attach(m, &request, text);
    } else if (request.kind == MIR__HANDOVER_DETACH) {
        r = detach(m, &request, text);
    } else if (request.kind == MIR__HANDOVER_LIST) {
        list(m, text, sizeof text);
    } else if ((r = replace(m, text)) == 0) {
        m->client_fd = fd; /* it is answered when it is done */
        replace_next(m);
        return;
    }
    answer(fd, r, text);
    close(fd);
}

/* Only the user whose monitor this is, and root. A client has a second to say what it wants; there
 * is one at a time, as each of these is rare and short. */
static void on_client(struct monitor *m)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    struct timeval patience = {.tv_sec = REQUEST_MS / 1000};
    int fd = accept4(m->control_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    bool is_known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
                    (peer.uid == 0 || peer.uid == m->u->identity.uid || peer.uid == getuid());
    if (!is_known || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) {
        MIR_LOG(TARGET, WARN, "user %u may not speak to the monitor", (unsigned)peer.uid);
        close(fd);
        return;
    }
    serve(m, fd);
}

/* A socket of ours is left behind by none of our ends but SIGKILL, and is replaced after that. */
static int open_control(struct monitor *m, const char *path, char error[MIR__ERROR_MAX])
{
    const struct mir__identity *who = &m->u->identity;
    m->control_fd = mir__unix_listen("--monitor", path, SOCK_SEQPACKET, 0600, error);
    if (m->control_fd < 0)
        return m->control_fd;
    if (!who->is_root || who->uid == 65534 || chown(path, who->uid, who->gid) == 0)
        return 0;
    snprintf(error, MIR__ERROR_MAX, "--monitor: %s: %s", path, strerror(errno));
    return -MIR_EIO;
}

static void close_control(struct monitor *m)
{
    if (m->control_fd < 0)
        return;
    (void)unlink(m->u->options.monitor);
    close(m->control_fd);
    m->control_fd = -1;
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

#define WATCHES (2 + 2 * MIR__WORKERS_MAX)

static uint64_t next_deadline(const struct monitor *m)
{
    uint64_t due = NEVER;
    for (unsigned i = 0; i < m->keep.workers; i++) {
        const struct worker *w = &m->workers[i];
        due = MIR_MIN(due, w->due_ms);
        if (w->now.is_behind || w->next.is_behind)
            due = MIR_MIN(due, now_ms() + BEHIND_MS);
        if (w->now.pid != 0)
            due = MIR_MIN(due, w->now.kill_ms);
        if (w->next.pid != 0)
            due = MIR_MIN(due, w->next.kill_ms);
    }
    return due;
}

static void kill_late(struct process *process)
{
    if (process->pid == 0 || process->kill_ms > now_ms())
        return;
    MIR_LOG(TARGET, WARN, "process %d takes too long: killed", (int)process->pid);
    process->kill_ms = NEVER;
    (void)kill(process->pid, SIGKILL);
}

static void catch_up(struct monitor *m, struct process *process)
{
    if (process->is_behind)
        tell_leases(m, process);
}

static void do_due(struct monitor *m)
{
    for (unsigned i = 0; i < m->keep.workers; i++) {
        start_due(m, &m->workers[i]);
        catch_up(m, &m->workers[i].now);
        catch_up(m, &m->workers[i].next);
        kill_late(&m->workers[i].now);
        kill_late(&m->workers[i].next);
    }
}

static void turn(struct monitor *m)
{
    struct pollfd watched[WATCHES];
    struct process *of[WATCHES];
    nfds_t count = 0;
    uint64_t due = next_deadline(m), now = now_ms();
    int timeout = due == NEVER ? -1 : due <= now ? 0 : (int)MIR_MIN(due - now, 60000u);
    watched[count++] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
    watched[count++] = (struct pollfd){.fd = m->control_fd, .events = POLLIN};
    for (unsigned i = 0; i < 2 * m->keep.workers; i++) {
        struct worker *w = &m->workers[i / 2];
        of[count] = i % 2 == 0 ? &w->now : &w->next;
        if (of[count]->pid != 0 && !of[count]->is_deaf) {
            watched[count] = (struct pollfd){.fd = of[count]->fd, .events = POLLIN};
            count++;
        }
    }
    if (poll(watched, count, timeout) < 0 && errno != EINTR)
        mir__assert_fail(__FILE__, __LINE__, "poll", (uint64_t)errno, 0);
    for (nfds_t i = 2; i < count; i++) {
        /* Another's end may have moved it. */
        if (watched[i].revents != 0 && of[i]->pid != 0 && of[i]->fd == watched[i].fd) {
            size_t at = (size_t)((char *)of[i] - (char *)m->workers) / sizeof m->workers[0];
            on_message(m, &m->workers[at], of[i]);
        }
    }
    if (watched[0].revents != 0)
        on_signal(m);
    if (watched[1].revents != 0)
        on_client(m);
    do_due(m);
}

/* ---- life -------------------------------------------------------------------------------------
 */

static int open_signals(struct monitor *m)
{
    static const int numbers[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP};
    struct sigaction old;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++) {
        bool is_ignored = sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN;
        if (numbers[i] != SIGHUP || !is_ignored)
            sigaddset(&set, numbers[i]);
    }
    (void)signal(SIGCHLD, SIG_DFL);
    if (sigprocmask(SIG_BLOCK, &set, &m->old_mask) < 0)
        return -MIR_EIO;
    m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signal_fd >= 0 ? 0 : -MIR_EIO;
}

static int open_all(struct monitor *m, char error[MIR__ERROR_MAX])
{
    struct mir__unix *u = m->u;
    snprintf(error, MIR__ERROR_MAX, "the monitor cannot start: %s", strerror(errno));
    ssize_t len = readlink("/proc/self/exe", m->path, sizeof m->path - 1);
    m->program_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (len <= 0 || m->program_fd < 0 || open_signals(m) < 0 ||
        mir__keep_open(&m->keep, u->options.workers) < 0)
        return -MIR_EIO;
    m->path[len] = '\0';
    if (u->options.monitor != NULL && open_control(m, u->options.monitor, error) < 0)
        return -MIR_EIO;
    u->keep = &m->keep;
    int r = mir__keep_check(&u->options, error);
    if (r == 0)
        r = mir__keep_open_channels(&m->keep, &u->options, error);
    return r < 0 ? r : mir__devices_open(u, error);
}

int mir__monitor_run(struct mir__unix *u, char **argv)
{
    struct monitor *m = &the_monitor;
    char error[MIR__ERROR_MAX] = "";
    *m = (struct monitor){.u = u, .argv = argv, .control_fd = -1, .client_fd = -1};
    int r = open_all(m, error);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", mir_manifest.name, error);
        close_control(m);
        mir__keep_close(&m->keep);
        return r == -MIR_EINVAL ? MIR__EXIT_USAGE : MIR__EXIT_UNAVAILABLE;
    }
    for (unsigned i = 0; i < m->keep.workers; i++)
        m->workers[i] = (struct worker){.now.fd = -1, .next.fd = -1, .inbox = {-1, -1}};
    do_due(m);
    while (!is_over(m))
        turn(m);
    close_control(m);
    if (m->client_fd >= 0)
        close(m->client_fd);
    mir__keep_close(&m->keep);
    return m->status;
}
