/* SPDX-License-Identifier: ISC */
/* Specifications of faults: "loss=1%,out:delay=10ms,seed=7".
 *
 * Numbers have up to six digits behind a point and are kept as integers in the smallest unit, so
 * that nothing here needs floating point.
 */
#include <mirari/err.h>
#include <mirari/format.h>

#include "dev/net/fault/fault.h"

struct unit {
    const char *name;
    uint64_t millionths; /* of the smallest unit, per 1 */
};

static const struct unit percent[] = {{"%", 10000ull * 1000000}, {"ppm", 1000000}};
static const struct unit times[] = {
    {"us", 1000000}, {"ms", 1000ull * 1000000}, {"s", 1000000ull * 1000000}};
static const struct unit rates[] = {{"kbit", 1000ull * 1000000},
                                    {"mbit", 1000000ull * 1000000},
                                    {"gbit", 1000000000ull * 1000000},
                                    {"bit", 1000000}};

struct item {
    const char *name;
    size_t offset; /* in struct mir_fault_rule */
    bool is_wide;
    const struct unit *units;
    size_t unit_count;
    uint64_t max;
    const char *expected;
};

#define ITEM(name, field, wide, units, max, expected)                                              \
    {                                                                                              \
        name, offsetof(struct mir_fault_rule, field), wide, units, MIR_ARRAY_LEN(units), max,      \
            expected                                                                               \
    }

static const struct item items[] = {
    ITEM("loss", loss_ppm, false, percent, MIR_FAULT_PPM, "0% to 100%"),
    ITEM("dup", dup_ppm, false, percent, MIR_FAULT_PPM, "0% to 100%"),
    ITEM("reorder", reorder_ppm, false, percent, MIR_FAULT_PPM, "0% to 100%"),
    ITEM("corrupt", corrupt_ppm, false, percent, MIR_FAULT_PPM, "0% to 100%"),
    ITEM("delay", delay_us, false, times, 60000000, "a time such as 10ms, up to 60s"),
    ITEM("jitter", jitter_us, false, times, 60000000, "a time such as 2ms, up to 60s"),
    ITEM("rate", rate_bps, true, rates, 1000000000000, "a rate such as 10mbit"),
};

static bool starts_with(const char *text, size_t len, const char *word)
{
    size_t word_len = mir_str_len(word);
    return len >= word_len && mir_memcmp(text, word, word_len) == 0;
}

/* Digits, a point and digits, in millionths. Returns the bytes read, 0 = no number. */
static size_t parse_number(const char *text, size_t len, uint64_t *millionths)
{
    uint64_t value = 0, scale = 1000000;
    size_t at = 0;
    bool is_fraction = false;
    for (; at < len; at++) {
        char c = text[at];
        if (c == '.' && !is_fraction && at > 0) {
            is_fraction = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        if (value > 1000000000000ull || (is_fraction && scale == 1))
            return 0;
        value = value * 10 + (uint64_t)(c - '0');
        if (is_fraction)
            scale /= 10;
    }
    if (value > UINT64_MAX / scale)
        return 0;
    *millionths = value * scale;
    return at;
}

static bool parse_value(const struct item *item, const char *text, size_t len, uint64_t *value)
{
    uint64_t millionths = 0;
    size_t at = parse_number(text, len, &millionths);
    if (at == 0)
        return false;
    for (size_t i = 0; i < item->unit_count; i++) {
        const struct unit *unit = &item->units[i];
        if (mir_str_len(unit->name) != len - at || !starts_with(text + at, len - at, unit->name))
            continue;
        /* In two steps, since the product may be too large for 64 bits. */
        uint64_t factor = unit->millionths / 1000000;
        if (factor != 0 && millionths > UINT64_MAX / factor)
            return false;
        *value = millionths * factor / 1000000;
        return *value <= item->max;
    }
    *value = 0;
    return millionths == 0 && at == len;
}

static void set_value(struct mir_fault_rule *rule, const struct item *item, uint64_t value)
{
    uint8_t *field = (uint8_t *)rule + item->offset;
    uint32_t narrow = (uint32_t)value;
    if (item->is_wide)
        mir_memcpy(field, &value, sizeof value);
    else
        mir_memcpy(field, &narrow, sizeof narrow);
}

static int refuse(char *error, const char *text, size_t len, const char *why)
{
    mir_format(error, MIR_FAULT_ERROR_MAX, "\"%.*s\": %s", (int)MIR_MIN(len, 40u), text, why);
    return -MIR_EINVAL;
}

static int parse_item(const char *text, size_t len, struct mir_fault_spec *spec, char *error)
{
    const char *whole = text;
    size_t whole_len = len, equals = 0;
    bool is_in = true, is_out = true;
    if (starts_with(text, len, "in:") || starts_with(text, len, "out:")) {
        is_in = text[0] == 'i';
        is_out = !is_in;
        text += is_in ? 3 : 4;
        len -= is_in ? 3 : 4;
    }
    while (equals < len && text[equals] != '=')
        equals++;
    if (whole_len == 4 && starts_with(whole, whole_len, "down")) {
        spec->is_down = true;
        return 0;
    }
    if (whole_len == 4 && starts_with(whole, whole_len, "none"))
        return 0;
    if (equals == len)
        return refuse(error, whole, whole_len, "expected NAME=VALUE");
    const char *value_text = text + equals + 1;
    size_t value_len = len - equals - 1;
    uint64_t value = 0;
    if (equals == 4 && starts_with(text, len, "seed"))
        return mir_parse_u64(value_text, value_len, UINT64_MAX, &spec->seed) == 0
                   ? 0
                   : refuse(error, whole, whole_len, "a seed is a whole number");
    for (size_t i = 0; i < MIR_ARRAY_LEN(items); i++) {
        if (mir_str_len(items[i].name) != equals || !starts_with(text, len, items[i].name))
            continue;
        if (!parse_value(&items[i], value_text, value_len, &value))
            return refuse(error, whole, whole_len, items[i].expected);
        if (is_in)
            set_value(&spec->rule[MIR_FAULT_IN], &items[i], value);
        if (is_out)
            set_value(&spec->rule[MIR_FAULT_OUT], &items[i], value);
        return 0;
    }
    return refuse(error, whole, whole_len,
                  "unknown; there is loss dup reorder corrupt delay jitter rate seed down none");
}

int mir_fault_parse(const char *text, struct mir_fault_spec *spec, char *error)
{
    struct mir_fault_spec result = {.seed = 1};
    size_t at = 0;
    do {
        size_t len = 0;
        while (text[at + len] != '\0' && text[at + len] != ',')
            len++;
        int r = parse_item(text + at, len, &result, error);
        if (r < 0)
            return r;
        at += len;
    } while (text[at++] == ',');
    *spec = result;
    return 0;
}
