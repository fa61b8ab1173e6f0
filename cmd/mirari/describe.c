/* SPDX-License-Identifier: ISC */
/* Tells what an appliance is: for people as lines, for programs as JSON.
 *
 * Everything comes from the manifest and from looking at files; nothing is built. Both forms are
 * written from the same structure; the JSON has null for what is not given.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/mirari/tool.h"

struct sizes {
    uint64_t files, bytes, names;
};

/** As deep and as many as crunch takes: links to folders above could make it endless. */
#define DEPTH_MAX 32
#define NAMES_MAX 150000

static void add_sizes(const char *path, unsigned depth, struct sizes *sizes)
{
    DIR *dir = depth <= DEPTH_MAX ? opendir(path) : NULL;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct stat st = {0};
        if (entry->d_name[0] == '.')
            continue;
        if (++sizes->names > NAMES_MAX)
            break;
        char *child = path_join(path, entry->d_name);
        if (stat(child, &st) == 0 && S_ISDIR(st.st_mode)) {
            add_sizes(child, depth + 1, sizes);
        } else if (S_ISREG(st.st_mode)) {
            sizes->files++;
            sizes->bytes += (uint64_t)st.st_size;
        }
        free(child);
    }
    if (dir != NULL)
        closedir(dir);
}

static int64_t file_size(const char *folder, const char *name)
{
    struct stat st;
    char *path = path_join(folder, name);
    bool found = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    free(path);
    return found ? (int64_t)st.st_size : -1;
}

static const char *type_name(enum param_type type)
{
    static const char *const names[] = {"string", "int", "bool"};
    return names[type];
}

/* ---- JSON
 * -------------------------------------------------------------------------------------------- */

static void json_member(struct str *out, const char *comma, const char *key, const char *text)
{
    str_format(out, "%s\"%s\": ", comma, key);
    str_json(out, text);
}

static void json_list(struct str *out, const char *key, const struct list *list)
{
    str_format(out, ",\n  \"%s\": [", key);
    for (size_t i = 0; i < list->count; i++) {
        str_text(out, i > 0 ? ", " : "");
        str_json(out, list->item[i]);
    }
    str_text(out, "]");
}

static void json_targets(struct str *out, const struct common *common, const struct manifest *m)
{
    str_text(out, ",\n  \"targets\": [");
    for (size_t i = 0; i < target_count; i++) {
        struct common other = *common;
        struct place place;
        other.target = target_names[i];
        place_of(&other, m, &place);
        int64_t size = file_size(".", place.binary);
        str_text(out, i > 0 ? ",\n    {" : "\n    {");
        json_member(out, "", "name", target_names[i]);
        json_member(out, ", ", "file", place.binary);
        if (size >= 0)
            str_format(out, ", \"size_bytes\": %lld}", (long long)size);
        else
            str_text(out, ", \"size_bytes\": null}");
    }
    str_text(out, "\n  ]");
}

static void describe_json(const struct common *common, const struct manifest *m)
{
    struct str out = {0};
    str_text(&out, "{\n  ");
    json_member(&out, "", "name", m->name);
    json_member(&out, ",\n  ", "version", m->version);
    json_member(&out, ",\n  ", "manifest", m->file);
    str_format(&out, ",\n  \"memory_mib\": %u", m->memory_mib);
    json_member(&out, ",\n  ", "log", m->log);
    str_format(&out, ",\n  \"testable\": %s", m->is_testable ? "true" : "false");
    json_list(&out, "sources", &m->sources);
    json_list(&out, "cflags", &m->cflags);
    json_list(&out, "libs", &m->libs);
    str_text(&out, ",\n  \"nets\": [");
    for (size_t i = 0; i < m->net_count; i++) {
        const struct manifest_net *net = &m->net[i];
        str_text(&out, i > 0 ? ",\n    {" : "\n    {");
        json_member(&out, "", "name", net->name);
        json_member(&out, ", ", "mode", net->mode.text);
        json_member(&out, ", ", "ip", net->ip.text);
        json_member(&out, ", ", "gateway", net->gateway.text);
        json_member(&out, ", ", "route", net->route.text);
        json_member(&out, ", ", "dns", net->dns.text);
        json_member(&out, ", ", "ip6", net->ip6.text);
        json_member(&out, ", ", "acd", net->acd.text);
        json_member(&out, ", ", "link_local4", net->link_local4.text);
        json_member(&out, ", ", "mac", net->mac.text);
        str_format(&out, ", \"mtu\": %s", net->mtu.text != NULL ? net->mtu.text : "null");
        str_format(&out, ", \"vlan\": %s", net->vlan.text != NULL ? net->vlan.text : "null");
        json_member(&out, ", ", "forward", net->forward.text);
        str_text(&out, "}");
    }
    str_text(&out, m->net_count > 0 ? "\n  ],\n  \"stores\": [" : "],\n  \"stores\": [");
    for (size_t i = 0; i < m->kv_count; i++) {
        struct sizes sizes = {0};
        char *dir = path_join(m->folder, m->kv[i].dir);
        add_sizes(dir, 0, &sizes);
        str_text(&out, i > 0 ? ",\n    {" : "\n    {");
        json_member(&out, "", "name", m->kv[i].name);
        json_member(&out, ", ", "dir", m->kv[i].dir);
        str_format(&out, ", \"files\": %llu, \"size_bytes\": %llu}",
                   (unsigned long long)sizes.files, (unsigned long long)sizes.bytes);
        free(dir);
    }
    str_text(&out, m->kv_count > 0 ? "\n  ],\n  \"parameters\": [" : "],\n  \"parameters\": [");
    for (size_t i = 0; i < m->param_count; i++) {
        str_text(&out, i > 0 ? ",\n    {" : "\n    {");
        json_member(&out, "", "name", m->param[i].name);
        json_member(&out, ", ", "type", type_name(m->param[i].type));
        json_member(&out, ", ", "default", m->param[i].value);
        json_member(&out, ", ", "doc", m->param[i].doc);
        str_text(&out, "}");
    }
    str_text(&out, m->param_count > 0 ? "\n  ]" : "]");
    str_text(&out, ",\n  \"vm\": {");
    json_member(&out, "", "machine", m->vm.machine.text);
    json_member(&out, ", ", "cpu", m->vm.cpu.text);
    json_member(&out, ", ", "accel", m->vm.accel.text);
    str_format(&out, ", \"control\": %s", m->vm.has_control ? "true" : "false");
    str_text(&out, "}");
    json_list(&out, "disks", &m->vm.disks);
    str_text(&out, ",\n  \"disk_names\": [");
    for (size_t i = 0; i < m->disk_count; i++) {
        str_text(&out, i > 0 ? ", " : "");
        str_json(&out, m->disk[i].name);
    }
    str_text(&out, "],\n  \"channels\": [");
    for (size_t i = 0; i < m->channel_count; i++) {
        str_text(&out, i > 0 ? ", " : "");
        str_json(&out, m->channel[i].name);
    }
    str_text(&out, "]");
    json_targets(&out, common, m);
    str_text(&out, "\n}\n");
    fputs(out.data, stdout);
    str_free(&out);
}

/* ---- lines
 * -------------------------------------------------------------------------------------------- */

static void show(const char *label, const char *fmt, ...) PRINTF(2, 3);
static void show(const char *label, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    char *text = NULL;
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        return;
    struct str out = {0};
    str_visible(&out, text);
    printf("%-11s%s\n", label, out.data != NULL ? out.data : "");
    str_free(&out);
    free(text);
}

static void show_net(const struct manifest_net *net)
{
    struct str text = {0};
    const struct {
        const char *key, *text;
    } parts[] = {{"ip", net->ip.text},       {"gateway", net->gateway.text},
                 {"route", net->route.text}, {"ip6", net->ip6.text},
                 {"acd", net->acd.text},     {"link-local4", net->link_local4.text},
                 {"mac", net->mac.text},     {"mtu", net->mtu.text},
                 {"vlan", net->vlan.text},   {"forward", net->forward.text}};
    str_format(&text, "%s: %s", net->name,
               net->mode.text != NULL ? net->mode.text : "default of the target");
    for (size_t i = 0; i < LEN(parts); i++)
        if (parts[i].text != NULL)
            str_format(&text, ", %s %s", parts[i].key, parts[i].text);
    show("net", "%s", text.data);
    str_free(&text);
}

static void show_vm(const struct manifest_vm *vm)
{
    const struct {
        const char *key, *text;
    } parts[] = {{"machine", vm->machine.text}, {"cpu", vm->cpu.text}, {"accel", vm->accel.text}};
    for (size_t i = 0; i < LEN(parts); i++)
        if (parts[i].text != NULL)
            show("vm", "%s %s", parts[i].key, parts[i].text);
    if (vm->has_control)
        show("vm", "control channel");
    for (size_t i = 0; i < vm->disks.count; i++)
        show("disk", "%s", vm->disks.item[i]);
}

static void describe_lines(const struct common *common, const struct manifest *m)
{
    show("name", "%s %s", m->name, m->version);
    show("manifest", "%s%s", m->file, m->is_legacy ? " (old form)" : "");
    show("memory", "%u MiB", m->memory_mib);
    if (m->log != NULL)
        show("log", "%s", m->log);
    if (m->is_testable)
        show("testable", "has the methods of mirari-test(1)");
    for (size_t i = 0; i < m->sources.count; i++)
        show("source", "%s, %lld bytes", m->sources.item[i],
             (long long)file_size(m->folder, m->sources.item[i]));
    for (size_t i = 0; i < m->net_count; i++)
        show_net(&m->net[i]);
    if (m->net_count == 0)
        show("net", "none");
    for (size_t i = 0; i < m->kv_count; i++) {
        struct sizes sizes = {0};
        char *dir = path_join(m->folder, m->kv[i].dir);
        add_sizes(dir, 0, &sizes);
        show("store", "%s: folder %s, %llu files, %llu bytes", m->kv[i].name, m->kv[i].dir,
             (unsigned long long)sizes.files, (unsigned long long)sizes.bytes);
        free(dir);
    }
    for (size_t i = 0; i < m->param_count; i++)
        show("parameter", "--%s (%s, default \"%s\")%s%s", m->param[i].name,
             type_name(m->param[i].type), m->param[i].value, m->param[i].doc[0] != '\0' ? ": " : "",
             m->param[i].doc);
    for (size_t i = 0; i < m->disk_count; i++)
        show("disk", "%zu is \"%s\"%s%s", i + 1, m->disk[i].name,
             m->disk[i].is_optional ? ", optional" : "",
             m->disk[i].is_readonly ? ", only read" : "");
    for (size_t i = 0; i < m->channel_count; i++)
        show("channel", "\"%s\"%s", m->channel[i].name,
             m->channel[i].is_optional ? ", optional" : "");
    show_vm(&m->vm);
    for (size_t i = 0; i < target_count; i++) {
        struct common other = *common;
        struct place place;
        other.target = target_names[i];
        place_of(&other, m, &place);
        int64_t size = file_size(".", place.binary);
        if (size >= 0)
            show("target", "%s: %s, %lld bytes", target_names[i], place.binary, (long long)size);
        else
            show("target", "%s: not built", target_names[i]);
    }
}

int cmd_describe(int argc, char **argv)
{
    static const char *const names[] = {"-C", "-f", "-o", "--folder", "--file", "--out", "--json"};
    struct common common = {0};
    struct manifest manifest;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        int r = common_option(&common, argc, argv, &i, "Cfoq");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0 && strcmp(argv[i], "--json") != 0)
            return usage_error("describe", argv[i], names, LEN(names));
        json = json || r == 0;
    }
    int r = common_finish(&common);
    if (r == 0)
        r = manifest_load(common.folder, common.file, common.quiet, &manifest);
    if (r != 0)
        return r;
    if (json)
        describe_json(&common, &manifest);
    else
        describe_lines(&common, &manifest);
    return 0;
}
