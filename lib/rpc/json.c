/* SPDX-License-Identifier: ISC */
/* Reads JSON: one pass, no recursion, no memory but the nodes it was given.
 *
 * The state is what may come next and the stack of open arrays and objects, at most
 * MIR_JSON_DEPTH_MAX of them. A container's `next` and `len` are filled in when it closes. Strings
 * are checked here (escapes, surrogates in pairs, UTF-8 without overlong forms) so that decoding
 * one later cannot fail for its form.
 *
 *   VALUE -> after a value: COMMA or the end of the container; in an object NAME, ':' , VALUE
 *
 * Nothing is believed about the text; its end may come at any byte.
 */
#include <mirari/format.h>
#include <mirari/json.h>

#include "lib/rpc/utf8.h"

struct reader {
    const char *text;
    size_t len, at;
    struct mir_json_node *nodes;
    uint32_t count, max;
    uint32_t open[MIR_JSON_DEPTH_MAX];
    uint32_t depth;
};

static void skip_blanks(struct reader *r)
{
    while (r->at < r->len && (r->text[r->at] == ' ' || r->text[r->at] == '\t' ||
                              r->text[r->at] == '\n' || r->text[r->at] == '\r'))
        r->at++;
}

static bool is_digit(const struct reader *r)
{
    return r->at < r->len && r->text[r->at] >= '0' && r->text[r->at] <= '9';
}

static struct mir_json_node *add_node(struct reader *r, enum mir_json_type type)
{
    if (r->count == r->max)
        return NULL;
    struct mir_json_node *node = &r->nodes[r->count++];
    *node = (struct mir_json_node){
        .at = (uint32_t)r->at, .next = r->count, .type = (uint8_t)type, .count = 0};
    return node;
}

/* ---- strings ------------------------------------------------------------------------------- */

/* Four hexadecimal digits at @p, which are there; negative: they are none. */
static int32_t hex4(const char *p)
{
    int32_t value = 0;
    for (unsigned i = 0; i < 4; i++) {
        int digit = mir_hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Behind a backslash. Returns the bytes of the escape without it, 0: it is none. A pair of
 * surrogates is one escape. */
static size_t escape_len(const char *p, size_t left)
{
    if (left == 0)
        return 0;
    switch (p[0]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 1;
    case 'u':
        break;
    default:
        return 0;
    }
    int32_t unit = left >= 5 ? hex4(p + 1) : -1;
    if (unit < 0 || (unit & 0xfc00) == 0xdc00)
        return 0;
    if ((unit & 0xfc00) != 0xd800)
        return 5;
    if (left < 11 || p[5] != '\\' || p[6] != 'u')
        return 0;
    int32_t second = hex4(p + 7);
    return second >= 0 && (second & 0xfc00) == 0xdc00 ? 11 : 0;
}

/* At the quote; afterwards behind the other one. */
static int read_string(struct reader *r)
{
    r->at++;
    struct mir_json_node *node = add_node(r, MIR_JSON_STRING);
    if (node == NULL)
        return -MIR_ELIMIT;
    while (r->at < r->len && r->text[r->at] != '"') {
        const char *p = r->text + r->at;
        size_t left = r->len - r->at;
        size_t len = 0;
        if (*p == '\\')
            len = escape_len(p + 1, left - 1) + 1;
        else if ((uint8_t)*p >= 0x20)
            len = mir__utf8_len(p, left);
        if (len == 0 || (*p == '\\' && len == 1))
            return -MIR_EMALFORMED;
        r->at += len;
    }
    if (r->at == r->len)
        return -MIR_EMALFORMED;
    node->len = (uint32_t)r->at - node->at;
    r->at++;
    return 0;
}

/* ---- other values -------------------------------------------------------------------------- */

static int read_digits(struct reader *r)
{
    if (!is_digit(r))
        return -MIR_EMALFORMED;
    while (is_digit(r))
        r->at++;
    return 0;
}

static int read_number(struct reader *r)
{
    struct mir_json_node *node = add_node(r, MIR_JSON_NUMBER);
    int result = 0;
    if (node == NULL)
        return -MIR_ELIMIT;
    if (r->text[r->at] == '-')
        r->at++;
    if (r->at < r->len && r->text[r->at] == '0')
        r->at++; /* and no digit behind it */
    else
        result = read_digits(r);
    if (result == 0 && r->at < r->len && r->text[r->at] == '.') {
        r->at++;
        result = read_digits(r);
    }
    if (result == 0 && r->at < r->len && (r->text[r->at] | 0x20) == 'e') {
        r->at++;
        if (r->at < r->len && (r->text[r->at] == '+' || r->text[r->at] == '-'))
            r->at++;
        result = read_digits(r);
    }
    node->len = (uint32_t)r->at - node->at;
    return result;
}

static int read_word(struct reader *r, const char *word, enum mir_json_type type)
{
    size_t len = mir_str_len(word);
    if (r->len - r->at < len || mir_memcmp(r->text + r->at, word, len) != 0)
        return -MIR_EMALFORMED;
    struct mir_json_node *node = add_node(r, type);
    if (node == NULL)
        return -MIR_ELIMIT;
    node->len = (uint32_t)len;
    r->at += len;
    return 0;
}

static int open_container(struct reader *r, enum mir_json_type type)
{
    if (r->depth == MIR_JSON_DEPTH_MAX)
        return -MIR_ELIMIT;
    r->open[r->depth] = r->count;
    if (add_node(r, type) == NULL)
        return -MIR_ELIMIT;
    r->depth++;
    r->at++;
    return 0;
}

static void close_container(struct reader *r)
{
    struct mir_json_node *node = &r->nodes[r->open[--r->depth]];
    r->at++;
    node->len = (uint32_t)r->at - node->at;
    node->next = r->count;
}

/* One value, or the beginning of a container. */
static int read_value(struct reader *r)
{
    if (r->at == r->len)
        return -MIR_EMALFORMED;
    switch (r->text[r->at]) {
    case '{':
        return open_container(r, MIR_JSON_OBJECT);
    case '[':
        return open_container(r, MIR_JSON_ARRAY);
    case '"':
        return read_string(r);
    case 't':
        return read_word(r, "true", MIR_JSON_BOOL);
    case 'f':
        return read_word(r, "false", MIR_JSON_BOOL);
    case 'n':
        return read_word(r, "null", MIR_JSON_NULL);
    default:
        return r->text[r->at] == '-' || is_digit(r) ? read_number(r) : -MIR_EMALFORMED;
    }
}

/* `"name" :` */
static int read_name(struct reader *r)
{
    if (r->at == r->len || r->text[r->at] != '"')
        return -MIR_EMALFORMED;
    int result = read_string(r);
    if (result < 0)
        return result;
    skip_blanks(r);
    if (r->at == r->len || r->text[r->at] != ':')
        return -MIR_EMALFORMED;
    r->at++;
    skip_blanks(r);
    return 0;
}

/* In a container, behind its bracket or behind a value: close what ends here, or get to where the
 * next value begins. Returns 1 if nothing is open any more, 0: a value follows. */
static int get_to_value(struct reader *r, bool is_first)
{
    for (;; is_first = false) {
        skip_blanks(r);
        if (r->depth == 0)
            return 1;
        struct mir_json_node *node = &r->nodes[r->open[r->depth - 1]];
        bool is_object = node->type == MIR_JSON_OBJECT;
        if (r->at == r->len)
            return -MIR_EMALFORMED;
        if (r->text[r->at] == (is_object ? '}' : ']')) {
            close_container(r);
            continue;
        }
        if (!is_first) {
            if (r->text[r->at] != ',')
                return -MIR_EMALFORMED;
            r->at++;
            skip_blanks(r);
        }
        node->count++;
        return is_object ? read_name(r) : 0;
    }
}

int mir_json_parse(struct mir_json *json, const char *text, size_t len, struct mir_json_node *nodes,
                   uint32_t max, size_t *error_at)
{
    struct reader r = {.text = text, .len = len, .nodes = nodes, .max = max};
    int result = len < UINT32_MAX ? 0 : -MIR_ELIMIT;
    skip_blanks(&r);
    while (result == 0) {
        uint32_t depth = r.depth;
        result = read_value(&r);
        if (result == 0)
            result = get_to_value(&r, r.depth > depth);
    }
    if (result == 1)
        result = r.at == r.len ? 0 : -MIR_EMALFORMED;
    if (result == -MIR_EMALFORMED)
        *error_at = r.at;
    *json = (struct mir_json){.text = text, .nodes = nodes, .count = result == 0 ? r.count : 0};
    return result;
}

/* ---- asking -------------------------------------------------------------------------------- */

bool mir_json_is(const struct mir_json *json, uint32_t node, enum mir_json_type type)
{
    return node < json->count && json->nodes[node].type == type;
}

uint32_t mir_json_find(const struct mir_json *json, uint32_t object, const char *name)
{
    if (!mir_json_is(json, object, MIR_JSON_OBJECT))
        return MIR_JSON_NONE;
    uint32_t at = object + 1;
    for (uint32_t i = 0; i < json->nodes[object].count; i++) {
        if (mir_json_equal(json, at, name))
            return at + 1;
        at = json->nodes[at + 1].next;
    }
    return MIR_JSON_NONE;
}

int mir_json_u64(const struct mir_json *json, uint32_t node, uint64_t max, uint64_t *value)
{
    if (!mir_json_is(json, node, MIR_JSON_NUMBER))
        return -MIR_EINVAL;
    const struct mir_json_node *n = &json->nodes[node];
    const char *text = json->text + n->at;
    if (text[0] == '-')
        return -MIR_ERANGE;
    int r = mir_parse_u64(text, n->len, max, value);
    return r == -MIR_EMALFORMED ? -MIR_EINVAL : r;
}

int mir_json_bool(const struct mir_json *json, uint32_t node, bool *value)
{
    if (!mir_json_is(json, node, MIR_JSON_BOOL))
        return -MIR_EINVAL;
    *value = json->text[json->nodes[node].at] == 't';
    return 0;
}

/* The character that the escape at @p stands for, without its backslash; *@used bytes of it. */
static uint32_t decode_escape(const char *p, size_t *used)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    *used = 1;
    for (size_t i = 0; i < sizeof from - 1; i++) {
        if (p[0] == from[i])
            return (uint8_t)to[i];
    }
    if (p[0] != 'u')
        return (uint8_t)p[0];
    uint32_t unit = (uint32_t)hex4(p + 1);
    *used = 5;
    if ((unit & 0xfc00) != 0xd800)
        return unit;
    *used = 11;
    return 0x10000 + ((unit & 0x3ff) << 10 | ((uint32_t)hex4(p + 7) & 0x3ff));
}

static size_t encode_utf8(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The next character of a string at *@at, decoded. Returns its bytes. */
static size_t next_char(const char *p, size_t *at, char out[4])
{
    size_t used;
    if (p[*at] != '\\') {
        out[0] = p[(*at)++];
        return 1;
    }
    uint32_t c = decode_escape(p + *at + 1, &used);
    *at += 1 + used;
    return encode_utf8(c, out);
}

int mir_json_text(const struct mir_json *json, uint32_t node, char *out, size_t size)
{
    if (!mir_json_is(json, node, MIR_JSON_STRING))
        return -MIR_EINVAL;
    const struct mir_json_node *n = &json->nodes[node];
    size_t len = 0;
    for (size_t at = 0; at < n->len;) {
        char bytes[4];
        size_t count = next_char(json->text + n->at, &at, bytes);
        if (bytes[0] == '\0')
            return -MIR_EINVAL;
        if (count >= size - len)
            return -MIR_ELIMIT;
        mir_memcpy(out + len, bytes, count);
        len += count;
    }
    if (size == 0)
        return -MIR_ELIMIT;
    out[len] = '\0';
    return 0;
}

bool mir_json_equal(const struct mir_json *json, uint32_t node, const char *text)
{
    if (!mir_json_is(json, node, MIR_JSON_STRING))
        return false;
    const struct mir_json_node *n = &json->nodes[node];
    for (size_t at = 0; at < n->len;) {
        char bytes[4];
        size_t count = next_char(json->text + n->at, &at, bytes);
        for (size_t i = 0; i < count; i++) {
            if (*text == '\0' || *text++ != bytes[i])
                return false;
        }
    }
    return *text == '\0';
}
