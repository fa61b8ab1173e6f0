/* SPDX-License-Identifier: ISC */
/* A Xen in this process: grants, event channels, a store, and the backend of one network interface,
 * which works with the bare words of its rings and can be as hostile as it likes. */
#ifndef TEST_XENBACK_H
#define TEST_XENBACK_H

#include "dev/net/xen/internal.h"

#define XENBACK_GRANTS  1200u
#define XENBACK_KEYS    48u
#define XENBACK_FRAME   66000u
#define XENBACK_PENDING 256u

struct xenback_frame {
    const uint8_t *data;
    uint32_t len, slots;
    uint16_t flags;
    struct mir__netif_extra extra;
};

/** One in so many does this; 0: never. */
struct xenback_evil {
    uint32_t bad_id, bad_status, index_jump, twice, keep, bad_len, bad_flags, scribble;
};

struct xenback {
    struct mir_xen xen; /* first */
    struct mir_xen_device device;
    struct {
        const uint8_t *page;
        bool is_readonly, is_used;
        bool is_kept; /* the backend does not let go */
    } grant[XENBACK_GRANTS];
    uint32_t grants_used, grants_max, grant_hint;
    struct {
        char path[80], value[64];
    } key[XENBACK_KEYS];
    uint32_t keys;
    uint32_t ports_open, notifications;
    bool is_stubborn; /* does not answer to Closing */
    /* the backend */
    bool is_connected;
    uint32_t *tx, *rx; /* ring pages */
    uint32_t tx_cons, tx_prod, rx_cons, rx_prod;
    bool holds; /* does not answer what it got */
    union mir__netif_tx pending[XENBACK_PENDING];
    uint32_t pending_count;
    void (*on_frame)(void *arg, const struct xenback_frame *frame);
    void *arg;
    uint32_t frames, violations;
    const char *violation;
    struct xenback_evil evil;
    uint64_t random;
    const uint8_t *input; /* of a fuzzer, instead */
    size_t input_len;
    uint8_t frame[XENBACK_FRAME];
};

/** Interface 0 of a domain, backend InitWait, all features, MAC 00:16:3e:00:00:99. */
void xenback_init(struct xenback *b, uint64_t seed);
void xenback_set(struct xenback *b, const char *path, const char *value);
/** A key of the backend's or of the frontend's folder. */
void xenback_set_back(struct xenback *b, const char *name, uint32_t value);
uint32_t xenback_get_front(struct xenback *b, const char *name);
uint32_t xenback_draw(struct xenback *b);
/** States, packets to send, answers. Returns true if something was done. */
bool xenback_run(struct xenback *b);
/** Answer @count of the slots that are held. */
void xenback_answer(struct xenback *b, uint32_t count);
/** A frame for the driver in pieces of at most @piece bytes. Returns false if it lent too little.
 */
bool xenback_send(struct xenback *b, const struct xenback_frame *frame, uint32_t piece);

#endif
