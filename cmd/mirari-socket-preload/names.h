/* SPDX-License-Identifier: ISC */
/* Names for the calls of names.c and hostent.c: the hosts file, then the server's resolver. */
#ifndef CMD_SOCKET_PRELOAD_NAMES_H
#define CMD_SOCKET_PRELOAD_NAMES_H

#include "cmd/mirari-socket-preload/preload.h"

enum { PRE_ADDRS = 64, PRE_NAME_MAX = 256 };

struct pre_answer {
    uint32_t count;
    struct sock_addr addr[PRE_ADDRS];
    char name[PRE_NAME_MAX]; /**< canonical, may be empty */
};

/** Do names belong to our stack? Not when both protocols begin at the host's. */
bool pre_names_are_ours(void);
/** Addresses of @name. @family 0 for both. Returns 0 or EAI_*. */
int pre_resolve(const char *name, int family, int flags, struct pre_answer *out);
/** Name of an address. Returns 0 or EAI_*. */
int pre_name_of(const struct sock_addr *addr, char name[PRE_NAME_MAX]);

#endif
