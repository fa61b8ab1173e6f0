/* SPDX-License-Identifier: ISC */
/* Between packet.c (frames), open.c (the socket and its ring) and link.c. Not public. */
#ifndef DEV_NET_PACKET_OPEN_H
#define DEV_NET_PACKET_OPEN_H

#include <net/if.h>

#include "dev/net/packet/packet.h"

/* The ring: so many slots, each for a frame of the usual MTU; a larger one comes another way. */
#define MIR__PACKET_SLOTS     1024u
#define MIR__PACKET_SLOT_SIZE 2048u

struct mir__packet_host {
    int fd;      /* the packet socket with the ring */
    int tx_fd;   /* one that only sends */
    int link_fd; /* tells of changes of interfaces */
    uint8_t *ring;
    char ifname[IFNAMSIZ];
    int ifindex;
    uint16_t mtu;
    bool is_up;
};

/** Returns 0 or an error with a text. */
int mir__packet_open_host(const struct mir_packet_config *config, struct mir__packet_host *host,
                          char *error) MIR_CHECK;
/** The same on a socket that is there; @fd is given. */
int mir__packet_adopt_host(const struct mir_packet_config *config, int fd,
                           struct mir__packet_host *host, char *error) MIR_CHECK;
void mir__packet_close_host(struct mir__packet_host *host);

enum mir__packet_link {
    MIR__PACKET_LINK_SAME,
    MIR__PACKET_LINK_DOWN,
    MIR__PACKET_LINK_UP,
    MIR__PACKET_LINK_GONE,
};

/** A socket on which the host tells of changes. Returns it or -1. */
int mir__packet_link_open(void);
/** Read what it told; returns the last news of interface @ifindex. */
enum mir__packet_link mir__packet_link_read(int link_fd, int ifindex);

#endif
