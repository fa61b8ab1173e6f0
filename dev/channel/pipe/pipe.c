/* SPDX-License-Identifier: ISC */
/* A channel inside one process.
 *
 * References are numbers of pages of one piece of memory. A notification becomes work of the loop,
 * or a timer where a delay is wanted, never a call inside notify(): two ends do not call each other
 * recursively. Several notifications that have not become an event yet are one.
 *
 * A closed end gets no events; its peer gets one and finds it gone. Memory is the caller's and is
 * there as long as it likes.
 */
#include "dev/channel/pipe/pipe.h"

static struct mir__channel_pipe_end *of_channel(struct mir_channel *channel)
{
    return MIR_CONTAINER_OF(channel, struct mir__channel_pipe_end, channel);
}

static struct mir__channel_pipe_end *peer_of(struct mir__channel_pipe_end *end)
{
    return &end->pipe->end[end->channel.is_server ? 1 : 0];
}

static void deliver(void *arg)
{
    struct mir__channel_pipe_end *end = arg;
    if (!end->is_closed && end->channel.event != NULL)
        end->channel.event(end->channel.arg);
}

static void tell(struct mir__channel_pipe_end *end)
{
    struct mir_channel_pipe *pipe = end->pipe;
    if (end->is_closed)
        return;
    if (pipe->config.delay_us == 0)
        mir_loop_post(pipe->config.loop, &end->work);
    else if (!mir_timer_is_set(&end->timer))
        mir_timer_set(pipe->config.loop, &end->timer,
                      mir_loop_now(pipe->config.loop) + pipe->config.delay_us);
}

static int pipe_share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    struct mir_channel_pipe *pipe = of_channel(channel)->pipe;
    if (count > pipe->pages - pipe->used)
        return -MIR_ENOMEM;
    uint8_t *memory = (uint8_t *)pipe->config.memory + (size_t)pipe->used * MIR_CHANNEL_PAGE;
    mir_memset(memory, 0, (size_t)count * MIR_CHANNEL_PAGE);
    for (uint32_t i = 0; i < count; i++)
        refs[i] = pipe->used + i;
    pipe->used += count;
    *at = memory;
    return 0;
}

static int pipe_publish(struct mir_channel *channel, uint32_t ref)
{
    struct mir_channel_pipe *pipe = of_channel(channel)->pipe;
    pipe->end[1].channel.page_ref = ref;
    pipe->is_published = true;
    return 0;
}

/* Pages in one piece only where they lie in one piece. */
static int pipe_map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    struct mir_channel_pipe *pipe = of_channel(channel)->pipe;
    for (uint32_t i = 0; i < count; i++)
        if (refs[i] >= pipe->used || refs[i] - i != refs[0])
            return -MIR_EINVAL;
    *at = (uint8_t *)pipe->config.memory + (size_t)refs[0] * MIR_CHANNEL_PAGE;
    return 0;
}

static void pipe_notify(struct mir_channel *channel)
{
    struct mir__channel_pipe_end *end = of_channel(channel);
    end->pipe->notifications++;
    tell(peer_of(end));
}

static void leave(struct mir__channel_pipe_end *end)
{
    if (end->is_closed)
        return;
    end->is_closed = true;
    mir_work_cancel(&end->work);
    mir_timer_cancel(&end->timer);
    peer_of(end)->channel.is_peer_gone = true;
    tell(peer_of(end));
}

static void pipe_close(struct mir_channel *channel)
{
    leave(of_channel(channel));
}

void mir_channel_pipe_crash(struct mir_channel_pipe *pipe, unsigned index)
{
    MIR_ASSERT_OP(index, <, 2);
    leave(&pipe->end[index]);
}

static const struct mir_channel_ops pipe_ops = {
    .share = pipe_share,
    .publish = pipe_publish,
    .map = pipe_map,
    .notify = pipe_notify,
    .close = pipe_close,
};

int mir_channel_pipe_init(struct mir_channel_pipe *pipe,
                          const struct mir_channel_pipe_config *config)
{
    MIR_ASSERT(config->loop != NULL);
    if (config->memory == NULL || (uintptr_t)config->memory % MIR_CHANNEL_PAGE != 0 ||
        config->bytes < MIR_CHANNEL_PAGE)
        return -MIR_EINVAL;
    *pipe = (struct mir_channel_pipe){
        .config = *config,
        .pages = (uint32_t)(config->bytes / MIR_CHANNEL_PAGE),
    };
    for (unsigned i = 0; i < 2; i++) {
        struct mir__channel_pipe_end *end = &pipe->end[i];
        end->pipe = pipe;
        end->channel = (struct mir_channel){.ops = &pipe_ops, .kind = "pipe", .is_server = i == 0};
        mir_work_init(&end->work, deliver, end);
        mir_timer_init(&end->timer, deliver, end);
    }
    return 0;
}
