/* SPDX-License-Identifier: ISC */
/* The interfaces of our stack, for those who answer programs: as lists of the server, and as
 * struct ifreq. */
#ifndef CMD_SOCKET_IFACE_H
#define CMD_SOCKET_IFACE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cmd/socket/proto.h"

#define SOCK_IFACES_MAX 32

/** How the server is asked: each client has a way of its own. */
struct sock_asker {
    /** Ask @op for @page and wait. Returns the length of the answer's body, of which at most [room]
     *  bytes are in @out, or -errno. */
    ssize_t (*ask)(void *context, uint16_t op, const struct sock_page *page, void *out,
                   size_t room);
    void *context;
};

/**
 * sock_each() - a list of the server, page by page.
 *
 * @op   SOCK_IFACES, SOCK_ROUTES, SOCK_NETSTAT or SOCK_STATS; @size is that of its entries
 * @take gets each entry, which may lie at any address
 *
 * Returns 0, or -errno: of the asker, -ENOMEM, -EPROTO (an answer that cannot be).
 * Cost    one allocation of a message
 */
int sock_each(const struct sock_asker *asker, uint16_t op, size_t size,
              void (*take)(void *arg, const void *entry), void *arg);

struct sock_ifaces {
    size_t count;
    struct sock_iface iface[SOCK_IFACES_MAX];
};

/** All interfaces, with names that end and counts that are true. Returns 0 or -errno. */
int sock_ifaces_ask(const struct sock_asker *asker, struct sock_ifaces *out);

const struct sock_iface *sock_iface_by_index(const struct sock_ifaces *all, unsigned index);
const struct sock_iface *sock_iface_by_name(const struct sock_ifaces *all, const char *name);
/** ARPHRD_*. */
uint16_t sock_iface_hardware(const struct sock_iface *iface);
void sock_iface_mask(const struct sock_iface_addr *from, struct sock_addr *out);
/** Of IPv4 only. */
void sock_iface_broadcast(const struct sock_iface_addr *from, struct sock_addr *out);

/** Is @what a question about an interface, of which sock_iface_request() knows the answer? */
bool sock_iface_is_request(unsigned long what);

/**
 * sock_iface_request() - the answer to an ioctl() about one interface, or about all.
 *
 * @what     one of SIOCGIF*, but not SIOCGIFCONF
 * @request  names the interface and gets the answer
 *
 * Returns 0, -ENODEV, or -EADDRNOTAVAIL (it has no IPv4 address).
 */
int sock_iface_request(const struct sock_ifaces *all, unsigned long what, struct ifreq *request);

/** Row number @row of SIOCGIFCONF: each IPv4 address of each interface. False: there are no more.
 */
bool sock_iface_row(const struct sock_ifaces *all, size_t row, struct ifreq *out);

#endif
