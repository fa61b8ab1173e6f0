/* SPDX-License-Identifier: ISC */
/* What a hosted target (unix) gives to the devices that need a host: file descriptors to watch.
 *
 * Only dev/<class>/<hosted implementation> and target/unix use this; lib/ never does.
 */
#ifndef MIRARI_HOST_H
#define MIRARI_HOST_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/list.h>

enum mir_host_events {
    MIR_HOST_IN = 1,
    MIR_HOST_OUT = 2,
    MIR_HOST_ERROR = 4,  /**< an error, or both directions have ended */
    MIR_HOST_HANGUP = 8, /**< with ERROR: both directions have ended */
    MIR_HOST_END = 16,   /**< with IN, at edges: the peer writes no more */
};

/** A descriptor that is watched, level-triggered unless it says otherwise. Owned by the device. */
struct mir_host_watch {
    int fd;
    unsigned events; /**< MIR_HOST_IN | MIR_HOST_OUT; errors are always reported */
    void (*ready)(void *arg, unsigned events);
    void *arg;
    /** Set by ready() when it found something: it is then called again with MIR_HOST_IN on
     * suspicion, without asking the host first. A device that never sets it is only called when
     * asked for. */
    bool found;
    /** Called when something comes, not as long as something is there; set before it is added. The
     *  end of the peer's writing is something that comes, and so is whatever holds when events are
     *  set. */
    bool is_edge;
    /** Nobody else has the open file, and it is closed right after it is removed: then the host
     *  forgets it by itself, and is not told. */
    bool is_sole;
};

/** Called around every wait: for libraries that manage their own set of descriptors. */
struct mir_host_hook {
    struct mir_list link; /* private */
    /** May lower *@deadline_us and change watches. */
    void (*before_wait)(void *arg, mir_time_us now_us, mir_time_us *deadline_us);
    /** After the wait; ready watches have been called already. NULL = not needed. */
    void (*after_wait)(void *arg, mir_time_us now_us);
    void *arg;
};

struct mir_host_poll;

struct mir_host_poll_ops {
    /** Returns 0 or -MIR_EIO. */
    int (*add)(struct mir_host_poll *poll, struct mir_host_watch *watch);
    /** Change watch->events. */
    void (*set)(struct mir_host_poll *poll, struct mir_host_watch *watch, unsigned events);
    /** After return ready() is not called, even if its event was already there. */
    void (*remove)(struct mir_host_poll *poll, struct mir_host_watch *watch);
    void (*add_hook)(struct mir_host_poll *poll, struct mir_host_hook *hook);
    void (*remove_hook)(struct mir_host_poll *poll, struct mir_host_hook *hook);
};

struct mir_host_poll {
    const struct mir_host_poll_ops *ops;
};

#endif
