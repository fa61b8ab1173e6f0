/* SPDX-License-Identifier: ISC */
/* A virtio block device in memory (VIRTIO 1.2 section 5.2). */
#include "test/harness/virtdev_block.h"

#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>

static uint8_t transfer(struct virtdev_block *m, const struct virtdev_chain *chain, uint32_t type,
                        uint64_t sector)
{
    uint64_t at = sector * 512;
    uint32_t len = type == 0 ? chain->in_bytes - 1 : chain->out_bytes - 16;
    if (at > VIRTDEV_BLOCK_BYTES || len > VIRTDEV_BLOCK_BYTES - at || len % 512 != 0)
        return 1;
    if (type == 0) {
        virtdev_write(chain, 0, m->disk + at, len);
        m->reads++;
    } else {
        virtdev_read(chain, 16, m->disk + at, len);
        m->writes++;
    }
    return 0;
}

static uint8_t wipe(struct virtdev_block *m, const struct virtdev_chain *chain, uint32_t type)
{
    uint8_t range[16];
    if (virtdev_read(chain, 16, range, 16) != 16 || chain->out_bytes != 32)
        return 1;
    uint64_t at = mir_get_le64(range) * 512, len = mir_get_le32(range + 8) * 512ull;
    if (at > VIRTDEV_BLOCK_BYTES || len > VIRTDEV_BLOCK_BYTES - at)
        return 1;
    memset(m->disk + at, 0, len);
    m->discards += type == 11;
    m->zeroes += type == 13;
    return 0;
}

static uint8_t perform(struct virtdev_block *m, const struct virtdev_chain *chain)
{
    uint8_t header[16];
    if (m->answer != 0)
        return m->answer;
    if (virtdev_read(chain, 0, header, 16) != 16 || chain->seg[0].len != 16 ||
        chain->in_bytes == 0 || chain->seg[chain->count - 1].len != 1) {
        m->d.violations++;
        m->d.violation = "a request without header or status";
        return 1;
    }
    uint32_t type = mir_get_le32(header);
    switch (type) {
    case 0:
    case 1:
        return transfer(m, chain, type, mir_get_le64(header + 8));
    case 4:
        m->flushes++;
        return 0;
    case 11:
    case 13:
        return wipe(m, chain, type);
    default:
        return 2;
    }
}

static void serve(struct virtdev *d, unsigned queue)
{
    struct virtdev_block *m = (struct virtdev_block *)(void *)d;
    struct virtdev_chain chain;
    while (!m->holds && virtdev_pop(d, queue, &chain)) {
        uint8_t status = m->answers_nothing ? 0 : perform(m, &chain);
        if (!m->answers_nothing)
            virtdev_write(&chain, chain.in_bytes - 1, &status, 1);
        virtdev_push(d, queue, chain.head, m->is_short ? 1 : chain.in_bytes);
    }
    virtdev_publish(d, queue);
}

void virtdev_block_init(struct virtdev_block *m, enum virtdev_transport transport,
                        uint64_t features, uint32_t block_bytes)
{
    memset(m, 0, sizeof *m);
    virtdev_init(&m->d, transport, MIR_VIRTIO_BLOCK, features, 1, 128);
    m->d.serve = serve;
    m->disk = calloc(1, VIRTDEV_BLOCK_BYTES);
    mir_put_le64(m->d.config, VIRTDEV_BLOCK_BYTES / 512);
    mir_put_le32(m->d.config + 12, 126);
    mir_put_le32(m->d.config + 20, block_bytes);
    mir_put_le32(m->d.config + 36, 256);
    mir_put_le32(m->d.config + 48, 128);
}

void virtdev_block_fini(struct virtdev_block *m)
{
    free(m->disk);
    m->disk = NULL;
}
