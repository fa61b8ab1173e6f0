/* SPDX-License-Identifier: ISC */
/* Logging: one line a call, no newline in the text, no secret and no packet bytes.
 *
 *   MIR_LOG(TCP, WARN, "backlog full port=%u dropped=%llu", port, dropped);
 *
 * A module's level can be changed at run time; MIR_LOG_FLOOR removes levels at compile time. The
 * sink belongs to the target. The format language is that of mir_format().
 */
#ifndef MIRARI_LOG_H
#define MIRARI_LOG_H

#include <mirari/base.h>

enum mir_log_level { MIR_ERROR, MIR_WARN, MIR_INFO, MIR_DEBUG, MIR_TRACE, MIR_LOG_LEVELS };

#define MIR_LOG_MODULES(X)                                                                         \
    X(APP, "app")                                                                                  \
    X(BASE, "base")                                                                                \
    X(PAGE, "page")                                                                                \
    X(RUN, "run")                                                                                  \
    X(DEV, "dev")                                                                                  \
    X(NET, "net")                                                                                  \
    X(ARP, "arp")                                                                                  \
    X(IP, "ip")                                                                                    \
    X(ICMP, "icmp")                                                                                \
    X(UDP, "udp")                                                                                  \
    X(TCP, "tcp")                                                                                  \
    X(DHCP, "dhcp")                                                                                \
    X(HTTP, "http")                                                                                \
    X(KV, "kv")                                                                                    \
    X(RPC, "rpc")                                                                                  \
    X(TARGET, "target")                                                                            \
    X(SIM, "sim")

enum mir_log_module {
#define MIR__X(name, text) MIR_LOG_##name,
    MIR_LOG_MODULES(MIR__X)
#undef MIR__X
        MIR_LOG_MODULE_COUNT
};

#ifndef MIR_LOG_FLOOR
#define MIR_LOG_FLOOR MIR_TRACE
#endif

/** @line is NUL-terminated, [len] bytes, without newline; borrowed. */
typedef void (*mir_log_sink_fn)(void *arg, enum mir_log_level level, const char *module,
                                const char *line, size_t len);

/** private: read through MIR_LOG only. */
extern uint8_t mir__log_levels[MIR_LOG_MODULE_COUNT];

#define MIR_LOG(module, level, ...)                                                                \
    do {                                                                                           \
        if ((int)MIR_##level <= (int)MIR_LOG_FLOOR &&                                              \
            MIR_UNLIKELY((int)MIR_##level <= (int)mir__log_levels[MIR_LOG_##module]))              \
            mir__log(MIR_LOG_##module, MIR_##level, __VA_ARGS__);                                  \
    } while (0)

void mir__log(enum mir_log_module module, enum mir_log_level level, const char *fmt, ...)
    MIR_PRINTF(3, 4);

/**
 * mir_log_set_sink() - where lines go; NULL drops them.
 *
 * Returns nothing.
 * Source  none
 */
void mir_log_set_sink(mir_log_sink_fn sink, void *arg);

/** Somebody who gets every line besides the sink. Caller's memory; it must not log itself. */
struct mir_log_tap {
    mir_log_sink_fn sink;
    void *arg;
    struct mir_log_tap *next; /* private */
};
/** Lines go to @tap, too, from now on. */
void mir_log_add_tap(struct mir_log_tap *tap);
/** No more; harmless if it was not added. */
void mir_log_remove_tap(struct mir_log_tap *tap);

/** Names as in --log; static texts. */
const char *mir_log_module_name(enum mir_log_module module);
const char *mir_log_level_name(enum mir_log_level level);

/**
 * mir_log_set_levels() - set levels from a text "LEVEL[,module=LEVEL]...", as in --log.
 *
 * @spec       such as "info,tcp=debug"; levels error warn info debug trace
 * @error_pos  out: offset of the offending word in @spec; written only on -MIR_EINVAL
 *
 * Returns 0, or -MIR_EINVAL (unknown level or module; nothing is changed).
 * Source  none
 */
int mir_log_set_levels(const char *spec, size_t *error_pos) MIR_CHECK;

#endif
