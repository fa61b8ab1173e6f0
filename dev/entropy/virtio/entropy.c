/* SPDX-License-Identifier: ISC */
/* The host's random bytes (VIRTIO 1.2 section 5.4): one buffer to write, waited for.
 *
 * It is read at start and rarely after, so reading simply looks until the answer is there, a second
 * at most: an appliance must not start without, nor hang for want of it. The device may give fewer
 * bytes than asked for; it is asked again for the rest. What it gave is wiped from the shared page.
 * A host that lies about randomness cannot be found out; a target mixes in the processor's own.
 *
 * A device that does not answer is reset and left alone. If it does not even confirm that, its page
 * is never used again (MirageOS advisory MSA02).
 */
#include "dev/entropy/virtio/entropy.h"

#define WAIT_US    MIR_US_PER_S
#define QUEUE_SIZE 8u

static void give_up(struct mir_virtio_entropy *rng)
{
    rng->is_dead = true;
    if (mir__virtio_reset(rng->virtio) < 0)
        return;
    mir__virtio_queue_close(&rng->queue);
    if (rng->page != NULL)
        mir_page_release(rng->page);
    rng->page = NULL;
}

/* Some bytes, 1 .. @want. Returns their number, or a negative error. */
static int ask(struct mir_virtio_entropy *rng, uint32_t want, mir_time_us end_us)
{
    struct mir_clock *clock = rng->virtio->clock;
    struct mir__virtq_seg seg = {mir__virtio_address(rng->virtio, rng->page->base), want};
    void *token;
    uint32_t len = 0;
    int r = mir__virtq_add(&rng->queue.ring, &seg, 0, 1, rng);
    if (r < 0)
        return r;
    mir__virtio_kick(&rng->queue);
    while ((r = mir__virtq_take(&rng->queue.ring, &token, &len)) == -MIR_EAGAIN) {
        if (clock->monotonic(clock) > end_us)
            return -MIR_ETIMEDOUT;
    }
    return r < 0 ? r : (int)len;
}

static int read_bytes(struct mir_entropy *entropy, void *out, size_t len)
{
    struct mir_virtio_entropy *rng = (struct mir_virtio_entropy *)(void *)entropy;
    struct mir_clock *clock = rng->virtio->clock;
    uint8_t *to = out;
    MIR_ASSERT_OP(len, <=, MIR_VIRTIO_ENTROPY_MAX);
    if (rng->is_dead)
        return -MIR_EIO;
    mir_time_us end_us = clock->monotonic(clock) + WAIT_US;
    while (len > 0) {
        int n = ask(rng, (uint32_t)len, end_us);
        if (n < 0 || clock->monotonic(clock) > end_us) {
            give_up(rng);
            return -MIR_EIO;
        }
        mir_memcpy(to, rng->page->base, (size_t)n);
        mir_memset(rng->page->base, 0, MIR_VIRTIO_ENTROPY_MAX);
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

static uint64_t choose(void *arg, uint64_t offered)
{
    (void)arg;
    (void)offered;
    return 0;
}

int mir_virtio_entropy_open(struct mir_virtio_entropy *rng, struct mir_virtio *virtio)
{
    if (virtio->device != MIR_VIRTIO_ENTROPY)
        return -MIR_EINVAL;
    *rng = (struct mir_virtio_entropy){.entropy = {.read = read_bytes}, .virtio = virtio};
    int r = mir__virtio_reset(virtio) < 0 ? -MIR_EIO : 0;
    if (r == 0)
        r = mir__virtio_negotiate(virtio, choose, NULL);
    if (r == 0)
        r = mir_page_alloc(virtio->pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &rng->page);
    if (r == 0)
        r = mir__virtio_queue_open(virtio, &rng->queue, 0, QUEUE_SIZE, 0);
    if (r < 0) {
        mir__virtio_fail(virtio);
        give_up(rng);
        return r;
    }
    mir__virtq_disarm(&rng->queue.ring);
    mir__virtio_ready(virtio);
    return 0;
}

void mir_virtio_entropy_close(struct mir_virtio_entropy *rng)
{
    if (!rng->is_dead)
        give_up(rng);
}
