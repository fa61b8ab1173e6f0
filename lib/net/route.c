/* SPDX-License-Identifier: ISC */
/* The routing table: longest prefix first, both families.
 *
 * For each prefix length that occurs there is a bit; all prefixes of all lengths are in one hash. A
 * look-up goes through the lengths that occur, longest first, cuts the destination to that length
 * and asks the hash:
 *
 *     lengths in use:  /128 . . . /120 . . . /96        dst 10.0.0.7 = ::ffff:10.0.0.7
 *                        │          │         │
 *                        v          v         v
 *     hash of        10.0.0.7    10.0.0.0   0.0.0.0     the first that is there wins
 *
 * So it costs one probe for each length, at most 33 for IPv4 and 129 for IPv6, but usually two or
 * three; how many routes there are of one length does not matter. A trie would bound the probes by
 * the depth of the tree; for a host, whose routes have few lengths, hashing is both smaller and
 * faster. Look-ups are rare anyway: whoever sends keeps the answer (struct mir__route).
 *
 * Several routes may have the same prefix (two routers, two interfaces with a link-local address);
 * then one whose gateway answers is better, then one over the interface that owns the source
 * address, then the lowest metric, then the oldest. An entry over an interface that cannot carry
 * the family is skipped.
 *
 * Source: RFC 1122 section 3.3.1.2, RFC 4861 sections 5.2 and 6.3.6, RFC 4191 section 3.2.
 */
#include "lib/net/net_state.h"

#define V4_FIRST 96u /* length of the prefix ::ffff:0:0 */

/* ---- prefixes ------------------------------------------------------------------------------ */

static void cut(struct mir_ip *ip, uint32_t len)
{
    uint64_t high = mir_get_be64(ip->bytes), low = mir_get_be64(ip->bytes + 8);
    if (len < 64)
        high &= len == 0 ? 0 : UINT64_MAX << (64 - len);
    low &= len <= 64 ? 0 : UINT64_MAX << (128 - len);
    mir_put_be64(ip->bytes, high);
    mir_put_be64(ip->bytes + 8, low);
}

bool mir__ip_prefix_equal(const struct mir_ip *a, const struct mir_ip *b, uint32_t len)
{
    struct mir_ip x = *a, y = *b;
    cut(&x, len);
    cut(&y, len);
    return mir_ip_equal(&x, &y);
}

static struct mir_list *bucket_of(const struct mir_net *net, const struct mir_ip *prefix,
                                  uint32_t len)
{
    uint64_t h = (mir_get_be64(prefix->bytes + 8) ^ net->route.hash_key) * 0x9e3779b97f4a7c15u;
    h = (h ^ mir_get_be64(prefix->bytes) ^ len) * 0xff51afd7ed558ccdu;
    return &net->route.buckets[h >> 56];
}
_Static_assert(MIR__ROUTE_BUCKETS == 256, "eight bits of the hash");

/* ---- look-up ------------------------------------------------------------------------------- */

static bool can_carry(const struct mir__route_entry *entry)
{
    return entry->prefix_len >= V4_FIRST && mir_ip_is_v4(&entry->prefix)
               ? entry->iface->ip != 0
               : entry->iface->ip6_mode != MIR_IP6_OFF;
}

static bool is_better(const struct mir__route_entry *a, const struct mir__route_entry *b,
                      const struct mir__iface *src_iface)
{
    if (a->is_unreachable != b->is_unreachable)
        return !a->is_unreachable;
    if ((a->iface == src_iface) != (b->iface == src_iface))
        return a->iface == src_iface;
    return a->metric < b->metric;
}

struct wish {
    const struct mir__iface *src;  /* better over this one */
    const struct mir__iface *only; /* NULL: whichever */
};

static struct mir__route_entry *find_length(const struct mir_net *net, const struct mir_ip *dst,
                                            uint32_t len, const struct wish *wish)
{
    struct mir_ip prefix = *dst;
    struct mir__route_entry *best = NULL;
    cut(&prefix, len);
    /* Behind the oldest: of equals the first stays. */
    mir_list_for_each (node, bucket_of(net, &prefix, len)) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, bucket);
        if (entry->prefix_len != len || !mir_ip_equal(&entry->prefix, &prefix) ||
            !can_carry(entry) || (wish->only != NULL && entry->iface != wish->only))
            continue;
        if (best == NULL || is_better(entry, best, wish->src))
            best = entry;
    }
    return best;
}

static struct mir__route_entry *find_best(const struct mir_net *net, const struct mir_ip *dst,
                                          const struct wish *wish)
{
    const struct mir__route_state *state = &net->route;
    struct mir__route_entry *entry = NULL;
    if (mir_ip_is_v4(dst)) {
        for (uint64_t left = state->lengths_v4; left != 0 && entry == NULL;) {
            uint32_t top = 63u - (uint32_t)__builtin_clzll(left);
            left ^= (uint64_t)1 << top;
            entry = find_length(net, dst, V4_FIRST + top, wish);
        }
        return entry;
    }
    for (uint32_t word = 3; word-- > 0;) {
        for (uint64_t left = state->lengths_v6[word]; left != 0 && entry == NULL;) {
            uint32_t top = 63u - (uint32_t)__builtin_clzll(left);
            left ^= (uint64_t)1 << top;
            entry = find_length(net, dst, 64 * word + top, wish);
        }
    }
    return entry;
}

struct mir__route_entry *mir__route_find(const struct mir_net *net, const struct mir_ip *dst,
                                         const struct mir__iface *src_iface)
{
    return find_best(net, dst, &(struct wish){.src = src_iface});
}

struct mir__route_entry *mir__route_find_on(const struct mir_net *net, const struct mir_ip *dst,
                                            const struct mir__iface *iface)
{
    return find_best(net, dst, &(struct wish){.src = iface, .only = iface});
}

/* ---- changes ------------------------------------------------------------------------------- */

/* The bits of the lengths follow the counts. */
static void count_length(struct mir_net *net, const struct mir__route_entry *entry, int change)
{
    struct mir__route_state *state = &net->route;
    bool is_v4 = entry->prefix_len >= V4_FIRST && mir_ip_is_v4(&entry->prefix);
    uint16_t *count = is_v4 ? &state->counts_v4[entry->prefix_len - V4_FIRST]
                            : &state->counts_v6[entry->prefix_len];
    uint64_t *word = is_v4 ? &state->lengths_v4 : &state->lengths_v6[entry->prefix_len / 64];
    uint64_t bit = (uint64_t)1 << (is_v4 ? entry->prefix_len - V4_FIRST : entry->prefix_len % 64);
    *count = (uint16_t)(*count + change);
    *word = *count > 0 ? *word | bit : *word & ~bit;
}

/* With its length in 128 bits and nothing behind it. False: it makes no sense. */
static bool normalize(const struct mir__route_spec *spec, struct mir_ip *prefix, uint32_t *len)
{
    bool is_v4 = mir_ip_is_v4(&spec->prefix);
    if (spec->prefix_len > (is_v4 ? 32 : 128) || spec->iface == NULL)
        return false;
    if (!mir_ip_is_any(&spec->gateway) && mir_ip_is_v4(&spec->gateway) != is_v4)
        return false;
    *prefix = spec->prefix;
    *len = spec->prefix_len + (is_v4 ? V4_FIRST : 0);
    cut(prefix, *len);
    return true;
}

static struct mir__route_entry *find_same(const struct mir_net *net,
                                          const struct mir__route_spec *spec,
                                          const struct mir_ip *prefix, uint32_t len)
{
    mir_list_for_each (node, bucket_of(net, prefix, len)) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, bucket);
        bool is_same_gateway = mir_ip_equal(&entry->gateway, &spec->gateway) ||
                               (mir_ip_is_any(&entry->gateway) && mir_ip_is_any(&spec->gateway));
        if (entry->prefix_len == len && entry->iface == spec->iface &&
            mir_ip_equal(&entry->prefix, prefix) && is_same_gateway)
            return entry;
    }
    return NULL;
}

int mir__route_add(struct mir_net *net, const struct mir__route_spec *spec,
                   struct mir__route_entry **out)
{
    struct mir_ip prefix;
    uint32_t len;
    if (!normalize(spec, &prefix, &len))
        return -MIR_EINVAL;
    struct mir__route_entry *entry = find_same(net, spec, &prefix, len);
    if (entry == NULL) {
        entry = mir_pool_alloc(&net->route.pool);
        if (entry == NULL)
            return -MIR_ELIMIT;
        *entry = (struct mir__route_entry){
            .prefix = prefix,
            .gateway = spec->gateway,
            .iface = spec->iface,
            .prefix_len = (uint8_t)len,
        };
        mir_list_push_back(&net->route.all, &entry->link);
        mir_list_push_back(bucket_of(net, &prefix, len), &entry->bucket);
        count_length(net, entry, 1);
    }
    entry->metric = spec->metric;
    entry->mtu = spec->mtu;
    entry->origin = (uint8_t)spec->origin;
    mir__net_routes_changed(net);
    if (out != NULL)
        *out = entry;
    return 0;
}

void mir__route_remove_entry(struct mir_net *net, struct mir__route_entry *entry)
{
    count_length(net, entry, -1);
    mir_list_remove(&entry->link);
    mir_list_remove(&entry->bucket);
    mir_pool_free(&net->route.pool, entry);
    mir__net_routes_changed(net);
}

struct mir__route_entry *mir__route_get(const struct mir_net *net,
                                        const struct mir__route_spec *spec)
{
    struct mir_ip prefix;
    uint32_t len;
    return normalize(spec, &prefix, &len) ? find_same(net, spec, &prefix, len) : NULL;
}

int mir__route_remove(struct mir_net *net, const struct mir__route_spec *spec)
{
    struct mir__route_entry *entry = mir__route_get(net, spec);
    if (entry == NULL)
        return -MIR_ENOENT;
    mir__route_remove_entry(net, entry);
    return 0;
}

void mir__route_forget(struct mir_net *net, const struct mir__iface *iface,
                       enum mir__route_origin origin)
{
    mir_list_for_each (node, &net->route.all) {
        struct mir__route_entry *entry = MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        if (entry->iface == iface && entry->origin == origin)
            mir__route_remove_entry(net, entry);
    }
}

void mir__route_set_unreachable(struct mir_net *net, struct mir__route_entry *entry,
                                bool is_unreachable)
{
    if (entry->is_unreachable == is_unreachable)
        return;
    entry->is_unreachable = is_unreachable;
    mir__net_routes_changed(net);
}

/* ---- life ---------------------------------------------------------------------------------- */

int mir__route_init(struct mir_net *net, uint32_t routes_max)
{
    struct mir__route_state *state = &net->route;
    mir_list_init(&state->all);
    state->hash_key = mir_rng_u32(net->rng);
    int r = mir_pool_init(&state->pool, "routes", net->pages, sizeof(struct mir__route_entry),
                          MIR_MIN(routes_max, 65535u));
    if (r < 0)
        return r;
    r = mir_page_alloc(net->pages, MIR__ROUTE_BUCKETS * sizeof(struct mir_list), MIR_PAGE_OVERWRITE,
                       &state->bucket_page);
    if (r < 0)
        return r;
    state->buckets = (struct mir_list *)(void *)state->bucket_page->base;
    for (uint32_t i = 0; i < MIR__ROUTE_BUCKETS; i++)
        mir_list_init(&state->buckets[i]);
    return 0;
}

void mir__route_fini(struct mir_net *net)
{
    struct mir__route_state *state = &net->route;
    while (!mir_list_is_empty(&state->all))
        mir__route_remove_entry(net,
                                MIR_CONTAINER_OF(state->all.next, struct mir__route_entry, link));
    mir_pool_fini(&state->pool);
    mir_page_release(state->bucket_page);
}

/* ---- public -------------------------------------------------------------------------------- */

static int make_spec(struct mir_net *net, const struct mir_net_route *route,
                     struct mir__route_spec *spec)
{
    struct mir__iface *iface = mir__net_iface(net, route->if_index);
    if (iface == NULL)
        return -MIR_ENOENT;
    *spec = (struct mir__route_spec){
        .prefix = route->prefix,
        .prefix_len = route->prefix_len,
        .gateway = route->gateway,
        .iface = iface,
        .origin = MIR__ROUTE_MANUAL,
        .metric = route->metric,
    };
    return 0;
}

int mir_net_add_route(struct mir_net *net, const struct mir_net_route *route)
{
    struct mir__route_spec spec;
    int r = make_spec(net, route, &spec);
    return r < 0 ? r : mir__route_add(net, &spec, NULL);
}

int mir_net_remove_route(struct mir_net *net, const struct mir_net_route *route)
{
    struct mir__route_spec spec;
    int r = make_spec(net, route, &spec);
    return r < 0 ? r : mir__route_remove(net, &spec);
}

void mir_net_each_route(const struct mir_net *net,
                        void (*each)(void *arg, const struct mir_net_route *route), void *arg)
{
    mir_list_for_each (node, &net->route.all) {
        const struct mir__route_entry *entry =
            MIR_CONTAINER_OF(node, struct mir__route_entry, link);
        bool is_v4 = entry->prefix_len >= V4_FIRST && mir_ip_is_v4(&entry->prefix);
        struct mir_net_route told = {
            .prefix = entry->prefix,
            .prefix_len = (uint8_t)(entry->prefix_len - (is_v4 ? V4_FIRST : 0)),
            .gateway = entry->gateway,
            .if_index = entry->iface->index + 1,
            .metric = entry->metric,
            .origin = (enum mir_net_route_origin)entry->origin,
        };
        each(arg, &told);
    }
}
