/* SPDX-License-Identifier: ISC */
/* The control channel of an appliance: an RPC server with the methods every appliance has. Not
 * public: for targets, which carry its sessions.
 *
 *   control.c   the server; describe, stats, metrics, pages, shutdown
 *   talk.c      log, trace
 *   look.c      netstat, addr, link, route, neigh
 *   capture.c   tcpdump
 *   metrics.c   statistics as text for Prometheus
 *   mux.c       several sessions over one line of bytes, for machines; mux.h, line.h
 *   line.c      the frames on such a line
 */
#ifndef LIB_CONTROL_CONTROL_H
#define LIB_CONTROL_CONTROL_H

#include <mirari/app.h>
#include <mirari/log.h>
#include <mirari/net_look.h>
#include <mirari/rpc.h>

struct mir__control {
    struct mir_rpc_server server;
    struct mir_app *app;
    struct mir_net *net; /* NULL: none, or the host's */
    const char *target;
    mir_time_us started_us;
    uint64_t (*cpu_us)(void); /* time of CPUs used so far; NULL: not known */
    uint32_t worker, workers;
    struct mir_rpc_methods own, talk, look, capture;
    uint32_t level_holders; /* calls of trace that have set levels of the log */
    uint8_t levels_before[MIR_LOG_MODULE_COUNT]; /* the first of them */
};

struct mir__control_config {
    struct mir_app *app;
    struct mir_net *net;
    const char *target; /* static text */
    uint64_t (*cpu_us)(void);
    uint32_t worker, workers; /* which process of how many; 0, 0: it is one */
};

/** Make the server and add the methods; app->control is set. */
void mir__control_init(struct mir__control *control, const struct mir__control_config *config);
/** All sessions have been closed. */
void mir__control_fini(struct mir__control *control);

/* ---- for the files of this folder ------------------------------------------------------------ */

extern const struct mir_rpc_method mir__control_talk[];
extern const uint32_t mir__control_talk_count;
extern const struct mir_rpc_method mir__control_look[];
extern const uint32_t mir__control_look_count;
extern const struct mir_rpc_method mir__control_capture[];
extern const uint32_t mir__control_capture_count;

typedef void (*mir__control_line_fn)(void *arg, const char *name, uint64_t value);
/** All statistics, one after another. */
void mir__control_each_stat(struct mir__control *control, mir__control_line_fn line, void *arg);
/** Statistics in the text format of Prometheus into [size] bytes; what does not fit is left out
 *  line by line. Returns the length. */
size_t mir__control_metrics(struct mir__control *control, char *out, size_t size);

/** Name of the network that is interface @if_index, or "?". */
const char *mir__control_if_name(const struct mir__control *control, uint32_t if_index);
void mir__control_put_ip(struct mir_json_out *out, const char *name, const struct mir_ip *ip);

#endif
