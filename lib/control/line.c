/* SPDX-License-Identifier: ISC */
/* Frames on a line of bytes: flags around them, escapes inside (as RFC 1662 section 4.2 does for
 * PPP).
 *
 * A reader is outside until it sees a flag. Two flags in a row enclose nothing and mean nothing, so
 * a frame may begin and end with one of its own. What is too long, too short, or has another length
 * than its header says is dropped and counted; the flag that ends it begins the next.
 */
#include "lib/control/line.h"

#include <mirari/bytes.h>

#define FLAG   0x7e
#define ESCAPE 0x7d
#define FLIP   0x20

static void end_frame(struct mir__line_in *in, mir__line_fn each, void *arg)
{
    struct mir__line_frame frame;
    bool is_whole = !in->is_bad && !in->is_escaped && in->len >= MIR__LINE_HEADER &&
                    mir_get_be16(in->bytes + 2) == in->len - MIR__LINE_HEADER;
    bool is_empty = in->len == 0 && !in->is_bad && !in->is_escaped;
    frame = (struct mir__line_frame){.kind = in->bytes[0],
                                     .session = in->bytes[1],
                                     .payload = in->bytes + MIR__LINE_HEADER,
                                     .len = in->len - MIR__LINE_HEADER};
    in->len = 0;
    in->is_bad = in->is_escaped = false;
    if (is_whole)
        each(arg, &frame);
    else if (!is_empty)
        in->dropped++;
}

void mir__line_take(struct mir__line_in *in, const void *data, size_t len, mir__line_fn each,
                    void *arg)
{
    const uint8_t *at = data, *end = at + len;
    for (; at < end; at++) {
        if (*at == FLAG) {
            if (in->is_inside)
                end_frame(in, each, arg);
            in->is_inside = true;
        } else if (!in->is_inside || in->is_bad) {
            continue;
        } else if (*at == ESCAPE && !in->is_escaped) {
            in->is_escaped = true;
        } else if (in->len == sizeof in->bytes) {
            in->is_bad = true;
        } else {
            in->bytes[in->len++] = in->is_escaped ? *at ^ FLIP : *at;
            in->is_escaped = false;
        }
    }
}

static uint8_t *put_bytes(uint8_t *out, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        bool is_special = data[i] == FLAG || data[i] == ESCAPE;
        if (is_special)
            *out++ = ESCAPE;
        *out++ = is_special ? data[i] ^ FLIP : data[i];
    }
    return out;
}

size_t mir__line_put(uint8_t *out, const struct mir__line_frame *frame)
{
    uint8_t header[MIR__LINE_HEADER] = {frame->kind, frame->session}, *at = out;
    MIR_ASSERT_OP(frame->len, <=, MIR__LINE_MAX);
    mir_put_be16(header + 2, (uint16_t)frame->len);
    *at++ = FLAG;
    at = put_bytes(at, header, sizeof header);
    at = put_bytes(at, frame->payload, frame->len);
    *at++ = FLAG;
    return (size_t)(at - out);
}
