/* SPDX-License-Identifier: ISC */
/* snprintf without a C library, and the number parser that goes with it.
 *
 * One pass over the format; each conversion goes through put_padded(), which is the only place that
 * writes and the only place that checks the bound. The length that a complete text would have is
 * counted even when nothing more fits, as C99 snprintf does.
 *
 * Not here: floating point, %n, wide characters, positional arguments.
 */
#include <mirari/err.h>
#include <mirari/format.h>

struct out {
    char *text;
    size_t size;
    size_t len;
};

struct spec {
    bool left, zero, plus;
    int width;
    int precision; /* -1: none */
    int length;    /* -2 hh, -1 h, 0, 1 l, 2 ll, 3 z */
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->text[o->len] = c;
    o->len++;
}

static void put_padded(struct out *o, const struct spec *s, const char *prefix, const char *text,
                       size_t len)
{
    size_t prefix_len = mir_str_len(prefix);
    size_t total = prefix_len + len;
    size_t pad = s->width > 0 && (size_t)s->width > total ? (size_t)s->width - total : 0;
    if (!s->left && !s->zero)
        for (; pad > 0; pad--)
            put(o, ' ');
    for (size_t i = 0; i < prefix_len; i++)
        put(o, prefix[i]);
    if (!s->left)
        for (; pad > 0; pad--)
            put(o, '0');
    for (size_t i = 0; i < len; i++)
        put(o, text[i]);
    for (; pad > 0; pad--)
        put(o, ' ');
}

static void put_number(struct out *o, const struct spec *s, uint64_t value, unsigned base,
                       bool upper, const char *prefix)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[66];
    size_t at = sizeof text;
    size_t min_len = s->precision > 0 ? MIR_MIN((size_t)s->precision, sizeof text) : 1;
    struct spec padding = *s;
    if (s->precision >= 0)
        padding.zero = false;
    while (value != 0 || sizeof text - at < min_len) {
        text[--at] = digits[value % base];
        value /= base;
    }
    put_padded(o, &padding, prefix, text + at, sizeof text - at);
}

static int64_t get_signed(int length, va_list *args)
{
    if (length >= 2)
        return va_arg(*args, long long);
    if (length == 1)
        return va_arg(*args, long);
    int value = va_arg(*args, int);
    return length == -1 ? (short)value : length == -2 ? (signed char)value : value;
}

static uint64_t get_unsigned(int length, va_list *args)
{
    if (length == 3)
        return va_arg(*args, size_t);
    if (length == 2)
        return va_arg(*args, unsigned long long);
    if (length == 1)
        return va_arg(*args, unsigned long);
    unsigned value = va_arg(*args, unsigned);
    return length == -1 ? (uint16_t)value : length == -2 ? (uint8_t)value : value;
}

static const char *parse_number(const char *f, int *value, va_list *args)
{
    if (*f == '*') {
        *value = va_arg(*args, int);
        return f + 1;
    }
    for (*value = 0; *f >= '0' && *f <= '9'; f++)
        *value = *value < 100000 ? *value * 10 + (*f - '0') : *value;
    return f;
}

static const char *parse_spec(const char *f, struct spec *s, va_list *args)
{
    *s = (struct spec){.precision = -1};
    for (;; f++) {
        if (*f == '-')
            s->left = true;
        else if (*f == '0')
            s->zero = true;
        else if (*f == '+')
            s->plus = true;
        else
            break;
    }
    f = parse_number(f, &s->width, args);
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    if (*f == '.')
        f = parse_number(f + 1, &s->precision, args);
    for (;; f++) {
        if (*f == 'l')
            s->length++;
        else if (*f == 'h')
            s->length--;
        else if (*f == 'z')
            s->length = 3;
        else
            return f;
    }
}

static void put_string(struct out *o, struct spec *s, const char *text)
{
    size_t len = 0;
    if (text == NULL)
        text = "(null)";
    while ((s->precision < 0 || len < (size_t)s->precision) && text[len] != '\0')
        len++;
    s->zero = false;
    put_padded(o, s, "", text, len);
}

static void put_conversion(struct out *o, char c, struct spec *s, va_list *args)
{
    switch (c) {
    case 'd':
    case 'i': {
        int64_t value = get_signed(s->length, args);
        uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
        put_number(o, s, magnitude, 10, false, value < 0 ? "-" : s->plus ? "+" : "");
        break;
    }
    case 'u':
        put_number(o, s, get_unsigned(s->length, args), 10, false, "");
        break;
    case 'x':
    case 'X':
        put_number(o, s, get_unsigned(s->length, args), 16, c == 'X', "");
        break;
    case 'p':
        put_number(o, s, (uintptr_t)va_arg(*args, void *), 16, false, "0x");
        break;
    case 'c': {
        char value = (char)va_arg(*args, int);
        s->zero = false;
        put_padded(o, s, "", &value, 1);
        break;
    }
    case 's':
        put_string(o, s, va_arg(*args, const char *));
        break;
    default:
        put(o, c);
        break;
    }
}

size_t mir_vformat(char *text, size_t size, const char *fmt, va_list args)
{
    struct out o = {.text = text, .size = size};
    va_list copy;
    va_copy(copy, args);
    for (const char *f = fmt; *f != '\0'; f++) {
        struct spec s;
        if (*f != '%') {
            put(&o, *f);
            continue;
        }
        f = parse_spec(f + 1, &s, &copy);
        if (*f == '\0')
            break;
        put_conversion(&o, *f, &s, &copy);
    }
    va_end(copy);
    if (size > 0)
        text[MIR_MIN(o.len, size - 1)] = '\0';
    return o.len;
}

size_t mir_format(char *text, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(text, size, fmt, args);
    va_end(args);
    return len;
}

int mir_parse_u64(const char *text, size_t len, uint64_t max, uint64_t *value)
{
    uint64_t result = 0;
    if (len == 0)
        return -MIR_EMALFORMED;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)((unsigned char)text[i] - '0');
        if (digit > 9)
            return -MIR_EMALFORMED;
        if (result > (UINT64_MAX - digit) / 10)
            return -MIR_ERANGE;
        result = result * 10 + digit;
    }
    if (result > max)
        return -MIR_ERANGE;
    *value = result;
    return 0;
}
