/* SPDX-License-Identifier: ISC */
/* A virtio block device in memory. */
#ifndef TEST_VIRTDEV_BLOCK_H
#define TEST_VIRTDEV_BLOCK_H

#include "test/harness/virtdev.h"

#define VIRTDEV_BLOCK_BYTES ((size_t)1 << 20)
/** Sizes, flush, discard, write-zeroes, topology, as QEMU's. */
#define VIRTDEV_BLOCK_ALL                                                                          \
    ((1ull << 2) | (1ull << 6) | (1ull << 9) | (1ull << 10) | (1ull << 13) | (1ull << 14) |        \
     MIR_VIRTIO_F_INDIRECT | MIR_VIRTIO_F_EVENT_IDX)
#define VIRTDEV_BLOCK_READONLY (1ull << 5)

struct virtdev_block {
    struct virtdev d; /* first */
    uint32_t reads, writes, flushes, discards, zeroes;
    uint8_t answer;       /* other than 0: every request gets this status */
    bool holds;           /* requests stay unanswered */
    bool is_short;        /* says it wrote less than it was asked for */
    bool answers_nothing; /* returns chains untouched */
    uint8_t *disk;        /* VIRTDEV_BLOCK_BYTES */
};

void virtdev_block_init(struct virtdev_block *m, enum virtdev_transport transport,
                        uint64_t features, uint32_t block_bytes);
void virtdev_block_fini(struct virtdev_block *m);

#endif
