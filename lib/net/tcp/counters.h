/* SPDX-License-Identifier: ISC */
/* What TCP counts: one table gives the fields, and the names in statistics. */
#ifndef LIB_NET_TCP_COUNTERS_H
#define LIB_NET_TCP_COUNTERS_H

#include <mirari/base.h>

/** Counted events; names and fields in one table. */
#define MIR__TCP_COUNTERS(X)                                                                       \
    X(segs_in)                                                                                     \
    X(segs_out)                                                                                    \
    X(bytes_in)                                                                                    \
    X(bytes_out)                                                                                   \
    X(fast_path_in)                                                                                \
    X(active_opens)                                                                                \
    X(passive_opens)                                                                               \
    X(connect_failed)                                                                              \
    X(closed)                                                                                      \
    X(resets_in)                                                                                   \
    X(resets_out)                                                                                  \
    X(drop_malformed)                                                                              \
    X(drop_bad_options)                                                                            \
    X(drop_bad_checksum)                                                                           \
    X(drop_broadcast)                                                                              \
    X(drop_no_port)                                                                                \
    X(drop_rst_invalid)                                                                            \
    X(drop_no_ack_flag)                                                                            \
    X(drop_paws)                                                                                   \
    X(drop_no_timestamp)                                                                           \
    X(drop_out_of_window)                                                                          \
    X(drop_bad_ack)                                                                                \
    X(drop_listen)                                                                                 \
    X(drop_memory)                                                                                 \
    X(drop_reass_limit)                                                                            \
    X(drop_half_open_limit)                                                                        \
    X(drop_listener_full)                                                                          \
    X(drop_connection_limit)                                                                       \
    X(drop_after_close)                                                                            \
    X(duplicate_bytes_in)                                                                          \
    X(out_of_order_in)                                                                             \
    X(reass_overlap_bytes)                                                                         \
    X(challenge_acks)                                                                              \
    X(challenge_acks_limited)                                                                      \
    X(dup_acks_in)                                                                                 \
    X(retransmits)                                                                                 \
    X(timeouts)                                                                                    \
    X(fast_retransmits)                                                                            \
    X(reordering_in)                                                                               \
    X(rack_losses)                                                                                 \
    X(probes_out)                                                                                  \
    X(probes_repaired)                                                                             \
    X(dsacks_in)                                                                                   \
    X(dsacks_out)                                                                                  \
    X(sack_blocks_invalid)                                                                         \
    X(sack_reneged)                                                                                \
    X(spurious_timeouts)                                                                           \
    X(spurious_recoveries)                                                                         \
    X(sack_range_limit)                                                                            \
    X(hystart_exits)                                                                               \
    X(ecn_agreed)                                                                                  \
    X(ecn_fallbacks)                                                                               \
    X(ecn_marks_in)                                                                                \
    X(ecn_echoes_in)                                                                               \
    X(ecn_reductions)                                                                              \
    X(partial_acks)                                                                                \
    X(persist_probes)                                                                              \
    X(keepalive_probes)                                                                            \
    X(delayed_acks)                                                                                \
    X(window_updates_out)                                                                          \
    X(timed_out)                                                                                   \
    X(keepalive_failed)                                                                            \
    X(linger_timeouts)                                                                             \
    X(fin_wait_2_timeouts)                                                                         \
    X(syn_in)                                                                                      \
    X(syn_duplicate)                                                                               \
    X(syn_ack_retransmits)                                                                         \
    X(half_open_timed_out)                                                                         \
    X(fastopen_cookies_out)                                                                        \
    X(fastopen_bad_cookies)                                                                        \
    X(fastopen_accepted)                                                                           \
    X(fastopen_limit)                                                                              \
    X(fastopen_sent)                                                                               \
    X(fastopen_acked)                                                                              \
    X(fastopen_fallbacks)                                                                          \
    X(cookies_sent)                                                                                \
    X(cookies_accepted)                                                                            \
    X(cookies_invalid)                                                                             \
    X(time_wait_recycled)                                                                          \
    X(time_wait_reused)                                                                            \
    X(time_wait_resets_ignored)                                                                    \
    X(ports_exhausted)                                                                             \
    X(icmp_in)                                                                                     \
    X(icmp_invalid)                                                                                \
    X(pmtu_black_holes)                                                                            \
    X(pmtu_probes)                                                                                 \
    X(pmtu_raised)                                                                                 \
    X(pmtu_reductions)                                                                             \
    X(output_no_buffer)                                                                            \
    X(output_blocked)                                                                              \
    X(timeouts_deferred)                                                                           \
    X(output_failed)                                                                               \
    X(send_memory_limit)

struct mir__tcp_counters {
#define MIR__X(name) uint64_t name;
    MIR__TCP_COUNTERS(MIR__X)
#undef MIR__X
};

#endif
