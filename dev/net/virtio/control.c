/* SPDX-License-Identifier: ISC */
/* The control queue of a virtio network device (VIRTIO 1.2 section 5.1.6.5): who we are, what we
 * want to hear, one pair of queues, an announcement made.
 *
 *   page   | class 1 | command 1 | data ...        | answer 1 at 64 |
 *
 * What is wanted is a set of bits; one command at a time is on its way, nobody waits for it. A
 * device that refuses to take our MAC is told to be promiscuous instead; other refusals are
 * counted. One that never answers loses nothing but commands.
 */
#include "dev/net/virtio/internal.h"

#define ANSWER_AT 64u
#define ANSWER_OK 0u
#define NO_ANSWER 0xffu

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_ANNOUNCE = 3, CLASS_PAIRS = 4 };
enum { RX_PROMISCUOUS = 0, RX_ALL_MULTICAST = 1, MAC_ADDRESS = 1, ANNOUNCE_ACK = 0, PAIRS_SET = 0 };

static void write_command(uint8_t *to, uint8_t class, uint8_t command)
{
    to[0] = class;
    to[1] = command;
}

/* Returns the length of the command with its data. */
static uint32_t fill(const struct mir__virtnet *n, uint32_t command, uint8_t *to)
{
    switch (command) {
    case MIR__VIRTNET_SET_PAIRS:
        write_command(to, CLASS_PAIRS, PAIRS_SET);
        mir_put_le16(to + 2, 1);
        return 4;
    case MIR__VIRTNET_SET_MAC:
        write_command(to, CLASS_MAC, MAC_ADDRESS);
        mir_memcpy(to + 2, n->dev.info.mac, 6);
        return 8;
    case MIR__VIRTNET_SET_PROMISCUOUS:
        write_command(to, CLASS_RX, RX_PROMISCUOUS);
        to[2] = n->is_promiscuous || n->mac_refused;
        return 3;
    case MIR__VIRTNET_SET_ALL_MULTICAST:
        write_command(to, CLASS_RX, RX_ALL_MULTICAST);
        to[2] = 1;
        return 3;
    default:
        write_command(to, CLASS_ANNOUNCE, ANNOUNCE_ACK);
        return 2;
    }
}

static void send_next(struct mir__virtnet *n)
{
    if (n->ctrl_sent != 0 || n->ctrl_wanted == 0 || !n->is_up)
        return;
    uint32_t command = n->ctrl_wanted & -n->ctrl_wanted;
    uint8_t *base = n->ctrl_page->base;
    uint64_t address = mir__virtio_address(n->virtio, base);
    uint32_t len = fill(n, command, base);
    base[ANSWER_AT] = NO_ANSWER;
    /* Class and command are one descriptor, data another, the answer a third: as devices from
     * before 1.0 expect it. */
    struct mir__virtq_seg segs[3] = {{address, 2}, {address + 2, len - 2}};
    uint32_t out_count = len > 2 ? 2 : 1;
    segs[out_count] = (struct mir__virtq_seg){address + ANSWER_AT, 1};
    if (mir__virtq_add(&n->ctrl.ring, segs, out_count, 1, n->ctrl_page) < 0)
        return;
    n->ctrl_wanted &= ~command;
    n->ctrl_sent = command;
    mir__virtio_kick(&n->ctrl);
}

static void refused(struct mir__virtnet *n)
{
    n->counters.control_refused++;
    if (n->ctrl_sent == MIR__VIRTNET_SET_MAC) {
        n->mac_refused = true;
        if (n->features & MIR__VIRTNET_F_CTRL_RX)
            n->ctrl_wanted |= MIR__VIRTNET_SET_PROMISCUOUS;
    }
}

void mir__virtnet_ctrl_want(struct mir__virtnet *n, uint32_t commands)
{
    if (n->features & MIR__VIRTNET_F_CTRL_VQ && n->ctrl_page != NULL) {
        n->ctrl_wanted |= commands;
        send_next(n);
    }
}

bool mir__virtnet_ctrl_poll(struct mir__virtnet *n)
{
    void *token;
    uint32_t len;
    if (n->ctrl_sent == 0)
        return false;
    int r = mir__virtq_take(&n->ctrl.ring, &token, &len);
    if (r == -MIR_EAGAIN)
        return false;
    if (r < 0) {
        mir__virtnet_reset(n, mir__virtq_fault_text(n->ctrl.ring.fault));
        return true;
    }
    uint8_t answer = __atomic_load_n(n->ctrl_page->base + ANSWER_AT, __ATOMIC_RELAXED);
    if (answer != ANSWER_OK)
        refused(n);
    n->ctrl_sent = 0;
    send_next(n);
    return true;
}

void mir__virtnet_ctrl_start(struct mir__virtnet *n)
{
    uint32_t commands = 0;
    bool has_other_mac = mir_memcmp(n->own_mac, n->dev.info.mac, 6) != 0;
    n->ctrl_sent = 0;
    n->ctrl_wanted = 0;
    n->mac_refused = has_other_mac && !(n->features & MIR__VIRTNET_F_CTRL_MAC);
    if (has_other_mac && !n->mac_refused)
        commands |= MIR__VIRTNET_SET_MAC;
    if (n->features & MIR__VIRTNET_F_MQ)
        commands |= MIR__VIRTNET_SET_PAIRS;
    if (n->features & MIR__VIRTNET_F_CTRL_RX)
        commands |= MIR__VIRTNET_SET_PROMISCUOUS | MIR__VIRTNET_SET_ALL_MULTICAST;
    mir__virtnet_ctrl_want(n, commands);
}
