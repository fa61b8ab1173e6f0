/* SPDX-License-Identifier: ISC */
/* What block devices have in common: the check of a request, and waiting for one in a task. */
#include <mirari/dev_block.h>

#define FULL_PAUSE_US MIR_US_PER_MS

static int check_segs(const struct mir_block_info *info, const struct mir_block_request *request,
                      uint64_t *blocks)
{
    uint64_t bytes = 0;
    if (request->seg_count == 0 || request->seg_count > info->segs_max)
        return request->seg_count == 0 ? -MIR_EINVAL : -MIR_ERANGE;
    for (uint32_t i = 0; i < request->seg_count; i++) {
        const struct mir_block_seg *seg = &request->segs[i];
        const struct mir_io_page *page = seg->page;
        if (page == NULL || seg->len == 0 || seg->len % info->block_bytes != 0 ||
            seg->offset > page->size_bytes || seg->len > page->size_bytes - seg->offset)
            return -MIR_EINVAL;
        if (((uintptr_t)page->base + seg->offset) % info->align_bytes != 0)
            return -MIR_EINVAL;
        if (request->op == MIR_BLOCK_READ && page->flags & (MIR_PAGE_READONLY | MIR_PAGE_STATIC))
            return -MIR_EINVAL;
        bytes += seg->len;
    }
    *blocks = bytes / info->block_bytes;
    return *blocks <= info->request_max ? 0 : -MIR_ERANGE;
}

static int check_count(uint32_t count, uint32_t most, uint64_t *blocks)
{
    if (most == 0)
        return -MIR_ENOTSUP;
    *blocks = count;
    if (count == 0)
        return -MIR_EINVAL;
    return count <= most ? 0 : -MIR_ERANGE;
}

int mir_block_check(const struct mir_block_info *info, const struct mir_block_request *request,
                    uint64_t *blocks)
{
    int r;
    *blocks = 0;
    switch (request->op) {
    case MIR_BLOCK_READ:
    case MIR_BLOCK_WRITE:
        r = check_segs(info, request, blocks);
        break;
    case MIR_BLOCK_DISCARD:
        r = check_count(request->block_count, info->discard_max, blocks);
        break;
    case MIR_BLOCK_ZERO:
        r = check_count(request->block_count, info->zero_max, blocks);
        break;
    case MIR_BLOCK_FLUSH:
        return 0;
    default:
        r = -MIR_EINVAL;
    }
    if (r < 0)
        return r;
    if (request->op != MIR_BLOCK_READ && info->caps & MIR_BLOCK_READONLY)
        return -MIR_EPERM;
    if (request->block > info->block_count || *blocks > info->block_count - request->block)
        return -MIR_ERANGE;
    return 0;
}

/* ---- in a task --------------------------------------------------------------------------------
 */

struct waiter {
    struct mir_wait wait;
    bool is_done;
    int result;
};

static void on_done(struct mir_block_request *request, int result)
{
    struct waiter *waiter = request->arg;
    waiter->is_done = true;
    waiter->result = result;
    mir_wait_wake_all(&waiter->wait);
}

int mir_block_do(struct mir_loop *loop, struct mir_block_dev *dev,
                 struct mir_block_request *request)
{
    struct waiter waiter = {.is_done = false};
    bool is_canceled = false;
    int r;
    mir_wait_init(&waiter.wait);
    request->done = on_done;
    request->arg = &waiter;
    while ((r = mir_block_submit(dev, request)) == -MIR_EAGAIN) {
        r = mir_task_sleep(loop, mir_loop_now(loop) + FULL_PAUSE_US);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    mir_block_kick(dev);
    while (!waiter.is_done) {
        if (is_canceled) /* a cancelled task does not sleep: others are let run meanwhile */
            mir_task_yield(loop);
        else
            is_canceled = mir_wait_on(loop, &waiter.wait, MIR_TIME_NEVER) == -MIR_ECANCELED;
    }
    return is_canceled ? -MIR_ECANCELED : waiter.result;
}
