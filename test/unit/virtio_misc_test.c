/* SPDX-License-Identifier: ISC */
/* Virtio block devices in trouble, the entropy device, the console, PCI: what the contract tests do
 * not show. Advisories MSA01 to MSA03. */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

#include "dev/block/virtio/virtio.h"
#include "dev/console/virtio/console.h"
#include "dev/entropy/virtio/entropy.h"
#include "test/harness/pcispace.h"
#include "test/harness/tap.h"
#include "test/harness/virtdev_block.h"

#define ARENA ((size_t)2 << 20)

static uint8_t *arena;
static struct mir_page_pool pages;
static struct mir_loop loop;
static mir_time_us now_us;
static struct mir_virtio *virtio;

static mir_time_us read_clock(struct mir_clock *clock)
{
    (void)clock;
    return now_us += 10;
}

static struct mir_clock the_clock = {.monotonic = read_clock, .wall = read_clock};

static void reset_memory(void)
{
    free(arena);
    arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    now_us = 1000000;
    mir_loop_init(&loop, now_us);
    if (arena == NULL || mir_page_pool_init(&pages, arena, ARENA) < 0)
        abort();
}

static size_t held(void)
{
    return mir_page_pool_used_bytes(&pages);
}

/* ---- block
 * ---------------------------------------------------------------------------------------- */

static struct virtdev_block disk;
static struct mir_block_dev *dev;
static struct mir_block_request request;
static int result;
static struct mir_io_page *page;

static void on_done(struct mir_block_request *r, int value)
{
    (void)r;
    result = value;
}

static void open_disk(void)
{
    int r;
    reset_memory();
    virtdev_block_init(&disk, VIRTDEV_MMIO, VIRTDEV_BLOCK_ALL, 512);
    virtio = virtdev_attach(&disk.d, &the_clock, &pages, &r);
    struct mir_virtio_block_config config = {.virtio = virtio, .loop = &loop};
    check_int(mir_virtio_block_open(&config, &dev), ==, 0);
    check_int(mir_page_alloc(&pages, 4096, MIR_PAGE_ZERO, &page), ==, 0);
}

static void pass(mir_time_us us)
{
    mir_time_us end_us = now_us + us, next_us;
    while (now_us < end_us) {
        now_us = MIR_MIN(now_us + 500000, end_us);
        mir_loop_step(&loop, now_us, &next_us);
        virtdev_run(&disk.d);
        mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
    }
}

static int do_one(enum mir_block_op op)
{
    request = (struct mir_block_request){
        .op = op, .seg_count = 1, .segs = {{page, 0, 4096}}, .done = on_done};
    result = 99;
    int r = mir_block_submit(dev, &request);
    if (r < 0)
        return r;
    mir_block_kick(dev);
    virtdev_run(&disk.d);
    mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
    return result;
}

static void close_disk(void)
{
    mir_page_release(page);
    mir_block_close(dev);
    check_int(held(), ==, 0);
    check_int(disk.d.violations, ==, 0);
    virtdev_block_fini(&disk);
}

static void test_block_errors(void)
{
    struct mir_block_stats stats;
    tap_case("block: errors of the medium, unsupported, nonsense");
    open_disk();
    disk.answer = 1;
    check_int(do_one(MIR_BLOCK_WRITE), ==, -MIR_EIO);
    disk.answer = 2;
    check_int(do_one(MIR_BLOCK_WRITE), ==, -MIR_ENOTSUP);
    disk.answer = 77;
    check_int(do_one(MIR_BLOCK_WRITE), ==, -MIR_EIO);
    disk.answer = 0;
    tap_case("block: a chain that comes back untouched is an error");
    disk.answers_nothing = true;
    check_int(do_one(MIR_BLOCK_WRITE), ==, -MIR_EIO);
    check_int(do_one(MIR_BLOCK_READ), ==, -MIR_EIO);
    disk.answers_nothing = false;
    tap_case("MSA01: a read that wrote less than was asked for is an error");
    disk.is_short = true;
    check_int(do_one(MIR_BLOCK_READ), ==, -MIR_EIO);
    check_int(do_one(MIR_BLOCK_WRITE), ==, 0);
    disk.is_short = false;
    check_int(do_one(MIR_BLOCK_READ), ==, 0);
    mir_block_stats(dev, &stats);
    check_int(stats.errors, ==, 6);
    close_disk();
}

static void test_block_reset(void)
{
    struct mir_block_stats stats;
    tap_case("block: a device that asks for a reset: requests fail, then all is well");
    open_disk();
    disk.holds = true;
    check_int(do_one(MIR_BLOCK_READ), ==, 99);
    check_int(page->refs, ==, 2);
    virtdev_need_reset(&disk.d);
    mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
    check_int(result, ==, -MIR_EIO);
    check_int(page->refs, ==, 1);
    check_int(do_one(MIR_BLOCK_READ), ==, -MIR_EAGAIN);
    disk.holds = false;
    pass(MIR_US_PER_S);
    check_int(do_one(MIR_BLOCK_READ), ==, 0);
    tap_case("block: a request that is not answered in time resets the device");
    disk.holds = true;
    check_int(do_one(MIR_BLOCK_READ), ==, 99);
    pass(20 * MIR_US_PER_S);
    check_int(result, ==, 99);
    pass(30 * MIR_US_PER_S);
    check_int(result, ==, -MIR_EIO);
    disk.holds = false;
    pass(MIR_US_PER_S);
    check_int(do_one(MIR_BLOCK_READ), ==, 0);
    mir_block_stats(dev, &stats);
    check_int(stats.resets, ==, 2);
    tap_case("block: a disk that grows");
    mir_put_le64(disk.d.config, 5000);
    virtdev_config_changed(&disk.d);
    pass(1000);
    check_int(dev->info.block_count, ==, 5000);
    close_disk();
    tap_case("MSA02: a page that a dead device may have is not used again");
    open_disk();
    disk.holds = true;
    check_int(do_one(MIR_BLOCK_READ), ==, 99);
    disk.d.keeps_memory = true;
    mir_block_close(dev);
    check_int(result, ==, -MIR_ECANCELED);
    check_int(page->refs, ==, 2);
    mir_page_release(page);
    check_int(held(), >=, 4096);
    virtdev_block_fini(&disk);
}

/* It does one thing right and then asks for a reset, again and again. */
static void test_block_rate(void)
{
    struct mir_block_stats stats;
    mir_time_us end_us;
    tap_case("block: resets become rare if they do not help, and requests in between no reason to "
             "hurry");
    open_disk();
    for (end_us = now_us + 60 * MIR_US_PER_S; now_us < end_us;) {
        if (do_one(MIR_BLOCK_READ) == 0) {
            virtdev_need_reset(&disk.d);
            mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
        }
        mir_time_us next_us;
        now_us += 1000;
        mir_loop_step(&loop, now_us, &next_us);
    }
    mir_block_stats(dev, &stats);
    check_int(stats.resets, >=, 10);
    check_int(stats.resets, <, 20);
    tap_case("block: after a calm time the pause is short again");
    while (do_one(MIR_BLOCK_READ) != 0)
        pass(MIR_US_PER_S);
    pass(70 * MIR_US_PER_S);
    virtdev_need_reset(&disk.d);
    mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
    check_int(do_one(MIR_BLOCK_READ), ==, -MIR_EAGAIN);
    pass(10 * MIR_US_PER_MS);
    check_int(do_one(MIR_BLOCK_READ), ==, 0);
    close_disk();
    tap_case("MSA02: closed on its way up, a device that keeps its memory has it for good");
    open_disk();
    virtdev_need_reset(&disk.d);
    mir_virtio_driver_poll(mir_virtio_block_driver(dev), virtdev_events(&disk.d, virtio));
    disk.d.queue[0].size_max = 0;
    pass(MIR_US_PER_S);
    check_int(do_one(MIR_BLOCK_READ), ==, -MIR_EAGAIN);
    disk.d.keeps_memory = true;
    disk.d.status = MIR_VIRTIO_DRIVER;
    mir_page_release(page);
    mir_block_close(dev);
    check_int(held(), >=, 2 * MIR_PAGE_SIZE);
    virtdev_block_fini(&disk);
}

static void test_block_refusals(void)
{
    static const uint32_t sizes[] = {0, 511, 1000, 8192, UINT32_MAX};
    for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        int r;
        tap_case("block: blocks of %u bytes are refused", sizes[i]);
        reset_memory();
        virtdev_block_init(&disk, VIRTDEV_PCI, VIRTDEV_BLOCK_ALL, sizes[i]);
        virtio = virtdev_attach(&disk.d, &the_clock, &pages, &r);
        struct mir_virtio_block_config config = {.virtio = virtio, .loop = &loop};
        check_int(mir_virtio_block_open(&config, &dev), ==, -MIR_ENOTSUP);
        check_int(held(), ==, 0);
        virtdev_block_fini(&disk);
    }
}

/* ---- entropy
 * -------------------------------------------------------------------------------------- */

static uint32_t entropy_piece; /* most bytes of one answer */

static void serve_entropy(struct virtdev *d, unsigned queue)
{
    struct virtdev_chain chain;
    while (virtdev_pop(d, queue, &chain)) {
        uint32_t n = MIR_MIN(entropy_piece, chain.in_bytes);
        memset(chain.seg[0].data, 0x5a, n);
        virtdev_push(d, queue, chain.head, n);
    }
    virtdev_publish(d, queue);
}

/* A device that answers while the driver looks at the clock. */
static struct virtdev entropy_device;

static mir_time_us run_clock(struct mir_clock *clock)
{
    virtdev_run(&entropy_device);
    return read_clock(clock);
}

static void test_entropy(void)
{
    struct mir_virtio_entropy rng;
    struct mir_clock clock = {.monotonic = run_clock, .wall = run_clock};
    uint8_t out[64] = {0}, expected[64];
    int r;
    memset(expected, 0x5a, sizeof expected);
    tap_case("entropy: all bytes, also from a device that gives a few at a time");
    reset_memory();
    virtdev_init(&entropy_device, VIRTDEV_MMIO, MIR_VIRTIO_ENTROPY, 0, 1, 8);
    entropy_device.serve = serve_entropy;
    virtio = virtdev_attach(&entropy_device, &clock, &pages, &r);
    check_int(mir_virtio_entropy_open(&rng, virtio), ==, 0);
    entropy_piece = 256;
    check_int(rng.entropy.read(&rng.entropy, out, 32), ==, 0);
    check_mem(out, expected, 32);
    check_int(out[32], ==, 0);
    entropy_piece = 5;
    check_int(rng.entropy.read(&rng.entropy, out, 64), ==, 0);
    check_mem(out, expected, 64);
    tap_case("entropy: nothing of it stays in the shared page");
    static const uint8_t zero[256];
    check_mem(rng.page->base, zero, 256);
    tap_case("entropy: a device that gives nothing, or does not answer, is left in time");
    entropy_piece = 0;
    mir_time_us before = now_us;
    check_int(rng.entropy.read(&rng.entropy, out, 16), ==, -MIR_EIO);
    check_int(now_us - before, <, 2 * MIR_US_PER_S);
    check_int(held(), ==, 0);
    check_int(rng.entropy.read(&rng.entropy, out, 16), ==, -MIR_EIO);
    mir_virtio_entropy_close(&rng);
    virtdev_init(&entropy_device, VIRTDEV_PCI, MIR_VIRTIO_ENTROPY, 0, 1, 8);
    virtio = virtdev_attach(&entropy_device, &clock, &pages, &r);
    check_int(mir_virtio_entropy_open(&rng, virtio), ==, 0);
    check_int(rng.entropy.read(&rng.entropy, out, 16), ==, -MIR_EIO);
    check_int(held(), ==, 0);
    check_int(entropy_device.violations, ==, 0);
}

/* ---- console
 * -------------------------------------------------------------------------------------- */

static struct virtdev console_device;
static char shown[100000];
static size_t shown_len;
static bool console_sleeps;

static mir_time_us run_console_clock(struct mir_clock *clock)
{
    if (!console_sleeps)
        virtdev_run(&console_device);
    return read_clock(clock);
}

static void serve_console(struct virtdev *d, unsigned queue)
{
    struct virtdev_chain chain;
    while (virtdev_pop(d, queue, &chain)) {
        shown_len += virtdev_read(&chain, 0, shown + shown_len, chain.out_bytes);
        virtdev_push(d, queue, chain.head, 0);
    }
    virtdev_publish(d, queue);
}

static void test_console(void)
{
    static const size_t lens[] = {0, 1, 2047, 2048, 2049, 4096, 4097, 70000};
    struct mir_virtio_console con;
    struct mir_clock clock = {.monotonic = run_console_clock, .wall = run_console_clock};
    static char text[70000];
    int r;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    reset_memory();
    virtdev_init(&console_device, VIRTDEV_MMIO, MIR_VIRTIO_CONSOLE, 0, 2, 64);
    console_device.serve = serve_console;
    virtio = virtdev_attach(&console_device, &clock, &pages, &r);
    check_int(mir_virtio_console_open(&con, virtio), ==, 0);
    for (size_t i = 0; i < MIR_ARRAY_LEN(lens); i++) {
        tap_case("MSA03: a write of %zu bytes ends, and is shown", lens[i]);
        shown_len = 0;
        mir_console_write(&con.console, text, lens[i]);
        virtdev_run(&console_device);
        check_int(shown_len, ==, lens[i]);
        check_mem(shown, text, lens[i]);
        check_int(con.console.dropped_bytes, ==, 0);
    }
    tap_case("MSA03: it ends too when the host takes nothing; the rest is counted");
    console_sleeps = true;
    shown_len = 0;
    mir_time_us before = now_us;
    mir_console_write(&con.console, text, sizeof text);
    check_int(now_us - before, <, 100 * MIR_US_PER_MS);
    console_sleeps = false;
    virtdev_run(&console_device);
    check_int(shown_len + con.console.dropped_bytes, ==, sizeof text);
    check_int(con.console.dropped_bytes, >, 0);
    tap_case("console: close waits for what was written and gives all back");
    mir_virtio_console_close(&con);
    check_int(held(), ==, 0);
    check_int(console_device.violations, ==, 0);
}

/* ---- PCI
 * ------------------------------------------------------------------------------------------ */

/* Configuration space of a few functions: bus 0 with a bridge to bus 1, a device of two functions.
 */
static bool wide_bar;

static void write_space(const struct mir_pci *pci, uint16_t bdf, uint32_t offset, unsigned width,
                        uint32_t value)
{
    if (wide_bar && bdf == 0x0009 && value == UINT32_MAX)
        value = offset == 0x10 ? 0x80000004 : value; /* 2 GiB of memory */
    else if (offset == 0x10 && bdf == 0x0009 && !wide_bar)
        value = (value & 0xfffff000u) | 0; /* 4 KiB of memory */
    pcispace_write(pci, bdf, offset, width, value);
}

static uint64_t largest_map;

static int map_space(const struct mir_pci *pci, uint64_t address, uint64_t size_bytes, bool is_io,
                     struct mir_regs *regs)
{
    static uint8_t table[4096];
    largest_map = MIR_MAX(largest_map, size_bytes);
    (void)pci;
    (void)is_io;
    *regs = mir_regs_mapped(table + address % 4096, (uint32_t)size_bytes);
    return 0;
}

static unsigned found_count;
static struct mir_pci_device found_devices[8];

static bool note_device(void *arg, const struct mir_pci_device *device)
{
    (void)arg;
    found_devices[found_count++] = *device;
    return found_count < 8;
}

static void put_function(uint8_t *p, uint16_t vendor, uint16_t device, uint8_t header)
{
    memset(p, 0, 256);
    mir_put_le16(p, vendor);
    mir_put_le16(p + 2, device);
    p[0x0e] = header;
}

static void test_pci(void)
{
    struct mir_pci pci = {.read = pcispace_read, .write = write_space, .map = map_space};
    struct mir_pci_msix msix;
    tap_case("pci: functions behind bridges are found, bridges that go round end");
    put_function(pcispace[0], 0x8086, 0x1, 1); /* a bridge */
    pcispace[0][0x19] = 1;
    put_function(pcispace[1], 0x8086, 0x2, 0x80);
    put_function(pcispace[2], 0x1af4, 0x1041, 0);
    put_function(pcispace[3], 0x8086, 0x3, 1); /* a bridge to its own bus */
    pcispace[3][0x19] = 1;
    mir_pci_scan(&pci, note_device, NULL);
    check_int(found_count, ==, 2);
    check_int(found_devices[1].bdf, ==, 0x0009);
    check(mir_virtio_pci_is(&found_devices[1]));
    check(!mir_virtio_pci_is(&found_devices[0]));
    tap_case("pci: a list of capabilities that goes round ends");
    uint8_t *p = pcispace[2];
    p[6] = 0x10;
    p[0x34] = 0x40;
    p[0x40] = 0x05;
    p[0x41] = 0x50;
    p[0x50] = 0x09;
    p[0x51] = 0x40;
    check_int(mir_pci_find_capability(&found_devices[1], 0x11, 0), ==, 0);
    check_int(mir_pci_find_capability(&found_devices[1], 0x09, 0), ==, 0x50);
    tap_case("pci: messages must lie inside their registers");
    p[0x50] = 0x11;
    p[0x52] = 3; /* four entries */
    mir_put_le32(p + 0x10, 0xfe000000);
    mir_put_le32(p + 0x54, 0xff0);
    check_int(mir_pci_msix_open(&found_devices[1], &msix), ==, -MIR_ERANGE);
    mir_put_le32(p + 0x54, 0x800);
    check_int(mir_pci_msix_open(&found_devices[1], &msix), ==, 0);
    check_int(msix.count, ==, 4);
    check_int(mir_regs_read(&msix.table, 12, 4), ==, 1);
    mir_pci_msix_set(&msix, 2, 0xfee00000, 0x41);
    check_int(mir_regs_read(&msix.table, 32, 4), ==, 0xfee00000);
    check_int(mir_regs_read(&msix.table, 40, 4), ==, 0x41);
    check_int(mir_regs_read(&msix.table, 44, 4), ==, 0);
    mir_pci_msix_enable(&found_devices[1], &msix);
    check_int(mir_get_le16(p + 0x52), ==, 0x8003);
    tap_case("pci: a virtio device with nonsense for windows is refused");
    struct mir_virtio_pci vp;
    check_int(mir_virtio_pci_init(&vp, &found_devices[1], false, &the_clock, &pages), <, 0);
    check_int(mir_virtio_pci_init(&vp, &found_devices[0], false, &the_clock, &pages), ==,
              -MIR_ENOTSUP);
}

/* A capability of a window at @at: its type, offset and size in BAR 0. */
static void put_window(uint8_t at, uint8_t next, uint8_t type, uint32_t offset, uint32_t size)
{
    uint8_t *p = pcispace[2] + at;
    p[0] = 0x09;
    p[1] = next;
    p[2] = 20;
    p[3] = type;
    p[4] = 0;
    mir_put_le32(p + 8, offset);
    mir_put_le32(p + 12, size);
    mir_put_le32(p + 16, 0);
}

static void test_windows(void)
{
    struct mir_pci pci = {.read = pcispace_read, .write = write_space, .map = map_space};
    struct mir_pci_device device = {.pci = &pci, .bdf = 0x0009, .vendor = 0x1af4, .device = 0x1041};
    struct mir_virtio_pci vp;
    struct mir_pci_bar bar;
    tap_case("pci: of a window of 2 GiB only what can be needed is mapped");
    put_function(pcispace[2], 0x1af4, 0x1041, 0);
    pcispace[2][6] = 0x10;
    pcispace[2][0x34] = 0x40;
    put_window(0x40, 0x60, 1, 0, 0x80000000);
    put_window(0x60, 0x80, 2, 0x10000000, 0x60000000);
    put_window(0x80, 0, 3, 0, 1);
    wide_bar = true;
    mir_put_le32(pcispace[2] + 0x10, 4);
    mir_put_le32(pcispace[2] + 0x14, 0x80);
    mir_pci_bar(&device, 0, &bar);
    check(bar.size_bytes == 1ull << 31 && bar.address == 0x8000000000ull);
    largest_map = 0;
    check_int(mir_virtio_pci_init(&vp, &device, false, &the_clock, &pages), ==, 0);
    check_int(largest_map, ==, 1 << 20);
    tap_case("pci: registers that go round the end of all addresses are none");
    mir_put_le32(pcispace[2] + 0x10, 0xc0000004);
    mir_put_le32(pcispace[2] + 0x14, 0xffffffff);
    mir_pci_bar(&device, 0, &bar);
    check(bar.address == 0 && bar.size_bytes == 0);
    check_int(mir_virtio_pci_init(&vp, &device, false, &the_clock, &pages), <, 0);
    wide_bar = false;
}

int main(void)
{
    tap_begin("virtio_misc");
    test_block_errors();
    test_block_reset();
    test_block_rate();
    test_block_refusals();
    test_entropy();
    test_console();
    test_pci();
    test_windows();
    free(arena);
    return tap_done();
}
