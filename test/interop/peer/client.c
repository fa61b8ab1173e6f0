/* SPDX-License-Identifier: ISC */
/* TCP client: sends a pattern while it receives, and sums up both directions. */
#include <mirari/crc.h>

#include "peer.h"

enum { PATTERN_BYTES = 65521 };

static struct {
    struct mir_app *app;
    struct mir_wait ended;
    uint64_t to_send, sent, received;
    uint32_t sent_crc, received_crc;
    bool ends_first, is_shut, has_end, is_over;
    int error;
} client;
static uint8_t pattern[PATTERN_BYTES];

static void send_more(struct mir_tcp *tcp)
{
    while (client.sent < client.to_send && mir_tcp_send_room(tcp) > 0) {
        uint32_t at = (uint32_t)(client.sent % PATTERN_BYTES);
        size_t len = (size_t)MIR_MIN(client.to_send - client.sent, (uint64_t)(PATTERN_BYTES - at));
        size_t queued_len = 0;
        if (mir_tcp_send(tcp, pattern + at, len, &queued_len) < 0)
            return;
        client.sent_crc = mir_crc32(client.sent_crc, pattern + at, queued_len);
        client.sent += queued_len;
    }
    if (client.sent < client.to_send || client.is_shut || (!client.ends_first && !client.has_end))
        return;
    client.is_shut = true;
    (void)mir_tcp_shutdown(tcp);
}

static void receive(struct mir_tcp *tcp)
{
    struct mir_view view;
    int err;
    while ((err = mir_tcp_recv_view(tcp, &view)) == 0) {
        client.received_crc = mir_crc32(client.received_crc, view.data, view.len);
        client.received += view.len;
        mir_view_release(&view);
    }
    client.has_end = client.has_end || err == -MIR_EEOF;
}

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)arg;
    receive(tcp);
    send_more(tcp);
    if ((events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) == 0)
        return;
    client.error = mir_tcp_error(tcp);
    client.is_over = true;
    mir_wait_wake_all(&client.ended);
}

int peer_client(struct mir_app *app, const struct mir_endpoint *to, uint64_t bytes)
{
    struct mir_tcp *tcp;
    uint32_t x = 2463534242u;
    for (uint32_t i = 0; i < PATTERN_BYTES; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        pattern[i] = (uint8_t)x;
    }
    client.app = app;
    client.to_send = bytes;
    client.ends_first = mir_app_bool(app, "first");
    mir_wait_init(&client.ended);
    int err = mir_tcp_connect(app->stack, to, on_tcp, NULL, &tcp);
    /* An IPv6 address is usable a moment later, when nobody else was found to have it. */
    while (err == -MIR_ENETUNREACH && mir_wait_on(app->loop, &app->stack->address_ready,
                                                  mir_loop_now(app->loop) + 5 * MIR_US_PER_S) == 0)
        err = mir_tcp_connect(app->stack, to, on_tcp, NULL, &tcp);
    while (err == 0 && !client.is_over && !app->is_stopping)
        err = mir_wait_on(app->loop, &client.ended, mir_loop_now(app->loop) + 100 * MIR_US_PER_S);
    if (err == 0)
        err = client.error;
    struct mir_tcp_info info = {.state = 0};
    if (client.is_over || client.received > 0) {
        mir_tcp_get_info(tcp, &info);
        mir_tcp_close(tcp);
    }
    mir_app_print(app, "tcp: sent %llu %08x received %llu %08x retransmits %u: %s\n",
                  (unsigned long long)client.sent, client.sent_crc,
                  (unsigned long long)client.received, client.received_crc, info.retransmits,
                  err == 0 ? "ended in order" : mir_strerror(err));
    return err == 0 ? 0 : 1;
}
