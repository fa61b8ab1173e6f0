/* SPDX-License-Identifier: ISC */
/* Memory, loop and upper half of a network driver in a test. Each bed has an arena of its own: what
 * was released is poisoned under ASan. */
#include "test/harness/netbed.h"

#include <stdlib.h>

static void on_rx(void *arg, struct mir_buf *buf_given)
{
    struct netbed *net = arg;
    net->rx++;
    net->take(net, buf_given);
}
static void on_rx_end(void *arg)
{
    ((struct netbed *)arg)->rx_ends++;
}
static void on_tx_ready(void *arg)
{
    ((struct netbed *)arg)->tx_readys++;
}
static void on_link(void *arg, bool is_up)
{
    struct netbed *net = arg;
    net->link_ups += is_up;
    net->link_downs += !is_up;
}

void netbed_init(struct netbed *net, size_t arena_bytes,
                 void (*take)(struct netbed *net, struct mir_buf *buf_given))
{
    net->take = take;
    net->now_us = 1000000;
    mir_loop_init(&net->loop, net->now_us);
    net->arena = aligned_alloc(MIR_PAGE_SIZE, arena_bytes);
    if (net->arena == NULL || mir_page_pool_init(&net->pages, net->arena, arena_bytes) < 0 ||
        mir_buf_pool_init(&net->bufs, &net->pages, 2048) < 0)
        abort();
}

int netbed_start(struct netbed *net, struct mir_net_dev *dev)
{
    struct mir_net_upper upper = {
        .rx = on_rx, .rx_end = on_rx_end, .tx_ready = on_tx_ready, .link = on_link, .arg = net};
    return mir_net_dev_start(dev, &upper);
}

size_t netbed_close(struct netbed *net)
{
    size_t left = mir_pool_used(&net->bufs.pool);
    if (left == 0)
        mir_buf_pool_fini(&net->bufs);
    left += mir_page_pool_used_bytes(&net->pages);
    if (left == 0)
        netbed_forget(net);
    return left;
}

void netbed_forget(struct netbed *net)
{
    free(net->arena);
    net->arena = NULL;
}
