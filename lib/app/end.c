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
#define HOOK_DEFAULT_US  (5 * MIR_US_PER_S)
#define GUARD_EXTRA_US   (2 * MIR_US_PER_S)

enum phase { RUNS, BEFORE, STOPPING, AFTER, ENDED };

static void go_on(struct mir_app *app);

const char *mir_app_end_reason(const struct mir_app *app)
{
    static const char *const texts[] = {
        "", "returned", "signal", "control channel", "power button", "console", "lease"};
    return texts[app->end.reason];
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
    if (end->running != NULL)
        MIR_LOG(TARGET, ERROR, "the end takes too long: hook %s is left behind",
                end->running->name);
    else
        MIR_LOG(TARGET, ERROR, "the end takes too long: the appliance is left behind");
    finish(app);
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static void run_hook(void *arg)
{
    struct mir_app_hook *hook = arg;
    struct mir_app *app = hook->app;
    hook->run(app, hook->arg);
    if (app->end.running != hook)
        return; /* it was left behind */
    app->end.running = NULL;
    mir_timer_cancel(&app->end.hook_limit);
    go_on(app);
}

static void on_hook_limit(void *arg)
{
    struct mir_app *app = arg;
    struct mir_app_hook *hook = app->end.running;
    MIR_LOG(TARGET, ERROR, "shutdown hook %s takes too long and is left behind", hook->name);
    app->end.late++;
    app->end.running = NULL;
    mir_task_cancel(hook->task);
    go_on(app);
}

/* The next hook of a phase; false: there is none. */
static bool start_hook(struct mir_app *app, enum mir_app_hook_when when)
{
    struct mir_app_end *end = &app->end;
    struct mir_list *node;
    while ((node = mir_list_pop_front(&end->hooks[when])) != NULL) {
        struct mir_app_hook *hook = MIR_CONTAINER_OF(node, struct mir_app_hook, link);
        MIR_LOG(TARGET, INFO, "shutdown hook %s", hook->name);
        if (mir_task_spawn(app->loop, app->stacks, hook->name, 0, run_hook, hook, &hook->task) <
            0) {
            MIR_LOG(TARGET, ERROR, "shutdown hook %s does not run: no stack", hook->name);
            end->late++;
            continue;
        }
        end->running = hook;
        mir_timer_set(app->loop, &end->hook_limit,
                      mir_loop_now(app->loop) +
                          (hook->limit_us != 0 ? hook->limit_us : HOOK_DEFAULT_US));
        return true;
    }
    return false;
}

void mir_app_add_hook(struct mir_app *app, struct mir_app_hook *hook)
{
    struct mir_list *at = app->end.hooks[hook->when].next;
    MIR_ASSERT(hook->run != NULL && hook->name != NULL);
    hook->app = app;
    while (at != &app->end.hooks[hook->when] &&
           MIR_CONTAINER_OF(at, struct mir_app_hook, link)->order < hook->order)
        at = at->next;
    mir_list_push_back(at, &hook->link);
}

void mir_app_remove_hook(struct mir_app_hook *hook)
{
    mir_list_remove(&hook->link);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void go_on(struct mir_app *app)
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
    go_on(app);
    return true;
}

void mir__app_returned(struct mir_app *app, int status)
{
    app->end.has_returned = true;
    app->end.status = status;
    if (!mir_app_shutdown(app, MIR_APP_END_RETURNED))
        go_on(app);
}

static void on_lease(void *arg)
{
    struct mir_app *app = arg;
    MIR_LOG(TARGET, WARN, "the lease is over: asking the appliance to end");
    (void)mir_app_shutdown(app, MIR_APP_END_LEASE);
}

void mir__app_end_init(struct mir_app *app, const struct mir__app_end_config *config)
{
    struct mir_app_end *end = &app->end;
    *end = (struct mir_app_end){.finish = config->finish, .guard = config->guard};
    end->limit_us = config->has_limit ? config->limit_us : LIMIT_DEFAULT_US;
    mir_list_init(&end->hooks[0]);
    mir_list_init(&end->hooks[1]);
    mir_wait_init(&app->stop_asked);
    mir_timer_init(&end->limit, on_limit, app);
    mir_timer_init(&end->hook_limit, on_hook_limit, app);
    mir_timer_init(&end->lease, on_lease, app);
    if (config->lease_us == 0)
        return;
    end->lease_until_us = mir_loop_now(app->loop) + config->lease_us;
    mir_timer_set(app->loop, &end->lease, end->lease_until_us);
    if (end->guard != NULL)
        end->guard(app, config->lease_us + end->limit_us + GUARD_EXTRA_US);
}
