/* SPDX-License-Identifier: ISC */
/* The TCP header and its options: bytes <-> values, nothing else.
 *
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------------------------------+-------------------------------+
 *   |          source port          |       destination port        |
 *   +-------------------------------+-------------------------------+
 *   |                        sequence number                        |
 *   +---------------------------------------------------------------+
 *   |                     acknowledgment number                     |
 *   +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *   | offset| rsrvd |C|E|U|A|P|R|S|F|            window             |
 *   +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *   |           checksum            |        urgent pointer         |
 *   +-------------------------------+-------------------------------+
 *   |                     options, 0 .. 40 bytes                    |
 *   +---------------------------------------------------------------+
 *
 * RFC 9293 section 3.1; options: section 3.2, RFC 7323 (window scale, timestamps), RFC 2018 (SACK).
 */
#ifndef LIB_WIRE_TCP_H
#define LIB_WIRE_TCP_H

#include <mirari/base.h>
#include <mirari/err.h>

#define MIR__TCP_HEADER_BYTES 20u
#define MIR__TCP_OPTIONS_MAX  40u
#define MIR__TCP_CSUM_OFFSET  16u
#define MIR__TCP_WSCALE_MAX   14u
#define MIR__TCP_TS_BYTES     12u /**< timestamps with their two NOPs */
#define MIR__TCP_SACK_BLOCKS  4u
#define MIR__TCP_COOKIE_MIN   4u /**< of Fast Open, RFC 7413 section 4.1.1 */
#define MIR__TCP_COOKIE_MAX   16u

enum mir__tcp_flags {
    MIR__TCP_FIN = 1,
    MIR__TCP_SYN = 2,
    MIR__TCP_RST = 4,
    MIR__TCP_PSH = 8,
    MIR__TCP_ACK = 16,
    MIR__TCP_URG = 32,
    MIR__TCP_ECE = 64,
    MIR__TCP_CWR = 128,
};

struct mir__tcp_header {
    uint16_t src_port;
    uint16_t dst_port;
    uint32_t seq;
    uint32_t ack;
    uint16_t wnd;    /**< not scaled */
    uint8_t flags;   /**< enum mir__tcp_flags */
    uint8_t hdr_len; /**< 20 .. 60 bytes, options included */
};

/** What the options of one segment say. */
struct mir__tcp_options {
    bool has_mss;
    bool has_wscale;
    bool has_ts;
    bool sack_permitted;
    bool has_cookie;    /**< Fast Open; without bytes it asks for one */
    uint8_t cookie_len; /**< 0, or MIR__TCP_COOKIE_MIN .. MIR__TCP_COOKIE_MAX, even */
    uint8_t wscale;     /**< as received; RFC 7323 section 2.3 limits use to 14 */
    uint8_t sack_count; /**< blocks in sack[] */
    uint16_t mss;
    uint32_t tsval;
    uint32_t tsecr;
    const uint8_t *cookie; /**< borrowed: inside the segment */
    struct {
        uint32_t left;
        uint32_t right;
    } sack[MIR__TCP_SACK_BLOCKS];
};

/** Read the fixed part. Returns 0, -MIR_ETRUNCATED (less than header and options),
 *  -MIR_EMALFORMED (data offset below 5). Source: RFC 9293 section 3.1 */
int mir__tcp_header_parse(const uint8_t *data, uint32_t len, struct mir__tcp_header *hdr) MIR_CHECK;

/** Read [len] bytes of options. An unknown option is skipped, a known one of a wrong length
 * ignored. Returns 0, or -MIR_EMALFORMED (a length below 2 or past the end; what came before is in
 * @opt). Source: RFC 9293 section 3.2 (MUST-6, MUST-7), RFC 7323 section 2.2, 3.2 */
int mir__tcp_options_parse(const uint8_t *data, uint32_t len,
                           struct mir__tcp_options *opt) MIR_CHECK;

/** Write the fixed part; checksum and urgent pointer are zero. */
void mir__tcp_header_emit(uint8_t *out, const struct mir__tcp_header *hdr);

/** Bytes mir__tcp_options_emit() will write: a multiple of 4, at most 40. */
uint32_t mir__tcp_options_len(const struct mir__tcp_options *opt);
/** Write the options, padded to a multiple of 4. Returns the bytes written. */
uint32_t mir__tcp_options_emit(uint8_t *out, const struct mir__tcp_options *opt);

#endif
