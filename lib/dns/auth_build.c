/* SPDX-License-Identifier: ISC */
/* An answer as octets: the algorithm of RFC 1034 section 4.3.2.
 *
 *   a set of that type            it, and addresses of hosts it names
 *   an alias                      it, and on with its target, as long as that is in the zone
 *   a DNAME above                 it, the alias it stands for (RFC 6672), and on with its target
 *   a delegation at or above      its NS, and addresses of its servers; not authoritative
 *   the name, no such set         SOA, with the time for which that may be remembered (RFC 2308)
 *   no such name                  the same with NXDOMAIN, also at the end of aliases (RFC 6604)
 *
 * Addresses of name servers below the delegation are part of the referral (RFC 9471); all other
 * additional records come last and may be left out. The zone's own NS are not added to answers.
 *
 * ANY gets one set, the smallest: somebody who debugs sees what there is, somebody who amplifies
 * gains nothing (RFC 8482 section 4.1).
 *
 * A loop of aliases ends where it closes; sixteen steps are the most.
 */
#include "lib/dns/auth.h"

enum { SETS_MAX = 4, NAMES_MAX = 4 };

struct build {
    struct mir__auth_writer *w;
    const struct mir__auth_question *q;
    uint16_t flags;
    enum mir__auth_kind kind;
    struct mir__zone_found found;
    struct mir__auth_owner owner; /* of what comes next */
    const struct mir__zone_node *seen[MIR__AUTH_HOPS_MAX];
    uint32_t hops;
    const struct mir__zone_set *named[SETS_MAX]; /* whose hosts have addresses */
    uint32_t named_count;
    const struct mir__zone_node *added[MIR__AUTH_ADDED_MAX];
    uint32_t added_count;
    uint8_t name[NAMES_MAX][MIR_DNS_NAME_MAX]; /* of aliases that a DNAME makes */
    uint32_t name_count;
};

/* ---- sections ------------------------------------------------------------------------------- */

static struct mir__auth_owner owner_of(const struct mir__zone_node *node)
{
    return (struct mir__auth_owner){mir__zone_written(node), node->len};
}

static void add_negative(struct build *b, bool is_nxdomain)
{
    const struct mir_dns_zone *zone = b->q->zone;
    const struct mir__zone_set *soa = mir__zone_set_of(zone->apex, MIR_DNS_SOA);
    (void)mir__auth_write_set(b->w, 1, owner_of(zone->apex), soa, zone->negative_ttl_s);
    b->kind = is_nxdomain ? MIR__AUTH_NXDOMAIN : MIR__AUTH_NODATA;
    if (is_nxdomain)
        b->flags |= MIR__DNS_NXDOMAIN;
}

static void add_answer(struct build *b, const struct mir__zone_set *set)
{
    if (!mir__auth_write_set(b->w, 0, b->owner, set, set->ttl_s))
        b->flags = (uint16_t)((b->flags & ~MIR__DNS_RCODE_MASK) | MIR__DNS_SERVFAIL);
    else if (b->named_count < SETS_MAX)
        b->named[b->named_count++] = set;
}

static void add_referral(struct build *b)
{
    const struct mir__zone_set *ns = mir__zone_set_of(b->found.node, MIR_DNS_NS);
    (void)mir__auth_write_set(b->w, 1, owner_of(b->found.node), ns, ns->ttl_s);
    if (b->hops == 0) {
        b->flags = 0;
        b->kind = MIR__AUTH_REFERRAL;
    }
    b->named[b->named_count < SETS_MAX ? b->named_count++ : SETS_MAX - 1] = ns;
}

static bool is_added(const struct build *b, const struct mir__zone_node *node)
{
    for (uint32_t i = 0; i < b->added_count; i++) {
        if (b->added[i] == node)
            return true;
    }
    return false;
}

/* Addresses of the hosts in @set: those below @cut, or the others. */
static void add_addresses(struct build *b, const struct mir__zone_set *set,
                          const struct mir__zone_node *cut, bool is_glue)
{
    const struct mir_dns_zone *zone = b->q->zone;
    struct mir__zone_key key;
    const uint8_t *name;
    uint32_t len;
    for (const struct mir__zone_record *r = set->first; r != NULL; r = r->next) {
        if (!mir__zone_target(set->type, r, &name, &len))
            return;
        mir__zone_key_of(name, len, &key);
        const struct mir__zone_node *node = NULL;
        if (key.labels <= zone->labels_max)
            node = mir__zone_get(zone, key.lower, key.len, key.hash);
        bool is_below = node != NULL && cut != NULL && node->cut == cut;
        if (node == NULL || is_below != is_glue || is_added(b, node) ||
            b->added_count == MIR__AUTH_ADDED_MAX)
            continue;
        b->added[b->added_count++] = node;
        const struct mir__zone_set *a = mir__zone_set_of(node, MIR_DNS_A);
        const struct mir__zone_set *aaaa = mir__zone_set_of(node, MIR_DNS_AAAA);
        if (a != NULL)
            (void)mir__auth_write_set(b->w, 2, owner_of(node), a, a->ttl_s);
        if (aaaa != NULL)
            (void)mir__auth_write_set(b->w, 2, owner_of(node), aaaa, aaaa->ttl_s);
    }
}

/* ---- names ---------------------------------------------------------------------------------- */

static bool has_seen(const struct build *b, const struct mir__zone_node *node)
{
    for (uint32_t i = 0; i < b->hops; i++) {
        if (b->seen[i] == node)
            return true;
    }
    return false;
}

/* Go on with where an alias leads. False: not in this zone, or seen already. */
static bool follow(struct build *b, const uint8_t *wire, uint32_t len)
{
    struct mir__zone_key key;
    if (b->hops == MIR__AUTH_HOPS_MAX)
        return false;
    b->seen[b->hops++] = b->found.node;
    mir__zone_key_of(wire, len, &key);
    if (!mir__zone_holds(b->q->zone, &key))
        return false;
    mir__zone_find(b->q->zone, &key, b->q->type, &b->found);
    b->owner = (struct mir__auth_owner){wire, len};
    bool is_alias = b->found.kind == MIR__ZONE_IS_NODE || b->found.kind == MIR__ZONE_IS_WILDCARD;
    return !(is_alias && has_seen(b, b->found.node));
}

const struct mir__zone_set *mir__auth_any(const struct mir__zone_node *node)
{
    const struct mir__zone_set *least = node->sets;
    for (const struct mir__zone_set *set = node->sets; set != NULL; set = set->next) {
        if (set->data_bytes + 12u * set->count < least->data_bytes + 12u * least->count)
            least = set;
    }
    return least;
}

/* At a name that is there. True: an alias was followed. */
static bool step_node(struct build *b)
{
    const struct mir__zone_node *node = b->found.node;
    const struct mir__zone_set *set =
        b->q->type == MIR_DNS_ANY ? mir__auth_any(node) : mir__zone_set_of(node, b->q->type);
    const struct mir__zone_set *alias = mir__zone_set_of(node, MIR_DNS_CNAME);
    if (set != NULL) {
        add_answer(b, set);
        return false;
    }
    if (alias == NULL) {
        add_negative(b, false);
        return false;
    }
    add_answer(b, alias);
    return follow(b, alias->first->data, alias->first->len);
}

/* Below a DNAME: it, and the alias that it makes of this name. */
static bool step_renamed(struct build *b)
{
    const struct mir__zone_node *node = b->found.node;
    const struct mir__zone_set *dname = mir__zone_set_of(node, MIR__ZONE_DNAME);
    const uint8_t *wire = b->owner.wire != NULL ? b->owner.wire : b->q->name;
    uint32_t len = b->owner.wire != NULL ? b->owner.len : b->q->name_len;
    uint32_t front = len - node->len, target_len = dname->first->len;
    if (!mir__auth_write_set(b->w, 0, owner_of(node), dname, dname->ttl_s))
        return false;
    if (front + target_len > MIR_DNS_NAME_MAX) {
        b->flags |= MIR__DNS_YXDOMAIN;
        return false;
    }
    if (b->name_count == NAMES_MAX)
        return false;
    uint8_t *made = b->name[b->name_count++];
    mir_memcpy(made, wire, front);
    mir_memcpy(made + front, dname->first->data, target_len);
    /* A record with the made name as data, for the writer alone. */
    uint8_t bytes[sizeof(struct mir__zone_record) + MIR_DNS_NAME_MAX] MIR_ALIGNED(8);
    struct mir__zone_record *alias = (struct mir__zone_record *)(void *)bytes;
    const struct mir__zone_set set = {.type = MIR_DNS_CNAME};
    alias->len = (uint16_t)(front + target_len);
    mir_memcpy(alias->data, made, front + target_len);
    uint32_t ends = b->w->end_count;
    if (!mir__auth_write_record(b->w, 0, b->owner, &set, alias, dname->ttl_s))
        return false;
    b->w->end_count = ends; /* what it remembers goes with these bytes */
    bool is_asked = b->q->type == MIR_DNS_CNAME || b->q->type == MIR_DNS_ANY;
    return !is_asked && follow(b, made, front + target_len);
}

static void answer(struct build *b)
{
    bool goes_on = true;
    while (goes_on) {
        switch (b->found.kind) {
        case MIR__ZONE_IS_NODE:
        case MIR__ZONE_IS_WILDCARD:
            goes_on = step_node(b);
            break;
        case MIR__ZONE_IS_RENAMED:
            goes_on = step_renamed(b);
            break;
        case MIR__ZONE_IS_REFERRAL:
            add_referral(b);
            goes_on = false;
            break;
        case MIR__ZONE_IS_NOTHING:
            add_negative(b, true);
            goes_on = false;
            break;
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------ */

/* Names that somebody makes up under a wildcard, a delegation or nothing are one answer. */
static uint32_t tag_of(const struct build *b)
{
    if (b->kind == MIR__AUTH_NODATA || b->kind == MIR__AUTH_NXDOMAIN)
        return b->q->zone->origin.hash + 1;
    return mir__auth_hash(b->q->found.node->hash, b->q->type);
}

static void finish(struct mir_dns_server *server, const struct build *b, uint32_t min_at,
                   uint32_t min_additional)
{
    const struct mir__auth_writer *w = b->w;
    struct mir__auth_body *body = &server->made;
    uint32_t begin = MIR__DNS_HEADER_LEN + b->q->name_len + 4u;
    *body = (struct mir__auth_body){
        .bytes = w->out + begin,
        .moves = server->made_moves,
        .move_count = (uint16_t)w->move_count,
        .len = (uint16_t)(w->at - begin),
        .min_len = (uint16_t)(min_at - begin),
        .min_additional = (uint16_t)min_additional,
        .flags = b->flags,
        .name_len = b->q->name_len,
        .kind = (uint8_t)b->kind,
        .tag = tag_of(b),
    };
    mir_memcpy(body->count, w->count, sizeof body->count);
    for (uint32_t i = 0; i < w->move_count; i++)
        server->made_moves[i] = (uint16_t)(w->moves[i] - begin);
}

const struct mir__auth_body *mir__auth_build(struct mir_dns_server *server,
                                             const struct mir__auth_question *question)
{
    struct build b = {.w = &server->writer, .q = question, .flags = MIR__DNS_AA};
    const struct mir__zone_node *cut = NULL;
    b.found = question->found;
    mir__auth_write(b.w, server->scratch->base, MIR__AUTH_MESSAGE_MAX, question->name_len);
    mir__auth_write_question(b.w, question->name, question->name_len, question->skip);
    answer(&b);
    if (b.found.kind == MIR__ZONE_IS_REFERRAL) {
        cut = b.found.node;
        add_addresses(&b, b.named[b.named_count - 1], cut, true);
    }
    uint32_t min_at = b.w->at, min_additional = b.w->count[2];
    for (uint32_t i = 0; i < b.named_count; i++)
        add_addresses(&b, b.named[i], cut, false);
    finish(server, &b, min_at, min_additional);
    return &server->made;
}

bool mir__auth_chain_end(const struct mir_dns_zone *zone, const struct mir__zone_node *node,
                         struct mir__zone_found *found)
{
    struct mir__zone_key key;
    *found = (struct mir__zone_found){MIR__ZONE_IS_NODE, node};
    for (uint32_t i = 0; i < MIR__AUTH_HOPS_MAX; i++) {
        const struct mir__zone_set *alias = NULL;
        if (found->kind == MIR__ZONE_IS_NODE || found->kind == MIR__ZONE_IS_WILDCARD)
            alias = mir__zone_set_of(found->node, MIR_DNS_CNAME);
        if (alias == NULL)
            return true;
        mir__zone_key_of(alias->first->data, alias->first->len, &key);
        if (!mir__zone_holds(zone, &key))
            return false;
        mir__zone_find(zone, &key, MIR_DNS_A, found);
    }
    return false;
}
