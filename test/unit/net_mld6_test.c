/* SPDX-License-Identifier: ISC */
/* Groups told to routers: MLDv2 and version 1 (lib/net/mld6.c). Simulated time. */
#include <mirari/format.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/wire/mld6.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

static struct testbed bed;
static struct bed6_message message;

#define GROUP "ff05::1234"

static struct mir__iface *iface(void)
{
    return &bed.net->ifaces[0];
}

static void open_bed(void)
{
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
}

/* The next listener message; false: none. */
static bool next(void)
{
    while (bed6_next(&bed, BED6_ANY, &message)) {
        if (message.has_router_alert)
            return check_int(message.hops, ==, 1) && check(message.checksum_ok);
    }
    return false;
}

/* A report of version 2 has a record of @type for @group. */
static bool has_record(uint8_t type, const char *group)
{
    struct mir_ip ip = bed6_ip(group);
    uint16_t count = mir_get_be16(message.data + 6);
    for (uint16_t i = 0; i < count; i++) {
        const uint8_t *record = message.data + 8 + 20 * i;
        if (record[0] == type && memcmp(record + 4, ip.bytes, 16) == 0)
            return true;
    }
    return false;
}

static uint8_t interval_code = 125;

static void query(const char *src, uint8_t hops, const char *group, uint32_t response_ms,
                  bool is_v1)
{
    uint8_t msg[28] = {MIR__MLD6_QUERY};
    struct mir_ip ip = bed6_ip(group);
    mir_put_be16(msg + 4, (uint16_t)response_ms);
    memcpy(msg + 8, ip.bytes, 16);
    msg[24] = 2;
    msg[25] = interval_code;
    bed6_inject_alert(&bed, src, mir_ip_is_any(&ip) ? BED6_ALL_NODES : group, hops, msg,
                      is_v1 ? 24 : 28);
}

static void join(const char *group)
{
    struct mir_ip ip = bed6_ip(group);
    check_int(mir__group_join(iface(), &ip), ==, 0);
    testbed_run(&bed);
}

static void leave(const char *group)
{
    struct mir_ip ip = bed6_ip(group);
    mir__group_leave(iface(), &ip);
    testbed_run(&bed);
}

static void test_changes(void)
{
    tap_case("the solicited-node group is told before the address is tested, from ::, then again");
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    check(next());
    check_int(message.data[0], ==, MIR__MLD6_REPORT2);
    check(has_record(MIR__MLD6_TO_EXCLUDE, "ff02::1:ff00:2"));
    bed6_check_ip(&message.src, "::");
    bed6_check_ip(&message.dst, "ff02::16");
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    bool is_from_link_local = false;
    while (next())
        is_from_link_local |= !mir_ip_is_any(&message.src);
    check(is_from_link_local);
    tap_case("a join: at once, and once more within a second");
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    join(GROUP);
    check(next() && has_record(MIR__MLD6_TO_EXCLUDE, GROUP));
    bed6_check_ip(&message.src, BED6_OWN_LL);
    check(!next());
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check(next() && has_record(MIR__MLD6_TO_EXCLUDE, GROUP));
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(!next());
    tap_case("a second join is nobody's business, nor is the first leave");
    join(GROUP);
    leave(GROUP);
    check(!next());
    tap_case("the last leave: at once, and once more");
    leave(GROUP);
    check(next() && has_record(MIR__MLD6_TO_INCLUDE, GROUP));
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check(next() && has_record(MIR__MLD6_TO_INCLUDE, GROUP));
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(!next());
    tap_case("joined again meanwhile: the second leave is not told");
    join(GROUP);
    leave(GROUP);
    join(GROUP);
    while (next())
        ;
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    while (next())
        check(!has_record(MIR__MLD6_TO_INCLUDE, GROUP));
    tap_case("groups that stay on the host are not told");
    join("ff01::5");
    check(!next());
    tap_case("closing leaves everything, in one report");
    mir_net_close(bed.net);
    bed.net = NULL;
    check(next() && has_record(MIR__MLD6_TO_INCLUDE, GROUP) &&
          has_record(MIR__MLD6_TO_INCLUDE, "ff02::1:ff00:2"));
    check(!has_record(MIR__MLD6_TO_INCLUDE, BED6_ALL_NODES));
    check(!next());
    testbed_close(&bed);
}

static void test_queries(void)
{
    open_bed();
    join(GROUP);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("a general query: one report of all within the time given");
    query(BED6_PEER_LL, 1, "::", 10000, false);
    for (int i = 0; i < 20; i++)
        query(BED6_PEER_LL, 1, "::", 10000, false);
    testbed_advance(&bed, 10100 * MIR_US_PER_MS);
    check(next() && has_record(MIR__MLD6_IS_EXCLUDE, GROUP) &&
          has_record(MIR__MLD6_IS_EXCLUDE, "ff02::1:ff00:2"));
    check(!has_record(MIR__MLD6_IS_EXCLUDE, BED6_ALL_NODES));
    check(!next());
    tap_case("a query for a group: that one; for another: nothing");
    query(BED6_PEER_LL, 1, GROUP, 1000, false);
    query(BED6_PEER_LL, 1, "ff05::9999", 1000, false);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    check(next() && has_record(MIR__MLD6_IS_EXCLUDE, GROUP));
    check_int(mir_get_be16(message.data + 6), ==, 1);
    check(!next());
    tap_case("from afar, of another hop limit, without router alert: refused");
    uint64_t malformed = testbed_stat(&bed, "mld_malformed");
    query("2001:db8::1", 1, "::", 1000, false);
    query(BED6_PEER_LL, 64, "::", 1000, false);
    uint8_t msg[28] = {MIR__MLD6_QUERY};
    bed6_inject(&bed, testbed_peer_mac, BED6_PEER_LL, BED6_ALL_NODES, 1, 58, msg, sizeof msg);
    msg[27] = 9; /* sources that are not there */
    bed6_inject_alert(&bed, BED6_PEER_LL, BED6_ALL_NODES, 1, msg, sizeof msg);
    check_int(testbed_stat(&bed, "mld_malformed"), ==, malformed + 4);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(!next());
    tap_case("many groups: several reports, each within the MTU");
    for (unsigned i = 0; i < 100; i++) {
        char text[40];
        mir_format(text, sizeof text, "ff05::5:%x", i + 1);
        join(text);
    }
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    query(BED6_PEER_LL, 1, "::", 1000, false);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    unsigned records = 0, reports = 0;
    for (; next(); reports++) {
        records += mir_get_be16(message.data + 6);
        check_int(message.len, <=, 1500 - 48);
    }
    check_int(records, ==, 102);
    check_int(reports, ==, 2);
    testbed_close(&bed);
}

static void test_v1(void)
{
    uint8_t report[24] = {MIR__MLD6_REPORT1};
    struct mir_ip group = bed6_ip(GROUP);
    memcpy(report + 8, group.bytes, 16);
    open_bed();
    tap_case("a query of version 1: reports of version 1, one for each group");
    join(GROUP);
    testbed_advance(&bed, 5 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    query(BED6_PEER_LL, 1, "::", 1000, true);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    unsigned count = 0;
    for (; next(); count++) {
        check_int(message.data[0], ==, MIR__MLD6_REPORT1);
        check_mem(message.dst.bytes, message.data + 8, 16);
    }
    check_int(count, ==, 2);
    tap_case("somebody else's report spares ours, and our done");
    query(BED6_PEER_LL, 1, GROUP, 1000, true);
    bed6_inject_alert(&bed, BED6_PEER_LL, GROUP, 1, report, sizeof report);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(!next());
    leave(GROUP);
    check(!next());
    tap_case("we reported last: done is ours to say");
    join(GROUP);
    check(next() && message.data[0] == MIR__MLD6_REPORT1);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    leave(GROUP);
    check(next() && message.data[0] == MIR__MLD6_DONE);
    bed6_check_ip(&message.dst, "ff02::2");
    tap_case("without such queries version 2 is back after a while");
    testbed_advance(&bed, 300 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    join(GROUP);
    check(next() && message.data[0] == MIR__MLD6_REPORT2);
    testbed_close(&bed);
}

/* How long reports of version 1 go on after such a query, in seconds. */
static unsigned v1_lasts(void)
{
    unsigned seconds = 0;
    for (;; seconds++) {
        testdev_clear(&bed.dev);
        join(GROUP);
        bool is_v1 = next() && message.data[0] == MIR__MLD6_REPORT1;
        leave(GROUP);
        if (!is_v1 || seconds > 4000)
            return seconds;
        testbed_advance(&bed, MIR_US_PER_S);
    }
}

static void test_forged(void)
{
    open_bed();
    tap_case("a query of version 1 with lies about intervals does not last for ever");
    interval_code = 0xff; /* 31,744 s */
    query("fe80::9", 1, "::", 0, false);
    interval_code = 125;
    testbed_advance(&bed, 401 * MIR_US_PER_S); /* that router is not heard any more */
    query("fe80::a", 1, "::", 65535, true);
    unsigned seconds = v1_lasts();
    check_int(seconds, >, 300);
    check_int(seconds, <=, 401);
    tap_case("beside a router of version 2 one that would not be the querier is not believed");
    query("fe80::9", 1, "::", 1000, false);
    query("fe80::a", 1, "::", 1000, true);
    check_int(v1_lasts(), ==, 0);
    check_int(testbed_stat(&bed, "mld_ignored"), ==, 1);
    tap_case("one that would be is");
    query("fe80::8", 1, "::", 1000, true);
    check_int(v1_lasts(), >, 200);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_mld6");
    test_changes();
    test_queries();
    test_v1();
    test_forged();
    return tap_done();
}
