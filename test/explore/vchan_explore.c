/* SPDX-License-Identifier: ISC */
/* lib/vchan: all interleavings of a client and a server that write, read, sleep, are woken, close
 * or die, over rings of one or two bytes, so that both are often full and often empty.
 *
 * Every byte must arrive, in order, also those written just before the end; who reads on must be
 * told of the end and of its kind; nobody may sleep for ever.
 *
 *   vchan_explore [--all]
 */
#include <stdio.h>
#include <string.h>

#include <mirari/vchan.h>

#include "test/explore/explore.h"
#include "test/harness/tap.h"

/* What is explored: constant during a search. */
static struct {
    uint32_t ring;                 /* bytes */
    unsigned to_server, to_client; /* bytes to send */
    uint32_t start;                /* of the indices */
    bool dies;                     /* the client goes without closing */
    bool in_place;                 /* room, commit, peek, consume */
    bool whole;                    /* the server wants all bytes at once (recv) */
    bool may_drain;                /* the client waits until all is taken before it closes */
    bool is_hasty; /* a reader as libxenvchan's: it does not look again at the end */
} setup;

struct side {
    struct mir_channel channel;
    struct mir_vchan vchan;
    bool bell;
    uint8_t sent, got;
};

static struct {
    uint8_t memory[3][64]; /* the page's head and the two rings; sizes are made small afterwards */
    struct side side[2];   /* server, client */
} s;

static uint8_t page_memory[3][4096] __attribute__((aligned(4096)));

/* ---- the channel: two bells --------------------------------------------------------------------
 */

static struct side *of(struct mir_channel *channel)
{
    return &s.side[channel->is_server ? 0 : 1];
}
static struct side *other(struct side *side)
{
    return &s.side[side == &s.side[0] ? 1 : 0];
}
static int share(struct mir_channel *channel, uint32_t count, uint32_t *refs, void **at)
{
    (void)channel;
    (void)count;
    static uint32_t next;
    refs[0] = next++ % 3;
    memset(page_memory[refs[0]], 0, 4096);
    *at = page_memory[refs[0]];
    return 0;
}
static int publish(struct mir_channel *channel, uint32_t ref)
{
    (void)channel;
    s.side[1].channel.page_ref = ref;
    return 0;
}
static int map(struct mir_channel *channel, const uint32_t *refs, uint32_t count, void **at)
{
    (void)channel;
    (void)count;
    *at = page_memory[refs[0] % 3];
    return 0;
}
static void notify(struct mir_channel *channel)
{
    other(of(channel))->bell = true;
}
/* The system lets go of whatever the process had done. */
static void leave(struct mir_channel *channel)
{
    ex_drain();
    other(of(channel))->channel.is_peer_gone = true;
    other(of(channel))->bell = true;
}
static const struct mir_channel_ops ops = {
    .share = share, .publish = publish, .map = map, .notify = notify, .close = leave};

/* The rings as the explorer has them: a few bytes in memory that is part of the state. */
static void shrink(struct mir_vchan *v, bool is_server)
{
    struct mir__vchan_ring *left = is_server ? &v->in : &v->out;
    struct mir__vchan_ring *right = is_server ? &v->out : &v->in;
    uint8_t *from = (uint8_t *)(is_server ? left->mine_at : left->theirs_at);
    ptrdiff_t by = s.memory[0] - from;
    uint32_t **words[] = {&left->mine_at, &left->theirs_at, &right->mine_at, &right->theirs_at};
    uint8_t **bytes[] = {&v->my_live, &v->peer_live, &v->ask, &v->wanted};
    for (unsigned i = 0; i < 4; i++) {
        *words[i] = (uint32_t *)(void *)((uint8_t *)*words[i] + by);
        *bytes[i] += by;
    }
    left->data = s.memory[1];
    right->data = s.memory[2];
    left->size = right->size = setup.ring;
    left->mine = left->theirs = right->mine = right->theirs = setup.start;
}

static void begin(void)
{
    const struct mir_vchan_config config = {.read_bytes = 4096, .write_bytes = 4096};
    for (unsigned i = 0; i < 2; i++)
        s.side[i].channel = (struct mir_channel){.ops = &ops, .is_server = i == 0};
    ex_must(mir_vchan_serve(&s.side[0].vchan, &s.side[0].channel, &config) == 0, "serve");
    ex_must(mir_vchan_connect(&s.side[1].vchan, &s.side[1].channel, &config) == 0, "connect");
    memcpy(s.memory[0], page_memory[s.side[1].channel.page_ref], sizeof(s.memory[0]));
    shrink(&s.side[0].vchan, true);
    shrink(&s.side[1].vchan, false);
    for (unsigned i = 0; i < 16; i += 4)
        memcpy(s.memory[0] + i, &setup.start, 4);
}

/* ---- both sides ---------------------------------------------------------------------------------
 */

/* Write one byte, or what fits of two. Returns an error of mir_vchan_write(). */
static int send_some(struct side *me, unsigned total)
{
    uint8_t bytes[2] = {(uint8_t)(me->sent + 1), (uint8_t)(me->sent + 2)};
    size_t len = total - me->sent > 1 ? 2 : 1, n = 0;
    void *room;
    int r;
    if (setup.in_place) {
        r = mir_vchan_room(&me->vchan, &room, &n);
        n = n < len ? n : len;
        for (size_t i = 0; r == 0 && i < n; i++)
            ((uint8_t *)room)[i] = bytes[i];
        if (r == 0)
            mir_vchan_commit(&me->vchan, n);
    } else {
        r = mir_vchan_write(&me->vchan, bytes, len, &n);
    }
    if (r == 0)
        me->sent = (uint8_t)(me->sent + n);
    return r;
}

static void judge(struct side *me, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ex_must(bytes[i] == ++me->got, "a wrong byte");
}

/* As libxenvchan reads: look, and if there is nothing, look whether the peer is there. */
static int read_hastily(struct mir_vchan *v, uint8_t *bytes, size_t *n)
{
    if (mir_vchan_ready(v, MIR_VCHAN_READABLE) && v->in.theirs != v->in.mine)
        return mir_vchan_read(v, bytes, 2, n);
    enum mir_vchan_state state = mir_vchan_state(v);
    return state == MIR_VCHAN_OPEN          ? mir_vchan_read(v, bytes, 2, n)
           : state == MIR_VCHAN_PEER_CLOSED ? -MIR_EEOF
                                            : -MIR_ECONNRESET;
}

static int receive_some(struct side *me)
{
    uint8_t bytes[2];
    size_t n = 0;
    const void *there;
    int r;
    if (setup.whole) {
        r = mir_vchan_recv(&me->vchan, bytes, 2);
        n = 2;
    } else if (setup.in_place) {
        r = mir_vchan_peek(&me->vchan, &there, &n);
        if (r == 0) {
            n = 1;
            judge(me, there, n);
            mir_vchan_consume(&me->vchan, n);
            return 0;
        }
    } else if (setup.is_hasty) {
        r = read_hastily(&me->vchan, bytes, &n);
    } else {
        r = mir_vchan_read(&me->vchan, bytes, sizeof(bytes), &n);
    }
    if (r == 0)
        judge(me, bytes, n);
    return r;
}

static void run_client(void)
{
    struct side *me = &s.side[1];
    while (me->sent < setup.to_server || me->got < setup.to_client) {
        int r_out = me->sent < setup.to_server ? send_some(me, setup.to_server) : -MIR_EAGAIN;
        int r_in = me->got < setup.to_client ? receive_some(me) : -MIR_EAGAIN;
        ex_must(r_out == 0 || r_out == -MIR_EAGAIN, "the client cannot write");
        ex_must(r_in == 0 || r_in == -MIR_EAGAIN, "the client cannot read");
        if (r_out == -MIR_EAGAIN && r_in == -MIR_EAGAIN &&
            (me->sent < setup.to_server || me->got < setup.to_client))
            ex_sleep(&me->bell);
    }
    while (setup.may_drain && !mir_vchan_is_drained(&me->vchan))
        ex_sleep(&me->bell);
    if (setup.dies)
        leave(&me->channel);
    else
        mir_vchan_close(&me->vchan);
}

static void run_server(void)
{
    struct side *me = &s.side[0];
    for (;;) {
        int r_out = me->sent < setup.to_client ? send_some(me, setup.to_client) : -MIR_EAGAIN;
        int r_in = receive_some(me);
        ex_must(r_out == 0 || r_out == -MIR_EAGAIN, "the server cannot write");
        if (r_in < 0 && r_in != -MIR_EAGAIN) {
            ex_must(r_in == (setup.dies ? -MIR_ECONNRESET : -MIR_EEOF), "not this kind of end");
            break;
        }
        if (r_out == -MIR_EAGAIN && r_in == -MIR_EAGAIN)
            ex_sleep(&me->bell);
    }
    mir_vchan_close(&me->vchan);
}

static void end(void)
{
    ex_must(s.side[0].got == setup.to_server, "bytes to the server were lost at the end");
    ex_must(s.side[1].got == setup.to_client, "bytes to the client were lost");
}

static void forget_counters(void)
{
    for (unsigned i = 0; i < 2; i++)
        memset(&s.side[i].vchan.stats, 0, sizeof(s.side[i].vchan.stats));
}

/* ---- searches -----------------------------------------------------------------------------------
 */

static struct ex_model model = {.begin = begin,
                                .process = {run_server, run_client},
                                .end = end,
                                .tidy = forget_counters,
                                .state = &s,
                                .state_bytes = sizeof(s),
                                .states_max = 3000000};

static void explore(const char *what, uint32_t ring, unsigned to_server, unsigned to_client)
{
    setup.ring = ring;
    setup.to_server = to_server;
    setup.to_client = to_client;
    tap_case("%s: rings of %u, %u bytes there, %u back, %u stores may wait", what, ring, to_server,
             to_client, model.buffered);
    struct ex_result r = ex_explore(&model, true);
    check(r.wrong == NULL);
    check(r.is_whole);
    tap_note("%llu states, %llu steps, depth %u", (unsigned long long)r.states,
             (unsigned long long)r.steps, r.depth);
}

static void must_go_wrong(const char *what, unsigned bytes)
{
    tap_case("%s", what);
    setup.ring = 2;
    setup.to_server = bytes;
    setup.to_client = 0;
    struct ex_result r = ex_explore(&model, false);
    check(r.wrong != NULL);
    tap_note("after %llu states: %s", (unsigned long long)r.states, r.wrong);
}

/* Every way to use it, with visible and with late stores. */
static void explore_ways(unsigned bytes, unsigned back)
{
    explore("a stream and its end", 1, bytes, 0);
    explore("a stream and its end", 2, bytes, 0);
    setup.start = 0xffffffff;
    explore("indices wrap around", 2, bytes, 0);
    setup.start = 0;
    explore("both ways", 1, back, 2);
    setup.dies = true;
    explore("the client dies", 2, bytes, 0);
    setup.dies = false;
    setup.in_place = true;
    explore("in place", 2, bytes, 0);
    setup.in_place = false;
    setup.may_drain = true;
    explore("the client waits until all is taken", 2, bytes, 0);
    setup.may_drain = false;
    setup.whole = true;
    explore("two bytes or none", 2, 2 * (bytes / 2), 0);
    setup.whole = false;
}

int main(int argc, char **argv)
{
    bool is_all = argc > 1 && strcmp(argv[1], "--all") == 0;
    tap_begin("vchan_explore");
    if (!ex_can()) {
        tap_case("all interleavings");
        tap_skip("stacks are switched on x86-64 only");
        return tap_done();
    }
    explore_ways(is_all ? 9 : 5, is_all ? 4 : 2);
    model.states_max = is_all ? 30000000 : model.states_max;
    model.buffered = is_all ? 6 : 4;
    explore_ways(is_all ? 7 : 4, is_all ? 3 : 2);
    /* What the search finds when something is missing. */
    model.no_fences = true;
    must_go_wrong("without fences a wake-up is lost", 3);
    model.no_fences = false;
    model.buffered = 0;
    setup.is_hasty = true;
    must_go_wrong("a reader that does not look again at the end loses the last bytes", 3);
    return tap_done();
}
