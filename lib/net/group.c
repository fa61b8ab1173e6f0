/* SPDX-License-Identifier: ISC */
/* Multicast groups that interfaces have joined (RFC 1112 section 7, RFC 4291 section 2.8).
 *
 * A group is counted: an application and an address may both need the same one, and the last leave
 * ends it. Input asks mir__group_find() whether a multicast packet is wanted; the protocols that
 * tell routers (IGMP, MLD) hear of the first join and of the last leave.
 *
 * The all-nodes group of IPv6 and the solicited-node groups of its addresses are joined here like
 * any other. Bounded by a pool; no filter by source (RFC 3376 and 3810 call that EXCLUDE {}).
 */
#include "lib/net/net_state.h"

static struct mir_list *bucket_of(const struct mir_net *net, const struct mir_ip *ip)
{
    uint64_t h = (mir_get_be64(ip->bytes + 8) ^ net->group.hash_key) * 0x9e3779b97f4a7c15u;
    h = (h ^ mir_get_be64(ip->bytes)) * 0xff51afd7ed558ccdu;
    return (struct mir_list *)(uintptr_t)&net->group.buckets[h >> 58];
}
_Static_assert(MIR__GROUP_BUCKETS == 64, "six bits of the hash");

struct mir_ip mir__ip6_solicited_node(const struct mir_ip *ip)
{
    struct mir_ip group = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff}};
    mir_memcpy(group.bytes + 13, ip->bytes + 13, 3);
    return group;
}

struct mir__group *mir__group_find(const struct mir__iface *iface, const struct mir_ip *group)
{
    const struct mir_list *bucket = bucket_of(iface->net, group);
    for (struct mir_list *node = bucket->next; node != bucket; node = node->next) {
        struct mir__group *g = MIR_CONTAINER_OF(node, struct mir__group, bucket);
        if (g->iface == iface && mir_ip_equal(&g->ip, group))
            return g;
    }
    return NULL;
}

static bool is_group(const struct mir_ip *ip)
{
    return mir_ip_is_v4(ip) ? mir__ip4_is_multicast(mir_ip_to_v4(ip)) : mir__ip6_is_multicast(ip);
}

static void on_timer(void *arg)
{
    struct mir__group *group = arg;
    if (mir_ip_is_v4(&group->ip))
        mir__igmp_group_timer(group);
    else
        mir__mld6_group_timer(group);
}

int mir__group_join(struct mir__iface *iface, const struct mir_ip *ip)
{
    struct mir_net *net = iface->net;
    if (!is_group(ip))
        return -MIR_EINVAL;
    struct mir__group *group = mir__group_find(iface, ip);
    if (group != NULL) {
        group->refs++;
        return 0;
    }
    group = mir_pool_alloc(&net->group.pool);
    if (group == NULL)
        return -MIR_ELIMIT;
    *group = (struct mir__group){.ip = *ip, .iface = iface, .refs = 1};
    mir_timer_init(&group->timer, on_timer, group);
    mir_list_push_back(&iface->groups, &group->link);
    mir_list_push_front(bucket_of(net, ip), &group->bucket);
    if (mir_ip_is_v4(ip))
        mir__igmp_group_joined(group);
    else
        mir__mld6_group_joined(group);
    return 0;
}

static void end(struct mir__group *group)
{
    if (mir_ip_is_v4(&group->ip))
        mir__igmp_group_left(group);
    else
        mir__mld6_group_left(group);
    mir_timer_cancel(&group->timer);
    mir_list_remove(&group->link);
    mir_list_remove(&group->bucket);
    mir_pool_free(&group->iface->net->group.pool, group);
}

void mir__group_leave(struct mir__iface *iface, const struct mir_ip *ip)
{
    struct mir__group *group = mir__group_find(iface, ip);
    if (group != NULL && --group->refs == 0)
        end(group);
}

void mir__group_forget(struct mir__iface *iface)
{
    mir_list_for_each (node, &iface->groups)
        end(MIR_CONTAINER_OF(node, struct mir__group, link));
}

int mir__group_init(struct mir_net *net, uint32_t groups_max)
{
    for (uint32_t i = 0; i < MIR__GROUP_BUCKETS; i++)
        mir_list_init(&net->group.buckets[i]);
    net->group.hash_key = mir_rng_u32(net->rng);
    return mir_pool_init(&net->group.pool, "groups", net->pages, sizeof(struct mir__group),
                         groups_max);
}

void mir__group_fini(struct mir_net *net)
{
    for (uint32_t i = 0; i < net->iface_count; i++)
        mir__group_forget(&net->ifaces[i]);
    mir_pool_fini(&net->group.pool);
}
