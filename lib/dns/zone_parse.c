/* SPDX-License-Identifier: ISC */
/* Entries and directives of a master file.
 *
 *   [owner] [ttl] [class] type data        ttl and class in either order; owner left out: as before
 *   $ORIGIN name    $TTL time    $INCLUDE file [origin]
 *
 * A word is a TTL if it begins with a digit, a class if it is one, else it must be the type.
 * Without a TTL that of $TTL holds, without that the one of the entry before (RFC 1035); the first
 * entry needs one of the two. Names without a dot at their end are relative to the origin. After an
 * included file origin and owner are what they were.
 *
 * $GENERATE is refused: it is no part of the standard, and what it makes is better written out by
 * the program that makes the file.
 *
 * Source: RFC 1035 section 5.1; RFC 2308 section 4; RFC 2181 section 8 (TTLs end at 2^31 - 1).
 */
#include <mirari/format.h>

#include "lib/dns/zone.h"

#define TTL_MAX 0x7fffffffu

enum { INCLUDES_MAX = 1000 };

/* ---- values --------------------------------------------------------------------------------- */

static uint8_t fold(char c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static bool same_word(const char *text, size_t len, const char *word)
{
    size_t i = 0;
    while (i < len && word[i] != '\0' && fold(text[i]) == fold(word[i]))
        i++;
    return i == len && word[i] == '\0';
}

static bool is_word(const struct mir__zone_parser *parser, const char *word)
{
    return parser->token.kind == MIR__ZONE_WORD &&
           same_word(parser->token.text, parser->token.len, word);
}

/* A dot that no backslash takes its meaning from. */
static bool ends_in_dot(const char *text, uint32_t len)
{
    uint32_t slashes = 0;
    if (len == 0 || text[len - 1] != '.')
        return false;
    while (slashes < len - 1 && text[len - 2 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 0;
}

int mir__zone_name(struct mir__zone_parser *parser, struct mir_dns_name *name)
{
    const struct mir__zone_token *token = &parser->token;
    const struct mir_dns_name *origin = &parser->origin[parser->depth];
    int len = (int)MIR_MIN(token->len, 300u);
    if (token->len == 1 && token->text[0] == '@' && token->kind == MIR__ZONE_WORD) {
        *name = *origin;
        return 0;
    }
    int r = mir_dns_name_parse(token->text, token->len, name);
    bool is_absolute = ends_in_dot(token->text, token->len);
    if (r == 0 && !is_absolute && name->len - 1u + origin->len > MIR_DNS_NAME_MAX)
        r = -MIR_ETOOBIG;
    if (r == -MIR_ETOOBIG)
        return mir__zone_error(parser,
                               "the name %.*s is too long; a label has at most 63 octets, a "
                               "name 255",
                               len, token->text);
    if (r < 0)
        return mir__zone_error(parser,
                               "'%.*s' is no name; labels divided by single dots, odd "
                               "octets as \\DDD",
                               len, token->text);
    if (!is_absolute) {
        mir_memcpy(name->wire + name->len - 1, origin->wire, origin->len);
        name->len = (uint8_t)(name->len - 1 + origin->len);
    }
    return 0;
}

static uint32_t unit_of(char c)
{
    switch (fold(c)) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    case 'd':
        return 86400;
    case 'w':
        return 604800;
    default:
        return 0;
    }
}

/* Seconds, or numbers each with a unit. */
static bool parse_time(const char *text, uint32_t len, uint64_t *out)
{
    uint64_t sum = 0, number = 0;
    bool has_digit = false, has_unit = false;
    for (uint32_t i = 0; i < len; i++) {
        if (text[i] >= '0' && text[i] <= '9') {
            number = number * 10 + (uint64_t)(text[i] - '0');
            has_digit = true;
        } else if (has_digit && unit_of(text[i]) != 0) {
            sum += number * unit_of(text[i]);
            number = 0;
            has_digit = false;
            has_unit = true;
        } else {
            return false;
        }
        if (number > UINT32_MAX || sum > UINT32_MAX)
            return false;
    }
    *out = sum + number;
    return len > 0 && has_digit != has_unit;
}

int mir__zone_time(struct mir__zone_parser *parser, uint32_t *seconds)
{
    uint64_t value = 0;
    if (!parse_time(parser->token.text, parser->token.len, &value) || value > TTL_MAX)
        return mir__zone_error(parser, "'%.*s' is no time; seconds up to 2147483647, or as 1h30m",
                               (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
    *seconds = (uint32_t)value;
    return 0;
}

int mir__zone_number(struct mir__zone_parser *parser, uint32_t max, uint32_t *value)
{
    uint64_t number;
    if (mir_parse_u64(parser->token.text, parser->token.len, max, &number) < 0)
        return mir__zone_error(parser, "'%.*s' is no number from 0 to %u",
                               (int)MIR_MIN(parser->token.len, 300u), parser->token.text, max);
    *value = (uint32_t)number;
    return 0;
}

/* ---- directives ----------------------------------------------------------------------------- */

/* The next token must be a word. */
static int need(struct mir__zone_parser *parser, const char *what)
{
    int kind = mir__zone_next(parser);
    if (kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (kind == MIR__ZONE_END)
        return mir__zone_error(parser, "%s is missing; the entry ends here", what);
    return 0;
}

static int need_end(struct mir__zone_parser *parser)
{
    int kind = mir__zone_next(parser);
    if (kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (kind != MIR__ZONE_END)
        return mir__zone_error(parser,
                               "'%.*s' is more than the entry has; take it out, or put a "
                               "';' before a comment",
                               (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
    return 0;
}

static int set_origin(struct mir__zone_parser *parser)
{
    struct mir_dns_name name;
    int r = need(parser, "the name after $ORIGIN");
    if (r == 0)
        r = mir__zone_name(parser, &name);
    if (r == 0)
        r = need_end(parser);
    if (r == 0)
        parser->origin[parser->depth] = name;
    return r;
}

static int set_ttl(struct mir__zone_parser *parser)
{
    int r = need(parser, "the time after $TTL");
    if (r == 0)
        r = mir__zone_time(parser, &parser->default_ttl_s);
    if (r < 0)
        return r;
    parser->has_default_ttl = true;
    return need_end(parser);
}

/* Go on in the file that the token names; origin and owner are those of its end. */
static int include(struct mir__zone_parser *parser)
{
    char name[256];
    const char *text;
    size_t len;
    int r = need(parser, "the file after $INCLUDE");
    if (r < 0)
        return r;
    if (parser->config->include == NULL)
        return mir__zone_error(parser,
                               "$INCLUDE is not possible here; put the lines of the file in "
                               "its place");
    if (parser->depth + 1 == MIR__ZONE_DEPTH_MAX || ++parser->includes > INCLUDES_MAX)
        return mir__zone_error(
            parser, "more than %u files in each other, or %u in all; does one include itself?",
            MIR__ZONE_DEPTH_MAX, INCLUDES_MAX);
    int name_len = mir__zone_octets(parser, (uint8_t *)name, sizeof name - 1);
    if (name_len < 0)
        return name_len;
    name[name_len] = '\0';
    /* The name is kept for reports of sets found wrong at the end. */
    char *kept = mir__zone_alloc(&parser->zone->mem, (size_t)name_len + 1);
    if (kept == NULL)
        return -MIR_ENOMEM;
    mir_memcpy(kept, name, (size_t)name_len + 1);
    struct mir_dns_name origin = parser->origin[parser->depth];
    int kind = mir__zone_next(parser);
    if (kind == MIR__ZONE_WORD)
        r = mir__zone_name(parser, &origin);
    if (r == 0 && kind == MIR__ZONE_WORD)
        r = need_end(parser);
    if (r < 0 || kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (parser->config->include(parser->config->arg, kept, &text, &len) < 0)
        return mir__zone_error(parser,
                               "there is no file '%s' to include; names are those of the "
                               "store",
                               kept);
    parser->depth++;
    parser->source[parser->depth] =
        (struct mir__zone_source){.file = kept, .text = text, .len = len, .line = 1};
    parser->origin[parser->depth] = origin;
    return 0;
}

static int read_directive(struct mir__zone_parser *parser)
{
    if (is_word(parser, "$ORIGIN"))
        return set_origin(parser);
    if (is_word(parser, "$TTL"))
        return set_ttl(parser);
    if (is_word(parser, "$INCLUDE"))
        return include(parser);
    return mir__zone_error(parser, "%.*s is not known; there are $ORIGIN, $TTL and $INCLUDE",
                           (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
}

/* ---- records -------------------------------------------------------------------------------- */

static bool is_class(const struct mir__zone_parser *parser, bool *is_internet)
{
    *is_internet = is_word(parser, "IN") || is_word(parser, "CLASS1");
    return *is_internet || is_word(parser, "CH") || is_word(parser, "HS") ||
           is_word(parser, "CS") ||
           (parser->token.len > 5 && same_word(parser->token.text, 5, "CLASS"));
}

/* TTL and class, in either order, then the type. */
static int read_head(struct mir__zone_parser *parser)
{
    bool has_ttl = false, has_class = false, is_internet;
    for (;;) {
        const struct mir__zone_token *token = &parser->token;
        bool is_time =
            token->kind == MIR__ZONE_WORD && token->text[0] >= '0' && token->text[0] <= '9';
        if (!has_ttl && is_time) {
            int r = mir__zone_time(parser, &parser->ttl_s);
            if (r < 0)
                return r;
            has_ttl = true;
        } else if (!has_class && is_class(parser, &is_internet)) {
            if (!is_internet)
                return mir__zone_error(parser, "class %.*s; only IN is served",
                                       (int)MIR_MIN(token->len, 300u), token->text);
            has_class = true;
        } else {
            break;
        }
        int r = need(parser, "the type");
        if (r < 0)
            return r;
    }
    if (!has_ttl && parser->has_default_ttl)
        parser->ttl_s = parser->default_ttl_s;
    else if (!has_ttl && !parser->has_ttl)
        return mir__zone_error(parser, "no TTL; begin the file with one for all, as '$TTL 1h'");
    parser->has_ttl = true;
    return 0;
}

static int read_record(struct mir__zone_parser *parser)
{
    int r = read_head(parser);
    if (r < 0)
        return r;
    if (parser->token.kind != MIR__ZONE_WORD ||
        mir__zone_type(parser->token.text, parser->token.len, &parser->type) < 0)
        return mir__zone_error(parser,
                               "'%.*s' is no type; a name in the first column, then TTL and "
                               "class, then the type: others as TYPE65280",
                               (int)MIR_MIN(parser->token.len, 300u), parser->token.text);
    r = mir__zone_data(parser);
    return r < 0 ? r : mir__zone_add(parser);
}

static int read_entry(struct mir__zone_parser *parser, bool has_owner)
{
    int kind = mir__zone_next(parser), r = 0;
    if (kind == MIR__ZONE_BAD)
        return -MIR_EMALFORMED;
    if (kind == MIR__ZONE_END)
        return 0; /* nothing but parentheses */
    if (has_owner && parser->token.text[0] == '$' && kind == MIR__ZONE_WORD)
        return read_directive(parser);
    if (has_owner) {
        r = mir__zone_name(parser, &parser->owner);
        if (r == 0)
            r = need(parser, "the type");
    } else if (parser->owner.len == 0) {
        r = mir__zone_error(parser, "the first entry has no name; '@' is the zone itself");
    }
    return r < 0 ? r : read_record(parser);
}

static void read_all(struct mir__zone_parser *parser)
{
    struct mir_dns_name owner[MIR__ZONE_DEPTH_MAX];
    while (parser->fatal == 0 && parser->errors <= MIR__ZONE_ERRORS_MAX) {
        bool is_end, has_blank = mir__zone_begin(parser, &is_end);
        uint32_t depth = parser->depth;
        if (is_end && depth == 0)
            return;
        if (is_end) {
            parser->depth--;
            parser->owner = owner[parser->depth];
            continue;
        }
        parser->entry_line = parser->source[depth].line;
        int r = read_entry(parser, !has_blank);
        if (parser->depth > depth)
            owner[depth] = parser->owner;
        if (r == -MIR_EMALFORMED)
            mir__zone_skip(parser);
        else if (r < 0)
            parser->fatal = r;
    }
}

/* ---- open and close ------------------------------------------------------------------------- */

static int make_zone(const struct mir_dns_zone_config *config, struct mir_dns_zone **out)
{
    struct mir_io_page *page;
    struct mir_dns_name origin;
    if (mir_dns_name_parse(config->origin, mir_str_len(config->origin), &origin) < 0)
        return -MIR_EINVAL;
    if (mir_page_alloc(config->pages, sizeof(struct mir_dns_zone), MIR_PAGE_ZERO, &page) < 0)
        return -MIR_ENOMEM;
    struct mir_dns_zone *zone = (struct mir_dns_zone *)(void *)page->base;
    zone->page = page;
    zone->mem = (struct mir__zone_mem){.pages = config->pages, .max_bytes = config->bytes_max};
    zone->names_max = config->names_max != 0 ? config->names_max : 1000000;
    zone->info.origin = origin;
    mir__zone_key_of(origin.wire, origin.len, &zone->origin);
    if (mir__zone_table_init(&zone->table, config->pages, MIR__ZONE_SEGMENT) < 0) {
        mir_page_release(page);
        return -MIR_ENOMEM;
    }
    *out = zone;
    return 0;
}

static int read_zone(struct mir_dns_zone *zone, const struct mir_dns_zone_config *config)
{
    struct mir_io_page *page;
    if (mir_page_alloc(config->pages, sizeof(struct mir__zone_parser), MIR_PAGE_OVERWRITE, &page) <
        0)
        return -MIR_ENOMEM;
    struct mir__zone_parser *parser = (struct mir__zone_parser *)(void *)page->base;
    mir_memset(parser, 0, offsetof(struct mir__zone_parser, data));
    parser->zone = zone;
    parser->config = config;
    parser->source[0] = (struct mir__zone_source){
        .file = config->file, .text = config->text, .len = config->len, .line = 1};
    parser->origin[0] = zone->info.origin;
    read_all(parser);
    if (parser->fatal == 0 && parser->errors == 0)
        mir__zone_finish(parser);
    int r = parser->fatal != 0 ? parser->fatal : parser->errors > 0 ? -MIR_EMALFORMED : 0;
    if (r == -MIR_ENOMEM && zone->mem.is_over)
        r = -MIR_ELIMIT;
    mir_page_release(page);
    return r;
}

int mir_dns_zone_open(const struct mir_dns_zone_config *config, struct mir_dns_zone **zone)
{
    struct mir_dns_zone *made;
    _Static_assert(sizeof(struct mir__zone_parser) <= MIR__ZONE_CHUNK_MAX, "one run");
    int r = make_zone(config, &made);
    if (r < 0)
        return r;
    r = read_zone(made, config);
    if (r < 0) {
        mir_dns_zone_close(made);
        return r;
    }
    *zone = made;
    return 0;
}

void mir_dns_zone_close(struct mir_dns_zone *zone)
{
    if (zone == NULL)
        return;
    mir__zone_table_fini(&zone->table);
    mir__zone_mem_release(&zone->mem);
    mir_page_release(zone->page);
}

void mir_dns_zone_get_info(const struct mir_dns_zone *zone, struct mir_dns_zone_info *info)
{
    *info = zone->info;
    info->bytes = zone->mem.used_bytes + (uint64_t)(zone->table.mask + 1) * sizeof(void *) +
                  zone->page->size_bytes;
}
