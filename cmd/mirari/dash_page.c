/* SPDX-License-Identifier: ISC */
/* The page of `mirari dash`: files of the folder dash/, which the assembler puts into the program
 * (tools/mk/tool.mk knows of that). They hold nothing secret, so anybody who can connect may have
 * them.
 */
#include <string.h>

#include "cmd/mirari/dash.h"

#define EMBED(name, file)                                                                          \
    __asm__(".section .rodata\n"                                                                   \
            ".globl mir__dash_" #name "\n.globl mir__dash_" #name "_end\n"                         \
            "mir__dash_" #name ":\n.incbin \"cmd/mirari/dash/" file "\"\n"                         \
            "mir__dash_" #name "_end:\n.byte 0\n.previous\n");                                     \
    extern const char mir__dash_##name[], mir__dash_##name##_end[]

EMBED(page, "index.html");
EMBED(style, "style.css");
EMBED(script, "script.js");
EMBED(icon, "icon.svg");

const struct dash_file *dash_page_file(struct mir_http_text path)
{
    static struct dash_file files[] = {
        {"/", "text/html; charset=utf-8", mir__dash_page, 0},
        {"/style.css", "text/css; charset=utf-8", mir__dash_style, 0},
        {"/script.js", "text/javascript; charset=utf-8", mir__dash_script, 0},
        {"/icon.svg", "image/svg+xml", mir__dash_icon, 0},
    };
    const char *const ends[] = {mir__dash_page_end, mir__dash_style_end, mir__dash_script_end,
                                mir__dash_icon_end};
    for (size_t i = 0; i < LEN(files); i++) {
        files[i].len = (size_t)(ends[i] - files[i].data);
        if (strlen(files[i].path) == path.len && memcmp(files[i].path, path.text, path.len) == 0)
            return &files[i];
    }
    return NULL;
}
