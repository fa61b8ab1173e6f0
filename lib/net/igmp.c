/* SPDX-License-Identifier: ISC */
/* Group membership of IPv4, told to the routers and switches of a link (RFC 3376, 2236, 1112).
 *
 * Version 3 is spoken until a querier of an older version is heard, and again some minutes after it
 * was heard last:
 *
 *   version   join                     leave                 answer to a query
 *   3         TO_EXCLUDE {} or         TO_INCLUDE {},        records of all groups in one report,
 *             TO_INCLUDE {sources},    twice                 or of the group asked about
 *             twice
 *   2         report, twice            leave, if we were     a report for each group, unless
 *                                      the last to report    somebody else was faster
 *   1         report, twice            nothing               the same
 *
 * "Twice" is what the querier calls robustness. Answers come after a random part of the delay that
 * the query allows, so a flood of queries causes no flood of reports: each only moves a timer that
 * runs already, and never to a later time.
 *
 * A group's sources are asked of UDP when a report is written: EXCLUDE {} if anybody wants every
 * sender, else INCLUDE of all that are wanted (section 3.2). A change between lists is told as
 * TO_INCLUDE of the new list, which routers treat as ALLOW of it and a question about the rest.
 *
 * 224.0.0.1 is never reported. All messages have a TTL of 1 and carry the router alert option
 * (RFC 2113); queries that came from further away are ignored.
 *
 * Bounded: eight leaves are told again at a time, further ones once; 32 sources of a group are
 * reported, more make it EXCLUDE {}. A query about sources is answered with all of the group's.
 */
#include "lib/net/net_state.h"

#include "lib/wire/igmp.h"

enum {
    ALL_HOSTS = 0xe0000001u,
    ALL_ROUTERS = 0xe0000002u,
    V3_ROUTERS = 0xe0000016u,
    ROBUSTNESS = 2,
    HEADER_LEN = MIR__IP4_HEADER_LEN + 4, /* with router alert */
};
/* Section 8.12: robustness x query interval + response interval. */
#define OLD_QUERIER_US ((ROBUSTNESS * 125 + 10) * MIR_US_PER_S)
/* Section 8.11 for version 3; RFC 2236 section 8.10 for those before. */
#define DELAY_MIN_US      (100 * MIR_US_PER_MS)
#define V3_UNSOLICITED_US (1 * MIR_US_PER_S)
#define V2_UNSOLICITED_US (10 * MIR_US_PER_S)

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

static int version_of(const struct mir__iface *iface)
{
    mir_time_us now_us = now_of(iface);
    if (now_us < iface->igmp.v1_until_us)
        return 1;
    return now_us < iface->igmp.v2_until_us ? 2 : 3;
}

static uint32_t address_of(const struct mir__group *group)
{
    return mir_ip_to_v4(&group->ip);
}

static bool is_reported(const struct mir__group *group)
{
    return mir_ip_is_v4(&group->ip) && address_of(group) != ALL_HOSTS;
}

static mir_time_us random_delay(struct mir__iface *iface, mir_time_us max_us)
{
    return mir_rng_below(iface->net->rng, (uint32_t)MIR_MIN(max_us, UINT32_MAX - 1) + 1);
}

/* ---- packets ------------------------------------------------------------------------------- */

static struct mir_buf *new_message(struct mir__iface *iface)
{
    struct mir_buf *buf =
        mir_buf_alloc_page(iface->net->bufs, MIR_BUF_HEADROOM + iface->mtu, MIR_BUF_HEADROOM);
    if (buf == NULL)
        iface->net->counters.no_memory++;
    return buf;
}

/* Header with router alert, TTL 1 and the precedence of network control. */
static void send(struct mir__iface *iface, uint32_t dst, struct mir_buf *buf_given)
{
    struct mir_net *net = iface->net;
    struct mir__route route;
    struct mir_ip to = mir_ip_from_v4(dst);
    uint8_t *ip = mir_buf_push(buf_given, HEADER_LEN);
    mir_put_be32(ip, 0x46c00000u | mir_buf_total(buf_given));
    mir_put_be32(ip + 4, (uint32_t)mir__ip4_next_id(net) << 16);
    mir_put_be32(ip + 8, 1u << 24 | MIR__PROTO_IGMP << 16);
    mir_put_be32(ip + 12, iface->ip);
    mir_put_be32(ip + 16, dst);
    mir_put_be32(ip + 20, 0x94040000u);
    uint16_t sum = (uint16_t)~mir__csum_partial(ip, HEADER_LEN);
    mir_memcpy(ip + 10, &sum, sizeof sum);
    buf_given->network_offset = (uint16_t)mir_buf_headroom(buf_given);
    mir__ip_route_on_link(iface, &to, &route);
    net->counters.igmp_out++;
    net->counters.ip_out++;
    (void)mir__ip4_send(net, &route, buf_given);
}

static void send_old(struct mir__iface *iface, uint8_t type, uint32_t group, uint32_t dst)
{
    struct mir_buf *buf = new_message(iface);
    if (buf == NULL)
        return;
    mir__igmp_emit(type, group, mir_buf_append(buf, MIR__IGMP_LEN));
    send(iface, dst, buf);
}

/* A report of version 3 that is sent when it is full or whole. */
struct report {
    struct mir__iface *iface;
    struct mir_buf *buf;
    struct mir__igmp_report writer;
};

static void finish(struct report *report)
{
    if (report->buf == NULL)
        return;
    (void)mir_buf_append(report->buf, (uint32_t)mir__igmp_report_end(&report->writer));
    send(report->iface, V3_ROUTERS, report->buf);
    report->buf = NULL;
}

static void add(struct report *report, enum mir__igmp_record type, uint32_t group,
                const uint32_t *sources, size_t count)
{
    for (int try = 0; try < 2; try++) {
        if (report->buf == NULL) {
            report->buf = new_message(report->iface);
            if (report->buf == NULL)
                return;
            mir__igmp_report_begin(&report->writer, report->buf->data,
                                   report->iface->mtu - HEADER_LEN);
        }
        if (mir__igmp_report_add(&report->writer, type, group, sources, count) == 0)
            return;
        finish(report);
    }
}

/* What the interface wants of a group now. */
static void add_group(struct report *report, const struct mir__group *group, bool is_change)
{
    uint32_t sources[MIR__IGMP_SOURCES_MAX];
    int count = mir__udp_group_sources(group, sources, MIR__IGMP_SOURCES_MAX);
    if (count < 0)
        add(report, is_change ? MIR__IGMP_TO_EXCLUDE : MIR__IGMP_IS_EXCLUDE, address_of(group),
            NULL, 0);
    else
        add(report, is_change ? MIR__IGMP_TO_INCLUDE : MIR__IGMP_IS_INCLUDE, address_of(group),
            sources, (size_t)count);
}

static void report_one(struct mir__group *group, bool is_change)
{
    struct mir__iface *iface = group->iface;
    struct report report = {.iface = iface};
    int version = version_of(iface);
    if (version == 3) {
        add_group(&report, group, is_change);
        finish(&report);
        return;
    }
    group->is_last_reporter = true;
    send_old(iface, version == 2 ? MIR__IGMP_V2_REPORT : MIR__IGMP_V1_REPORT, address_of(group),
             address_of(group));
}

/* ---- joining and leaving -------------------------------------------------------------------- */

static mir_time_us unsolicited_us(const struct mir__iface *iface)
{
    return version_of(iface) == 3 ? V3_UNSOLICITED_US : V2_UNSOLICITED_US;
}

static void arm_group(struct mir__group *group, mir_time_us max_us)
{
    struct mir__iface *iface = group->iface;
    mir_time_us at_us = now_of(iface) + random_delay(iface, max_us);
    if (!mir_timer_is_set(&group->timer) || mir_timer_deadline(&group->timer) > at_us)
        mir_timer_set(iface->net->loop, &group->timer, at_us);
}

static void tell_change(struct mir__group *group)
{
    struct mir__iface *iface = group->iface;
    if (!is_reported(group) || !iface->is_started)
        return;
    report_one(group, true);
    group->reports_left = (uint8_t)(iface->igmp.robustness - 1);
    if (group->reports_left > 0)
        arm_group(group, unsolicited_us(iface));
}

void mir__igmp_group_joined(struct mir__group *group)
{
    tell_change(group);
    /* A leave that is still being told would contradict. */
    for (uint32_t i = 0; i < MIR__IGMP_LEAVES_MAX; i++) {
        struct mir__igmp_leave *leave = &group->iface->igmp.leaves[i];
        if (leave->group == address_of(group))
            *leave = (struct mir__igmp_leave){0};
    }
}

void mir__igmp_filter_changed(struct mir__group *group)
{
    if (version_of(group->iface) == 3)
        tell_change(group);
}

static void remember_leave(struct mir__iface *iface, uint32_t group)
{
    for (uint32_t i = 0; i < MIR__IGMP_LEAVES_MAX && iface->igmp.robustness > 1; i++) {
        struct mir__igmp_leave *leave = &iface->igmp.leaves[i];
        if (leave->group != 0)
            continue;
        *leave = (struct mir__igmp_leave){group, (uint8_t)(iface->igmp.robustness - 1)};
        if (!mir_timer_is_set(&iface->igmp.leaving))
            mir_timer_set(iface->net->loop, &iface->igmp.leaving,
                          now_of(iface) + random_delay(iface, V3_UNSOLICITED_US));
        return;
    }
}

void mir__igmp_group_left(struct mir__group *group)
{
    struct mir__iface *iface = group->iface;
    struct report report = {.iface = iface};
    int version = version_of(iface);
    if (!is_reported(group) || !iface->is_started)
        return;
    if (version == 3) {
        add(&report, MIR__IGMP_TO_INCLUDE, address_of(group), NULL, 0);
        finish(&report);
        remember_leave(iface, address_of(group));
    } else if (version == 2 && group->is_last_reporter) {
        send_old(iface, MIR__IGMP_V2_LEAVE, address_of(group), ALL_ROUTERS);
    }
}

void mir__igmp_group_timer(struct mir__group *group)
{
    bool is_change = group->reports_left > 0;
    report_one(group, is_change);
    if (is_change && --group->reports_left > 0)
        arm_group(group, unsolicited_us(group->iface));
}

static void on_leaving(void *arg)
{
    struct mir__iface *iface = arg;
    struct report report = {.iface = iface};
    bool is_more = false;
    for (uint32_t i = 0; i < MIR__IGMP_LEAVES_MAX; i++) {
        struct mir__igmp_leave *leave = &iface->igmp.leaves[i];
        if (leave->group == 0)
            continue;
        if (version_of(iface) == 3)
            add(&report, MIR__IGMP_TO_INCLUDE, leave->group, NULL, 0);
        if (--leave->left == 0)
            leave->group = 0;
        is_more |= leave->group != 0;
    }
    finish(&report);
    if (is_more)
        mir_timer_set(iface->net->loop, &iface->igmp.leaving,
                      now_of(iface) + random_delay(iface, V3_UNSOLICITED_US));
}

/* ---- queries -------------------------------------------------------------------------------- */

static void on_general(void *arg)
{
    struct mir__iface *iface = arg;
    struct report report = {.iface = iface};
    mir_list_for_each (node, &iface->groups) {
        struct mir__group *group = MIR_CONTAINER_OF(node, struct mir__group, link);
        if (is_reported(group))
            add_group(&report, group, false);
    }
    finish(&report);
}

/* Which version the link speaks (RFC 3376 section 7.2.1). A change ends what was due. */
static void hear_version(struct mir__iface *iface, int version)
{
    int before = version_of(iface);
    if (version == 1)
        iface->igmp.v1_until_us = now_of(iface) + OLD_QUERIER_US;
    else if (version == 2)
        iface->igmp.v2_until_us = now_of(iface) + OLD_QUERIER_US;
    if (version_of(iface) == before)
        return;
    mir_timer_cancel(&iface->igmp.general);
    mir_timer_cancel(&iface->igmp.leaving);
    mir_memset(iface->igmp.leaves, 0, sizeof iface->igmp.leaves);
    mir_list_for_each (node, &iface->groups) {
        struct mir__group *group = MIR_CONTAINER_OF(node, struct mir__group, link);
        if (mir_ip_is_v4(&group->ip)) {
            mir_timer_cancel(&group->timer);
            group->reports_left = 0;
        }
    }
}

static void on_query(struct mir__iface *iface, const struct mir__igmp *query)
{
    /* No delay at all would make a report of each query. */
    mir_time_us delay_us = MIR_MAX(query->delay_ms * MIR_US_PER_MS, DELAY_MIN_US);
    hear_version(iface, query->version);
    if (query->version == 3)
        iface->igmp.robustness = query->robustness != 0 ? query->robustness : ROBUSTNESS;
    if (query->group == 0 && version_of(iface) == 3) {
        mir_time_us at_us = now_of(iface) + random_delay(iface, delay_us);
        if (!mir_timer_is_set(&iface->igmp.general) ||
            mir_timer_deadline(&iface->igmp.general) > at_us)
            mir_timer_set(iface->net->loop, &iface->igmp.general, at_us);
        return;
    }
    mir_list_for_each (node, &iface->groups) {
        struct mir__group *group = MIR_CONTAINER_OF(node, struct mir__group, link);
        if (is_reported(group) && (query->group == 0 || query->group == address_of(group)))
            arm_group(group, delay_us);
    }
}

/* Somebody else is a member: in versions 1 and 2 one report is enough for the link. */
static void on_report(struct mir__iface *iface, uint32_t group_ip)
{
    struct mir_ip ip = mir_ip_from_v4(group_ip);
    struct mir__group *group = mir__group_find(iface, &ip);
    if (group == NULL || version_of(iface) == 3 || !mir_timer_is_set(&group->timer))
        return;
    mir_timer_cancel(&group->timer);
    group->reports_left = 0;
    group->is_last_reporter = false;
}

void mir__igmp_input(struct mir_net *net, const struct mir__ip_meta *meta,
                     struct mir_buf *buf_given)
{
    struct mir__igmp message;
    bool is_good = mir__igmp_parse(buf_given->data, buf_given->len, &message) == 0;
#ifndef MIR_FUZZING
    is_good = is_good && mir__csum_buf(buf_given, 0) == 0xffff;
#endif
    net->counters.igmp_in++;
    mir_buf_release(buf_given);
    if (!is_good)
        net->counters.igmp_malformed++;
    else if (meta->ttl != 1)
        net->counters.igmp_ignored++;
    else if (message.type == MIR__IGMP_QUERY)
        on_query(meta->iface, &message);
    else if (message.type == MIR__IGMP_V1_REPORT || message.type == MIR__IGMP_V2_REPORT)
        on_report(meta->iface, message.group);
    else
        net->counters.igmp_ignored++;
}

/* ---- life ----------------------------------------------------------------------------------- */

void mir__igmp_init(struct mir__iface *iface)
{
    iface->igmp = (struct mir__igmp_state){.robustness = ROBUSTNESS};
    mir_timer_init(&iface->igmp.general, on_general, iface);
    mir_timer_init(&iface->igmp.leaving, on_leaving, iface);
}

void mir__igmp_stop(struct mir__iface *iface)
{
    mir_timer_cancel(&iface->igmp.general);
    mir_timer_cancel(&iface->igmp.leaving);
}

void mir__igmp_link_up(struct mir__iface *iface)
{
    iface->igmp.v1_until_us = iface->igmp.v2_until_us = 0;
    mir_list_for_each (node, &iface->groups)
        tell_change(MIR_CONTAINER_OF(node, struct mir__group, link));
}
