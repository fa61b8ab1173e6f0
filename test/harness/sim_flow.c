/* SPDX-License-Identifier: ISC */
/* One end of a test connection. The pattern is a keyed sequence of 64-bit words (SplitMix64), so
 * any part of it can be made without what comes before.
 */
#include "test/harness/sim_flow.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_DEFAULT 16384u
#define CHUNK_MAX     65536u

static uint64_t word_at(uint64_t key, uint64_t index)
{
    uint64_t z = key * 0xd1342543de82ef95ull + (index + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    return z ^ z >> 29;
}

void sim_flow_pattern(uint64_t key, uint64_t position, void *out, size_t len)
{
    uint8_t *to = out;
    while (len > 0) {
        uint64_t word = word_at(key, position / 8);
        size_t skip = position % 8;
        size_t n = len < 8 - skip ? len : 8 - skip;
        memcpy(to, (const uint8_t *)&word + skip, n);
        to += n;
        position += n;
        len -= n;
    }
}

static void end(struct sim_flow *flow)
{
    struct mir_tcp *tcp = flow->tcp;
    flow->tcp = NULL;
    flow->is_done = true;
    if (tcp == NULL)
        return;
    if (flow->aborts_at_end)
        mir_tcp_abort(tcp);
    else
        mir_tcp_close(tcp);
}

static void fail(struct sim_flow *flow, int err)
{
    flow->error = err;
    end(flow);
}

static void check_data(struct sim_flow *flow, const uint8_t *data, uint32_t len)
{
    static uint8_t good[MIR_PAGE_SIZE];
    while (len > 0) {
        uint32_t n = len < sizeof good ? len : (uint32_t)sizeof good;
        sim_flow_pattern(flow->rx_key, flow->received, good, n);
        if (memcmp(good, data, n) != 0 && flow->wrong_at == 0) {
            uint32_t i = 0;
            while (good[i] == data[i])
                i++;
            flow->wrong_at = flow->received + i + 1;
        }
        flow->received += n;
        data += n;
        len -= n;
    }
}

/* Returns 0 if all of it went, -MIR_EAGAIN, or an error. */
static int send_bytes(struct sim_flow *flow, const uint8_t *data, uint32_t len, uint32_t *sent)
{
    *sent = 0;
    while (*sent < len) {
        size_t queued;
        int r = mir_tcp_send(flow->tcp, data + *sent, len - *sent, &queued);
        if (r < 0)
            return r;
        *sent += (uint32_t)queued;
    }
    return 0;
}

static int send_by_view(struct sim_flow *flow, uint32_t len)
{
    struct mir_io_page *page;
    uint32_t room = mir_tcp_send_room(flow->tcp);
    if (room == 0)
        return -MIR_EAGAIN;
    len = len < room ? len : room;
    int r = mir_page_alloc(flow->tcp->stack->pages, len, MIR_PAGE_OVERWRITE, &page);
    if (r < 0)
        return r;
    sim_flow_pattern(flow->tx_key, flow->sent, page->base, len);
    r = mir_tcp_send_view(flow->tcp, mir_view_of_page(page, 0, len));
    mir_page_release(page);
    if (r == 0)
        flow->sent += len;
    return r;
}

static int send_by_copy(struct sim_flow *flow, uint32_t len)
{
    static uint8_t data[CHUNK_MAX];
    uint32_t sent;
    sim_flow_pattern(flow->tx_key, flow->sent, data, len);
    int r = send_bytes(flow, data, len, &sent);
    flow->sent += sent;
    return r;
}

static int pump_echo(struct sim_flow *flow)
{
    uint32_t sent;
    if (flow->held_at == flow->held_len)
        return 0;
    int r = send_bytes(flow, flow->held + flow->held_at, flow->held_len - flow->held_at, &sent);
    flow->held_at += sent;
    flow->sent += sent;
    return r;
}

static int pump_out(struct sim_flow *flow)
{
    uint32_t chunk = flow->chunk != 0 ? MIR_MIN(flow->chunk, CHUNK_MAX) : CHUNK_DEFAULT;
    if (flow->is_echo)
        return pump_echo(flow);
    while (flow->sent < flow->to_send) {
        uint64_t left = flow->to_send - flow->sent;
        uint32_t len = left < chunk ? (uint32_t)left : chunk;
        int r = flow->use_views ? send_by_view(flow, len) : send_by_copy(flow, len);
        if (r < 0)
            return r;
    }
    return 0;
}

static int pump_in(struct sim_flow *flow)
{
    struct mir_view view;
    while (!flow->has_eof && !flow->is_paused) {
        /* An echo takes more only when what it has is on its way. */
        if (flow->is_echo && flow->held_at < flow->held_len)
            return -MIR_EAGAIN;
        int r = mir_tcp_recv_view(flow->tcp, &view);
        if (r == -MIR_EEOF)
            flow->has_eof = true;
        if (r < 0)
            return r == -MIR_EEOF ? 0 : r;
        check_data(flow, view.data, view.len);
        if (flow->is_echo) {
            flow->held = realloc(flow->held, view.len);
            memcpy(flow->held, view.data, view.len);
            flow->held_len = view.len;
            flow->held_at = 0;
            r = pump_echo(flow);
        }
        mir_view_release(&view);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool has_sent_all(const struct sim_flow *flow)
{
    if (flow->is_echo)
        return flow->has_eof && flow->held_at == flow->held_len;
    return flow->sent >= flow->to_send;
}

void sim_flow_kick(struct sim_flow *flow)
{
    if (flow->tcp == NULL)
        return;
    int r = pump_out(flow);
    if (r < 0 && r != -MIR_EAGAIN && r != -MIR_ENOMEM) {
        fail(flow, r);
        return;
    }
    r = pump_in(flow);
    if (r < 0 && r != -MIR_EAGAIN) {
        fail(flow, r);
        return;
    }
    if (!flow->is_shut && !flow->stays_open && has_sent_all(flow)) {
        r = mir_tcp_shutdown(flow->tcp);
        flow->is_shut = true;
        if (r < 0) {
            fail(flow, r);
            return;
        }
    }
    if (flow->is_shut && flow->has_eof && !flow->keeps)
        end(flow);
}

static void on_event(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct sim_flow *flow = arg;
    flow->events |= events;
    flow->handler_calls++;
    flow->readable_count += (events & MIR_TCP_READABLE) != 0;
    flow->writable_count += (events & MIR_TCP_WRITABLE) != 0;
    if (events & MIR_TCP_FAILED) {
        fail(flow, mir_tcp_error(tcp));
        return;
    }
    sim_flow_kick(flow);
}

void sim_flow_attach(struct sim_flow *flow, struct mir_tcp *tcp_given)
{
    flow->tcp = tcp_given;
    mir_tcp_set_handler(tcp_given, on_event, flow);
    sim_flow_kick(flow);
}

int sim_flow_connect(struct sim_flow *flow, struct mir_stack *stack,
                     const struct mir_endpoint *remote)
{
    return mir_tcp_connect(stack, remote, on_event, flow, &flow->tcp);
}

void sim_flow_fini(struct sim_flow *flow)
{
    if (flow->tcp != NULL)
        mir_tcp_abort(flow->tcp);
    free(flow->held);
    memset(flow, 0, sizeof *flow);
}
