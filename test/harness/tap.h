/* SPDX-License-Identifier: ISC */
/* Tests that speak TAP (Test Anything Protocol), hosted or inside an image.
 *
 *   int main(void)
 *   {
 *       tap_begin("wire_eth");
 *       tap_case("short frame is refused");
 *       check_int(mir_eth_parse(...), ==, -MIR_ETRUNCATED);
 *       return tap_done();
 *   }
 *
 * A case is one TAP line; it fails if any check in it fails, and says where and with what values.
 */
#ifndef TEST_TAP_H
#define TEST_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void tap_begin(const char *name);
/** Begin a case; ends the previous one. */
void tap_case(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** The current case is skipped for @reason. */
void tap_skip(const char *reason);
/** Close the last case, print the plan. Returns the exit status. */
int tap_done(void);

bool tap_check(bool ok, const char *file, int line, const char *text);
bool tap_check_int(long long a, long long b, bool ok, const char *file, int line, const char *text);
bool tap_check_mem(const void *a, const void *b, size_t len, const char *file, int line,
                   const char *text);
bool tap_check_str(const char *a, const char *b, const char *file, int line, const char *text);
/** Print a diagnostic line ("# ..."). */
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** The seed of this run: --seed N or SEED in the environment, else @fallback. Printed. */
uint64_t tap_seed(int argc, char **argv, uint64_t fallback);

#define check(x) tap_check((x) ? true : false, __FILE__, __LINE__, #x)
#define check_int(a, op, b)                                                                        \
    ({                                                                                             \
        long long tap__a = (long long)(a);                                                         \
        long long tap__b = (long long)(b);                                                         \
        tap_check_int(tap__a, tap__b, tap__a op tap__b, __FILE__, __LINE__, #a " " #op " " #b);    \
    })
#define check_mem(a, b, len) tap_check_mem(a, b, len, __FILE__, __LINE__, #a " equals " #b)
#define check_str(a, b)      tap_check_str(a, b, __FILE__, __LINE__, #a " equals " #b)

#endif
