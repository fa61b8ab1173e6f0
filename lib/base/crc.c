/* SPDX-License-Identifier: ISC */
/* CRC-32 with eight tables, eight bytes a step; with one of them where the compiler is told to make
 * small code.
 *
 * Row 0 is the CRC of a byte; row k is that of a byte with k zero bytes behind it, so the eight
 * bytes of a step can be looked up independently.
 *
 * A CRC is linear: the entry of a byte is the XOR of the entries of its bits. So a row is given by
 * eight numbers (the register after 8 (k + 1) steps of the reflected polynomial 0xedb88320, begun
 * with 1 << bit), and the compiler makes the constant table from them.
 */
#include <mirari/bytes.h>
#include <mirari/crc.h>

#define BIT(i, bit, value) (((i) >> (bit)&1u) * (value))
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^     \
     BIT(i, 6, g) ^ BIT(i, 7, h))
#define FOUR(i, ...)                                                                               \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1u, __VA_ARGS__), ENTRY((i) + 2u, __VA_ARGS__),             \
        ENTRY((i) + 3u, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                            \
    FOUR(i, __VA_ARGS__), FOUR((i) + 4u, __VA_ARGS__), FOUR((i) + 8u, __VA_ARGS__),                \
        FOUR((i) + 12u, __VA_ARGS__)
#define SIXTY_FOUR(i, ...)                                                                         \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN((i) + 16u, __VA_ARGS__), SIXTEEN((i) + 32u, __VA_ARGS__),     \
        SIXTEEN((i) + 48u, __VA_ARGS__)
#define ROW(...)                                                                                   \
    {                                                                                              \
        SIXTY_FOUR(0u, __VA_ARGS__), SIXTY_FOUR(64u, __VA_ARGS__), SIXTY_FOUR(128u, __VA_ARGS__),  \
            SIXTY_FOUR(192u, __VA_ARGS__)                                                          \
    }

#ifdef __OPTIMIZE_SIZE__
#define ROWS 1
#else
#define ROWS 8
#endif

static const uint32_t table[ROWS][256] = {
    [0] = ROW(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190,
              0xedb88320),
#if ROWS > 1
    [1] = ROW(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05,
              0x3b83984b),
    [2] = ROW(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0,
              0xe1351b80),
    [3] = ROW(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d,
              0xed59b63b),
    [4] = ROW(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849,
              0xb1e6b092),
    [5] = ROW(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c,
              0x1eb014d8),
    [6] = ROW(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579,
              0x8816eaf2),
    [7] = ROW(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed,
              0x533b85da),
#endif
};

uint32_t mir_crc32(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *at = data;
    crc = ~crc;
#if ROWS > 1
    for (; len >= 8; at += 8, len -= 8) {
        uint32_t a = mir_get_le32(at) ^ crc;
        uint32_t b = mir_get_le32(at + 4);
        crc = table[7][a & 255] ^ table[6][a >> 8 & 255] ^ table[5][a >> 16 & 255] ^
              table[4][a >> 24] ^ table[3][b & 255] ^ table[2][b >> 8 & 255] ^
              table[1][b >> 16 & 255] ^ table[0][b >> 24];
    }
#endif
    for (; len > 0; at++, len--)
        crc = table[0][(crc ^ *at) & 255] ^ crc >> 8;
    return ~crc;
}
