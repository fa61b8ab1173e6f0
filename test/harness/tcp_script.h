/* SPDX-License-Identifier: ISC */
/* Packet scripts: a test plays the peer of one TCP connection, segment by segment.
 *
 *   struct tcp_script s;
 *   script_open(&s, NULL);
 *   script_accept(&s);                        three-way handshake with our listener, port 80
 *   in(&s, "PA", 1, 1, 100);                  the peer sends 100 bytes
 *   out(&s, "A", 1, 101, 0);                  ... and must be acknowledged
 *   quiet(&s);                                ... with nothing else
 *   script_close(&s);
 *
 * Sequence numbers are relative: the peer's to its ISN, ours to ours, as a SYN has told it. Payload
 * bytes are a function of their sequence number, so data can be checked wherever it turns up.
 * Options of the peer's segments are taken from the script's fields. Time moves only by
 * script_wait().
 */
#ifndef TEST_TCP_SCRIPT_H
#define TEST_TCP_SCRIPT_H

#include "lib/wire/tcp.h"
#include "test/harness/tap.h"
#include "test/harness/testdev.h"

struct tcp_script {
    struct testbed bed;
    struct mir_tcp_listener *listener;
    struct mir_tcp *tcp; /* the connection, once there is one */
    unsigned events;     /* gathered since last looked at */
    uint32_t accepts;
    uint32_t fastopen_max; /* of the listener; set before script_listen() */
    uint32_t rcvbuf;       /* likewise; 0 = the stack's */
    uint32_t answer_len;   /* bytes sent inside on_accept */
    bool closes_on_accept;
    bool aborts_on_event;
    bool reads; /* take data as it comes */
    uint64_t received;
    bool is_wrong; /* received bytes were not those sent */

    /* The peer. */
    uint16_t peer_port;
    uint16_t our_port;
    uint32_t peer_isn;
    uint32_t our_isn;
    uint16_t wnd;
    bool ts;         /* segments carry timestamps */
    uint32_t tsval;  /* of the next segment */
    uint32_t tsecr;  /* UINT32_MAX: echo what we saw last */
    bool has_cookie; /* SYNs bring the Fast Open option */
    uint8_t cookie_len;
    uint8_t cookie[MIR__TCP_COOKIE_MAX];
    uint8_t tos;        /* IP of the next segments */
    int mss;            /* of SYNs; 0 = no option */
    int wscale;         /* of SYNs; -1 = no option */
    bool sack;          /* SYNs say SACK permitted */
    uint8_t sack_count; /* blocks of the next segment only, numbers of our stream */
    uint32_t sack_block[4][2];
    uint16_t flags_in; /* buffer flags of injected frames */
    bool raw;          /* in(): numbers are absolute */
    uint8_t fill;      /* added to payload bytes */

    /* The last segment we sent. */
    struct mir__tcp_header hdr;
    struct mir__tcp_options opt;
    uint32_t len;
    uint8_t payload[65536];
    uint16_t gso_size;
    uint8_t out_tos;
};

/** Memory of the stack made by the next script_open(); 16 MiB unless changed. */
extern size_t script_memory_bytes;
void script_open(struct tcp_script *s, const struct mir_net_config *config);
/** The same on a device with @caps. */
void script_open_caps(struct tcp_script *s, const struct mir_net_config *config, uint32_t caps);
/** Close what is open and check that everything was given back. */
void script_close(struct tcp_script *s);
/** Listen on port 80 (once) and be connected to. */
void script_listen(struct tcp_script *s, uint32_t backlog);
void script_accept(struct tcp_script *s);
/** Connect to the peer's port 80 and be accepted. */
void script_start_connect(struct tcp_script *s);
void script_connect(struct tcp_script *s);
/** Let time pass; timers fire. */
void script_wait(struct tcp_script *s, mir_time_us span_us);
/** Connect with the first @len bytes of our stream (Fast Open); nothing is taken from the wire. */
void script_connect_data(struct tcp_script *s, size_t len);
/** Queue @len bytes of our stream. Returns what was taken. */
size_t script_send(struct tcp_script *s, size_t len);
/** Events since the last call. */
unsigned script_events(struct tcp_script *s);
uint64_t script_stat(struct tcp_script *s, const char *name);

/** A segment of the peer: @flags of "SFRPAU". */
void script_in(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack, uint32_t len);
/** Without the end of the batch. */
void script_in_more(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack,
                    uint32_t len);
void script_batch_end(struct tcp_script *s);
/** Our next segment must be this. P is ignored unless given in @flags. */
bool script_out(struct tcp_script *s, const char *flags, uint32_t seq, uint32_t ack, uint32_t len,
                const char *file, int line);
/** We must have sent nothing (more). */
bool script_quiet(struct tcp_script *s, const char *file, int line);
/** Take our next segment whatever it is; false if there is none. */
bool script_next(struct tcp_script *s);

#define in(s, flags, seq, ack, len)      script_in(s, flags, seq, ack, len)
#define in_more(s, flags, seq, ack, len) script_in_more(s, flags, seq, ack, len)
#define out(s, flags, seq, ack, len)     script_out(s, flags, seq, ack, len, __FILE__, __LINE__)
#define quiet(s)                         script_quiet(s, __FILE__, __LINE__)

#endif
