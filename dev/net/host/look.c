/* SPDX-License-Identifier: ISC */
/* What the socket stack tells of its flows (<mirari/net_look.h>): listeners, connections, sockets,
 * in the order in which they were made.
 *
 * A walk remembers how many of a list were told and counts them again every time: told in pieces of
 * some dozens that is cheap for as many as there can be.
 */
#include <mirari/net_look.h>

#include "dev/net/host/internal.h"

enum { STAGE_LISTENERS, STAGE_CONNECTIONS, STAGE_UDP, STAGE_END };

static void tell(struct mir_list *node, uint32_t stage, struct mir_net_flow *flow)
{
    *flow = (struct mir_net_flow){.kind = MIR_NET_FLOW_UDP};
    if (stage == STAGE_LISTENERS) {
        const struct mir__host_listener *l = MIR_CONTAINER_OF(node, struct mir__host_listener, all);
        flow->kind = MIR_NET_FLOW_LISTENER;
        flow->state = MIR_TCP_S_LISTEN;
        flow->local = l->head.local;
    } else if (stage == STAGE_CONNECTIONS) {
        const struct mir__host_tcp *tcp = MIR_CONTAINER_OF(node, struct mir__host_tcp, all);
        flow->kind = MIR_NET_FLOW_CONNECTION;
        flow->local = tcp->local;
        flow->remote = tcp->remote;
        mir__host_info(&tcp->head, &flow->info);
        flow->state = flow->info.state;
    } else {
        const struct mir__host_udp *udp = MIR_CONTAINER_OF(node, struct mir__host_udp, all);
        flow->local = udp->local;
        flow->remote = udp->remote;
    }
}

uint32_t mir__host_next_flows(struct mir_stack *head, struct mir_net_walk *walk,
                              struct mir_net_flow *out, uint32_t max)
{
    struct mir__host_stack *stack = mir__host_of(head);
    uint32_t count = 0;
    for (; walk->stage < STAGE_END && count < max; walk->stage++, walk->skip = 0) {
        uint32_t seen = 0;
        mir_list_for_each (node, walk->stage == STAGE_LISTENERS     ? &stack->listeners
                                 : walk->stage == STAGE_CONNECTIONS ? &stack->connections
                                                                    : &stack->sockets) {
            if (seen++ < walk->skip)
                continue;
            if (count == max)
                return count;
            walk->skip = seen;
            tell(node, walk->stage, &out[count++]);
        }
    }
    return count;
}
