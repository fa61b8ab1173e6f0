/* SPDX-License-Identifier: ISC */
/* Turns the tree of a manifest into struct manifest, and says everything that is wrong with it.
 *
 * Tables of keys drive the reading: each section has a list of known keys, and what is not in it is
 * an error with the nearest known one. All checks run even after errors, so that one run shows all
 * of them; relations between values (gateway inside the subnet, the same port twice) are checked
 * only between values that are good by themselves.
 *
 * Keys of the old Mirari become the new ones: ip-* make the network "net0", fs-NAME makes the store
 * NAME, http-port and http-address become parameters of the same name. main-* say whether there is
 * a network; the function they name has no meaning, since the entry is always mir_app_main().
 *
 * manifest_check_nets() is separate because `mirari run` repeats it after the options of its
 * command line have replaced fields (their line is 0).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/mirari/reader.h"

const char *const reserved_options[] = {
    "net",         "ip",      "gateway", "route",      "ip6",    "mac",     "mtu",
    "vlan",        "forward", "host-ip", "pcap",       "fault",  "trace",   "log",
    "memory",      "spin",    "dns",     "no-sandbox", "help",   "version", "acd",
    "link-local4", "accel",   "machine", "cpu",        "disk",   "gdb",     "qemu",
    "print",       "kv",      "workers", "monitor",    "channel"};
const size_t reserved_option_count = LEN(reserved_options);

/* ---- helpers ----------------------------------------------------------------------------------
 */

/* The text of a scalar, or NULL with a message. */
const char *reader_scalar(struct reader *r, const struct conf_node *node)
{
    if (node->kind == CONF_SCALAR)
        return node->text;
    diag_error(r->diag, node->line, "\"%s\" takes one value, not a %s; write %s = VALUE",
               node->key != NULL ? node->key : "list",
               node->kind == CONF_ARRAY ? "list" : "section", node->key != NULL ? node->key : "it");
    return NULL;
}

/* False, with a message, if an earlier sibling has the same key. */
bool reader_is_first(struct reader *r, const struct conf_node *parent, const struct conf_node *node)
{
    for (const struct conf_node *other = parent->child; other != node; other = other->next) {
        if (other->key == NULL || strcmp(other->key, node->key) != 0)
            continue;
        diag_error(r->diag, node->line, "\"%s\" is given twice, first on line %d; remove one",
                   node->key, other->line);
        return false;
    }
    return true;
}

void reader_unknown_key(struct reader *r, const struct conf_node *node, const char *const *names,
                        size_t count, const char *where)
{
    const char *near = did_you_mean(node->key, names, count);
    if (near[0] != '\0') {
        diag_error(r->diag, node->line, "unknown key \"%.64s\"%s", node->key, near);
        return;
    }
    struct str all = {0};
    for (size_t i = 0; i < count; i++)
        str_format(&all, "%s%s", i > 0 ? " " : "", names[i]);
    diag_error(r->diag, node->line, "unknown key \"%.64s\"; %s takes: %s%s", node->key, where,
               all.data,
               isdigit((unsigned char)node->key[0])
                   ? " (a list with commas is written in quotes or [brackets])"
                   : "");
    str_free(&all);
}

/* Entries of a list: an array, or one text split at blanks or commas. */
void reader_entries(struct reader *r, const struct conf_node *node, const char *separators,
                    struct list *list)
{
    if (node->kind == CONF_ARRAY) {
        for (const struct conf_node *entry = node->child; entry != NULL; entry = entry->next) {
            const char *text = reader_scalar(r, entry);
            if (text != NULL)
                list_add(list, text);
        }
        return;
    }
    const char *at = reader_scalar(r, node);
    while (at != NULL && *(at += strspn(at, separators)) != '\0') {
        size_t len = strcspn(at, separators);
        char *word = need_text(at, len);
        list_add(list, word);
        free(word);
        at += len;
    }
}

struct field reader_field(struct reader *r, const struct conf_node *node)
{
    const char *text = reader_scalar(r, node);
    if (text == NULL)
        return (struct field){0};
    return (struct field){.text = need_text(text, strlen(text)), .line = node->line};
}

/* ---- net ------------------------------------------------------------------------------------- */

/* `mode = packet; interface = eth0` is packet:eth0. */
static void join_interface(struct reader *r, struct manifest_net *net, struct field *interface)
{
    const char *mode = net->mode.text != NULL ? net->mode.text : "";
    if (interface->text == NULL)
        return;
    if (strcmp(mode, "tap") == 0 || strcmp(mode, "packet") == 0) {
        char *joined = need_format("%s:%s", mode, interface->text);
        free(net->mode.text);
        net->mode.text = joined;
    } else {
        diag_error(r->diag, interface->line,
                   "interface needs mode = tap or mode = packet, without a name of its own");
    }
    free(interface->text);
}

static void read_net(struct reader *r, const struct conf_node *section, const char *name)
{
    static const char *const keys[] = {"mode",  "mac",     "mtu",         "interface", "ip6",
                                       "vlan",  "acd",     "link-local4", "ip",        "gateway",
                                       "route", "forward", "dns"};
    struct manifest *m = r->manifest;
    struct why why;
    if (!valid_label(name, &why)) {
        diag_error(r->diag, section->line, "%s", why.text);
        return;
    }
    for (size_t i = 0; i < m->net_count; i++) {
        if (strcmp(m->net[i].name, name) == 0) {
            diag_error(r->diag, section->line,
                       "net \"%s\" is there already, on line %d; name this one: net NAME { ... }",
                       name, m->net[i].line);
            return;
        }
    }
    if (m->net_count == MANIFEST_NETS_MAX) {
        diag_error(r->diag, section->line, "more than %d nets; remove some", MANIFEST_NETS_MAX);
        return;
    }
    struct manifest_net *net = &m->net[m->net_count++];
    *net = (struct manifest_net){.name = need_text(name, strlen(name)), .line = section->line};
    struct field interface = {0};
    struct field *const fields[] = {&net->mode, &net->mac,  &net->mtu, &interface,
                                    &net->ip6,  &net->vlan, &net->acd, &net->link_local4};
    struct field *const lists[] = {&net->ip, &net->gateway, &net->route, &net->forward, &net->dns};
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        size_t i = 0;
        while (i < LEN(keys) && strcmp(node->key, keys[i]) != 0)
            i++;
        if (node->kind == CONF_OBJECT && i == LEN(keys))
            continue; /* a named net, read by read_nets() */
        if (i == LEN(keys)) {
            reader_unknown_key(r, node, keys, LEN(keys), "net");
        } else if (i < LEN(fields)) {
            if (reader_is_first(r, section, node))
                *fields[i] = reader_field(r, node);
        } else {
            struct field *field = lists[i - LEN(fields)];
            struct list list = {0};
            struct str text = {0};
            if (field->text != NULL)
                str_text(&text, field->text);
            reader_entries(r, node, ", \t", &list);
            for (size_t k = 0; k < list.count; k++) {
                str_format(&text, "%s%s", text.len > 0 ? "," : "", list.item[k]);
                free(list.item[k]);
            }
            free(list.item);
            free(field->text);
            *field = (struct field){.text = text.data, .line = node->line};
        }
    }
    join_interface(r, net, &interface);
}

/* `net { }` is the net "net0"; `net NAME { }` another, or many. */
static void read_nets(struct reader *r, const struct conf_node *node)
{
    if (node->kind != CONF_OBJECT) {
        diag_error(r->diag, node->line, "\"net\" is a section; write net { mode = user }");
        return;
    }
    bool has_named = false, has_values = false;
    for (const struct conf_node *child = node->child; child != NULL; child = child->next) {
        if (child->kind == CONF_OBJECT)
            has_named = true;
        else
            has_values = true;
    }
    if (has_values || !has_named)
        read_net(r, node, "net0");
    for (const struct conf_node *child = node->child; child != NULL; child = child->next)
        if (child->kind == CONF_OBJECT)
            read_net(r, child, child->key);
}

/* ---- kv -------------------------------------------------------------------------------------- */

static void add_kv(struct reader *r, const char *name, const char *dir, int line, int dir_line)
{
    struct manifest *m = r->manifest;
    struct why why;
    if (!valid_label(name, &why)) {
        diag_error(r->diag, line, "%s", why.text);
        return;
    }
    char *symbol = need_text(name, strlen(name));
    for (char *at = symbol; *at != '\0'; at++)
        if (*at == '-')
            *at = '_';
    bool good = m->kv_count < MANIFEST_KVS_MAX;
    if (!good)
        diag_error(r->diag, line, "more than %d stores; remove some", MANIFEST_KVS_MAX);
    for (size_t i = 0; i < m->kv_count && good; i++) {
        good = strcmp(m->kv[i].symbol, symbol) != 0;
        if (!good)
            diag_error(r->diag, line,
                       "store \"%s\" is there already as \"%s\", on line %d; choose another name",
                       name, m->kv[i].name, m->kv[i].line);
    }
    if (r->look_at_files && good) {
        char *path = path_join(m->folder, dir);
        struct stat st;
        if (stat(path, &st) != 0)
            diag_error(r->diag, dir_line,
                       "cannot open folder \"%s\" of store \"%s\": %s; create "
                       "it, or correct the path (it is relative to this file)",
                       dir, name, strerror(errno));
        else if (!S_ISDIR(st.st_mode))
            diag_error(r->diag, dir_line, "\"%s\" of store \"%s\" is not a folder; name a folder",
                       dir, name);
        free(path);
    }
    if (!good) {
        free(symbol);
        return;
    }
    m->kv[m->kv_count++] = (struct manifest_kv){.name = need_text(name, strlen(name)),
                                                .symbol = symbol,
                                                .dir = need_text(dir, strlen(dir)),
                                                .line = line};
}

static void read_kv(struct reader *r, const struct conf_node *section)
{
    static const char *const keys[] = {"dir", "check"};
    const struct conf_node *dir = NULL, *check = NULL;
    if (section->kind != CONF_OBJECT) {
        diag_error(r->diag, section->line,
                   "\"kv\" is a section with a name; write kv NAME { dir = \"folder\" }");
        return;
    }
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        if (strcmp(node->key, "dir") != 0 && strcmp(node->key, "check") != 0)
            reader_unknown_key(r, node, keys, LEN(keys), "kv");
        else if (reader_is_first(r, section, node))
            *(node->key[0] == 'd' ? &dir : &check) = node;
    }
    const char *what = check != NULL ? reader_scalar(r, check) : NULL;
    if (what != NULL && strcmp(what, "zones") != 0)
        diag_error(r->diag, check->line, "check = \"%s\": what can be checked are zones", what);
    const char *text = dir != NULL ? reader_scalar(r, dir) : NULL;
    if (dir == NULL)
        diag_error(r->diag, section->line, "store \"%s\" has no folder; add dir = \"folder\"",
                   section->key);
    else if (text != NULL && text[0] == '\0')
        diag_error(r->diag, dir->line, "\"dir\" is empty; name a folder");
    else if (text != NULL)
        add_kv(r, section->key, text, section->line, dir->line);
    if (what != NULL && r->manifest->kv_count > 0)
        r->manifest->kv[r->manifest->kv_count - 1].is_zones = true;
}

/* ---- args ------------------------------------------------------------------------------------ */

static bool valid_param(enum param_type type, const char *text, struct why *why)
{
    return type == PARAM_INT    ? valid_int(text, NULL, why)
           : type == PARAM_BOOL ? valid_bool(text, NULL, why)
                                : true;
}

static void add_param(struct reader *r, const struct conf_node *section, enum param_type type,
                      const struct conf_node *value, const struct conf_node *doc)
{
    struct manifest *m = r->manifest;
    struct why why;
    const char *name = section->key;
    static const char *const nothing[] = {"", "0", "false"};
    const char *text = value != NULL ? reader_scalar(r, value) : nothing[type];
    const char *doc_text = doc != NULL ? reader_scalar(r, doc) : "";
    if (text != NULL && !valid_param(type, text, &why)) {
        diag_error(r->diag, value->line, "default of \"%s\": %s", name, why.text);
        text = NULL;
    }
    if (!valid_label(name, &why)) {
        diag_error(r->diag, section->line, "%s", why.text);
        return;
    }
    for (size_t i = 0; i < reserved_option_count; i++) {
        if (strcmp(name, reserved_options[i]) == 0) {
            diag_error(r->diag, section->line,
                       "every appliance has an option --%s already; choose another name", name);
            return;
        }
    }
    if (m->param_count == MANIFEST_PARAMS_MAX) {
        diag_error(r->diag, section->line, "more than %d parameters; remove some",
                   MANIFEST_PARAMS_MAX);
        return;
    }
    if (text == NULL || doc_text == NULL)
        return;
    bool truth;
    if (type == PARAM_BOOL && valid_bool(text, &truth, &why))
        text = truth ? "true" : "false";
    m->param[m->param_count++] =
        (struct manifest_param){.name = need_text(name, strlen(name)),
                                .doc = need_text(doc_text, strlen(doc_text)),
                                .value = need_text(text, strlen(text)),
                                .type = type,
                                .line = section->line};
}

static void read_param(struct reader *r, const struct conf_node *section)
{
    static const char *const keys[] = {"type", "default", "doc"};
    static const char *const types[] = {"string", "int", "bool"};
    const struct conf_node *found[3] = {NULL, NULL, NULL};
    if (section->kind != CONF_OBJECT) {
        diag_error(r->diag, section->line,
                   "\"%s\" is a section; write args %s { type = string; default = \"...\" }",
                   section->key, section->key);
        return;
    }
    for (const struct conf_node *node = section->child; node != NULL; node = node->next) {
        size_t i = 0;
        while (i < LEN(keys) && strcmp(node->key, keys[i]) != 0)
            i++;
        if (i == LEN(keys))
            reader_unknown_key(r, node, keys, LEN(keys), "args NAME");
        else if (reader_is_first(r, section, node))
            found[i] = node;
    }
    size_t type = 0;
    const char *text = found[0] != NULL ? reader_scalar(r, found[0]) : NULL;
    if (found[0] == NULL) {
        diag_error(r->diag, section->line,
                   "parameter \"%s\" has no type; add type = string, int or bool", section->key);
        return;
    }
    while (text != NULL && type < LEN(types) && strcmp(text, types[type]) != 0)
        type++;
    if (text != NULL && type == LEN(types))
        diag_error(r->diag, found[0]->line, "unknown type \"%.64s\"; write string, int or bool%s",
                   text, did_you_mean(text, types, LEN(types)));
    else if (text != NULL)
        add_param(r, section, (enum param_type)type, found[1], found[2]);
}

/* `args NAME { }`, `kv NAME { }`, `disk NAME { }` and `channel NAME { }` are sections in a section.
 */
static void read_named(struct reader *r, const struct conf_node *node,
                       void (*read)(struct reader *, const struct conf_node *), const char *hint)
{
    if (node->kind != CONF_OBJECT) {
        diag_error(r->diag, node->line, "\"%s\" is a section with a name; write %s", node->key,
                   hint);
        return;
    }
    for (const struct conf_node *child = node->child; child != NULL; child = child->next) {
        bool is_twice = false;
        for (size_t i = 0; read == read_param && i < r->manifest->param_count; i++) {
            is_twice = strcmp(r->manifest->param[i].name, child->key) == 0;
            if (!is_twice)
                continue;
            diag_error(r->diag, child->line,
                       "parameter \"%s\" is there already, on line %d; "
                       "remove one",
                       child->key, r->manifest->param[i].line);
            break;
        }
        if (!is_twice)
            read(r, child);
    }
}

/* ---- sources, flags ----------------------------------------------------------------------------
 */

static void check_source(struct reader *r, const char *name, int line)
{
    size_t len = strlen(name);
    if (name[0] == '/') {
        diag_error(r->diag, line, "source \"%s\" is absolute; write it relative to this file",
                   name);
        return;
    }
    if (len < 3 || (strcmp(name + len - 2, ".c") != 0 && strcmp(name + len - 2, ".S") != 0)) {
        diag_error(r->diag, line,
                   "source \"%s\" ends in neither .c nor .S; name C or assembly "
                   "files",
                   name);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)name[i] >= 0x20 && name[i] != 0x7f)
            continue;
        diag_error(r->diag, line, "source \"%s\" has a control character in its name; rename it",
                   name);
        return;
    }
    struct stat st;
    char *path = path_join(r->manifest->folder, name);
    if (r->look_at_files && (stat(path, &st) != 0 || !S_ISREG(st.st_mode)))
        diag_error(r->diag, line, "no source file \"%s\"; create it, or correct the name", name);
    free(path);
}

static void read_sources(struct reader *r, const struct conf_node *node)
{
    struct list list = {0};
    reader_entries(r, node, " \t", &list);
    for (size_t i = 0; i < list.count; i++) {
        check_source(r, list.item[i], node->line);
        bool is_twice = false;
        for (size_t k = 0; k < r->manifest->sources.count; k++)
            is_twice = is_twice || strcmp(r->manifest->sources.item[k], list.item[i]) == 0;
        if (is_twice)
            diag_error(r->diag, node->line, "source \"%s\" is named twice; remove one",
                       list.item[i]);
        else
            list_add(&r->manifest->sources, list.item[i]);
        free(list.item[i]);
    }
    free(list.item);
}

static void default_sources(struct reader *r)
{
    struct manifest *m = r->manifest;
    DIR *dir = opendir(m->folder);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && len > 2 && strcmp(entry->d_name + len - 2, ".c") == 0) {
            check_source(r, entry->d_name, 0);
            list_add(&m->sources, entry->d_name);
        }
    }
    closedir(dir);
    list_sort(&m->sources);
    if (m->sources.count == 0)
        diag_error(r->diag, 0,
                   "no C files in the folder; write main.c with mir_app_main(), or name "
                   "them: sources = [\"src/main.c\"]");
}

static void read_flags(struct reader *r, const struct conf_node *node, struct list *flags,
                       bool is_lib)
{
    size_t begin = flags->count;
    reader_entries(r, node, " \t", flags);
    for (size_t i = begin; i < flags->count; i++) {
        const char *text = flags->item[i];
        size_t len = strlen(text);
        bool is_archive = is_lib && len > 2 && strcmp(text + len - 2, ".a") == 0;
        if (is_archive && r->look_at_files) {
            char *path = path_join(r->manifest->folder, text);
            struct stat st;
            if (stat(path, &st) != 0)
                diag_error(r->diag, node->line, "no library file \"%s\"; correct the path", text);
            free(path);
        } else if (!is_archive && (text[0] != '-' || text[1] == '\0')) {
            diag_error(r->diag, node->line, "\"%s\" is not %s; write it as in %s", text,
                       is_lib ? "a library" : "a compiler option",
                       is_lib ? "-lm or libx.a" : "-DNAME=1");
        }
    }
}

/* ---- the old keys
 * -------------------------------------------------------------------------------- */

/* Returns false if the key is none of them. */
static bool read_old_key(struct reader *r, const struct conf_node *root,
                         const struct conf_node *node)
{
    const struct {
        const char *key;
        const struct conf_node **slot;
    } old[] = {
        {"ip-use-dhcp", &r->use_dhcp}, {"ip-address", &r->address},
        {"ip-netmask", &r->netmask},   {"ip-gateway", &r->gateway},
        {"http-port", &r->http_port},  {"http-address", &r->http_address},
    };
    for (size_t i = 0; i < LEN(old); i++) {
        if (strcmp(node->key, old[i].key) != 0)
            continue;
        if (reader_is_first(r, root, node) && reader_scalar(r, node) != NULL)
            *old[i].slot = node;
        return true;
    }
    if (strcmp(node->key, "main-http") == 0 || strcmp(node->key, "main-ip") == 0 ||
        strcmp(node->key, "main-noip") == 0) {
        if (r->main != NULL) {
            diag_error(r->diag, node->line,
                       "\"%s\" after \"%s\" on line %d: too many main "
                       "functions; keep one",
                       node->key, r->main->key, r->main->line);
            return true;
        }
        r->main = node;
        r->main_is_noip = strcmp(node->key, "main-noip") == 0;
        r->main_is_http = strcmp(node->key, "main-http") == 0;
        return true;
    }
    if (strncmp(node->key, "fs-", 3) == 0) {
        const char *dir = reader_scalar(r, node);
        if (dir != NULL && dir[0] != '\0')
            add_kv(r, node->key + 3, dir, node->line, node->line);
        return true;
    }
    if (strcmp(node->key, "depends") == 0 || strcmp(node->key, "packages") == 0 ||
        strncmp(node->key, "xl-", 3) == 0) {
        diag_warn(r->diag, node->line, "\"%s\" has no meaning here and is left out", node->key);
        return true;
    }
    return false;
}

static void old_static_net(struct reader *r, struct manifest_net *net)
{
    struct why why;
    const char *address = r->address != NULL ? r->address->text : "10.0.0.2";
    const char *netmask = r->netmask != NULL ? r->netmask->text : "255.255.255.0";
    int line = r->address != NULL ? r->address->line : net->line;
    unsigned len;
    if (!valid_netmask(netmask, &len, &why)) {
        diag_error(r->diag, r->netmask != NULL ? r->netmask->line : line, "ip-netmask: %s",
                   why.text);
        return;
    }
    net->ip = (struct field){.text = need_format("%s/%u", address, len), .line = line};
    const char *gateway = r->gateway != NULL ? r->gateway->text : "10.0.0.1";
    net->gateway = (struct field){.text = need_text(gateway, strlen(gateway)),
                                  .line = r->gateway != NULL ? r->gateway->line : line};
}

static void old_net(struct reader *r)
{
    struct manifest *m = r->manifest;
    const struct conf_node *given[] = {r->use_dhcp, r->address, r->netmask, r->gateway};
    const struct conf_node *any = NULL;
    for (size_t i = 0; i < LEN(given); i++)
        if (given[i] != NULL && any == NULL)
            any = given[i];
    if (any == NULL) {
        if (r->main != NULL && !r->main_is_noip && m->net_count == 0)
            diag_error(r->diag, r->main->line,
                       "\"%s\" needs a network; add ip-use-dhcp: true, or "
                       "ip-address",
                       r->main->key);
        return;
    }
    if (r->main_is_noip) {
        diag_warn(r->diag, any->line, "\"%s\" has no meaning with main-noip: no network is made",
                  any->key);
        return;
    }
    if (m->net_count > 0) {
        diag_error(r->diag, any->line, "\"%s\" beside a section net; keep one of the two forms",
                   any->key);
        return;
    }
    struct manifest_net *net = &m->net[m->net_count++];
    *net = (struct manifest_net){.name = need_text("net0", 4), .line = any->line};
    bool dhcp = false;
    struct why why;
    if (r->use_dhcp != NULL && !valid_bool(r->use_dhcp->text, &dhcp, &why))
        diag_error(r->diag, r->use_dhcp->line, "ip-use-dhcp: %s", why.text);
    if (!dhcp) {
        old_static_net(r, net);
        return;
    }
    net->ip = (struct field){.text = need_text("dhcp", 4), .line = r->use_dhcp->line};
    for (size_t i = 1; i < LEN(given); i++)
        if (given[i] != NULL)
            diag_warn(r->diag, given[i]->line, "\"%s\" has no meaning with ip-use-dhcp: true",
                      given[i]->key);
}

static void old_param(struct reader *r, const struct conf_node *node, enum param_type type,
                      const char *doc)
{
    struct conf_node doc_node = {.kind = CONF_SCALAR, .line = node->line};
    doc_node.text = need_text(doc, strlen(doc));
    add_param(r, node, type, node, &doc_node);
    free(doc_node.text);
}

static void old_http(struct reader *r)
{
    struct manifest *m = r->manifest;
    const struct conf_node *port = r->http_port, *address = r->http_address;
    if (port == NULL && address == NULL) {
        if (r->main_is_http)
            diag_error(r->diag, r->main->line,
                       "main-http needs http-port and http-address; add http-port: 80 and "
                       "http-address: *");
        return;
    }
    if (port == NULL || address == NULL) {
        const struct conf_node *given = port != NULL ? port : address;
        diag_warn(r->diag, given->line, "\"%s\" without \"%s\": HTTP is off; give both", given->key,
                  port != NULL ? "http-address" : "http-port");
        return;
    }
    struct why why;
    int64_t number = 0;
    if (!valid_int(port->text, &number, &why) || number < 1 || number > 65535) {
        diag_error(r->diag, port->line,
                   "http-port \"%s\" is not a port; write a number from 1 to "
                   "65535",
                   port->text);
        return;
    }
    if (strcmp(address->text, "*") != 0 && !valid_ip4(address->text, NULL, &why)) {
        diag_error(r->diag, address->line, "http-address: %s, or * for every address", why.text);
        return;
    }
    old_param(r, port, PARAM_INT, "port of the web server");
    old_param(r, address, PARAM_STRING, "address of the web server, * for every one");
    if (m->net_count > 0 && m->net[0].forward.text == NULL) {
        int64_t host = number < 1024 ? 8000 + number % 1000 : number;
        m->net[0].forward = (struct field){.text = need_format("%d:%d", (int)host, (int)number),
                                           .line = port->line};
    }
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

static void set_text(char **out, const char *text)
{
    free(*out);
    *out = need_text(text, strlen(text));
}

/* Keys with one value at the top: name, version, memory, log. */
static void read_top_value(struct reader *r, const struct conf_node *node)
{
    struct manifest *m = r->manifest;
    struct why why = {""};
    const char *text = reader_scalar(r, node);
    if (text == NULL)
        return;
    bool good = true;
    if (strcmp(node->key, "name") == 0) {
        good = valid_name(text, &why);
        if (good)
            set_text(&m->name, text);
    } else if (strcmp(node->key, "version") == 0) {
        size_t len = strlen(text), plain = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
                                                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ.+-_~");
        good = (len > 0 && len < 64 && plain == len) ||
               fail(&why, "version \"%.64s\" is not usable; take letters, digits, . + - _ ~", text);
        if (good)
            set_text(&m->version, text);
    } else if (strcmp(node->key, "memory") == 0) {
        good = valid_memory(text, true, &m->memory_mib, &why);
    } else {
        good = valid_log(text, &why);
        if (good)
            set_text(&m->log, text);
    }
    if (!good)
        diag_error(r->diag, node->line, "%s", why.text);
}

static void read_testable(struct reader *r, const struct conf_node *node)
{
    struct why why;
    const char *text = reader_scalar(r, node);
    if (text != NULL && !valid_bool(text, &r->manifest->is_testable, &why))
        diag_error(r->diag, node->line, "%s", why.text);
    /* Methods that nobody can call would be of no use. */
    r->manifest->vm.has_control = r->manifest->vm.has_control || r->manifest->is_testable;
}

/* Of the keys below, those that are not of the old form. */
#define KEYS_NEW 14

void manifest_from_conf(struct manifest *m, const struct conf_node *root, bool look_at_files,
                        struct diag *diag)
{
    static const char *const keys[] = {
        "name",       "version",    "memory",     "log",       "net",
        "kv",         "args",       "sources",    "cflags",    "libs",
        "vm",         "disk",       "testable",   "channel",   "ip-use-dhcp",
        "ip-address", "ip-netmask", "ip-gateway", "http-port", "http-address",
        "main-http",  "main-ip",    "main-noip",  "depends",   "packages"};
    struct reader r = {.manifest = m, .diag = diag, .look_at_files = look_at_files};
    m->memory_mib = 64;
    for (const struct conf_node *node = root->child; node != NULL; node = node->next) {
        size_t i = 0;
        while (i < KEYS_NEW && strcmp(node->key, keys[i]) != 0)
            i++;
        if (i < 4) {
            if (reader_is_first(&r, root, node))
                read_top_value(&r, node);
        } else if (i == 4) {
            read_nets(&r, node);
        } else if (i == 5) {
            read_named(&r, node, read_kv, "kv NAME { dir = \"folder\" }");
        } else if (i == 6) {
            read_named(&r, node, read_param, "args NAME { type = string; default = \"...\" }");
        } else if (i == 7) {
            read_sources(&r, node);
        } else if (i < 10) {
            read_flags(&r, node, i == 8 ? &m->cflags : &m->libs, i == 9);
        } else if (i == 10) {
            if (reader_is_first(&r, root, node))
                reader_vm(&r, node);
        } else if (i == 11) {
            read_named(&r, node, reader_disk, "disk NAME { }");
        } else if (i == 12) {
            if (reader_is_first(&r, root, node))
                read_testable(&r, node);
        } else if (i == 13) {
            read_named(&r, node, reader_channel, "channel NAME { }");
        } else if (!read_old_key(&r, root, node)) {
            /* The old keys are offered only for keys that look like them. */
            bool looks_old = strchr(node->key, '-') != NULL || m->is_legacy;
            reader_unknown_key(&r, node, keys, looks_old ? LEN(keys) : KEYS_NEW, "a manifest");
        }
    }
    old_net(&r);
    old_http(&r);
    if (m->is_legacy && r.main == NULL)
        diag_error(diag, 0, "no main function; add one of main-http, main-ip, main-noip");
    else if (r.main != NULL)
        diag_warn(diag, r.main->line,
                  "the function that \"%s\" names has no meaning here: the "
                  "entry is always mir_app_main()",
                  r.main->key);
    if (m->version == NULL)
        set_text(&m->version, "0");
    if (m->sources.count == 0 && look_at_files)
        default_sources(&r);
    manifest_check_nets(m, diag);
}
