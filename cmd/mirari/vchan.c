/* SPDX-License-Identifier: ISC */
/* `mirari vchan`: channels between processes, and to virtual machines, from the command line.
 *
 *   listen connect cat   standard input and output, or those of a command, joined to a channel
 *   proxy                TCP and Unix sockets to channels and back
 *   ivshmem              regions, where virtual machines come too (vchan_region.c)
 *   ls stat              what is there (vchan_list.c)
 *   bench                how fast (vchan_bench.c)
 *
 * A NAME is a socket in the folder `vchan` of the user's running appliances; with a slash it is a
 * path. Each client of a server that is not one's own terminal is served by a process of its own,
 * so one that hangs or lies holds up nobody; their number is limited.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"

static volatile sig_atomic_t is_stopping;

struct vchan_options {
    const char *name, *to;
    char **command; /* NULL: our own input and output */
    bool is_listening, is_once, is_kept, is_any_user, is_region;
    unsigned wait_s, linger_s;
    uint32_t allow_uid;
    bool has_uid;
};

static const struct mir_memfd_config memfd_config = {.spin_us = MIR_MEMFD_SPIN_US};
static const struct mir_vchan_config vchan_config = {0};

/* ---- names --------------------------------------------------------------------------------------
 */

char *vchan_folder(void)
{
    struct state state;
    if (state_open(&state) != 0)
        return NULL;
    char *folder = path_join(state.base, "vchan");
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        complain("folder \"%s\": %s", folder, strerror(errno));
        return NULL;
    }
    close(state.base_fd);
    return folder;
}

char *vchan_path(const char *command, const char *name)
{
    struct why why;
    if (strchr(name, '/') != NULL)
        return need_text(name, strlen(name));
    if (!valid_label(name, &why)) {
        complain("vchan %s: \"%s\": %s", command, name, why.text);
        return NULL;
    }
    char *folder = vchan_folder();
    return folder != NULL ? path_join(folder, name) : NULL;
}

/* ---- making channels ----------------------------------------------------------------------------
 */

static bool allow(void *arg, uint32_t uid)
{
    const struct vchan_options *options = arg;
    return options->is_any_user || (options->has_uid && options->allow_uid == uid);
}

static int listen_at(const char *path, struct vchan_options *options,
                     struct mir_memfd_listener *listener)
{
    const struct mir_memfd_listen_config config = {
        .path = path,
        .allow = options->is_any_user || options->has_uid ? allow : NULL,
        .arg = options};
    int r = mir_memfd_listen(listener, &config);
    if (r == 0)
        return 0;
    complain(r == -MIR_EADDRINUSE ? "a server listens at \"%s\" already"
             : r == -MIR_EEXIST   ? "\"%s\" is there and is no socket; choose another name"
             : r == -MIR_EINVAL   ? "\"%s\" is too long for the path of a socket; choose a shorter "
                                    "name, or set XDG_RUNTIME_DIR"
             : r == -MIR_ENOENT   ? "\"%s\": no such folder"
             : r == -MIR_EPERM    ? "\"%s\": not permitted"
                                  : "cannot listen at \"%s\"",
             path);
    return EXIT_FAIL;
}

int vchan_connect(const char *path, unsigned wait_s, struct vchan_end *end)
{
    mir_time_us deadline_us = mir_memfd_now() + wait_s * MIR_US_PER_S;
    end->is_region = false;
    int r = mir_memfd_connect(path, deadline_us, &memfd_config, &end->memfd);
    if (r == 0) {
        r = mir_vchan_connect(&end->vchan, &end->memfd.channel, &vchan_config);
        if (r < 0)
            end->memfd.channel.ops->close(&end->memfd.channel);
    }
    if (r == 0)
        return 0;
    if (r == -MIR_ENOTSUP)
        return vchan_region_connect(path, wait_s, end);
    complain(r == -MIR_ENOENT || r == -MIR_ECONNREFUSED
                 ? "nobody listens at \"%s\"; --wait SECONDS waits for a server"
             : r == -MIR_EPERM     ? "the server at \"%s\" does not let this user in"
             : r == -MIR_EBUSY     ? "the server at \"%s\" has as many clients as it takes"
             : r == -MIR_ETIMEDOUT ? "the server at \"%s\" does not answer"
             : r == -MIR_ECLOSED   ? "the server at \"%s\" has closed"
                                   : "what is at \"%s\" is no server of channels",
             path);
    return EXIT_FAIL;
}

static bool serve(struct vchan_end *end)
{
    int r = mir_vchan_serve(&end->vchan, &end->memfd.channel, &vchan_config);
    if (r == 0)
        return true;
    if (r != -MIR_EIO)
        complain("cannot serve a client: %s", mir_strerror(r));
    end->memfd.channel.ops->close(&end->memfd.channel);
    return false;
}

/* ---- commands -----------------------------------------------------------------------------------
 */

/* Join a channel to a command's input and output; its exit status is ours. */
static int join_command(struct vchan_end *end, char **command)
{
    int pair[2], status = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        complain("cannot make a pair of sockets: %s", strerror(errno));
        return EXIT_FAIL;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)signal(SIGPIPE, SIG_DFL);
        if (dup2(pair[1], STDIN_FILENO) < 0 || dup2(pair[1], STDOUT_FILENO) < 0)
            _exit(126);
        execvp(command[0], command);
        complain("cannot run \"%s\": %s", command[0], strerror(errno));
        _exit(127);
    }
    close(pair[1]);
    end->in = end->out = pair[0];
    end->is_socket = true;
    int result = vchan_join(end);
    close(pair[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return EXIT_FAIL;
    return result != 0 ? result : WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAIL;
}

static int join(struct vchan_end *end, const void *arg)
{
    const struct vchan_options *options = arg;
    if (options->command != NULL)
        return join_command(end, options->command);
    end->in = STDIN_FILENO;
    end->out = STDOUT_FILENO;
    end->is_kept = options->is_kept;
    end->linger_s = options->linger_s;
    return vchan_join(end);
}

static int run_client(const struct vchan_options *options)
{
    static struct vchan_end end;
    char *path = vchan_path("connect", options->name);
    if (path == NULL)
        return EXIT_USAGE;
    int r = vchan_connect(path, options->wait_s, &end);
    return r != 0 ? r : join(&end, options);
}

/* ---- servers ------------------------------------------------------------------------------------
 */

static void on_signal(int number)
{
    if (number != SIGCHLD)
        is_stopping = 1;
}

/* A signal must end a poll(), not a join. */
void vchan_signals(bool are_noticed)
{
    const struct sigaction action = {.sa_handler = are_noticed ? on_signal : SIG_DFL};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
}

bool vchan_is_stopping(void)
{
    return is_stopping != 0;
}

static unsigned reap(unsigned children)
{
    while (children > 0 && waitpid(-1, NULL, WNOHANG) > 0)
        children--;
    return children;
}

static bool is_readable(int fd)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, -1) > 0;
}

/* Clients one after the other at our own input and output. */
static int serve_here(struct mir_memfd_listener *listener, const struct vchan_options *options)
{
    static struct vchan_end end;
    int status = 0;
    while (!is_stopping) {
        if (!is_readable(mir_memfd_listener_fd(listener)) ||
            mir_memfd_accept(listener, &memfd_config, &end.memfd) != 0)
            continue;
        if (options->is_once)
            mir_memfd_listener_close(listener);
        if (!serve(&end))
            continue;
        vchan_signals(false);
        status = join(&end, options);
        if (options->is_once)
            return status;
        vchan_signals(true);
    }
    return status;
}

/* Each client by a process, which does @run with it. */
static int serve_many(struct mir_memfd_listener *listener, struct vchan_options *options,
                      vchan_run *run)
{
    static struct vchan_end end;
    unsigned children = 0;
    while (!is_stopping) {
        bool is_there = is_readable(mir_memfd_listener_fd(listener));
        children = reap(children);
        if (!is_there)
            continue;
        if (children == VCHAN_CLIENTS_MAX) {
            (void)!mir_memfd_refuse(listener);
            continue;
        }
        if (mir_memfd_accept(listener, &memfd_config, &end.memfd) != 0)
            continue;
        pid_t pid = fork();
        if (pid == 0) {
            vchan_signals(false);
            close(mir_memfd_listener_fd(listener));
            end.is_quiet = true;
            _exit(serve(&end) ? run(&end, options) : EXIT_FAIL);
        }
        children += pid > 0;
        end.memfd.channel.ops->close(&end.memfd.channel);
    }
    return 0;
}

static int run_server(struct vchan_options *options)
{
    struct mir_memfd_listener listener;
    char *path = vchan_path("listen", options->name);
    if (path == NULL)
        return EXIT_USAGE;
    if (options->is_region && !vchan_is_region(path) && vchan_region_start(path) != 0)
        return EXIT_FAIL;
    vchan_signals(true);
    bool is_many = options->command != NULL && !options->is_once;
    if (vchan_is_region(path))
        return is_many ? vchan_region_serve_many(path, join, options)
                       : vchan_region_serve(path, options->is_once, join, options);
    if (listen_at(path, options, &listener) != 0)
        return EXIT_FAIL;
    int status = is_many ? serve_many(&listener, options, join) : serve_here(&listener, options);
    mir_memfd_listener_close(&listener);
    return status;
}

/* ---- proxy --------------------------------------------------------------------------------------
 */

static bool starts(const char *text, const char *with, const char **rest)
{
    size_t len = strlen(with);
    if (strncmp(text, with, len) != 0 || text[len] == '\0')
        return false;
    *rest = text + len;
    return true;
}

static int unix_socket(const char *path, bool is_listening)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *where = (const struct sockaddr *)(const void *)&address;
    if (is_listening && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        (void)unlink(path);
    int r = is_listening ? bind(fd, where, sizeof(address)) : connect(fd, where, sizeof(address));
    if (r == 0 && (!is_listening || listen(fd, 16) == 0))
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* [HOST:]PORT; without a host this machine only. */
static int tcp_socket(const char *where, bool is_listening)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = is_listening ? AI_PASSIVE : 0};
    struct addrinfo *list = NULL;
    const char *colon = strrchr(where, ':');
    char *host = colon != NULL ? need_text(where, (size_t)(colon - where)) : NULL;
    if (host != NULL && host[0] == '[' && strlen(host) > 2) { /* [::1] */
        host[strlen(host) - 1] = '\0';
        host++;
    }
    int fd = -1, one = 1;
    if (getaddrinfo(host != NULL ? host : "127.0.0.1", colon != NULL ? colon + 1 : where, &hints,
                    &list) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    for (struct addrinfo *item = list; item != NULL && fd < 0; item = item->ai_next) {
        fd = socket(item->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        int r = is_listening ? bind(fd, item->ai_addr, item->ai_addrlen)
                             : connect(fd, item->ai_addr, item->ai_addrlen);
        if (r != 0 || (is_listening && listen(fd, 16) != 0)) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

static int open_socket(const char *where, bool is_listening)
{
    const char *rest;
    int fd = -1;
    if (starts(where, "tcp:", &rest))
        fd = tcp_socket(rest, is_listening);
    else if (starts(where, "unix:", &rest))
        fd = unix_socket(rest, is_listening);
    if (fd < 0)
        complain("cannot %s %s: %s", is_listening ? "listen at" : "connect to", where,
                 strerror(errno));
    return fd;
}

static int join_socket(struct vchan_end *end, int fd, const struct vchan_options *options)
{
    end->in = end->out = fd;
    end->is_socket = true;
    end->linger_s = options->linger_s;
    int status = vchan_join(end);
    (void)shutdown(fd, SHUT_WR);
    close(fd);
    return status;
}

static int to_socket(struct vchan_end *end, const void *arg)
{
    const struct vchan_options *options = arg;
    int fd = open_socket(options->to, false);
    if (fd >= 0)
        return join_socket(end, fd, options);
    mir_vchan_close(&end->vchan);
    return EXIT_FAIL;
}

/* A socket's clients, each by a process that connects to the channel. */
static int from_socket(int listener, const char *path, const struct vchan_options *options)
{
    static struct vchan_end end;
    unsigned children = 0;
    while (!is_stopping) {
        bool is_there = is_readable(listener);
        children = reap(children);
        int fd = is_there ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        pid_t pid = children < VCHAN_CLIENTS_MAX ? fork() : -1;
        if (pid == 0) {
            vchan_signals(false);
            close(listener);
            end.is_quiet = true;
            _exit(vchan_connect(path, options->wait_s, &end) == 0 ? join_socket(&end, fd, options)
                                                                  : EXIT_FAIL);
        }
        children += pid > 0;
        close(fd);
    }
    return 0;
}

static int run_proxy(struct vchan_options *options)
{
    struct mir_memfd_listener listener;
    const char *from = options->name, *name;
    bool is_from = starts(from, "vchan:", &name);
    if (is_from == starts(options->to, "vchan:", is_from ? &(const char *){NULL} : &name)) {
        complain("vchan proxy: one side is vchan:NAME, the other one tcp:[HOST:]PORT or unix:PATH");
        return EXIT_USAGE;
    }
    char *path = vchan_path("proxy", name);
    if (path == NULL)
        return EXIT_USAGE;
    vchan_signals(true);
    if (is_from && vchan_is_region(path))
        return vchan_region_serve_many(path, to_socket, options);
    if (is_from) {
        if (listen_at(path, options, &listener) != 0)
            return EXIT_FAIL;
        int status = serve_many(&listener, options, to_socket);
        mir_memfd_listener_close(&listener);
        return status;
    }
    int fd = open_socket(from, true);
    if (fd < 0)
        return EXIT_FAIL;
    int status = from_socket(fd, path, options);
    close(fd);
    if (starts(from, "unix:", &name))
        (void)unlink(name);
    return status;
}

/* ---- command line -------------------------------------------------------------------------------
 */

bool vchan_number(const char *command, const char *option, const char *text, unsigned *value)
{
    char *end;
    unsigned long n = text != NULL ? strtoul(text, &end, 10) : 0;
    if (text != NULL && text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= 0xffffffffu) {
        *value = (unsigned)n;
        return true;
    }
    complain("vchan %s: %s wants a number", command, option);
    return false;
}

/* One option at argv[*at]. Returns 1 taken, 0 not one, -1 bad (complained). */
static int option(struct vchan_options *o, const char *command, char **argv, int *at)
{
    const char *text = argv[*at];
    bool *flag = strcmp(text, "-l") == 0 || strcmp(text, "--listen") == 0 ? &o->is_listening
                 : strcmp(text, "--once") == 0                            ? &o->is_once
                 : strcmp(text, "-k") == 0 || strcmp(text, "--keep") == 0 ? &o->is_kept
                 : strcmp(text, "--region") == 0                          ? &o->is_region
                 : strcmp(text, "--allow-any") == 0                       ? &o->is_any_user
                                                                          : NULL;
    unsigned *value = strcmp(text, "-w") == 0 || strcmp(text, "--wait") == 0     ? &o->wait_s
                      : strcmp(text, "-q") == 0 || strcmp(text, "--linger") == 0 ? &o->linger_s
                      : strcmp(text, "--allow-uid") == 0                         ? &o->allow_uid
                                                                                 : NULL;
    if (flag != NULL) {
        *flag = true;
        return 1;
    }
    if (value == NULL)
        return 0;
    o->has_uid |= value == &o->allow_uid;
    return vchan_number(command, text, argv[++*at], value) ? 1 : -1;
}

static int parse(struct vchan_options *o, int argc, char **argv)
{
    static const char *const names[] = {"--listen", "--once",   "--keep",      "--allow-any",
                                        "--wait",   "--linger", "--allow-uid", "--region"};
    const char *command = argv[0];
    bool is_proxy = strcmp(command, "proxy") == 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0 && i + 1 < argc && !is_proxy) {
            o->command = argv + i + 1;
            break;
        }
        int r = option(o, command, argv, &i);
        if (r < 0)
            return EXIT_USAGE;
        if (r > 0)
            continue;
        if (argv[i][0] == '-' || (o->name != NULL && (o->to != NULL || !is_proxy)))
            return usage_error("vchan", argv[i], names, LEN(names));
        *(o->name == NULL ? &o->name : &o->to) = argv[i];
    }
    if (o->name != NULL && (o->to != NULL || !is_proxy))
        return 0;
    complain("vchan %s: %s; `mirari help vchan` has examples", command,
             is_proxy ? "name two sides" : "name a channel");
    return EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    struct vchan_options options = {.is_listening = strcmp(argv[0], "listen") == 0};
    bool is_proxy = strcmp(argv[0], "proxy") == 0, is_cat = strcmp(argv[0], "cat") == 0;
    options.linger_s = is_proxy ? 10 : 0;
    options.is_once = is_cat;
    int r = parse(&options, argc, argv);
    if (r != 0)
        return r;
    (void)signal(SIGPIPE, SIG_IGN);
    return is_proxy               ? run_proxy(&options)
           : options.is_listening ? run_server(&options)
                                  : run_client(&options);
}

int cmd_vchan(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"listen", run},      {"connect", run},           {"cat", run},
                    {"proxy", run},       {"ivshmem", vchan_ivshmem}, {"ls", vchan_ls},
                    {"stat", vchan_stat}, {"bench", vchan_bench}};
    const char *names[LEN(commands)];
    for (size_t i = 0; i < LEN(commands); i++) {
        names[i] = commands[i].name;
        if (argc > 1 && strcmp(argv[1], names[i]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (argc > 1)
        return usage_error("vchan", argv[1], names, LEN(names));
    complain("vchan: listen, connect, cat, proxy, ivshmem, ls, stat or bench? `mirari help vchan` "
             "tells");
    return EXIT_USAGE;
}
