/* SPDX-License-Identifier: ISC */
/* A monitor that opens devices, and workers that are the appliance (--workers). Not public.
 *
 *   monitor.c   the monitor's life: starts workers, restarts, replaces and ends them
 *   keep.c      the devices it holds, and requests of the tool about them
 *   worker.c    a worker's side: takes devices at its start and later
 *   mesh.c      frames from worker to worker
 *   follow.c    one DHCP lease for all of them
 *   handover.c  what they say to each other
 */
#ifndef TARGET_UNIX_WORKERS_H
#define TARGET_UNIX_WORKERS_H

#include "dev/net/packet/packet.h"
#include "dev/net/tap/tap.h"
#include "target/unix/handover.h"
#include "target/unix/internal.h"

#define MIR__WORKERS_MAX 16u

/* ---- worker.c ------------------------------------------------------------------------------ */

struct mir__taken {
    char name[MIR__HANDOVER_NAME_MAX];
    uint8_t mac[6];
    uint16_t type;            /* enum mir__handover_type */
    struct mir_tap_host host; /* fd -1: in use; of another type fd, mtu and ifname only */
};

struct mir__inbox {
    struct mir_host_watch watch;
    struct mir__unix *u;
};

/* One network's way to the peers. */
struct mir__mesh_net {
    struct mir__worker *worker;
    uint32_t net;
};

struct mir__worker {
    unsigned index, count;
    struct mir_host_watch watch;
    struct mir__taken taken[MIR_APP_NETS_MAX]; /* at the start */
    uint32_t taken_count;
    bool is_second;              /* the taps are still read by the one that this replaces */
    int inbox;                   /* of the start, not listened to yet */
    int peers[MIR__WORKERS_MAX]; /* their inboxes */
    int successor;               /* that of the one that replaces us; -1: none */
    struct mir__inbox inboxes[2];
    uint32_t inbox_count;
    struct mir__mesh_net mesh[MIR_APP_NETS_MAX];
    struct mir__handover leases[MIR_APP_NETS_MAX]; /* LEASE, of the start */
    uint32_t lease_count;
    bool is_leading;                             /* has the DHCP client */
    struct mir__handover told[MIR_APP_NETS_MAX]; /* LEASE, as the monitor knows it */
    struct mir_timer leave_timer;
    mir_time_us leave_until_us;
    uint64_t lost; /* frames between workers */
};

/** Are we a worker? Before other descriptors are opened; then u->worker is set, and the
 *  descriptor of the monitor is the only one above the standard ones. Ends the process if what the
 *  parent says makes no sense. */
void mir__worker_begin(struct mir__unix *u);
/** Say hello and wait for the devices. Returns 0 or an error with a line in @error. */
int mir__worker_take_all(struct mir__unix *u, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** The device of a network of mode tap: one that the monitor has passed. */
int mir__worker_open_tap(struct mir__unix *u, struct mir__unix_net *net,
                         const struct mir_tap_config *config, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** The same for a network of mode packet. */
int mir__worker_open_packet(struct mir__unix *u, struct mir__unix_net *net,
                            const struct mir_packet_config *config,
                            char error[MIR__ERROR_MAX]) MIR_CHECK;
/** Running: listen to the monitor from now on. Returns 0 or -MIR_EIO. */
int mir__worker_run(struct mir__unix *u) MIR_CHECK;

/** A network that is in no manifest and no command line: @message says which, and how. Returns its
 *  index, or an error with a line in @error. */
int mir__worker_describe(struct mir__unix *u, const struct mir__handover *message,
                         char error[MIR__ERROR_MAX]) MIR_CHECK;

/** Ask the appliance to end, as by SIGTERM; once. */
void mir__worker_end(struct mir__unix *u, const char *why);

/* ---- follow.c ------------------------------------------------------------------------------- */

/** All messages of the start are there: does this worker lead? */
void mir__follow_begin(struct mir__worker *w);
/** A lease of the start. Returns 0 or -MIR_EPROTO (too many, one twice). */
int mir__follow_keep(struct mir__worker *w, const struct mir__handover *message) MIR_CHECK;
/** What the configuration of a network says about its lease; nothing if this is no worker. */
void mir__follow_configure(struct mir__unix *u, struct mir__unix_net *net);
/** News of a lease. */
void mir__follow_take(struct mir__unix *u, const struct mir__handover *message);
/** From now on this worker has the client, if it is the one for that, or has it no longer. */
void mir__follow_lead(struct mir__unix *u, bool leads);
/** Network @index goes, without its lease; or is there again. */
void mir__follow_detach(struct mir__unix *u, uint32_t index);
void mir__follow_attach(struct mir__unix *u, uint32_t index);
/** The task that tells the monitor; @arg is the process. */
void mir__follow_task(void *arg);

/* ---- mesh.c --------------------------------------------------------------------------------- */

struct mir_share;

/** A device around the tap of network @net that shares it with the other workers; @share is the
 *  caller's memory. */
struct mir_net_dev *mir__mesh_share(struct mir__unix *u, uint32_t net, struct mir_share *share,
                                    struct mir_net_dev *inner);
/** Read frames of the peers there; @fd is given. Returns 0, -MIR_ELIMIT or -MIR_EIO. */
int mir__mesh_listen(struct mir__unix *u, int fd) MIR_CHECK;
/** Take nothing new, pass it to @fd, which is given; end when no connection is left. */
void mir__mesh_leave(struct mir__unix *u, int fd);

/* ---- keep.c --------------------------------------------------------------------------------- */

/** A tap, or the sockets on an interface, that the monitor keeps for its workers. */
struct mir__kept {
    struct mir__handover message; /* DEVICE, as it is sent */
    int fds[MIR__WORKERS_MAX];    /* one queue for each worker */
};

struct mir__keep {
    unsigned workers;
    struct mir__handover leases[MIR_APP_NETS_MAX]; /* LEASE, as they are passed on */
    uint32_t lease_count;
    struct mir__kept taps[MIR_APP_NETS_MAX];
    uint32_t count;
    int inboxes[MIR__WORKERS_MAX][2]; /* frames for a worker: its end, the others' end */
    int channels[MIR__WORKERS_MAX][MIR_RPC_FULL + 1]; /* clients of its control channel, by role */
};

/** Is there nothing in the options that several workers cannot have? Returns 0, or -MIR_EINVAL with
 * a line in @error. */
int mir__keep_check(const struct mir__app_options *options, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** Room for the devices of so many workers. Returns 0 or -MIR_EIO. */
int mir__keep_open(struct mir__keep *keep, unsigned workers) MIR_CHECK;
/** Open a tap with a queue for each worker and keep it. */
int mir__keep_open_tap(struct mir__keep *keep, const struct mir__unix_net *net,
                       const struct mir_tap_config *config, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** The same with sockets on an interface that is there. */
int mir__keep_open_packet(struct mir__keep *keep, const struct mir__unix_net *net,
                          const struct mir_packet_config *config,
                          char error[MIR__ERROR_MAX]) MIR_CHECK;
/** Open the control channels of the options: at the path worker 0's, at PATH.1 that of worker 1,
 * and so on. Returns 0, or an error with a line. */
int mir__keep_open_channels(struct mir__keep *keep, const struct mir__app_options *options,
                            char error[MIR__ERROR_MAX]) MIR_CHECK;
struct mir__kept *mir__keep_find(struct mir__keep *keep, const char *name);
/** Remember what a worker says about a lease. Returns 0 or -MIR_ELIMIT. */
int mir__keep_lease(struct mir__keep *keep, const struct mir__handover *message) MIR_CHECK;
/** Send all leases to a worker. Returns 0 or as mir__handover_send(). */
int mir__keep_send_leases(const struct mir__keep *keep, int fd) MIR_CHECK;
/** Close the queues of a tap and forget it, its lease, too. */
void mir__keep_remove(struct mir__keep *keep, struct mir__kept *tap);
/** Everything that worker @index needs at its start, and that it was all. @inbox is for one that
 *  replaces another one, which goes on reading the taps for now; -1: none. */
int mir__keep_send_all(const struct mir__keep *keep, int fd, unsigned index, int inbox) MIR_CHECK;
/** Give everything back to the host. */
void mir__keep_close(struct mir__keep *keep);

/* ---- monitor.c ------------------------------------------------------------------------------ */

/** Be the monitor until the appliance has ended; returns the exit status. @argv as main() got it.
 */
int mir__monitor_run(struct mir__unix *u, char **argv);

#endif
