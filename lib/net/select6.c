/* SPDX-License-Identifier: ISC */
/* Which of our IPv6 addresses speaks to a destination (RFC 6724 section 5).
 *
 * Candidates are the usable addresses of the interface that the packet leaves from. Each is
 * compared with the best so far by the rules in their order; the first rule that tells them apart
 * decides:
 *
 *   1  the destination itself       5  (outgoing interface: all candidates are of it)
 *   2  the smallest scope that      6  the label of the destination's policy
 *      reaches the destination      7  a temporary address (RFC 8981)
 *   3  not deprecated               8  the longest common prefix, within the address's own prefix
 *   4  (no home addresses here)
 *
 * The policy table is the default one of section 2.1. If no rule decides, the older address stays.
 */
#include "lib/net/net_state.h"

struct policy {
    struct mir_ip prefix;
    uint8_t len;
    uint8_t label;
};

/* Longest prefixes first. Precedence matters for choosing destinations alone, and is not kept. */
static const struct policy policies[] = {
    {{{[15] = 1}}, 128, 0},                /* ::1 */
    {{{[10] = 0xff, [11] = 0xff}}, 96, 4}, /* ::ffff:0:0/96 */
    {{{0}}, 96, 3},                        /* ::/96 */
    {{{0x20, 0x01}}, 32, 5},               /* 2001::/32, Teredo */
    {{{0x20, 0x02}}, 16, 2},               /* 2002::/16, 6to4 */
    {{{0x3f, 0xfe}}, 16, 12},              /* 3ffe::/16 */
    {{{0xfe, 0xc0}}, 10, 11},              /* fec0::/10 */
    {{{0xfc}}, 7, 13},                     /* fc00::/7 */
};

static uint8_t label_of(const struct mir_ip *ip)
{
    for (size_t i = 0; i < MIR_ARRAY_LEN(policies); i++) {
        if (mir__ip_prefix_equal(ip, &policies[i].prefix, policies[i].len))
            return policies[i].label;
    }
    return 1; /* ::/0 */
}

/* RFC 4291 and RFC 4007: 2 link, 5 site, 14 global; unique local addresses are global here. */
static uint8_t scope_of(const struct mir_ip *ip)
{
    if (mir__ip6_is_multicast(ip))
        return mir__ip6_multicast_scope(ip);
    if (mir__ip6_is_link_local(ip) || mir__ip6_is_loopback(ip))
        return 2;
    return ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0xc0 ? 5 : 14;
}

static uint32_t common_len(const struct mir_ip *a, const struct mir_ip *b, uint32_t most)
{
    for (uint32_t word = 0; word < 2; word++) {
        uint64_t differ = mir_get_be64(a->bytes + 8 * word) ^ mir_get_be64(b->bytes + 8 * word);
        if (differ != 0)
            return MIR_MIN(64 * word + (uint32_t)__builtin_clzll(differ), most);
    }
    return most;
}

/* Is @a better than @b? Rules that cannot tell them apart leave it at that: false. */
static bool is_better(const struct mir__ifaddr *a, const struct mir__ifaddr *b,
                      const struct mir_ip *dst)
{
    uint8_t scope_a = scope_of(&a->ip), scope_b = scope_of(&b->ip), scope_dst = scope_of(dst);
    if (mir_ip_equal(&a->ip, dst) != mir_ip_equal(&b->ip, dst))
        return mir_ip_equal(&a->ip, dst);
    if (scope_a < scope_b)
        return scope_a >= scope_dst;
    if (scope_b < scope_a)
        return scope_b < scope_dst;
    bool is_old_a = a->state == MIR__IFADDR_DEPRECATED,
         is_old_b = b->state == MIR__IFADDR_DEPRECATED;
    if (is_old_a != is_old_b)
        return is_old_b;
    bool fits_a = label_of(&a->ip) == label_of(dst), fits_b = label_of(&b->ip) == label_of(dst);
    if (fits_a != fits_b)
        return fits_a;
    if ((a->origin == MIR__IFADDR_TEMPORARY) != (b->origin == MIR__IFADDR_TEMPORARY))
        return a->origin == MIR__IFADDR_TEMPORARY;
    return common_len(&a->ip, dst, a->prefix_len) > common_len(&b->ip, dst, b->prefix_len);
}

static bool select_among(const struct mir__iface *iface, const struct mir_ip *dst,
                         bool with_tentative, struct mir_ip *src)
{
    const struct mir__ifaddr *best = NULL;
    mir_list_for_each (node, &iface->addresses) {
        const struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        bool may_use =
            mir__ifaddr_is_usable(addr) || (with_tentative && addr->state == MIR__IFADDR_TENTATIVE);
        if (addr->is_v4 || !may_use)
            continue;
        if (best == NULL || is_better(addr, best, dst))
            best = addr;
    }
    if (best != NULL)
        *src = best->ip;
    return best != NULL;
}

bool mir__ip6_select_source(const struct mir__iface *iface, const struct mir_ip *dst,
                            struct mir_ip *src)
{
    return select_among(iface, dst, false, src);
}

bool mir__ip6_select_soon(const struct mir__iface *iface, const struct mir_ip *dst,
                          struct mir_ip *src)
{
    return select_among(iface, dst, true, src);
}
