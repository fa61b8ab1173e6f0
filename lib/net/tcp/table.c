/* SPDX-License-Identifier: ISC */
/* The connection table: linear hashing over pages of bucket pointers, 512 in a page, 256 pages in a
 * directory.
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

static struct mir__tcp_strip *strip_of(const struct mir__tcp_table *table, uint32_t strip)
{
    return &table->directory[strip / MIR__TCP_DIRECTORY_STRIPS][strip % MIR__TCP_DIRECTORY_STRIPS];
}

static struct mir__tcp_node **slot_of(const struct mir__tcp_table *table, uint32_t bucket)
{
    return &strip_of(table, bucket / MIR__TCP_STRIP_BUCKETS)
                ->buckets[bucket % MIR__TCP_STRIP_BUCKETS];
}

/* A zeroed page. */
static void *add_page(struct mir__tcp_state *host, struct mir_io_page **page)
{
    *page = NULL;
    if (mir_page_alloc(host->stack->pages, MIR_PAGE_SIZE, MIR_PAGE_ZERO, page) < 0)
        return NULL;
    return (*page)->base;
}

static int add_strip(struct mir__tcp_state *host, uint32_t index)
{
    struct mir__tcp_table *table = &host->table;
    uint32_t directory = index / MIR__TCP_DIRECTORY_STRIPS;
    if (table->directory[directory] == NULL)
        table->directory[directory] = add_page(host, &table->page[directory]);
    if (table->directory[directory] == NULL)
        return -MIR_ENOMEM;
    struct mir__tcp_strip *strip = strip_of(table, index);
    if (strip->buckets == NULL)
        strip->buckets = add_page(host, &strip->page);
    return strip->buckets != NULL ? 0 : -MIR_ENOMEM;
}

int mir__tcp_table_init(struct mir__tcp_state *host)
{
    struct mir__tcp_table *table = &host->table;
    mir_rng_bytes(host->rng, table->key, sizeof table->key);
    table->buckets = MIR__TCP_STRIP_BUCKETS;
    table->mask = MIR__TCP_STRIP_BUCKETS - 1;
    int r = add_strip(host, 0);
    if (r < 0)
        mir__tcp_table_fini(host);
    return r;
}

void mir__tcp_table_fini(struct mir__tcp_state *host)
{
    MIR_ASSERT_OP(host->table.count, ==, 0);
    for (uint32_t i = 0; i < MIR__TCP_DIRECTORIES && host->table.page[i] != NULL; i++) {
        const struct mir__tcp_strip *strip = host->table.directory[i];
        for (uint32_t k = 0; k < MIR__TCP_DIRECTORY_STRIPS && strip[k].page != NULL; k++)
            mir_page_release(strip[k].page);
        mir_page_release(host->table.page[i]);
    }
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

const struct mir__tcp_node *mir__tcp_table_bucket(const struct mir__tcp_table *table,
                                                  uint32_t bucket)
{
    MIR_ASSERT_OP(bucket, <, table->buckets);
    return *slot_of(table, bucket);
}

/* ---- ahead of a segment (lib/net/ahead.c) --------------------------------------------------- */

#define CROWD      4096u
#define CACHE_LINE 64u

bool mir__tcp_is_crowded(struct mir_net *net)
{
    return mir__net_tcp(net)->table.count > CROWD;
}

bool mir_net_has_connection(struct mir_net *net, const struct mir_endpoint *local,
                            const struct mir_endpoint *remote)
{
    struct mir__tcp_tuple tuple = {&local->ip, &remote->ip, local->port, remote->port};
    return mir__tcp_table_find(&mir__net_tcp(net)->table, &tuple) != NULL;
}

uint32_t mir__tcp_ahead_bucket(struct mir_net *net, const struct mir_endpoint *here,
                               const struct mir_endpoint *there)
{
    const struct mir__tcp_table *table = &mir__net_tcp(net)->table;
    struct mir__tcp_tuple tuple = {&here->ip, &there->ip, here->port, there->port};
    uint32_t hash = hash_of(table, &tuple);
    __builtin_prefetch(slot_of(table, bucket_of(table, hash)));
    return hash;
}

static void ask_for(const void *object, size_t size)
{
    for (size_t at = 0; at < size; at += CACHE_LINE)
        __builtin_prefetch((const uint8_t *)object + at);
}

/* Whatever the node is of: a connection is the largest, and asking for too much does no harm. */
static void ask_for_object(const struct mir__tcp_node *node)
{
    ask_for((const uint8_t *)node - offsetof(struct mir__tcp_pcb, node),
            sizeof(struct mir__tcp_pcb));
}

void mir__tcp_ahead_object(struct mir_net *net, uint32_t hash)
{
    const struct mir__tcp_table *table = &mir__net_tcp(net)->table;
    const struct mir__tcp_node *node = *slot_of(table, bucket_of(table, hash));
    if (node != NULL)
        ask_for_object(node);
}

void mir__tcp_ahead_block(struct mir_net *net, uint32_t hash)
{
    const struct mir__tcp_table *table = &mir__net_tcp(net)->table;
    struct mir__tcp_node *first = *slot_of(table, bucket_of(table, hash));
    struct mir__tcp_node *node = first;
    while (node != NULL && node->hash != hash)
        node = node->next;
    if (node == NULL || node->kind != MIR__TCP_PCB)
        return;
    const struct mir__tcp_pcb *pcb = pcb_of_node(node);
    if (node != first)
        ask_for_object(node);
    if (mir__tcp_is_busy(pcb))
        ask_for(pcb->busy, sizeof *pcb->busy);
}

/* Split the bucket in line; its nodes go to it or to the new last bucket. */
static void split_one(struct mir__tcp_state *host)
{
    struct mir__tcp_table *table = &host->table;
    uint32_t added = table->buckets;
    uint32_t strip = added / MIR__TCP_STRIP_BUCKETS;
    if (strip == MIR__TCP_DIRECTORIES * MIR__TCP_DIRECTORY_STRIPS)
        return;
    if (added % MIR__TCP_STRIP_BUCKETS == 0 && add_strip(host, strip) < 0)
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
