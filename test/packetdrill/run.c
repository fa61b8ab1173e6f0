/* SPDX-License-Identifier: ISC */
/* The events of a script, one after the other, in virtual time.
 *
 * Before an inbound packet, a call or an assertion the clock is moved to its time. For an outbound
 * packet the host runs until it sends one; its time must be that of the event, give or take the
 * tolerance, and it must be the packet of the event. What the stack sends beyond that is found by
 * the next outbound event, or at the end.
 *
 * Numbers. The peer's sequence numbers are used on the wire as the script has them, except that
 * after its SYN the script counts from that one's. Ours differ by an offset that our SYN tells; so
 * do our timestamps, by an offset that the first one tells. An
 * echo in an inbound packet is what the packet with that value really carried.
 *
 * Sizes. A large packet of the script is matched by several of the stack that follow each other,
 * and a large one of the stack is taken piece by piece: segmentation offload is not what is tested,
 * unless the script says --strict_segments.
 *
 * Calls with a time at which they end run in a task of the host's loop and block there; all others
 * are made at once, and if they wait, time passes.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/tcp.h>
#include <mirari/bytes.h>

#include "test/packetdrill/run.h"

#define PATIENCE_US  (5 * MIR_US_PER_S)
#define REMOTE_PORT  40000u
#define DEFAULT_PORT 8080u
#define FLAG_SYN     2u
#define FLAG_PSH     8u
#define FLAG_ACK     16u
#define JOINED_FLAGS 9u /* FIN and PSH are those of the last piece */

bool pd_error(struct pd_run *run, const struct pd_event *event, const char *fmt, ...)
{
    struct pd_script *script = run->script;
    if (script->error[0] != '\0')
        return false; /* the first one counts */
    int n = snprintf(script->error, sizeof script->error, "%s:%d: ", script->path, event->line);
    va_list args;
    va_start(args, fmt);
    if (n > 0 && (size_t)n < sizeof script->error)
        vsnprintf(script->error + n, sizeof script->error - (size_t)n, fmt, args);
    va_end(args);
    return false;
}

struct pd_peer *pd_peer_new(struct pd_run *run, enum pd_peer_kind kind)
{
    if (run->peers == PD_PEERS_MAX)
        return NULL;
    struct pd_peer *peer = &run->peer[run->peers++];
    memset(peer, 0, sizeof *peer);
    peer->kind = kind;
    peer->fd = -1;
    run->current = peer;
    return peer;
}

/* ---- time -------------------------------------------------------------------------------------
 */

static bool check_time(struct pd_run *run, const struct pd_event *event, const char *what,
                       const int64_t time[4])
{
    enum { FROM, UNTIL, BASE, ACTUAL };
    double part = run->script->tolerance_percent / 100 * (double)(time[FROM] - time[BASE]);
    int64_t tolerance = MIR_MAX(run->script->tolerance_us, (int64_t)part);
    if (time[ACTUAL] >= time[FROM] - tolerance && time[ACTUAL] <= time[UNTIL] + tolerance)
        return true;
    return pd_error(run, event, "%s at %.6f s, expected at %.6f s (tolerance %.6f s)", what,
                    (double)time[ACTUAL] / 1e6, (double)time[FROM] / 1e6, (double)tolerance / 1e6);
}

/* When the event should be: from, until, base. False for whenever. */
static bool times_of(struct pd_run *run, const struct pd_event *event, int64_t time[4])
{
    int64_t base = event->time_kind == PD_AFTER ? pd_now(run) : 0;
    time[0] = base + event->time_us;
    time[1] = event->until_us != PD_ANY ? base + event->until_us : time[0];
    time[2] = pd_now(run);
    return event->time_kind != PD_WHENEVER;
}

static bool wait_for(struct pd_run *run, const struct pd_event *event)
{
    int64_t time[4];
    if (!times_of(run, event, time))
        return true;
    if (time[0] < pd_now(run) - run->script->tolerance_us)
        return pd_error(run, event, "its time, %.6f s, has passed: it is %.6f s",
                        (double)time[0] / 1e6, (double)pd_now(run) / 1e6);
    px_run_until(&run->px, run->start_us + (mir_time_us)MIR_MAX(time[0], (int64_t)0));
    return true;
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* The place of an option's number in @packet: @kind, bytes after its head. NULL: it has none. */
static uint8_t *find_option(struct pd_packet *packet, uint8_t kind, uint8_t len)
{
    for (uint32_t at = 0; at + 1 < packet->option_len && packet->option[at] != 0;) {
        uint8_t *option = packet->option + at;
        if (option[0] == 1) {
            at++;
            continue;
        }
        if (option[1] < 2 || at + option[1] > packet->option_len)
            return NULL;
        if (option[0] == kind && option[1] >= len)
            return option;
        at += option[1];
    }
    return NULL;
}

static void shift_sack(struct pd_packet *packet, uint32_t offset)
{
    uint8_t *sack = find_option(packet, 5, 10);
    for (uint32_t at = 2; sack != NULL && at + 4 <= sack[1]; at += 4)
        mir_put_be32(sack + at, mir_get_be32(sack + at) + offset);
}

static void note_stamp(struct pd_peer *peer, uint32_t script, uint32_t wire)
{
    if (!peer->has_stamp)
        peer->stamp_offset = wire - script;
    peer->has_stamp = true;
    if (peer->stamps == PD_STAMPS_MAX) {
        memmove(peer->stamp, peer->stamp + 1, sizeof peer->stamp - sizeof peer->stamp[0]);
        peer->stamps--;
    }
    peer->stamp[peer->stamps].script = script;
    peer->stamp[peer->stamps++].wire = wire;
}

/* The echo of an inbound packet, as the wire must have it. */
static void map_echo(const struct pd_peer *peer, struct pd_packet *packet)
{
    uint8_t *option = find_option(packet, 8, 10);
    if (option == NULL || !(packet->flags & FLAG_ACK))
        return;
    uint32_t script = mir_get_be32(option + 6);
    uint32_t wire = script + peer->stamp_offset;
    for (uint32_t i = 0; i < peer->stamps; i++)
        if (peer->stamp[i].script == script)
            wire = peer->stamp[i].wire;
    mir_put_be32(option + 6, wire);
}

/* ---- peers ------------------------------------------------------------------------------------
 */

/* Which connection a packet of the script belongs to. */
static struct pd_peer *peer_of(struct pd_run *run, const struct pd_packet *packet)
{
    uint16_t local = packet->is_in ? packet->dst_port : packet->src_port;
    uint16_t remote = packet->is_in ? packet->src_port : packet->dst_port;
    bool is_syn = packet->protocol == PD_TCP && (packet->flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN;
    if (packet->has_ports) {
        for (uint32_t i = 0; i < run->peers; i++) {
            struct pd_peer *peer = &run->peer[i];
            if (peer->script_remote == remote && peer->script_local == local &&
                peer->kind != PD_LISTENER)
                return run->current = peer;
        }
        if (!packet->is_in && run->current != NULL && run->current->script_local == 0) {
            run->current->script_local = local;
            run->current->script_remote = remote;
            return run->current;
        }
    }
    bool is_new =
        packet->is_in && is_syn &&
        (packet->has_ports || (run->current != NULL && run->current->kind == PD_LISTENER));
    if (!is_new && run->current != NULL)
        return run->current;
    struct pd_peer *peer = pd_peer_new(run, PD_PASSIVE);
    if (peer == NULL)
        return NULL;
    peer->local_port = packet->has_ports ? local : DEFAULT_PORT;
    peer->remote_port = packet->has_ports ? remote : (uint16_t)(REMOTE_PORT + run->peers);
    if (packet->has_ports) {
        peer->script_local = local;
        peer->script_remote = remote;
    }
    return peer;
}

static bool run_inbound(struct pd_run *run, const struct pd_event *event)
{
    static uint8_t bytes[70000];
    struct pd_packet packet = event->packet;
    if (!wait_for(run, event))
        return false;
    struct pd_peer *peer = peer_of(run, &packet);
    if (peer == NULL)
        return pd_error(run, event, "too many connections");
    if (peer->kind == PD_LISTENER || peer->kind == PD_DATAGRAMS)
        peer->remote_port = peer->remote_port != 0 ? peer->remote_port : REMOTE_PORT;
    struct pd_flow flow = {run->script->is_v6, run->remote_ip, run->local_ip, peer->remote_port,
                           peer->local_port};
    if (packet.protocol == PD_ICMP) {
        packet.seq += peer->local_offset;
    } else if (packet.protocol == PD_TCP) {
        bool is_open = peer->kind == PD_PASSIVE || peer->kind == PD_ACTIVE;
        if ((packet.flags & FLAG_SYN) && is_open && !peer->has_remote) {
            peer->has_remote = true;
            peer->remote_offset = packet.seq;
        } else if (!(packet.flags & FLAG_SYN)) {
            packet.seq += peer->remote_offset;
        }
        packet.ack = packet.flags & FLAG_ACK ? packet.ack + peer->local_offset : packet.ack;
        shift_sack(&packet, peer->local_offset);
        map_echo(peer, &packet);
    }
    uint32_t len = pd_packet_build(bytes, &flow, &packet);
    if (px_inject(&run->px, bytes, len) < 0)
        return pd_error(run, event, "the packet could not be delivered");
    return true;
}

/* ---- outbound ---------------------------------------------------------------------------------
 */

/* The next packet of the stack, or what is left of the last one. */
static const char *next_packet(struct pd_run *run, mir_time_us deadline_us,
                               struct pd_packet *packet, struct pd_flow *flow, mir_time_us *at_us)
{
    if (run->has_rest) {
        *packet = run->rest;
        *flow = run->rest_flow;
        *at_us = run->rest_at_us;
        run->has_rest = false;
        return NULL;
    }
    struct px_packet *raw = px_receive(&run->px, deadline_us);
    if (raw == NULL)
        return "none was sent";
    *at_us = raw->at_us;
    const char *wrong = pd_packet_read(raw->data, raw->len, flow, packet);
    free(raw);
    return wrong;
}

static bool is_data(const struct pd_packet *packet)
{
    return packet->protocol == PD_TCP && packet->len > 0;
}

static void keep_rest(struct pd_run *run, const struct pd_packet *packet,
                      const struct pd_flow *flow, mir_time_us at_us)
{
    run->rest = *packet;
    run->rest_flow = *flow;
    run->rest_at_us = at_us;
    run->has_rest = true;
}

/* Keep what @packet has beyond @want bytes for the next event. */
static void cut(struct pd_run *run, uint32_t want, struct pd_packet *packet,
                const struct pd_flow *flow, mir_time_us at_us)
{
    if (packet->len <= want)
        return;
    keep_rest(run, packet, flow, at_us);
    run->rest.seq += want;
    run->rest.len -= want;
    packet->len = want;
    packet->flags &= (uint8_t)~JOINED_FLAGS;
}

/* Join pieces that follow @packet, up to @want bytes; or cut it there. */
static void fit(struct pd_run *run, uint32_t want, struct pd_packet *packet,
                const struct pd_flow *flow, mir_time_us at_us)
{
    if (run->script->is_strict || !is_data(packet) || want == 0)
        return;
    cut(run, want, packet, flow, at_us);
    while (packet->len < want) {
        struct pd_packet more;
        struct pd_flow more_flow;
        mir_time_us more_at_us;
        if (next_packet(run, run->px.now_us, &more, &more_flow, &more_at_us) != NULL)
            return;
        if (!is_data(&more) || more.seq != packet->seq + packet->len || more.ack != packet->ack ||
            more_flow.dst_port != flow->dst_port) {
            keep_rest(run, &more, &more_flow, more_at_us);
            return;
        }
        cut(run, want - packet->len, &more, &more_flow, more_at_us);
        packet->len += more.len;
        packet->flags |= more.flags & JOINED_FLAGS;
    }
}

/* From the wire's numbers to the script's. */
static bool map_outbound(struct pd_run *run, const struct pd_event *event, struct pd_peer *peer,
                         const struct pd_flow *flow, struct pd_packet *packet)
{
    const struct pd_packet *want = &event->packet;
    if (peer->local_port == 0)
        peer->local_port = flow->src_port;
    if (flow->src_port != peer->local_port || flow->dst_port != peer->remote_port ||
        !mir_ip_equal(&flow->src, &run->local_ip) || !mir_ip_equal(&flow->dst, &run->remote_ip))
        return pd_error(run, event, "a packet of another connection: ports %u > %u", flow->src_port,
                        flow->dst_port);
    packet->has_ports = want->has_ports;
    packet->src_port = want->src_port;
    packet->dst_port = want->dst_port;
    if (packet->protocol != PD_TCP)
        return true;
    if ((packet->flags & FLAG_SYN) && (want->flags & FLAG_SYN))
        peer->local_offset = packet->seq - want->seq;
    packet->seq -= peer->local_offset;
    if (!(packet->flags & FLAG_SYN) && (packet->flags & FLAG_ACK)) {
        packet->ack -= peer->remote_offset;
        shift_sack(packet, 0u - peer->remote_offset);
    }
    struct pd_packet copy = *want;
    const uint8_t *said = find_option(&copy, 8, 10);
    uint8_t *stamp = find_option(packet, 8, 10);
    if (stamp != NULL && said != NULL && want->protocol == PD_TCP)
        note_stamp(peer, mir_get_be32(said + 2), mir_get_be32(stamp + 2));
    if (stamp != NULL && peer->has_stamp)
        mir_put_be32(stamp + 2, mir_get_be32(stamp + 2) - peer->stamp_offset);
    return true;
}

/* The options are equal, byte for byte, but for a timestamp within the tolerance. */
static bool same_options(const struct pd_run *run, struct pd_packet want, struct pd_packet got)
{
    if (want.any_options)
        return true;
    uint8_t *said = find_option(&want, 8, 10);
    uint8_t *stamp = find_option(&got, 8, 10);
    if (said != NULL && stamp != NULL) {
        int64_t off = (int32_t)(mir_get_be32(said + 2) - mir_get_be32(stamp + 2));
        if ((off < 0 ? -off : off) * 1000 > run->script->tolerance_us + 1000)
            return false;
        mir_put_be32(stamp + 2, mir_get_be32(said + 2));
    }
    return want.option_len == got.option_len &&
           memcmp(want.option, got.option, want.option_len) == 0;
}

static const char *difference(const struct pd_run *run, const struct pd_packet *want,
                              const struct pd_packet *got)
{
    uint8_t flags = want->flags ^ got->flags;
    bool ecn = want->ecn == PD_ECN_ANY || want->ecn == got->ecn ||
               (want->ecn == PD_ECN_01 && (got->ecn == 1 || got->ecn == 2));
    if (run->settings->is_loose)
        flags &= (uint8_t)~FLAG_PSH;
    if (want->protocol != got->protocol)
        return "protocol";
    if (!ecn)
        return "ECN bits";
    if (want->ttl >= 0 && want->ttl != got->ttl)
        return "TTL";
    if (want->len != got->len)
        return "length";
    if (want->protocol != PD_TCP)
        return NULL;
    if (flags != 0)
        return "flags";
    if (want->seq != got->seq)
        return "sequence number";
    if (want->ack != got->ack)
        return "acknowledgment";
    if (want->has_window && want->window != got->window)
        return "window";
    return same_options(run, *want, *got) ? NULL : "options";
}

static bool run_outbound(struct pd_run *run, const struct pd_event *event)
{
    const struct pd_packet *want = &event->packet;
    struct pd_packet got;
    struct pd_flow flow;
    mir_time_us at_us = 0;
    int64_t time[4];
    char want_text[PD_PACKET_TEXT_MAX], got_text[PD_PACKET_TEXT_MAX];
    bool has_time = times_of(run, event, time);
    mir_time_us end = (has_time ? run->start_us + (mir_time_us)time[1] : run->px.now_us);
    pd_packet_text(want, want_text);
    struct pd_peer *peer = peer_of(run, want);
    if (peer == NULL)
        return pd_error(run, event, "no connection can have sent this");
    const char *wrong = next_packet(run, end + PATIENCE_US, &got, &flow, &at_us);
    if (wrong != NULL)
        return pd_error(run, event, "a packet was expected: %s\n  expected  %s", wrong, want_text);
    fit(run, want->len, &got, &flow, at_us);
    if (!map_outbound(run, event, peer, &flow, &got))
        return false;
    got.has_window = got.has_window && got.protocol == PD_TCP;
    pd_packet_text(&got, got_text);
    const char *differs = difference(run, want, &got);
    if (differs != NULL)
        return pd_error(run, event, "the %s differ%s\n  expected  %s\n  actual    %s", differs,
                        strcmp(differs, "options") == 0 || strcmp(differs, "flags") == 0 ? "" : "s",
                        want_text, got_text);
    time[3] = (int64_t)(at_us - run->start_us);
    return !has_time || check_time(run, event, "the packet was sent", time);
}

/* ---- calls and assertions ---------------------------------------------------------------------
 */

static void blocked_entry(void *arg)
{
    struct pd_blocked *blocked = arg;
    struct pd_run *run = blocked->run;
    if (!pd_call_make(run, blocked->event, &blocked->result))
        (void)pd_error(run, blocked->event, "the call could not be made");
    blocked->end_us = pd_now(run);
    blocked->is_done = true;
}

static bool start_blocked(struct pd_run *run, const struct pd_event *event)
{
    if (run->blocked_count == PD_BLOCKED_MAX)
        return pd_error(run, event, "more than %u calls that block", PD_BLOCKED_MAX);
    struct pd_blocked *blocked = &run->blocked[run->blocked_count++];
    *blocked = (struct pd_blocked){.run = run, .event = event};
    int64_t from = pd_now(run);
    blocked->end_us = from;
    if (mir_task_spawn(&run->px.loop, &run->stacks.source, "call", 128 * 1024, blocked_entry,
                       blocked, &blocked->task) < 0)
        return pd_error(run, event, "no memory for a task");
    px_settle(&run->px);
    return true;
}

/* Did the calls that are done end as and when they should? */
static bool check_blocked(struct pd_run *run, int64_t started[PD_BLOCKED_MAX])
{
    for (uint32_t i = 0; i < run->blocked_count; i++) {
        struct pd_blocked *blocked = &run->blocked[i];
        const struct pd_event *event = blocked->event;
        if (!blocked->is_done || event == NULL)
            continue;
        int64_t base = event->time_kind == PD_AFTER ? started[i] : 0;
        int64_t end = base + event->call.end_us;
        int64_t time[4] = {end, end, started[i], blocked->end_us};
        blocked->event = NULL;
        if (!pd_call_check(run, event, blocked->result) ||
            !check_time(run, event, "the call returned", time))
            return false;
    }
    return run->script->error[0] == '\0';
}

static bool run_call(struct pd_run *run, const struct pd_event *event)
{
    int64_t result = 0;
    if (!wait_for(run, event))
        return false;
    if (event->call.blocks)
        return start_blocked(run, event);
    return pd_call_make(run, event, &result) && pd_call_check(run, event, result);
}

static bool run_code(struct pd_run *run, const struct pd_event *event)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    char error[400];
    memset(&info, 0, sizeof info);
    if (!wait_for(run, event))
        return false;
    int fd = run->current != NULL ? run->current->fd : -1;
    if (fd < 0 || run->fd[fd] < 0)
        return pd_error(run, event, "no descriptor to ask about");
    if (px_getsockopt(&run->px, run->fd[fd], 6, TCP_INFO, &info, &len) < 0)
        return pd_error(run, event, "TCP_INFO is not to be had");
    return pd_code_run(event->code, &info, error, sizeof error) ||
           pd_error(run, event, "%s", error);
}

/* ---- the script -------------------------------------------------------------------------------
 */

static bool run_event(struct pd_run *run, const struct pd_event *event)
{
    if (event->kind == PD_CALL)
        return run_call(run, event);
    if (event->kind == PD_CODE)
        return run_code(run, event);
    return event->packet.is_in ? run_inbound(run, event) : run_outbound(run, event);
}

static bool run_events(struct pd_run *run)
{
    int64_t started[PD_BLOCKED_MAX] = {0};
    const struct pd_event *last = run->script->first;
    for (const struct pd_event *event = run->script->first; event != NULL; event = event->next) {
        uint32_t before = run->blocked_count;
        int64_t base = pd_now(run);
        last = event;
        if (before == PD_BLOCKED_MAX) /* all of them may be done */
            run->blocked_count = before = 0;
        if (!run_event(run, event))
            return false;
        if (run->blocked_count > before)
            started[before] = base;
        if (!check_blocked(run, started))
            return false;
    }
    for (uint32_t i = 0; i < run->blocked_count; i++)
        if (run->blocked[i].event != NULL)
            return pd_error(run, run->blocked[i].event, "the call has not returned at the end");
    struct pd_packet rest;
    struct pd_flow flow;
    mir_time_us at_us;
    char text[PD_PACKET_TEXT_MAX];
    const char *wrong = next_packet(run, run->px.now_us, &rest, &flow, &at_us);
    if (run->settings->ignore_rest || (wrong != NULL && strcmp(wrong, "none was sent") == 0))
        return true;
    if (run->current != NULL)
        rest.seq -= run->current->local_offset;
    pd_packet_text(&rest, text);
    return pd_error(run, last, "a packet that nothing expects, at %.6f s\n  actual    %s",
                    (double)(at_us - run->start_us) / 1e6, text);
}

static bool open_host(struct pd_run *run)
{
    struct px_config config = {.mtu = (uint16_t)run->script->mtu};
    char flags[sizeof run->script->so_flags];
    memcpy(flags, run->script->so_flags, sizeof flags);
    const char *wrong = px_config_parse(&config, flags);
    if (wrong != NULL)
        return pd_error(run, run->script->first, "--so_flags: '%s' is not understood", wrong);
    char local[64];
    const char *local_ip = run->script->local_ip;
    const char *remote_ip = run->script->remote_ip;
    bool is_v6 = run->script->is_v6;
    local_ip = *local_ip != '\0' ? local_ip : is_v6 ? "fd3d::1" : "192.168.0.1";
    remote_ip = *remote_ip != '\0' ? remote_ip : is_v6 ? "2001:db8::1" : "192.0.2.1";
    if (mir_ip_parse(local_ip, strlen(local_ip), &run->local_ip) < 0 ||
        mir_ip_parse(remote_ip, strlen(remote_ip), &run->remote_ip) < 0)
        return pd_error(run, run->script->first, "no IP address: %s or %s", local_ip, remote_ip);
    (void)snprintf(local, sizeof local, "%s/%d", local_ip, is_v6 ? 64 : 16);
    if (is_v6 && config.local6 == NULL)
        config.local6 = local;
    else if (!is_v6 && config.local == NULL)
        config.local = local;
    if (!is_v6 && config.gateway == NULL && *run->script->local_ip != '\0')
        config.gateway = "192.168.255.254"; /* the usual one may be the address itself */
    int r = px_open(&run->px, &config);
    if (r < 0)
        return pd_error(run, run->script->first, "the host does not start: %s", mir_strerror(r));
    run->start_us = run->px.now_us;
    return true;
}

bool pd_script_run(struct pd_script *script, const struct pd_settings *settings)
{
    struct pd_run *run = calloc(1, sizeof *run);
    if (run == NULL)
        return false;
    run->script = script;
    run->settings = settings;
    memset(run->fd, 0xff, sizeof run->fd);
    test_stacks_init(&run->stacks, PD_BLOCKED_MAX);
    bool ok = open_host(run);
    if (ok) {
        ok = run_events(run);
        for (uint32_t i = 0; i < run->blocked_count; i++)
            if (!run->blocked[i].is_done && run->blocked[i].task != NULL)
                mir_task_cancel(run->blocked[i].task);
        px_settle(&run->px);
        size_t left = px_close(&run->px);
        if (ok && left != 0)
            ok = pd_error(run, script->first, "%zu bytes or timers were left at the end", left);
    }
    free(run);
    return ok;
}
