/* SPDX-License-Identifier: ISC */
/* IGMP messages (lib/wire/igmp.c) and membership reports against a scripted querier
 * (lib/net/igmp.c).
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/wire/igmp.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

enum {
    GROUP = 0xefff0102u,
    OTHER = 0xefff0103u,
    ALL_HOSTS = 0xe0000001u,
    ROUTERS = 0xe0000002u,
    V3_ROUTERS = 0xe0000016u
};

static struct testbed bed;
static struct mir_udp *udp;

/* ---- wire ----------------------------------------------------------------------------------- */

static int parse(const uint8_t *msg, size_t len, struct mir__igmp *v)
{
    uint8_t *exact = malloc(len + 1); /* an exact copy for ASan; +1 for len 0 */
    memcpy(exact + 1, msg, len);
    int r = mir__igmp_parse(exact + 1, len, v);
    free(exact);
    return r;
}

static void test_wire(void)
{
    struct mir__igmp v;
    uint8_t query[12] = {0x11, 100, 0, 0, 239, 255, 1, 2, 3, 125, 0, 0};
    tap_case("wire: the three versions of a query");
    check_int(parse(query, 12, &v), ==, 0);
    check(v.version == 3 && v.delay_ms == 10000 && v.robustness == 3 && v.group == GROUP);
    check_int(parse(query, 8, &v), ==, 0);
    check(v.version == 2 && v.delay_ms == 10000);
    query[1] = 0;
    check_int(parse(query, 8, &v), ==, 0);
    check(v.version == 1 && v.delay_ms == 10000);
    tap_case("wire: delays with an exponent");
    query[1] = 0x80;
    check_int(parse(query, 12, &v), ==, 0);
    check_int(v.delay_ms, ==, 12800);
    query[1] = 0xff;
    check_int(parse(query, 12, &v), ==, 0);
    check_int(v.delay_ms, ==, (0x1f << 10) * 100);
    tap_case("wire: what is cut off or no group is refused");
    for (size_t len = 0; len < 8; len++)
        check_int(parse(query, len, &v), ==, -MIR_ETRUNCATED);
    for (size_t len = 9; len < 12; len++)
        check_int(parse(query, len, &v), ==, -MIR_EMALFORMED);
    query[11] = 1;
    check_int(parse(query, 12, &v), ==, -MIR_ETRUNCATED);
    query[4] = 10;
    check_int(parse(query, 8, &v), ==, -MIR_EMALFORMED);
    tap_case("wire: a report is full in time, and its checksum is right");
    uint8_t out[8 + 16 + 7];
    struct mir__igmp_report report;
    const uint32_t sources[] = {1, 2};
    mir__igmp_report_begin(&report, out, sizeof out);
    check_int(mir__igmp_report_add(&report, MIR__IGMP_TO_INCLUDE, GROUP, sources, 2), ==, 0);
    check_int(mir__igmp_report_add(&report, MIR__IGMP_TO_INCLUDE, GROUP, NULL, 0), ==,
              -MIR_ETOOBIG);
    check_int(mir__igmp_report_end(&report), ==, 24);
    check_int(mir__csum_partial(out, 24), ==, 0xffff);
    check_int(mir_get_be16(out + 6), ==, 1);
}

/* ---- bed ------------------------------------------------------------------------------------ */

static void open_bed(void)
{
    struct mir_endpoint local = {.port = 7};
    testbed_init(&bed, 5, 8 << 20, 0);
    testbed_open(&bed, NULL);
    check_int(mir_udp_open(bed.stack, &local, NULL, NULL, &udp), ==, 0);
}

/* What was sent: type, destination, and of a report of version 3 its records. */
static struct {
    uint8_t type;
    uint32_t dst;
    uint32_t group;
    uint16_t count; /* of records */
    uint8_t record; /* the first one */
    uint16_t source_count;
    uint32_t source;
} seen;

static bool next_report(void)
{
    const struct testdev_frame *frame;
    do
        frame = testdev_next(&bed.dev);
    while (frame != NULL && (mir_get_be16(frame->data + 12) != MIR__ETH_TYPE_IP4 ||
                             mir__ip4_protocol(frame->data + 14) != MIR__PROTO_IGMP));
    if (frame == NULL)
        return false;
    const uint8_t *ip = frame->data + 14, *igmp = ip + 24;
    size_t len = mir__ip4_total_len(ip) - 24u;
    check(mir__ip4_checksum_ok(ip));
    check_int(mir__ip4_ttl(ip), ==, 1);
    check_int(mir_get_be32(ip + 20), ==, 0x94040000);
    check_int(mir__ip4_src(ip), ==, TESTBED_IP);
    check_int(mir__csum_partial(igmp, len), ==, 0xffff);
    memset(&seen, 0, sizeof seen);
    seen.type = igmp[0];
    seen.dst = mir__ip4_dst(ip);
    check_int(mir_get_be32(frame->data + 2) & 0x7fffff, ==, seen.dst & 0x7fffff);
    if (seen.type != MIR__IGMP_V3_REPORT) {
        seen.group = mir_get_be32(igmp + 4);
        return true;
    }
    seen.count = mir_get_be16(igmp + 6);
    seen.record = igmp[8];
    seen.source_count = mir_get_be16(igmp + 10);
    seen.group = mir_get_be32(igmp + 12);
    seen.source = seen.source_count > 0 ? mir_get_be32(igmp + 16) : 0;
    return true;
}

static void expect(uint8_t type, uint32_t dst, uint32_t group, uint8_t record)
{
    if (!check(next_report()))
        return;
    check_int(seen.type, ==, type);
    check_int(seen.dst, ==, dst);
    check_int(seen.group, ==, group);
    check_int(seen.record, ==, record);
}

/* Any IGMP message from the peer; @ttl 1 for good ones. */
static void inject(uint8_t *igmp, size_t len, uint32_t dst, uint8_t ttl)
{
    uint8_t frame[200];
    memset(igmp + 2, 0, 2);
    uint16_t sum = (uint16_t)~mir__csum_partial(igmp, len);
    memcpy(igmp + 2, &sum, 2);
    size_t n = testbed_make_ip(frame, MIR__PROTO_IGMP, igmp, len);
    uint8_t *ip = frame + 14;
    const uint8_t mac[6] = {1, 0, 0x5e, dst >> 16 & 0x7f, dst >> 8 & 0xff, dst & 0xff};
    memcpy(frame, mac, 6);
    mir_put_be32(ip + 16, dst);
    ip[8] = ttl;
    memset(ip + 10, 0, 2);
    sum = (uint16_t)~mir__csum_partial(ip, 20);
    memcpy(ip + 10, &sum, 2);
    testdev_inject(&bed.dev, frame, n);
    testbed_run(&bed);
}

static void query(int version, uint32_t group, uint8_t delay)
{
    uint8_t msg[12] = {0x11, version == 1 ? 0 : delay, [8] = 2, [9] = 125};
    mir_put_be32(msg + 4, group);
    inject(msg, version == 3 ? 12 : 8, group != 0 ? group : ALL_HOSTS, 1);
}

static void join(uint32_t group, uint32_t source, int expected)
{
    struct mir_udp_group g = {.group = mir_ip_from_v4(group), .if_index = 1};
    if (source != 0)
        g.source = mir_ip_from_v4(source);
    check_int(mir_udp_join(udp, &g), ==, expected);
}

static void leave(uint32_t group, uint32_t source)
{
    struct mir_udp_group g = {.group = mir_ip_from_v4(group), .if_index = 1};
    if (source != 0)
        g.source = mir_ip_from_v4(source);
    check_int(mir_udp_leave(udp, &g), ==, 0);
}

/* ---- version 3 ------------------------------------------------------------------------------ */

static void test_v3(void)
{
    open_bed();
    tap_case("v3: a join is told at once and once more within a second");
    join(GROUP, 0, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_EXCLUDE);
    check(!next_report());
    testbed_advance(&bed, MIR_US_PER_S + 2000);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_EXCLUDE);
    testbed_advance(&bed, 100 * MIR_US_PER_S);
    check(!next_report());
    tap_case("v3: a general query is answered for all groups in one report, within its delay");
    join(OTHER, 0, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    query(3, 0, 100);
    check(!next_report());
    testbed_advance(&bed, 10 * MIR_US_PER_S + 2000);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_IS_EXCLUDE);
    check_int(seen.count, ==, 2);
    check(!next_report());
    tap_case("v3: a query about one group; a flood of queries causes one answer");
    for (int i = 0; i < 1000; i++)
        query(3, OTHER, 10);
    testbed_advance(&bed, MIR_US_PER_S + 2000);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, OTHER, MIR__IGMP_IS_EXCLUDE);
    check_int(seen.count, ==, 1);
    check(!next_report());
    tap_case("v3: a flood of queries that allow no delay causes one answer too");
    for (int i = 0; i < 1000; i++)
        query(3, 0, 0);
    testbed_advance(&bed, MIR_US_PER_S);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_IS_EXCLUDE);
    check(!next_report());
    tap_case("v3: other members' reports change nothing");
    uint8_t report[8] = {MIR__IGMP_V2_REPORT};
    mir_put_be32(report + 4, OTHER);
    query(3, OTHER, 10);
    inject(report, 8, OTHER, 1);
    testbed_advance(&bed, MIR_US_PER_S + 2000);
    check(next_report());
    tap_case("v3: a leave is told twice");
    leave(OTHER, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, OTHER, MIR__IGMP_TO_INCLUDE);
    check_int(seen.source_count, ==, 0);
    testbed_advance(&bed, MIR_US_PER_S + 2000);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, OTHER, MIR__IGMP_TO_INCLUDE);
    testbed_advance(&bed, 100 * MIR_US_PER_S);
    check(!next_report());
    tap_case("v3: joined again before the second leave: that one is not sent");
    join(OTHER, 0, 0);
    leave(OTHER, 0);
    join(OTHER, 0, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    uint8_t last = 0;
    while (next_report())
        last = seen.record;
    check_int(last, ==, MIR__IGMP_TO_EXCLUDE);
    tap_case("all hosts of the link are never reported");
    join(ALL_HOSTS, 0, 0);
    leave(ALL_HOSTS, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(!next_report());
    tap_case("the link comes back: all groups are told again");
    bed.dev.upper.link(bed.dev.upper.arg, true);
    testbed_run(&bed);
    check(next_report() && next_report());
    tap_case("closing leaves the groups");
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    mir_net_close(bed.net);
    bed.net = NULL;
    check(next_report());
    check_int(seen.record, ==, MIR__IGMP_TO_INCLUDE);
    testbed_close(&bed);
}

static void test_sources(void)
{
    open_bed();
    tap_case("sources: a list is included, and changes with its members");
    join(GROUP, 0x0a000009, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_INCLUDE);
    check(seen.source_count == 1 && seen.source == 0x0a000009);
    join(GROUP, 0x0a00000a, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_INCLUDE);
    check_int(seen.source_count, ==, 2);
    tap_case("sources: who wants every sender ends the list, until he leaves");
    join(GROUP, 0, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_EXCLUDE);
    leave(GROUP, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_TO_INCLUDE);
    check_int(seen.source_count, ==, 2);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("sources: told in the answer to a query");
    query(3, GROUP, 10);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, GROUP, MIR__IGMP_IS_INCLUDE);
    check_int(seen.source_count, ==, 2);
    tap_case("sources: more than are kept mean every sender");
    for (uint32_t i = 0; i < 40; i++)
        join(OTHER, 0x0a000100 + i, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    while (next_report())
        ;
    check_int(seen.record, ==, MIR__IGMP_TO_EXCLUDE);
    testbed_close(&bed);
}

/* ---- older queriers ------------------------------------------------------------------------- */

static void test_v2(void)
{
    uint8_t report[8] = {MIR__IGMP_V2_REPORT};
    mir_put_be32(report + 4, GROUP);
    open_bed();
    join(GROUP, 0, 0);
    join(OTHER, 0, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("v2: its query makes us speak it, one report for each group");
    query(2, 0, 100);
    testbed_advance(&bed, 10 * MIR_US_PER_S + 2000);
    uint32_t groups = 0;
    while (next_report()) {
        check_int(seen.type, ==, MIR__IGMP_V2_REPORT);
        check_int(seen.dst, ==, seen.group);
        groups += seen.group;
    }
    check_int(groups, ==, GROUP + OTHER);
    tap_case("v2: somebody else's report suppresses ours, and our leave");
    query(2, GROUP, 100);
    inject(report, 8, GROUP, 1);
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    check(!next_report());
    leave(GROUP, 0);
    check(!next_report());
    tap_case("v2: a leave goes to all routers if we were the last to report");
    leave(OTHER, 0);
    expect(MIR__IGMP_V2_LEAVE, ROUTERS, OTHER, 0);
    tap_case("v2: a join is reported twice within ten seconds");
    join(GROUP, 0, 0);
    expect(MIR__IGMP_V2_REPORT, GROUP, GROUP, 0);
    testbed_advance(&bed, 10 * MIR_US_PER_S + 2000);
    expect(MIR__IGMP_V2_REPORT, GROUP, GROUP, 0);
    check(!next_report());
    tap_case("v1: its reports, no leave");
    query(1, 0, 0);
    testbed_advance(&bed, 11 * MIR_US_PER_S);
    expect(MIR__IGMP_V1_REPORT, GROUP, GROUP, 0);
    leave(GROUP, 0);
    check(!next_report());
    tap_case("260 seconds after the last old querier version 3 is spoken again");
    testbed_advance(&bed, 240 * MIR_US_PER_S);
    join(GROUP, 0, 0);
    check(next_report());
    check_int(seen.type, !=, MIR__IGMP_V3_REPORT);
    testbed_advance(&bed, 40 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    join(OTHER, 0, 0);
    expect(MIR__IGMP_V3_REPORT, V3_ROUTERS, OTHER, MIR__IGMP_TO_EXCLUDE);
    testbed_close(&bed);
}

static void test_bad(void)
{
    uint8_t msg[12] = {0x11, 10, [8] = 2};
    open_bed();
    join(GROUP, 0, 0);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    tap_case("queries from beyond the link, broken ones and other types are counted and ignored");
    inject(msg, 12, ALL_HOSTS, 2);
    check_int(testbed_stat(&bed, "igmp_ignored"), ==, 1);
    inject(msg, 11, ALL_HOSTS, 1);
    check_int(testbed_stat(&bed, "igmp_malformed"), ==, 1);
    uint8_t other[8] = {0x13};
    inject(other, 8, ALL_HOSTS, 1);
    check_int(testbed_stat(&bed, "igmp_ignored"), ==, 2);
    uint8_t frame[100];
    size_t len = testbed_make_ip(frame, MIR__PROTO_IGMP, msg, 8); /* its checksum is of 12 bytes */
    frame[14 + 20 + 3] ^= 1;
    testdev_inject(&bed.dev, frame, len);
    check_int(testbed_stat(&bed, "igmp_malformed"), ==, 2);
    testbed_advance(&bed, 20 * MIR_US_PER_S);
    check(!next_report());
    tap_case("many groups: reports as large as the link carries");
    for (uint32_t i = 0; i < 200; i++)
        join(0xefff1000 + i, 0, 0);
    testbed_advance(&bed, 3 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    query(3, 0, 10);
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    uint32_t records = 0, packets = 0;
    for (; next_report(); packets++)
        records += seen.count;
    check_int(records, ==, 201);
    check_int(packets, ==, 2);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_igmp");
    test_wire();
    test_v3();
    test_sources();
    test_v2();
    test_bad();
    return tap_done();
}
