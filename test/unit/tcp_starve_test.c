/* SPDX-License-Identifier: ISC */
/* Memory that is not there: each allocation of a pool of TCP, of the buffers and of the pages fails
 * in turn while two connections come, carry data both ways over a bad wire, and go. A connection
 * may become slow, and may fail with an error that the application is told of; bytes never get
 * wrong, nothing waits for ever, nothing is left.
 */
#include "lib/net/tcp/internal.h"
#include "test/harness/sim_flow.h"
#include "test/harness/tap.h"
#include "test/harness/tcp_pair.h"

#define BYTES    100000u
#define PATIENCE (1800 * MIR_US_PER_S)

enum victim { PCBS, BUSIES, LOSSES, RANGES, HALF_OPENS, TIME_WAITS, CHUNKS, EARLIES, BUFS, PAGES };
static const char *const names[] = {
    "connections", "busy blocks",       "scoreboards",  "ranges",  "half-open entries",
    "TIME_WAIT",   "chunks of a queue", "early pieces", "buffers", "pages"};

struct starve {
    struct tcp_pair pair;
    enum victim victim;
    int side;
    uint32_t every; /* 0: one failure; else about each n-th allocation fails */
    struct sim_flow server[2];
    uint32_t accepts;
    bool is_wrong;
};

static struct mir_pool *pool_of(struct starve *st)
{
    struct mir__tcp_state *host = mir__net_tcp(st->pair.side[st->side].net);
    struct mir_pool *const pools[] = {&host->pcbs,   &host->busies,     &host->losses,
                                      &host->ranges, &host->half_opens, &host->time_waits,
                                      &host->chunks, &host->earlies,    &st->pair.bufs.pool};
    return pools[st->victim];
}

static uint64_t *fail_at_of(struct starve *st)
{
    return st->victim == PAGES ? &st->pair.pages.fail_at : &pool_of(st)->fail_at;
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp, void *arg)
{
    struct starve *st = arg;
    (void)listener;
    if (st->accepts == MIR_ARRAY_LEN(st->server)) {
        mir_tcp_abort(tcp);
        return;
    }
    sim_flow_attach(&st->server[st->accepts++], tcp);
}

/* Called for each frame: another failure is made ready. */
static bool on_frame(void *arg, int from, const struct mir_buf *buf)
{
    struct starve *st = arg;
    (void)from;
    (void)buf;
    if (st->every != 0 && *fail_at_of(st) == 0)
        *fail_at_of(st) = 1 + mir_rng_below(&st->pair.rng, st->every);
    return false;
}

static void open_starve(struct starve *st, uint64_t seed)
{
    struct tcp_pair_config wire = {.seed = seed,
                                   .loss_ppm = 20000,
                                   .reorder_ppm = 50000,
                                   .delay_us = 5000,
                                   .caps = MIR_NET_TX_SG};
    tcp_pair_open(&st->pair, &wire);
    st->pair.drop = on_frame;
    st->pair.drop_arg = st;
    for (uint32_t i = 0; i < 2; i++)
        st->server[i] = (struct sim_flow){
            .tx_key = 10, .rx_key = 20, .to_send = BYTES, .chunk = 3000, .use_views = true};
}

/* One connection of the client's; with @fast its first bytes go with the SYN. */
static void converse(struct starve *st, bool fast)
{
    struct mir_stack *stack = st->pair.side[1].stack;
    struct mir_endpoint remote = {st->pair.side[0].ip, 80};
    struct sim_flow client = {.rx_key = 10, .tx_key = 20, .to_send = BYTES, .chunk = 5000};
    int r;
    if (fast) {
        uint8_t first[400];
        size_t queued = 0;
        struct mir_tcp *tcp = NULL;
        sim_flow_pattern(client.tx_key, 0, first, sizeof first);
        struct mir_tcp_connect_config config = {
            .remote = remote, .data = first, .len = sizeof first};
        r = mir_tcp_connect_data(stack, &config, &queued, &tcp);
        if (r == 0) {
            client.sent = queued;
            sim_flow_attach(&client, tcp);
        }
    } else {
        r = sim_flow_connect(&client, stack, &remote);
    }
    if (r == 0)
        tcp_pair_run(&st->pair, PATIENCE);
    st->is_wrong |= client.wrong_at != 0 || (r == 0 && !client.is_done);
    st->is_wrong |= r == 0 && client.error == 0 && client.received != BYTES;
    if (r == 0 && !client.is_done)
        tap_note("not over: sent %llu, received %llu", (unsigned long long)client.sent,
                 (unsigned long long)client.received);
    sim_flow_fini(&client);
}

/* Two connections, the @nth allocation fails; returns false if there were not so many. */
static bool run_one(enum victim victim, int side, uint64_t nth, uint32_t every, uint64_t seed)
{
    static struct starve st;
    struct mir_tcp_listener *listener = NULL;
    st = (struct starve){.victim = victim, .side = side, .every = every};
    open_starve(&st, seed);
    struct mir_tcp_listen_config config = {
        .local = {mir_ip_from_v4(0), 80}, .on_accept = on_accept, .arg = &st, .fastopen_max = 4};
    check_int(mir_tcp_listen(st.pair.side[0].stack, &config, &listener), ==, 0);
    *fail_at_of(&st) = nth;
    converse(&st, false);
    converse(&st, true);
    bool was_reached = *fail_at_of(&st) == 0;
    st.every = 0;
    *fail_at_of(&st) = 0;
    /* What nobody answers gives up, TIME_WAIT passes. */
    tcp_pair_run(&st.pair, PATIENCE);
    for (uint32_t i = 0; i < 2; i++) {
        st.is_wrong |= st.server[i].wrong_at != 0;
        sim_flow_fini(&st.server[i]);
    }
    bool ok = !st.is_wrong;
    for (int i = 0; i < 2; i++) {
        ok &= tcp_pair_stat(&st.pair, i, "connections") == 0;
        ok &= tcp_pair_stat(&st.pair, i, "time_wait") == 0;
        ok &= tcp_pair_stat(&st.pair, i, "half_open") == 0;
        ok &= tcp_pair_stat(&st.pair, i, "memory_used_bytes") == 0;
    }
    mir_tcp_unlisten(listener);
    ok &= tcp_pair_close(&st.pair);
    if (!check(ok))
        tap_note("%s, side %d, failure %llu, every %u", names[victim], side,
                 (unsigned long long)nth, every);
    return was_reached;
}

static void test_one_failure(enum victim victim, int side)
{
    uint64_t nth = 1;
    tap_case("side %d: each allocation of %s fails once", side, names[victim]);
    for (uint64_t step = 1; run_one(victim, side, nth, 0, 7); nth += step)
        step = 1 + nth / 40; /* those of the beginning matter most */
    tap_note("%llu allocations", (unsigned long long)nth - 1);
    check_int(nth, >, 1);
}

static void test_many_failures(enum victim victim, int side)
{
    tap_case("side %d: allocations of %s fail again and again", side, names[victim]);
    for (uint32_t seed = 1; seed <= 4; seed++) {
        (void)run_one(victim, side, 1, 3, seed);
        (void)run_one(victim, side, 1, 30, seed);
    }
}

int main(void)
{
    for (enum victim victim = PCBS; victim <= PAGES; victim++)
        for (int side = 0; side < 2; side++) {
            if ((victim == HALF_OPENS && side == 1) || (victim >= BUFS && side == 1))
                continue; /* a client has none; one pool for both */
            test_one_failure(victim, side);
            test_many_failures(victim, side);
        }
    return tap_done();
}
