/* SPDX-License-Identifier: ISC */
/* CRC-32 with eight tables, eight bytes a step.
 *
 * Row 0 is the CRC of a byte; row k is that of a byte with k zero bytes behind it, so the eight
 * bytes of a step can be looked up independently. The tables are made at the first use: two callers
 * that make them at the same time write the same numbers.
 */
#include <mirari/bytes.h>
#include <mirari/crc.h>

#define POLYNOMIAL 0xedb88320u /* reflected */

static uint32_t table[8][256];

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? POLYNOMIAL ^ c >> 1 : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t row = 1; row < 8; row++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = table[row - 1][i];
            table[row][i] = table[0][c & 255] ^ c >> 8;
        }
    }
}

uint32_t mir_crc32(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *at = data;
    if (table[7][255] == 0)
        make_table();
    crc = ~crc;
    for (; len >= 8; at += 8, len -= 8) {
        uint32_t a = mir_get_le32(at) ^ crc;
        uint32_t b = mir_get_le32(at + 4);
        crc = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^
              table[4][a >> 24] ^ table[3][b & 255] ^ table[2][b >> 8 & 255] ^
              table[1][b >> 16 & 255] ^ table[0][b >> 24];
    }
    for (; len > 0; at++, len--)
        crc = table[0][(crc ^ *at) & 255] ^ crc >> 8;
    return ~crc;
}
