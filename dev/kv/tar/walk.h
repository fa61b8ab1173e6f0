/* SPDX-License-Identifier: ISC */
/* The members of a tar archive, one after the other. No memory, no I/O of its own. */
#ifndef DEV_KV_TAR_WALK_H
#define DEV_KV_TAR_WALK_H

#include <mirari/base.h>
#include <mirari/err.h>

#include "dev/kv/table/table.h"

/** Archives are made of these. */
#define MIR__TAR_BLOCK 512u
/** Longest extended header; that of a name of MIR__KV_KEY_MAX and some numbers is far shorter. */
#define MIR__TAR_EXTENDED_MAX 32768u

/** Where the bytes of an archive come from. */
struct mir__tar_source {
    /** @bytes out: [len] bytes from @offset on, valid until the next call. Returns 0 or a negative
     *  error, which ends the walk. Never asked for bytes behind @size_bytes. */
    int (*read)(struct mir__tar_source *source, uint64_t offset, uint32_t len,
                const uint8_t **bytes);
    uint64_t size_bytes; /**< of all there is; the archive may end before */
};

struct mir__tar_member {
    uint64_t offset, size_bytes; /**< of its contents; inside the source */
    uint64_t modified_s;         /**< since 1970, 0 = unknown */
    const char *key;             /**< NUL-terminated, valid until the next step */
    uint32_t key_len;
    bool is_file; /**< else a folder, or hidden: of no interest */
};

struct mir__tar_walk {
    struct mir__tar_source *source;
    uint64_t at;     /**< of the next header */
    const char *why; /**< after an error: what is wrong, static text */
    /* private: */
    char key[MIR__KV_KEY_MAX + 1];
    uint32_t key_len;
    /* What an extended header has said about the next member. */
    bool has_key, has_size, has_time;
    uint64_t size_bytes, modified_s;
};

void mir__tar_walk_init(struct mir__tar_walk *walk, struct mir__tar_source *source);

/**
 * mir__tar_next() - the next member.
 *
 * Headers are checked to the last bit that means something: format, checksum, digits of numbers,
 * names (no absolute ones, no "..", no control characters), extended headers by their lengths, and
 * that the contents are inside. Types other than files and folders are refused.
 *
 * Returns 0, -MIR_EEOF (the end mark: two blocks of zeroes), -MIR_EMALFORMED, -MIR_ECHECKSUM,
 *         -MIR_ETRUNCATED, -MIR_ETOOBIG, -MIR_ENOTSUP with walk->why, or what the source returned.
 * Cost    O(1) of bounded headers
 * Source  IEEE Std 1003.1-2017, pax: "ustar Interchange Format", "pax Interchange Format"
 */
int mir__tar_next(struct mir__tar_walk *walk, struct mir__tar_member *member) MIR_CHECK;

#endif
