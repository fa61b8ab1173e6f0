/* SPDX-License-Identifier: ISC */
/* Runs a fuzz target over its stored corpus, test/fuzz/corpus/<name>/, and speaks TAP. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    static uint8_t data[1 << 20];
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    /* An exact copy, so that ASan sees any read behind the end. */
    uint8_t *exact = malloc(size > 0 ? size : 1);
    if (exact == NULL)
        return -1;
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    const char *base = strrchr(argv[0], '/');
    char name[200], folder[400], path[800];
    int count = 0;
    snprintf(name, sizeof name, "%s", base != NULL ? base + 1 : argv[0]);
    char *suffix = strstr(name, "_fuzz");
    if (suffix != NULL)
        *suffix = '\0';
    if (argc > 1)
        return replay(argv[1]) == 0 ? 0 : 1;
    snprintf(folder, sizeof folder, "test/fuzz/corpus/%s", name);
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        printf("1..1\nnot ok 1 - %s: no corpus folder\n", folder);
        return 1;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (replay(path) == 0)
            count++;
    }
    closedir(dir);
    printf("%s 1 - %s: %d inputs\n1..1\n", count > 0 ? "ok" : "not ok", folder, count);
    return count > 0 ? 0 : 1;
}
