/* SPDX-License-Identifier: ISC */
/* Channels to processes of the host and to other machines (vchan), from both sides.
 *
 * Role serve: four tasks, each offers a channel, sends back what comes over it until its client has
 * ended, and offers the next. Role call: one task meets a server, sends a stream of numbers, and
 * compares what comes back.
 */
#include <mirari/mirari.h>
#include <mirari/vchan.h>

#define CLIENTS 4

static const struct mir_vchan_config config;
static struct client {
    struct mir_app *app;
    struct mir_channel_port *port;
    struct mir_vchan vchan;
    bool is_open;
    uint8_t bytes[32768];
} clients[CLIENTS];

static int write_all(struct mir_loop *loop, struct mir_vchan *vchan, const uint8_t *data,
                     size_t len)
{
    int r = 0;
    for (size_t put; len > 0 && r == 0; data += put, len -= put) {
        put = 0;
        r = mir_vchan_write(vchan, data, len, &put);
        if (r == -MIR_EAGAIN)
            r = mir_vchan_wait(loop, vchan, MIR_VCHAN_WRITABLE, MIR_TIME_NEVER);
    }
    return r;
}

/* One client, to its end. Returns how it ended. */
static int echo(struct client *c)
{
    size_t len;
    int r = 0;
    while (r == 0) {
        r = mir_vchan_read(&c->vchan, c->bytes, sizeof c->bytes, &len);
        if (r == 0)
            r = write_all(c->app->loop, &c->vchan, c->bytes, len);
        else if (r == -MIR_EAGAIN)
            r = mir_vchan_wait(c->app->loop, &c->vchan, MIR_VCHAN_READABLE, MIR_TIME_NEVER);
    }
    return r;
}

static void serve(void *arg)
{
    struct client *c = arg;
    while (mir_vchan_listen(c->app->loop, c->port, &c->vchan, &config, MIR_TIME_NEVER) == 0) {
        c->is_open = true;
        int r = echo(c);
        if (c->app->is_stopping)
            return;
        mir_app_print(c->app, "a client %s after %llu bytes\n",
                      r == -MIR_ECONNRESET ? "was lost" : "ended",
                      (unsigned long long)mir_vchan_stats(&c->vchan)->bytes_in);
        c->is_open = false;
        mir_vchan_close(&c->vchan);
    }
    mir_app_print(c->app, "the region of the channel is lost\n");
}

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 9));
}

/* Write and read in turns, whatever is possible. Returns 0 when all came back as it was. */
static int exchange(struct client *c, uint64_t total)
{
    uint64_t sent = 0, back = 0;
    while (back < total) {
        size_t len = (size_t)MIR_MIN(total - sent, (uint64_t)sizeof c->bytes), n;
        for (size_t i = 0; i < len; i++)
            c->bytes[i] = pattern(sent + i);
        int r = len > 0 ? mir_vchan_write(&c->vchan, c->bytes, len, &n) : -MIR_EAGAIN;
        if (r == 0)
            sent += n;
        else if (r != -MIR_EAGAIN)
            return r;
        while ((r = mir_vchan_read(&c->vchan, c->bytes, sizeof c->bytes, &n)) == 0) {
            for (size_t i = 0; i < n; i++, back++)
                if (c->bytes[i] != pattern(back))
                    return -MIR_EPROTO;
        }
        unsigned wishes = MIR_VCHAN_READABLE | (sent < total ? MIR_VCHAN_WRITABLE : 0u);
        if (r == -MIR_EAGAIN && back < total)
            r = mir_vchan_wait(c->app->loop, &c->vchan, wishes, MIR_TIME_NEVER);
        if (r < 0 && back < total)
            return r;
    }
    return 0;
}

static int call(struct client *c)
{
    uint64_t total = (uint64_t)mir_app_int(c->app, "bytes");
    int r = mir_vchan_meet(c->app->loop, c->port, &c->vchan, &config, MIR_TIME_NEVER);
    if (r == 0) {
        r = exchange(c, total);
        mir_vchan_close(&c->vchan);
    }
    if (r == 0)
        mir_app_print(c->app, "%llu bytes came back as they were\n", (unsigned long long)total);
    else
        mir_app_print(c->app, "call: %s\n", mir_strerror(r));
    return r == 0 ? 0 : 1;
}

int mir_app_main(struct mir_app *app)
{
    struct mir_channel_port *port = mir_app_channel(app, "echo");
    if (port == NULL) {
        mir_app_print(app,
                      "channel: there is nothing to make channels with; run it with -t virt\n");
        return 1;
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.app = app, .port = port};
    if (mir_str_equal(mir_app_string(app, "role"), "call"))
        return call(&clients[0]);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (mir_task_spawn(app->loop, app->stacks, "serve", 16384, serve, &clients[i], NULL) < 0)
            return 1;
    mir_app_print(app, "serving channels\n");
    mir_app_wait_stop(app);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].is_open)
            mir_vchan_close(&clients[i].vchan);
    return 0;
}
