/* SPDX-License-Identifier: ISC */
/* Addresses of IPv6 without a server: link-local, stable and temporary (RFC 4862 sections 5.3 and
 * 5.5, RFC 7217, RFC 8981).
 *
 *   interface starts ──> fe80:: + identifier of the MAC; if somebody has it: fe80:: + F(...)
 *   prefix, flag A   ──> prefix + F(prefix, MAC, counter, secret)
 *                   └──> prefix + random number, replaced every day      (if wished)
 *
 * F is SipHash under a secret of 128 bits, so an identifier tells neither the MAC nor the
 * identifier under another prefix, and comes back when the prefix does. Without a given secret it
 * is drawn at start. When somebody has the address already the counter moves on, three times.
 *
 * Lifetimes are kept by ifaddr.c. An advertisement sets them anew, but cannot shorten the life of
 * an address to less than two hours (section 5.5.3 e), or a forged one could cut all connections;
 * the preferred lifetime follows at once, which is how a network is renumbered.
 *
 * A temporary address is preferred for a day, less a random part of up to 40 %, and valid for two,
 * whatever routers say; its successor is made five seconds before the preference ends (RFC 8981
 * sections 3.4 to 3.8). Three for each prefix are kept at most.
 *
 * Eight prefixes are remembered on an interface; more are ignored and counted.
 *
 * Not done: identifiers of other lengths than 64 bits.
 */
#include "lib/net/net_state.h"

#define IDGEN_RETRIES     3u
#define TWO_HOURS_US      (7200 * MIR_US_PER_S)
#define TEMP_VALID_US     (2 * 86400 * MIR_US_PER_S)
#define TEMP_PREFERRED_US (1 * 86400 * MIR_US_PER_S)
#define TEMP_DESYNC_S     (86400u * 4 / 10)
#define REGEN_ADVANCE_US  (5 * MIR_US_PER_S)

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

static mir_time_us until(const struct mir__iface *iface, uint32_t lifetime_s)
{
    return lifetime_s == UINT32_MAX ? MIR_TIME_NEVER : now_of(iface) + lifetime_s * MIR_US_PER_S;
}

/* ---- identifiers -------------------------------------------------------------------------- */

/* RFC 5453: those of the subnet's anycast addresses, and of proxies of Mobile IPv6. */
static bool is_reserved(uint64_t id)
{
    return id == 0 || id >> 24 == 0x02005efffe ||
           (id >= 0xfdffffffffffff80u && id <= 0xfdffffffffffffffu);
}

static uint64_t stable_id(const struct mir__iface *iface, const struct mir_ip *prefix,
                          uint8_t counter)
{
    uint8_t input[8 + 6 + 1];
    mir_memcpy(input, prefix->bytes, 8);
    mir_memcpy(input + 8, iface->mac, 6);
    input[14] = counter;
    return mir_siphash(iface->slaac.secret, input, sizeof input);
}

static struct mir_ip join(const struct mir_ip *prefix, uint64_t id)
{
    struct mir_ip ip = *prefix;
    mir_put_be64(ip.bytes + 8, id);
    return ip;
}

/* With the first counter from *@counter on whose identifier is possible. */
static struct mir_ip stable_address(const struct mir__iface *iface, const struct mir_ip *prefix,
                                    uint8_t *counter)
{
    uint64_t id;
    while (is_reserved(id = stable_id(iface, prefix, *counter)))
        ++*counter;
    return join(prefix, id);
}

/* RFC 4291 appendix A. */
static uint64_t mac_id(const uint8_t mac[6])
{
    return (uint64_t)(mac[0] ^ 2) << 56 | (uint64_t)mac[1] << 48 | (uint64_t)mac[2] << 40 |
           0xfffe000000u | (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];
}

/* ---- the link-local address --------------------------------------------------------------- */

void mir__slaac_link_local(struct mir__iface *iface)
{
    struct mir__slaac *slaac = &iface->slaac;
    struct mir_ip prefix = {{0xfe, 0x80}};
    struct mir__ifaddr_spec spec = {.prefix_len = 64, .origin = MIR__IFADDR_LINK_LOCAL};
    /* A link sees the MAC anyway: only the second try hides it. */
    if (slaac->link_local_counter > 0)
        spec.ip = stable_address(iface, &prefix, &slaac->link_local_counter);
    else
        spec.ip = join(&prefix, mac_id(iface->mac));
    if (mir__ifaddr_add(iface, &spec, NULL) < 0)
        MIR_LOG(NET, WARN, "no link-local address interface=%u", iface->index + 1);
}

/* ---- temporary addresses ------------------------------------------------------------------ */

static void arm_timer(struct mir__iface *iface)
{
    struct mir__slaac *slaac = &iface->slaac;
    mir_time_us first_us = MIR_TIME_NEVER;
    for (uint32_t i = 0; i < slaac->prefix_count; i++) {
        first_us = MIR_MIN(first_us, slaac->prefixes[i].regenerate_us);
        first_us = MIR_MIN(first_us, slaac->prefixes[i].valid_until_us);
    }
    mir_timer_set(iface->net->loop, &slaac->timer, first_us);
}

/* A free place, or that of the oldest, whose address goes. */
static struct mir__slaac_temp *place_for(struct mir__iface *iface, struct mir__slaac_prefix *prefix)
{
    struct mir__slaac_temp *oldest = &prefix->temp[0];
    for (uint32_t i = 0; i < MIR__ND6_TEMP_MAX; i++) {
        struct mir__slaac_temp *temp = &prefix->temp[i];
        struct mir__ifaddr *addr = mir__ifaddr_find(iface->net, &temp->ip);
        if (mir_ip_is_any(&temp->ip) || addr == NULL)
            return temp;
        if (temp->valid_max_us < oldest->valid_max_us)
            oldest = temp;
    }
    mir__ifaddr_remove(mir__ifaddr_find(iface->net, &oldest->ip));
    return oldest;
}

static void make_temporary(struct mir__iface *iface, struct mir__slaac_prefix *prefix)
{
    struct mir_net *net = iface->net;
    mir_time_us now_us = now_of(iface);
    mir_time_us desync_us = mir_rng_below(net->rng, TEMP_DESYNC_S) * MIR_US_PER_S;
    mir_time_us preferred_max_us = now_us + TEMP_PREFERRED_US - desync_us;
    struct mir__slaac_temp *temp = place_for(iface, prefix);
    uint64_t id;
    do
        id = mir_rng_u64(net->rng);
    while (is_reserved(id));
    *temp = (struct mir__slaac_temp){
        .ip = join(&prefix->prefix, id),
        .preferred_max_us = preferred_max_us,
        .valid_max_us = now_us + TEMP_VALID_US,
    };
    struct mir__ifaddr_spec spec = {
        .ip = temp->ip,
        .prefix_len = 64,
        .origin = MIR__IFADDR_TEMPORARY,
        .preferred_until_us = MIR_MIN(preferred_max_us, prefix->preferred_until_us),
        .valid_until_us = MIR_MIN(temp->valid_max_us, prefix->valid_until_us),
    };
    prefix->regenerate_us = MIR_TIME_NEVER;
    if (mir__ifaddr_add(iface, &spec, NULL) < 0) {
        temp->ip = (struct mir_ip){{0}};
        return;
    }
    prefix->regenerate_us = spec.preferred_until_us - REGEN_ADVANCE_US;
}

/* Make one if there is none that is good for a while (RFC 8981 section 3.4 item 5). */
static void want_temporary(struct mir__iface *iface, struct mir__slaac_prefix *prefix)
{
    mir_time_us soon_us = now_of(iface) + REGEN_ADVANCE_US;
    if (!iface->slaac.wants_temporary || prefix->preferred_until_us <= soon_us ||
        prefix->temp_failures > IDGEN_RETRIES)
        return;
    for (uint32_t i = 0; i < MIR__ND6_TEMP_MAX; i++) {
        const struct mir__ifaddr *addr = mir__ifaddr_find(iface->net, &prefix->temp[i].ip);
        if (addr != NULL && addr->origin == MIR__IFADDR_TEMPORARY &&
            addr->preferred_until_us > soon_us) {
            prefix->regenerate_us = addr->preferred_until_us - REGEN_ADVANCE_US;
            return;
        }
    }
    make_temporary(iface, prefix);
}

static void on_timer(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir__slaac *slaac = &iface->slaac;
    mir_time_us now_us = now_of(iface);
    for (uint32_t i = slaac->prefix_count; i-- > 0;) {
        struct mir__slaac_prefix *prefix = &slaac->prefixes[i];
        if (prefix->valid_until_us <= now_us) {
            slaac->prefixes[i] = slaac->prefixes[--slaac->prefix_count];
        } else if (prefix->regenerate_us <= now_us) {
            prefix->regenerate_us = MIR_TIME_NEVER;
            want_temporary(iface, prefix);
        }
    }
    arm_timer(iface);
}

/* ---- prefixes ----------------------------------------------------------------------------- */

/* RFC 4862 section 5.5.3 e: what is left may grow, or shrink to two hours. */
static mir_time_us next_valid_until(const struct mir__iface *iface, mir_time_us old_us,
                                    mir_time_us told_us)
{
    mir_time_us two_hours_us = now_of(iface) + TWO_HOURS_US;
    if (told_us > two_hours_us || told_us > old_us)
        return told_us;
    return MIR_MIN(old_us, two_hours_us);
}

static void update_addresses(struct mir__iface *iface, struct mir__slaac_prefix *prefix)
{
    mir_list_for_each (node, &iface->addresses) {
        struct mir__ifaddr *addr = MIR_CONTAINER_OF(node, struct mir__ifaddr, link);
        mir_time_us preferred_us = prefix->preferred_until_us, valid_us = prefix->valid_until_us;
        if ((addr->origin != MIR__IFADDR_SLAAC && addr->origin != MIR__IFADDR_TEMPORARY) ||
            !mir__ip_prefix_equal(&addr->ip, &prefix->prefix, 64))
            continue;
        for (uint32_t i = 0; addr->origin == MIR__IFADDR_TEMPORARY && i < MIR__ND6_TEMP_MAX; i++) {
            const struct mir__slaac_temp *temp = &prefix->temp[i];
            if (!mir_ip_equal(&temp->ip, &addr->ip))
                continue;
            preferred_us = MIR_MIN(preferred_us, temp->preferred_max_us);
            valid_us = MIR_MIN(valid_us, temp->valid_max_us);
        }
        mir__ifaddr_set_lifetimes(addr, preferred_us, valid_us);
    }
}

static struct mir__slaac_prefix *find_prefix(struct mir__slaac *slaac, const struct mir_ip *prefix)
{
    for (uint32_t i = 0; i < slaac->prefix_count; i++) {
        if (mir__ip_prefix_equal(&slaac->prefixes[i].prefix, prefix, 64))
            return &slaac->prefixes[i];
    }
    return NULL;
}

static void make_stable(struct mir__iface *iface, struct mir__slaac_prefix *prefix)
{
    struct mir__ifaddr_spec spec = {
        .ip = stable_address(iface, &prefix->prefix, &prefix->dad_counter),
        .prefix_len = 64,
        .origin = MIR__IFADDR_SLAAC,
        .preferred_until_us = prefix->preferred_until_us,
        .valid_until_us = prefix->valid_until_us,
    };
    if (mir__ifaddr_add(iface, &spec, NULL) < 0)
        iface->net->counters.nd_learned_full++;
}

void mir__slaac_prefix(struct mir__iface *iface, const struct mir__nd6_prefix *told)
{
    struct mir__slaac *slaac = &iface->slaac;
    struct mir__slaac_prefix *prefix = find_prefix(slaac, &told->prefix);
    mir_time_us told_us = until(iface, told->valid_s);
    if (told->len != 64) {
        iface->net->counters.nd_ignored++; /* does not fit our identifiers (section 5.5.3 d) */
        return;
    }
    if (prefix == NULL) {
        if (told->valid_s == 0)
            return;
        if (slaac->prefix_count == MIR__SLAAC_PREFIXES_MAX) {
            iface->net->counters.nd_learned_full++;
            return;
        }
        prefix = &slaac->prefixes[slaac->prefix_count++];
        *prefix = (struct mir__slaac_prefix){.prefix = told->prefix,
                                             .preferred_until_us = until(iface, told->preferred_s),
                                             .valid_until_us = told_us,
                                             .regenerate_us = MIR_TIME_NEVER};
        make_stable(iface, prefix);
    } else {
        prefix->valid_until_us = next_valid_until(iface, prefix->valid_until_us, told_us);
        prefix->preferred_until_us = until(iface, told->preferred_s);
        update_addresses(iface, prefix);
    }
    want_temporary(iface, prefix);
    arm_timer(iface);
}

/* ---- duplicates --------------------------------------------------------------------------- */

static bool retry_link_local(struct mir__iface *iface, struct mir__ifaddr *addr)
{
    if (iface->slaac.link_local_counter >= IDGEN_RETRIES) {
        MIR_LOG(NET, ERROR, "no free link-local address: no IPv6 interface=%u", iface->index + 1);
        return false;
    }
    mir__ifaddr_remove(addr);
    iface->slaac.link_local_counter++;
    mir__slaac_link_local(iface);
    return true;
}

bool mir__slaac_duplicate(struct mir__ifaddr *addr)
{
    struct mir__iface *iface = addr->iface;
    struct mir__slaac_prefix *prefix = find_prefix(&iface->slaac, &addr->ip);
    uint8_t origin = addr->origin;
    if (origin == MIR__IFADDR_LINK_LOCAL)
        return retry_link_local(iface, addr);
    if ((origin != MIR__IFADDR_SLAAC && origin != MIR__IFADDR_TEMPORARY) || prefix == NULL)
        return false;
    if (origin == MIR__IFADDR_SLAAC && prefix->dad_counter >= IDGEN_RETRIES)
        return false;
    mir__ifaddr_remove(addr);
    if (origin == MIR__IFADDR_SLAAC) {
        prefix->dad_counter++;
        make_stable(iface, prefix);
    } else {
        prefix->temp_failures++;
        want_temporary(iface, prefix);
    }
    arm_timer(iface);
    return true;
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__slaac_init(struct mir__iface *iface)
{
    struct mir__slaac *slaac = &iface->slaac;
    mir_timer_init(&slaac->timer, on_timer, iface);
    if (!slaac->has_secret)
        mir_rng_bytes(iface->net->rng, slaac->secret, sizeof slaac->secret);
}

void mir__slaac_stop(struct mir__iface *iface)
{
    mir_timer_cancel(&iface->slaac.timer);
    iface->slaac.prefix_count = 0;
    mir__ifaddr_forget(iface, MIR__IFADDR_SLAAC);
    mir__ifaddr_forget(iface, MIR__IFADDR_TEMPORARY);
    mir__ifaddr_forget(iface, MIR__IFADDR_LINK_LOCAL);
}
