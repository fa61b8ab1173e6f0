/* SPDX-License-Identifier: ISC */
/* Neighbours of both families: one table, one state machine, one timer (RFC 4861 section 7.3).
 *
 *              first packet: ask everybody                     answer
 *     (none) ─────────────────────────────> INCOMPLETE ────────────────────> REACHABLE <───────┐
 *       │                                     │     ^                         │  time is up,    │
 *       │ told unasked       3 asked in vain  │     │                         │  or doubt       │
 *       v                                     v     │                         v                 │
 *     STALE <──────────────────────────── FAILED    │                  STALE ─────> DELAY ──────┤
 *                                  (5 s: refused)   │                        use      │ 5 s     │
 *                                                   │ 3 asked in vain                 v         │
 *                                                   └───────────────────────────── PROBE ───────┘
 *                                                                   asked by unicast    answer, or
 *                                                                   a transport's progress
 *
 * The same machine serves ARP, as RFC 1122 section 2.3.2.1 asks for in its own words; ARP has no
 * DELAY, a stale neighbour is asked as soon as it is used. RFC 4861 deletes an entry that did not
 * answer to PROBE and asks everybody when the next packet comes; here everybody is asked at once
 * (as RFC 7048 advises) and routes look again meanwhile. Entries do not age away while the table
 * has room.
 *
 * fresh_until_us says until when packets go out without further thought, so the fast path of a
 * packet (ip4.c, ip6.c) is one comparison and one copy of a ready Ethernet header. It covers
 * REACHABLE and DELAY.
 *
 * What strangers can do (RFC 6583). An entry because a stranger spoke to us is made only while the
 * table is at most three quarters full. Entries without an answer - a flood of made-up sources
 * that we would reply to, a scan of our own - hold at most half of the table: beyond that the
 * oldest of them gives way, never a neighbour that answers. When the table is full of answering
 * ones, a clock hand finds one that was not used lately (second chance). Questions for new hosts
 * have a limit in time, so that nobody makes us flood the link. The hash has a secret key.
 *
 * A large datagram to a new host is many fragments, so as much as 64 packets may wait for one
 * answer, if they are not more than 64 KiB and those of all hosts together not more than a MiB.
 * Four may wait whatever their size. The oldest gives way.
 *
 * Routes keep pointers to entries whose address is known. Removing such an entry changes the route
 * generation; removing one that no route has seen does not, so a flood costs connections nothing.
 */
#include "lib/net/net_state.h"

/* Counters are told by family, the table is one. */
#define COUNT(net, family, what, n)                                                                \
    (*((family)->is_v6 ? &(net)->counters.nd_##what : &(net)->counters.arp_##what) += (n))

static struct mir_list *bucket_of(const struct mir_net *net, const struct mir_ip *ip)
{
    const struct mir__neigh_table *table = &net->neigh;
    uint32_t h;
    if (MIR_LIKELY(mir_ip_is_v4(ip))) {
        h = (mir_get_be32(ip->bytes + 12) ^ mir_get_le32(table->hash_key)) * 0x9e3779b1u;
        h = (h ^ h >> 15) >> 8;
    } else {
        h = (uint32_t)mir_siphash(table->hash_key, ip->bytes, sizeof ip->bytes);
    }
    return &table->buckets[h & (MIR__NEIGH_BUCKETS - 1)];
}

struct mir__neigh *mir__neigh_find(struct mir_net *net, const struct mir__iface *iface,
                                   const struct mir_ip *ip)
{
    struct mir_list *bucket = bucket_of(net, ip);
    mir_list_for_each (node, bucket) {
        struct mir__neigh *neigh = MIR_CONTAINER_OF(node, struct mir__neigh, bucket);
        if (neigh->iface == iface && mir_ip_equal(&neigh->ip, ip))
            return neigh;
    }
    return NULL;
}

struct mir__neigh *mir__neigh_keep(struct mir_net *net, const struct mir__iface *iface,
                                   const struct mir_ip *ip)
{
    struct mir__neigh *neigh = mir__neigh_find(net, iface, ip);
    if (neigh == NULL || !mir__neigh_is_resolved(neigh))
        return NULL;
    neigh->is_kept = true;
    return neigh;
}

static const struct mir__neigh_times *times_of(const struct mir__neigh *neigh)
{
    return neigh->family->times(neigh->iface);
}

/* ---- time --------------------------------------------------------------------------------- */

static mir_time_us first_deadline(const struct mir_list *list)
{
    if (mir_list_is_empty(list))
        return MIR_TIME_NEVER;
    return MIR_CONTAINER_OF(list->next, struct mir__neigh, active)->deadline_us;
}

static void arm_timer(struct mir_net *net)
{
    struct mir__neigh_table *table = &net->neigh;
    mir_time_us asked_us = first_deadline(&table->asked);
    mir_time_us delayed_us = first_deadline(&table->delayed);
    mir_time_us first_us = MIR_MIN(asked_us, delayed_us);
    if (first_us == MIR_TIME_NEVER)
        mir_timer_cancel(&table->timer);
    else
        mir_timer_set(net->loop, &table->timer, first_us);
}

/* Waits of one kind are equally long but for differing interfaces: nearly always an append. */
static void wait_in(struct mir_net *net, struct mir_list *list, struct mir__neigh *neigh,
                    mir_time_us wait_us)
{
    mir_list_remove(&neigh->active);
    neigh->deadline_us = mir_loop_now(net->loop) + wait_us;
    struct mir_list *after = list->prev;
    while (after != list &&
           MIR_CONTAINER_OF(after, struct mir__neigh, active)->deadline_us > neigh->deadline_us)
        after = after->prev;
    mir_list_push_front(after, &neigh->active);
    if (list->next == &neigh->active)
        arm_timer(net);
}

static void stop_waiting(struct mir_net *net, struct mir__neigh *neigh)
{
    if (!mir_list_is_linked(&neigh->active))
        return;
    mir_list_remove(&neigh->active);
    arm_timer(net);
}

/* ---- entries ------------------------------------------------------------------------------ */

static bool is_unconfirmed(const struct mir__neigh *neigh)
{
    return neigh->state == MIR__NEIGH_DELAY || neigh->state == MIR__NEIGH_PROBE;
}

/* The one place where a state changes: lists and counts follow. */
static void set_state(struct mir_net *net, struct mir__neigh *neigh, enum mir__neigh_state state)
{
    struct mir__neigh_table *table = &net->neigh;
    bool was_resolved = mir__neigh_is_resolved(neigh);
    table->unconfirmed_count -= is_unconfirmed(neigh);
    neigh->state = (uint8_t)state;
    table->unconfirmed_count += is_unconfirmed(neigh);
    bool is_resolved = mir__neigh_is_resolved(neigh);
    if (was_resolved == is_resolved)
        return;
    mir_list_remove(&neigh->all);
    mir_list_push_back(is_resolved ? &table->resolved : &table->unresolved, &neigh->all);
    if (is_resolved) {
        table->unresolved_count--;
    } else {
        table->unresolved_count++;
        neigh->is_used = false;
        /* Whoever came by here looks for another way; for IPv6 there may be a second router. */
        if (neigh->is_kept)
            mir__net_routes_changed(net);
        neigh->is_kept = false;
    }
    if (neigh->family->changed != NULL)
        neigh->family->changed(neigh, is_resolved);
}

static struct mir_buf *pop_waiting(struct mir_net *net, struct mir__neigh *neigh)
{
    struct mir_buf *buf = mir_buf_queue_pop(&neigh->queue);
    if (buf != NULL)
        net->neigh.waiting_bytes -= mir_buf_total(buf);
    return buf;
}

static void drop_queue(struct mir_net *net, struct mir__neigh *neigh)
{
    net->neigh.waiting_bytes -= (uint32_t)neigh->queue.bytes;
    COUNT(net, neigh->family, unresolved_dropped, neigh->queue.count);
    mir_buf_queue_release(&neigh->queue);
}

static void remove_entry(struct mir_net *net, struct mir__neigh *neigh)
{
    struct mir__neigh_table *table = &net->neigh;
    drop_queue(net, neigh);
    stop_waiting(net, neigh);
    table->unconfirmed_count -= is_unconfirmed(neigh);
    table->unresolved_count -= !mir__neigh_is_resolved(neigh);
    table->v6_count -= neigh->family->is_v6;
    mir_list_remove(&neigh->bucket);
    mir_list_remove(&neigh->all);
    if (neigh->is_kept)
        mir__net_routes_changed(net);
    mir_pool_free(&table->pool, neigh);
}

/* The clock hand: the front of `resolved` gets a second chance if it was used. Two turns at most.
 */
static struct mir__neigh *find_unused(struct mir__neigh_table *table)
{
    for (uint32_t i = 2 * mir_pool_used(&table->pool); i > 0; i--) {
        struct mir_list *node = mir_list_pop_front(&table->resolved);
        if (node == NULL)
            return NULL;
        struct mir__neigh *neigh = MIR_CONTAINER_OF(node, struct mir__neigh, all);
        mir_list_push_back(&table->resolved, &neigh->all);
        if (!neigh->is_used)
            return neigh;
        neigh->is_used = false;
    }
    return NULL;
}

/* Every new host that we speak to is a question to all: whoever makes us speak to many must not
 * make us flood the link (RFC 6583 section 7.1). */
static bool take_token(struct mir_net *net)
{
    struct mir__neigh_table *table = &net->neigh;
    mir_time_us now_us = mir_loop_now(net->loop);
    mir_time_us per_token_us = MIR_US_PER_S / MIR__NEIGH_NEW_PER_SECOND;
    mir_time_us fresh = (now_us - table->tokens_filled_us) / per_token_us;
    if (fresh > 0) {
        table->new_tokens =
            (uint32_t)MIR_MIN(table->new_tokens + fresh, (mir_time_us)MIR__NEIGH_NEW_BURST);
        table->tokens_filled_us += fresh * per_token_us;
    }
    if (table->new_tokens == 0) {
        net->counters.neigh_rate_limited++;
        return false;
    }
    table->new_tokens--;
    return true;
}

/* Make room for an entry that begins unresolved. */
static bool make_room(struct mir_net *net, const struct mir__neigh_family *family)
{
    struct mir__neigh_table *table = &net->neigh;
    struct mir__neigh *victim = NULL;
    bool is_full = mir_pool_used(&table->pool) >= table->pool.limit;
    if (!is_full && table->unresolved_count < table->pool.limit / 2)
        return true;
    COUNT(net, family, table_full, 1);
    if (!mir_list_is_empty(&table->unresolved))
        victim = MIR_CONTAINER_OF(table->unresolved.next, struct mir__neigh, all);
    else
        victim = find_unused(table);
    if (victim == NULL)
        return !is_full;
    COUNT(net, family, evicted, 1);
    remove_entry(net, victim);
    return true;
}

static struct mir__neigh *make_entry(struct mir__iface *iface,
                                     const struct mir__neigh_family *family,
                                     const struct mir_ip *ip)
{
    struct mir_net *net = iface->net;
    struct mir__neigh_table *table = &net->neigh;
    if (!make_room(net, family))
        return NULL;
    struct mir__neigh *neigh = mir_pool_alloc(&table->pool);
    if (neigh == NULL) {
        net->counters.no_memory++;
        return NULL;
    }
    *neigh = (struct mir__neigh){
        .ip = *ip, .iface = iface, .family = family, .state = MIR__NEIGH_FAILED};
    mir_memcpy(neigh->header + 6, iface->mac, 6);
    mir_put_be16(neigh->header + 12, family->eth_type);
    mir_list_init(&neigh->active);
    mir_list_push_back(&table->unresolved, &neigh->all);
    mir_list_push_front(bucket_of(net, ip), &neigh->bucket);
    table->unresolved_count++;
    table->v6_count += family->is_v6;
    return neigh;
}

struct mir__neigh *mir__neigh_learn(struct mir__iface *iface,
                                    const struct mir__neigh_family *family, const struct mir_ip *ip)
{
    const struct mir__neigh_table *table = &iface->net->neigh;
    struct mir__neigh *neigh = mir__neigh_find(iface->net, iface, ip);
    if (neigh == NULL && mir_pool_used(&table->pool) < table->pool.limit / 4 * 3)
        neigh = make_entry(iface, family, ip);
    return neigh;
}

/* ---- questions ---------------------------------------------------------------------------- */

static void ask(struct mir_net *net, struct mir__neigh *neigh)
{
    neigh->tries++;
    wait_in(net, &net->neigh.asked, neigh, times_of(neigh)->retry_us);
    neigh->family->ask(neigh, neigh->state == MIR__NEIGH_PROBE);
}

static void begin_asking(struct mir_net *net, struct mir__neigh *neigh, enum mir__neigh_state state)
{
    set_state(net, neigh, state);
    neigh->fresh_until_us = 0;
    neigh->tries = 0;
    ask(net, neigh);
}

/* A neighbour that was not confirmed lately is in use again. */
static void use_stale(struct mir_net *net, struct mir__neigh *neigh)
{
    mir_time_us delay_us = times_of(neigh)->delay_us;
    if (delay_us == 0) {
        begin_asking(net, neigh, MIR__NEIGH_PROBE);
        return;
    }
    set_state(net, neigh, MIR__NEIGH_DELAY);
    wait_in(net, &net->neigh.delayed, neigh, delay_us);
    neigh->fresh_until_us = neigh->deadline_us;
}

/* ---- what is heard ------------------------------------------------------------------------ */

static void prepend_header(const struct mir__neigh *neigh, struct mir_buf *buf)
{
    mir_memcpy(mir_buf_push(buf, MIR__ETH_HEADER_LEN), neigh->header, MIR__ETH_HEADER_LEN);
}

static void send_queue(struct mir__neigh *neigh)
{
    struct mir_net *net = neigh->iface->net;
    for (struct mir_buf *buf; (buf = pop_waiting(net, neigh)) != NULL;) {
        prepend_header(neigh, buf);
        (void)mir__iface_tx(neigh->iface, buf);
    }
}

void mir__neigh_confirm(struct mir_net *net, struct mir__neigh *neigh)
{
    if (!mir__neigh_is_resolved(neigh))
        return;
    stop_waiting(net, neigh);
    set_state(net, neigh, MIR__NEIGH_REACHABLE);
    neigh->tries = 0;
    neigh->fresh_until_us = mir_loop_now(net->loop) + times_of(neigh)->reachable_us;
}

void mir__neigh_set_reachable(struct mir_net *net, struct mir__neigh *neigh, const uint8_t mac[6])
{
    mir_memcpy(neigh->header, mac, 6);
    set_state(net, neigh, MIR__NEIGH_REACHABLE);
    mir__neigh_confirm(net, neigh);
    send_queue(neigh);
}

void mir__neigh_set_stale(struct mir_net *net, struct mir__neigh *neigh, const uint8_t mac[6])
{
    if (mir__neigh_is_resolved(neigh) && mir__mac_equal(neigh->header, mac))
        return;
    bool is_in_use = neigh->queue.count > 0;
    mir_memcpy(neigh->header, mac, 6);
    set_state(net, neigh, MIR__NEIGH_STALE);
    stop_waiting(net, neigh);
    neigh->tries = 0;
    neigh->fresh_until_us = 0;
    send_queue(neigh);
    if (is_in_use)
        use_stale(net, neigh);
}

void mir__neigh_doubt(struct mir_net *net, struct mir__neigh *neigh)
{
    if (neigh->state != MIR__NEIGH_REACHABLE)
        return;
    set_state(net, neigh, MIR__NEIGH_STALE);
    neigh->fresh_until_us = 0;
}

/* ---- output ------------------------------------------------------------------------------- */

void mir__neigh_warm(struct mir__iface *iface, const struct mir__neigh_family *family,
                     const struct mir_ip *ip)
{
    if (mir__neigh_find(iface->net, iface, ip) != NULL)
        return;
    struct mir__neigh *neigh = make_entry(iface, family, ip);
    if (neigh != NULL)
        begin_asking(iface->net, neigh, MIR__NEIGH_INCOMPLETE);
}

/* May one more packet wait? */
static bool has_room(const struct mir_net *net, const struct mir__neigh *neigh, uint32_t len)
{
    if (neigh->queue.count < MIR__NEIGH_QUEUE_SURE)
        return true;
    return neigh->queue.count < MIR__NEIGH_QUEUE_MAX &&
           neigh->queue.bytes + len <= MIR__NEIGH_QUEUE_BYTES &&
           net->neigh.waiting_bytes + len <= MIR__NEIGH_ALL_BYTES;
}

static void queue_packet(struct mir_net *net, struct mir__neigh *neigh, struct mir_buf *buf)
{
    uint32_t len = mir_buf_total(buf);
    while (!has_room(net, neigh, len)) {
        mir_buf_release(pop_waiting(net, neigh));
        COUNT(net, neigh->family, unresolved_dropped, 1);
    }
    net->neigh.waiting_bytes += len;
    mir_buf_queue_push(&neigh->queue, buf);
}

/* The neighbour is not resolved: wait with the packet, or refuse it. */
static int output_unresolved(struct mir_net *net, struct mir__neigh *neigh,
                             struct mir_buf *buf_given)
{
    if (neigh->state == MIR__NEIGH_FAILED) {
        if (mir_loop_now(net->loop) < neigh->deadline_us) {
            COUNT(net, neigh->family, unresolved_dropped, 1);
            mir_buf_release(buf_given);
            return -MIR_EHOSTUNREACH;
        }
        queue_packet(net, neigh, buf_given);
        begin_asking(net, neigh, MIR__NEIGH_INCOMPLETE);
        return 0;
    }
    queue_packet(net, neigh, buf_given);
    return 0;
}

int mir__neigh_output(struct mir_net *net, struct mir__route *route,
                      const struct mir__neigh_family *family, const struct mir_ip *ip,
                      struct mir_buf *buf_given)
{
    struct mir__neigh *neigh = route->neighbour;
    if (neigh == NULL)
        neigh = mir__neigh_find(net, route->iface, ip);
    if (neigh == NULL && take_token(net))
        neigh = make_entry(route->iface, family, ip);
    if (neigh == NULL) {
        COUNT(net, family, unresolved_dropped, 1);
        mir_buf_release(buf_given);
        return -MIR_ENOMEM;
    }
    if (!mir__neigh_is_resolved(neigh))
        return output_unresolved(net, neigh, buf_given);
    /* Only a route of the present may keep the pointer: an eviction has just changed the rest. */
    if (route->generation == net->route_generation) {
        route->neighbour = neigh;
        neigh->is_kept = true;
    }
    neigh->is_used = true;
    prepend_header(neigh, buf_given);
    int r = mir__iface_tx(neigh->iface, buf_given);
    bool is_fresh = mir_loop_now(net->loop) < neigh->fresh_until_us;
    if (neigh->state == MIR__NEIGH_STALE || (neigh->state == MIR__NEIGH_REACHABLE && !is_fresh))
        use_stale(net, neigh);
    return r;
}

/* ---- in vain ------------------------------------------------------------------------------ */

/* The transports of the waiting packets hear that the host does not answer. */
static void fail(struct mir_net *net, struct mir__neigh *neigh)
{
    const struct mir__neigh_family *family = neigh->family;
    struct mir_buf_queue queue = neigh->queue;
    neigh->queue = (struct mir_buf_queue){0};
    net->neigh.waiting_bytes -= (uint32_t)queue.bytes;
    set_state(net, neigh, MIR__NEIGH_FAILED);
    neigh->fresh_until_us = 0;
    neigh->deadline_us = mir_loop_now(net->loop) + MIR__NEIGH_FAILED_US;
    /* It was not resolved before either: nobody has been told yet. */
    if (family->changed != NULL)
        family->changed(neigh, false);
    /* The transports may send and so change the table: the entry is not touched again. */
    for (struct mir_buf *buf; (buf = mir_buf_queue_pop(&queue)) != NULL;) {
        COUNT(net, family, unresolved_dropped, 1);
        family->tell_unreachable(net, buf);
        mir_buf_release(buf);
    }
}

static struct mir__neigh *pop_due(struct mir_list *list, mir_time_us now_us)
{
    if (first_deadline(list) > now_us)
        return NULL;
    return MIR_CONTAINER_OF(mir_list_pop_front(list), struct mir__neigh, active);
}

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    mir_time_us now_us = mir_loop_now(net->loop);
    struct mir__neigh *neigh;
    while ((neigh = pop_due(&net->neigh.delayed, now_us)) != NULL)
        begin_asking(net, neigh, MIR__NEIGH_PROBE);
    while ((neigh = pop_due(&net->neigh.asked, now_us)) != NULL) {
        if (neigh->tries < MIR__NEIGH_TRIES)
            ask(net, neigh);
        else if (neigh->state == MIR__NEIGH_PROBE)
            begin_asking(net, neigh, MIR__NEIGH_INCOMPLETE);
        else
            fail(net, neigh);
    }
    arm_timer(net);
}

/* ---- life --------------------------------------------------------------------------------- */

int mir__neigh_init(struct mir_net *net, uint32_t entries_max)
{
    struct mir__neigh_table *table = &net->neigh;
    int r = mir_pool_init(&table->pool, "neighbours", net->pages, sizeof(struct mir__neigh),
                          entries_max);
    if (r < 0)
        return r;
    r = mir_page_alloc(net->pages, MIR__NEIGH_BUCKETS * sizeof(struct mir_list), MIR_PAGE_OVERWRITE,
                       &table->bucket_page);
    if (r < 0)
        return r;
    table->buckets = (struct mir_list *)(void *)table->bucket_page->base;
    for (uint32_t i = 0; i < MIR__NEIGH_BUCKETS; i++)
        mir_list_init(&table->buckets[i]);
    mir_list_init(&table->resolved);
    mir_list_init(&table->unresolved);
    mir_list_init(&table->asked);
    mir_list_init(&table->delayed);
    mir_timer_init(&table->timer, on_timer, net);
    table->new_tokens = MIR__NEIGH_NEW_BURST;
    table->tokens_filled_us = mir_loop_now(net->loop);
    mir_rng_bytes(net->rng, table->hash_key, sizeof table->hash_key);
    return 0;
}

static void forget_in(struct mir_net *net, struct mir_list *list, const struct mir__iface *iface,
                      const struct mir__neigh_family *family)
{
    mir_list_for_each (node, list) {
        struct mir__neigh *neigh = MIR_CONTAINER_OF(node, struct mir__neigh, all);
        if (neigh->iface == iface && neigh->family == family)
            remove_entry(net, neigh);
    }
}

void mir__neigh_forget(struct mir_net *net, const struct mir__iface *iface,
                       const struct mir__neigh_family *family)
{
    forget_in(net, &net->neigh.resolved, iface, family);
    forget_in(net, &net->neigh.unresolved, iface, family);
}

static void remove_all(struct mir_net *net, struct mir_list *list)
{
    while (!mir_list_is_empty(list))
        remove_entry(net, MIR_CONTAINER_OF(list->next, struct mir__neigh, all));
}

void mir__neigh_fini(struct mir_net *net)
{
    struct mir__neigh_table *table = &net->neigh;
    if (table->bucket_page == NULL)
        return;
    remove_all(net, &table->resolved);
    remove_all(net, &table->unresolved);
    mir_timer_cancel(&table->timer);
    mir_pool_fini(&table->pool);
    mir_page_release(table->bucket_page);
    table->bucket_page = NULL;
}
