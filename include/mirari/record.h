/* SPDX-License-Identifier: ISC */
/* The recorder: what an appliance did last, in memory that outlives it.
 *
 *   struct mir_record   32 KiB that somebody outside holds, too: a file that is mapped (unix), the
 *                       memory of a machine (virt). A head, then a ring of events, each written
 *                       before it is counted: whatever ends the appliance, and however, the events
 *                       that were counted are whole.
 *
 * What goes in: lines of the log that the levels let through, steps of the loop (those that follow
 * one another as one event), why the appliance ends, notes of the application. After a crash
 * `mirari crash` shows it, with what the crash report said.
 *
 * Everything is of the machine's own byte order, which is little-endian everywhere.
 */
#ifndef MIRARI_RECORD_H
#define MIRARI_RECORD_H

#include <mirari/base.h>
#include <mirari/log.h>

struct mir_app;
struct mir_loop;

#define MIR_RECORD_MAGIC      "MIRARI record 1" /* with its NUL: 16 bytes */
#define MIR_RECORD_BYTES      32768u
#define MIR_RECORD_EVENTS     224u
#define MIR_RECORD_TEXT_MAX   112u
#define MIR_RECORD_REPORT_MAX 3072u

enum mir_record_kind {
    MIR_RECORD_STEPS = 1, /**< args: steps, works, timers, task switches, time of the first */
    MIR_RECORD_LOG,       /**< text: level (one digit), "module: line" */
    MIR_RECORD_END,       /**< text: why */
    MIR_RECORD_NOTE,      /**< text of the application */
};

struct mir_record_event {
    uint64_t time_us; /* monotonic */
    uint16_t kind, len;
    uint32_t unused;
    union {
        uint64_t args[MIR_RECORD_TEXT_MAX / 8];
        char text[MIR_RECORD_TEXT_MAX];
    };
};

enum mir_record_state {
    MIR_RECORD_RUNS = 1,
    MIR_RECORD_ENDED,   /**< in order, with @status */
    MIR_RECORD_CRASHED, /**< it said so itself; @report */
};

struct mir_record {
    char magic[16];
    uint32_t size_bytes;
    uint32_t state; /* enum mir_record_state */
    int32_t status;
    uint32_t report_len;
    uint64_t began_us;      /* monotonic */
    uint64_t began_wall_us; /* the same moment, since 1970 */
    uint64_t count; /* of events so far; the last one is at (count - 1) % MIR_RECORD_EVENTS */
    /* By who looks after the appliance, when it has ended; texts, NUL-terminated. */
    char name[64], target[8], image[256], end[64];
    char report[MIR_RECORD_REPORT_MAX]; /* of the crash, lines */
    char unused[576];
    struct mir_record_event events[MIR_RECORD_EVENTS];
};
_Static_assert(sizeof(struct mir_record_event) == 128, "events lie one after another");
_Static_assert(sizeof(struct mir_record) == MIR_RECORD_BYTES, "a page run, or a file");

/** Writes a record. */
struct mir_recorder {
    struct mir_record *record;
    /* private: */
    struct mir_app *app;
    struct mir_log_tap tap;
    struct mir_record_event *last; /* if that is of steps */
    uint64_t steps, works, timers, switches;
    bool has_end;
};

/** Begin @record, MIR_RECORD_BYTES of zeroes; app->recorder is set, log lines are recorded. The app
 *  has its loop. */
void mir__recorder_open(struct mir_recorder *recorder, struct mir_record *record,
                        struct mir_app *app, mir_time_us now_us, mir_time_us wall_us);
/** Note what the loop has done; before every wait. */
void mir__recorder_step(struct mir_recorder *recorder);
/** The appliance ends in order. */
void mir__recorder_close(struct mir_recorder *recorder, int status);
/** [len] bytes of the report of a crash, from any context. What does not fit is cut. */
void mir__recorder_report(struct mir_recorder *recorder, const char *text, size_t len);

/** Record a note of at most 111 bytes, if there is a recorder; nothing is printed. */
void mir_app_note(struct mir_app *app, const char *fmt, ...) MIR_PRINTF(2, 3);

#endif
