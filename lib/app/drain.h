/* SPDX-License-Identifier: ISC */
/* What comes after mir_app_main(), the same on every target. */
#ifndef LIB_APP_DRAIN_H
#define LIB_APP_DRAIN_H

#include <mirari/app.h>
#include <mirari/dev_net.h>

/** After mir_app_main() has returned @status: run the loop until what closed connections have yet
 * to send is gone, a second at most. Returns @status, or what somebody stopped the loop with. */
int mir__app_drain(struct mir_app *app, const struct mir_loop_driver *driver, int status);

/** Print the line of statistics on the console: @devs of [count] networks, NULL where none was
 *  opened. */
void mir__app_print_end(struct mir_app *app, mir_time_us ran_us, struct mir_net_dev *const *devs,
                        uint32_t count);

#endif
