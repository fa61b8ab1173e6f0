/* SPDX-License-Identifier: ISC */
/* What a request wants of a representation: encodings, entity tags, ranges. Values only.
 *
 * All three fields are lists from the outside: each function goes through its list once, allocates
 * nothing and treats what it cannot read as RFC 9110 says, which is nearly always "as if the field
 * were not there".
 */
#include "lib/http/parse.h"

#include <mirari/err.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The next element of a comma-separated list, trimmed; false at the end. Empty ones are skipped. */
static bool next_element(const char *list, uint32_t len, uint32_t *at, uint32_t *from, uint32_t *to)
{
    for (;;) {
        while (*at < len && (is_space(list[*at]) || list[*at] == ','))
            (*at)++;
        if (*at == len)
            return false;
        *from = *at;
        while (*at < len && list[*at] != ',')
            (*at)++;
        *to = *at;
        while (*to > *from && is_space(list[*to - 1]))
            (*to)--;
        return true;
    }
}

/* ---- Accept-Encoding --------------------------------------------------------------------------
 */

/* "0", "0.5", "1.000" in thousandths; anything else counts as 0 (RFC 9110 section 12.4.2). */
static uint32_t parse_quality(const char *text, uint32_t len)
{
    uint32_t value = 0, scale = 1000;
    if (len == 0 || len > 5 || (text[0] != '0' && text[0] != '1') || (len > 1 && text[1] != '.'))
        return 0;
    value = (uint32_t)(text[0] - '0') * 1000;
    for (uint32_t i = 2; i < len; i++) {
        uint32_t digit = (uint32_t)(uint8_t)text[i] - '0';
        if (digit > 9)
            return 0;
        scale /= 10;
        value += digit * scale;
    }
    return value <= 1000 ? value : 0;
}

/* "gzip;q=0.5": length of the coding's name, and its quality. */
static uint32_t split_coding(const char *text, uint32_t len, uint32_t *quality)
{
    uint32_t name = 0;
    while (name < len && text[name] != ';' && !is_space(text[name]))
        name++;
    uint32_t at = name;
    *quality = 1000;
    while (at < len && (is_space(text[at]) || text[at] == ';'))
        at++;
    if (at + 2 <= len && (text[at] | 0x20) == 'q' && text[at + 1] == '=')
        *quality = parse_quality(text + at + 2, len - at - 2);
    else if (at < len)
        *quality = 0;
    return name;
}

enum mir_kv_encoding mir__http_choose_encoding(const char *value, uint32_t len, unsigned available)
{
    static const char *const names[MIR_KV_ENCODINGS] = {"identity", "gzip", "br"};
    enum { UNSEEN = UINT16_MAX };
    uint32_t quality[MIR_KV_ENCODINGS] = {UNSEEN, UNSEEN, UNSEEN};
    uint32_t rest = 0, at = 0, from, to;
    while (next_element(value, len, &at, &from, &to)) {
        uint32_t q;
        uint32_t name_len = split_coding(value + from, to - from, &q);
        if (name_len == 1 && value[from] == '*')
            rest = q;
        for (uint32_t i = 0; i < MIR_KV_ENCODINGS; i++) {
            if (mir__http_equal_nocase(value + from, name_len, names[i]))
                quality[i] = q;
        }
        if (mir__http_equal_nocase(value + from, name_len, "x-gzip"))
            quality[MIR_KV_GZIP] = q;
    }
    /* Identity that is not named is acceptable, but less than anything that is (12.5.3). */
    enum mir_kv_encoding best = MIR_KV_IDENTITY;
    uint32_t best_quality = quality[MIR_KV_IDENTITY] == UNSEEN ? 0 : quality[MIR_KV_IDENTITY];
    for (uint32_t i = MIR_KV_GZIP; i < MIR_KV_ENCODINGS; i++) {
        uint32_t q = quality[i] == UNSEEN ? rest : quality[i];
        /* At equal quality the later, smaller one. */
        if ((available & 1u << i) && q > 0 && q >= best_quality) {
            best = (enum mir_kv_encoding)i;
            best_quality = q;
        }
    }
    return best;
}

/* ---- entity tags ------------------------------------------------------------------------------
 */

bool mir__http_etag_in_list(const char *list, uint32_t len, const char *etag, bool is_weak_ok)
{
    size_t etag_len = etag != NULL ? mir_str_len(etag) : 0;
    uint32_t at = 0;
    if (len == 1 && list[0] == '*')
        return true;
    while (at < len) {
        bool is_weak = false;
        while (at < len && (is_space(list[at]) || list[at] == ','))
            at++;
        if (len - at >= 2 && list[at] == 'W' && list[at + 1] == '/') {
            is_weak = true;
            at += 2;
        }
        /* A tag may hold commas: it ends at its closing quote. */
        if (at == len || list[at] != '"')
            return false;
        uint32_t from = at++;
        while (at < len && list[at] != '"')
            at++;
        if (at == len)
            return false;
        at++;
        if (etag_len == at - from && mir_memcmp(list + from, etag, etag_len) == 0 &&
            (is_weak_ok || !is_weak))
            return true;
    }
    return false;
}

/* ---- ranges -----------------------------------------------------------------------------------
 */

/* Digits at *at; a number that is too large is the largest one. False without digits. */
static bool take_number(const char *text, uint32_t to, uint32_t *at, uint64_t *value)
{
    uint32_t from = *at;
    *value = 0;
    for (; *at < to && text[*at] >= '0' && text[*at] <= '9'; (*at)++) {
        if (*value < UINT64_MAX / 16)
            *value = *value * 10 + (uint64_t)(text[*at] - '0');
    }
    return *at > from;
}

/* "0-499", "500-", "-500". False: malformed. A range behind the end has length 0. */
static bool take_range(const char *text, uint32_t from, uint32_t to, uint32_t size,
                       struct mir__http_range *range)
{
    uint64_t first, last;
    uint32_t at = from;
    bool has_first = take_number(text, to, &at, &first);
    if (at == to || text[at] != '-')
        return false;
    at++;
    bool has_last = take_number(text, to, &at, &last);
    if (at != to || (!has_first && !has_last) || (has_first && has_last && last < first))
        return false;
    if (!has_first) {
        first = last < size ? size - last : 0;
        *range = (struct mir__http_range){(uint32_t)first, size - (uint32_t)first};
        return true;
    }
    if (!has_last || last >= size)
        last = (uint64_t)size - 1;
    if (first >= size)
        *range = (struct mir__http_range){0, 0};
    else
        *range = (struct mir__http_range){(uint32_t)first, (uint32_t)(last - first + 1)};
    return true;
}

enum mir__http_range_result mir__http_parse_ranges(const char *value, uint32_t len, uint32_t size,
                                                   struct mir__http_range *ranges, uint32_t *count)
{
    uint32_t at = 6, from, to, seen = 0;
    uint64_t total = 0;
    *count = 0;
    if (len < 7 || !mir__http_equal_nocase(value, 6, "bytes="))
        return MIR__HTTP_RANGE_IGNORE;
    while (next_element(value, len, &at, &from, &to)) {
        struct mir__http_range range;
        if (++seen > MIR__HTTP_RANGES_MAX || !take_range(value, from, to, size, &range))
            return MIR__HTTP_RANGE_IGNORE;
        if (range.len == 0)
            continue;
        ranges[(*count)++] = range;
        total += range.len;
    }
    if (seen == 0)
        return MIR__HTTP_RANGE_IGNORE;
    if (*count == 0)
        return MIR__HTTP_RANGE_UNSATISFIABLE;
    return *count > 1 && total > size ? MIR__HTTP_RANGE_IGNORE : MIR__HTTP_RANGE_OK;
}
