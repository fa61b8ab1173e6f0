/* SPDX-License-Identifier: ISC */
/* A network device around one queue of an interface that several stacks share, each in a process of
 * its own and with the same addresses.
 *
 *   host ── interface ─┬─ queue 0 ── share ── stack 0
 *                      │               │  pass()
 *                      └─ queue 1 ── share ── stack 1
 *
 * The host spreads frames by their flow: those of a connection that somebody opens to us come to
 * one queue for as long as the number of queues is the same, so the stack that took its SYN gets
 * all of it. Three kinds of frames need more:
 *
 *   - Answers to a connection or a datagram that a stack has begun. The host learns the queue from
 *     what we send, and forgets it after some seconds. So each stack chooses only ports that tell
 *     whose they are, and a frame for such a port goes to its stack.
 *   - What tells everybody something: ARP replies, neighbour and router advertisements, redirects,
 *     ICMP errors (they quote a packet of one stack, which only that one knows). All get a copy;
 * none of these is answered, so nothing is answered twice.
 *   - What is about a DHCP lease, which is one for all: answers of servers go to stack 0, which
 * asks them, and so does a copy of every ARP request of somebody else who says to have the address.
 *   - Everything else, ARP requests, echo requests, datagrams to a server, groups, fragments: any
 * stack can answer, so the one that got it does.
 *
 * A stack that is being replaced ("leaving") keeps the frames of its connections; the rest goes to
 * its successor, so that nobody who comes meanwhile is refused.
 *
 * Not done: sessions of UDP that a client begins stay with a stack by the host's hash only; a
 * datagram to a group reaches one stack.
 */
#include "dev/net/share/share.h"

#include <mirari/bytes.h>

#include "lib/wire/eth.h"

enum { PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_ICMP6 = 58 };
enum { DHCP_SERVER = 67, DHCP_CLIENT = 68, LEADER = 0 };
enum { IP4_LEN = 20, IP6_LEN = 40, PORTS_LEN = 4 };

/* What a frame is, as far as it matters here. */
struct flow {
    enum { OTHER, FOR_ALL, PORTS } kind;
    bool is_tcp;
    uint32_t claimed_ip; /* by who sends an ARP request */
    struct mir_endpoint local, remote;
};

static struct mir_share *of(struct mir__wrap *wrap)
{
    return (struct mir_share *)(void *)wrap;
}

static bool is_icmp4_news(uint8_t type)
{
    return type == 3 || type == 5 || type == 11 || type == 12;
}

/* Errors; router and neighbour advertisements, redirects. */
static bool is_icmp6_news(uint8_t type)
{
    return (type >= 1 && type <= 4) || type == 134 || type == 136 || type == 137;
}

static void read_ports(const uint8_t *at, uint8_t protocol, struct flow *flow)
{
    flow->kind = PORTS;
    flow->is_tcp = protocol == PROTO_TCP;
    flow->remote.port = mir_get_be16(at);
    flow->local.port = mir_get_be16(at + 2);
}

/* Fragments are whole again in the stack that they come to. */
static void read_ip4(const uint8_t *ip, size_t len, struct flow *flow)
{
    size_t header = len > 0 ? (size_t)(ip[0] & 15) * 4 : 0;
    if (len < IP4_LEN || header < IP4_LEN || len < header + PORTS_LEN ||
        (mir_get_be16(ip + 6) & 0x3fff) != 0)
        return;
    if (ip[9] == PROTO_ICMP && is_icmp4_news(ip[header]))
        flow->kind = FOR_ALL;
    if (ip[9] != PROTO_TCP && ip[9] != PROTO_UDP)
        return;
    flow->remote.ip = mir_ip_from_v4(mir_get_be32(ip + 12));
    flow->local.ip = mir_ip_from_v4(mir_get_be32(ip + 16));
    read_ports(ip + header, ip[9], flow);
}

static void read_ip6(const uint8_t *ip, size_t len, struct flow *flow)
{
    if (len < IP6_LEN + PORTS_LEN)
        return;
    if (ip[6] == PROTO_ICMP6 && is_icmp6_news(ip[IP6_LEN]))
        flow->kind = FOR_ALL;
    if (ip[6] != PROTO_TCP && ip[6] != PROTO_UDP)
        return;
    mir_memcpy(flow->remote.ip.bytes, ip + 8, 16);
    mir_memcpy(flow->local.ip.bytes, ip + 24, 16);
    read_ports(ip + IP6_LEN, ip[6], flow);
}

/* Devices give the headers of a frame in its linear part. */
static void read_frame(const struct mir_buf *buf, struct flow *flow)
{
    flow->kind = OTHER;
    flow->claimed_ip = 0;
    if (mir__eth_check(buf->data, buf->len) < 0)
        return;
    size_t at = MIR__ETH_HEADER_LEN + (mir__eth_has_tag(buf->data) ? MIR__ETH_TAG_LEN : 0);
    const uint8_t *inner = buf->data + at;
    size_t len = buf->len - at;
    switch (mir_get_be16(inner - 2)) {
    case MIR__ETH_TYPE_ARP:
        if (len >= 8 && mir_get_be16(inner + 6) == 2)
            flow->kind = FOR_ALL;
        else if (len >= 28) /* RFC 826: the sender's protocol address */
            flow->claimed_ip = mir_get_be32(inner + 14);
        return;
    case MIR__ETH_TYPE_IP4:
        read_ip4(inner, len, flow);
        return;
    case MIR__ETH_TYPE_IP6:
        read_ip6(inner, len, flow);
        return;
    default:
        return;
    }
}

static void pass(struct mir_share *share, uint32_t to, const struct mir_buf *buf)
{
    share->config.pass(share->config.arg, to, buf);
}

/* Whose frame is it? Our own index: ours. */
static uint32_t owner_of(const struct mir_share *share, const struct flow *flow)
{
    uint32_t owner = share->config.index;
    if (flow->kind == PORTS && flow->local.port >= MIR_SHARE_PORT_MIN)
        owner = flow->local.port % share->config.count;
    else if (flow->kind == PORTS && !flow->is_tcp && flow->local.port == DHCP_CLIENT &&
             flow->remote.port == DHCP_SERVER)
        owner = LEADER;
    if (share->leaving == NULL || owner != share->config.index || flow->kind == FOR_ALL)
        return owner;
    bool is_ours = flow->kind == PORTS && flow->is_tcp &&
                   mir_net_has_connection(share->leaving, &flow->local, &flow->remote);
    return is_ours ? owner : MIR_SHARE_SUCCESSOR;
}

static bool is_claim(const struct mir_share *share, const struct flow *flow)
{
    return share->claimed_ip != 0 && flow->claimed_ip == share->claimed_ip &&
           share->config.index != LEADER;
}

static void pass_to_all(struct mir_share *share, const struct mir_buf *buf)
{
    share->copied++;
    for (uint32_t i = 0; i < share->config.count; i++) {
        if (i != share->config.index)
            pass(share, i, buf);
    }
    if (share->leaving != NULL)
        pass(share, MIR_SHARE_SUCCESSOR, buf);
}

static void rx(struct mir__wrap *wrap, struct mir_buf *buf_given)
{
    struct mir_share *share = of(wrap);
    struct flow flow;
    if (share->config.count == 1 && share->leaving == NULL) {
        mir__wrap_up(wrap, buf_given);
        return;
    }
    read_frame(buf_given, &flow);
    uint32_t owner = owner_of(share, &flow);
    if (flow.kind == FOR_ALL)
        pass_to_all(share, buf_given);
    if (is_claim(share, &flow)) {
        share->copied++;
        pass(share, LEADER, buf_given);
    }
    if (owner == share->config.index) {
        mir__wrap_up(wrap, buf_given);
        return;
    }
    share->passed++;
    pass(share, owner, buf_given);
    mir_buf_release(buf_given);
}

static const struct mir_net_dev_ops share_ops = {
    .start = mir__wrap_start,
    .stop = mir__wrap_stop,
    .tx = mir__wrap_tx,
    .flush = mir__wrap_flush,
    .tx_room = mir__wrap_tx_room,
    .stats = mir__wrap_stats,
    .close = mir__wrap_close,
};

void mir_share_init(struct mir_share *share, const struct mir_share_config *config)
{
    MIR_ASSERT(config->index < config->count);
    *share = (struct mir_share){.config = *config};
    mir__wrap_init(&share->wrap, config->inner, &share_ops);
    share->wrap.rx = rx;
}

/* It was for us or for all: no further but, while we leave, to the successor. */
void mir_share_give(struct mir_share *share, struct mir_buf *buf_given)
{
    struct flow flow;
    if (!share->wrap.is_started) {
        mir_buf_release(buf_given);
        return;
    }
    share->given++;
    if (share->leaving != NULL) {
        read_frame(buf_given, &flow);
        if (flow.kind == FOR_ALL)
            pass(share, MIR_SHARE_SUCCESSOR, buf_given);
        if (owner_of(share, &flow) == MIR_SHARE_SUCCESSOR) {
            share->passed++;
            pass(share, MIR_SHARE_SUCCESSOR, buf_given);
            mir_buf_release(buf_given);
            return;
        }
    }
    mir__wrap_up(&share->wrap, buf_given);
}

void mir_share_give_end(struct mir_share *share)
{
    if (share->wrap.is_started)
        mir__wrap_up_end(&share->wrap);
}

void mir_share_claim(struct mir_share *share, uint32_t ip4)
{
    share->claimed_ip = ip4;
}

void mir_share_leave(struct mir_share *share, struct mir_net *net)
{
    share->leaving = net;
}
