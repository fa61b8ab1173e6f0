/* SPDX-License-Identifier: ISC */
/* main() of an appliance as a process.
 *
 *   command line -> memory, clock, entropy, loop -> devices -> stacks for tasks
 *     -> privileges dropped -> sandbox -> network stack -> task "main" runs mir_app_main()
 *     -> loop until it returns -> what closed connections have yet to send goes out (a second at
 *     most) -> everything closed in reverse, a line of statistics, exit status
 *
 * All that needs the host's permission happens before the sandbox. SIGINT, SIGTERM and SIGHUP come
 * as events of the loop (signals.c): the first asks the appliance to end, the second ends it.
 *
 * Exit status: what mir_app_main() returned (0 .. 63), 64 wrong command line, 69 something the host
 * does not give, 70 a crash, 128 + signal when forced.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mirari/format.h>

#include "dev/clock/host/clock.h"
#include "dev/console/host/console.h"
#include "dev/entropy/host/entropy.h"
#include "dev/net/host/host.h"
#include "lib/app/drain.h"
#include "lib/wire/csum.h"
#include "target/unix/service.h"
#include "target/unix/workers.h"

#define MAIN_STACK_BYTES ((size_t)1 << 20)
#define BUFS_PER_MIB     256u
#define DESCRIPTORS_MAX  16384

/* Not on the stack: it is large, and a debugger finds it. */
static struct mir__unix the_process;
static struct mir_console_host the_console;

/* Ordinary appliances serve nobody on this host. */
__attribute__((weak)) struct mir__unix_service mir__unix_service = {.prepare = NULL};

MIR_NORETURN static void refuse(int status, const char *text)
{
    fprintf(stderr, "%s: %s\n", mir_manifest.name, text);
    exit(status);
}

/* ---- steps of the start ---------------------------------------------------------------------- */

static void read_command_line(struct mir__unix *u, int argc, char **argv)
{
    static char text[16384];
    size_t bad_at = 0;
    if (mir__app_options_parse(&u->options, &mir_manifest, argc, (const char *const *)argv) < 0)
        refuse(MIR__EXIT_USAGE, u->options.error);
    if (u->options.is_help) {
        mir__app_options_help(&mir_manifest, text, sizeof text);
        fputs(text, stdout);
        exit(0);
    }
    if (u->options.is_version) {
        printf("%s %s\n", mir_manifest.name, mir_manifest.version);
        exit(0);
    }
    if (u->options.log != NULL && mir_log_set_levels(u->options.log, &bad_at) < 0) {
        snprintf(text, sizeof text,
                 "--log: \"%.80s\" is neither a level (error warn info debug trace) nor "
                 "MODULE=LEVEL of a known module",
                 u->options.log + bad_at);
        refuse(MIR__EXIT_USAGE, text);
    }
}

static void open_memory(struct mir__unix *u)
{
    size_t size = (size_t)u->options.memory_mib << 20;
    void *arena = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (arena == MAP_FAILED)
        refuse(MIR__EXIT_UNAVAILABLE, "--memory: the host does not give so much");
    int r = mir_page_pool_init(&u->pages, arena, size);
    if (r == 0)
        r = mir_buf_pool_init(&u->bufs, &u->pages, u->options.memory_mib * BUFS_PER_MIB);
    if (r < 0)
        refuse(MIR__EXIT_UNAVAILABLE, mir_strerror(r));
}

/* Each connection of modes user and socket takes a descriptor: as many as the host permits, up to
 * what the devices can keep. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = MIR_MIN(limit.rlim_max, (rlim_t)DESCRIPTORS_MAX);
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void open_host(struct mir__unix *u)
{
    uint8_t seed[32];
    struct mir_entropy *entropy = mir_entropy_host();
    u->app.clock = mir_clock_host();
    u->started_us = u->app.clock->monotonic(u->app.clock);
    if (entropy->read(entropy, seed, sizeof seed) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the host has no usable random numbers");
    mir_rng_init(&u->rng, seed);
    explicit_bzero(seed, sizeof seed);
    raise_descriptors();
    mir__csum_use(mir__csum_has_simd() ? mir__csum_blocks_simd : NULL);
    mir_console_host_init(&the_console, STDOUT_FILENO);
    mir_loop_init(&u->loop, u->started_us);
    if (mir__poll_open(&u->poll, u->app.clock, u->options.spin_us) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the host gives no epoll descriptor");
    if (mir__stacks_open() < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the host gives no memory for stacks");
    mir__crash_init(&u->app, &u->loop);
}

static void confine(struct mir__unix *u)
{
    char error[MIR__ERROR_MAX];
    bool is_socket = u->sandbox_needs & MIR__SANDBOX_SOCKET;
    if (mir__privilege_drop(&u->identity, is_socket, error) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, error);
    if (u->options.no_sandbox)
        return;
    if (mir__sandbox_enter(u->sandbox_needs, error) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, error);
}

static int open_direct_stack(struct mir__unix *u)
{
    struct mir_net_config config = {
        .loop = &u->loop, .pages = &u->pages, .bufs = &u->bufs, .rng = &u->rng};
    if (mir__unix_service.tune != NULL)
        mir__unix_service.tune(&config);
    if (u->worker != NULL) {
        config.port_share = (uint16_t)u->worker->index;
        config.port_shares = (uint16_t)u->worker->count;
    }
    int r = mir_net_open(&config, &u->net);
    if (r < 0)
        return r;
    u->app.stack = mir_net_stack(u->net);
    for (uint32_t i = 0; i < u->options.net_count && r == 0; i++)
        r = mir_net_add_interface(u->net, u->nets[i].dev, &u->nets[i].config);
    for (uint32_t i = 0; i < u->options.net_count && r == 0; i++)
        r = mir__app_add_routes(&u->options.net[i], u->net, i + 1);
    return r;
}

static void open_stack(struct mir__unix *u)
{
    int r = 0;
    if (u->options.net_count == 0)
        return;
    if (u->sandbox_needs & MIR__SANDBOX_SOCKET) {
        struct mir_host_stack_config config = {
            .loop = &u->loop, .pages = &u->pages, .bufs = &u->bufs, .poll = &u->poll.base};
        r = mir_host_stack_open(&config, &u->app.stack);
    } else {
        r = open_direct_stack(u);
    }
    if (r < 0) {
        char text[160];
        snprintf(text, sizeof text, "cannot start the network: %s", mir_strerror(r));
        refuse(MIR__EXIT_UNAVAILABLE, text);
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static void run_main(void *arg)
{
    struct mir__unix *u = arg;
    mir__app_returned(&u->app, mir_app_main(&u->app));
}

static void leave(struct mir_app *app, int status)
{
    mir_loop_stop(app->loop, status);
}

/* An address by DHCP comes later than the other lines. */
static void say_address(void *arg)
{
    struct mir__unix *u = arg;
    struct mir_ip ip;
    char text[MIR_IP_TEXT_MAX];
    if (mir_stack_wait_address(u->app.stack, MIR_TIME_NEVER, &ip) == 0)
        mir_app_print(&u->app, "address: %s\n", mir_ip_text(&ip, text));
}

static void prepare_app(struct mir__unix *u)
{
    struct mir_app *app = &u->app;
    app->manifest = &mir_manifest;
    app->loop = &u->loop;
    app->pages = &u->pages;
    app->bufs = &u->bufs;
    app->rng = &u->rng;
    app->console = &the_console.console;
    app->stacks = mir__stacks_source();
    app->param_values = u->options.param_values;
    mir__app_end_init(app, &(struct mir__app_end_config){.lease_us = u->options.lease_us,
                                                         .has_limit = u->options.has_grace,
                                                         .limit_us = u->options.grace_us,
                                                         .finish = leave,
                                                         .guard = mir__signals_guard});
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static void print_statistics(struct mir__unix *u)
{
    struct mir_net_dev *devs[MIR_APP_NETS_MAX];
    mir_time_us ran_us = u->app.clock->monotonic(u->app.clock) - u->started_us;
    for (uint32_t i = 0; i < u->options.net_count; i++)
        devs[i] = u->nets[i].dev;
    mir__app_print_end(&u->app, ran_us, devs, u->options.net_count);
}

static void close_all(struct mir__unix *u)
{
    mir__control_close(u);
    if (u->net != NULL)
        mir_net_close(u->net);
    else if (u->app.stack != NULL)
        mir_host_stack_close(u->app.stack);
    print_statistics(u);
    mir__lease_close(u);
    mir__devices_close(u);
    mir__kv_close(u);
    mir__channels_close(u);
    mir__poll_close(&u->poll);
}

static mir_time_us read_clock(void *arg)
{
    struct mir__poll *poll = arg;
    return poll->clock->monotonic(poll->clock);
}

static void run(struct mir__unix *u)
{
    u->poll.loop = &u->loop;
    struct mir_loop_driver driver = {.now = read_clock,
                                     .wait =
                                         mir__record_is_open() ? mir__record_wait : mir__poll_wait,
                                     .arg = &u->poll};
    int r = mir_task_spawn(&u->loop, u->app.stacks, "main", MAIN_STACK_BYTES, run_main, u, NULL);
    bool is_first = u->worker == NULL || u->worker->index == 0;
    if (r == 0 && u->app.stack != NULL && u->nets[0].config.use_dhcp && is_first)
        r = mir_app_spawn(&u->app, "address", say_address, u);
    if (r == 0 && u->worker != NULL && u->net != NULL)
        r = mir_app_spawn(&u->app, "follow", mir__follow_task, u);
    if (r == 0 && mir__lease_is_kept(u))
        r = mir_app_spawn(&u->app, "lease", mir__lease_task, u);
    if (r < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "no memory for the first task");
    u->status = mir_loop_run(&u->loop, &driver);
    u->status = mir__app_drain(&u->app, &driver, u->status);
}

struct mir_host_poll *mir__unix_poll(void)
{
    return &the_process.poll.base;
}

struct mir_net *mir__unix_net(void)
{
    return the_process.net;
}

/* What the service needs of the host, while it may. */
static void prepare_service(struct mir__unix *u)
{
    char error[MIR__ERROR_MAX];
    if (mir__unix_service.prepare == NULL)
        return;
    if (mir__unix_service.prepare(error) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, error);
    u->sandbox_needs |= MIR__SANDBOX_SERVICE;
}

/* A closed standard descriptor's number would go to the next one opened, and what is printed would
 * be sent as a frame. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
            exit(MIR__EXIT_UNAVAILABLE);
    }
}

static int check_disks(char error[MIR__ERROR_MAX])
{
    const char *missing = mir__app_missing_disk(&mir_manifest, 0);
    if (missing == NULL)
        return 0;
    snprintf(error, MIR__ERROR_MAX,
             "disk %s: a process has no disks; run the appliance with -t virt --disk FILE",
             missing);
    return -MIR_ENOENT;
}

static void close_inherited(struct mir__unix *u)
{
    mir__worker_begin(u);
    if (u->worker == NULL) {
        (void)close_range(mir__unix_service.prepare != NULL ? MIR__SERVICE_FD + 1 : MIR__SERVICE_FD,
                          UINT_MAX, 0);
        return;
    }
    (void)close_range(MIR__SERVICE_FD, MIR__WORKER_FD - 1, 0);
    (void)close_range(MIR__WORKER_FD + 1, UINT_MAX, 0);
}

static int take_devices(struct mir__unix *u, char error[MIR__ERROR_MAX])
{
    u->sandbox_needs |= MIR__SANDBOX_WORKER;
    return mir__worker_take_all(u, error);
}

int main(int argc, char **argv)
{
    struct mir__unix *u = &the_process;
    char error[MIR__ERROR_MAX] = "";
    /* What the parent left open is none of the appliance's business. */
    close_inherited(u);
    fill_standard_descriptors();
    mir__log_init();
    read_command_line(u, argc, argv);
    mir__privilege_identity(&u->identity);
    if (u->options.workers > 0 && mir__unix_service.prepare != NULL)
        refuse(MIR__EXIT_USAGE, "--workers: a program that serves this host is one process");
    if (u->worker == NULL && u->options.workers > 0)
        return mir__monitor_run(u, argv);
    open_memory(u);
    open_host(u);
    (void)signal(SIGPIPE, SIG_IGN);
    prepare_app(u);
    mir__record_open(u);
    int r = check_disks(error);
    if (r == 0)
        r = mir__kv_open(u, error);
    if (r == 0)
        r = mir__channels_open(u, error);
    if (r == 0 && u->worker != NULL)
        r = take_devices(u, error);
    if (r == 0)
        r = mir__devices_open(u, error);
    if (r < 0) {
        mir__devices_close(u);
        refuse(r == -MIR_EINVAL ? MIR__EXIT_USAGE : MIR__EXIT_UNAVAILABLE, error);
    }
    r = mir__control_open(u, error);
    if (r < 0) {
        mir__devices_close(u);
        refuse(MIR__EXIT_UNAVAILABLE, error);
    }
    mir__names_find(u);
    mir__lease_open(u);
    fflush(stdout);
    if (mir__signals_open(u) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the host gives no event descriptor for signals");
    prepare_service(u);
    confine(u);
    open_stack(u);
    mir__control_serve(u);
    mir__devices_announce(u);
    if (u->worker != NULL && mir__worker_run(u) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the worker cannot listen to its monitor");
    run(u);
    close_all(u);
    mir__record_close(u->status);
    return u->status;
}
