/* SPDX-License-Identifier: ISC */
/* Bytes in fewer bytes: the LZ4 block format, as small as it gets.
 *
 *   sequence   token: literals in its upper half, length of the match less 4 in its lower
 *              15 in a half: bytes follow, added, up to one that is not 255
 *              literals
 *              distance of the match back from here, 2 bytes, little endian
 *
 * It was chosen for who reads it: some forty instructions without memory of their own, next to no
 * time in a machine that is emulated (target/virt/ARCH/unpack.S). The last sequence has literals
 * only; who reads knows where it ends. The rules by which the format's own ends are padded are for
 * readers that copy too much at once, and are left out.
 *
 * All matches cost the same but for their length, so for each place only the longest match is of
 * interest: any shorter one is its beginning. With them known the cheapest way from each place to
 * the end is found backwards. Matches are looked for among the last places whose four bytes have
 * the same hash, a bounded number of them, so time is linear.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/pack.h"

#define MATCH_MIN    4u
#define DISTANCE_MAX 65535u
#define HASH_BITS    16u
#define TRIES_MAX    256u
/* A match of this length is taken whole, without a thought of where it might end better. */
#define LENGTH_GOOD 512u
#define NONE        UINT32_MAX

struct place_of_match {
    uint32_t length, distance; /* length 0: none */
};

struct search {
    const unsigned char *bytes;
    size_t len;
    uint32_t head[1u << HASH_BITS];
    uint32_t *before; /* for each place the last one with the same hash */
    struct place_of_match *best;
};

static uint32_t hash(const unsigned char *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word * 2654435761u >> (32 - HASH_BITS);
}

static struct place_of_match longest(const struct search *s, size_t at)
{
    struct place_of_match best = {0};
    size_t rest = s->len - at;
    uint32_t other = s->head[hash(s->bytes + at)];
    for (unsigned i = 0; i < TRIES_MAX && other != NONE && at - other <= DISTANCE_MAX; i++) {
        size_t n = 0;
        while (n < rest && s->bytes[other + n] == s->bytes[at + n])
            n++;
        if (n >= MATCH_MIN && n > best.length)
            best =
                (struct place_of_match){.length = (uint32_t)n, .distance = (uint32_t)(at - other)};
        if (n >= LENGTH_GOOD)
            break;
        other = s->before[other];
    }
    return best;
}

static void find_all(struct search *s)
{
    memset(s->head, 0xff, sizeof(s->head));
    for (size_t at = 0; at + MATCH_MIN <= s->len; at++) {
        const struct place_of_match *last = at > 0 ? &s->best[at - 1] : NULL;
        /* Within a long match the same one is found again. */
        if (last != NULL && last->length > LENGTH_GOOD)
            s->best[at] = (struct place_of_match){last->length - 1, last->distance};
        else
            s->best[at] = longest(s, at);
        uint32_t h = hash(s->bytes + at);
        s->before[at] = s->head[h];
        s->head[h] = (uint32_t)at;
    }
}

/* Bytes behind a half of a token. */
static size_t more_size(size_t length)
{
    return length < 15 ? 0 : (length - 15) / 255 + 1;
}

/* From the end: the cheapest continuation of each place decides how much of its match is taken. */
static void choose(struct search *s)
{
    uint32_t *cost = need((s->len + 1) * sizeof(*cost));
    for (size_t at = s->len; at-- > 0;) {
        struct place_of_match *match = &s->best[at];
        uint32_t least = cost[at + 1] + 1, taken = 0;
        size_t from = match->length >= LENGTH_GOOD ? match->length : MATCH_MIN;
        for (size_t n = from; n <= match->length; n++) {
            uint32_t with = cost[at + n] + 3 + (uint32_t)more_size(n - MATCH_MIN);
            if (with <= least) {
                least = with;
                taken = (uint32_t)n;
            }
        }
        match->length = taken;
        cost[at] = least;
    }
    free(cost);
}

static void put_more(struct str *out, size_t length)
{
    static const unsigned char full = 255;
    if (length < 15)
        return;
    for (length -= 15; length >= 255; length -= 255)
        str_add(out, &full, 1);
    str_add(out, &(unsigned char){(unsigned char)length}, 1);
}

static void put_sequence(struct str *out, const unsigned char *literals, size_t count,
                         const struct place_of_match *match)
{
    size_t length = match != NULL ? match->length - MATCH_MIN : 0;
    unsigned token =
        (unsigned)(count < 15 ? count : 15) << 4 | (unsigned)(length < 15 ? length : 15);
    str_add(out, &(unsigned char){(unsigned char)token}, 1);
    put_more(out, count);
    str_add(out, literals, count);
    if (match == NULL)
        return;
    unsigned char distance[2] = {match->distance & 0xff, (unsigned char)(match->distance >> 8)};
    str_add(out, distance, sizeof(distance));
    put_more(out, length);
}

void pack_bytes(const unsigned char *bytes, size_t len, struct str *out)
{
    struct search *s = need(sizeof(*s));
    size_t at = 0, literals = 0;
    s->bytes = bytes;
    s->len = len;
    s->before = need((len + 1) * sizeof(*s->before));
    s->best = need((len + 1) * sizeof(*s->best));
    find_all(s);
    choose(s);
    while (at < len) {
        const struct place_of_match *match = &s->best[at];
        if (match->length == 0) {
            at++;
            continue;
        }
        put_sequence(out, bytes + literals, at - literals, match);
        at += match->length;
        literals = at;
    }
    put_sequence(out, bytes + literals, len - literals, NULL);
    free(s->before);
    free(s->best);
    free(s);
}

/* ---- the reverse ------------------------------------------------------------------------------
 */

struct reader {
    const unsigned char *at, *end;
    bool is_bad;
};

static unsigned take(struct reader *r)
{
    if (r->at < r->end)
        return *r->at++;
    r->is_bad = true;
    return 0;
}

static size_t take_more(struct reader *r, size_t length)
{
    unsigned byte = 255;
    if (length < 15)
        return length;
    while (byte == 255 && !r->is_bad)
        length += byte = take(r);
    return length;
}

bool pack_is(const struct str *packed, const unsigned char *bytes, size_t len)
{
    const unsigned char *data = (const unsigned char *)packed->data;
    struct reader r = {.at = data, .end = data + packed->len};
    size_t made = 0;
    while (!r.is_bad) {
        unsigned token = take(&r);
        size_t count = take_more(&r, token >> 4);
        if (r.is_bad || count > (size_t)(r.end - r.at) || count > len - made ||
            memcmp(bytes + made, r.at, count) != 0)
            return false;
        made += count;
        r.at += count;
        if (r.at == r.end)
            return made == len;
        unsigned low = take(&r);
        size_t distance = take(&r) << 8 | low;
        count = take_more(&r, token & 15) + MATCH_MIN;
        /* What was made is what should have been, so the one stands for the other. */
        if (distance == 0 || distance > made || count > len - made ||
            memcmp(bytes + made, bytes + made - distance, count) != 0)
            return false;
        made += count;
    }
    return false;
}
