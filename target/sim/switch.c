/* SPDX-License-Identifier: ISC */
/* A learning switch: joins many wires.
 *
 * The source address of a frame says behind which port a station is. Frames to a known station
 * leave through its port only, all others (unknown, broadcast, multicast) through every port but
 * the one they came in by. The table is bounded; when it is full the place of a hash is taken over.
 * Forwarding takes no time: wires have delays. Switches in a ring would circulate a broadcast for
 * ever, so a frame passes at most HOPS_MAX of them.
 */
#include "target/sim/internal.h"

#include <stdlib.h>
#include <string.h>

#define PORTS_MAX 64u
#define STATIONS  4096u /* power of two */
#define HOPS_MAX  16u

struct station {
    uint8_t mac[6];
    uint8_t is_known;
    uint8_t port;
};

struct mir_sim_switch {
    struct mir_sim *sim;
    struct mir_list link;
    const char *name;
    uint32_t port_count;
    struct mir_sim_plug ports[PORTS_MAX];
    struct station stations[STATIONS];
};

int mir_sim_add_switch(struct mir_sim *sim, const char *name, struct mir_sim_switch **out)
{
    struct mir_sim_switch *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return -MIR_ENOMEM;
    hub->sim = sim;
    hub->name = name;
    mir_list_push_back(&sim->switches, &hub->link);
    *out = hub;
    return 0;
}

int mir_sim_switch_plug(struct mir_sim_switch *hub, struct mir_sim_plug **plug)
{
    if (hub->port_count == PORTS_MAX)
        return -MIR_ELIMIT;
    *plug = &hub->ports[hub->port_count++];
    **plug = (struct mir_sim_plug){
        .sim = hub->sim,
        .index = ++hub->sim->plug_count,
        .hub = hub,
    };
    return 0;
}

void mir__sim_switches_close(struct mir_sim *sim)
{
    for (struct mir_list *link; (link = mir_list_pop_front(&sim->switches)) != NULL;)
        free(MIR_CONTAINER_OF(link, struct mir_sim_switch, link));
}

static struct station *place_of(struct mir_sim_switch *hub, const uint8_t *mac)
{
    uint64_t v = 0;
    memcpy(&v, mac, 6);
    return &hub->stations[v * 0x9e3779b97f4a7c15ull >> 52 & (STATIONS - 1)];
}

static void flood(struct mir_sim_switch *hub, uint32_t in_port, struct mir__sim_frame *frame)
{
    for (uint32_t i = 0; i < hub->port_count; i++) {
        if (i != in_port && hub->ports[i].wire != NULL)
            mir__sim_transmit(&hub->ports[i], mir__sim_frame_copy(hub->sim, frame));
    }
    mir__sim_frame_free(hub->sim, frame);
}

void mir__sim_switch_receive(struct mir_sim_plug *plug, struct mir__sim_frame *frame)
{
    struct mir_sim_switch *hub = plug->hub;
    uint32_t in_port = (uint32_t)(plug - hub->ports);
    if (frame->len < 14 || ++frame->hops > HOPS_MAX) {
        mir__sim_frame_free(hub->sim, frame);
        return;
    }
    const uint8_t *dst = frame->data;
    const uint8_t *src = frame->data + 6;
    if (!(src[0] & 1)) {
        struct station *from = place_of(hub, src);
        memcpy(from->mac, src, 6);
        from->is_known = 1;
        from->port = (uint8_t)in_port;
    }
    const struct station *to = place_of(hub, dst);
    if ((dst[0] & 1) || !to->is_known || memcmp(to->mac, dst, 6) != 0)
        flood(hub, in_port, frame);
    else if (to->port != in_port)
        mir__sim_transmit(&hub->ports[to->port], frame);
    else
        mir__sim_frame_free(hub->sim, frame);
}
