/* SPDX-License-Identifier: ISC */
/* What is known of paths that carry less than our own link: one number for each destination.
 *
 * A router tells by ICMP that a packet of ours was too big. The transport that sent it says whether
 * the message can be true (TCP: the quoted segment is in flight; UDP: a socket really talks to that
 * address); only then the cache hears of it, so a stranger cannot fill it. New connections and
 * datagrams to the same destination start with the number; it is forgotten after ten minutes, and
 * then a larger packet may be tried again (RFC 8201 section 4, RFC 1191 section 6.3). A path that
 * still carries no more answers with ICMP again.
 *
 *   hash ── entry ── entry          age: oldest first; a full table forgets the oldest
 *
 * An estimate is only ever lowered before it expires: a message that claims more proves nothing.
 * Below 68 bytes (IPv4) or 1280 (IPv6) it is raised to that, because every link carries so much.
 *
 * TCP probes for itself (tcp/path_mtu.c; RFC 4821, 8899).
 */
#include "lib/net/net_state.h"

static struct mir_list *bucket_of(const struct mir_net *net, const struct mir_ip *dst)
{
    uint64_t h = (mir_get_be64(dst->bytes + 8) ^ net->pmtu.hash_key) * 0x9e3779b97f4a7c15u;
    h = (h ^ mir_get_be64(dst->bytes)) * 0xff51afd7ed558ccdu;
    return &net->pmtu.buckets[h >> 56];
}
_Static_assert(MIR__PMTU_BUCKETS == 256, "eight bits of the hash");

static struct mir__pmtu_entry *find(const struct mir_net *net, const struct mir_ip *dst)
{
    mir_list_for_each (node, bucket_of(net, dst)) {
        struct mir__pmtu_entry *entry = MIR_CONTAINER_OF(node, struct mir__pmtu_entry, bucket);
        if (mir_ip_equal(&entry->dst, dst))
            return entry;
    }
    return NULL;
}

static struct mir__pmtu_entry *oldest(const struct mir_net *net)
{
    return mir_list_is_empty(&net->pmtu.age)
               ? NULL
               : MIR_CONTAINER_OF(net->pmtu.age.next, struct mir__pmtu_entry, age);
}

static void arm_timer(struct mir_net *net)
{
    const struct mir__pmtu_entry *first = oldest(net);
    mir_timer_set(net->loop, &net->pmtu.timer, first != NULL ? first->until_us : MIR_TIME_NEVER);
}

static void forget(struct mir_net *net, struct mir__pmtu_entry *entry)
{
    mir_list_remove(&entry->age);
    mir_list_remove(&entry->bucket);
    net->pmtu.count--;
    mir_pool_free(&net->pmtu.pool, entry);
}

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    struct mir__pmtu_entry *entry;
    while ((entry = oldest(net)) != NULL && entry->until_us <= mir_loop_now(net->loop)) {
        net->counters.pmtu_expired++;
        forget(net, entry);
    }
    /* Who kept a route looks again and finds the interface's MTU. */
    mir__net_routes_changed(net);
    arm_timer(net);
}

uint16_t mir__pmtu_find(const struct mir_net *net, const struct mir_ip *dst)
{
    const struct mir__pmtu_entry *entry = net->pmtu.count != 0 ? find(net, dst) : NULL;
    return entry != NULL ? entry->mtu : 0;
}

uint16_t mir__pmtu_update(struct mir_net *net, const struct mir_ip *dst, uint16_t mtu)
{
    struct mir__pmtu_entry *entry = find(net, dst);
    mtu = MIR_MAX(mtu, (uint16_t)(mir_ip_is_v4(dst) ? MIR__IP4_MTU_MIN : MIR__IP6_MTU_MIN));
    if (entry != NULL && entry->mtu <= mtu)
        return entry->mtu;
    if (entry == NULL) {
        entry = mir_pool_alloc(&net->pmtu.pool);
        if (entry == NULL && oldest(net) != NULL) {
            forget(net, oldest(net));
            entry = mir_pool_alloc(&net->pmtu.pool);
        }
        if (entry == NULL)
            return mtu; /* the caller knows it; others learn it themselves */
        *entry = (struct mir__pmtu_entry){.dst = *dst};
        mir_list_push_front(bucket_of(net, dst), &entry->bucket);
        mir_list_init(&entry->age);
        net->pmtu.count++;
    }
    net->counters.pmtu_lowered++;
    entry->mtu = mtu;
    entry->until_us = mir_loop_now(net->loop) + MIR__PMTU_US;
    mir_list_remove(&entry->age);
    mir_list_push_back(&net->pmtu.age, &entry->age);
    arm_timer(net);
    return mtu;
}

int mir__pmtu_init(struct mir_net *net, uint32_t entries_max)
{
    struct mir__pmtu_state *state = &net->pmtu;
    mir_list_init(&state->age);
    mir_timer_init(&state->timer, on_timer, net);
    state->hash_key = mir_rng_u32(net->rng);
    int r = mir_pool_init(&state->pool, "path mtu", net->pages, sizeof(struct mir__pmtu_entry),
                          entries_max);
    if (r < 0)
        return r;
    r = mir_page_alloc(net->pages, MIR__PMTU_BUCKETS * sizeof(struct mir_list), MIR_PAGE_OVERWRITE,
                       &state->bucket_page);
    if (r < 0)
        return r;
    state->buckets = (struct mir_list *)(void *)state->bucket_page->base;
    for (uint32_t i = 0; i < MIR__PMTU_BUCKETS; i++)
        mir_list_init(&state->buckets[i]);
    return 0;
}

void mir__pmtu_fini(struct mir_net *net)
{
    struct mir__pmtu_entry *entry;
    while ((entry = oldest(net)) != NULL)
        forget(net, entry);
    mir_timer_cancel(&net->pmtu.timer);
    mir_pool_fini(&net->pmtu.pool);
    mir_page_release(net->pmtu.bucket_page);
}
