/* SPDX-License-Identifier: ISC */
/* lib/ring/xring and the macros of Xen's ring.h do the same things to two pages: after each step
 * the pages, the entries and the wish for a notification are the same. Speaks TAP. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The header asks for these under two names. */
#define mb()  __sync_synchronize()
#define rmb() __sync_synchronize()
#define wmb() __sync_synchronize()
#include <xen/io/ring.h>

#include <mirari/platform.h>

#include "lib/ring/xring.h"

#define PAGE 4096u

struct entry {
    uint32_t word[3];
};
DEFINE_RING_TYPES(theirs, struct entry, struct entry);

static uint8_t page[2][PAGE] __attribute__((aligned(64)));
static uint8_t own[2][1024];
static struct mir__xring front, back;
static theirs_front_ring_t xfront;
static theirs_back_ring_t xback;
static unsigned step;

void mir_platform_abort(const char *text)
{
    fprintf(stderr, "xring_xen: %s\n", text);
    abort();
}

static void must(int ok, const char *what)
{
    if (ok && memcmp(page[0], page[1], PAGE) == 0)
        return;
    printf("# step %u: %s\nnot ok 1 - the same as ring.h\n1..1\n", step, what);
    exit(1);
}

static void put(struct mir__xring *ring, uint32_t count)
{
    struct mir__xring_ticket ticket;
    mir__xring_ticket_init(&ticket, count, NULL, NULL);
    must(mir__xring_reserve(ring, &ticket) == 0, "reserve");
    for (uint32_t i = 0; i < count; i++) {
        struct entry e = {{step, i, count}};
        mir__xring_put(ring, &ticket, i, &e);
        if (ring == &front)
            *RING_GET_REQUEST(&xfront, xfront.req_prod_pvt++) = e;
        else
            *RING_GET_RESPONSE(&xback, xback.rsp_prod_pvt++) = e;
    }
    mir__xring_commit(ring, &ticket);
    must(1, "entries");
}

static void publish(struct mir__xring *ring)
{
    int wants;
    if (ring == &front)
        RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&xfront, wants);
    else
        RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(&xback, wants);
    must(mir__xring_publish(ring) == wants, "publish");
}

static void take(struct mir__xring *ring)
{
    struct entry ours, e;
    int r = mir__xring_take(ring, &ours);
    if (ring == &front) {
        must(!!XEN_RING_NR_UNCONSUMED_RESPONSES(&xfront) == (r == 0), "responses there");
        if (r != 0)
            return;
        RING_COPY_RESPONSE(&xfront, xfront.rsp_cons, &e);
        xfront.rsp_cons++;
    } else {
        must(!!XEN_RING_NR_UNCONSUMED_REQUESTS(&xback) == (r == 0), "requests there");
        if (r != 0)
            return;
        RING_COPY_REQUEST(&xback, xback.req_cons, &e);
        xback.req_cons++;
    }
    must(memcmp(&e, &ours, sizeof(e)) == 0, "take");
}

static void arm(struct mir__xring *ring)
{
    int more;
    if (ring == &front)
        RING_FINAL_CHECK_FOR_RESPONSES(&xfront, more);
    else
        RING_FINAL_CHECK_FOR_REQUESTS(&xback, more);
    must(mir__xring_arm(ring) == !!more, "arm");
}

static void one_step(void)
{
    struct mir__xring *ring = rand() % 2 ? &front : &back;
    uint32_t room = mir__xring_room(ring);
    must(room ==
             (ring == &front ? RING_FREE_REQUESTS(&xfront) : xback.req_cons - xback.rsp_prod_pvt),
         "room");
    switch (rand() % 5) {
    case 0:
        if (room > 0)
            put(ring, 1 + (uint32_t)rand() % room);
        break;
    case 1:
        publish(ring);
        break;
    case 2:
    case 3:
        take(ring);
        break;
    default:
        arm(ring);
    }
}

int main(void)
{
    static const uint32_t bytes[] = {64 + 24, 64 + 50, 64 + 100, 1024, 4096};
    for (size_t i = 0; i < sizeof(bytes) / sizeof(bytes[0]); i++) {
        struct mir__xring_config config = {.shared = page[0],
                                           .bytes = bytes[i],
                                           .entry_bytes = sizeof(struct entry),
                                           .is_front = true,
                                           .own = own[0]};
        memset(page, 0, sizeof(page));
        int r = mir__xring_init(&front, &config);
        config.is_front = false;
        config.own = own[1];
        r |= mir__xring_init(&back, &config);
        theirs_sring_t *shared = (theirs_sring_t *)(void *)page[1];
        XEN_FRONT_RING_INIT(&xfront, shared, bytes[i]);
        BACK_RING_INIT(&xback, shared, bytes[i]);
        must(r == 0 && front.count == RING_SIZE(&xfront), "slots");
        for (step = 0; step < 100000; step++)
            one_step();
    }
    puts("ok 1 - the same as ring.h, 500,000 steps\n1..1");
    return 0;
}
