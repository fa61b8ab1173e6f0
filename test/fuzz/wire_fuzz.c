/* SPDX-License-Identifier: ISC */
/* Every parser of lib/wire: whatever parses can be emitted and parses to the same value again.
 *
 * The first byte chooses the protocol, the rest is the packet.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/net.h>

#include "lib/wire/arp.h"
#include "lib/wire/dhcp.h"
#include "lib/wire/eth.h"
#include "lib/wire/icmp4.h"
#include "lib/wire/ip4.h"
#include "lib/wire/tcp.h"
#include "lib/wire/udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                                                 \
    do {                                                                                           \
        if (!(x))                                                                                  \
            abort();                                                                               \
    } while (0)
#define REQUIRE_SAME(a, b) REQUIRE(memcmp(&(a), &(b), sizeof(a)) == 0)

static void fuzz_eth(const uint8_t *data, size_t size)
{
    struct mir__eth a, b;
    uint8_t out[18];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    if (mir__eth_parse(data, size, &a) < 0)
        return;
    /* A second tag cannot be emitted without the first. */
    if (!a.has_tag && a.type == MIR__ETH_TYPE_VLAN)
        abort();
    mir__eth_emit(&a, out);
    REQUIRE(memcmp(out, data, mir__eth_emit_len(&a)) == 0);
    REQUIRE(mir__eth_parse(out, mir__eth_emit_len(&a), &b) == 0);
    REQUIRE_SAME(a, b);
}

static void fuzz_arp(const uint8_t *data, size_t size)
{
    struct mir__arp a, b;
    uint8_t out[MIR__ARP_LEN];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    if (mir__arp_parse(data, size, &a) < 0)
        return;
    mir__arp_emit(&a, out);
    REQUIRE(memcmp(out, data, sizeof out) == 0);
    REQUIRE(mir__arp_parse(out, sizeof out, &b) == 0);
    REQUIRE_SAME(a, b);
}

static void fuzz_ip4(const uint8_t *data, size_t size)
{
    struct mir__ip4 a, b;
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    if (mir__ip4_parse(data, size, &a) < 0)
        return;
    uint8_t *out = calloc(1, a.total_len);
    REQUIRE(out != NULL);
    mir__ip4_emit(&a, out);
    REQUIRE(mir__ip4_checksum_ok(out));
    REQUIRE(mir__ip4_parse(out, a.total_len, &b) == 0);
    REQUIRE_SAME(a, b);
    free(out);
}

static void fuzz_icmp4(const uint8_t *data, size_t size)
{
    struct mir__icmp4 a, b;
    if (mir__icmp4_parse(data, size, &a) < 0)
        return;
    uint8_t *out = malloc(mir__icmp4_emit_len(&a));
    REQUIRE(out != NULL);
    mir__icmp4_emit(&a, out);
    REQUIRE(mir__icmp4_parse(out, mir__icmp4_emit_len(&a), &b) == 0);
    REQUIRE(a.type == b.type && a.code == b.code && a.rest == b.rest && a.data_len == b.data_len);
    REQUIRE(memcmp(a.data, b.data, a.data_len) == 0);
    free(out);
}

static void fuzz_udp(const uint8_t *data, size_t size)
{
    struct mir__udp a;
    uint8_t out[MIR__UDP_HEADER_LEN];
    if (mir__udp_parse(data, size, &a) < 0)
        return;
    mir__udp_emit(&a, out);
    REQUIRE(memcmp(out, data, sizeof out) == 0);
}

static void fuzz_dhcp(const uint8_t *data, size_t size)
{
    struct mir__dhcp a, b;
    uint8_t out[MIR__DHCP_EMIT_MAX];
    if (mir__dhcp_parse(data, size, &a) < 0)
        return;
    size_t len = mir__dhcp_emit(&a, out);
    if (len == 0)
        return; /* the texts together are too long */
    REQUIRE(mir__dhcp_parse(out, len, &b) == 0);
    REQUIRE_SAME(a, b);
}

static void fuzz_tcp(const uint8_t *data, size_t size)
{
    struct mir__tcp_header a, b;
    struct mir__tcp_options x, y;
    uint8_t out[60];
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    if (mir__tcp_header_parse(data, (uint32_t)size, &a) < 0)
        return;
    mir__tcp_header_emit(out, &a);
    memset(out + 20, 0, 40);
    REQUIRE(mir__tcp_header_parse(out, a.hdr_len, &b) == 0);
    REQUIRE_SAME(a, b);
    if (mir__tcp_options_parse(data + 20, a.hdr_len - 20u, &x) < 0 || mir__tcp_options_len(&x) > 40)
        return;
    uint32_t len = mir__tcp_options_emit(out, &x);
    REQUIRE(len <= 40 && len % 4 == 0 && len == mir__tcp_options_len(&x));
    REQUIRE(mir__tcp_options_parse(out, len, &y) == 0);
    REQUIRE(x.has_mss == y.has_mss && x.mss == y.mss && x.has_ts == y.has_ts &&
            x.tsval == y.tsval && x.tsecr == y.tsecr && x.has_wscale == y.has_wscale &&
            x.wscale == y.wscale);
}

static void fuzz_text(const uint8_t *data, size_t size)
{
    struct mir_ip a, b;
    char out[MIR_IP_TEXT_MAX];
    if (mir_ip_parse((const char *)data, size, &a) < 0)
        return;
    mir_ip_text(&a, out);
    REQUIRE(mir_ip_parse(out, strlen(out), &b) == 0);
    REQUIRE(mir_ip_equal(&a, &b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const fuzz[])(const uint8_t *, size_t) = {
        fuzz_eth, fuzz_arp, fuzz_ip4, fuzz_icmp4, fuzz_udp, fuzz_dhcp, fuzz_tcp, fuzz_text,
    };
    if (size == 0)
        return 0;
    fuzz[data[0] % MIR_ARRAY_LEN(fuzz)](data + 1, size - 1);
    return 0;
}
