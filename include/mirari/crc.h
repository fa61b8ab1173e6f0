/* SPDX-License-Identifier: ISC */
/* CRC-32 as in Ethernet, gzip and zip. */
#ifndef MIRARI_CRC_H
#define MIRARI_CRC_H

#include <mirari/base.h>

/**
 * mir_crc32() - go on with a CRC-32.
 *
 * @crc  0 to begin, or what an earlier call returned
 *
 * Returns the CRC of all bytes so far.
 * Cost    O(len), eight bytes a step
 * Source  ISO/IEC 3309; RFC 1952 section 8
 */
uint32_t mir_crc32(uint32_t crc, const void *data, size_t len);

#endif
