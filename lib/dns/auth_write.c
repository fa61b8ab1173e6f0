/* SPDX-License-Identifier: ISC */
/* Records of an answer, with compressed names, and where its pointers are.
 *
 * The writer remembers the names it has written, and their ends: each is octets that stay where
 * they are (of a zone, or of a question) and a place in the message. A name that is written is
 * compared with these from its longest end on, letters folded: the case of a name in an answer may
 * be that of the question, which RFC 4343 allows and every server does. When a table is full, later
 * names are longer, not wrong.
 *
 * Pointers to the question's own name are written as such by the owner of a record and do not move;
 * all others are noted, see auth.h. Places beyond 16,383 less the longest name cannot be pointed to
 * after a move, so they are not remembered.
 *
 * Source: RFC 1035 section 4.1.4; RFC 3597 section 4 (which data is compressed).
 */
#include "lib/dns/auth.h"

enum { POINTER = 0xc000, PLACE_MAX = 0x3fff - 255, QUESTION_AT = 12 };

void mir__auth_write(struct mir__auth_writer *w, uint8_t *out, uint32_t size, uint32_t name_len)
{
    w->out = out;
    w->size = size;
    w->at = QUESTION_AT + name_len + 4;
    w->move_count = w->end_count = 0;
    mir_memset(w->count, 0, sizeof w->count);
}

static void remember(struct mir__auth_writer *w, const uint8_t *wire, uint32_t len, uint32_t at)
{
    if (w->end_count == MIR__AUTH_ENDS_MAX || at > PLACE_MAX)
        return;
    w->end[w->end_count].wire = wire;
    w->end[w->end_count].at = (uint16_t)at;
    w->end[w->end_count++].len = (uint8_t)len;
}

void mir__auth_write_question(struct mir__auth_writer *w, const uint8_t *wire, uint32_t len,
                              uint32_t skip)
{
    for (uint32_t at = 0; wire[at] != 0; at += 1u + wire[at]) {
        if (skip > 0)
            skip--;
        else
            remember(w, wire + at, len - at, QUESTION_AT + at);
    }
}

static bool same_name(const uint8_t *a, const uint8_t *b, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        uint8_t x = a[i], y = b[i];
        x = x >= 'A' && x <= 'Z' ? (uint8_t)(x | 0x20) : x;
        y = y >= 'A' && y <= 'Z' ? (uint8_t)(y | 0x20) : y;
        if (x != y)
            return false;
    }
    return true;
}

/* Where a name was written before; 0: nowhere. */
static uint32_t place_of(const struct mir__auth_writer *w, const uint8_t *wire, uint32_t len)
{
    for (uint32_t i = 0; i < w->end_count; i++) {
        if (w->end[i].len == len && same_name(w->end[i].wire, wire, len))
            return w->end[i].at;
    }
    return 0;
}

static bool put(struct mir__auth_writer *w, const void *bytes, uint32_t len)
{
    if (len > w->size - w->at)
        return false;
    mir_memcpy(w->out + w->at, bytes, len);
    w->at += len;
    return true;
}

static bool put_pointer(struct mir__auth_writer *w, uint32_t place, bool does_move)
{
    uint8_t bytes[2];
    if (does_move)
        w->moves[w->move_count++] = (uint16_t)w->at;
    mir_put_be16(bytes, (uint16_t)(POINTER | place));
    return put(w, bytes, 2);
}

static bool put_name(struct mir__auth_writer *w, const uint8_t *wire, uint32_t len,
                     bool may_compress)
{
    for (uint32_t at = 0; wire[at] != 0; at += 1u + wire[at]) {
        uint32_t place = 0;
        if (may_compress && w->move_count < MIR__AUTH_MOVES_MAX)
            place = place_of(w, wire + at, len - at);
        if (place != 0)
            return put_pointer(w, place, true);
        uint32_t here = w->at;
        if (!put(w, wire + at, 1u + wire[at]))
            return false;
        remember(w, wire + at, len - at, here);
    }
    return put(w, "", 1);
}

static bool put_owner(struct mir__auth_writer *w, struct mir__auth_owner owner)
{
    if (owner.wire == NULL)
        return put_pointer(w, QUESTION_AT, false);
    return put_name(w, owner.wire, owner.len, true);
}

static bool put_data(struct mir__auth_writer *w, uint16_t type,
                     const struct mir__zone_record *record)
{
    const char *form = NULL;
    struct mir__zone_part part = {0};
    uint32_t len_at = w->at;
    if (!put(w, "\0", 2))
        return false;
    while (mir__zone_part(type, record->data, record->len, &form, &part)) {
        const uint8_t *bytes = record->data + part.at;
        if (!(part.is_name ? put_name(w, bytes, part.len, part.may_compress)
                           : put(w, bytes, part.len)))
            return false;
    }
    mir_put_be16(w->out + len_at, (uint16_t)(w->at - len_at - 2));
    return true;
}

bool mir__auth_write_record(struct mir__auth_writer *w, uint32_t section,
                            struct mir__auth_owner owner, const struct mir__zone_set *set,
                            const struct mir__zone_record *record, uint32_t ttl_s)
{
    uint32_t at = w->at, moves = w->move_count, ends = w->end_count;
    uint8_t fixed[8];
    mir_put_be16(fixed, set->type);
    mir_put_be16(fixed + 2, MIR__DNS_IN);
    mir_put_be32(fixed + 4, ttl_s);
    if (!put_owner(w, owner) || !put(w, fixed, sizeof fixed) || !put_data(w, set->type, record)) {
        w->at = at;
        w->move_count = moves;
        w->end_count = ends;
        return false;
    }
    w->count[section]++;
    return true;
}

bool mir__auth_write_set(struct mir__auth_writer *w, uint32_t section, struct mir__auth_owner owner,
                         const struct mir__zone_set *set, uint32_t ttl_s)
{
    uint32_t at = w->at, moves = w->move_count, ends = w->end_count;
    uint16_t count = w->count[section];
    for (const struct mir__zone_record *r = set->first; r != NULL; r = r->next) {
        if (!mir__auth_write_record(w, section, owner, set, r, ttl_s)) {
            w->at = at;
            w->move_count = moves;
            w->end_count = ends;
            w->count[section] = count;
            return false;
        }
    }
    return true;
}
