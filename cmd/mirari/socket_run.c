/* SPDX-License-Identifier: ISC */
/* `mirari socket run`: a program, and all it starts, with sockets of our stack.
 *
 *   mirari socket run ──┬── the program            in our process group, so the terminal is its own
 *     the supervisor    └── mirari-socketd         a group of its own; with --on somebody else's
 *
 * --via notify: the child installs the seccomp filter, tells us the number of its descriptor for
 * notifications, which we copy, and executes the program. From then on we serve its calls.
 * --via preload: the program gets the library and the way to the server in its environment, and we
 * only wait.
 *
 * We end when the program and everything it started have ended; what it leaves in the background
 * is our child (PR_SET_CHILD_SUBREAPER) and counts. Then a server of our own is asked until what
 * the program sent last has reached its peers, at most LINGER_MS, and is ended.
 *
 * Our exit status is the program's; if a signal ended it, the same signal ends us. Signals from the
 * terminal reach the program without us; others are forwarded. When only background processes are
 * left, the first signal is for all of them and the second kills them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/socket.h"
#include "cmd/mirari/socket_notify.h"

#define LINGER_MS     10000 /**< for what the program sent last */
#define END_MS        3000  /**< for the server to end, before it is killed */
#define WELCOME_MS    60000 /**< for the stack to start; DHCP takes its time */
#define OUTPUT_MAX    16384 /**< of what a private server prints, shown when it fails */
#define RULES_ENV     "MIRARI_SOCKET_RULES"
#define PRELOAD_NAME  "libmirari-socket.so"
#define EXIT_CANNOT   126
#define EXIT_NOTFOUND 127

struct session {
    const char *on; /**< NULL: a server of our own */
    bool is_preload, is_verbose;
    struct sock_rules rules;
    struct str rules_text;
    struct list options; /**< of the server */
    char **program;
    char *path;    /**< of the control socket */
    char *library; /**< of --via preload */
    int control;
    struct sock_welcome welcome;
    pid_t server; /**< 0: not ours, or ended */
    int output;   /**< what it prints; -1 */
    char said[OUTPUT_MAX];
    size_t said_len;
    pid_t child; /**< 0: has ended */
    int status;
    int signals;
    unsigned ends_asked;
    struct sup *sup; /**< of --via notify */
};

/* ---- options ----------------------------------------------------------------------------------
 */

static int take_server_option(struct session *s, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *equal = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    if (equal != NULL) {
        char *name = need_text(arg, (size_t)(equal - arg));
        list_add(&s->options, name);
        list_add(&s->options, equal + 1);
        free(name);
        return 0;
    }
    bool is_forward = strncmp(arg, "-p", 2) == 0;
    if (!is_forward && strncmp(arg, "--", 2) != 0) {
        static const char *const names[] = {"-v", "-p", "--on", "--via", "--rule", "--net", "--ip"};
        return usage_error("socket run", arg, names, LEN(names));
    }
    list_add(&s->options, is_forward ? "--forward" : arg);
    if (is_forward && arg[2] != '\0') {
        list_add(&s->options, arg + 2);
        return 0;
    }
    if (strcmp(arg, "--no-sandbox") == 0 ||
        (strcmp(arg, "--trace") == 0 && (*at + 1 >= argc || argv[*at + 1][0] == '-')))
        return 0;
    if (*at + 1 >= argc) {
        complain("socket run: option %s needs a value; write it after the option", arg);
        return EXIT_USAGE;
    }
    list_add(&s->options, argv[++*at]);
    return 0;
}

static int take_value(struct session *s, const char *name, const char *value)
{
    char why[200];
    if (value == NULL) {
        complain("socket run: option %s needs a value; write it after the option", name);
        return EXIT_USAGE;
    }
    if (strcmp(name, "--on") == 0) {
        s->on = value;
        return 0;
    }
    if (strcmp(name, "--via") == 0) {
        s->is_preload = strcmp(value, "preload") == 0;
        if (s->is_preload || strcmp(value, "notify") == 0)
            return 0;
        complain("socket run: --via \"%s\" is not known; take notify or preload", value);
        return EXIT_USAGE;
    }
    if (sock_rules_add(&s->rules, value, why, sizeof(why)) == 0) {
        str_format(&s->rules_text, "%s%s", s->rules_text.len > 0 ? ";" : "", value);
        return 0;
    }
    complain("socket run: --rule \"%s\": %s", value, why);
    return EXIT_USAGE;
}

static int parse(struct session *s, int argc, char **argv)
{
    static const char *const own[] = {"--on", "--via", "--rule"};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *arg = argv[i], *found = NULL;
        int r;
        if (strcmp(arg, "--") == 0) {
            i++;
            break;
        }
        for (size_t k = 0; k < LEN(own); k++) {
            size_t len = strlen(own[k]);
            if (strncmp(arg, own[k], len) == 0 && (arg[len] == '=' || arg[len] == '\0'))
                found = own[k];
        }
        if (found != NULL && arg[strlen(found)] == '=')
            r = take_value(s, found, arg + strlen(found) + 1);
        else if (found != NULL)
            r = take_value(s, found, i + 1 < argc ? argv[++i] : NULL);
        else if (strcmp(arg, "-v") == 0 || strcmp(arg, "--verbose") == 0)
            r = (s->is_verbose = true, 0);
        else
            r = take_server_option(s, argc, argv, &i);
        if (r != 0)
            return r;
    }
    if (i >= argc) {
        complain("socket run: no program; write it behind the options: mirari socket run -- curl "
                 "http://...");
        return EXIT_USAGE;
    }
    s->program = argv + i;
    if (s->on != NULL && s->options.count > 0) {
        complain("socket run: %s is an option of the server, and \"%s\" runs already; give it to "
                 "mirari socket serve",
                 s->options.item[0], s->on);
        return EXIT_USAGE;
    }
    return 0;
}

/* ---- the server -------------------------------------------------------------------------------
 */

/* What the server has printed, kept for the case that it fails; with -v it prints itself. */
static void read_output(struct session *s)
{
    char chunk[1024];
    ssize_t got;
    while (s->output >= 0 && (got = read(s->output, chunk, sizeof(chunk))) != 0) {
        if (got < 0)
            return;
        size_t len = (size_t)got;
        if (s->said_len + len > sizeof(s->said)) {
            size_t drop = s->said_len + len - sizeof(s->said);
            memmove(s->said, s->said + drop, s->said_len - drop);
            s->said_len -= drop;
        }
        memcpy(s->said + s->said_len, chunk, len);
        s->said_len += len;
    }
    if (s->output >= 0)
        close(s->output);
    s->output = -1;
}

static void show_output(struct session *s)
{
    read_output(s);
    fwrite(s->said, 1, s->said_len, stderr);
    s->said_len = 0;
}

static int start_server(struct session *s)
{
    char *name = need_format("run-%d", (int)getpid());
    int fds[2] = {-1, -1};
    s->path = socket_path(name);
    int listener = s->path != NULL ? socket_listen(s->path, false) : -1;
    if (listener < 0)
        return EXIT_FAIL;
    if (!s->is_verbose && pipe2(fds, O_CLOEXEC) != 0) {
        complain("socket run: cannot make a pipe: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    s->output = fds[0];
    if (s->output >= 0)
        (void)fcntl(s->output, F_SETFL, O_NONBLOCK);
    list_add(&s->options, "--name");
    list_add(&s->options, name);
    pid_t pid =
        socket_server_start(listener, s->options.item, s->is_verbose ? STDERR_FILENO : fds[1]);
    if (fds[1] >= 0)
        close(fds[1]);
    free(name);
    s->server = pid > 0 ? pid : 0;
    s->control = pid > 0 ? control_connect(s->path) : -1;
    close(listener);
    return pid > 0 ? 0 : EXIT_FAIL;
}

static void stop_server(struct session *s)
{
    if (s->server == 0)
        return;
    kill(s->server, SIGTERM);
    for (int waited = 0; waitpid(s->server, NULL, WNOHANG) == 0; waited += 10) {
        if (waited == END_MS)
            kill(s->server, SIGKILL);
        (void)poll(NULL, 0, 10);
    }
    s->server = 0;
}

static int find_server(struct session *s)
{
    int r = 0;
    if (s->on != NULL) {
        s->path = socket_path(s->on);
        if (s->path == NULL)
            return EXIT_FAIL;
        s->control = control_connect(s->path);
    } else {
        r = start_server(s);
    }
    if (r != 0)
        return r;
    if (s->control >= 0)
        r = control_greet(s->control, &s->welcome, WELCOME_MS);
    if (s->control >= 0 && r == 0)
        return 0;
    if (s->on != NULL) {
        complain("socket run: no server \"%s\": %s; start it: mirari socket serve --name %s", s->on,
                 strerror(s->control < 0 ? -s->control : -r), s->on);
    } else {
        show_output(s);
        complain("socket run: the server did not start%s%s", r == -ETIMEDOUT ? " in time" : "",
                 s->is_verbose ? "" : "; what it said stands above");
    }
    return EXIT_FAIL;
}

/* One page of the server's sockets into @message. Returns its bytes, or -1 when it has gone. */
static ssize_t ask_page(int control, uint32_t start, uint8_t *message, size_t size)
{
    enum { ID = UINT16_MAX };
    struct {
        struct sock_request head;
        struct sock_page page;
    } ask = {{.magic = SOCK_MAGIC, .op = SOCK_NETSTAT, .id = ID, .len = sizeof(struct sock_page)},
             {.start = start}};
    struct sock_response response;
    if (send(control, &ask, sizeof(ask), MSG_NOSIGNAL) != (ssize_t)sizeof(ask))
        return -1;
    for (;;) { /* answers to calls that nobody waits for any more may come first */
        ssize_t got = recv(control, message, size, 0);
        if (got < (ssize_t)(sizeof(response) + sizeof(struct sock_page)) && got <= 0)
            return -1;
        memcpy(&response, message, sizeof(response));
        if (response.id == ID && response.op == SOCK_NETSTAT)
            return response.error == 0 ? got : -1;
    }
}

/* True while something that the program sent is on its way. */
static bool is_sending(int control)
{
    enum { FIN_WAIT_1 = 5, CLOSING = 8, LAST_ACK = 9 }; /* enum mir_tcp_state */
    static uint8_t message[SOCK_MESSAGE_MAX];
    const size_t head = sizeof(struct sock_response) + sizeof(struct sock_page);
    struct sock_page page = {0};
    struct sock_netstat row;
    do {
        ssize_t got = ask_page(control, page.next, message, sizeof(message));
        if (got < (ssize_t)head)
            return false;
        memcpy(&page, message + sizeof(struct sock_response), sizeof(page));
        for (size_t i = 0; i < page.count && head + (i + 1) * sizeof(row) <= (size_t)got; i++) {
            memcpy(&row, message + head + i * sizeof(row), sizeof(row));
            if (row.type == SOCK_STREAM && row.state != SOCK_S_LISTENING &&
                (row.send_queue > 0 || row.tcp_state == FIN_WAIT_1 || row.tcp_state == CLOSING ||
                 row.tcp_state == LAST_ACK))
                return true;
        }
    } while (page.next != 0);
    return false;
}

static bool was_asked_to_end(const struct session *s)
{
    struct signalfd_siginfo info;
    return read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
           info.ssi_signo != SIGCHLD;
}

/* The program has ended; what it sent goes on, as with the kernel's stack. */
static void linger(struct session *s)
{
    int control = s->sup != NULL ? s->sup->control : s->control;
    if (s->server == 0 || control < 0)
        return;
    for (int waited = 0; waited < LINGER_MS && is_sending(control) && !was_asked_to_end(s);
         waited += 20)
        (void)poll(NULL, 0, 20);
}

/* ---- the program ------------------------------------------------------------------------------
 */

/* Where the library is: beside the tool in the tree, beside the libraries when installed. NULL
 * after a message: without it the program would run on the host's stack, and nobody would notice.
 */
static char *find_library(void)
{
    char *server = socket_server_program(), *found = NULL;
    char *slash = strrchr(server, '/');
    *(slash != NULL ? slash : server) = '\0';
    const char *const places[] = {"", "/../lib/mirari"};
    for (size_t i = 0; i < LEN(places) && found == NULL; i++) {
        found = need_format("%s%s/%s", server, places[i], PRELOAD_NAME);
        if (access(found, R_OK) != 0) {
            free(found);
            found = NULL;
        }
    }
    if (found == NULL)
        complain("socket run: no %s beside %s; run `make`, or `make install` again, or take --via "
                 "notify",
                 PRELOAD_NAME, server);
    free(server);
    return found;
}

static void set_preload(const struct session *s)
{
    const char *others = getenv("LD_PRELOAD");
    char *all = others != NULL && others[0] != '\0' ? need_format("%s:%s", s->library, others)
                                                    : need_text(s->library, strlen(s->library));
    setenv("LD_PRELOAD", all, 1);
    setenv(SOCK_ENV, s->path, 1);
    if (s->rules_text.len > 0)
        setenv(RULES_ENV, s->rules_text.data, 1);
}

__attribute__((noreturn)) static void execute(struct session *s)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execvp(s->program[0], s->program);
    int error = errno;
    complain("socket run: cannot execute \"%s\": %s", s->program[0], strerror(error));
    _exit(error == ENOENT ? EXIT_NOTFOUND : EXIT_CANNOT);
}

__attribute__((noreturn)) static void become_program(struct session *s, int tell, int go)
{
    char byte;
    if (s->is_preload) {
        set_preload(s);
        execute(s);
    }
    int fd = filter_install();
    /* read() and write() do not stop at the filter. */
    if (write(tell, &fd, sizeof(fd)) != (ssize_t)sizeof(fd) || fd < 0 || read(go, &byte, 1) != 1)
        _exit(EXIT_CANNOT);
    execute(s);
}

/* Copies the descriptor of the notifications out of the child. Returns it or -errno. */
static int fetch_notify(pid_t child, int from)
{
    int number = -EPROTO;
    if (read(from, &number, sizeof(number)) != (ssize_t)sizeof(number) || number < 0)
        return number < 0 ? number : -EPROTO;
    long pidfd = syscall(SYS_pidfd_open, child, 0);
    long fd = pidfd >= 0 ? syscall(SYS_pidfd_getfd, pidfd, number, 0) : -1;
    int error = errno;
    if (pidfd >= 0)
        close((int)pidfd);
    return fd >= 0 ? (int)fd : -error;
}

static void raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int watch_own(struct session *s, int notify)
{
    s->sup = need(sizeof(*s->sup));
    s->sup->signals = s->signals;
    s->sup->rules = s->rules;
    s->sup->is_private = s->on == NULL;
    s->sup->server_id = s->welcome.server;
    int r = sup_init(s->sup, notify, s->control, s->path);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = EVENT_SIGNAL};
    if (r == 0 && s->output >= 0 && epoll_ctl(s->sup->epoll, EPOLL_CTL_ADD, s->output, &event) != 0)
        r = -errno;
    return r;
}

static void explain_notify(int error)
{
    complain("socket run: cannot follow the program's calls: %s; %s", strerror(-error),
             error == -EBUSY
                 ? "this already runs under a supervisor, take --via preload"
                 : "the kernel must be 5.14 or newer with seccomp, or take --via preload");
}

static int start_program(struct session *s)
{
    int tell[2], go[2];
    if (pipe2(tell, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0) {
        complain("socket run: cannot make a pipe: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    fflush(NULL);
    s->child = fork();
    if (s->child == 0)
        become_program(s, tell[1], go[0]);
    close(tell[1]);
    close(go[0]);
    int r = s->child < 0 ? -errno : 0;
    if (r == 0 && !s->is_preload) {
        int notify = fetch_notify(s->child, tell[0]);
        raise_limits();
        r = notify < 0 ? notify : watch_own(s, notify);
        if (r == 0 && write(go[1], "", 1) != 1)
            r = -errno;
    }
    close(tell[0]);
    close(go[1]);
    if (r == 0)
        return 0;
    explain_notify(r);
    if (s->child > 0)
        waitpid(s->child, NULL, 0);
    s->child = 0;
    return EXIT_FAIL;
}

/* ---- signals and the end ----------------------------------------------------------------------
 */

/* Our children, without the server. @signal_number 0: only count them. */
static size_t signal_children(const struct session *s, int signal_number)
{
    char path[64];
    struct str text = {0};
    size_t count = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)gettid());
    if (file_read(path, 1 << 20, &text) == 0) {
        char *at = text.data, *end;
        for (long pid; (pid = strtol(at, &end, 10)) > 0; at = end) {
            if (pid == s->server)
                continue;
            count++;
            if (signal_number != 0)
                kill((pid_t)pid, signal_number);
        }
    }
    str_free(&text);
    return count;
}

static void reap(struct session *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid == s->child) {
            s->child = 0;
            s->status = status;
        } else if (pid == s->server) {
            s->server = 0;
            show_output(s);
        }
    }
}

static void forward(struct session *s, const struct signalfd_siginfo *info)
{
    int number = (int)info->ssi_signo;
    bool ends = number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
    if (s->child != 0) {
        if (info->ssi_code <= 0) /* not from the terminal, which knows our group */
            kill(s->child, number);
    } else if (ends) {
        signal_children(s, s->ends_asked++ > 0 ? SIGKILL : SIGTERM);
    }
}

static void read_signals(struct session *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            reap(s);
        else
            forward(s, &info);
    }
}

static int open_signals(struct session *s)
{
    static const int numbers[] = {SIGCHLD, SIGINT,  SIGTERM, SIGHUP,
                                  SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < LEN(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals >= 0 ? 0 : -errno;
}

static void follow(struct session *s)
{
    while (s->child != 0 || signal_children(s, 0) > 0) {
        if (s->sup != NULL && !s->sup->is_over) {
            sup_serve(s->sup);
        } else {
            struct pollfd fds[2] = {{.fd = s->signals, .events = POLLIN},
                                    {.fd = s->output, .events = POLLIN}};
            (void)poll(fds, 2, -1);
        }
        read_signals(s);
        read_output(s);
    }
}

/* As the program ended, so do we. */
static int pass_on_end(int status)
{
    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    struct rlimit none = {0};
    sigset_t set;
    setrlimit(RLIMIT_CORE, &none);
    signal(WTERMSIG(status), SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, WTERMSIG(status));
    raise(WTERMSIG(status));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 128 + WTERMSIG(status);
}

int cmd_socket_run(int argc, char **argv)
{
    struct session *s = need(sizeof(*s));
    s->control = s->output = -1;
    sock_rules_init(&s->rules);
    int r = parse(s, argc, argv);
    if (r != 0)
        return r;
    if (s->is_preload && (s->library = find_library()) == NULL)
        return EXIT_FAIL;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    r = find_server(s);
    if (r == 0 && open_signals(s) != 0)
        r = EXIT_FAIL;
    if (r == 0)
        r = start_program(s);
    if (r == 0) {
        follow(s);
        linger(s);
        if (s->sup != NULL && s->is_verbose)
            fprintf(stderr, "calls: %llu stopped, %llu of them for the kernel; requests: %llu\n",
                    (unsigned long long)s->sup->stat_calls,
                    (unsigned long long)s->sup->stat_continued,
                    (unsigned long long)s->sup->stat_requests);
        if (s->sup != NULL)
            sup_fini(s->sup);
    }
    stop_server(s);
    if (s->on == NULL && s->path != NULL)
        (void)unlink(s->path);
    return r != 0 ? r : pass_on_end(s->status);
}
