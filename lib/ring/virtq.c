/* SPDX-License-Identifier: ISC */
/* Split virtqueue, driver's side, which trusts nothing that the device writes.
 *
 *   add -> add -> publish -> (notify)          take -> take -> -MIR_EAGAIN -> arm -> sleep
 *
 * A chain is a list of descriptors, or one descriptor that points at a table of them. Its first
 * descriptor's number is its identity: it comes from the free list and goes back there only when
 * the device has returned the chain, so two chains in flight never have the same (advisory MSA00).
 *
 * Shared memory is written only, but for three things of the device's: the used index, the used
 * entries and its wish for notifications. Each is read once into a local and then checked. Which
 * descriptors belong to a chain, how much room it has and whose it is are remembered in slots[],
 * which the device does not see; a device that rewrites descriptors or tables harms itself. A wrong
 * index, a number out of range or not in flight, or an impossible length marks the queue as faulty:
 * from then on it neither takes nor gives until the driver has reset the device and made the queue
 * anew. The wish for notifications can only cause too many or too few of them.
 *
 * Order. Descriptors are written before the index that publishes them (release); entries are read
 * after the index that tells of them (acquire); between "publish" and "does it want to be
 * notified", and between "arm" and "is something there already", stands a full fence, because both
 * sides write one word and then read the other's (sections 2.7.13.4, 2.7.7.1, 2.7.10).
 *
 * Tables are used for long chains, and when descriptors run short: a table costs the device a look
 * more. Chains of one descriptor, the usual ones, touch nothing else.
 *
 * Not here: packed rings, in-order completion, suspending one queue.
 */
#include "lib/ring/virtq.h"

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u

#define DESC_BYTES  16u
#define TABLE_BYTES (MIR__VIRTQ_CHAIN_MAX * DESC_BYTES)
/* From so many descriptors on a table is worth it. */
#define TABLE_FROM 6u

#define END 0xffffu /* of the free list */

_Static_assert(sizeof(struct mir__virtq_desc) == DESC_BYTES, "descriptor as on the wire");
_Static_assert(MIR__VIRTQ_SIZE_MAX < END, "a number that is no descriptor");

/* ---- layout --------------------------------------------------------------------------------- */

static size_t align_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t used_offset(uint16_t size)
{
    return align_up((size_t)size * DESC_BYTES + 6 + 2u * (size_t)size, MIR__VIRTQ_ALIGN);
}

static size_t tables_offset(uint16_t size)
{
    return align_up(used_offset(size) + 6 + 8u * (size_t)size, DESC_BYTES);
}

size_t mir__virtq_shared_bytes(uint16_t size, uint16_t table_count)
{
    return tables_offset(size) + (size_t)table_count * TABLE_BYTES;
}

size_t mir__virtq_own_bytes(uint16_t size, uint16_t table_count)
{
    return (size_t)size * sizeof(struct mir__virtq_slot) + (size_t)table_count * sizeof(uint16_t);
}

static void *at(void *base, size_t offset)
{
    return (uint8_t *)base + offset;
}

int mir__virtq_init(struct mir__virtq *q, const struct mir__virtq_config *config)
{
    uint16_t size = config->size, tables = config->table_count;
    bool is_power = (size & (size - 1u)) == 0;
    if (size < 2 || size > MIR__VIRTQ_SIZE_MAX || !is_power || tables > MIR__VIRTQ_TABLES_MAX ||
        (uintptr_t)config->shared % MIR__VIRTQ_ALIGN != 0 || (uintptr_t)config->own % 8 != 0)
        return -MIR_EINVAL;
    if (!(config->flags & MIR__VIRTQ_INDIRECT))
        tables = 0;
    mir_memset(config->shared, 0, mir__virtq_shared_bytes(size, config->table_count));
    *q = (struct mir__virtq){
        .desc = config->shared,
        .avail = at(config->shared, (size_t)size * DESC_BYTES),
        .used = at(config->shared, used_offset(size)),
        .tables = at(config->shared, tables_offset(size)),
        .slots = config->own,
        .free_tables = at(config->own, (size_t)size * sizeof(struct mir__virtq_slot)),
        .shared_address = config->shared_address,
        .tables_address = config->shared_address + tables_offset(size),
        .size = size,
        .mask = (uint16_t)(size - 1),
        .free_count = size,
        .table_count = tables,
        .tables_left = tables,
        .has_event_idx = config->flags & MIR__VIRTQ_EVENT_IDX,
        .is_armed = true,
    };
    for (uint16_t i = 0; i < size; i++)
        q->slots[i] = (struct mir__virtq_slot){.next = (uint16_t)(i + 1u == size ? END : i + 1u)};
    for (uint16_t i = 0; i < tables; i++)
        q->free_tables[i] = (uint16_t)(tables - 1 - i);
    return 0;
}

uint64_t mir__virtq_desc_address(const struct mir__virtq *q)
{
    return q->shared_address;
}

uint64_t mir__virtq_avail_address(const struct mir__virtq *q)
{
    return q->shared_address + (uint64_t)q->size * DESC_BYTES;
}

uint64_t mir__virtq_used_address(const struct mir__virtq *q)
{
    return q->shared_address + used_offset(q->size);
}

/* ---- words of the rings -----------------------------------------------------------------------
 */

static uint16_t *used_word(const struct mir__virtq *q, size_t offset)
{
    return (uint16_t *)(void *)(q->used + offset);
}

static uint16_t read_used_idx(const struct mir__virtq *q)
{
    return __atomic_load_n(used_word(q, 2), __ATOMIC_ACQUIRE);
}

static uint32_t read_entry(const struct mir__virtq *q, size_t offset)
{
    uint32_t *word =
        (uint32_t *)(void *)(q->used + 4 + 8u * (size_t)(q->used_idx & q->mask) + offset);
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void write_avail(struct mir__virtq *q, size_t index, uint16_t value)
{
    __atomic_store_n(&q->avail[index], value, __ATOMIC_RELAXED);
}

/* ---- chains -----------------------------------------------------------------------------------
 */

static uint16_t flags_of(uint32_t i, uint32_t out_count, uint32_t total)
{
    return (uint16_t)((i + 1 < total ? DESC_NEXT : 0u) | (i >= out_count ? DESC_WRITE : 0u));
}

static uint16_t pop_free(struct mir__virtq *q)
{
    uint16_t i = q->free_head;
    q->free_head = q->slots[i].next;
    q->free_count--;
    return i;
}

static uint16_t fill_table(struct mir__virtq *q, const struct mir__virtq_seg *segs,
                           uint32_t out_count, uint32_t total)
{
    uint16_t number = q->free_tables[--q->tables_left];
    size_t first = (size_t)number * MIR__VIRTQ_CHAIN_MAX;
    uint16_t head = pop_free(q);
    for (uint32_t i = 0; i < total; i++)
        q->tables[first + i] = (struct mir__virtq_desc){
            segs[i].address, segs[i].len, flags_of(i, out_count, total), (uint16_t)(i + 1)};
    q->desc[head] = (struct mir__virtq_desc){q->tables_address + first * DESC_BYTES,
                                             total * DESC_BYTES, DESC_INDIRECT, 0};
    q->slots[head].table = (uint16_t)(number + 1);
    q->slots[head].count = 1;
    q->indirects++;
    return head;
}

static uint16_t fill_direct(struct mir__virtq *q, const struct mir__virtq_seg *segs,
                            uint32_t out_count, uint32_t total)
{
    uint16_t head = q->free_head;
    for (uint32_t i = 0; i < total; i++) {
        uint16_t number = pop_free(q);
        q->desc[number] = (struct mir__virtq_desc){segs[i].address, segs[i].len,
                                                   flags_of(i, out_count, total), q->free_head};
    }
    q->slots[head].table = 0;
    q->slots[head].count = (uint16_t)total;
    return head;
}

int mir__virtq_add(struct mir__virtq *q, const struct mir__virtq_seg *segs, uint32_t out_count,
                   uint32_t in_count, void *token)
{
    uint32_t total = out_count + in_count, writable = 0;
    MIR_ASSERT_OP(total, >, 0);
    MIR_ASSERT_OP(total, <=, MIR__VIRTQ_CHAIN_MAX);
    MIR_ASSERT(token != NULL);
    if (MIR_UNLIKELY(q->fault != 0))
        return -MIR_EIO;
    bool is_short = total > q->free_count;
    bool use_table = q->tables_left > 0 && q->free_count > 0 && (total >= TABLE_FROM || is_short);
    if (!use_table && is_short)
        return -MIR_EAGAIN;
    for (uint32_t i = out_count; i < total; i++)
        writable += segs[i].len;
    uint16_t head =
        use_table ? fill_table(q, segs, out_count, total) : fill_direct(q, segs, out_count, total);
    q->slots[head].token = token;
    q->slots[head].writable = writable;
    q->slots[head].position = q->added;
    write_avail(q, 2u + (q->added & q->mask), head);
    q->added++;
    q->in_flight++;
    return 0;
}

bool mir__virtq_publish(struct mir__virtq *q)
{
    uint16_t before = (uint16_t)q->published, now = (uint16_t)q->added;
    if (before == now)
        return false;
    __atomic_store_n(&q->avail[1], now, __ATOMIC_RELEASE);
    q->published = q->added;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    bool wants;
    if (q->has_event_idx) {
        uint16_t event = __atomic_load_n(used_word(q, 4 + 8u * (size_t)q->size), __ATOMIC_RELAXED);
        wants = (uint16_t)(now - event - 1) < (uint16_t)(now - before);
    } else {
        wants = !(__atomic_load_n(used_word(q, 0), __ATOMIC_RELAXED) & USED_NO_NOTIFY);
    }
    q->notifications += wants;
    q->silences += !wants;
    return wants;
}

/* The chain's descriptors are free again, in the order they had. */
static void release_chain(struct mir__virtq *q, uint16_t head)
{
    struct mir__virtq_slot *slot = &q->slots[head];
    uint16_t last = head;
    for (uint16_t i = 1; i < slot->count; i++)
        last = q->slots[last].next;
    q->slots[last].next = q->free_head;
    q->free_head = head;
    q->free_count = (uint16_t)(q->free_count + slot->count);
    if (slot->table != 0) {
        q->free_tables[q->tables_left++] = (uint16_t)(slot->table - 1);
        slot->table = 0;
    }
    slot->token = NULL;
    q->in_flight--;
}

static int refuse(struct mir__virtq *q, enum mir__virtq_fault fault)
{
    q->fault = (uint8_t)fault;
    return -MIR_EPROTO;
}

int mir__virtq_take(struct mir__virtq *q, void **token, uint32_t *len)
{
    if (MIR_UNLIKELY(q->fault != 0))
        return -MIR_EPROTO;
    uint16_t there = (uint16_t)(read_used_idx(q) - q->used_idx);
    if (there == 0)
        return -MIR_EAGAIN;
    /* What was not published yet cannot have been used. */
    uint32_t unseen = q->added - q->published;
    if (MIR_UNLIKELY(there > q->in_flight - unseen))
        return refuse(q, MIR__VIRTQ_FAULT_INDEX);
    uint32_t id = read_entry(q, 0), written = read_entry(q, 4);
    if (MIR_UNLIKELY(id >= q->size))
        return refuse(q, MIR__VIRTQ_FAULT_ID);
    struct mir__virtq_slot *slot = &q->slots[id];
    if (MIR_UNLIKELY(slot->token == NULL || slot->position - q->published < unseen))
        return refuse(q, MIR__VIRTQ_FAULT_IDLE);
    if (MIR_UNLIKELY(written > slot->writable))
        return refuse(q, MIR__VIRTQ_FAULT_LENGTH);
    *token = slot->token;
    *len = written;
    release_chain(q, (uint16_t)id);
    q->used_idx++;
    return 0;
}

bool mir__virtq_arm(struct mir__virtq *q, uint16_t after)
{
    MIR_ASSERT_OP(after, >, 0);
    if (q->has_event_idx)
        write_avail(q, 2u + q->size, (uint16_t)(q->used_idx + after - 1));
    else if (!q->is_armed)
        write_avail(q, 0, 0);
    q->is_armed = true;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return (uint16_t)(read_used_idx(q) - q->used_idx) >= after;
}

void mir__virtq_disarm(struct mir__virtq *q)
{
    if (!q->is_armed)
        return;
    q->is_armed = false;
    if (q->has_event_idx) /* an index that was passed asks for nothing */
        write_avail(q, 2u + q->size, (uint16_t)(q->used_idx - 1));
    else
        write_avail(q, 0, AVAIL_NO_INTERRUPT);
}

void *mir__virtq_reclaim(struct mir__virtq *q)
{
    for (uint16_t i = 0; i < q->size && q->in_flight > 0; i++) {
        void *token = q->slots[i].token;
        if (token == NULL)
            continue;
        release_chain(q, i);
        return token;
    }
    return NULL;
}

const char *mir__virtq_fault_text(uint8_t fault)
{
    static const char *const text[] = {
        [0] = "no fault",
        [MIR__VIRTQ_FAULT_INDEX] = "it returned more buffers than it had",
        [MIR__VIRTQ_FAULT_ID] = "it returned a buffer with an impossible number",
        [MIR__VIRTQ_FAULT_IDLE] = "it returned a buffer that it did not have",
        [MIR__VIRTQ_FAULT_LENGTH] = "it wrote more than there was room for",
    };
    return fault < MIR_ARRAY_LEN(text) ? text[fault] : "?";
}
