/* SPDX-License-Identifier: ISC */
/* A block device in memory: for tests, and for what need not last. */
#ifndef DEV_BLOCK_RAM_RAM_H
#define DEV_BLOCK_RAM_RAM_H

#include <mirari/dev_block.h>

#define MIR_BLOCK_RAM_DEPTH 64u

struct mir_block_ram_config {
    struct mir_loop *loop;
    void *memory; /**< block_bytes * block_count bytes, lent */
    uint32_t block_bytes;
    uint64_t block_count;
    bool is_readonly;
};

struct mir_block_ram {
    struct mir_block_dev dev; /* first */
    /* private: */
    struct mir_loop *loop;
    struct mir_work work;
    uint8_t *memory;
    struct mir_block_request *first, *last;
    uint32_t count;
    bool is_closed;
    struct mir_block_stats stats;
};

/** A device over memory; requests are done in the loop's next step, in their order. Returns 0 or
 *  -MIR_EINVAL (size of blocks). Source: none. */
int mir_block_ram_init(struct mir_block_ram *ram,
                       const struct mir_block_ram_config *config) MIR_CHECK;

#endif
