/* SPDX-License-Identifier: ISC */
/* An appliance: its entry, its manifest, and what it finds at start.
 *
 * An appliance is a folder with `app.conf` and C sources that define mir_app_main(). The tool
 * `mirari` turns the manifest into a table (mir_manifest) that is linked in; every target calls
 * mir_app_main() in a task, with devices open, and ends when it returns.
 */
#ifndef MIRARI_APP_H
#define MIRARI_APP_H

#include <mirari/base.h>
#include <mirari/dev_block.h>
#include <mirari/dev_clock.h>
#include <mirari/dev_console.h>
#include <mirari/dev_kv.h>
#include <mirari/dns.h>
#include <mirari/log.h>
#include <mirari/net.h>
#include <mirari/rng.h>
#include <mirari/run.h>

struct mir_app;

#define MIR_APP_NETS_MAX   8
#define MIR_APP_BLOCKS_MAX 8

enum mir_param_type { MIR_PARAM_STRING, MIR_PARAM_INT, MIR_PARAM_BOOL };

/** A parameter the manifest declares under `args`; overridden at run time by --NAME VALUE. */
struct mir_param {
    const char *name;
    const char *doc;
    enum mir_param_type type;
    const char *default_text; /**< as text, valid for the type */
};

/** A network of the manifest. Texts are as in app.conf and can be overridden at run time. */
struct mir_manifest_net {
    const char *name;
    const char *mode;    /**< "user", "tap", "packet:IF", "socket", "pipe": default of the target */
    const char *ip;      /**< "dhcp", "10.0.0.2/24,fd00::2/64", or NULL: default of the mode */
    const char *gateway; /**< "10.0.0.1,fd00::1" or NULL */
    const char *route;   /**< "192.0.2.0/24=10.0.0.1,..." or NULL */
    const char *ip6;     /**< "off", "link-local", "static", "auto", "temporary" or NULL: auto */
    const char *acd;     /**< "quick", "full", "off" or NULL: as enum mir_net_acd has it */
    const char *link_local4; /**< "on": 169.254/16 without a DHCP server, or alone; "off" or NULL */
    const char *mac;         /**< "02:…" or NULL: derived from the name */
    const char *forward;     /**< "8080:80,5353:53/udp" for mode user, or NULL */
    const char *dns;         /**< "10.0.0.1,2001:db8::1": name servers, or NULL */
    uint16_t mtu;            /**< 0 = 1500 */
    uint16_t vlan;           /**< 1 .. 4094: frames carry this tag (IEEE 802.1Q); 0 = none */
};

struct mir_manifest_kv {
    const char *name;
    struct mir_kv *store; /**< crunched at build time */
};

/** The first named disk is the first one of the machine, and so on. */
struct mir_manifest_disk {
    const char *name;
    bool is_optional; /**< the machine may be without */
    bool is_readonly; /**< it is not written even if it could be */
};

#define MIR_APP_CHANNELS_MAX 8u

/** Channels of this name are made with whoever is at the other side of the machine. */
struct mir_manifest_channel {
    const char *name;
    bool is_optional; /**< the machine may be without */
};

struct mir_manifest {
    const char *name;
    const char *version;
    uint32_t memory_mib; /**< page pool of the appliance */
    const struct mir_manifest_net *nets;
    uint32_t net_count;
    const struct mir_manifest_kv *kvs;
    uint32_t kv_count;
    const struct mir_manifest_disk *disks;
    uint32_t disk_count;
    const struct mir_manifest_channel *channels;
    uint32_t channel_count;
    const struct mir_param *params;
    uint32_t param_count;
    const char *log;                     /**< as --log, or NULL */
    void (*extend)(struct mir_app *app); /**< adds methods to app->control, before mir_app_main();
                                              NULL: nothing to add */
};

/** Made by `mirari configure`. */
extern const struct mir_manifest mir_manifest;

/* ---- the end ------------------------------------------------------------------------------ */

/** Why the appliance ends. */
enum mir_app_end_cause {
    MIR_APP_END_NONE,
    MIR_APP_END_RETURNED, /**< mir_app_main() returned by itself */
    MIR_APP_END_SIGNAL,
    MIR_APP_END_CONTROL,
    MIR_APP_END_POWER_BUTTON,
    MIR_APP_END_CONSOLE, /**< Ctrl-C on the console of a machine */
    MIR_APP_END_LEASE,
};

/** Exit status if the appliance, or a hook of its end, had to be left behind. */
#define MIR_APP_EXIT_FORCED 75

enum mir_app_hook_when {
    MIR_APP_BEFORE_STOP, /**< before mir_app_main() hears of it: say goodbye, stop being asked */
    MIR_APP_AFTER_STOP,  /**< when it has returned; networks and disks still work */
    MIR_APP_ON_PANIC,    /**< a crash: inside it, on whatever stack, behind the report. The hook may
                              not wait nor allocate, and trusts nothing; one that crashes, too, or
                              takes longer than a second (a machine: five, by who looks after it)
                              is the end. order and limit_us mean nothing */
};

struct mir_task;

/** Something to do when the appliance ends. Caller's memory until it has run, so not on the stack
 * of mir_app_main(). */
struct mir_app_hook {
    const char *name;                            /**< for the log; static text */
    void (*run)(struct mir_app *app, void *arg); /**< in a task of its own: it may wait */
    void *arg;
    enum mir_app_hook_when when;
    int order;            /**< lower ones first; of equals the one added last */
    mir_time_us limit_us; /**< then it is left behind; 0 = 5 s */
    /* private: */
    struct mir_app *app;
    struct mir_task *task;
    struct mir_list link;
};

/** How far the end has come; mir_app_shutdown() and what follows. */
struct mir_app_end {
    enum mir_app_end_cause reason;
    mir_time_us lease_until_us; /**< 0 = no lease */
    /* private: */
    uint8_t phase;
    bool has_returned;
    int status;
    uint32_t late; /* what was left behind */
    mir_time_us limit_us;
    struct mir_list hooks[3];
    struct mir_app_hook *running;
    struct mir_timer limit, hook_limit, lease;
    bool (*start_hook)(struct mir_app *app, enum mir_app_hook_when when); /* NULL: no hooks */
    void (*panic)(struct mir_app *app); /* NULL: no hooks for that */
    void (*finish)(struct mir_app *app, int status);
    void (*guard)(struct mir_app *app, mir_time_us us);
};

struct mir_rpc_server;
struct mir_channel_port;
struct mir_recorder;

struct mir_app {
    const struct mir_manifest *manifest;
    struct mir_loop *loop;
    struct mir_stack *stack; /**< NULL: no network in the manifest */
    struct mir_page_pool *pages;
    struct mir_buf_pool *bufs;
    struct mir_rng *rng;
    struct mir_clock *clock;
    struct mir_console *console;
    const struct mir_stack_source *stacks;
    const char *const *param_values; /**< [manifest->param_count] texts, already validated */
    const struct mir_ip *dns;        /**< [dns_count] name servers that were given; none: those that
                                          the network tells */
    uint32_t dns_count;
    const char *dns_search; /**< search domains of the host, for its own stack; else NULL */
    struct mir_block_dev *const *blocks; /**< [block_count] disks, in the order of the machine */
    uint32_t block_count;
    const struct mir_manifest_kv *kvs; /**< [kv_count] stores instead of those of the manifest */
    uint32_t kv_count;
    struct mir_channel_port *const *channels; /**< [channel_count], in the manifest's order */
    uint32_t channel_count;
    struct mir_wait stop_asked; /**< woken when somebody asks for a clean end */
    bool is_stopping;
    struct mir_app_end end;
    struct mir_rpc_server *control; /**< of the control channel: add methods of your own; NULL:
                                         there is none */
    struct mir_recorder *recorder;  /**< of mir_app_note(); NULL: there is none */
};

/**
 * mir_app_main() - the appliance; written by the application.
 *
 * Runs in a task; ends soon after is_stopping becomes true.
 *
 * Returns the exit status, 0 .. 63.
 * Source  none
 */
int mir_app_main(struct mir_app *app);

/** The store of that name in the manifest, or NULL. */
struct mir_kv *mir_app_kv(struct mir_app *app, const char *name);
/** The disk of that name in the manifest, or NULL: the machine has none, or there is no such name.
 */
struct mir_block_dev *mir_app_disk(const struct mir_app *app, const char *name);
/** Where channels of that name in the manifest are made, or NULL: the machine has none, or there is
 *  no such name. */
struct mir_channel_port *mir_app_channel(const struct mir_app *app, const char *name);
/** Value of a parameter; asserts that the manifest declares it with that type. */
const char *mir_app_string(const struct mir_app *app, const char *name);
int64_t mir_app_int(const struct mir_app *app, const char *name);
bool mir_app_bool(const struct mir_app *app, const char *name);
/** A resolver over the appliance's network: servers of --dns, else those that the network or the
 *  host names. @config may be NULL; its stack, random numbers and, if it has none, servers are
 *  filled in. Returns as mir_dns_open(), -MIR_ENOTSUP (no network). */
int mir_app_dns_open(struct mir_app *app, const struct mir_dns_config *config,
                     struct mir_dns **dns) MIR_CHECK;
/** Write a formatted text to the console. */
void mir_app_print(struct mir_app *app, const char *fmt, ...) MIR_PRINTF(2, 3);
/** Wait until the appliance is asked to end. Only in a task. */
void mir_app_wait_stop(struct mir_app *app);
/**
 * mir_app_shutdown() - ask the appliance to end, as a signal does.
 *
 * Hooks run, is_stopping becomes true, mir_app_main() is waited for. All of it has a limit
 * (--grace, 30 s); then the appliance ends whatever it is doing.
 *
 * Returns true, or false if it ends already.
 * Source  none
 */
bool mir_app_shutdown(struct mir_app *app, enum mir_app_end_cause reason);
/** Why it ends, in words; "" while it does not. */
const char *mir_app_end_reason(const struct mir_app *app);
/** Run @hook when the appliance ends. */
void mir_app_add_hook(struct mir_app *app, struct mir_app_hook *hook);
/** Do not; harmless if it was not added or has run. */
void mir_app_remove_hook(struct mir_app_hook *hook);

/** For targets: how an appliance ends here. */
struct mir__app_end_config {
    mir_time_us lease_us; /**< 0 = as long as it likes */
    bool has_limit;
    mir_time_us limit_us; /**< of the whole end, if has_limit; 0 = none */
    void (*finish)(struct mir_app *app, int status); /**< leave the loop */
    /** End the process in so many microseconds, whatever it is doing; replaces the time it had.
     *  NULL: the target cannot. */
    void (*guard)(struct mir_app *app, mir_time_us us);
};
/** Before the appliance begins; the loop is there. */
void mir__app_end_init(struct mir_app *app, const struct mir__app_end_config *config);
/** The appliance crashes: the hooks for that, once. */
static inline void mir__app_panic(struct mir_app *app)
{
    void (*panic)(struct mir_app * app) = app != NULL ? app->end.panic : NULL;
    if (panic == NULL)
        return;
    app->end.panic = NULL; /* whatever crashes in it */
    panic(app);
}
/** hooks.c: a hook has ended. */
void mir__app_end_go_on(struct mir_app *app);
/** mir_app_main() returned @status. */
void mir__app_returned(struct mir_app *app, int status);
/** Start another task. Returns 0 or -MIR_ENOMEM. */
int mir_app_spawn(struct mir_app *app, const char *name, void (*entry)(void *arg),
                  void *arg) MIR_CHECK;

#endif
