/* SPDX-License-Identifier: ISC */
/* vchan between processes: meeting, streams, death of either end, users, servers and clients that
 * do not keep to the rules. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dev/channel/memfd/internal.h"
#include "test/harness/children.h"
#include "test/harness/tap.h"

#define SOON (mir_memfd_now() + 20 * MIR_US_PER_S)

static char folder[64], path[96];
static struct mir_memfd_listener listener;
static const struct mir_memfd_config config = {.spin_us = 20};
static const struct mir_vchan_config rings = {.read_bytes = 65536, .write_bytes = 4096};
static uint8_t data[1 << 20];

struct end {
    struct mir_memfd memfd;
    struct mir_vchan vchan;
};

static bool allow_all(void *arg, uint32_t uid)
{
    (void)arg;
    (void)uid;
    return true;
}

static void start_listening(bool for_all)
{
    const struct mir_memfd_listen_config listen = {.path = path,
                                                   .allow = for_all ? allow_all : NULL};
    check_int(mir_memfd_listen(&listener, &listen), ==, 0);
}

static int await_client(struct end *end)
{
    struct pollfd fd = {.fd = mir_memfd_listener_fd(&listener), .events = POLLIN};
    if (poll(&fd, 1, 20000) != 1)
        return -MIR_ETIMEDOUT;
    int r = mir_memfd_accept(&listener, &config, &end->memfd);
    return r < 0 ? r : mir_vchan_serve(&end->vchan, &end->memfd.channel, &rings);
}

static int come(struct end *end)
{
    int r = mir_memfd_connect(path, SOON, &config, &end->memfd);
    return r < 0 ? r : mir_vchan_connect(&end->vchan, &end->memfd.channel, &rings);
}

static int get(struct end *end, void *to, size_t len, size_t *n)
{
    int r = mir_memfd_wait(&end->memfd, &end->vchan, MIR_VCHAN_READABLE, SOON);
    return r < 0 ? r : mir_vchan_read(&end->vchan, to, len, n);
}

static int put_all(struct end *end, const uint8_t *from, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        int r = mir_memfd_wait(&end->memfd, &end->vchan, MIR_VCHAN_WRITABLE, SOON);
        r = r < 0 ? r : mir_vchan_write(&end->vchan, from + at, len - at, &n);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Sends back all it gets, until the end. */
static void be_echo(void)
{
    static struct end end;
    size_t n = 0;
    int r = come(&end);
    while (r == 0 && (r = get(&end, data, sizeof(data), &n)) == 0)
        r = put_all(&end, data, n);
    if (r == -MIR_EEOF)
        mir_vchan_close(&end.vchan);
    _exit(r == -MIR_EEOF ? 0 : 1);
}

/* ---- streams ------------------------------------------------------------------------------------
 */

static void test_echo(void)
{
    static struct end end;
    static uint8_t back[sizeof(data)];
    size_t sent = 0, read = 0, n;
    int before = open_descriptors();
    tap_case("1 MiB to another process and back");
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + (i >> 9));
    start_listening(false);
    pid_t pid = child_start(be_echo);
    check_int(await_client(&end), ==, 0);
    check_int(mir_memfd_peer_pid(&end.memfd), ==, pid);
    check_int(mir_memfd_peer_uid(&end.memfd), ==, getuid());
    check(end.memfd.bell >= 0);
    while (read < sizeof(data)) {
        unsigned wishes = MIR_VCHAN_READABLE | (sent < sizeof(data) ? MIR_VCHAN_WRITABLE : 0u);
        if (!check_int(mir_memfd_wait(&end.memfd, &end.vchan, wishes, SOON), ==, 0))
            break;
        if (sent < sizeof(data) &&
            mir_vchan_write(&end.vchan, data + sent, sizeof(data) - sent, &n) == 0)
            sent += n;
        if (mir_vchan_read(&end.vchan, back + read, sizeof(back) - read, &n) == 0)
            read += n;
    }
    check_mem(back, data, sizeof(data));
    tap_case("an orderly end");
    mir_vchan_close(&end.vchan);
    check_int(child_result(pid), ==, 0);
    mir_memfd_listener_close(&listener);
    check(access(path, F_OK) != 0);
    check_int(open_descriptors(), ==, before);
}

static void test_deadline(void)
{
    static struct end end;
    size_t n;
    tap_case("a wait ends at its deadline and sleeps until then");
    start_listening(false);
    pid_t pid = child_start(be_echo);
    check_int(await_client(&end), ==, 0);
    check_int(put_all(&end, data, 10), ==, 0);
    for (size_t have = 0; have < 10; have += n)
        if (get(&end, data, 100, &n) != 0)
            break;
    mir_time_us before_us = mir_memfd_now();
    check_int(mir_memfd_wait(&end.memfd, &end.vchan, MIR_VCHAN_READABLE, before_us + 30000), ==,
              -MIR_ETIMEDOUT);
    check(mir_memfd_now() - before_us >= 30000);
    check(end.memfd.stats.sleeps > 0);
    mir_vchan_close(&end.vchan);
    check_int(child_result(pid), ==, 0);
    mir_memfd_listener_close(&listener);
}

/* ---- death --------------------------------------------------------------------------------------
 */

static void be_killed(void)
{
    static struct end end;
    if (come(&end) == 0 && put_all(&end, (const uint8_t *)"last words", 10) == 0)
        kill(getpid(), SIGKILL);
}

static void test_client_killed(void)
{
    static struct end end;
    size_t n, have = 0;
    char text[16];
    int r = 0;
    tap_case("a client that is killed: its last bytes, then a reset");
    start_listening(false);
    pid_t pid = child_start(be_killed);
    check_int(await_client(&end), ==, 0);
    while (r == 0 && (r = get(&end, text + have, sizeof(text) - have, &n)) == 0)
        have += n;
    check_int(have, ==, 10);
    check_mem(text, "last words", 10);
    check_int(r, ==, -MIR_ECONNRESET);
    check_int(mir_vchan_write(&end.vchan, "x", 1, &n), ==, -MIR_ECLOSED);
    check_int(child_result(pid), ==, -1);
    mir_vchan_close(&end.vchan);
    tap_case("and the next client finds nothing of it");
    pid = child_start(be_echo);
    check_int(await_client(&end), ==, 0);
    check_int(put_all(&end, data, 100), ==, 0);
    check_int(get(&end, data, 100, &n), ==, 0);
    mir_vchan_close(&end.vchan);
    check_int(child_result(pid), ==, 0);
    mir_memfd_listener_close(&listener);
}

static void serve_and_die(void)
{
    static struct end end;
    size_t n;
    start_listening(false);
    if (await_client(&end) == 0 && get(&end, data, 1, &n) == 0 &&
        put_all(&end, (const uint8_t *)"bye", 3) == 0)
        kill(getpid(), SIGKILL);
}

static void test_server_killed(void)
{
    static struct end end;
    size_t n;
    tap_case("a server that is killed; its successor takes the name");
    for (int round = 0; round < 2; round++) {
        pid_t pid =
            child_start(serve_and_die); /* the name is there from the last one: waited for */
        struct stat st;
        while (round == 0 && stat(path, &st) != 0)
            usleep(1000);
        int r = -MIR_ECONNREFUSED;
        for (mir_time_us until_us = SOON; r == -MIR_ECONNREFUSED && mir_memfd_now() < until_us;)
            r = come(&end);
        check_int(r, ==, 0);
        check_int(put_all(&end, data, 1), ==, 0);
        check_int(get(&end, data, 3, &n), ==, 0);
        check_mem(data, "bye", 3);
        check_int(get(&end, data, 3, &n), ==, -MIR_ECONNRESET);
        mir_vchan_close(&end.vchan);
        check_int(child_result(pid), ==, -1);
    }
    tap_case("nobody there: refused at once, or after the deadline");
    check_int(mir_memfd_connect(path, 0, &config, &end.memfd), ==, -MIR_ECONNREFUSED);
    unlink(path);
    check_int(mir_memfd_connect(path, mir_memfd_now() + 15000, &config, &end.memfd), ==,
              -MIR_ENOENT);
}

/* ---- who may come -------------------------------------------------------------------------------
 */

static void test_busy(void)
{
    static struct end end;
    struct mir_memfd_listener other;
    const struct mir_memfd_listen_config same = {.path = path};
    struct pollfd fd;
    tap_case("a name that is in use");
    start_listening(false);
    check_int(mir_memfd_listen(&other, &same), ==, -MIR_EADDRINUSE);
    while (mir_memfd_refuse(&listener) == 0)
        ;
    tap_case("a server that takes no more");
    pid_t pid = fork();
    if (pid == 0)
        _exit(come(&end) == -MIR_EBUSY ? 0 : 1);
    fd = (struct pollfd){.fd = mir_memfd_listener_fd(&listener), .events = POLLIN};
    poll(&fd, 1, 20000);
    check_int(mir_memfd_refuse(&listener), ==, 0);
    check_int(child_result(pid), ==, 0);
    check_int(mir_memfd_accept(&listener, &config, &end.memfd), ==, -MIR_EAGAIN);
    mir_memfd_listener_close(&listener);
    tap_case("a file is not replaced by a socket");
    char file[120];
    struct stat st;
    snprintf(file, sizeof(file), "%s/file", folder);
    int fd_of_file = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    check(fd_of_file >= 0 && write(fd_of_file, "precious", 8) == 8);
    close(fd_of_file);
    const struct mir_memfd_listen_config at_file = {.path = file};
    check_int(mir_memfd_listen(&other, &at_file), ==, -MIR_EEXIST);
    check(lstat(file, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 8);
    check_int(unlink(file), ==, 0);
    tap_case("a lock of the folder that somebody keeps does not stop a server");
    int locked = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    check(locked >= 0 && flock(locked, LOCK_EX | LOCK_NB) == 0);
    check_int(mir_memfd_listen(&other, &same), ==, 0);
    mir_memfd_listener_close(&other);
    close(locked);
    tap_case("paths that cannot be");
    const struct mir_memfd_listen_config none = {.path = "/nonexistent/folder/name"};
    check_int(mir_memfd_listen(&other, &none), ==, -MIR_ENOENT);
    char lengthy[200];
    memset(lengthy, 'x', sizeof(lengthy));
    lengthy[sizeof(lengthy) - 1] = '\0';
    const struct mir_memfd_listen_config too_long = {.path = lengthy};
    check_int(mir_memfd_listen(&other, &too_long), ==, -MIR_EINVAL);
}

/* Another user, without eventfds: the socket is the bell. */
static void be_nobody(void)
{
    if (setgid(65534) != 0 || setuid(65534) != 0)
        _exit(98);
    be_echo();
}

static void be_nobody_refused(void)
{
    static struct end end;
    if (setgid(65534) != 0 || setuid(65534) != 0)
        _exit(98);
    _exit(come(&end) == -MIR_EPERM ? 0 : 1);
}

static void test_users(void)
{
    static struct end end;
    size_t n, have = 0;
    tap_case("another user that is allowed: no eventfds, the same stream");
    if (geteuid() != 0) {
        tap_skip("needs root to become another user");
        return;
    }
    chmod(folder, 0755);
    start_listening(true);
    pid_t pid = child_start(be_nobody);
    check_int(await_client(&end), ==, 0);
    check_int(mir_memfd_peer_uid(&end.memfd), ==, 65534);
    check_int(end.memfd.bell, ==, -1);
    for (unsigned i = 0; i < 5; i++) {
        check_int(put_all(&end, data, 50000), ==, 0);
        for (have = 0; have < 50000; have += n)
            if (!check_int(get(&end, data, sizeof(data), &n), ==, 0))
                break;
    }
    mir_vchan_close(&end.vchan);
    check_int(child_result(pid), ==, 0);
    mir_memfd_listener_close(&listener);
    tap_case("another user that is not");
    start_listening(false);
    chmod(path, 0666); /* the kernel would not let it come so far */
    pid = child_start(be_nobody_refused);
    struct pollfd fd = {.fd = mir_memfd_listener_fd(&listener), .events = POLLIN};
    poll(&fd, 1, 20000);
    check_int(mir_memfd_accept(&listener, &config, &end.memfd), ==, -MIR_EAGAIN);
    check_int(listener.refused, ==, 1);
    check_int(child_result(pid), ==, 0);
    mir_memfd_listener_close(&listener);
}

/* ---- lies ---------------------------------------------------------------------------------------
 */

static int meet_a_liar(const struct mir__memfd_welcome *welcome, size_t bytes, int memory,
                       unsigned fds)
{
    static struct end end;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    check_int(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    check_int(listen(fd, 1), ==, 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(-come(&end));
    int client = accept(fd, NULL, NULL);
    const int three[3] = {memory, memory, memory};
    if (bytes == sizeof(*welcome))
        check_int(mir__memfd_welcome(client, welcome, three, fds), ==, 0);
    else
        check_int(send(client, welcome, bytes, 0), ==, bytes);
    close(client);
    close(fd);
    unlink(path);
    return child_result(pid);
}

static void test_liars(void)
{
    const struct mir__memfd_welcome good = {
        .magic = MIR_MEMFD_MAGIC, .version = MEET_VERSION, .pages = 4, .page_ref = 0};
    struct mir__memfd_welcome bad = good;
    int memory = memfd_create("liar", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    check_int(ftruncate(memory, 4 * 4096), ==, 0);
    tap_case("a server that could cut off its memory is refused");
    check_int(meet_a_liar(&good, sizeof(good), memory, 3), ==, MIR_EPROTO);
    check_int(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
    tap_case("sealed, but what it shows is no channel");
    check_int(meet_a_liar(&good, sizeof(good), memory, 3), ==, MIR_EPROTO);
    check_int(meet_a_liar(&good, sizeof(good), memory, 1), ==, MIR_EPROTO);
    tap_case("messages that are none");
    check_int(meet_a_liar(&good, sizeof(good) - 1, -1, 0), ==, MIR_EPROTO);
    check_int(meet_a_liar(&good, sizeof(good), memory, 0), ==, MIR_EPROTO);
    check_int(meet_a_liar(&good, sizeof(good), memory, 2), ==, MIR_EPROTO);
    bad.magic[0] = 'X';
    check_int(meet_a_liar(&bad, sizeof(bad), memory, 3), ==, MIR_EPROTO);
    bad = good;
    bad.version = 2;
    check_int(meet_a_liar(&bad, sizeof(bad), memory, 3), ==, MIR_EPROTO);
    bad = good;
    bad.status = -MIR_ERR_MAX - 5;
    check_int(meet_a_liar(&bad, sizeof(bad), memory, 0), ==, MIR_EPROTO);
    tap_case("sizes that are not those of the memory");
    static const uint32_t pages[] = {0, 3, 5, 515, 0xffffffff};
    bad = good;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        bad.pages = pages[i];
        check_int(meet_a_liar(&bad, sizeof(bad), memory, 3), ==, MIR_EPROTO);
    }
    tap_case("a first page that does not exist");
    bad = good;
    bad.page_ref = 4;
    check_int(meet_a_liar(&bad, sizeof(bad), memory, 3), ==, MIR_EINVAL);
    close(memory);
}

static void flood(void)
{
    static struct end end;
    if (come(&end) != 0)
        _exit(1);
    for (unsigned i = 0; i < 5000; i++) /* nobody hears all of them */
        end.memfd.channel.ops->notify(&end.memfd.channel);
    _exit(0);
}

static void test_flood(void)
{
    static struct end end;
    size_t n;
    tap_case("a peer that rings without end and dies");
    start_listening(false);
    pid_t pid = child_start(flood);
    check_int(await_client(&end), ==, 0);
    check_int(get(&end, data, 1, &n), ==, -MIR_ECONNRESET);
    check_int(child_result(pid), ==, 0);
    mir_vchan_close(&end.vchan);
    mir_memfd_listener_close(&listener);
}

int main(void)
{
    tap_begin("vchan_memfd");
    strcpy(folder, "/tmp/mirari-vchan-test-XXXXXX");
    check(mkdtemp(folder) != NULL);
    snprintf(path, sizeof(path), "%s/name", folder);
    test_echo();
    test_deadline();
    test_client_killed();
    test_server_killed();
    test_busy();
    test_users();
    test_liars();
    test_flood();
    rmdir(folder);
    return tap_done();
}
