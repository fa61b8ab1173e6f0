/* SPDX-License-Identifier: ISC */
/* Echo (RFC 862) over TCP and UDP, without copying a byte.
 *
 * TCP, events: a connection has a handler and no memory of its own. Received views are sent again
 * as they are; when the send buffer is full nothing more is taken, the window closes and the peer
 * waits. After the peer's FIN what is queued is still delivered.
 *
 * UDP: the datagram's buffer is turned round. Its headers lie in front of the payload where the new
 * ones go, so it needs no other memory; without enough head room the payload is copied.
 */
#include <mirari/mirari.h>

static struct {
    uint64_t connections, bytes, datagrams, lost;
    uint32_t open;
} counts;

static void end_tcp(struct mir_tcp *tcp)
{
    counts.open--;
    mir_tcp_close(tcp);
}

/* Take what is there and send it back, as long as there is room. */
static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)arg;
    if ((events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) != 0) {
        end_tcp(tcp);
        return;
    }
    while (mir_tcp_send_room(tcp) > 0) { /* at 0, WRITABLE brings us back */
        struct mir_view view;
        int err = mir_tcp_recv_view(tcp, &view);
        if (err == -MIR_EAGAIN)
            return;
        uint32_t len = err == 0 ? view.len : 0;
        if (err == 0)
            err = mir_tcp_send_view(tcp, view);
        if (err != 0) { /* -MIR_EEOF: the peer has finished, and so have we */
            end_tcp(tcp);
            return;
        }
        counts.bytes += len;
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    counts.connections++;
    counts.open++;
    mir_tcp_set_handler(tcp_given, on_tcp, arg);
    on_tcp(tcp_given, MIR_TCP_READABLE, arg); /* data may be there already */
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    struct mir_app *app = arg;
    struct mir_buf *buf = buf_given;
    if (mir_buf_headroom(buf) < MIR_BUF_HEADROOM) {
        buf = mir_buf_linearize(app->bufs, buf_given, MIR_BUF_HEADROOM);
        mir_buf_release(buf_given);
    }
    /* From the address that was asked: the asker may know us by several. */
    struct mir_udp_msg msg = {.to = meta->from};
    if (!meta->is_group)
        msg.from = meta->to.ip;
    if (buf != NULL && mir_udp_send_msg(udp, &msg, buf) == 0)
        counts.datagrams++;
    else
        counts.lost++; /* as on any network */
}

static unsigned long long number(uint64_t value)
{
    return value;
}

int mir_app_main(struct mir_app *app)
{
    struct mir_endpoint local = {.port = (uint16_t)mir_app_int(app, "port")};
    struct mir_tcp_listen_config config = {.local = local, .on_accept = on_accept, .arg = app};
    struct mir_tcp_listener *listener;
    struct mir_udp *udp;
    int err = mir_tcp_listen(app->stack, &config, &listener);
    if (err == 0) {
        err = mir_udp_open(app->stack, &local, on_udp, app, &udp);
        if (err != 0)
            mir_tcp_unlisten(listener);
    }
    if (err != 0) {
        mir_app_print(app, "port %u: %s\n", local.port, mir_strerror(err));
        return 1;
    }
    mir_app_print(app, "echo on port %u\n", local.port);
    mir_app_wait_stop(app);
    mir_udp_close(udp);
    mir_tcp_unlisten(listener);
    mir_app_print(app, "echo: %llu connections, %u open, %llu bytes, %llu datagrams, %llu lost\n",
                  number(counts.connections), counts.open, number(counts.bytes),
                  number(counts.datagrams), number(counts.lost));
    return 0;
}
