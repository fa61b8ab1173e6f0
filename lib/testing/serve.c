/* SPDX-License-Identifier: ISC */
/* Servers for tests: echo (RFC 862) and discard (RFC 863), over TCP and UDP.
 *
 * A connection has no memory of its own: what arrives is sent again as it is while there is room,
 * so a peer that does not read closes its own window.
 */
#include "lib/testing/testing.h"

static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    struct mir__testing_service *service = arg;
    if ((events & MIR_TCP_FAILED) != 0) {
        service->failed++;
        mir_tcp_close(tcp);
        return;
    }
    while (service->is_discard || mir_tcp_send_room(tcp) > 0) {
        struct mir_view view;
        int r = mir_tcp_recv_view(tcp, &view);
        if (r == -MIR_EAGAIN)
            return;
        if (r < 0) { /* the end, or the end of everything */
            service->failed += r != -MIR_EEOF;
            mir_tcp_close(tcp);
            return;
        }
        service->bytes += view.len;
        if (service->is_discard)
            mir_view_release(&view);
        else if (mir_tcp_send_view(tcp, view) < 0)
            return; /* FAILED follows */
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    struct mir__testing_service *service = arg;
    (void)listener;
    service->connections++;
    mir_tcp_set_handler(tcp_given, on_tcp, service);
    on_tcp(tcp_given, MIR_TCP_READABLE, service);
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    struct mir__testing_service *service = arg;
    struct mir_udp_msg msg = {.to = meta->from};
    struct mir_buf *buf = buf_given;
    service->datagrams++;
    service->bytes += mir_buf_total(buf);
    if (service->is_discard) {
        mir_buf_release(buf);
        return;
    }
    if (mir_buf_headroom(buf) < MIR_BUF_HEADROOM) {
        buf = mir_buf_linearize(service->kit->app->bufs, buf_given, MIR_BUF_HEADROOM);
        mir_buf_release(buf_given);
    }
    if (!meta->is_group)
        msg.from = meta->to.ip;
    if (buf == NULL || mir_udp_send_msg(udp, &msg, buf) < 0)
        service->failed++;
}

/* 0 or 1 as parameter @name is one of two words; negative: told. */
static int choose(struct mir_rpc_call *call, const char *name, const char *const words[2])
{
    char text[16];
    int r = mir_rpc_text(call, name, text, sizeof text);
    if (r == -MIR_ENOENT)
        return 0;
    for (int i = 0; i < 2 && r == 0; i++) {
        if (mir_memcmp(text, words[i], MIR_MIN(mir_str_len(words[i]) + 1, sizeof text)) == 0)
            return i;
    }
    return mir_rpc_fail(call, -MIR_EINVAL, "%s: %s or %s", name, words[0], words[1]);
}

int mir__testing_serve(struct mir_rpc_call *call)
{
    static const char *const protocols[2] = {"tcp", "udp"}, *const deeds[2] = {"echo", "discard"};
    struct mir__testing *kit = call->arg;
    int is_udp = choose(call, "protocol", protocols), deed = choose(call, "does", deeds);
    if (is_udp < 0 || deed < 0)
        return is_udp < 0 ? is_udp : deed;
    if (kit->app->stack == NULL)
        return mir_rpc_fail(call, -MIR_ENOTSUP, "this appliance has no network");
    if (kit->service_count == MIR__TESTING_SERVICES_MAX)
        return mir_rpc_fail(call, -MIR_ELIMIT, "there are %u servers, the most there can be",
                            MIR__TESTING_SERVICES_MAX);
    struct mir__testing_service *service = &kit->service[kit->service_count];
    *service = (struct mir__testing_service){
        .kit = kit, .is_discard = deed == 1, .port = (uint16_t)mir_rpc_u64(call, "port", 0)};
    struct mir_endpoint local = {.port = service->port};
    struct mir_tcp_listen_config config = {.local = local, .on_accept = on_accept, .arg = service};
    int r = is_udp ? mir_udp_open(kit->app->stack, &local, on_udp, service, &service->udp)
                   : mir_tcp_listen(kit->app->stack, &config, &service->listener);
    if (r < 0)
        return mir_rpc_fail(call, r, "port %u: %s", service->port, mir_strerror(r));
    kit->service_count++;
    return 0;
}

int mir__testing_services(struct mir_rpc_call *call)
{
    const struct mir__testing *kit = call->arg;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_key(out, "services");
    mir_json_begin(out, '[');
    for (uint32_t i = 0; i < kit->service_count; i++) {
        const struct mir__testing_service *service = &kit->service[i];
        mir_json_begin(out, '{');
        mir_json_member_u64(out, "port", service->port);
        mir_json_member_text(out, "protocol", service->listener != NULL ? "tcp" : "udp");
        mir_json_member_text(out, "does", service->is_discard ? "discard" : "echo");
        mir_json_member_u64(out, "connections", service->connections);
        mir_json_member_u64(out, "datagrams", service->datagrams);
        mir_json_member_u64(out, "bytes", service->bytes);
        mir_json_member_u64(out, "failed", service->failed);
        mir_json_end(out, '}');
    }
    mir_json_end(out, ']');
    mir_json_end(out, '}');
    return 0;
}

void mir__testing_unserve(struct mir__testing *kit)
{
    for (uint32_t i = 0; i < kit->service_count; i++) {
        struct mir__testing_service *service = &kit->service[i];
        if (service->listener != NULL)
            mir_tcp_unlisten(service->listener);
        if (service->udp != NULL)
            mir_udp_close(service->udp);
    }
    kit->service_count = 0;
}
