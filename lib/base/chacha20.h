/* SPDX-License-Identifier: ISC */
/* The ChaCha20 block function (RFC 8439 section 2.3). */
#ifndef LIB_BASE_CHACHA20_H
#define LIB_BASE_CHACHA20_H

#include <mirari/base.h>

/** 64 bytes of key stream: words of @key and @nonce as loaded little-endian from memory. */
void mir__chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3],
                         uint8_t out[64]);

#endif
