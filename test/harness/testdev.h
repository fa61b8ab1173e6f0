/* SPDX-License-Identifier: ISC */
/* A network device in memory, and a bed to lay a whole stack on: for tests and fuzzers.
 *
 *   testdev   records what the stack sends (as linear copies) and injects what a test makes up
 *   testbed   arena, page and buffer pools, loop with a clock that only the test moves, random
 *             numbers from a seed, one testdev, and a stack on it
 *
 *   struct testbed bed;
 *   testbed_init(&bed, seed, 16 << 20, 0);
 *   testbed_open(&bed, NULL);                         10.0.0.2/24, gateway 10.0.0.1, peer's MAC
 * known testdev_inject(&bed.dev, frame, len); testbed_run(&bed); everything that is ready at this
 * time const struct testdev_frame *f = testdev_next(&bed.dev); testbed_advance(&bed, 3 *
 * MIR_US_PER_S);          timers fire at their own times testbed_close(&bed); checks that
 * everything was given back
 */
#ifndef TEST_TESTDEV_H
#define TEST_TESTDEV_H

#include <mirari/dev_net.h>
#include <mirari/net.h>
#include <mirari/rng.h>

/** A frame the stack has sent. */
struct testdev_frame {
    uint8_t *data; /* linear copy */
    uint32_t len;
    uint16_t flags; /* enum mir_buf_flags */
    uint16_t gso_size;
    uint16_t csum_start;
    uint16_t csum_offset;
    uint8_t frag_count; /* views it came with */
    struct testdev_frame *next;
};

struct testdev {
    struct mir_net_dev dev;
    struct mir_buf_pool *bufs;
    struct mir_net_upper upper;
    bool is_started;
    uint32_t room;       /* frames taken before -MIR_EAGAIN; UINT32_MAX = no limit */
    uint32_t queued;     /* recorded frames not yet taken by testdev_next() */
    uint32_t queued_max; /* later ones are counted and forgotten; 0 = none recorded at all */
    uint64_t forgotten;
    uint64_t flushes;
    struct mir_net_dev_stats stats;
    struct testdev_frame *first, *last, *current;
    /* Called for each frame before it is recorded, if set. Return true to keep it from the list. */
    bool (*on_tx)(void *arg, const struct testdev_frame *frame);
    void *on_tx_arg;
};

/** MAC 02:00:00:00:00:02. @caps enum mir_net_dev_caps; TSO gets a gso_max of 65,550. */
void testdev_init(struct testdev *dev, struct mir_buf_pool *bufs, uint16_t mtu, uint32_t caps);
void testdev_fini(struct testdev *dev);
/** A frame from the wire, then the end of the batch. False: no buffer for it, or not started. */
bool testdev_inject(struct testdev *dev, const void *frame, size_t len);
/** The same with buffer flags, without the end of the batch. */
bool testdev_inject_more(struct testdev *dev, const void *frame, size_t len, uint16_t flags);
void testdev_end_batch(struct testdev *dev);
/** The oldest recorded frame, removed; valid until the next call. NULL: none. */
const struct testdev_frame *testdev_next(struct testdev *dev);
/** Forget what was recorded. */
void testdev_clear(struct testdev *dev);

struct testbed {
    uint8_t *arena;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir_rng rng;
    struct testdev dev;
    struct mir_net *net;
    struct mir_stack *stack;
    mir_time_us now_us;
};

/** Our addresses and those of the peer that tests play. */
#define TESTBED_IP      0x0a000002u /* 10.0.0.2 */
#define TESTBED_PEER_IP 0x0a000001u /* 10.0.0.1, gateway too */
extern const uint8_t testbed_mac[6];
extern const uint8_t testbed_peer_mac[6];

/** Pools, loop (time 1,000 s), device with an MTU of 1500 and @caps; no stack yet. */
void testbed_init(struct testbed *bed, uint64_t seed, size_t memory_bytes, uint32_t caps);
/** Make the stack: @config may be NULL (limits by default; loop, pools and rng are filled in), the
 *  interface gets TESTBED_IP/24 and the peer as gateway. The peer's MAC is made known by an ARP
 *  exchange and announcements are cleared. */
void testbed_open(struct testbed *bed, const struct mir_net_config *config);
/** The same with addresses of the caller's choice, and nothing exchanged. */
void testbed_open_if(struct testbed *bed, const struct mir_net_config *config,
                     const struct mir_net_if_config *interface);
/** Run the loop at the present time until nothing is ready. */
void testbed_run(struct testbed *bed);
/** Move time by @delta_us, stopping at every timer on the way. */
void testbed_advance(struct testbed *bed, mir_time_us delta_us);
/** Close the stack if open and check with tap that pools and timers are back at zero. Returns true
 *  if they are. */
bool testbed_close(struct testbed *bed);

/** A counter of the stack by name, as mir_stack_ops.stats tells it; UINT64_MAX: no such name. */
uint64_t testbed_stat(struct testbed *bed, const char *name);

/* Frames from the peer to us: headers with right checksums around a payload. Return the length.
 * @out has room for everything. */
size_t testbed_make_ip(uint8_t *out, uint8_t protocol, const void *payload, size_t len);
size_t testbed_make_udp(uint8_t *out, uint16_t src_port, uint16_t dst_port, const void *payload,
                        size_t len);
/** Inject an ARP reply (op 2) or request (op 1) from the peer's address to ours. */
void testbed_inject_arp(struct testbed *bed, uint16_t op, uint32_t sender_ip,
                        const uint8_t sender_mac[6], uint32_t target_ip);

#endif
