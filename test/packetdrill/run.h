/* SPDX-License-Identifier: ISC */
/* A script being run: the host, the connections it plays, calls that block. */
#ifndef TEST_PACKETDRILL_RUN_H
#define TEST_PACKETDRILL_RUN_H

#include "target/packetdrill/px.h"
#include "test/harness/stacks.h"
#include "test/packetdrill/script.h"

#define PD_FDS_MAX     64u
#define PD_PEERS_MAX   32u
#define PD_STAMPS_MAX  128u
#define PD_BLOCKED_MAX 8u

/** Addresses and ports of a packet. */
struct pd_flow {
    bool is_v6;
    struct mir_ip src, dst;
    uint16_t src_port, dst_port;
};

/** The IP packet into [65536] bytes; returns its length. */
uint32_t pd_packet_build(uint8_t *out, const struct pd_flow *flow, const struct pd_packet *packet);
/** Take an IP packet apart. Returns NULL, or what is wrong with it. */
const char *pd_packet_read(const uint8_t *ip, uint32_t len, struct pd_flow *flow,
                           struct pd_packet *packet);

enum pd_peer_kind { PD_LISTENER, PD_PASSIVE, PD_ACTIVE, PD_DATAGRAMS };

/** One tuple the script talks to: a connection, or a listener that waits for one. */
struct pd_peer {
    enum pd_peer_kind kind;
    int fd;                               /* of the script; -1 = not accepted */
    uint16_t local_port, remote_port;     /* on the wire; local 0: not known yet */
    uint16_t script_local, script_remote; /* as the script numbers them; 0 = it does not */
    bool has_remote;                      /* the peer's SYN has been seen ... */
    uint32_t remote_offset;               /* ... with this number: the script counts from it */
    uint32_t local_offset;                /* our sequence numbers: wire minus script */
    bool has_stamp;
    uint32_t stamp_offset; /* our timestamps: wire minus script */
    struct {
        uint32_t script, wire;
    } stamp[PD_STAMPS_MAX]; /* seen so far, the youngest last */
    uint32_t stamps;
};

struct pd_run;

/** A call that blocks, in a task. */
struct pd_blocked {
    struct pd_run *run;
    const struct pd_event *event;
    struct mir_task *task;
    bool is_done;
    int64_t end_us; /* since the beginning */
    int64_t result;
};

struct pd_run {
    struct pd_script *script;
    const struct pd_settings *settings;
    struct px_host px;
    struct test_stacks stacks;
    mir_time_us start_us;
    struct mir_ip local_ip, remote_ip;
    int fd[PD_FDS_MAX]; /* script -> host; -1 = none */
    struct pd_peer peer[PD_PEERS_MAX];
    uint32_t peers;
    struct pd_peer *current;
    struct pd_blocked blocked[PD_BLOCKED_MAX];
    uint32_t blocked_count;
    /* A packet of the stack of which a part has been matched. */
    struct pd_packet rest;
    struct pd_flow rest_flow;
    mir_time_us rest_at_us;
    bool has_rest;
};

/** Note an error of @event. Returns false. */
bool pd_error(struct pd_run *run, const struct pd_event *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** Microseconds since the script began. */
static inline int64_t pd_now(const struct pd_run *run)
{
    return (int64_t)(run->px.now_us - run->start_us);
}
/** A new peer becomes the current one; NULL if there are too many. */
struct pd_peer *pd_peer_new(struct pd_run *run, enum pd_peer_kind kind);

/* call.c */
/** Make the call of @event; its result, or the negative errno. False: the script is wrong. */
bool pd_call_make(struct pd_run *run, const struct pd_event *event, int64_t *result);
/** Was it what the script says? */
bool pd_call_check(struct pd_run *run, const struct pd_event *event, int64_t result);

#endif
