/* SPDX-License-Identifier: ISC */
/* One contract, every block device: what mirari/dev_block.h promises holds for each of them. */
#include <stdlib.h>
#include <string.h>

#include "dev/block/ram/ram.h"
#include "dev/block/virtio/virtio.h"
#include "target/unix/internal.h"
#include "test/harness/tap.h"
#include "test/harness/virtdev_block.h"

#define ARENA   ((size_t)4 << 20)
#define BLOCKS  64u
#define BATCH   32u
#define STACK   0 /* default size */
#define NOT_YET 1 /* a result that no device gives */

struct fixture {
    uint8_t *arena;
    struct mir_page_pool pages;
    struct mir_loop loop;
    struct mir_clock clock;
    mir_time_us now_us;
    struct mir_block_dev *dev;
    struct mir_virtio_driver *driver; /* NULL: none to poll */
    struct mir_block_ram ram;
    void *memory;
    struct virtdev_block virtio;
    struct mir_virtio *transport;
    bool in_submit, wrong_moment;
    uint32_t done;
};

struct subject {
    const char *name;
    void (*open)(struct fixture *f, bool is_readonly);
};

static mir_time_us read_clock(struct mir_clock *clock)
{
    return ++MIR_CONTAINER_OF(clock, struct fixture, clock)->now_us;
}

static void fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->now_us = 1000000;
    f->clock = (struct mir_clock){.monotonic = read_clock, .wall = read_clock};
    f->arena = aligned_alloc(MIR_PAGE_SIZE, ARENA);
    mir_loop_init(&f->loop, f->now_us);
    if (f->arena == NULL || mir_page_pool_init(&f->pages, f->arena, ARENA) < 0)
        abort();
}

static void turn(struct fixture *f, unsigned count)
{
    mir_time_us next_us;
    for (unsigned i = 0; i < count; i++) {
        f->now_us += 1000;
        mir_loop_step(&f->loop, f->now_us, &next_us);
        if (f->driver == NULL)
            continue;
        virtdev_run(&f->virtio.d);
        mir_virtio_driver_poll(f->driver, virtdev_events(&f->virtio.d, f->transport));
        (void)!mir_virtio_driver_arm(f->driver);
    }
}

/* ---- subjects
 * ------------------------------------------------------------------------------------ */

static void open_ram(struct fixture *f, bool is_readonly)
{
    f->memory = calloc(BLOCKS, 4096);
    struct mir_block_ram_config config = {.loop = &f->loop,
                                          .memory = f->memory,
                                          .block_bytes = 4096,
                                          .block_count = BLOCKS,
                                          .is_readonly = is_readonly};
    check_int(mir_block_ram_init(&f->ram, &config), ==, 0);
    f->dev = &f->ram.dev;
}

static void open_virtio_on(struct fixture *f, enum virtdev_transport transport, uint64_t features,
                           uint32_t block_bytes)
{
    int r;
    virtdev_block_init(&f->virtio, transport, features, block_bytes);
    f->transport = virtdev_attach(&f->virtio.d, &f->clock, &f->pages, &r);
    check_int(r, ==, 0);
    struct mir_virtio_block_config config = {.virtio = f->transport, .loop = &f->loop};
    check_int(mir_virtio_block_open(&config, &f->dev), ==, 0);
    f->driver = mir_virtio_block_driver(f->dev);
}

static void open_mmio(struct fixture *f, bool is_readonly)
{
    uint64_t features = VIRTDEV_BLOCK_ALL | (is_readonly ? VIRTDEV_BLOCK_READONLY : 0);
    open_virtio_on(f, VIRTDEV_MMIO, features, 512);
}
static void open_pci(struct fixture *f, bool is_readonly)
{
    uint64_t features = VIRTDEV_BLOCK_ALL | (is_readonly ? VIRTDEV_BLOCK_READONLY : 0);
    open_virtio_on(f, VIRTDEV_PCI, features, 4096);
}
/* No tables, no event indices, no flush. */
static void open_plain(struct fixture *f, bool is_readonly)
{
    open_virtio_on(f, VIRTDEV_MMIO_LEGACY, is_readonly ? VIRTDEV_BLOCK_READONLY : 0, 512);
}
static void open_pci_legacy(struct fixture *f, bool is_readonly)
{
    uint64_t features = VIRTDEV_BLOCK_ALL | (is_readonly ? VIRTDEV_BLOCK_READONLY : 0);
    open_virtio_on(f, VIRTDEV_PCI_LEGACY, features, 512);
}

static const struct subject subjects[] = {
    {"ram", open_ram},
    {"virtio(mmio)", open_mmio},
    {"virtio(mmio, legacy, nothing offered)", open_plain},
    {"virtio(pci)", open_pci},
    {"virtio(pci, legacy)", open_pci_legacy},
};

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static void on_done(struct mir_block_request *request, int result)
{
    struct fixture *f = request->arg;
    f->wrong_moment |= f->in_submit;
    request->result = result;
    f->done++;
}

static int submit(struct fixture *f, struct mir_block_request *request)
{
    request->done = on_done;
    request->arg = f;
    request->result = NOT_YET;
    f->in_submit = true;
    int r = mir_block_submit(f->dev, request);
    f->in_submit = false;
    return r;
}

static struct mir_io_page *get_page(struct fixture *f, size_t size)
{
    struct mir_io_page *page;
    if (mir_page_alloc(&f->pages, size, MIR_PAGE_ZERO, &page) < 0)
        abort();
    return page;
}

static void fill(struct mir_block_request *request, enum mir_block_op op, uint64_t block)
{
    *request = (struct mir_block_request){.op = op, .block = block};
}

static void add(struct mir_block_request *request, struct mir_io_page *page, uint32_t offset,
                uint32_t len)
{
    request->segs[request->seg_count++] = (struct mir_block_seg){page, offset, len};
}

static void paint(uint8_t *to, size_t len, uint32_t number)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (uint8_t)(number * 31 + i * 7 + i / 256);
}

static bool is_painted(const uint8_t *at, size_t len, uint32_t number)
{
    for (size_t i = 0; i < len; i++) {
        if (at[i] != (uint8_t)(number * 31 + i * 7 + i / 256))
            return false;
    }
    return true;
}

/* ---- the contract
 * -------------------------------------------------------------------------------- */

static void check_info(struct fixture *f)
{
    const struct mir_block_info *info = &f->dev->info;
    check(info->kind != NULL);
    check_int(info->block_bytes, >=, 512);
    check_int(info->block_bytes, <=, 4096);
    check_int(info->block_bytes & (info->block_bytes - 1), ==, 0);
    check_int(info->block_count, >=, BLOCKS);
    check_int(info->segs_max, >=, 1);
    check_int(info->segs_max, <=, MIR_BLOCK_SEGS_MAX);
    check_int(info->depth, >=, BATCH);
    check_int(info->caps & MIR_BLOCK_CAN_DISCARD ? info->discard_max : 1, >, 0);
}

static void check_data(struct fixture *f)
{
    struct mir_block_request write, read;
    uint32_t size = f->dev->info.block_bytes;
    struct mir_io_page *from = get_page(f, 8 * 4096), *to = get_page(f, 8 * 4096);
    paint(from->base, 5 * (size_t)size, 1);
    fill(&write, MIR_BLOCK_WRITE, 3);
    add(&write, from, 0, 2 * size);
    add(&write, from, 2 * size, 3 * size);
    check_int(submit(f, &write), ==, 0);
    mir_block_kick(f->dev);
    check_int(write.result, ==, NOT_YET);
    turn(f, 3);
    check_int(write.result, ==, 0);
    fill(&read, MIR_BLOCK_READ, 3);
    add(&read, to, size, size);
    add(&read, to, 3 * size, 4 * size);
    check_int(submit(f, &read), ==, 0);
    mir_block_kick(f->dev);
    turn(f, 3);
    check_int(read.result, ==, 0);
    check_mem(to->base + size, from->base, size);
    check_mem(to->base + 3 * size, from->base + size, 4 * size);
    check_int(to->base[0] | to->base[2 * size] | to->base[7 * size], ==, 0);
    check_int(from->refs + to->refs, ==, 2);
    mir_page_release(from);
    mir_page_release(to);
    check(!f->wrong_moment);
}

static void check_batch(struct fixture *f)
{
    static struct mir_block_request requests[BATCH];
    struct mir_io_page *pages[BATCH];
    uint32_t size = f->dev->info.block_bytes, before = f->done;
    for (uint32_t i = 0; i < BATCH; i++) {
        pages[i] = get_page(f, size);
        paint(pages[i]->base, size, i);
        fill(&requests[i], MIR_BLOCK_WRITE, BATCH - 1 - i);
        add(&requests[i], pages[i], 0, size);
        check_int(submit(f, &requests[i]), ==, 0);
    }
    mir_block_kick(f->dev);
    turn(f, 3);
    check_int(f->done - before, ==, BATCH);
    struct mir_io_page *all = get_page(f, 8 * 4096);
    for (uint32_t i = 0; i < BATCH; i++) {
        fill(&requests[0], MIR_BLOCK_READ, i);
        add(&requests[0], all, 0, size);
        check_int(submit(f, &requests[0]), ==, 0);
        mir_block_kick(f->dev);
        turn(f, 3);
        check(is_painted(all->base, size, BATCH - 1 - i));
        mir_page_release(pages[i]);
    }
    mir_page_release(all);
}

static void check_full(struct fixture *f)
{
    static struct mir_block_request requests[1024];
    struct mir_io_page *page = get_page(f, 4096);
    uint32_t count = 0, before = f->done;
    int r = 0;
    while (count < MIR_ARRAY_LEN(requests)) {
        fill(&requests[count], MIR_BLOCK_READ, 1);
        add(&requests[count], page, 0, f->dev->info.block_bytes);
        r = submit(f, &requests[count]);
        if (r < 0)
            break;
        count++;
    }
    check_int(r, ==, -MIR_EAGAIN);
    check_int(count, >=, MIR_MIN(f->dev->info.depth, 40u));
    mir_block_kick(f->dev);
    turn(f, 4);
    check_int(f->done - before, ==, count);
    check_int(page->refs, ==, 1);
    mir_page_release(page);
}

static int try_one(struct fixture *f, enum mir_block_op op, uint64_t block, uint32_t count,
                   uint32_t bytes)
{
    static struct mir_block_request request;
    struct mir_io_page *page = get_page(f, 4 * 4096);
    fill(&request, op, block);
    request.block_count = count;
    if (bytes > 0)
        add(&request, page, 0, bytes);
    int r = submit(f, &request);
    if (r == 0) {
        mir_block_kick(f->dev);
        turn(f, 3);
        r = request.result;
    }
    mir_page_release(page);
    return r;
}

static void check_refusals(struct fixture *f)
{
    uint32_t size = f->dev->info.block_bytes;
    uint64_t end = f->dev->info.block_count;
    check_int(try_one(f, MIR_BLOCK_READ, 0, 0, size), ==, 0);
    check_int(try_one(f, MIR_BLOCK_READ, end - 1, 0, size), ==, 0);
    check_int(try_one(f, MIR_BLOCK_READ, end, 0, size), ==, -MIR_ERANGE);
    check_int(try_one(f, MIR_BLOCK_READ, end - 1, 0, 2 * size), ==, -MIR_ERANGE);
    check_int(try_one(f, MIR_BLOCK_READ, UINT64_MAX, 0, size), ==, -MIR_ERANGE);
    check_int(try_one(f, MIR_BLOCK_READ, 0, 0, 0), ==, -MIR_EINVAL);
    check_int(try_one(f, MIR_BLOCK_READ, 0, 0, size - 1), ==, -MIR_EINVAL);
    check_int(try_one(f, MIR_BLOCK_READ, 0, 0, 5 * 4096), ==, -MIR_EINVAL); /* past its page */
    check_int(try_one(f, (enum mir_block_op)99, 0, 1, size), ==, -MIR_EINVAL);
    static struct mir_io_page constant = {.size_bytes = 4096, .flags = MIR_PAGE_STATIC};
    static uint8_t bytes[4096];
    struct mir_block_request request;
    constant.base = bytes;
    fill(&request, MIR_BLOCK_READ, 0);
    add(&request, &constant, 0, 4096);
    check_int(submit(f, &request), ==, -MIR_EINVAL);
}

static void check_wiping(struct fixture *f)
{
    struct mir_block_request request;
    uint32_t size = f->dev->info.block_bytes, caps = f->dev->info.caps;
    struct mir_io_page *page = get_page(f, 4096);
    check_int(try_one(f, MIR_BLOCK_FLUSH, 0, 0, 0), ==, 0);
    int expected = caps & MIR_BLOCK_CAN_ZERO ? 0 : -MIR_ENOTSUP;
    check_int(try_one(f, MIR_BLOCK_ZERO, 4, 2, 0), ==, expected);
    expected = caps & MIR_BLOCK_CAN_DISCARD ? 0 : -MIR_ENOTSUP;
    check_int(try_one(f, MIR_BLOCK_DISCARD, 9, 1, 0), ==, expected);
    if (!(caps & MIR_BLOCK_CAN_ZERO)) {
        mir_page_release(page);
        return;
    }
    check_int(try_one(f, MIR_BLOCK_ZERO, f->dev->info.block_count, 1, 0), ==, -MIR_ERANGE);
    check_int(try_one(f, MIR_BLOCK_ZERO, 0, 0, 0), ==, -MIR_EINVAL);
    paint(page->base, size, 9);
    fill(&request, MIR_BLOCK_READ, 5);
    add(&request, page, 0, size);
    check_int(submit(f, &request), ==, 0);
    mir_block_kick(f->dev);
    turn(f, 3);
    static const uint8_t zero[4096];
    check_mem(page->base, zero, size);
    fill(&request, MIR_BLOCK_READ, 6); /* its neighbour was written by check_batch */
    add(&request, page, 0, size);
    check_int(submit(f, &request), ==, 0);
    mir_block_kick(f->dev);
    turn(f, 3);
    check(is_painted(page->base, size, BATCH - 1 - 6));
    mir_page_release(page);
}

/* ---- in a task
 * ----------------------------------------------------------------------------------- */

static struct fixture *task_fixture;
static int task_results[3];

static void run_task(void *arg)
{
    struct fixture *f = task_fixture;
    struct mir_block_request request;
    struct mir_io_page *page = arg;
    fill(&request, MIR_BLOCK_WRITE, 2);
    add(&request, page, 0, f->dev->info.block_bytes);
    task_results[0] = mir_block_do(&f->loop, f->dev, &request);
    fill(&request, MIR_BLOCK_FLUSH, 0);
    task_results[1] = mir_block_do(&f->loop, f->dev, &request);
    fill(&request, MIR_BLOCK_READ, f->dev->info.block_count);
    add(&request, page, 0, f->dev->info.block_bytes);
    task_results[2] = mir_block_do(&f->loop, f->dev, &request);
}

static void check_task(struct fixture *f)
{
    struct mir_io_page *page = get_page(f, 4096);
    task_fixture = f;
    task_results[0] = task_results[1] = task_results[2] = NOT_YET;
    check_int(mir__stacks_open(), ==, 0);
    check_int(mir_task_spawn(&f->loop, mir__stacks_source(), "block", STACK, run_task, page, NULL),
              ==, 0);
    turn(f, 20);
    check_int(task_results[0], ==, 0);
    check_int(task_results[1], ==, 0);
    check_int(task_results[2], ==, -MIR_ERANGE);
    mir_page_release(page);
}

/* ---- close
 * --------------------------------------------------------------------------------------- */

static void finish(struct fixture *f)
{
    struct mir_block_stats stats;
    mir_block_stats(f->dev, &stats);
    check_int(stats.errors, ==, 0);
    if (f->driver != NULL) {
        check_int(f->virtio.d.violations, ==, 0);
        if (f->virtio.d.violations != 0)
            tap_note("the driver: %s", f->virtio.d.violation);
    }
    mir_block_close(f->dev);
    check_int(mir_page_pool_used_bytes(&f->pages), ==, 0);
    virtdev_block_fini(&f->virtio);
    free(f->memory);
    free(f->arena);
}

static void check_close(struct fixture *f)
{
    struct mir_block_request write, flush;
    struct mir_io_page *page = get_page(f, 4096);
    fill(&write, MIR_BLOCK_WRITE, 0);
    add(&write, page, 0, f->dev->info.block_bytes);
    fill(&flush, MIR_BLOCK_FLUSH, 0);
    check_int(submit(f, &write), ==, 0);
    check_int(submit(f, &flush), ==, 0);
    struct mir_block_stats stats;
    mir_block_stats(f->dev, &stats);
    check_int(stats.errors, ==, 0);
    check_int(stats.refused, >, 0);
    check_int(stats.writes, >, 0);
    mir_block_close(f->dev);
    check_int(write.result, ==, -MIR_ECANCELED);
    check_int(flush.result, ==, -MIR_ECANCELED);
    check_int(page->refs, ==, 1);
    mir_page_release(page);
    check_int(mir_page_pool_used_bytes(&f->pages), ==, 0);
    virtdev_block_fini(&f->virtio);
    free(f->memory);
    free(f->arena);
}

static void test_subject(const struct subject *s)
{
    static struct fixture f;
    fixture_init(&f);
    tap_case("%s: opens and describes itself", s->name);
    s->open(&f, false);
    check_info(&f);
    tap_case("%s: what was written is read, in pieces, and nothing beside it changes", s->name);
    check_data(&f);
    tap_case("%s: a batch", s->name);
    check_batch(&f);
    tap_case("%s: impossible requests are refused", s->name);
    check_refusals(&f);
    tap_case("%s: flush, discard, zeroes, or an honest no", s->name);
    check_wiping(&f);
    tap_case("%s: more than it takes at once", s->name);
    check_full(&f);
    tap_case("%s: a task reads from top to bottom", s->name);
    check_task(&f);
    tap_case("%s: close ends what is on its way", s->name);
    check_close(&f);
    tap_case("%s: read-only", s->name);
    fixture_init(&f);
    s->open(&f, true);
    check(f.dev->info.caps & MIR_BLOCK_READONLY);
    check_int(try_one(&f, MIR_BLOCK_READ, 0, 0, f.dev->info.block_bytes), ==, 0);
    check_int(try_one(&f, MIR_BLOCK_WRITE, 0, 0, f.dev->info.block_bytes), ==, -MIR_EPERM);
    finish(&f);
}

int main(void)
{
    tap_begin("block_contract");
    for (size_t i = 0; i < MIR_ARRAY_LEN(subjects); i++)
        test_subject(&subjects[i]);
    return tap_done();
}
