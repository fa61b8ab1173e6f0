/* SPDX-License-Identifier: ISC */
/* The contract of a block device: blocks of one size, read and written in the background.
 *
 * A request is the caller's: it is lent with its pages from submit until done() is called, once,
 * from the loop's thread and never from inside submit. Requests are done in any order; who needs an
 * order waits. What was written survives a loss of power only after a flush that was submitted when
 * the write was done.
 *
 *   submit ... submit   the device may hold requests back until
 *   kick                end of a batch
 *
 * Data is in pieces of pages; each piece, and all together, are whole blocks. Nothing of a page
 * outside its piece is read or written.
 */
#ifndef MIRARI_DEV_BLOCK_H
#define MIRARI_DEV_BLOCK_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/page.h>
#include <mirari/run.h>

/** Pieces of one request. */
#define MIR_BLOCK_SEGS_MAX 18u

enum mir_block_op {
    MIR_BLOCK_READ,
    MIR_BLOCK_WRITE,
    MIR_BLOCK_FLUSH,   /**< what was written is safe */
    MIR_BLOCK_DISCARD, /**< contents are of no use any more: undefined until written */
    MIR_BLOCK_ZERO,    /**< read as zero from now on */
};

enum mir_block_caps {
    MIR_BLOCK_CAN_FLUSH = 1, /**< without: what was written is safe when it is done */
    MIR_BLOCK_CAN_DISCARD = 2,
    MIR_BLOCK_CAN_ZERO = 4,
    MIR_BLOCK_READONLY = 8,
};

struct mir_block_info {
    uint32_t block_bytes; /**< 512 .. 4096, a power of two */
    uint64_t block_count;
    uint32_t caps;          /**< enum mir_block_caps */
    uint32_t segs_max;      /**< pieces of a request, 1 .. MIR_BLOCK_SEGS_MAX */
    uint32_t request_max;   /**< blocks of one read or write */
    uint32_t discard_max;   /**< blocks of one discard; 0 without */
    uint32_t zero_max;      /**< blocks of one zero; 0 without */
    uint32_t align_bytes;   /**< of the pieces in memory: a power of two */
    uint32_t optimal_bytes; /**< requests of multiples of this, aligned to it, are fastest */
    uint32_t depth;         /**< requests at one time */
    const char *kind;       /**< "virtio", "ram", ...: static text */
};

struct mir_block_stats {
    uint64_t reads, read_bytes, writes, written_bytes, flushes, discards, zeroes;
    uint64_t errors;  /**< done with an error */
    uint64_t refused; /**< not taken by submit */
    uint64_t resets;  /**< the device was reset: what was on its way failed */
};

struct mir_block_seg {
    struct mir_io_page *page;
    uint32_t offset;
    uint32_t len;
};

struct mir_block_request {
    enum mir_block_op op;
    uint32_t seg_count;   /**< of read and write */
    uint64_t block;       /**< first one */
    uint32_t block_count; /**< of discard and zero; of read and write as many as the pieces have */
    struct mir_block_seg segs[MIR_BLOCK_SEGS_MAX];
    /** @result is 0, -MIR_EIO (the medium, or the device was reset), -MIR_ENOTSUP, or
     *  -MIR_ECANCELED (closed). The request may be submitted again from here. */
    void (*done)(struct mir_block_request *request, int result);
    void *arg;
    /* private: of the device */
    struct mir_block_request *next;
    int result;
};

struct mir_block_dev;

struct mir_block_dev_ops {
    /** Returns 0 (done() will be called), -MIR_EINVAL (pieces), -MIR_ERANGE (outside, or more than
     *  the device takes at once), -MIR_EPERM (read-only), -MIR_ENOTSUP (cannot do this),
     *  -MIR_EAGAIN (depth is reached, or the device is being reset: after the next done() or a
     *  pause), -MIR_EIO (gone). On error the request was not taken. */
    int (*submit)(struct mir_block_dev *dev, struct mir_block_request *request);
    /** End of a batch. */
    void (*kick)(struct mir_block_dev *dev);
    void (*stats)(const struct mir_block_dev *dev, struct mir_block_stats *stats);
    /** Requests on their way are done with -MIR_ECANCELED before this returns. Not from done(). */
    void (*close)(struct mir_block_dev *dev);
};

/** The head of every block device's own structure. */
struct mir_block_dev {
    const struct mir_block_dev_ops *ops;
    struct mir_block_info info;
};

/** The members of struct mir_block_dev_ops, called by name. */
static inline MIR_CHECK int mir_block_submit(struct mir_block_dev *dev,
                                             struct mir_block_request *request)
{
    return dev->ops->submit(dev, request);
}
static inline void mir_block_kick(struct mir_block_dev *dev)
{
    dev->ops->kick(dev);
}
static inline void mir_block_stats(const struct mir_block_dev *dev, struct mir_block_stats *stats)
{
    dev->ops->stats(dev, stats);
}
static inline void mir_block_close(struct mir_block_dev *dev)
{
    dev->ops->close(dev);
}

/**
 * mir_block_check() - what every device asks of a request.
 *
 * @blocks  out: how many it touches; 0 for a flush
 *
 * Returns 0, or an error as of submit but -MIR_EAGAIN and -MIR_EIO.
 * Cost    O(pieces)
 * Source  none
 */
int mir_block_check(const struct mir_block_info *info, const struct mir_block_request *request,
                    uint64_t *blocks) MIR_CHECK;

/**
 * mir_block_do() - one request from beginning to end.
 *
 * Only in a task. done and arg of @request are used. A device that is full is waited for. What has
 * begun is never left: a task that is cancelled gets -MIR_ECANCELED when the request is done.
 *
 * Returns 0, what done() was told, or an error of submit.
 * Source  none
 */
int mir_block_do(struct mir_loop *loop, struct mir_block_dev *dev,
                 struct mir_block_request *request) MIR_CHECK;

#endif
