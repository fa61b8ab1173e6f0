/* SPDX-License-Identifier: ISC */
/* `mirari vchan` and regions: channels to virtual machines.
 *
 *   ivshmem            the server that machines (QEMU's ivshmem-doorbell) and processes come to
 *   listen connect ... where NAME is a region they are a peer of it; otherwise all is as between
 *                      processes
 *
 * A server of channels in a region offers one and waits for its client. Where clients are served by
 * processes, each is a peer of its own, which offers, and tells its parent when somebody came; the
 * next one begins then.
 *
 * A server that was started for a machine ends when nobody was there for a while: machines come
 * late, and whoever looks whether a server is there is a visitor as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vchan.h"
#include "dev/channel/memfd/place.h"

#define EMPTY_MS 10000

static const struct mir_vchan_config vchan_config = {0};

/* ---- one end, of either kind ------------------------------------------------------------------
 */

unsigned vchan_end_descriptors(const struct vchan_end *end, int fd[2])
{
    return end->is_region ? mir_ivshmem_peer_descriptors(&end->peer, fd)
                          : mir_memfd_descriptors(&end->memfd, fd);
}

void vchan_end_poll(struct vchan_end *end)
{
    if (end->is_region)
        mir_ivshmem_peer_poll(&end->peer);
    else
        mir_memfd_poll(&end->memfd);
}

bool vchan_is_region(const char *path)
{
    int sock;
    if (mir__place_connect(path, SOCK_STREAM, 0, &sock) < 0)
        return false;
    close(sock);
    return true;
}

/* Until something happens in the region, or a signal, or the time comes. Returns as poll(). */
static int doze(struct vchan_end *end, int timeout_ms)
{
    struct pollfd fds[2];
    int fd[2];
    unsigned count = mir_ivshmem_peer_descriptors(&end->peer, fd);
    for (unsigned i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    int n = poll(fds, count, timeout_ms);
    mir_ivshmem_peer_poll(&end->peer);
    return n;
}

static int join_region(const char *path, struct vchan_end *end)
{
    static const struct mir_ivshmem_peer_config config = {0};
    end->is_region = true;
    int r = mir_ivshmem_peer_join(&end->peer, path, 0, &config);
    if (r == 0)
        return 0;
    complain(r == -MIR_EPERM       ? "the region at \"%s\" does not let us in, or is full"
             : r == -MIR_ETIMEDOUT ? "the server of the region at \"%s\" does not answer"
             : r == -MIR_ENOTSUP   ? "the region at \"%s\" is of another version"
                                   : "what is at \"%s\" is no region of channels",
             path);
    return EXIT_FAIL;
}

int vchan_region_connect(const char *path, unsigned wait_s, struct vchan_end *end)
{
    mir_time_us deadline_us = mir_memfd_now() + wait_s * MIR_US_PER_S;
    if (join_region(path, end) != 0)
        return EXIT_FAIL;
    int r;
    while ((r = mir_region_take(&end->peer.region, &end->region)) == -MIR_EAGAIN) {
        mir_time_us now_us = mir_memfd_now();
        if (now_us >= deadline_us)
            break;
        (void)doze(end, (int)((deadline_us - now_us) / 1000 + 1));
    }
    if (r == 0) {
        r = mir_vchan_connect(&end->vchan, &end->region.channel, &vchan_config);
        if (r == 0)
            return 0;
    }
    complain(r == -MIR_EAGAIN ? "nobody offers a channel in the region at \"%s\"; --wait SECONDS "
                                "waits for a server"
             : r == -MIR_ENOTCONN ? "the server of the region at \"%s\" has gone"
             : r == -MIR_ECLOSED  ? "the server of the channel at \"%s\" has closed"
                                 : "the server of the channel at \"%s\" does not keep to the rules",
             path);
    mir_ivshmem_peer_leave(&end->peer);
    return EXIT_FAIL;
}

/* ---- servers of channels ----------------------------------------------------------------------
 */

/* Offer, and wait for a client. False: asked to stop, or the region is lost. */
static bool offer(struct vchan_end *end)
{
    int r;
    while ((r = mir_region_offer(&end->peer.region, &end->region)) == -MIR_ELIMIT)
        if (vchan_is_stopping() || (doze(end, -1) < 0 && vchan_is_stopping()))
            return false;
    if (r < 0 || mir_vchan_serve(&end->vchan, &end->region.channel, &vchan_config) < 0) {
        complain("the server of the region has gone");
        return false;
    }
    while (!mir_region_is_taken(&end->region) && !vchan_is_stopping() &&
           !end->region.channel.is_peer_gone)
        (void)doze(end, -1);
    if (mir_region_is_taken(&end->region))
        return true;
    mir_vchan_close(&end->vchan);
    return false;
}

int vchan_region_serve(const char *path, bool is_once, vchan_run *run, const void *options)
{
    static struct vchan_end end;
    int status = 0;
    if (join_region(path, &end) != 0)
        return EXIT_FAIL;
    while (!vchan_is_stopping() && offer(&end)) {
        vchan_signals(false);
        status = run(&end, options);
        if (is_once)
            break;
        vchan_signals(true);
    }
    mir_ivshmem_peer_leave(&end.peer);
    return status;
}

/* In a process of its own: one client. */
static int serve_one(const char *path, int taken, vchan_run *run, const void *options)
{
    static struct vchan_end end;
    end.is_quiet = true;
    if (join_region(path, &end) != 0 || !offer(&end) || write(taken, "", 1) != 1)
        return EXIT_FAIL;
    close(taken);
    vchan_signals(false);
    return run(&end, options);
}

int vchan_region_serve_many(const char *path, vchan_run *run, const void *options)
{
    unsigned children = 0;
    while (!vchan_is_stopping()) {
        int taken[2];
        char byte;
        while (children == VCHAN_CLIENTS_MAX && !vchan_is_stopping())
            children -= waitpid(-1, NULL, 0) > 0;
        if (vchan_is_stopping() || pipe2(taken, O_CLOEXEC) != 0)
            break;
        pid_t pid = fork();
        if (pid == 0) {
            close(taken[0]);
            _exit(serve_one(path, taken[1], run, options));
        }
        close(taken[1]);
        ssize_t n;
        while ((n = read(taken[0], &byte, 1)) < 0 && errno == EINTR && !vchan_is_stopping())
            ;
        close(taken[0]);
        children += pid > 0;
        if (n != 1 && pid > 0)
            (void)kill(pid, SIGTERM);
        if (n != 1)
            return vchan_is_stopping() ? 0 : EXIT_FAIL;
        while (children > 0 && waitpid(-1, NULL, WNOHANG) > 0)
            children--;
    }
    return 0;
}

/* ---- the server of a region -------------------------------------------------------------------
 */

struct region_options {
    const char *name;
    uint64_t bytes;
    unsigned slots, vectors, allow_uid;
    int ready_fd;
    bool is_any_user, has_uid, is_ending;
};

static bool allow(void *arg, uint32_t uid)
{
    const struct region_options *o = arg;
    return o->is_any_user || (o->has_uid && o->allow_uid == uid);
}

static bool read_size(const char *text, uint64_t *bytes)
{
    char *end = NULL;
    uint64_t value = text != NULL ? strtoull(text, &end, 10) : 0;
    unsigned shift = end == NULL ? 0 : *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    bool is_number = end != NULL && end != text && text[0] >= '0' && text[0] <= '9' &&
                     end[shift != 0] == '\0' && value <= MIR_REGION_BYTES_MAX >> shift;
    *bytes = value << shift;
    if (is_number && *bytes >= MIR_REGION_BYTES_MIN && (*bytes & (*bytes - 1)) == 0)
        return true;
    complain("vchan ivshmem: --size wants a power of two from 16K to 1G, as in --size 4M");
    return false;
}

static int parse_region(struct region_options *o, int argc, char **argv)
{
    static const char *const names[] = {"--size",      "--slots",     "--vectors",
                                        "--allow-any", "--allow-uid", "--until-empty"};
    for (int i = 1; i < argc; i++) {
        const char *text = argv[i];
        unsigned *value = strcmp(text, "--slots") == 0       ? &o->slots
                          : strcmp(text, "--vectors") == 0   ? &o->vectors
                          : strcmp(text, "--allow-uid") == 0 ? &o->allow_uid
                                                             : NULL;
        o->has_uid |= value == &o->allow_uid;
        if (strcmp(text, "--size") == 0) {
            if (!read_size(argv[++i], &o->bytes))
                return EXIT_USAGE;
        } else if (value != NULL) {
            if (!vchan_number("ivshmem", text, argv[++i], value))
                return EXIT_USAGE;
        } else if (strcmp(text, "--allow-any") == 0) {
            o->is_any_user = true;
        } else if (strcmp(text, "--until-empty") == 0) {
            o->is_ending = true;
        } else if (strncmp(text, "--ready=", 8) == 0) {
            o->ready_fd = atoi(text + 8);
        } else if (text[0] == '-' || o->name != NULL) {
            return usage_error("vchan ivshmem", text, names, LEN(names));
        } else {
            o->name = text;
        }
        if (i >= argc)
            break;
    }
    if (o->name != NULL)
        return 0;
    complain("vchan ivshmem: name a region; `mirari help vchan` has examples");
    return EXIT_USAGE;
}

static int open_server(const char *path, const struct region_options *o,
                       struct mir_ivshmem_server *server)
{
    const char *slash = strrchr(path, '/');
    char *name = need_format("%.31s", slash != NULL ? slash + 1 : path);
    const struct mir_ivshmem_server_config config = {
        .path = path,
        .name = name,
        .bytes = o->bytes,
        .slots = o->slots,
        .vectors = o->vectors,
        .allow = o->is_any_user || o->has_uid ? allow : NULL,
        .arg = (void *)(uintptr_t)o,
    };
    int r = mir_ivshmem_server_open(server, &config);
    free(name);
    if (r == 0)
        return 0;
    complain(r == -MIR_EADDRINUSE ? "a server listens at \"%s\" already"
             : r == -MIR_EEXIST   ? "\"%s\" is there and is no socket; choose another name"
             : r == -MIR_EINVAL
                 ? "\"%s\": the path is longer than 100 bytes, there are more than 8 "
                   "vectors or 32 slots, or the slots are too many for the size"
             : r == -MIR_ENOENT ? "\"%s\": no such folder"
             : r == -MIR_EPERM  ? "\"%s\": not permitted"
                                : "cannot listen at \"%s\"",
             path);
    return EXIT_FAIL;
}

int vchan_ivshmem(int argc, char **argv)
{
    static struct mir_ivshmem_server server;
    struct region_options o = {.ready_fd = -1};
    int r = parse_region(&o, argc, argv);
    if (r != 0)
        return r;
    char *path = vchan_path("ivshmem", o.name);
    if (path == NULL)
        return EXIT_USAGE;
    if (open_server(path, &o, &server) != 0)
        return EXIT_FAIL;
    (void)signal(SIGPIPE, SIG_IGN);
    vchan_signals(true);
    if (o.ready_fd >= 0) {
        bool is_told = write(o.ready_fd, "", 1) == 1;
        close(o.ready_fd);
        /* Whoever started us, and has ended, has left its standard error to us. */
        int null = is_told ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
        if (null >= 0)
            dup2(null, STDERR_FILENO);
    }
    while (!vchan_is_stopping()) {
        bool is_empty = o.is_ending && server.client_count == 0;
        if (mir_ivshmem_server_step(&server, is_empty ? EMPTY_MS : -1) == -MIR_ETIMEDOUT)
            break;
    }
    mir_ivshmem_server_close(&server);
    return 0;
}

int vchan_region_start(const char *path)
{
    int ready[2], status = 0;
    char byte;
    if (pipe2(ready, O_CLOEXEC) != 0) {
        complain("cannot make a pipe: %s; close other programs", strerror(errno));
        return EXIT_FAIL;
    }
    char *fd = need_format("--ready=%d", ready[1]);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() != 0)
            _exit(0);
        setsid();
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        fcntl(ready[1], F_SETFD, 0);
        execl("/proc/self/exe", "mirari", "vchan", "ivshmem", path, "--until-empty", fd,
              (char *)NULL);
        complain("cannot run myself: %s", strerror(errno));
        _exit(127);
    }
    close(ready[1]);
    free(fd);
    if (pid > 0)
        waitpid(pid, &status, 0);
    bool is_there = pid > 0 && read(ready[0], &byte, 1) == 1;
    close(ready[0]);
    /* Another one was faster: as good. */
    return is_there || vchan_is_region(path) ? 0 : EXIT_FAIL;
}
