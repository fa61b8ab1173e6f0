/* SPDX-License-Identifier: ISC */
/* snprintf without a C library, and the number parser that goes with it.
 *
 * One pass over the format; put() is the only place that writes and the only place that checks the
 * bound. The length that a complete text would have is counted even when nothing more fits, as C99
 * snprintf does. The compiler checks formats against C99, so every integer conversion, flag and
 * length of C99 is understood: one that was not would make the arguments after it come out wrong.
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
    bool left, zero, plus, space, alternate;
    int width;
    int precision; /* -1: none */
    int length;    /* -2 hh, -1 h, 0, 1 l, 2 ll, 3 j z t */
};

/* Width and precision are cut to this, so that no format can keep a caller busy for long. */
#define NUMBER_MAX 100000

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->text[o->len] = c;
    o->len++;
}

static void put_repeated(struct out *o, char c, size_t count)
{
    for (; count > 0; count--)
        put(o, c);
}

/* blanks, @prefix, @zeros zeros, @text, blanks */
static void put_padded(struct out *o, const struct spec *s, const char *prefix, size_t zeros,
                       struct out text)
{
    size_t prefix_len = mir_str_len(prefix);
    size_t total = prefix_len + zeros + text.len;
    size_t pad = (size_t)s->width > total ? (size_t)s->width - total : 0;
    if (s->zero && !s->left) {
        zeros += pad;
        pad = 0;
    }
    if (!s->left)
        put_repeated(o, ' ', pad);
    for (size_t i = 0; i < prefix_len; i++)
        put(o, prefix[i]);
    put_repeated(o, '0', zeros);
    for (size_t i = 0; i < text.len; i++)
        put(o, text.text[i]);
    if (s->left)
        put_repeated(o, ' ', pad);
}

static void put_number(struct out *o, const struct spec *s, uint64_t value, unsigned base,
                       const char *digits, const char *prefix)
{
    char text[24]; /* 2^64 in octal has 22 digits */
    size_t at = sizeof text;
    size_t min_len = s->precision >= 0 ? (size_t)s->precision : 1;
    struct spec padding = *s;
    padding.zero = s->zero && s->precision < 0;
    for (; value != 0; value /= base)
        text[--at] = digits[value % base];
    size_t len = sizeof text - at;
    if (s->alternate && base == 8 && len >= min_len)
        min_len = len + 1;
    put_padded(o, &padding, prefix, min_len > len ? min_len - len : 0,
               (struct out){.text = text + at, .len = len});
}

static void put_unsigned(struct out *o, const struct spec *s, uint64_t value, char conversion)
{
    bool shows_base = s->alternate && value != 0;
    switch (conversion) {
    case 'o':
        put_number(o, s, value, 8, "01234567", "");
        break;
    case 'x':
        put_number(o, s, value, 16, "0123456789abcdef", shows_base ? "0x" : "");
        break;
    case 'X':
        put_number(o, s, value, 16, "0123456789ABCDEF", shows_base ? "0X" : "");
        break;
    default:
        put_number(o, s, value, 10, "0123456789", "");
        break;
    }
}

static void put_signed(struct out *o, const struct spec *s, int64_t value)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    const char *sign = value < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";
    put_number(o, s, magnitude, 10, "0123456789", sign);
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
    if (length >= 2)
        return va_arg(*args, unsigned long long);
    if (length == 1)
        return va_arg(*args, unsigned long);
    unsigned value = va_arg(*args, unsigned);
    return length == -1 ? (uint16_t)value : length == -2 ? (uint8_t)value : value;
}

static const char *parse_number(const char *f, int *value, va_list *args)
{
    if (*f == '*') {
        int given = va_arg(*args, int);
        *value = MIR_MAX(MIR_MIN(given, NUMBER_MAX), -NUMBER_MAX);
        return f + 1;
    }
    for (*value = 0; *f >= '0' && *f <= '9'; f++)
        *value = MIR_MIN(*value * 10 + (*f - '0'), NUMBER_MAX);
    return f;
}

static const char *parse_flags(const char *f, struct spec *s)
{
    for (;; f++) {
        if (*f == '-')
            s->left = true;
        else if (*f == '0')
            s->zero = true;
        else if (*f == '+')
            s->plus = true;
        else if (*f == ' ')
            s->space = true;
        else if (*f == '#')
            s->alternate = true;
        else
            return f;
    }
}

static const char *parse_spec(const char *f, struct spec *s, va_list *args)
{
    *s = (struct spec){.precision = -1};
    f = parse_flags(f, s);
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
        else if (*f == 'z' || *f == 'j' || *f == 't')
            s->length = 3;
        else
            return f;
    }
}

static void put_text(struct out *o, const struct spec *s, const char *text, size_t len)
{
    struct spec padding = *s;
    padding.zero = false;
    /* Only read: the cast is for the field's type. */
    put_padded(o, &padding, "", 0, (struct out){.text = (char *)(uintptr_t)text, .len = len});
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
    size_t len = 0;
    if (text == NULL)
        text = "(null)";
    while ((s->precision < 0 || len < (size_t)s->precision) && text[len] != '\0')
        len++;
    put_text(o, s, text, len);
}

static void put_conversion(struct out *o, char c, const struct spec *s, va_list *args)
{
    switch (c) {
    case 'd':
    case 'i':
        put_signed(o, s, get_signed(s->length, args));
        break;
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        put_unsigned(o, s, get_unsigned(s->length, args), c);
        break;
    case 'p':
        put_number(o, s, (uintptr_t)va_arg(*args, void *), 16, "0123456789abcdef", "0x");
        break;
    case 'c': {
        char value = (char)va_arg(*args, int);
        put_text(o, s, &value, 1);
        break;
    }
    case 's':
        put_string(o, s, va_arg(*args, const char *));
        break;
    case '%':
        put(o, '%');
        break;
    default: /* not of this language: shown as it is */
        put(o, '%');
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
    bool is_above = false; /* of 64 bits; what follows must still be digits */
    if (len == 0)
        return -MIR_EMALFORMED;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)((unsigned char)text[i] - '0');
        if (digit > 9)
            return -MIR_EMALFORMED;
        is_above = is_above || result > (UINT64_MAX - digit) / 10;
        result = result * 10 + digit;
    }
    if (is_above || result > max)
        return -MIR_ERANGE;
    *value = result;
    return 0;
}
