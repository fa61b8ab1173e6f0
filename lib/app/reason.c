/* SPDX-License-Identifier: ISC */
/* Why an appliance ends, in words. */
#include <mirari/app.h>

const char *mir_app_end_reason(const struct mir_app *app)
{
    static const char *const texts[] = {
        "", "returned", "signal", "control channel", "power button", "console", "lease"};
    return texts[app->end.reason];
}
