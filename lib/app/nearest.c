/* SPDX-License-Identifier: ISC */
/* "Did you mean": the known word that needs the fewest changes.
 *
 * Distance is that of Levenshtein with neighbours swapped counted as one change, computed row by
 * row over words of at most 32 bytes. A word counts as near when at most a third of it, and at
 * least one letter, differs.
 */
#include "lib/app/options.h"

#define WORD_MAX 32u

static uint32_t min3(uint32_t a, uint32_t b, uint32_t c)
{
    return MIR_MIN(a, MIR_MIN(b, c));
}

/* Rows i-2, i-1 and i of the table; @a and @b are at most WORD_MAX long. */
static uint32_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    uint32_t rows[3][WORD_MAX + 1];
    uint32_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = (uint32_t)j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= b_len; j++) {
            uint32_t change = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = min3(last[j] + 1, row[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIR_MIN(row[j], before[j - 2] + 1);
        }
        uint32_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_len];
}

const char *mir__app_nearest(const char *word, size_t len, const char *const *names, size_t count)
{
    const char *best = NULL;
    uint32_t best_distance = (uint32_t)(len / 3 > 0 ? len / 3 : 1) + 1;
    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t name_len = mir_str_len(names[i]);
        if (name_len > WORD_MAX)
            continue;
        uint32_t d = distance(word, len, names[i], name_len);
        if (d < best_distance) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}
