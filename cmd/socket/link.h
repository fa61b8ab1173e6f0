/* SPDX-License-Identifier: ISC */
/* Route sockets (AF_NETLINK, NETLINK_ROUTE) of programs: what is answered on them. */
#ifndef CMD_SOCKET_LINK_H
#define CMD_SOCKET_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "cmd/socket/iface.h"

/** A route socket of a program. */
struct sock_link {
    struct sock_asker asker;
    uint32_t port; /**< nl_pid of its name and of its answers */
    /** An answer for the program, one message of [len] bytes. */
    void (*answer)(void *context, const void *bytes, size_t len);
    void *context;
};

/** A pair for one. Returns 0 or -errno. */
int sock_link_pair(int flags, int *a, int *b);

/**
 * sock_link_take() - answer the requests that a program has sent.
 *
 * @data [len] bytes, of one send()
 *
 * Returns 0 or -EMSGSIZE.
 * Source  RFC 3549 sections 2.3.2 (message headers), 3.1 (links, addresses, routes)
 */
int sock_link_take(const struct sock_link *link, const void *data, size_t len);

#endif
