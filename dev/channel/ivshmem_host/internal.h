/* SPDX-License-Identifier: ISC */
/* What server.c and peer.c share. */
#ifndef DEV_CHANNEL_IVSHMEM_HOST_INTERNAL_H
#define DEV_CHANNEL_IVSHMEM_HOST_INTERNAL_H

#include "dev/channel/ivshmem_host/ivshmem.h"

#define IVSHMEM_VERSION    0
#define IVSHMEM_MEMORY     (-1)
#define IVSHMEM_NUMBER_MAX 0xffffu

/** Ring a bell; one that cannot ring any louder has been heard or will be. */
void mir__ivshmem_ring(int bell);

#endif
