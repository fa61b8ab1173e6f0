/* SPDX-License-Identifier: ISC */
/* Task stacks from mmap. Slow and simple: nothing is kept, so that any use after release faults. */
#include <sys/mman.h>
#include <unistd.h>

#include "test/harness/stacks.h"

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void *acquire(void *arg, size_t size, size_t *usable)
{
    struct test_stacks *stacks = arg;
    size_t page = page_bytes();
    size_t rounded = (size + page - 1) & ~(page - 1);
    if (stacks->used == stacks->limit)
        return NULL;
    char *map = mmap(NULL, page + rounded, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (mprotect(map, page, PROT_NONE) < 0) {
        munmap(map, page + rounded);
        return NULL;
    }
    stacks->used++;
    stacks->acquired++;
    *usable = rounded;
    return map + page;
}

static void release(void *arg, void *base, size_t usable)
{
    struct test_stacks *stacks = arg;
    size_t page = page_bytes();
    MIR_ASSERT_OP(stacks->used, >, 0);
    stacks->used--;
    stacks->last_released = base;
    munmap((char *)base - page, page + usable);
}

void test_stacks_init(struct test_stacks *stacks, uint32_t limit)
{
    *stacks = (struct test_stacks){
        .source = {.acquire = acquire, .release = release, .arg = stacks},
        .limit = limit,
    };
}
