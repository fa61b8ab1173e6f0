/* SPDX-License-Identifier: ISC */
/* How an appliance ends: who asked, the hooks that run, and that it ends in any case.
 *
 *   asked (signal, control, power button, lease) or mir_app_main() returned
 *     │   from here on everything together has a limit
 *     ├─ hooks BEFORE_STOP, one after another, each in a task of its own with its own limit
 *     ├─ is_stopping, stop_asked woken; mir_app_main() is waited for
 *     ├─ hooks AFTER_STOP, likewise; devices and networks still work
 *     └─ finish(): the target leaves its loop
 *
 * A hook that takes too long is told to end (its waits return -MIR_ECANCELED) and left behind. When
 * the limit of the whole is over, whatever is still going on is left behind. A task that does not
 * even wait holds the loop, and with it the timers here: against that the target has a guard of its
 * own that needs no loop, set to a little more than the limit.
 *
 * The exit status is what mir_app_main() returned; if that is 0 and something was left behind, or
 * if it never returned, MIR_APP_EXIT_FORCED.
 */
#include <mirari/app.h>

#define LIMIT_DEFAULT_US (30 * MIR_US_PER_S)
#define GUARD_EXTRA_US   (2 * MIR_US_PER_S)

enum phase { RUNS, BEFORE, STOPPING, AFTER, ENDED };

/* Hooks are code that an appliance without them does not have (hooks.c). */
static bool start_hook(struct mir_app *app, enum mir_app_hook_when when)
{
    return app->end.start_hook != NULL && app->end.start_hook(app, when);
}

static void finish(struct mir_app *app)
{
    struct mir_app_end *end = &app->end;
    if (end->phase == ENDED)
        return;
    bool is_forced = !end->has_returned || (end->late > 0 && end->status == 0);
    end->phase = ENDED;
    mir_timer_cancel(&end->limit);
    mir_timer_cancel(&end->hook_limit);
    mir_timer_cancel(&end->lease);
    end->finish(app, is_forced ? MIR_APP_EXIT_FORCED : end->status);
}

static void on_limit(void *arg)
{
    struct mir_app *app = arg;
    struct mir_app_end *end = &app->end;
    end->late++;
    MIR_LOG(TARGET, ERROR, "the end takes too long: %s is left behind",
            end->running != NULL ? end->running->name : "the appliance");
    finish(app);
}

/* ---- phases ---------------------------------------------------------------------------------- */

void mir__app_end_go_on(struct mir_app *app)
{
    struct mir_app_end *end = &app->end;
    if (end->phase == BEFORE && !start_hook(app, MIR_APP_BEFORE_STOP)) {
        end->phase = STOPPING;
        app->is_stopping = true;
        mir_wait_wake_all(&app->stop_asked);
    }
    if (end->phase == STOPPING && end->has_returned)
        end->phase = AFTER;
    if (end->phase == AFTER && end->running == NULL && !start_hook(app, MIR_APP_AFTER_STOP))
        finish(app);
}

bool mir_app_shutdown(struct mir_app *app, enum mir_app_end_cause reason)
{
    struct mir_app_end *end = &app->end;
    if (end->phase != RUNS)
        return false;
    end->reason = reason;
    end->phase = BEFORE;
    if (end->limit_us != 0)
        mir_timer_set(app->loop, &end->limit, mir_loop_now(app->loop) + end->limit_us);
    if (end->limit_us != 0 && end->guard != NULL)
        end->guard(app, end->limit_us + GUARD_EXTRA_US);
    mir__app_end_go_on(app);
    return true;
}

void mir__app_returned(struct mir_app *app, int status)
{
    app->end.has_returned = true;
    app->end.status = status;
    if (!mir_app_shutdown(app, MIR_APP_END_RETURNED))
        mir__app_end_go_on(app);
}

static void on_lease(void *arg)
{
    struct mir_app *app = arg;
    MIR_LOG(TARGET, WARN, "the lease is over");
    (void)mir_app_shutdown(app, MIR_APP_END_LEASE);
}

void mir__app_end_init(struct mir_app *app, const struct mir__app_end_config *config)
{
    struct mir_app_end *end = &app->end;
    *end = (struct mir_app_end){.finish = config->finish, .guard = config->guard};
    end->limit_us = config->has_limit ? config->limit_us : LIMIT_DEFAULT_US;
    mir_list_init(&end->hooks[0]);
    mir_list_init(&end->hooks[1]);
    mir_list_init(&end->hooks[2]);
    mir_wait_init(&app->stop_asked);
    mir_timer_init(&end->limit, on_limit, app);
    mir_timer_init(&end->lease, on_lease, app);
    if (config->lease_us == 0)
        return;
    end->lease_until_us = mir_loop_now(app->loop) + config->lease_us;
    mir_timer_set(app->loop, &end->lease, end->lease_until_us);
    if (end->guard != NULL)
        end->guard(app, config->lease_us + end->limit_us + GUARD_EXTRA_US);
}
