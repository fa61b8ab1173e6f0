/* SPDX-License-Identifier: ISC */
/* A virtio network device in memory (VIRTIO 1.2 section 5.1), one pair of queues. */
#include "test/harness/virtdev_net.h"

#include <string.h>

static uint32_t header_len(const struct virtdev_net *m)
{
    bool is_long = m->d.accepted & (MIR_VIRTIO_F_VERSION_1 | MIR__VIRTNET_F_MRG_RXBUF);
    return is_long ? 12 : 10;
}

static void transmit(struct virtdev_net *m)
{
    struct virtdev_chain chain;
    uint8_t header[12];
    uint32_t hl = header_len(m);
    while (virtdev_pop(&m->d, 1, &chain)) {
        if (chain.in_bytes != 0 || chain.out_bytes < hl + 14) {
            m->d.violations++;
            m->d.violation = "a frame to send without header or with room to write";
        }
        bool is_apart = chain.count > 0 && chain.seg[0].len == hl;
        if (!is_apart && !(m->d.accepted & (MIR_VIRTIO_F_VERSION_1 | MIR_VIRTIO_F_ANY_LAYOUT))) {
            m->d.violations++;
            m->d.violation = "the header is not in a descriptor of its own";
        }
        virtdev_read(&chain, 0, header, hl);
        uint32_t len = virtdev_read(&chain, hl, m->frame, VIRTDEV_NET_FRAME_MAX);
        m->frames++;
        m->bytes += len;
        if (m->on_frame != NULL)
            m->on_frame(m->arg, header, m->frame, len);
        if (m->holds)
            m->held[m->held_count++] = chain.head;
        else
            virtdev_push(&m->d, 1, chain.head, 0);
    }
    virtdev_publish(&m->d, 1);
}

static void obey(struct virtdev_net *m, const uint8_t *command, uint32_t len)
{
    m->commands++;
    if (command[0] == 0 && len == 3 && command[1] == 0)
        m->is_promiscuous = command[2];
    else if (command[0] == 0 && len == 3 && command[1] == 1)
        m->is_all_multicast = command[2];
    else if (command[0] == 1 && command[1] == 1 && len == 8)
        memcpy(m->mac, command + 2, 6);
    else if (command[0] == 3 && command[1] == 0 && len == 2)
        m->announce_acks++;
    else if (command[0] == 4 && command[1] == 0 && len == 4)
        m->pairs = mir_get_le16(command + 2);
    else {
        m->d.violations++;
        m->d.violation = "an unknown command";
    }
}

static void control(struct virtdev_net *m, unsigned queue)
{
    struct virtdev_chain chain;
    uint8_t command[16];
    while (virtdev_pop(&m->d, queue, &chain)) {
        uint32_t len = virtdev_read(&chain, 0, command, sizeof command);
        uint8_t answer = m->refuses;
        if (!m->refuses)
            obey(m, command, len);
        virtdev_write(&chain, 0, &answer, 1);
        virtdev_push(&m->d, queue, chain.head, 1);
    }
    virtdev_publish(&m->d, queue);
}

static void serve(struct virtdev *d, unsigned queue)
{
    struct virtdev_net *m = (struct virtdev_net *)(void *)d;
    if (queue == 1)
        transmit(m);
    else if (queue >= 2)
        control(m, queue);
}

static void on_reset(struct virtdev *d)
{
    ((struct virtdev_net *)(void *)d)->held_count = 0;
}

void virtdev_net_init(struct virtdev_net *m, enum virtdev_transport transport, uint64_t features,
                      uint16_t queue_max)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x99};
    memset(m, 0, sizeof *m);
    virtdev_init(&m->d, transport, MIR_VIRTIO_NET, features, 3, queue_max);
    m->d.serve = serve;
    m->d.on_reset = on_reset;
    memcpy(m->d.config, mac, 6);
    mir_put_le16(m->d.config + 6, MIR__VIRTNET_LINK_UP);
    mir_put_le16(m->d.config + 8, 1);
    mir_put_le16(m->d.config + 10, 1500);
}

bool virtdev_net_send(struct virtdev_net *m, const uint8_t *header, const uint8_t *frame,
                      uint32_t len)
{
    struct virtdev_chain chain[32];
    uint8_t whole[12] = {0};
    uint32_t hl = header_len(m), count = 0, room = 0, done = 0;
    if (header != NULL)
        memcpy(whole, header, 10);
    while (room < hl + len) {
        if (count == 32 || !virtdev_pop(&m->d, 0, &chain[count]))
            break;
        room += chain[count++].in_bytes;
        if (!(m->d.accepted & MIR__VIRTNET_F_MRG_RXBUF))
            break;
    }
    if (room < hl + len) {
        /* Not enough: they stay available. */
        struct virtdev_queue *q = &m->d.queue[0];
        for (uint32_t i = 0; i < count; i++)
            q->in_flight[chain[i].head] = 0;
        q->avail_seen = (uint16_t)(q->avail_seen - count);
        return false;
    }
    mir_put_le16(whole + 10, (uint16_t)count);
    if (virtdev_chance(&m->d, m->evil_pieces))
        mir_put_le16(whole + 10, (uint16_t)virtdev_draw(&m->d));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        if (i == 0)
            at = virtdev_write(&chain[i], 0, whole, hl);
        uint32_t n = virtdev_write(&chain[i], at, frame + done, len - done);
        done += n;
        virtdev_push(&m->d, 0, chain[i].head, at + n);
    }
    virtdev_publish(&m->d, 0);
    return true;
}

void virtdev_net_return(struct virtdev_net *m, uint32_t count, bool backwards)
{
    for (uint32_t i = 0; i < count && m->held_count > 0; i++) {
        uint16_t head = m->held[backwards ? m->held_count - 1 : 0];
        m->held_count--;
        if (!backwards)
            memmove(m->held, m->held + 1, m->held_count * sizeof m->held[0]);
        virtdev_push(&m->d, 1, head, 0);
    }
    virtdev_publish(&m->d, 1);
}

void virtdev_net_set_status(struct virtdev_net *m, uint16_t status)
{
    mir_put_le16(m->d.config + 6, status);
    virtdev_config_changed(&m->d);
}
