/* SPDX-License-Identifier: ISC */
/* A network device that passes everything on to an inner one: the ground middlewares stand on.
 *
 * The inner device calls an upper half of ours, whose argument is the middleware; the functions
 * here bring each call to the real upper half unless the middleware took it. See dev/net/pcap for a
 * middleware that replaces little and dev/net/fault for one that replaces much.
 */
#include "dev/net/wrap/wrap.h"

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct mir__wrap *wrap = arg;
    if (wrap->rx != NULL)
        wrap->rx(wrap, buf_given);
    else
        mir__wrap_up(wrap, buf_given);
}

static void on_rx_end(void *arg)
{
    struct mir__wrap *wrap = arg;
    if (wrap->rx_end != NULL)
        wrap->rx_end(wrap);
    else
        mir__wrap_up_end(wrap);
}

static void on_tx_ready(void *arg)
{
    struct mir__wrap *wrap = arg;
    if (wrap->upper.tx_ready != NULL)
        wrap->upper.tx_ready(wrap->upper.arg);
}

static void on_link(void *arg, bool is_up)
{
    struct mir__wrap *wrap = arg;
    if (wrap->upper.link != NULL)
        wrap->upper.link(wrap->upper.arg, is_up);
}

void mir__wrap_init(struct mir__wrap *wrap, struct mir_net_dev *inner,
                    const struct mir_net_dev_ops *ops)
{
    *wrap = (struct mir__wrap){.dev.ops = ops, .dev.info = inner->info, .inner = inner};
}

int mir__wrap_start(struct mir_net_dev *dev, const struct mir_net_upper *upper)
{
    struct mir__wrap *wrap = mir__wrap_of(dev);
    const struct mir_net_upper mine = {
        .rx = on_rx, .rx_end = on_rx_end, .tx_ready = on_tx_ready, .link = on_link, .arg = wrap};
    if (wrap->is_started)
        return -MIR_EBUSY;
    wrap->upper = *upper;
    wrap->is_started = true;
    int r = mir_net_dev_start(wrap->inner, &mine);
    if (r < 0)
        wrap->is_started = false;
    return r;
}

void mir__wrap_stop(struct mir_net_dev *dev)
{
    struct mir__wrap *wrap = mir__wrap_of(dev);
    if (!wrap->is_started)
        return;
    wrap->is_started = false;
    mir_net_dev_stop(wrap->inner);
}

int mir__wrap_tx(struct mir_net_dev *dev, struct mir_buf *buf_given)
{
    return mir_net_dev_tx(mir__wrap_of(dev)->inner, buf_given);
}

void mir__wrap_flush(struct mir_net_dev *dev)
{
    mir_net_dev_flush(mir__wrap_of(dev)->inner);
}

uint32_t mir__wrap_tx_room(struct mir_net_dev *dev)
{
    return mir_net_dev_tx_room(mir__wrap_of(dev)->inner);
}

void mir__wrap_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats)
{
    mir_net_dev_stats(((const struct mir__wrap *)(const void *)dev)->inner, stats);
}

void mir__wrap_close(struct mir_net_dev *dev)
{
    mir__wrap_stop(dev);
    mir_net_dev_close(mir__wrap_of(dev)->inner);
}
