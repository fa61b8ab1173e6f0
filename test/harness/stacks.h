/* SPDX-License-Identifier: ISC */
/* Task stacks for hosted tests: one mapping each, a guard page below, and a count of those in use.
 */
#ifndef TEST_STACKS_H
#define TEST_STACKS_H

#include <mirari/run.h>

struct test_stacks {
    struct mir_stack_source source; /**< give this to mir_task_spawn() */
    uint32_t used;
    uint32_t limit;
    uint64_t acquired;
    void *last_released; /**< base of the stack that was released last */
};

void test_stacks_init(struct test_stacks *stacks, uint32_t limit);

#endif
