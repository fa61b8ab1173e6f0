/* SPDX-License-Identifier: ISC */
/* IPv6 autoconfiguration against neighbours, routers and servers that say anything at any time; and
 * the parsers under it: what they accept and we can write reads the same again.
 *
 *   bytes      op argument...
 *   op % 8     0  a message of discovery: who, type, length, bytes of the body
 *              1  a router's advertisement: length, bytes behind its type and code
 *              2  a listener message with a router alert: type, length, bytes
 *              3  a reply of DHCPv6 to the present question: length, bytes of options
 *              4  time goes on by 2^(argument % 36) us
 *              5  a packet of ours to one of 256 hosts on the link, or to one far away
 *              6  the link comes back, or a group is joined or left
 *              7  the parsers alone: length, bytes
 *
 * Checksums do not count here (MIR_FUZZING). After every step the tables are within their limits.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "lib/wire/dhcp6.h"
#include "lib/wire/domain.h"
#include "lib/wire/mld6.h"
#include "test/fuzz/input.h"
#include "test/harness/bed6.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)

static struct testbed bed;
static struct mir_udp *udp;
static uint32_t last_xid;

/* As many bytes as the next one says, copied behind @head so that reading too far is seen. */
static uint8_t *take_bytes(struct fuzz_input *in, const void *head, size_t head_len, size_t *len)
{
    size_t n = fuzz_u8(in);
    n = MIR_MIN(n, in->left);
    uint8_t *out = malloc(head_len + n + 1);
    REQUIRE(out != NULL);
    if (head_len > 0)
        memcpy(out, head, head_len);
    memcpy(out + head_len, in->at, n);
    in->at += n;
    in->left -= n;
    *len = head_len + n;
    return out;
}

/* Questions of DHCPv6 are answered with their own number. */
static bool on_tx(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    const uint8_t *p = frame->data + 14 + 40;
    if (frame->len >= 14 + 40 + 12 && frame->data[20] == MIR__PROTO_UDP &&
        mir_get_be16(p + 2) == 547)
        last_xid = mir_get_be32(p + 8) & 0xffffff;
    return true;
}

static const char *const hosts[] = {
    "fe80::1",     "fe80::2",     "fe80::ff:fe00:2", "::",
    "2001:db8::5", "2001:db8::2", "2001:db8:1::1",   "fe80::3",
};
static const char *const targets[] = {
    "ff02::1",
    "ff02::1:ff00:2",
    "fe80::ff:fe00:2",
    "2001:db8::2",
};

static void message(struct fuzz_input *in)
{
    uint8_t who = fuzz_u8(in), head[4] = {fuzz_u8(in)};
    size_t len;
    head[0] = (uint8_t)(head[0] % 8 < 5 ? 133 + head[0] % 8 : head[0]);
    head[1] = (uint8_t)(who >> 7 & fuzz_u8(in));
    uint8_t *msg = take_bytes(in, head, 4, &len);
    bed6_inject(&bed, testbed_peer_mac, hosts[who % 8], targets[who >> 3 & 3],
                who & 0x40 ? 64 : 255, MIR__IP6_ICMP, msg, len);
    free(msg);
}

static void advert(struct fuzz_input *in)
{
    static const uint8_t head[] = {134, 0, 0, 0};
    size_t len;
    uint8_t *msg = take_bytes(in, head, 4, &len);
    bed6_inject(&bed, testbed_peer_mac, "fe80::1", "ff02::1", 255, MIR__IP6_ICMP, msg, len);
    free(msg);
}

static void listener(struct fuzz_input *in)
{
    static const uint8_t types[] = {130, 131, 132, 143};
    const uint8_t head[] = {types[fuzz_u8(in) % 4], 0, 0, 0};
    size_t len;
    uint8_t *msg = take_bytes(in, head, 4, &len);
    bed6_inject_alert(&bed, "fe80::1", "ff02::1", 1, msg, len);
    free(msg);
}

static void reply(struct fuzz_input *in)
{
    uint8_t head[8 + 4 + 28] = {2, 0x23, 2, 0x22, 0, 0, 0, 0, 7};
    static const uint8_t identities[] = {0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 2,
                                         0, 2, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 1};
    size_t len;
    mir_put_be32(head + 8, 7u << 24 | last_xid);
    memcpy(head + 12, identities, sizeof identities);
    uint8_t *msg = take_bytes(in, head, sizeof head, &len);
    mir_put_be16(msg + 4, (uint16_t)len);
    bed6_inject(&bed, testbed_peer_mac, "fe80::1", "fe80::ff:fe00:2", 64, MIR__PROTO_UDP, msg, len);
    free(msg);
}

static void speak(struct fuzz_input *in)
{
    struct mir_endpoint to = {.ip = bed6_ip("2001:db8::1:0"), .port = 9};
    uint8_t host = fuzz_u8(in);
    to.ip.bytes[15] = host;
    if (host & 1)
        to.ip.bytes[4] = 0xff;
    (void)mir_udp_send(udp, &to, "x", 1);
    testbed_run(&bed);
}

static void disturb(struct fuzz_input *in)
{
    uint8_t what = fuzz_u8(in);
    struct mir_ip group = bed6_ip("ff05::");
    group.bytes[15] = what >> 2 & 15;
    if (what % 4 == 0)
        bed.dev.upper.link(bed.dev.upper.arg, true);
    else if (what % 4 == 1)
        mir__group_leave(&bed.net->ifaces[0], &group);
    else
        (void)(mir__group_join(&bed.net->ifaces[0], &group) < 0);
    testbed_run(&bed);
}

static void parsers(struct fuzz_input *in)
{
    struct mir__nd6_neighbour a, b;
    struct mir__mld6_query query;
    struct mir__dhcp6_reply dhcp;
    uint8_t out[MIR__ND6_NEIGHBOUR_MAX];
    char text[MIR__DOMAIN_TEXT_MAX];
    size_t len, at = 0;
    uint8_t *bytes = take_bytes(in, NULL, 0, &len);
    /* Exactly as long as the message: a byte too far is found. */
    uint8_t *exact = realloc(bytes, len > 0 ? len : 1);
    REQUIRE(exact != NULL);
    if (mir__nd6_parse_neighbour(exact, len, &a) == 0) {
        size_t n = mir__nd6_emit_neighbour(&a, out);
        REQUIRE(n <= sizeof out && mir__nd6_parse_neighbour(out, n, &b) == 0);
        REQUIRE(memcmp(&a, &b, sizeof a) == 0);
    }
    if (mir__mld6_parse_query(exact, len, &query) == 0)
        REQUIRE(query.version == 1 || query.version == 2);
    if (mir__dhcp6_parse_reply(exact, len, testbed_mac, &dhcp) == 0)
        REQUIRE(dhcp.server_count <= MIR__DHCP6_SERVERS_MAX && dhcp.domains_len <= len);
    while (mir__domain_next(exact, len, &at, text) > 0)
        REQUIRE(at <= len && strlen(text) < MIR__DOMAIN_TEXT_MAX);
    free(exact);
}

static void check_limits(void)
{
    const struct mir__iface *iface = &bed.net->ifaces[0];
    REQUIRE(iface->nd6.learned_count <= MIR__ND6_LEARNED_MAX);
    REQUIRE(iface->slaac.prefix_count <= MIR__SLAAC_PREFIXES_MAX);
    REQUIRE(iface->mtu6 >= 1280 && iface->mtu6 <= 1500 && iface->hops6 >= 32);
    REQUIRE(iface->nd6.times.retry_us >= 100 * MIR_US_PER_MS);
    REQUIRE(bed.net->ifaddr.v6_count <= 2 + MIR__SLAAC_PREFIXES_MAX * (1 + MIR__ND6_TEMP_MAX));
    REQUIRE(bed.net->dnsinfo.server_count <= MIR__DNSINFO_SERVERS_MAX);
    REQUIRE(bed.net->neigh.unresolved_count <= mir_pool_used(&bed.net->neigh.pool));
    REQUIRE(mir_pool_used(&bed.net->neigh.pool) <= 16);
}

static void step(struct fuzz_input *in)
{
    switch (fuzz_u8(in) % 8) {
    case 0:
        message(in);
        break;
    case 1:
        advert(in);
        break;
    case 2:
        listener(in);
        break;
    case 3:
        reply(in);
        break;
    case 4:
        testbed_advance(&bed, (mir_time_us)1 << (fuzz_u8(in) % 36));
        break;
    case 5:
        speak(in);
        break;
    case 6:
        disturb(in);
        break;
    default:
        parsers(in);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mir_net_prefix own = {.ip = bed6_ip("2001:db8::2"), .prefix_len = 64};
    struct mir_net_if_config interface = {
        .ip6 = MIR_IP6_AUTO, .ip6_temporary = true, .addresses = &own, .address_count = 1};
    struct mir_net_config config = {.arp_entries_max = 16};
    struct mir_endpoint any = {.port = 1000};
    struct fuzz_input in = {data, MIR_MIN(size, (size_t)4096)};
    testbed_init(&bed, 1, 2 << 20, 0);
    bed.dev.on_tx = on_tx;
    last_xid = 0;
    testbed_open_if(&bed, &config, &interface);
    REQUIRE(mir_udp_open(bed.stack, &any, NULL, NULL, &udp) == 0);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    for (uint32_t steps = 0; in.left > 0 && steps < 64; steps++) {
        step(&in);
        check_limits();
    }
    REQUIRE(testbed_close(&bed));
    return 0;
}
