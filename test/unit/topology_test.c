/* SPDX-License-Identifier: ISC */
/* Networks from text: what is read, what is refused and how, and that a network written as text is
 * the same network.
 */
#include <stdlib.h>
#include <string.h>

#include "target/sim/topology.h"
#include "test/harness/tap.h"

static char error[MIR__TOPO_ERROR_MAX];

static char *text_of(const struct mir__topo *topo)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    mir__topo_emit(topo, out);
    fclose(out);
    return text;
}

static void test_values(void)
{
    static const char text[] =
        "host a memory=2m drift=-30ppm congestion=reno sack=off\n"
        "host c*3 sndbuf=64k offload=on   # three of them\n"
        "router r advertise=on\n"
        "\n"
        "link a r name=wan rate=10m delay=20ms loss=1% mtu=1400 back rate=1m\n"
        "link c* r fq-codel=5ms/100ms ecn=1\n"
        "run a sink\n"
        "run c* send to=a:99 bytes=1m flows=2 every=10ms\n"
        "at 500ms link wan down\n"
        "at 2s link wan up\n"
        "at 3s link wan loss=0 delay=5ms\n"
        "at 1s clock c* jump=-5s\n"
        "duration 60s\n";
    struct mir__topo topo;
    tap_case("every statement is read");
    if (!check_int(mir__topo_parse(text, "x.topo", &topo, error), ==, 0))
        tap_note("%s", error);
    check_int(topo.node_count, ==, 5);
    check_int(topo.link_count, ==, 4);
    check_int(topo.job_count, ==, 4);
    check_int(topo.nodes[0].memory_bytes, ==, 2u << 20);
    check_int(topo.nodes[0].drift_ppm, ==, -30);
    check(topo.nodes[0].no_sack && topo.nodes[3].has_offload);
    check_str(topo.nodes[3].name, "c3");
    check_str(topo.links[0].name, "wan");
    check_int(topo.links[0].way[0].rate_bps, ==, 10000000);
    check_int(topo.links[0].way[1].rate_bps, ==, 1000000);
    check_int(topo.links[0].way[1].loss_ppm, ==, 10000);
    check_int(topo.links[0].mtu, ==, 1400);
    check_str(topo.links[3].name, "c3-r");
    check_int(topo.links[3].way[0].fq_target_us, ==, 5000);
    check_int(topo.jobs[3].node, ==, 3);
    check_int(topo.jobs[3].port, ==, 99);
    check_int(topo.jobs[3].bytes, ==, 1u << 20);
    check_int(topo.events[2].way[0].loss_ppm, ==, 0);
    check_int(topo.events[2].way[1].rate_bps, ==, 1000000);
    check_int(topo.events[3].value, ==, -5000000);
    check_int(topo.duration_us, ==, 60000000);

    tap_case("written as text and read again it is the same");
    struct mir__topo again, copy;
    char *first = text_of(&topo);
    check_int(mir__topo_parse(first, "again", &again, error), ==, 0);
    char *second = text_of(&again);
    check_str(first, second);
    check_int(memcmp(topo.events, again.events, topo.event_count * sizeof topo.events[0]), ==, 0);
    check_int(memcmp(topo.links, again.links, topo.link_count * sizeof topo.links[0]), ==, 0);
    check_int(memcmp(topo.jobs, again.jobs, topo.job_count * sizeof topo.jobs[0]), ==, 0);
    check_int(mir__topo_copy(&topo, &copy), ==, 0);
    char *third = text_of(&copy);
    check_str(first, third);
    free(first);
    free(second);
    free(third);
    mir__topo_free(&topo);
    mir__topo_free(&again);
    mir__topo_free(&copy);
}

static void test_refusals(void)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"hots a\n", "f:1: unknown statement \"hots\"; did you mean \"host\"?"},
        {"host a\n\nhost b memry=3m\n",
         "f:3: unknown word of a host \"memry\"; did you mean \"memory\""},
        {"host a memory=3q\n", "f:1: \"memory=3q\": the value cannot be read"},
        {"host a\nhost a\n", "f:2: there is a node \"a\" already"},
        {"host\n", "f:1: \"host\" needs a name"},
        {"host a/b\n", "is not a name"},
        {"host a*0\n", "is not how many there are"},
        {"router r memory=1m\n", "unknown word of a router \"memory\""},
        {"router r advertise=maybe\n", "the value cannot be read"},
        {"switch s advertise=on\n", "a switch has no words"},
        {"host server\nhost b\nlink sever b\n",
         "f:3: unknown node \"sever\"; did you mean \"server\""},
        {"host a\nlink a a\n", "to itself"},
        {"host a\nhost b\nlink a b rat=1m\n",
         "unknown word of a link \"rat\"; did you mean \"rate\""},
        {"host a\nhost b\nlink a b rate=fast\n", "\"rate=fast\": the value cannot be read"},
        {"host a*2\nhost b*3\nlink a* b*\n", "groups of 2 and of 3"},
        {"host a\nlink a x*\n", "there is no group \"x*\""},
        {"host a\nrun a snik\n", "unknown role \"snik\"; did you mean \"sink\""},
        {"host a\nrun a send\n", "\"send\" needs to=NODE"},
        {"host a\nrouter r\nrun a send to=r\n", "\"r\" is not a host"},
        {"host a\nrouter r\nrun r sink\n", "\"r\" is not a host"},
        {"host a\nrun a send to=a byte=3\n",
         "unknown word of a job \"byte\"; did you mean \"bytes\""},
        {"host a\nrun a attack to=a kind=rude\n", "the value cannot be read"},
        {"host a\nhost b\nlink a b name=wan\nat 1s link wam down\n", "did you mean \"wan\""},
        {"host a\nat soon clock a jump=1s\n", "\"soon\" is not a time"},
        {"host a\nat 1s clock a jmp=1s\n",
         "unknown word of a clock \"jmp\"; did you mean \"jump\""},
        {"host a\nat 1s clok a jump=1s\n", "did you mean \"clock\""},
        {"duration long\n", "needs a time"},
    };
    struct mir__topo topo;
    tap_case("what is wrong is told with file, line, word and the nearest known one");
    for (size_t i = 0; i < MIR_ARRAY_LEN(cases); i++) {
        error[0] = '\0';
        check_int(mir__topo_parse(cases[i].text, "f", &topo, error), ==, -MIR_EINVAL);
        if (!check(strstr(error, cases[i].says) != NULL))
            tap_note("case %zu: %s", i, error);
        check(topo.nodes == NULL);
    }
    check_int(mir__topo_load("/nowhere/x.topo", &topo, error), ==, -MIR_EIO);
    check(strstr(error, "/nowhere/x.topo") != NULL);

    tap_case("a network that cannot be built says why");
    struct mir__world world;
    static const char crowded[] = "switch s\nhost h*65\nlink h* s\n";
    check_int(mir__topo_parse(crowded, "f", &topo, error), ==, 0);
    check_int(mir__world_build(&topo, &(struct mir_sim_config){.seed = 1}, &world, error), ==,
              -MIR_EINVAL);
    check(strstr(error, "a switch has 64 ports") != NULL);
    mir__topo_free(&topo);
    check_int(mir__topo_parse("host a congestion=fast\n", "f", &topo, error), ==, 0);
    check_int(mir__world_build(&topo, &(struct mir_sim_config){.seed = 1}, &world, error), ==,
              -MIR_EINVAL);
    check(strstr(error, "a: congestion=fast is not known") != NULL);
    mir__topo_free(&topo);
}

int main(void)
{
    tap_begin("topology");
    test_values();
    test_refusals();
    return tap_done();
}
