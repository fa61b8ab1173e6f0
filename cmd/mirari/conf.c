/* SPDX-License-Identifier: ISC */
/* Reads UCL, the configuration language of FreeBSD's tools, into a tree of nodes with line numbers.
 *
 * Taken: `key value`, `key = value`, `key: value`, sections `key { }` and `key name { }`, arrays
 * `[a, b]`, JSON, comments (`#` and nested C comments), "double quotes" with JSON escapes, 'single
 * quotes',
 * <<HERE documents, and newline, `;` or `,` between values. Not taken: macros (.include and
 * so on), which get an error that says so. A key that comes twice makes two nodes; who reads the
 * tree decides whether that is a list or a mistake.
 *
 * After a mistake the rest of the line is skipped and reading goes on, so that all mistakes are
 * shown at once. Size, depth and number of nodes are limited; every byte is looked at a constant
 * number of times.
 *
 * Files of the old Mirari (`key: value` lines, where a value may hold commas and blanks) are
 * recognised by their keys and read line by line into the same tree.
 *
 * What it does not do: give numbers or booleans; scalars stay text until somebody who knows the
 * expected type checks them (check.c).
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/tool.h"

#define DIAG_ITEMS_MAX 100

struct parser {
    const char *at, *end;
    int line;
    unsigned depth, nodes;
    bool gave_up;
    struct diag *diag;
};

static void add_item(struct diag *diag, int line, bool is_error, const char *fmt, va_list args)
{
    if (is_error)
        diag->errors++;
    else
        diag->warnings++;
    if (diag->count == DIAG_ITEMS_MAX) {
        diag->dropped++;
        return;
    }
    if (diag->item == NULL)
        diag->item = need(DIAG_ITEMS_MAX * sizeof(diag->item[0]));
    char *raw = NULL;
    if (vasprintf(&raw, fmt, args) < 0)
        return;
    struct str text = {0};
    str_add(&text, "", 0);
    str_visible(&text, raw);
    free(raw);
    diag->item[diag->count++] =
        (struct diag_item){.line = line, .is_error = is_error, .text = text.data};
}

void diag_error(struct diag *diag, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_item(diag, line, true, fmt, args);
    va_end(args);
}

void diag_warn(struct diag *diag, int line, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_item(diag, line, false, fmt, args);
    va_end(args);
}

void diag_show(struct diag *diag, FILE *out, bool with_warnings)
{
    struct str file = {0};
    str_add(&file, "", 0);
    str_visible(&file, diag->file);
    /* Insertion sort: few items, and those of one line keep their order. */
    for (size_t i = 1; i < diag->count; i++) {
        struct diag_item item = diag->item[i];
        size_t at = i;
        for (; at > 0 && diag->item[at - 1].line > item.line; at--)
            diag->item[at] = diag->item[at - 1];
        diag->item[at] = item;
    }
    for (size_t i = 0; i < diag->count; i++) {
        const struct diag_item *item = &diag->item[i];
        if (!item->is_error && !with_warnings)
            continue;
        if (item->line > 0)
            fprintf(out, "%s:%d: ", file.data, item->line);
        else
            fprintf(out, "%s: ", file.data);
        fprintf(out, "%s%s\n", item->is_error ? "" : "warning: ", item->text);
    }
    if (diag->dropped > 0)
        fprintf(out, "%s: %zu more messages\n", file.data, diag->dropped);
    str_free(&file);
}

void diag_free(struct diag *diag)
{
    for (size_t i = 0; i < diag->count; i++)
        free(diag->item[i].text);
    free(diag->item);
    diag->item = NULL;
    diag->count = 0;
}

/* ---- tree ---------------------------------------------------------------------------------- */

static struct conf_node *add_node(struct parser *p, struct conf_node *parent, enum conf_kind kind,
                                  char *key, int line)
{
    struct conf_node *node = need(sizeof(*node));
    node->kind = kind;
    node->key = key;
    node->line = line;
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->child = node;
    parent->last = node;
    if (++p->nodes == CONF_NODES_MAX) {
        diag_error(p->diag, p->line, "more than %d values; make the file smaller", CONF_NODES_MAX);
        p->gave_up = true;
    }
    return node;
}

/* Depth is limited by the parser, so this recursion is too. */
void conf_free(struct conf_node *node)
{
    while (node != NULL) {
        struct conf_node *next = node->next;
        conf_free(node->child);
        free(node->key);
        free(node->text);
        free(node);
        node = next;
    }
}

/* ---- characters ----------------------------------------------------------------------------- */

static bool is_at_end(const struct parser *p)
{
    return p->gave_up || p->at >= p->end;
}

static char peek(const struct parser *p)
{
    if (is_at_end(p))
        return '\0';
    return *p->at;
}

static char peek2(const struct parser *p)
{
    if (p->gave_up || p->end - p->at < 2)
        return '\0';
    return p->at[1];
}

static char take(struct parser *p)
{
    char c = *p->at++;
    if (c == '\n')
        p->line++;
    return c;
}

static void skip_line(struct parser *p)
{
    while (!is_at_end(p) && *p->at != '\n')
        p->at++;
}

static bool is_key_byte(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.' || c == '/' ||
           (unsigned char)c >= 0x80;
}

static void skip_c_comment(struct parser *p)
{
    int begun = p->line;
    unsigned depth = 0;
    while (!is_at_end(p)) {
        if (peek(p) == '/' && peek2(p) == '*') {
            depth++;
            p->at += 2;
        } else if (peek(p) == '*' && peek2(p) == '/') {
            p->at += 2;
            if (--depth == 0)
                return;
        } else {
            take(p);
        }
    }
    diag_error(p->diag, begun, "the comment that begins here has no end; close it with */");
}

/* Blanks and comments; newlines too if @with_lines. */
static void skip_blanks(struct parser *p, bool with_lines)
{
    while (!is_at_end(p)) {
        char c = peek(p);
        if (c == ' ' || c == '\t' || c == '\r' || (with_lines && c == '\n'))
            take(p);
        else if (c == '#')
            skip_line(p);
        else if (c == '/' && peek2(p) == '*')
            skip_c_comment(p);
        else
            return;
    }
}

/* ---- scalars --------------------------------------------------------------------------------- */

static int hex_digits(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef";
        const char *found = strchr(digits, tolower((unsigned char)at[i]));
        if (at[i] == '\0' || found == NULL)
            return -1;
        value = value * 16 + (int)(found - digits);
    }
    return value;
}

static void add_utf8(struct str *out, unsigned code)
{
    char bytes[4];
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(lead[len] | code);
    str_add(out, bytes, len);
}

/* The escape after a backslash. Returns false if it is none. */
static bool take_escape(struct parser *p, struct str *out)
{
    static const char from[] = "nrtbf\"\\/", to[] = "\n\r\t\b\f\"\\/";
    char c = '\0';
    if (!is_at_end(p))
        c = take(p);
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found != NULL) {
        str_add(out, &to[found - from], 1);
        return true;
    }
    int code = c == 'u' ? hex_digits(p->at, p->end) : -1;
    if (code <= 0) /* \u0000 would end the text early */
        return false;
    p->at += 4;
    if (code >= 0xdc00 && code <= 0xdfff)
        return false;
    if (code >= 0xd800 && code <= 0xdbff) {
        int low = p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u'
                      ? hex_digits(p->at + 2, p->end)
                      : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        p->at += 6;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    add_utf8(out, (unsigned)code);
    return true;
}

static char *take_double_quoted(struct parser *p)
{
    int begun = p->line;
    struct str out = {0};
    str_add(&out, "", 0);
    take(p);
    while (!is_at_end(p) && peek(p) != '\n') {
        char c = take(p);
        if (c == '"')
            return out.data;
        if (c != '\\') {
            str_add(&out, &c, 1);
        } else if (!take_escape(p, &out)) {
            diag_error(p->diag, begun,
                       "bad escape in \"...\"; known are \\n \\r \\t \\b \\f \\\" \\\\ \\/ and "
                       "\\uXXXX, and a single backslash is written \\\\");
            str_free(&out);
            skip_line(p);
            return NULL;
        }
    }
    diag_error(p->diag, begun, "the text has no closing \"; add it on the same line");
    str_free(&out);
    return NULL;
}

static char *take_single_quoted(struct parser *p)
{
    int begun = p->line;
    struct str out = {0};
    str_add(&out, "", 0);
    take(p);
    while (!is_at_end(p) && peek(p) != '\n') {
        char c = take(p);
        if (c == '\'')
            return out.data;
        if (c == '\\' && (peek(p) == '\'' || peek(p) == '\\'))
            c = take(p);
        str_add(&out, &c, 1);
    }
    diag_error(p->diag, begun, "the text has no closing '; add it on the same line");
    str_free(&out);
    return NULL;
}

/* <<WORD, lines, WORD alone on a line. */
static char *take_heredoc(struct parser *p)
{
    int begun = p->line;
    p->at += 2;
    const char *word = p->at;
    while (!is_at_end(p) && isupper((unsigned char)*p->at))
        p->at++;
    size_t word_len = (size_t)(p->at - word);
    if (word_len == 0 || peek(p) != '\n') {
        diag_error(p->diag, begun, "<< needs a word in capitals and then a new line, as in <<EOD");
        skip_line(p);
        return NULL;
    }
    take(p);
    const char *body = p->at;
    while (!is_at_end(p)) {
        const char *line = p->at;
        skip_line(p);
        if ((size_t)(p->at - line) == word_len && memcmp(line, word, word_len) == 0)
            return need_text(body, line == body ? 0 : (size_t)(line - body) - 1);
        if (!is_at_end(p))
            take(p);
    }
    diag_error(p->diag, begun, "the text that begins here has no end; close it with a line %.*s",
               (int)(word_len > 40 ? 40 : word_len), word);
    return NULL;
}

/* Up to the end of the line, a separator, a closing bracket or a comment; blanks inside stay. */
static char *take_bare(struct parser *p)
{
    const char *begin = p->at, *last = p->at;
    while (!is_at_end(p) && strchr("\n;,}]", *p->at) == NULL) {
        bool after_blank = p->at == begin || p->at[-1] == ' ' || p->at[-1] == '\t';
        if ((*p->at == '#' && after_blank) || (*p->at == '/' && peek2(p) == '*' && after_blank))
            break;
        p->at++;
        if (!isspace((unsigned char)p->at[-1]))
            last = p->at;
    }
    return need_text(begin, (size_t)(last - begin));
}

static void take_scalar(struct parser *p, struct conf_node *parent, char *key, int line)
{
    char c = peek(p);
    bool is_here = c == '<' && peek2(p) == '<';
    bool is_quoted = c == '"' || c == '\'' || is_here;
    char *text = c == '"'    ? take_double_quoted(p)
                 : c == '\'' ? take_single_quoted(p)
                 : is_here   ? take_heredoc(p)
                             : take_bare(p);
    if (text == NULL) {
        free(key);
        return;
    }
    if (!is_quoted && text[0] == '\0') {
        diag_error(p->diag, line, "\"%s\" has no value; write one after it, or \"\" for none",
                   key != NULL ? key : "a list entry");
        free(key);
        free(text);
        return;
    }
    struct conf_node *node = add_node(p, parent, CONF_SCALAR, key, line);
    node->text = text;
    node->is_quoted = is_quoted;
}

/* ---- structure --------------------------------------------------------------------------------
 */

static void take_members(struct parser *p, struct conf_node *object, int begun);
static void take_elements(struct parser *p, struct conf_node *array, int begun);

static bool enter(struct parser *p)
{
    if (p->depth == CONF_DEPTH_MAX) {
        diag_error(p->diag, p->line, "brackets nested deeper than %d; make it flatter",
                   CONF_DEPTH_MAX);
        p->gave_up = true;
        return false;
    }
    p->depth++;
    return true;
}

static void take_value(struct parser *p, struct conf_node *parent, char *key, int line)
{
    char c = peek(p);
    if (c != '{' && c != '[') {
        take_scalar(p, parent, key, line);
        return;
    }
    struct conf_node *node = add_node(p, parent, c == '{' ? CONF_OBJECT : CONF_ARRAY, key, line);
    if (!enter(p))
        return;
    int begun = p->line;
    take(p);
    if (c == '{')
        take_members(p, node, begun);
    else
        take_elements(p, node, begun);
    p->depth--;
}

/* After a value: a separator, a new line, or the end of what holds it. A bracket ends a value too.
 */
static void end_of_value(struct parser *p, char closing)
{
    bool after_bracket = p->at[-1] == '}' || p->at[-1] == ']';
    skip_blanks(p, false);
    char c = peek(p);
    if (c == ';' || c == ',') {
        take(p);
    } else if (c != '\n' && c != closing && !is_at_end(p) && !after_bracket) {
        diag_error(p->diag, p->line, "unexpected text after a value; put ; or a new line between");
        skip_line(p);
    }
}

static char *take_key(struct parser *p)
{
    if (peek(p) == '"')
        return take_double_quoted(p);
    if (peek(p) == '\'')
        return take_single_quoted(p);
    const char *begin = p->at;
    while (!is_at_end(p) && is_key_byte(*p->at))
        p->at++;
    return need_text(begin, (size_t)(p->at - begin));
}

/* `key name {` looks like `key value` until the brace: look ahead without taking. */
static bool is_section_name(struct parser *p)
{
    struct parser ahead = *p;
    struct diag scratch = {.file = ""};
    ahead.diag = &scratch;
    bool is_name = false;
    for (int names = 0; names < CONF_DEPTH_MAX; names++) {
        char *name = take_key(&ahead);
        bool is_empty = name == NULL || name[0] == '\0';
        free(name);
        if (is_empty)
            break;
        skip_blanks(&ahead, false);
        is_name = peek(&ahead) == '{';
        if (is_name)
            break;
    }
    diag_free(&scratch);
    return is_name;
}

static void take_member(struct parser *p, struct conf_node *object)
{
    int line = p->line;
    if (peek(p) == '.') {
        diag_error(p->diag, line, "macros such as .include are not supported; write values here");
        skip_line(p);
        return;
    }
    char *key = take_key(p);
    if (key == NULL)
        return;
    if (key[0] == '\0') {
        diag_error(p->diag, line, "expected a key, found \"%c\"; write KEY = VALUE", peek(p));
        free(key);
        skip_line(p);
        return;
    }
    skip_blanks(p, false);
    if (peek(p) == '=' || peek(p) == ':') {
        take(p);
        skip_blanks(p, false);
        take_value(p, object, key, line);
        return;
    }
    /* A name that is itself a section: key { name { ... } }, once or more. */
    unsigned names = 0;
    while (peek(p) != '{' && peek(p) != '[' && is_section_name(p) && enter(p)) {
        object = add_node(p, object, CONF_OBJECT, key, line);
        key = take_key(p);
        skip_blanks(p, false);
        names++;
    }
    if (!p->gave_up)
        take_value(p, object, key, line);
    else
        free(key);
    p->depth -= names;
}

/* Members until `}`; at the top (@begun 0) until the end. */
static void take_members(struct parser *p, struct conf_node *object, int begun)
{
    for (;;) {
        skip_blanks(p, true);
        if (is_at_end(p))
            break;
        char c = peek(p);
        if (c == ';' || c == ',') {
            take(p);
        } else if (c == '}' && begun > 0) {
            take(p);
            return;
        } else if (c == '}' || c == ']') {
            diag_error(p->diag, p->line, "\"%c\" closes nothing; remove it", c);
            take(p);
        } else {
            take_member(p, object);
            end_of_value(p, '}');
        }
    }
    if (begun > 0 && !p->gave_up)
        diag_error(p->diag, begun, "the { on this line is never closed; add }");
}

static void take_elements(struct parser *p, struct conf_node *array, int begun)
{
    for (;;) {
        skip_blanks(p, true);
        if (is_at_end(p))
            break;
        char c = peek(p);
        if (c == ';' || c == ',') {
            take(p);
        } else if (c == ']') {
            take(p);
            return;
        } else if (c == '}') {
            break; /* the [ was not closed: said below */
        } else {
            take_value(p, array, NULL, p->line);
            end_of_value(p, ']');
        }
    }
    if (!p->gave_up)
        diag_error(p->diag, begun, "the [ on this line is never closed; add ]");
}

/* ---- old files --------------------------------------------------------------------------------
 */

/* One line without its newline; false at the end. Blank ends are cut. */
static bool next_line(const char **at, const char *end, const char **line, size_t *len)
{
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    const char *stop = newline != NULL ? newline : end;
    *line = *at;
    *at = newline != NULL ? newline + 1 : end;
    while (*line < stop && isspace((unsigned char)**line))
        (*line)++;
    while (stop > *line && isspace((unsigned char)stop[-1]))
        stop--;
    *len = (size_t)(stop - *line);
    return true;
}

/* Bytes of the key before ':', or 0 if the line is not `key: value`. */
static size_t legacy_key(const char *line, size_t len)
{
    size_t key = 0;
    while (key < len && (isalnum((unsigned char)line[key]) || line[key] == '-' || line[key] == '_'))
        key++;
    size_t after = key;
    while (after < len && (line[after] == ' ' || line[after] == '\t'))
        after++;
    if (after == len || line[after] != ':' || line[len - 1] == '{' || line[len - 1] == '[')
        return 0;
    return key;
}

bool conf_is_legacy(const char *text, size_t len)
{
    static const char *const marks[] = {"ip-", "fs-",     "http-",   "main-",
                                        "xl-", "depends", "packages"};
    const char *at = text, *end = text + len, *line;
    bool found = false;
    size_t line_len;
    while (next_line(&at, end, &line, &line_len)) {
        if (line_len == 0 || line[0] == '#')
            continue;
        size_t key = legacy_key(line, line_len);
        if (key == 0)
            return false;
        for (size_t i = 0; i < LEN(marks); i++) {
            size_t mark = strlen(marks[i]);
            if (key >= mark && memcmp(line, marks[i], mark) == 0)
                found = true;
        }
    }
    return found;
}

static void parse_legacy(struct parser *p, struct conf_node *root)
{
    const char *line;
    size_t len;
    while (!p->gave_up && next_line(&p->at, p->end, &line, &len)) {
        size_t key = legacy_key(line, len);
        if (key > 0) {
            const char *value = memchr(line, ':', len);
            const char *end = line + len;
            value++;
            while (value < end && isspace((unsigned char)*value))
                value++;
            struct conf_node *node = add_node(p, root, CONF_SCALAR, need_text(line, key), p->line);
            node->text = need_text(value, (size_t)(end - value));
            if (value == end)
                diag_error(p->diag, p->line, "\"%s\" has no value; write one after the colon",
                           node->key);
        }
        p->line++;
    }
}

struct conf_node *conf_parse(const char *text, size_t len, struct diag *diag)
{
    struct conf_node *root = need(sizeof(*root));
    struct parser parser = {.at = text, .end = text + len, .line = 1, .diag = diag};
    const char *nul = memchr(text, '\0', len);
    if (len > CONF_SIZE_MAX || nul != NULL) {
        int line = 1;
        for (const char *at = text; nul != NULL && at < nul; at++)
            line += *at == '\n';
        diag_error(diag, nul != NULL ? line : 0, "%s",
                   nul != NULL ? "a zero byte; this is not a text file"
                               : "larger than 1 MiB; this is not a manifest");
        return root;
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        parser.at += 3;
    if (conf_is_legacy(parser.at, (size_t)(parser.end - parser.at))) {
        parse_legacy(&parser, root);
        return root;
    }
    skip_blanks(&parser, true);
    if (peek(&parser) == '{') { /* JSON: one object */
        int begun = parser.line;
        take(&parser);
        take_members(&parser, root, begun);
    }
    take_members(&parser, root, 0);
    return root;
}
