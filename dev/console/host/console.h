/* SPDX-License-Identifier: ISC */
/* The console of the host: a descriptor. */
#ifndef DEV_CONSOLE_HOST_CONSOLE_H
#define DEV_CONSOLE_HOST_CONSOLE_H

#include <mirari/dev_console.h>

struct mir_console_host {
    struct mir_console console; /* first */
    int fd;
};

/** Prepare a console that writes to @fd (lent), usually 1. */
void mir_console_host_init(struct mir_console_host *host, int fd);

#endif
