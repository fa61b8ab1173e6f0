/* SPDX-License-Identifier: ISC */
/* Multicast listener discovery: which groups we want, told to the routers of a link.
 *
 * Not done: reports (RFC 3810). Switches that do not listen to them deliver groups all the same.
 */
#include "lib/net/net_state.h"

void mir__mld6_group_joined(struct mir__group *group)
{
    (void)group;
}

void mir__mld6_group_left(struct mir__group *group)
{
    (void)group;
}

void mir__mld6_group_timer(struct mir__group *group)
{
    (void)group;
}

void mir__mld6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                     struct mir_buf *buf_given)
{
    (void)meta;
    net->counters.icmp_ignored++;
    mir_buf_release(buf_given);
}
