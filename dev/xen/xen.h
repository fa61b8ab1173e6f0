/* SPDX-License-Identifier: ISC */
/* What a driver of a Xen device needs of the machine: grants, an event channel, the store.
 *
 * A target gives it (hypercalls and xenstore's ring), or a test (a backend in the same process);
 * drivers never know which. All calls return at once.
 *
 *   front  "device/vif/0"                          where we say what we give
 *   back   "/local/domain/0/backend/vif/5/0"       where the backend says what it can
 *
 * Each device has a state on either side (public/io/xenbus.h), by which both find each other and
 * part. The backend is another domain: nothing that it says or does is believed unseen.
 */
#ifndef DEV_XEN_XEN_H
#define DEV_XEN_XEN_H

#include <mirari/base.h>
#include <mirari/err.h>
#include <mirari/page.h>

/** States of a device (public/io/xenbus.h, enum xenbus_state). */
enum mir_xenbus_state {
    MIR_XENBUS_UNKNOWN = 0,
    MIR_XENBUS_INITIALISING = 1,
    MIR_XENBUS_INIT_WAIT = 2,
    MIR_XENBUS_INITIALISED = 3,
    MIR_XENBUS_CONNECTED = 4,
    MIR_XENBUS_CLOSING = 5,
    MIR_XENBUS_CLOSED = 6,
};

#define MIR_XEN_NO_REF UINT32_MAX /* of no grant */

struct mir_xen;

struct mir_xen_ops {
    /** Let domain @domain use the page at @page, only read it if @is_readonly. Returns 0,
     *  -MIR_ELIMIT (no grant left). */
    int (*grant)(struct mir_xen *xen, uint16_t domain, const void *page, bool is_readonly,
                 uint32_t *ref);
    /** Returns 0, or -MIR_EBUSY: the other domain still has the page, which must not be used for
     *  anything else. */
    int (*grant_end)(struct mir_xen *xen, uint32_t ref);
    /** An event channel that @domain may bind. Returns 0, -MIR_ELIMIT. */
    int (*event_open)(struct mir_xen *xen, uint16_t domain, uint32_t *port);
    void (*event_close)(struct mir_xen *xen, uint32_t port);
    void (*notify)(struct mir_xen *xen, uint32_t port);
    /** The value at @path as text. Returns 0, -MIR_ENOENT, -MIR_ERANGE (longer than @size - 1). */
    int (*read)(struct mir_xen *xen, const char *path, char *out, size_t size);
    /** Returns 0 or an error of the store. */
    int (*write)(struct mir_xen *xen, const char *path, const char *value);
    /** Let the other side run for a moment: called a bounded number of times while a device is
     *  being given up. */
    void (*pause)(struct mir_xen *xen);
};

struct mir_xen {
    const struct mir_xen_ops *ops;
};

/** Both ends of a device in the store. */
struct mir_xen_device {
    struct mir_xen *xen;
    char front[64];
    char back[64];
    uint16_t back_domain;
};

/** The paths of device @kind (as "vif") number @index, from what the toolstack wrote. Returns 0,
 *  -MIR_ENOENT (no such device), -MIR_EPROTO (what is there makes no sense). */
int mir_xen_device_find(struct mir_xen *xen, const char *kind, uint32_t index,
                        struct mir_xen_device *device) MIR_CHECK;

/* ---- for drivers ------------------------------------------------------------------------------
 */

/** The number at @name under @base; @otherwise if there is none, or none of at most @max. */
uint32_t mir__xen_get(struct mir_xen *xen, const char *base, const char *name, uint32_t max,
                      uint32_t otherwise);
/** Write a number. Returns 0 or an error of the store. */
int mir__xen_put(struct mir_xen *xen, const char *base, const char *name, uint32_t value) MIR_CHECK;

/** The backend's state, ours. */
enum mir_xenbus_state mir__xen_back_state(const struct mir_xen_device *device);
int mir__xen_set_state(const struct mir_xen_device *device, enum mir_xenbus_state state) MIR_CHECK;

/** Give the device up: both sides become Closed, as far as the backend does. Returns true if it
 *  said so within a bounded time. */
bool mir__xen_close(const struct mir_xen_device *device);

#endif
