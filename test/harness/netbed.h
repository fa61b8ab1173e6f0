/* SPDX-License-Identifier: ISC */
/* What a network driver stands on in a test: memory, a loop whose time passes only when the test
 * says so, and somebody above it who counts. For virtbed and xenbed, which add a device. */
#ifndef TEST_NETBED_H
#define TEST_NETBED_H

#include <mirari/dev_net.h>
#include <mirari/page.h>
#include <mirari/run.h>

struct netbed {
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    mir_time_us now_us;
    uint8_t *arena;
    /* what the driver delivered */
    uint32_t rx, rx_ends, tx_readys, link_ups, link_downs;
    void (*take)(struct netbed *net, struct mir_buf *buf_given);
};

/** @net is zeros; @take gets each frame. */
void netbed_init(struct netbed *net, size_t arena_bytes,
                 void (*take)(struct netbed *net, struct mir_buf *buf_given));
/** Start @dev under the bed. */
int netbed_start(struct netbed *net, struct mir_net_dev *dev);
/** The driver is closed. Returns bytes and buffers that are still held; the arena stays for them,
 * until netbed_forget(). */
size_t netbed_close(struct netbed *net);
void netbed_forget(struct netbed *net);

#endif
