/* SPDX-License-Identifier: ISC */
/* What the commands that talk to a running appliance share.
 *
 *   ctl.c       the client: connects, sends a call, takes items and result; `mirari ctl`
 *   ctl_show.c  netstat, addr, route, arp, stats, pages, log, shutdown
 *   ctl_top.c   top
 *   ctl_dump.c  tcpdump, trace
 */
#ifndef CMD_MIRARI_CTL_H
#define CMD_MIRARI_CTL_H

#include <mirari/json.h>

#include "cmd/mirari/tool.h"

/** A control channel, and the frame that came last. */
struct ctl {
    const char *command; /**< for messages */
    const char *who;     /**< the appliance */
    int fd;
    unsigned worker; /**< of an appliance in several processes */
    uint64_t id;     /**< of the last call */
    char *frame;
    struct mir_json json; /**< of the frame */
    struct mir_json_node *nodes;
    uint32_t nodes_max;
    uint32_t result; /**< node, after a call */
};

/** Open the channel of the appliance @who: name, process id, or the path of a socket. Returns 0, or
 *  complains and returns EXIT_FAIL. */
int ctl_open(struct ctl *ctl, const char *command, const char *who);
void ctl_close(struct ctl *ctl);
/** A connection to the socket @path, or -1 with errno. */
int ctl_connect(const char *path);

#define CTL_WORKERS_MAX 16u

/** The same for an appliance in several processes (--workers): ctl_open() takes the one that the
 *  command line names with --worker, else number 0, and says so. This opens all of them, or the one
 *  that was named. Returns how many, 0 after a message. */
unsigned ctl_open_all(struct ctl ctls[CTL_WORKERS_MAX], const char *command, const char *who);
/** How many workers have a channel beside the one of number 0: control.1 ... in that folder. */
unsigned ctl_count_workers(int folder_fd);

/** Called for every item; false: the call is canceled. */
typedef bool (*ctl_item_fn)(struct ctl *ctl, uint32_t item, void *arg);

/** Call @method with @params, an object as JSON or NULL, and wait; @each may be NULL. Returns 0
 *  with ctl->result set, or complains and returns EXIT_FAIL. A call that was canceled ends with 0
 *  and MIR_JSON_NONE. */
int ctl_call(struct ctl *ctl, const char *method, const char *params, ctl_item_fn each, void *arg);
/** Send a call without waiting, and take the next frame; for those that do several things at a
 *  time. Both return false when the appliance is gone. */
bool ctl_send(struct ctl *ctl, const char *method, const char *params);
bool ctl_receive(struct ctl *ctl);

/** From now on Ctrl-C ends the running call instead of us. */
void ctl_catch_interrupt(void);

/* A member of an object of the last frame. */
uint64_t ctl_number(const struct ctl *ctl, uint32_t object, const char *name);
bool ctl_flag(const struct ctl *ctl, uint32_t object, const char *name);
/** Its text, control bytes made visible; "" if there is none. Good until the process ends. */
const char *ctl_text(const struct ctl *ctl, uint32_t object, const char *name);
/** Does it have this member, and is it not null? */
bool ctl_has(const struct ctl *ctl, uint32_t object, const char *name);

/** Columns that are as wide as their widest cell. */
struct table {
    const char *const *titles; /**< a '>' in front: to the right */
    size_t columns;
    struct list cells;
};
void table_add(struct table *table, const char *cell);
void table_show(const struct table *table);

/** The appliance that a command is about: its only argument besides --worker K, which ctl_open()
 *  heeds, and options of @options ("lut" takes -l, -u, -t, which are counted in @found; "n:" one
 * with a value). Returns 0 or EXIT_USAGE after a message. Words behind it are in @rest if that is
 * not NULL. */
struct ctl_args {
    const char *who;
    bool has[128];
    const char *value[128];
    struct list rest;
};
int ctl_arguments(struct ctl_args *args, int argc, char **argv, const char *options,
                  const char *const *long_names, bool takes_rest);

int cmd_ctl(int argc, char **argv);
int cmd_netstat(int argc, char **argv);
int cmd_addr(int argc, char **argv);
int cmd_route(int argc, char **argv);
int cmd_arp(int argc, char **argv);
int cmd_stats(int argc, char **argv);
int cmd_pages(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_shutdown(int argc, char **argv);
int cmd_top(int argc, char **argv);
int cmd_tcpdump(int argc, char **argv);
int cmd_trace(int argc, char **argv);

#endif
