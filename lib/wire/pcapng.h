/* SPDX-License-Identifier: ISC */
/* Blocks of a pcapng capture file, written into caller's memory.
 *
 *   Section Header Block, Interface Description Block, then one Enhanced Packet Block a frame.
 *
 * Source  draft-ietf-opsawg-pcapng sections 4.1, 4.2, 4.3
 */
#ifndef LIB_WIRE_PCAPNG_H
#define LIB_WIRE_PCAPNG_H

#include <mirari/base.h>
#include <mirari/page.h>

enum mir__pcapng_direction { MIR__PCAPNG_IN = 1, MIR__PCAPNG_OUT = 2 };

/** Room that the section header needs. */
#define MIR__PCAPNG_SECTION_BYTES 128u
/** Room that an interface block needs (its name is cut at 64 bytes). */
#define MIR__PCAPNG_INTERFACE_BYTES 128u
/** Room that a packet block needs besides its captured bytes. */
#define MIR__PCAPNG_PACKET_OVERHEAD 48u

/** Write a section header into [MIR__PCAPNG_SECTION_BYTES] bytes. Returns its length. */
size_t mir__pcapng_put_section(uint8_t *out, const char *application);
/** Write an Ethernet interface with time stamps of one microsecond into
 *  [MIR__PCAPNG_INTERFACE_BYTES] bytes. @snaplen 0 = no limit. Returns its length. */
size_t mir__pcapng_put_interface(uint8_t *out, const char *name, uint32_t snaplen);
/** Write a packet block into [MIR__PCAPNG_PACKET_OVERHEAD + captured_len + 3] bytes: the first
 *  @captured_len bytes of @buf (borrowed). Returns its length. */
size_t mir__pcapng_put_packet(uint8_t *out, const struct mir_buf *buf, uint32_t captured_len,
                              mir_time_us wall_us, enum mir__pcapng_direction direction);
/** The packet block at @block is of the @index-th interface block, from 0, instead of the first. */
void mir__pcapng_set_interface(uint8_t *block, uint32_t index);

#endif
