/* SPDX-License-Identifier: ISC */
/* The watcher's table of connections, its reading of frames and its reports.
 *
 * A connection is known by the place where it is watched and its two endpoints; which rules there
 * are is the business of watch_rules.c. The table is bounded (CONNS_MAX): one more connection takes
 * the place of the oldest entry, and a connection that was forgotten is learned again in the
 * middle, where fewer rules can be applied.
 *
 * Checksums of headers are verified here. A frame that leaves its sender with a wrong one breaks a
 * rule; one that arrives with a wrong one was damaged on the way, and its receiver must ignore it,
 * so the watcher does too.
 *
 * The last packets of all connections are kept in a ring, from which a report takes those of the
 * connection that broke a rule. A capture of a host can be judged the same way, seen from the
 * middle: then both directions are checked, but nothing that only their sender can know.
 *
 * Limits: IPv6 extension headers are passed over. Fragments are not put together: a direction with
 * fragments of IPv4 may hold more than was seen, so that its ACKs are not judged any more.
 */
#include "target/sim/watch.h"

#include <mirari/bytes.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/ip4.h"
#include "lib/wire/tcp.h"

#define CONNS_MAX    65536u
#define CONNS_FIRST  256u
#define RECENT       512u
#define REPORT_LINES 16u
#define REPORT_BYTES 8192u
#define TCP          6u

struct recent {
    mir_time_us now_us;
    const char *where;
    uint32_t place;
    bool is_from_here;
    struct mir__watch_segment seg;
};

struct mir__watch {
    mir__watch_report_fn report;
    void *arg;
    struct mir__watch_conn *conns;
    uint32_t *buckets; /* as many as conns; index plus one */
    uint32_t room, used, hand;
    uint64_t seen;
    struct mir__watch_stats stats;
    struct recent recent[RECENT];
    char text[REPORT_BYTES];
};

int mir__watch_open(mir__watch_report_fn report, void *arg, struct mir__watch **out)
{
    struct mir__watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return -MIR_ENOMEM;
    watch->report = report;
    watch->arg = arg;
    *out = watch;
    return 0;
}

void mir__watch_close(struct mir__watch *watch)
{
    free(watch->conns);
    free(watch->buckets);
    free(watch);
}

void mir__watch_get_stats(const struct mir__watch *watch, struct mir__watch_stats *stats)
{
    *stats = watch->stats;
}

void mir__watch_opened(struct mir__watch *watch)
{
    watch->stats.opened++;
}

/* ---- the table ------------------------------------------------------------------------------ */

static uint64_t fold(uint64_t h, const void *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof word);
    h = (h ^ word) * 0x9e3779b97f4a7c15ull;
    return h ^ h >> 32;
}

static uint32_t hash_of(const struct mir__watch_conn *key)
{
    uint64_t ports = (uint64_t)key->place << 32 | (uint32_t)key->port[0] << 16 | key->port[1];
    uint64_t h = fold(fold(0, key->ip[0].bytes), key->ip[0].bytes + 8);
    h = fold(fold(h, key->ip[1].bytes), key->ip[1].bytes + 8);
    return (uint32_t)fold(h, &ports);
}

static void link_conn(struct mir__watch *watch, uint32_t index)
{
    struct mir__watch_conn *conn = &watch->conns[index];
    conn->bucket = hash_of(conn) & (watch->room - 1);
    conn->next = watch->buckets[conn->bucket];
    watch->buckets[conn->bucket] = index + 1;
}

static void unlink_conn(struct mir__watch *watch, uint32_t index)
{
    uint32_t *at = &watch->buckets[watch->conns[index].bucket];
    while (*at != index + 1)
        at = &watch->conns[*at - 1].next;
    *at = watch->conns[index].next;
}

static bool grow(struct mir__watch *watch)
{
    uint32_t room = watch->room == 0 ? CONNS_FIRST : watch->room * 2;
    struct mir__watch_conn *conns = realloc(watch->conns, room * sizeof *conns);
    if (conns == NULL)
        return false;
    watch->conns = conns;
    uint32_t *buckets = calloc(room, sizeof *buckets);
    if (buckets == NULL)
        return false;
    free(watch->buckets);
    watch->buckets = buckets;
    watch->room = room;
    for (uint32_t i = 0; i < watch->used; i++)
        link_conn(watch, i);
    return true;
}

static bool is_conn(const struct mir__watch_conn *a, const struct mir__watch_conn *b)
{
    return a->place == b->place && a->port[0] == b->port[0] && a->port[1] == b->port[1] &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* NULL: no memory. */
static struct mir__watch_conn *find(struct mir__watch *watch, const struct mir__watch_conn *key)
{
    uint32_t at = watch->room > 0 ? watch->buckets[hash_of(key) & (watch->room - 1)] : 0;
    for (; at != 0; at = watch->conns[at - 1].next) {
        if (is_conn(&watch->conns[at - 1], key))
            return &watch->conns[at - 1];
    }
    uint32_t index = watch->used;
    if (watch->used == watch->room && (watch->room == CONNS_MAX || !grow(watch))) {
        if (watch->room == 0)
            return NULL;
        index = watch->hand++ % watch->room;
        unlink_conn(watch, index);
        watch->stats.forgotten++;
    } else {
        watch->used++;
    }
    watch->conns[index] = *key;
    link_conn(watch, index);
    return &watch->conns[index];
}

/* ---- reading frames ---------------------------------------------------------------------------
 */

static void read_options(struct mir__watch_segment *seg, const struct mir__tcp_options *opt)
{
    seg->has_mss = opt->has_mss;
    seg->has_wscale = opt->has_wscale;
    seg->has_ts = opt->has_ts;
    seg->has_sack_permitted = opt->sack_permitted;
    seg->wscale = MIR_MIN(opt->wscale, (uint8_t)MIR__TCP_WSCALE_MAX);
    seg->mss = opt->mss;
    seg->tsval = opt->tsval;
    seg->tsecr = opt->tsecr;
    seg->sack_count = opt->sack_count;
    for (uint32_t i = 0; i < opt->sack_count; i++)
        seg->sack[i] = (struct mir__watch_range){opt->sack[i].left, opt->sack[i].right};
}

static const char *read_tcp(const struct mir__watch_frame *frame, const uint8_t *tcp, uint32_t len,
                            struct mir__watch_segment *seg)
{
    struct mir__tcp_header hdr;
    struct mir__tcp_options opt;
    if (mir__tcp_header_parse(tcp, len, &hdr) < 0)
        return "TCP header";
    if (!frame->is_sum_known &&
        mir__csum_add(mir__csum_partial(tcp, len),
                      mir__csum_pseudo(&seg->src, &seg->dst, TCP, len)) != 0xffff)
        return "TCP checksum";
    if (mir__tcp_options_parse(tcp + 20, hdr.hdr_len - 20u, &opt) < 0)
        return "TCP options";
    seg->src_port = hdr.src_port;
    seg->dst_port = hdr.dst_port;
    seg->seq = hdr.seq;
    seg->ack = hdr.ack;
    seg->wnd = hdr.wnd;
    seg->flags = hdr.flags;
    seg->len = len - hdr.hdr_len;
    seg->options_len = (uint8_t)(hdr.hdr_len - 20u);
    read_options(seg, &opt);
    return NULL;
}

static const char *read_ip4(const struct mir__watch_frame *frame, const uint8_t *ip, uint32_t len,
                            struct mir__watch_segment *seg, bool *is_tcp)
{
    *is_tcp = false;
    if (mir__ip4_check(ip, len, len) < 0)
        return "IPv4 header";
    if (!mir__ip4_checksum_ok(ip))
        return "IPv4 header checksum";
    uint32_t header = mir__ip4_header_len(ip);
    if (mir__ip4_protocol(ip) != TCP || mir__ip4_offset(ip) != 0)
        return NULL;
    *is_tcp = true;
    seg->is_fragment = mir__ip4_is_fragment(ip);
    seg->src = mir_ip_from_v4(mir__ip4_src(ip));
    seg->dst = mir_ip_from_v4(mir__ip4_dst(ip));
    if (seg->is_fragment && mir__ip4_total_len(ip) >= header + 4) {
        seg->src_port = mir_get_be16(ip + header);
        seg->dst_port = mir_get_be16(ip + header + 2);
        return NULL;
    }
    return read_tcp(frame, ip + header, mir__ip4_total_len(ip) - header, seg);
}

static const char *read_ip6(const struct mir__watch_frame *frame, const uint8_t *ip, uint32_t len,
                            struct mir__watch_segment *seg, bool *is_tcp)
{
    *is_tcp = false;
    if (len < 40 || ip[0] >> 4 != 6 || mir_get_be16(ip + 4) > len - 40)
        return "IPv6 header";
    if (ip[6] != TCP)
        return NULL;
    *is_tcp = true;
    memcpy(seg->src.bytes, ip + 8, 16);
    memcpy(seg->dst.bytes, ip + 24, 16);
    return read_tcp(frame, ip + 40, mir_get_be16(ip + 4), seg);
}

/* NULL, or what is wrong with it. */
static const char *read_frame(const struct mir__watch_frame *frame, struct mir__watch_segment *seg,
                              bool *is_tcp)
{
    *is_tcp = false;
    if (mir__eth_check(frame->data, frame->len) < 0)
        return NULL;
    uint32_t header = mir__eth_header_len(frame->data);
    uint16_t type = mir__eth_type(frame->data);
    if (type == MIR__ETH_TYPE_IP4)
        return read_ip4(frame, frame->data + header, frame->len - header, seg, is_tcp);
    if (type == MIR__ETH_TYPE_IP6)
        return read_ip6(frame, frame->data + header, frame->len - header, seg, is_tcp);
    return NULL;
}

/* ---- reports ----------------------------------------------------------------------------------
 */

static bool is_between(const struct mir__watch_conn *conn, const struct recent *recent)
{
    const struct mir__watch_segment *seg = &recent->seg;
    if (recent->place != conn->place)
        return false;
    for (int i = 0; i < 2; i++) {
        if (seg->src_port == conn->port[i] && seg->dst_port == conn->port[!i] &&
            mir_ip_equal(&seg->src, &conn->ip[i]) && mir_ip_equal(&seg->dst, &conn->ip[!i]))
            return true;
    }
    return false;
}

static int print_segment(char *out, size_t room, const struct mir__watch_conn *conn,
                         const struct recent *recent)
{
    static const char letters[] = "FSRPAUEW";
    const struct mir__watch_segment *seg = &recent->seg;
    bool is_second = seg->src_port != conn->port[0] || !mir_ip_equal(&seg->src, &conn->ip[0]);
    uint32_t seq_base = conn->half[is_second].syn.isn;
    uint32_t ack_base = conn->half[!is_second].syn.isn;
    char flags[9] = "", sack[80] = "";
    size_t n = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        if (seg->flags >> bit & 1)
            flags[n++] = letters[bit];
    }
    flags[n] = '\0';
    n = 0;
    for (unsigned i = 0; i < seg->sack_count && n < sizeof sack - 24; i++)
        n += (size_t)snprintf(sack + n, sizeof sack - n, " sack %u-%u",
                              seg->sack[i].left - ack_base, seg->sack[i].right - ack_base);
    return snprintf(out, room, "  %llu.%06llu %s %s %u > %u %s seq %u len %u ack %u win %u%s\n",
                    (unsigned long long)(recent->now_us / MIR_US_PER_S),
                    (unsigned long long)(recent->now_us % MIR_US_PER_S), recent->where,
                    recent->is_from_here ? "out" : "in ", seg->src_port, seg->dst_port, flags,
                    seg->seq - seq_base, seg->len,
                    seg->flags & MIR__TCP_ACK ? seg->ack - ack_base : 0, seg->wnd, sack);
}

static size_t print_recent(struct mir__watch *watch, const struct mir__watch_conn *conn, size_t at)
{
    uint64_t first = watch->seen > RECENT ? watch->seen - RECENT : 0;
    uint32_t skip = 0;
    for (uint64_t i = first; i < watch->seen; i++)
        skip += is_between(conn, &watch->recent[i % RECENT]);
    skip = skip > REPORT_LINES ? skip - REPORT_LINES : 0;
    for (uint64_t i = first; i < watch->seen && at < REPORT_BYTES - 256; i++) {
        const struct recent *recent = &watch->recent[i % RECENT];
        if (!is_between(conn, recent) || (skip > 0 && skip--))
            continue;
        at += (size_t)print_segment(watch->text + at, REPORT_BYTES - at, conn, recent);
    }
    return at;
}

void mir__watch_break(const struct mir__watch_look *look, const char *rule, uint32_t value,
                      uint32_t limit, const struct mir__watch_half *of)
{
    struct mir__watch *watch = look->watch;
    const struct mir__watch_segment *seg = look->seg;
    struct mir_endpoint src = {seg->src, seg->src_port}, dst = {seg->dst, seg->dst_port};
    char src_text[MIR_ENDPOINT_TEXT_MAX], dst_text[MIR_ENDPOINT_TEXT_MAX];
    uint32_t base = of != NULL ? of->syn.isn : 0;
    watch->stats.broken++;
    int len = snprintf(watch->text, REPORT_BYTES, "%s: %s > %s: %s: %u, limit %u\n",
                       look->frame->where, mir_endpoint_text(&src, src_text),
                       mir_endpoint_text(&dst, dst_text), rule, value - base, limit - base);
    (void)print_recent(watch, look->conn, (size_t)len);
    watch->report(watch->arg, rule, watch->text);
}

static void report_damage(struct mir__watch *watch, const struct mir__watch_frame *frame,
                          const char *what)
{
    watch->stats.damaged++;
    if (!frame->is_checked || !frame->is_from_here)
        return;
    watch->stats.broken++;
    snprintf(watch->text, REPORT_BYTES, "%s: a frame of %u bytes leaves with a wrong %s\n",
             frame->where, frame->len, what);
    watch->report(watch->arg, "a frame leaves damaged", watch->text);
}

void mir__watch_see(struct mir__watch *watch, const struct mir__watch_frame *frame)
{
    struct mir__watch_segment seg = {0};
    bool is_tcp;
    const char *damage = read_frame(frame, &seg, &is_tcp);
    if (damage != NULL) {
        report_damage(watch, frame, damage);
        return;
    }
    if (!is_tcp)
        return;
    struct mir__watch_conn key = {.place = frame->place};
    int order = memcmp(&seg.src, &seg.dst, sizeof seg.src);
    bool is_second = order != 0 ? order > 0 : seg.src_port > seg.dst_port;
    key.ip[is_second] = seg.src;
    key.ip[!is_second] = seg.dst;
    key.port[is_second] = seg.src_port;
    key.port[!is_second] = seg.dst_port;
    struct mir__watch_conn *conn = find(watch, &key);
    watch->recent[watch->seen++ % RECENT] =
        (struct recent){frame->now_us, frame->where, frame->place, frame->is_from_here, seg};
    watch->stats.segments++;
    watch->stats.checked += frame->is_checked;
    if (conn == NULL)
        return;
    conn->half[is_second].has_fragments |= seg.is_fragment;
    if (seg.is_fragment)
        return;
    struct mir__watch_look look = {
        watch, frame, &seg, conn, &conn->half[is_second], &conn->half[!is_second]};
    mir__watch_judge(&look);
}
