/* SPDX-License-Identifier: ISC */
/* Fast Open over bad wires: requests and answers one after the other, each on a connection of its
 * own, data in the SYN once there is a cookie. Every byte arrives once, nothing is left; and on a
 * clean wire a round trip is saved.
 *
 *   tcp_fastopen_sim_test --seed 1
 */
#include <string.h>

#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define REQUESTS    40u
#define REQUEST_LEN 700u
#define ANSWER_LEN  3000u
#define GIVE_UP_US  (1200 * MIR_US_PER_S)

static uint32_t requests_in, answered, wrong, failed, ended;
static uint32_t received; /* of the present answer */
static uint64_t total_us;

static void fill(uint8_t *out, uint32_t len, uint32_t number)
{
    for (uint32_t i = 0; i < len; i++)
        out[i] = (uint8_t)(i * 3 + number);
}

/* The server answers when the whole request is there; how much came is in the handler's argument.
 */
static void on_request(struct mir_tcp *tcp, unsigned events, void *arg)
{
    static uint8_t answer[ANSWER_LEN];
    static uint32_t got[REQUESTS * 4];
    uint32_t *mine = arg == NULL ? &got[requests_in++ % MIR_ARRAY_LEN(got)] : arg;
    struct mir_view view;
    size_t queued;
    if (arg == NULL)
        *mine = 0;
    mir_tcp_set_handler(tcp, on_request, mine);
    while (mir_tcp_recv_view(tcp, &view) == 0) {
        for (uint32_t i = 0; i < view.len; i++)
            wrong += view.data[i] != (uint8_t)((*mine + i) * 3);
        *mine += view.len;
        mir_view_release(&view);
        if (*mine == REQUEST_LEN) {
            fill(answer, sizeof answer, 1);
            if (mir_tcp_send(tcp, answer, sizeof answer, &queued) < 0 || queued != sizeof answer)
                failed++;
            (void)mir_tcp_shutdown(tcp);
        }
    }
    if (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED))
        mir_tcp_close(tcp);
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener, (void)arg;
    on_request(tcp_given, 0, NULL);
}

static void on_answer(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir_view view;
    int r;
    (void)arg;
    while ((r = mir_tcp_recv_view(tcp, &view)) == 0) {
        for (uint32_t i = 0; i < view.len; i++)
            wrong += view.data[i] != (uint8_t)((received + i) * 3 + 1);
        received += view.len;
        answered += received == ANSWER_LEN;
        mir_view_release(&view);
    }
    if (r == -MIR_EEOF || (events & (MIR_TCP_CLOSED | MIR_TCP_FAILED))) {
        failed += received != ANSWER_LEN;
        ended++;
        mir_tcp_close(tcp);
    }
}

static void ask(struct sim_pair *pair)
{
    static uint8_t request[REQUEST_LEN];
    struct mir_tcp_connect_config config = {
        .remote = {mir_ip_from_v4(SIM_PAIR_IP(1)), 80},
        .data = request,
        .len = sizeof request,
        .handler = on_answer,
    };
    struct mir_tcp *tcp;
    size_t queued;
    uint32_t before = answered + failed;
    uint32_t ended_before = ended;
    mir_time_us began_us = mir_sim_now(pair->sim);
    fill(request, sizeof request, 0);
    received = 0;
    check_int(mir_tcp_connect_data(pair->node[0]->stack, &config, &queued, &tcp), ==, 0);
    check_int(queued, ==, sizeof request);
    while (answered + failed == before && mir_sim_now(pair->sim) < began_us + GIVE_UP_US)
        (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + 1000);
    total_us += mir_sim_now(pair->sim) - began_us;
    while (ended == ended_before && mir_sim_now(pair->sim) < began_us + GIVE_UP_US)
        (void)mir_sim_run(pair->sim, mir_sim_now(pair->sim) + 1000);
}

/* Returns the mean time of a request in milliseconds. */
static double run(uint64_t seed, const char *wire, uint32_t fastopen_max, uint32_t *accepted)
{
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    struct mir_tcp_listen_config listen = {.on_accept = on_accept, .fastopen_max = fastopen_max};
    struct mir_tcp_listener *listener;
    size_t error_pos;
    requests_in = answered = wrong = failed = ended = 0;
    total_us = 0;
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_wire_parse(wire, &config.wire[i], &error_pos), ==, 0);
    sim_pair_open(&pair, &config);
    listen.local.port = 80;
    check_int(mir_tcp_listen(pair.node[1]->stack, &listen, &listener), ==, 0);
    for (uint32_t i = 0; i < REQUESTS; i++)
        ask(&pair);
    check_int(answered, ==, REQUESTS);
    check_int(wrong, ==, 0);
    check_int(failed, ==, 0);
    *accepted = (uint32_t)sim_stat(pair.node[1]->stack, "tcp_fastopen_accepted");
    (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 500 * MIR_US_PER_S);
    mir_tcp_unlisten(listener);
    /* The table of cookies is a page that stays. */
    (void)sim_pair_close(&pair);
    return (double)total_us / REQUESTS / 1e3;
}

int main(int argc, char **argv)
{
    static const char *const wires[] = {"delay=20ms",
                                        "delay=20ms,loss=5%",
                                        "delay=20ms,loss=20%",
                                        "delay=20ms,dup=20%",
                                        "delay=20ms,reorder=30%/30ms",
                                        "delay=20ms,loss=5%,dup=5%,reorder=10%/30ms,corrupt=2%"};
    tap_begin("tcp_fastopen_sim");
    uint64_t seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(wires); i++) {
        tap_case("%s: every request answered, every byte right", wires[i]);
        uint32_t accepted, none;
        double with = run(seed + i, wires[i], 16, &accepted);
        double without = run(seed + i, wires[i], 0, &none);
        check_int(none, ==, 0);
        tap_note("with Fast Open (%u times) %.1f ms a request, without %.1f ms", accepted, with,
                 without);
        if (i == 0) { /* the first one learns the cookie */
            check_int(accepted, ==, REQUESTS - 1);
            check(with < without * 0.55);
        }
    }
    return tap_done();
}
