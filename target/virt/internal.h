/* SPDX-License-Identifier: ISC */
/* What the files of target virt know of each other. Not public.
 *
 *   arch.h       what an architecture gives; x86_64/, aarch64/
 *   memory.c     the memory map the loader told, made usable
 *   start.c      from the boot information to mir_app_main() and the exit status
 *   words.c      the command line, cut into words
 *   poll.c       devices are looked at; the loop's wait
 *   stop.c       power button and Ctrl-C: the end
 *   stacks.c     guarded stacks for tasks, which grow
 *   crash.c      exceptions and assertions: what is printed before status 70
 *   symbols.c    names of functions
 *   log.c        log lines on the console
 *   net.c        the network stack; only in images that have networks
 *   devices.c    THE table: what is found on the buses -> implementation; only there, too
 *   disks.c      disks, and stores that are read from them; only in images that have disks
 *   control.c    the control channel and the recorder; only in images whose manifest asks for it
 *   channels.c   channels to others of this host; only in images that have channels
 *   virtio.c     the virtio devices of the machine: registers, interrupts
 */
#ifndef TARGET_VIRT_INTERNAL_H
#define TARGET_VIRT_INTERNAL_H

#include <mirari/app.h>
#include <mirari/dev_net.h>

#include "dev/net/fault/fault.h"
#include "lib/app/options.h"
#include "target/virt/arch.h"

/* As in target unix; the last one is how a forced end differs from a crash. What mir_app_main()
 * returns is below 64. */
#define MIR__EXIT_USAGE       64
#define MIR__EXIT_UNAVAILABLE 69
#define MIR__EXIT_CRASH       70
#define MIR__EXIT_FORCED      75

#define MIR__ERROR_MAX 400u
#define MIR__WORDS_MAX 256u

/* ---- memory.c ------------------------------------------------------------------------------- */

/* All of it runs before the image is relocated: no pointers in static data. */

/** Whole pages of [base, base+size) are usable. Ranges beyond MIR__REGIONS_MAX are not used. */
void mir__memory_add(struct mir__boot *boot, uint64_t base, uint64_t size);
/** They are not, whatever else was said; every page that is touched goes. After all additions. */
void mir__memory_cut(struct mir__boot *boot, uint64_t base, uint64_t size);
/** Keep a copy of the command line, NUL-terminated or [max] bytes long. */
void mir__memory_command_line(struct mir__boot *boot, const char *text, size_t max);

/* ---- words.c -------------------------------------------------------------------------------- */

/** Cut @line, in place, at blanks; "..." keeps blanks, a backslash takes the next byte as it is.
 *  Returns the number of words, or -MIR_EINVAL (a quote that does not end, or too many). */
int mir__words_split(char *line, const char **words, int max) MIR_CHECK;

/* ---- poll.c --------------------------------------------------------------------------------- */

/** A device that is looked at. Owned by whoever added it. */
struct mir__source {
    struct mir_list link; /* private */
    /** Look and serve. @is_interrupted: its slot's interrupt came since the last look. Called
     * before every sleep and after, so it must be cheap when nothing is there. Returns true if
     * something was done. */
    bool (*look)(void *arg, bool is_interrupted);
    /** About to sleep: ask the device to interrupt. Returns true if something is there already.
     *  NULL = it always interrupts. */
    bool (*arm)(void *arg);
    void *arg;
    unsigned slot; /**< of its interrupt, unmasked after look(); MIR__SLOTS_MAX = none */
};

struct mir__poll {
    struct mir_loop *loop;
    struct mir_list sources;
    uint32_t spin_us; /* looks for so long after the last event before it sleeps */
    mir_time_us last_event_us;
    uint64_t waits, sleeps, events;
};

void mir__poll_open(struct mir__poll *poll, struct mir_loop *loop, uint32_t spin_us);
void mir__poll_add(struct mir__poll *poll, struct mir__source *source);
void mir__poll_remove(struct mir__source *source);
/** The wait of struct mir_loop_driver; @arg is the poll. */
void mir__poll_wait(void *arg, mir_time_us deadline_us);

/* ---- stacks.c ------------------------------------------------------------------------------- */

/** Prepare the space for stacks of tasks. Once, after the page pool is there. */
void mir__stacks_open(struct mir_page_pool *pages);
const struct mir_stack_source *mir__stacks_source(void);
/** Keep pages ready for stacks that grow. Before every wait. */
void mir__stacks_refill(void);
/** A page fault at @address: true if a stack got a page there. Runs in the middle of anything. */
bool mir__stacks_grow(uintptr_t address);
/** Is @address in a guard page below a stack of a task? */
bool mir__stacks_is_guard(uintptr_t address);
/** The highest address of the task stack @address is in, or 0. */
uintptr_t mir__stacks_top(uintptr_t address);

/* ---- crash.c, symbols.c --------------------------------------------------------------------- */

/** @loop names the running task, @app may have hooks. */
void mir__crash_init(struct mir_app *app, struct mir_loop *loop);
/** Name of the function that @address (of mir__arch_image_address()) is in, with the
 *  distance to its start; NULL: the image has no names, or no such function. */
const char *mir__symbols_find(uintptr_t address, uintptr_t *distance);

/* ---- log.c ---------------------------------------------------------------------------------- */

void mir__log_init(struct mir_clock *clock);
/** A line as the log writes it, whatever the levels are. */
void mir__log_line(void *arg, const char *line, size_t len);

/* ---- stop.c --------------------------------------------------------------------------------- */

struct mir__virt;

/** From now on power button and Ctrl-C ask the appliance to end, the second time they end it. */
void mir__stop_open(struct mir__virt *v);

/* ---- the whole ------------------------------------------------------------------------------ */

/** One network, its middlewares outermost. */
struct mir__virt_net {
    const struct mir__app_net *options;
    struct mir_net_dev *dev;    /* what the stack gets */
    struct mir_net_dev *device; /* the innermost */
    const char *kind;           /* of the innermost device, for the announcement: "virtio" */
    char place[48];             /* where it was found: "mmio 0xfeb02e00", "pci 00:03.0" */
    struct mir_net_if_config config;
    uint8_t ip6_secret[16];        /* config.ip6_secret points here, if there is one */
    struct mir_io_page *memory[3]; /* of the middlewares */
    uint32_t memory_count;
};

struct mir__virt {
    struct mir_app app;
    struct mir__app_options options;
    struct mir_page_pool pages;
    struct mir_buf_pool bufs;
    struct mir_loop loop;
    struct mir__poll poll;
    struct mir_rng rng;
    struct mir_net *net; /* NULL: no network */
    struct mir__virt_net nets[MIR_APP_NETS_MAX];
    struct mir_fault_control faults; /* of the networks with --fault */
    struct mir_block_dev *blocks[MIR_APP_BLOCKS_MAX];
    struct mir_manifest_kv kvs[MIR__APP_STORES_MAX];
    const char *virtio_mmio[16]; /* "SIZE@ADDRESS:IRQ[:ID]", from virtio_mmio.device= */
    uint32_t virtio_mmio_count;
    bool has_entropy; /* the generator was seeded with more than time stamps */
    mir_time_us started_us;
    int status;
};

/* ---- devices.c: linked only if something refers to mir__devices -------------------------------
 */

/**
 * The devices of a machine. An image without networks and disks has none of this code: start.c
 * refers to it weakly, and the tool links it in with `-u mir__devices`.
 */
struct mir__devices {
    /** Look at all buses; nothing is started yet. */
    void (*find)(struct mir__virt *v);
    /** [len] random bytes of an entropy device, len <= 64. 0, -MIR_ENOENT (none), -MIR_EIO. */
    int (*entropy)(struct mir__virt *v, void *out, size_t len);
    /** Open what the options name, and the disks, fill in v->nets[]. 0, or an error with a line:
     *  -MIR_EINVAL is the user's mistake. */
    int (*open)(struct mir__virt *v, char error[MIR__ERROR_MAX]);
    void (*close)(struct mir__virt *v);
    /** net.c */
    int (*open_stack)(struct mir__virt *v);
    void (*announce)(struct mir__virt *v);
    void (*close_stack)(struct mir__virt *v);
};
extern const struct mir__devices mir__devices __attribute__((weak));

/* ---- disks.c: linked only if something refers to mir__disks -----------------------------------
 */

/** As mir__devices, which calls it: the tool links it in with `-u mir__disks`. */
struct mir__disks {
    /** All of them, into v->blocks[]. 0, or an error with a line. */
    int (*open)(struct mir__virt *v, char error[MIR__ERROR_MAX]);
    /** Read the stores that the options name. Only in a task. 0, or an error with a line. */
    int (*open_stores)(struct mir__virt *v, char error[MIR__ERROR_MAX]);
    void (*close)(struct mir__virt *v);
};
extern const struct mir__disks mir__disks __attribute__((weak));

/* ---- channels.c: linked only if something refers to mir__channels -----------------------------
 */

struct mir_pci_device;

/** As mir__disks: the tool links it in with `-u mir__channels`. */
struct mir__channels {
    /** A device of the bus that is no virtio device. */
    void (*found)(const struct mir_pci_device *device);
    /** Into v->app.channels. 0, or an error with a line. */
    int (*open)(struct mir__virt *v, char error[MIR__ERROR_MAX]);
    void (*close)(void);
};
extern const struct mir__channels mir__channels __attribute__((weak));

/* ---- control.c: linked only if something refers to mir__virt_control --------------------------
 */

struct mir_virtio;

/** As mir__devices, which calls it: the tool links it in with `-u mir__virt_control`. */
struct mir__virt_control {
    /** Find the port; served from the first step of the loop on. */
    void (*open)(struct mir__virt *v);
    /** Is it a port of this device? */
    bool (*has)(const struct mir_virtio *virtio);
    /** Before the stack is closed; nothing if it is closed already. */
    void (*close)(void);
};
extern const struct mir__virt_control mir__virt_control __attribute__((weak));

/* ---- virtio.c, for devices.c ------------------------------------------------------------------
 */

struct mir_virtio_driver;

/** Find all virtio devices, on registers in memory and on PCI, in the order of their places. */
void mir__virtio_find(struct mir__virt *v);
/** The @index-th device of type @device (enum mir_virtio_device), or NULL. @place out: where it is,
 *  static text; may be NULL. */
struct mir_virtio *mir__virtio_get(uint32_t device, unsigned index, const char **place);
/** Look at @driver from now on. */
void mir__virtio_serve(struct mir__virt *v, struct mir_virtio_driver *driver);
/** Interrupts of its device since boot. */
uint64_t mir__virtio_interrupts(const struct mir_virtio_driver *driver);
/** Is any of [size] bytes at physical @address memory of ours? A device that lay there would have
 *  what we write to it go over anything. */
bool mir__virtio_is_memory(uint64_t address, uint64_t size);
/** No more, for any. */
void mir__virtio_end(void);

/* ---- net.c, for devices.c ------------------------------------------------------------------- */

int mir__net_open_stack(struct mir__virt *v) MIR_CHECK;
void mir__net_announce(struct mir__virt *v);
void mir__net_close_stack(struct mir__virt *v);

#endif
