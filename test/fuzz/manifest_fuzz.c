/* SPDX-License-Identifier: ISC */
/* Fuzz surface: a manifest, from bytes to checked structure to the C text made from it. Nothing
 * outside the input is looked at. */
#include <stdlib.h>

#include "cmd/mirari/tool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct diag diag = {.file = "fuzz"};
    /* A copy of the exact size: reading one byte too far is seen. */
    char *text = malloc(size > 0 ? size : 1);
    if (text == NULL)
        return 0;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)data[i];
    struct manifest manifest = {.folder = need_text(".", 1), .file = need_text("fuzz", 4)};
    manifest.is_legacy = conf_is_legacy(text, size);
    struct conf_node *root = conf_parse(text, size, &diag);
    manifest_from_conf(&manifest, root, false, &diag);
    struct str out = {0};
    for (size_t i = 0; i < manifest.param_count; i++) {
        str_c_literal(&out, manifest.param[i].value);
        str_json(&out, manifest.param[i].doc);
        str_shell(&out, manifest.param[i].value);
    }
    char *shown = NULL;
    size_t len = 0;
    FILE *sink = open_memstream(&shown, &len);
    if (sink != NULL) {
        diag_show(&diag, sink, true);
        fclose(sink);
    }
    free(shown);
    str_free(&out);
    conf_free(root);
    diag_free(&diag);
    manifest_free(&manifest);
    free(text);
    return 0;
}
