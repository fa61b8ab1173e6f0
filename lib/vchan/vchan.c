/* SPDX-License-Identifier: ISC */
/* vchan over any channel: two rings of bytes in shared memory, with notifications on demand.
 *
 *     writer                                   reader
 *     copy bytes                               asked |= WRITE        (only if there is nothing)
 *     prod += n            (release)           fence
 *     fence                                    look at prod again    (acquire)
 *     if asked & WRITE: clear it, notify       still nothing: sleep until an event
 *
 * and the same the other way round for room (cons, READ). Both sides write one word and then read
 * the other's; with a full fence between, at least one of them sees what the other did, so no
 * wake-up is lost. A side that finds something without asking costs the other one fence and one
 * load, no notification.
 *
 * End of stream. A writer's last bytes are published before its live byte says that it is gone, or
 * before its transport does. So a reader that finds nothing, and then finds its peer gone, looks at
 * the index once more: only what it finds then is the end. (Without this second look bytes that
 * were written between the two looks are lost.)
 *
 * Distrust. Our own index is kept in private memory and only ever written to the shared page; the
 * peer's is read once for each decision and must lie between what it was and what it can be at
 * most, else the channel is faulty for good, which the peer sees as a close. Orders and references
 * are read once when the channel is made. Free-running indices of 32 bits: difference and mask work
 * across the wrap-around.
 *
 * Who asks. A side asks only when it found the ring empty (full, respectively) - never while there
 * is something to do - and a side that looks again soon does not ask at all: mir_vchan_ready().
 *
 * Comments that begin with an at sign are for Frama-C: see docs/proof.md.
 *
 * Not here: closing one direction, messages (bytes only), more than one reader or writer per end.
 */
#include <mirari/vchan.h>

#include "lib/ring/shared.h"

#define NOTIFY_WRITE 1u
#define NOTIFY_READ  2u

#define LIVE_GONE 0u
#define LIVE_HERE 1u
#define LIVE_YET  2u /* not yet connected */

#define SMALL_ORDER   10u /* at offset 1024 of the first page */
#define LARGE_ORDER   11u /* at offset 2048 */
#define PAGE_ORDER    12u
#define RING_DEFAULT  (256u << 10)
#define RING_MAX      (1u << MIR_VCHAN_ORDER_MAX)
#define RING_REFS_MAX (RING_MAX / MIR_CHANNEL_PAGE)
/* Bytes that are published, or given back, at once: the peer works on one part while we copy the
 * next. */
#define PART 16384u

/** The first page. */
struct page {
    uint32_t left_cons, left_prod;
    uint32_t right_cons, right_prod;
    uint16_t left_order, right_order;
    uint8_t cli_live, srv_live;
    uint8_t cli_notify, srv_notify; /* each is for that party to look at, set by the other */
    uint32_t refs[];
};

_Static_assert(offsetof(struct page, right_cons) == 8, "as in libxenvchan.h");
_Static_assert(offsetof(struct page, left_order) == 16, "as in libxenvchan.h");
_Static_assert(offsetof(struct page, cli_live) == 20, "as in libxenvchan.h");
_Static_assert(offsetof(struct page, cli_notify) == 22, "as in libxenvchan.h");
_Static_assert(offsetof(struct page, refs) == 24, "as in libxenvchan.h");

/* ---- the two rings ------------------------------------------------------------------------------
 */

/* Something is wrong with the peer: nothing moves any more, and it is told as a close is. */
static int break_off(struct mir_vchan *v)
{
    v->state = MIR_VCHAN_FAULTY;
    mir__shared_store8(v->my_live, LIVE_GONE);
    mir__shared_fence();
    v->channel->ops->notify(v->channel);
    return -MIR_EPROTO;
}

/* Read the peer's index; returns how many bytes lie between it and ours, or -MIR_EPROTO. */
static int look_in(struct mir_vchan *v)
{
    uint32_t prod = mir__shared_load32(v->in.theirs_at);
    uint32_t there = prod - v->in.mine;
    if (MIR_UNLIKELY(there > v->in.size || there < v->in.theirs - v->in.mine))
        return break_off(v);
    v->in.theirs = prod;
    return (int)there;
}

static int look_out(struct mir_vchan *v)
{
    uint32_t cons = mir__shared_load32(v->out.theirs_at);
    uint32_t there = v->out.mine - cons;
    if (MIR_UNLIKELY(there > v->out.mine - v->out.theirs))
        return break_off(v);
    v->out.theirs = cons;
    return (int)(v->out.size - there);
}

/* Tell the peer if it wants to know of @bit. What it is told of was stored before. */
static void tell(struct mir_vchan *v, uint8_t bit)
{
    mir__shared_fence();
    if (!(mir__shared_load8(v->wanted) & bit)) {
        v->stats.silent++;
    } else if (mir__shared_clear_bits(v->wanted, bit) & bit) {
        v->stats.notified++;
        v->channel->ops->notify(v->channel);
    }
}

static void ask(struct mir_vchan *v, uint8_t bit)
{
    (void)mir__shared_set_bits(v->ask, bit);
    mir__shared_fence();
}

/* 0, or what reading or writing ends with: nothing will ever come from the peer (or be taken by it)
 * beyond what is in the rings now. */
static int peer_end(struct mir_vchan *v)
{
    if (MIR_UNLIKELY(v->state != MIR_VCHAN_OPEN))
        return v->state == MIR_VCHAN_PEER_CLOSED ? -MIR_EEOF
               : v->state == MIR_VCHAN_PEER_LOST ? -MIR_ECONNRESET
               : v->state == MIR_VCHAN_FAULTY    ? -MIR_EPROTO
                                                 : -MIR_ECLOSED;
    /* In this order: a peer that closes properly clears its byte before it goes. */
    bool is_gone = v->channel->is_peer_gone;
    uint8_t live = mir__shared_load8(v->peer_live);
    if (live == LIVE_HERE || (live == LIVE_YET && v->channel->is_server)) {
        if (MIR_LIKELY(!is_gone))
            return 0;
        v->state = MIR_VCHAN_PEER_LOST;
        return -MIR_ECONNRESET;
    }
    if (v->is_persistent && !is_gone)
        return 0;
    v->state = MIR_VCHAN_PEER_CLOSED;
    return -MIR_EEOF;
}

/* Bytes to read, at least @need of them if that is possible. Returns their number, -MIR_EAGAIN
 * (fewer; the peer is asked to tell), or how the stream ended. The peer's index is not looked at
 * while @want bytes are known of. */
static int await_in(struct mir_vchan *v, uint32_t need, size_t want)
{
    if (MIR_UNLIKELY(v->state >= MIR_VCHAN_FAULTY))
        return peer_end(v);
    uint32_t known = v->in.theirs - v->in.mine;
    if (known >= want && known >= need)
        return (int)known;
    int there = look_in(v);
    if (there < 0 || (uint32_t)there >= need)
        return there;
    if (peer_end(v) == 0) {
        ask(v, NOTIFY_WRITE);
        there = look_in(v);
        if (there < 0 || (uint32_t)there >= need)
            return there;
        if (peer_end(v) == 0)
            return -MIR_EAGAIN;
    }
    /* It is gone. What it wrote before that is here, but was perhaps not when we looked. */
    int end = peer_end(v);
    there = look_in(v);
    return there < 0 || (uint32_t)there >= need ? there : end;
}

/* The same for room. */
static int await_out(struct mir_vchan *v, uint32_t need, size_t want)
{
    int end = peer_end(v);
    if (MIR_UNLIKELY(end < 0))
        return end == -MIR_EPROTO ? end : -MIR_ECLOSED;
    uint32_t known = v->out.size - (v->out.mine - v->out.theirs);
    if (known >= want && known >= need)
        return (int)known;
    int room = look_out(v);
    if (room < 0 || (uint32_t)room >= need)
        return room;
    ask(v, NOTIFY_READ);
    room = look_out(v);
    if (room < 0 || (uint32_t)room >= need)
        return room;
    end = peer_end(v);
    return end == 0 ? -MIR_EAGAIN : end == -MIR_EPROTO ? end : -MIR_ECLOSED;
}

static void copy_in(struct mir_vchan *v, uint8_t *to, uint32_t len)
{
    /*@ loop invariant fits(v) && in_ring(v) && len <= there(v) && len <= \at(len, Pre);
        loop invariant to == \at(to, Pre) + (\at(len, Pre) - len);
        loop assigns to, len, part, v->in.mine, v->stats,
                     \at(to, Pre)[0 .. \at(len, Pre) - 1];
        loop variant len; */
    for (uint32_t part; len > 0; to += part, len -= part) {
        uint32_t at = v->in.mine & (v->in.size - 1);
        part = MIR_MIN(MIR_MIN(len, PART), v->in.size - at);
        mir__shared_get(to, v->in.data + at, part);
        mir_vchan_consume(v, part);
    }
}

static void copy_out(struct mir_vchan *v, const uint8_t *from, uint32_t len)
{
    /*@ loop invariant fits(v) && out_ring(v) && len <= room(v) && len <= \at(len, Pre);
        loop invariant from == \at(from, Pre) + (\at(len, Pre) - len);
        loop assigns from, len, part, v->out.mine, v->stats;
        loop variant len; */
    for (uint32_t part; len > 0; from += part, len -= part) {
        uint32_t at = v->out.mine & (v->out.size - 1);
        part = MIR_MIN(MIR_MIN(len, PART), v->out.size - at);
        mir__shared_put(v->out.data + at, from, part);
        mir_vchan_commit(v, part);
    }
}

void mir_vchan_consume(struct mir_vchan *v, size_t len)
{
    MIR_ASSERT_OP(len, <=, v->in.theirs - v->in.mine);
    if (len == 0 || v->state >= MIR_VCHAN_FAULTY)
        return;
    v->in.mine += (uint32_t)len;
    mir__shared_store32(v->in.mine_at, v->in.mine);
    v->stats.bytes_in += len;
    v->stats.reads++;
    tell(v, NOTIFY_READ);
}

void mir_vchan_commit(struct mir_vchan *v, size_t len)
{
    MIR_ASSERT_OP(len, <=, v->out.size - (v->out.mine - v->out.theirs));
    if (len == 0 || v->state >= MIR_VCHAN_FAULTY)
        return;
    v->out.mine += (uint32_t)len;
    mir__shared_store32(v->out.mine_at, v->out.mine);
    v->stats.bytes_out += len;
    v->stats.writes++;
    tell(v, NOTIFY_WRITE);
}

int mir_vchan_read(struct mir_vchan *v, void *data, size_t len, size_t *got)
{
    int there = await_in(v, 1, len);
    if (there < 0)
        return there;
    uint32_t count = (uint32_t)MIR_MIN(len, (size_t)there);
    copy_in(v, data, count);
    *got = count;
    return 0;
}

int mir_vchan_write(struct mir_vchan *v, const void *data, size_t len, size_t *put)
{
    int room = await_out(v, 1, len);
    if (room < 0)
        return room;
    uint32_t count = (uint32_t)MIR_MIN(len, (size_t)room);
    copy_out(v, data, count);
    *put = count;
    return 0;
}

int mir_vchan_recv(struct mir_vchan *v, void *data, size_t len)
{
    if (len > v->in.size)
        return -MIR_ETOOBIG;
    int there = await_in(v, (uint32_t)len, len);
    if (there < 0)
        return there;
    copy_in(v, data, (uint32_t)len);
    return 0;
}

int mir_vchan_send(struct mir_vchan *v, const void *data, size_t len)
{
    if (len > v->out.size)
        return -MIR_ETOOBIG;
    int room = await_out(v, (uint32_t)len, len);
    if (room < 0)
        return room;
    copy_out(v, data, (uint32_t)len);
    return 0;
}

int mir_vchan_peek(struct mir_vchan *v, const void **data, size_t *len)
{
    int there = await_in(v, 1, 1);
    if (there < 0)
        return there;
    uint32_t at = v->in.mine & (v->in.size - 1);
    *data = v->in.data + at;
    *len = MIR_MIN((uint32_t)there, v->in.size - at);
    return 0;
}

int mir_vchan_room(struct mir_vchan *v, void **data, size_t *len)
{
    int room = await_out(v, 1, 1);
    if (room < 0)
        return room;
    uint32_t at = v->out.mine & (v->out.size - 1);
    *data = v->out.data + at;
    *len = MIR_MIN((uint32_t)room, v->out.size - at);
    return 0;
}

/* ---- looking and waiting ------------------------------------------------------------------------
 */

bool mir_vchan_ready(struct mir_vchan *v, unsigned wishes)
{
    if ((wishes & MIR_VCHAN_READABLE) && look_in(v) != 0)
        return true;
    if ((wishes & MIR_VCHAN_WRITABLE) && look_out(v) != 0)
        return true;
    return peer_end(v) < 0;
}

bool mir_vchan_arm(struct mir_vchan *v, unsigned wishes)
{
    if (mir_vchan_ready(v, wishes))
        return true;
    ask(v, (uint8_t)((wishes & MIR_VCHAN_READABLE ? NOTIFY_WRITE : 0u) |
                     (wishes & MIR_VCHAN_WRITABLE ? NOTIFY_READ : 0u)));
    return mir_vchan_ready(v, wishes);
}

enum mir_vchan_state mir_vchan_state(struct mir_vchan *v)
{
    if (peer_end(v) < 0)
        return (enum mir_vchan_state)v->state;
    uint8_t live = mir__shared_load8(v->peer_live);
    bool is_waiting = live == LIVE_YET || (live == LIVE_GONE && v->is_persistent);
    return is_waiting ? MIR_VCHAN_WAITING : MIR_VCHAN_OPEN;
}

uint32_t mir_vchan_unread(struct mir_vchan *v)
{
    if (v->state < MIR_VCHAN_FAULTY)
        (void)look_out(v);
    return v->out.mine - v->out.theirs;
}

bool mir_vchan_is_drained(struct mir_vchan *v)
{
    if (mir_vchan_unread(v) == 0 || peer_end(v) < 0)
        return true;
    ask(v, NOTIFY_READ);
    return mir_vchan_unread(v) == 0 || peer_end(v) < 0;
}

int mir_vchan_wait(struct mir_loop *loop, struct mir_vchan *v, unsigned wishes,
                   mir_time_us deadline_us)
{
    while (!mir_vchan_arm(v, wishes)) {
        int r = mir_wait_on(loop, &v->waiters, deadline_us);
        if (r < 0)
            return mir_vchan_ready(v, wishes) && r == -MIR_ETIMEDOUT ? 0 : r;
    }
    return 0;
}

static void on_event(void *arg)
{
    struct mir_vchan *v = arg;
    v->stats.events++;
    mir_wait_wake_all(&v->waiters);
    if (v->event != NULL)
        v->event(v->arg, v);
}

/* ---- making ------------------------------------------------------------------------------------
 */

static uint32_t refs_of(uint32_t order)
{
    return order < PAGE_ORDER ? 0 : 1u << (order - PAGE_ORDER);
}

/* What of two orders a page can describe: rings inside it lie apart, and the references before
 * them. */
static bool are_possible(uint32_t left, uint32_t right)
{
    if (left < MIR_VCHAN_ORDER_MIN || left > MIR_VCHAN_ORDER_MAX || right < MIR_VCHAN_ORDER_MIN ||
        right > MIR_VCHAN_ORDER_MAX || (left == right && left < PAGE_ORDER))
        return false;
    uint32_t lowest = MIR_MIN(left, right); /* a ring inside the page begins at its own size */
    uint32_t limit = lowest < PAGE_ORDER ? 1u << lowest : MIR_CHANNEL_PAGE;
    return offsetof(struct page, refs) + 4u * (refs_of(left) + refs_of(right)) <= limit;
}

static uint32_t order_for(uint32_t bytes)
{
    uint32_t order = PAGE_ORDER;
    while (order < MIR_VCHAN_ORDER_MAX && bytes > 1u << order)
        order++;
    return order;
}

/* The smallest rings that hold what is asked for, inside the page where they fit. */
static int choose_orders(const struct mir_vchan_config *config, uint32_t *left, uint32_t *right)
{
    uint32_t in = config->read_bytes != 0 ? config->read_bytes : RING_DEFAULT;
    uint32_t out = config->write_bytes != 0 ? config->write_bytes : RING_DEFAULT;
    if (in > RING_MAX || out > RING_MAX)
        return -MIR_EINVAL;
    *left = order_for(in);
    *right = order_for(out);
    bool is_in_first = in <= out;
    uint32_t *small = is_in_first ? left : right, *large = is_in_first ? right : left;
    uint32_t small_bytes = MIR_MIN(in, out), large_bytes = MIR_MAX(in, out);
    if (small_bytes <= 1u << SMALL_ORDER && large_bytes <= 1u << LARGE_ORDER) {
        *small = SMALL_ORDER;
        *large = LARGE_ORDER;
    } else if (small_bytes <= 1u << LARGE_ORDER) {
        *small = LARGE_ORDER;
    }
    return are_possible(*left, *right) ? 0 : -MIR_EINVAL;
}

static void init(struct mir_vchan *v, struct mir_channel *channel,
                 const struct mir_vchan_config *config)
{
    *v = (struct mir_vchan){
        .channel = channel,
        .state = MIR_VCHAN_OPEN,
        .is_persistent = channel->is_server && config->is_persistent,
        .event = config->event,
        .arg = config->arg,
    };
    mir_wait_init(&v->waiters);
    channel->event = on_event;
    channel->arg = v;
}

static void *inside(struct page *page, uint32_t order)
{
    return (uint8_t *)page + (1u << order);
}

/* Where everything lies, for one party. */
static void attach(struct mir_vchan *v, struct page *page, uint32_t left, uint32_t right,
                   void *const data[2])
{
    bool is_server = v->channel->is_server;
    struct mir__vchan_ring *l = is_server ? &v->in : &v->out, *r = is_server ? &v->out : &v->in;
    l->mine_at = is_server ? &page->left_cons : &page->left_prod;
    l->theirs_at = is_server ? &page->left_prod : &page->left_cons;
    r->mine_at = is_server ? &page->right_prod : &page->right_cons;
    r->theirs_at = is_server ? &page->right_cons : &page->right_prod;
    l->data = data[0];
    r->data = data[1];
    l->size = 1u << left;
    r->size = 1u << right;
    v->my_live = is_server ? &page->srv_live : &page->cli_live;
    v->peer_live = is_server ? &page->cli_live : &page->srv_live;
    v->ask = is_server ? &page->cli_notify : &page->srv_notify;
    v->wanted = is_server ? &page->srv_notify : &page->cli_notify;
}

int mir_vchan_serve(struct mir_vchan *v, struct mir_channel *channel,
                    const struct mir_vchan_config *config)
{
    const struct mir_channel_ops *ops = channel->ops;
    uint32_t order[2], first, at = 0;
    void *memory = NULL, *data[2];
    MIR_ASSERT(channel->is_server);
    int r = choose_orders(config, &order[0], &order[1]);
    if (r < 0)
        return r;
    init(v, channel, config);
    r = ops->share(channel, 1, &first, &memory);
    struct page *page = memory;
    for (unsigned i = 0; r == 0 && i < 2; i++) {
        uint32_t count = refs_of(order[i]);
        data[i] = inside(page, order[i]);
        if (count > 0)
            r = ops->share(channel, count, page->refs + at, &data[i]);
        at += count;
    }
    if (r < 0)
        return r;
    page->left_order = (uint16_t)order[0];
    page->right_order = (uint16_t)order[1];
    page->cli_live = LIVE_YET;
    page->srv_live = LIVE_HERE;
    page->cli_notify = NOTIFY_WRITE; /* tell us when you come */
    attach(v, page, order[0], order[1], data);
    mir__shared_fence();
    return ops->publish(channel, first);
}

/* Indices that an earlier client may have left, or a server that writes before anybody comes. */
static int take_over(struct mir_vchan *v)
{
    v->in.mine = mir__shared_load32(v->in.mine_at);
    v->out.mine = mir__shared_load32(v->out.mine_at);
    v->in.theirs = v->in.mine;
    v->out.theirs = v->out.mine;
    uint32_t in = mir__shared_load32(v->in.theirs_at), out = mir__shared_load32(v->out.theirs_at);
    if (in - v->in.mine > v->in.size || v->out.mine - out > v->out.size)
        return -MIR_EPROTO;
    v->in.theirs = in;
    v->out.theirs = out;
    return 0;
}

static uint16_t read16(const uint16_t *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

int mir_vchan_connect(struct mir_vchan *v, struct mir_channel *channel,
                      const struct mir_vchan_config *config)
{
    const struct mir_channel_ops *ops = channel->ops;
    uint32_t refs[RING_REFS_MAX];
    void *memory = NULL, *data[2];
    MIR_ASSERT(!channel->is_server);
    init(v, channel, config);
    int r = ops->map(channel, &channel->page_ref, 1, &memory);
    if (r < 0)
        return r;
    struct page *page = memory;
    uint32_t order[2] = {read16(&page->left_order), read16(&page->right_order)}, at = 0;
    if (!are_possible(order[0], order[1]))
        return -MIR_EPROTO;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t count = refs_of(order[i]);
        data[i] = inside(page, order[i]);
        mir__shared_get(refs, page->refs + at, count * sizeof(refs[0]));
        if (count > 0 && (r = ops->map(channel, refs, count, &data[i])) < 0)
            return r == -MIR_EINVAL ? -MIR_EPROTO : r;
        at += count;
    }
    attach(v, page, order[0], order[1], data);
    /* In this order: what a server wrote before it closed can still be read. */
    bool is_here = mir__shared_load8(v->peer_live) == LIVE_HERE;
    r = take_over(v);
    if (r < 0)
        return r;
    if (!is_here && v->in.theirs == v->in.mine)
        return -MIR_ECLOSED;
    mir__shared_store8(v->my_live, LIVE_HERE);
    ask(v, NOTIFY_WRITE);
    ops->notify(channel);
    return 0;
}

void mir_vchan_close(struct mir_vchan *v)
{
    if (v->state == MIR_VCHAN_CLOSED)
        return;
    v->state = MIR_VCHAN_CLOSED;
    mir__shared_store8(v->my_live, LIVE_GONE);
    mir__shared_fence();
    v->channel->ops->notify(v->channel);
    v->channel->ops->close(v->channel);
    mir_wait_wake_all(&v->waiters);
}
