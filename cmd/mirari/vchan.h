/* SPDX-License-Identifier: ISC */
/* What the files of `mirari vchan` share. */
#ifndef CMD_MIRARI_VCHAN_H
#define CMD_MIRARI_VCHAN_H

#include "cmd/mirari/tool.h"
#include "dev/channel/ivshmem_host/ivshmem.h"
#include "dev/channel/memfd/memfd.h"

#define VCHAN_CLIENTS_MAX 64u

/** One end of a channel, joined to descriptors. */
struct vchan_end {
    bool is_region; /**< peer and region, not memfd */
    struct mir_memfd memfd;
    struct mir_ivshmem_peer peer;
    struct mir_region_end region;
    struct mir_vchan vchan;
    int in, out;       /**< what is read from goes to the channel, what comes is written to */
    bool is_socket;    /**< in and out are one socket */
    bool is_kept;      /**< the end of the input closes nothing */
    unsigned linger_s; /**< after it, wait so long for an answer */
    bool is_quiet;     /**< a peer that was lost is no message */
};

/** Path of the socket of a channel: NAME in the user's folder, or a path with a slash. NULL after a
 *  message. */
char *vchan_path(const char *command, const char *name);
/** The folder of names; NULL after a message. */
char *vchan_folder(void);

/** What to do with a channel; returns an exit status. */
typedef int vchan_run(struct vchan_end *end, const void *options);
/** Signals that end a server are noticed (vchan_is_stopping()), or do what they always do. */
void vchan_signals(bool are_noticed);
bool vchan_is_stopping(void);
bool vchan_number(const char *command, const char *option, const char *text, unsigned *value);

/** A client of whatever listens there. Returns 0 or an exit status after a message. */
int vchan_connect(const char *path, unsigned wait_s, struct vchan_end *end);

/* vchan_region.c */

unsigned vchan_end_descriptors(const struct vchan_end *end, int fd[2]);
void vchan_end_poll(struct vchan_end *end);
/** Does the server of a region listen there? */
bool vchan_is_region(const char *path);
/** Start one that ends when nobody was there for a while. Returns 0 or an exit status. */
int vchan_region_start(const char *path);
/** The client of whoever offers a channel there. Returns 0 or an exit status after a message. */
int vchan_region_connect(const char *path, unsigned wait_s, struct vchan_end *end);
/** Clients one after the other, or each by a process. Returns an exit status. */
int vchan_region_serve(const char *path, bool is_once, vchan_run *run, const void *options);
int vchan_region_serve_many(const char *path, vchan_run *run, const void *options);
int vchan_ivshmem(int argc, char **argv);

/* vchan_join.c */

/** Until either side ends; closes the channel. Returns an exit status. */
int vchan_join(struct vchan_end *end);

/* vchan_list.c */

int vchan_ls(int argc, char **argv);
int vchan_stat(int argc, char **argv);

/* vchan_echo.c */

/** `bench NAME`. Returns an exit status. */
int vchan_echo(const char *name, unsigned wait_s);

/* vchan_bench.c */

int vchan_bench(int argc, char **argv);

#endif
