/* SPDX-License-Identifier: ISC */
/* IPv6 on a testbed; see the header. */
#include "test/harness/bed6.h"

#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/tap.h"

struct mir_ip bed6_ip(const char *text)
{
    struct mir_ip ip;
    MIR_ASSERT(mir_ip_parse(text, strlen(text), &ip) == 0);
    return ip;
}

bool bed6_check_ip(const struct mir_ip *ip, const char *text)
{
    char out[MIR_IP_TEXT_MAX];
    return check_str(mir_ip_text(ip, out), text);
}

void bed6_open_if(struct testbed *bed, const struct mir_net_if_config *interface)
{
    testbed_init(bed, 1, 4 << 20, 0);
    testbed_open_if(bed, NULL, interface);
    testbed_run(bed);
}

void bed6_open(struct testbed *bed, enum mir_ip6_mode mode)
{
    struct mir_net_if_config interface = {.ip6 = mode};
    bed6_open_if(bed, &interface);
}

/* ---- frames to the stack ------------------------------------------------------------------- */

static size_t put_eth(uint8_t *out, const uint8_t mac[6], const struct mir_ip *dst)
{
    struct mir__eth eth = {.type = MIR__ETH_TYPE_IP6};
    memcpy(eth.src, mac, 6);
    memcpy(eth.dst, testbed_mac, 6);
    if (dst->bytes[0] == 0xff) {
        eth.dst[0] = eth.dst[1] = 0x33;
        memcpy(eth.dst + 2, dst->bytes + 12, 4);
    }
    mir__eth_emit(&eth, out);
    return MIR__ETH_HEADER_LEN;
}

static size_t put_ip6(uint8_t *out, const struct mir_ip *src, const struct mir_ip *dst,
                      uint8_t hops, uint8_t next, size_t len)
{
    memset(out, 0, 8);
    out[0] = 0x60;
    mir_put_be16(out + 4, (uint16_t)len);
    out[6] = next;
    out[7] = hops;
    memcpy(out + 8, src->bytes, 16);
    memcpy(out + 24, dst->bytes, 16);
    return 40;
}

static void put_checksum(uint8_t *payload, size_t len, uint8_t protocol, const struct mir_ip *src,
                         const struct mir_ip *dst)
{
    size_t at = protocol == MIR__IP6_ICMP ? 2 : protocol == MIR__PROTO_UDP ? 6 : 0;
    if (at == 0 || len < at + 2)
        return;
    memset(payload + at, 0, 2);
    uint16_t sum = mir__csum_pseudo(src, dst, protocol, (uint32_t)len);
    sum = (uint16_t)~mir__csum_add(sum, mir__csum_partial(payload, len));
    memcpy(payload + at, &sum, 2);
}

void bed6_inject(struct testbed *bed, const uint8_t mac[6], const char *src, const char *dst,
                 uint8_t hops, uint8_t protocol, const void *payload, size_t len)
{
    static uint8_t frame[2000];
    struct mir_ip from = bed6_ip(src), to = bed6_ip(dst);
    size_t at = put_eth(frame, mac, &to);
    at += put_ip6(frame + at, &from, &to, hops, protocol, len);
    memcpy(frame + at, payload, len);
    put_checksum(frame + at, len, protocol, &from, &to);
    testdev_inject(&bed->dev, frame, at + len);
    testbed_run(bed);
}

void bed6_inject_alert(struct testbed *bed, const char *src, const char *dst, uint8_t hops,
                       const void *payload, size_t len)
{
    static const uint8_t alert[8] = {MIR__IP6_ICMP, 0, 5, 2, 0, 0, 1, 0};
    static uint8_t frame[2000];
    struct mir_ip from = bed6_ip(src), to = bed6_ip(dst);
    size_t at = put_eth(frame, testbed_peer_mac, &to);
    at += put_ip6(frame + at, &from, &to, hops, 0, len + 8);
    memcpy(frame + at, alert, 8);
    memcpy(frame + at + 8, payload, len);
    put_checksum(frame + at + 8, len, MIR__IP6_ICMP, &from, &to);
    testdev_inject(&bed->dev, frame, at + 8 + len);
    testbed_run(bed);
}

static void inject_neighbour(struct testbed *bed, const char *src, const char *dst,
                             struct mir__nd6_neighbour *value, const uint8_t *mac)
{
    uint8_t msg[MIR__ND6_NEIGHBOUR_MAX];
    value->has_mac = mac != NULL;
    if (mac != NULL)
        memcpy(value->mac, mac, 6);
    size_t len = mir__nd6_emit_neighbour(value, msg);
    bed6_inject(bed, mac != NULL ? mac : testbed_peer_mac, src, dst, 255, MIR__IP6_ICMP, msg, len);
}

void bed6_solicit(struct testbed *bed, const char *src, const char *dst, const char *target,
                  const uint8_t *mac)
{
    struct mir__nd6_neighbour value = {.type = MIR__ND6_SOLICIT, .target = bed6_ip(target)};
    inject_neighbour(bed, src, dst, &value, mac);
}

void bed6_advert(struct testbed *bed, const char *src, const char *dst, const char *target,
                 const char *flags, const uint8_t *mac)
{
    struct mir__nd6_neighbour value = {
        .type = MIR__ND6_ADVERT,
        .is_router = strchr(flags, 'R') != NULL,
        .is_solicited = strchr(flags, 'S') != NULL,
        .is_override = strchr(flags, 'O') != NULL,
        .target = bed6_ip(target),
    };
    inject_neighbour(bed, src, dst, &value, mac);
}

/* ---- frames from the stack ----------------------------------------------------------------- */

static bool parse(const struct testdev_frame *frame, struct bed6_message *message)
{
    const uint8_t *p = frame->data;
    size_t at = 14 + 40;
    memset(message, 0, sizeof *message);
    if (frame->len < at || mir_get_be16(p + 12) != MIR__ETH_TYPE_IP6)
        return false;
    memcpy(message->eth_dst, p, 6);
    memcpy(message->src.bytes, p + 14 + 8, 16);
    memcpy(message->dst.bytes, p + 14 + 24, 16);
    message->hops = p[14 + 7];
    message->protocol = p[14 + 6];
    if (message->protocol == 0) {
        message->protocol = p[at];
        message->has_router_alert = p[at + 2] == 5 && p[at + 3] == 2;
        at += 8;
    }
    message->len = frame->len - at;
    memcpy(message->data, p + at, message->len);
    uint16_t sum =
        mir__csum_pseudo(&message->src, &message->dst, message->protocol, (uint32_t)message->len);
    message->checksum_ok =
        mir__csum_add(sum, mir__csum_partial(message->data, message->len)) == 0xffff;
    return true;
}

static bool is_mld(const struct bed6_message *message)
{
    uint8_t type = message->data[0];
    return message->protocol == MIR__IP6_ICMP && ((type >= 130 && type <= 132) || type == 143);
}

bool bed6_next(struct testbed *bed, uint8_t type, struct bed6_message *message)
{
    const struct testdev_frame *frame;
    while ((frame = testdev_next(&bed->dev)) != NULL) {
        if (!parse(frame, message))
            continue;
        bool is_type = message->protocol == MIR__IP6_ICMP && message->data[0] == type;
        if (type == BED6_ANY || (type == 0 ? !is_mld(message) : is_type))
            return true;
    }
    return false;
}

bool bed6_none(struct testbed *bed)
{
    struct bed6_message message;
    if (!bed6_next(bed, 0, &message))
        return true;
    char text[MIR_IP_TEXT_MAX];
    tap_note("not expected: type %u to %s", message.data[0], mir_ip_text(&message.dst, text));
    return false;
}

static bool next_neighbour(struct testbed *bed, struct bed6_message *message,
                           struct mir__nd6_neighbour *value)
{
    if (!check(bed6_next(bed, 0, message)) || !check(message->checksum_ok) ||
        !check_int(message->hops, ==, 255))
        return false;
    return check_int(mir__nd6_parse_neighbour(message->data, message->len, value), ==, 0);
}

bool bed6_expect_solicit(struct testbed *bed, const char *src, const char *dst, const char *target)
{
    struct bed6_message message;
    struct mir__nd6_neighbour value;
    if (!next_neighbour(bed, &message, &value) || !check_int(value.type, ==, MIR__ND6_SOLICIT))
        return false;
    bool is_test = mir_ip_is_any(&message.src);
    return bed6_check_ip(&message.src, src) && bed6_check_ip(&message.dst, dst) &&
           bed6_check_ip(&value.target, target) && check_int(value.has_mac, ==, !is_test);
}

bool bed6_expect_advert(struct testbed *bed, const char *src, const char *dst, const char *target,
                        const char *flags)
{
    struct bed6_message message;
    struct mir__nd6_neighbour value;
    char text[4] = "";
    if (!next_neighbour(bed, &message, &value) || !check_int(value.type, ==, MIR__ND6_ADVERT))
        return false;
    if (value.is_router)
        strcat(text, "R");
    if (value.is_solicited)
        strcat(text, "S");
    if (value.is_override)
        strcat(text, "O");
    return bed6_check_ip(&message.src, src) && bed6_check_ip(&message.dst, dst) &&
           bed6_check_ip(&value.target, target) && check_str(text, flags) && check(value.has_mac) &&
           check_mem(value.mac, testbed_mac, 6);
}

struct find {
    struct mir_ip ip;
    int state;
};

static void each(void *arg, const struct mir_net_address *address)
{
    struct find *find = arg;
    if (mir_ip_equal(&find->ip, &address->ip))
        find->state = (int)address->state;
}

int bed6_address_state(struct testbed *bed, const char *text)
{
    struct find find = {bed6_ip(text), -1};
    mir_net_each_address(bed->net, each, &find);
    return find.state;
}

/* ---- router advertisements ----------------------------------------------------------------- */

void bed6_ra_begin(struct bed6_advert *ra, uint16_t lifetime_s)
{
    memset(ra, 0, sizeof *ra);
    ra->data[0] = MIR__ND6_ROUTER_ADVERT;
    ra->data[4] = 64;
    mir_put_be16(ra->data + 6, lifetime_s);
    ra->len = 16;
}

void bed6_ra_mac(struct bed6_advert *ra, const uint8_t mac[6])
{
    uint8_t *p = ra->data + ra->len;
    p[0] = MIR__ND6_OPT_SOURCE_MAC;
    p[1] = 1;
    memcpy(p + 2, mac, 6);
    ra->len += 8;
}

void bed6_ra_prefix(struct bed6_advert *ra, const char *prefix, uint8_t len, const char *flags,
                    uint32_t valid_s, uint32_t preferred_s)
{
    uint8_t *p = ra->data + ra->len;
    struct mir_ip ip = bed6_ip(prefix);
    p[0] = MIR__ND6_OPT_PREFIX;
    p[1] = 4;
    p[2] = len;
    p[3] = (uint8_t)((strchr(flags, 'L') != NULL ? 0x80 : 0) |
                     (strchr(flags, 'A') != NULL ? 0x40 : 0));
    mir_put_be32(p + 4, valid_s);
    mir_put_be32(p + 8, preferred_s);
    memcpy(p + 16, ip.bytes, 16);
    ra->len += 32;
}

void bed6_ra_route(struct bed6_advert *ra, const char *prefix, uint8_t len, int preference,
                   uint32_t lifetime_s)
{
    uint8_t *p = ra->data + ra->len;
    struct mir_ip ip = bed6_ip(prefix);
    p[0] = MIR__ND6_OPT_ROUTE;
    p[1] = 3;
    p[2] = len;
    p[3] = (uint8_t)((preference & 3) << 3);
    mir_put_be32(p + 4, lifetime_s);
    memcpy(p + 8, ip.bytes, 16);
    ra->len += 24;
}

void bed6_ra_mtu(struct bed6_advert *ra, uint32_t mtu)
{
    uint8_t *p = ra->data + ra->len;
    p[0] = MIR__ND6_OPT_MTU;
    p[1] = 1;
    mir_put_be32(p + 4, mtu);
    ra->len += 8;
}

void bed6_ra_dns(struct bed6_advert *ra, const char *server, uint32_t lifetime_s)
{
    uint8_t *p = ra->data + ra->len;
    struct mir_ip ip = bed6_ip(server);
    p[0] = MIR__ND6_OPT_RDNSS;
    p[1] = 3;
    mir_put_be32(p + 4, lifetime_s);
    memcpy(p + 8, ip.bytes, 16);
    ra->len += 24;
}

void bed6_ra_send_from(struct testbed *bed, const uint8_t mac[6], const char *src,
                       const struct bed6_advert *ra)
{
    bed6_inject(bed, mac, src, BED6_ALL_NODES, 255, MIR__IP6_ICMP, ra->data, ra->len);
}

void bed6_ra_send(struct testbed *bed, const struct bed6_advert *ra)
{
    bed6_ra_send_from(bed, testbed_peer_mac, BED6_PEER_LL, ra);
}
