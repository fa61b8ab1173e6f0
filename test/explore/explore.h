/* SPDX-License-Identifier: ISC */
/* All interleavings of a few processes that share memory: a search through their states.
 *
 * What is explored is the library's own code, compiled with MIR_EXPLORE, so that each access to
 * shared memory (lib/ring/shared.h) is a call to here. Before each of them any other process may go
 * on. Stores wait in a buffer of their process, first in first out, and become visible at any later
 * moment (that is what x86 does, and the C code asks for no less); a fence or an atomic change
 * empties the buffer.
 *
 * A model gives the processes and one structure that holds everything they change but their stacks.
 */
#ifndef TEST_EXPLORE_H
#define TEST_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EX_PROCESSES 3u

struct ex_model {
    void (*begin)(void); /* make the first state */
    void (*process[EX_PROCESSES])(void);
    void (*end)(void);  /* all processes are done: is it right? May be NULL */
    void (*tidy)(void); /* before each look at a state: make what does not matter equal */
    void *state;
    size_t state_bytes;
    unsigned buffered; /* stores that may wait, 0 .. 8; 0: visible at once */
    bool no_fences;    /* to see that they are needed */
    uint64_t states_max;
};

struct ex_result {
    const char *wrong; /* NULL: nothing; else what */
    uint64_t states, steps;
    unsigned depth;
    bool is_whole; /* every state within reach was seen */
};

/** Search. The way to what is wrong is printed as TAP comments if @is_loud. */
struct ex_result ex_explore(const struct ex_model *model, bool is_loud);
/** False where there are no stacks to switch (other than x86-64). */
bool ex_can(void);

/* For the processes of a model. */
unsigned ex_choose(unsigned count); /**< 0 .. count - 1: each is tried */
void ex_sleep(bool *bell);          /**< until it rings; it is silent again then */
void ex_must(bool ok, const char *text);
void ex_drain(void); /**< all stores of this process are visible */

#endif
