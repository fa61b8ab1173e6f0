/* SPDX-License-Identifier: ISC */
/* Shutdown hooks: each runs in a task of its own, the next when it has ended or its limit is over.
 *
 * end.c says when; this file is linked only into appliances that have hooks.
 */
#include <mirari/app.h>

#define HOOK_DEFAULT_US (5 * MIR_US_PER_S)

static void run_hook(void *arg)
{
    struct mir_app_hook *hook = arg;
    struct mir_app *app = hook->app;
    hook->run(app, hook->arg);
    if (app->end.running != hook)
        return; /* it was left behind */
    app->end.running = NULL;
    mir_timer_cancel(&app->end.hook_limit);
    mir__app_end_go_on(app);
}

static void on_hook_limit(void *arg)
{
    struct mir_app *app = arg;
    struct mir_app_hook *hook = app->end.running;
    MIR_LOG(TARGET, ERROR, "shutdown hook %s takes too long and is left behind", hook->name);
    app->end.late++;
    app->end.running = NULL;
    mir_task_cancel(hook->task);
    mir__app_end_go_on(app);
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

static void run_panic(struct mir_app *app)
{
    struct mir_list *node;
    while ((node = mir_list_pop_front(&app->end.hooks[MIR_APP_ON_PANIC])) != NULL) {
        struct mir_app_hook *hook = MIR_CONTAINER_OF(node, struct mir_app_hook, link);
        hook->run(app, hook->arg);
    }
}

void mir_app_add_hook(struct mir_app *app, struct mir_app_hook *hook)
{
    struct mir_list *at = app->end.hooks[hook->when].next;
    MIR_ASSERT(hook->run != NULL && hook->name != NULL);
    hook->app = app;
    if (hook->when == MIR_APP_ON_PANIC)
        app->end.panic = run_panic;
    if (app->end.start_hook == NULL)
        mir_timer_init(&app->end.hook_limit, on_hook_limit, app);
    app->end.start_hook = start_hook;
    while (at != &app->end.hooks[hook->when] &&
           MIR_CONTAINER_OF(at, struct mir_app_hook, link)->order < hook->order)
        at = at->next;
    mir_list_push_back(at, &hook->link);
}

void mir_app_remove_hook(struct mir_app_hook *hook)
{
    mir_list_remove(&hook->link);
}
