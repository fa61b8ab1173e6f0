/* SPDX-License-Identifier: ISC */
/* A key-value store over a tar archive on a disk, which is read into memory at start.
 *
 * How long the archive is, only its headers say. They are walked first, through a window of 64 KiB
 * that moves: small files are passed in one read, a large one is jumped over. Then the whole of it
 * is read into one piece of memory, and opened there. What the first walk saw is believed only as
 * far as the length goes: a disk that answers otherwise the second time is refused or served as it
 * answered then, checked all the same.
 *
 * The memory comes from the end of the page pool for good, since nothing is ever read again and
 * values are ranges of it. If a device has to be left alone with a read on its way (it does not
 * confirm its reset), the descriptor of that memory must stay, too: it lies in front of the
 * archive.
 */
#include <mirari/format.h>

#include "dev/kv/tar/tar.h"
#include "dev/kv/tar/walk.h"

#define WINDOW_BYTES (16u * MIR_PAGE_SIZE)

_Static_assert(MIR__TAR_EXTENDED_MAX <= WINDOW_BYTES - MIR_PAGE_SIZE,
               "whatever is asked for fits the window, blocks of 4,096 bytes around it");

struct disk {
    struct mir__tar_source source;
    struct mir_loop *loop;
    struct mir_block_dev *dev;
    struct mir_io_page *window;
    uint64_t window_at;
    uint32_t window_len;
};

/* [len] bytes, whole blocks, from @offset, a multiple of the block size. */
static int read_blocks(struct mir_loop *loop, struct mir_block_dev *dev, uint64_t offset,
                       struct mir_io_page *page, uint32_t at, uint32_t len)
{
    struct mir_block_request request = {.op = MIR_BLOCK_READ,
                                        .block = offset / dev->info.block_bytes,
                                        .seg_count = 1,
                                        .segs = {{page, at, len}}};
    return mir_block_do(loop, dev, &request);
}

/* How much is read in one go: whole blocks. */
static uint32_t step_bytes(const struct mir_block_dev *dev, uint32_t most)
{
    uint64_t of_device = (uint64_t)dev->info.request_max * dev->info.block_bytes;
    uint32_t bytes = (uint32_t)MIR_MIN(of_device, (uint64_t)most);
    return bytes / dev->info.block_bytes * dev->info.block_bytes;
}

/* Moves the window there. What is asked for may need more than one request, if the device takes
 * only a few blocks at once. */
static int read_window(struct mir__tar_source *source, uint64_t offset, uint32_t len,
                       const uint8_t **bytes)
{
    struct disk *disk = MIR_CONTAINER_OF(source, struct disk, source);
    uint64_t from = offset - offset % disk->dev->info.block_bytes;
    uint64_t disk_bytes = disk->dev->info.block_count * disk->dev->info.block_bytes;
    bool is_inside = disk->window_len > 0 && offset >= disk->window_at &&
                     offset + len <= disk->window_at + disk->window_len;
    if (!is_inside) {
        disk->window_at = from;
        disk->window_len = 0;
        while (offset + len > from + disk->window_len) {
            uint64_t left = disk_bytes - from - disk->window_len;
            uint32_t room = WINDOW_BYTES - disk->window_len;
            uint32_t step = step_bytes(disk->dev, (uint32_t)MIR_MIN(left, (uint64_t)room));
            if (step == 0)
                return -MIR_ERANGE;
            int r = read_blocks(disk->loop, disk->dev, from + disk->window_len, disk->window,
                                disk->window_len, step);
            if (r < 0)
                return r;
            disk->window_len += step;
        }
    }
    *bytes = disk->window->base + (offset - disk->window_at);
    return 0;
}

static int measure(const struct mir_kv_tar_config *config, struct disk *disk, uint64_t *size,
                   char error[MIR_KV_TAR_ERROR_MAX])
{
    uint64_t disk_bytes = disk->dev->info.block_count * disk->dev->info.block_bytes;
    uint64_t most = config->archive_max != 0 ? config->archive_max
                                             : mir_page_pool_free_bytes(config->pages) / 2;
    disk->source =
        (struct mir__tar_source){.read = read_window, .size_bytes = MIR_MIN(disk_bytes, most)};
    int r = mir_page_alloc(config->pages, WINDOW_BYTES, MIR_PAGE_OVERWRITE, &disk->window);
    if (r < 0) {
        mir_format(error, MIR_KV_TAR_ERROR_MAX, "no memory to read it");
        return r;
    }
    r = mir__kv_tar_measure(&disk->source, config->files_max, size, error);
    mir_page_release(disk->window);
    if (r != -MIR_ETRUNCATED || most >= disk_bytes)
        return r;
    mir_format(error, MIR_KV_TAR_ERROR_MAX,
               "the archive is longer than %llu KiB, half of the memory; give it more (--memory)",
               (unsigned long long)(most >> 10));
    return -MIR_ELIMIT;
}

static void stay(struct mir_io_page *page, void *arg)
{
    (void)page;
    (void)arg;
}

static int read_all(struct mir_loop *loop, struct mir_block_dev *dev, struct mir_io_page *page,
                    uint32_t first, uint64_t size)
{
    int r = 0;
    for (uint64_t at = 0; at < size && r == 0;) {
        uint32_t step = step_bytes(dev, (uint32_t)MIR_MIN(size - at, (uint64_t)WINDOW_BYTES));
        r = step > 0 ? read_blocks(loop, dev, at, page, first + (uint32_t)at, step) : -MIR_ERANGE;
        at += step;
    }
    return r;
}

int mir_kv_tar_read(const struct mir_kv_tar_config *config, struct mir_loop *loop,
                    struct mir_block_dev *dev, struct mir_kv **kv, char error[MIR_KV_TAR_ERROR_MAX])
{
    struct disk disk = {.loop = loop, .dev = dev};
    uint64_t size;
    int r = measure(config, &disk, &size, error);
    if (r < 0)
        return r;
    uint64_t block = dev->info.block_bytes, blocks = (size + block - 1) / block;
    uint64_t area = MIR_PAGE_SIZE + blocks * block;
    uint8_t *memory =
        area <= UINT32_MAX ? mir_page_pool_take_end_run(config->pages, (size_t)area) : NULL;
    if (memory == NULL) {
        mir_format(error, MIR_KV_TAR_ERROR_MAX, "no memory for an archive of %llu KiB",
                   (unsigned long long)(size >> 10));
        return -MIR_ENOMEM;
    }
    struct mir_io_page *page = (struct mir_io_page *)(void *)memory;
    mir_page_wrap(page, memory, (uint32_t)area, 0, stay, NULL);
    r = read_all(loop, dev, page, MIR_PAGE_SIZE, blocks * block);
    if (r < 0) {
        mir_format(error, MIR_KV_TAR_ERROR_MAX, "reading it: %s", mir_strerror(r));
        return r;
    }
    return mir_kv_tar_open(config, memory + MIR_PAGE_SIZE, size, kv, error);
}
