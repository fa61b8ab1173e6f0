/* SPDX-License-Identifier: ISC */
/* What the files of `mirari vchan` share. */
#ifndef CMD_MIRARI_VCHAN_H
#define CMD_MIRARI_VCHAN_H

#include "cmd/mirari/tool.h"
#include "dev/channel/memfd/memfd.h"

/** One end of a channel, joined to descriptors. */
struct vchan_end {
    struct mir_memfd memfd;
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

/* vchan_join.c */

/** Until either side ends; closes the channel. Returns an exit status. */
int vchan_join(struct vchan_end *end);

/* vchan_list.c */

int vchan_ls(int argc, char **argv);
int vchan_stat(int argc, char **argv);

/* vchan_bench.c */

int vchan_bench(int argc, char **argv);

#endif
