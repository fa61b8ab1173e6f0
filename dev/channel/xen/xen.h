/* SPDX-License-Identifier: ISC */
/* Channels between domains of Xen: pages that are granted, event channels, and the store where the
 * two find each other. What a target must give for that is struct mir_xen_ops; xen.c has the rest.
 */
#ifndef DEV_CHANNEL_XEN_XEN_H
#define DEV_CHANNEL_XEN_XEN_H

#include <mirari/channel.h>

#define MIR_XEN_PATH_MAX  200u
#define MIR_XEN_VALUE_MAX 16u

/** What a domain can ask Xen and its store for. None of it waits, but for the store. */
struct mir_xen_ops {
    /** [count] zeroed pages of ours, one piece, which @domain may map and write; refs out.
     *  Returns 0, -MIR_ENOMEM, -MIR_ELIMIT (no grants left). */
    int (*grant)(void *arg, uint16_t domain, uint32_t count, uint32_t *refs, void **at);
    /** Take them back. Pages that the domain still has mapped stay out of use until it has not. */
    void (*ungrant)(void *arg, const uint32_t *refs, uint32_t count, void *at);
    /** Pages of @domain as one piece. Returns 0, -MIR_EINVAL (no such grants), -MIR_ENOMEM. */
    int (*map)(void *arg, uint16_t domain, const uint32_t *refs, uint32_t count, void **at);
    void (*unmap)(void *arg, void *at, uint32_t count);
    /** A port that @domain may bind to. Returns 0 or -MIR_ELIMIT. */
    int (*open_port)(void *arg, uint16_t domain, uint32_t *port);
    /** Our end of a port of @domain. Returns 0, -MIR_EINVAL, -MIR_ELIMIT. */
    int (*bind_port)(void *arg, uint16_t domain, uint32_t theirs, uint32_t *port);
    void (*notify)(void *arg, uint32_t port);
    void (*close_port)(void *arg, uint32_t port);
    /** Write @value, which @domain may read and nobody else write. Returns 0 or -MIR_EIO. */
    int (*write)(void *arg, const char *path, const char *value, uint16_t domain);
    /** Returns 0, -MIR_ENOENT, -MIR_ETOOBIG (longer than MIR_XEN_VALUE_MAX - 1). */
    int (*read)(void *arg, const char *path, char value[MIR_XEN_VALUE_MAX]);
    void (*remove)(void *arg, const char *path);
};

struct mir_xen_config {
    const struct mir_xen_ops *ops;
    void *arg;       /**< of ops */
    uint16_t domain; /**< of the peer */
    /** Where the two keys ring-ref and event-channel are; of vchan-node2 what it was given, of
     *  libvchan for mirage /local/domain/SERVER/data/vchan/CLIENT/PORT. Borrowed. */
    const char *path;
};

/** One end of a channel; caller's memory. */
struct mir_xen_channel {
    struct mir_channel channel; /* first */
    /* private: */
    struct mir_xen_config config;
    char path[MIR_XEN_PATH_MAX];
    uint32_t port;
    bool has_port, is_open, is_written;
    uint32_t area_count;
    struct mir__xen_area {
        void *at;
        uint32_t count;
        uint32_t refs[256]; /* of a server: to take them back */
    } area[3];
};

/** A server's end, for mir_vchan_serve(), which writes its keys. Returns 0 or -MIR_EINVAL (path).
 *  Source: Xen tools/libs/vchan/init.c. */
int mir_xen_channel_offer(struct mir_xen_channel *end,
                          const struct mir_xen_config *config) MIR_CHECK;
/**
 * mir_xen_channel_join() - a client's end, for mir_vchan_connect().
 *
 * Returns 0, -MIR_ENOENT (no server yet: watch the path), -MIR_EPROTO (keys that are no numbers),
 *         -MIR_EINVAL (path, or a port that is none), -MIR_ELIMIT.
 * Source  Xen tools/libs/vchan/init.c
 * Tests   test/unit/vchan_domains_test.c
 */
int mir_xen_channel_join(struct mir_xen_channel *end,
                         const struct mir_xen_config *config) MIR_CHECK;
/** The target: its port was rung. Returns nothing. Source: none. */
void mir_xen_channel_rung(struct mir_xen_channel *end);
/** The target: the peer's domain is gone, or its keys are (@releaseDomain, a watch of the path).
 *  Returns nothing. Source: none. */
void mir_xen_channel_lost(struct mir_xen_channel *end);
static inline uint32_t mir_xen_channel_port(const struct mir_xen_channel *end)
{
    return end->port;
}

#endif
