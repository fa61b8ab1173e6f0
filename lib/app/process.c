/* SPDX-License-Identifier: ISC */
/* Options about the process that an appliance is, and about those it is split into
 * (target/unix/monitor.c): --spin, --workers, --monitor. */
#include <mirari/format.h>

#include "lib/app/options.h"

enum { WORKERS_MAX = 16, SPIN_MAX_US = 1000000 };

static bool take(struct mir__app_options *options, const char *name, const char *text)
{
    uint64_t number;
    if (mir_str_equal(name, "--monitor")) {
        options->monitor = text;
        options->workers = MIR_MAX(options->workers, 1u);
        return text[0] != '\0';
    }
    bool is_spin = mir_str_equal(name, "--spin");
    if (mir_parse_u64(text, mir_str_len(text), is_spin ? SPIN_MAX_US : WORKERS_MAX, &number) < 0)
        return false;
    if (is_spin)
        options->spin_us = (uint32_t)number;
    else
        options->workers = (uint32_t)number;
    return is_spin || number > 0;
}

int mir__app_set_process(struct mir__app_options *options, const char *name, const char *text)
{
    if (take(options, name, text))
        return 0;
    mir_format(options->error, sizeof options->error, "%s: \"%.40s\" is not %s", name, text,
               mir_str_equal(name, "--spin")      ? "a number of microseconds, 0 to 1000000"
               : mir_str_equal(name, "--workers") ? "a number of processes, 1 to 16"
                                                  : "the name of a socket");
    return -MIR_EINVAL;
}
