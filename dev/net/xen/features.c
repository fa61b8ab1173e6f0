/* SPDX-License-Identifier: ISC */
/* What frontend and backend of a Xen network interface say of themselves, in the store.
 *
 *   backend says   feature-rx-copy feature-sg feature-gso-tcpv4 -tcpv6 feature-no-csum-offload
 *                  feature-ipv6-csum-offload mtu
 *   toolstack      mac trusted (beside ours)
 *   we say         tx-ring-ref rx-ring-ref event-channel request-rx-copy feature-rx-notify
 *                  feature-sg feature-gso-tcpv4 -tcpv6 feature-no-csum-offload
 *                  feature-ipv6-csum-offload
 *
 * One pair of rings and one event channel for both: there is one thread. These functions see the
 * store only, so whatever it holds, they can be tried with it.
 *
 * A checksum can be left to the backend for both families or for none, as the stack knows it; and
 * segmentation needs it and packets of several slots.
 *
 * Source: public/io/netif.h.
 */
#include <mirari/format.h>

#include "dev/net/xen/internal.h"

#define MTU_MIN     576u
#define MTU_DEFAULT 1500u

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "00:16:3e:01:02:03", of a host. */
static int parse_mac(const char *text, uint8_t mac[6])
{
    for (uint32_t i = 0; i < 6; i++, text += 3) {
        int high = hex_of(text[0]);
        int low = high >= 0 ? hex_of(text[1]) : -1;
        if (low < 0 || text[2] != (i < 5 ? ':' : '\0'))
            return -MIR_EPROTO;
        mac[i] = (uint8_t)(high << 4 | low);
    }
    return mac[0] & 1 ? -MIR_EPROTO : 0;
}

static bool has(const struct mir_xen_device *device, const char *name)
{
    return mir__xen_get(device->xen, device->back, name, 1, 0) == 1;
}

int mir__netfront_features_read(const struct mir_xen_device *device,
                                struct mir__netfront_features *features)
{
    char path[96], text[18] = "";
    mir_format(path, sizeof path, "%s/mac", device->front);
    if (device->xen->ops->read(device->xen, path, text, sizeof text) < 0 ||
        parse_mac(text, features->mac) < 0)
        return -MIR_EPROTO;
    features->has_copy = has(device, "feature-rx-copy");
    features->has_sg = has(device, "feature-sg");
    features->has_gso4 = has(device, "feature-gso-tcpv4");
    features->has_gso6 = has(device, "feature-gso-tcpv6");
    features->has_csum4 = !has(device, "feature-no-csum-offload");
    features->has_csum6 = has(device, "feature-ipv6-csum-offload");
    features->is_trusted = mir__xen_get(device->xen, device->front, "trusted", 1, 1) == 1;
    uint32_t mtu = mir__xen_get(device->xen, device->back, "mtu", UINT16_MAX, MTU_DEFAULT);
    if (mtu < MTU_MIN || (mtu > MTU_DEFAULT && !features->has_sg))
        mtu = MTU_DEFAULT;
    features->mtu = (uint16_t)mtu;
    return 0;
}

void mir__netfront_features_caps(const struct mir__netfront_features *features, bool is_plain,
                                 struct mir_net_dev_info *info)
{
    bool has_csum = features->has_csum4 && features->has_csum6 && !is_plain;
    bool has_gso = has_csum && features->has_sg;
    mir_memcpy(info->mac, features->mac, sizeof info->mac);
    info->mtu = features->mtu;
    info->caps = features->has_sg ? MIR_NET_TX_SG : 0u;
    info->caps |= has_csum ? MIR_NET_TX_CSUM : 0u;
    info->caps |= has_gso && features->has_gso4 ? MIR_NET_TX_TSO4 : 0u;
    info->caps |= has_gso && features->has_gso6 ? MIR_NET_TX_TSO6 : 0u;
    info->caps |= is_plain ? 0u : MIR_NET_RX_CSUM | MIR_NET_RX_GRO;
    info->gso_max = info->caps & (MIR_NET_TX_TSO4 | MIR_NET_TX_TSO6) ? MIR__NETFRONT_FRAME_MAX : 0;
}

int mir__netfront_features_write(const struct mir_xen_device *device, const uint32_t ring_ref[2],
                                 uint32_t port, bool is_plain)
{
    uint32_t offers = is_plain ? 0 : 1;
    const struct {
        const char *name;
        uint32_t value;
    } keys[] = {
        {"tx-ring-ref", ring_ref[0]},
        {"rx-ring-ref", ring_ref[1]},
        {"event-channel", port},
        {"request-rx-copy", 1},
        {"feature-rx-notify", 1},
        {"feature-sg", 1},
        {"feature-gso-tcpv4", offers},
        {"feature-gso-tcpv6", offers},
        {"feature-no-csum-offload", 1 - offers},
        {"feature-ipv6-csum-offload", offers},
    };
    int r = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(keys) && r == 0; i++)
        r = mir__xen_put(device->xen, device->front, keys[i].name, keys[i].value);
    return r;
}
