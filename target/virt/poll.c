/* SPDX-License-Identifier: ISC */
/* Waiting: devices are looked at, and only when none has anything the CPU sleeps.
 *
 * Interrupts end a sleep and say nothing more than that; what happened is found by looking. So a
 * busy appliance takes no interrupts at all, and all work is done between two steps of the loop, in
 * one order.
 *
 *   look at every source -> something was done: back to the loop
 *     -> ask every device to interrupt -> one has something already: look again
 *     -> sleep until an interrupt or the deadline -> look
 *
 * With --spin it keeps looking for so long after the last event before it sleeps.
 */
#include "target/virt/internal.h"

void mir__poll_open(struct mir__poll *poll, struct mir_loop *loop, uint32_t spin_us)
{
    *poll = (struct mir__poll){.loop = loop, .spin_us = spin_us};
    mir_list_init(&poll->sources);
}

void mir__poll_add(struct mir__poll *poll, struct mir__source *source)
{
    mir_list_push_back(&poll->sources, &source->link);
}

void mir__poll_remove(struct mir__source *source)
{
    mir_list_remove(&source->link);
}

static bool has_come(uint64_t interrupts, const struct mir__source *source)
{
    return source->slot < MIR__SLOTS_MAX && (interrupts >> source->slot & 1) != 0;
}

static bool look(struct mir__poll *poll, mir_time_us now_us)
{
    uint64_t interrupts = mir__arch_irq_take();
    bool is_any = false;
    /* What runs below must not count its timers from the step before a long sleep. */
    mir_loop_set_now(poll->loop, now_us);
    mir_list_for_each (node, &poll->sources) {
        struct mir__source *source = MIR_CONTAINER_OF(node, struct mir__source, link);
        is_any |= source->look(source->arg, has_come(interrupts, source));
    }
    /* Lines may be shared: all of their devices are served by now. */
    mir_list_for_each (node, &poll->sources) {
        struct mir__source *source = MIR_CONTAINER_OF(node, struct mir__source, link);
        if (has_come(interrupts, source))
            mir__arch_irq_unmask(source->slot);
    }
    if (is_any) {
        poll->events++;
        poll->last_event_us = now_us;
    }
    return is_any;
}

static bool arm(struct mir__poll *poll)
{
    bool is_any = false;
    mir_list_for_each (node, &poll->sources) {
        struct mir__source *source = MIR_CONTAINER_OF(node, struct mir__source, link);
        if (source->arm != NULL)
            is_any |= source->arm(source->arg);
    }
    return is_any;
}

void mir__poll_wait(void *arg, mir_time_us deadline_us)
{
    struct mir__poll *poll = arg;
    mir_time_us now_us;
    poll->waits++;
    mir__stacks_refill();
    do {
        now_us = mir__arch_monotonic_us();
        if (look(poll, now_us) || deadline_us <= now_us)
            return;
    } while (poll->spin_us > 0 && now_us - poll->last_event_us < poll->spin_us);
    if (!arm(poll)) {
        poll->sleeps++;
        mir__arch_wait(deadline_us);
    }
    (void)look(poll, mir__arch_monotonic_us());
}
