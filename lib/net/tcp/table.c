/* SPDX-License-Identifier: ISC */
/* The connection table: linear hashing over pages of bucket pointers.
 *
 *   hash & (2 mask + 1), or & mask if that bucket does not exist yet
 *
 *   0 .............. split ........ mask | mask+1 ........ buckets-1
 *   already split     not yet split       second halves of the split ones
 *
 * When there are more nodes than buckets, the next bucket in line is split in two and only its
 * nodes move. So the table grows with the connections, no insertion costs more than one bucket, and
 * a table without memory to grow still works, with longer chains. It does not shrink: its memory,
 * eight bytes a connection, follows the peak.
 *
 * The hash is keyed with 256 random bits. It is a folded multiplication, not a cryptographic
 * function: an attacker does not learn hashes, and time differences of chain lengths over a network
 * do not give the key. One table holds the three kinds of node, so a segment needs one look-up.
 */
#include "lib/net/tcp/internal.h"

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_of(const struct mir__tcp_table *table, const struct mir__tcp_tuple *tuple)
{
    const uint64_t *key = table->key;
    uint64_t ports = (uint64_t)tuple->local_port << 16 | tuple->remote_port;
    uint64_t a = fold(mir_get_le64(tuple->remote->bytes + 8) ^ key[0],
                      mir_get_le64(tuple->local->bytes + 8) ^ key[1]);
    uint64_t b = fold(mir_get_le64(tuple->remote->bytes) ^ key[2],
                      mir_get_le64(tuple->local->bytes) ^ key[3]);
    return (uint32_t)fold(a ^ ports ^ key[2], b ^ key[0]);
}

static bool ip_equal(const struct mir_ip *a, const struct mir_ip *b)
{
    return ((mir_get_le64(a->bytes) ^ mir_get_le64(b->bytes)) |
            (mir_get_le64(a->bytes + 8) ^ mir_get_le64(b->bytes + 8))) == 0;
}

static uint32_t bucket_of(const struct mir__tcp_table *table, uint32_t hash)
{
    uint32_t index = hash & (2 * table->mask + 1);
    return index < table->buckets ? index : hash & table->mask;
}

static struct mir__tcp_node **slot_of(const struct mir__tcp_table *table, uint32_t bucket)
{
    return &table->segment[bucket / MIR__TCP_SEGMENT_BUCKETS][bucket % MIR__TCP_SEGMENT_BUCKETS];
}

static int add_segment(struct mir__tcp_state *host, uint32_t index)
{
    struct mir__tcp_table *table = &host->table;
    size_t size = MIR__TCP_SEGMENT_BUCKETS * sizeof(struct mir__tcp_node *);
    int r = mir_page_alloc(host->stack->pages, size, MIR_PAGE_ZERO, &table->page[index]);
    if (r < 0)
        return r;
    table->segment[index] = (struct mir__tcp_node **)(void *)table->page[index]->base;
    return 0;
}

int mir__tcp_table_init(struct mir__tcp_state *host)
{
    struct mir__tcp_table *table = &host->table;
    mir_rng_bytes(host->rng, table->key, sizeof table->key);
    table->buckets = MIR__TCP_SEGMENT_BUCKETS;
    table->mask = MIR__TCP_SEGMENT_BUCKETS - 1;
    return add_segment(host, 0);
}

void mir__tcp_table_fini(struct mir__tcp_state *host)
{
    MIR_ASSERT_OP(host->table.count, ==, 0);
    for (uint32_t i = 0; i < MIR__TCP_SEGMENTS_MAX && host->table.page[i] != NULL; i++)
        mir_page_release(host->table.page[i]);
}

struct mir__tcp_node *mir__tcp_table_find(const struct mir__tcp_table *table,
                                          const struct mir__tcp_tuple *tuple)
{
    uint32_t hash = hash_of(table, tuple);
    struct mir__tcp_node *node = *slot_of(table, bucket_of(table, hash));
    for (; node != NULL; node = node->next)
        if (node->hash == hash && node->local_port == tuple->local_port &&
            node->remote_port == tuple->remote_port && ip_equal(&node->remote, tuple->remote) &&
            ip_equal(&node->local, tuple->local))
            return node;
    return NULL;
}

/* Split the bucket in line; its nodes go to it or to the new last bucket. */
static void split_one(struct mir__tcp_state *host)
{
    struct mir__tcp_table *table = &host->table;
    uint32_t added = table->buckets;
    uint32_t segment = added / MIR__TCP_SEGMENT_BUCKETS;
    if (segment == MIR__TCP_SEGMENTS_MAX)
        return;
    if (table->segment[segment] == NULL && add_segment(host, segment) < 0)
        return;
    uint32_t split = added - (table->mask + 1);
    struct mir__tcp_node *node = *slot_of(table, split);
    table->buckets++;
    *slot_of(table, split) = NULL;
    while (node != NULL) {
        struct mir__tcp_node *next = node->next;
        struct mir__tcp_node **slot = slot_of(table, bucket_of(table, node->hash));
        node->next = *slot;
        *slot = node;
        node = next;
    }
    if (table->buckets == 2 * (table->mask + 1))
        table->mask = 2 * table->mask + 1;
}

void mir__tcp_table_insert(struct mir__tcp_state *host, struct mir__tcp_node *node,
                           const struct mir__tcp_tuple *tuple, enum mir__tcp_kind kind)
{
    struct mir__tcp_table *table = &host->table;
    node->hash = hash_of(table, tuple);
    node->local = *tuple->local;
    node->remote = *tuple->remote;
    node->local_port = tuple->local_port;
    node->remote_port = tuple->remote_port;
    node->kind = (uint8_t)kind;
    node->is_in_table = true;
    struct mir__tcp_node **slot = slot_of(table, bucket_of(table, node->hash));
    node->next = *slot;
    *slot = node;
    if (++table->count > table->buckets)
        split_one(host);
}

void mir__tcp_table_remove(struct mir__tcp_state *host, struct mir__tcp_node *node)
{
    if (!node->is_in_table)
        return;
    struct mir__tcp_node **slot = slot_of(&host->table, bucket_of(&host->table, node->hash));
    while (*slot != node)
        slot = &(*slot)->next;
    *slot = node->next;
    node->is_in_table = false;
    host->table.count--;
}
