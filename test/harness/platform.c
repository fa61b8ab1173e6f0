/* SPDX-License-Identifier: ISC */
/* Platform symbols for test programs that link no target. */
#include <stdio.h>
#include <stdlib.h>

#include <mirari/platform.h>

__attribute__((weak)) void mir_platform_abort(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s\n", text);
    abort();
}
