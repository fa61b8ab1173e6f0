/* SPDX-License-Identifier: ISC */
/* A million short connections, ended in every way that comes to mind, by either side, with a little
 * loss: afterwards pages, buffers, connections and timers are back at what they were.
 *
 *   leak_test [--count N] [--seed N]
 */
#include <stdlib.h>
#include <string.h>

#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNT_DEFAULT 30000
#define WARM_UP       60000
#else
#define COUNT_DEFAULT 1000000
#define WARM_UP       200000
#endif
#define SLOTS          200
#define PORTS          4
#define PORT_CLOSED    9
#define PORT_REFUSING  90
#define REQUEST_BYTES  40
#define RESPONSE_BYTES 120
#define REST_US        (2000 * MIR_US_PER_S)

/* How a connection ends. */
enum way {
    CLIENT_CLOSES,
    SERVER_CLOSES,
    CLIENT_ABORTS,
    SERVER_ABORTS,
    CLIENT_ABORTS_EARLY, /* as soon as it is connected */
    CLIENT_LEAVES,       /* before it is connected */
    SERVER_REFUSES,      /* abort in the accept callback */
    CLIENT_HALF_CLOSES,  /* shutdown behind the request */
    BOTH_CLOSE,          /* at the same time, nothing said */
    NOBODY_LISTENS,
    WAYS
};

static const char *const way_name[WAYS] = {
    "client closes", "server closes",  "client aborts", "server aborts", "client aborts early",
    "client leaves", "server refuses", "half-close",    "both close",    "nobody listens",
};

struct slot {
    struct mir_tcp *tcp;
    enum way way;
    uint32_t received;
};

/* Server's side of a connection: its way is in the first byte of the request. */
struct served {
    struct served *next_free;
    uint32_t received;
    uint8_t way;
    bool has_answered;
};

static struct sim_pair pair;
static struct slot slots[SLOTS];
static struct served *free_served;
static uint32_t served_count;
static struct mir_rng dice;
static uint64_t to_start, started, ended, by_way[WAYS], failed, unexpected;

/* ---- server
 * -------------------------------------------------------------------------------------- */

static void forget(struct served *served)
{
    served->next_free = free_served;
    free_served = served;
    served_count--;
}

static void answer(struct mir_tcp *tcp, struct served *served)
{
    static const uint8_t response[RESPONSE_BYTES] = {1, 2, 3};
    size_t queued;
    if (served->way == SERVER_ABORTS) {
        forget(served);
        mir_tcp_abort(tcp);
        return;
    }
    served->has_answered = true;
    check_int(mir_tcp_send(tcp, response, sizeof response, &queued), ==, 0);
    if (served->way == SERVER_CLOSES) {
        forget(served);
        mir_tcp_close(tcp);
    }
}

static void on_server_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct served *served = arg;
    struct mir_view view;
    int r = 0;
    if (events & MIR_TCP_FAILED) {
        forget(served);
        mir_tcp_close(tcp);
        return;
    }
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        if (served->received == 0)
            served->way = view.data[0];
        served->received += view.len;
        mir_view_release(&view);
    }
    if (served->received >= REQUEST_BYTES && !served->has_answered) {
        bool stays = served->way != SERVER_ABORTS && served->way != SERVER_CLOSES;
        answer(tcp, served);
        if (!stays)
            return;
    }
    if (r != -MIR_EAGAIN) {
        forget(served);
        mir_tcp_close(tcp);
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct served *served = free_served;
    (void)arg;
    if (listener->local.port == PORT_REFUSING) {
        mir_tcp_abort(tcp_given);
        return;
    }
    if (served != NULL)
        free_served = served->next_free;
    else
        served = malloc(sizeof *served);
    *served = (struct served){.way = WAYS};
    served_count++;
    mir_tcp_set_handler(tcp_given, on_server_event, served);
    on_server_event(tcp_given, 0, served);
}

/* ---- client
 * -------------------------------------------------------------------------------------- */

static void start_next(struct slot *slot);

static void over(struct slot *slot)
{
    slot->tcp = NULL;
    ended++;
    by_way[slot->way]++;
    start_next(slot);
}

static void leave(struct slot *slot, bool aborts)
{
    struct mir_tcp *tcp = slot->tcp;
    if (aborts)
        mir_tcp_abort(tcp);
    else
        mir_tcp_close(tcp);
    over(slot);
}

static void say_request(struct slot *slot)
{
    uint8_t request[REQUEST_BYTES] = {(uint8_t)slot->way};
    size_t queued;
    check_int(mir_tcp_send(slot->tcp, request, sizeof request, &queued), ==, 0);
    if (slot->way == CLIENT_HALF_CLOSES)
        (void)mir_tcp_shutdown(slot->tcp);
}

static void on_client_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct slot *slot = arg;
    struct mir_view view;
    int r;
    if (events & MIR_TCP_FAILED) {
        failed++;
        unexpected += slot->way == CLIENT_CLOSES && mir_tcp_error(tcp) != -MIR_ETIMEDOUT;
        leave(slot, false);
        return;
    }
    if (events & MIR_TCP_CONNECTED) {
        if (slot->way == CLIENT_ABORTS_EARLY || slot->way == BOTH_CLOSE) {
            leave(slot, slot->way == CLIENT_ABORTS_EARLY);
            return;
        }
        say_request(slot);
    }
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        slot->received += view.len;
        mir_view_release(&view);
    }
    bool has_all = slot->received >= RESPONSE_BYTES;
    if (has_all && (slot->way == CLIENT_CLOSES || slot->way == CLIENT_ABORTS))
        leave(slot, slot->way == CLIENT_ABORTS);
    else if (r != -MIR_EAGAIN)
        leave(slot, false);
}

static void start_next(struct slot *slot)
{
    struct mir_endpoint to = {.ip = mir_ip_from_v4(SIM_PAIR_IP(1))};
    while (started < to_start) {
        uint32_t port = mir_rng_below(&dice, PORTS);
        slot->way = (enum way)mir_rng_below(&dice, WAYS);
        slot->received = 0;
        to.port = (uint16_t)(80 + port);
        if (slot->way == NOBODY_LISTENS)
            to.port = PORT_CLOSED;
        else if (slot->way == SERVER_REFUSES)
            to.port = PORT_REFUSING;
        int r = mir_tcp_connect(pair.node[0]->stack, &to, on_client_event, slot, &slot->tcp);
        if (r < 0) {
            /* A few thousand ports in TIME_WAIT, and none free by chance. */
            unexpected += r != -MIR_EADDRNOTAVAIL;
            slot->tcp = NULL;
            return;
        }
        started++;
        if (slot->way != CLIENT_LEAVES)
            return;
        mir_tcp_close(slot->tcp);
        slot->tcp = NULL;
        ended++;
        by_way[slot->way]++;
    }
}

/* ---- the test
 * ------------------------------------------------------------------------------------- */

static void run_connections(uint64_t count)
{
    to_start = started + count;
    while (started < to_start || ended < started) {
        /* Slots are idle at the start, and when no port was free. */
        for (uint32_t i = 0; i < SLOTS; i++) {
            if (slots[i].tcp == NULL)
                start_next(&slots[i]);
        }
        mir_time_us until_us = mir_sim_now(pair.sim) + MIR_US_PER_S;
        if (mir_sim_run(pair.sim, until_us) == MIR_SIM_IDLE && started == to_start)
            break;
        if (mir_sim_now(pair.sim) > 100000 * MIR_US_PER_S)
            break;
    }
    check_int(ended, ==, started);
    (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + REST_US);
}

struct figures {
    size_t pages[2];
    uint32_t timers[2];
};

static void take_figures(struct figures *figures)
{
    for (int i = 0; i < 2; i++) {
        figures->pages[i] = mir_page_pool_used_bytes(&pair.node[i]->pages);
        figures->timers[i] = pair.node[i]->loop.timer_count;
    }
}

static void open_pair(uint64_t seed)
{
    struct sim_pair_config config = {.seed = seed};
    struct mir_tcp_listen_config listen = {.on_accept = on_accept};
    struct mir_tcp_listener *listener;
    for (int i = 0; i < 2; i++) {
        config.node[i].memory_bytes = (size_t)64 << 20;
        config.wire[i] = (struct mir_sim_wire_config){
            .rate_bps = 10000000000ull, .delay_us = 100, .loss_ppm = 500, .jitter_us = 20};
    }
    sim_pair_open(&pair, &config);
    for (uint32_t port = 0; port <= PORTS; port++) {
        listen.local.port = (uint16_t)(port < PORTS ? 80 + port : PORT_REFUSING);
        listen.local.ip = mir_ip_from_v4(0);
        check_int(mir_tcp_listen(pair.node[1]->stack, &listen, &listener), ==, 0);
    }
}

int main(int argc, char **argv)
{
    struct figures before, after;
    struct mir_sim_stats stats;
    uint64_t count = COUNT_DEFAULT;
    tap_begin("leak");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--count") == 0)
            count = strtoull(argv[i + 1], NULL, 0);
    }
    mir_rng_init_u64(&dice, seed);
    open_pair(seed);

    /* Pools keep the chunks of their peak, TIME_WAIT above all: it has to be reached first. */
    tap_case("%d connections to warm up", WARM_UP);
    run_connections(WARM_UP);
    sim_pair_check_idle(&pair);
    take_figures(&before);

    tap_case("%llu connections, ended in %d ways", (unsigned long long)count, WAYS);
    run_connections(count);
    check_int(unexpected, ==, 0);
    for (int i = 0; i < WAYS; i++)
        check_int(by_way[i], >, count / WAYS / 2);
    check_int(served_count, ==, 0);

    tap_case("pages, buffers, connections and timers are back at the idle figures");
    sim_pair_check_idle(&pair);
    take_figures(&after);
    for (int i = 0; i < 2; i++) {
        check_int(after.pages[i], <=, before.pages[i] + 32 * MIR_PAGE_SIZE);
        check_int(after.timers[i], ==, before.timers[i]);
        tap_note("node %d: %zu KiB of pages before, %zu after; %u timers", i, before.pages[i] >> 10,
                 after.pages[i] >> 10, after.timers[i]);
    }
    mir_sim_get_stats(pair.sim, &stats);
    check_int(stats.rx_no_memory, ==, 0);
    for (int i = 0; i < WAYS; i++)
        tap_note("%-20s %llu", way_name[i], (unsigned long long)by_way[i]);
    tap_note("%llu failed at the client, %llu events, %llu frames, %llu virtual s",
             (unsigned long long)failed, (unsigned long long)stats.events,
             (unsigned long long)stats.frames,
             (unsigned long long)(mir_sim_now(pair.sim) / MIR_US_PER_S));

    tap_case("closing the stacks leaves nothing");
    (void)sim_pair_close(&pair);
    for (struct served *served = free_served; served != NULL; served = free_served) {
        free_served = served->next_free;
        free(served);
    }
    return tap_done();
}
