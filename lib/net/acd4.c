/* SPDX-License-Identifier: ISC */
/* IPv4 address conflict detection (RFC 5227).
 *
 *             probe                    nobody answered
 *     IDLE ──────────> PROBING ───────────────────────────> (owner) ──hold──> HOLDING
 *      ^                  │ somebody has it, or wants it                        │
 *      └──────────────────┴── on_conflict ──────── second conflict within 10 s ─┘
 *
 * Probing takes four to seven seconds by section 2.1.1: a random wait, three questions one to two
 * seconds apart, two seconds of silence. An appliance whose whole start takes milliseconds may
 * choose the quick way: two questions within 0.3 s, which finds a neighbour that is awake. Both
 * count another host's probe for the same address as a conflict, so of two that start together at
 * most one gets it.
 *
 * A held address is announced twice, two seconds apart (section 2.3), and defended by section 2.4
 * (b): the first conflict within ten seconds is answered by one announcement, the next one ends it.
 * A stubborn one, configured by hand, is never given up, and still announces only once in ten
 * seconds (c): two stubborn hosts do not fight at the speed of the wire.
 *
 * Bounded by construction: an owner has one watch, an interface three.
 */
#include "lib/net/net_state.h"

enum { PROBES = 3, QUICK_PROBES = 2, ANNOUNCEMENTS = 2 };
#define PROBE_WAIT_US        (1 * MIR_US_PER_S)
#define PROBE_MIN_US         (1 * MIR_US_PER_S)
#define PROBE_MAX_US         (2 * MIR_US_PER_S)
#define ANNOUNCE_WAIT_US     (2 * MIR_US_PER_S)
#define ANNOUNCE_INTERVAL_US (2 * MIR_US_PER_S)
#define DEFEND_INTERVAL_US   (10 * MIR_US_PER_S)
#define QUICK_INTERVAL_US    (150 * MIR_US_PER_MS)

static void wait_for(struct mir__acd4 *acd, mir_time_us wait_us)
{
    struct mir_loop *loop = acd->iface->net->loop;
    mir_timer_set(loop, &acd->timer, mir_loop_now(loop) + wait_us);
}

static mir_time_us random_up_to(struct mir__acd4 *acd, mir_time_us max_us)
{
    return mir_rng_below(acd->iface->net->rng, (uint32_t)max_us + 1);
}

static void send_probe(struct mir__acd4 *acd)
{
    mir_time_us pause_us = PROBE_MIN_US + random_up_to(acd, PROBE_MAX_US - PROBE_MIN_US);
    acd->left--;
    if (acd->is_quick)
        pause_us = QUICK_INTERVAL_US;
    else if (acd->left == 0)
        pause_us = ANNOUNCE_WAIT_US;
    wait_for(acd, pause_us);
    mir__arp_send_probe(acd->iface, acd->ip);
}

static void send_announcement(struct mir__acd4 *acd)
{
    acd->left--;
    if (acd->left > 0)
        wait_for(acd, ANNOUNCE_INTERVAL_US);
    mir__arp_send_announcement(acd->iface, acd->ip);
}

static void on_timer(void *arg)
{
    struct mir__acd4 *acd = arg;
    if (acd->phase == MIR__ACD4_HOLDING) {
        send_announcement(acd);
    } else if (acd->left > 0) {
        send_probe(acd);
    } else {
        mir__acd4_stop(acd);
        acd->on_free(acd->iface);
    }
}

void mir__acd4_init(struct mir__acd4 *acd, struct mir__iface *iface,
                    void (*on_free)(struct mir__iface *iface),
                    void (*on_conflict)(struct mir__iface *iface, bool was_held))
{
    *acd = (struct mir__acd4){.iface = iface, .on_free = on_free, .on_conflict = on_conflict};
    mir_list_init(&acd->link);
    mir_timer_init(&acd->timer, on_timer, acd);
}

static void begin(struct mir__acd4 *acd, uint32_t ip, enum mir__acd4_phase phase)
{
    mir__acd4_stop(acd);
    acd->ip = ip;
    acd->phase = (uint8_t)phase;
    acd->conflict_us = 0;
    mir_list_push_back(&acd->iface->acd4s, &acd->link);
}

void mir__acd4_probe(struct mir__acd4 *acd, uint32_t ip, bool is_quick)
{
    begin(acd, ip, MIR__ACD4_PROBING);
    acd->is_quick = is_quick;
    acd->left = is_quick ? QUICK_PROBES : PROBES;
    if (is_quick)
        send_probe(acd);
    else
        wait_for(acd, random_up_to(acd, PROBE_WAIT_US));
}

void mir__acd4_probe_later(struct mir__acd4 *acd, uint32_t ip, mir_time_us wait_us)
{
    bool is_quick = acd->is_quick;
    begin(acd, ip, MIR__ACD4_PROBING);
    acd->left = is_quick ? QUICK_PROBES : PROBES;
    wait_for(acd, wait_us);
}

void mir__acd4_hold(struct mir__acd4 *acd, uint32_t ip)
{
    begin(acd, ip, MIR__ACD4_HOLDING);
    acd->left = ANNOUNCEMENTS;
    send_announcement(acd);
}

void mir__acd4_stop(struct mir__acd4 *acd)
{
    mir_timer_cancel(&acd->timer);
    mir_list_remove(&acd->link);
    acd->phase = MIR__ACD4_IDLE;
}

void mir__acd4_forget(struct mir__iface *iface, uint32_t ip)
{
    mir_list_for_each (node, &iface->acd4s) {
        struct mir__acd4 *acd = MIR_CONTAINER_OF(node, struct mir__acd4, link);
        if (acd->phase == MIR__ACD4_HOLDING && acd->ip == ip)
            mir__acd4_stop(acd);
    }
    if (iface->linklocal4.ip == ip)
        iface->linklocal4.ip = 0;
}

static void on_held_conflict(struct mir__acd4 *acd)
{
    struct mir__iface *iface = acd->iface;
    mir_time_us now_us = mir_loop_now(iface->net->loop), before_us = acd->conflict_us;
    bool is_again = before_us != 0 && now_us - before_us < DEFEND_INTERVAL_US;
    if (is_again && acd->is_stubborn)
        return; /* announced already in this interval */
    MIR_LOG(NET, WARN, "address conflict: another host uses our IPv4 address interface=%u",
            iface->index + 1);
    acd->conflict_us = now_us;
    if (!is_again) {
        mir__arp_send_announcement(iface, acd->ip);
        return;
    }
    mir__acd4_stop(acd);
    acd->on_conflict(iface, true);
}

/* Another address of the interface, which nobody watches: defended all the same. */
static bool defend_other(struct mir__iface *iface, uint32_t ip)
{
    struct mir_net *net = iface->net;
    mir_time_us now_us = mir_loop_now(net->loop);
    if (ip == 0 || net->ifaddr.v4_count < 2)
        return false;
    const struct mir__ifaddr *addr = mir__ifaddr_find4(net, ip);
    if (addr == NULL || addr->iface != iface)
        return false;
    net->counters.arp_conflict++;
    if (iface->defended_us == 0 || now_us - iface->defended_us >= DEFEND_INTERVAL_US) {
        iface->defended_us = now_us;
        mir__arp_send_announcement(iface, ip);
    }
    return true;
}

bool mir__acd4_input(struct mir__iface *iface, uint32_t sender_ip, uint32_t target_ip,
                     bool is_request)
{
    bool is_foreign_probe = is_request && sender_ip == 0;
    mir_list_for_each (node, &iface->acd4s) {
        struct mir__acd4 *acd = MIR_CONTAINER_OF(node, struct mir__acd4, link);
        bool is_probing = acd->phase == MIR__ACD4_PROBING;
        if (sender_ip != acd->ip && !(is_probing && is_foreign_probe && target_ip == acd->ip))
            continue;
        iface->net->counters.arp_conflict++;
        if (is_probing) {
            mir__acd4_stop(acd);
            acd->on_conflict(iface, false);
        } else {
            on_held_conflict(acd);
        }
        /* The list may be another one now. */
        return true;
    }
    return defend_other(iface, sender_ip);
}
