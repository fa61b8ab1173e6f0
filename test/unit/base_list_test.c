/* SPDX-License-Identifier: ISC */
/* Lists, unaligned bytes in both orders, and the small helpers of base.h. */
#include <string.h>

#include <mirari/base.h>
#include <mirari/bytes.h>
#include <mirari/list.h>
#include <mirari/rng.h>

#include "test/harness/tap.h"

struct item {
    int value;
    struct mir_list link;
};

static struct item items[50];

static void check_order(const struct mir_list *head, const int *want, size_t count)
{
    size_t i = 0;
    mir_list_for_each (node, head) {
        check_int(MIR_CONTAINER_OF(node, struct item, link)->value, ==, i < count ? want[i] : -1);
        i++;
    }
    check_int(i, ==, (long long)count);
    /* The same backwards: both directions are kept. */
    for (struct mir_list *node = head->prev; node != head && i > 0; node = node->prev)
        check_int(MIR_CONTAINER_OF(node, struct item, link)->value, ==, want[--i]);
    check_int(i, ==, 0);
}

static void test_list(void)
{
    struct mir_list head;
    mir_list_init(&head);
    for (int i = 0; i < 50; i++) {
        items[i].value = i;
        mir_list_init(&items[i].link);
    }

    tap_case("an empty list; a node in no list");
    check(mir_list_is_empty(&head));
    check(!mir_list_is_linked(&items[0].link));
    check(mir_list_pop_front(&head) == NULL);
    mir_list_remove(&items[0].link);
    check(!mir_list_is_linked(&items[0].link));

    tap_case("push at both ends, remove in the middle, twice");
    mir_list_push_back(&head, &items[2].link);
    mir_list_push_back(&head, &items[3].link);
    mir_list_push_front(&head, &items[1].link);
    check_order(&head, (const int[]){1, 2, 3}, 3);
    mir_list_remove(&items[2].link);
    mir_list_remove(&items[2].link);
    check_order(&head, (const int[]){1, 3}, 2);
    check(mir_list_is_linked(&items[1].link));
    mir_list_push_front(&head, &items[2].link);
    check_order(&head, (const int[]){2, 1, 3}, 3);

    tap_case("pop in order; a popped node is in no list");
    check(mir_list_pop_front(&head) == &items[2].link);
    check(!mir_list_is_linked(&items[2].link));
    check(mir_list_pop_front(&head) == &items[1].link);
    check(mir_list_pop_front(&head) == &items[3].link);
    check(mir_list_is_empty(&head));

    tap_case("the loop allows its node to be removed");
    for (int i = 0; i < 10; i++)
        mir_list_push_back(&head, &items[i].link);
    mir_list_for_each (node, &head) {
        if (MIR_CONTAINER_OF(node, struct item, link)->value % 2 == 0)
            mir_list_remove(node);
    }
    check_order(&head, (const int[]){1, 3, 5, 7, 9}, 5);
    mir_list_for_each (node, &head)
        mir_list_remove(node);
    check(mir_list_is_empty(&head));
}

static void test_random(uint64_t seed)
{
    struct mir_rng rng;
    struct mir_list head;
    int model[50];
    size_t count = 0;
    tap_case("random operations agree with an array");
    mir_rng_init_u64(&rng, seed);
    mir_list_init(&head);
    for (int round = 0; round < 3000; round++) {
        int value = (int)mir_rng_below(&rng, 50);
        struct item *item = &items[value];
        bool is_in = false;
        for (size_t i = 0; i < count; i++)
            is_in |= model[i] == value;
        check_int(mir_list_is_linked(&item->link), ==, is_in);
        if (is_in) {
            mir_list_remove(&item->link);
            size_t at = 0;
            while (model[at] != value)
                at++;
            memmove(model + at, model + at + 1, (--count - at) * sizeof *model);
        } else if (mir_rng_below(&rng, 2) == 0) {
            mir_list_push_back(&head, &item->link);
            model[count++] = value;
        } else {
            mir_list_push_front(&head, &item->link);
            memmove(model + 1, model, count++ * sizeof *model);
            model[0] = value;
        }
        check_order(&head, model, count);
    }
}

static void test_bytes(void)
{
    uint8_t bytes[12];
    const uint8_t big[8] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

    tap_case("big- and little-endian loads and stores at any alignment");
    for (size_t at = 0; at < 4; at++) {
        memset(bytes, 0xee, sizeof bytes);
        mir_put_be64(bytes + at, 0x0123456789abcdef);
        check_mem(bytes + at, big, 8);
        check(mir_get_be64(bytes + at) == 0x0123456789abcdef);
        check(mir_get_le64(bytes + at) == 0xefcdab8967452301);
        check_int(mir_get_be32(bytes + at), ==, 0x01234567);
        check_int(mir_get_le32(bytes + at), ==, 0x67452301);
        check_int(mir_get_be16(bytes + at), ==, 0x0123);
        check_int(mir_get_le16(bytes + at), ==, 0x2301);
        mir_put_le64(bytes + at, 0xefcdab8967452301);
        check_mem(bytes + at, big, 8);
        mir_put_be32(bytes + at, 0x89abcdef);
        check_mem(bytes + at, big + 4, 4);
        mir_put_le32(bytes + at, 0xefcdab89);
        check_mem(bytes + at, big + 4, 4);
        mir_put_be16(bytes + at, 0xcdef);
        check_mem(bytes + at, big + 6, 2);
        mir_put_le16(bytes + at, 0xefcd);
        check_mem(bytes + at, big + 6, 2);
        for (size_t i = 0; i < at; i++)
            check_int(bytes[i], ==, 0xee);
        for (size_t i = at + 8; i < sizeof bytes; i++)
            check_int(bytes[i], ==, 0xee);
    }

    tap_case("bits set");
    for (unsigned n = 0; n <= 32; n++) {
        uint32_t low = n == 0 ? 0 : UINT32_MAX >> (32 - n);
        check_int(mir_popcount32(low), ==, n);
        check_int(mir_popcount32(low << (32 - n) % 32), ==, n);
    }
    check_int(mir_popcount32(0x80010101u), ==, 4);

    tap_case("text helpers");
    check(mir_str_equal("", ""));
    check(mir_str_equal("abc", "abc"));
    check(!mir_str_equal("abc", "abd"));
    check(!mir_str_equal("abc", "ab"));
    check(!mir_str_equal("ab", "abc"));
    check(!mir_str_equal("", "a"));
    check_int(mir_str_len(""), ==, 0);
    check_int(mir_str_len("abc"), ==, 3);
}

int main(int argc, char **argv)
{
    tap_begin("base_list");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_list();
    test_random(seed);
    test_bytes();
    return tap_done();
}
