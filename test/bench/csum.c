/* SPDX-License-Identifier: ISC */
/* How fast the Internet checksum is. Prints `name value unit`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/wire/csum.h"

enum { AREA = 65536 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint8_t from[AREA] MIR_ALIGNED(64), to[AREA] MIR_ALIGNED(64);
static uint16_t sums[1 + AREA / MIR_PAGE_SUM_BLOCK];
static volatile uint16_t sink;

static void run_partial(size_t len)
{
    sink = mir__csum_partial(from, len);
}

static void run_copy(size_t len)
{
    sink = mir__csum_copy(to, from, len);
}

static void run_memcpy(size_t len)
{
    memcpy(to, from, len);
    sink = to[len - 1];
}

static void run_blocks(size_t len)
{
    static struct mir_io_page page = {
        .base = from, .size_bytes = AREA, .flags = MIR_PAGE_STATIC, .block_sums = sums};
    struct mir_view view = {&page, from, (uint32_t)len};
    sink = mir__csum_view(&view);
}

static void measure(const char *name, void (*run)(size_t), size_t len)
{
    double best = 1e9;
    uint64_t rounds = 20000000 / (len + 200);
    for (int i = 0; i < 5; i++) {
        double begin = now_s();
        for (uint64_t k = 0; k < rounds; k++)
            run(len);
        double each = (now_s() - begin) / (double)rounds;
        if (each < best)
            best = each;
    }
    printf("csum_%s_%zu %.1f ns\n", name, len, best * 1e9);
    printf("csum_%s_%zu_rate %.2f GB/s\n", name, len, (double)len / best * 1e-9);
}

int main(void)
{
    static const size_t sizes[] = {20, 64, 576, 1460, 4096, 65536};
    for (size_t i = 0; i < AREA; i++)
        from[i] = (uint8_t)rand();
    mir__csum_blocks(from, AREA, sums);
    for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        measure("partial", run_partial, sizes[i]);
        measure("copy", run_copy, sizes[i]);
        measure("memcpy", run_memcpy, sizes[i]);
        if (sizes[i] >= 576)
            measure("blocks", run_blocks, sizes[i]);
    }
    if (!mir__csum_has_simd())
        return 0;
    mir__csum_use(mir__csum_blocks_simd);
    for (size_t i = 2; i < MIR_ARRAY_LEN(sizes); i++)
        measure("simd", run_partial, sizes[i]);
    return 0;
}
