/* SPDX-License-Identifier: ISC */
/* The contract of a console: bytes out, any length; it never loops and never fails the caller. */
#ifndef MIRARI_DEV_CONSOLE_H
#define MIRARI_DEV_CONSOLE_H

#include <mirari/base.h>

struct mir_console {
    /** Write [len] bytes, borrowed. What cannot be written is dropped and counted. */
    void (*write)(struct mir_console *console, const char *data, size_t len);
    uint64_t dropped_bytes;
};

/** Write [len] bytes, borrowed. */
static inline void mir_console_write(struct mir_console *console, const char *data, size_t len)
{
    console->write(console, data, len);
}

#endif
