/* SPDX-License-Identifier: ISC */
/* Times, sizes and limits of TCP. Those that an RFC gives say which. */
#ifndef LIB_NET_TCP_CONSTANTS_H
#define LIB_NET_TCP_CONSTANTS_H

#define MIR__TCP_MSS_DEFAULT      536u /* RFC 9293 section 3.7.1 (MUST-15) */
#define MIR__TCP_MSS_MIN          88u  /* smaller offers are raised to this: no flood of headers */
#define MIR__TCP_INITIAL_SEGMENTS 10u  /* RFC 6928 */
#define MIR__TCP_RTO_INITIAL_US   (1 * MIR_US_PER_S) /* RFC 6298 section 2.1 */
#define MIR__TCP_RTO_MIN_US       (200 * MIR_US_PER_MS)
#define MIR__TCP_RTO_MAX_US       (60 * MIR_US_PER_S)
#define MIR__TCP_RTO_AFTER_SYN_US (3 * MIR_US_PER_S) /* RFC 6298 section 5.7 */
#define MIR__TCP_R2_SYN           7u  /* retransmissions: 183 s in all (RFC 9293 3.8.3, MUST-23) */
#define MIR__TCP_R2_DATA          15u /* more than 100 s (SHLD-11) */
#define MIR__TCP_R2_SYN_ACK       5u
#define MIR__TCP_DELACK_US        (40 * MIR_US_PER_MS)
#define MIR__TCP_QUICK_ACKS       8u /* first segments acknowledged at once: the peer slow-starts */
#define MIR__TCP_MSL_US           (30 * MIR_US_PER_S)
#define MIR__TCP_FIN_WAIT_2_US    (60 * MIR_US_PER_S)
#define MIR__TCP_KEEP_INTVL_S     75u
#define MIR__TCP_KEEP_COUNT       9u
#define MIR__TCP_MEMORY_RETRY_US  (50 * MIR_US_PER_MS)
#define MIR__TCP_SNDBUF_BEGIN     (256u << 10) /* tuned buffers: from here ... */
#define MIR__TCP_RCVBUF_BEGIN     (128u << 10)
#define MIR__TCP_BUFFER_MAX       (16u << 20) /* ... to here, unless the configuration says otherwise */
#define MIR__TCP_COPY_MAX         128u   /* smaller payloads are copied rather than referenced */
#define MIR__TCP_REASS_SEGS_MIN   1024u  /* early pieces of a connection: a window of 1 MiB */
#define MIR__TCP_REASS_RUNS_MAX   2048u  /* of pieces without a hole between them */
#define MIR__TCP_REASS_SEGS_MAX   16384u /* of one with a larger window */
#define MIR__TCP_PAWS_IDLE_MS     (24u * 86400u * 1000u) /* RFC 7323 section 5.5 */
#define MIR__TCP_CHALLENGES       5u                     /* a second and connection; RFC 5961 7 */
#define MIR__TCP_PMTU_MIN         576u
#define MIR__TCP_HALF_OPEN_MAX    4096u
#define MIR__TCP_LISTEN_BUCKETS   64u
#define MIR__TCP_STRIP_BUCKETS    512u /* of the connection table: one page of pointers */
#define MIR__TCP_DIRECTORY_STRIPS 256u /* one page too */
#define MIR__TCP_DIRECTORIES      16u  /* 2^21 buckets in all */

#endif
