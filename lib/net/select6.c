/* SPDX-License-Identifier: ISC */
/* Which of our IPv6 addresses speaks to a destination (RFC 6724 section 5).
 *
 * Candidates are the usable addresses of the interface that the packet leaves from. The link-local
 * address serves link-local destinations and groups of the link; it is the last resort for others.
 */
#include "lib/net/net_state.h"

static bool wants_link_local(const struct mir_ip *dst)
{
    return mir__ip6_is_link_local(dst) ||
           (mir__ip6_is_multicast(dst) && mir__ip6_multicast_scope(dst) <= 2);
}

bool mir__ip6_select_source(const struct mir__iface *iface, const struct mir_ip *dst,
                            struct mir_ip *src)
{
    const struct mir__ifaddr *best = NULL;
    mir_list_for_each (node, &iface->addresses) {
        const struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        if (addr->is_v4 || !mir__ifaddr_is_usable(addr))
            continue;
        bool fits = mir__ip6_is_link_local(&addr->ip) == wants_link_local(dst);
        bool best_fits = best != NULL && mir__ip6_is_link_local(&best->ip) == wants_link_local(dst);
        bool is_fresher = best != NULL && best->state == MIR__IFADDR_DEPRECATED &&
                          addr->state == MIR__IFADDR_PREFERRED;
        if (best == NULL || (fits && !best_fits) || (fits == best_fits && is_fresher))
            best = addr;
    }
    if (best != NULL)
        *src = best->ip;
    return best != NULL;
}
