/* SPDX-License-Identifier: ISC */
/* Writes a disk as qcow2 (QEMU, docs/interop/qcow2.txt, version 2): a header, two levels of tables
 * from the disk's clusters to the file's, and a count of uses for each cluster of the file.
 *
 *   header | table of counts | counts | table 1 | tables 2 | clusters that are not zeros
 *
 * Clusters of zeros are not in the file: a data partition costs nothing until it is written to. A
 * cluster has 4 KiB, so that a small appliance makes a small file. Numbers are big endian. The
 * order is fixed, so the same disk makes the same file.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/image.h"

#define CLUSTER    4096u
#define BITS       12u
#define L2_ENTRIES (CLUSTER / 8)
#define REFS       (CLUSTER / 2) /* counts in a cluster of them */
#define IS_OURS    (1ull << 63)  /* exactly one use */
#define MAGIC      0x514649fbu

static void put_be32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void put_be64(uint8_t *at, uint64_t value)
{
    put_be32(at, (uint32_t)(value >> 32));
    put_be32(at + 4, (uint32_t)value);
}

/* Cluster @index of the disk, or false if it is zeros. */
static bool read_cluster(const struct disk *disk, uint64_t index, uint8_t out[CLUSTER])
{
    static const uint8_t zeros[CLUSTER];
    const struct {
        const struct str *part;
        uint64_t at;
    } parts[] = {{&disk->head, 0}, {&disk->tail, disk->size_bytes - disk->tail.len}};
    uint64_t begin = index * CLUSTER, end = begin + CLUSTER;
    if (begin >= disk->head.len && end <= parts[1].at)
        return false; /* most of a large disk */
    memset(out, 0, CLUSTER);
    for (size_t i = 0; i < LEN(parts); i++) {
        uint64_t from = parts[i].at > begin ? parts[i].at : begin;
        uint64_t to = parts[i].at + parts[i].part->len;
        to = to < end ? to : end;
        if (from < to)
            memcpy(out + (from - begin), parts[i].part->data + (from - parts[i].at), to - from);
    }
    return memcmp(out, zeros, CLUSTER) != 0;
}

static uint64_t divided(uint64_t value, uint64_t by)
{
    return (value + by - 1) / by;
}

struct layout {
    uint64_t clusters, l1_entries, l1_clusters, l2_count, data_count, used, ref_blocks, ref_table;
    uint64_t *l2_number; /* for each entry of table 1 the number of its table 2 from 1, or 0 */
};

/* Counts are in clusters that are counted too: a few rounds settle it. */
static struct layout lay_out(const struct disk *disk)
{
    struct layout l = {.clusters = divided(disk->size_bytes, CLUSTER)};
    uint8_t cluster[CLUSTER];
    l.l1_entries = divided(l.clusters, L2_ENTRIES);
    l.l1_clusters = divided(l.l1_entries, L2_ENTRIES);
    l.l2_number = need(l.l1_entries * sizeof(l.l2_number[0]));
    for (uint64_t i = 0; i < l.clusters; i++) {
        if (!read_cluster(disk, i, cluster))
            continue;
        l.data_count++;
        if (l.l2_number[i / L2_ENTRIES] == 0)
            l.l2_number[i / L2_ENTRIES] = ++l.l2_count;
    }
    for (uint64_t before = UINT64_MAX; before != l.used;) {
        before = l.used;
        l.ref_blocks = divided(l.used, REFS);
        l.ref_table = divided(l.ref_blocks, L2_ENTRIES);
        l.used = 1 + l.ref_table + l.ref_blocks + l.l1_clusters + l.l2_count + l.data_count;
    }
    return l;
}

static void make_header(const struct disk *disk, const struct layout *l, uint8_t *out)
{
    put_be32(out, MAGIC);
    put_be32(out + 4, 2);
    put_be32(out + 20, BITS);
    put_be64(out + 24, disk->size_bytes);
    put_be32(out + 36, (uint32_t)l->l1_entries);
    put_be64(out + 40, (1 + l->ref_table + l->ref_blocks) * CLUSTER);
    put_be64(out + 48, CLUSTER);
    put_be32(out + 56, (uint32_t)l->ref_table);
}

int disk_write_qcow2(const struct disk *disk, int fd)
{
    struct layout l = lay_out(disk);
    uint64_t tables = l.used - l.data_count, next = tables;
    uint8_t *meta = need(tables * CLUSTER), cluster[CLUSTER];
    uint8_t *ref_table = meta + CLUSTER, *refs = ref_table + l.ref_table * CLUSTER;
    uint8_t *l1 = refs + l.ref_blocks * CLUSTER, *l2 = l1 + l.l1_clusters * CLUSTER;
    int r = 0;
    make_header(disk, &l, meta);
    for (uint64_t i = 0; i < l.ref_blocks; i++)
        put_be64(ref_table + 8 * i, (1 + l.ref_table + i) * CLUSTER);
    for (uint64_t i = 0; i < l.used; i++)
        refs[2 * i + 1] = 1;
    for (uint64_t i = 0; i < l.l1_entries; i++)
        if (l.l2_number[i] != 0)
            put_be64(l1 + 8 * i,
                     ((uint64_t)(l2 - meta) + (l.l2_number[i] - 1) * CLUSTER) | IS_OURS);
    for (uint64_t i = 0; i < l.clusters && r == 0; i++) {
        if (!read_cluster(disk, i, cluster))
            continue;
        uint8_t *table = l2 + (l.l2_number[i / L2_ENTRIES] - 1) * CLUSTER;
        put_be64(table + 8 * (i % L2_ENTRIES), next * CLUSTER | IS_OURS);
        r = write_at(fd, cluster, CLUSTER, next++ * CLUSTER);
    }
    if (r == 0)
        r = write_at(fd, meta, tables * CLUSTER, 0);
    free(meta);
    free(l.l2_number);
    return r;
}
