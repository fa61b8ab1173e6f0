/* SPDX-License-Identifier: ISC */
/* Devices in xenstore: where they are, their numbers, their states.
 *
 * Values are text that another domain may have written: a number is digits alone and in range, or
 * it is as if it were not there. The way to close a device is that of the other frontends: Closing,
 * and when the backend has let go, Closed. A backend that does not answer is waited for a bounded
 * time; whether its memory came back is for grant_end() to say.
 *
 * Source: public/io/xenbus.h, docs/misc/xenstore-paths.
 */
#include <mirari/format.h>

#include "dev/xen/xen.h"

#define PATH_MAX  128u
#define VALUE_MAX 32u
#define TRIES     100u

static int read_number(struct mir_xen *xen, const char *base, const char *name, uint32_t max,
                       uint32_t *value)
{
    char path[PATH_MAX], text[VALUE_MAX];
    uint64_t number;
    if (mir_format(path, sizeof path, "%s/%s", base, name) >= sizeof path)
        return -MIR_ERANGE;
    int r = xen->ops->read(xen, path, text, sizeof text);
    if (r < 0)
        return r;
    text[sizeof text - 1] = '\0';
    if (mir_parse_u64(text, mir_str_len(text), max, &number) < 0)
        return -MIR_EPROTO;
    *value = (uint32_t)number;
    return 0;
}

uint32_t mir__xen_get(struct mir_xen *xen, const char *base, const char *name, uint32_t max,
                      uint32_t otherwise)
{
    uint32_t value;
    return read_number(xen, base, name, max, &value) == 0 ? value : otherwise;
}

int mir__xen_put(struct mir_xen *xen, const char *base, const char *name, uint32_t value)
{
    char path[PATH_MAX], text[VALUE_MAX];
    if (mir_format(path, sizeof path, "%s/%s", base, name) >= sizeof path)
        return -MIR_ERANGE;
    mir_format(text, sizeof text, "%u", value);
    return xen->ops->write(xen, path, text);
}

int mir_xen_device_find(struct mir_xen *xen, const char *kind, uint32_t index,
                        struct mir_xen_device *device)
{
    char path[PATH_MAX];
    uint32_t domain;
    struct mir_xen_device found = {.xen = xen};
    if (mir_format(found.front, sizeof found.front, "device/%s/%u", kind, index) >=
        sizeof found.front)
        return -MIR_ENOENT;
    mir_format(path, sizeof path, "%s/backend", found.front);
    int r = xen->ops->read(xen, path, found.back, sizeof found.back);
    if (r < 0)
        return r == -MIR_ERANGE ? -MIR_EPROTO : r;
    r = read_number(xen, found.front, "backend-id", 0x7fef, &domain);
    if (r < 0)
        return r == -MIR_ENOENT ? r : -MIR_EPROTO;
    found.back_domain = (uint16_t)domain;
    *device = found;
    return 0;
}

enum mir_xenbus_state mir__xen_back_state(const struct mir_xen_device *device)
{
    return (enum mir_xenbus_state)mir__xen_get(device->xen, device->back, "state",
                                               MIR_XENBUS_CLOSED, MIR_XENBUS_UNKNOWN);
}

int mir__xen_set_state(const struct mir_xen_device *device, enum mir_xenbus_state state)
{
    return mir__xen_put(device->xen, device->front, "state", (uint32_t)state);
}

static bool has_let_go(enum mir_xenbus_state state, enum mir_xenbus_state wanted)
{
    /* It may be waiting for the next one already. */
    return state >= wanted || state == MIR_XENBUS_UNKNOWN || state == MIR_XENBUS_INIT_WAIT;
}

bool mir__xen_close(const struct mir_xen_device *device)
{
    static const enum mir_xenbus_state steps[] = {MIR_XENBUS_CLOSING, MIR_XENBUS_CLOSED};
    bool is_done = true;
    for (size_t i = 0; i < MIR_ARRAY_LEN(steps); i++) {
        is_done = mir__xen_set_state(device, steps[i]) == 0;
        for (uint32_t n = 0; n < TRIES && !has_let_go(mir__xen_back_state(device), steps[i]); n++)
            device->xen->ops->pause(device->xen);
        is_done &= has_let_go(mir__xen_back_state(device), steps[i]);
    }
    return is_done;
}
