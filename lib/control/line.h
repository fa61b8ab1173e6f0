/* SPDX-License-Identifier: ISC */
/* Several sessions over one line of bytes: the control channel of a machine. Not public: for the
 * machine's end (mux.h) and for the tool, which stands at the other.
 *
 *    0x7e | kind 1 | session 1 | length 2 | payload | 0x7e          length: big-endian, of the
 * payload
 *
 *   kind     from     payload
 *   HELLO    both     version 1, nonce 8     the host: everything begins anew; the machine: it has
 *   OPEN     host     role 1, window 4, who  a client has come; window: bytes it may be sent
 *   DATA     both     1 .. MIR__LINE_MAX     of the session, as they are
 *   CREDIT   both     bytes 4                so many more may be sent
 *   CLOSE    both     why, text              nothing follows; answered by one, if none was sent yet
 *
 * Bytes 0x7e and 0x7d inside a frame are sent as 0x7d and the byte XOR 0x20, so that whoever comes
 * in the middle of anything finds the next frame. Everything before an answer to the last HELLO is
 * of an earlier time. A session's number is free again when both have said CLOSE.
 */
#ifndef LIB_CONTROL_LINE_H
#define LIB_CONTROL_LINE_H

#include <mirari/base.h>

#define MIR__LINE_VERSION  1u
#define MIR__LINE_SESSIONS 8u
#define MIR__LINE_MAX      4096u /* bytes of a payload */
#define MIR__LINE_HEADER   4u
#define MIR__LINE_HELLO    9u   /* bytes of a payload of HELLO */
#define MIR__LINE_OPEN     5u   /* the least of OPEN */
#define MIR__LINE_CLOSE    100u /* the most of CLOSE */
/** Name of the port, where ports have names. */
#define MIR__LINE_PORT "mirari.control"

enum mir__line_kind {
    MIR__LINE_IS_HELLO = 1,
    MIR__LINE_IS_OPEN,
    MIR__LINE_IS_DATA,
    MIR__LINE_IS_CREDIT,
    MIR__LINE_IS_CLOSE,
};

/** A frame that came. */
struct mir__line_frame {
    uint8_t kind, session;
    const uint8_t *payload;
    uint32_t len;
};

/** Where frames are put together again. Zeroed: at the beginning of anything. */
struct mir__line_in {
    uint8_t bytes[MIR__LINE_HEADER + MIR__LINE_MAX];
    uint32_t len;
    bool is_inside; /* a flag was seen */
    bool is_escaped;
    bool is_bad;      /* this frame is too long */
    uint64_t dropped; /* frames that were none */
};

typedef void (*mir__line_fn)(void *arg, const struct mir__line_frame *frame);
/** [len] bytes from the line; @each is called for every whole frame. */
void mir__line_take(struct mir__line_in *in, const void *data, size_t len, mir__line_fn each,
                    void *arg);
/** The bytes that a frame takes at most. */
static inline size_t mir__line_size(size_t len)
{
    return 2 + 2 * (MIR__LINE_HEADER + len);
}
/** Write @frame to @out, where mir__line_size() bytes are free. Returns how many it took. */
size_t mir__line_put(uint8_t *out, const struct mir__line_frame *frame);

#endif
