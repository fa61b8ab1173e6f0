/* SPDX-License-Identifier: ISC */
/* Request heads: request line and header fields, strictly as RFC 9112 says.
 *
 * The head is looked at line by line, each byte once: names, values and the target are checked and
 * measured in the same pass. A line that is not whole yet is started again when its LF is there;
 * `scan` remembers how far was searched, so a peer that sends byte by byte costs O(n), not O(n^2).
 *
 * Where implementations have disagreed and requests were smuggled, the answer is an error: bare LF,
 * CR inside a line, folded lines, white space before the colon, a second Host, Content-Length or
 * Transfer-Encoding, Content-Length with Transfer-Encoding, codings after "chunked", Transfer-
 * Encoding from HTTP/1.0. The connection is closed after each of these.
 *
 * Not here: the path is only marked when it needs decoding (target.c does it), the body is
 * chunk.c's.
 */
#include "lib/http/parse.h"

#include <mirari/bytes.h>
#include <mirari/err.h>
#include <mirari/format.h>

enum { TOKEN = 1, TARGET = 2, VALUE = 4, HOSTCHAR = 8 };

/* RFC 9110 5.6.2 token; RFC 9112 3.2 visible characters of a target but "#"; RFC 9110 5.5 field
 * values; RFC 3986 3.2.2 and 3.2.3 host and port. */
#define T  TOKEN | TARGET | VALUE
#define TH TOKEN | TARGET | VALUE | HOSTCHAR
#define V  TARGET | VALUE
#define VH TARGET | VALUE | HOSTCHAR
static const uint8_t classes[256] = {
    ['\t'] = VALUE,
    [' '] = VALUE,
    ['!'] = TH,
    ['"'] = V,
    ['#'] = TOKEN | VALUE,
    ['$'] = TH,
    ['%'] = TH,
    ['&'] = TH,
    ['\''] = TH,
    ['('] = VH,
    [')'] = VH,
    ['*'] = TH,
    ['+'] = TH,
    [','] = VH,
    ['-'] = TH,
    ['.'] = TH,
    ['/'] = V,
    ['0' ... '9'] = TH,
    [':'] = VH,
    [';'] = VH,
    ['<'] = V,
    ['='] = VH,
    ['>'] = V,
    ['?'] = V,
    ['@'] = V,
    ['A' ... 'Z'] = TH,
    ['['] = VH,
    ['\\'] = V,
    [']'] = VH,
    ['^'] = T,
    ['_'] = TH,
    ['`'] = T,
    ['a' ... 'z'] = TH,
    ['{'] = V,
    ['|'] = T,
    ['}'] = V,
    ['~'] = TH,
    [0x80 ... 0xff] = VALUE,
};
#undef T
#undef TH
#undef V
#undef VH

static const char *const known_names[MIR__HTTP_KNOWN_COUNT] = {
#define MIR__X(name, text) [MIR__HTTP_##name] = (text),
    MIR__HTTP_KNOWN(MIR__X)
#undef MIR__X
};

static const struct {
    char name[8];
    uint8_t len;
    uint16_t method;
} methods[] = {
    {"GET", 3, MIR_HTTP_GET},     {"HEAD", 4, MIR_HTTP_HEAD},     {"POST", 4, MIR_HTTP_POST},
    {"PUT", 3, MIR_HTTP_PUT},     {"DELETE", 6, MIR_HTTP_DELETE}, {"OPTIONS", 7, MIR_HTTP_OPTIONS},
    {"PATCH", 5, MIR_HTTP_PATCH},
};

static inline bool is(char c, unsigned class)
{
    return (classes[(uint8_t)c] & class) != 0;
}

static inline char lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Eight bytes at a time: a set high bit for each byte that is zero, or is below @n (<= 128). The
 * lowest set one is exact; those above it need not be. */
#define EACH(byte) (0x0101010101010101ull * (byte))
static inline uint64_t zero_bytes(uint64_t x)
{
    return (x - EACH(1)) & ~x & EACH(0x80);
}
static inline uint64_t bytes_below(uint64_t x, uint8_t n)
{
    return (x - EACH(n)) & ~x & EACH(0x80);
}

static int fail(struct mir__http_request *request, uint16_t status)
{
    request->status = status;
    return -MIR_EMALFORMED;
}

void mir__http_request_init(struct mir__http_request *request)
{
    mir_memset(request, 0, offsetof(struct mir__http_request, field));
}

bool mir__http_equal_nocase(const char *text, uint32_t len, const char *lower_text)
{
    uint32_t i = 0;
    for (; i < len && lower_text[i] != '\0'; i++) {
        if (lower(text[i]) != lower_text[i])
            return false;
    }
    return i == len && lower_text[i] == '\0';
}

bool mir__http_has_token(const char *list, uint32_t len, const char *token)
{
    uint32_t at = 0;
    while (at < len) {
        while (at < len && (list[at] == ' ' || list[at] == '\t' || list[at] == ','))
            at++;
        uint32_t from = at;
        while (at < len && list[at] != ',')
            at++;
        uint32_t to = at;
        while (to > from && (list[to - 1] == ' ' || list[to - 1] == '\t'))
            to--;
        if (to > from && mir__http_equal_nocase(list + from, to - from, token))
            return true;
    }
    return false;
}

const struct mir__http_field *mir__http_known(const struct mir__http_request *request,
                                              enum mir__http_known known)
{
    if (!(request->seen & 1u << known))
        return NULL;
    for (uint32_t i = 0; i < request->field_count; i++) {
        if (request->field[i].known == known)
            return &request->field[i];
    }
    return NULL;
}

/* ---- request line ---------------------------------------------------------------------------- */

static int take_method(struct mir__http_request *r, const char *p, uint32_t len)
{
    for (uint32_t i = 0; i < MIR_ARRAY_LEN(methods); i++) {
        if (methods[i].len == len && mir_memcmp(methods[i].name, p, len) == 0) {
            r->method = methods[i].method;
            return 0;
        }
    }
    return fail(r, 501);
}

/* "HTTP/1.1": exactly this form, or it is not a version at all (RFC 9112 section 2.3). */
static int take_version(struct mir__http_request *r, const char *p, uint32_t len)
{
    if (len != 8 || mir_memcmp(p, "HTTP/", 5) != 0 || p[6] != '.')
        return fail(r, 400);
    if (p[5] < '0' || p[5] > '9' || p[7] < '0' || p[7] > '9')
        return fail(r, 400);
    if (p[5] != '1')
        return fail(r, 505);
    r->minor = p[7] == '0' ? 0 : 1;
    return 0;
}

/* Split "path?query" and see whether the path can be used as it stands. */
static void take_path(struct mir__http_request *r, const char *data, uint32_t at, uint32_t len)
{
    uint32_t i = 0;
    char before = 0;
    for (; i < len && data[at + i] != '?'; i++) {
        char c = data[at + i];
        if (c == '%' || ((c == '.' || c == '/') && before == '/'))
            r->flags |= MIR__HTTP_RQ_PATH_RAW;
        before = c;
    }
    r->path_at = (uint16_t)at;
    r->path_len = (uint16_t)i;
    if (i < len) {
        r->query_at = (uint16_t)(at + i + 1);
        r->query_len = (uint16_t)(len - i - 1);
    }
}

static bool host_is_valid(const char *host, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++) {
        if (!is(host[i], HOSTCHAR))
            return false;
    }
    return true;
}

/* "http://authority/path?query" (RFC 9112 section 3.2.2). */
static int take_absolute(struct mir__http_request *r, const char *data, uint32_t at, uint32_t len)
{
    uint32_t skip = 0;
    if (len > 7 && mir__http_equal_nocase(data + at, 7, "http://"))
        skip = 7;
    else if (len > 8 && mir__http_equal_nocase(data + at, 8, "https://"))
        skip = 8;
    if (skip == 0)
        return fail(r, 400);
    uint32_t end = skip;
    while (end < len && data[at + end] != '/' && data[at + end] != '?')
        end++;
    if (end == skip || !host_is_valid(data + at + skip, end - skip))
        return fail(r, 400);
    r->authority_at = (uint16_t)(at + skip);
    r->authority_len = (uint16_t)(end - skip);
    take_path(r, data, at + end, len - end);
    return 0; /* an empty path means "/": target.c */
}

static int take_target(struct mir__http_request *r, const char *data, uint32_t at, uint32_t len)
{
    if (data[at] == '/') {
        take_path(r, data, at, len);
        return 0;
    }
    if (len == 1 && data[at] == '*' && r->method == MIR_HTTP_OPTIONS) {
        r->flags |= MIR__HTTP_RQ_ASTERISK;
        r->path_at = (uint16_t)at;
        r->path_len = 1;
        return 0;
    }
    return take_absolute(r, data, at, len);
}

/* One whole line [at, end) without CRLF. */
static int parse_request_line(struct mir__http_request *r, const char *data, uint32_t at,
                              uint32_t end)
{
    uint32_t i = at;
    while (i < end && is(data[i], TOKEN))
        i++;
    if (i == at || i == end || data[i] != ' ')
        return fail(r, 400);
    uint32_t method_len = i - at;
    uint32_t target = ++i;
    while (i < end && is(data[i], TARGET))
        i++;
    if (i == target || i == end || data[i] != ' ')
        return fail(r, 400);
    int e = take_version(r, data + i + 1, end - i - 1);
    if (e == 0)
        e = take_method(r, data + at, method_len);
    return e < 0 ? e : take_target(r, data, target, i - target);
}

/* ---- header fields -----------------------------------------------------------------------------
 */

static uint8_t find_known(const char *name, uint32_t len)
{
    /* Length and first letter leave at most one candidate. */
    uint8_t known = MIR__HTTP_OTHER;
    switch (len << 8 | (uint8_t)lower(name[0])) {
    case 4 << 8 | 'h':
        known = MIR__HTTP_HOST;
        break;
    case 10 << 8 | 'c':
        known = MIR__HTTP_CONNECTION;
        break;
    case 14 << 8 | 'c':
        known = MIR__HTTP_CONTENT_LENGTH;
        break;
    case 17 << 8 | 't':
        known = MIR__HTTP_TRANSFER_ENCODING;
        break;
    case 6 << 8 | 'e':
        known = MIR__HTTP_EXPECT;
        break;
    case 5 << 8 | 'r':
        known = MIR__HTTP_RANGE;
        break;
    case 8 << 8 | 'i':
        known = lower(name[3]) == 'r' ? MIR__HTTP_IF_RANGE : MIR__HTTP_IF_MATCH;
        break;
    case 13 << 8 | 'i':
        known = MIR__HTTP_IF_NONE_MATCH;
        break;
    case 17 << 8 | 'i':
        known = MIR__HTTP_IF_MODIFIED_SINCE;
        break;
    case 19 << 8 | 'i':
        known = MIR__HTTP_IF_UNMODIFIED_SINCE;
        break;
    case 15 << 8 | 'a':
        known = MIR__HTTP_ACCEPT_ENCODING;
        break;
    default:
        return MIR__HTTP_OTHER;
    }
    return mir__http_equal_nocase(name, len, known_names[known]) ? known : MIR__HTTP_OTHER;
}

static int take_content_length(struct mir__http_request *r, const char *value, uint32_t len)
{
    if (mir_parse_u64(value, len, UINT64_MAX, &r->content_length) < 0)
        return fail(r, 400);
    r->flags |= MIR__HTTP_RQ_LENGTH;
    return 0;
}

/* Only "chunked" alone is understood; other codings before it are not, after it are wrong. */
static int take_transfer_encoding(struct mir__http_request *r, const char *value, uint32_t len)
{
    if (mir__http_equal_nocase(value, len, "chunked")) {
        r->flags |= MIR__HTTP_RQ_CHUNKED;
        return 0;
    }
    uint32_t last = len;
    while (last > 0 && value[last - 1] != ',' && value[last - 1] != ' ' && value[last - 1] != '\t')
        last--;
    bool ends_chunked = last > 0 && mir__http_equal_nocase(value + last, len - last, "chunked");
    bool has_earlier = ends_chunked && mir__http_has_token(value, last, "chunked");
    return fail(r, ends_chunked && !has_earlier ? 501 : 400);
}

/* What a known field means for the connection. The others are looked up when they are needed. */
static int take_known(struct mir__http_request *r, uint8_t known, const char *value, uint32_t len)
{
    bool is_repeated = (r->seen & 1u << known) != 0;
    r->seen |= (uint16_t)(1u << known);
    switch (known) {
    case MIR__HTTP_HOST:
        return is_repeated || !host_is_valid(value, len) ? fail(r, 400) : 0;
    case MIR__HTTP_CONTENT_LENGTH:
        return is_repeated ? fail(r, 400) : take_content_length(r, value, len);
    case MIR__HTTP_TRANSFER_ENCODING:
        return is_repeated ? fail(r, 400) : take_transfer_encoding(r, value, len);
    case MIR__HTTP_EXPECT:
        if (r->minor == 0)
            return 0;
        if (is_repeated || !mir__http_equal_nocase(value, len, "100-continue"))
            return fail(r, 417);
        r->flags |= MIR__HTTP_RQ_CONTINUE;
        return 0;
    case MIR__HTTP_CONNECTION:
        if (mir__http_has_token(value, len, "close"))
            r->flags |= MIR__HTTP_RQ_CLOSE;
        if (mir__http_has_token(value, len, "keep-alive"))
            r->flags |= MIR__HTTP_RQ_KEEP_ALIVE;
        return 0;
    default:
        return 0;
    }
}

/* Visible characters, blanks and bytes above 0x7f (RFC 9110 section 5.5). */
static bool is_value(const char *text, uint32_t len)
{
    uint32_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t x = mir_get_le64(text + i);
        if ((bytes_below(x, 0x20) | zero_bytes(x ^ EACH(0x7f))) != 0)
            break; /* perhaps only a tab */
    }
    for (; i < len; i++) {
        if (!is(text[i], VALUE))
            return false;
    }
    return true;
}

/* One whole line [at, end) without CRLF; not empty. */
static int parse_field(struct mir__http_request *r, const struct mir_http_limits *limits,
                       const char *data, uint32_t at, uint32_t end)
{
    uint32_t i = at;
    while (i < end && is(data[i], TOKEN))
        i++;
    /* No name, white space before the colon or a folded line: RFC 9112 sections 5.1, 5.2. */
    if (i == at || i == end || data[i] != ':')
        return fail(r, 400);
    uint32_t name_len = i - at;
    uint32_t from = i + 1;
    while (from < end && (data[from] == ' ' || data[from] == '\t'))
        from++;
    if (!is_value(data + from, end - from))
        return fail(r, 400);
    uint32_t to = end;
    while (to > from && (data[to - 1] == ' ' || data[to - 1] == '\t'))
        to--;
    if (r->field_count >= limits->header_count || name_len > UINT8_MAX)
        return fail(r, 431);
    struct mir__http_field *field = &r->field[r->field_count++];
    field->name_at = (uint16_t)at;
    field->name_len = (uint8_t)name_len;
    field->value_at = (uint16_t)from;
    field->value_len = (uint16_t)(to - from);
    field->known = find_known(data + at, name_len);
    if (field->known == MIR__HTTP_OTHER)
        return 0;
    return take_known(r, field->known, data + from, to - from);
}

/* What only the whole head shows. */
static int check_head(struct mir__http_request *r)
{
    if (r->minor > 0 && !(r->seen & 1u << MIR__HTTP_HOST))
        return fail(r, 400);
    if (r->flags & MIR__HTTP_RQ_CHUNKED) {
        if (r->flags & MIR__HTTP_RQ_LENGTH || r->minor == 0)
            return fail(r, 400);
    }
    return 0;
}

/* ---- lines --------------------------------------------------------------------------------------
 */

/* Offset of the LF that ends the line at r->at, or -1. */
static int64_t find_line_end(struct mir__http_request *r, const char *data, uint32_t len)
{
    uint32_t i = MIR_MAX(r->at, r->scan);
    for (; i + 8 <= len; i += 8) {
        uint64_t found = zero_bytes(mir_get_le64(data + i) ^ EACH('\n'));
        if (found != 0)
            return i + (uint32_t)__builtin_ctzll(found) / 8;
    }
    for (; i < len; i++) {
        if (data[i] == '\n')
            return i;
    }
    r->scan = len;
    return -1;
}

/* Is the line that has no end yet wrong already? */
static int check_unfinished(struct mir__http_request *r, const struct mir_http_limits *limits,
                            const char *data, uint32_t len)
{
    /* Nothing that begins so becomes a request: a TLS client need not wait for its answer. */
    if (r->phase == MIR__HTTP_AT_LINE && r->at < len && data[r->at] != '\r' &&
        !is(data[r->at], TOKEN))
        return fail(r, 400);
    if (r->phase == MIR__HTTP_AT_LINE && len - r->at > limits->request_line_bytes)
        return fail(r, 414);
    if (r->phase == MIR__HTTP_AT_FIELDS && len - r->fields_at > limits->header_bytes)
        return fail(r, 431);
    return -MIR_EAGAIN;
}

static int parse_line(struct mir__http_request *r, const struct mir_http_limits *limits,
                      const char *data, uint32_t lf)
{
    uint32_t at = r->at;
    if (lf == at || data[lf - 1] != '\r')
        return fail(r, 400);
    uint32_t end = lf - 1;
    r->at = r->scan = lf + 1;
    if (r->phase == MIR__HTTP_AT_LINE) {
        if (end == at) /* RFC 9112 section 2.2: empty lines before a request are ignored */
            return ++r->blank_lines > 2 ? fail(r, 400) : 0;
        if (lf + 1 - at > limits->request_line_bytes)
            return fail(r, 414);
        r->phase = MIR__HTTP_AT_FIELDS;
        r->fields_at = lf + 1;
        return parse_request_line(r, data, at, end);
    }
    if (lf + 1 - r->fields_at > limits->header_bytes)
        return fail(r, 431);
    if (end == at) {
        r->phase = MIR__HTTP_AT_END;
        return check_head(r);
    }
    return parse_field(r, limits, data, at, end);
}

int mir__http_parse(struct mir__http_request *request, const struct mir_http_limits *limits,
                    const char *data, uint32_t len)
{
    while (request->phase != MIR__HTTP_AT_END) {
        int64_t lf = find_line_end(request, data, len);
        if (lf < 0)
            return check_unfinished(request, limits, data, len);
        int e = parse_line(request, limits, data, (uint32_t)lf);
        if (e < 0)
            return e;
    }
    return 0;
}
