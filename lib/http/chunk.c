/* SPDX-License-Identifier: ISC */
/* Request bodies: counted ones and chunked ones.
 *
 *   chunked   size [;ext] CRLF  data CRLF  ...  0 [;ext] CRLF  *( trailer CRLF )  CRLF
 *
 * A state machine over bytes; payload comes out by reference, as long pieces as the input allows.
 * Sizes take at most 16 hexadecimal digits and are checked against the limit before any of their
 * bytes come. Extensions and trailers are checked for form, dropped, and bounded together, so a
 * peer cannot keep a connection busy with framing alone. Bare CR or LF anywhere is an error.
 */
#include "lib/http/parse.h"

#include <mirari/err.h>
#include <mirari/format.h>

/** Extensions of all chunks and all trailers of one body. */
#define FRAME_BYTES_MAX 8192u

enum state {
    SIZE,       /* hexadecimal digits */
    SIZE_SPACE, /* white space, which only an extension may follow */
    EXTENSION,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* first byte of a trailer line, or the CR of the last line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
};

void mir__http_body_init(struct mir__http_body *body, enum mir__http_body_kind kind,
                         uint64_t length)
{
    *body = (struct mir__http_body){
        .kind = (uint8_t)kind,
        .left = length,
        .frame_left = FRAME_BYTES_MAX,
        .state = kind == MIR__HTTP_BODY_LENGTH ? DATA : SIZE,
        .is_done = kind == MIR__HTTP_BODY_LENGTH && length == 0,
    };
}

static bool is_text(uint8_t c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static bool is_name(uint8_t c)
{
    return c > 0x20 && c < 0x7f && c != ':';
}

/* The CR after a size was met. */
static int end_size(struct mir__http_body *body)
{
    if (body->digits == 0)
        return -MIR_EMALFORMED;
    body->state = SIZE_LF;
    return 0;
}

static int step_size(struct mir__http_body *body, uint64_t limit, uint8_t c)
{
    int digit = mir_hex_digit((char)c);
    if (digit >= 0) {
        if (++body->digits > 16)
            return -MIR_EMALFORMED;
        body->left = body->left << 4 | (unsigned)digit;
        return body->left > limit - body->total ? -MIR_ETOOBIG : 0;
    }
    if (body->digits == 0)
        return -MIR_EMALFORMED;
    if (c == '\r')
        return end_size(body);
    if (c != ';' && c != ' ' && c != '\t')
        return -MIR_EMALFORMED;
    body->state = c == ';' ? EXTENSION : SIZE_SPACE;
    return 0;
}

static int step_trailer(struct mir__http_body *body, uint8_t c)
{
    if (body->state == TRAILER && c == '\r') {
        body->state = LAST_LF;
        return 0;
    }
    if (body->state != TRAILER_VALUE) {
        if (c == ':' && body->state == TRAILER_NAME)
            body->state = TRAILER_VALUE;
        else if (is_name(c))
            body->state = TRAILER_NAME;
        else
            return -MIR_EMALFORMED;
        return 0;
    }
    if (c == '\r')
        body->state = TRAILER_LF;
    return c == '\r' || is_text(c) ? 0 : -MIR_EMALFORMED;
}

static int expect(struct mir__http_body *body, uint8_t c, uint8_t wanted, enum state next)
{
    body->state = (uint8_t)next;
    return c == wanted ? 0 : -MIR_EMALFORMED;
}

/* One byte of framing. */
static int step(struct mir__http_body *body, uint64_t limit, uint8_t c)
{
    switch ((enum state)body->state) {
    case SIZE:
        return step_size(body, limit, c);
    case SIZE_SPACE:
        if (c == ';')
            body->state = EXTENSION;
        return c == ';' || c == ' ' || c == '\t' ? 0 : -MIR_EMALFORMED;
    case EXTENSION:
        if (c == '\r')
            return end_size(body);
        return is_text(c) ? 0 : -MIR_EMALFORMED;
    case SIZE_LF:
        return expect(body, c, '\n', body->left > 0 ? DATA : TRAILER);
    case DATA_CR:
        return expect(body, c, '\r', DATA_LF);
    case DATA_LF:
        body->digits = 0;
        body->left = 0;
        return expect(body, c, '\n', SIZE);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return step_trailer(body, c);
    case TRAILER_LF:
        return expect(body, c, '\n', TRAILER);
    case LAST_LF:
        body->is_done = c == '\n';
        return c == '\n' ? 0 : -MIR_EMALFORMED;
    case DATA:
        break;
    }
    return -MIR_EMALFORMED;
}

/* Extensions, trailers and white space are paid from one purse. */
static bool is_bounded_state(uint8_t state)
{
    return state == SIZE_SPACE || state == EXTENSION || state >= TRAILER;
}

/* Payload, as far as the input and the chunk reach. */
static int take_payload(struct mir__http_body *body, uint64_t limit, struct mir__http_piece *piece,
                        const uint8_t *data, size_t len)
{
    size_t n = body->left < len ? (size_t)body->left : len;
    if (n > limit - body->total)
        return -MIR_ETOOBIG;
    piece->data = data;
    piece->len = n;
    piece->used += n;
    body->left -= n;
    body->total += n;
    if (body->left == 0) {
        body->is_done = body->kind == MIR__HTTP_BODY_LENGTH;
        body->state = DATA_CR;
    }
    return 0;
}

int mir__http_body_next(struct mir__http_body *body, uint64_t limit, const uint8_t *data,
                        size_t len, struct mir__http_piece *piece)
{
    size_t at = 0;
    *piece = (struct mir__http_piece){0};
    for (; at < len && !body->is_done && body->state != DATA; at++) {
        if (is_bounded_state(body->state) && body->frame_left-- == 0)
            return -MIR_EMALFORMED;
        int e = step(body, limit, data[at]);
        if (e < 0)
            return e;
    }
    piece->used = at;
    if (body->is_done || body->state != DATA)
        return 0;
    return take_payload(body, limit, piece, data + at, len - at);
}
