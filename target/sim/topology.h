/* SPDX-License-Identifier: ISC */
/* A network as text, as values, and as a running world.
 *
 *   text  --parse-->  struct mir__topo  --build-->  struct mir__world  --run-->  report
 *         <--emit---
 *
 * docs/howto/simulate.md describes the text; topo_parse.c has the grammar.
 */
#ifndef TARGET_SIM_TOPOLOGY_H
#define TARGET_SIM_TOPOLOGY_H

#include <stdio.h>

#include "target/sim/sim.h"

#define MIR__TOPO_NAME      32
#define MIR__TOPO_NODES_MAX 65536u
#define MIR__TOPO_NONE      UINT32_MAX

enum mir__topo_kind { MIR__TOPO_HOST, MIR__TOPO_ROUTER, MIR__TOPO_SWITCH };

struct mir__topo_node {
    char name[MIR__TOPO_NAME];
    enum mir__topo_kind kind;
    uint32_t memory_bytes; /* 0 = 8 MiB */
    uint32_t sndbuf, rcvbuf;
    uint32_t coalesce_us;
    int32_t drift_ppm;
    char congestion[16]; /* "" = the default */
    bool no_sack;
    bool has_offload; /* checksums and segmentation left to the device */
    bool has_ecn;     /* asks for congestion marks */
    bool advertises;  /* a router: hosts beside it configure IPv6 by what it says */
};

struct mir__topo_link {
    char name[MIR__TOPO_NAME];
    uint32_t end[2];
    uint16_t mtu; /* 0 = 1500 */
    struct mir_sim_wire_config way[2];
};

enum mir__topo_role {
    MIR__ROLE_SINK,   /* takes TCP data and datagrams */
    MIR__ROLE_ECHO,   /* sends back what comes */
    MIR__ROLE_WEB,    /* an HTTP server with one page */
    MIR__ROLE_SEND,   /* sends data to a sink */
    MIR__ROLE_ASK,    /* sends data to an echo and compares what comes back */
    MIR__ROLE_HTTP,   /* fetches pages, one after the other on each connection */
    MIR__ROLE_UDP,    /* sends datagrams to a sink */
    MIR__ROLE_ATTACK, /* a hostile peer, see hostile.c */
    MIR__ROLE_APP,    /* the appliance */
    MIR__ROLES
};
extern const char *const mir__topo_roles[MIR__ROLES];

struct mir__topo_job {
    uint32_t node;
    enum mir__topo_role role;
    uint32_t to;       /* node */
    uint16_t port;     /* 0 = that of the role */
    uint64_t bytes;    /* of a flow, a page or a datagram */
    uint32_t flows;    /* connections */
    uint32_t count;    /* requests of a connection; datagrams */
    uint32_t chunk;    /* bytes of one write */
    uint32_t rate;     /* of a slow reader, bytes a second; 0 = as fast as it comes */
    uint64_t start_us; /* from the beginning of the run */
    uint64_t every_us; /* between starts of flows, or datagrams */
    char kind[16];     /* of an attack */
    bool is_ip6;       /* over IPv6 */
};

enum mir__topo_change {
    MIR__TOPO_DOWN,
    MIR__TOPO_UP,
    MIR__TOPO_WIRE,
    MIR__TOPO_JUMP,
    MIR__TOPO_DRIFT
};

struct mir__topo_event {
    uint64_t at_us;
    enum mir__topo_change change;
    uint32_t target; /* link or node */
    int64_t value;   /* us of a jump, ppm of a drift */
    uint16_t mtu;    /* of a link; 0 = as it was */
    struct mir_sim_wire_config way[2];
};

struct mir__topo {
    struct mir__topo_node *nodes;
    struct mir__topo_link *links;
    struct mir__topo_job *jobs;
    struct mir__topo_event *events;
    uint32_t node_count, link_count, job_count, event_count;
    uint32_t node_room, link_room, job_room, event_room;
    uint64_t duration_us; /* 0: until everything has ended */
};

#define MIR__TOPO_ERROR_MAX 320

/**
 * mir__topo_parse() - a network from text.
 *
 * @file   its name, for errors
 * @error  out: "FILE:LINE: what is wrong", [MIR__TOPO_ERROR_MAX]; written only on an error
 *
 * Returns 0, -MIR_EINVAL or -MIR_ENOMEM; @topo is empty then.
 * Source  none
 */
int mir__topo_parse(const char *text, const char *file, struct mir__topo *topo,
                    char *error) MIR_CHECK;
/** Read a file and parse it. Returns as mir__topo_parse(), or -MIR_EIO. */
int mir__topo_load(const char *path, struct mir__topo *topo, char *error) MIR_CHECK;
/** Write it as text that parses to the same network. */
void mir__topo_emit(const struct mir__topo *topo, FILE *out);
int mir__topo_copy(const struct mir__topo *from, struct mir__topo *to) MIR_CHECK;
void mir__topo_free(struct mir__topo *topo);

/** One more, zeroed; NULL without memory. */
struct mir__topo_node *mir__topo_add_node(struct mir__topo *topo);
struct mir__topo_link *mir__topo_add_link(struct mir__topo *topo);
struct mir__topo_job *mir__topo_add_job(struct mir__topo *topo);
struct mir__topo_event *mir__topo_add_event(struct mir__topo *topo);

/* ---- a running network ------------------------------------------------------------------------
 */

struct mir__job;
struct mir__world;

/** A node of a world. */
struct mir__world_node {
    struct mir__world *world;
    const struct mir__topo_node *topo;
    struct mir_sim_node *host;
    struct mir_sim_router *router;
    struct mir_sim_switch *hub;
    struct mir_ip ip, ip6; /* of a host: the first; any = none */
    bool is_auto;          /* ip6 is what it made itself, known when the run begins */
    uint8_t prefix_len;
    struct mir_ip gateway;
    uint32_t idle_timers;   /* of a host that has nothing to do */
    uint8_t gateway_mac[6]; /* of the first router or host beside it: for hostile hosts */
};

/** How a world ended. */
struct mir__world_result {
    uint32_t started, done, failed, hung; /* flows of clients */
    uint32_t resets;                      /* of the failed */
    uint32_t wrong;                       /* data that was not what was sent, or not all of it */
    uint64_t bytes;                       /* that arrived */
    size_t left_bytes;                    /* pages nobody gave back */
    uint32_t not_idle;                    /* figures of stacks that should be 0 at the end */
    uint64_t violations;
    uint64_t hash, events, frames, watched;
    mir_time_us took_us;
    char first[200]; /* the first thing that went wrong, "" if nothing did */
};

struct mir__world {
    struct mir_sim *sim;
    const struct mir__topo *topo;
    struct mir__world_node *nodes;
    struct mir_sim_wire **wires;
    struct mir_sim_plug *(*plugs)[2];
    struct mir__job **jobs;
    struct mir__world_event *events;
    mir_time_us began_us;
    uint32_t ours; /* jobs still to be ended, clients only */
    /** Starts the appliance; NULL: there is none. Set between build and run. */
    int (*start_app)(void *arg, struct mir__world_node *node);
    void *app_arg;
    struct mir__world_result result;
};

/**
 * mir__world_build() - nodes, wires, addresses and routes of a network.
 *
 * @error  out: what is wrong, [MIR__TOPO_ERROR_MAX]; written only on -MIR_EINVAL
 *
 * Returns 0, -MIR_EINVAL (too many ports, no link), -MIR_ENOMEM. @topo is borrowed.
 * Source  none
 */
int mir__world_build(const struct mir__topo *topo, const struct mir_sim_config *config,
                     struct mir__world *world, char *error) MIR_CHECK;
/** Start the jobs and let it run until all clients have ended or @limit_us have passed; 0 = the
 *  network's own duration, or four hours. */
void mir__world_run(struct mir__world *world, uint64_t limit_us);
/** Stop servers, wait until stacks are at rest, close, look for what was left. */
void mir__world_close(struct mir__world *world);
/** Capture a link: "LINK=FILE". Returns 0, -MIR_ENOENT (no such link), -MIR_EIO. */
int mir__world_pcap(struct mir__world *world, const char *text) MIR_CHECK;
/** Addresses and routes, as text. */
void mir__world_describe(const struct mir__world *world, FILE *out);
/** Remember what went wrong first. */
void mir__world_complain(struct mir__world *world, const char *text);

/** Break a run on purpose (plant.c): "ack", "data", "leak", "crash". False: there is no such. */
bool mir__world_plant(struct mir__world *world, const char *name);

/* ---- role.c ------------------------------------------------------------------------------------
 */

/** Make and start the job at its time. Returns 0 or an error of the stack. */
int mir__job_start(struct mir__world *world, const struct mir__topo_job *topo,
                   struct mir__job **job) MIR_CHECK;
/** Clients: count what has not ended; servers: stop. */
void mir__job_stop(struct mir__job *job);
void mir__job_report(const struct mir__job *job, FILE *out);
void mir__job_free(struct mir__job *job);

/* ---- hostile.c ----------------------------------------------------------------------------------
 */

struct mir__hostile;
bool mir__hostile_is_kind(const char *kind);
int mir__hostile_start(struct mir__world *world, const struct mir__topo_job *topo,
                       struct mir__hostile **hostile) MIR_CHECK;
void mir__hostile_stop(struct mir__hostile *hostile);
void mir__hostile_free(struct mir__hostile *hostile);

#endif
