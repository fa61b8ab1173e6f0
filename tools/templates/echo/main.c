/* Sends back what it receives, over TCP and UDP (RFC 862).
 *
 * Each TCP connection has a handler and no memory of its own: received views go out again without a
 * copy. When the send buffer is full, nothing more is taken, the window closes and the peer waits.
 */
#include <mirari/mirari.h>

/* Take what is there and send it back, as long as there is room. */
static void on_tcp(struct mir_tcp *tcp, unsigned events, void *arg)
{
    (void)arg;
    if ((events & (MIR_TCP_CLOSED | MIR_TCP_FAILED)) != 0) {
        mir_tcp_close(tcp);
        return;
    }
    while (mir_tcp_send_room(tcp) > 0) {
        struct mir_view view;
        int err = mir_tcp_recv_view(tcp, &view);
        if (err == -MIR_EAGAIN)
            return;
        if (err == 0)
            err = mir_tcp_send_view(tcp, view);
        if (err != 0) { /* -MIR_EEOF: the peer has finished, and so have we */
            mir_tcp_close(tcp);
            return;
        }
    }
}

static void on_accept(struct mir_tcp_listener *listener, struct mir_tcp *tcp_given, void *arg)
{
    (void)listener;
    mir_tcp_set_handler(tcp_given, on_tcp, arg);
    on_tcp(tcp_given, MIR_TCP_READABLE, arg); /* data may be there already */
}

static void on_udp(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf_given,
                   void *arg)
{
    (void)arg;
    (void)mir_udp_send_buf(udp, &meta->from, buf_given); /* a lost datagram is no error */
}

int mir_app_main(struct mir_app *app)
{
    struct mir_endpoint local = {.port = (uint16_t)mir_app_int(app, "port")};
    struct mir_tcp_listen_config config = {.local = local, .on_accept = on_accept, .arg = app};
    struct mir_tcp_listener *listener;
    struct mir_udp *udp;
    int err = mir_tcp_listen(app->stack, &config, &listener);
    if (err == 0)
        err = mir_udp_open(app->stack, &local, on_udp, app, &udp);
    if (err != 0) {
        mir_app_print(app, "port %u: %s\n", local.port, mir_strerror(err));
        return 1;
    }
    mir_app_print(app, "echo on port %u\n", local.port);
    mir_app_wait_stop(app);
    mir_udp_close(udp);
    mir_tcp_unlisten(listener);
    return 0;
}
