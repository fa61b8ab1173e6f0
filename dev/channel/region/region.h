/* SPDX-License-Identifier: ISC */
/* Channels in one piece of memory that several parties share: processes and virtual machines of
 * one host (ivshmem). region.c has the layout and the rules.
 *
 * Who is in and who has gone, a keeper knows: the ivshmem server. Everybody else is a peer with a
 * number. Any two peers can have channels with each other; all peers of a region see, and can
 * spoil, all of its channels: who does not trust another has a region of his own with each. */
#ifndef DEV_CHANNEL_REGION_REGION_H
#define DEV_CHANNEL_REGION_REGION_H

#include <mirari/channel.h>
#include <mirari/list.h>

#define MIR_REGION_MAGIC     "MIRCHANS"
#define MIR_REGION_VERSION   1u
#define MIR_REGION_PEERS_MAX 32u
#define MIR_REGION_SLOTS_MAX 32u
#define MIR_REGION_NAME_MAX  31u
#define MIR_REGION_BYTES_MIN 16384u
#define MIR_REGION_BYTES_MAX ((uint64_t)1 << 30)
#define MIR_REGION_NO_PEER   UINT32_MAX

/** The first page, as it is in memory. Little-endian. */
struct mir_region_board {
    char magic[8];       /**< 0: MIR_REGION_MAGIC */
    uint32_t version;    /**< 8 */
    uint32_t pages;      /**< 12: of the region, with this one */
    uint32_t slot_count; /**< 16 */
    uint32_t slot_pages; /**< 20 */
    uint32_t slot_first; /**< 24: page of slot 0; slot i begins slot_pages x i behind it */
    uint32_t keeper_pid; /**< 28: for those who look from outside */
    char name[MIR_REGION_NAME_MAX + 1]; /**< 32: NUL-terminated */
    struct {
        uint32_t number;          /**< + 1; 0 = nobody */
        uint32_t pid;             /**< for those who look from outside */
    } peer[MIR_REGION_PEERS_MAX]; /**< 64: who is in; the keeper writes them */
    struct {
        /** bits 0-7 enum mir_region_state, 8-15 zero, 16-31 generation, 32-47 number of the server,
         *  48-63 of the client. Changed by compare and swap only. */
        uint64_t word;
        uint8_t pad[56];
    } slot[MIR_REGION_SLOTS_MAX]; /**< 320 */
};

enum mir_region_state {
    MIR_REGION_CLAIMED = 1,   /**< a server fills its pages */
    MIR_REGION_OFFERED = 2,   /**< a client may come */
    MIR_REGION_TAKEN = 4,     /**< it did */
    MIR_REGION_NO_SERVER = 8, /**< it closed, or died */
    MIR_REGION_NO_CLIENT = 16,
};

struct mir_region;

/** One end of a channel in a region; caller's memory from offer or take until its close(). */
struct mir_region_end {
    struct mir_channel channel; /* first */
    /* private: */
    struct mir_region *region;
    struct mir_list link;
    uint32_t slot;
    uint32_t used;    /* server: pages shared so far */
    uint64_t word;    /* as it was when it became ours, without its state */
    uint32_t peer;    /* number, or MIR_REGION_NO_PEER: no client yet */
    uint64_t seen[3]; /* the first bytes of the first page */
    uint64_t seen_word;
    bool is_open;
};

struct mir_region_stats {
    uint64_t offered, taken; /**< ends that became ours */
    uint64_t refused;        /**< no slot was free */
    uint64_t rung, heard;
    uint64_t ended; /**< channels whose other end closed or died */
};

struct mir_region_config {
    void *memory; /**< page-aligned, mapped until the last end is closed */
    uint64_t bytes;
    uint32_t self; /**< our number */
    /** Make a peer look; never waits. */
    void (*ring)(void *ring_arg, uint32_t peer);
    void *ring_arg;
    /** Something changed that is of no end's: a server offers a channel, a slot is free. May be
     *  NULL. */
    void (*changed)(void *arg);
    void *arg;
};

/** A region as one peer has it; caller's memory. */
struct mir_region {
    /* private: */
    struct mir_region_config config;
    struct mir_region_board *board;
    uint32_t slot_count, slot_pages, slot_first;
    struct mir_list ends;
    struct mir_list *cursor; /* the next end of a round that is under way */
    bool is_lost;
    struct mir_region_stats stats;
};

/**
 * mir_region_make() - the keeper's part: an empty region.
 *
 * @memory  zeroed, [bytes] a power of two from 16 KiB to 1 GiB
 * @slots   how many channels at once, 1 .. MIR_REGION_SLOTS_MAX
 *
 * Returns 0, -MIR_EINVAL (size, slots that would have less than two pages, name too long).
 * Source  none
 */
int mir_region_make(void *memory, uint64_t bytes, uint32_t slots, const char *name) MIR_CHECK;
/** Keeper: a peer is in. Returns 0 or -MIR_ELIMIT. */
int mir_region_admit(void *memory, uint32_t peer, uint32_t pid) MIR_CHECK;
/** Keeper: a peer is gone; its channels end, slots without anybody are free. Everybody is to be
 *  rung afterwards. Returns the number of channels it had. */
uint32_t mir_region_bury(void *memory, uint32_t peer);

/**
 * mir_region_open() - a peer's part.
 *
 * What the board says is read once and checked. Channels that an earlier life of the same number
 * has left are ended.
 *
 * Returns 0, -MIR_EPROTO (no region, or one that cannot be), -MIR_ENOTSUP (of another version).
 * Source  none
 */
int mir_region_open(struct mir_region *region, const struct mir_region_config *config) MIR_CHECK;

/**
 * mir_region_offer() - a channel's server end, for mir_vchan_serve(), which offers it.
 *
 * A client can take it from then on; until then there is an event of the channel's and
 * mir_region_peer() is MIR_REGION_NO_PEER.
 *
 * Returns 0, -MIR_ELIMIT (all slots are in use; config.changed tells when that may be different),
 *         -MIR_ENOTCONN (the region is lost).
 * Source  none
 */
int mir_region_offer(struct mir_region *region, struct mir_region_end *end) MIR_CHECK;
/**
 * mir_region_take() - the client's end of a channel that another peer offers, for
 * mir_vchan_connect().
 *
 * Returns 0, -MIR_EAGAIN (nobody offers one; config.changed tells when that may be different),
 *         -MIR_ENOTCONN.
 * Source  none
 */
int mir_region_take(struct mir_region *region, struct mir_region_end *end) MIR_CHECK;
/** Number of the other end, or MIR_REGION_NO_PEER. */
static inline uint32_t mir_region_peer(const struct mir_region_end *end)
{
    return end->peer;
}
/** Has a client taken what this server offers? Looks now. */
bool mir_region_is_taken(struct mir_region_end *end) MIR_CHECK;

/** Somebody rang: events go to all ends. */
void mir_region_heard(struct mir_region *region);
/** For those who are not rung because they never sleep: events go to the ends where something
 *  moved. Returns true if there was one. Cost: four loads for each end. */
bool mir_region_poll(struct mir_region *region);
/** Nobody will tell any more who is in: all ends lose their peers. */
void mir_region_lose(struct mir_region *region);
/** May the memory go? Ends that are open are ended as if this peer had died. */
void mir_region_close(struct mir_region *region);

/* ---- as a port --------------------------------------------------------------------------------
 */

#define MIR_REGION_PORT_ENDS 8u /**< channels at once of one port */

/** A region for those who want channels and not know of regions; caller's memory. */
struct mir_region_port {
    struct mir_channel_port port; /* first */
    /* private: */
    struct mir_region *region;
    struct mir_region_end end[MIR_REGION_PORT_ENDS];
};

/** @region may be opened later, with mir_region_port_changed() and the port as its changed and arg.
 *  Returns nothing. Source: none. */
void mir_region_port_init(struct mir_region_port *port, struct mir_region *region);
void mir_region_port_changed(void *port);

#endif
