/* SPDX-License-Identifier: ISC */
/* Looking into a network stack: its flows, interfaces, neighbours, pools, and the frames that pass.
 *
 * Nothing here costs anything while nobody looks. Walks go in pieces, so that a long table is told
 * over many steps of the loop: what is there from the beginning of a walk to its end is told at
 * least once; what comes, goes or moves meanwhile may be missing, or be told twice.
 */
#ifndef MIRARI_NET_LOOK_H
#define MIRARI_NET_LOOK_H

#include <mirari/dev_net.h>
#include <mirari/net.h>

enum mir_net_flow_kind {
    MIR_NET_FLOW_LISTENER,   /**< of TCP */
    MIR_NET_FLOW_HALF_OPEN,  /**< a connection request that was answered */
    MIR_NET_FLOW_CONNECTION, /**< the only one with info */
    MIR_NET_FLOW_TIME_WAIT,
    MIR_NET_FLOW_UDP, /**< remote is any unless it is connected */
};

/** A listener, a connection or a socket. */
struct mir_net_flow {
    uint8_t kind;  /**< enum mir_net_flow_kind */
    uint8_t state; /**< enum mir_tcp_state; of UDP 0 */
    struct mir_endpoint local, remote;
    uint32_t waiting, backlog; /**< of a listener: half-open connections, and how many may be */
    struct mir_tcp_info info;
};

/** Where a walk is; zero at its beginning. */
struct mir_net_walk {
    uint32_t stage, at, skip;
};

/**
 * mir_stack_next_flows() - the next flows of a stack of either kind.
 *
 * @walk  zeroed at first
 * @out   [max] flows
 *
 * Returns how many were told; 0: that was all (or the stack cannot tell).
 * Cost    O(max), on the host's stack O(flows)
 * Source  none
 */
static inline uint32_t mir_stack_next_flows(struct mir_stack *stack, struct mir_net_walk *walk,
                                            struct mir_net_flow *out, uint32_t max)
{
    return stack->ops->next_flows != NULL ? stack->ops->next_flows(stack, walk, out, max) : 0;
}

/** "ESTABLISHED" and so on; static text. */
const char *mir_tcp_state_name(uint8_t state);

/** A neighbour on a link. */
struct mir_net_neighbour {
    struct mir_ip ip;
    uint32_t if_index; /**< from 1 */
    uint8_t mac[6];    /**< zeros while it is not known */
    bool is_router;
    const char *state; /**< "reachable", "stale", ...: static text */
};

/** As mir_stack_next_flows(), of neighbours. */
uint32_t mir_net_next_neighbours(struct mir_net *net, struct mir_net_walk *walk,
                                 struct mir_net_neighbour *out, uint32_t max);

/** An interface. */
struct mir_net_interface {
    struct mir_net_dev_info dev;
    uint16_t mtu;
    bool is_up;
    struct mir_net_dev_stats stats;
};

/** Tell about interface @if_index, from 1. Returns 0 or -MIR_ENOENT. */
int mir_net_get_interface(const struct mir_net *net, uint32_t if_index,
                          struct mir_net_interface *out) MIR_CHECK;

/** Call @each for every pool of objects of the stack. */
void mir_net_each_pool(const struct mir_net *net,
                       void (*each)(void *arg, const struct mir_pool *pool), void *arg);

/** Somebody who sees every frame of all interfaces, borrowed: as it came, and as it goes to the
 *  device. Caller's memory. */
struct mir_net_tap {
    void (*frame)(void *arg, uint32_t if_index, bool is_out, const struct mir_buf *buf);
    void *arg;
    struct mir_list link; /* private */
};

/** Frames are shown to @tap from now on. */
void mir_net_add_tap(struct mir_net *net, struct mir_net_tap *tap);
/** No more. Harmless inside its own frame(). */
void mir_net_remove_tap(struct mir_net *net, struct mir_net_tap *tap);

#endif
