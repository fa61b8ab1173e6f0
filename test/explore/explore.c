/* SPDX-License-Identifier: ISC */
/* The search: depth first over snapshots.
 *
 * A state is the model's structure, and of each process the part of its stack that is in use (with
 * the registers that a switch saves there), whether it is done or asleep, and its buffered stores.
 * Processes run on stacks of their own, at fixed addresses, so a state is put back by copying.
 * States that were seen are remembered by a hash of 64 bits: two states with one hash would be
 * taken for one, which among N states happens with a probability of about N * N / 2^65.
 *
 * An action is one process going on up to its next access (by one of its choices), or its oldest
 * buffered store becoming visible. A state without actions in which not all are done is a deadlock:
 * somebody sleeps and nobody will wake it. Endless loops without progress are not looked for.
 */
#include "test/explore/explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/ring/shared.h"
#include "lib/run/internal.h"

#define STACK_BYTES 16384u
#define BUFFER_MAX  8u
#define STORE_BYTES 8u
#define DEPTH_MAX   100000u

struct store {
    uint8_t *at;
    uint32_t len;
    uint8_t value[STORE_BYTES];
};

/* Of a process, all but the stack itself. */
struct process {
    void *sp;
    bool *bell; /* it sleeps on this */
    uint32_t choices, choice;
    uint32_t stores;
    bool is_done;
    struct store store[BUFFER_MAX];
};

struct action {
    uint8_t process;
    bool is_flush;
    uint16_t choice;
};

struct node {
    uint8_t *snapshot;
    size_t bytes;
    struct action taken; /* that led here */
    struct action next;
};

static uint8_t stacks[EX_PROCESSES][STACK_BYTES] __attribute__((aligned(64)));
static struct process processes[EX_PROCESSES];
static const struct ex_model *model;
static void *main_sp;
static unsigned running;
static bool is_inside; /* a process runs, not the model's begin or end */
static const char *wrong;
static struct node *nodes;
static unsigned depth;
static uint64_t *seen; /* hashes; 0 is a free place */
static uint64_t seen_mask, seen_count;

bool ex_can(void)
{
#if defined(__x86_64__)
    return true;
#else
    return false;
#endif
}

/* ---- processes ----------------------------------------------------------------------------------
 */

static void leave(void)
{
    mir__switch(&processes[running].sp, main_sp);
}

static void first_frame(void)
{
    model->process[running]();
    processes[running].is_done = true;
    for (;;)
        leave();
}

/* As mir__switch() leaves a stack: control words, six registers, where to go on. */
static void prepare(unsigned i)
{
    uint64_t *top = (uint64_t *)(void *)(stacks[i] + STACK_BYTES);
    uint32_t mxcsr;
    uint16_t control = 0x37f;
#if defined(__x86_64__)
    __asm__("stmxcsr %0" : "=m"(mxcsr));
    __asm__("fnstcw %0" : "=m"(control));
#else
    mxcsr = 0;
#endif
    memset(stacks[i], 0, STACK_BYTES);
    top -= 1; /* aligned as behind a call */
    *--top = (uint64_t)(uintptr_t)first_frame;
    top -= 7;
    memcpy(top, &mxcsr, 4);
    memcpy((uint8_t *)top + 4, &control, 2);
    processes[i] = (struct process){.sp = top};
}

/* Here others may go on. */
static void point(void)
{
    if (!is_inside)
        return;
    processes[running].choices = 1;
    leave();
}

unsigned ex_choose(unsigned count)
{
    processes[running].choices = count;
    leave();
    return processes[running].choice;
}

void ex_sleep(bool *bell)
{
    processes[running].bell = bell;
    processes[running].choices = 1;
    leave();
    processes[running].bell = NULL;
    *bell = false;
}

void ex_must(bool ok, const char *text)
{
    if (!ok && wrong == NULL)
        wrong = text;
}

/* ---- stores that wait ---------------------------------------------------------------------------
 */

static void flush_one(struct process *p)
{
    memcpy(p->store[0].at, p->store[0].value, p->store[0].len);
    p->stores--;
    memmove(&p->store[0], &p->store[1], p->stores * sizeof(p->store[0]));
    memset(&p->store[p->stores], 0, sizeof(p->store[0]));
}

void ex_drain(void)
{
    while (is_inside && processes[running].stores > 0)
        flush_one(&processes[running]);
}

static void store(void *at, const void *value, size_t len)
{
    struct process *p = &processes[running];
    if (model->buffered == 0 || !is_inside) {
        point();
        memcpy(at, value, len);
        return;
    }
    for (size_t done = 0, part; done < len; done += part) {
        part = len - done < STORE_BYTES ? len - done : STORE_BYTES;
        if (p->stores == model->buffered)
            flush_one(p);
        struct store *s = &p->store[p->stores++];
        s->at = (uint8_t *)at + done;
        s->len = (uint32_t)part;
        memcpy(s->value, (const uint8_t *)value + done, part);
    }
}

/* What this process sees: memory, with its own waiting stores over it. */
static void load(void *to, const void *at, size_t len)
{
    const struct process *p = &processes[running];
    memcpy(to, at, len);
    for (uint32_t i = 0; is_inside && i < p->stores; i++)
        for (uint32_t b = 0; b < p->store[i].len; b++) {
            const uint8_t *byte = p->store[i].at + b;
            if (byte >= (const uint8_t *)at && byte < (const uint8_t *)at + len)
                ((uint8_t *)to)[byte - (const uint8_t *)at] = p->store[i].value[b];
        }
}

uint32_t mir__shared_load32(const uint32_t *at)
{
    uint32_t value;
    point();
    load(&value, at, sizeof(value));
    return value;
}
void mir__shared_store32(uint32_t *at, uint32_t value)
{
    store(at, &value, sizeof(value));
}
uint8_t mir__shared_load8(const uint8_t *at)
{
    uint8_t value;
    point();
    load(&value, at, sizeof(value));
    return value;
}
void mir__shared_store8(uint8_t *at, uint8_t value)
{
    store(at, &value, sizeof(value));
}
uint8_t mir__shared_set_bits(uint8_t *at, uint8_t bits)
{
    point();
    ex_drain();
    uint8_t before = *at;
    *at |= bits;
    return before;
}
uint8_t mir__shared_clear_bits(uint8_t *at, uint8_t bits)
{
    point();
    ex_drain();
    uint8_t before = *at;
    *at &= (uint8_t)~bits;
    return before;
}
void mir__shared_fence(void)
{
    if (!is_inside || model->no_fences || processes[running].stores == 0)
        return;
    point();
    ex_drain();
}
void mir__shared_put(void *to, const void *from, size_t len)
{
    store(to, from, len);
}
void mir__shared_get(void *to, const void *from, size_t len)
{
    point();
    load(to, from, len);
}

/* ---- states -------------------------------------------------------------------------------------
 */

static size_t live_bytes(unsigned i)
{
    return (size_t)(stacks[i] + STACK_BYTES - (uint8_t *)processes[i].sp);
}

static size_t snapshot_bytes(void)
{
    size_t bytes = model->state_bytes + sizeof(processes);
    for (unsigned i = 0; i < EX_PROCESSES; i++)
        bytes += model->process[i] != NULL ? live_bytes(i) : 0;
    return bytes;
}

static void save(uint8_t *to)
{
    memcpy(to, model->state, model->state_bytes);
    to += model->state_bytes;
    memcpy(to, processes, sizeof(processes));
    to += sizeof(processes);
    for (unsigned i = 0; i < EX_PROCESSES; i++) {
        if (model->process[i] == NULL)
            continue;
        memcpy(to, processes[i].sp, live_bytes(i));
        to += live_bytes(i);
    }
}

static void restore(const uint8_t *from)
{
    memcpy(model->state, from, model->state_bytes);
    from += model->state_bytes;
    memcpy(processes, from, sizeof(processes));
    from += sizeof(processes);
    for (unsigned i = 0; i < EX_PROCESSES; i++) {
        if (model->process[i] == NULL)
            continue;
        memcpy(processes[i].sp, from, live_bytes(i));
        from += live_bytes(i);
    }
}

static uint64_t hash(const uint8_t *data, size_t len)
{
    uint64_t h = 0x9e3779b97f4a7c15ull ^ len, word;
    for (; len > 0; data += sizeof(word)) {
        size_t part = len < sizeof(word) ? len : sizeof(word);
        word = 0;
        memcpy(&word, data, part);
        len -= part;
        h = (h ^ word) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
        h *= 0xc4ceb9fe1a85ec53ull;
        h ^= h >> 29;
    }
    return h == 0 ? 1 : h;
}

static void grow(void)
{
    uint64_t old_mask = seen_mask, *old = seen;
    seen_mask = old == NULL ? (1u << 16) - 1 : old_mask * 2 + 1;
    seen = calloc(seen_mask + 1, sizeof(*seen));
    if (seen == NULL)
        abort();
    for (uint64_t i = 0; old != NULL && i <= old_mask; i++)
        if (old[i] != 0) {
            uint64_t at = old[i] & seen_mask;
            while (seen[at] != 0)
                at = (at + 1) & seen_mask;
            seen[at] = old[i];
        }
    free(old);
}

static bool is_new(uint64_t h)
{
    if (seen == NULL || seen_count * 2 > seen_mask)
        grow();
    uint64_t at = h & seen_mask;
    for (; seen[at] != 0; at = (at + 1) & seen_mask)
        if (seen[at] == h)
            return false;
    seen[at] = h;
    seen_count++;
    return true;
}

/* ---- search -------------------------------------------------------------------------------------
 */

static bool can_run(unsigned i)
{
    const struct process *p = &processes[i];
    return model->process[i] != NULL && !p->is_done && (p->bell == NULL || *p->bell);
}

/* The action after @a in this state, or the first one; false if there is none. */
static bool next_action(struct action *a)
{
    for (; a->process < EX_PROCESSES; *a = (struct action){(uint8_t)(a->process + 1), false, 0}) {
        if (!a->is_flush) {
            if (can_run(a->process) && a->choice < processes[a->process].choices)
                return true;
            a->is_flush = true;
            a->choice = 0;
        }
        if (a->choice == 0 && processes[a->process].stores > 0)
            return true;
    }
    return false;
}

static void act(struct action a)
{
    running = a.process;
    if (a.is_flush) {
        flush_one(&processes[a.process]);
        return;
    }
    processes[a.process].choice = a.choice;
    is_inside = true;
    mir__switch(&main_sp, processes[a.process].sp);
    is_inside = false;
    processes[a.process].choice = 0;
}

static void check_end(void)
{
    bool is_done = true;
    for (unsigned i = 0; i < EX_PROCESSES; i++)
        is_done &= model->process[i] == NULL || processes[i].is_done;
    ex_must(is_done, "deadlock: somebody sleeps and nobody will wake it");
    if (is_done && model->end != NULL)
        model->end();
}

static void show_way(void)
{
    printf("# %s; the way there (process, + store becomes visible):\n#", wrong);
    for (unsigned i = 1; i < depth; i++)
        printf("%s%s%u", i % 30 == 0 ? "\n# " : " ", nodes[i].taken.is_flush ? "+" : "",
               nodes[i].taken.process);
    printf("\n");
}

static bool push(struct action taken)
{
    size_t bytes = snapshot_bytes();
    uint8_t *snapshot = malloc(bytes);
    if (snapshot == NULL || depth == DEPTH_MAX)
        abort();
    if (model->tidy != NULL)
        model->tidy();
    save(snapshot);
    if (!is_new(hash(snapshot, bytes))) {
        free(snapshot);
        return false;
    }
    nodes[depth++] = (struct node){.snapshot = snapshot, .bytes = bytes, .taken = taken};
    return true;
}

static void search(struct ex_result *result)
{
    while (depth > 0 && wrong == NULL && seen_count < model->states_max) {
        struct node *node = &nodes[depth - 1];
        restore(node->snapshot);
        struct action a = node->next;
        bool is_first = a.process == 0 && !a.is_flush && a.choice == 0;
        if (!next_action(&a)) {
            if (is_first)
                check_end();
            if (wrong != NULL)
                return;
            free(node->snapshot);
            depth--;
            continue;
        }
        node->next = a;
        node->next.choice++;
        result->steps++;
        act(a);
        (void)push(a);
        if (depth > result->depth)
            result->depth = depth;
    }
}

struct ex_result ex_explore(const struct ex_model *what, bool is_loud)
{
    struct ex_result result = {0};
    model = what;
    wrong = NULL;
    depth = 0;
    seen_count = 0;
    nodes = calloc(DEPTH_MAX, sizeof(*nodes));
    if (nodes == NULL)
        abort();
    memset(processes, 0, sizeof(processes));
    for (unsigned i = 0; i < EX_PROCESSES; i++)
        if (model->process[i] != NULL)
            prepare(i);
    /* What is done before the first step belongs to nobody; its stores are visible at once. */
    memset(model->state, 0, model->state_bytes);
    model->begin();
    for (unsigned i = 0; i < EX_PROCESSES; i++)
        processes[i].choices = 1;
    (void)push((struct action){0});
    search(&result);
    result.wrong = wrong;
    result.states = seen_count;
    result.is_whole = wrong == NULL && depth == 0;
    if (wrong != NULL && is_loud)
        show_way();
    for (unsigned i = 0; i < depth; i++)
        free(nodes[i].snapshot);
    free(nodes);
    free(seen);
    seen = NULL;
    return result;
}
