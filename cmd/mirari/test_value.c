/* SPDX-License-Identifier: ISC */
/* Values of tests: what an answer says at a path, whether it is as it should be, and $variables.
 *
 * A path is names and numbers with dots between: services.0.bytes. "." is the whole; "count" of a
 * list how many there are. Values are compared as whole numbers if both sides are, else as texts;
 * greater and less are for numbers only, so that "9" is never more than "10".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/test.h"

const char *const test_ops[] = {"==", "!=", "<", "<=", ">", ">=", "~", "!~"};
const size_t test_op_count = LEN(test_ops);

/* ---- answers --------------------------------------------------------------------------------- */

void test_value_free(struct test_value *value)
{
    free(value->text);
    free(value->nodes);
    *value = (struct test_value){0};
}

bool test_value_set(struct test_value *value, char *text_given)
{
    size_t len = strlen(text_given), error_at;
    uint32_t max = (uint32_t)(len / 2 + 2);
    test_value_free(value);
    value->text = text_given;
    value->nodes = need(max * sizeof(*value->nodes));
    if (mir_json_parse(&value->json, value->text, len, value->nodes, max, &error_at) == 0)
        return true;
    value->json = (struct mir_json){0};
    return false;
}

static uint32_t element(const struct mir_json *json, uint32_t array, const char *name)
{
    char *end;
    errno = 0;
    unsigned long index = strtoul(name, &end, 10);
    if (end == name || *end != '\0' || errno != 0 || name[0] < '0' || name[0] > '9' ||
        index >= json->nodes[array].count)
        return MIR_JSON_NONE;
    uint32_t at = array + 1;
    for (; index > 0; index--)
        at = json->nodes[at].next;
    return at;
}

/* A node as text: strings without quotes, others as they stand. */
static char *node_text(const struct mir_json *json, uint32_t node)
{
    const struct mir_json_node *n = &json->nodes[node];
    if (n->type != MIR_JSON_STRING)
        return need_text(json->text + n->at, n->len);
    char *text = need(n->len + 1);
    if (mir_json_text(json, node, text, n->len + 1) < 0)
        memcpy(text, json->text + n->at, n->len);
    return text;
}

char *test_value_get(const struct test_value *value, const char *path)
{
    const struct mir_json *json = &value->json;
    uint32_t node = 0;
    char *save = NULL, *copy, *found;
    if (json->count == 0)
        return NULL;
    copy = need_text(path, strlen(path));
    for (char *name = strtok_r(copy, ".", &save); name != NULL; name = strtok_r(NULL, ".", &save)) {
        if (mir_json_is(json, node, MIR_JSON_ARRAY) && strcmp(name, "count") == 0) {
            bool is_last = strtok_r(NULL, ".", &save) == NULL;
            free(copy);
            return is_last ? need_format("%u", json->nodes[node].count) : NULL;
        }
        node = mir_json_is(json, node, MIR_JSON_ARRAY) ? element(json, node, name)
                                                       : mir_json_find(json, node, name);
        if (node == MIR_JSON_NONE)
            break;
    }
    free(copy);
    found = node != MIR_JSON_NONE ? node_text(json, node) : NULL;
    return found;
}

const char *test_value_hint(const struct test_value *value, const char *path)
{
    const struct mir_json *json = &value->json;
    char *names[512];
    size_t count = 0;
    if (json->count == 0 || !mir_json_is(json, 0, MIR_JSON_OBJECT))
        return "";
    /* A member is its name, and the value behind it. */
    uint32_t at = 1;
    for (uint32_t i = 0; i < json->nodes[0].count && count < LEN(names); i++) {
        names[count++] = node_text(json, at);
        at = json->nodes[at + 1].next;
    }
    const char *hint = did_you_mean(path, (const char *const *)names, count);
    while (count > 0)
        free(names[--count]);
    return hint;
}

/* ---- comparisons ----------------------------------------------------------------------------- */

static bool number_of(const char *text, int64_t *number)
{
    struct why why;
    return valid_int(text, number, &why);
}

bool test_compare(const char *got, const char *op, const char *want, struct why *why)
{
    int64_t a = 0, b = 0;
    bool are_numbers = number_of(got, &a) && number_of(want, &b), holds;
    if (op[0] == '~' || op[1] == '~') {
        holds = (strstr(got, want) != NULL) == (op[0] == '~');
    } else if (op[0] == '<' || op[0] == '>') {
        if (!are_numbers)
            return fail(why, "\"%.80s\" %s \"%.80s\" is for whole numbers", got, op, want);
        bool is_equal_enough = op[1] == '=' && a == b;
        holds = is_equal_enough || (op[0] == '<' ? a < b : a > b);
    } else {
        bool is_equal = are_numbers ? a == b : strcmp(got, want) == 0;
        holds = is_equal == (op[0] == '=');
    }
    return holds || fail(why, "it is %.160s", got);
}

/* ---- variables ------------------------------------------------------------------------------- */

void test_var_set(struct test_vars *vars, const char *name, const char *value)
{
    for (size_t i = 0; i < vars->names.count; i++) {
        if (strcmp(vars->names.item[i], name) != 0)
            continue;
        free(vars->values.item[i]);
        vars->values.item[i] = need_text(value, strlen(value));
        return;
    }
    list_add(&vars->names, name);
    list_add(&vars->values, value);
}

void test_vars_free(struct test_vars *vars)
{
    for (size_t i = 0; i < vars->names.count; i++) {
        free(vars->names.item[i]);
        free(vars->values.item[i]);
    }
    free(vars->names.item);
    free(vars->values.item);
    *vars = (struct test_vars){0};
}

const char *test_var_get(const struct test_vars *vars, const char *name)
{
    for (size_t i = 0; i < vars->names.count; i++)
        if (strcmp(vars->names.item[i], name) == 0)
            return vars->values.item[i];
    return NULL;
}

/* The name behind a '$', to be freed; *@len: bytes it takes with its braces. NULL: none. */
static char *var_name(const char *text, size_t *len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    bool has_brace = text[0] == '{';
    size_t name_len = strspn(text + has_brace, letters);
    if (name_len == 0 || (has_brace && text[1 + name_len] != '}'))
        return NULL;
    *len = name_len + 2u * has_brace;
    return need_text(text + has_brace, name_len);
}

char *test_expand(const struct test_vars *vars, const char *text, char **unknown)
{
    struct str out = {0};
    str_add(&out, "", 0);
    for (const char *at = text; *at != '\0';) {
        size_t len = 0;
        char *name = *at == '$' ? var_name(at + 1, &len) : NULL;
        if (name == NULL) {
            str_add(&out, at++, 1);
            continue;
        }
        const char *value = test_var_get(vars, name);
        if (value == NULL && unknown != NULL && *unknown == NULL)
            *unknown = need_text(name, strlen(name));
        str_text(&out, value != NULL ? value : "");
        free(name);
        at += 1 + len;
    }
    return out.data;
}
