/* SPDX-License-Identifier: ISC */
/* Tar archives made by hand, right or wrong, and stores over them in memory or on a disk. */
#include "test/harness/tarball.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dev/block/ram/ram.h"
#include "test/harness/stacks.h"

#define BLOCK 512u
#define ARENA ((size_t)8 << 20)

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE); /* of the one store that is open */

void tarball_init(struct tarball *tar)
{
    *tar = (struct tarball){.data = calloc(1, TARBALL_MAX)};
    if (tar->data == NULL)
        abort();
}

void tarball_fini(struct tarball *tar)
{
    free(tar->data);
}

void tarball_sum(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (unsigned i = 0; i < BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

uint8_t *tarball_header(struct tarball *tar, const char *name, char type, uint64_t size)
{
    uint8_t *header = tar->data + tar->len;
    if (tar->len + BLOCK > TARBALL_MAX)
        abort();
    memset(header, 0, BLOCK);
    memcpy(header, name, strnlen(name, 100));
    memcpy(header + 100, "0000644", 8);
    snprintf((char *)header + 124, 12, "%011llo", (unsigned long long)size & 077777777777);
    memcpy(header + 136, "14000000000", 12);
    header[156] = (uint8_t)type;
    memcpy(header + 257, "ustar\00000", 8);
    tarball_sum(header);
    tar->len += BLOCK;
    return header;
}

void tarball_body(struct tarball *tar, const void *data, size_t len)
{
    size_t whole = (len + BLOCK - 1) / BLOCK * BLOCK;
    if (tar->len + whole > TARBALL_MAX)
        abort();
    memset(tar->data + tar->len, 0, whole);
    if (len > 0)
        memcpy(tar->data + tar->len, data, len);
    tar->len += whole;
}

void tarball_file(struct tarball *tar, const char *name, const char *text)
{
    tarball_header(tar, name, '0', strlen(text));
    tarball_body(tar, text, strlen(text));
}

void tarball_record(struct tarball *tar, char type, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, len = rest + 1;
    char digits[24];
    while ((size_t)snprintf(digits, sizeof digits, "%zu", len) + rest != len)
        len++;
    char *record = malloc(len + 1);
    if (record == NULL)
        abort();
    snprintf(record, len + 1, "%zu %s=%s\n", len, key, value);
    tarball_header(tar, "extended", type, len);
    tarball_body(tar, record, len);
    free(record);
}

void tarball_end(struct tarball *tar)
{
    uint8_t zeroes[2 * BLOCK] = {0};
    tarball_body(tar, zeroes, sizeof zeroes);
}

/* ---- stores --------------------------------------------------------------------------------- */

struct job {
    struct tardisk *disk;
    struct mir_kv_tar_config config;
    struct mir_loop loop;
    struct mir_block_ram ram;
    bool is_done;
};

static void read_disk(void *arg)
{
    struct job *job = arg;
    job->disk->result =
        mir_kv_tar_read(&job->config, &job->loop, &job->ram.dev, &job->disk->kv, job->disk->error);
    job->is_done = true;
}

static void open_disk(struct tardisk *disk, struct mir_kv_tar_config config, uint32_t block_bytes,
                      uint64_t block_count)
{
    static struct test_stacks stacks;
    struct job job = {.disk = disk, .config = config};
    struct mir_block_ram_config ram = {.loop = &job.loop,
                                       .memory = disk->memory,
                                       .block_bytes = block_bytes,
                                       .block_count = block_count,
                                       .is_readonly = true};
    mir_time_us now_us = 1, next_us;
    if (stacks.limit == 0)
        test_stacks_init(&stacks, 1);
    mir_loop_init(&job.loop, now_us);
    if (mir_block_ram_init(&job.ram, &ram) < 0 ||
        mir_task_spawn(&job.loop, &stacks.source, "tar", 0, read_disk, &job, NULL) < 0)
        abort();
    while (!job.is_done)
        mir_loop_step(&job.loop, ++now_us, &next_us);
    mir_loop_step(&job.loop, ++now_us, &next_us);
}

void tardisk_open(struct tardisk *disk, const uint8_t *data, size_t len, uint32_t block_bytes,
                  const struct mir_kv_tar_config *config)
{
    uint64_t blocks = block_bytes != 0 ? (len + block_bytes - 1) / block_bytes : 0;
    struct mir_kv_tar_config own = {.pages = NULL};
    *disk = (struct tardisk){.memory = calloc(1, len + MIR_PAGE_SIZE)};
    if (disk->memory == NULL || mir_page_pool_init(&disk->pages, arena, ARENA) < 0)
        abort();
    if (len > 0)
        memcpy(disk->memory, data, len);
    if (config != NULL)
        own = *config;
    own.pages = &disk->pages;
    if (block_bytes == 0)
        disk->result = mir_kv_tar_open(&own, disk->memory, len, &disk->kv, disk->error);
    else
        open_disk(disk, own, block_bytes, blocks);
}

void tardisk_close(struct tardisk *disk)
{
    if (mir_page_pool_used_bytes(&disk->pages) != 0)
        abort();
    free(disk->memory);
}
