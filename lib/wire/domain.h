/* SPDX-License-Identifier: ISC */
/* Domain names in lists, without compression: DHCPv6 option 24 and the DNSSL option of routers.
 *
 *   +---+-------------+---+---------+---+
 *   | 7 | e x a m p l | 3 | o r g   | 0 |   next name, or zeros up to the end of the option
 *   +---+-------------+---+---------+---+
 *
 * Source: RFC 1035 section 3.1; RFC 8415 section 10; RFC 8106 section 5.2.
 */
#ifndef LIB_WIRE_DOMAIN_H
#define LIB_WIRE_DOMAIN_H

#include <mirari/bytes.h>
#include <mirari/err.h>

/** Text of a name with NUL: 253 octets at most. */
#define MIR__DOMAIN_TEXT_MAX 254u

/** The next name in [len] bytes from *@at, as text with dots. Returns its length and moves *@at; 0
 *  at the end or where only zeros follow; -MIR_EMALFORMED (label or name too long, cut off, an
 *  octet that would not be plain text: a dot, a control character, anything above 126). */
int mir__domain_next(const uint8_t *list, size_t len, size_t *at,
                     char text[MIR__DOMAIN_TEXT_MAX]) MIR_CHECK;

#endif
