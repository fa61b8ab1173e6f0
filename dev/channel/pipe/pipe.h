/* SPDX-License-Identifier: ISC */
/* Two ends of a channel in one process, for the simulator and tests. Caller's memory; portable. */
#ifndef DEV_CHANNEL_PIPE_PIPE_H
#define DEV_CHANNEL_PIPE_PIPE_H

#include <mirari/channel.h>
#include <mirari/run.h>

struct mir_channel_pipe_config {
    struct mir_loop *loop; /**< on which events come */
    void *memory;          /**< to share, aligned to MIR_CHANNEL_PAGE; lent until both are closed */
    size_t bytes;          /**< whole pages; one page and both rings */
    uint64_t delay_us;     /**< from a notification to its event; 0 = the next round of the loop */
};

struct mir_channel_pipe;

/** private: one end. */
struct mir__channel_pipe_end {
    struct mir_channel channel; /* first */
    struct mir_channel_pipe *pipe;
    struct mir_work work;
    struct mir_timer timer;
    bool is_closed;
};

struct mir_channel_pipe {
    /* private: */
    struct mir_channel_pipe_config config;
    uint32_t pages, used;
    bool is_published;
    struct mir__channel_pipe_end end[2]; /* server, client */
    uint64_t notifications;
};

/**
 * mir_channel_pipe_init() - prepare both ends.
 *
 * Returns 0 or -MIR_EINVAL (no memory, or not aligned).
 * Source  none
 */
int mir_channel_pipe_init(struct mir_channel_pipe *pipe,
                          const struct mir_channel_pipe_config *config) MIR_CHECK;

static inline struct mir_channel *mir_channel_pipe_server(struct mir_channel_pipe *pipe)
{
    return &pipe->end[0].channel;
}
/** Only after the server has published. */
static inline struct mir_channel *mir_channel_pipe_client(struct mir_channel_pipe *pipe)
{
    MIR_ASSERT(pipe->is_published);
    return &pipe->end[1].channel;
}

/** An end (0 the server, 1 the client) is gone as if its machine had stopped: it says nothing, and
 *  must not be used any more. */
void mir_channel_pipe_crash(struct mir_channel_pipe *pipe, unsigned index);

#endif
