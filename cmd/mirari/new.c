/* SPDX-License-Identifier: ISC */
/* Makes the folder of a new appliance from a template.
 *
 * A template is a flat folder of text files beside the libraries; @NAME@ in them becomes the name.
 * The name has no character that C, UCL, Markdown or a shell gives a meaning, so no quoting is
 * needed. Folders inside a template are copied as they are.
 *
 * The folder is made under a temporary name and renamed when it is whole; one that exists and is
 * not empty is never touched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"

#define TEMPLATE_FILE_MAX ((size_t)4 << 20)

static void substitute(const struct str *in, const char *name, struct str *out)
{
    static const char mark[] = "@NAME@";
    const char *at = in->data, *end = in->data + in->len, *found;
    while ((found = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1)) != NULL) {
        str_add(out, at, (size_t)(found - at));
        str_text(out, name);
        at = found + sizeof(mark) - 1;
    }
    str_add(out, at, (size_t)(end - at));
}

/* Returns 0 or -errno; *failed names the file then. */
static int copy_folder(const char *from, const char *to, const char *name, char **failed)
{
    DIR *dir = opendir(from);
    int result = dir == NULL ? -errno : 0;
    if (result == 0 && mkdir(to, 0777) != 0)
        result = -errno;
    if (result != 0)
        *failed = need_text(dir == NULL ? from : to, strlen(dir == NULL ? from : to));
    for (struct dirent *entry; result == 0 && dir != NULL && (entry = readdir(dir)) != NULL;) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char *source = path_join(from, entry->d_name), *copy = path_join(to, entry->d_name);
        if (stat(source, &st) == 0 && S_ISDIR(st.st_mode)) {
            result = copy_folder(source, copy, name, failed);
        } else {
            struct str text = {0}, filled = {0};
            result = file_read(source, TEMPLATE_FILE_MAX, &text);
            if (result == 0) {
                substitute(&text, name, &filled);
                result = file_write_if_changed(copy, filled.data, filled.len, NULL);
            }
            if (result != 0)
                *failed = need_text(copy, strlen(copy));
            str_free(&text);
            str_free(&filled);
        }
        free(source);
        free(copy);
    }
    if (dir != NULL)
        closedir(dir);
    return result;
}

static void list_templates(const char *folder, struct list *names)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            list_add(names, entry->d_name);
    if (dir != NULL)
        closedir(dir);
    list_sort(names);
}

static int make_folder(const char *template_folder, const char *name, const char *target)
{
    char *temporary = need_format("%s.new-%d", target, (int)getpid()), *failed = NULL;
    int r = copy_folder(template_folder, temporary, name, &failed);
    /* Renaming onto an empty folder replaces it; onto anything else it fails. */
    if (r == 0 && rename(temporary, target) != 0)
        r = -errno;
    if (r != 0) {
        bool exists = r == -EEXIST || r == -ENOTEMPTY || r == -ENOTDIR;
        if (exists && failed == NULL)
            complain("\"%s\" exists already; choose another folder, or remove it", target);
        else
            complain("cannot write \"%s\": %s; choose a folder that you may write in",
                     failed != NULL ? failed : target, strerror(-r));
        (void)remove_tree(AT_FDCWD, temporary);
    }
    free(temporary);
    free(failed);
    return r == 0 ? 0 : EXIT_FAIL;
}

int cmd_new(int argc, char **argv)
{
    struct sdk sdk;
    struct why why;
    struct list names = {0};
    for (int i = 1; i < argc; i++)
        if (argv[i][0] == '-')
            return usage_error("new", argv[i], NULL, 0);
    if (sdk_find(&sdk, NULL) != 0)
        return EXIT_FAIL;
    list_templates(sdk.templates, &names);
    if (argc < 3 || argc > 4) {
        complain("new: write mirari new hello|echo|website|tester NAME [FOLDER]");
        return EXIT_USAGE;
    }
    const char *kind = argv[1], *name = argv[2];
    bool is_known = false;
    for (size_t i = 0; i < names.count; i++)
        is_known = is_known || strcmp(names.item[i], kind) == 0;
    if (!is_known) {
        complain("no template \"%s\" in \"%s\"%s; there are hello, echo, website and tester", kind,
                 sdk.templates, did_you_mean(kind, (const char *const *)names.item, names.count));
        return EXIT_USAGE;
    }
    if (!valid_name(name, &why)) {
        complain("%s", why.text);
        return EXIT_USAGE;
    }
    char *target = need_text(argc == 4 ? argv[3] : name, strlen(argc == 4 ? argv[3] : name));
    for (size_t len = strlen(target); len > 1 && target[len - 1] == '/'; len--)
        target[len - 1] = '\0';
    if (target[0] == '\0') {
        complain("the folder's name is empty; write one");
        return EXIT_USAGE;
    }
    char *from = path_join(sdk.templates, kind);
    int r = make_folder(from, name, target);
    if (r == 0) {
        struct str hint = {0};
        str_shell(&hint, target);
        printf("made %s; run it with: mirari run -C %s\n", target, hint.data);
    }
    return r;
}
