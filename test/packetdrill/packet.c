/* SPDX-License-Identifier: ISC */
/* Packets as text and as bytes.
 *
 * pd_packet_build() makes the IP packet of an inbound event, pd_packet_read() takes one of the
 * stack apart; both work on numbers of the wire, the mapping from and to a script's numbers is
 * run.c's. Payload is zeros, as it is in what scripts write. pd_packet_text() prints the notation
 * in which a script would have it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mirari/bytes.h>

#include "lib/wire/csum.h"
#include "test/packetdrill/run.h"

/* ---- text -------------------------------------------------------------------------------------
 */

struct out {
    char *text;
    size_t used;
};

static void put(struct out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct out *out, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(out->text + out->used, PD_PACKET_TEXT_MAX - out->used, fmt, args);
    va_end(args);
    if (n > 0)
        out->used = MIR_MIN(out->used + (size_t)n, (size_t)PD_PACKET_TEXT_MAX - 1);
}

static void put_option(struct out *out, const uint8_t *option)
{
    uint32_t len = option[1];
    switch (option[0]) {
    case 2:
        put(out, "mss %u", len == 4 ? mir_get_be16(option + 2) : 0);
        return;
    case 3:
        put(out, "wscale %u", len == 3 ? option[2] : 0);
        return;
    case 4:
        put(out, "sackOK");
        return;
    case 5:
        put(out, "sack");
        for (uint32_t at = 2; at + 8 <= len; at += 8)
            put(out, " %u:%u", mir_get_be32(option + at), mir_get_be32(option + at + 4));
        return;
    case 8:
        if (len == 10)
            put(out, "TS val %u ecr %u", mir_get_be32(option + 2), mir_get_be32(option + 6));
        return;
    case 34:
        put(out, "FO");
        break;
    default:
        put(out, "option %u", option[0]);
        break;
    }
    if (len > 2)
        put(out, " ");
    for (uint32_t at = 2; at < len; at++)
        put(out, "%02x", option[at]);
}

static void put_options(struct out *out, const struct pd_packet *packet)
{
    uint32_t at = 0;
    if (packet->any_options)
        put(out, " <...>");
    if (packet->option_len == 0)
        return;
    put(out, " <");
    while (at < packet->option_len) {
        const uint8_t *option = packet->option + at;
        if (at > 0)
            put(out, ",");
        if (option[0] <= 1) {
            put(out, option[0] == 1 ? "nop" : "eol");
            at++;
        } else if (at + 2 > packet->option_len || option[1] < 2 ||
                   at + option[1] > packet->option_len) {
            put(out, "malformed");
            break;
        } else {
            put_option(out, option);
            at += option[1];
        }
    }
    put(out, ">");
}

static void put_tcp(struct out *out, const struct pd_packet *packet)
{
    static const char letters[] = "FSRP.UEW";
    if (packet->flags == 0)
        put(out, "-");
    /* The order people write: S. P. F. */
    for (uint32_t bit = 0; bit < 4; bit++)
        if (packet->flags & 1u << bit)
            put(out, "%c", letters[bit]);
    for (uint32_t bit = 5; bit < 8; bit++)
        if (packet->flags & 1u << bit)
            put(out, "%c", letters[bit]);
    if (packet->flags & 16u)
        put(out, ".");
    put(out, " %u:%u(%u)", packet->seq, packet->seq + packet->len, packet->len);
    if (packet->flags & 16u)
        put(out, " ack %u", packet->ack);
    if (packet->has_window)
        put(out, " win %u", packet->window);
    put_options(out, packet);
}

void pd_packet_text(const struct pd_packet *packet, char text[PD_PACKET_TEXT_MAX])
{
    static const char *const ecn[] = {"noecn", "ect1", "ect0", "ce", "ect01"};
    struct out out = {text, 0};
    put(&out, "%c ", packet->is_in ? '<' : '>');
    if (packet->ecn > 0)
        put(&out, "[%s] ", ecn[packet->ecn % 5]);
    if (packet->has_ports)
        put(&out, "%u > %u ", packet->src_port, packet->dst_port);
    if (packet->protocol == PD_TCP)
        put_tcp(&out, packet);
    else if (packet->protocol == PD_UDP)
        put(&out, "udp (%u)", packet->len);
    else
        put(&out, "icmp type %u code %u", packet->icmp_type, packet->icmp_code);
}

/* ---- bytes ------------------------------------------------------------------------------------
 */

static void store(uint8_t *to, uint16_t sum)
{
    memcpy(to, &sum, sizeof sum);
}

static uint16_t transport_sum(const struct pd_flow *flow, uint8_t protocol, const uint8_t *data,
                              uint32_t len)
{
    return (uint16_t)~mir__csum_add(mir__csum_pseudo(&flow->src, &flow->dst, protocol, len),
                                    mir__csum_partial(data, len));
}

/* Returns the length of the header. */
static uint32_t put_ip(uint8_t *ip, const struct pd_flow *flow, uint8_t protocol, uint8_t ecn,
                       uint32_t payload_len)
{
    if (flow->is_v6) {
        memset(ip, 0, 40);
        mir_put_be32(ip, 0x60000000u | (uint32_t)ecn << 20);
        mir_put_be16(ip + 4, (uint16_t)payload_len);
        ip[6] = protocol == PD_ICMP ? 58 : protocol;
        ip[7] = 255;
        memcpy(ip + 8, flow->src.bytes, 16);
        memcpy(ip + 24, flow->dst.bytes, 16);
        return 40;
    }
    memset(ip, 0, 20);
    ip[0] = 0x45;
    ip[1] = ecn;
    mir_put_be16(ip + 2, (uint16_t)(20 + payload_len));
    ip[8] = 64;
    ip[9] = protocol;
    mir_put_be32(ip + 12, mir_ip_to_v4(&flow->src));
    mir_put_be32(ip + 16, mir_ip_to_v4(&flow->dst));
    store(ip + 10, (uint16_t)~mir__csum_partial(ip, 20));
    return 20;
}

static uint32_t put_tcp_header(uint8_t *tcp, const struct pd_flow *flow,
                               const struct pd_packet *packet)
{
    memset(tcp, 0, 20);
    mir_put_be16(tcp, flow->src_port);
    mir_put_be16(tcp + 2, flow->dst_port);
    mir_put_be32(tcp + 4, packet->seq);
    mir_put_be32(tcp + 8, packet->ack);
    tcp[12] = (uint8_t)((20u + packet->option_len) / 4 << 4);
    tcp[13] = packet->flags;
    mir_put_be16(tcp + 14, (uint16_t)packet->window);
    memcpy(tcp + 20, packet->option, packet->option_len);
    return 20u + packet->option_len;
}

/* The packet of ours that an ICMP message is about, as far as messages quote: IP header and 8. */
static uint32_t put_quote(uint8_t *at, const struct pd_flow *flow, const struct pd_packet *packet)
{
    struct pd_flow ours = *flow;
    uint32_t header = packet->about == PD_TCP ? 20 : 8;
    ours.src = flow->dst;
    ours.dst = flow->src;
    uint32_t len = put_ip(at, &ours, packet->about, 0, header + packet->len);
    memset(at + len, 0, 8);
    mir_put_be16(at + len, flow->dst_port);
    mir_put_be16(at + len + 2, flow->src_port);
    if (packet->about == PD_TCP)
        mir_put_be32(at + len + 4, packet->seq);
    else
        mir_put_be16(at + len + 4, (uint16_t)(8 + packet->len));
    return len + 8;
}

static uint32_t build_icmp(uint8_t *out, const struct pd_flow *flow, const struct pd_packet *packet)
{
    uint8_t icmp[8 + 48] = {packet->icmp_type, packet->icmp_code};
    mir_put_be32(icmp + 4, packet->icmp_mtu);
    uint32_t len = 8 + put_quote(icmp + 8, flow, packet);
    uint32_t ip_len = put_ip(out, flow, PD_ICMP, 0, len);
    if (flow->is_v6)
        store(icmp + 2, transport_sum(flow, 58, icmp, len));
    else
        store(icmp + 2, (uint16_t)~mir__csum_partial(icmp, len));
    memcpy(out + ip_len, icmp, len);
    return ip_len + len;
}

uint32_t pd_packet_build(uint8_t *out, const struct pd_flow *flow, const struct pd_packet *packet)
{
    uint8_t header[60];
    uint32_t header_len = 8;
    uint32_t field = 6;
    if (packet->protocol == PD_ICMP)
        return build_icmp(out, flow, packet);
    if (packet->protocol == PD_TCP) {
        header_len = put_tcp_header(header, flow, packet);
        field = 16;
    } else {
        memset(header, 0, 8);
        mir_put_be16(header, flow->src_port);
        mir_put_be16(header + 2, flow->dst_port);
        mir_put_be16(header + 4, (uint16_t)(8 + packet->len));
    }
    uint32_t len = header_len + packet->len;
    uint32_t at = put_ip(out, flow, packet->protocol, (uint8_t)(packet->ecn & 3), len);
    memcpy(out + at, header, header_len);
    memset(out + at + header_len, 0, packet->len);
    store(out + at + field, transport_sum(flow, packet->protocol, out + at, len));
    return at + len;
}

/* Returns NULL, or what is wrong with the IP header. */
static const char *read_ip(const uint8_t *ip, uint32_t len, struct pd_flow *flow,
                           struct pd_packet *packet, uint32_t *header_len)
{
    memset(flow, 0, sizeof *flow);
    flow->is_v6 = ip[0] >> 4 == 6;
    *header_len = flow->is_v6 ? 40 : (ip[0] & 15u) * 4u;
    if (*header_len < 20 || len < *header_len)
        return "the IP header is too short";
    if (flow->is_v6) {
        packet->ecn = ip[1] >> 4 & 3;
        packet->ttl = ip[7];
        packet->protocol = ip[6];
        memcpy(flow->src.bytes, ip + 8, 16);
        memcpy(flow->dst.bytes, ip + 24, 16);
        return mir_get_be16(ip + 4) + 40u == len ? NULL : "the IP length is wrong";
    }
    packet->ecn = ip[1] & 3;
    packet->ttl = ip[8];
    packet->protocol = ip[9];
    flow->src = mir_ip_from_v4(mir_get_be32(ip + 12));
    flow->dst = mir_ip_from_v4(mir_get_be32(ip + 16));
    if (mir_get_be16(ip + 2) != len)
        return "the IP length is wrong";
    if (mir_get_be16(ip + 6) & 0x3fffu)
        return "the packet is a fragment";
    return mir__csum_partial(ip, *header_len) == 0xffff ? NULL : "the IP checksum is wrong";
}

const char *pd_packet_read(const uint8_t *ip, uint32_t len, struct pd_flow *flow,
                           struct pd_packet *packet)
{
    uint32_t at;
    memset(packet, 0, sizeof *packet);
    const char *wrong = read_ip(ip, len, flow, packet, &at);
    if (wrong != NULL)
        return wrong;
    const uint8_t *data = ip + at;
    len -= at;
    if (packet->protocol != PD_TCP && packet->protocol != PD_UDP) {
        packet->protocol = PD_ICMP;
        packet->icmp_type = len > 0 ? data[0] : 0;
        packet->icmp_code = len > 1 ? data[1] : 0;
        return NULL;
    }
    uint32_t header = packet->protocol == PD_UDP ? 8 : len > 12 ? (data[12] >> 4) * 4u : 0;
    if (header < 8 || header > len || (packet->protocol == PD_TCP && header < 20))
        return "the transport header is too short";
    if (transport_sum(flow, packet->protocol, data, len) != 0)
        return "the transport checksum is wrong";
    flow->src_port = mir_get_be16(data);
    flow->dst_port = mir_get_be16(data + 2);
    packet->len = len - header;
    if (packet->protocol == PD_UDP)
        return NULL;
    packet->seq = mir_get_be32(data + 4);
    packet->ack = mir_get_be32(data + 8);
    packet->flags = data[13];
    packet->window = mir_get_be16(data + 14);
    packet->has_window = true;
    packet->option_len = (uint8_t)(header - 20);
    memcpy(packet->option, data + 20, header - 20);
    return NULL;
}
