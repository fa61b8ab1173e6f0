/* SPDX-License-Identifier: ISC */
/* Multicast listener discovery, host part: version 2, and version 1 while a router speaks it (RFC
 * 3810 section 6, RFC 2710 section 4).
 *
 *   join    ─> report now, once more within a second        leave ─> the same, "no sources wanted"
 *   query for all groups   ─> one report of all within the time that the query gives, by chance
 *   query for one group    ─> a report of it, the same way
 *
 * Each group is wanted from all sources (EXCLUDE {}), so a record has no sources and a query about
 * certain sources is answered like one about the group. Reports come from the link-local address;
 * while there is none, from :: (RFC 3590), and again when there is. The group of all nodes and
 * those that stay on the host are never reported (section 6).
 *
 * With a router of version 1: reports and "done" of that version, and a report that somebody else
 * sends spares ours. The time for which that lasts is counted from its last query, and is never
 * longer than 400 s whatever was said about intervals: anybody on the link can forge a query
 * (section 10.1). Of version 1 only a router that would win the election of queriers is believed
 * while one of version 2 is heard: where they are mixed all of them speak version 1
 * (section 8.3.1), and the one with the higher address is silent.
 *
 * A query counts only from a link-local address, with a hop limit of 1 and a router alert (section
 * 6.2). A flood of queries costs one report for each response time: a query while an answer is
 * pending changes nothing unless it wants it sooner. Eight groups that were left are remembered for
 * the second report; more are told once.
 */
#include "lib/net/net_state.h"
#include "lib/wire/mld6.h"

#define V1_MAX_US      (400 * MIR_US_PER_S)
#define UNSOLICITED_US (1 * MIR_US_PER_S) /* RFC 3810 section 9.11 */
enum { ROBUSTNESS = 2, ROBUSTNESS_MAX = 7, INTERVAL_S = 125 };

static const struct mir_ip all_routers1 = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
static const struct mir_ip all_routers2 = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16}};
static const struct mir_ip all_nodes = {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

static mir_time_us now_of(const struct mir__iface *iface)
{
    return mir_loop_now(iface->net->loop);
}

static bool is_v1(const struct mir__iface *iface)
{
    return now_of(iface) < iface->mld6.v1_until_us;
}

static bool is_reported(const struct mir__group *group)
{
    return group->iface->nd6.is_running && !mir_ip_is_v4(&group->ip) &&
           mir__ip6_multicast_scope(&group->ip) > 1 && !mir_ip_equal(&group->ip, &all_nodes);
}

/* A random time, up to @max_us. */
static mir_time_us soon(struct mir__iface *iface, mir_time_us max_us)
{
    uint32_t max_ms = (uint32_t)MIR_MIN(max_us / MIR_US_PER_MS, (mir_time_us)UINT32_MAX - 1);
    return now_of(iface) + mir_rng_below(iface->net->rng, max_ms + 1) * MIR_US_PER_MS;
}

/* ---- sending ------------------------------------------------------------------------------ */

static void send(struct mir__iface *iface, const struct mir_ip *dst, struct mir_buf *buf_given)
{
    const struct mir__ifaddr *from = mir__ifaddr_link_local(iface);
    struct mir_ip unspecified = {{0}};
    iface->net->counters.mld_reports_out++;
    mir__nd6_send(iface, from != NULL ? &from->ip : &unspecified, dst, true, buf_given);
}

static void send_v1(struct mir__iface *iface, uint8_t type, const struct mir_ip *group)
{
    struct mir_buf *buf = mir_buf_alloc(iface->net->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        iface->net->counters.no_memory++;
        return;
    }
    mir__mld6_emit_v1(type, group, mir_buf_append(buf, MIR__MLD6_V1_LEN));
    send(iface, type == MIR__MLD6_DONE ? &all_routers1 : group, buf);
}

static void send_record(struct mir__iface *iface, uint8_t type, const struct mir_ip *group)
{
    struct mir_buf *buf = mir_buf_alloc(iface->net->bufs, MIR_BUF_HEADROOM);
    if (buf == NULL) {
        iface->net->counters.no_memory++;
        return;
    }
    mir__mld6_emit_header(1, mir_buf_append(buf, MIR__MLD6_HEADER_LEN));
    mir__mld6_emit_record(type, group, mir_buf_append(buf, MIR__MLD6_RECORD_LEN));
    send(iface, &all_routers2, buf);
}

/* A report that is being filled; sent when full. */
struct filling {
    struct mir__iface *iface;
    struct mir_buf *buf;
    uint16_t records;
};

static void send_filled(struct filling *report)
{
    if (report->buf == NULL)
        return;
    mir__mld6_emit_header(report->records, report->buf->data);
    send(report->iface, &all_routers2, report->buf);
    report->buf = NULL;
    report->records = 0;
}

static void add_record(struct filling *report, uint8_t type, const struct mir_ip *group)
{
    struct mir__iface *iface = report->iface;
    uint32_t room = iface->mtu6 - MIR__IP6_HEADER_LEN - 8u; /* hop-by-hop */
    if (report->buf != NULL && mir_buf_total(report->buf) + MIR__MLD6_RECORD_LEN > room)
        send_filled(report);
    if (report->buf == NULL) {
        report->buf =
            mir_buf_alloc_page(iface->net->bufs, MIR_BUF_HEADROOM + room, MIR_BUF_HEADROOM);
        if (report->buf == NULL) {
            iface->net->counters.no_memory++;
            return;
        }
        (void)mir_buf_append(report->buf, MIR__MLD6_HEADER_LEN);
    }
    mir__mld6_emit_record(type, group, mir_buf_append(report->buf, MIR__MLD6_RECORD_LEN));
    report->records++;
}

/* All groups in as few reports as possible. */
static void send_all(struct mir__iface *iface, uint8_t type)
{
    struct filling report = {.iface = iface};
    mir_list_for_each (node, &iface->groups) {
        struct mir__group *group = MIR_CONTAINER_OF(node, struct mir__group, link);
        if (!is_reported(group))
            continue;
        group->is_last_reporter = true;
        if (is_v1(iface))
            send_v1(iface, type == MIR__MLD6_TO_INCLUDE ? MIR__MLD6_DONE : MIR__MLD6_REPORT1,
                    &group->ip);
        else
            add_record(&report, type, &group->ip);
    }
    send_filled(&report);
}

/* ---- joins and leaves --------------------------------------------------------------------- */

static void report_change(struct mir__group *group)
{
    struct mir__iface *iface = group->iface;
    if (is_v1(iface)) {
        send_v1(iface, MIR__MLD6_REPORT1, &group->ip);
        group->is_last_reporter = true;
    } else {
        send_record(iface, group->reports_left > 0 ? MIR__MLD6_TO_EXCLUDE : MIR__MLD6_IS_EXCLUDE,
                    &group->ip);
    }
    if (group->reports_left > 0 && --group->reports_left > 0)
        mir_timer_set(iface->net->loop, &group->timer, soon(iface, UNSOLICITED_US));
}

void mir__mld6_group_joined(struct mir__group *group)
{
    if (!is_reported(group))
        return;
    group->reports_left = group->iface->mld6.robustness;
    report_change(group);
}

void mir__mld6_group_timer(struct mir__group *group)
{
    if (is_reported(group))
        report_change(group);
}

static void on_leave_timer(void *arg)
{
    struct mir__iface *iface = arg;
    struct mir__mld6 *mld = &iface->mld6;
    for (uint32_t i = mld->leaving_count; i-- > 0;) {
        struct mir__mld6_leaving *leaving = &mld->leaving[i];
        /* Perhaps it was joined again meanwhile. */
        if (mir__group_find(iface, &leaving->group) == NULL && !is_v1(iface))
            send_record(iface, MIR__MLD6_TO_INCLUDE, &leaving->group);
        if (--leaving->reports_left == 0)
            *leaving = mld->leaving[--mld->leaving_count];
    }
    if (mld->leaving_count > 0)
        mir_timer_set(iface->net->loop, &mld->leave_timer, soon(iface, UNSOLICITED_US));
}

void mir__mld6_group_left(struct mir__group *group)
{
    struct mir__iface *iface = group->iface;
    struct mir__mld6 *mld = &iface->mld6;
    if (!is_reported(group))
        return;
    if (is_v1(iface)) {
        /* Somebody else's report was the last: then somebody else still listens. */
        if (group->is_last_reporter)
            send_v1(iface, MIR__MLD6_DONE, &group->ip);
        return;
    }
    send_record(iface, MIR__MLD6_TO_INCLUDE, &group->ip);
    if (mld->robustness < 2 || mld->leaving_count == MIR__MLD6_LEAVING_MAX)
        return;
    mld->leaving[mld->leaving_count++] =
        (struct mir__mld6_leaving){group->ip, (uint8_t)(mld->robustness - 1)};
    if (!mir_timer_is_set(&mld->leave_timer))
        mir_timer_set(iface->net->loop, &mld->leave_timer, soon(iface, UNSOLICITED_US));
}

void mir__mld6_report_all(struct mir__iface *iface)
{
    if (iface->nd6.is_running)
        send_all(iface, MIR__MLD6_TO_EXCLUDE);
}

/* ---- queries ------------------------------------------------------------------------------ */

static void on_query_timer(void *arg)
{
    send_all(arg, MIR__MLD6_IS_EXCLUDE);
}

/* Sooner is better; a pending answer that comes in time is enough (section 6.2). */
static void set_sooner(struct mir__iface *iface, struct mir_timer *timer, mir_time_us at_us)
{
    if (!mir_timer_is_set(timer) || timer->deadline_us > at_us)
        mir_timer_set(iface->net->loop, timer, at_us);
}

static void take_version(struct mir__iface *iface, const struct mir_ip *from,
                         const struct mir__mld6_query *query)
{
    struct mir__mld6 *mld = &iface->mld6;
    /* RFC 3810 sections 9.12 and 9.5: queries that may be lost, and the time of the answer. */
    mir_time_us lasts_us = (mir_time_us)mld->robustness * mld->interval_s * MIR_US_PER_S +
                           query->response_ms * MIR_US_PER_MS;
    lasts_us = MIR_MIN(lasts_us, V1_MAX_US);
    if (query->version == 1) {
        if (now_of(iface) < mld->v2_until_us &&
            mir_memcmp(from->bytes, mld->querier.bytes, sizeof from->bytes) > 0)
            iface->net->counters.mld_ignored++;
        else
            mld->v1_until_us = now_of(iface) + lasts_us;
        return;
    }
    if (now_of(iface) >= mld->v2_until_us ||
        mir_memcmp(from->bytes, mld->querier.bytes, sizeof from->bytes) <= 0) {
        mld->querier = *from;
        mld->v2_until_us = now_of(iface) + lasts_us;
    }
    mld->robustness = query->robustness != 0 ? query->robustness : ROBUSTNESS;
    mld->interval_s = query->interval_s != 0 ? query->interval_s : INTERVAL_S;
}

static void input_query(struct mir__iface *iface, const struct mir_ip *from,
                        const struct mir__mld6_query *query)
{
    struct mir__mld6 *mld = &iface->mld6;
    mir_time_us at_us = soon(iface, query->response_ms * MIR_US_PER_MS);
    take_version(iface, from, query);
    iface->net->counters.mld_queries_in++;
    if (mir_ip_is_any(&query->group)) {
        set_sooner(iface, &mld->timer, at_us);
        return;
    }
    struct mir__group *group = mir__group_find(iface, &query->group);
    if (group == NULL || !is_reported(group))
        return;
    if (!mir_timer_is_set(&mld->timer) || mld->timer.deadline_us > at_us)
        set_sooner(iface, &group->timer, at_us);
}

/* Version 1: somebody else on the link has told it, that is enough (RFC 2710 section 4). */
static void input_report1(struct mir__iface *iface, const uint8_t *msg, size_t len)
{
    struct mir_ip ip;
    if (len < MIR__MLD6_V1_LEN || !is_v1(iface))
        return;
    mir_memcpy(ip.bytes, msg + 8, sizeof ip.bytes);
    struct mir__group *group = mir__group_find(iface, &ip);
    if (group == NULL || !is_reported(group))
        return;
    group->is_last_reporter = false;
    group->reports_left = 0;
    mir_timer_cancel(&group->timer);
}

static bool is_valid(const struct mir__ip_meta *meta)
{
    return meta->ttl == 1 && meta->has_router_alert && mir__ip6_is_link_local(&meta->src);
}

void mir__mld6_input(struct mir_net *net, const struct mir__ip_meta *meta,
                     struct mir_buf *buf_given)
{
    struct mir_buf *buf = buf_given;
    struct mir__mld6_query query;
    if (buf->frag_count > 0) { /* the length tells the version */
        buf = mir_buf_linearize(net->bufs, buf_given, 0);
        mir_buf_release(buf_given);
        if (buf == NULL) {
            net->counters.no_memory++;
            return;
        }
    }
    if (!is_valid(meta) || buf->len < MIR__MLD6_V1_LEN) {
        net->counters.mld_malformed++;
    } else if (buf->data[0] == MIR__MLD6_REPORT1) {
        input_report1(meta->iface, buf->data, buf->len);
    } else if (buf->data[0] == MIR__MLD6_QUERY) {
        if (mir__mld6_parse_query(buf->data, buf->len, &query) < 0)
            net->counters.mld_malformed++;
        else if (meta->iface->nd6.is_running)
            input_query(meta->iface, &meta->src, &query);
    }
    mir_buf_release(buf);
}

/* ---- life --------------------------------------------------------------------------------- */

void mir__mld6_init(struct mir__iface *iface)
{
    struct mir__mld6 *mld = &iface->mld6;
    *mld = (struct mir__mld6){.robustness = ROBUSTNESS, .interval_s = INTERVAL_S};
    mir_timer_init(&mld->timer, on_query_timer, iface);
    mir_timer_init(&mld->leave_timer, on_leave_timer, iface);
}

void mir__mld6_stop(struct mir__iface *iface)
{
    struct mir__mld6 *mld = &iface->mld6;
    send_all(iface, MIR__MLD6_TO_INCLUDE);
    mir_timer_cancel(&mld->timer);
    mir_timer_cancel(&mld->leave_timer);
    mld->leaving_count = 0;
}
