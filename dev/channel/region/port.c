/* SPDX-License-Identifier: ISC */
/* A region as a port: ends come from a small table and go back to it when they are closed. */
#include "dev/channel/region/region.h"

static struct mir_region_end *vacant(struct mir_region_port *port)
{
    for (uint32_t i = 0; i < MIR_REGION_PORT_ENDS; i++)
        if (!port->end[i].is_open)
            return &port->end[i];
    return NULL;
}

static int port_get(struct mir_channel_port *base, bool is_server, struct mir_channel **channel)
{
    struct mir_region_port *port = MIR_CONTAINER_OF(base, struct mir_region_port, port);
    struct mir_region_end *end = vacant(port);
    if (port->region->board == NULL)
        return -MIR_ENOTCONN;
    if (end == NULL)
        return -MIR_EAGAIN;
    int r = is_server ? mir_region_offer(port->region, end) : mir_region_take(port->region, end);
    if (r == 0)
        *channel = &end->channel;
    return r == -MIR_ELIMIT ? -MIR_EAGAIN : r;
}

static const struct mir_channel_port_ops port_ops = {.get = port_get};

void mir_region_port_init(struct mir_region_port *port, struct mir_region *region)
{
    *port = (struct mir_region_port){.port = {.ops = &port_ops}, .region = region};
    mir_wait_init(&port->port.changed);
}

void mir_region_port_changed(void *arg)
{
    struct mir_region_port *port = arg;
    mir_wait_wake_all(&port->port.changed);
}
