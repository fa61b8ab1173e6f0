/* SPDX-License-Identifier: ISC */
/* Parsers of the HTTP server: bytes in, values out; no connection, no memory, no clock.
 *
 * A request head is parsed where it lies. Positions are offsets, so that the bytes may move between
 * calls (a head that comes in pieces is collected in a page, which may grow).
 */
#ifndef LIB_HTTP_PARSE_H
#define LIB_HTTP_PARSE_H

#include <mirari/http.h>

/* ---- request head --------------------------------------------------------------------------- */

/** Most header fields, whatever the configuration says. */
#define MIR__HTTP_FIELDS_MAX 128u
/** Longest head: offsets are 16 bits. */
#define MIR__HTTP_HEAD_MAX 65000u

/** Header fields the server itself looks at. One table for the names and the numbers. */
#define MIR__HTTP_KNOWN(X)                                                                         \
    X(HOST, "host")                                                                                \
    X(CONNECTION, "connection")                                                                    \
    X(CONTENT_LENGTH, "content-length")                                                            \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                      \
    X(EXPECT, "expect")                                                                            \
    X(RANGE, "range")                                                                              \
    X(IF_RANGE, "if-range")                                                                        \
    X(IF_MATCH, "if-match")                                                                        \
    X(IF_NONE_MATCH, "if-none-match")                                                              \
    X(IF_MODIFIED_SINCE, "if-modified-since")                                                      \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since")                                                  \
    X(ACCEPT_ENCODING, "accept-encoding")

enum mir__http_known {
    MIR__HTTP_OTHER = 0,
#define MIR__X(name, text) MIR__HTTP_##name,
    MIR__HTTP_KNOWN(MIR__X)
#undef MIR__X
        MIR__HTTP_KNOWN_COUNT
};

struct mir__http_field {
    uint16_t name_at;
    uint16_t value_at;
    uint16_t value_len;
    uint8_t name_len;
    uint8_t known; /* enum mir__http_known */
};

enum mir__http_request_flags {
    MIR__HTTP_RQ_LENGTH = 1,      /* Content-Length is there */
    MIR__HTTP_RQ_CHUNKED = 2,     /* Transfer-Encoding: chunked */
    MIR__HTTP_RQ_CONTINUE = 4,    /* Expect: 100-continue */
    MIR__HTTP_RQ_CLOSE = 8,       /* Connection: close */
    MIR__HTTP_RQ_KEEP_ALIVE = 16, /* Connection: keep-alive */
    MIR__HTTP_RQ_PATH_RAW = 32,   /* the path has to be decoded or normalised */
    MIR__HTTP_RQ_ASTERISK = 64,   /* target is "*" */
};

enum mir__http_parse_phase { MIR__HTTP_AT_LINE, MIR__HTTP_AT_FIELDS, MIR__HTTP_AT_END };

struct mir__http_request {
    uint32_t at;   /* first byte of the line that comes next; at the end: length of the head */
    uint32_t scan; /* no LF in [at, scan) */
    uint32_t fields_at;
    uint8_t phase; /* enum mir__http_parse_phase */
    uint8_t blank_lines;
    uint8_t minor;   /* of the version: 0 or 1 */
    uint8_t flags;   /* enum mir__http_request_flags */
    uint16_t method; /* enum mir_http_method */
    uint16_t status; /* after an error: what to answer */
    uint16_t path_at, path_len;
    uint16_t query_at, query_len;
    uint16_t authority_at, authority_len; /* of an absolute target */
    uint16_t seen;                        /* bit per enum mir__http_known */
    uint16_t field_count;
    uint64_t content_length;
    struct mir__http_field field[MIR__HTTP_FIELDS_MAX];
};

/** Begin. The fields array is left as it is. */
void mir__http_request_init(struct mir__http_request *request);

/**
 * mir__http_parse() - go on with a request head.
 *
 * @data  [len] bytes from the head's first one; all that came before plus perhaps more
 *
 * Returns 0 (request->at is the length of the head), -MIR_EAGAIN (more is needed), or
 *         -MIR_EMALFORMED (request->status is the answer: 400, 414, 417, 431, 501, 505).
 * Cost    O(bytes not seen before), plus the unfinished line once
 * Source  RFC 9112 sections 2.2, 3, 5, 6; RFC 9110 sections 5.1, 5.5, 7.2, 10.1.1
 */
int mir__http_parse(struct mir__http_request *request, const struct mir_http_limits *limits,
                    const char *data, uint32_t len) MIR_CHECK;

/** First field with that number, or NULL. */
const struct mir__http_field *mir__http_known(const struct mir__http_request *request,
                                              enum mir__http_known known);

/** True if the list of tokens has @token (lower case), as in Connection. Source RFC 9110 5.6.1 */
bool mir__http_has_token(const char *list, uint32_t len, const char *token);
/** ASCII case does not matter; @lower is lower case and NUL-terminated. */
bool mir__http_equal_nocase(const char *text, uint32_t len, const char *lower);

/**
 * mir__http_normalise_path() - percent-decoding, then dot segments and doubled slashes.
 *
 * @path  [len] bytes, begins with "/"
 * @out   [len] bytes; may not overlap
 *
 * Returns the new length, or -MIR_EMALFORMED: bad escape, control character, or ".." above the
 * root. Source  RFC 3986 sections 2.1, 5.2.4
 */
int mir__http_normalise_path(const char *path, uint32_t len, char *out) MIR_CHECK;

/* ---- request body --------------------------------------------------------------------------- */

enum mir__http_body_kind { MIR__HTTP_BODY_LENGTH, MIR__HTTP_BODY_CHUNKED };

struct mir__http_body {
    uint64_t left;       /* of the body or of the chunk */
    uint64_t total;      /* payload bytes so far */
    uint32_t frame_left; /* bytes that extensions and trailers may still take */
    uint8_t kind;
    uint8_t state;
    uint8_t digits;
    bool is_done;
};

struct mir__http_piece {
    size_t used;
    const uint8_t *data; /* payload; inside the input */
    size_t len;          /* may be 0 */
};

void mir__http_body_init(struct mir__http_body *body, enum mir__http_body_kind kind,
                         uint64_t length);

/**
 * mir__http_body_next() - the next piece of a body.
 *
 * @limit  bytes of payload allowed in all
 * @piece  out: how much of @data was taken (at least 1 byte if len > 0 and the body is not done),
 * and the payload in it
 *
 * Call again with the rest until all is used or body->is_done.
 *
 * Returns 0, -MIR_EMALFORMED, or -MIR_ETOOBIG (above @limit).
 * Source  RFC 9112 sections 6.2, 7.1
 */
int mir__http_body_next(struct mir__http_body *body, uint64_t limit, const uint8_t *data,
                        size_t len, struct mir__http_piece *piece) MIR_CHECK;

/* ---- dates ---------------------------------------------------------------------------------- */

#define MIR__HTTP_DATE_LEN 29u

/** "Sun, 06 Nov 1994 08:49:37 GMT" of seconds since 1970, without NUL. Source RFC 9110 5.6.7 */
void mir__http_date_emit(uint64_t unix_s, char out[MIR__HTTP_DATE_LEN]);
/** All three forms of RFC 9110 section 5.6.7. @now_unix_s decides the century of two-digit years.
 *  Returns 0 or -MIR_EMALFORMED. */
int mir__http_date_parse(const char *text, uint32_t len, uint64_t now_unix_s,
                         uint64_t *unix_s) MIR_CHECK;

/* ---- what a request wants of a representation ------------------------------------------------ */

/** Best of the available encodings (bit per enum mir_kv_encoding) for an Accept-Encoding value;
 *  identity if nothing fits. Source RFC 9110 section 12.5.3 */
enum mir_kv_encoding mir__http_choose_encoding(const char *value, uint32_t len, unsigned available);

/** Is @etag (with quotes, strong) in the list, or the list "*"? Weak comparison accepts W/.
 *  Source RFC 9110 sections 8.8.3.2, 13.1.1, 13.1.2 */
bool mir__http_etag_in_list(const char *list, uint32_t len, const char *etag, bool is_weak_ok);

#define MIR__HTTP_RANGES_MAX 16u

struct mir__http_range {
    uint32_t first;
    uint32_t len;
};

/** What came of a Range field. */
enum mir__http_range_result {
    MIR__HTTP_RANGE_IGNORE, /* not bytes, malformed, too many: answer the whole */
    MIR__HTTP_RANGE_OK,
    MIR__HTTP_RANGE_UNSATISFIABLE, /* 416 */
};

/** Source RFC 9110 sections 14.1.2, 14.2. Ranges that together exceed the whole are ignored. */
enum mir__http_range_result mir__http_parse_ranges(const char *value, uint32_t len, uint32_t size,
                                                   struct mir__http_range *ranges, uint32_t *count);

#endif
