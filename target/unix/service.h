/* SPDX-License-Identifier: ISC */
/* For a program that is an appliance and serves others on this host besides: the socket server.
 *
 * Such a program defines mir__unix_service; main() (start.c) has an empty one for all others. It
 * works with the loop's descriptors (<mirari/host.h>), inside the sandbox, which then has the rows
 * of MIR__SANDBOX_SERVICE too.
 */
#ifndef TARGET_UNIX_SERVICE_H
#define TARGET_UNIX_SERVICE_H

#include <mirari/host.h>
#include <mirari/net.h>

#include "target/unix/internal.h"

/** A service's parent hands over the socket it listens on as this descriptor. */
#define MIR__SERVICE_FD 3

struct mir__unix_service {
    /** Look at MIR__SERVICE_FD while privileges are there. Returns 0 or an error with a line in
     *  @error. */
    int (*prepare)(char error[MIR__ERROR_MAX]);
    /** Other limits of the direct stack; may be NULL. */
    void (*tune)(struct mir_net_config *config);
};

extern struct mir__unix_service mir__unix_service;

/** The descriptors of this process. */
struct mir_host_poll *mir__unix_poll(void);
/** The direct stack; NULL: the network is the host's. */
struct mir_net *mir__unix_net(void);

#endif
