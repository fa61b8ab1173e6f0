/* SPDX-License-Identifier: ISC */
/* Options about how long an appliance lives, how it ends, and how it is controlled. */
#include <mirari/format.h>

#include "lib/app/options.h"

#define TIME_MAX_S (10ull * 365 * 24 * 3600)

int mir__app_parse_time(const char *text, mir_time_us *us)
{
    static const struct {
        char letter;
        uint32_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 24 * 3600}};
    size_t len = mir_str_len(text);
    uint64_t number, unit = 1;
    for (size_t i = 0; i < MIR_ARRAY_LEN(units) && len > 0; i++) {
        if (text[len - 1] != units[i].letter)
            continue;
        unit = units[i].seconds;
        len--;
        break;
    }
    if (mir_parse_u64(text, len, TIME_MAX_S / unit, &number) < 0)
        return -MIR_EINVAL;
    *us = number * unit * MIR_US_PER_S;
    return 0;
}

static int refuse(struct mir__app_options *options, const char *name, const char *value,
                  const char *expected)
{
    mir_format(options->error, MIR__APP_ERROR_MAX, "%s: \"%.80s\" is not %s", name, value,
               expected);
    return -MIR_EINVAL;
}

int mir__app_set_life(struct mir__app_options *options, const char *name, const char *value)
{
    mir_time_us us;
    if (mir_str_equal(name, "--control") || mir_str_equal(name, "--control-ro")) {
        bool is_ro = name[9] != '\0';
        if (value[0] == '\0' || (is_ro && mir_str_equal(value, "off")))
            return refuse(options, name, value, "the path of a socket");
        *(is_ro ? &options->control_ro : &options->control) = value;
        return 0;
    }
    if (mir__app_parse_time(value, &us) < 0)
        return refuse(options, name, value, "a time such as 90, 90s, 30m, 2h or 7d");
    if (mir_str_equal(name, "--lease")) {
        if (us == 0)
            return refuse(options, name, value, "a time from 1 s on");
        options->lease_us = us;
        return 0;
    }
    options->has_grace = true;
    options->grace_us = us;
    return 0;
}
