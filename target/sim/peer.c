/* SPDX-License-Identifier: ISC */
/* Scripted peers: what a simulated appliance is asked, and whether the answers are right.
 *
 * A peer is a task on its own node, written with the calls that look blocking. It prints one line
 * for each exchange; every figure in it is virtual, so a run's output is the same each time.
 */
#include "target/sim/peer.h"

#include <mirari/bytes.h>
#include <mirari/format.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MAX     16384u
#define DATAGRAM_MAX 1024u
#define RETRY_US     (MIR_US_PER_S / 2)
#define TRIES        20

static uint8_t pattern_byte(uint32_t number, uint64_t position)
{
    uint64_t z = (number + 1) * 0x9e3779b97f4a7c15ull + position * 0xbf58476d1ce4e5b9ull;
    return (uint8_t)(z >> 56 ^ z >> 33);
}

static uint64_t fnv1a(uint64_t hash, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ data[i]) * 0x100000001b3ull;
    return hash;
}

int mir__sim_peer_parse(const char *text, struct mir__sim_peer *peer)
{
    static const struct {
        const char *name;
        enum mir__sim_peer_kind kind;
    } kinds[] = {{"none", MIR__SIM_PEER_NONE},
                 {"echo", MIR__SIM_PEER_ECHO},
                 {"udp-echo", MIR__SIM_PEER_UDP_ECHO}};
    if (strncmp(text, "http:/", 6) == 0) {
        peer->kind = MIR__SIM_PEER_HTTP;
        peer->path = text + 5;
        return 0;
    }
    for (size_t i = 0; i < MIR_ARRAY_LEN(kinds); i++) {
        if (strcmp(text, kinds[i].name) == 0) {
            peer->kind = kinds[i].kind;
            return 0;
        }
    }
    return -MIR_EINVAL;
}

static mir_time_us peer_now(const struct mir__sim_peer *peer)
{
    return mir_loop_now(&peer->node->loop);
}

/* One line; @problem NULL: it went well. */
static void report(struct mir__sim_peer *peer, mir_time_us began_us, const char *what,
                   const char *problem)
{
    mir_time_us took_us = peer_now(peer) - began_us;
    printf("peer: %s: %s after %llu.%03llu ms\n", what, problem != NULL ? problem : "ok",
           (unsigned long long)(took_us / 1000), (unsigned long long)(took_us % 1000));
    if (problem != NULL)
        peer->bad++;
    else
        peer->good++;
}

/* ---- HTTP -------------------------------------------------------------------------------------
 */

struct response {
    char head[HEAD_MAX];
    size_t head_len;
    bool has_head;
    uint64_t body_len;
    uint64_t hash;
};

static void take_bytes(struct response *response, const uint8_t *data, size_t len)
{
    for (; len > 0 && !response->has_head; data++, len--) {
        if (response->head_len < HEAD_MAX - 1)
            response->head[response->head_len++] = (char)*data;
        response->head[response->head_len] = '\0';
        response->has_head = response->head_len >= 4 &&
                             strcmp(response->head + response->head_len - 4, "\r\n\r\n") == 0;
    }
    response->body_len += len;
    response->hash = fnv1a(response->hash, data, len);
}

static int fetch(struct mir__sim_peer *peer, struct response *response)
{
    struct mir_tcp_task flow;
    struct mir_view view;
    char request[1200];
    size_t len =
        mir_format(request, sizeof request,
                   "GET %s HTTP/1.1\r\nHost: appliance\r\nConnection: close\r\n\r\n", peer->path);
    if (len >= sizeof request)
        return -MIR_ETOOBIG;
    int r = mir_tcp_connect_wait(peer->node->stack, &peer->to, peer->deadline_us, &flow);
    if (r < 0)
        return r;
    r = mir_tcp_send_wait(&flow, request, len, peer->deadline_us);
    while (r == 0) {
        r = mir_tcp_recv_view_wait(&flow, peer->deadline_us, &view);
        if (r == 0) {
            take_bytes(response, view.data, view.len);
            mir_view_release(&view);
        }
    }
    mir_tcp_task_close(&flow);
    return r == -MIR_EEOF ? 0 : r;
}

static void run_http(struct mir__sim_peer *peer)
{
    struct response *response = calloc(1, sizeof *response);
    mir_time_us began_us = peer_now(peer);
    char what[400];
    MIR_ASSERT(response != NULL);
    response->hash = 0xcbf29ce484222325ull;
    int r = fetch(peer, response);
    const char *length = strstr(response->head, "\r\nContent-Length: ");
    bool is_short = length != NULL && strtoull(length + 18, NULL, 10) != response->body_len;
    bool is_ok = strncmp(response->head, "HTTP/1.1 2", 10) == 0;
    snprintf(what, sizeof what, "http %.200s: %.*s, %llu bytes, hash %016llx", peer->path,
             (int)strcspn(response->head, "\r\n"), response->head,
             (unsigned long long)response->body_len, (unsigned long long)response->hash);
    report(peer, began_us, what,
           r < 0      ? mir_strerror(r)
           : is_short ? "body is not of the length the head says"
           : is_ok    ? NULL
                      : "not a success");
    free(response);
}

/* ---- echo over TCP ------------------------------------------------------------------------------
 */

/* Returns 0, -MIR_EPROTO (other bytes came back), or an error of the connection. */
static int compare_echo(struct mir_tcp_task *flow, struct mir__sim_peer *peer, uint32_t number,
                        uint64_t *position, uint64_t until)
{
    struct mir_view view;
    while (*position < until) {
        int r = mir_tcp_recv_view_wait(flow, peer->deadline_us, &view);
        if (r < 0)
            return r;
        bool is_equal = *position + view.len <= until;
        for (uint32_t i = 0; i < view.len && is_equal; i++)
            is_equal = view.data[i] == pattern_byte(number, *position + i);
        *position += view.len;
        mir_view_release(&view);
        if (!is_equal)
            return -MIR_EPROTO;
    }
    return 0;
}

static int echo(struct mir__sim_peer *peer, uint32_t number, uint64_t *position)
{
    uint8_t piece[4096];
    struct mir_tcp_task flow;
    int r = mir_tcp_connect_wait(peer->node->stack, &peer->to, peer->deadline_us, &flow);
    if (r < 0)
        return r;
    for (uint64_t sent = 0; sent < peer->bytes && r == 0;) {
        size_t len = MIR_MIN(sizeof piece, peer->bytes - sent);
        for (size_t i = 0; i < len; i++)
            piece[i] = pattern_byte(number, sent + i);
        r = mir_tcp_send_wait(&flow, piece, len, peer->deadline_us);
        sent += len;
        if (r == 0)
            r = compare_echo(&flow, peer, number, position, sent);
    }
    mir_tcp_task_close(&flow);
    return r;
}

static void run_echo(struct mir__sim_peer *peer, uint32_t number)
{
    mir_time_us began_us = peer_now(peer);
    uint64_t position = 0;
    char what[80];
    int r = echo(peer, number, &position);
    snprintf(what, sizeof what, "echo %u: %llu bytes", number + 1, (unsigned long long)position);
    report(peer, began_us, what, r < 0 ? mir_strerror(r) : NULL);
}

/* ---- echo over UDP ------------------------------------------------------------------------------
 */

struct datagram {
    struct mir_wait wait;
    uint32_t number;
    uint32_t len;
    bool is_back, is_wrong;
};

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta,
                        struct mir_buf *buf_given, void *arg)
{
    struct datagram *datagram = arg;
    uint8_t data[DATAGRAM_MAX];
    uint32_t len = mir_buf_total(buf_given);
    (void)udp;
    (void)meta;
    if (len >= 4 && len <= sizeof data && mir_buf_copy_out(buf_given, 0, data, len) == 0 &&
        mir_get_be32(data) == datagram->number) {
        datagram->is_back = true;
        datagram->is_wrong = len != datagram->len;
        for (uint32_t i = 4; i < len; i++)
            datagram->is_wrong |= data[i] != pattern_byte(datagram->number, i);
        mir_wait_wake_all(&datagram->wait);
    }
    mir_buf_release(buf_given);
}

static int udp_echo(struct mir__sim_peer *peer, struct datagram *datagram, uint32_t *tries)
{
    const struct mir_endpoint any = {.ip = mir_ip_from_v4(0)};
    struct mir_loop *loop = &peer->node->loop;
    uint8_t data[DATAGRAM_MAX];
    struct mir_udp *udp;
    int r = mir_udp_open(peer->node->stack, &any, on_datagram, datagram, &udp);
    if (r < 0)
        return r;
    mir_put_be32(data, datagram->number);
    for (uint32_t i = 4; i < datagram->len; i++)
        data[i] = pattern_byte(datagram->number, i);
    for (*tries = 0; *tries < TRIES && !datagram->is_back && r != -MIR_ECANCELED; ++*tries) {
        (void)mir_udp_send(udp, &peer->to, data, datagram->len);
        r = mir_wait_on(loop, &datagram->wait, peer_now(peer) + RETRY_US);
    }
    mir_udp_close(udp);
    if (!datagram->is_back)
        return -MIR_ETIMEDOUT;
    return datagram->is_wrong ? -MIR_EPROTO : 0;
}

static void run_udp_echo(struct mir__sim_peer *peer, uint32_t number)
{
    struct datagram datagram = {.number = number, .len = 4 + number * 61 % (DATAGRAM_MAX - 4)};
    mir_time_us began_us = peer_now(peer);
    uint32_t tries = 0;
    char what[80];
    mir_wait_init(&datagram.wait);
    int r = udp_echo(peer, &datagram, &tries);
    snprintf(what, sizeof what, "udp-echo %u: %u bytes, %u sent", number + 1, datagram.len, tries);
    report(peer, began_us, what, r < 0 ? mir_strerror(r) : NULL);
}

/* ---- the task
 * ------------------------------------------------------------------------------------- */

static void run_peer(void *arg)
{
    struct mir__sim_peer *peer = arg;
    /* The appliance was started at the same instant: let it begin to listen. */
    (void)mir_task_sleep(&peer->node->loop, peer_now(peer) + 100 * MIR_US_PER_MS);
    for (uint32_t i = 0; i < peer->count && peer_now(peer) < peer->deadline_us; i++) {
        if (peer->kind == MIR__SIM_PEER_HTTP)
            run_http(peer);
        else if (peer->kind == MIR__SIM_PEER_ECHO)
            run_echo(peer, i);
        else
            run_udp_echo(peer, i);
    }
    peer->is_done = true;
    peer->on_done(peer->arg);
}

int mir__sim_peer_start(struct mir__sim_peer *peer)
{
    return mir_task_spawn(&peer->node->loop, &peer->node->stacks, "peer", 128u << 10, run_peer,
                          peer, NULL);
}
