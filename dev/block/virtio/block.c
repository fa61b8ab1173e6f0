/* SPDX-License-Identifier: ISC */
/* A virtio block device (VIRTIO 1.2 section 5.2).
 *
 *   chain   header 16 (type, sector) -> pieces of the caller's pages -> status 1
 *
 * Headers and status bytes lie in a page of ours, one place for each of DEPTH requests; data goes
 * between the device and the caller's pages without a copy. The driver holds a reference on each of
 * them while the device has them: should a device not confirm its reset, they stay where they are
 * for good though their request is over (MirageOS advisory MSA02).
 *
 * A status is set to an impossible value before, so that a device which returns a chain without
 * doing anything is found out; so is a read of fewer bytes than were asked for, whose rest would be
 * what was in the page before (MSA01).
 *
 *   up --- fault, DEVICE_NEEDS_RESET, a request out of time ---> reset, all requests fail --> up
 *                                                                 | not confirmed
 *                                                                 v
 *                                                               dead: everything is refused
 *
 * Sectors of the device are 512 bytes whatever its blocks are. Discards and zeroes take one range.
 * One queue is used of several.
 */
#include <mirari/bytes.h>
#include <mirari/log.h>

#include "dev/block/virtio/virtio.h"

#define F_SEG_MAX      (1ull << 2)
#define F_READONLY     (1ull << 5)
#define F_BLOCK_SIZE   (1ull << 6)
#define F_FLUSH        (1ull << 9)
#define F_TOPOLOGY     (1ull << 10)
#define F_DISCARD      (1ull << 13)
#define F_WRITE_ZEROES (1ull << 14)

enum config {
    CONFIG_CAPACITY = 0,
    CONFIG_SEG_MAX = 12,
    CONFIG_BLOCK_SIZE = 20,
    CONFIG_OPTIMAL = 28,
    CONFIG_DISCARD_MAX = 36,
    CONFIG_ZERO_MAX = 48,
};

enum type { TYPE_READ = 0, TYPE_WRITE = 1, TYPE_FLUSH = 4, TYPE_DISCARD = 11, TYPE_ZERO = 13 };
enum status { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_UNSUPPORTED = 2, STATUS_NONE = 0xff };

#define SECTOR      512u
#define DEPTH       64u
#define TABLES      64u
#define QUEUE_SIZE  256u
#define PLACE_BYTES 64u /* of a slot: header at 0, range at 16, status at 32 */
#define RANGE_AT    16u
#define STATUS_AT   32u
#define HEADER_LEN  16u
#define RANGE_LEN   16u

#define TIMEOUT_US   (30 * MIR_US_PER_S)
#define RETRY_MIN_US MIR_US_PER_MS
#define RETRY_MAX_US (30 * MIR_US_PER_S)
#define CALM_US      (60 * MIR_US_PER_S)

_Static_assert(DEPTH *PLACE_BYTES <= MIR_PAGE_SIZE, "places fit a page");
_Static_assert(MIR_BLOCK_SEGS_MAX + 2 <= MIR__VIRTQ_CHAIN_MAX, "a request fits a chain");

struct slot {
    struct mir_block_request *request; /* NULL: free */
    mir_time_us since_us;
};

struct blk {
    struct mir_block_dev dev; /* first */
    struct mir_virtio_driver driver;
    struct mir_virtio *virtio;
    struct mir_loop *loop;
    struct mir_io_page *self;
    struct mir_io_page *places;
    struct mir_virtio_queue queue;
    struct slot slots[DEPTH];
    uint8_t free[DEPTH]; /* a stack */
    uint32_t free_count;
    uint64_t features;
    mir_time_us timeout_us;
    mir_time_us up_since_us;
    mir_time_us retry_us;
    struct mir_timer timer; /* up: requests out of time; else: try again */
    struct mir_work idle_work;
    struct mir_block_request *idle; /* flushes of a device that needs none */
    bool wants_readonly;
    bool is_up;
    bool is_dead;
    bool is_closed;
    struct mir_block_stats stats;
};

static struct blk *of_dev(struct mir_block_dev *dev)
{
    return (struct blk *)(void *)dev;
}

static uint8_t *place_of(const struct blk *b, uint32_t index)
{
    return b->places->base + (size_t)index * PLACE_BYTES;
}

/* ---- requests
 * ------------------------------------------------------------------------------------ */

static enum type type_of(enum mir_block_op op)
{
    switch (op) {
    case MIR_BLOCK_READ:
        return TYPE_READ;
    case MIR_BLOCK_WRITE:
        return TYPE_WRITE;
    case MIR_BLOCK_DISCARD:
        return TYPE_DISCARD;
    case MIR_BLOCK_ZERO:
        return TYPE_ZERO;
    default:
        return TYPE_FLUSH;
    }
}

/* Sector of the header; ranges say theirs themselves. */
static void fill_place(const struct blk *b, uint8_t *place, const struct mir_block_request *request)
{
    uint64_t sectors_per_block = b->dev.info.block_bytes / SECTOR;
    uint64_t sector = request->block * sectors_per_block;
    bool is_range = request->op == MIR_BLOCK_DISCARD || request->op == MIR_BLOCK_ZERO;
    bool is_data = request->op == MIR_BLOCK_READ || request->op == MIR_BLOCK_WRITE;
    mir_memset(place, 0, PLACE_BYTES);
    mir_put_le32(place, type_of(request->op));
    mir_put_le64(place + 8, is_data ? sector : 0);
    if (is_range) {
        mir_put_le64(place + RANGE_AT, sector);
        mir_put_le32(place + RANGE_AT + 8, (uint32_t)(request->block_count * sectors_per_block));
    }
    place[STATUS_AT] = STATUS_NONE;
}

static int add_chain(struct blk *b, uint32_t index, const struct mir_block_request *request)
{
    struct mir__virtq_seg segs[MIR__VIRTQ_CHAIN_MAX];
    uint64_t place = mir__virtio_address(b->virtio, place_of(b, index));
    uint32_t count = 0;
    segs[count++] = (struct mir__virtq_seg){place, HEADER_LEN};
    if (request->op == MIR_BLOCK_DISCARD || request->op == MIR_BLOCK_ZERO)
        segs[count++] = (struct mir__virtq_seg){place + RANGE_AT, RANGE_LEN};
    uint32_t seg_count = request->op <= MIR_BLOCK_WRITE ? request->seg_count : 0;
    for (uint32_t i = 0; i < seg_count; i++) {
        const struct mir_block_seg *seg = &request->segs[i];
        segs[count++] = (struct mir__virtq_seg){
            mir__virtio_address(b->virtio, seg->page->base + seg->offset), seg->len};
    }
    segs[count++] = (struct mir__virtq_seg){place + STATUS_AT, 1};
    uint32_t in_count = request->op == MIR_BLOCK_READ ? count - 1 : 1;
    return mir__virtq_add(&b->queue.ring, segs, count - in_count, in_count, &b->slots[index]);
}

static void hold_pages(const struct mir_block_request *request)
{
    for (uint32_t i = 0; request->op <= MIR_BLOCK_WRITE && i < request->seg_count; i++)
        (void)mir_page_acquire(request->segs[i].page);
}

static void release_pages(const struct mir_block_request *request)
{
    for (uint32_t i = 0; request->op <= MIR_BLOCK_WRITE && i < request->seg_count; i++)
        mir_page_release(request->segs[i].page);
}

static uint64_t bytes_of(const struct mir_block_request *request)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; request->op <= MIR_BLOCK_WRITE && i < request->seg_count; i++)
        bytes += request->segs[i].len;
    return bytes;
}

static void count_done(struct blk *b, const struct mir_block_request *request, int result)
{
    struct mir_block_stats *s = &b->stats;
    s->errors += result < 0;
    s->reads += request->op == MIR_BLOCK_READ;
    s->writes += request->op == MIR_BLOCK_WRITE;
    s->flushes += request->op == MIR_BLOCK_FLUSH;
    s->discards += request->op == MIR_BLOCK_DISCARD;
    s->zeroes += request->op == MIR_BLOCK_ZERO;
    if (request->op == MIR_BLOCK_READ)
        s->read_bytes += bytes_of(request);
    else
        s->written_bytes += bytes_of(request);
}

/* The request is the caller's again; its pages as well unless the device still has them. */
static void end_slot(struct blk *b, struct slot *slot, int result, bool is_confirmed)
{
    struct mir_block_request *request = slot->request;
    slot->request = NULL;
    b->free[b->free_count++] = (uint8_t)(slot - b->slots);
    count_done(b, request, result);
    if (is_confirmed)
        release_pages(request);
    request->done(request, result);
}

static int result_of(const struct blk *b, const struct slot *slot, uint32_t written)
{
    const struct mir_block_request *request = slot->request;
    uint8_t *status = place_of(b, (uint32_t)(slot - b->slots)) + STATUS_AT;
    switch (__atomic_load_n(status, __ATOMIC_RELAXED)) {
    case STATUS_OK:
        /* Fewer bytes than asked for: the rest would be what was there before. */
        return request->op == MIR_BLOCK_READ && written < bytes_of(request) ? -MIR_EIO : 0;
    case STATUS_UNSUPPORTED:
        return -MIR_ENOTSUP;
    default:
        return -MIR_EIO;
    }
}

/* ---- up and down
 * --------------------------------------------------------------------------------- */

static uint64_t choose(void *arg, uint64_t offered)
{
    const struct blk *b = arg;
    uint64_t known =
        F_SEG_MAX | F_READONLY | F_BLOCK_SIZE | F_FLUSH | F_TOPOLOGY | F_DISCARD | F_WRITE_ZEROES;
    return offered & (b->features != 0 ? b->features : known);
}

static int negotiate(struct blk *b)
{
    if (mir__virtio_reset(b->virtio) < 0)
        return -MIR_EIO;
    int r = mir__virtio_negotiate(b->virtio, choose, b);
    if (r == 0 && b->features != 0 && b->virtio->features != b->features)
        r = -MIR_ENOTSUP;
    b->features = b->virtio->features;
    return r;
}

static int bring_up(struct blk *b)
{
    int r = mir__virtio_queue_open(b->virtio, &b->queue, 0,
                                   b->queue.size != 0 ? b->queue.size : QUEUE_SIZE, TABLES);
    if (r == 0 && b->queue.ring.size < MIR__VIRTQ_CHAIN_MAX && b->queue.ring.table_count == 0)
        r = -MIR_ENOTSUP;
    if (r < 0)
        return r;
    mir__virtio_ready(b->virtio);
    b->is_up = true;
    b->up_since_us = mir_loop_now(b->loop);
    return 0;
}

/* Everything on its way ends with @result. Returns false if the device did not let go. */
static bool take_down(struct blk *b, int result)
{
    b->is_up = false;
    mir_timer_cancel(&b->timer);
    bool is_confirmed = mir__virtio_reset(b->virtio) == 0;
    if (!is_confirmed) {
        b->is_dead = true;
        MIR_LOG(DEV, ERROR, "a block device does not confirm its reset: it is left alone");
    } else {
        while (mir__virtq_reclaim(&b->queue.ring) != NULL) {
        }
    }
    for (uint32_t i = 0; i < DEPTH; i++) {
        if (b->slots[i].request != NULL)
            end_slot(b, &b->slots[i], result, is_confirmed);
    }
    return is_confirmed;
}

static void restart(struct blk *b, const char *why)
{
    MIR_LOG(DEV, WARN, "block device: %s; it is reset", why);
    b->stats.resets++;
    /* The pause is short again after a calm time only: a device that does one thing right and the
     * next one wrong would have us do nothing but reset it. */
    if (mir_loop_now(b->loop) - b->up_since_us > CALM_US)
        b->retry_us = RETRY_MIN_US;
    if (take_down(b, -MIR_EIO) && !b->is_closed)
        mir_timer_set(b->loop, &b->timer, mir_loop_now(b->loop) + b->retry_us);
    b->retry_us = MIR_MIN(b->retry_us * 2, RETRY_MAX_US);
}

static bool is_late(const struct blk *b)
{
    mir_time_us now_us = mir_loop_now(b->loop);
    for (uint32_t i = 0; i < DEPTH; i++) {
        const struct slot *slot = &b->slots[i];
        if (slot->request != NULL && now_us - slot->since_us > b->timeout_us)
            return true;
    }
    return false;
}

static void on_timer(void *arg)
{
    struct blk *b = arg;
    if (!b->is_up) {
        if (b->is_dead || b->is_closed)
            return;
        if (negotiate(b) < 0 || bring_up(b) < 0) {
            mir_timer_set(b->loop, &b->timer, mir_loop_now(b->loop) + b->retry_us);
            b->retry_us = MIR_MIN(b->retry_us * 2, RETRY_MAX_US);
        }
        return;
    }
    if (is_late(b))
        restart(b, "a request was not answered in time");
    else if (b->free_count < DEPTH)
        mir_timer_set(b->loop, &b->timer, mir_loop_now(b->loop) + b->timeout_us / 4);
}

/* ---- configuration
 * ------------------------------------------------------------------------------- */

static int read_capacity(struct blk *b)
{
    uint32_t words[2];
    int r = mir__virtio_config(b->virtio, CONFIG_CAPACITY, words, 4, 2);
    if (r < 0)
        return r;
    uint64_t sectors = (uint64_t)words[1] << 32 | words[0];
    /* Byte offsets must fit: nothing is that large. */
    sectors = MIR_MIN(sectors, INT64_MAX / SECTOR);
    b->dev.info.block_count = sectors / (b->dev.info.block_bytes / SECTOR);
    return 0;
}

static int read_word(struct blk *b, uint64_t feature, uint32_t offset, uint32_t *value)
{
    return b->features & feature ? mir__virtio_config(b->virtio, offset, value, 4, 1) : 0;
}

static int describe(struct blk *b)
{
    struct mir_block_info *info = &b->dev.info;
    uint32_t size = SECTOR, segs = MIR_BLOCK_SEGS_MAX, optimal = 0, discard = 0, zero = 0;
    int r = read_word(b, F_BLOCK_SIZE, CONFIG_BLOCK_SIZE, &size);
    if (r == 0)
        r = read_word(b, F_SEG_MAX, CONFIG_SEG_MAX, &segs);
    if (r == 0)
        r = read_word(b, F_TOPOLOGY, CONFIG_OPTIMAL, &optimal);
    if (r == 0)
        r = read_word(b, F_DISCARD, CONFIG_DISCARD_MAX, &discard);
    if (r == 0)
        r = read_word(b, F_WRITE_ZEROES, CONFIG_ZERO_MAX, &zero);
    if (r < 0)
        return r;
    if (size < SECTOR || size > MIR_PAGE_SIZE || (size & (size - 1)) != 0 || segs == 0)
        return -MIR_ENOTSUP;
    bool is_readonly = b->wants_readonly || b->features & F_READONLY;
    info->block_bytes = size;
    info->segs_max = MIR_MIN(segs, MIR_BLOCK_SEGS_MAX);
    info->request_max = MIR_BLOCK_SEGS_MAX * MIR_PAGE_RUN_MAX * (MIR_PAGE_SIZE / size);
    info->discard_max = is_readonly ? 0 : discard / (size / SECTOR);
    info->zero_max = is_readonly ? 0 : zero / (size / SECTOR);
    info->align_bytes = 1;
    info->optimal_bytes =
        optimal != 0 && optimal <= UINT32_MAX / size ? optimal * size : MIR_PAGE_SIZE;
    info->depth = DEPTH;
    info->kind = "virtio";
    info->caps = (is_readonly ? MIR_BLOCK_READONLY : 0u) |
                 (b->features & F_FLUSH ? MIR_BLOCK_CAN_FLUSH : 0u) |
                 (info->discard_max != 0 ? MIR_BLOCK_CAN_DISCARD : 0u) |
                 (info->zero_max != 0 ? MIR_BLOCK_CAN_ZERO : 0u);
    return read_capacity(b);
}

/* ---- what a target calls
 * ------------------------------------------------------------------------- */

static bool take_done(struct blk *b)
{
    void *token;
    uint32_t written;
    bool found = false;
    int r = -MIR_EAGAIN;
    while (b->is_up && (r = mir__virtq_take(&b->queue.ring, &token, &written)) == 0) {
        struct slot *slot = token;
        found = true;
        end_slot(b, slot, result_of(b, slot, written), true);
    }
    if (b->is_up && r == -MIR_EPROTO)
        restart(b, mir__virtq_fault_text(b->queue.ring.fault));
    return found;
}

static bool blk_poll(struct mir_virtio_driver *driver, unsigned events)
{
    struct blk *b = MIR_CONTAINER_OF(driver, struct blk, driver);
    if (!b->is_up)
        return false;
    mir__virtq_disarm(&b->queue.ring);
    if (events & MIR_VIRTIO_EVENT_CONFIG) {
        if (mir__virtio_needs_reset(b->virtio)) {
            restart(b, "it asks for a reset");
            return true;
        }
        (void)!read_capacity(b);
    }
    return take_done(b);
}

static bool blk_arm(struct mir_virtio_driver *driver)
{
    struct blk *b = MIR_CONTAINER_OF(driver, struct blk, driver);
    return b->is_up && b->queue.ring.in_flight > 0 && mir__virtq_arm(&b->queue.ring, 1);
}

/* ---- the contract
 * -------------------------------------------------------------------------------- */

static int check(struct blk *b, const struct mir_block_request *request)
{
    uint64_t blocks;
    if (b->is_dead || b->is_closed)
        return -MIR_EIO;
    int r = mir_block_check(&b->dev.info, request, &blocks);
    if (r < 0)
        return r;
    return b->is_up && b->free_count > 0 ? 0 : -MIR_EAGAIN;
}

/* A device without flush has written what it says it has. */
static void finish_idle(struct blk *b, int result)
{
    struct mir_block_request *request = b->idle;
    b->idle = NULL;
    while (request != NULL) {
        struct mir_block_request *next = request->next;
        b->stats.flushes++;
        request->done(request, result);
        request = next;
    }
}

static void run_idle(void *arg)
{
    finish_idle(arg, 0);
}

static int submit_checked(struct blk *b, struct mir_block_request *request)
{
    uint32_t index = b->free[b->free_count - 1];
    if (request->op == MIR_BLOCK_FLUSH && !(b->dev.info.caps & MIR_BLOCK_CAN_FLUSH)) {
        request->next = b->idle;
        b->idle = request;
        mir_loop_post(b->loop, &b->idle_work);
        return 0;
    }
    fill_place(b, place_of(b, index), request);
    int r = add_chain(b, index, request);
    if (r < 0)
        return r;
    b->free_count--;
    b->slots[index] = (struct slot){request, mir_loop_now(b->loop)};
    hold_pages(request);
    if (!mir_timer_is_set(&b->timer))
        mir_timer_set(b->loop, &b->timer, mir_loop_now(b->loop) + b->timeout_us / 4);
    return 0;
}

static int blk_submit(struct mir_block_dev *dev, struct mir_block_request *request)
{
    struct blk *b = of_dev(dev);
    int r = check(b, request);
    if (r == 0)
        r = submit_checked(b, request);
    b->stats.refused += r < 0;
    return r;
}

static void blk_kick(struct mir_block_dev *dev)
{
    struct blk *b = of_dev(dev);
    if (b->is_up)
        mir__virtio_kick(&b->queue);
}

static void blk_stats(const struct mir_block_dev *dev, struct mir_block_stats *stats)
{
    *stats = ((const struct blk *)(const void *)dev)->stats;
}

static void blk_close(struct mir_block_dev *dev)
{
    struct blk *b = of_dev(dev);
    b->is_closed = true;
    mir_timer_cancel(&b->timer);
    mir_work_cancel(&b->idle_work);
    finish_idle(b, -MIR_ECANCELED);
    /* Also one that was on its way up knows addresses of ours. */
    if (b->is_up)
        (void)take_down(b, -MIR_ECANCELED);
    else if (!b->is_dead)
        b->is_dead = mir__virtio_reset(b->virtio) < 0;
    if (!b->is_dead) {
        mir__virtio_queue_close(&b->queue);
        if (b->places != NULL)
            mir_page_release(b->places);
    }
    mir_page_release(b->self);
}

static const struct mir_block_dev_ops blk_ops = {
    .submit = blk_submit,
    .kick = blk_kick,
    .stats = blk_stats,
    .close = blk_close,
};

static struct blk *make(const struct mir_virtio_block_config *config)
{
    struct mir_io_page *self;
    struct mir_page_pool *pages = config->virtio->pages;
    if (mir_page_alloc(pages, sizeof(struct blk), MIR_PAGE_ZERO, &self) < 0)
        return NULL;
    struct blk *b = (struct blk *)(void *)self->base;
    b->self = self;
    b->virtio = config->virtio;
    b->loop = config->loop;
    b->dev.ops = &blk_ops;
    b->driver =
        (struct mir_virtio_driver){.poll = blk_poll, .arm = blk_arm, .virtio = config->virtio};
    b->wants_readonly = config->is_readonly;
    b->timeout_us = config->timeout_us != 0 ? config->timeout_us : TIMEOUT_US;
    b->retry_us = RETRY_MIN_US;
    mir_timer_init(&b->timer, on_timer, b);
    mir_work_init(&b->idle_work, run_idle, b);
    for (uint32_t i = 0; i < DEPTH; i++)
        b->free[b->free_count++] = (uint8_t)(DEPTH - 1 - i);
    if (mir_page_alloc(pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &b->places) < 0) {
        mir_page_release(self);
        return NULL;
    }
    return b;
}

int mir_virtio_block_open(const struct mir_virtio_block_config *config, struct mir_block_dev **dev)
{
    if (config->virtio->device != MIR_VIRTIO_BLOCK)
        return -MIR_EINVAL;
    struct blk *b = make(config);
    if (b == NULL)
        return -MIR_ENOMEM;
    int r = negotiate(b);
    if (r == 0)
        r = describe(b);
    if (r == 0)
        r = bring_up(b);
    if (r < 0) {
        mir__virtio_fail(config->virtio);
        blk_close(&b->dev);
        return r;
    }
    *dev = &b->dev;
    return 0;
}

struct mir_virtio_driver *mir_virtio_block_driver(struct mir_block_dev *dev)
{
    return &of_dev(dev)->driver;
}
