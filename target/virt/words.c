/* SPDX-License-Identifier: ISC */
/* The command line of a machine is one text; a program has words.
 *
 *   --name value --greeting "Good day" --path C:\\x
 *
 * Words end at blanks. Between double quotes blanks are kept; a backslash takes the next byte as it
 * is, inside quotes and outside. Quotes may begin inside a word, and "" is an empty word.
 */
#include "target/virt/internal.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

int mir__words_split(char *line, const char **words, int max)
{
    char *from = line, *to = line;
    int count = 0;
    for (;;) {
        bool is_quoted = false;
        while (is_blank(*from))
            from++;
        if (*from == '\0')
            return count;
        if (count == max)
            return -MIR_EINVAL;
        words[count++] = to;
        while (*from != '\0' && (is_quoted || !is_blank(*from))) {
            if (*from == '"') {
                is_quoted = !is_quoted;
                from++;
                continue;
            }
            if (*from == '\\' && from[1] != '\0')
                from++;
            *to++ = *from++;
        }
        if (is_quoted)
            return -MIR_EINVAL;
        /* What is written never overtakes what is read: a word ends behind its last byte. */
        if (*from != '\0')
            from++;
        *to++ = '\0';
    }
}
