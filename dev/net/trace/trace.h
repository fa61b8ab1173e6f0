/* SPDX-License-Identifier: ISC */
/* A network device around another one that says every frame in one line. */
#ifndef DEV_NET_TRACE_TRACE_H
#define DEV_NET_TRACE_TRACE_H

#include "dev/net/wrap/wrap.h"

struct mir_trace {
    struct mir__wrap wrap; /**< the device is wrap.dev; first */
    /* private: */
    const char *name;
    void (*line)(void *arg, const char *line, size_t len);
    void *arg;
};

/**
 * mir_trace_init() - put a trace around a device.
 *
 * @trace  caller's memory, lent until the device, &trace->wrap.dev, is closed
 * @inner  given: closed with this device
 * @name   of the network, begins each line; static text
 * @line   takes a line, borrowed; NULL: the log, module dev, level info
 *
 * Returns nothing.
 * Source  none
 */
void mir_trace_init(struct mir_trace *trace, MIR_GIVE struct mir_net_dev *inner, const char *name,
                    void (*line)(void *arg, const char *line, size_t len), void *arg);

/** The line for a frame, into [size] bytes; returns its length. */
size_t mir_trace_format(const struct mir_buf *buf, char *out, size_t size);

#endif
