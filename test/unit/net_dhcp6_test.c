/* SPDX-License-Identifier: ISC */
/* Stateless DHCPv6: when it is asked, what counts as an answer (lib/net/dhcp6.c). Simulated time.
 */
#include <string.h>

#include "lib/net/net_state.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

static struct testbed bed;
static struct bed6_message message;
static struct bed6_advert ra;

static void open_bed(uint8_t flags)
{
    bed6_open(&bed, MIR_IP6_AUTO);
    testbed_advance(&bed, 1100 * MIR_US_PER_MS);
    bed6_ra_begin(&ra, 1800);
    ra.data[5] = flags;
    bed6_ra_mac(&ra, testbed_peer_mac);
    bed6_ra_send(&bed, &ra);
    testdev_clear(&bed.dev);
}

/* The next Information-request. */
static bool next(void)
{
    while (bed6_next(&bed, 0, &message)) {
        if (message.protocol == MIR__PROTO_UDP && mir_get_be16(message.data + 2) == 547)
            return check_int(message.data[8], ==, 11) && check(message.checksum_ok);
    }
    return false;
}

struct answer {
    uint32_t xid;
    uint32_t refresh_s; /* 0: none */
    uint16_t status;
    const char *server;
    const char *src;
};

static void reply(const struct answer *answer)
{
    uint8_t msg[200] = {0};
    uint8_t *p = msg + 8;
    struct mir_ip ip = bed6_ip(answer->server);
    mir_put_be32(p, 7u << 24 | answer->xid);
    memcpy(p + 4, message.data + 8 + 4, 14); /* the client's option, as it was sent */
    memcpy(p + 18, "\x00\x02\x00\x0a\x00\x03\x00\x01\x02\x00\x00\x00\x00\x01", 14);
    memcpy(p + 32, "\x00\x17\x00\x10", 4);
    memcpy(p + 36, ip.bytes, 16);
    memcpy(p + 52,
           "\x00\x18\x00\x09\x03"
           "lab\x03"
           "org\x00",
           13);
    memcpy(p + 65, "\x00\x0d\x00\x02", 4);
    mir_put_be16(p + 69, answer->status);
    memcpy(p + 71, "\x00\x20\x00\x04", 4);
    mir_put_be32(p + 75, answer->refresh_s);
    size_t len = 8 + (answer->refresh_s != 0 ? 79 : 71);
    mir_put_be16(msg, 547);
    mir_put_be16(msg + 2, 546);
    mir_put_be16(msg + 4, (uint16_t)len);
    bed6_inject(&bed, testbed_peer_mac, answer->src, BED6_OWN_LL, 64, MIR__PROTO_UDP, msg, len);
}

static size_t servers(struct mir_ip out[4])
{
    return mir_net_dns_servers(bed.net, out, 4);
}

static void test_exchange(void)
{
    struct mir_ip ip[4];
    char domains[2][MIR_NET_DNS_DOMAIN_MAX];
    tap_case("no flag: nothing is asked");
    open_bed(0);
    testbed_advance(&bed, 10 * MIR_US_PER_S);
    check(!next());
    testbed_close(&bed);

    tap_case("flag O: asked within a second, from the link-local address to all servers");
    open_bed(0x40);
    testbed_advance(&bed, 1010 * MIR_US_PER_MS);
    check(next());
    bed6_check_ip(&message.src, BED6_OWN_LL);
    bed6_check_ip(&message.dst, "ff02::1:2");
    uint32_t xid = mir_get_be32(message.data + 8) & 0xffffff;
    tap_case("again after 1, 2, 4 seconds, the same exchange, the time told");
    testbed_advance(&bed, 8 * MIR_US_PER_S);
    unsigned count = 0;
    for (; next(); count++)
        check_int(mir_get_be32(message.data + 8) & 0xffffff, ==, xid);
    check_int(count, ==, 3);
    check_int(mir_get_be16(message.data + 8 + 22), >, 500);
    tap_case("answers to other questions, from afar, of failure: not believed");
    struct answer answer = {.xid = xid ^ 1, .server = "2001:db8::53", .src = BED6_PEER_LL};
    reply(&answer);
    answer.xid = xid;
    answer.src = "2001:db8::1";
    reply(&answer);
    answer.src = BED6_PEER_LL;
    answer.status = 1;
    reply(&answer);
    check_int(servers(ip), ==, 0);
    check_int(testbed_stat(&bed, "dhcp_ignored"), ==, 3);
    answer.status = 0;
    message.data[8 + 4 + 13] ^= 1; /* somebody else's identity */
    reply(&answer);
    message.data[8 + 4 + 13] ^= 1;
    check_int(testbed_stat(&bed, "dhcp_malformed"), ==, 1);
    check_int(servers(ip), ==, 0);
    tap_case("the answer: name server and domain, then quiet for ten minutes at least");
    answer.refresh_s = 60;
    reply(&answer);
    check_int(servers(ip), ==, 1);
    bed6_check_ip(&ip[0], "2001:db8::53");
    check_int(mir_net_dns_domains(bed.net, domains, 2), ==, 1);
    check_str(domains[0], "lab.org");
    bed6_ra_send(&bed, &ra);
    testbed_advance(&bed, 599 * MIR_US_PER_S);
    check(!next());
    tap_case("asked again then, in another exchange; a new server takes the place of the old");
    testbed_advance(&bed, 2 * MIR_US_PER_S);
    check(next());
    check(xid != (mir_get_be32(message.data + 8) & 0xffffff));
    check_int(servers(ip), ==, 1);
    answer.xid = mir_get_be32(message.data + 8) & 0xffffff;
    answer.server = "2001:db8::54";
    reply(&answer);
    check_int(servers(ip), ==, 1);
    bed6_check_ip(&ip[0], "2001:db8::54");
    tap_case("nobody refreshes it: forgotten");
    testbed_advance(&bed, 700 * MIR_US_PER_S);
    check_int(servers(ip), ==, 0);
    check(next());
    testbed_close(&bed);
}

static void test_patience(void)
{
    open_bed(0x80);
    tap_case("a server that is not there: at most once an hour in the end");
    testbed_advance(&bed, 3 * 3600 * MIR_US_PER_S);
    testdev_clear(&bed.dev);
    testbed_advance(&bed, 8 * 3600 * MIR_US_PER_S);
    unsigned count = 0;
    while (next())
        count++;
    check(count >= 7 && count <= 9);
    testbed_close(&bed);
}

static void test_long_refresh(void)
{
    struct mir_ip ip[4];
    open_bed(0x40);
    testbed_advance(&bed, 1010 * MIR_US_PER_MS);
    check(next());
    tap_case("a refresh time just below infinity does not wrap to nothing");
    struct answer answer = {.xid = mir_get_be32(message.data + 8) & 0xffffff,
                            .refresh_s = UINT32_MAX - 59,
                            .server = "2001:db8::53",
                            .src = BED6_PEER_LL};
    reply(&answer);
    check_int(servers(ip), ==, 1);
    testbed_advance(&bed, 86400 * MIR_US_PER_S);
    check_int(servers(ip), ==, 1);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("net_dhcp6");
    test_exchange();
    test_patience();
    test_long_refresh();
    return tap_done();
}
