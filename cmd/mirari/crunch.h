/* SPDX-License-Identifier: ISC */
/* Crunch: a folder becomes a read-only store that is linked into an appliance. Hosted code. */
#ifndef CMD_MIRARI_CRUNCH_H
#define CMD_MIRARI_CRUNCH_H

#include <stdbool.h>
#include <stdint.h>

struct crunch_options {
    const char *name;    /**< of the store: [A-Za-z_][A-Za-z0-9_]*; the symbol is mir_kv_NAME */
    const char *dir;     /**< folder to read */
    const char *out_dir; /**< existing folder; kv_NAME.c, kv_NAME.S and kv_NAME.bin go there */
    const char
        *cache_control; /**< value of Cache-Control; NULL = "public, max-age=300", "" = none */
    uint64_t max_bytes; /**< of all files together, as they are read; 0 = 1 GiB */
};

/** What was made. */
struct crunch_report {
    uint32_t files;
    uint64_t bytes_in;  /**< of the files */
    uint64_t bytes_out; /**< of the pages, compressed variants included */
    char error[512];    /**< after failure: one line, "PATH: what is wrong"; else "" */
};

/**
 * crunch_folder() - make the sources of a store from a folder.
 *
 * Writes three files into out_dir, each only if its contents change:
 *   kv_NAME.bin  values in page-aligned runs, zero-padded
 *   kv_NAME.S    includes kv_NAME.bin: assemble with -I out_dir
 *   kv_NAME.c    tables that define `struct mir_kv mir_kv_NAME`; needs only <mirari/kv_crunch.h>
 * The result depends on nothing but names and contents of the files, the options and
 * SOURCE_DATE_EPOCH: the same input gives the same bytes on any day in any place.
 *
 * Files and folders whose names begin with a dot are left out. A symbolic link is followed if it
 * ends inside the folder, else it is an error.
 *
 * @report  out, may be NULL: written on success and on failure
 *
 * Returns 0 or -1 (report->error says what, where).
 */
int crunch_folder(const struct crunch_options *options, struct crunch_report *report);

#endif
