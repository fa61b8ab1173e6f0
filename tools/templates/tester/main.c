/* Does what tests ask: `testable = true` in app.conf gives it the methods, here is nothing to do.
 */
#include <mirari/mirari.h>

int mir_app_main(struct mir_app *app)
{
    mir_app_print(app, "@NAME@ is ready\n");
    mir_app_wait_stop(app);
    return 0;
}
