/* SPDX-License-Identifier: ISC */
/* A master file as tokens.
 *
 *   name  3600 IN SOA ns admin ( 1    ; a comment
 *                                2h "quoted \" string" \@ )
 *
 * Blanks divide tokens, ";" begins a comment, parentheses make ends of lines blanks, quotes make
 * everything but themselves part of one token. An escape, "\X" or "\DDD", stands for itself until
 * the token is used: only its user knows whether "\." is a dot or a letter. Carriage returns are
 * blanks, so that files of all systems read the same. A NUL is an error, as in most servers.
 *
 * A token is a piece of the text and is not copied. An entry ends where a line does outside of
 * parentheses; what follows an error is skipped to there, so that one mistake is one report.
 *
 * Source: RFC 1035 section 5.1.
 */
#include <mirari/format.h>

#include "lib/dns/zone.h"

static struct mir__zone_source *source_of(struct mir__zone_parser *parser)
{
    return &parser->source[parser->depth];
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* ---- reports -------------------------------------------------------------------------------- */

static void report(struct mir__zone_parser *parser, bool is_error, const char *file, uint32_t line,
                   const char *text)
{
    char out[768];
    if (is_error)
        parser->errors++;
    else
        parser->zone->info.warnings++;
    if (parser->config->report == NULL || parser->errors > MIR__ZONE_ERRORS_MAX)
        return;
    mir_format(out, sizeof out, "%s:%u: %s%s", file, line, is_error ? "" : "warning: ", text);
    parser->config->report(parser->config->arg, is_error, out);
}

int mir__zone_error(struct mir__zone_parser *parser, const char *fmt, ...)
{
    char text[640];
    va_list args;
    va_start(args, fmt);
    mir_vformat(text, sizeof text, fmt, args);
    va_end(args);
    report(parser, true, source_of(parser)->file, source_of(parser)->line, text);
    return -MIR_EMALFORMED;
}

void mir__zone_tell(struct mir__zone_parser *parser, bool is_error, const struct mir__zone_set *set,
                    const char *fmt, ...)
{
    char text[640];
    va_list args;
    va_start(args, fmt);
    mir_vformat(text, sizeof text, fmt, args);
    va_end(args);
    report(parser, is_error, set->file, set->line, text);
}

/* ---- tokens --------------------------------------------------------------------------------- */

static void skip_comment(struct mir__zone_source *s)
{
    while (s->at < s->len && s->text[s->at] != '\n')
        s->at++;
}

/* To the next token or end of the entry. False: reported. */
static bool skip_space(struct mir__zone_parser *parser)
{
    struct mir__zone_source *s = source_of(parser);
    for (; s->at < s->len; s->at++) {
        char c = s->text[s->at];
        if (c == ';') {
            skip_comment(s);
            s->at--;
        } else if (c == '(') {
            parser->parens++;
        } else if (c == ')' && parser->parens == 0) {
            s->at++;
            mir__zone_error(parser, "')' without a '('; take it out");
            return false;
        } else if (c == ')') {
            parser->parens--;
        } else if (c == '\n' && parser->parens > 0) {
            s->line++;
        } else if (!is_blank(c)) {
            return true;
        }
    }
    if (parser->parens > 0) {
        parser->parens = 0;
        mir__zone_error(parser, "the file ends inside '('; the entry began in line %u",
                        parser->entry_line);
        return false;
    }
    return true;
}

static bool ends_word(char c)
{
    return is_blank(c) || c == '\n' || c == ';' || c == '(' || c == ')' || c == '"';
}

static int take_word(struct mir__zone_parser *parser)
{
    struct mir__zone_source *s = source_of(parser);
    size_t from = s->at;
    while (s->at < s->len && !ends_word(s->text[s->at])) {
        if (s->text[s->at] == '\0') {
            mir__zone_error(parser, "a NUL octet in the text; write it as \\000");
            return MIR__ZONE_BAD;
        }
        bool is_escape = s->text[s->at] == '\\';
        if (is_escape && (s->at + 1 == s->len || s->text[s->at + 1] == '\n')) {
            mir__zone_error(parser, "'\\' at the end of the line; write what it stands for");
            return MIR__ZONE_BAD;
        }
        s->at += is_escape ? 2 : 1;
    }
    parser->token.text = s->text + from;
    parser->token.len = (uint32_t)(s->at - from);
    return MIR__ZONE_WORD;
}

static int take_quoted(struct mir__zone_parser *parser)
{
    struct mir__zone_source *s = source_of(parser);
    size_t from = ++s->at;
    while (s->at < s->len && s->text[s->at] != '"' && s->text[s->at] != '\n')
        s->at += s->text[s->at] == '\\' && s->at + 1 < s->len && s->text[s->at + 1] != '\n' ? 2 : 1;
    if (s->at >= s->len || s->text[s->at] == '\n') {
        mir__zone_error(parser, "'\"' without its end in this line; close the string, and use "
                                "several for a long text");
        return MIR__ZONE_BAD;
    }
    parser->token.text = s->text + from;
    parser->token.len = (uint32_t)(s->at - from);
    s->at++;
    return MIR__ZONE_QUOTED;
}

int mir__zone_next(struct mir__zone_parser *parser)
{
    struct mir__zone_source *s = source_of(parser);
    if (!skip_space(parser)) {
        parser->token.kind = MIR__ZONE_BAD;
    } else if (s->at >= s->len || s->text[s->at] == '\n') {
        parser->token.kind = MIR__ZONE_END; /* the line's end is taken by who begins the next */
        parser->token.len = 0;
    } else {
        parser->token.kind = s->text[s->at] == '"' ? take_quoted(parser) : take_word(parser);
    }
    return (int)parser->token.kind;
}

void mir__zone_skip(struct mir__zone_parser *parser)
{
    struct mir__zone_source *s = source_of(parser);
    bool is_quoted = false;
    for (; s->at < s->len; s->at++) {
        char c = s->text[s->at];
        if (c == '\n' && parser->parens == 0)
            break;
        if (c == '\n') {
            s->line++;
            is_quoted = false;
        } else if (c == '"') {
            is_quoted = !is_quoted;
        } else if (c == '\\' && s->at + 1 < s->len && s->text[s->at + 1] != '\n') {
            s->at++;
        } else if (!is_quoted && c == ';') {
            skip_comment(s);
            s->at--;
        } else if (!is_quoted && c == '(') {
            parser->parens++;
        } else if (!is_quoted && c == ')' && parser->parens > 0) {
            parser->parens--;
        }
    }
    parser->parens = 0;
}

bool mir__zone_begin(struct mir__zone_parser *parser, bool *is_end)
{
    struct mir__zone_source *s = source_of(parser);
    *is_end = false;
    while (s->at < s->len) {
        bool has_blank = is_blank(s->text[s->at]);
        while (s->at < s->len && is_blank(s->text[s->at]))
            s->at++;
        if (s->at < s->len && s->text[s->at] == ';')
            skip_comment(s);
        if (s->at < s->len && s->text[s->at] != '\n')
            return has_blank;
        if (s->at < s->len) {
            s->at++;
            s->line++;
        }
    }
    *is_end = true;
    return false;
}

/* ---- octets --------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int mir__zone_octets(struct mir__zone_parser *parser, uint8_t *out, uint32_t size)
{
    const char *text = parser->token.text;
    uint32_t len = parser->token.len, n = 0;
    for (uint32_t i = 0; i < len; i++) {
        uint32_t value = (uint8_t)text[i];
        if (text[i] == '\\' && i + 1 < len && is_digit(text[i + 1])) {
            if (len - i < 4 || !is_digit(text[i + 2]) || !is_digit(text[i + 3]))
                return mir__zone_error(parser, "\\ and a digit begin \\DDD, three decimal digits");
            value = (uint32_t)(text[i + 1] - '0') * 100 + (uint32_t)(text[i + 2] - '0') * 10 +
                    (uint32_t)(text[i + 3] - '0');
            if (value > 255)
                return mir__zone_error(parser, "\\%u is no octet; they end at \\255", value);
            i += 3;
        } else if (text[i] == '\\' && i + 1 < len) {
            value = (uint8_t)text[++i];
        }
        if (n == size)
            return mir__zone_error(parser, "a string of more than %u octets; divide it", size);
        out[n++] = (uint8_t)value;
    }
    return (int)n;
}
