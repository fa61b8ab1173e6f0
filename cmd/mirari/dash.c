/* SPDX-License-Identifier: ISC */
/* `mirari dash`: a page in the browser that shows the running appliances, with graphs.
 *
 *   browser ── HTTP on 127.0.0.1 ── lib/http on the host's stack ─┐
 *                                                                 ├─ one loop
 *   appliances ── NAME-PID/control (Unix sockets) ── dash_look.c ─┘
 *
 * The program is what an appliance in mode `socket` is: the library's loop, its stack over host
 * sockets and its HTTP server. Nothing in it waits for anybody: an appliance that does not answer
 * is shown as one that does not answer.
 *
 * While nobody watches, and nobody has for as long as the graphs go back, no appliance is asked and
 * no time is used.
 *
 * It reads what others say, of whom it believes nothing, and is confined before it hears the first
 * of them (confine.c): it can open the channels and logs of appliances that start later, and tidy
 * up behind dead ones, and that is all.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/mirari/dash.h"
#include "dev/clock/host/clock.h"
#include "dev/net/host/host.h"
#include "target/unix/internal.h"

#define ARENA_BYTES ((size_t)64 << 20) /* of addresses; memory comes as it is used */
#define BUFS_MAX    256u

struct dash {
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir__poll poll;
    struct mir_stack *stack;
    struct look *look;
    struct dash_web *web;
    struct mir_host_watch signals;
};

struct dash_options {
    int64_t port;
    bool is_read_only;
};

static int parse(struct dash_options *options, int argc, char **argv)
{
    static const char *const names[] = {"-p", "--port", "-r", "--read-only"};
    struct why why;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-r") == 0 || strcmp(argv[i], "--read-only") == 0) {
            options->is_read_only = true;
        } else if (strcmp(argv[i], "-p") == 0 || strcmp(argv[i], "--port") == 0) {
            const char *value = i + 1 < argc ? argv[++i] : "";
            if (!valid_int(value, &options->port, &why) || options->port < 0 ||
                options->port > 65535) {
                complain("dash: -p takes a port from 1 to 65535, or 0 for any that is free, not "
                         "\"%s\"",
                         value);
                return EXIT_USAGE;
            }
        } else {
            return usage_error("dash", argv[i], names, LEN(names));
        }
    }
    return 0;
}

static mir_time_us read_clock(void *arg)
{
    struct mir__poll *poll = arg;
    return poll->clock->monotonic(poll->clock);
}

static void on_signal(void *arg, unsigned events)
{
    struct dash *dash = arg;
    (void)events;
    mir_loop_stop(&dash->loop, 0);
}

/* Ctrl-C as an event of the loop. */
static int catch_signals(struct dash *dash)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    (void)signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -MIR_EIO;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    dash->signals =
        (struct mir_host_watch){.fd = fd, .events = MIR_HOST_IN, .ready = on_signal, .arg = dash};
    return fd < 0 ? -MIR_EIO : dash->poll.base.ops->add(&dash->poll.base, &dash->signals);
}

static int open_base(struct dash *dash)
{
    void *arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        return -MIR_ENOMEM;
    int r = mir_page_pool_init(&dash->pages, arena, ARENA_BYTES);
    if (r == 0)
        r = mir_buf_pool_init(&dash->bufs, &dash->pages, BUFS_MAX);
    if (r == 0)
        r = mir__poll_open(&dash->poll, mir_clock_host(), 0);
    if (r < 0)
        return r;
    mir_loop_init(&dash->loop, read_clock(&dash->poll));
    dash->poll.loop = &dash->loop;
    struct mir_host_stack_config config = {.loop = &dash->loop,
                                           .pages = &dash->pages,
                                           .bufs = &dash->bufs,
                                           .poll = &dash->poll.base,
                                           .limits.tcp_connections_max = 64};
    r = mir_host_stack_open(&config, &dash->stack);
    return r < 0 ? r : catch_signals(dash);
}

static bool make_token(char out[2 * DASH_TOKEN_BYTES + 1])
{
    uint8_t random[DASH_TOKEN_BYTES];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return false;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(out + 2 * i, 3, "%02x", random[i]);
    return true;
}

/* Everything that is outside of the appliances' folder is open by now; /proc tells who lives. A
 * host that cannot do it does not keep anybody from looking. */
static void enter_sandbox(const struct look *look)
{
    const struct confine confine = {.read = {"/proc"}, .change = look_folder(look)};
    bool has_files;
    int r = confine_self(&confine, &has_files);
    if (r != 0)
        complain("dash: goes on without a sandbox, which this host refuses: %s", strerror(-r));
}

static int open_web(struct dash *dash, const struct dash_options *options)
{
    uint16_t port;
    struct dash_web_config config = {.loop = &dash->loop,
                                     .stack = dash->stack,
                                     .clock = dash->poll.clock,
                                     .look = dash->look,
                                     .port = (uint16_t)options->port,
                                     .is_read_only = options->is_read_only};
    if (!make_token(config.token)) {
        complain("dash: the system has no random numbers");
        return EXIT_FAIL;
    }
    int r = dash_web_open(&config, &dash->web, &port);
    if (r < 0) {
        complain("dash: cannot serve on 127.0.0.1 port %d: %s%s", (int)options->port,
                 mir_strerror(r), r == -MIR_EADDRINUSE ? "; take another one with --port" : "");
        return EXIT_FAIL;
    }
    enter_sandbox(dash->look);
    printf("http://127.0.0.1:%u/#%s\n", port, config.token);
    fflush(stdout);
    return 0;
}

int cmd_dash(int argc, char **argv)
{
    static struct dash dash;
    struct dash_options options = {0};
    int r = parse(&options, argc, argv);
    if (r != 0)
        return r;
    r = open_base(&dash);
    if (r < 0) {
        complain("dash: cannot start: %s", mir_strerror(r));
        return EXIT_FAIL;
    }
    struct look_config config = {
        .loop = &dash.loop, .poll = &dash.poll.base, .is_read_only = options.is_read_only};
    r = look_open(&config, &dash.look);
    if (r != 0)
        return r;
    r = open_web(&dash, &options);
    if (r == 0) {
        struct mir_loop_driver driver = {
            .now = read_clock, .wait = mir__poll_wait, .arg = &dash.poll};
        r = mir_loop_run(&dash.loop, &driver);
    }
    if (dash.web != NULL)
        dash_web_close(dash.web);
    look_close(dash.look);
    mir_host_stack_close(dash.stack);
    mir__poll_close(&dash.poll);
    return r;
}
