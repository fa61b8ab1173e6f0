/* SPDX-License-Identifier: ISC */
/* Between tap.c (frames) and open.c (the host's interface). Not public. */
#ifndef DEV_NET_TAP_OPEN_H
#define DEV_NET_TAP_OPEN_H

#include <net/if.h>

#include "dev/net/tap/tap.h"

struct mir__tap_host {
    int fd;
    char ifname[IFNAMSIZ];
    uint16_t mtu;
    bool has_offloads;
    bool has_bundles; /* several datagrams in one frame, both ways; Linux 6.2 */
};

/** Open, configure if new. Returns 0 or an error with a text. */
int mir__tap_open_host(const struct mir_tap_config *config, struct mir__tap_host *host,
                       char *error) MIR_CHECK;

#endif
