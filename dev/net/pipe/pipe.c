/* SPDX-License-Identifier: ISC */
/* Two network devices joined back to back in memory.
 *
 *   end 0 --tx--> [ queue of end 1 ] --work of end 1--> upper of end 1
 *   end 1 --tx--> [ queue of end 0 ] --work of end 0--> upper of end 0
 *
 * A frame is not copied: the buffer the sender gave is the buffer the receiver gets, with its
 * views and offload fields, so both ends behave as a tap with a vnet header does. Delivery is work
 * of the loop, never inside tx: two stacks joined by a pipe do not call each other recursively.
 *
 * The queue has a limit, and a few places more for control frames. A frame beyond them is dropped
 * and counted at the sender, as a switch would; a sender that looks at tx_room() first loses
 * nothing and is told (tx_ready) when there is room.
 *
 * A frame the capabilities do not allow is the sender's mistake, but it may come from a fuzzer or a
 * test: it is refused and counted as a tx error. Frames to an end that is not started are dropped,
 * as on an unplugged cable.
 */
#include "dev/net/pipe/pipe.h"

#define QUEUE_DEFAULT 256u
#define ETH_HEADER    14u

static struct mir__pipe_end *of_dev(struct mir_net_dev *dev)
{
    return MIR_CONTAINER_OF(dev, struct mir__pipe_end, dev);
}

/* Everything that was there when the work ran; what comes meanwhile waits for the next round. */
static void deliver(void *arg)
{
    struct mir__pipe_end *end = arg;
    uint32_t count = end->in.count;
    bool is_any = false;
    for (; count > 0 && end->is_started; count--) {
        struct mir_buf *buf = mir_buf_queue_pop(&end->in);
        if (buf == NULL)
            break;
        end->stats.rx_frames++;
        end->stats.rx_bytes += mir_buf_total(buf);
        is_any = true;
        end->upper.rx(end->upper.arg, buf);
    }
    if (is_any && end->is_started && end->upper.rx_end != NULL)
        end->upper.rx_end(end->upper.arg);
    if (end->in.count > 0)
        mir_loop_post(end->pipe->loop, &end->deliver);
    if (end->peer->was_full && end->in.count < end->pipe->queue_max)
        mir_loop_post(end->pipe->loop, &end->peer->ready);
}

static void tell_ready(void *arg)
{
    struct mir__pipe_end *end = arg;
    end->was_full = false;
    if (end->is_started && end->upper.tx_ready != NULL)
        end->upper.tx_ready(end->upper.arg);
}

static int pipe_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__pipe_end *end = of_dev(dev);
    if (end->is_started)
        return -MIR_EBUSY;
    end->upper = *upper;
    end->is_started = true;
    if (end->upper.link != NULL)
        end->upper.link(end->upper.arg, true);
    return 0;
}

static void pipe_stop(struct mir_net_dev *dev)
{
    struct mir__pipe_end *end = of_dev(dev);
    end->is_started = false;
    mir_buf_queue_release(&end->in);
    mir_work_cancel(&end->deliver);
    mir_work_cancel(&end->ready);
    /* The way from the peer to here is empty now. */
    if (end->peer->was_full)
        mir_loop_post(end->pipe->loop, &end->peer->ready);
}

static int check_frame(const struct mir__pipe_end *end, const struct mir_buf *buf)
{
    const struct mir_net_dev_info *info = &end->dev.info;
    uint32_t limit = info->mtu + ETH_HEADER;
    uint32_t need = 0;
    if (buf->flags & MIR_BUF_CSUM_PARTIAL)
        need |= MIR_NET_TX_CSUM;
    if (buf->flags & MIR_BUF_GSO_TCP4)
        need |= MIR_NET_TX_TSO4;
    if (buf->flags & MIR_BUF_GSO_TCP6)
        need |= MIR_NET_TX_TSO6;
    if (buf->frag_count > 0)
        need |= MIR_NET_TX_SG;
    if (buf->flags & (MIR_BUF_GSO_TCP4 | MIR_BUF_GSO_TCP6))
        limit = info->gso_max;
    if ((info->caps & need) != need)
        return -MIR_ENOTSUP;
    if (mir_buf_total(buf) > limit)
        return -MIR_ETOOBIG;
    return 0;
}

static void fill_up(struct mir__pipe_end *end)
{
    end->stats.tx_full += !end->was_full;
    end->was_full = true;
}

static int pipe_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    struct mir__pipe_end *end = of_dev(dev);
    struct mir__pipe_end *peer = end->peer;
    int r = end->is_started ? check_frame(end, buf_given) : -MIR_EIO;
    if (r < 0) {
        end->stats.tx_errors++;
    } else if (!peer->is_started) {
        end->stats.tx_dropped++;
    } else if (peer->in.count >= end->pipe->queue_max + MIR_NET_TX_KEPT) {
        end->stats.tx_dropped++;
        fill_up(end);
        r = -MIR_EAGAIN;
    } else {
        end->stats.tx_frames++;
        end->stats.tx_bytes += mir_buf_total(buf_given);
        mir_buf_queue_push(&peer->in, buf_given);
        mir_loop_post(end->pipe->loop, &peer->deliver);
        return 0;
    }
    mir_buf_release(buf_given);
    return r;
}

static uint32_t pipe_tx_room(struct mir_net_dev *dev)
{
    struct mir__pipe_end *end = of_dev(dev);
    uint32_t room = end->pipe->queue_max - MIR_MIN(end->pipe->queue_max, end->peer->in.count);
    if (room == 0)
        fill_up(end);
    return room;
}

static void pipe_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    *stats = ((const struct mir__pipe_end *)(const void *)dev)->stats;
}

static const struct mir_net_dev_ops pipe_ops = {
    .start = pipe_start,
    .stop = pipe_stop,
    .tx = pipe_tx,
    .tx_room = pipe_tx_room,
    .stats = pipe_stats,
    .close = pipe_stop,
};

static void init_end(struct mir_pipe *pipe, unsigned index, const struct mir_pipe_config *config)
{
    static const uint8_t no_mac[6];
    static const uint8_t default_mac[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
    struct mir__pipe_end *end = &pipe->end[index];
    const uint8_t *mac = config->mac[index];
    uint16_t mtu = config->mtu != 0 ? config->mtu : 1500;
    if (mir_memcmp(mac, no_mac, 6) == 0)
        mac = default_mac[index];
    *end = (struct mir__pipe_end){.pipe = pipe, .peer = &pipe->end[1 - index]};
    end->dev.ops = &pipe_ops;
    end->dev.info.mtu = mtu;
    end->dev.info.caps = config->caps;
    end->dev.info.kind = "pipe";
    if (config->caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6))
        end->dev.info.gso_max = config->gso_max != 0 ? config->gso_max : 65535 + ETH_HEADER;
    mir_memcpy(end->dev.info.mac, mac, 6);
    mir_work_init(&end->deliver, deliver, end);
    mir_work_init(&end->ready, tell_ready, end);
}

int mir_pipe_init(struct mir_pipe *pipe, const struct mir_pipe_config *config)
{
    uint32_t mtu = config->mtu != 0 ? config->mtu : 1500;
    MIR_ASSERT(config->loop != NULL);
    if (mtu < 576 || (config->gso_max != 0 && config->gso_max < mtu + ETH_HEADER))
        return -MIR_EINVAL;
    pipe->loop = config->loop;
    pipe->queue_max = config->queue_max != 0 ? config->queue_max : QUEUE_DEFAULT;
    init_end(pipe, 0, config);
    init_end(pipe, 1, config);
    return 0;
}
