/* SPDX-License-Identifier: ISC */
/* Regions of shared memory and the ivshmem server: slots by all rules, boards that lie, channels
 * between processes of a region, deaths of each party, clients and servers that do not keep to the
 * protocol. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mirari/vchan.h>

#include "dev/channel/ivshmem_host/ivshmem.h"
#include "dev/channel/memfd/memfd.h"
#include "test/harness/children.h"
#include "test/harness/tap.h"

#define SOON  (mir_memfd_now() + 20 * MIR_US_PER_S)
#define BYTES ((uint64_t)1 << 20)

static char folder[64], path[96];
static const struct mir_vchan_config rings = {.read_bytes = 65536, .write_bytes = 4096};
static uint8_t data[1 << 20];

/* ---- slots, in one process --------------------------------------------------------------------
 */

static _Alignas(4096) uint8_t memory[BYTES];
static struct mir_region region[3];
static unsigned rung[3];

static void count_ring(void *arg, uint32_t peer)
{
    (void)arg;
    if (peer < 3)
        rung[peer]++;
}

static void make_region(uint32_t slots)
{
    memset(memory, 0, sizeof(memory));
    memset(rung, 0, sizeof(rung));
    check_int(mir_region_make(memory, sizeof(memory), slots, "test"), ==, 0);
    for (uint32_t i = 0; i < 3; i++) {
        const struct mir_region_config config = {
            .memory = memory, .bytes = sizeof(memory), .self = i, .ring = count_ring};
        check_int(mir_region_admit(memory, i, 100 + i), ==, 0);
        check_int(mir_region_open(&region[i], &config), ==, 0);
    }
}

static bool is_all_free(void)
{
    const struct mir_region_board *board = (const void *)memory;
    uint64_t used = 0;
    for (unsigned i = 0; i < MIR_REGION_SLOTS_MAX; i++)
        used |= board->slot[i].word & 0xff;
    return used == 0;
}

static void test_slots(void)
{
    static struct mir_region_end server, client, other;
    static struct mir_vchan a, b;
    char text[8];
    tap_case("a server offers, a client takes, both speak and close");
    make_region(2);
    check_int(mir_region_take(&region[1], &client), ==, -MIR_EAGAIN);
    check_int(mir_region_offer(&region[0], &server), ==, 0);
    check_int(mir_region_take(&region[1], &client), ==, -MIR_EAGAIN);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check(rung[1] == 1 && rung[2] == 1 && rung[0] == 0);
    check(!mir_region_is_taken(&server));
    check_int(mir_region_take(&region[0], &other), ==, -MIR_EAGAIN);
    check_int(mir_region_take(&region[1], &client), ==, 0);
    check_int(mir_region_take(&region[2], &other), ==, -MIR_EAGAIN);
    check(mir_region_is_taken(&server));
    check_int(mir_region_peer(&server), ==, 1);
    check_int(mir_region_peer(&client), ==, 0);
    check_int(mir_vchan_connect(&b, &client.channel, &rings), ==, 0);
    check_int(mir_vchan_send(&b, "hello", 5), ==, 0);
    check(mir_region_poll(&region[0]));
    check(!mir_region_poll(&region[0]));
    check_int(mir_vchan_recv(&a, text, 5), ==, 0);
    check_mem(text, "hello", 5);
    check_int(mir_vchan_send(&a, "bye", 3), ==, 0);
    mir_vchan_close(&a);
    mir_region_heard(&region[1]);
    check_int(mir_vchan_recv(&b, text, 3), ==, 0);
    check_int(mir_vchan_recv(&b, text, 1), ==, -MIR_EEOF);
    check(!is_all_free());
    mir_vchan_close(&b);
    check(is_all_free());

    tap_case("slots are limited, and free again");
    check_int(mir_region_offer(&region[0], &server), ==, 0);
    check_int(mir_region_offer(&region[1], &client), ==, 0);
    check_int(mir_region_offer(&region[2], &other), ==, -MIR_ELIMIT);
    server.channel.ops->close(&server.channel);
    check_int(mir_region_offer(&region[2], &other), ==, 0);
    mir_region_close(&region[1]);
    mir_region_close(&region[2]);
    check(is_all_free());
}

static void test_deaths(void)
{
    static struct mir_region_end server, client;
    static struct mir_vchan a, b;
    char text[8];
    tap_case("a client that dies: what it wrote, then a reset");
    make_region(2);
    check_int(mir_region_offer(&region[0], &server), ==, 0);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check_int(mir_region_take(&region[1], &client), ==, 0);
    check_int(mir_vchan_connect(&b, &client.channel, &rings), ==, 0);
    check_int(mir_vchan_send(&b, "last", 4), ==, 0);
    check_int(mir_region_bury(memory, 1), ==, 1);
    mir_region_heard(&region[0]);
    check_int(mir_vchan_recv(&a, text, 4), ==, 0);
    check_int(mir_vchan_recv(&a, text, 1), ==, -MIR_ECONNRESET);
    mir_vchan_close(&a);
    check(is_all_free());

    tap_case("a server that dies before a client came, and one that has one");
    check_int(mir_region_offer(&region[0], &server), ==, 0);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check_int(mir_region_bury(memory, 0), ==, 1);
    check(is_all_free());
    mir_vchan_close(&a);
    check_int(mir_region_offer(&region[2], &server), ==, 0);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check_int(mir_region_take(&region[0], &client), ==, 0);
    check_int(mir_region_bury(memory, 2), ==, 1);
    check_int(mir_vchan_connect(&b, &client.channel, &rings), ==, 0);
    mir_region_heard(&region[0]);
    check_int(mir_vchan_recv(&b, text, 1), ==, -MIR_ECONNRESET);
    mir_vchan_close(&b);
    check(is_all_free());
    mir_vchan_close(&a);

    tap_case("whoever is late does not touch what is another's by now");
    check_int(mir_region_offer(&region[0], &server), ==, 0);
    check_int(mir_vchan_serve(&a, &server.channel, &rings), ==, 0);
    check_int(mir_region_bury(memory, 0), ==, 1);
    static struct mir_region_end fresh;
    check_int(mir_region_offer(&region[0], &fresh), ==, 0);
    mir_region_heard(&region[0]);
    check(server.channel.is_peer_gone);
    mir_vchan_close(&a);
    check(!is_all_free());
    check(!fresh.channel.is_peer_gone);
    mir_region_close(&region[0]);
    check(is_all_free());
}

static void test_boards(void)
{
    struct mir_region_board *board = (void *)memory;
    static struct mir_region_end end;
    struct mir_region_config config = {
        .memory = memory, .bytes = sizeof(memory), .self = 1, .ring = count_ring};
    tap_case("boards that cannot be");
    make_region(4);
    board->magic[0] = 'X';
    check_int(mir_region_open(&region[1], &config), ==, -MIR_EPROTO);
    make_region(4);
    board->version = 2;
    check_int(mir_region_open(&region[1], &config), ==, -MIR_ENOTSUP);
    make_region(4);
    board->slot_count = MIR_REGION_SLOTS_MAX + 1;
    check_int(mir_region_open(&region[1], &config), ==, -MIR_EPROTO);
    make_region(4);
    board->slot_pages = 0xffffffff;
    check_int(mir_region_open(&region[1], &config), ==, -MIR_EPROTO);
    make_region(4);
    board->slot_first = 0;
    check_int(mir_region_open(&region[1], &config), ==, -MIR_EPROTO);
    make_region(4);
    config.bytes = 8192;
    check_int(mir_region_open(&region[1], &config), ==, -MIR_EPROTO);
    check_int(mir_region_make(memory, 3 << 14, 1, "x"), ==, -MIR_EINVAL);
    check_int(mir_region_make(memory, sizeof(memory), 33, "x"), ==, -MIR_EINVAL);

    tap_case("sizes are read once, references stay in their slot, words are only looked at");
    make_region(4);
    check_int(mir_region_offer(&region[0], &end), ==, 0);
    uint32_t first = 1, refs[3] = {0, 64, 1u << 31};
    uint32_t good[2] = {first, first + 1}, gap[2] = {first, first + 2}, last[2] = {63, 64};
    void *at;
    board->slot_pages = board->pages = 0xffffffff;
    for (unsigned i = 0; i < 3; i++)
        check_int(end.channel.ops->map(&end.channel, &refs[i], 1, &at), ==, -MIR_EINVAL);
    check_int(end.channel.ops->map(&end.channel, good, 2, &at), ==, 0);
    check(at == memory + 4096);
    check_int(end.channel.ops->map(&end.channel, gap, 2, &at), ==, -MIR_EINVAL);
    check_int(end.channel.ops->map(&end.channel, last, 2, &at), ==, -MIR_EINVAL);
    check_int(end.channel.ops->share(&end.channel, 64, refs, &at), ==, -MIR_ELIMIT);
    mir_region_close(&region[0]);
    uint64_t seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        struct mir_region_end *ends = calloc(2, sizeof(*ends));
        for (unsigned k = 0; k < 4; k++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            if (seed >> 62)
                board->slot[k].word = seed >> 7;
            board->peer[k].number = (uint32_t)(seed >> 29);
        }
        bool is_offered = mir_region_offer(&region[0], &ends[0]) == 0;
        bool is_taken = mir_region_take(&region[0], &ends[1]) == 0;
        board->slot[i & 3].word = seed;
        mir_region_heard(&region[0]);
        if (is_offered)
            ends[0].channel.ops->notify(&ends[0].channel);
        (void)mir_region_bury(memory, (uint32_t)(seed & 7));
        mir_region_close(&region[0]);
        check(!(is_offered && ends[0].is_open) && !(is_taken && ends[1].is_open));
        free(ends);
    }
}

/* ---- processes ---------------------------------------------------------------------------------
 */

struct end {
    struct mir_ivshmem_peer peer;
    struct mir_region_end region;
    struct mir_vchan vchan;
};

static pid_t server_pid;

static void start_server(void)
{
    int ready[2];
    char byte;
    if (!check(pipe(ready) == 0))
        return;
    server_pid = fork();
    if (server_pid == 0) {
        static struct mir_ivshmem_server server;
        const struct mir_ivshmem_server_config config = {
            .path = path, .name = "test", .slots = 4, .vectors = 2};
        int r = mir_ivshmem_server_open(&server, &config);
        if (r < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        while (mir_ivshmem_server_step(&server, -1) != -MIR_EIO)
            ;
        _exit(0);
    }
    close(ready[1]);
    check_int(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
}

static void stop_server(void)
{
    kill(server_pid, SIGKILL);
    (void)child_result(server_pid);
}

static int join(struct end *end)
{
    static const struct mir_ivshmem_peer_config none = {0};
    memset(end, 0, sizeof(*end));
    return mir_ivshmem_peer_join(&end->peer, path, SOON, &none);
}

/* Sleep until something happens in the region. */
static bool doze(struct end *end)
{
    struct pollfd fds[2];
    int fd[2];
    unsigned count = mir_ivshmem_peer_descriptors(&end->peer, fd);
    for (unsigned i = 0; i < count; i++)
        fds[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
    bool is_any = poll(fds, count, 20000) > 0;
    mir_ivshmem_peer_poll(&end->peer);
    return is_any;
}

static int serve(struct end *end)
{
    int r = mir_region_offer(&end->peer.region, &end->region);
    return r < 0 ? r : mir_vchan_serve(&end->vchan, &end->region.channel, &rings);
}

static int come(struct end *end)
{
    int r;
    while ((r = mir_region_take(&end->peer.region, &end->region)) == -MIR_EAGAIN)
        if (!doze(end))
            return -MIR_ETIMEDOUT;
    return r < 0 ? r : mir_vchan_connect(&end->vchan, &end->region.channel, &rings);
}

static int wait_for(struct end *end, unsigned wishes)
{
    while (!mir_vchan_arm(&end->vchan, wishes))
        if (!doze(end))
            return -MIR_ETIMEDOUT;
    return 0;
}

static void be_echo(void)
{
    static struct end end;
    size_t n = 0, put;
    int r = join(&end);
    r = r < 0 ? r : come(&end);
    while (r == 0) {
        r = wait_for(&end, MIR_VCHAN_READABLE);
        r = r < 0 ? r : mir_vchan_read(&end.vchan, data, sizeof(data), &n);
        for (size_t at = 0; r == 0 && at < n; at += put) {
            r = wait_for(&end, MIR_VCHAN_WRITABLE);
            r = r < 0 ? r : mir_vchan_write(&end.vchan, data + at, n - at, &put);
        }
    }
    mir_vchan_close(&end.vchan);
    mir_ivshmem_peer_leave(&end.peer);
    _exit(r == -MIR_EEOF ? 0 : 1);
}

static void be_killed(void)
{
    static struct end end;
    if (join(&end) == 0 && come(&end) == 0 && mir_vchan_send(&end.vchan, "last words", 10) == 0)
        kill(getpid(), SIGKILL);
    _exit(1);
}

static void test_echo(void)
{
    static struct end end;
    static uint8_t back[sizeof(data)];
    size_t sent = 0, got = 0, n;
    int before = open_descriptors();
    tap_case("1 MiB to another process of the region and back");
    start_server();
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + (i >> 9));
    check_int(join(&end), ==, 0);
    check_int(serve(&end), ==, 0);
    pid_t pid = child_start(be_echo);
    while (got < sizeof(data)) {
        unsigned wishes = MIR_VCHAN_READABLE | (sent < sizeof(data) ? MIR_VCHAN_WRITABLE : 0u);
        if (!check_int(wait_for(&end, wishes), ==, 0))
            break;
        if (sent < sizeof(data) &&
            mir_vchan_write(&end.vchan, data + sent, sizeof(data) - sent, &n) == 0)
            sent += n;
        if (mir_vchan_read(&end.vchan, back + got, sizeof(back) - got, &n) == 0)
            got += n;
    }
    check_mem(back, data, sizeof(data));
    check(mir_region_is_taken(&end.region));
    mir_vchan_close(&end.vchan);
    check_int(child_result(pid), ==, 0);

    tap_case("a client that is killed; the next one comes");
    for (unsigned i = 0; i < 3; i++) {
        char text[16];
        int r = 0;
        check_int(serve(&end), ==, 0);
        pid = child_start(be_killed);
        for (got = 0; r == 0 && got < sizeof(text);) {
            r = wait_for(&end, MIR_VCHAN_READABLE);
            r = r < 0 ? r : mir_vchan_read(&end.vchan, text + got, sizeof(text) - got, &n);
            got += r == 0 ? n : 0;
        }
        check_int(got, ==, 10);
        check_int(r, ==, -MIR_ECONNRESET);
        check_int(child_result(pid), ==, -1);
        mir_vchan_close(&end.vchan);
    }

    tap_case("the server is killed: everybody loses its peers");
    check_int(serve(&end), ==, 0);
    pid = child_start(be_echo);
    while (!mir_region_is_taken(&end.region) && doze(&end))
        ;
    stop_server();
    check_int(wait_for(&end, MIR_VCHAN_READABLE), ==, 0);
    /* Its peer, which is told as well, may have been faster and closed the channel. */
    int r = mir_vchan_read(&end.vchan, data, 1, &n);
    check(r == -MIR_ECONNRESET || r == -MIR_EEOF);
    while (mir_ivshmem_peer_descriptors(&end.peer, (int[2]){0}) == 2 && doze(&end))
        ;
    check_int(mir_region_offer(&end.peer.region, &end.region), ==, -MIR_ENOTCONN);
    check_int(child_result(pid), ==, 1);
    mir_vchan_close(&end.vchan);
    mir_ivshmem_peer_leave(&end.peer);
    mir_ivshmem_peer_leave(&end.peer);
    check_int(open_descriptors(), ==, before);
}

/* ---- those who do not keep to the protocol ----------------------------------------------------
 */

static int connect_raw(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_int(connect(fd, (const struct sockaddr *)(const void *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Until the end of file, whatever comes before. */
static bool is_ended(int fd)
{
    char bytes[64];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (poll(&ready, 1, 20000) == 1)
        if (recv(fd, bytes, sizeof(bytes), 0) <= 0)
            return true;
    return false;
}

static void test_clients(void)
{
    static struct end end, late;
    int fd[MIR_REGION_PEERS_MAX];
    tap_case("clients that speak, that are silent, that are too many");
    start_server();
    check_int(join(&end), ==, 0);
    fd[0] = connect_raw();
    check_int(send(fd[0], "hello", 5, MSG_NOSIGNAL), ==, 5);
    check(is_ended(fd[0]));
    close(fd[0]);
    /* Silent ones: each holds a place until it goes. */
    for (unsigned i = 0; i + 1 < MIR_REGION_PEERS_MAX; i++)
        fd[i] = connect_raw();
    int r = 0;
    for (unsigned i = 0; i < 100 && r == 0; i++) {
        r = join(&late);
        mir_ivshmem_peer_leave(&late.peer);
    }
    check_int(r, ==, -MIR_EPERM);
    for (unsigned i = 0; i + 1 < MIR_REGION_PEERS_MAX; i++)
        close(fd[i]);
    while ((r = join(&late)) == -MIR_EPERM)
        ;
    check_int(r, ==, 0);
    mir_ivshmem_peer_leave(&late.peer);
    check_int(serve(&end), ==, 0);
    mir_vchan_close(&end.vchan);
    mir_ivshmem_peer_leave(&end.peer);

    tap_case("a place that is in use, a server of another kind");
    static struct mir_ivshmem_server second;
    const struct mir_ivshmem_server_config config = {.path = path, .name = "x"};
    check_int(mir_ivshmem_server_open(&second, &config), ==, -MIR_EADDRINUSE);
    struct mir_memfd_listener listener;
    const struct mir_memfd_listen_config listen = {.path = path};
    const struct mir_memfd_config memfd = {0};
    static struct mir_memfd client;
    check_int(mir_memfd_listen(&listener, &listen), ==, -MIR_EADDRINUSE);
    check_int(mir_memfd_connect(path, 0, &memfd, &client), ==, -MIR_ENOTSUP);
    stop_server();
    check_int(mir_ivshmem_server_open(&second, &config), ==, 0);
    mir_ivshmem_server_close(&second);
    check(access(path, F_OK) != 0);
}

/* What a server may say: a number, and what comes with it. */
enum with { NOTHING, BELL, GOOD, SHORT, EMPTY, UNSHAPED };
struct word {
    int64_t what;
    enum with with;
};

static int make_fd(enum with with)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (with == GOOD) {
        check_int(write(fd, memory, sizeof(memory)), ==, (ssize_t)sizeof(memory));
        check_int(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
    } else if (with != EMPTY) {
        check_int(ftruncate(fd, with == SHORT ? 4096 : 65536), ==, 0);
    }
    return fd;
}

static void say(int sock, const struct word *word)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    int fd = word->with != NOTHING ? make_fd(word->with) : -1;
    struct iovec part = {(void *)(uintptr_t)&word->what, 3};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    (void)!sendmsg(sock, &message, MSG_NOSIGNAL);
    (void)!send(sock, (const char *)&word->what + 3, 5, MSG_NOSIGNAL);
    if (fd >= 0)
        close(fd);
}

static void test_servers(void)
{
    static const struct {
        const char *name;
        int result;
        struct word word[5];
        unsigned count;
    } cases[] = {
        {"good, in pieces", 0, {{0, 0}, {3, 0}, {-1, GOOD}, {7, BELL}, {3, BELL}}, 5},
        {"version", -MIR_EPROTO, {{1, 0}}, 1},
        {"version with a descriptor", -MIR_EPROTO, {{0, BELL}}, 1},
        {"number", -MIR_EPROTO, {{0, 0}, {65536, 0}}, 2},
        {"negative number", -MIR_EPROTO, {{0, 0}, {-1, 0}}, 2},
        {"no memory", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, 0}}, 3},
        {"memory too early", -MIR_EPROTO, {{0, 0}, {-1, GOOD}}, 2},
        {"memory too short", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, SHORT}}, 3},
        {"memory empty", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, EMPTY}}, 3},
        {"no region", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, UNSHAPED}, {3, BELL}}, 4},
        {"own number without a bell", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, GOOD}, {3, 0}}, 4},
        {"nonsense later", -MIR_EPROTO, {{0, 0}, {3, 0}, {-1, GOOD}, {-7, BELL}}, 4},
        {"an end", -MIR_EPERM, {{0, 0}, {3, 0}}, 2},
    };
    static struct end end;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int before = open_descriptors();
    memcpy(address.sun_path, path, strlen(path));
    make_region(4);
    for (unsigned i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        tap_case("%s", cases[i].name);
        (void)unlink(path);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        check_int(bind(listener, (const struct sockaddr *)(const void *)&address, sizeof(address)),
                  ==, 0);
        check_int(listen(listener, 1), ==, 0);
        pid_t pid = fork();
        if (pid == 0) {
            int sock = accept(listener, NULL, NULL);
            for (unsigned k = 0; k < cases[i].count; k++)
                say(sock, &cases[i].word[k]);
            _exit(0);
        }
        close(listener);
        check_int(join(&end), ==, cases[i].result);
        mir_ivshmem_peer_leave(&end.peer);
        (void)child_result(pid);
        check_int(open_descriptors(), ==, before);
    }
    (void)unlink(path);
}

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    tap_begin("ivshmem");
    snprintf(folder, sizeof(folder), "/tmp/ivshmem-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    snprintf(path, sizeof(path), "%s/region", folder);
    test_slots();
    test_deaths();
    test_boards();
    test_echo();
    test_clients();
    test_servers();
    rmdir(folder);
    return tap_done();
}
