/* SPDX-License-Identifier: ISC */
/* Finds, reads and forgets a manifest.
 *
 * A folder has exactly one *.conf, or the user names one; guessing among several would build
 * something else than was meant on the day a second one appears. All messages about the file are
 * shown here, sorted, before anything is made from it.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/mirari/tool.h"

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The only *.conf of the folder; several or none is an error. */
static char *find_manifest(const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        complain("cannot open folder \"%s\": %s; name another with -C", folder, strerror(errno));
        return NULL;
    }
    struct list found = {0};
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0)
            list_add(&found, entry->d_name);
    }
    closedir(dir);
    list_sort(&found);
    if (found.count == 1)
        return found.item[0];
    if (found.count == 0)
        complain("no manifest in \"%s\"; write app.conf, go to an appliance's folder, or name it "
                 "with -C",
                 folder);
    else
        complain("several manifests in \"%s\" (%s, %s%s); choose one with -f", folder,
                 found.item[0], found.item[1], found.count > 2 ? ", ..." : "");
    return NULL;
}

/* Without a name: that of the file if it is not app.conf, else that of the folder. */
static void default_name(struct manifest *m, const char *file, struct diag *diag)
{
    struct why why;
    const char *slash = strrchr(file, '/');
    const char *base = slash != NULL ? slash + 1 : file;
    char *name = NULL;
    if (strcmp(base, "app.conf") != 0) {
        size_t len = strlen(base);
        name = need_text(base, len > 5 && strcmp(base + len - 5, ".conf") == 0 ? len - 5 : len);
    } else {
        char *real = realpath(m->folder, NULL);
        const char *last = real != NULL ? strrchr(real, '/') + 1 : "";
        name = need_text(last, strlen(last));
        free(real);
    }
    if (valid_name(name, &why))
        m->name = name;
    else
        diag_error(diag, 0, "no name is given, and \"%s\" cannot be one; add name = \"...\"", name);
}

int manifest_load(const char *folder, const char *file, bool quiet, struct manifest *m)
{
    *m = (struct manifest){.folder = need_text(folder, strlen(folder))};
    if (!is_folder(folder)) {
        complain("\"%s\" is not a folder; name an appliance's folder with -C", folder);
        return EXIT_FAIL;
    }
    char *name = file != NULL ? need_text(file, strlen(file)) : find_manifest(folder);
    if (name == NULL)
        return EXIT_MANIFEST;
    m->file = path_join(folder, name);
    struct str text = {0};
    int r = file_read(m->file, CONF_SIZE_MAX + 1, &text);
    if (r != 0) {
        complain("cannot read \"%s\": %s; correct its name or its permissions", m->file,
                 strerror(-r));
        return EXIT_FAIL;
    }
    struct diag diag = {.file = m->file};
    m->is_legacy = conf_is_legacy(text.data, text.len);
    struct conf_node *root = conf_parse(text.data, text.len, &diag);
    manifest_from_conf(m, root, true, &diag);
    if (m->name == NULL && diag.errors == 0)
        default_name(m, name, &diag);
    conf_free(root);
    str_free(&text);
    free(name);
    diag_show(&diag, stderr, !quiet);
    int result = diag.errors > 0 ? EXIT_MANIFEST : 0;
    diag_free(&diag);
    return result;
}

static void free_list(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->item[i]);
    free(list->item);
}

void manifest_free(struct manifest *m)
{
    for (size_t i = 0; i < m->net_count; i++) {
        struct manifest_net *net = &m->net[i];
        char *texts[] = {net->name,
                         net->mode.text,
                         net->ip.text,
                         net->gateway.text,
                         net->route.text,
                         net->ip6.text,
                         net->mac.text,
                         net->mtu.text,
                         net->vlan.text,
                         net->forward.text,
                         net->dns.text,
                         net->acd.text,
                         net->link_local4.text};
        for (size_t k = 0; k < LEN(texts); k++)
            free(texts[k]);
    }
    for (size_t i = 0; i < m->kv_count; i++) {
        free(m->kv[i].name);
        free(m->kv[i].symbol);
        free(m->kv[i].dir);
    }
    for (size_t i = 0; i < m->param_count; i++) {
        free(m->param[i].name);
        free(m->param[i].doc);
        free(m->param[i].value);
    }
    for (size_t i = 0; i < m->disk_count; i++)
        free(m->disk[i].name);
    free_list(&m->sources);
    free_list(&m->cflags);
    free_list(&m->libs);
    free_list(&m->vm.disks);
    char *texts[] = {m->folder,          m->file,        m->name,         m->version, m->log,
                     m->vm.machine.text, m->vm.cpu.text, m->vm.accel.text};
    for (size_t k = 0; k < LEN(texts); k++)
        free(texts[k]);
    *m = (struct manifest){0};
}
