/* SPDX-License-Identifier: ISC */
/* Two stacks joined by a wire in memory, under one virtual clock: small whole-stack tests of TCP.
 *
 *   tcp_pair_open(&pair, &config);                sides 10.0.0.1 and 10.0.0.2
 *   ... listen on pair.side[0].stack, connect from pair.side[1].stack ...
 *   tcp_pair_run(&pair, 10 * MIR_US_PER_S);       moves time from event to event
 *   tcp_pair_close(&pair);                        checks with tap that nothing is left
 *
 * Faults hit IPv4 frames only, so that ARP is not what is tested.
 */
#ifndef TEST_TCP_PAIR_H
#define TEST_TCP_PAIR_H

#include <mirari/dev_net.h>
#include <mirari/net.h>
#include <mirari/rng.h>

struct tcp_pair_config {
    uint64_t seed;
    uint32_t delay_us; /**< one way; 0 = 1000 */
    uint32_t loss_ppm; /**< of frames */
    uint32_t dup_ppm;
    uint32_t reorder_ppm;      /**< held back by up to ten delays */
    uint32_t caps;             /**< of both devices */
    uint32_t tx_room;          /**< frames a device holds until the next delivery; 0 = no limit */
    uint32_t slot_us;          /**< with tx_room: it sends one in so many microseconds instead */
    uint16_t mtu;              /**< 0 = 1500 */
    size_t memory_bytes;       /**< 0 = 32 MiB, shared by both */
    struct mir_net_config net; /**< limits */
};

struct tcp_pair;

struct tcp_pair_frame {
    struct tcp_pair_frame *next;
    mir_time_us at_us;
    struct mir_buf *buf;
};

struct tcp_pair_side {
    struct mir_net_dev dev;
    struct tcp_pair *pair;
    struct tcp_pair_side *peer;
    struct mir_net_upper upper;
    struct mir_timer timer;
    struct tcp_pair_frame *inbox; /* by time */
    uint32_t sent_since_room;
    bool was_full, is_stuck; /* nothing leaves the device */
    struct mir_timer room_timer;
    mir_time_us slot_at_us;
    struct mir_buf_queue ring; /* with slot_us */
    uint64_t refused;          /* frames for which there was no place */
    struct mir_net *net;
    struct mir_stack *stack;
    struct mir_ip ip;
    uint64_t frames, bytes, lost;
};

struct tcp_pair {
    struct tcp_pair_config config;
    uint8_t *arena;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir_rng rng;
    mir_time_us now_us;
    struct tcp_pair_side side[2];
    bool stop;   /**< set by a handler: tcp_pair_run returns */
    bool is_cut; /**< everything is lost */
    /** Called for each IPv4 frame; true drops it. */
    bool (*drop)(void *arg, int from, const struct mir_buf *buf);
    void *drop_arg;
};

void tcp_pair_open(struct tcp_pair *pair, const struct tcp_pair_config *config);
/** Run for @span_us of virtual time, or until @pair->stop. Returns pair->stop, and clears it. */
bool tcp_pair_run(struct tcp_pair *pair, mir_time_us span_us);
/** Statistics of one side by name, TCP's without the "tcp_"; UINT64_MAX = no such name. */
uint64_t tcp_pair_stat(struct tcp_pair *pair, int side, const char *name);
bool tcp_pair_close(struct tcp_pair *pair);

#endif
