/* SPDX-License-Identifier: ISC */
/* What every middleware has in common: a device that passes everything on to an inner one.
 *
 * A middleware embeds struct mir__wrap first, copies mir__wrap_ops and replaces the operations it
 * cares about; from above it takes frames in its tx, from below in the rx it gives to init.
 */
#ifndef DEV_NET_WRAP_WRAP_H
#define DEV_NET_WRAP_WRAP_H

#include <mirari/dev_net.h>

struct mir__wrap {
    struct mir_net_dev dev;    /* first */
    struct mir_net_dev *inner; /* closed with this device */
    struct mir_net_upper upper;
    void (*rx)(struct mir__wrap *wrap, MIR_GIVE struct mir_buf *buf_given); /* NULL: pass on */
    void (*rx_end)(struct mir__wrap *wrap);                                 /* NULL: pass on */
    bool is_started;
};

static inline struct mir__wrap *mir__wrap_of(struct mir_net_dev *dev)
{
    return (struct mir__wrap *)(void *)dev;
}

/** Take over the inner device's description; @ops is static. */
void mir__wrap_init(struct mir__wrap *wrap, struct mir_net_dev *inner,
                    const struct mir_net_dev_ops *ops);
/** The operations that pass on; for use in a middleware's table. */
int mir__wrap_start(struct mir_net_dev *dev, const struct mir_net_upper *upper);
void mir__wrap_stop(struct mir_net_dev *dev);
int mir__wrap_tx(struct mir_net_dev *dev, MIR_GIVE struct mir_buf *buf_given);
void mir__wrap_flush(struct mir_net_dev *dev);
uint32_t mir__wrap_tx_room(struct mir_net_dev *dev);
void mir__wrap_stats(const struct mir_net_dev *dev, struct mir_net_dev_stats *stats);
void mir__wrap_close(struct mir_net_dev *dev);
/** Give a frame to the upper half. */
static inline void mir__wrap_up(struct mir__wrap *wrap, MIR_GIVE struct mir_buf *buf_given)
{
    wrap->upper.rx(wrap->upper.arg, buf_given);
}
static inline void mir__wrap_up_end(struct mir__wrap *wrap)
{
    if (wrap->upper.rx_end != NULL)
        wrap->upper.rx_end(wrap->upper.arg);
}

#endif
