/* SPDX-License-Identifier: ISC */
/* Runs packet scripts against the stack, each as one TAP test.
 *
 *   runner [options] [script or folder ...]      without any: test/packetdrill
 *
 *   --ignore-shell   skip lines in backquotes rather than refuse the script
 *   --read-shell     likewise, but settings of TCP that they name at the beginning are taken over
 *   -DNAME=value     NAME in a script means value
 *   --ignore-rest    packets nobody expects at the end are no error
 *   --loose          do not compare the P flag
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "test/harness/tap.h"
#include "test/packetdrill/script.h"

#define SCRIPT_MAX ((size_t)1 << 20)

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    char *text = malloc(SCRIPT_MAX + 1);
    size_t len = text != NULL ? fread(text, 1, SCRIPT_MAX, file) : 0;
    if (text != NULL)
        text[len] = '\0';
    fclose(file);
    return text;
}

/* The error as TAP diagnostics, each line behind a "#". */
static void note_lines(char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        tap_note("%s", line);
}

static void run_script(const char *path, const struct pd_settings *settings)
{
    struct pd_script *script = calloc(1, sizeof *script);
    tap_case("%s", path);
    char *raw = read_file(path);
    char *text = raw != NULL ? pd_settings_define(settings, raw) : NULL;
    free(raw);
    if (text == NULL || script == NULL) {
        tap_note("%s: %s", path, strerror(errno));
        check(text != NULL && script != NULL);
    } else {
        bool ok = pd_script_parse(script, path, text, settings) && pd_script_run(script, settings);
        if (!check(ok))
            note_lines(script->error);
        pd_script_free(script);
    }
    free(text);
    free(script);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_path(const char *path, const struct pd_settings *settings)
{
    struct stat st;
    struct dirent **names;
    char full[4096];
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        run_script(path, settings);
        return;
    }
    int count = scandir(path, &names, NULL, by_name);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        size_t len = strlen(name);
        bool is_script = len > 4 && strcmp(name + len - 4, ".pkt") == 0;
        int n = snprintf(full, sizeof full, "%s/%s", path, name);
        if (n > 0 && (size_t)n < sizeof full && name[0] != '.' &&
            (is_script || (stat(full, &st) == 0 && S_ISDIR(st.st_mode))))
            run_path(full, settings);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

static bool take_option(const char *word, struct pd_settings *settings)
{
    if (strcmp(word, "--ignore-shell") == 0)
        settings->ignore_shell = true;
    else if (strcmp(word, "--read-shell") == 0)
        settings->read_shell = settings->ignore_shell = true;
    else if (strncmp(word, "-D", 2) == 0 && settings->defines < PD_DEFINES_MAX)
        settings->define[settings->defines++] = word + 2;
    else if (strcmp(word, "--ignore-rest") == 0)
        settings->ignore_rest = true;
    else if (strcmp(word, "--loose") == 0)
        settings->is_loose = true;
    else
        return false;
    return true;
}

int main(int argc, char **argv)
{
    struct pd_settings settings = {0};
    bool any = false;
    tap_begin("packetdrill");
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (take_option(argv[i], &settings))
                continue;
            fprintf(stderr, "usage: runner [--ignore-shell] [--read-shell] [--ignore-rest] "
                            "[--loose] [-DNAME=value] [script...]\n");
            return 2;
        }
        any = true;
        run_path(argv[i], &settings);
    }
    if (!any)
        run_path("test/packetdrill", &settings);
    return tap_done();
}
