/* SPDX-License-Identifier: ISC */
/* The middleware of several stacks with one address (dev/net/share): which frame goes to whom. */
#include <stdio.h>
#include <string.h>

#include "dev/net/share/share.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

#define STACKS 4u
#define OURS   1u

static struct testbed bed;
static struct mir_share share;
static uint32_t came;                     /* frames to our stack */
static uint32_t passed[STACKS], followed; /* to the others, to the successor */
static uint8_t last[2000];
static uint32_t last_len;

static void on_rx(void *arg, struct mir_buf *buf)
{
    (void)arg;
    came++;
    mir_buf_release(buf);
}

static void on_pass(void *arg, uint32_t to, const struct mir_buf *buf)
{
    (void)arg;
    last_len = mir_buf_total(buf);
    check(last_len <= sizeof last && mir_buf_copy_out(buf, 0, last, last_len) == 0);
    if (to == MIR_SHARE_SUCCESSOR)
        followed++;
    else if (check(to < STACKS && to != OURS))
        passed[to]++;
}

static void open_share(uint32_t count)
{
    const struct mir_net_upper upper = {.rx = on_rx};
    testbed_init(&bed, 1, 4 << 20, 0);
    struct mir_share_config config = {
        .inner = &bed.dev.dev, .index = count > 1 ? OURS : 0, .count = count, .pass = on_pass};
    mir_share_init(&share, &config);
    check_int(mir_net_dev_start(&share.wrap.dev, &upper), ==, 0);
}

static void close_share(void)
{
    mir_net_dev_stop(&share.wrap.dev);
    testbed_close(&bed);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static uint8_t frame[200];
static size_t frame_len;

static uint8_t *begin(uint16_t type, bool has_tag)
{
    memset(frame, 0, sizeof frame);
    memcpy(frame, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
    size_t at = 12;
    if (has_tag) {
        frame[12] = 0x81;
        frame[15] = 42;
        at = 16;
    }
    frame[at] = (uint8_t)(type >> 8);
    frame[at + 1] = (uint8_t)type;
    frame_len = at + 2;
    return frame + at + 2;
}

static void ip4(uint8_t protocol, uint16_t port, bool has_tag)
{
    uint8_t *ip = begin(0x0800, has_tag);
    ip[0] = 0x46; /* with four bytes of options */
    ip[9] = protocol;
    memcpy(ip + 12, "\12\0\0\1\12\0\0\2", 8);
    ip[24] = 0x30;
    ip[26] = (uint8_t)(port >> 8);
    ip[27] = (uint8_t)port;
    frame_len += 24 + 20;
}

static void ip6(uint8_t next, uint16_t port)
{
    uint8_t *ip = begin(0x86dd, false);
    ip[0] = 0x60;
    ip[6] = next;
    ip[23] = 1;
    ip[39] = 2;
    ip[42] = (uint8_t)(port >> 8);
    ip[43] = (uint8_t)port;
    frame_len += 40 + 20;
}

/* "ours", "all", "other N", "successor" or a mixture; one frame. */
static const char *fate(void)
{
    static char text[80];
    came = followed = 0;
    memset(passed, 0, sizeof passed);
    check(testdev_inject(&bed.dev, frame, frame_len));
    size_t at = (size_t)snprintf(text, sizeof text, "%s", came > 0 ? "ours" : "");
    for (uint32_t i = 0; i < STACKS; i++) {
        if (passed[i] > 0)
            at += (size_t)snprintf(text + at, sizeof text - at, " %u", i);
    }
    if (followed > 0)
        snprintf(text + at, sizeof text - at, " successor");
    return text;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_ports(void)
{
    for (unsigned turn = 0; turn < 4; turn++) {
        uint8_t protocol = turn & 1 ? 17 : 6;
        bool is_6 = turn & 2;
        tap_case("IPv%u, protocol %u: chosen ports tell whose a frame is", is_6 ? 6 : 4, protocol);
        for (unsigned port = MIR_SHARE_PORT_MIN; port < MIR_SHARE_PORT_MIN + 8; port++) {
            char want[20] = "ours";
            if (port % STACKS != OURS)
                snprintf(want, sizeof want, " %u", port % STACKS);
            if (is_6)
                ip6(protocol, (uint16_t)port);
            else
                ip4(protocol, (uint16_t)port, port & 1);
            check_str(fate(), want);
            if (port % STACKS != OURS && check_int(last_len, ==, frame_len))
                check_mem(last, frame, frame_len);
        }
        if (is_6)
            ip6(protocol, 80);
        else
            ip4(protocol, 80, false);
        check_str(fate(), "ours");
    }
}

static void test_news(void)
{
    tap_case("ARP: a reply is for all, a question for whom it came to");
    uint8_t *arp = begin(0x0806, false);
    frame_len += 28;
    arp[7] = 1;
    check_str(fate(), "ours");
    arp[7] = 2;
    check_str(fate(), "ours 0 2 3");
    frame_len = 21;
    check_str(fate(), "ours");
    tap_case("ICMP: errors and redirects are for all, an echo request is not");
    for (unsigned type = 0; type < 20; type++) {
        ip4(1, 80, false);
        frame[14 + 24] = (uint8_t)type;
        bool is_news = type == 3 || type == 5 || type == 11 || type == 12;
        check_str(fate(), is_news ? "ours 0 2 3" : "ours");
    }
    tap_case("ICMPv6: errors, advertisements and redirects are for all");
    for (unsigned type = 0; type < 256; type++) {
        ip6(58, 80);
        frame[14 + 40] = (uint8_t)type;
        bool is_news = (type >= 1 && type <= 4) || type == 134 || type == 136 || type == 137;
        check_str(fate(), is_news ? "ours 0 2 3" : "ours");
    }
}

static void test_lease(void)
{
    static const uint8_t ours[4] = {10, 0, 0, 2};
    tap_case("answers of a DHCP server go to stack 0");
    ip4(17, 68, true);
    frame[18 + 24] = 0;
    frame[18 + 25] = 67;
    check_str(fate(), " 0");
    frame[18 + 25] = 66;
    check_str(fate(), "ours");
    ip4(6, 68, false);
    frame[14 + 24] = 0;
    frame[14 + 25] = 67;
    check_str(fate(), "ours");
    tap_case("and a copy of what somebody says who claims the leased address");
    uint8_t *arp = begin(0x0806, false);
    frame_len += 28;
    arp[7] = 1;
    memcpy(arp + 14, ours, 4);
    check_str(fate(), "ours");
    mir_share_claim(&share, 0x0a000002);
    check_str(fate(), "ours 0");
    check_mem(last, frame, frame_len);
    arp[17] = 3;
    check_str(fate(), "ours");
    arp[17] = 2;
    frame_len--;
    check_str(fate(), "ours");
    frame_len++;
    mir_share_claim(&share, 0);
    check_str(fate(), "ours");
}

static void test_odd(void)
{
    tap_case("fragments, short frames and other types stay");
    ip4(6, 40000, false);
    frame[14 + 7] = 1;
    check_str(fate(), "ours");
    ip4(6, 40000, false);
    frame[14 + 6] = 0x20;
    check_str(fate(), "ours");
    for (size_t len = 14; len < 14 + 28; len++) {
        ip4(6, 40002, false);
        frame_len = len;
        check_str(fate(), "ours");
    }
    for (size_t len = 14; len < 14 + 44; len++) {
        ip6(6, 40002);
        frame_len = len;
        check_str(fate(), "ours");
    }
    ip4(6, 40002, true);
    frame_len = 17;
    check_str(fate(), "ours");
    ip4(6, 40002, false);
    frame[14] = 0x44;
    check_str(fate(), "ours");
    begin(0x1234, false);
    frame_len += 40;
    check_str(fate(), "ours");
}

static void test_given(void)
{
    struct mir_buf *buf = mir_buf_alloc(&bed.bufs, 0);
    tap_case("what another stack passes to us goes up, whatever it is");
    ip4(6, 40000, false);
    memcpy(mir_buf_append(buf, (uint32_t)frame_len), frame, frame_len);
    came = 0;
    mir_share_give(&share, buf);
    mir_share_give_end(&share);
    check_int(came, ==, 1);
    check_int(share.given, ==, 1);
}

static void test_leaving(void)
{
    struct mir_net_config config = {
        .loop = &bed.loop, .pages = &bed.pages, .bufs = &bed.bufs, .rng = &bed.rng};
    tap_case("a stack that leaves keeps its connections only");
    check_int(mir_net_open(&config, &bed.net), ==, 0);
    bed.stack = mir_net_stack(bed.net);
    mir_share_leave(&share, bed.net);
    ip4(6, 80, false);
    check_str(fate(), " successor");
    ip4(17, 80, false);
    check_str(fate(), " successor");
    ip4(6, 40000, false);
    check_str(fate(), " 0");
    begin(0x0806, false)[7] = 1;
    frame_len += 28;
    check_str(fate(), " successor");
    begin(0x0806, false)[7] = 2;
    frame_len += 28;
    check_str(fate(), "ours 0 2 3 successor");
    struct mir_buf *buf = mir_buf_alloc(&bed.bufs, 0);
    ip4(6, 80, false);
    memcpy(mir_buf_append(buf, (uint32_t)frame_len), frame, frame_len);
    came = followed = 0;
    mir_share_give(&share, buf);
    check_int(came, ==, 0);
    check_int(followed, ==, 1);
}

static void test_alone(void)
{
    tap_case("one stack alone gets everything");
    open_share(1);
    ip4(6, 40002, false);
    check_str(fate(), "ours");
    begin(0x0806, false)[7] = 2;
    frame_len += 28;
    check_str(fate(), "ours");
    check_int(share.passed + share.copied, ==, 0);
    close_share();
}

int main(void)
{
    tap_begin("dev_share");
    open_share(STACKS);
    test_ports();
    test_news();
    test_lease();
    test_odd();
    test_given();
    test_leaving();
    close_share();
    test_alone();
    return tap_done();
}
