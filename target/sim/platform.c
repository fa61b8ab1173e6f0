/* SPDX-License-Identifier: ISC */
/* What the libraries need from the target as symbols. */
#include <mirari/platform.h>

#include <stdio.h>
#include <stdlib.h>

/* Exit status of a crash, the same for every hosted target. */
#define STATUS_CRASH 70

void mir_platform_abort(const char *text)
{
    fflush(stdout);
    fprintf(stderr, "%s\n", text);
    _Exit(STATUS_CRASH);
}
