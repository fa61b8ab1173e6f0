/* SPDX-License-Identifier: ISC */
/* Whether AddressSanitizer is compiled in: gcc and clang say it in different ways. */
#ifndef LIB_BASE_ASAN_H
#define LIB_BASE_ASAN_H

#if defined(__SANITIZE_ADDRESS__)
#define MIR__HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MIR__HAS_ASAN 1
#endif
#endif

#endif
