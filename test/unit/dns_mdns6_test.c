/* SPDX-License-Identifier: ISC */
/* The multicast DNS responder on a link without IPv4: the group ff02::fb. */
#include <string.h>

#include <mirari/mdns.h>

#include "lib/wire/dns.h"
#include "test/harness/bed6.h"
#include "test/harness/tap.h"

static struct testbed bed;

/* The next message to the group; its address records are looked at. */
static struct {
    bool is_response, has_own;
    uint32_t ttl_s;
} heard;

static bool next_message(void)
{
    const struct mir_ip group = bed6_ip("ff02::fb"), own = bed6_ip(BED6_OWN_LL);
    const struct testdev_frame *frame;
    struct mir__dns_reader reader;
    struct mir__dns_record record;
    struct mir_dns_rdata rdata;
    do
        frame = testdev_next(&bed.dev);
    while (frame != NULL && (mir_get_be16(frame->data + 12) != 0x86dd || frame->data[20] != 17 ||
                             memcmp(frame->data + 38, group.bytes, 16) != 0));
    if (frame == NULL)
        return false;
    const uint8_t mac[6] = {0x33, 0x33, 0, 0, 0, 0xfb};
    check_mem(frame->data, mac, 6);
    check_int(frame->data[21], ==, 255); /* hop limit */
    check_int(mir_get_be16(frame->data + 54), ==, 5353);
    check_int(mir_get_be16(frame->data + 56), ==, 5353);
    check_int(mir__dns_read(&reader, frame->data + 62, frame->len - 62), ==, 0);
    memset(&heard, 0, sizeof heard);
    heard.is_response = (reader.flags & MIR__DNS_QR) != 0;
    while (mir__dns_read_record(&reader, &record) == 0) {
        check(record.type != MIR_DNS_A);
        if (record.type == MIR_DNS_AAAA && mir__dns_read_rdata(&reader, &record, &rdata) == 0 &&
            mir_ip_equal(&rdata.ip, &own)) {
            heard.has_own = true;
            heard.ttl_s = record.ttl_s;
        }
    }
    return true;
}

static void test_life(void)
{
    static const uint8_t query[] = "\x14\xe9\x14\xe9\0\x26\0\0" /* UDP: ports, length */
                                   "\0\0\0\0\0\1\0\0\0\0\0\0\6mirari\5local\0\0\x1c\0\1";
    struct mir_mdns *mdns;
    uint32_t probes = 0, responses = 0;
    bed6_open(&bed, MIR_IP6_LINK_LOCAL);
    const struct mir_mdns_config config = {.stack = bed.stack, .rng = &bed.rng, .host = "mirari"};
    check_int(mir_mdns_open(&config, &mdns), ==, 0);
    tap_case("three probes and two announcements with the link-local address, and no IPv4");
    for (int i = 0; i < 100; i++) {
        testbed_advance(&bed, 100 * MIR_US_PER_MS);
        while (next_message()) {
            *(heard.is_response ? &responses : &probes) += 1;
            check(heard.has_own);
            check_int(heard.ttl_s, ==, 120);
        }
    }
    check_int(probes, ==, 3);
    check_int(responses, ==, 2);
    tap_case("a question to the group is answered to the group");
    bed6_inject(&bed, testbed_peer_mac, BED6_PEER_LL, "ff02::fb", 255, 17, query, 38);
    testbed_advance(&bed, MIR_US_PER_MS);
    check(next_message());
    check(heard.is_response && heard.has_own);
    check(!next_message());
    tap_case("goodbye");
    mir_mdns_close(mdns);
    testbed_advance(&bed, MIR_US_PER_MS);
    check(next_message());
    check(heard.has_own);
    check_int(heard.ttl_s, ==, 0);
    testbed_close(&bed);
}

int main(void)
{
    tap_begin("dns_mdns6");
    test_life();
    return tap_done();
}
