/* SPDX-License-Identifier: ISC */
/* Several datagrams in one frame: joined and taken apart again they are what they were, what must
 * not be joined is not, and nonsense is refused.
 */
#include <stdlib.h>
#include <string.h>

#include <mirari/bytes.h>
#include <mirari/net.h>

#include "dev/net/vnet/bundle.h"
#include "lib/wire/csum.h"
#include "test/harness/tap.h"

#define ARENA ((size_t)8 << 20)

enum { ETH = 14, MANY = 200 };

static uint8_t arena[ARENA] MIR_ALIGNED(MIR_PAGE_SIZE);
static struct mir_page_pool pages;
static struct mir_buf_pool bufs;

/* A datagram of @len bytes 'a' + @n as the stack gives it to a device that completes checksums. */
static struct mir_buf *make(bool is_v4, uint16_t n, uint32_t len)
{
    uint32_t udp = ETH + (is_v4 ? 20u : 40u), total = udp + 8 + len;
    struct mir_buf *buf = mir_buf_alloc_page(&bufs, MIR_BUF_HEADROOM + total, MIR_BUF_HEADROOM);
    uint8_t *p = mir_buf_append(buf, total);
    memset(p, 0, udp + 8);
    memset(p, 2, 12);
    mir_put_be16(p + 12, is_v4 ? 0x0800 : 0x86dd);
    struct mir_ip src = {{0xfd, [15] = 1}}, dst = {{0xfd, [15] = 2}};
    if (is_v4) {
        src = mir_ip_from_v4(0x0a000001), dst = mir_ip_from_v4(0x0a000002);
        p[ETH] = 0x45;
        mir_put_be16(p + ETH + 2, (uint16_t)(total - ETH));
        mir_put_be16(p + ETH + 4, (uint16_t)(1000 + n));
        p[ETH + 8] = 64;
        p[ETH + 9] = 17;
        mir_put_be32(p + ETH + 12, 0x0a000001);
        mir_put_be32(p + ETH + 16, 0x0a000002);
        uint16_t sum = (uint16_t)~mir__csum_partial(p + ETH, 20);
        memcpy(p + ETH + 10, &sum, 2);
    } else {
        p[ETH] = 0x60;
        mir_put_be16(p + ETH + 4, (uint16_t)(8 + len));
        p[ETH + 6] = 17;
        p[ETH + 7] = 64;
        memcpy(p + ETH + 8, src.bytes, 16);
        memcpy(p + ETH + 24, dst.bytes, 16);
    }
    mir_put_be16(p + udp, 1111);
    mir_put_be16(p + udp + 2, 2222);
    mir_put_be16(p + udp + 4, (uint16_t)(8 + len));
    uint16_t sum = mir__csum_pseudo(&src, &dst, 17, 8 + len);
    memcpy(p + udp + 6, &sum, 2);
    memset(p + udp + 8, 'a' + n % 26, len);
    buf->flags = MIR_BUF_CSUM_PARTIAL;
    buf->csum_start = (uint16_t)udp;
    buf->csum_offset = 6;
    return buf;
}

static bool join(struct mir_buf **held, struct mir_buf *buf_given)
{
    bool is_joined = mir__bundle_join(&bufs, held, buf_given);
    mir_buf_release(buf_given);
    return is_joined;
}

/* The pieces of @all are datagrams @first.. of @len bytes, the last one of @last. */
static void check_pieces(const struct mir_buf *all, bool is_v4, uint32_t count, uint32_t len,
                         uint32_t last)
{
    struct mir__bundle bundle;
    check_int(mir__bundle_count(all), ==, count);
    if (!check(mir__bundle_open(&bundle, all)))
        return;
    for (uint32_t n = 0; n < count; n++) {
        struct mir_buf *piece = mir__bundle_next(&bundle, &bufs);
        struct mir_buf *was = make(is_v4, (uint16_t)n, n + 1 < count ? len : last);
        if (!check(piece != NULL))
            return;
        check_int(piece->len, ==, was->len);
        check_mem(piece->data, was->data, was->len);
        check_int(piece->flags, ==, was->flags);
        check_int(piece->csum_start, ==, was->csum_start);
        check_int(piece->gso_size, ==, 0);
        mir_buf_release(piece);
        mir_buf_release(was);
    }
    check(mir__bundle_next(&bundle, &bufs) == NULL);
    check_int(bundle.at, ==, all->len);
}

static void test_round_trip(bool is_v4)
{
    static const uint32_t sizes[] = {1, 16, 100, 1000, 1400};
    for (size_t i = 0; i < MIR_ARRAY_LEN(sizes); i++) {
        uint32_t len = sizes[i], count = 1;
        struct mir_buf *held = make(is_v4, 0, len);
        check(!mir__bundle_is(held));
        while (count < MANY && join(&held, make(is_v4, (uint16_t)count, len)))
            count++;
        check(mir__bundle_is(held));
        check_int(count, ==, MIR_MIN((65549u - held->csum_start - 8) / len, MIR__BUNDLE_MAX));
        check_pieces(held, is_v4, count, len, len);
        mir_buf_release(held);
    }
}

static void test_short_last(void)
{
    struct mir_buf *held = make(true, 0, 100);
    check(join(&held, make(true, 1, 100)));
    check(join(&held, make(true, 2, 37)));
    check(!join(&held, make(true, 3, 37)));
    check(!join(&held, make(true, 3, 100)));
    check_pieces(held, true, 3, 100, 37);
    mir_buf_release(held);
}

/* One byte of the second datagram's headers is another. */
static void test_unlike(void)
{
    static const struct {
        bool is_v4;
        uint8_t at;
        const char *what;
    } bytes[] = {
        {true, 0, "MAC"},        {true, ETH + 1, "TOS"},       {true, ETH + 6, "fragment"},
        {true, ETH + 8, "TTL"},  {true, ETH + 9, "protocol"},  {true, ETH + 15, "source"},
        {true, 37, "port"},      {false, ETH + 3, "flow"},     {false, ETH + 6, "next header"},
        {false, 30, "source 6"}, {false, ETH + 40, "port, 6"}, {true, ETH, "options"},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(bytes); i++) {
        struct mir_buf *held = make(bytes[i].is_v4, 0, 50), *other = make(bytes[i].is_v4, 1, 50);
        other->data[bytes[i].at] ^= 1;
        if (!check(!join(&held, other)))
            tap_note("%s", bytes[i].what);
        mir_buf_release(held);
    }
    struct mir_buf *held = make(true, 0, 50), *v6 = make(false, 1, 50), *done = make(true, 1, 50);
    check(!join(&held, v6));
    check(!join(&held, make(true, 1, 51)));
    check(!join(&held, make(true, 1, 0)));
    done->flags = 0; /* its checksum is there already */
    check(!join(&held, done));
    struct mir_buf *segment = make(true, 1, 50);
    segment->flags |= MIR_BUF_GSO_TCP4;
    check(!join(&held, segment));
    mir_buf_release(held);
}

static void test_refused(void)
{
    struct mir__bundle bundle;
    struct mir_buf *buf = make(true, 0, 50);
    buf->flags |= MIR_BUF_GSO_UDP;
    buf->gso_size = 10;
    check(mir__bundle_open(&bundle, buf));
    buf->csum_start++;
    check(!mir__bundle_open(&bundle, buf));
    buf->csum_start--;
    buf->data[ETH + 9] = 6;
    check(!mir__bundle_open(&bundle, buf));
    buf->data[ETH + 9] = 17;
    buf->data[ETH] = 0x4f; /* the UDP header would be elsewhere */
    check(!mir__bundle_open(&bundle, buf));
    buf->data[ETH] = 0x45;
    buf->gso_size = 0;
    check(!mir__bundle_open(&bundle, buf));
    buf->gso_size = 10;
    mir_buf_trim(buf, ETH + 20 + 8);
    check(!mir__bundle_open(&bundle, buf));
    mir_buf_trim(buf, ETH);
    check(!mir__bundle_open(&bundle, buf));
    mir_buf_release(buf);
}

static void test_no_memory(void)
{
    struct mir_buf *held = make(true, 0, 1000), *other = make(true, 1, 1000), *taken[4096];
    uint32_t count = 0;
    while (count < MIR_ARRAY_LEN(taken) &&
           (taken[count] =
                mir_buf_alloc_page(&bufs, (size_t)MIR_PAGE_RUN_MAX * MIR_PAGE_SIZE, 0)) != NULL)
        count++;
    check(!join(&held, other));
    check(!mir__bundle_is(held));
    while (count > 0)
        mir_buf_release(taken[--count]);
    mir_buf_release(held);
}

int main(void)
{
    tap_begin("dev_bundle");
    check_int(mir_page_pool_init(&pages, arena, ARENA), ==, 0);
    check_int(mir_buf_pool_init(&bufs, &pages, 8192), ==, 0);
    tap_case("IPv4: joined and taken apart, datagrams are what they were");
    test_round_trip(true);
    tap_case("IPv6: the same");
    test_round_trip(false);
    tap_case("a shorter datagram is the last");
    test_short_last();
    tap_case("what differs in more than length, checksum and identification stays alone");
    test_unlike();
    tap_case("what is no bundle of UDP is refused");
    test_refused();
    tap_case("without memory nothing is joined, and nothing lost");
    test_no_memory();
    check_int(mir_pool_used(&bufs.pool), ==, 0);
    mir_buf_pool_fini(&bufs);
    return tap_done();
}
