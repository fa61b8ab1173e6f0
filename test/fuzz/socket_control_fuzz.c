/* SPDX-License-Identifier: ISC */
/* The control protocol of the socket server, with its sockets: real pairs of the kernel, the stack
 * talking to itself, and a client that says anything.
 *
 *   bytes      op argument...
 *   op % 8     0   a request: operation, flags, which handle, length (2 bytes), body
 *              1   the same with an adoption in front and an end B attached: kind, skip, options
 *              2   raw bytes as a message: length (2 bytes), bytes
 *              3   the program writes to its end: which, length
 *              4   the program reads, or closes, or shuts its end down: which, how
 *              5   time goes on by 2^(argument % 24) us
 *              6   answers are read; handles in them become known
 *              7   another control connection, or an allocation fails soon
 *
 * After it nothing may be left: neither memory nor descriptors.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "cmd/mirari-socketd/socketd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA   ((size_t)16 << 20)
#define WATCHES 256u
#define ENDS    16u
#define HANDLES 16u

struct sd sd;

static const struct mir_param params[] = {
    {"name", "", MIR_PARAM_STRING, "fuzz"},
    {"allow-uid", "", MIR_PARAM_STRING, ""},
};
static const struct mir_manifest_net nets[] = {{.name = "net0"}};
static const struct mir_manifest manifest = {.name = "fuzz",
                                             .nets = nets,
                                             .net_count = 1,
                                             .params = params,
                                             .param_count = MIR_ARRAY_LEN(params)};
static const char *const values[] = {"fuzz", ""};

static uint8_t *arena;
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;
static struct mir_loop loop;
static struct mir_rng rng;
static struct mir_net *net;
static mir_time_us now_us;
static struct mir_host_watch *watches[WATCHES];
static uint32_t watch_count;

static const uint8_t *at;
static size_t left;
static int client, ends[ENDS];
static uint64_t handles[HANDLES];
static uint32_t handle_count, end_count;

/* ---- a host that looks at everything ----------------------------------------------------------
 */

static int poll_add(struct mir_host_poll *base, struct mir_host_watch *watch)
{
    (void)base;
    if (watch_count == WATCHES)
        return -MIR_EIO;
    watches[watch_count++] = watch;
    return 0;
}

static void poll_set(struct mir_host_poll *base, struct mir_host_watch *watch, unsigned events)
{
    (void)base;
    watch->events = events;
}

static void poll_remove(struct mir_host_poll *base, struct mir_host_watch *watch)
{
    (void)base;
    for (uint32_t i = 0; i < watch_count; i++)
        if (watches[i] == watch)
            watches[i] = NULL;
}

static const struct mir_host_poll_ops poll_ops = {
    .add = poll_add, .set = poll_set, .remove = poll_remove};
static struct mir_host_poll host = {&poll_ops};

static unsigned events_of(const struct mir_host_watch *watch)
{
    struct pollfd look = {.fd = watch->fd, .events = POLLIN | POLLOUT | POLLRDHUP};
    unsigned ready = 0;
    if (poll(&look, 1, 0) <= 0)
        return 0;
    if (look.revents & (POLLIN | POLLRDHUP))
        ready |= MIR_HOST_IN;
    if (look.revents & POLLOUT)
        ready |= MIR_HOST_OUT;
    if (look.revents & (POLLERR | POLLHUP))
        ready |= MIR_HOST_ERROR;
    if (look.revents & POLLHUP)
        ready |= MIR_HOST_HANGUP;
    if (look.revents & POLLRDHUP)
        ready |= MIR_HOST_END;
    return ready & (watch->events | MIR_HOST_ERROR | MIR_HOST_HANGUP | MIR_HOST_END);
}

static void turn(void)
{
    mir_time_us next_us;
    uint32_t count = watch_count;
    for (uint32_t i = 0; i < count; i++) {
        unsigned ready = watches[i] != NULL ? events_of(watches[i]) : 0;
        if (ready != 0)
            watches[i]->ready(watches[i]->arg, ready);
    }
    for (uint32_t i = 0; i < watch_count;) {
        if (watches[i] != NULL)
            i++;
        else
            watches[i] = watches[--watch_count];
    }
    for (int i = 0; i < 4; i++)
        (void)mir_loop_step(&loop, now_us, &next_us);
}

/* ---- the input --------------------------------------------------------------------------------
 */

static uint8_t take(void)
{
    if (left == 0)
        return 0;
    left--;
    return *at++;
}

static size_t take_into(uint8_t *to, size_t room)
{
    size_t len = take();
    len |= (size_t)take() << 8;
    len = MIR_MIN(len % (room + 1), left);
    memcpy(to, at, len);
    at += len;
    left -= len;
    return len;
}

static void send_message(const void *message, size_t len, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } cmsg;
    struct iovec iov = {(void *)(uintptr_t)message, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    memset(&cmsg, 0, sizeof cmsg);
    if (fd >= 0) {
        msg.msg_control = &cmsg;
        msg.msg_controllen = sizeof cmsg;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    (void)!sendmsg(client, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void connect_client(void)
{
    struct sockaddr_un addr;
    socklen_t len = sizeof addr;
    struct sock_hello hello = {.via = SOCK_VIA_OTHER};
    struct {
        struct sock_request head;
        struct sock_hello body;
    } message = {{SOCK_MAGIC, SOCK_HELLO, 0, 0, sizeof hello, 0}, hello};
    if (client >= 0)
        close(client);
    client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (getsockname(sd.listening.fd, (struct sockaddr *)(void *)&addr, &len) < 0 ||
        connect(client, (struct sockaddr *)(void *)&addr, len) < 0)
        abort();
    send_message(&message, sizeof message, -1);
    turn();
}

static uint64_t take_handle(void)
{
    uint8_t which = take();
    return handle_count > 0 && which < 250 ? handles[which % handle_count] : which;
}

static void request(bool is_adoption)
{
    static uint8_t message[8192];
    struct sock_request head = {.magic = SOCK_MAGIC, .op = take() % SOCK_OP_END};
    size_t len = sizeof head;
    int a = -1, b = -1;
    head.flags = take() % 8 & ~SOCK_F_ADOPT;
    if (is_adoption && end_count < ENDS) {
        struct stat st;
        uint8_t kind = take();
        struct sock_adopt adopt = {.domain = kind & 1 ? AF_INET6 : AF_INET,
                                   .type = kind & 2 ? SOCK_DGRAM : SOCK_STREAM,
                                   .flags = kind & 4 ? SOCK_A_FRAMED : 0,
                                   .skip = kind & 8 ? take() : 1,
                                   .options_len = kind & 16 ? take() * 8u : 0};
        if (sock_pair(adopt.type, SOCK_CLOEXEC, &a, &b) < 0 || fstat(a, &st) < 0)
            abort();
        adopt.ino = st.st_ino;
        head.flags |= SOCK_F_ADOPT;
        memcpy(message + len, &adopt, sizeof adopt);
        len += sizeof adopt;
        ends[end_count++] = a;
    } else {
        head.handle = take_handle();
    }
    len += take_into(message + len, sizeof message - len);
    head.len = (uint32_t)(len - sizeof head);
    memcpy(message, &head, sizeof head);
    send_message(message, len, head.op == SOCK_IDENTIFY && a < 0 && end_count > 0 ? ends[0] : b);
    if (b >= 0)
        close(b);
}

static void read_answers(void)
{
    static uint8_t answer[SOCK_MESSAGE_MAX];
    struct sock_response head;
    ssize_t got;
    while ((got = recv(client, answer, sizeof answer, MSG_DONTWAIT)) > 0) {
        if (got < (ssize_t)sizeof head)
            abort();
        memcpy(&head, answer, sizeof head);
        if (head.magic != SOCK_MAGIC || head.len != (size_t)got - sizeof head || head.error > 0)
            abort();
        if (head.handle != 0)
            handles[handle_count++ % HANDLES] = head.handle;
        handle_count = MIR_MIN(handle_count, HANDLES);
    }
}

static void use_end(bool is_write)
{
    static uint8_t bytes[70000];
    uint8_t which = take(), how = take();
    if (end_count == 0)
        return;
    int *end = &ends[which % end_count];
    if (*end < 0)
        return;
    if (is_write) {
        (void)!send(*end, bytes, (size_t)1 << how % 17, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (how % 4 == 0) {
        close(*end);
        *end = -1;
    } else if (how % 4 == 1) {
        (void)shutdown(*end, how / 4 % 3);
    } else {
        (void)!recv(*end, bytes, sizeof bytes, MSG_DONTWAIT);
    }
}

static void run_one(void)
{
    static uint8_t message[4096];
    switch (take() % 8) {
    case 0:
    case 1:
        request(at[-1] % 8 == 1);
        break;
    case 2:
        send_message(message, take_into(message, sizeof message), -1);
        break;
    case 3:
    case 4:
        use_end(at[-1] % 8 == 3);
        break;
    case 5:
        now_us += (mir_time_us)1 << take() % 24;
        break;
    case 6:
        read_answers();
        break;
    default:
        if (take() % 2)
            connect_client();
        else
            mir_page_pool_fail_at(&pages, take());
    }
}

/* ---- the server -------------------------------------------------------------------------------
 */

static mir_time_us fuzz_time(struct mir_clock *clock)
{
    (void)clock;
    return now_us;
}

static struct mir_clock fuzz_clock = {.monotonic = fuzz_time, .wall = fuzz_time};

static void open_server(struct mir_app *app)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    if (arena == NULL)
        arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    now_us = 1000000;
    watch_count = 0;
    mir_rng_init_u64(&rng, 1);
    mir_loop_init(&loop, now_us);
    if (arena == NULL || mir_page_pool_init(&pages, arena, ARENA) < 0 ||
        mir_buf_pool_init(&bufs, &pages, 1024) < 0)
        abort();
    struct mir_net_config config = {.loop = &loop, .pages = &pages, .bufs = &bufs, .rng = &rng};
    if (mir_net_open(&config, &net) < 0)
        abort();
    *app = (struct mir_app){.manifest = &manifest,
                            .loop = &loop,
                            .stack = mir_net_stack(net),
                            .pages = &pages,
                            .bufs = &bufs,
                            .rng = &rng,
                            .clock = &fuzz_clock,
                            .param_values = values};
    mir_wait_init(&app->stop_asked);
    sd = (struct sd){.app = app, .poll = &host, .stack = app->stack, .net = net, .id = 1};
    sd.uid = getuid();
    sd.listening.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(sd.listening.fd, (struct sockaddr *)(void *)&addr, sizeof(sa_family_t)) < 0 ||
        listen(sd.listening.fd, 8) < 0)
        abort();
    sd_table_init();
    sd_listen_init();
    sd_resolve_init();
    sd_control_init();
    (void)poll_add(&host, &sd.listening);
}

static void close_server(void)
{
    close(sd.listening.fd);
    sd_table_fini();
    sd_control_fini();
    sd_resolve_fini();
    sd_listen_fini();
    sd_dgram_fini();
    mir_net_close(net);
    mir_buf_pool_fini(&bufs);
    if (mir_page_pool_used_bytes(&pages) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir_app app;
    static uint8_t start; /* so that at[-1] is there */
    open_server(&app);
    handle_count = end_count = 0;
    client = -1;
    at = data != NULL ? data : &start;
    left = size;
    connect_client();
    while (left > 0) {
        run_one();
        turn();
    }
    read_answers();
    for (uint32_t i = 0; i < end_count; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    close(client);
    turn();
    turn();
    if (sd.control_count != 0)
        abort();
    close_server();
    return 0;
}
