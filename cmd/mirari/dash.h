/* SPDX-License-Identifier: ISC */
/* What the files of `mirari dash` know of each other.
 *
 *   dash.c         the command: memory, loop, the host's stack, the end
 *   dash_http.c    who may ask what, and the answers; the stream of samples
 *   dash_look.c    one control channel for each appliance, asked once a second
 *   dash_page.c    the page, from the files in dash/
 */
#ifndef CMD_MIRARI_DASH_H
#define CMD_MIRARI_DASH_H

#include <mirari/host.h>
#include <mirari/http.h>
#include <mirari/json.h>
#include <mirari/run.h>

#include "cmd/mirari/tool.h"

#define DASH_APPLIANCES_MAX 64u
#define DASH_TOKEN_BYTES    16u

/* ---- dash_look.c ------------------------------------------------------------------------------
 */

struct look;

struct look_config {
    struct mir_loop *loop;
    struct mir_host_poll *poll;
    bool is_read_only; /**< every session gives its full role up */
};

/** Begin to look after the appliances of this user. Returns 0, or complains. */
int look_open(const struct look_config *config, struct look **look);
/** The folder of the appliances. */
const char *look_folder(const struct look *look);
/** All channels are closed; who waits for an answer is told. */
void look_close(struct look *look);
/** Which appliances are there, and how are they? Answers come as events of the loop. */
void look_around(struct look *look);
/** Nobody watches: channels are closed until the next look, so that they cost appliances nothing.
 */
void look_rest(struct look *look);

/** Where somebody who is told of all samples has come to; zeroed at first. */
struct look_cursor {
    uint64_t serial[DASH_APPLIANCES_MAX]; /* of the appliance in that place */
    uint64_t next[DASH_APPLIANCES_MAX];   /* sample */
};

/** An array of all appliances, each with the samples behind @cursor, which moves on. */
void look_tell(struct look *look, struct look_cursor *cursor, struct mir_json_out *out);

enum look_result {
    LOOK_DONE,
    LOOK_REFUSED, /**< by the appliance, in words */
    LOOK_SILENT,  /**< no answer in time */
    LOOK_GONE,    /**< no such appliance, or it has no channel */
};

/** The answer to a call. @text: of LOOK_DONE the result, as JSON, else a message. @rows: of items
 *  that are arrays their elements, as JSON with commas; good during the call. */
typedef void (*look_answer_fn)(void *arg, enum look_result result, const char *text,
                               const struct str *rows, bool is_cut);

/** Call @method of the appliance @id (NAME-PID) with @params, an object as JSON. @answer is called
 *  once, perhaps at once. Returns a number for look_forget(), 0: it was answered. */
uint64_t look_call(struct look *look, const char *id, const char *method, const char *params,
                   look_answer_fn answer, void *arg);
/** Nobody waits for that answer any more. */
void look_forget(struct look *look, uint64_t number);
/** The end of what it printed, at most @max bytes from the beginning of a line; false: no such
 *  appliance. */
bool look_log(struct look *look, const char *id, size_t max, struct str *out);

/* ---- dash_http.c ------------------------------------------------------------------------------
 */

struct dash_web;

struct dash_web_config {
    struct mir_loop *loop;
    struct mir_stack *stack;
    struct mir_clock *clock;
    struct look *look;
    uint16_t port; /**< 0: any */
    bool is_read_only;
    char token[2 * DASH_TOKEN_BYTES + 1];
};

/** Serve on 127.0.0.1. Returns 0 with the port in *@port, or a negative MIR_E*. */
int dash_web_open(const struct dash_web_config *config, struct dash_web **web, uint16_t *port);
void dash_web_close(struct dash_web *web);

/* ---- dash_page.c ------------------------------------------------------------------------------
 */

struct dash_file {
    const char *path, *media_type, *data;
    size_t len;
};
/** The part of the page at @path, or NULL. */
const struct dash_file *dash_page_file(struct mir_http_text path);

int cmd_dash(int argc, char **argv);

#endif
