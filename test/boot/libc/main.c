/* SPDX-License-Identifier: ISC */
/* Pure functions of the C library inside an image: formatting, numbers, sorting, errors by errno,
 * thread-local variables with and without a value. The test knows the line that is printed.
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mirari/mirari.h>

static _Thread_local int counter = 41;
static _Thread_local int zeros[4];

static int by_value(const void *a, const void *b)
{
    const int *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

int mir_app_main(struct mir_app *app)
{
    int values[] = {5, 3, 9, 1};
    char text[120];
    qsort(values, 4, sizeof values[0], by_value);
    errno = 0;
    long large = strtol("99999999999999999999", NULL, 10);
    bool is_range = errno == ERANGE;
    double root = sqrt(strtod("2.25", NULL) * (app->is_stopping ? 2 : 1));
    snprintf(text, sizeof text, "%d%d%d%d %.3f \"%s\" %d %ld %d %c", values[0], values[1],
             values[2], values[3], root, strerror(ENOENT), ++counter + zeros[2], large, is_range,
             toupper('q'));
    mir_app_print(app, "%s\n", text);
    return strrchr(text, 'Q') != NULL ? 0 : 1;
}
