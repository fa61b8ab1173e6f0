/* SPDX-License-Identifier: ISC */
/* Log levels, formatting and the one sink.
 *
 * A line is made in a buffer on the stack and cut at 399 bytes. Control characters become '?': what
 * a peer sent can be part of a line, and must not be able to begin a new one or to drive a
 * terminal.
 */
#include <stdarg.h>

#include <mirari/err.h>
#include <mirari/format.h>
#include <mirari/log.h>
#include <mirari/platform.h>

static const char *const module_names[MIR_LOG_MODULE_COUNT] = {
#define MIR__X(name, text) [MIR_LOG_##name] = (text),
    MIR_LOG_MODULES(MIR__X)
#undef MIR__X
};

static const char *const level_names[MIR_LOG_LEVELS] = {"error", "warn", "info", "debug", "trace"};

uint8_t mir__log_levels[MIR_LOG_MODULE_COUNT] = {
#define MIR__X(name, text) [MIR_LOG_##name] = MIR_WARN,
    MIR_LOG_MODULES(MIR__X)
#undef MIR__X
};

static mir_log_sink_fn log_sink;
static void *log_sink_arg;
static struct mir_log_tap *log_taps;

void mir_log_set_sink(mir_log_sink_fn sink, void *arg)
{
    log_sink = sink;
    log_sink_arg = arg;
}

void mir_log_add_tap(struct mir_log_tap *tap)
{
    tap->next = log_taps;
    log_taps = tap;
}

void mir_log_remove_tap(struct mir_log_tap *tap)
{
    struct mir_log_tap **at = &log_taps;
    while (*at != NULL && *at != tap)
        at = &(*at)->next;
    if (*at != NULL)
        *at = tap->next;
}

const char *mir_log_module_name(enum mir_log_module module)
{
    return module_names[module];
}

const char *mir_log_level_name(enum mir_log_level level)
{
    return level_names[level];
}

void mir__log(enum mir_log_module module, enum mir_log_level level, const char *fmt, ...)
{
    char line[400];
    va_list args;
    if (log_sink == NULL && log_taps == NULL)
        return;
    va_start(args, fmt);
    size_t len = mir_vformat(line, sizeof line, fmt, args);
    va_end(args);
    len = MIR_MIN(len, sizeof line - 1);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    }
    if (log_sink != NULL)
        log_sink(log_sink_arg, level, module_names[module], line, len);
    for (struct mir_log_tap *tap = log_taps; tap != NULL; tap = tap->next)
        tap->sink(tap->arg, level, module_names[module], line, len);
}

static int find_word(const char *word, size_t len, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (mir_str_len(names[i]) == len && mir_memcmp(names[i], word, len) == 0)
            return i;
    }
    return -1;
}

/* One element: "debug" for all modules, or "tcp=debug". */
static int apply_word(const char *word, size_t len, uint8_t levels[MIR_LOG_MODULE_COUNT],
                      size_t *bad_at)
{
    size_t eq = 0;
    while (eq < len && word[eq] != '=')
        eq++;
    size_t level_at = eq < len ? eq + 1 : 0;
    int level = find_word(word + level_at, len - level_at, level_names, MIR_LOG_LEVELS);
    if (level < 0) {
        *bad_at = level_at;
        return -MIR_EINVAL;
    }
    if (eq == len) {
        mir_memset(levels, level, MIR_LOG_MODULE_COUNT);
        return 0;
    }
    int module = find_word(word, eq, module_names, MIR_LOG_MODULE_COUNT);
    if (module < 0) {
        *bad_at = 0;
        return -MIR_EINVAL;
    }
    levels[module] = (uint8_t)level;
    return 0;
}

int mir_log_set_levels(const char *spec, size_t *error_pos)
{
    uint8_t levels[MIR_LOG_MODULE_COUNT];
    mir_memcpy(levels, mir__log_levels, sizeof levels);
    for (size_t at = 0;;) {
        size_t len = 0, bad_at = 0;
        while (spec[at + len] != '\0' && spec[at + len] != ',')
            len++;
        int r = apply_word(spec + at, len, levels, &bad_at);
        if (r < 0) {
            *error_pos = at + bad_at;
            return r;
        }
        if (spec[at + len] == '\0')
            break;
        at += len + 1;
    }
    mir_memcpy(mir__log_levels, levels, sizeof levels);
    return 0;
}

void mir__assert_fail(const char *file, int line, const char *text, uint64_t left, uint64_t right)
{
    char message[400];
    mir_format(message, sizeof message, "%s:%d: assertion failed: %s (%llu, %llu)", file, line,
               text, (unsigned long long)left, (unsigned long long)right);
    mir_platform_abort(message);
}
