/* SPDX-License-Identifier: ISC */
/* The bed of testdev.h: a stack on a testdev, with a clock that only the test moves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/page/poison.h"
#include "lib/wire/arp.h"
#include "lib/wire/csum.h"
#include "lib/wire/eth.h"
#include "lib/wire/ip4.h"
#include "lib/wire/udp.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

const uint8_t testbed_peer_mac[6] = {2, 0, 0, 0, 0, 1};

/* The arena of the bed closed last is used again: fuzzers make a bed for every input. */
static uint8_t *kept_arena;
static size_t kept_bytes;

static uint8_t *take_arena(size_t size_bytes)
{
    uint8_t *arena = kept_arena;
    kept_arena = NULL;
    if (arena != NULL && kept_bytes == size_bytes) {
        mir__unpoison(arena, size_bytes);
        return arena;
    }
    free(arena);
    arena = aligned_alloc(MIR_PAGE_SIZE, size_bytes);
    if (arena == NULL)
        abort();
    /* Memory that was never written must not leave: give it a face. */
    memset(arena, 0xa5, size_bytes);
    return arena;
}

void testbed_init(struct testbed *bed, uint64_t seed, size_t memory_bytes, uint32_t caps)
{
    memset(bed, 0, sizeof *bed);
    bed->arena = take_arena(memory_bytes);
    bed->now_us = 1000 * MIR_US_PER_S;
    MIR_ASSERT(mir_page_pool_init(&bed->pages, bed->arena, memory_bytes) == 0);
    MIR_ASSERT(mir_buf_pool_init(&bed->bufs, &bed->pages, 16384) == 0);
    mir_loop_init(&bed->loop, bed->now_us);
    mir_rng_init_u64(&bed->rng, seed);
    testdev_init(&bed->dev, &bed->bufs, 1500, caps);
}

void testbed_open_if(struct testbed *bed, const struct mir_net_config *config,
                     const struct mir_net_if_config *interface)
{
    struct mir_net_config c = {0};
    if (config != NULL)
        c = *config;
    c.loop = &bed->loop;
    c.pages = &bed->pages;
    c.bufs = &bed->bufs;
    c.rng = &bed->rng;
    int r = mir_net_open(&c, &bed->net);
    MIR_ASSERT_OP(r, ==, 0);
    bed->stack = mir_net_stack(bed->net);
    r = mir_net_add_interface(bed->net, &bed->dev.dev, interface);
    MIR_ASSERT_OP(r, ==, 0);
}

void testbed_open(struct testbed *bed, const struct mir_net_config *config)
{
    struct mir_net_if_config interface = {
        .ip = mir_ip_from_v4(TESTBED_IP),
        .prefix_len = 24,
        .gateway = mir_ip_from_v4(TESTBED_PEER_IP),
    };
    testbed_open_if(bed, config, &interface);
    testbed_advance(bed, 5 * MIR_US_PER_S);
    testbed_inject_arp(bed, MIR__ARP_REQUEST, TESTBED_PEER_IP, testbed_peer_mac, TESTBED_IP);
    testbed_run(bed);
    testdev_clear(&bed->dev);
}

void testbed_run(struct testbed *bed)
{
    mir_time_us next;
    for (int i = 0; i < 100000; i++) {
        mir_loop_step(&bed->loop, bed->now_us, &next);
        if (next > bed->now_us)
            return;
    }
    fprintf(stderr, "testbed: the loop never gets idle\n");
    abort();
}

void testbed_advance(struct testbed *bed, mir_time_us delta_us)
{
    mir_time_us end = bed->now_us + delta_us;
    mir_time_us next;
    for (;;) {
        testbed_run(bed);
        mir_loop_step(&bed->loop, bed->now_us, &next);
        if (next > end)
            break;
        bed->now_us = next > bed->now_us ? next : bed->now_us;
    }
    bed->now_us = end;
    testbed_run(bed);
}

bool testbed_close(struct testbed *bed)
{
    if (bed->net != NULL)
        mir_net_close(bed->net);
    bed->net = NULL;
    bool ok = check_int(mir_pool_used(&bed->bufs.pool), ==, 0);
    testdev_fini(&bed->dev);
    mir_buf_pool_fini(&bed->bufs);
    ok &= check_int(mir_page_pool_used_bytes(&bed->pages), ==, 0);
    ok &= check_int(bed->loop.timer_count, ==, 0);
    free(kept_arena);
    kept_arena = bed->arena;
    kept_bytes = bed->pages.arena_size;
    bed->arena = NULL;
    return ok;
}

struct stat_query {
    const char *name;
    uint64_t value;
};

static void take_stat(void *arg, const char *name, uint64_t value)
{
    struct stat_query *query = arg;
    if (strcmp(query->name, name) == 0)
        query->value = value;
}

uint64_t testbed_stat(struct testbed *bed, const char *name)
{
    struct stat_query query = {name, UINT64_MAX};
    bed->stack->ops->stats(bed->stack, take_stat, &query);
    return query.value;
}

size_t testbed_make_ip(uint8_t *out, uint8_t protocol, const void *payload, size_t len)
{
    struct mir__eth eth = {.type = MIR__ETH_TYPE_IP4};
    struct mir__ip4 ip = {
        .ttl = 64,
        .protocol = protocol,
        .total_len = (uint16_t)(MIR__IP4_HEADER_LEN + len),
        .src = TESTBED_PEER_IP,
        .dst = TESTBED_IP,
    };
    memcpy(eth.dst, testbed_mac, 6);
    memcpy(eth.src, testbed_peer_mac, 6);
    mir__eth_emit(&eth, out);
    mir__ip4_emit(&ip, out + MIR__ETH_HEADER_LEN);
    memmove(out + MIR__ETH_HEADER_LEN + MIR__IP4_HEADER_LEN, payload, len);
    return MIR__ETH_HEADER_LEN + MIR__IP4_HEADER_LEN + len;
}

size_t testbed_make_udp(uint8_t *out, uint16_t src_port, uint16_t dst_port, const void *payload,
                        size_t len)
{
    static uint8_t datagram[65536];
    struct mir_ip src = mir_ip_from_v4(TESTBED_PEER_IP), dst = mir_ip_from_v4(TESTBED_IP);
    struct mir__udp udp = {src_port, dst_port, (uint16_t)(MIR__UDP_HEADER_LEN + len), 0};
    mir__udp_emit(&udp, datagram);
    memcpy(datagram + MIR__UDP_HEADER_LEN, payload, len);
    uint16_t sum = mir__csum_add(mir__csum_partial(datagram, udp.len),
                                 mir__csum_pseudo(&src, &dst, 17, udp.len));
    uint16_t field = (uint16_t)~sum;
    if (field == 0)
        field = 0xffff;
    memcpy(datagram + MIR__UDP_CHECKSUM_AT, &field, sizeof field);
    return testbed_make_ip(out, 17, datagram, udp.len);
}

void testbed_inject_arp(struct testbed *bed, uint16_t op, uint32_t sender_ip,
                        const uint8_t sender_mac[6], uint32_t target_ip)
{
    uint8_t frame[MIR__ETH_HEADER_LEN + MIR__ARP_LEN];
    struct mir__eth eth = {.type = MIR__ETH_TYPE_ARP};
    struct mir__arp arp = {.op = op, .sender_ip = sender_ip, .target_ip = target_ip};
    memset(eth.dst, op == MIR__ARP_REQUEST ? 0xff : 0, 6);
    if (op != MIR__ARP_REQUEST) {
        memcpy(eth.dst, testbed_mac, 6);
        memcpy(arp.target_mac, testbed_mac, 6);
    }
    memcpy(eth.src, sender_mac, 6);
    memcpy(arp.sender_mac, sender_mac, 6);
    mir__eth_emit(&eth, frame);
    mir__arp_emit(&arp, frame + MIR__ETH_HEADER_LEN);
    testdev_inject(&bed->dev, frame, sizeof frame);
}
