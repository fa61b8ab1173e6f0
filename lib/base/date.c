/* SPDX-License-Identifier: ISC */
/* A time as a line of the log shows it: "2026-11-21 23:54:11.482133", UTC. */
#include <mirari/format.h>

#include "lib/base/date.h"

struct date {
    uint32_t year, month, day;
};

/* Civil date of a day number since 1970-01-01, in years that begin in March. */
static struct date date_of_day(uint64_t day)
{
    uint64_t z = day + 719468;
    uint64_t era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    struct date date = {
        .day = (uint32_t)(doy - (153 * mp + 2) / 5 + 1),
        .month = (uint32_t)(mp < 10 ? mp + 3 : mp - 9),
    };
    date.year = (uint32_t)(yoe + era * 400 + (date.month <= 2 ? 1 : 0));
    return date;
}

size_t mir__date_text(char *out, size_t size, mir_time_us wall_us)
{
    uint64_t seconds = wall_us / MIR_US_PER_S;
    struct date date = date_of_day(seconds / 86400);
    uint32_t second = (uint32_t)(seconds % 86400);
    return mir_format(out, size, "%04u-%02u-%02u %02u:%02u:%02u.%06u", date.year, date.month,
                      date.day, second / 3600, second / 60 % 60, second % 60,
                      (uint32_t)(wall_us % MIR_US_PER_S));
}
