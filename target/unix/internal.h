/* SPDX-License-Identifier: ISC */
/* What the files of target unix know of each other. Not public.
 *
 *   start.c      main(): parse, open devices, drop privileges, sandbox, stack, run, end
 *   devices.c    THE table: network mode -> implementation; middlewares; forwarded ports
 *   poll.c       epoll behind mirari/host.h; the loop's wait
 *   stacks.c     guarded stacks for tasks
 *   privilege.c  gives up root and capabilities
 *   sandbox.c    seccomp and Landlock
 *   recorder.c   what happened last, in a file that outlives the process
 *   crash.c      SIGSEGV and assertions (mir_platform_abort): what is printed before status 70
 *   log.c        log lines on stderr
 *   control.c    the control channel on Unix sockets
 *   signals.c    SIGINT, SIGTERM, SIGHUP: the end
 *   workers.h    one process that keeps devices and others that are the appliance (--workers)
 */
#ifndef TARGET_UNIX_INTERNAL_H
#define TARGET_UNIX_INTERNAL_H

#include <mirari/app.h>
#include <mirari/dev_net.h>
#include <mirari/host.h>
#include <mirari/record.h>
#include <sys/types.h>

#include "lib/app/options.h"
#include "dev/net/fault/fault.h"
#include "lib/control/control.h"

/* sysexits.h numbers, by which supervisors know a wrong command line and a crash. */
#define MIR__EXIT_USAGE       64
#define MIR__EXIT_UNAVAILABLE 69
#define MIR__EXIT_CRASH       70

#define MIR__ERROR_MAX 400u

/* ---- poll.c ------------------------------------------------------------------------------- */

struct mir__poll {
    struct mir_host_poll base; /* first */
    int epoll_fd;
    struct mir_clock *clock;
    struct mir_loop *loop; /* is told the time before events are delivered; may be NULL */
    struct mir_list hooks;
    uint32_t spin_us;
    uint32_t window_us; /* of it, as events come */
    mir_time_us last_event_us;
    struct mir_host_watch *device; /* the last that found something; looked at while spinning */
    struct mir_host_watch *eager;  /* looked at again before the host is asked */
    uint32_t eager_left;           /* so many times more */
    uint64_t waits, turns, sleeps, events;
    /* private: the batch that is being dispatched */
    void *batch;
    int batch_count;
};

/** Returns 0 or -MIR_EIO. @spin_us as --spin. */
int mir__poll_open(struct mir__poll *poll, struct mir_clock *clock, uint32_t spin_us) MIR_CHECK;
void mir__poll_close(struct mir__poll *poll);
/** The wait of struct mir_loop_driver; @arg is the poll. */
void mir__poll_wait(void *arg, mir_time_us deadline_us);

/* ---- stacks.c ----------------------------------------------------------------------------- */

/** Map the arena of task stacks. Returns 0 or -MIR_ENOMEM. Once in a process. */
int mir__stacks_open(void) MIR_CHECK;
const struct mir_stack_source *mir__stacks_source(void);
/** Is @address in a guard page below a stack? For the crash report; safe in a signal handler. */
bool mir__stacks_is_guard(uintptr_t address);
/** The highest address of the task stack @address is in, or 0. */
uintptr_t mir__stacks_top(uintptr_t address);

/* ---- crash.c ------------------------------------------------------------------------------ */

/** Catch fatal signals from now on; @loop names the running task, @app may have hooks. */
void mir__crash_init(struct mir_app *app, struct mir_loop *loop);

/* ---- recorder.c --------------------------------------------------------------------------- */

struct mir__unix;
/** In the child that becomes a worker, in its @life-th life: it has a record of its own. */
void mir__record_be_worker(unsigned index, unsigned life);
/** In the monitor: that life has not ended in order but as @text says, which goes to its record. */
void mir__record_end_worker(unsigned index, unsigned life, const char *text);
/** Begin to record, if somebody wants it. Before the sandbox. */
void mir__record_open(struct mir__unix *u);
bool mir__record_is_open(void);
/** mir__poll_wait() that records what was done before it. */
void mir__record_wait(void *arg, mir_time_us deadline_us);
/** Text of the report of a crash; safe in a signal handler. */
void mir__record_report(const char *text, size_t len);
/** The end, in order. */
void mir__record_close(int status);

/* ---- log.c -------------------------------------------------------------------------------- */

void mir__log_init(void);
/** A line on stderr as the log writes it, whatever the levels are. */
void mir__log_line(void *arg, const char *line, size_t len);

/* ---- privilege.c -------------------------------------------------------------------------- */

struct mir__identity {
    uid_t uid;
    gid_t gid;
    bool is_root; /* there is something to give up */
};

/** Who to become: the user behind sudo, else nobody. */
void mir__privilege_identity(struct mir__identity *identity);
/** Give up root, groups and capabilities, for good (but binding low ports if @keep_bind).
 *  Returns 0 or -MIR_EPERM with a line in @error. */
int mir__privilege_drop(const struct mir__identity *identity, bool keep_bind,
                        char error[MIR__ERROR_MAX]) MIR_CHECK;

/* ---- sandbox.c ---------------------------------------------------------------------------- */

/** What the devices need of the host, by network mode. */
enum mir__sandbox_needs {
    MIR__SANDBOX_TAP = 1,       /* nothing beyond the base */
    MIR__SANDBOX_USER = 2,      /* libslirp: sockets, memory */
    MIR__SANDBOX_SOCKET = 4,    /* the host's stack: sockets */
    MIR__SANDBOX_PACKET = 8,    /* sending and receiving on a socket that is open */
    MIR__SANDBOX_LEASE = 16,    /* writing to the file of the lease */
    MIR__SANDBOX_SERVICE = 32,  /* serving clients on this host through a socket that listens */
    MIR__SANDBOX_WORKER = 64,   /* messages of a monitor, and devices that come with them */
    MIR__SANDBOX_CONTROL = 128, /* accepting on a socket that is open */
    MIR__SANDBOX_CHANNEL = 256, /* bells of new peers, by a socket that is open */
};

/** Confine the process. Returns 0, or a negative error with a line in @error. */
int mir__sandbox_enter(unsigned needs, char error[MIR__ERROR_MAX]) MIR_CHECK;

/* ---- signals.c ---------------------------------------------------------------------------- */

struct mir__unix;
struct mir_share;

/** From now on signals ask the appliance to end. Returns 0 or -MIR_EIO. Once in a process. */
int mir__signals_open(struct mir__unix *u) MIR_CHECK;
/** The guard of struct mir__app_end_config. Before the sandbox, and in it. */
/** A crash: end the process in a second, with the status of a crash. Safe in a signal handler. */
void mir__signals_panic(void);
void mir__signals_guard(struct mir_app *app, mir_time_us us);

/* ---- devices.c ---------------------------------------------------------------------------- */

/** One network, its middlewares outermost. */
struct mir__unix_net {
    const struct mir__app_net *options;
    struct mir_net_dev *dev;    /* what the stack gets; NULL in mode socket */
    struct mir_net_dev *tap;    /* the innermost one of a worker, or NULL */
    struct mir_net_dev *packet; /* the same in mode packet */
    const char *kind;           /* of the innermost device */
    const char *host_name;      /* interface on the host's side, or NULL */
    struct mir_net_if_config config;
    uint8_t ip6_secret[16];            /* config.ip6_secret points here, if there is one */
    void *pcap, *fault, *trace, *vlan; /* middlewares, NULL = not used */
    struct mir_share *share;           /* with the other workers; NULL = not used */
    char name[32], ifname[16];         /* of a network that was attached later */
    bool is_detached;
    int pcap_fd;
    int lease_fd;         /* -1: none */
    mir_time_us lease_us; /* end of the lease that is written there */
};

/** Everything that belongs to the process. */
/** kv.c: an archive in memory; base NULL: it is a folder. */
struct mir__kv_map {
    void *base;
    size_t size_bytes;
};

struct mir__unix {
    struct mir_app app;
    struct mir__app_options options;
    struct mir__identity identity;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir__poll poll;
    struct mir_rng rng;
    struct mir_net *net; /* NULL: no direct stack */
    struct mir__unix_net nets[MIR_APP_NETS_MAX];
    struct mir_fault_control faults; /* of the networks with --fault */
    struct mir_host_watch signals;
    struct mir__keep *keep;                          /* NULL: not the monitor */
    struct mir__worker *worker;                      /* NULL: no worker of one */
    struct mir_manifest_kv kvs[MIR__APP_STORES_MAX]; /* folders and archives instead of stores */
    struct mir__kv_map kv_maps[MIR__APP_STORES_MAX]; /* of the archives */
    unsigned sandbox_needs;
    struct mir_ip dns[MIR_DNS_SERVERS_MAX];
    char dns_search[256];
    mir_time_us started_us;
    int status;
};

/** Fill in the name servers of the appliance. After the devices, before the sandbox. */
void mir__names_find(struct mir__unix *u);

/** Open the networks of the options with their middlewares. 0, or an error with a line. */
int mir__devices_open(struct mir__unix *u, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** One of them. What it opened of middlewares stays until mir__devices_close(), also on error. */
int mir__devices_open_one(struct mir__unix *u, uint32_t index,
                          char error[MIR__ERROR_MAX]) MIR_CHECK;
/* ---- kv.c --------------------------------------------------------------------------------- */

/** Open the folders of --kv. Returns 0 or an error with a line in @error. */
int mir__kv_open(struct mir__unix *u, char error[MIR__ERROR_MAX]) MIR_CHECK;
void mir__kv_close(struct mir__unix *u);

/* ---- lease.c ------------------------------------------------------------------------------ */

/** Read and keep open the files of leases. After the devices, before the sandbox; what is wrong
 *  with them is logged. */
void mir__lease_open(struct mir__unix *u);
/** A worker that leads from now on: the files are its own. */
void mir__lease_lock(struct mir__unix *u);
/** Is there one? Then mir__lease_task() must run. */
bool mir__lease_is_kept(const struct mir__unix *u);
void mir__lease_task(void *u);
void mir__lease_close(struct mir__unix *u);

/* ---- control.c ---------------------------------------------------------------------------- */

/** Open the sockets that the options name, before the sandbox. 0, or an error with a line. */
int mir__control_open(struct mir__unix *u, char error[MIR__ERROR_MAX]) MIR_CHECK;
/** Listen at @path with a socket of @type that has @mode; one that nobody listens at any more is
 *  replaced. A descriptor, or an error with a line that begins with @option. */
int mir__unix_listen(const char *option, const char *path, int type, unsigned mode,
                     char error[MIR__ERROR_MAX]) MIR_CHECK;
/** The same for a control channel. */
int mir__control_listen(const char *option, const char *path, enum mir_rpc_role role,
                        char error[MIR__ERROR_MAX]) MIR_CHECK;
/** A worker: @fd, given, is where its clients come. Before mir__control_serve(). Returns 0 or
 *  -MIR_EPROTO (there is one already). */
int mir__control_take(struct mir__unix *u, enum mir_rpc_role role, int fd) MIR_CHECK;
/** Take new clients from now on, or leave them to somebody else. */
void mir__control_accept(struct mir__unix *u, bool is_on);
/** Serve them from now on; the stack is there. */
void mir__control_serve(struct mir__unix *u);
/** Before the stack is closed. */
void mir__control_close(struct mir__unix *u);

/** Print what is connected and forwarded. */
void mir__devices_announce(struct mir__unix *u);
void mir__devices_announce_one(struct mir__unix *u, uint32_t index);
void mir__devices_close(struct mir__unix *u);

/* ---- channels.c ------------------------------------------------------------------------------ */

/** Join the regions of the manifest's channels, into u->app.channels. Before the sandbox. 0, or an
 *  error with a line: -MIR_EINVAL is the user's mistake. */
int mir__channels_open(struct mir__unix *u, char error[MIR__ERROR_MAX]) MIR_CHECK;
void mir__channels_close(struct mir__unix *u);

#endif
