/* SPDX-License-Identifier: ISC */
/* Datagrams, most of them in fragments, over bad wires: some get lost, but what arrives is what was
 * sent, however its pieces were lost, doubled, swapped or damaged.
 */
#include <string.h>

#include <mirari/bytes.h>

#include "lib/wire/csum.h"
#include "test/harness/sim_flow.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define DATAGRAMS 1500
#define LEN_MAX   20000u
#define GAP_US    5000u

struct receiver {
    uint32_t count, wrong, unseen;
    uint8_t seen[DATAGRAMS];
};

/* The first bytes say which datagram it is, and with it every other byte. */
static uint32_t make(uint32_t number, uint8_t *data)
{
    uint32_t len = 4 + (number * 2654435761u >> 8) % (number % 3 == 0 ? 1000u : LEN_MAX);
    sim_flow_pattern(number, 0, data, len);
    mir_put_be32(data, number);
    return len;
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    static uint8_t data[70000], good[LEN_MAX + 1000];
    struct receiver *receiver = arg;
    uint32_t len = mir_buf_total(buf_given);
    (void)udp, (void)meta;
    check_int(mir_buf_copy_out(buf_given, 0, data, len), ==, 0);
    mir_buf_release(buf_given);
    uint32_t number = len >= 4 ? mir_get_be32(data) : DATAGRAMS;
    receiver->count++;
    bool is_known = number < DATAGRAMS && make(number, good) == len;
    if (is_known && memcmp(good, data, len) != 0 &&
        mir__csum_partial(good, len) == mir__csum_partial(data, len)) {
        receiver->unseen++; /* two damages that cancel out: no checksum of 16 bits sees them */
        return;
    }
    if (!is_known || memcmp(good, data, len) != 0) {
        receiver->wrong++;
        return;
    }
    receiver->seen[number] = 1;
}

static void run_wire(uint64_t seed, const char *text, uint32_t at_least, uint32_t at_most)
{
    static struct receiver receiver;
    static uint8_t data[LEN_MAX + 1000];
    struct sim_pair pair;
    struct sim_pair_config config = {.seed = seed};
    struct mir_endpoint to = {.ip = mir_ip_from_v4(SIM_PAIR_IP(1)), .port = 9000},
                        any = {.port = 0};
    struct mir_udp *ours, *theirs;
    uint32_t arrived = 0;
    size_t at;
    tap_case("wire %s", text);
    memset(&receiver, 0, sizeof receiver);
    any.ip = mir_ip_from_v4(0);
    for (int i = 0; i < 2; i++)
        check_int(mir_sim_wire_parse(text, &config.wire[i], &at), ==, 0);
    sim_pair_open(&pair, &config);
    check_int(mir_udp_open(pair.node[1]->stack, &to, on_datagram, &receiver, &theirs), ==, 0);
    check_int(mir_udp_open(pair.node[0]->stack, &any, on_datagram, &receiver, &ours), ==, 0);
    for (uint32_t i = 0; i < DATAGRAMS; i++) {
        uint32_t len = make(i, data);
        int r = mir_udp_send(ours, &to, data, len);
        check(r == 0 || r == -MIR_EHOSTUNREACH);
        (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + GAP_US);
    }
    (void)mir_sim_run(pair.sim, mir_sim_now(pair.sim) + 100 * MIR_US_PER_S);
    for (uint32_t i = 0; i < DATAGRAMS; i++)
        arrived += receiver.seen[i];
    check_int(receiver.wrong, ==, 0);
    check_int(receiver.unseen, <=, 3);
    check_int(arrived, >=, at_least);
    check_int(arrived, <=, at_most);
    tap_note("%u of %u arrived, %u with copies; %llu reassembled", arrived, DATAGRAMS,
             receiver.count, (unsigned long long)sim_stat(pair.node[1]->stack, "ip_reassembled"));
    mir_udp_close(ours);
    mir_udp_close(theirs);
    sim_pair_check_idle(&pair);
    (void)sim_pair_close(&pair);
}

int main(int argc, char **argv)
{
    tap_begin("udp_faults");
    uint64_t seed = tap_seed(argc, argv, 1);
    run_wire(seed, "rate=100m,delay=1", DATAGRAMS, DATAGRAMS);
    run_wire(seed, "rate=100m,delay=1,reorder=20%/3ms", DATAGRAMS * 9 / 10, DATAGRAMS);
    run_wire(seed, "rate=100m,delay=1,dup=20%", DATAGRAMS * 9 / 10, DATAGRAMS);
    run_wire(seed, "rate=100m,delay=5,loss=5%", DATAGRAMS / 3, DATAGRAMS * 9 / 10);
    run_wire(seed, "rate=100m,delay=5,corrupt=5%", DATAGRAMS / 3, DATAGRAMS * 9 / 10);
    run_wire(seed, "rate=100m,delay=5,jitter=2,loss=2%,corrupt=3%,dup=5%,reorder=10%",
             DATAGRAMS / 4, DATAGRAMS * 9 / 10);
    return tap_done();
}
