/* SPDX-License-Identifier: ISC */
/* A wire from text: "rate=10m,delay=20ms,loss=1%". One table says which words there are. */
#include "target/sim/internal.h"

#include <mirari/format.h>

#include <string.h>

enum unit { UNIT_RATE, UNIT_TIME, UNIT_CHANCE, UNIT_SIZE, UNIT_MTU, UNIT_COUNT };

struct word {
    const char *name;
    enum unit unit;
    size_t offset;
    /* What may follow a '/': burst=1%/30%, reorder=2%/5ms. */
    enum unit second_unit;
    size_t second_offset; /* 0: nothing may follow */
};

#define AT(field) offsetof(struct mir_sim_wire_config, field)

static const struct word words[] = {
    {"rate", UNIT_RATE, AT(rate_bps), 0, 0},
    {"delay", UNIT_TIME, AT(delay_us), 0, 0},
    {"jitter", UNIT_TIME, AT(jitter_us), 0, 0},
    {"loss", UNIT_CHANCE, AT(loss_ppm), 0, 0},
    {"burst", UNIT_CHANCE, AT(burst_enter_ppm), UNIT_CHANCE, AT(burst_leave_ppm)},
    {"reorder", UNIT_CHANCE, AT(reorder_ppm), UNIT_TIME, AT(reorder_us)},
    {"dup", UNIT_CHANCE, AT(duplicate_ppm), 0, 0},
    {"corrupt", UNIT_CHANCE, AT(corrupt_ppm), 0, 0},
    {"every", UNIT_COUNT, AT(loss_every), 0, 0},
    {"burst-loss", UNIT_CHANCE, AT(burst_loss_ppm), 0, 0},
    {"queue", UNIT_SIZE, AT(queue_bytes), 0, 0},
    {"mark", UNIT_SIZE, AT(mark_bytes), 0, 0},
    {"red", UNIT_SIZE, AT(red_min_bytes), UNIT_SIZE, AT(red_max_bytes)},
    {"codel", UNIT_TIME, AT(codel_target_us), UNIT_TIME, AT(codel_interval_us)},
    {"fq-codel", UNIT_TIME, AT(fq_target_us), UNIT_TIME, AT(codel_interval_us)},
    {"ecn", UNIT_COUNT, AT(ecn), 0, 0},
    {"mtu", UNIT_MTU, AT(mtu), 0, 0},
};

/* Digits with up to six decimals, in millionths. */
static bool parse_decimal(const char **text, const char *end, uint64_t *micro)
{
    uint64_t value = 0;
    uint64_t scale = MIR_US_PER_S;
    const char *at = *text;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > 1000000000000ull)
            return false;
    }
    if (at == *text)
        return false;
    value *= MIR_US_PER_S;
    if (at < end && *at == '.') {
        for (at++; at < end && *at >= '0' && *at <= '9'; at++) {
            scale /= 10;
            value += scale * (uint64_t)(*at - '0');
        }
    }
    *text = at;
    *micro = value;
    return true;
}

static bool suffix_is(const char *at, const char *end, const char *suffix)
{
    size_t len = strlen(suffix);
    return (size_t)(end - at) == len && memcmp(at, suffix, len) == 0;
}

/* @multiplier is what one of the unit is in the field's unit. */
static bool parse_suffix(enum unit unit, const char *at, const char *end, uint64_t *multiplier)
{
    static const struct {
        enum unit unit;
        const char *text;
        uint64_t multiplier;
    } suffixes[] = {
        {UNIT_TIME, "us", 1},
        {UNIT_TIME, "ms", 1000},
        {UNIT_TIME, "", 1000},
        {UNIT_TIME, "s", 1000000},
        {UNIT_CHANCE, "%", 10000},
        {UNIT_CHANCE, "", 10000},
        {UNIT_RATE, "", 1},
        {UNIT_RATE, "k", 1000},
        {UNIT_RATE, "m", 1000000},
        {UNIT_RATE, "g", 1000000000},
        {UNIT_RATE, "kbit", 1000},
        {UNIT_RATE, "mbit", 1000000},
        {UNIT_RATE, "gbit", 1000000000},
        {UNIT_SIZE, "", 1},
        {UNIT_SIZE, "k", 1024},
        {UNIT_SIZE, "m", 1048576},
        {UNIT_MTU, "", 1},
        {UNIT_COUNT, "", 1},
    };
    for (size_t i = 0; i < MIR_ARRAY_LEN(suffixes); i++) {
        if (suffixes[i].unit == unit && suffix_is(at, end, suffixes[i].text)) {
            *multiplier = suffixes[i].multiplier;
            return true;
        }
    }
    return false;
}

static bool store(struct mir_sim_wire_config *config, enum unit unit, size_t offset, uint64_t value)
{
    static const uint64_t max[] = {
        [UNIT_RATE] = 100000000000ull, [UNIT_TIME] = 60000000, [UNIT_CHANCE] = 1000000,
        [UNIT_SIZE] = 1u << 30,        [UNIT_MTU] = 65535,     [UNIT_COUNT] = UINT32_MAX,
    };
    uint8_t *field = (uint8_t *)config + offset;
    uint32_t value32 = (uint32_t)value;
    uint16_t value16 = (uint16_t)value;
    if (value > max[unit])
        return false;
    if (unit == UNIT_RATE)
        memcpy(field, &value, sizeof value);
    else if (unit == UNIT_MTU)
        memcpy(field, &value16, sizeof value16);
    else
        memcpy(field, &value32, sizeof value32);
    return true;
}

static bool parse_value(struct mir_sim_wire_config *config, enum unit unit, size_t offset,
                        const char *at, const char *end)
{
    uint64_t micro, multiplier;
    return parse_decimal(&at, end, &micro) && parse_suffix(unit, at, end, &multiplier) &&
           store(config, unit, offset,
                 micro / MIR_US_PER_S * multiplier +
                     micro % MIR_US_PER_S * multiplier / MIR_US_PER_S);
}

static bool parse_word(struct mir_sim_wire_config *config, const char *at, const char *end)
{
    const char *equals = memchr(at, '=', (size_t)(end - at));
    if (equals == NULL)
        return false;
    const char *value = equals + 1;
    const char *slash = memchr(value, '/', (size_t)(end - value));
    for (size_t i = 0; i < MIR_ARRAY_LEN(words); i++) {
        const struct word *word = &words[i];
        if (!suffix_is(at, equals, word->name))
            continue;
        if (slash == NULL)
            return parse_value(config, word->unit, word->offset, value, end);
        return word->second_offset != 0 &&
               parse_value(config, word->unit, word->offset, value, slash) &&
               parse_value(config, word->second_unit, word->second_offset, slash + 1, end);
    }
    return false;
}

int mir_sim_wire_parse(const char *text, struct mir_sim_wire_config *config, size_t *error_pos)
{
    struct mir_sim_wire_config parsed = *config;
    const char *at = text;
    while (*at != '\0') {
        const char *end = strchr(at, ',');
        if (end == NULL)
            end = at + strlen(at);
        if (!parse_word(&parsed, at, end)) {
            *error_pos = (size_t)(at - text);
            return -MIR_EINVAL;
        }
        at = *end == ',' ? end + 1 : end;
    }
    /* A burst that never ends would be a cut wire. */
    if (parsed.burst_enter_ppm != 0 && parsed.burst_leave_ppm == 0)
        parsed.burst_leave_ppm = 300000;
    if (parsed.red_min_bytes != 0 && parsed.red_max_bytes == 0)
        parsed.red_max_bytes = 3 * parsed.red_min_bytes;
    *config = parsed;
    return 0;
}
