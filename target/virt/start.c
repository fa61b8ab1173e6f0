/* SPDX-License-Identifier: ISC */
/* From a machine that has just started to the appliance's exit status.
 *
 *   boot information (the architecture) -> clock, log, command line -> interrupts, memory, stacks
 *     -> devices found, random numbers -> networks, network stack
 *     -> task "main" runs mir_app_main() -> loop until it returns
 *     -> what closed connections have yet to send goes out (a second at most)
 *     -> everything closed in reverse, a line of statistics, exit status, power off
 *
 * The same order and the same lines as target unix, without what a host would give. The page pool
 * is all memory that is left; --memory only counts on unix.
 *
 * Networks are code that an image without them does not have: everything about devices and the
 * network stack is reached through mir__devices, a weak reference.
 *
 * Exit status: what mir_app_main() returned (0 .. 63), 64 wrong command line, 69 something the
 * machine does not have, 70 a crash, 75 forced.
 */
#include <mirari/format.h>

#include "lib/app/drain.h"
#include "lib/wire/csum.h"
#include "target/virt/internal.h"

#define MAIN_STACK_BYTES ((size_t)1 << 20)
#define BUFS_PER_MIB     256u
#define SEED_BYTES       32u

/* Not on the stack: it is large, and a debugger finds it. */
static struct mir__virt the_machine;

static void write_console(struct mir_console *console, const char *data, size_t len)
{
    (void)console;
    mir__arch_console_write(data, len);
}

static mir_time_us read_monotonic(struct mir_clock *clock)
{
    (void)clock;
    return mir__arch_monotonic_us();
}

static mir_time_us read_wall(struct mir_clock *clock)
{
    (void)clock;
    return mir__arch_wall_us();
}

static struct mir_console the_console = {.write = write_console};
static struct mir_clock the_clock = {.monotonic = read_monotonic, .wall = read_wall};

static void print(const char *fmt, ...) MIR_PRINTF(1, 2);
static void print(const char *fmt, ...)
{
    char line[600];
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(line, sizeof line, fmt, args);
    va_end(args);
    mir__arch_console_write(line, MIR_MIN(len, sizeof line - 1));
}

MIR_NORETURN static void refuse(int status, const char *text)
{
    print("%s: %s\n", mir_manifest.name, text);
    mir__arch_exit(status);
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char *after(const char *text, const char *prefix)
{
    while (*prefix != '\0') {
        if (*text++ != *prefix++)
            return NULL;
    }
    return text;
}

/* Words that tell where devices are come from the machine, not from the user. */
static int take_devices(struct mir__virt *v, const char **words, int count)
{
    int kept = 0;
    for (int i = 0; i < count; i++) {
        const char *device = after(words[i], "virtio_mmio.device=");
        if (device == NULL)
            words[kept++] = words[i];
        else if (v->virtio_mmio_count < MIR_ARRAY_LEN(v->virtio_mmio))
            v->virtio_mmio[v->virtio_mmio_count++] = device;
    }
    return kept;
}

static void set_log_levels(const struct mir__app_options *options)
{
    char text[200];
    size_t bad_at = 0;
    if (options->log == NULL || mir_log_set_levels(options->log, &bad_at) == 0)
        return;
    mir_format(text, sizeof text,
               "--log: \"%.80s\" is neither a level (error warn info debug trace) nor "
               "MODULE=LEVEL of a known module",
               options->log + bad_at);
    refuse(MIR__EXIT_USAGE, text);
}

static void read_command_line(struct mir__virt *v)
{
    static const char *words[MIR__WORDS_MAX];
    static char help[16384];
    words[0] = mir_manifest.name;
    if (mir__boot.is_command_line_cut)
        refuse(MIR__EXIT_USAGE, "the command line is longer than 4,095 bytes");
    int count = mir__words_split(mir__boot.command_line, words + 1, MIR__WORDS_MAX - 1);
    if (count < 0)
        refuse(MIR__EXIT_USAGE, "command line: a quote that does not end, or more than 255 words");
    count = take_devices(v, words, count + 1);
    if (mir__app_options_parse(&v->options, &mir_manifest, count, words) < 0)
        refuse(MIR__EXIT_USAGE, v->options.error);
    if (v->options.workers > 0)
        refuse(MIR__EXIT_USAGE, "--workers: there are processes of a host on target unix only");
    if (v->options.store_count > 0 && &mir__disks == NULL)
        refuse(MIR__EXIT_USAGE,
               "--kv: stores are read from disks here, and this image knows none; name one in the "
               "manifest: disk NAME { }");
    if (v->options.is_help) {
        mir__app_options_help(&mir_manifest, help, sizeof help);
        mir__arch_console_write(help, mir_str_len(help));
        mir__arch_exit(0);
    }
    if (v->options.is_version) {
        print("%s %s\n", mir_manifest.name, mir_manifest.version);
        mir__arch_exit(0);
    }
    set_log_levels(&v->options);
}

/* ---- steps of the start ---------------------------------------------------------------------- */

static void open_machine(struct mir__virt *v)
{
    if (mir__arch_irq_open() < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "the machine has no interrupt controller that is known here");
    if (mir__arch_clock_open() < 0)
        refuse(MIR__EXIT_UNAVAILABLE,
               "nothing says how fast time goes: no kvmclock, HPET, ACPI timer or PIT");
    v->app.clock = &the_clock;
    v->started_us = mir__arch_monotonic_us();
    mir__log_init(&the_clock);
    mir_loop_init(&v->loop, v->started_us);
    mir__crash_init(&v->app, &v->loop);
}

static void open_memory(struct mir__virt *v)
{
    size_t size = 0;
    void *memory = mir__arch_take_memory(&size);
    int r = mir_page_pool_init(&v->pages, memory, size);
    if (r == 0)
        r = mir_buf_pool_init(&v->bufs, &v->pages,
                              MIR_MAX(1u, (uint32_t)MIR_MIN(size >> 20, 65536u)) * BUFS_PER_MIB);
    if (r < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "not enough memory");
    mir__arch_use_pool(&v->pages);
    mir__stacks_open(&v->pages);
    mir__csum_use(mir__csum_has_simd() ? mir__csum_blocks_simd : NULL);
}

/* What the CPU and a device give, one on top of the other: whoever knows one of them does not know
 * the sum. Time stamps are stirred in, but count for nothing. */
static void open_random(struct mir__virt *v)
{
    uint64_t seed[SEED_BYTES / 8], from_device[SEED_BYTES / 8] = {0};
    bool has_cpu = true, has_device = false;
    for (size_t i = 0; i < MIR_ARRAY_LEN(seed); i++) {
        uint64_t value = 0;
        has_cpu &= mir__arch_random(&value);
        seed[i] = value ^ mir__arch_jitter() * 0x9e3779b97f4a7c15ull;
    }
    if (&mir__devices != NULL)
        has_device = mir__devices.entropy(v, from_device, sizeof from_device) == 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(seed); i++)
        seed[i] ^= from_device[i];
    mir_rng_init(&v->rng, (const uint8_t *)seed);
    v->has_entropy = has_cpu || has_device;
    if (!v->has_entropy && v->options.net_count > 0)
        refuse(MIR__EXIT_UNAVAILABLE,
               "no random numbers, and a network needs them: give the machine a virtio-rng device, "
               "or a CPU with RDRAND");
    if (!v->has_entropy)
        MIR_LOG(TARGET, WARN, "no source of random numbers: they can be guessed");
}

static void open_networks(struct mir__virt *v)
{
    char error[MIR__ERROR_MAX] = "";
    int r = mir__devices.open_stack(v);
    if (r < 0) {
        mir_format(error, sizeof error, "cannot start the network: %s", mir_strerror(r));
        refuse(MIR__EXIT_UNAVAILABLE, error);
    }
    mir__devices.announce(v);
}

static void open_devices(struct mir__virt *v)
{
    char error[MIR__ERROR_MAX] = "";
    if (&mir__devices == NULL) {
        if (v->options.net_count > 0)
            refuse(MIR__EXIT_UNAVAILABLE,
                   "this image was linked without networks (-u mir__devices)");
        return;
    }
    int r = mir__devices.open(v, error);
    if (r < 0) {
        mir__devices.close(v);
        refuse(r == -MIR_EINVAL ? MIR__EXIT_USAGE : MIR__EXIT_UNAVAILABLE, error);
    }
    if (v->options.net_count > 0)
        open_networks(v);
}

static void leave(struct mir_app *app, int status)
{
    mir_loop_stop(app->loop, status);
}

static void prepare_app(struct mir__virt *v)
{
    struct mir_app *app = &v->app;
    app->manifest = &mir_manifest;
    app->loop = &v->loop;
    app->pages = &v->pages;
    app->bufs = &v->bufs;
    app->rng = &v->rng;
    app->console = &the_console;
    app->stacks = mir__stacks_source();
    app->param_values = v->options.param_values;
    app->dns = v->options.dns;
    app->dns_count = v->options.dns_count;
    mir__app_end_init(app, &(struct mir__app_end_config){.lease_us = v->options.lease_us,
                                                         .has_limit = v->options.has_grace,
                                                         .limit_us = v->options.grace_us,
                                                         .finish = leave});
}

/* ---- running --------------------------------------------------------------------------------- */

static void run_main(void *arg)
{
    struct mir__virt *v = arg;
    char error[MIR__ERROR_MAX];
    if (v->options.store_count > 0 && mir__disks.open_stores(v, error) < 0) {
        print("%s: %s\n", mir_manifest.name, error);
        mir_loop_stop(&v->loop, MIR__EXIT_UNAVAILABLE);
        return;
    }
    mir__app_returned(&v->app, mir_app_main(&v->app));
}

static mir_time_us read_clock(void *arg)
{
    (void)arg;
    return mir__arch_monotonic_us();
}

static void run(struct mir__virt *v)
{
    struct mir_loop_driver driver = {.now = read_clock, .wait = mir__poll_wait, .arg = &v->poll};
    if (mir_task_spawn(&v->loop, v->app.stacks, "main", MAIN_STACK_BYTES, run_main, v, NULL) < 0)
        refuse(MIR__EXIT_UNAVAILABLE, "no memory for the first task");
    v->status = mir_loop_run(&v->loop, &driver);
    v->status = mir__app_drain(&v->app, &driver, v->status);
}

static void print_statistics(struct mir__virt *v)
{
    struct mir_net_dev *devs[MIR_APP_NETS_MAX];
    mir_time_us ran_us = mir__arch_monotonic_us() - v->started_us;
    for (uint32_t i = 0; i < v->options.net_count; i++)
        devs[i] = v->nets[i].dev;
    mir__app_print_end(&v->app, ran_us, devs, v->options.net_count);
}

static void close_all(struct mir__virt *v)
{
    if (v->options.net_count > 0)
        mir__devices.close_stack(v);
    print_statistics(v);
    if (&mir__devices != NULL)
        mir__devices.close(v);
}

static void log_machine(const struct mir__virt *v)
{
    MIR_LOG(TARGET, INFO, "loader=%s clock=\"%s\" memory_kib=%u entropy=%u", mir__boot.loader,
            mir__arch_clock_name(), (unsigned)(mir_page_pool_free_bytes(&v->pages) >> 10),
            v->has_entropy);
}

void mir__start(void)
{
    struct mir__virt *v = &the_machine;
    open_machine(v);
    read_command_line(v);
    open_memory(v);
    mir__poll_open(&v->poll, &v->loop, v->options.spin_us);
    if (&mir__devices != NULL)
        mir__devices.find(v);
    open_random(v);
    prepare_app(v);
    mir__stop_open(v);
    log_machine(v);
    open_devices(v);
    run(v);
    close_all(v);
    mir__arch_exit(v->status);
}
