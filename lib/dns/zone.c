/* SPDX-License-Identifier: ISC */
/* A zone: names, sets of records, what is delegated.
 *
 *   node   a name, with its sets; also a name that only has others below it (RFC 8020)
 *   set    the records of one type (RFC 2181 section 5): one TTL, no two alike
 *   cut    NS below the apex: names from there on are somebody else's. Their records here are glue
 *
 * All names of the zone are in one hash table, and a node knows its parent. What is not in the
 * table is found by its closest encloser, the longest end of it that is (RFC 4592 section 3.3.1);
 * ends with more labels than any name of the zone are not looked for, so a long question costs no
 * more than a short one.
 *
 * Checks when the file is read, because nobody looks at a server's log: SOA and NS at the apex,
 * CNAME alone, nothing below a DNAME, no wildcards that delegate, name servers with addresses.
 * What is merely odd is a warning.
 */
#include "lib/dns/zone.h"

enum { CNAME = MIR_DNS_CNAME };

/* ---- names ---------------------------------------------------------------------------------- */

struct mir__zone_node *mir__zone_get(const struct mir_dns_zone *zone, const uint8_t *lower,
                                     uint32_t len, uint32_t hash)
{
    struct mir__zone_node *node = *mir__zone_slot(&zone->table, hash);
    while (node != NULL &&
           !(node->hash == hash && node->len == len && mir_memcmp(node->name, lower, len) == 0))
        node = node->in_bucket;
    return node;
}

bool mir__zone_holds(const struct mir_dns_zone *zone, const struct mir__zone_key *key)
{
    uint32_t at = 0;
    if (key->labels < zone->origin.labels)
        return false;
    for (uint32_t i = key->labels - zone->origin.labels; i > 0; i--)
        at += 1u + key->lower[at];
    return key->len - at == zone->origin.len &&
           mir_memcmp(key->lower + at, zone->origin.lower, zone->origin.len) == 0;
}

static struct mir__zone_node *get_end(const struct mir_dns_zone *zone, const uint8_t *lower,
                                      uint32_t len)
{
    uint8_t again[MIR_DNS_NAME_MAX + 9];
    return mir__zone_get(zone, lower, len, mir__zone_fold(lower, len, again));
}

static void link_node(struct mir_dns_zone *zone, struct mir__zone_node *node)
{
    void **slot = mir__zone_slot(&zone->table, node->hash);
    node->in_bucket = *slot;
    *slot = node;
}

/* Without memory, or beyond two million names, chains get longer. */
static void grow_table(struct mir_dns_zone *zone)
{
    struct mir__zone_table old = zone->table;
    if (mir__zone_table_init(&zone->table, old.pages, 2 * (old.mask + 1)) < 0) {
        zone->table = old;
        return;
    }
    for (struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
        link_node(zone, node);
    mir__zone_table_fini(&old);
}

static struct mir__zone_node *new_node(struct mir_dns_zone *zone, const uint8_t *wire, uint32_t len,
                                       struct mir__zone_node *parent)
{
    struct mir__zone_key key;
    if (zone->info.names == zone->names_max) {
        zone->mem.is_over = true;
        return NULL;
    }
    if (zone->info.names > zone->table.mask)
        grow_table(zone);
    struct mir__zone_node *node = mir__zone_alloc(&zone->mem, sizeof *node + 2 * (size_t)len);
    if (node == NULL)
        return NULL;
    mir__zone_key_of(wire, len, &key);
    *node = (struct mir__zone_node){
        .parent = parent, .hash = key.hash, .len = key.len, .labels = key.labels};
    mir_memcpy(node->name, key.lower, len);
    mir_memcpy(node->name + len, wire, len);
    link_node(zone, node);
    if (zone->last != NULL)
        zone->last->next = node;
    else
        zone->apex = node;
    zone->last = node;
    zone->info.names++;
    zone->labels_max = MIR_MAX(zone->labels_max, key.labels);
    return node;
}

struct mir__zone_node *mir__zone_make(struct mir_dns_zone *zone, const uint8_t *wire, uint32_t len)
{
    uint8_t at[128];
    struct mir__zone_key key;
    struct mir__zone_node *node = NULL;
    uint32_t count = 0, offset = 0;
    mir__zone_key_of(wire, len, &key);
    uint32_t above_apex = key.labels - zone->origin.labels;
    node = mir__zone_get(zone, key.lower, len, key.hash);
    if (node != NULL)
        return node;
    /* The longest end that exists; at[] are the beginnings of those before it. */
    while (count <= above_apex && node == NULL) {
        at[count++] = (uint8_t)offset;
        offset += 1u + wire[offset];
        if (count <= above_apex)
            node = get_end(zone, key.lower + offset, len - offset);
    }
    while (count > 0) {
        offset = at[--count];
        node = new_node(zone, wire + offset, len - offset, node);
        if (node == NULL)
            return NULL;
    }
    return node;
}

struct mir__zone_set *mir__zone_set_of(const struct mir__zone_node *node, uint16_t type)
{
    struct mir__zone_set *set = node->sets;
    while (set != NULL && set->type != type)
        set = set->next;
    return set;
}

/* ---- finding -------------------------------------------------------------------------------- */

static const struct mir__zone_node *get_wildcard(const struct mir_dns_zone *zone,
                                                 const struct mir__zone_node *encloser)
{
    uint8_t name[MIR_DNS_NAME_MAX + 2];
    if (!encloser->has_wildcard)
        return NULL;
    name[0] = 1;
    name[1] = '*';
    mir_memcpy(name + 2, encloser->name, encloser->len);
    return get_end(zone, name, 2u + encloser->len);
}

static const struct mir__zone_node *get_encloser(const struct mir_dns_zone *zone,
                                                 const struct mir__zone_key *key)
{
    const struct mir__zone_node *node = NULL;
    uint32_t at = 0, labels = key->labels;
    while (node == NULL) {
        at += 1u + key->lower[at];
        labels--;
        if (labels == zone->origin.labels)
            return zone->apex;
        if (labels <= zone->labels_max)
            node = get_end(zone, key->lower + at, key->len - at);
    }
    return node;
}

void mir__zone_find(const struct mir_dns_zone *zone, const struct mir__zone_key *key, uint16_t type,
                    struct mir__zone_found *found)
{
    const struct mir__zone_node *node = NULL;
    if (key->labels <= zone->labels_max)
        node = mir__zone_get(zone, key->lower, key->len, key->hash);
    if (node != NULL) {
        bool is_below = node->cut != NULL && !(type == MIR__ZONE_DS && node->cut == node);
        found->kind = is_below ? MIR__ZONE_IS_REFERRAL : MIR__ZONE_IS_NODE;
        found->node = is_below ? node->cut : node;
        return;
    }
    node = get_encloser(zone, key);
    const struct mir__zone_node *wildcard = node->cut == NULL ? get_wildcard(zone, node) : NULL;
    found->node = node;
    found->kind = MIR__ZONE_IS_NOTHING;
    if (node->cut != NULL) {
        found->kind = MIR__ZONE_IS_REFERRAL;
        found->node = node->cut;
    } else if (zone->has_dname && mir__zone_set_of(node, MIR__ZONE_DNAME) != NULL) {
        found->kind = MIR__ZONE_IS_RENAMED;
    } else if (wildcard != NULL) {
        found->kind = MIR__ZONE_IS_WILDCARD;
        found->node = wildcard;
    }
}

/* ---- adding --------------------------------------------------------------------------------- */

static const char *name_text(const uint8_t *wire, uint32_t len, char out[MIR_DNS_NAME_TEXT_MAX])
{
    struct mir_dns_name name = {.len = (uint8_t)len};
    mir_memcpy(name.wire, wire, len);
    mir_dns_name_text(&name, out);
    out[200] = '\0'; /* enough to find it by */
    return out;
}

static bool has_record(const struct mir__zone_set *set, const uint8_t *data, uint32_t len)
{
    for (const struct mir__zone_record *r = set->first; r != NULL; r = r->next) {
        if (r->len == len && mir_memcmp(r->data, data, len) == 0)
            return true;
    }
    return false;
}

static int check_owner(struct mir__zone_parser *parser, const struct mir__zone_key *key)
{
    const struct mir_dns_zone *zone = parser->zone;
    char owner[MIR_DNS_NAME_TEXT_MAX], origin[MIR_DNS_NAME_TEXT_MAX];
    bool is_apex = key->len == zone->origin.len;
    if (!mir__zone_holds(zone, key))
        return mir__zone_error(parser,
                               "%s is not in the zone %s; names that do not end in a dot are "
                               "relative to the origin",
                               name_text(parser->owner.wire, parser->owner.len, owner),
                               name_text(zone->origin.lower, zone->origin.len, origin));
    if (parser->type == MIR_DNS_SOA && !is_apex)
        return mir__zone_error(parser, "SOA of %s; a zone has one, at its own name '@'",
                               name_text(parser->owner.wire, parser->owner.len, owner));
    bool is_wildcard = key->len > 2 && key->lower[0] == 1 && key->lower[1] == '*';
    if (is_wildcard && (parser->type == MIR_DNS_NS || parser->type == MIR__ZONE_DNAME))
        return mir__zone_error(parser, "a wildcard cannot delegate or rename; name what is meant");
    return 0;
}

static struct mir__zone_set *make_set(struct mir__zone_parser *parser, struct mir__zone_node *node)
{
    struct mir__zone_set **last = &node->sets;
    struct mir__zone_set *set = mir__zone_alloc(&parser->zone->mem, sizeof *set);
    if (set == NULL)
        return NULL;
    *set = (struct mir__zone_set){
        .ttl_s = parser->ttl_s,
        .file = parser->source[parser->depth].file,
        .line = parser->entry_line,
        .type = parser->type,
    };
    while (*last != NULL)
        last = &(*last)->next;
    *last = set;
    return set;
}

int mir__zone_add(struct mir__zone_parser *parser)
{
    struct mir_dns_zone *zone = parser->zone;
    struct mir__zone_key key;
    char type[MIR_DNS_TYPE_TEXT_MAX + 4];
    mir__zone_key_of(parser->owner.wire, parser->owner.len, &key);
    int r = check_owner(parser, &key);
    if (r < 0)
        return r;
    struct mir__zone_node *node = mir__zone_make(zone, parser->owner.wire, parser->owner.len);
    struct mir__zone_set *set = node != NULL ? mir__zone_set_of(node, parser->type) : NULL;
    if (node != NULL && set == NULL)
        set = make_set(parser, node);
    if (set == NULL)
        return -MIR_ENOMEM;
    if (has_record(set, parser->data, parser->data_len))
        return 0;
    if (set->data_bytes + 12u * (set->count + 1u) + parser->data_len > MIR__ZONE_SET_MAX)
        return mir__zone_error(parser,
                               "the %s records of this name are more than %u octets, which no "
                               "answer can hold; divide them",
                               mir__zone_type_text(parser->type, type), MIR__ZONE_SET_MAX);
    if (set->ttl_s != parser->ttl_s)
        mir__zone_tell(parser, false, set,
                       "TTLs of %s differ in line %u; the records of one type "
                       "have one, the least is taken",
                       mir__zone_type_text(parser->type, type), parser->entry_line);
    set->ttl_s = MIR_MIN(set->ttl_s, parser->ttl_s);
    struct mir__zone_record *record =
        mir__zone_alloc(&zone->mem, sizeof *record + parser->data_len);
    if (record == NULL)
        return -MIR_ENOMEM;
    record->next = NULL;
    record->len = (uint16_t)parser->data_len;
    mir_memcpy(record->data, parser->data, parser->data_len);
    if (set->last != NULL)
        set->last->next = record;
    else
        set->first = record;
    set->last = record;
    set->count++;
    set->data_bytes += parser->data_len;
    zone->info.records++;
    return 0;
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool has_address(const struct mir__zone_node *node)
{
    return mir__zone_set_of(node, MIR_DNS_A) != NULL ||
           mir__zone_set_of(node, MIR_DNS_AAAA) != NULL;
}

static void check_target(struct mir__zone_parser *parser, const struct mir__zone_set *set,
                         const uint8_t *name, uint32_t len)
{
    struct mir__zone_key key;
    struct mir__zone_found found;
    char text[MIR_DNS_NAME_TEXT_MAX], type[MIR_DNS_TYPE_TEXT_MAX + 4];
    bool is_ns = set->type == MIR_DNS_NS;
    mir__zone_key_of(name, len, &key);
    if (len <= 1 || !mir__zone_holds(parser->zone, &key))
        return;
    mir__zone_find(parser->zone, &key, MIR_DNS_A, &found);
    const struct mir__zone_node *node = found.node;
    if (found.kind == MIR__ZONE_IS_REFERRAL)
        node = mir__zone_get(parser->zone, key.lower, key.len, key.hash);
    bool exists = found.kind != MIR__ZONE_IS_NOTHING && node != NULL;
    if (exists && (found.kind == MIR__ZONE_IS_RENAMED || mir__zone_set_of(node, CNAME) != NULL))
        mir__zone_tell(parser, is_ns, set,
                       "%s leads to the alias %s; name the host itself (RFC 2181)",
                       mir__zone_type_text(set->type, type), name_text(name, len, text));
    else if (found.kind == MIR__ZONE_IS_REFERRAL && node == NULL && !is_ns)
        return; /* whoever it is delegated to knows */
    else if (!exists || !has_address(node))
        mir__zone_tell(parser, is_ns && (found.kind != MIR__ZONE_IS_REFERRAL || node != NULL), set,
                       "%s leads to %s, which has no address here; add A or AAAA of it",
                       mir__zone_type_text(set->type, type), name_text(name, len, text));
}

/* Aliases are alone, and one. */
static void check_alone(struct mir__zone_parser *parser, const struct mir__zone_node *node)
{
    char text[MIR_DNS_NAME_TEXT_MAX], type[MIR_DNS_TYPE_TEXT_MAX + 4];
    const struct mir__zone_set *cname = mir__zone_set_of(node, CNAME);
    const struct mir__zone_set *dname = mir__zone_set_of(node, MIR__ZONE_DNAME);
    const struct mir__zone_set *other = node->sets;
    name_text(mir__zone_written(node), node->len, text);
    if (cname != NULL && other == cname)
        other = cname->next;
    if (cname != NULL && other != NULL)
        mir__zone_tell(parser, true, cname,
                       "%s has a CNAME and %s too; an alias has nothing else "
                       "(RFC 2181 section 10.1)",
                       text, mir__zone_type_text(other->type, type));
    if (cname != NULL && cname->count > 1)
        mir__zone_tell(parser, true, cname, "%s has %u CNAMEs; it can be an alias of one name",
                       text, cname->count);
    if (dname != NULL && dname->count > 1)
        mir__zone_tell(parser, true, dname, "%s has %u DNAMEs; there can be one", text,
                       dname->count);
    if (dname != NULL && node->parent != NULL && mir__zone_set_of(node, MIR_DNS_NS) != NULL)
        mir__zone_tell(parser, true, dname, "%s is delegated and renamed (NS, DNAME); one of them",
                       text);
}

static void check_place(struct mir__zone_parser *parser, const struct mir__zone_node *node)
{
    char text[MIR_DNS_NAME_TEXT_MAX], type[MIR_DNS_TYPE_TEXT_MAX + 4];
    bool is_below_dname = node->parent != NULL && parser->zone->has_dname &&
                          mir__zone_set_of(node->parent, MIR__ZONE_DNAME) != NULL;
    for (const struct mir__zone_set *set = node->sets; set != NULL; set = set->next) {
        bool is_glue = set->type == MIR_DNS_A || set->type == MIR_DNS_AAAA;
        bool is_at_cut =
            node->cut == node && (set->type == MIR_DNS_NS || set->type == MIR__ZONE_DS);
        name_text(mir__zone_written(node), node->len, text);
        if (is_below_dname)
            mir__zone_tell(parser, true, set,
                           "%s is below a DNAME, which renames it; move it there", text);
        else if (node->cut != NULL && !is_glue && !is_at_cut)
            mir__zone_tell(parser, false, set,
                           "%s of %s is delegated; it is never answered from here",
                           mir__zone_type_text(set->type, type), text);
    }
}

static void check_node(struct mir__zone_parser *parser, const struct mir__zone_node *node)
{
    const uint8_t *name;
    uint32_t len;
    check_alone(parser, node);
    check_place(parser, node);
    for (const struct mir__zone_set *set = node->sets; set != NULL; set = set->next) {
        for (const struct mir__zone_record *r = set->first; r != NULL; r = r->next) {
            if (mir__zone_target(set->type, r, &name, &len))
                check_target(parser, set, name, len);
        }
    }
}

/* What a node is because of those above it. Parents come first. */
static void place(struct mir_dns_zone *zone, struct mir__zone_node *node)
{
    if (mir__zone_set_of(node, MIR__ZONE_DNAME) != NULL)
        zone->has_dname = true;
    if (node->parent == NULL)
        return;
    node->cut = node->parent->cut;
    if (node->cut == NULL && mir__zone_set_of(node, MIR_DNS_NS) != NULL)
        node->cut = node;
    if (node->name[0] == 1 && node->name[1] == '*')
        node->parent->has_wildcard = true;
}

void mir__zone_finish(struct mir__zone_parser *parser)
{
    struct mir_dns_zone *zone = parser->zone;
    const struct mir__zone_set *soa = NULL, *ns = NULL;
    if (zone->apex != NULL) {
        soa = mir__zone_set_of(zone->apex, MIR_DNS_SOA);
        ns = mir__zone_set_of(zone->apex, MIR_DNS_NS);
    }
    if (soa == NULL || ns == NULL) {
        mir__zone_error(parser, "the zone has no %s; add '@ %s ...'", soa == NULL ? "SOA" : "NS",
                        soa == NULL ? "SOA" : "NS");
        return;
    }
    if (soa->count > 1)
        mir__zone_tell(parser, true, soa, "the zone has %u SOAs; there is one", soa->count);
    const uint8_t *numbers = soa->first->data + soa->first->len - 20;
    zone->info.serial = mir_get_be32(numbers);
    zone->negative_ttl_s = MIR_MIN(soa->ttl_s, mir_get_be32(numbers + 16));
    for (struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
        place(zone, node);
    for (const struct mir__zone_node *node = zone->apex; node != NULL; node = node->next)
        check_node(parser, node);
}
