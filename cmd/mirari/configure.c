/* SPDX-License-Identifier: ISC */
/* Writes what a manifest means into OUT/TARGET: manifest.c and one set of files per store.
 *
 *   OUT/TARGET/.mirari        marks the folder as ours: `clean` removes nothing else
 *   OUT/TARGET/manifest.c     `const struct mir_manifest mir_manifest`
 *   OUT/TARGET/kv_NAME.*      a crunched folder (crunch.c)
 *   OUT/TARGET/.kv_NAME       names, sizes and times of that folder when it was crunched
 *   OUT/TARGET/.obj/          objects and their records (build.c)
 *   OUT/TARGET/NAME           the appliance
 *
 * Files are written only if their content changes, so nothing is compiled again without need, and
 * the content depends on the manifest alone: no path, no time, no name of the machine. All text of
 * the manifest goes through str_c_literal(), whatever bytes it holds.
 *
 * Here as well: the options that configure, build, run, describe and clean have in common.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/crunch.h"
#include "cmd/mirari/tool.h"

const char *const target_names[] = {"unix", "sim", "virt"};
const size_t target_count = LEN(target_names);

bool is_virt(const char *target)
{
    return strcmp(target, "virt") == 0;
}

static const char *const arch_names[] = {"x86_64", "aarch64"};

bool is_foreign(const char *arch)
{
    return strcmp(arch, NATIVE_ARCH) != 0;
}

/* ---- options -----------------------------------------------------------------------------------
 */

int common_option(struct common *common, int argc, char **argv, int *at, const char *accepted)
{
    static const struct {
        char letter;
        const char *name;
        bool has_value;
    } options[] = {{'C', "--folder", true},   {'f', "--file", true},  {'t', "--target", true},
                   {'o', "--out", true},      {'j', "--jobs", true},  {'q', "--quiet", false},
                   {'v', "--verbose", false}, {'A', "--asan", false}, {'R', "--arch", true}};
    const char *arg = argv[*at], *value = NULL;
    size_t i = 0;
    for (; i < LEN(options); i++) {
        size_t len = strlen(options[i].name);
        bool is_letter =
            arg[0] == '-' && arg[1] == options[i].letter && arg[1] != 'A' && arg[1] != 'R';
        bool is_name = strncmp(arg, options[i].name, len) == 0 &&
                       (arg[len] == '\0' || (arg[len] == '=' && options[i].has_value));
        if (strchr(accepted, options[i].letter) == NULL || (!is_letter && !is_name))
            continue;
        if (is_letter && !options[i].has_value && arg[2] != '\0')
            continue;
        value = is_letter ? (arg[2] != '\0' ? arg + 2 : NULL)
                          : (arg[len] == '=' ? arg + len + 1 : NULL);
        break;
    }
    if (i == LEN(options))
        return 0;
    if (options[i].has_value && value == NULL) {
        if (*at + 1 >= argc) {
            complain("option %s needs a value; write it after the option", arg);
            return -1;
        }
        value = argv[++*at];
    }
    struct why why;
    int64_t jobs;
    switch (options[i].letter) {
    case 'C':
        common->folder = value;
        break;
    case 'f':
        common->file = value;
        break;
    case 't':
        common->target = value;
        break;
    case 'o':
        common->out = value;
        break;
    case 'j':
        if (!valid_int(value, &jobs, &why) || jobs < 1 || jobs > 1024) {
            complain("option %s takes a number from 1 to 1024, not \"%s\"", options[i].name, value);
            return -1;
        }
        common->jobs = (unsigned)jobs;
        break;
    case 'q':
        common->quiet = true;
        break;
    case 'v':
        common->verbose = true;
        break;
    case 'R':
        common->arch = value;
        break;
    default:
        common->asan = true;
    }
    return 1;
}

/* Only images are made for other machines, and only with a compiler that Debian has for it. */
static bool finish_arch(const struct common *common)
{
    bool is_known = false;
    for (size_t i = 0; i < LEN(arch_names); i++)
        is_known = is_known || strcmp(common->arch, arch_names[i]) == 0;
    if (!is_known)
        complain("unknown architecture \"%s\"; write x86_64 or aarch64%s", common->arch,
                 did_you_mean(common->arch, arch_names, LEN(arch_names)));
    else if (is_foreign(common->arch) && !is_virt(common->target))
        complain("--arch %s: target %s runs on this machine, which is " NATIVE_ARCH "; add -t virt",
                 common->arch, common->target);
    else if (is_foreign(common->arch) && strcmp(common->arch, "aarch64") != 0)
        complain("images for %s are built on such a machine only", common->arch);
    else
        return true;
    return false;
}

int common_finish(struct common *common)
{
    if (common->folder == NULL || common->folder[0] == '\0')
        common->folder = ".";
    if (common->target == NULL)
        common->target = "unix";
    for (size_t i = 0; i < target_count; i++)
        if (strcmp(common->target, target_names[i]) == 0)
            goto known;
    complain("unknown target \"%s\"; the targets are unix, sim and virt%s", common->target,
             did_you_mean(common->target, target_names, target_count));
    return EXIT_USAGE;
known:
    if (common->arch == NULL)
        common->arch = NATIVE_ARCH;
    if (!finish_arch(common))
        return EXIT_USAGE;
    if (common->out == NULL)
        common->out = path_join(common->folder, "_build");
    if (common->out[0] == '\0') {
        complain("the folder after -o is empty; name one");
        return EXIT_USAGE;
    }
    if (common->jobs == 0) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        common->jobs = cpus > 0 ? (unsigned)cpus : 1;
    }
    return 0;
}

int usage_error(const char *command, const char *option, const char *const *names, size_t count)
{
    complain("%s: unknown %s \"%s\"%s%s", command, option[0] == '-' ? "option" : "argument", option,
             did_you_mean(option, names, count),
             nearest(option, names, count) != NULL ? "" : "; `mirari help` tells what there is");
    return EXIT_USAGE;
}

/* ---- manifest.c ---------------------------------------------------------------------------------
 */

static void emit_field(struct str *out, const char *name, const char *text)
{
    if (text == NULL)
        return;
    str_format(out, "        .%s = ", name);
    str_c_literal(out, text);
    str_text(out, ",\n");
}

/* A machine's networks are all alike to its guest, and what is behind them is decided when it is
 * started. */
static const char *mode_in_appliance(const struct manifest_net *net, const char *target)
{
    const char *mode = net->mode.text;
    bool is_machine_only = mode_is(mode, "passt") || mode_is(mode, "vhost-user") ||
                           (mode != NULL && strncmp(mode, "socket:", 7) == 0);
    return is_virt(target) || is_machine_only ? NULL : mode;
}

static void emit_nets(struct str *out, const struct manifest *m, const char *target)
{
    if (m->net_count == 0)
        return;
    str_text(out, "static const struct mir_manifest_net nets[] = {\n");
    for (size_t i = 0; i < m->net_count; i++) {
        const struct manifest_net *net = &m->net[i];
        str_text(out, "    {\n");
        emit_field(out, "name", net->name);
        emit_field(out, "mode", mode_in_appliance(net, target));
        emit_field(out, "ip", net->ip.text);
        emit_field(out, "gateway", net->gateway.text);
        emit_field(out, "route", net->route.text);
        emit_field(out, "ip6", net->ip6.text);
        emit_field(out, "acd", net->acd.text);
        emit_field(out, "link_local4", net->link_local4.text);
        emit_field(out, "mac", net->mac.text);
        emit_field(out, "forward", net->forward.text);
        emit_field(out, "dns", net->dns.text);
        if (net->mtu.text != NULL)
            str_format(out, "        .mtu = %s,\n", net->mtu.text);
        if (net->vlan.text != NULL)
            str_format(out, "        .vlan = %s,\n", net->vlan.text);
        str_text(out, "    },\n");
    }
    str_text(out, "};\n\n");
}

static void emit_kvs(struct str *out, const struct manifest *m)
{
    if (m->kv_count == 0)
        return;
    for (size_t i = 0; i < m->kv_count; i++)
        str_format(out, "extern struct mir_kv mir_kv_%s;\n", m->kv[i].symbol);
    str_text(out, "\nstatic const struct mir_manifest_kv kvs[] = {\n");
    for (size_t i = 0; i < m->kv_count; i++) {
        str_text(out, "    {.name = ");
        str_c_literal(out, m->kv[i].name);
        str_format(out, ", .store = &mir_kv_%s},\n", m->kv[i].symbol);
    }
    str_text(out, "};\n\n");
}

static void emit_disks(struct str *out, const struct manifest *m)
{
    if (m->disk_count == 0)
        return;
    str_text(out, "static const struct mir_manifest_disk disks[] = {\n");
    for (size_t i = 0; i < m->disk_count; i++) {
        str_text(out, "    {.name = ");
        str_c_literal(out, m->disk[i].name);
        str_format(out, ", .is_optional = %d, .is_readonly = %d},\n", m->disk[i].is_optional,
                   m->disk[i].is_readonly);
    }
    str_text(out, "};\n\n");
}

static void emit_channels(struct str *out, const struct manifest *m)
{
    if (m->channel_count == 0)
        return;
    str_text(out, "static const struct mir_manifest_channel channels[] = {\n");
    for (size_t i = 0; i < m->channel_count; i++) {
        str_text(out, "    {.name = ");
        str_c_literal(out, m->channel[i].name);
        str_format(out, ", .is_optional = %d},\n", m->channel[i].is_optional);
    }
    str_text(out, "};\n\n");
}

static void emit_params(struct str *out, const struct manifest *m)
{
    static const char *const types[] = {"MIR_PARAM_STRING", "MIR_PARAM_INT", "MIR_PARAM_BOOL"};
    if (m->param_count == 0)
        return;
    str_text(out, "static const struct mir_param params[] = {\n");
    for (size_t i = 0; i < m->param_count; i++) {
        const struct manifest_param *param = &m->param[i];
        str_text(out, "    {\n");
        emit_field(out, "name", param->name);
        emit_field(out, "doc", param->doc);
        str_format(out, "        .type = %s,\n", types[param->type]);
        emit_field(out, "default_text", param->value);
        str_text(out, "    },\n");
    }
    str_text(out, "};\n\n");
}

static void emit_manifest(struct str *out, const struct manifest *m, const char *target)
{
    str_text(out, "/* Made by `mirari configure` from the manifest; changes here are lost. */\n"
                  "#include <mirari/app.h>\n");
    str_text(out, m->is_testable ? "#include <mirari/testing.h>\n\n" : "\n");
    emit_nets(out, m, target);
    emit_kvs(out, m);
    emit_disks(out, m);
    emit_channels(out, m);
    emit_params(out, m);
    str_text(out, "const struct mir_manifest mir_manifest = {\n    .name = ");
    str_c_literal(out, m->name);
    str_text(out, ",\n    .version = ");
    str_c_literal(out, m->version);
    str_format(out, ",\n    .memory_mib = %u,\n", m->memory_mib);
    if (m->net_count > 0)
        str_format(out, "    .nets = nets,\n    .net_count = %zu,\n", m->net_count);
    if (m->kv_count > 0)
        str_format(out, "    .kvs = kvs,\n    .kv_count = %zu,\n", m->kv_count);
    if (m->channel_count > 0)
        str_format(out, "    .channels = channels,\n    .channel_count = %zu,\n", m->channel_count);
    if (m->disk_count > 0)
        str_format(out, "    .disks = disks,\n    .disk_count = %zu,\n", m->disk_count);
    if (m->param_count > 0)
        str_format(out, "    .params = params,\n    .param_count = %zu,\n", m->param_count);
    str_text(out, "    .log = ");
    str_c_literal(out, m->log);
    str_text(out, m->is_testable ? ",\n    .extend = mir_testing_add,\n};\n" : ",\n};\n");
}

/* ---- stores -------------------------------------------------------------------------------------
 */

/** More than crunch takes. Links to folders above could make a listing endless. */
#define LISTING_DEPTH_MAX 40
#define LISTING_NAMES_MAX 150000

/* Names, sizes and times below @path, in order of names. Unreadable folders are crunch's to name.
 * @left: names that may still be added; at 0 the listing says nothing. */
static void add_listing(struct str *out, const char *path, unsigned depth, unsigned *left)
{
    DIR *dir = depth < LISTING_DEPTH_MAX ? opendir(path) : NULL;
    if (dir == NULL)
        return;
    struct list names = {0};
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            list_add(&names, entry->d_name);
    closedir(dir);
    list_sort(&names);
    for (size_t i = 0; i < names.count; i++) {
        if (*left == 0) {
            free(names.item[i]);
            continue;
        }
        (*left)--;
        char *child = path_join(path, names.item[i]);
        struct stat st = {0};
        bool is_there = stat(child, &st) == 0;
        /* The zero byte ends a name: no name can look like two. */
        str_format(out, "%s%c%d %o %lld %lld.%09ld\n", names.item[i], 0, is_there, st.st_mode,
                   (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
        if (is_there && S_ISDIR(st.st_mode))
            add_listing(out, child, depth + 1, left);
        str_text(out, "/\n");
        free(child);
        free(names.item[i]);
    }
    free(names.item);
}

static bool has_outputs(const char *gen, const char *symbol)
{
    static const char *const ends[] = {"c", "S", "bin"};
    for (size_t i = 0; i < LEN(ends); i++) {
        char *path = need_format("%s/kv_%s.%s", gen, symbol, ends[i]);
        bool found = access(path, R_OK) == 0;
        free(path);
        if (!found)
            return false;
    }
    return true;
}

static int crunch_store(const struct common *common, const struct manifest *m,
                        const struct manifest_kv *kv, const char *gen)
{
    char *dir = path_join(m->folder, kv->dir);
    char *record = need_format("%s/.kv_%s", gen, kv->symbol);
    struct str now = {0}, before = {0};
    struct stat self = {0};
    (void)stat("/proc/self/exe", &self);
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    str_format(&now, "%lld.%09ld %s %s\n", (long long)self.st_mtim.tv_sec, self.st_mtim.tv_nsec,
               epoch != NULL ? epoch : "-", dir);
    unsigned left = LISTING_NAMES_MAX;
    add_listing(&now, dir, 0, &left);
    bool is_same = left > 0 && file_read(record, 256u << 20, &before) == 0 &&
                   before.len == now.len && memcmp(before.data, now.data, now.len) == 0;
    int result = 0;
    if (!is_same || !has_outputs(gen, kv->symbol)) {
        struct crunch_report report = {0};
        struct crunch_options options = {.name = kv->symbol, .dir = dir, .out_dir = gen};
        if (!common->quiet)
            printf("  KV %s (%s)\n", kv->name, kv->dir);
        if (kv->is_zones && !check_zones(dir)) {
            result = EXIT_FAIL;
        } else if (crunch_folder(&options, &report) != 0) {
            complain("store \"%s\": %s; correct it and build again", kv->name, report.error);
            result = EXIT_FAIL;
        } else {
            if (report.files == 0)
                complain("store \"%s\": folder \"%s\" is empty", kv->name, dir);
            file_write_if_changed(record, now.data, now.len, NULL);
        }
    }
    str_free(&now);
    str_free(&before);
    free(record);
    free(dir);
    return result;
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

void place_of(const struct common *common, const struct manifest *m, struct place *place)
{
    *place = (struct place){0};
    bool has_arch = common->arch != NULL && is_foreign(common->arch);
    char *folder = need_format("%s%s%s%s", common->target, has_arch ? "-" : "",
                               has_arch ? common->arch : "", common->asan ? "-asan" : "");
    place->gen = path_join(common->out, folder);
    place->binary = path_join(place->gen, m->name);
    free(folder);
}

/* Make OUT/TARGET, and refuse one that has foreign files. */
static int claim_folder(struct place *place)
{
    int r = make_folders(place->gen);
    if (r != 0) {
        complain("cannot make folder \"%s\": %s; choose another with -o", place->gen, strerror(-r));
        return EXIT_FAIL;
    }
    char *mark = path_join(place->gen, ".mirari");
    bool is_ours = access(mark, F_OK) == 0;
    DIR *dir = is_ours ? NULL : opendir(place->gen);
    bool is_empty = true;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strncmp(entry->d_name, ".mirari", 7) != 0)
            is_empty = false;
    if (dir != NULL)
        closedir(dir);
    if (!is_ours && !is_empty) {
        complain("folder \"%s\" has files that mirari did not make; choose another with -o",
                 place->gen);
        return EXIT_FAIL;
    }
    r = file_write_if_changed(mark, "made by mirari\n", 15, NULL);
    char *real = realpath(place->gen, NULL);
    if (r != 0 || real == NULL) {
        complain("cannot write in \"%s\": %s; choose another with -o", place->gen,
                 strerror(r != 0 ? -r : errno));
        return EXIT_FAIL;
    }
    free(mark);
    free(place->gen);
    place->gen = real;
    return 0;
}

int configure(const struct common *common, const struct manifest *m, struct place *place)
{
    place_of(common, m, place);
    int r = claim_folder(place);
    if (r != 0)
        return r;
    struct str text = {0};
    emit_manifest(&text, m, common->target);
    char *path = path_join(place->gen, "manifest.c");
    r = file_write_if_changed(path, text.data, text.len, NULL);
    if (r != 0) {
        complain("cannot write \"%s\": %s; make room or choose another folder with -o", path,
                 strerror(-r));
        return EXIT_FAIL;
    }
    str_free(&text);
    free(path);
    list_add(&place->units, "manifest.c");
    for (size_t i = 0; i < m->kv_count; i++) {
        r = crunch_store(common, m, &m->kv[i], place->gen);
        if (r != 0)
            return r;
        char *c = need_format("kv_%s.c", m->kv[i].symbol);
        char *s = need_format("kv_%s.S", m->kv[i].symbol);
        list_add(&place->units, c);
        list_add(&place->units, s);
        free(c);
        free(s);
    }
    return 0;
}

int cmd_configure(int argc, char **argv)
{
    static const char *const names[] = {"-C",       "-f",     "-t",       "-o",    "-q",
                                        "--folder", "--file", "--target", "--out", "--quiet"};
    struct common common = {0};
    struct manifest manifest;
    struct place place;
    for (int i = 1; i < argc; i++) {
        int r = common_option(&common, argc, argv, &i, "CftoqAR");
        if (r < 0)
            return EXIT_USAGE;
        if (r == 0)
            return usage_error("configure", argv[i], names, LEN(names));
    }
    int r = common_finish(&common);
    if (r == 0)
        r = manifest_load(common.folder, common.file, common.quiet, &manifest);
    if (r == 0)
        r = configure(&common, &manifest, &place);
    return r;
}
