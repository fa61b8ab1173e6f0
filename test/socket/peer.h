/* SPDX-License-Identifier: ISC */
/* What conform asks of its helper `conform-peer`, over a SOCK_SEQPACKET socket: one request, one
 * answer. */
#ifndef MIRARI_TEST_SOCKET_PEER_H
#define MIRARI_TEST_SOCKET_PEER_H

#include <stdint.h>
#include <sys/socket.h>

enum peer_op {
    PEER_LISTEN,      /* family, arg: backlog -> result: id, port */
    PEER_ACCEPT,      /* arg: id -> descriptor, addr: from where */
    PEER_CONNECT,     /* addr -> descriptor */
    PEER_CONNECT_NOW, /* the same, without waiting */
    PEER_CLOSED_PORT, /* family, arg: type -> port */
    PEER_UDP,         /* family -> result: id, port */
    PEER_SEND,        /* arg: id, addr, len */
    PEER_RECEIVE,     /* arg: id -> result: bytes or -1, addr, ttl, tos */
    PEER_JOIN,        /* arg: id, addr: group */
    PEER_RESET,       /* descriptor: closed with a reset */
};
struct peer_request {
    int32_t op, family, arg, len;
    struct sockaddr_storage addr;
};
struct peer_answer {
    int32_t result, error, port, ttl, tos;
    struct sockaddr_storage addr;
};

#endif
