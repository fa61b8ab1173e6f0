/* SPDX-License-Identifier: ISC */
/* The end is asked for: the power button of the machine, or Ctrl-C on its console.
 *
 * The first time asks the appliance to end, as SIGTERM does on unix; the second time in the same
 * way ends it with MIR__EXIT_FORCED: who does not know which of the two a machine has, as `mirari
 * run`, does both at once and means one. Both are interrupts of devices that the loop looks at, so
 * an appliance whose task never waits hears neither: the host ends the machine then, or asks by
 * `nmi` where it hangs.
 *
 * Other input of the console is thrown away.
 */
#include "target/virt/internal.h"

#define CTRL_C 3

enum { BY_BUTTON = 1, BY_CONSOLE = 2 };
static unsigned asked; /* ways in which it was asked for already */

static struct mir__source button = {.slot = MIR__SLOTS_MAX}, console = {.slot = MIR__SLOTS_MAX};

static void ask(struct mir__virt *v, unsigned by)
{
    if (asked & by) {
        mir_loop_stop(&v->loop, MIR__EXIT_FORCED);
        return;
    }
    asked |= by;
    MIR_LOG(TARGET, INFO, "%s: asking the appliance to end",
            by == BY_BUTTON ? "power button" : "Ctrl-C");
    (void)mir_app_shutdown(&v->app,
                           by == BY_BUTTON ? MIR_APP_END_POWER_BUTTON : MIR_APP_END_CONSOLE);
}

static bool look_at_button(void *arg, bool is_interrupted)
{
    if (!is_interrupted || !mir__arch_power_pressed())
        return false;
    ask(arg, BY_BUTTON);
    return true;
}

static bool look_at_console(void *arg, bool is_interrupted)
{
    bool is_any = false;
    for (int c = is_interrupted ? mir__arch_console_read() : -1; c >= 0;
         c = mir__arch_console_read()) {
        if (c == CTRL_C)
            ask(arg, BY_CONSOLE);
        is_any = true;
    }
    return is_any;
}

void mir__stop_open(struct mir__virt *v)
{
    button.look = look_at_button;
    button.slot = mir__arch_power_open();
    console.look = look_at_console;
    button.arg = console.arg = v;
    if (button.slot < MIR__SLOTS_MAX)
        mir__poll_add(&v->poll, &button);
    if (mir__arch_console_irq(&console.slot) == 0)
        mir__poll_add(&v->poll, &console);
}
