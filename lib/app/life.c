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

int mir__app_set_life(struct mir__app_options *options, const char *name, const char *value)
{
    mir_time_us us;
    if (name[2] == 'c') { /* --control, --control-ro */
        *(name[9] != '\0' ? &options->control_ro : &options->control) = value;
        return value[0] != '\0' ? 0 : -MIR_EINVAL;
    }
    if (mir__app_parse_time(value, &us) < 0)
        return -MIR_EINVAL;
    if (name[2] == 'l') { /* --lease */
        options->lease_us = us;
        return us != 0 ? 0 : -MIR_EINVAL;
    }
    options->has_grace = true;
    options->grace_us = us;
    return 0;
}
