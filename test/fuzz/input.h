/* SPDX-License-Identifier: ISC */
/* What a fuzzer is driven by: its input, taken from the front. At its end it gives zeros. */
#ifndef TEST_FUZZ_INPUT_H
#define TEST_FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
    uint8_t high = fuzz_u8(in);
    return (uint16_t)(high << 8 | fuzz_u8(in));
}

/** Up to @max bytes where they stand; @len: how many, at most what is left. */
static inline const uint8_t *fuzz_bytes(struct fuzz_input *in, size_t max, size_t *len)
{
    size_t wanted = fuzz_u8(in) * 17u % (max + 1);
    const uint8_t *from = in->at;
    *len = wanted < in->left ? wanted : in->left;
    in->at += *len;
    in->left -= *len;
    return from;
}

/** What has to hold whatever the input says. */
static inline void fuzz_must(bool holds)
{
    if (!holds)
        abort();
}

#endif
