/* SPDX-License-Identifier: ISC */
/* What the files of a zone share.
 *
 *   zone_mem.c     memory: an arena that is released whole, and a table of pointers that grows
 *   zone_lex.c     a master file as tokens
 *   zone_parse.c   entries and directives; names, times, types
 *   zone_data.c    data of records, by the form of their type
 *   zone.c         names, sets, delegations: adding, checking, finding
 *
 *   text -> tokens -> records -> nodes and sets -> checks -> a zone that is only read
 *
 * A name is kept twice: folded to lower case, which is what is hashed and compared, and as it was
 * written, which is what is sent where the question does not say it.
 */
#ifndef LIB_DNS_ZONE_H
#define LIB_DNS_ZONE_H

#include <stdarg.h>

#include <mirari/bytes.h>
#include <mirari/dns_server.h>
#include <mirari/page.h>

#include "lib/wire/dns.h"

/* ---- zone_mem.c --------------------------------------------------------------------------- */

#define MIR__ZONE_CHUNK_MAX (MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE)

struct mir__zone_chunk {
    struct mir__zone_chunk *next;
    struct mir_io_page *page;
};

/** An arena over page runs. Zero and `pages` set is empty. */
struct mir__zone_mem {
    struct mir_page_pool *pages;
    struct mir__zone_chunk *chunks; /* the one that is filled first */
    uint8_t *at;
    uint32_t left;
    uint32_t run_pages; /* of the next chunk: doubles */
    uint64_t used_bytes;
    uint64_t max_bytes;
    bool is_over; /* what was refused was beyond max_bytes */
};

/** [size] bytes aligned to 8, not zeroed; NULL: no memory or beyond the limit. */
void *mir__zone_alloc(struct mir__zone_mem *mem, size_t size);
/** The page of what was allocated last. */
struct mir_io_page *mir__zone_page(const struct mir__zone_mem *mem);
void mir__zone_mem_release(struct mir__zone_mem *mem);

#define MIR__ZONE_SEGMENT 512u /* pointers of a page */

/** A hash table of list heads, larger than a page run can be. */
struct mir__zone_table {
    struct mir_page_pool *pages;
    struct mir_io_page *dir;
    void ***segment;           /* [mask / MIR__ZONE_SEGMENT + 1] in dir: where segments begin */
    struct mir_io_page **page; /* and behind them their pages */
    uint32_t mask;
};

/** At least @slots heads, all NULL. Returns 0, -MIR_ENOMEM. */
int mir__zone_table_init(struct mir__zone_table *table, struct mir_page_pool *pages,
                         uint32_t slots) MIR_CHECK;
void mir__zone_table_fini(struct mir__zone_table *table);
static inline void **mir__zone_slot(const struct mir__zone_table *table, uint32_t hash)
{
    uint32_t i = hash & table->mask;
    return &table->segment[i / MIR__ZONE_SEGMENT][i % MIR__ZONE_SEGMENT];
}

/* ---- names -------------------------------------------------------------------------------- */

/** A folded name, with room to be read in words. */
struct mir__zone_key {
    uint32_t hash;
    uint8_t len;
    uint8_t labels; /* without the root */
    uint8_t lower[MIR_DNS_NAME_MAX + 9];
};

/** Eight octets with letters in lower case (RFC 4343). Lengths of labels are below 64: no letters.
 */
static inline uint64_t mir__zone_fold8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = x & 0x7f * ones;
    uint64_t above_z = low + (0x7f - 'Z') * ones, from_a = low + (0x80 - 'A') * ones;
    return x | ((from_a ^ above_z) & ~x & 0x80 * ones) >> 2;
}

static inline uint64_t mir__zone_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/** Fold [len] octets of a name and hash it. @lower has room for 7 octets more. The hash is not
 *  keyed: which names are in a table is the zone's choice, not the asker's. */
static inline uint32_t mir__zone_fold(const uint8_t *wire, uint32_t len, uint8_t *lower)
{
    uint64_t hash = len, word;
    uint32_t i = 0;
    for (; i + 8 <= len; i += 8) {
        mir_memcpy(&word, wire + i, 8);
        word = mir__zone_fold8(word);
        mir_memcpy(lower + i, &word, 8);
        hash = mir__zone_mix(hash, word);
    }
    word = 0;
    for (uint32_t j = len; j > i; j--)
        word = word << 8 | wire[j - 1];
    word = mir__zone_fold8(word);
    mir_memcpy(lower + i, &word, 8);
    hash = mir__zone_mix(hash, word);
    return (uint32_t)(hash ^ hash >> 32);
}

/** The key of a name on the wire. */
void mir__zone_key_of(const uint8_t *wire, uint32_t len, struct mir__zone_key *key);

/* ---- the zone ----------------------------------------------------------------------------- */

enum {
    MIR__ZONE_DNAME = 39,
    MIR__ZONE_DS = 43,
    MIR__ZONE_RRSIG = 46,
    MIR__ZONE_NSEC3 = 50,
    MIR__ZONE_NSEC3PARAM = 51,
    MIR__ZONE_IXFR = 251,
    MIR__ZONE_AXFR = 252,
};

/** Data of one record, names in it whole. */
struct mir__zone_record {
    struct mir__zone_record *next;
    uint16_t len;
    uint8_t data[];
};

struct mir__zone_set {
    struct mir__zone_set *next; /* of the node */
    struct mir__zone_record *first, *last;
    uint32_t ttl_s;
    uint32_t line; /* of its first record */
    const char *file;
    uint16_t type;
    uint16_t count;
    uint32_t data_bytes;
};

struct mir__zone_node {
    struct mir__zone_node *in_bucket;
    struct mir__zone_node *next;   /* in the order of the file; parents come before children */
    struct mir__zone_node *parent; /* NULL: the apex */
    struct mir__zone_node *cut;    /* the delegation at or above it; NULL: none */
    struct mir__zone_set *sets;
    void *ready; /* the server's: what answers a question at a cut */
    uint32_t hash;
    uint8_t len;
    uint8_t labels;
    bool has_wildcard; /* there is a "*" below it */
    uint8_t name[];    /* [len] folded, then [len] as written */
};

static inline const uint8_t *mir__zone_written(const struct mir__zone_node *node)
{
    return node->name + node->len;
}

struct mir_dns_zone {
    struct mir_io_page *page; /* this structure's */
    struct mir__zone_mem mem;
    struct mir__zone_table table;
    struct mir__zone_key origin;
    struct mir__zone_node *apex, *last;
    struct mir_dns_zone_info info;
    uint32_t names_max;
    uint8_t labels_max; /* of the longest name */
    bool has_dname;
    uint32_t negative_ttl_s; /* RFC 2308 section 5 */
    /* the server's */
    void *negative;             /* answer without records, as struct mir__auth_ready */
    struct mir_dns_zone *above; /* a zone of the same server that this one is in; may be NULL */
};

/** The node of a folded name with its hash, or NULL. */
struct mir__zone_node *mir__zone_get(const struct mir_dns_zone *zone, const uint8_t *lower,
                                     uint32_t len, uint32_t hash);
/** The same or a new one, with all between it and the apex. The name is in the zone. NULL: no
 *  memory. */
struct mir__zone_node *mir__zone_make(struct mir_dns_zone *zone, const uint8_t *wire, uint32_t len);
struct mir__zone_set *mir__zone_set_of(const struct mir__zone_node *node, uint16_t type);
/** Is the name at or below the apex? */
bool mir__zone_holds(const struct mir_dns_zone *zone, const struct mir__zone_key *key);

/** What a name is in a zone. */
struct mir__zone_found {
    enum mir__zone_kind {
        MIR__ZONE_IS_NODE,     /**< @node has that name */
        MIR__ZONE_IS_WILDCARD, /**< @node is the wildcard it comes from */
        MIR__ZONE_IS_REFERRAL, /**< it is at or below the delegation @node */
        MIR__ZONE_IS_RENAMED,  /**< it is below @node, which has a DNAME */
        MIR__ZONE_IS_NOTHING,  /**< @node is the closest encloser */
    } kind;
    const struct mir__zone_node *node;
};

/** Find @key, which is in the zone. @type matters at delegations alone: DS is on the upper side.
 *  Cost: as many look-ups as the longest name of the zone has labels, not that of @key. Source:
 *  RFC 1034 section 4.3.2, RFC 4592 section 3.3.1, RFC 6672 section 3.2, RFC 4035 section 3.1.4.1
 */
void mir__zone_find(const struct mir_dns_zone *zone, const struct mir__zone_key *key, uint16_t type,
                    struct mir__zone_found *found);

/* ---- reading ------------------------------------------------------------------------------ */

#define MIR__ZONE_DEPTH_MAX  8u
#define MIR__ZONE_ERRORS_MAX 20u /* then the rest is not read */
/** Octets of a set in a message: it must fit with some aliases before it. */
#define MIR__ZONE_SET_MAX 60000u

struct mir__zone_token {
    enum {
        MIR__ZONE_WORD,
        MIR__ZONE_QUOTED,
        MIR__ZONE_END, /* of the entry */
        MIR__ZONE_BAD, /* reported */
    } kind;
    const char *text;
    uint32_t len;
};

struct mir__zone_source {
    const char *file;
    const char *text;
    size_t len, at;
    uint32_t line;
};

struct mir__zone_parser {
    struct mir_dns_zone *zone;
    const struct mir_dns_zone_config *config;
    struct mir_io_page *page; /* this structure's */
    struct mir__zone_source source[MIR__ZONE_DEPTH_MAX];
    struct mir_dns_name origin[MIR__ZONE_DEPTH_MAX];
    uint32_t depth;
    uint32_t parens;     /* open ones */
    uint32_t entry_line; /* where the entry began */
    bool at_end;         /* the end of the entry was taken */
    struct mir__zone_token token;
    struct mir_dns_name owner; /* len 0: none yet */
    uint32_t ttl_s, default_ttl_s;
    bool has_ttl, has_default_ttl;
    uint32_t errors, includes;
    int fatal; /* not the text's fault: no memory, limit */
    uint16_t type;
    uint32_t data_len;
    uint8_t data[65535];
};

/** Take the next token of the entry into parser->token. Returns its kind. */
int mir__zone_next(struct mir__zone_parser *parser);
/** Take the rest of an entry that was not understood. */
void mir__zone_skip(struct mir__zone_parser *parser);
/** Does the line begin with a blank, so that the owner is that of the entry before? Takes empty
 *  lines. *@is_end: the text is over. */
bool mir__zone_begin(struct mir__zone_parser *parser, bool *is_end);
/** Octets of the token, escapes taken out, into [size]. Returns the length; negative: reported. */
int mir__zone_octets(struct mir__zone_parser *parser, uint8_t *out, uint32_t size);

/** Report an error in the entry; "; " and advice are part of @fmt. Returns -MIR_EMALFORMED. */
int mir__zone_error(struct mir__zone_parser *parser, const char *fmt, ...) MIR_PRINTF(2, 3);
/** About a set of the finished zone. */
void mir__zone_tell(struct mir__zone_parser *parser, bool is_error, const struct mir__zone_set *set,
                    const char *fmt, ...) MIR_PRINTF(4, 5);

/* zone_parse.c: values of the present token; negative: reported */
int mir__zone_name(struct mir__zone_parser *parser, struct mir_dns_name *name) MIR_CHECK;
int mir__zone_time(struct mir__zone_parser *parser, uint32_t *seconds) MIR_CHECK;
int mir__zone_number(struct mir__zone_parser *parser, uint32_t max, uint32_t *value) MIR_CHECK;

/* ---- zone_data.c -------------------------------------------------------------------------- */

/** Read the data of a record of parser->type up to the end of the entry, into parser->data.
 *  Returns 0, -MIR_EMALFORMED (reported). */
int mir__zone_data(struct mir__zone_parser *parser) MIR_CHECK;
/** The type that a word names. Returns 0, -MIR_EINVAL. */
int mir__zone_type(const char *text, uint32_t len, uint16_t *type) MIR_CHECK;
/** Its name, into [MIR_DNS_TYPE_TEXT_MAX + 4] bytes. */
const char *mir__zone_type_text(uint16_t type, char out[MIR_DNS_TYPE_TEXT_MAX + 4]);

/** Parts of a type's data, a letter each (zone_data.c explains them); "" = octets. */
const char *mir__zone_form(uint16_t type);
/** A name in data: where it begins; it is written compressed if @may_compress. */
struct mir__zone_part {
    uint16_t at, len;
    bool is_name, may_compress;
};
/** The next part of data from part->at + part->len on; both 0 at first. Octets without names come
 *  together. Returns false at the end. The data has the form of its type. */
bool mir__zone_part(uint16_t type, const uint8_t *data, uint32_t len, const char **form,
                    struct mir__zone_part *part);
/** The name that additional records are looked for with (NS, MX, SRV, ...); false: none. */
bool mir__zone_target(uint16_t type, const struct mir__zone_record *record, const uint8_t **name,
                      uint32_t *len);

/* ---- zone.c ------------------------------------------------------------------------------- */

/** Add a record to the zone. Returns 0, -MIR_EMALFORMED (reported), -MIR_ENOMEM, -MIR_ELIMIT. */
int mir__zone_add(struct mir__zone_parser *parser) MIR_CHECK;
/** All records are there: what must be, what must not, delegations. */
void mir__zone_finish(struct mir__zone_parser *parser);

#endif
