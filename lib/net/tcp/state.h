/* SPDX-License-Identifier: ISC */
/* TCP's part of the stack object. */
#ifndef LIB_NET_TCP_STATE_H
#define LIB_NET_TCP_STATE_H

#include <mirari/base.h>

struct mir__tcp_state;

#endif
