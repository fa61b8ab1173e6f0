/* SPDX-License-Identifier: ISC */
/* Words of a script.
 *
 * One token of look-ahead, made on demand. White space and comments, C's and C++'s, are skipped. A
 * number keeps its text: whoever wants it knows whether seconds or a count is meant. An error jumps
 * out to pd_script_parse(); what was allocated belongs to the script and is freed with it.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/packetdrill/script.h"

struct pd_block {
    struct pd_block *next;
    _Alignas(16) char data[];
};

void *pd_alloc(struct pd_lexer *lex, size_t size)
{
    struct pd_block *block = calloc(1, sizeof *block + size);
    if (block == NULL)
        pd_fail(lex, "no memory");
    block->next = lex->script->blocks;
    lex->script->blocks = block;
    return block->data;
}

void pd_script_free(struct pd_script *script)
{
    while (script->blocks != NULL) {
        struct pd_block *block = script->blocks;
        script->blocks = block->next;
        free(block);
    }
    script->first = NULL;
}

_Noreturn void pd_fail(struct pd_lexer *lex, const char *fmt, ...)
{
    struct pd_script *script = lex->script;
    int n = snprintf(script->error, sizeof script->error, "%s:%d: ", script->path, lex->token_line);
    va_list args;
    va_start(args, fmt);
    if (n > 0 && (size_t)n < sizeof script->error)
        vsnprintf(script->error + n, sizeof script->error - (size_t)n, fmt, args);
    va_end(args);
    longjmp(lex->failed, 1);
}

static void skip_until(struct pd_lexer *lex, const char *end, const char *what)
{
    const char *found = strstr(lex->at, end);
    if (found == NULL) {
        lex->token_line = lex->line;
        pd_fail(lex, "%s is not closed", what);
    }
    for (; lex->at < found; lex->at++)
        lex->line += *lex->at == '\n';
    lex->at += strlen(end);
}

static void skip_blanks(struct pd_lexer *lex)
{
    for (;;) {
        if (isspace((unsigned char)*lex->at)) {
            lex->line += *lex->at == '\n';
            lex->at++;
        } else if (strncmp(lex->at, "//", 2) == 0) {
            while (*lex->at != '\0' && *lex->at != '\n')
                lex->at++;
        } else if (strncmp(lex->at, "/*", 2) == 0) {
            lex->at += 2;
            skip_until(lex, "*/", "a comment");
        } else {
            return;
        }
    }
}

static void quoted(struct pd_lexer *lex, enum pd_token token, const char *open, const char *close)
{
    lex->token = token;
    lex->at += strlen(open);
    lex->start = lex->at;
    skip_until(lex, close, "a quotation");
    lex->len = (size_t)(lex->at - lex->start) - strlen(close);
}

static bool is_word_char(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static void lex_word(struct pd_lexer *lex, enum pd_token token)
{
    lex->token = token;
    lex->start = lex->at;
    while (is_word_char(*lex->at))
        lex->at++;
    lex->len = (size_t)(lex->at - lex->start);
}

/* Digits, then perhaps a fraction: "1", ".5", "0.25", "0x1f"; "1...2" is 1 and an ellipsis. */
static void lex_number(struct pd_lexer *lex)
{
    lex->token = PD_T_NUMBER;
    lex->start = lex->at;
    lex->is_fraction = false;
    if (lex->at[0] == '0' && (lex->at[1] == 'x' || lex->at[1] == 'X')) {
        lex_word(lex, PD_T_NUMBER);
        return;
    }
    while (isdigit((unsigned char)*lex->at))
        lex->at++;
    if (*lex->at == '.' && isdigit((unsigned char)lex->at[1])) {
        lex->is_fraction = true;
        lex->at++;
        while (isdigit((unsigned char)*lex->at))
            lex->at++;
    }
    /* A word that begins with digits, such as a cookie: "1a2b". */
    if (!lex->is_fraction && is_word_char(*lex->at)) {
        while (is_word_char(*lex->at))
            lex->at++;
        lex->token = PD_T_WORD;
    }
    lex->len = (size_t)(lex->at - lex->start);
}

void pd_lex(struct pd_lexer *lex)
{
    skip_blanks(lex);
    char c = *lex->at;
    lex->token_line = lex->line;
    lex->start = lex->at;
    lex->len = 1;
    if (c == '\0') {
        lex->token = PD_T_END;
        lex->len = 0;
    } else if (isalpha((unsigned char)c) || c == '_') {
        lex_word(lex, PD_T_WORD);
    } else if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)lex->at[1]))) {
        lex_number(lex);
    } else if (c == '"') {
        quoted(lex, PD_T_STRING, "\"", "\"");
    } else if (c == '`') {
        quoted(lex, PD_T_SHELL, "`", "`");
    } else if (strncmp(lex->at, "%{", 2) == 0) {
        quoted(lex, PD_T_CODE, "%{", "}%");
    } else if (strncmp(lex->at, "...", 3) == 0) {
        lex->token = PD_T_ELLIPSIS;
        lex->at += 3;
        lex->len = 3;
    } else if (strncmp(lex->at, "--", 2) == 0 && isalpha((unsigned char)lex->at[2])) {
        lex->at += 2;
        lex_word(lex, PD_T_OPTION);
    } else {
        lex->token = PD_T_CHAR;
        lex->at++;
    }
}

bool pd_is(const struct pd_lexer *lex, char c)
{
    return lex->token == PD_T_CHAR && *lex->start == c;
}

bool pd_is_word(const struct pd_lexer *lex, const char *word)
{
    return lex->token == PD_T_WORD && lex->len == strlen(word) &&
           memcmp(lex->start, word, lex->len) == 0;
}

bool pd_take(struct pd_lexer *lex, char c)
{
    bool is_it = pd_is(lex, c);
    if (is_it)
        pd_lex(lex);
    return is_it;
}

bool pd_take_word(struct pd_lexer *lex, const char *word)
{
    bool is_it = pd_is_word(lex, word);
    if (is_it)
        pd_lex(lex);
    return is_it;
}

void pd_expect(struct pd_lexer *lex, char c)
{
    if (pd_take(lex, c))
        return;
    if (lex->token == PD_T_END)
        pd_fail(lex, "'%c' is missing at the end", c);
    pd_fail(lex, "'%c' is missing before '%.*s'", c, (int)(lex->len < 40 ? lex->len : 40),
            lex->start);
}

const char *pd_text(struct pd_lexer *lex)
{
    char *text = pd_alloc(lex, lex->len + 1);
    memcpy(text, lex->start, lex->len);
    return text;
}

uint32_t pd_number(struct pd_lexer *lex, uint32_t most)
{
    if (lex->token != PD_T_NUMBER || lex->is_fraction || lex->len > 18)
        pd_fail(lex, "a number is missing before '%.*s'", (int)(lex->len < 40 ? lex->len : 40),
                lex->start);
    unsigned long long value = strtoull(lex->start, NULL, 0);
    if (lex->start[0] == '0' && lex->len > 1 && isdigit((unsigned char)lex->start[1]))
        value = strtoull(lex->start, NULL, 10);
    if (value > most)
        pd_fail(lex, "%llu is too large, the most is %u", value, most);
    pd_lex(lex);
    return (uint32_t)value;
}

int64_t pd_seconds(struct pd_lexer *lex)
{
    char text[24];
    if (lex->token != PD_T_NUMBER || lex->len >= sizeof text)
        pd_fail(lex, "a time is missing before '%.*s'", (int)(lex->len < 40 ? lex->len : 40),
                lex->start);
    memcpy(text, lex->start, lex->len);
    text[lex->len] = '\0';
    double seconds = strtod(text, NULL);
    if (seconds > 1e6)
        pd_fail(lex, "%s seconds are too many", text);
    pd_lex(lex);
    return (int64_t)(seconds * 1e6 + 0.5);
}
