/* SPDX-License-Identifier: ISC */
/* Hostile peers beside an honest one, on the way through a router: the victim's memory stays
 * bounded, the honest client is served, and after the attack nothing is left.
 *
 *   attacker ---\
 *                router --- victim (a web server with 4 MiB of memory)
 *   honest -----/
 */
#include <stdio.h>
#include <string.h>

#include "target/sim/topology.h"
#include "test/harness/sim_pair.h"
#include "test/harness/tap.h"

#define MEMORY (8u << 20)

static uint64_t seed;

struct attack {
    const char *kind;  /* "" = none */
    const char *words; /* of the attack */
    uint32_t page;     /* bytes of the victim's page */
    double slower;     /* how much longer the honest client may take */
};

struct watch_memory {
    struct mir_sim_call call;
    struct mir__world *world;
    size_t peak;
    bool is_over;
};

static void look(void *arg)
{
    struct watch_memory *m = arg;
    size_t used = mir_page_pool_used_bytes(&m->world->nodes[2].host->pages);
    m->peak = used > m->peak ? used : m->peak;
    if (!m->is_over)
        mir_sim_at(m->world->sim, &m->call, mir_sim_now(m->world->sim) + 10000);
}

/* Seconds that the honest client took; its last flow. */
static double run(const struct attack *attack, struct mir__world_result *result, size_t *peak)
{
    static struct mir__world world;
    char text[1000], error[MIR__TOPO_ERROR_MAX] = "", line[200] = "";
    struct mir__topo topo;
    if (attack->kind[0] != '\0')
        snprintf(line, sizeof line, "run attacker attack to=victim kind=%s %s\n", attack->kind,
                 attack->words);
    snprintf(text, sizeof text,
             "host attacker\nhost honest\nhost victim memory=8m\nrouter r\n"
             "link attacker r rate=100m delay=1ms\nlink honest r rate=100m delay=1ms\n"
             "link victim r rate=100m delay=1ms queue=256k\n"
             "run victim web bytes=%u\nrun honest http to=victim flows=10 count=20 start=500ms\n%s",
             attack->page, line);
    if (!check_int(mir__topo_parse(text, attack->kind, &topo, error), ==, 0) ||
        !check_int(mir__world_build(&topo, &(struct mir_sim_config){.seed = seed}, &world, error),
                   ==, 0)) {
        tap_note("%s", error);
        return 0;
    }
    struct watch_memory m = {.world = &world, .call = {.run = look}};
    m.call.arg = &m;
    mir_sim_at(world.sim, &m.call, mir_sim_now(world.sim));
    mir__world_run(&world, 120 * MIR_US_PER_S);
    double took = (double)world.result.took_us / 1e6;
    m.is_over = true;
    mir_sim_cancel(world.sim, &m.call);
    mir__world_close(&world);
    mir__topo_free(&topo);
    *result = world.result;
    *peak = m.peak;
    return took;
}

int main(int argc, char **argv)
{
    static const struct attack attacks[] = {
        {"synflood", "count=20000 every=100us", 20000, 2},
        {"fragments", "count=10000 every=200us", 20000, 2},
        {"arp", "count=10000 every=200us", 20000, 2},
        {"zerowindow", "flows=200 every=1ms", 20000, 2},
        {"silly", "flows=100 every=1ms", 20000, 2},
        {"smallmss", "flows=50 every=1ms", 20000, 3},
        {"optimist", "flows=20 every=1ms", 200000, 3},
        {"ackstorm", "flows=20 count=2000 every=1ms", 20000, 2},
    };
    struct mir__world_result result;
    struct attack none = {.kind = "", .words = ""};
    size_t peak;
    tap_begin("hostile");
    seed = tap_seed(argc, argv, 1);
    for (size_t i = 0; i < MIR_ARRAY_LEN(attacks); i++) {
        none.page = attacks[i].page;
        tap_case("%s: the honest client is served, memory is bounded, nothing is left",
                 attacks[i].kind);
        double quiet = run(&none, &result, &peak);
        check_str(result.first, "");
        double took = run(&attacks[i], &result, &peak);
        check_str(result.first, "");
        check_int(result.done, ==, 10);
        check_int(result.failed + result.hung + result.wrong + result.violations, ==, 0);
        check_int(peak, <=, MEMORY);
        check(took <= quiet * attacks[i].slower + 1);
        tap_note(
            "honest flows done after %.2f s, without the attack %.2f s; the victim held %zu KiB "
            "at most",
            took, quiet, peak / 1024);
    }
    return tap_done();
}
