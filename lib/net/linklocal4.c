/* SPDX-License-Identifier: ISC */
/* IPv4 link-local addresses: what an interface gives itself where no DHCP server answers (RFC
 * 3927).
 *
 * Candidates are 169.254.1.0 to 169.254.254.255, in an order that the hardware address alone
 * determines, so a host gets the same one each time (section 2.1). Each is probed with the full
 * times of RFC 5227; after ten conflicts only one a minute is tried (section 2.2.1). A conflict
 * later on is defended once, then another address is taken (section 2.5 b).
 *
 * The DHCP client goes on asking. When it has a lease this address goes (section 1.9), and
 * connections from it find no route any more. While it is there no router is used: it comes with
 * the network 169.254/16 and without a gateway, and what goes to 169.254/16 is never given to one
 * either (section 2.6.2, ip.c). Its ARP replies go to everybody (section 2.5, arp.c).
 *
 * Not done: two interfaces with link-local addresses at once cannot tell their links apart for
 * destinations (section 3.2): the one whose route is found first is used.
 */
#include "lib/net/net_state.h"

enum { FIRST = 0xa9fe0100u, COUNT = 254 * 256, MAX_CONFLICTS = 10 };
#define RATE_LIMIT_US (60 * MIR_US_PER_S)

/* Nothing secret: the same for each start of this interface. */
static uint32_t candidate(const struct mir__iface *iface, uint32_t attempt)
{
    uint32_t h = attempt * 0x9e3779b9u + 0x7f4a7c15u;
    for (int i = 0; i < 6; i++)
        h = (h ^ iface->mac[i]) * 0x01000193u;
    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h ^= h >> 13;
    return FIRST + h % COUNT;
}

static void try_next(struct mir__iface *iface)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    mir__acd4_probe(&ll->acd, candidate(iface, ll->attempts++), false);
}

static void on_free(struct mir__iface *iface)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    struct mir__ifaddr_spec spec = {
        .ip = mir_ip_from_v4(ll->acd.ip),
        .prefix_len = 16,
        .origin = MIR__IFADDR_LINK_LOCAL,
    };
    if (mir__ifaddr_add(iface, &spec, NULL) < 0)
        return;
    ll->ip = ll->acd.ip;
    MIR_LOG(NET, INFO, "address 169.254.%u.%u/16 interface=%u, no DHCP server answers",
            ll->ip >> 8 & 255, ll->ip & 255, iface->index + 1);
    mir__acd4_hold(&ll->acd, ll->ip);
}

static void remove_address(struct mir__iface *iface)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    struct mir__ifaddr *addr = ll->ip != 0 ? mir__ifaddr_find4(iface->net, ll->ip) : NULL;
    ll->ip = 0;
    if (addr != NULL)
        mir__ifaddr_remove(addr);
}

static void on_conflict(struct mir__iface *iface, bool was_held)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    struct mir_loop *loop = iface->net->loop;
    (void)was_held;
    remove_address(iface);
    if (++ll->conflicts < MAX_CONFLICTS)
        try_next(iface);
    else
        mir_timer_set(loop, &ll->timer, mir_loop_now(loop) + RATE_LIMIT_US);
}

static void on_timer(void *arg)
{
    try_next(arg);
}

void mir__linklocal4_init(struct mir__iface *iface, bool is_enabled)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    *ll = (struct mir__linklocal4){.is_enabled = is_enabled};
    mir__acd4_init(&ll->acd, iface, on_free, on_conflict);
    mir_timer_init(&ll->timer, on_timer, iface);
}

void mir__linklocal4_start(struct mir__iface *iface)
{
    struct mir__linklocal4 *ll = &iface->linklocal4;
    if (!ll->is_enabled || ll->acd.phase != MIR__ACD4_IDLE || mir_timer_is_set(&ll->timer))
        return;
    ll->attempts = ll->conflicts = 0;
    try_next(iface);
}

void mir__linklocal4_stop(struct mir__iface *iface)
{
    mir__acd4_stop(&iface->linklocal4.acd);
    mir_timer_cancel(&iface->linklocal4.timer);
    remove_address(iface);
}
