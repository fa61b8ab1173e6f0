/* SPDX-License-Identifier: ISC */
/* Says a greeting once a second, a few times, and ends.
 *
 * mir_app_main() runs in a task, so it may wait: other tasks and devices go on meanwhile. Waiting
 * for "somebody asked for the end" with a deadline is a sleep that Ctrl-C cuts short.
 */
#include <mirari/mirari.h>

int mir_app_main(struct mir_app *app)
{
    int64_t times = mir_app_int(app, "times");
    for (int64_t i = 0; i < times && !app->is_stopping; i++) {
        mir_time_us next_us = mir_loop_now(app->loop) + MIR_US_PER_S;
        mir_app_print(app, "%s\n", mir_app_string(app, "greeting"));
        while (i + 1 < times && !app->is_stopping) {
            if (mir_wait_on(app->loop, &app->stop_asked, next_us) < 0)
                break; /* -MIR_ETIMEDOUT: the second is over */
        }
    }
    return 0;
}
