/* SPDX-License-Identifier: ISC */
/* Messages of neighbour discovery as values. The figures are in the header.
 *
 * Every parser first walks all options, so that a message with a broken one is refused before any
 * of it counts (RFC 4861 sections 6.1, 7.1, 8.1). A link-layer address of a length that Ethernet
 * does not have spoils the message; options that are repeated count once, the first; unknown ones
 * are skipped.
 */
#include "lib/wire/nd6.h"

#include "lib/wire/eth.h"

int mir__nd6_next_option(const uint8_t *msg, size_t len, size_t *at, struct mir__nd6_option *option)
{
    if (*at == len)
        return 0;
    if (len - *at < 8)
        return -MIR_EMALFORMED;
    size_t option_len = 8u * msg[*at + 1];
    if (option_len == 0 || option_len > len - *at)
        return -MIR_EMALFORMED;
    *option = (struct mir__nd6_option){msg[*at], msg + *at + 2, option_len - 2};
    *at += option_len;
    return 1;
}

struct common {
    bool has_mac;
    uint8_t mac[6];
    bool has_nonce;
    uint8_t nonce[MIR__ND6_NONCE_LEN];
    uint32_t mtu;
};

static int take_mac(const struct mir__nd6_option *option, struct common *found)
{
    if (option->len != 6 || mir__mac_is_group(option->data) || mir__mac_is_zero(option->data))
        return -MIR_EMALFORMED;
    if (!found->has_mac)
        mir_memcpy(found->mac, option->data, 6);
    found->has_mac = true;
    return 0;
}

/* Walk all options, picking up those that are understood in every message. */
static int walk(const uint8_t *msg, size_t len, size_t at, uint8_t mac_type, struct common *found)
{
    struct mir__nd6_option option;
    int r;
    *found = (struct common){0};
    while ((r = mir__nd6_next_option(msg, len, &at, &option)) > 0) {
        if (option.type == mac_type && take_mac(&option, found) < 0)
            return -MIR_EMALFORMED;
        if (option.type == MIR__ND6_OPT_NONCE && !found->has_nonce) {
            found->has_nonce = true;
            mir_memcpy(found->nonce, option.data, sizeof found->nonce);
        }
        if (option.type == MIR__ND6_OPT_MTU && option.len == 6 && found->mtu == 0)
            found->mtu = mir_get_be32(option.data + 2);
    }
    return r;
}

static bool is_group(const struct mir_ip *ip)
{
    return ip->bytes[0] == 0xff;
}

static struct mir_ip get_ip(const uint8_t *p)
{
    struct mir_ip ip;
    mir_memcpy(ip.bytes, p, sizeof ip.bytes);
    return ip;
}

/* ---- neighbours --------------------------------------------------------------------------- */

int mir__nd6_parse_neighbour(const uint8_t *msg, size_t len, struct mir__nd6_neighbour *value)
{
    struct common found;
    if (len < 24)
        return -MIR_ETRUNCATED;
    bool is_advert = msg[0] == MIR__ND6_ADVERT;
    struct mir_ip target = get_ip(msg + 8);
    if ((!is_advert && msg[0] != MIR__ND6_SOLICIT) || msg[1] != 0 || is_group(&target))
        return -MIR_EMALFORMED;
    int r =
        walk(msg, len, 24, is_advert ? MIR__ND6_OPT_TARGET_MAC : MIR__ND6_OPT_SOURCE_MAC, &found);
    if (r < 0)
        return r;
    *value = (struct mir__nd6_neighbour){
        .type = msg[0],
        .is_router = is_advert && (msg[4] & 0x80) != 0,
        .is_solicited = is_advert && (msg[4] & 0x40) != 0,
        .is_override = is_advert && (msg[4] & 0x20) != 0,
        .has_mac = found.has_mac,
        .has_nonce = !is_advert && found.has_nonce,
        .target = target,
    };
    mir_memcpy(value->mac, found.mac, sizeof value->mac);
    if (value->has_nonce)
        mir_memcpy(value->nonce, found.nonce, sizeof value->nonce);
    return 0;
}

static size_t emit_mac(uint8_t type, const uint8_t mac[6], uint8_t *out)
{
    out[0] = type;
    out[1] = 1;
    mir_memcpy(out + 2, mac, 6);
    return 8;
}

size_t mir__nd6_emit_neighbour(const struct mir__nd6_neighbour *value, uint8_t *out)
{
    bool is_advert = value->type == MIR__ND6_ADVERT;
    size_t len = 24;
    mir_memset(out, 0, 24);
    out[0] = value->type;
    if (is_advert)
        out[4] =
            (uint8_t)(value->is_router << 7 | value->is_solicited << 6 | value->is_override << 5);
    mir_memcpy(out + 8, value->target.bytes, 16);
    if (value->has_mac)
        len += emit_mac(is_advert ? MIR__ND6_OPT_TARGET_MAC : MIR__ND6_OPT_SOURCE_MAC, value->mac,
                        out + len);
    if (value->has_nonce && !is_advert)
        len += emit_mac(MIR__ND6_OPT_NONCE, value->nonce, out + len);
    return len;
}

/* ---- routers ------------------------------------------------------------------------------ */

size_t mir__nd6_emit_router_solicit(const uint8_t *mac, uint8_t *out)
{
    mir_memset(out, 0, 8);
    out[0] = MIR__ND6_ROUTER_SOLICIT;
    return mac != NULL ? 8 + emit_mac(MIR__ND6_OPT_SOURCE_MAC, mac, out + 8) : 8;
}

/* RFC 4191 section 2.1: 01 high, 00 medium, 11 low, 10 reserved. */
static int8_t preference_of(uint8_t flags)
{
    static const int8_t meaning[4] = {MIR__ND6_MEDIUM, MIR__ND6_HIGH, INT8_MIN, MIR__ND6_LOW};
    return meaning[flags >> 3 & 3];
}

int mir__nd6_parse_router(const uint8_t *msg, size_t len, struct mir__nd6_router *value)
{
    struct common found;
    if (len < 16)
        return -MIR_ETRUNCATED;
    if (msg[0] != MIR__ND6_ROUTER_ADVERT || msg[1] != 0)
        return -MIR_EMALFORMED;
    int r = walk(msg, len, MIR__ND6_ADVERT_OPTIONS_AT, MIR__ND6_OPT_SOURCE_MAC, &found);
    if (r < 0)
        return r;
    int8_t preference = preference_of(msg[5]);
    *value = (struct mir__nd6_router){
        .hop_limit = msg[4],
        .is_managed = (msg[5] & 0x80) != 0,
        .is_other = (msg[5] & 0x40) != 0,
        .has_mac = found.has_mac,
        .preference = preference == INT8_MIN ? MIR__ND6_MEDIUM : preference,
        .lifetime_s = mir_get_be16(msg + 6),
        .reachable_ms = mir_get_be32(msg + 8),
        .retrans_ms = mir_get_be32(msg + 12),
        .mtu = found.mtu,
    };
    mir_memcpy(value->mac, found.mac, sizeof value->mac);
    return 0;
}

static void clear_tail(struct mir_ip *ip, uint32_t len)
{
    if (len % 8 != 0)
        ip->bytes[len / 8] &= (uint8_t)(0xff00u >> len % 8);
    for (uint32_t i = (len + 7) / 8; i < 16; i++)
        ip->bytes[i] = 0;
}

int mir__nd6_parse_prefix(const struct mir__nd6_option *option, struct mir__nd6_prefix *value)
{
    const uint8_t *p = option->data;
    if (option->type != MIR__ND6_OPT_PREFIX || option->len != 30 || p[0] > 128)
        return -MIR_EMALFORMED;
    *value = (struct mir__nd6_prefix){
        .prefix = get_ip(p + 14),
        .len = p[0],
        .is_on_link = (p[1] & 0x80) != 0,
        .is_autonomous = (p[1] & 0x40) != 0,
        .valid_s = mir_get_be32(p + 2),
        .preferred_s = mir_get_be32(p + 6),
    };
    clear_tail(&value->prefix, value->len);
    return 0;
}

int mir__nd6_parse_route(const struct mir__nd6_option *option, struct mir__nd6_route *value)
{
    const uint8_t *p = option->data;
    if (option->type != MIR__ND6_OPT_ROUTE || option->len > 22 || p[0] > 128)
        return -MIR_EMALFORMED;
    size_t prefix_bytes = option->len - 6;
    if (prefix_bytes * 8 < p[0] || preference_of(p[1]) == INT8_MIN)
        return -MIR_EMALFORMED;
    *value = (struct mir__nd6_route){
        .len = p[0],
        .preference = preference_of(p[1]),
        .lifetime_s = mir_get_be32(p + 2),
    };
    mir_memcpy(value->prefix.bytes, p + 6, prefix_bytes);
    clear_tail(&value->prefix, value->len);
    return 0;
}

int mir__nd6_parse_redirect(const uint8_t *msg, size_t len, struct mir__nd6_redirect *value)
{
    struct common found;
    if (len < 40)
        return -MIR_ETRUNCATED;
    struct mir_ip destination = get_ip(msg + 24);
    if (msg[0] != MIR__ND6_REDIRECT || msg[1] != 0 || is_group(&destination))
        return -MIR_EMALFORMED;
    int r = walk(msg, len, 40, MIR__ND6_OPT_TARGET_MAC, &found);
    if (r < 0)
        return r;
    *value = (struct mir__nd6_redirect){
        .target = get_ip(msg + 8), .destination = destination, .has_mac = found.has_mac};
    mir_memcpy(value->mac, found.mac, sizeof value->mac);
    return 0;
}
