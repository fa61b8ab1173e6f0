/* SPDX-License-Identifier: ISC */
/* From a name and a type to an answer.
 *
 *   1  the table of ready answers has it                            most questions end here
 *   2  no zone holds the name                                       refused
 *   3  the zone knows what the name is: a wildcard's answer, a referral, nothing:  ready, moved
 *   4  it is made for this question: aliases that a DNAME makes, or what did not fit the memory
 *
 * Zones are sorted by name, and looked for from the longest end of the question on that a zone can
 * have. A question about DS is for the zone above (RFC 4035 section 3.1.4.1), if that is ours too.
 */
#include "lib/dns/auth.h"

static int compare(const struct mir_dns_zone *zone, const uint8_t *lower, uint32_t len)
{
    uint32_t most = MIR_MIN(len, zone->origin.len);
    int r = mir_memcmp(zone->origin.lower, lower, most);
    return r != 0 ? r : (int)zone->origin.len - (int)len;
}

static const struct mir_dns_zone *get_zone(const struct mir_dns_server *server,
                                           const uint8_t *lower, uint32_t len)
{
    uint32_t low = 0, high = server->zone_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int r = compare(server->zones[middle], lower, len);
        if (r == 0)
            return server->zones[middle];
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct mir_dns_zone *mir__auth_zone_of(const struct mir_dns_server *server,
                                             const struct mir__zone_key *key, uint16_t type)
{
    const struct mir_dns_zone *found = NULL;
    uint32_t at = 0;
    for (uint32_t labels = key->labels;; labels--) {
        const struct mir_dns_zone *zone = NULL;
        if (labels <= server->labels_max)
            zone = get_zone(server, key->lower + at, key->len - at);
        if (zone != NULL && !(type == MIR__ZONE_DS && at == 0))
            return zone;
        if (zone != NULL)
            found = zone; /* unless there is one above */
        if (labels == 0)
            return found;
        at += 1u + key->lower[at];
    }
}

/* Made for this question. */
static const struct mir__auth_body *make(struct mir_dns_server *server,
                                         const struct mir_dns_zone *zone,
                                         const struct mir__zone_found *found,
                                         const struct mir__zone_key *key, uint16_t type)
{
    const struct mir__auth_question question = {
        .zone = zone, .found = *found, .name = key->lower, .name_len = key->len, .type = type};
    server->stats.answered_made++;
    return mir__auth_build(server, &question);
}

static const struct mir__auth_body *ready(struct mir_dns_server *server,
                                          const struct mir__auth_ready *it)
{
    server->stats.answered_ready++;
    return &it->body;
}

static const struct mir__auth_body *find_at_node(struct mir_dns_server *server,
                                                 const struct mir_dns_zone *zone,
                                                 const struct mir__zone_found *found,
                                                 const struct mir__zone_key *key, uint16_t type)
{
    const struct mir__zone_node *node = found->node;
    const struct mir__auth_ready *it = NULL;
    bool has_alias = mir__zone_set_of(node, MIR_DNS_CNAME) != NULL;
    const struct mir__zone_set *set =
        type == MIR_DNS_ANY ? mir__auth_any(node) : mir__zone_set_of(node, type);
    bool has_set = set != NULL;
    if (has_set || has_alias)
        it = mir__auth_get(server, node->name, node->len, node->hash, has_set ? set->type : type);
    if (it == NULL && has_alias && !has_set)
        it = mir__auth_get(server, node->name, node->len, node->hash, 0);
    if (it == NULL && !has_alias && !has_set)
        it = zone->negative;
    return it != NULL ? ready(server, it) : make(server, zone, found, key, type);
}

const struct mir__auth_body *mir__auth_find(struct mir_dns_server *server,
                                            const struct mir__zone_key *key, uint16_t type,
                                            enum mir__auth_kind *kind)
{
    struct mir__zone_found found;
    const struct mir__auth_body *body;
    const struct mir__auth_ready *it = mir__auth_get(server, key->lower, key->len, key->hash, type);
    if (MIR_LIKELY(it != NULL)) {
        body = ready(server, it);
        *kind = (enum mir__auth_kind)body->kind;
        return body;
    }
    const struct mir_dns_zone *zone = mir__auth_zone_of(server, key, type);
    if (zone == NULL)
        return NULL;
    mir__zone_find(zone, key, type, &found);
    switch (found.kind) {
    case MIR__ZONE_IS_NODE:
    case MIR__ZONE_IS_WILDCARD:
        body = find_at_node(server, zone, &found, key, type);
        it = zone->negative;
        *kind =
            it != NULL && body == &it->body ? MIR__AUTH_NODATA : (enum mir__auth_kind)body->kind;
        return body;
    case MIR__ZONE_IS_REFERRAL:
        it = found.node->ready;
        break;
    case MIR__ZONE_IS_NOTHING:
        it = zone->negative;
        break;
    case MIR__ZONE_IS_RENAMED:
        break;
    }
    body = it != NULL ? ready(server, it) : make(server, zone, &found, key, type);
    *kind = (enum mir__auth_kind)body->kind;
    return body;
}
