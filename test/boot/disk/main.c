/* SPDX-License-Identifier: ISC */
/* An appliance for tests: every disk of the machine gets a pattern, from several tasks at once, is
 * flushed and read back; piece 1 is zeroed and piece 2 discarded where the disk can do that. What
 * was written is checked on the host.
 *
 * Piece p of 64 KiB has in its 8-byte word w, little-endian, the number p << 32 | w, the first
 * disk; the others likewise with their number in the highest byte.
 */
#include <mirari/app.h>
#include <mirari/bytes.h>

#define PIECE_BYTES (64u << 10)
#define TASKS       4u
#define STATS(x)    (unsigned long long)(x)

struct job {
    struct mir_app *app;
    struct mir_block_dev *dev;
    uint32_t number; /* of the disk */
    uint32_t next, pieces;
    uint32_t running;
    bool is_reading;
    uint32_t bad;
    int error;
    struct mir_wait ended;
};

static uint64_t word_of(const struct job *job, uint32_t piece, uint32_t word)
{
    return (uint64_t)job->number << 56 | (uint64_t)piece << 32 | word;
}

static void fill(const struct job *job, uint8_t *base, uint32_t piece)
{
    for (uint32_t w = 0; w < PIECE_BYTES / 8; w++)
        mir_put_le64(base + (size_t)w * 8, word_of(job, piece, w));
}

/* On a disk that somebody else has written two pieces were wiped. */
static bool is_right(const struct job *job, const uint8_t *base, uint32_t piece)
{
    bool is_wiped = job->dev->info.caps & MIR_BLOCK_READONLY && (piece == 1 || piece == 2);
    for (uint32_t w = 0; w < PIECE_BYTES / 8; w++) {
        if (mir_get_le64(base + (size_t)w * 8) != (is_wiped ? 0 : word_of(job, piece, w)))
            return false;
    }
    return true;
}

/* Three pieces of memory for each request: chains of several descriptors. */
static int transfer(struct job *job, enum mir_block_op op, struct mir_io_page *page, uint32_t piece)
{
    uint64_t blocks = PIECE_BYTES / job->dev->info.block_bytes;
    struct mir_block_request request = {
        .op = op,
        .block = piece * blocks,
        .seg_count = 3,
        .segs = {{page, 0, 4096}, {page, 4096, 20480}, {page, 24576, PIECE_BYTES - 24576}}};
    return mir_block_do(job->app->loop, job->dev, &request);
}

static void work(void *arg)
{
    struct job *job = arg;
    struct mir_io_page *page;
    if (mir_page_alloc(job->app->pages, PIECE_BYTES, MIR_PAGE_ZERO, &page) < 0) {
        job->error = -MIR_ENOMEM;
        page = NULL;
    }
    while (page != NULL && job->next < job->pieces && job->error == 0) {
        uint32_t piece = job->next++;
        int r;
        if (job->is_reading) {
            mir_memset(page->base, 0xee, PIECE_BYTES);
            r = transfer(job, MIR_BLOCK_READ, page, piece);
            job->bad += r == 0 && !is_right(job, page->base, piece);
        } else {
            fill(job, page->base, piece);
            r = transfer(job, MIR_BLOCK_WRITE, page, piece);
        }
        if (r < 0)
            job->error = r;
    }
    if (page != NULL)
        mir_page_release(page);
    job->running--;
    mir_wait_wake_all(&job->ended);
}

/* Returns 0 or an error. */
static int pass(struct job *job, bool is_reading)
{
    job->next = 0;
    job->is_reading = is_reading;
    for (uint32_t i = 0; i < TASKS; i++) {
        if (mir_app_spawn(job->app, "work", work, job) < 0)
            return -MIR_ENOMEM;
        job->running++;
    }
    while (job->running > 0) {
        int r = mir_wait_on(job->app->loop, &job->ended, MIR_TIME_NEVER);
        if (r < 0)
            return r;
    }
    return job->error;
}

static int wipe(struct job *job, enum mir_block_op op, uint32_t piece)
{
    uint32_t blocks = PIECE_BYTES / job->dev->info.block_bytes;
    struct mir_block_request request = {
        .op = op, .block = (uint64_t)piece * blocks, .block_count = blocks};
    return mir_block_do(job->app->loop, job->dev, &request);
}

static int flush(struct job *job)
{
    struct mir_block_request request = {.op = MIR_BLOCK_FLUSH};
    return mir_block_do(job->app->loop, job->dev, &request);
}

static void say(const struct job *job)
{
    struct mir_block_stats stats;
    mir_block_stats(job->dev, &stats);
    mir_app_print(job->app,
                  "disk %u: %llu reads %llu bytes, %llu writes %llu bytes, %llu flushes, %llu "
                  "zeroes, %llu discards, %llu errors\n",
                  job->number, STATS(stats.reads), STATS(stats.read_bytes), STATS(stats.writes),
                  STATS(stats.written_bytes), STATS(stats.flushes), STATS(stats.zeroes),
                  STATS(stats.discards), STATS(stats.errors));
}

static int test_disk(struct job *job)
{
    const struct mir_block_info *info = &job->dev->info;
    struct mir_app *app = job->app;
    mir_app_print(app, "disk %u: %s, %llu blocks of %u bytes, caps %u\n", job->number, info->kind,
                  STATS(info->block_count), info->block_bytes, info->caps);
    bool is_writing = !(info->caps & MIR_BLOCK_READONLY);
    mir_time_us start_us = mir_loop_now(app->loop);
    int r = is_writing ? pass(job, false) : 0;
    mir_time_us written_us = mir_loop_now(app->loop);
    if (r == 0 && is_writing)
        r = flush(job);
    if (r == 0)
        r = pass(job, true);
    mir_time_us read_us = mir_loop_now(app->loop);
    mir_app_print(app, "disk %u: %s, %u wrong pieces, written in %llu us, read in %llu us\n",
                  job->number, mir_strerror(r), job->bad, STATS(written_us - start_us),
                  STATS(read_us - written_us));
    if (r == 0 && is_writing && info->caps & MIR_BLOCK_CAN_ZERO)
        r = wipe(job, MIR_BLOCK_ZERO, 1);
    if (r == 0 && is_writing && info->caps & MIR_BLOCK_CAN_DISCARD)
        r = wipe(job, MIR_BLOCK_DISCARD, 2);
    if (r == 0 && is_writing)
        r = flush(job);
    say(job);
    return r < 0 || job->bad > 0;
}

int mir_app_main(struct mir_app *app)
{
    int failed = 0;
    mir_app_print(app, "%u disks\n", app->block_count);
    for (uint32_t i = 0; i < app->block_count; i++) {
        struct job job = {.app = app,
                          .dev = app->blocks[i],
                          .number = i,
                          .pieces = (uint32_t)mir_app_int(app, "pieces")};
        mir_wait_init(&job.ended);
        failed += test_disk(&job);
    }
    return failed;
}
