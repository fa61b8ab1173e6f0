/* SPDX-License-Identifier: ISC */
/* `mirari test`: what its parts know of each other.
 *
 *   test_parse.c   text -> struct test_file, everything checked, errors with file and line
 *   test_value.c   values of answers: paths, comparisons, $variables
 *   test_net.c     a network namespace with bridges and taps, with or without root
 *   test_app.c     appliances: start, watch, ask, end
 *   test_step.c    runs the steps of one file on one target, in a process of its own
 *   test_report.c  TAP, JUnit
 *   test.c         the command: files x targets, builds, several at a time, Ctrl-C
 */
#ifndef CMD_MIRARI_TEST_H
#define CMD_MIRARI_TEST_H

#include <mirari/json.h>

#include "cmd/mirari/ctl.h"

/* ---- a file ---------------------------------------------------------------------------------- */

#define TEST_FILE_MAX ((size_t)256 << 10)
#define TEST_APPS_MAX 32
#define TEST_NETS_MAX 8
#define TEST_LIMIT_MS 120000

enum test_do {
    TEST_CALL,
    TEST_UNTIL,
    TEST_EXPECT,
    TEST_LET,
    TEST_RUN,
    TEST_FAULT,
    TEST_BOOT,
    TEST_SHUTDOWN,
    TEST_KILL,
    TEST_ENDS,
    TEST_SAYS,
};

/** What of a value is compared, and how. */
struct test_check {
    char *path, *op, *value;
};

struct test_step {
    enum test_do what;
    int line;
    char *text;         /**< as written, for messages */
    size_t app;         /**< index, for those that are about one */
    char *word;         /**< method, command, variable, text or faults */
    char *net;          /**< of fault, or NULL */
    struct list params; /**< KEY=VALUE */
    struct test_check check;
    int64_t within_ms; /**< -1: not given */
    int status;        /**< wanted; -1: not given */
    bool must_fail;    /**< call: an error is what is wanted */
    bool must_end;     /**< call: the appliance ends of it */
};

/** One result: a title and steps. The first is the start of all appliances. */
struct test_case {
    char *title;
    int line;
    struct test_step *step;
    size_t count, size;
};

struct test_net {
    char *name;
    int line;
    char *prefix; /**< "10.77.1": of the IPv4 addresses, /24 */
    unsigned mtu; /**< 0: 1500 */
};

struct test_app {
    char *name, *folder;
    int line;
    const char *target; /**< NULL: that of the run */
    struct list nets;   /**< names of nets, in the order of the manifest's */
    bool has_nets;      /**< given, else all nets of the file */
    bool is_later, has_faults;
    char *ready;         /**< it prints this when it can be used; NULL: it can when it answers */
    struct list options; /**< for mirari run */
};

struct test_file {
    const char *path;
    struct list targets; /**< none given: unix */
    int64_t limit_ms;
    struct test_net net[TEST_NETS_MAX];
    struct test_app app[TEST_APPS_MAX];
    size_t net_count, app_count;
    struct test_case *cases;
    size_t case_count, case_size;
};

/** Read [len] bytes. What is wrong went to @diag; then the file is not to be run. */
void test_parse(const char *text, size_t len, struct test_file *file, struct diag *diag);
void test_file_free(struct test_file *file);
/** "10s", "500ms", "2m" in milliseconds; false: it is no time. */
bool test_time(const char *text, int64_t *ms);

/* ---- values ---------------------------------------------------------------------------------- */

/** JSON of an answer, owned, with its nodes. */
struct test_value {
    char *text;
    struct mir_json json;
    struct mir_json_node *nodes;
};
/** Takes @text over. False: it is no JSON, and the value is null. */
bool test_value_set(struct test_value *value, char *text_given);
void test_value_free(struct test_value *value);
/** What @path means ("a.0.b"; "." = all; "count" of a list), as a text to be freed; NULL: there is
 *  nothing. */
char *test_value_get(const struct test_value *value, const char *path);
/** "; did you mean "x"?" of the members of the whole, or "". Good for one message. */
const char *test_value_hint(const struct test_value *value, const char *path);
/** Does @got compare so? False with @why when it cannot be compared, or does not. */
bool test_compare(const char *got, const char *op, const char *want, struct why *why);
extern const char *const test_ops[];
extern const size_t test_op_count;

/** Names and values, for $name. */
struct test_vars {
    struct list names, values;
};
void test_var_set(struct test_vars *vars, const char *name, const char *value);
void test_vars_free(struct test_vars *vars);
const char *test_var_get(const struct test_vars *vars, const char *name);
/** @text with its $name and ${name} replaced; to be freed. *@unknown: one that is none, to be
 *  freed, or NULL. */
char *test_expand(const struct test_vars *vars, const char *text, char **unknown);

/* ---- a run ----------------------------------------------------------------------------------- */

/** How it is to be done; the same for all runs. */
struct test_options {
    const char *self;  /**< path of this program */
    const char *out;   /**< folder of what is built, or NULL */
    const char *accel; /**< for machines, or NULL */
    bool keep;
    int64_t slower; /**< factor of all time limits */
};

/** An appliance of a run. */
struct test_running {
    const struct test_app *app;
    const char *target;
    pid_t pid; /**< of its `mirari run`; 0: not started, or gone */
    struct ctl ctl;
    struct test_value methods;
    char *control, *log;
    bool has_ended, may_end;
    bool is_told;     /**< that it has ended although it should not */
    bool hangs;       /**< did not answer in time */
    bool is_mute;     /**< a machine without a control channel */
    bool may_be_late; /**< no answer is an error of the call, not of the test */
    int status;       /**< once it has ended: exit status, or 128 + signal */
    long long log_at; /**< where its log began with this start */
};

struct test_run {
    const struct test_file *file;
    const struct test_options *options;
    const char *target;
    char *work; /**< folder of logs and sockets */
    int signals;
    int64_t end_ms; /**< of all */
    bool is_stopped;
    struct test_running apps[TEST_APPS_MAX];
    struct test_vars vars;
    struct test_value value; /**< of the last step that had one */
    pid_t command;           /**< of a running command; 0: none */
    bool command_ended;
    int command_status;
    struct str why; /**< of the failure, lines */
};

enum { TEST_OK = 0, TEST_FAILED, TEST_SKIPPED };

/** Results of a run, one for each: start, the cases, the end. */
size_t test_result_count(const struct test_file *file);
/** Its title; to be freed. */
char *test_result_title(const struct test_file *file, const char *target, size_t index);
/** Run @file and write a record for each result to @out. Returns an exit status. */
int test_run_all(const struct test_file *file, const char *target,
                 const struct test_options *options, int out);

/** Milliseconds of the monotonic clock. */
int64_t test_now(void);
/** The folder where what is built of @folder goes, to be freed; NULL: the usual one. */
char *test_out_of(const struct test_options *options, const char *folder);

/* test_net.c */
/** Make the namespace and what is in it. 0, EXIT_FAIL with @why, or TEST_SKIP with @why. */
#define TEST_NO_NET 77
int test_net_open(const struct test_file *file, struct why *why);
/** Words for `mirari run` about the networks of app @index, whose manifest has these nets. False:
 *  @why. */
bool test_net_words(const struct test_file *file, size_t index, const struct manifest *manifest,
                    struct list *words, struct why *why);
void test_net_vars(const struct test_file *file, struct test_vars *vars);

/* test_app.c */
/** Start @app without waiting. False: @run->why. */
bool test_app_start(struct test_run *run, struct test_running *app);
/** Wait until it answers and has its addresses. */
bool test_app_wait(struct test_run *run, struct test_running *app, int64_t until_ms);
/** Call; the result is @run->value. *@error: what the appliance said against it, to be freed. */
bool test_app_call(struct test_run *run, struct test_running *app, const struct test_step *step,
                   int64_t until_ms, char **error);
/** Call without parameters. */
bool test_app_ask(struct test_run *run, struct test_running *app, const char *method,
                  const char *params, int64_t until_ms, char **error);
/** Ask it to end, without waiting. */
bool test_app_stop(struct test_run *run, struct test_running *app, int64_t until_ms);
/** Wait until it has ended. False: it has not. */
bool test_app_ended(struct test_run *run, struct test_running *app, int64_t until_ms);
/** What it printed since it was started; to be freed. */
char *test_app_log(const struct test_running *app);
/** SIGKILL for all children of a process. */
void test_kill_children(pid_t parent);
/** End all, however. */
void test_apps_kill(struct test_run *run);

/** Wait for input on @fd (-1: none), a child's end, or @until_ms. False, with @run->why: an
 *  appliance ended that should not have, or the run is over. *@is_ready may be NULL. */
bool test_wait(struct test_run *run, int fd, int64_t until_ms, bool *is_ready);
/** Add a line to what went wrong; false. */
bool test_fail(struct test_run *run, const char *fmt, ...) PRINTF(2, 3);

/* test_report.c */
struct test_result {
    char *title, *why; /**< why: lines, or NULL */
    int kind;          /**< TEST_OK ... */
    int64_t ms;
};
/** A result as bytes, and back; test_record_take() returns the bytes used, 0: not whole yet. */
void test_record_put(int out, const struct test_result *result);
size_t test_record_take(const char *data, size_t len, struct test_result *result);
void test_report_begin(size_t count);
void test_report(size_t number, const struct test_result *result);
/** Write JUnit's XML. Returns 0 or -errno. */
int test_report_junit(const char *path, const struct test_result *results, size_t count);

int cmd_test(int argc, char **argv);

#endif
