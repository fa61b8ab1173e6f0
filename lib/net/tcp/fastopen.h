/* SPDX-License-Identifier: ISC */
/* TCP Fast Open (fastopen.c): what the handshake on either side asks of it. Part of internal.h. */
#ifndef LIB_NET_TCP_FASTOPEN_H
#define LIB_NET_TCP_FASTOPEN_H

#include <mirari/base.h>

struct mir_ip;
struct mir__tcp_listener;
struct mir__tcp_options;
struct mir__tcp_pcb;
struct mir__tcp_segment;
struct mir__tcp_state;
struct mir__tcp_tuple;

#define MIR__TCP_FAST_COOKIE 8u /* bytes of ours */

/** The cookie for a peer. */
void mir__tcp_fast_cookie(struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                          uint8_t cookie[MIR__TCP_FAST_COOKIE]);
/** Is it ours, and not too old? */
bool mir__tcp_fast_check(struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple,
                         const struct mir__tcp_options *opt) MIR_CHECK;
/** @pcb was made for a SYN with a good cookie, sent to @listener: take its data. */
void mir__tcp_fast_begin(struct mir__tcp_pcb *pcb, struct mir__tcp_listener *listener,
                         struct mir__tcp_segment *syn);
/** Its handshake is complete. */
void mir__tcp_fast_completed(struct mir__tcp_pcb *pcb);
/** It does not count as pending any more; a reset one does for a while. */
void mir__tcp_fast_over(struct mir__tcp_pcb *pcb);
void mir__tcp_fast_reset(struct mir__tcp_pcb *pcb);
uint32_t mir__tcp_fast_pending(struct mir__tcp_listener *listener);
/** The listener ends, those of its connections that are pending go on. */
void mir__tcp_fast_unlisten(struct mir__tcp_listener *listener);
/** Our SYN: add the option; returns how many bytes of the queue may go with it. */
uint32_t mir__tcp_fast_ask(struct mir__tcp_pcb *pcb, struct mir__tcp_options *opt);
/** How many bytes that would be. */
uint32_t mir__tcp_fast_room(struct mir__tcp_pcb *pcb);
/** Is there a cookie for @remote, so that a SYN can carry data? */
bool mir__tcp_fast_knows(struct mir__tcp_state *host, const struct mir_ip *remote);
/** Its SYN-ACK, after the acknowledgment was processed. */
void mir__tcp_fast_answered(struct mir__tcp_pcb *pcb, const struct mir__tcp_segment *syn_ack);
/** Make cookies with @key for ever, as other servers behind the same address do. */
void mir__tcp_fast_key(struct mir__tcp_state *host, const uint8_t key[16]);
void mir__tcp_fast_fini(struct mir__tcp_state *host);

#endif
