/* SPDX-License-Identifier: ISC */
/* Fuzz surface: a file of tests, from bytes to what would be run, with every word expanded. */
#include <stdlib.h>
#include <string.h>

#include "cmd/mirari/test.h"

static void use(const struct test_file *file)
{
    struct test_vars vars = {0};
    test_net_vars(file, &vars);
    for (size_t i = 0; i < file->case_count; i++) {
        free(test_result_title(file, "unix", i));
        for (size_t k = 0; k < file->cases[i].count; k++) {
            const struct test_step *step = &file->cases[i].step[k];
            free(test_expand(&vars, step->text, NULL));
            for (size_t p = 0; p < step->params.count; p++)
                free(test_expand(&vars, step->params.item[p], NULL));
        }
    }
    test_vars_free(&vars);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag diag = {.file = "fuzz"};
    static struct test_file file;
    /* A copy of the exact size: reading one byte too far is seen. */
    char *text = malloc(size > 0 ? size : 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    file.path = "fuzz";
    test_parse(text, size, &file, &diag);
    if (diag.errors == 0)
        use(&file);
    test_file_free(&file);
    diag_free(&diag);
    free(text);
    return 0;
}
