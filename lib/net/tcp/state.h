/* SPDX-License-Identifier: ISC */
/* What the rest of the stack sees of TCP: that it has a state. The inside is tcp/internal.h. */
#ifndef LIB_NET_TCP_STATE_H
#define LIB_NET_TCP_STATE_H

#include <mirari/base.h>

struct mir__tcp_state;

#endif
