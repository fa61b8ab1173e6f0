/* SPDX-License-Identifier: ISC */
/* ARP: IPv4 neighbours on Ethernet (RFC 826), announcements and conflicts (RFC 5227).
 *
 *              first packet: ask by broadcast                    answer
 *     (none) ──────────────────────────────> INCOMPLETE ───────────────────> KNOWN <──┐
 *                                              │     ^                     (stale      │ answer
 *                              3 asked in vain │     │ 3 asked in vain      after 60 s)│
 *                                              v     │                        │ use    │
 *                                           FAILED   └──────────────────── PROBE ──────┘
 *                                     (5 s: refused)                  asked by unicast
 *
 * What a stranger can do. Replies that nobody asked for are dropped. A request for our address
 * makes an entry only while the table is at most three quarters full, so a flood never pushes out a
 * neighbour we talk to. When our own traffic needs an entry in a full table, a clock hand finds one
 * that was not used lately (second chance). At most four packets wait for an answer; the oldest
 * gives way. The number of entries, and so of waiting packets, is bounded.
 *
 * A KNOWN entry holds a ready Ethernet header: the fast path (mir__ip4_send) is one comparison
 * with fresh_until_us and one copy. Routes keep pointers to entries: removing one changes the
 * route generation. Entries do not age away while the table has room; a stale one is verified by
 * unicast when it is used next, and its packets go out meanwhile.
 *
 * Not done: proxy ARP, reverse ARP.
 */
#include "lib/net/net_state.h"

static struct mir_list *bucket_of(const struct mir_net *net, uint32_t ip)
{
    /* Keyed multiplicative hash: a peer cannot aim at one bucket without knowing the key. */
    uint32_t h = (ip ^ net->arp.hash_key) * 0x9e3779b1u;
    return &net->arp.buckets[(h ^ h >> 15) >> 8 & (MIR__ARP_BUCKETS - 1)];
}

struct mir__arp_entry *mir__arp_find(struct mir_net *net, const struct mir__iface *iface,
                                     uint32_t ip)
{
    struct mir_list *bucket = bucket_of(net, ip);
    mir_list_for_each (node, bucket) {
        struct mir__arp_entry *entry = MIR_CONTAINER_OF(node, struct mir__arp_entry, bucket);
        if (entry->ip == ip && entry->iface == iface)
            return entry;
    }
    return NULL;
}

/* ---- packets ------------------------------------------------------------------------------ */

static void send_packet(struct mir__iface *iface, const struct mir__arp *arp, const uint8_t dst[6])
{
    struct mir_net *net = iface->net;
    struct mir_buf *buf = mir_buf_alloc(net->bufs, 0);
    if (buf == NULL) {
        net->counters.no_memory++;
        return;
    }
    struct mir__eth eth = {.type = MIR__ETH_TYPE_ARP};
    mir_memcpy(eth.dst, dst, 6);
    mir_memcpy(eth.src, iface->mac, 6);
    mir__eth_emit(&eth, mir_buf_append(buf, MIR__ETH_HEADER_LEN));
    mir__arp_emit(arp, mir_buf_append(buf, MIR__ARP_LEN));
    if (arp->op == MIR__ARP_REQUEST)
        net->counters.arp_requests_out++;
    else
        net->counters.arp_replies_out++;
    (void)mir__iface_tx(iface, buf);
}

static const uint8_t mac_all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void send_request(struct mir__iface *iface, uint32_t sender_ip, uint32_t target_ip,
                         const uint8_t dst[6])
{
    struct mir__arp arp = {.op = MIR__ARP_REQUEST, .sender_ip = sender_ip, .target_ip = target_ip};
    mir_memcpy(arp.sender_mac, iface->mac, 6);
    send_packet(iface, &arp, dst);
}

void mir__arp_send_probe(struct mir__iface *iface, uint32_t ip)
{
    send_request(iface, iface->ip, ip, mac_all);
}

void mir__arp_announce(struct mir__iface *iface)
{
    if (iface->ip == 0 || !iface->is_started)
        return;
    iface->announcements_left = 1;
    send_request(iface, iface->ip, iface->ip, mac_all);
    mir_timer_set(iface->net->loop, &iface->announce_timer,
                  mir_loop_now(iface->net->loop) + 2 * MIR_US_PER_S);
}

static void reply(struct mir__iface *iface, const uint8_t *request)
{
    struct mir__arp arp = {
        .op = MIR__ARP_REPLY,
        .sender_ip = iface->ip,
        .target_ip = mir__arp_sender_ip(request),
    };
    mir_memcpy(arp.sender_mac, iface->mac, 6);
    mir_memcpy(arp.target_mac, mir__arp_sender_mac(request), 6);
    send_packet(iface, &arp, arp.target_mac);
}

/* ---- entries ------------------------------------------------------------------------------ */

static void arm_timer(struct mir_net *net)
{
    struct mir__arp_table *table = &net->arp;
    if (mir_list_is_empty(&table->active)) {
        mir_timer_cancel(&table->timer);
        return;
    }
    struct mir__arp_entry *first =
        MIR_CONTAINER_OF(table->active.next, struct mir__arp_entry, active);
    mir_timer_set(net->loop, &table->timer, first->deadline_us);
}

/* All waits are equally long, so appending keeps the list in order. */
static void wait_for_answer(struct mir_net *net, struct mir__arp_entry *entry)
{
    mir_list_remove(&entry->active);
    entry->deadline_us = mir_loop_now(net->loop) + MIR__ARP_RETRY_US;
    mir_list_push_back(&net->arp.active, &entry->active);
    if (net->arp.active.next == &entry->active)
        arm_timer(net);
}

static void drop_queue(struct mir_net *net, struct mir__arp_entry *entry)
{
    net->counters.arp_unresolved_dropped += entry->queue.count;
    mir_buf_queue_release(&entry->queue);
}

static void remove_entry(struct mir_net *net, struct mir__arp_entry *entry)
{
    bool was_first = net->arp.active.next == &entry->active;
    drop_queue(net, entry);
    mir_list_remove(&entry->bucket);
    mir_list_remove(&entry->all);
    mir_list_remove(&entry->active);
    mir_pool_free(&net->arp.entries, entry);
    mir__net_routes_changed(net);
    if (was_first)
        arm_timer(net);
}

/* The clock hand: the front of `all` gets a second chance if it was used. Two turns at most. */
static bool evict(struct mir_net *net)
{
    struct mir__arp_table *table = &net->arp;
    for (uint32_t i = 2 * mir_pool_used(&table->entries); i > 0; i--) {
        struct mir_list *node = mir_list_pop_front(&table->all);
        struct mir__arp_entry *entry = MIR_CONTAINER_OF(node, struct mir__arp_entry, all);
        mir_list_push_back(&table->all, &entry->all);
        if (!entry->is_used) {
            net->counters.arp_evicted++;
            remove_entry(net, entry);
            return true;
        }
        entry->is_used = false;
    }
    return false;
}

static struct mir__arp_entry *make_entry(struct mir_net *net, struct mir__iface *iface, uint32_t ip)
{
    struct mir__arp_table *table = &net->arp;
    if (mir_pool_used(&table->entries) >= table->entries.limit) {
        net->counters.arp_table_full++;
        if (!evict(net))
            return NULL;
    }
    struct mir__arp_entry *entry = mir_pool_alloc(&table->entries);
    if (entry == NULL) {
        net->counters.no_memory++;
        return NULL;
    }
    *entry = (struct mir__arp_entry){.ip = ip, .iface = iface, .state = MIR__ARP_FAILED};
    mir_memcpy(entry->header + 6, iface->mac, 6);
    mir_put_be16(entry->header + 12, MIR__ETH_TYPE_IP4);
    mir_list_init(&entry->active);
    mir_list_push_back(&table->all, &entry->all);
    mir_list_push_front(bucket_of(net, ip), &entry->bucket);
    return entry;
}

static void prepend_header(const struct mir__arp_entry *entry, struct mir_buf *buf)
{
    mir_memcpy(mir_buf_push(buf, MIR__ETH_HEADER_LEN), entry->header, MIR__ETH_HEADER_LEN);
}

static void set_known(struct mir_net *net, struct mir__arp_entry *entry, const uint8_t mac[6])
{
    bool was_first = net->arp.active.next == &entry->active;
    mir_memcpy(entry->header, mac, 6);
    entry->state = MIR__ARP_KNOWN;
    entry->tries = 0;
    entry->fresh_until_us = mir_loop_now(net->loop) + MIR__ARP_FRESH_US;
    mir_list_remove(&entry->active);
    if (was_first)
        arm_timer(net);
    for (struct mir_buf *buf; (buf = mir_buf_queue_pop(&entry->queue)) != NULL;) {
        prepend_header(entry, buf);
        (void)mir__iface_tx(entry->iface, buf);
    }
}

/* ---- output ------------------------------------------------------------------------------- */

static void ask(struct mir_net *net, struct mir__arp_entry *entry)
{
    entry->tries++;
    wait_for_answer(net, entry);
    send_request(entry->iface, entry->iface->ip, entry->ip,
                 entry->state == MIR__ARP_PROBE ? entry->header : mac_all);
}

static void begin_resolution(struct mir_net *net, struct mir__arp_entry *entry)
{
    entry->state = MIR__ARP_INCOMPLETE;
    entry->fresh_until_us = 0;
    entry->tries = 0;
    ask(net, entry);
}

void mir__arp_warm(struct mir__iface *iface, uint32_t ip)
{
    struct mir_net *net = iface->net;
    if (!mir__iface_is_on_link(iface, ip) || mir__arp_find(net, iface, ip) != NULL)
        return;
    struct mir__arp_entry *entry = make_entry(net, iface, ip);
    if (entry != NULL)
        begin_resolution(net, entry);
}

static void queue_packet(struct mir_net *net, struct mir__arp_entry *entry, struct mir_buf *buf)
{
    if (entry->queue.count == MIR__ARP_QUEUE_MAX) {
        mir_buf_release(mir_buf_queue_pop(&entry->queue));
        net->counters.arp_unresolved_dropped++;
    }
    mir_buf_queue_push(&entry->queue, buf);
}

static int output_multicast(struct mir__iface *iface, uint32_t group, struct mir_buf *buf)
{
    /* RFC 1112 section 6.4: the low 23 bits of the group. */
    uint8_t *header = mir_buf_push(buf, MIR__ETH_HEADER_LEN);
    mir_put_be32(header, 0x01005e00u | (group >> 16 & 0x7f));
    mir_put_be16(header + 4, (uint16_t)group);
    mir_memcpy(header + 6, iface->mac, 6);
    mir_put_be16(header + 12, MIR__ETH_TYPE_IP4);
    return mir__iface_tx(iface, buf);
}

int mir__arp_output(struct mir_net *net, struct mir__route *route, struct mir_buf *buf_given)
{
    struct mir__iface *iface = route->iface;
    struct mir__arp_entry *entry = route->neighbour;
    mir_time_us now_us = mir_loop_now(net->loop);
    if (mir__ip4_is_multicast(route->next_hop4))
        return output_multicast(iface, route->next_hop4, buf_given);
    if (route->next_hop4 == UINT32_MAX) {
        prepend_header(&iface->to_all, buf_given);
        return mir__iface_tx(iface, buf_given);
    }
    if (entry == NULL)
        entry = mir__arp_find(net, iface, route->next_hop4);
    if (entry == NULL)
        entry = make_entry(net, iface, route->next_hop4);
    if (entry == NULL) {
        net->counters.arp_unresolved_dropped++;
        mir_buf_release(buf_given);
        return -MIR_ENOMEM;
    }
    /* Only a route of the present may keep the pointer: an eviction has just changed the rest. */
    if (route->generation == net->route_generation)
        route->neighbour = entry;
    /* Only who answers is worth keeping: a scan must not push out neighbours in use. */
    entry->is_used = entry->state == MIR__ARP_KNOWN || entry->state == MIR__ARP_PROBE;
    if (entry->state == MIR__ARP_FAILED) {
        if (now_us < entry->deadline_us) {
            net->counters.arp_unresolved_dropped++;
            mir_buf_release(buf_given);
            return -MIR_EHOSTUNREACH;
        }
        begin_resolution(net, entry);
    }
    if (entry->state == MIR__ARP_INCOMPLETE) {
        queue_packet(net, entry, buf_given);
        return 0;
    }
    prepend_header(entry, buf_given);
    int r = mir__iface_tx(iface, buf_given);
    if (entry->state == MIR__ARP_KNOWN && now_us >= entry->fresh_until_us) {
        entry->state = MIR__ARP_PROBE;
        entry->fresh_until_us = 0;
        entry->tries = 0;
        ask(net, entry);
    }
    return r;
}

/* The transports of the waiting packets hear that the host does not answer. */
static void fail(struct mir_net *net, struct mir__arp_entry *entry)
{
    struct mir_buf_queue queue = entry->queue;
    entry->queue = (struct mir_buf_queue){0};
    entry->state = MIR__ARP_FAILED;
    entry->fresh_until_us = 0;
    entry->deadline_us = mir_loop_now(net->loop) + MIR__ARP_FAILED_US;
    /* The transports may send and so change the table: the entry is not touched again. */
    for (struct mir_buf *buf; (buf = mir_buf_queue_pop(&queue)) != NULL;) {
        net->counters.arp_unresolved_dropped++;
        mir__icmp4_tell_transport(net, buf->data, buf->len, -MIR_EHOSTUNREACH, 0);
        mir_buf_release(buf);
    }
}

static void on_timer(void *arg)
{
    struct mir_net *net = arg;
    mir_time_us now_us = mir_loop_now(net->loop);
    while (!mir_list_is_empty(&net->arp.active)) {
        struct mir__arp_entry *entry =
            MIR_CONTAINER_OF(net->arp.active.next, struct mir__arp_entry, active);
        if (entry->deadline_us > now_us)
            break;
        mir_list_remove(&entry->active);
        if (entry->tries < MIR__ARP_TRIES)
            ask(net, entry);
        else if (entry->state == MIR__ARP_PROBE)
            begin_resolution(net, entry);
        else
            fail(net, entry);
    }
    arm_timer(net);
}

static void on_announce_timer(void *arg)
{
    struct mir__iface *iface = arg;
    if (iface->announcements_left > 0 && iface->ip != 0) {
        iface->announcements_left--;
        send_request(iface, iface->ip, iface->ip, mac_all);
    }
}

/* ---- input -------------------------------------------------------------------------------- */

/* Somebody else says our address is his: defend it, at most once in ten seconds (RFC 5227 2.4 b).
 */
static void defend(struct mir__iface *iface)
{
    struct mir_net *net = iface->net;
    mir_time_us now_us = mir_loop_now(net->loop);
    net->counters.arp_conflict++;
    if (iface->defended_us != 0 && now_us - iface->defended_us < 10 * MIR_US_PER_S)
        return;
    iface->defended_us = now_us;
    MIR_LOG(NET, WARN, "address conflict: another host uses our IPv4 address interface=%u",
            iface->index);
    send_request(iface, iface->ip, iface->ip, mac_all);
}

static bool is_sane(const struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    uint16_t op = mir__arp_op(arp);
    return (op == MIR__ARP_REQUEST || op == MIR__ARP_REPLY) &&
           !mir__mac_is_group(mir__arp_sender_mac(arp)) &&
           !mir__mac_is_zero(mir__arp_sender_mac(arp)) &&
           (sender_ip == 0 || mir__ip4_is_host(sender_ip)) &&
           (iface->broadcast == 0 || sender_ip != iface->broadcast);
}

/* RFC 826, "Packet Reception": merge what is known, then answer. */
static void learn(struct mir_net *net, struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    struct mir__arp_table *table = &net->arp;
    struct mir__arp_entry *entry = mir__arp_find(net, iface, sender_ip);
    bool asks_us = mir__arp_op(arp) == MIR__ARP_REQUEST && mir__arp_target_ip(arp) == iface->ip;
    bool has_room = mir_pool_used(&table->entries) < table->entries.limit / 4 * 3;
    if (entry == NULL && asks_us && has_room && mir__iface_is_on_link(iface, sender_ip))
        entry = make_entry(net, iface, sender_ip);
    if (entry != NULL)
        set_known(net, entry, mir__arp_sender_mac(arp));
}

static void process(struct mir_net *net, struct mir__iface *iface, const uint8_t *arp)
{
    uint32_t sender_ip = mir__arp_sender_ip(arp);
    uint32_t target_ip = mir__arp_target_ip(arp);
    bool is_request = mir__arp_op(arp) == MIR__ARP_REQUEST;
    if (mir__mac_equal(mir__arp_sender_mac(arp), iface->mac))
        return; /* our own, come back */
    if (iface->dhcp.state == MIR__DHCP_PROBING &&
        (sender_ip == iface->dhcp.offered_ip ||
         (is_request && sender_ip == 0 && target_ip == iface->dhcp.offered_ip))) {
        net->counters.arp_conflict++;
        mir__dhcp_conflict(iface);
        return;
    }
    if (iface->ip == 0)
        return;
    if (sender_ip == iface->ip) {
        defend(iface);
        return;
    }
    if (sender_ip != 0)
        learn(net, iface, arp);
    if (is_request && target_ip == iface->ip)
        reply(iface, arp);
}

void mir__arp_input(struct mir_net *net, struct mir__iface *iface, struct mir_buf *buf_given)
{
    net->counters.arp_in++;
    if (mir__arp_check(buf_given->data, buf_given->len) < 0 || !is_sane(iface, buf_given->data))
        net->counters.arp_malformed++;
    else
        process(net, iface, buf_given->data);
    mir_buf_release(buf_given);
}

/* ---- life --------------------------------------------------------------------------------- */

int mir__arp_init(struct mir_net *net, uint32_t entries_max)
{
    struct mir__arp_table *table = &net->arp;
    int r = mir_pool_init(&table->entries, "arp", net->pages, sizeof(struct mir__arp_entry),
                          entries_max);
    if (r < 0)
        return r;
    r = mir_page_alloc(net->pages, MIR__ARP_BUCKETS * sizeof(struct mir_list), MIR_PAGE_OVERWRITE,
                       &table->bucket_page);
    if (r < 0)
        return r;
    table->buckets = (struct mir_list *)(void *)table->bucket_page->base;
    for (uint32_t i = 0; i < MIR__ARP_BUCKETS; i++)
        mir_list_init(&table->buckets[i]);
    mir_list_init(&table->all);
    mir_list_init(&table->active);
    mir_timer_init(&table->timer, on_timer, net);
    table->hash_key = mir_rng_u32(net->rng);
    for (uint32_t i = 0; i < MIR__IFACES_MAX; i++)
        mir_timer_init(&net->ifaces[i].announce_timer, on_announce_timer, &net->ifaces[i]);
    return 0;
}

void mir__arp_forget(struct mir_net *net, const struct mir__iface *iface)
{
    mir_list_for_each (node, &net->arp.all) {
        struct mir__arp_entry *entry = MIR_CONTAINER_OF(node, struct mir__arp_entry, all);
        if (entry->iface == iface)
            remove_entry(net, entry);
    }
}

void mir__arp_fini(struct mir_net *net)
{
    struct mir__arp_table *table = &net->arp;
    if (table->bucket_page == NULL)
        return;
    while (!mir_list_is_empty(&table->all))
        remove_entry(net, MIR_CONTAINER_OF(table->all.next, struct mir__arp_entry, all));
    mir_timer_cancel(&table->timer);
    mir_pool_fini(&table->entries);
    mir_page_release(table->bucket_page);
    table->bucket_page = NULL;
}
