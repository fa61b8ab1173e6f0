/* SPDX-License-Identifier: ISC */
/* Values of the parameters that a manifest declares: which texts are valid, and what they say. */
#include <mirari/format.h>

#include "lib/app/options.h"

static bool is_any_of(const char *value, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (mir_str_equal(value, words[i]))
            return true;
    }
    return false;
}

bool mir__app_param_value(enum mir_param_type type, const char *value, int64_t *number)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    uint64_t magnitude;
    bool is_negative = value[0] == '-';
    switch (type) {
    case MIR_PARAM_STRING:
        return true;
    case MIR_PARAM_BOOL:
        *number = is_any_of(value, yes, MIR_ARRAY_LEN(yes)) ? 1 : 0;
        return *number == 1 || is_any_of(value, no, MIR_ARRAY_LEN(no));
    case MIR_PARAM_INT:
        if (is_negative)
            value++;
        if (mir_parse_u64(value, mir_str_len(value), INT64_MAX, &magnitude) < 0)
            return false;
        *number = is_negative ? -(int64_t)magnitude : (int64_t)magnitude;
        return true;
    }
    return false;
}
