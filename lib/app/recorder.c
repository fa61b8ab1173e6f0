/* SPDX-License-Identifier: ISC */
/* Writes the record of an appliance: events into a ring, the report of a crash.
 *
 * Whoever reads does so when the writer is gone, at a moment nobody chose. So an event is written
 * as a whole before the count says that it is there; the oldest one, whose place that is, is the
 * only one that may be half overwritten, and a reader leaves it out. Numbers of steps are changed
 * in place while nothing else happens: an idle hour and a busy one take one event each.
 *
 * Linked only by targets that have such memory.
 */
#include <mirari/app.h>
#include <mirari/format.h>
#include <mirari/record.h>

static struct mir_record_event *begin_event(struct mir_recorder *r, enum mir_record_kind kind)
{
    struct mir_record *record = r->record;
    struct mir_record_event *event = &record->events[record->count % MIR_RECORD_EVENTS];
    event->time_us = mir_loop_now(r->app->loop);
    event->kind = (uint16_t)kind;
    event->len = 0;
    r->last = NULL;
    return event;
}

static void end_event(struct mir_recorder *r)
{
    __atomic_store_n(&r->record->count, r->record->count + 1, __ATOMIC_RELEASE);
}

static void put_text(struct mir_recorder *r, enum mir_record_kind kind, const char *fmt, ...)
    MIR_PRINTF(3, 4);
static void put_text(struct mir_recorder *r, enum mir_record_kind kind, const char *fmt, ...)
{
    struct mir_record_event *event = begin_event(r, kind);
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(event->text, sizeof event->text, fmt, args);
    va_end(args);
    event->len = (uint16_t)MIR_MIN(len, sizeof event->text - 1);
    end_event(r);
}

static void on_line(void *arg, enum mir_log_level level, const char *module, const char *line,
                    size_t len)
{
    (void)len;
    put_text(arg, MIR_RECORD_LOG, "%d%s: %s", (int)level, module, line);
}

void mir__recorder_open(struct mir_recorder *r, struct mir_record *record, struct mir_app *app,
                        mir_time_us now_us, mir_time_us wall_us)
{
    *r = (struct mir_recorder){.record = record, .app = app};
    record->size_bytes = MIR_RECORD_BYTES;
    record->state = MIR_RECORD_RUNS;
    record->began_us = now_us;
    record->began_wall_us = wall_us;
    mir_memcpy(record->magic, MIR_RECORD_MAGIC, sizeof record->magic);
    r->tap = (struct mir_log_tap){.sink = on_line, .arg = r};
    mir_log_add_tap(&r->tap);
    app->recorder = r;
}

void mir__recorder_step(struct mir_recorder *r)
{
    const struct mir_loop *loop = r->app->loop;
    if (!r->has_end && r->app->end.reason != MIR_APP_END_NONE) {
        r->has_end = true;
        put_text(r, MIR_RECORD_END, "%s", mir_app_end_reason(r->app));
    }
    uint64_t works = loop->works - r->works, timers = loop->timers_fired - r->timers,
             switches = loop->task_switches - r->switches;
    if (works + timers + switches == 0)
        return;
    bool is_new = r->last == NULL;
    struct mir_record_event *event = is_new ? begin_event(r, MIR_RECORD_STEPS) : r->last;
    if (is_new) {
        mir_memset(event->args, 0, sizeof event->args);
        event->args[4] = event->time_us;
    }
    event->time_us = mir_loop_now(loop);
    event->args[0] += loop->steps - r->steps;
    event->args[1] += works;
    event->args[2] += timers;
    event->args[3] += switches;
    if (is_new)
        end_event(r);
    r->last = event;
    r->steps = loop->steps;
    r->works = loop->works;
    r->timers = loop->timers_fired;
    r->switches = loop->task_switches;
}

void mir__recorder_close(struct mir_recorder *r, int status)
{
    mir_log_remove_tap(&r->tap);
    r->app->recorder = NULL;
    r->record->status = status;
    r->record->state = MIR_RECORD_ENDED;
}

void mir__recorder_report(struct mir_recorder *r, const char *text, size_t len)
{
    struct mir_record *record = r->record;
    uint32_t at = MIR_MIN(record->report_len, MIR_RECORD_REPORT_MAX);
    len = MIR_MIN(len, (size_t)(MIR_RECORD_REPORT_MAX - at));
    mir_memcpy(record->report + at, text, len);
    record->report_len = at + (uint32_t)len;
    record->state = MIR_RECORD_CRASHED;
}

void mir_app_note(struct mir_app *app, const char *fmt, ...)
{
    struct mir_recorder *r = app->recorder;
    va_list args;
    if (r == NULL)
        return;
    struct mir_record_event *event = begin_event(r, MIR_RECORD_NOTE);
    va_start(args, fmt);
    size_t len = mir_vformat(event->text, sizeof event->text, fmt, args);
    va_end(args);
    event->len = (uint16_t)MIR_MIN(len, sizeof event->text - 1);
    end_event(r);
}
