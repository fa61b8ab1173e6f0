/* SPDX-License-Identifier: ISC */
/* Messages of stateless DHCPv6 as values. The figure is in the header. */
#include "lib/wire/dhcp6.h"

enum {
    OPT_CLIENT_ID = 1,
    OPT_SERVER_ID = 2,
    OPT_ORO = 6,
    OPT_ELAPSED = 8,
    OPT_STATUS = 13,
    OPT_DNS = 23,
    OPT_DOMAINS = 24,
    OPT_REFRESH = 32,
    OPT_INF_MAX_RT = 83,
};

static void make_duid(const uint8_t mac[6], uint8_t duid[MIR__DHCP6_DUID_LEN])
{
    mir_put_be16(duid, 3);     /* DUID-LL */
    mir_put_be16(duid + 2, 1); /* Ethernet */
    mir_memcpy(duid + 4, mac, 6);
}

static uint8_t *begin_option(uint8_t *out, uint16_t code, uint16_t len)
{
    mir_put_be16(out, code);
    mir_put_be16(out + 2, len);
    return out + 4;
}

void mir__dhcp6_emit_request(uint32_t xid, const uint8_t mac[6], uint16_t elapsed_cs, uint8_t *out)
{
    static const uint16_t wanted[] = {OPT_DNS, OPT_DOMAINS, OPT_REFRESH, OPT_INF_MAX_RT};
    uint8_t *p = out + 4;
    mir_put_be32(out, (uint32_t)MIR__DHCP6_INFORMATION_REQUEST << 24 | (xid & 0xffffff));
    p = begin_option(p, OPT_CLIENT_ID, MIR__DHCP6_DUID_LEN);
    make_duid(mac, p);
    p = begin_option(p + MIR__DHCP6_DUID_LEN, OPT_ELAPSED, 2);
    mir_put_be16(p, elapsed_cs);
    p = begin_option(p + 2, OPT_ORO, sizeof wanted);
    for (size_t i = 0; i < MIR_ARRAY_LEN(wanted); i++)
        mir_put_be16(p + 2 * i, wanted[i]);
    MIR_ASSERT_OP(p + sizeof wanted - out, ==, (long)MIR__DHCP6_REQUEST_LEN);
}

static void take_servers(const uint8_t *data, size_t len, struct mir__dhcp6_reply *value)
{
    for (size_t i = 0; i < len / 16 && value->server_count < MIR__DHCP6_SERVERS_MAX; i++)
        mir_memcpy(value->servers[value->server_count++].bytes, data + 16 * i, 16);
}

static int take_option(uint16_t code, const uint8_t *data, size_t len, const uint8_t *duid,
                       struct mir__dhcp6_reply *value)
{
    uint32_t rt_s;
    switch (code) {
    case OPT_CLIENT_ID:
        return len == MIR__DHCP6_DUID_LEN && mir_memcmp(data, duid, len) == 0 ? 0 : -MIR_EMALFORMED;
    case OPT_SERVER_ID:
        return len >= 3 && len <= 130 ? 0 : -MIR_EMALFORMED; /* section 11.1 */
    case OPT_STATUS:
        if (len < 2)
            return -MIR_EMALFORMED;
        value->status = mir_get_be16(data);
        return 0;
    case OPT_DNS:
        if (len == 0 || len % 16 != 0)
            return -MIR_EMALFORMED;
        take_servers(data, len, value);
        return 0;
    case OPT_DOMAINS:
        value->domains = data;
        value->domains_len = (uint32_t)len;
        return 0;
    case OPT_REFRESH:
        if (len != 4)
            return -MIR_EMALFORMED;
        value->has_refresh = true;
        value->refresh_s = mir_get_be32(data);
        return 0;
    case OPT_INF_MAX_RT:
        if (len != 4)
            return -MIR_EMALFORMED;
        rt_s = mir_get_be32(data);
        value->inf_max_rt_s = rt_s >= 60 && rt_s <= 86400 ? rt_s : 0;
        return 0;
    default:
        return 0;
    }
}

int mir__dhcp6_parse_reply(const uint8_t *msg, size_t len, const uint8_t mac[6],
                           struct mir__dhcp6_reply *value)
{
    uint8_t duid[MIR__DHCP6_DUID_LEN];
    bool has_server = false, has_client = false;
    size_t at = 4;
    if (len < 4)
        return -MIR_ETRUNCATED;
    if (msg[0] != MIR__DHCP6_REPLY)
        return -MIR_EMALFORMED;
    struct mir__dhcp6_reply result = {.xid = mir_get_be32(msg) & 0xffffff};
    make_duid(mac, duid);
    while (at < len) {
        if (len - at < 4)
            return -MIR_ETRUNCATED;
        uint16_t code = mir_get_be16(msg + at);
        size_t option_len = mir_get_be16(msg + at + 2);
        at += 4;
        if (option_len > len - at)
            return -MIR_ETRUNCATED;
        if (take_option(code, msg + at, option_len, duid, &result) < 0)
            return -MIR_EMALFORMED;
        has_server |= code == OPT_SERVER_ID;
        has_client |= code == OPT_CLIENT_ID;
        at += option_len;
    }
    if (!has_server || !has_client)
        return -MIR_EMALFORMED;
    *value = result;
    return 0;
}
