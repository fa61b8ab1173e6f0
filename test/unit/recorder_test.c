/* SPDX-License-Identifier: ISC */
/* The recorder: a ring of events in memory that somebody else holds, too. */
#include <stdlib.h>
#include <string.h>

#include <mirari/app.h>
#include <mirari/record.h>
#include <mirari/run.h>

#include "test/harness/tap.h"

static struct mir_record record;
static struct mir_recorder recorder;
static struct mir_app app;
static struct mir_loop loop;
static struct mir_work work;
static mir_time_us now_us = 1000;

static void nothing(void *arg)
{
    (void)arg;
}

static void step(bool is_busy)
{
    mir_time_us next_us;
    now_us += 10;
    if (is_busy)
        mir_loop_post(&loop, &work);
    mir_loop_step(&loop, now_us, &next_us);
    mir__recorder_step(&recorder);
}

static const struct mir_record_event *last(void)
{
    return &record.events[(record.count - 1) % MIR_RECORD_EVENTS];
}

static void begin(void)
{
    if (recorder.record != NULL)
        mir__recorder_close(&recorder, 0);
    memset(&record, 0, sizeof record);
    mir_loop_init(&loop, now_us);
    mir_work_init(&work, nothing, NULL);
    app = (struct mir_app){.loop = &loop};
    mir__recorder_open(&recorder, &record, &app, now_us, 77);
}

static void test_events(void)
{
    tap_case("steps that follow one another are one event");
    begin();
    check_str(record.magic, MIR_RECORD_MAGIC);
    check_int(record.state, ==, MIR_RECORD_RUNS);
    for (unsigned i = 0; i < 100; i++)
        step(true);
    check_int(record.count, ==, 1);
    check_int(last()->kind, ==, MIR_RECORD_STEPS);
    check_int(last()->args[1], ==, 100);
    check_int(last()->time_us - last()->args[4], ==, 990);
    tap_case("and those that did nothing none");
    begin();
    for (unsigned i = 0; i < 100; i++)
        step(false);
    check_int(record.count, ==, 0);
    tap_case("notes, cut where they are too long; steps behind one are another event");
    step(true);
    mir_app_note(&app, "%s", "short");
    check_int(record.count, ==, 2);
    check_int(last()->len, ==, 5);
    check_mem(last()->text, "short", 5);
    mir_app_note(&app, "%0200d", 7);
    check_int(last()->len, ==, MIR_RECORD_TEXT_MAX - 1);
    step(true);
    step(true);
    check_int(record.count, ==, 4);
    check_int(last()->args[1], ==, 2);
    tap_case("lines of the log, with level and module");
    MIR_LOG(TCP, WARN, "odd port=%u", 80u);
    check_int(last()->kind, ==, MIR_RECORD_LOG);
    check_mem(last()->text, "1tcp: odd port=80", 17);
    tap_case("why it ends, once");
    app.end.reason = MIR_APP_END_LEASE;
    uint64_t before = record.count;
    step(false);
    step(false);
    check_int(record.count, ==, before + 1);
    check_int(last()->kind, ==, MIR_RECORD_END);
}

static void test_ring(void)
{
    tap_case("a full ring: the oldest go, the count tells how many there were");
    begin();
    for (unsigned i = 0; i < 3 * MIR_RECORD_EVENTS + 5; i++)
        mir_app_note(&app, "%u", i);
    check_int(record.count, ==, 3 * MIR_RECORD_EVENTS + 5);
    check_int(atoi(last()->text), ==, 3 * MIR_RECORD_EVENTS + 4);
    check_int(atoi(record.events[5].text), ==, 2 * MIR_RECORD_EVENTS + 5);
    tap_case("a report, cut where it is too long");
    for (unsigned i = 0; i < 100; i++)
        mir__recorder_report(&recorder, "0123456789012345678901234567890123456789\n", 41);
    check_int(record.report_len, ==, MIR_RECORD_REPORT_MAX);
    check_int(record.unused[0], ==, 0);
    check_int(record.state, ==, MIR_RECORD_CRASHED);
    tap_case("a head that was damaged does not lead out of it");
    record.report_len = UINT32_MAX;
    mir__recorder_report(&recorder, "x", 1);
    check_int(record.report_len, ==, MIR_RECORD_REPORT_MAX);
    record.count = UINT64_MAX - 3;
    for (unsigned i = 0; i < 10; i++)
        mir_app_note(&app, "%u", i);
    tap_case("the end in order: nothing is recorded any more");
    mir__recorder_close(&recorder, 3);
    uint64_t before = record.count;
    mir_app_note(&app, "late");
    MIR_LOG(TCP, WARN, "late");
    check_int(record.count, ==, before);
    check_int(record.state, ==, MIR_RECORD_ENDED);
    check_int(record.status, ==, 3);
}

int main(void)
{
    tap_begin("recorder");
    test_events();
    test_ring();
    return tap_done();
}
