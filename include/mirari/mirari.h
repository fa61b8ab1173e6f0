/* SPDX-License-Identifier: ISC */
/* Mirari: every public contract. This page states the conventions of the whole library.
 *
 * Names     mir_<module>_<verb>; `mir__` is shared between files but not public. Verbs are fixed:
 *           init/fini (caller's memory), open/close, acquire/release (counted), get/set, push/pop,
 *           parse/emit, poll, step.
 * Errors    int: 0, or a negative MIR_E* (err.h). Results come through out parameters that are
 *           written only on success. MIR_EAGAIN means "not now" and is never logged as an error.
 * Trouble   A programmer's mistake: MIR_ASSERT, release builds too. The outside world (wire, disk,
 *           manifest, memory limit): an error and a counter, never an assert. Cannot happen by
 *           type: _Static_assert.
 * Ownership borrow, give (MIR_GIVE, parameter named _given), lend: see page.h.
 * Units     last in the name: timeout_us, size_bytes. Ports and addresses are in host order unless
 *           the name ends in _be. Time is mir_time_us.
 * Threads   Everything belongs to its loop's thread unless its text says otherwise.
 * Memory    No library allocates from a heap: pools and arenas are given at init.
 * Sans-I/O  lib/ reads no clock, draws no randomness but from a given mir_rng, and never blocks,
 *           so a run is a function of its seed and its inputs.
 */
#ifndef MIRARI_MIRARI_H
#define MIRARI_MIRARI_H

#include <mirari/app.h>
#include <mirari/base.h>
#include <mirari/bytes.h>
#include <mirari/channel.h>
#include <mirari/crc.h>
#include <mirari/dev_clock.h>
#include <mirari/dev_console.h>
#include <mirari/dev_entropy.h>
#include <mirari/dev_kv.h>
#include <mirari/dev_net.h>
#include <mirari/dns.h>
#include <mirari/err.h>
#include <mirari/format.h>
#include <mirari/http.h>
#include <mirari/json.h>
#include <mirari/list.h>
#include <mirari/log.h>
#include <mirari/mdns.h>
#include <mirari/net.h>
#include <mirari/net_look.h>
#include <mirari/page.h>
#include <mirari/platform.h>
#include <mirari/record.h>
#include <mirari/rng.h>
#include <mirari/rpc.h>
#include <mirari/testing.h>
#include <mirari/run.h>
#include <mirari/vchan.h>

#endif
