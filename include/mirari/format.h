/* SPDX-License-Identifier: ISC */
/* Bounded text formatting without a C library. */
#ifndef MIRARI_FORMAT_H
#define MIRARI_FORMAT_H

#include <stdarg.h>
#include <mirari/base.h>

/**
 * mir_format() - snprintf without a C library.
 *
 * @out   [size] bytes, always NUL-terminated when size > 0
 * @fmt   %d %i %u %o %x %X %c %s %p %% with the flags, widths, precisions and length modifiers of
 *        C99, widths and precisions up to 100,000; no floating point, no %n
 *
 * Returns the length the whole text has, without NUL (>= size: it was cut).
 * Cost    O(length)
 * Source  none
 */
size_t mir_format(char *out, size_t size, const char *fmt, ...) MIR_PRINTF(3, 4);
size_t mir_vformat(char *out, size_t size, const char *fmt, va_list args) MIR_PRINTF(3, 0);

/**
 * mir_parse_u64() - a decimal number, digits only.
 *
 * @text   [len] bytes, no NUL needed
 * @value  out: the number, at most @max
 *
 * Returns 0, -MIR_EMALFORMED (empty or not only digits), -MIR_ERANGE (above @max).
 * Source  none
 */
int mir_parse_u64(const char *text, size_t len, uint64_t max, uint64_t *value) MIR_CHECK;

/**
 * mir_hex_digit() - the value of a hexadecimal digit, of either case.
 *
 * Returns 0 .. 15, or -1: it is none.
 * Cost    O(1)
 * Source  none
 */
static inline int mir_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
