/* SPDX-License-Identifier: ISC */
/* Writes JSON into caller's memory.
 *
 * The writer keeps one thing besides the text: whether the next value needs a comma before it. It
 * does not keep the brackets that are open: whoever writes closes what he opened. What does not fit
 * is left out and is_full is set, for good: the caller then throws the text away as a whole.
 */
#include <mirari/format.h>
#include <mirari/json.h>

#include "lib/rpc/utf8.h"

static void put(struct mir_json_out *out, const char *bytes, size_t len)
{
    if (out->is_full || len > out->size - out->len) {
        out->is_full = true;
        return;
    }
    mir_memcpy(out->data + out->len, bytes, len);
    out->len += len;
}

static void begin_value(struct mir_json_out *out)
{
    if (out->needs_comma)
        put(out, ",", 1);
    out->needs_comma = true;
}

void mir_json_out_init(struct mir_json_out *out, char *data, size_t size)
{
    *out = (struct mir_json_out){.data = data, .size = size};
}

void mir_json_begin(struct mir_json_out *out, char bracket)
{
    begin_value(out);
    put(out, &bracket, 1);
    out->needs_comma = false;
}

void mir_json_end(struct mir_json_out *out, char bracket)
{
    put(out, &bracket, 1);
    out->needs_comma = true;
}

void mir_json_key(struct mir_json_out *out, const char *name)
{
    mir_json_put_text(out, name);
    put(out, ":", 1);
    out->needs_comma = false;
}

void mir_json_put_u64(struct mir_json_out *out, uint64_t value)
{
    char text[24];
    size_t len = mir_format(text, sizeof text, "%llu", (unsigned long long)value);
    begin_value(out);
    put(out, text, len);
}

void mir_json_put_bool(struct mir_json_out *out, bool value)
{
    begin_value(out);
    put(out, value ? "true" : "false", value ? 4 : 5);
}

void mir_json_put_null(struct mir_json_out *out)
{
    begin_value(out);
    put(out, "null", 4);
}

void mir_json_put_raw(struct mir_json_out *out, const char *json, size_t len)
{
    begin_value(out);
    put(out, json, len);
}

void mir_json_put_bytes(struct mir_json_out *out, const char *text, size_t len)
{
    char escape[8];
    begin_value(out);
    put(out, "\"", 1);
    for (size_t at = 0; at < len;) {
        uint8_t c = (uint8_t)text[at];
        size_t run = 1;
        if (c == '"' || c == '\\') {
            put(out, "\\", 1);
            put(out, text + at, 1);
        } else if (c < 0x20 || c == 0x7f) {
            put(out, escape, mir_format(escape, sizeof escape, "\\u%04x", c));
        } else if (c < 0x80) {
            put(out, text + at, 1);
        } else {
            run = mir__utf8_len(text + at, len - at);
            put(out, run > 0 ? text + at : "\xef\xbf\xbd", run > 0 ? run : 3);
            run = run > 0 ? run : 1;
        }
        at += run;
    }
    put(out, "\"", 1);
}

void mir_json_put_text(struct mir_json_out *out, const char *text)
{
    mir_json_put_bytes(out, text, mir_str_len(text));
}

void mir_json_put_base64(struct mir_json_out *out, const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = data;
    size_t need = (len + 2) / 3 * 4;
    begin_value(out);
    if (out->is_full || need + 2 > out->size - out->len) {
        out->is_full = true;
        return;
    }
    char *to = out->data + out->len;
    *to++ = '"';
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        uint32_t bits = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                        (left > 2 ? p[i + 2] : 0);
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[bits & 63] : '=';
    }
    *to = '"';
    out->len += need + 2;
}

void mir_json_member_u64(struct mir_json_out *out, const char *name, uint64_t value)
{
    mir_json_key(out, name);
    mir_json_put_u64(out, value);
}

void mir_json_member_bool(struct mir_json_out *out, const char *name, bool value)
{
    mir_json_key(out, name);
    mir_json_put_bool(out, value);
}

void mir_json_member_text(struct mir_json_out *out, const char *name, const char *text)
{
    mir_json_key(out, name);
    if (text == NULL)
        mir_json_put_null(out);
    else
        mir_json_put_text(out, text);
}
