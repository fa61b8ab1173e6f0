/* SPDX-License-Identifier: ISC */
/* Faults planted on purpose, to try the instruments: what does not find these finds nothing.
 *
 *   ack    an ACK that carries SACK blocks acknowledges 5,000 bytes more than it should; it takes
 *          loss or reordering to see it
 *   data   one bit of each 40th data segment is another one, with a right checksum
 *   leak   a page is forgotten with the 30th segment
 *   crash  the process ends with the 50th segment
 *
 * A frame is changed as it leaves its stack, before the watcher sees it.
 */
#include <mirari/bytes.h>
#include <mirari/platform.h>

#include <string.h>

#include "lib/wire/csum.h"
#include "target/sim/internal.h"
#include "target/sim/topology.h"

#define TCP_AT 34u /* Ethernet, IPv4 without options */

static uint8_t *tcp_of(struct mir__sim_frame *frame, uint32_t *payload)
{
    const uint8_t *ip = frame->data + 14;
    if (frame->len < TCP_AT + 20 || mir_get_be16(frame->data + 12) != 0x0800 || ip[0] != 0x45 ||
        ip[9] != 6)
        return NULL;
    uint32_t header = (frame->data[TCP_AT + 12] >> 4) * 4u;
    *payload = mir_get_be16(ip + 2) - 20u - header;
    return frame->data + TCP_AT;
}

static void change(struct mir__sim_frame *frame, uint32_t at, uint16_t value)
{
    uint16_t check, was, is;
    memcpy(&was, frame->data + at, 2);
    mir_put_be16(frame->data + at, value);
    memcpy(&is, frame->data + at, 2);
    if (frame->flags & MIR_BUF_CSUM_PARTIAL)
        return; /* the device will sum what is there */
    memcpy(&check, frame->data + TCP_AT + 16, 2);
    check = mir__csum_update(check, was, is);
    memcpy(frame->data + TCP_AT + 16, &check, 2);
}

static void plant_ack(struct mir_sim_node *node, struct mir__sim_frame *frame)
{
    uint32_t payload;
    const uint8_t *tcp = tcp_of(frame, &payload);
    (void)node;
    if (tcp == NULL || payload > 0 || (tcp[13] & 7) != 0 || tcp[12] >> 4 < 10)
        return;
    uint32_t ack = mir_get_be32(tcp + 8) + 5000;
    change(frame, TCP_AT + 8, (uint16_t)(ack >> 16));
    change(frame, TCP_AT + 10, (uint16_t)ack);
}

static void plant_data(struct mir_sim_node *node, struct mir__sim_frame *frame)
{
    uint32_t payload;
    const uint8_t *tcp = tcp_of(frame, &payload);
    if (tcp == NULL || payload < 4 || ++node->sim->planted % 40 != 0)
        return;
    uint32_t at = (frame->len - 2) & ~1u;
    change(frame, at, mir_get_be16(frame->data + at) ^ 0x0100);
}

static void plant_leak(struct mir_sim_node *node, struct mir__sim_frame *frame)
{
    struct mir_io_page *page;
    uint32_t payload;
    if (tcp_of(frame, &payload) != NULL && ++node->sim->planted == 30 &&
        mir_page_alloc(&node->pages, 4096, MIR_PAGE_ZERO, &page) < 0)
        node->sim->planted--;
}

static void plant_crash(struct mir_sim_node *node, struct mir__sim_frame *frame)
{
    uint32_t payload;
    if (tcp_of(frame, &payload) != NULL && ++node->sim->planted == 50)
        mir_platform_abort("planted crash");
}

bool mir__world_plant(struct mir__world *world, const char *name)
{
    static const struct {
        const char *name;
        void (*tamper)(struct mir_sim_node *node, struct mir__sim_frame *frame);
    } plants[] = {
        {"ack", plant_ack}, {"data", plant_data}, {"leak", plant_leak}, {"crash", plant_crash}};
    for (size_t i = 0; i < MIR_ARRAY_LEN(plants); i++) {
        if (strcmp(plants[i].name, name) == 0) {
            world->sim->tamper = plants[i].tamper;
            return true;
        }
    }
    return false;
}
