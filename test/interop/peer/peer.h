/* SPDX-License-Identifier: ISC */
/* Parts of the interop tests' appliance: main.c relays TCP, udp.c datagrams, client.c asks. */
#ifndef TEST_INTEROP_PEER_PEER_H
#define TEST_INTEROP_PEER_PEER_H

#include <mirari/mirari.h>

/** A relayed port. */
struct peer_port {
    struct mir_app *app;
    struct mir_endpoint local;  /**< its address is any */
    struct mir_endpoint target; /**< where everything goes on to */
    struct mir_udp *udp;
};

/** "10.0.0.1:80" or "[fd00::1]:80", up to a comma or the end. Returns where it ends, or NULL. */
const char *peer_parse_endpoint(const char *text, struct mir_endpoint *ep);

/** Relay datagrams of @port, lent for ever. Returns 0 or negative MIR_E*. */
int peer_relay_udp(struct peer_port *port) MIR_CHECK;

/** Send @bytes over TCP, receive to the end, print sums. Returns the exit status. */
int peer_client(struct mir_app *app, const struct mir_endpoint *to, uint64_t bytes);

/** @count datagrams, each until it comes back unchanged. Returns the exit status. */
int peer_udp_client(struct mir_app *app, const struct mir_endpoint *to, uint32_t count);

#endif
