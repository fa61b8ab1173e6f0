/* SPDX-License-Identifier: ISC */
/* `mirari socket`: servers of sockets, and what they say about themselves.
 *
 *   serve    makes the listening control socket, starts mirari-socketd with it as descriptor 3 and
 *            looks after it as `mirari run` does: it is in `mirari ps`, has a log, can be detached
 *   netstat, stats, stop   connect to a server as a client does and ask
 *
 * The control sockets are in the folder "socket" beside the state folders, NAME.sock. The socket is
 * there before the server is, so that nobody has to wait for it with a clock. One that a killed
 * server left refuses connections and is removed by the next serve of that name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/mirari/socket.h"
#include "cmd/mirari/vm.h"
#include "cmd/socket/proto.h"

#define BACKLOG 256

/* ---- finding ----------------------------------------------------------------------------------
 */

static char *socket_folder(void)
{
    struct state state;
    if (state_open(&state) != 0)
        return NULL;
    char *folder = path_join(state.base, "socket");
    if (mkdirat(state.base_fd, "socket", 0700) != 0 && errno != EEXIST) {
        complain("cannot make \"%s\": %s", folder, strerror(errno));
        free(folder);
        folder = NULL;
    }
    close(state.base_fd);
    free(state.base);
    return folder;
}

char *socket_path(const char *name)
{
    struct why why;
    if (strchr(name, '/') != NULL)
        return need_text(name, strlen(name));
    if (!valid_name(name, &why)) {
        complain("socket: name of a server: %s", why.text);
        return NULL;
    }
    char *folder = socket_folder();
    if (folder == NULL)
        return NULL;
    char *path = need_format("%s/%s.sock", folder, name);
    free(folder);
    return path;
}

/* A path longer than an address takes (107 bytes) goes through the folder's descriptor. */
static int with_address(const char *path, int fd,
                        int (*what)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int folder = -1, r;
    if (strlen(path) < sizeof(addr.sun_path)) {
        memcpy(addr.sun_path, path, strlen(path) + 1);
    } else {
        const char *name = strrchr(path, '/');
        char *parent = need_text(path, (size_t)(name - path));
        folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
        free(parent);
        if (folder < 0 || snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s",
                                   folder, name + 1) >= (int)sizeof(addr.sun_path)) {
            close(folder);
            errno = ENAMETOOLONG;
            return -1;
        }
    }
    r = what(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr));
    if (folder >= 0) {
        int error = errno;
        close(folder);
        errno = error;
    }
    return r;
}

/* A descriptor that is connected, or -errno. */
static int connect_path(const char *path)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && with_address(path, fd, connect) == 0)
        return fd;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return -error;
}

int socket_listen(const char *path, bool is_shared)
{
    int old = connect_path(path);
    if (old >= 0) {
        close(old);
        complain("socket: a server listens at \"%s\" already; take another --name, or end it: "
                 "mirari socket stop",
                 path);
        return -1;
    }
    if (old == -ECONNREFUSED)
        (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    mode_t before = umask(is_shared ? 0111 : 0177);
    bool is_bound = fd >= 0 && with_address(path, fd, bind) == 0;
    umask(before);
    if (is_bound && listen(fd, BACKLOG) == 0)
        return fd;
    complain("socket: cannot listen at \"%s\": %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

char *socket_server_program(void)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL)
        return need_text("mirari-socketd", 14);
    return need_format("%.*s/mirari-socketd", (int)(slash - self), self);
}

/* ---- starting ---------------------------------------------------------------------------------
 */

pid_t socket_server_start(int listen_fd, char *const *options, int output)
{
    struct list argv = {0};
    char *program = socket_server_program();
    list_add(&argv, program);
    for (size_t i = 0; options != NULL && options[i] != NULL; i++)
        list_add(&argv, options[i]);
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        complain("cannot start a process: %s; close other programs", strerror(errno));
    if (pid != 0)
        return pid;
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    for (int number = 1; number < 32; number++)
        signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (listen_fd == 3)
        fcntl(3, F_SETFD, 0);
    else
        dup2(listen_fd, 3);
    setenv("LISTEN_FDS", "1", 1);
    unsetenv("LISTEN_PID");
    if (getppid() == parent)
        execv(program, argv.item);
    dprintf(STDERR_FILENO, "mirari: cannot execute \"%s\": %s; install it beside mirari\n", program,
            strerror(errno));
    _exit(126);
}

static int usage(void)
{
    fprintf(stderr, "usage: mirari socket run [--on NAME] [OPTION ...] -- PROGRAM [ARGUMENT ...]\n"
                    "       mirari socket serve [--name NAME] [-d] [--allow-uid N] [OPTION ...]\n"
                    "       mirari socket netstat|stats|stop [NAME]\n");
    return EXIT_USAGE;
}

struct serve {
    const char *name;
    bool detach;
    struct str uids;
    struct list options;
};

static int read_serve(struct serve *serve, int argc, char **argv)
{
    struct why why;
    for (int i = 1; i < argc; i++) {
        bool is_name = strcmp(argv[i], "--name") == 0;
        if (is_name || strcmp(argv[i], "--allow-uid") == 0) {
            int64_t uid;
            if (i + 1 == argc) {
                complain("socket serve: option %s needs a value; write it after the option",
                         argv[i]);
                return EXIT_USAGE;
            }
            const char *value = argv[++i];
            if (is_name ? !valid_name(value, &why) : !valid_int(value, &uid, &why) || uid < 0) {
                complain("socket serve: %s \"%s\" %s", argv[i - 1], value, why.text);
                return EXIT_USAGE;
            }
            if (is_name)
                serve->name = value;
            else
                str_format(&serve->uids, "%s%s", serve->uids.len > 0 ? "," : "", value);
        } else if (strcmp(argv[i], "-d") == 0 || strcmp(argv[i], "--detach") == 0) {
            serve->detach = true;
        } else {
            list_add(&serve->options, argv[i]);
        }
    }
    return 0;
}

static int cmd_serve(int argc, char **argv)
{
    struct serve serve = {.name = "sockets"};
    struct run *run = need(sizeof(*run));
    int r = read_serve(&serve, argc, argv);
    if (r != 0)
        return r;
    char *path = socket_path(serve.name);
    if (path == NULL)
        return EXIT_FAIL;
    run->common.target = "unix";
    run->manifest.name = need_text(serve.name, strlen(serve.name));
    run->manifest.folder = need_text(".", 1);
    char *program = socket_server_program();
    list_add(&run->argv, program);
    list_add(&run->argv, "--name");
    list_add(&run->argv, serve.name);
    if (serve.uids.len > 0) {
        list_add(&run->argv, "--allow-uid");
        list_add(&run->argv, serve.uids.data);
    }
    for (size_t i = 0; i < serve.options.count; i++)
        list_add(&run->argv, serve.options.item[i]);
    run->listen_fd = socket_listen(path, serve.uids.len > 0);
    if (run->listen_fd < 0)
        return EXIT_FAIL;
    run->listen_path = path;
    return serve.detach ? run_detached(run) : look_after(run, -1);
}

/* ---- asking -----------------------------------------------------------------------------------
 */

/* That of a `run` that was killed: the name has its number, and comes once. */
static bool is_left_over(const char *name)
{
    char *end;
    long pid = strncmp(name, "run-", 4) == 0 ? strtol(name + 4, &end, 10) : 0;
    return pid > 0 && strcmp(end, ".sock") == 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* The one server whose socket takes connections: of `serve` or, as run-PID, of `run`. */
static char *only_server(void)
{
    char *folder = socket_folder(), *found = NULL;
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    struct str names = {0};
    size_t count = 0;
    for (struct dirent *item; dir != NULL && (item = readdir(dir)) != NULL;) {
        size_t len = strlen(item->d_name);
        if (len < 6 || strcmp(item->d_name + len - 5, ".sock") != 0)
            continue;
        char *path = path_join(folder, item->d_name);
        int fd = connect_path(path);
        if (fd >= 0) {
            close(fd);
            str_format(&names, " %.*s", (int)(len - 5), item->d_name);
            found = count++ == 0 ? path : found;
        } else if (is_left_over(item->d_name)) {
            (void)unlink(path);
        }
    }
    if (dir != NULL)
        closedir(dir);
    if (folder != NULL && count == 0)
        complain("no socket server is running; start one: mirari socket serve");
    if (count > 1)
        complain("%zu socket servers are running; name one of them:%s", count, names.data);
    str_free(&names);
    free(folder);
    return count == 1 ? found : NULL;
}

/* Ask and wait. Returns the bytes of the body in @answer, or -1 after a message. */
static int ask(int fd, enum sock_op op, const void *body, size_t len, struct str *answer)
{
    struct sock_request head = {
        .magic = SOCK_MAGIC, .op = (uint16_t)op, .id = 1, .len = (uint32_t)len};
    struct sock_response response;
    struct str message = {0};
    static char buffer[SOCK_MESSAGE_MAX];
    str_add(&message, &head, sizeof(head));
    str_add(&message, body != NULL ? body : "", len);
    ssize_t got = -1;
    if (send(fd, message.data, message.len, MSG_NOSIGNAL) == (ssize_t)message.len)
        got = recv(fd, buffer, sizeof(buffer), 0);
    str_free(&message);
    if (got < (ssize_t)sizeof(response)) {
        complain("the socket server has ended the connection%s%s; see its log", got < 0 ? ": " : "",
                 got < 0 ? strerror(errno) : "");
        return -1;
    }
    memcpy(&response, buffer, sizeof(response));
    if (response.magic != SOCK_MAGIC || response.error != 0) {
        complain("the socket server refuses: %s", response.magic != SOCK_MAGIC
                                                      ? "it speaks another version"
                                                      : strerror(-response.error));
        return -1;
    }
    answer->len = 0;
    str_add(answer, buffer + sizeof(response), (size_t)got - sizeof(response));
    return (int)answer->len;
}

int socket_admin(const char *name)
{
    char *path = name != NULL ? socket_path(name) : only_server();
    struct sock_hello hello = {.via = SOCK_VIA_ADMIN, .pid = (uint32_t)getpid()};
    struct str answer = {0};
    if (path == NULL)
        return -1;
    int fd = connect_path(path);
    if (fd < 0)
        complain("no socket server at \"%s\": %s; start one: mirari socket serve", path,
                 strerror(-fd));
    free(path);
    if (fd >= 0 && ask(fd, SOCK_HELLO, &hello, sizeof(hello), &answer) < 0) {
        close(fd);
        fd = -1;
    }
    str_free(&answer);
    return fd;
}

/* Every entry of a paged list. */
static int each(int fd, enum sock_op op, size_t size, void (*show)(const void *entry))
{
    struct sock_page page = {0};
    struct str answer = {0};
    do {
        if (ask(fd, op, &page, sizeof(page), &answer) < (int)sizeof(page))
            return EXIT_FAIL;
        memcpy(&page, answer.data, sizeof(page));
        if (answer.len != sizeof(page) + page.count * size)
            return EXIT_FAIL;
        for (uint32_t i = 0; i < page.count; i++)
            show(answer.data + sizeof(page) + i * size);
        page.start = page.next;
    } while (page.next != 0);
    str_free(&answer);
    return 0;
}

static void show_stat(const void *entry)
{
    struct sock_stat stat;
    memcpy(&stat, entry, sizeof(stat));
    printf("%-40.48s %llu\n", stat.name, (unsigned long long)stat.value);
}

static void address_text(const struct sock_addr *addr, char *out, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "*";
    static const uint8_t any[16];
    if (addr->family == AF_UNSPEC) {
        snprintf(out, size, "-");
        return;
    }
    if (memcmp(addr->ip, any, sizeof(any)) != 0)
        inet_ntop(addr->family, addr->ip, ip, sizeof(ip));
    snprintf(out, size, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u", ip, addr->port);
}

static void show_socket(const void *entry)
{
    static const char *const states[] = {"new",        "bound",     "listening",
                                         "connecting", "connected", "ended"};
    static const char *const tcp[] = {"CLOSED",      "LISTEN",     "SYN_SENT",   "SYN_RECV",
                                      "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2", "CLOSE_WAIT",
                                      "CLOSING",     "LAST_ACK",   "TIME_WAIT"};
    static const char *const via[] = {"-", "notify", "preload", "admin"};
    struct sock_netstat s;
    char local[64], peer[64];
    memcpy(&s, entry, sizeof(s));
    address_text(&s.names.local, local, sizeof(local));
    address_text(&s.names.peer, peer, sizeof(peer));
    bool is_tcp = s.type == SOCK_STREAM;
    const char *state = s.state < LEN(states) ? states[s.state] : "?";
    if (is_tcp && s.tcp_state != 0 && s.tcp_state < LEN(tcp))
        state = tcp[s.tcp_state];
    printf("%-4s %8u %8u %-30s %-30s %-12s %7u %s\n", is_tcp ? "tcp" : "udp", s.recv_queue,
           s.send_queue, local, peer, state, s.pid, s.via < LEN(via) ? via[s.via] : "?");
}

static int cmd_ask(int argc, char **argv)
{
    bool is_netstat = strcmp(argv[0], "netstat") == 0;
    if (argc > 2 || (argc == 2 && argv[1][0] == '-'))
        return usage();
    int fd = socket_admin(argc == 2 ? argv[1] : NULL), r;
    if (fd < 0)
        return EXIT_FAIL;
    if (is_netstat) {
        printf("%-4s %8s %8s %-30s %-30s %-12s %7s %s\n", "", "RECV-Q", "SEND-Q", "LOCAL", "PEER",
               "STATE", "PID", "VIA");
        r = each(fd, SOCK_NETSTAT, sizeof(struct sock_netstat), show_socket);
    } else if (strcmp(argv[0], "stats") == 0) {
        r = each(fd, SOCK_STATS, sizeof(struct sock_stat), show_stat);
    } else {
        struct str answer = {0};
        char byte;
        r = ask(fd, SOCK_STOP, NULL, 0, &answer) < 0 ? EXIT_FAIL : 0;
        while (r == 0 && recv(fd, &byte, 1, 0) > 0) /* 0: it has gone */
            ;
    }
    close(fd);
    return r;
}

int cmd_socket(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"run", cmd_socket_run},
                    {"serve", cmd_serve},
                    {"netstat", cmd_ask},
                    {"stats", cmd_ask},
                    {"stop", cmd_ask}};
    for (size_t i = 0; argc >= 2 && i < LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc >= 2)
        complain("socket: no subcommand \"%s\"", argv[1]);
    return usage();
}
