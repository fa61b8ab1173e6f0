/* SPDX-License-Identifier: ISC */
/* Writes the three blocks of pcapng that a capture of frames needs.
 *
 *    0               4               8                            len-4        len
 *    +---------------+---------------+-- ... body, padded to 4 ---+-------------+
 *    | block type    | total length  |                            | total length|
 *    +---------------+---------------+----------------------------+-------------+
 *
 * Numbers are in the byte order of the writer (little-endian here), which the byte-order magic of
 * the section header tells. Options are (code, length, value padded to 4), ended by code 0.
 * Time stamps count microseconds, the default resolution (if_tsresol absent).
 *
 * Reading captures is not here: tests leave that to tshark.
 */
#include "lib/wire/pcapng.h"

#include <mirari/bytes.h>

enum { BLOCK_SECTION = 0x0a0d0d0a, BLOCK_INTERFACE = 1, BLOCK_PACKET = 6 };
enum { OPT_END = 0, OPT_SHB_USERAPPL = 4, OPT_IF_NAME = 2, OPT_EPB_FLAGS = 2 };
enum { LINKTYPE_ETHERNET = 1 };
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define TEXT_MAX         64u

static size_t pad4(size_t len)
{
    return (len + 3) & ~(size_t)3;
}

static size_t put_option(uint8_t *out, uint16_t code, const void *value, size_t len)
{
    mir_put_le16(out, code);
    mir_put_le16(out + 2, (uint16_t)len);
    mir_memset(out + 4, 0, pad4(len));
    mir_memcpy(out + 4, value, len);
    return 4 + pad4(len);
}

static size_t put_text_option(uint8_t *out, uint16_t code, const char *text)
{
    size_t len = mir_str_len(text);
    return put_option(out, code, text, MIR_MIN(len, TEXT_MAX));
}

/* End of options, both length fields. Returns the whole length. */
static size_t finish_block(uint8_t *out, uint32_t type, size_t len)
{
    mir_put_le32(out + len, OPT_END);
    len += 4;
    mir_put_le32(out, type);
    mir_put_le32(out + 4, (uint32_t)(len + 4));
    mir_put_le32(out + len, (uint32_t)(len + 4));
    return len + 4;
}

size_t mir__pcapng_put_section(uint8_t *out, const char *application)
{
    mir_put_le32(out + 8, BYTE_ORDER_MAGIC);
    mir_put_le16(out + 12, 1); /* version 1.0 */
    mir_put_le16(out + 14, 0);
    mir_put_le64(out + 16, UINT64_MAX); /* length of the section is not known */
    size_t len = 24 + put_text_option(out + 24, OPT_SHB_USERAPPL, application);
    return finish_block(out, BLOCK_SECTION, len);
}

size_t mir__pcapng_put_interface(uint8_t *out, const char *name, uint32_t snaplen)
{
    mir_put_le16(out + 8, LINKTYPE_ETHERNET);
    mir_put_le16(out + 10, 0);
    mir_put_le32(out + 12, snaplen);
    size_t len = 16 + put_text_option(out + 16, OPT_IF_NAME, name);
    return finish_block(out, BLOCK_INTERFACE, len);
}

size_t mir__pcapng_put_packet(uint8_t *out, const struct mir_buf *buf, uint32_t captured_len,
                              mir_time_us wall_us, enum mir__pcapng_direction direction)
{
    uint8_t flags[4];
    mir_put_le32(out + 8, 0); /* interface 0 */
    mir_put_le32(out + 12, (uint32_t)(wall_us >> 32));
    mir_put_le32(out + 16, (uint32_t)wall_us);
    mir_put_le32(out + 20, captured_len);
    mir_put_le32(out + 24, mir_buf_total(buf));
    size_t padded = pad4(captured_len);
    int r = mir_buf_copy_out(buf, 0, out + 28, captured_len);
    MIR_ASSERT(r == 0);
    mir_memset(out + 28 + captured_len, 0, padded - captured_len);
    mir_put_le32(flags, (uint32_t)direction);
    size_t len = 28 + padded;
    len += put_option(out + len, OPT_EPB_FLAGS, flags, sizeof flags);
    return finish_block(out, BLOCK_PACKET, len);
}

void mir__pcapng_set_interface(uint8_t *block, uint32_t index)
{
    mir_put_le32(block + 8, index);
}
