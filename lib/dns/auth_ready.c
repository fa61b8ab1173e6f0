/* SPDX-License-Identifier: ISC */
/* The answers that zones can give, made when the server opens.
 *
 *   (name, type)   for each set of each name: one look-up gives the answer
 *   (alias, type)  for each type at the end of its chain, and 0 for all the others
 *   (*.name, ...)  the same of a wildcard, moved behind the name that was asked
 *   a delegation   one for all names at and below it
 *   a zone         one for all that is not there
 *
 * They lie in an arena with a limit. What does not fit is counted and made for each question: the
 * server is slower then and not wrong. A body is given by reference to its page, which therefore
 * outlives the server until the device has sent it.
 */
#include "lib/dns/auth.h"

const struct mir__auth_ready *mir__auth_get(const struct mir_dns_server *server,
                                            const uint8_t *lower, uint32_t len, uint32_t name_hash,
                                            uint16_t type)
{
    uint32_t hash = mir__auth_hash(name_hash, type);
    const struct mir__auth_ready *ready = *mir__zone_slot(&server->table, hash);
    while (ready != NULL && !(ready->hash == hash && ready->type == type &&
                              ready->name_len == len && mir_memcmp(ready->name, lower, len) == 0))
        ready = ready->in_bucket;
    return ready;
}

/* Keep the answer in server->made. NULL: no room. */
static struct mir__auth_ready *keep(struct mir_dns_server *server, const uint8_t *name,
                                    uint32_t name_len)
{
    const struct mir__auth_body *made = &server->made;
    uint32_t moves_at = (uint32_t)(sizeof(struct mir__auth_ready) + name_len + 1) & ~1u;
    uint32_t moves_len = made->move_count * (uint32_t)sizeof *made->moves;
    uint32_t size = moves_at + moves_len + made->len;
    struct mir__auth_ready *ready = mir__zone_alloc(&server->mem, size);
    if (ready == NULL) {
        server->stats.ready_left++;
        return NULL;
    }
    uint8_t *moves = (uint8_t *)ready + moves_at;
    *ready = (struct mir__auth_ready){.body = *made, .name_len = (uint8_t)name_len};
    if (moves_len > 0)
        mir_memcpy(moves, made->moves, moves_len);
    mir_memcpy(moves + moves_len, made->bytes, made->len);
    mir_memcpy(ready->name, name, name_len);
    ready->body.page = mir__zone_page(&server->mem);
    ready->body.moves = (const uint16_t *)(const void *)moves;
    ready->body.bytes = moves + moves_len;
    server->stats.ready++;
    return ready;
}

static struct mir__auth_question question_of(const struct mir_dns_zone *zone,
                                             const struct mir__zone_node *node, uint16_t type)
{
    bool is_wildcard = node->len > 2 && node->name[0] == 1 && node->name[1] == '*';
    return (struct mir__auth_question){
        .zone = zone,
        .found = {is_wildcard ? MIR__ZONE_IS_WILDCARD : MIR__ZONE_IS_NODE, node},
        .name = mir__zone_written(node),
        .name_len = node->len,
        .skip = is_wildcard ? 1 : 0,
        .type = type,
    };
}

static void keep_type(struct mir_dns_server *server, const struct mir_dns_zone *zone,
                      const struct mir__zone_node *node, uint16_t type)
{
    struct mir__auth_question question = question_of(zone, node, type);
    (void)mir__auth_build(server, &question);
    struct mir__auth_ready *ready = keep(server, node->name, node->len);
    if (ready == NULL)
        return;
    ready->type = type;
    ready->hash = mir__auth_hash(node->hash, type);
    void **slot = mir__zone_slot(&server->table, ready->hash);
    ready->in_bucket = *slot;
    *slot = ready;
}

/* An alias: its answers depend on where it leads. */
static void keep_alias(struct mir_dns_server *server, const struct mir_dns_zone *zone,
                       const struct mir__zone_node *node)
{
    struct mir__zone_found end;
    bool has_end = mir__auth_chain_end(zone, node, &end);
    if (has_end && end.kind == MIR__ZONE_IS_RENAMED)
        return; /* what is behind it is made for each question */
    if (has_end && (end.kind == MIR__ZONE_IS_NODE || end.kind == MIR__ZONE_IS_WILDCARD)) {
        for (const struct mir__zone_set *set = end.node->sets; set != NULL; set = set->next) {
            if (set->type != MIR_DNS_CNAME)
                keep_type(server, zone, node, set->type);
        }
    }
    if (has_end && end.kind == MIR__ZONE_IS_REFERRAL)
        keep_type(server, zone, node, MIR__ZONE_DS); /* the one type that is not referred */
    keep_type(server, zone, node, 0);
}

/* Is it in a deeper zone of ours, which alone answers for it? */
static bool is_hidden(const struct mir_dns_server *server, const struct mir_dns_zone *zone,
                      const struct mir__zone_node *node)
{
    struct mir__zone_key key;
    if (server->zone_count == 1)
        return false;
    mir__zone_key_of(node->name, node->len, &key);
    return mir__auth_zone_of(server, &key, 0) != zone;
}

static void keep_node(struct mir_dns_server *server, struct mir_dns_zone *zone,
                      struct mir__zone_node *node)
{
    if (node->cut == node) {
        struct mir__auth_question question = question_of(zone, node, MIR_DNS_NS);
        question.found.kind = MIR__ZONE_IS_REFERRAL;
        (void)mir__auth_build(server, &question);
        node->ready = keep(server, node->name, node->len);
        if (mir__zone_set_of(node, MIR__ZONE_DS) != NULL)
            keep_type(server, zone, node, MIR__ZONE_DS);
    }
    if (node->cut != NULL || node->sets == NULL || is_hidden(server, zone, node))
        return;
    for (const struct mir__zone_set *set = node->sets; set != NULL; set = set->next)
        keep_type(server, zone, node, set->type);
    if (mir__zone_set_of(node, MIR_DNS_CNAME) != NULL)
        keep_alias(server, zone, node);
}

static void keep_zone(struct mir_dns_server *server, struct mir_dns_zone *zone)
{
    struct mir__auth_question question = question_of(zone, zone->apex, 0);
    question.found.kind = MIR__ZONE_IS_NOTHING;
    (void)mir__auth_build(server, &question);
    zone->negative = keep(server, zone->apex->name, zone->apex->len);
    for (struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
        keep_node(server, zone, node);
}

int mir__auth_ready_open(struct mir_dns_server *server)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < server->zone_count; i++)
        slots += 2 * (uint64_t)server->zones[i]->info.records;
    server->mem = (struct mir__zone_mem){.pages = server->stack->pages,
                                         .max_bytes = server->limits.ready_bytes};
    int r = mir__zone_table_init(&server->table, server->stack->pages,
                                 (uint32_t)MIR_MIN(slots, 1u << 21));
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < server->zone_count; i++)
        keep_zone(server, server->zones[i]);
    server->stats.ready_bytes = server->mem.used_bytes;
    return 0;
}

void mir__auth_ready_close(struct mir_dns_server *server)
{
    for (uint32_t i = 0; i < server->zone_count; i++) {
        struct mir_dns_zone *zone = server->zones[i];
        zone->negative = NULL;
        for (struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
            node->ready = NULL;
    }
    mir__zone_table_fini(&server->table);
    mir__zone_mem_release(&server->mem);
}
