/* SPDX-License-Identifier: ISC */
/* Groups: sockets that join and leave, a querier that says anything, datagrams to groups and not.
 *
 *   bytes      op argument...
 *   op % 6     0  an IGMP message: length, that many bytes (in front: its type)
 *              1  time goes on by 2^(argument % 28) us
 *              2  a socket joins a group: argument has socket, group and source
 *              3  it leaves it
 *              4  a datagram to a group or an address: argument, source
 *              5  a socket is closed and opened again, connected or not
 *
 * A datagram may reach a socket only if the model here says that it is wanted: the meta data must
 * be those of the packet, the group one that the socket has joined, from a sender that it wants.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/net/net_state.h"
#include "test/fuzz/input.h"
#include "test/harness/testdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SOCKETS = 4, GROUPS = 8, SOURCES = 4 };

static struct testbed bed;
static struct mir_udp *sockets[SOCKETS];
static bool joined[SOCKETS][GROUPS][SOURCES]; /* source 0: every one */
static uint32_t sent_dst, sent_src;
static uint32_t frames;

static bool on_tx(void *arg, const struct testdev_frame *frame)
{
    (void)arg;
    (void)frame;
    frames++;
    return true;
}

static uint32_t group_of(uint32_t number)
{
    return number == 0 ? 0xe0000001u : 0xef000000u + number;
}

static uint32_t source_of(uint32_t number)
{
    return number == 0 ? 0 : 0x0a000010u + number;
}

static void on_datagram(struct mir_udp *udp, const struct mir_udp_meta *meta, struct mir_buf *buf,
                        void *arg)
{
    uint32_t socket = (uint32_t)(uintptr_t)arg;
    uint32_t dst = mir_ip_to_v4(&meta->to.ip), src = mir_ip_to_v4(&meta->from.ip);
    bool is_wanted = dst >> 28 != 0xe || dst == group_of(0);
    for (uint32_t g = 1; g < GROUPS && dst >> 28 == 0xe; g++) {
        for (uint32_t s = 0; s < SOURCES && dst == group_of(g); s++)
            is_wanted |= joined[socket][g][s] && (s == 0 || source_of(s) == src);
    }
    if (udp != sockets[socket] || !is_wanted || dst != sent_dst || src != sent_src ||
        meta->if_index != 1 || meta->to.port != 7 || meta->ttl != 64 || mir_buf_total(buf) != 5 ||
        meta->is_group != (dst >> 28 == 0xe || (dst & 0xff) == 0xff))
        abort();
    mir_buf_release(buf);
}

static void open_socket(uint32_t i, uint8_t how)
{
    struct mir_udp_config config = {
        .local = {.port = 7},
        .handler = on_datagram,
        .arg = (void *)(uintptr_t)i,
        .reuse_addr = true,
        .reuse_port = (how & 1) != 0,
    };
    struct mir_endpoint peer = {.ip = mir_ip_from_v4(source_of(how >> 1 & 3)), .port = 5};
    memset(joined[i], 0, sizeof joined[i]);
    if (mir_udp_open_config(bed.stack, &config, &sockets[i]) < 0)
        abort();
    if ((how & 8) && (how >> 1 & 3) != 0)
        (void)(mir_udp_connect(sockets[i], &peer) < 0); /* the pair may be connected already */
}

static void change(uint8_t argument, bool is_join)
{
    uint32_t i = argument & 3, g = argument >> 2 & 7, s = argument >> 5 & 3;
    struct mir_udp_group group = {.group = mir_ip_from_v4(group_of(g)), .if_index = 1};
    if (s != 0)
        group.source = mir_ip_from_v4(source_of(s));
    int r = is_join ? mir_udp_join(sockets[i], &group) : mir_udp_leave(sockets[i], &group);
    bool was_joined = joined[i][g][s];
    if (r == 0)
        joined[i][g][s] = is_join;
    if ((r == 0) == (was_joined == is_join))
        abort();
}

/* A frame of the peer with addresses of the test's choice. */
static void inject(uint8_t *frame, size_t len, uint32_t src, uint32_t dst)
{
    uint8_t *ip = frame + 14;
    const uint8_t mac[6] = {1, 0, 0x5e, dst >> 16 & 0x7f, dst >> 8 & 0xff, dst & 0xff};
    if (dst >> 28 == 0xe)
        memcpy(frame, mac, 6);
    else if ((dst & 0xff) == 0xff)
        memset(frame, 0xff, 6);
    mir_put_be32(ip + 12, src);
    mir_put_be32(ip + 16, dst);
    testdev_inject(&bed.dev, frame, len);
    testbed_run(&bed);
}

static void datagram(uint8_t argument, uint8_t source)
{
    uint8_t frame[100];
    size_t len = testbed_make_udp(frame, 5, 7, "hello", 5);
    sent_src = source_of(1 + source % 3);
    sent_dst = argument & 0x80 ? 0x0a000000u | (argument & 1 ? 0xff : 2) : group_of(argument % 9);
    inject(frame, len, sent_src, sent_dst);
}

static void igmp(struct fuzz_input *in)
{
    static const uint8_t types[] = {0x11, 0x11, 0x12, 0x16, 0x17, 0x22};
    uint8_t frame[400], msg[257] = {types[fuzz_u8(in) % sizeof types]};
    size_t len = fuzz_u8(in);
    len = MIR_MIN(len, in->left);
    memcpy(msg + 1, in->at, len);
    in->at += len;
    in->left -= len;
    size_t n = testbed_make_ip(frame, MIR__PROTO_IGMP, msg, len + 1);
    frame[14 + 8] = 1;
    inject(frame, n, TESTBED_PEER_IP, group_of(msg[5] % GROUPS));
}

static void step(struct fuzz_input *in)
{
    uint8_t argument;
    switch (fuzz_u8(in) % 6) {
    case 0:
        igmp(in);
        break;
    case 1:
        testbed_advance(&bed, 1ull << fuzz_u8(in) % 28);
        break;
    case 2:
        change(fuzz_u8(in), true);
        break;
    case 3:
        change(fuzz_u8(in), false);
        break;
    case 4:
        argument = fuzz_u8(in);
        datagram(argument, fuzz_u8(in));
        break;
    default:
        argument = fuzz_u8(in);
        mir_udp_close(sockets[argument & 3]);
        open_socket(argument & 3, argument >> 2);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, MIR_MIN(size, (size_t)4096)};
    testbed_init(&bed, 1, 1 << 20, 0);
    bed.dev.on_tx = on_tx;
    testbed_open(&bed, NULL);
    frames = 0;
    for (uint32_t i = 0; i < SOCKETS; i++)
        open_socket(i, 0);
    uint32_t steps = 0;
    mir_time_us begin_us = bed.now_us;
    for (; in.left > 0 && steps < 128; steps++)
        step(&in);
    /* No storms. */
    if (frames > 40 + 20 * steps + 40 * ((bed.now_us - begin_us) / MIR_US_PER_S + 1))
        abort();
    if (!testbed_close(&bed))
        abort();
    return 0;
}
