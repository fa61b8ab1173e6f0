/* SPDX-License-Identifier: ISC */
/* vchan at a port: a channel is asked for until there is one, by tasks that sleep meanwhile. */
#include <mirari/vchan.h>

static int open_at(struct mir_loop *loop, struct mir_channel_port *port, bool is_server,
                   mir_time_us deadline_us, struct mir_channel **channel)
{
    int r, wait = 0;
    while ((r = port->ops->get(port, is_server, channel)) == -MIR_EAGAIN && wait == 0)
        wait = mir_wait_on(loop, &port->changed, deadline_us);
    return r == -MIR_EAGAIN ? wait : r;
}

int mir_vchan_listen(struct mir_loop *loop, struct mir_channel_port *port, struct mir_vchan *vchan,
                     const struct mir_vchan_config *config, mir_time_us deadline_us)
{
    struct mir_channel *channel;
    int r = open_at(loop, port, true, deadline_us, &channel);
    if (r < 0)
        return r;
    r = mir_vchan_serve(vchan, channel, config);
    if (r < 0)
        channel->ops->close(channel);
    return r;
}

int mir_vchan_meet(struct mir_loop *loop, struct mir_channel_port *port, struct mir_vchan *vchan,
                   const struct mir_vchan_config *config, mir_time_us deadline_us)
{
    struct mir_channel *channel;
    int r = open_at(loop, port, false, deadline_us, &channel);
    if (r < 0)
        return r;
    r = mir_vchan_connect(vchan, channel, config);
    if (r < 0)
        channel->ops->close(channel);
    return r;
}
