/* SPDX-License-Identifier: ISC */
/* Answers: their memory, the look-up by name and type, and their age.
 *
 * An answer is immutable once it is made and counted by reference, so the cache, a handler and a
 * task can hold the same one. Records lie in it one behind the other: length, then data without
 * compression. Short answers keep them inside the structure, long ones in a page run.
 *
 * The cache is a hash of (name without case, type) under a secret key, so that names cannot be
 * chosen to meet in one bucket, and a list by last use. It holds at most config.cache_max answers
 * and config.cache_max_bytes of page runs. An answer past its time is not found; it goes when it is
 * met, or as the oldest.
 *
 * One response fills one entry, that of the question which was asked: records of other names and
 * of sections that nobody asked for are never kept. There is nothing to poison sideways.
 */
#include "lib/dns/internal.h"

static uint32_t bucket_of(struct mir_dns *dns, const struct mir_dns_name *name, uint16_t type)
{
    uint8_t key[2 + MIR_DNS_NAME_MAX];
    mir_put_be16(key, type);
    for (uint32_t i = 0; i < name->len; i++) {
        uint8_t c = name->wire[i];
        key[2 + i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    return (uint32_t)mir_siphash(dns->hash_key, key, 2u + name->len) % MIR__DNS_BUCKETS;
}

static uint32_t page_bytes(const struct mir_dns_answer *answer)
{
    return answer->page != NULL ? answer->page->size_bytes : 0;
}

/* Out of the cache; the cache's reference goes. */
static void drop(struct mir_dns_answer *answer)
{
    struct mir_dns *dns = answer->dns;
    mir_list_remove(&answer->bucket);
    mir_list_remove(&answer->age);
    dns->stats.cached--;
    dns->stats.cached_bytes -= page_bytes(answer);
    mir_dns_answer_release(answer);
}

static bool drop_oldest(struct mir_dns *dns)
{
    if (mir_list_is_empty(&dns->age))
        return false;
    dns->stats.evicted++;
    drop(MIR_CONTAINER_OF(dns->age.prev, struct mir_dns_answer, age));
    return true;
}

struct mir_dns_answer *mir__dns_answer_new(struct mir_dns *dns, const struct mir_dns_name *name,
                                           uint16_t type, uint32_t data_bytes)
{
    struct mir_io_page *page = NULL;
    struct mir_dns_answer *answer;
    if (data_bytes > sizeof answer->own &&
        mir_page_alloc(dns->stack->pages, data_bytes, MIR_PAGE_OVERWRITE, &page) < 0) {
        dns->stats.no_memory++;
        return NULL;
    }
    do
        answer = mir_pool_alloc(&dns->answer_pool);
    while (answer == NULL && drop_oldest(dns));
    if (answer == NULL) {
        if (page != NULL)
            mir_page_release(page);
        dns->stats.no_memory++;
        return NULL;
    }
    mir_memset(answer, 0, offsetof(struct mir_dns_answer, own));
    answer->type = type;
    answer->name = *name;
    answer->canonical = *name;
    answer->dns = dns;
    answer->refs = 1;
    answer->page = page;
    answer->data = page != NULL ? page->base : answer->own;
    mir_list_init(&answer->bucket);
    mir_list_init(&answer->age);
    return answer;
}

/* Only types with names in them are longer than on the wire, and those are short. */
uint32_t mir__dns_answer_bytes(const struct mir_dns_rdata *rdata)
{
    uint8_t made[600];
    uint16_t len = 0;
    if (rdata->type == MIR_DNS_CAA)
        return 2u + 2u + rdata->caa.tag_len + rdata->caa.value_len;
    if (mir__dns_put_rdata(rdata, made, sizeof made, &len) == 0)
        return 2u + len;
    return 2u + rdata->raw.len;
}

void mir__dns_answer_add(struct mir_dns_answer *answer, const struct mir_dns_rdata *rdata)
{
    uint8_t *base = answer->page != NULL ? answer->page->base : answer->own;
    uint32_t size = answer->page != NULL ? answer->page->size_bytes : (uint32_t)sizeof answer->own;
    uint16_t len = 0;
    MIR_ASSERT_OP(answer->data_len + 2, <=, size);
    int r =
        mir__dns_put_rdata(rdata, base + answer->data_len + 2, size - answer->data_len - 2, &len);
    MIR_ASSERT_OP(r, ==, 0);
    mir_put_be16(base + answer->data_len, len);
    answer->data_len += 2u + len;
    answer->record_count++;
}

bool mir_dns_answer_next(const struct mir_dns_answer *answer, uint32_t *at,
                         struct mir_dns_rdata *rdata)
{
    if (*at >= answer->data_len)
        return false;
    uint16_t len = mir_get_be16(answer->data + *at);
    int r = mir__dns_get_rdata(answer->data + *at + 2, len, answer->type, rdata);
    MIR_ASSERT_OP(r, ==, 0); /* we wrote it */
    *at += 2u + len;
    return true;
}

struct mir_dns_answer *mir_dns_answer_hold(const struct mir_dns_answer *answer)
{
    struct mir_dns_answer *held = (struct mir_dns_answer *)(uintptr_t)answer;
    MIR_ASSERT_OP(held->refs, >, 0);
    held->refs++;
    return held;
}

void mir_dns_answer_release(struct mir_dns_answer *answer)
{
    if (answer == NULL)
        return;
    MIR_ASSERT_OP(answer->refs, >, 0);
    if (--answer->refs > 0)
        return;
    if (answer->page != NULL)
        mir_page_release(answer->page);
    mir_pool_free(&answer->dns->answer_pool, answer);
}

static struct mir_dns_answer *find(struct mir_dns *dns, uint32_t bucket,
                                   const struct mir_dns_name *name, uint16_t type)
{
    mir_list_for_each (node, &dns->bucket[bucket]) {
        struct mir_dns_answer *answer = MIR_CONTAINER_OF(node, struct mir_dns_answer, bucket);
        if (answer->type == type && mir_dns_name_equal(&answer->name, name))
            return answer;
    }
    return NULL;
}

struct mir_dns_answer *mir__dns_cache_get(struct mir_dns *dns, const struct mir_dns_name *name,
                                          uint16_t type)
{
    struct mir_dns_answer *answer = find(dns, bucket_of(dns, name, type), name, type);
    if (answer == NULL)
        return NULL;
    if (answer->expires_us <= mir__dns_now(dns)) {
        drop(answer);
        return NULL;
    }
    mir_list_remove(&answer->age);
    mir_list_push_front(&dns->age, &answer->age);
    return mir_dns_answer_hold(answer);
}

void mir__dns_cache_put(struct mir_dns_answer *answer)
{
    struct mir_dns *dns = answer->dns;
    uint32_t bucket = bucket_of(dns, &answer->name, answer->type);
    struct mir_dns_answer *old = find(dns, bucket, &answer->name, answer->type);
    if (old != NULL)
        drop(old);
    if (page_bytes(answer) > dns->config.cache_max_bytes)
        return;
    while (dns->stats.cached >= dns->config.cache_max ||
           dns->stats.cached_bytes > dns->config.cache_max_bytes - page_bytes(answer)) {
        if (!drop_oldest(dns))
            return;
    }
    (void)mir_dns_answer_hold(answer);
    mir_list_push_front(&dns->bucket[bucket], &answer->bucket);
    mir_list_push_front(&dns->age, &answer->age);
    dns->stats.cached++;
    dns->stats.cached_bytes += page_bytes(answer);
}

void mir__dns_cache_clear(struct mir_dns *dns)
{
    while (!mir_list_is_empty(&dns->age))
        drop(MIR_CONTAINER_OF(dns->age.next, struct mir_dns_answer, age));
}
