/* SPDX-License-Identifier: ISC */
/* JSON without memory of its own: a strict reader into an array of nodes, and a writer into bytes.
 *
 *   {"a": [1, true]}   ->   object(1)  "a"  array(2)  1  true
 *
 * Nodes lie in the order of the text; `next` of a node is the index behind it and all that is in
 * it, so a member's value is the node behind its name and the next member is value.next. Nothing is
 * copied: nodes point into the text, strings are decoded when they are asked for.
 *
 * Accepted is RFC 8259 and nothing beyond it: UTF-8 only, no comments, no comma at the end. Numbers
 * are kept as text; only whole ones can be asked for.
 */
#ifndef MIRARI_JSON_H
#define MIRARI_JSON_H

#include <mirari/base.h>
#include <mirari/err.h>

#define MIR_JSON_DEPTH_MAX 16u
/** "there is no such node" */
#define MIR_JSON_NONE UINT32_MAX

enum mir_json_type {
    MIR_JSON_NULL,
    MIR_JSON_BOOL,
    MIR_JSON_NUMBER,
    MIR_JSON_STRING,
    MIR_JSON_ARRAY,
    MIR_JSON_OBJECT,
};

struct mir_json_node {
    uint32_t at;    /**< first byte in the text; of a string behind its quote */
    uint32_t len;   /**< bytes; of a string without its quotes */
    uint32_t next;  /**< index of the node behind this one and all inside */
    uint32_t count; /**< elements, or members */
    uint8_t type;   /**< enum mir_json_type */
};

struct mir_json {
    const char *text;
    const struct mir_json_node *nodes; /**< [count]; 0 is the whole */
    uint32_t count;
};

/**
 * mir_json_parse() - read one value.
 *
 * @text      [len] bytes, borrowed for as long as @json is used
 * @nodes     [max] nodes, lent likewise
 * @error_at  out: where the text stops making sense; written only on -MIR_EMALFORMED
 *
 * Returns 0, -MIR_EMALFORMED, -MIR_ELIMIT (more nodes, nested deeper than MIR_JSON_DEPTH_MAX).
 * Cost    O(len)
 * Source  RFC 8259
 */
int mir_json_parse(struct mir_json *json, const char *text, size_t len, struct mir_json_node *nodes,
                   uint32_t max, size_t *error_at) MIR_CHECK;

/** The value of member @name of the object @object, or MIR_JSON_NONE; also if @object is none or no
 *  object. Of members with one name the first counts. O(members). */
uint32_t mir_json_find(const struct mir_json *json, uint32_t object, const char *name);
/** Is the node of that type? False for MIR_JSON_NONE. */
bool mir_json_is(const struct mir_json *json, uint32_t node, enum mir_json_type type);
/** A whole number without fraction and exponent. Returns 0, -MIR_EINVAL (something else),
 *  -MIR_ERANGE (negative, or above @max). */
int mir_json_u64(const struct mir_json *json, uint32_t node, uint64_t max,
                 uint64_t *value) MIR_CHECK;
/** Returns 0, -MIR_EINVAL (neither true nor false). */
int mir_json_bool(const struct mir_json *json, uint32_t node, bool *value) MIR_CHECK;
/** The string, decoded, with NUL. Returns 0, -MIR_EINVAL (no string, or one with a NUL in it),
 *  -MIR_ELIMIT (does not fit @size). */
int mir_json_text(const struct mir_json *json, uint32_t node, char *out, size_t size) MIR_CHECK;
/** Is it that string? */
bool mir_json_equal(const struct mir_json *json, uint32_t node, const char *text);

/* ---- writing ------------------------------------------------------------------------------ */

/** A text that grows in caller's memory; one that does not fit is cut and is_full says so. */
struct mir_json_out {
    char *data;
    size_t size, len;
    bool is_full;
    /* private: */
    bool needs_comma;
};

/** Begin a text in [size] bytes. */
void mir_json_out_init(struct mir_json_out *out, char *data, size_t size);
void mir_json_begin(struct mir_json_out *out, char bracket); /**< '{' or '[' */
void mir_json_end(struct mir_json_out *out, char bracket);   /**< '}' or ']' */
void mir_json_key(struct mir_json_out *out, const char *name);
void mir_json_put_u64(struct mir_json_out *out, uint64_t value);
void mir_json_put_bool(struct mir_json_out *out, bool value);
void mir_json_put_null(struct mir_json_out *out);
/** [len] bytes as a string; what is no UTF-8 becomes U+FFFD. */
void mir_json_put_bytes(struct mir_json_out *out, const char *text, size_t len);
void mir_json_put_text(struct mir_json_out *out, const char *text);
/** [len] bytes in base64, as a string. Source: RFC 4648 section 4. */
void mir_json_put_base64(struct mir_json_out *out, const void *data, size_t len);
/** [len] bytes that are JSON already. */
void mir_json_put_raw(struct mir_json_out *out, const char *json, size_t len);
/* A member with its value. */
void mir_json_member_u64(struct mir_json_out *out, const char *name, uint64_t value);
void mir_json_member_bool(struct mir_json_out *out, const char *name, bool value);
void mir_json_member_text(struct mir_json_out *out, const char *name, const char *text);

#endif
