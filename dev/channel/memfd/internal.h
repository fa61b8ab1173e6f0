/* SPDX-License-Identifier: ISC */
/* What memfd.c and meet.c share. */
#ifndef DEV_CHANNEL_MEMFD_INTERNAL_H
#define DEV_CHANNEL_MEMFD_INTERNAL_H

#include "dev/channel/memfd/memfd.h"

#define MEET_VERSION 1u

/** What a server says to a client, once, with descriptors: the memory, and if they trust each other
 *  the client's bell and the server's. */
struct mir__memfd_welcome {
    char magic[8];
    uint32_t version;
    int32_t status; /* 0 or -MIR_E*: why not */
    uint32_t pages;
    uint32_t page_ref;
};

/** An end without memory yet, on a socket that it owns from now on. */
void mir__memfd_init(struct mir_memfd *end, int sock, bool is_server,
                     const struct mir_memfd_config *config);
/** Begin to watch. Returns 0 or -MIR_EIO. */
int mir__memfd_watch(struct mir_memfd *end);
/** May the user do harm to us anyway? */
bool mir__memfd_is_trusted(uint32_t uid);
/** Tell a client how it is, with @count descriptors. Returns 0 or -MIR_EIO. */
int mir__memfd_welcome(int sock, const struct mir__memfd_welcome *welcome, const int *fds,
                       unsigned count);
void mir__memfd_close_fd(int *fd);

#endif
