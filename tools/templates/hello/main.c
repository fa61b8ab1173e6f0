/* Says a greeting and ends. */
#include <mirari/mirari.h>

int mir_app_main(struct mir_app *app)
{
    mir_app_print(app, "%s\n", mir_app_string(app, "greeting"));
    return 0;
}
