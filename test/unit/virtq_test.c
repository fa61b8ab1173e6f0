/* SPDX-License-Identifier: ISC */
/* lib/ring/virtq against the device's side of test/harness/virtdev: order, identities, wrap-around,
 * notifications, tables, and every lie a device can tell. */
#include <stdlib.h>
#include <string.h>

#include "lib/ring/virtq.h"
#include "test/harness/tap.h"
#include "test/harness/virtdev.h"

#define TABLES 8u

struct bed {
    struct virtdev d;
    struct mir__virtq q;
    void *shared, *own;
    uint8_t memory[VIRTDEV_SIZE_MAX][8];
};

static struct bed bed;

static void setup(uint16_t size, unsigned flags)
{
    uint16_t tables = flags & MIR__VIRTQ_INDIRECT ? TABLES : 0;
    size_t shared_bytes = mir__virtq_shared_bytes(size, tables);
    free(bed.shared);
    free(bed.own);
    bed.shared = aligned_alloc(4096, (shared_bytes + 4095) / 4096 * 4096);
    bed.own = malloc(mir__virtq_own_bytes(size, tables));
    memset(bed.shared, 0xa5, shared_bytes);
    struct mir__virtq_config config = {.size = size,
                                       .table_count = tables,
                                       .flags = flags,
                                       .shared = bed.shared,
                                       .shared_address = (uintptr_t)bed.shared,
                                       .own = bed.own};
    check_int(mir__virtq_init(&bed.q, &config), ==, 0);
    virtdev_init(&bed.d, VIRTDEV_MMIO, 1, 0, 1, size);
    bed.d.accepted = (flags & MIR__VIRTQ_EVENT_IDX ? MIR_VIRTIO_F_EVENT_IDX : 0) |
                     (flags & MIR__VIRTQ_INDIRECT ? MIR_VIRTIO_F_INDIRECT : 0);
    bed.d.status = MIR_VIRTIO_DRIVER_OK;
    bed.d.queue[0].size = size;
    bed.d.queue[0].is_enabled = true;
    bed.d.queue[0].desc = mir__virtq_desc_address(&bed.q);
    bed.d.queue[0].avail = mir__virtq_avail_address(&bed.q);
    bed.d.queue[0].used = mir__virtq_used_address(&bed.q);
}

/* A chain of @out and @in pieces; the token is a number above 0. */
static int add(uint32_t out, uint32_t in, uintptr_t token)
{
    struct mir__virtq_seg segs[MIR__VIRTQ_CHAIN_MAX];
    for (uint32_t i = 0; i < out + in; i++)
        segs[i] = (struct mir__virtq_seg){(uintptr_t)bed.memory[(token + i) % VIRTDEV_SIZE_MAX], 8};
    return mir__virtq_add(&bed.q, segs, out, in, (void *)token);
}

static int take(uintptr_t *token, uint32_t *len)
{
    void *p = NULL;
    int r = mir__virtq_take(&bed.q, &p, len);
    *token = (uintptr_t)p;
    return r;
}

static void test_layout(void)
{
    tap_case("layout is that of a legacy device");
    setup(256, 0);
    uint64_t base = (uintptr_t)bed.shared;
    check_int(mir__virtq_desc_address(&bed.q) - base, ==, 0);
    check_int(mir__virtq_avail_address(&bed.q) - base, ==, 4096);
    check_int(mir__virtq_used_address(&bed.q) - base, ==, 8192);
    check_int(mir__virtq_shared_bytes(256, 0), >=, 8192 + 6 + 8 * 256);
    tap_case("impossible configurations are refused");
    struct mir__virtq_config config = {.size = 256, .shared = bed.shared, .own = bed.own};
    struct mir__virtq q;
    config.size = 0;
    check_int(mir__virtq_init(&q, &config), ==, -MIR_EINVAL);
    config.size = 48;
    check_int(mir__virtq_init(&q, &config), ==, -MIR_EINVAL);
    config.size = 2048;
    check_int(mir__virtq_init(&q, &config), ==, -MIR_EINVAL);
    config.size = 16;
    config.shared = (uint8_t *)bed.shared + 8;
    check_int(mir__virtq_init(&q, &config), ==, -MIR_EINVAL);
}

static void test_one(void)
{
    struct virtdev_chain chain;
    uintptr_t token;
    uint32_t len;
    tap_case("a chain goes out, is seen whole, and comes back with its length");
    setup(8, 0);
    check_int(add(2, 1, 77), ==, 0);
    check(!virtdev_pop(&bed.d, 0, &chain)); /* not published */
    check(mir__virtq_publish(&bed.q));
    check(!mir__virtq_publish(&bed.q)); /* nothing new */
    check(virtdev_pop(&bed.d, 0, &chain));
    check_int(chain.count, ==, 3);
    check_int(chain.out_bytes, ==, 16);
    check_int(chain.in_bytes, ==, 8);
    check(chain.seg[0].data == bed.memory[77] && chain.seg[2].data == bed.memory[79]);
    check_int(take(&token, &len), ==, -MIR_EAGAIN);
    virtdev_push(&bed.d, 0, chain.head, 5);
    virtdev_publish(&bed.d, 0);
    check_int(take(&token, &len), ==, 0);
    check_int(token, ==, 77);
    check_int(len, ==, 5);
    check_int(take(&token, &len), ==, -MIR_EAGAIN);
    check_int(bed.q.free_count, ==, 8);
    tap_case("a full ring says so and takes nothing");
    for (uintptr_t i = 1; i <= 4; i++)
        check_int(add(1, 1, i), ==, 0);
    check_int(add(1, 0, 9), ==, -MIR_EAGAIN);
    check_int(mir__virtq_room(&bed.q, 1), ==, 0);
    tap_case("after a reset every token comes back once");
    uintptr_t sum = 0;
    for (void *p; (p = mir__virtq_reclaim(&bed.q)) != NULL;)
        sum += (uintptr_t)p;
    check_int(sum, ==, 10);
    check_int(bed.q.in_flight, ==, 0);
    check_int(bed.q.free_count, ==, 8);
}

/* Random chains, returned in random order: every token once, no identity twice in flight. */
static void run_random(uint16_t size, unsigned flags, uint64_t seed, uint32_t rounds)
{
    static uint8_t is_out[70000];
    static uint16_t heads[VIRTDEV_SIZE_MAX];
    struct virtdev_chain chain;
    uint32_t held = 0, len, added = 0, taken = 0, wrong = 0;
    uintptr_t token, next = 1;
    setup(size, flags);
    memset(is_out, 0, sizeof is_out);
    bed.d.random = seed * 2654435761u + 1;
    while (taken < rounds) {
        for (uint32_t i = virtdev_draw(&bed.d) % 8; i > 0 && next < sizeof is_out; i--) {
            uint32_t out = virtdev_draw(&bed.d) % 4, in = virtdev_draw(&bed.d) % 4;
            if (out + in == 0 || out + in > size)
                continue;
            if (virtdev_draw(&bed.d) % 8 == 0)
                out = MIR_MIN(MIR__VIRTQ_CHAIN_MAX - in, (uint32_t)size - in);
            int r = add(out, in, next);
            if (r == 0)
                is_out[next++] = (uint8_t)(in + 1);
            added += r == 0;
        }
        (void)!mir__virtq_publish(&bed.q);
        while (virtdev_draw(&bed.d) % 4 != 0 && virtdev_pop(&bed.d, 0, &chain))
            heads[held++] = chain.head;
        while (held > 0 && virtdev_draw(&bed.d) % 4 != 0) {
            uint32_t i = virtdev_draw(&bed.d) % held;
            virtdev_push(&bed.d, 0, heads[i], 0);
            heads[i] = heads[--held];
        }
        virtdev_publish(&bed.d, 0);
        while (take(&token, &len) == 0) {
            wrong += token == 0 || token >= next || is_out[token] == 0;
            is_out[token] = 0;
            taken++;
        }
        if (next == sizeof is_out && added == taken)
            break;
    }
    check_int(wrong, ==, 0);
    check_int(bed.q.fault, ==, 0);
    check_int(bed.d.violations, ==, 0);
    if (bed.d.violations != 0)
        tap_note("%s", bed.d.violation);
}

static void test_random(void)
{
    static const uint16_t sizes[] = {2, 4, 16, 256, 1024};
    uint64_t seed = tap_seed(0, NULL, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        tap_case("MSA00: identities are unique while in flight, size %u", sizes[i]);
        for (unsigned flags = 0; flags < 4; flags++)
            run_random(sizes[i], flags, seed + flags, 3000);
    }
    tap_case("indices wrap around");
    run_random(16, 3, seed, 69000);
    check_int(bed.d.indirects, >, 0);
}

static void test_notifications(void)
{
    struct virtdev_chain chain;
    uintptr_t token;
    uint32_t len;
    tap_case("with event indices the device is told once until it looks");
    setup(16, MIR__VIRTQ_EVENT_IDX);
    bed.d.queue[0].is_notified = true;
    bed.d.serve = NULL;
    check_int(add(1, 0, 1), ==, 0);
    check(mir__virtq_publish(&bed.q));
    check_int(add(1, 0, 2), ==, 0);
    check(!mir__virtq_publish(&bed.q));
    check(virtdev_pop(&bed.d, 0, &chain));
    virtdev_run(&bed.d); /* it has seen one and wants to hear of the next */
    check_int(add(1, 0, 3), ==, 0);
    check(!mir__virtq_publish(&bed.q)); /* the next was there already */
    tap_case("interrupts: none unless asked for, one when asked for");
    mir__virtq_disarm(&bed.q);
    virtdev_push(&bed.d, 0, chain.head, 0);
    virtdev_publish(&bed.d, 0);
    check_int(bed.d.interrupts, ==, 0);
    check(mir__virtq_arm(&bed.q, 1)); /* it is there already */
    check_int(take(&token, &len), ==, 0);
    check(!mir__virtq_arm(&bed.q, 2));
    for (int i = 0; i < 2; i++) {
        check(virtdev_pop(&bed.d, 0, &chain));
        virtdev_push(&bed.d, 0, chain.head, 0);
        virtdev_publish(&bed.d, 0);
        check_int(bed.d.interrupts, ==, i);
    }
    tap_case("without event indices flags do the same");
    setup(16, 0);
    mir__virtq_disarm(&bed.q);
    for (int i = 0; i < 2; i++) {
        check_int(add(1, 0, 1), ==, 0);
        check(mir__virtq_publish(&bed.q));
        check(virtdev_pop(&bed.d, 0, &chain));
        virtdev_push(&bed.d, 0, chain.head, 0);
        virtdev_publish(&bed.d, 0);
        check_int(bed.d.interrupts, ==, i);
        check_int(take(&token, &len), ==, 0);
        check(!mir__virtq_arm(&bed.q, 1));
    }
}

static void test_tables(void)
{
    struct virtdev_chain chain;
    uintptr_t token;
    uint32_t len;
    tap_case("a long chain takes one descriptor and a table");
    setup(4, MIR__VIRTQ_INDIRECT);
    for (uintptr_t i = 1; i <= 4; i++)
        check_int(add(10, 10, i), ==, 0);
    check_int(bed.q.free_count, ==, 0);
    check(mir__virtq_publish(&bed.q));
    for (uintptr_t i = 1; i <= 4; i++) {
        check(virtdev_pop(&bed.d, 0, &chain));
        check_int(chain.count, ==, 20);
        virtdev_push(&bed.d, 0, chain.head, 80);
    }
    virtdev_publish(&bed.d, 0);
    for (uintptr_t i = 1; i <= 4; i++) {
        check_int(take(&token, &len), ==, 0);
        check_int(token, ==, i);
    }
    check_int(bed.q.tables_left, ==, TABLES);
    check_int(bed.d.violations, ==, 0);
}

/* One honest chain, then a lie. */
static void lie(uint32_t id, uint32_t len, uint16_t index)
{
    uint8_t *used = (uint8_t *)(uintptr_t)mir__virtq_used_address(&bed.q);
    setup(8, 0);
    used = (uint8_t *)(uintptr_t)mir__virtq_used_address(&bed.q);
    check_int(add(1, 1, 1), ==, 0);
    check_int(add(1, 1, 2), ==, 0);
    (void)!mir__virtq_publish(&bed.q);
    memcpy(used + 4, &id, 4);
    memcpy(used + 8, &len, 4);
    memcpy(used + 2, &index, 2);
}

static void expect(uint8_t fault)
{
    uintptr_t token;
    uint32_t len;
    check_int(take(&token, &len), ==, -MIR_EPROTO);
    check_int(bed.q.fault, ==, fault);
    check_int(take(&token, &len), ==, -MIR_EPROTO);
    check_int(add(1, 0, 3), ==, -MIR_EIO);
    check(mir__virtq_fault_text(fault)[0] != '?');
}

static void test_lies(void)
{
    uintptr_t token;
    uint32_t len;
    tap_case("an identity out of range is refused");
    lie(8, 0, 1);
    expect(MIR__VIRTQ_FAULT_ID);
    lie(UINT32_MAX, 0, 1);
    expect(MIR__VIRTQ_FAULT_ID);
    tap_case("an identity that is not in flight is refused, also one inside a chain");
    lie(7, 0, 1);
    expect(MIR__VIRTQ_FAULT_IDLE);
    lie(1, 0, 1);
    expect(MIR__VIRTQ_FAULT_IDLE);
    tap_case("an identity returned twice is refused");
    lie(0, 0, 1);
    check_int(take(&token, &len), ==, 0);
    uint8_t *used = (uint8_t *)(uintptr_t)mir__virtq_used_address(&bed.q);
    used[2] = 2;
    expect(MIR__VIRTQ_FAULT_IDLE);
    tap_case("more bytes written than there was room for is refused");
    lie(0, 9, 1);
    expect(MIR__VIRTQ_FAULT_LENGTH);
    tap_case("a used index that jumps is refused, forwards and backwards");
    lie(0, 0, 3);
    expect(MIR__VIRTQ_FAULT_INDEX);
    lie(0, 0, 0xffff);
    expect(MIR__VIRTQ_FAULT_INDEX);
    tap_case("a chain that was not published yet cannot come back");
    lie(2, 0, 1);
    setup(8, 0);
    check_int(add(1, 0, 1), ==, 0);
    (void)!mir__virtq_publish(&bed.q);
    check_int(add(1, 0, 2), ==, 0);
    used = (uint8_t *)(uintptr_t)mir__virtq_used_address(&bed.q);
    used[4] = 1;
    used[2] = 1;
    expect(MIR__VIRTQ_FAULT_IDLE);
    tap_case("a chain that stays while 65,536 others pass is none that was not published");
    setup(8, 0);
    check_int(add(0, 1, 1), ==, 0);
    (void)!mir__virtq_publish(&bed.q);
    struct virtdev_chain chain;
    check(virtdev_pop(&bed.d, 0, &chain));
    uint16_t slow = chain.head;
    for (uint32_t i = 0; i < 65535; i++) {
        bool is_good = add(0, 1, 2) == 0;
        (void)!mir__virtq_publish(&bed.q);
        is_good = is_good && virtdev_pop(&bed.d, 0, &chain);
        virtdev_push(&bed.d, 0, chain.head, 0);
        virtdev_publish(&bed.d, 0);
        if (!is_good || take(&token, &len) != 0)
            check_int(i, ==, 65535);
    }
    check_int(add(0, 1, 3), ==, 0); /* and this one was not */
    virtdev_push(&bed.d, 0, slow, 0);
    virtdev_publish(&bed.d, 0);
    check_int(take(&token, &len), ==, 0);
    check_int(token, ==, 1);
    tap_case("a device that rewrites descriptors does not change what we know of them");
    lie(0, 8, 1);
    memset(bed.q.desc, 0xff, 8 * 16);
    memset(bed.q.avail, 0xff, 20);
    check_int(take(&token, &len), ==, 0);
    check_int(token, ==, 1);
    check_int(bed.q.free_count, ==, 6);
}

int main(void)
{
    tap_begin("virtq");
    test_layout();
    test_one();
    test_random();
    test_notifications();
    test_tables();
    test_lies();
    free(bed.shared);
    free(bed.own);
    return tap_done();
}
