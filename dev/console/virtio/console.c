/* SPDX-License-Identifier: ISC */
/* A console over virtio (VIRTIO 1.2 section 5.3), output only, port 0, queue 1.
 *
 * A text is cut into pieces of a page, copied, and sent; pages come back when the host has taken
 * them. If none is free a write looks for one for WAIT_US at most, all its pieces together; what
 * then is left is dropped and counted. Every turn of the loop either moves on in the text or ends
 * it: a write of any length ends (MirageOS advisory MSA03: one of more than 2,048 bytes did not).
 *
 * A host that misbehaves loses its console, not its guest.
 */
#include "dev/console/virtio/console.h"

#define QUEUE_OUT  1u
#define QUEUE_SIZE 16u
#define WAIT_US    (10 * MIR_US_PER_MS)
#define CLOSE_US   (50 * MIR_US_PER_MS)

static void give_up(struct mir_virtio_console *con)
{
    con->is_dead = true;
    if (mir__virtio_reset(con->virtio) < 0)
        return; /* its pages are the device's for good (advisory MSA02) */
    mir__virtio_queue_close(&con->queue);
    for (uint32_t i = 0; i < MIR_VIRTIO_CONSOLE_PAGES; i++) {
        if (con->page[i] != NULL)
            mir_page_release(con->page[i]);
    }
}

/* Pages that came back. */
static void collect(struct mir_virtio_console *con)
{
    void *token;
    uint32_t len;
    int r;
    while ((r = mir__virtq_take(&con->queue.ring, &token, &len)) == 0)
        con->free[con->free_count++] = token;
    if (r == -MIR_EPROTO)
        give_up(con);
}

static bool wait_pages(struct mir_virtio_console *con, uint32_t count, mir_time_us end_us)
{
    struct mir_clock *clock = con->virtio->clock;
    while (true) {
        if (!con->is_dead)
            collect(con);
        if (con->is_dead)
            return false;
        if (con->free_count >= count)
            return true;
        if (clock->monotonic(clock) > end_us)
            return false;
    }
}

static void send(struct mir_virtio_console *con, const char *data, size_t len)
{
    struct mir_io_page *page = con->free[--con->free_count];
    mir_memcpy(page->base, data, len);
    struct mir__virtq_seg seg = {mir__virtio_address(con->virtio, page->base), (uint32_t)len};
    if (mir__virtq_add(&con->queue.ring, &seg, 1, 0, page) < 0)
        con->free[con->free_count++] = page;
    mir__virtio_kick(&con->queue);
}

static void write_text(struct mir_console *console, const char *data, size_t len)
{
    struct mir_virtio_console *con = (struct mir_virtio_console *)(void *)console;
    struct mir_clock *clock = con->virtio->clock;
    mir_time_us end_us = 0;
    while (len > 0 && !con->is_dead) {
        if (con->free_count == 0) {
            if (end_us == 0)
                end_us = clock->monotonic(clock) + WAIT_US;
            if (!wait_pages(con, 1, end_us))
                break;
        }
        size_t piece = MIR_MIN(len, (size_t)MIR_PAGE_SIZE);
        send(con, data, piece);
        data += piece;
        len -= piece;
    }
    console->dropped_bytes += len;
}

static uint64_t choose(void *arg, uint64_t offered)
{
    (void)arg;
    (void)offered;
    return 0;
}

int mir_virtio_console_open(struct mir_virtio_console *con, struct mir_virtio *virtio)
{
    if (virtio->device != MIR_VIRTIO_CONSOLE)
        return -MIR_EINVAL;
    *con = (struct mir_virtio_console){.console = {.write = write_text}, .virtio = virtio};
    int r = mir__virtio_reset(virtio) < 0 ? -MIR_EIO : 0;
    if (r == 0)
        r = mir__virtio_negotiate(virtio, choose, NULL);
    for (uint32_t i = 0; i < MIR_VIRTIO_CONSOLE_PAGES && r == 0; i++) {
        r = mir_page_alloc(virtio->pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, &con->page[i]);
        if (r == 0)
            con->free[con->free_count++] = con->page[i];
    }
    if (r == 0)
        r = mir__virtio_queue_open(virtio, &con->queue, QUEUE_OUT, QUEUE_SIZE, 0);
    if (r < 0) {
        mir__virtio_fail(virtio);
        give_up(con);
        return r;
    }
    mir__virtq_disarm(&con->queue.ring);
    mir__virtio_ready(virtio);
    return 0;
}

void mir_virtio_console_close(struct mir_virtio_console *con)
{
    struct mir_clock *clock = con->virtio->clock;
    if (con->is_dead)
        return;
    (void)wait_pages(con, MIR_VIRTIO_CONSOLE_PAGES, clock->monotonic(clock) + CLOSE_US);
    if (!con->is_dead)
        give_up(con);
}
