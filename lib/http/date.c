/* SPDX-License-Identifier: ISC */
/* HTTP dates to and from seconds since 1970, without a C library.
 *
 * Days are counted in years that begin on 1 March, so that the leap day comes last: month lengths
 * then follow (153 m + 2) / 5 and eras of 400 years repeat exactly. Years 1970 to 9999.
 *
 * Source: RFC 9110 section 5.6.7 (IMF-fixdate, and the two old forms a server must read).
 */
#include "lib/http/parse.h"

#include <mirari/err.h>

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct date {
    uint32_t year, month, day; /* month and day from 1 */
    uint32_t hour, minute, second;
};

static void put2(char *out, uint32_t value)
{
    out[0] = (char)('0' + value / 10 % 10);
    out[1] = (char)('0' + value % 10);
}

/* Civil date of a day number since 1970-01-01. */
static void date_of_days(uint64_t days, struct date *date)
{
    uint64_t shifted = days + 719468; /* since 0000-03-01 */
    uint32_t era = (uint32_t)(shifted / 146097);
    uint32_t day_of_era = (uint32_t)(shifted % 146097);
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    date->day = day_of_year - (153 * month + 2) / 5 + 1;
    date->month = month < 10 ? month + 3 : month - 9;
    date->year = era * 400 + year_of_era + (date->month <= 2);
}

static uint64_t days_of_date(const struct date *date)
{
    uint32_t year = date->year - (date->month <= 2);
    uint32_t month = date->month > 2 ? date->month - 3 : date->month + 9;
    uint32_t day_of_year = (153 * month + 2) / 5 + date->day - 1;
    uint32_t year_of_era = year % 400;
    uint32_t day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (uint64_t)(year / 400) * 146097 + day_of_era - 719468;
}

void mir__http_date_emit(uint64_t unix_s, char out[MIR__HTTP_DATE_LEN])
{
    struct date date;
    uint64_t days = unix_s / 86400;
    uint32_t second = (uint32_t)(unix_s % 86400);
    date_of_days(days, &date);
    mir_memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", MIR__HTTP_DATE_LEN);
    mir_memcpy(out, day_names + (size_t)((days + 4) % 7) * 3, 3); /* 1970-01-01 was a Thursday */
    put2(out + 5, date.day);
    mir_memcpy(out + 8, month_names + (size_t)(date.month - 1) * 3, 3);
    put2(out + 12, date.year / 100);
    put2(out + 14, date.year % 100);
    put2(out + 17, second / 3600);
    put2(out + 20, second / 60 % 60);
    put2(out + 23, second % 60);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* A position in the text; the first thing that does not fit sets is_bad and all later ones fail. */
struct cursor {
    const char *at;
    const char *end;
    bool is_bad;
};

static void expect(struct cursor *c, const char *text)
{
    size_t len = mir_str_len(text);
    if (c->is_bad || (size_t)(c->end - c->at) < len || mir_memcmp(c->at, text, len) != 0) {
        c->is_bad = true;
        return;
    }
    c->at += len;
}

static uint32_t number(struct cursor *c, uint32_t digits)
{
    uint32_t value = 0;
    if (c->is_bad || (size_t)(c->end - c->at) < digits) {
        c->is_bad = true;
        return 0;
    }
    for (uint32_t i = 0; i < digits; i++) {
        uint32_t digit = (uint32_t)(uint8_t)*c->at++ - '0';
        if (digit > 9)
            c->is_bad = true;
        value = value * 10 + digit;
    }
    return value;
}

static uint32_t month(struct cursor *c)
{
    if (!c->is_bad && c->end - c->at >= 3) {
        for (uint32_t i = 0; i < 12; i++) {
            if (mir_memcmp(c->at, month_names + (size_t)i * 3, 3) == 0) {
                c->at += 3;
                return i + 1;
            }
        }
    }
    c->is_bad = true;
    return 1;
}

static void time_of_day(struct cursor *c, struct date *date)
{
    date->hour = number(c, 2);
    expect(c, ":");
    date->minute = number(c, 2);
    expect(c, ":");
    date->second = number(c, 2);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT", after the comma and the space. */
static void imf_fixdate(struct cursor *c, struct date *date)
{
    date->day = number(c, 2);
    expect(c, " ");
    date->month = month(c);
    expect(c, " ");
    date->year = number(c, 4);
    expect(c, " ");
    time_of_day(c, date);
    expect(c, " GMT");
}

/* "Sunday, 06-Nov-94 08:49:37 GMT": a year that seems more than 50 years ahead is in the past. */
static void rfc850(struct cursor *c, struct date *date, uint64_t now_unix_s)
{
    struct date now;
    date_of_days(now_unix_s / 86400, &now);
    date->day = number(c, 2);
    expect(c, "-");
    date->month = month(c);
    expect(c, "-");
    date->year = now.year / 100 * 100 + number(c, 2);
    if (date->year > now.year + 50)
        date->year -= 100;
    expect(c, " ");
    time_of_day(c, date);
    expect(c, " GMT");
}

/* "Sun Nov  6 08:49:37 1994", after the day name and the space. */
static void asctime(struct cursor *c, struct date *date)
{
    date->month = month(c);
    expect(c, " ");
    if (!c->is_bad && c->at < c->end && *c->at == ' ') {
        c->at++;
        date->day = number(c, 1);
    } else {
        date->day = number(c, 2);
    }
    expect(c, " ");
    time_of_day(c, date);
    expect(c, " ");
    date->year = number(c, 4);
}

static bool is_valid(const struct date *date)
{
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return date->year >= 1970 && date->day >= 1 && date->day <= month_days[date->month - 1] &&
           date->hour < 24 && date->minute < 60 && date->second <= 60;
}

int mir__http_date_parse(const char *text, uint32_t len, uint64_t now_unix_s, uint64_t *unix_s)
{
    struct cursor c = {.at = text, .end = text + len};
    struct date date = {0};
    uint32_t name = 0;
    while (name < len && text[name] != ',' && text[name] != ' ')
        name++;
    if (name < 3 || name == len)
        return -MIR_EMALFORMED;
    c.at += name;
    if (text[name] == ' ') {
        expect(&c, " ");
        asctime(&c, &date);
    } else {
        expect(&c, ", ");
        if (name == 3)
            imf_fixdate(&c, &date);
        else
            rfc850(&c, &date, now_unix_s);
    }
    if (c.is_bad || c.at != c.end || !is_valid(&date))
        return -MIR_EMALFORMED;
    *unix_s = days_of_date(&date) * 86400 + (uint64_t)date.hour * 3600 +
              (uint64_t)date.minute * 60 + date.second;
    return 0;
}
