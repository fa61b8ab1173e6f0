/* SPDX-License-Identifier: ISC */
/* Group membership of IPv4, told to the routers of a link.
 *
 * Not done: reports (RFC 3376). Groups are accepted as they come.
 */
#include "lib/net/net_state.h"

void mir__igmp_group_joined(struct mir__group *group)
{
    (void)group;
}

void mir__igmp_group_left(struct mir__group *group)
{
    (void)group;
}

void mir__igmp_group_timer(struct mir__group *group)
{
    (void)group;
}
