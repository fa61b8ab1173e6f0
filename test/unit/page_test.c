/* SPDX-License-Identifier: ISC */
/* I/O pages, views and object pools: counts, limits, zeroing, foreign memory. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mirari/err.h>
#include <mirari/page.h>
#include <mirari/rng.h>

#include "test/harness/tap.h"

#define ARENA_PAGES 256u

static uint8_t arena[ARENA_PAGES * MIR_PAGE_SIZE] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pool;

/* The arena is full of another user's data from the start: nothing may rely on zeroes. */
static void setup(uint32_t pages)
{
    static bool is_used;
    if (!is_used)
        memset(arena, 0x77, sizeof arena);
    is_used = true;
    check_int(mir_page_pool_init(&pool, arena, (size_t)pages * MIR_PAGE_SIZE), ==, 0);
}

static struct mir_io_page *take(size_t size, unsigned flags)
{
    struct mir_io_page *page = NULL;
    int r = mir_page_alloc(&pool, size, flags, &page);
    return r == 0 ? page : NULL;
}

static void nothing_left(void)
{
    check_int(mir_page_pool_used_bytes(&pool), ==, 0);
    check_int(mir_page_pool_free_bytes(&pool), ==, (long long)pool.arena_size);
}

static bool is_all(const uint8_t *data, size_t len, uint8_t value)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] != value)
            return false;
    }
    return true;
}

static void test_init(void)
{
    struct mir_page_pool p;
    tap_case("an arena must be aligned, whole pages, and large enough");
    check_int(mir_page_pool_init(&p, arena + 16, sizeof arena - MIR_PAGE_SIZE), ==, -MIR_EINVAL);
    check_int(mir_page_pool_init(&p, arena, sizeof arena - 1), ==, -MIR_EINVAL);
    check_int(mir_page_pool_init(&p, arena, 15 * MIR_PAGE_SIZE), ==, -MIR_EINVAL);
    check_int(mir_page_pool_init(&p, NULL, sizeof arena), ==, -MIR_EINVAL);
    check_int(mir_page_pool_init(&p, arena, 16 * MIR_PAGE_SIZE), ==, 0);
}

static void test_sizes(void)
{
    static const struct {
        size_t asked;
        uint32_t got;
    } sizes[] = {{1, 1},     {4096, 1},  {4097, 2},   {8192, 2},   {8193, 4},
                 {16385, 8}, {32768, 8}, {32769, 17}, {65536, 17}, {17 * 4096, 17}};
    tap_case("a run is the smallest class that fits, page-aligned, inside the arena");
    setup(ARENA_PAGES);
    for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        struct mir_io_page *page = take(sizes[i].asked, MIR_PAGE_ZERO);
        if (!check(page != NULL))
            continue;
        check_int(page->size_bytes, ==, sizes[i].got * MIR_PAGE_SIZE);
        check_int((uintptr_t)page->base % MIR_PAGE_SIZE, ==, 0);
        check(page->base >= arena && page->base + page->size_bytes <= arena + sizeof arena);
        check(page->block_sums == NULL);
        check_int(mir_page_pool_used_bytes(&pool), ==, page->size_bytes);
        mir_page_release(page);
    }
    nothing_left();

    tap_case("sizes of nothing and of too much are refused");
    struct mir_io_page *page = NULL;
    check_int(mir_page_alloc(&pool, 0, MIR_PAGE_ZERO, &page), ==, -MIR_EINVAL);
    check_int(mir_page_alloc(&pool, 17 * 4096 + 1, MIR_PAGE_ZERO, &page), ==, -MIR_EINVAL);
    check_int(mir_page_alloc(&pool, SIZE_MAX, MIR_PAGE_ZERO, &page), ==, -MIR_EINVAL);
    check(page == NULL);
    nothing_left();
}

/* MirageOS advisory MSA01: pages went to the next user with the last user's data in them. */
static void test_zeroing(void)
{
    tap_case("a released page is zeroed before reuse (MSA01)");
    setup(ARENA_PAGES);
    for (uint32_t size = 1; size <= MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE; size = size * 2 + 4000) {
        struct mir_io_page *page = take(size, MIR_PAGE_ZERO);
        if (!check(page != NULL))
            continue;
        check(is_all(page->base, page->size_bytes, 0)); /* fresh from a dirty arena */
        uint8_t *first_base = page->base;
        memset(page->base, 0xa5, page->size_bytes);
        mir_page_release(page);
        page = take(size, MIR_PAGE_ZERO);
        check(page->base == first_base);
        check(is_all(page->base, page->size_bytes, 0));
        memset(page->base, 0xa5, page->size_bytes);
        mir_page_release(page);
    }
    nothing_left();

    tap_case("flags and ready sums of the last user are gone as well");
    static const uint16_t sums[17];
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    page->flags |= MIR_PAGE_READONLY;
    page->block_sums = sums;
    mir_page_release(page);
    page = take(4096, MIR_PAGE_OVERWRITE);
    check_int(page->flags, ==, 0);
    check(page->block_sums == NULL);
    mir_page_release(page);
    nothing_left();
}

static void test_references(void)
{
    tap_case("a slice of a slice keeps the page when its parents are gone");
    setup(ARENA_PAGES);
    struct mir_io_page *page = take(8192, MIR_PAGE_ZERO);
    for (uint32_t i = 0; i < 8192; i++)
        page->base[i] = (uint8_t)(i / 3);
    struct mir_view whole = mir_view_of_page(page, 0, 8192);
    struct mir_view part = mir_view_sub(&whole, 1000, 4000);
    struct mir_view leaf = mir_view_sub(&part, 500, 100);
    mir_page_release(page);
    mir_view_release(&whole);
    mir_view_release(&part);
    check_int(mir_page_pool_used_bytes(&pool), ==, 8192);
    struct mir_io_page *other = take(8192, MIR_PAGE_ZERO); /* would overwrite it, were it free */
    bool is_same = true;
    for (uint32_t i = 0; i < leaf.len; i++)
        is_same = is_same && leaf.data[i] == (uint8_t)((1500 + i) / 3);
    check(is_same);
    mir_page_release(other);
    mir_view_release(&leaf);
    check(leaf.page == NULL && leaf.data == NULL && leaf.len == 0);
    mir_view_release(&leaf);
    nothing_left();

    tap_case("views shrink at both ends, down to nothing");
    page = take(4096, MIR_PAGE_ZERO);
    struct mir_view view = mir_view_of_page(page, 10, 20);
    mir_view_shrink_front(&view, 5);
    check(view.data == page->base + 15);
    check_int(view.len, ==, 15);
    mir_view_shrink_back(&view, 10);
    check(view.data == page->base + 15);
    check_int(view.len, ==, 5);
    mir_view_shrink_front(&view, 5);
    check_int(view.len, ==, 0);
    mir_view_release(&view);
    view = mir_view_of_page(page, 4096, 0);
    mir_view_release(&view);
    mir_page_release(page);
    nothing_left();

    tap_case("shared pages count atomically and end the same way");
    page = take(4096, MIR_PAGE_ZERO);
    page->flags |= MIR_PAGE_SHARED;
    mir_page_acquire(page);
    mir_page_release(page);
    check_int(mir_page_pool_used_bytes(&pool), ==, 4096);
    mir_page_release(page);
    nothing_left();
}

static int releases;

static void release_foreign(struct mir_io_page *page, void *arg)
{
    check(arg == &releases);
    check(page->base != NULL);
    releases++;
}

static void test_foreign(void)
{
    static uint8_t memory[1000]; /* any size and alignment */
    struct mir_io_page page;
    tap_case("foreign memory goes back through its callback, once, with the last reference");
    releases = 0;
    mir_page_wrap(&page, memory + 3, 900, 0, release_foreign, &releases);
    struct mir_view a = mir_view_of_page(&page, 100, 700);
    struct mir_view b = mir_view_sub(&a, 1, 2);
    check(b.data == memory + 3 + 101);
    mir_page_release(&page);
    mir_view_release(&a);
    check_int(releases, ==, 0);
    mir_view_release(&b);
    check_int(releases, ==, 1);

    tap_case("static pages are neither counted nor written");
    static const struct mir_io_page fixed = {.size_bytes = 8, .flags = MIR_PAGE_STATIC};
    struct mir_io_page *read_only = (struct mir_io_page *)(uintptr_t)&fixed; /* faults if written */
    for (int i = 0; i < 3; i++)
        check(mir_page_acquire(read_only) == read_only);
    for (int i = 0; i < 10; i++)
        mir_page_release(read_only);
    check_int(fixed.refs, ==, 0);
}

static void test_limits(void)
{
    struct mir_io_page *pages[ARENA_PAGES];
    tap_case("an arena is used to its end, then it is an error that is counted");
    setup(64);
    uint32_t count = 0;
    while ((pages[count] = take(4096, MIR_PAGE_OVERWRITE)) != NULL)
        count++;
    check_int(count, >=, 62); /* descriptors take one page of 56, and one more */
    check_int(pool.failures, ==, 1);
    check_int(pool.peak_bytes, ==, (long long)count * 4096);
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);
    nothing_left();

    tap_case("what was released can all be taken again");
    for (uint32_t i = 0; i < count; i++)
        check((pages[i] = take(4096, MIR_PAGE_OVERWRITE)) != NULL);
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);
    nothing_left();

    tap_case("one large run does not reserve the arena for its class");
    setup(64);
    struct mir_io_page *large = take(65536, MIR_PAGE_OVERWRITE);
    check(large != NULL);
    for (count = 0; (pages[count] = take(4096, MIR_PAGE_OVERWRITE)) != NULL;)
        count++;
    check_int(count, >=, 44);
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);

    tap_case("a small request takes a large free run when nothing else is left");
    for (uint32_t i = 0; i < count; i++)
        pages[i] = take(4096, MIR_PAGE_OVERWRITE);
    check(take(100, MIR_PAGE_OVERWRITE) == NULL);
    uint8_t *large_base = large->base;
    mir_page_release(large);
    large = take(100, MIR_PAGE_ZERO);
    check(large != NULL && large->base == large_base);
    check_int(large->size_bytes, ==, 17 * 4096);
    check(is_all(large->base, large->size_bytes, 0));
    mir_page_release(large);
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);
    nothing_left();

    tap_case("large requests that fail take nothing away from small ones");
    setup(64);
    for (count = 0; (pages[count] = take(65536, MIR_PAGE_OVERWRITE)) != NULL;)
        count++;
    check_int(count, ==, 3); /* 63 pages and one of descriptors: 12 are left */
    for (int i = 0; i < 200; i++)
        check(take(65536, MIR_PAGE_OVERWRITE) == NULL);
    uint32_t small = count;
    while ((pages[small] = take(4096, MIR_PAGE_OVERWRITE)) != NULL)
        small++;
    check_int(small - count, ==, 12);
    for (uint32_t i = 0; i < small; i++)
        mir_page_release(pages[i]);
    nothing_left();

    tap_case("small frames that fill the arena once leave room for large ones afterwards");
    setup(ARENA_PAGES);
    check_int((long long)ARENA_PAGES * 4096, >=, 1 << 20);
    for (count = 0; (pages[count] = take(4096, MIR_PAGE_OVERWRITE)) != NULL;)
        count++;
    check(take(65536, MIR_PAGE_OVERWRITE) == NULL);
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);
    nothing_left();
    for (count = 0; (pages[count] = take(65536, MIR_PAGE_OVERWRITE)) != NULL;)
        count++;
    check_int(count, >=, 1); /* an eighth is 32 pages */
    for (uint32_t i = 0; i < count; i++)
        mir_page_release(pages[i]);
    nothing_left();

    tap_case("the n-th request fails, once, and is counted");
    setup(64);
    for (uint64_t n = 1; n <= 4; n++) {
        uint64_t failures = pool.failures;
        mir_page_pool_fail_at(&pool, n);
        for (uint64_t i = 1; i <= 6; i++) {
            struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
            check((page != NULL) == (i != n));
            if (page != NULL)
                mir_page_release(page);
        }
        check_int(pool.failures, ==, (long long)failures + 1);
    }
    nothing_left();
}

struct object {
    uint64_t mark[9]; /* 72 bytes: rounded to 80 */
};

static void test_pool_gives_back(void)
{
    struct mir_pool objects;
    static void *taken[1000];
    struct mir_rng rng;
    tap_case("a pool that gives back: memory follows use, not its peak");
    setup(ARENA_PAGES);
    check_int(mir_pool_init(&objects, "objects", &pool, 500, 1000), ==, 0);
    mir_pool_gives_back(&objects);
    for (uint32_t i = 0; i < 1000; i++) {
        if (!check((taken[i] = mir_pool_alloc(&objects)) != NULL))
            return;
        memset(taken[i], (int)i, 500);
    }
    check(mir_pool_alloc(&objects) == NULL);
    check_int(mir_page_pool_used_bytes(&pool), ==, 143 * MIR_PAGE_SIZE); /* seven a page */
    for (uint32_t i = 0; i < 1000; i++) {
        check_int(((uint8_t *)taken[i])[499], ==, (uint8_t)i);
        if (i >= 10)
            mir_pool_free(&objects, taken[i]);
    }
    check_int(mir_pool_used(&objects), ==, 10);
    check_int(mir_page_pool_used_bytes(&pool), <=, 3 * MIR_PAGE_SIZE);
    for (uint32_t i = 0; i < 10; i++)
        mir_pool_free(&objects, taken[i]);
    check_int(mir_page_pool_used_bytes(&pool), <=, MIR_PAGE_SIZE); /* one is kept */
    mir_pool_fini(&objects);
    nothing_left();

    tap_case("... and by chance");
    setup(ARENA_PAGES);
    mir_rng_init_u64(&rng, 7);
    check_int(mir_pool_init(&objects, "objects", &pool, 352, 1000), ==, 0);
    mir_pool_gives_back(&objects);
    memset(taken, 0, sizeof taken);
    bool is_intact = true;
    for (uint32_t n = 0; n < 100000; n++) {
        uint32_t i = mir_rng_below(&rng, n < 50000 ? 1000 : 50);
        if (taken[i] == NULL) {
            taken[i] = mir_pool_alloc(&objects);
            if (!check(taken[i] != NULL))
                return;
            memset(taken[i], (int)i, 352);
        } else {
            is_intact &=
                ((uint8_t *)taken[i])[0] == (uint8_t)i && ((uint8_t *)taken[i])[351] == (uint8_t)i;
            mir_pool_free(&objects, taken[i]);
            taken[i] = NULL;
        }
    }
    check(is_intact);
    for (uint32_t i = 0; i < 1000; i++)
        mir_pool_free(&objects, taken[i]);
    mir_pool_fini(&objects);
    nothing_left();
}

static void test_object_pool(void)
{
    struct mir_pool objects;
    struct object *taken[300];
    tap_case("objects: distinct, aligned, limited, counted");
    setup(ARENA_PAGES);
    check_int(mir_pool_init(&objects, "objects", &pool, sizeof(struct object), 300), ==, 0);
    check_int(mir_page_pool_used_bytes(&pool), ==, 0);
    for (uint64_t i = 0; i < 300; i++) {
        taken[i] = mir_pool_alloc(&objects);
        if (!check(taken[i] != NULL))
            return;
        check_int((uintptr_t)taken[i] % 16, ==, 0);
        for (int k = 0; k < 9; k++)
            taken[i]->mark[k] = i;
    }
    check_int(mir_pool_used(&objects), ==, 300);
    check(mir_pool_alloc(&objects) == NULL);
    check_int(objects.failures, ==, 1);
    bool is_intact = true;
    for (uint64_t i = 0; i < 300; i++)
        is_intact = is_intact && taken[i]->mark[0] == i && taken[i]->mark[8] == i;
    check(is_intact);
    for (int i = 0; i < 300; i += 2)
        mir_pool_free(&objects, taken[i]);
    check_int(mir_pool_used(&objects), ==, 150);
    for (int i = 0; i < 300; i += 2)
        check((taken[i] = mir_pool_alloc(&objects)) != NULL);
    for (int i = 0; i < 300; i++)
        mir_pool_free(&objects, taken[i]);
    mir_pool_free(&objects, NULL);
    check_int(mir_pool_used(&objects), ==, 0);
    check_int(objects.peak, ==, 300);
    mir_pool_fini(&objects);
    nothing_left();

    tap_case("objects of every size up to the largest run");
    for (size_t size = 1; size <= 17 * 4096; size = size * 3 / 2 + 1) {
        setup(ARENA_PAGES);
        check_int(mir_pool_init(&objects, "sized", &pool, size, 3), ==, 0);
        uint8_t *x[3];
        for (int i = 0; i < 3; i++) {
            x[i] = mir_pool_alloc(&objects);
            if (check(x[i] != NULL))
                memset(x[i], i, size);
        }
        for (int i = 0; i < 3; i++) {
            check(is_all(x[i], size, (uint8_t)i));
            mir_pool_free(&objects, x[i]);
        }
        mir_pool_fini(&objects);
        nothing_left();
    }
    check_int(mir_pool_init(&objects, "none", &pool, 0, 3), ==, -MIR_EINVAL);
    check_int(mir_pool_init(&objects, "huge", &pool, 17 * 4096 + 1, 3), ==, -MIR_EINVAL);

    tap_case("a pool at its limit takes no more memory");
    setup(ARENA_PAGES);
    check_int(mir_pool_init(&objects, "page", &pool, 1024, 4), ==, 0);
    for (int i = 0; i < 4; i++)
        taken[i] = mir_pool_alloc(&objects);
    check_int(mir_page_pool_used_bytes(&pool), ==, 4096);
    check(mir_pool_alloc(&objects) == NULL);
    check_int(mir_page_pool_used_bytes(&pool), ==, 4096);
    for (int i = 0; i < 4; i++)
        mir_pool_free(&objects, taken[i]);
    mir_pool_fini(&objects);
    nothing_left();

    tap_case("objects of two kilobytes down to the last pages of the arena");
    setup(24);
    check_int(mir_pool_init(&objects, "last", &pool, 2048, 1000), ==, 0);
    uint32_t count = 0;
    for (struct object *object; (object = mir_pool_alloc(&objects)) != NULL; count++)
        taken[count] = object;
    check_int(count, >=, 2 * 22);
    while (count > 0)
        mir_pool_free(&objects, taken[--count]);
    mir_pool_fini(&objects);
    nothing_left();

    tap_case("the n-th object fails; no page is a failed object");
    setup(ARENA_PAGES);
    check_int(mir_pool_init(&objects, "failing", &pool, 64, 10), ==, 0);
    mir_pool_fail_at(&objects, 2);
    taken[0] = mir_pool_alloc(&objects);
    check(taken[0] != NULL);
    check(mir_pool_alloc(&objects) == NULL);
    taken[1] = mir_pool_alloc(&objects);
    check(taken[1] != NULL);
    mir_pool_free(&objects, taken[0]);
    mir_pool_free(&objects, taken[1]);
    mir_pool_fini(&objects);
    check_int(mir_pool_init(&objects, "failing", &pool, 64, 10), ==, 0);
    mir_page_pool_fail_at(&pool, 1);
    check(mir_pool_alloc(&objects) == NULL);
    check_int(objects.failures, ==, 1);
    check_int(mir_pool_used(&objects), ==, 0);
    mir_pool_fini(&objects);
    nothing_left();
}

static void test_random(uint64_t seed)
{
    enum { LIVE = 60 };
    struct mir_io_page *live[LIVE] = {NULL};
    struct mir_rng rng;
    tap_case("random life of pages: never shared, never lost");
    mir_rng_init_u64(&rng, seed);
    setup(ARENA_PAGES);
    uint32_t got = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t at = mir_rng_below(&rng, LIVE);
        if (live[at] != NULL) {
            uint8_t mark = (uint8_t)(at + 1);
            check(live[at]->base[0] == mark && live[at]->base[live[at]->size_bytes - 1] == mark);
            mir_page_release(live[at]);
            live[at] = NULL;
            continue;
        }
        live[at] = take(1 + mir_rng_below(&rng, 20000), mir_rng_below(&rng, 2));
        if (live[at] != NULL) {
            got++;
            live[at]->base[0] = (uint8_t)(at + 1);
            live[at]->base[live[at]->size_bytes - 1] = (uint8_t)(at + 1);
        }
    }
    check_int(got, >, 1000);
    for (int i = 0; i < LIVE; i++) {
        if (live[i] != NULL)
            mir_page_release(live[i]);
    }
    nothing_left();
}

static void release_twice(void)
{
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    mir_page_release(page);
    mir_page_release(page);
}

static void acquire_released(void)
{
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    mir_page_release(page);
    mir_page_acquire(page);
}

static void view_outside(void)
{
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    struct mir_view view = mir_view_of_page(page, 4000, 97);
    mir_view_release(&view);
}

static void view_wraps(void)
{
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    struct mir_view view = mir_view_of_page(page, 10, 4080);
    struct mir_view sub = mir_view_sub(&view, 4, UINT32_MAX - 2);
    mir_view_release(&sub);
}

static void view_grows(void)
{
    struct mir_io_page *page = take(4096, MIR_PAGE_ZERO);
    struct mir_view view = mir_view_of_page(page, 10, 20);
    mir_view_shrink_front(&view, 21);
}

static void fini_in_use(void)
{
    struct mir_pool objects;
    if (mir_pool_init(&objects, "x", &pool, 64, 10) == 0 && mir_pool_alloc(&objects) != NULL)
        mir_pool_fini(&objects);
}

/* A mistake must end the program with an assertion, in every build. */
static void check_dies(const char *what, void (*mistake)(void))
{
    tap_case("mistake ends the program: %s", what);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(3);
        setup(ARENA_PAGES);
        mistake();
        _exit(0);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    check(WIFSIGNALED(status));
    check_int(WTERMSIG(status), ==, SIGABRT);
}

static void test_take_end(void)
{
    struct mir_io_page *page;
    uint8_t *last = arena + 63 * MIR_PAGE_SIZE;
    setup(64);
    tap_case("pages from the end are gone for good, one below the other");
    check(mir_page_pool_take_end(&pool) == last);
    check(mir_page_pool_take_end(&pool) == last - MIR_PAGE_SIZE);
    check_int(mir_page_pool_free_bytes(&pool), ==, 62 * MIR_PAGE_SIZE);
    tap_case("the last runs are left to whoever is being interrupted");
    unsigned taken = 0;
    while (mir_page_pool_take_end(&pool) != NULL)
        taken++;
    check_int(taken, ==, 62 - 2 * MIR_PAGE_RUN_MAX + 1);
    check(mir_page_pool_take_end_run(&pool, 1) == NULL);
    tap_case("what is left is still handed out, and nothing beyond");
    for (taken = 0; (page = take(MIR_PAGE_SIZE, MIR_PAGE_OVERWRITE)) != NULL; taken++)
        check(page->base + MIR_PAGE_SIZE <= arena + pool.arena_size);
    check_int(taken, >, 16);
    check(mir_page_pool_take_end(&pool) == NULL);
}

static void test_take_end_run(void)
{
    uint8_t *end = arena + 64 * MIR_PAGE_SIZE;
    setup(64);
    tap_case("a run from the end is of whole pages, below what was taken before");
    check(mir_page_pool_take_end_run(&pool, 1) == end - MIR_PAGE_SIZE);
    check(mir_page_pool_take_end_run(&pool, 2 * MIR_PAGE_SIZE) == end - 3 * MIR_PAGE_SIZE);
    check(mir_page_pool_take_end_run(&pool, MIR_PAGE_SIZE + 1) == end - 5 * MIR_PAGE_SIZE);
    check_int(mir_page_pool_free_bytes(&pool), ==, 59 * MIR_PAGE_SIZE);
    tap_case("no run of nothing, of more than there is, of what would leave too little");
    check(mir_page_pool_take_end_run(&pool, 0) == NULL);
    check(mir_page_pool_take_end_run(&pool, SIZE_MAX) == NULL);
    check(mir_page_pool_take_end_run(&pool, 60 * MIR_PAGE_SIZE) == NULL);
    size_t most = (59 - 2 * MIR_PAGE_RUN_MAX) * MIR_PAGE_SIZE;
    check(mir_page_pool_take_end_run(&pool, most + 1) == NULL);
    check(mir_page_pool_take_end_run(&pool, most) != NULL);
    check_int(mir_page_pool_free_bytes(&pool), ==, 2 * MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE);
}

/* Found by a fuzzer that keeps its arena: what the pool before had released was still marked. */
static void test_arena_used_again(void)
{
    static struct mir_io_page *taken[ARENA_PAGES];
    tap_case("a second pool in the arena of one that has ended may use all of it");
    for (uint32_t turn = 0; turn < 2; turn++) {
        uint32_t count = 0;
        setup(ARENA_PAGES);
        /* Runs of different sizes, so that descriptors lie elsewhere in the second turn. */
        while ((taken[count] = take(turn == 0 ? MIR_PAGE_SIZE : 8 * MIR_PAGE_SIZE, 0)) != NULL)
            count++;
        check_int(count, >, ARENA_PAGES / 16);
        while (count > 0)
            mir_page_release(taken[--count]);
        nothing_left();
    }
}

int main(int argc, char **argv)
{
    tap_begin("page");
    uint64_t seed = tap_seed(argc, argv, 1);
    test_init();
    test_arena_used_again();
    test_sizes();
    test_zeroing();
    test_references();
    test_foreign();
    test_limits();
    test_object_pool();
    test_pool_gives_back();
    test_take_end();
    test_take_end_run();
    test_random(seed);
    check_dies("a page released twice", release_twice);
    check_dies("a reference on a released page", acquire_released);
    check_dies("a view beyond its page", view_outside);
    check_dies("a part of a view whose end wraps around", view_wraps);
    check_dies("a view shrunk below nothing", view_grows);
    check_dies("a pool ended while objects are in use", fini_in_use);
    return tap_done();
}
