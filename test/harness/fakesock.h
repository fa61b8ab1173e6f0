/* SPDX-License-Identifier: ISC */
/* A socket server for tests of its clients: the protocol of cmd/socket/proto.h, no network behind.
 *
 * Whoever connects reaches a listener of the same server with that port, whatever the address. Some
 * addresses are special:
 *
 *   10.9.9.9   never answers
 *   10.9.9.8   refuses after 30 ms
 *   10.9.9.7   is reached after 30 ms
 *   10.9.9.6   after 300 ms
 *
 * A stream whose first byte is '!' is reset by the server with the errno that its second byte says.
 * Names: "server.test" has 10.9.0.1 and fd09::1, "slow.test" says EAI_AGAIN, others are unknown.
 */
#ifndef TEST_FAKESOCK_H
#define TEST_FAKESOCK_H

#include <sys/types.h>

/** Start one in a process of its own that listens at @path. Returns its id. */
pid_t fakesock_start(const char *path);
/** End it and wait. */
void fakesock_stop(pid_t pid);

#endif
