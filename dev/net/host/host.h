/* SPDX-License-Identifier: ISC */
/* The `socket` stack: the host's own TCP/IP behind the API of include/mirari/net.h. */
#ifndef DEV_NET_HOST_HOST_H
#define DEV_NET_HOST_HOST_H

#include <mirari/host.h>
#include <mirari/net.h>

struct mir_host_stack_limits {
    uint32_t tcp_connections_max; /**< 0 = 16384; accepting pauses there */
    uint32_t tcp_listeners_max;   /**< 0 = 64 */
    uint32_t tcp_sndbuf_bytes;    /**< queued by us, per connection; 0 = 256 KiB */
    uint32_t udp_sockets_max;     /**< 0 = 256 */
    mir_time_us linger_us;        /**< a closed connection may go on sending; 0 = 60 s */
};

struct mir_host_stack_config {
    struct mir_loop *loop;
    struct mir_page_pool *pages;
    struct mir_buf_pool *bufs;
    struct mir_host_poll *poll;
    struct mir_host_stack_limits limits;
};

/**
 * mir_host_stack_open() - make a stack of host sockets; its memory comes from config->pages.
 *
 * @config  its objects are lent until mir_host_stack_close()
 *
 * Returns 0 or -MIR_ENOMEM.
 * Source  none
 */
int mir_host_stack_open(const struct mir_host_stack_config *config,
                        struct mir_stack **stack) MIR_CHECK;

/** Abort every connection, close every socket, release everything. Not from a handler. */
void mir_host_stack_close(struct mir_stack *stack);

#endif
