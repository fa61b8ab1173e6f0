/* SPDX-License-Identifier: ISC */
/* Numbers that must not be guessed: initial sequence numbers, timestamp offsets, local ports.
 *
 * ISN        M + F(local, remote, ports, secret), RFC 6528 section 3: M is a clock of 4 us, F is
 *            SipHash. For one pair of endpoints ISNs grow with time, so a new connection can
 *            take over from one in TIME_WAIT (RFC 9293 section 3.4.1); between pairs nothing can
 *            be inferred.
 * Timestamp  clock of 1 ms + F'(local, remote address): it grows over successive connections of the
 *            same hosts, as RFC 7323 section 5 and RFC 6191 need, and does not show the up-time.
 * Port       RFC 6056 section 3.3.1: a random start, then one after the other until a free one.
 *            Which ports are free depends on the remote endpoint; a full range ends the search.
 */
#include "lib/net/tcp/internal.h"

#define PORT_FIRST 32768u
#define PORT_COUNT 32768u

void mir__tcp_secrets_init(struct mir__tcp_state *host)
{
    mir_rng_bytes(host->rng, host->isn_key, sizeof host->isn_key);
    mir_rng_bytes(host->rng, host->cookie_key, sizeof host->cookie_key);
    mir_rng_bytes(host->rng, host->ts_key, sizeof host->ts_key);
}

uint32_t mir__tcp_isn(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple)
{
    uint8_t input[36];
    mir_memcpy(input, tuple->local->bytes, 16);
    mir_memcpy(input + 16, tuple->remote->bytes, 16);
    mir_put_be16(input + 32, tuple->local_port);
    mir_put_be16(input + 34, tuple->remote_port);
    uint64_t hash = mir_siphash(host->isn_key, input, sizeof input);
    return (uint32_t)(now_of(host) / 4) + (uint32_t)hash;
}

uint32_t mir__tcp_ts_offset(const struct mir__tcp_state *host, const struct mir__tcp_tuple *tuple)
{
    uint8_t input[32];
    mir_memcpy(input, tuple->local->bytes, 16);
    mir_memcpy(input + 16, tuple->remote->bytes, 16);
    return (uint32_t)mir_siphash(host->ts_key, input, sizeof input);
}

int mir__tcp_choose_port(struct mir__tcp_state *host, struct mir__tcp_tuple *tuple)
{
    uint32_t start = mir_rng_below(host->rng, PORT_COUNT);
    for (uint32_t i = 0; i < PORT_COUNT; i++) {
        tuple->local_port = (uint16_t)(PORT_FIRST + (start + i) % PORT_COUNT);
        /* A connection to ourselves must not be one with itself. */
        if (tuple->local_port != tuple->remote_port &&
            mir__net_may_choose(host->net, tuple->local_port) &&
            mir__tcp_table_find(&host->table, tuple) == NULL &&
            !mir__tcp_port_has_listener(host, tuple->local_port))
            return 0;
    }
    MIR__TCP_COUNT(host, ports_exhausted);
    return -MIR_EADDRNOTAVAIL;
}
