/* SPDX-License-Identifier: ISC */
/* The command line of an appliance, parsed against its manifest. Shared by the targets. */
#ifndef LIB_APP_OPTIONS_H
#define LIB_APP_OPTIONS_H

#include <mirari/app.h>

#define MIR__APP_FORWARDS_MAX  32u
#define MIR__APP_PARAMS_MAX    64u
#define MIR__APP_ERROR_MAX     320u
#define MIR__APP_ADDRESSES_MAX 8u
#define MIR__APP_ROUTES_MAX    16u
#define MIR__APP_STORES_MAX    8u

/** Kinds of values of which the first on the command line replaces those of the manifest. */
enum { MIR__APP_IP4 = 1, MIR__APP_IP6 = 2, MIR__APP_ROUTES = 4 };

/** A port of the host that leads to a port of the appliance. */
struct mir__app_forward {
    uint32_t net;          /**< index of the network */
    struct mir_ip host_ip; /**< 127.0.0.1 if not given; of IPv6: to the appliance by IPv6 */
    uint16_t host_port;
    uint16_t port; /**< of the appliance */
    bool is_udp;
};

/** What manifest and command line together say about a network. */
struct mir__app_net {
    const char *name;
    const char *mode; /**< [mode_len] bytes, not NUL-terminated; NULL = the target's default */
    size_t mode_len;
    const char *ifname; /**< what follows "tap:" or "packet:", NULL = choose */
    bool use_dhcp;
    bool has_ip;
    struct mir_ip ip;
    uint8_t prefix_len;
    bool has_gateway;
    struct mir_ip gateway;
    struct mir_net_prefix addresses[MIR__APP_ADDRESSES_MAX]; /**< more of IPv4, all of IPv6 */
    uint32_t address_count;
    struct mir_ip gateway6; /**< any = none */
    struct mir_net_route routes[MIR__APP_ROUTES_MAX];
    uint32_t route_count;
    bool has_ip6;
    enum mir_ip6_mode ip6;
    bool ip6_temporary; /* ip6 is AUTO */
    enum mir_net_acd acd;
    bool link_local4;
    unsigned of_manifest; /**< kinds that the command line has not replaced */
    bool has_mac;
    uint8_t mac[6];
    uint16_t mtu;  /**< 0 = default of the mode */
    uint16_t vlan; /**< 0 = none */
    bool has_host_ip;
    struct mir_ip host_ip;
    uint8_t host_prefix_len;
    struct mir_net_prefix host6; /**< any = none */
    const char *pcap;            /**< file, or NULL */
    const char *lease_file;      /**< where the DHCP lease is kept, or NULL */
    const char *fault;           /**< specification, or NULL */
    bool is_traced;
    bool has_forwards; /**< of the command line, instead of those of the manifest */
};

/** Something instead of a store of the manifest. */
struct mir__app_store {
    const char *name;  /**< as the manifest has it */
    const char *place; /**< a folder or an archive of the host, or a disk of the machine */
};

struct mir__app_options {
    const struct mir_manifest *manifest;
    struct mir__app_net net[MIR_APP_NETS_MAX];
    uint32_t net_count;
    struct mir__app_forward forward[MIR__APP_FORWARDS_MAX];
    uint32_t forward_count;
    const char *log; /**< of the command line, else of the manifest, else NULL */
    uint32_t memory_mib;
    uint32_t spin_us;
    struct mir_ip dns[MIR_DNS_SERVERS_MAX]; /* name servers */
    uint32_t dns_count;
    struct mir__app_store store[MIR__APP_STORES_MAX];
    uint32_t store_count;
    const char *channel[MIR_APP_CHANNELS_MAX]; /**< NAME=PATH, for the target to look at */
    uint32_t channel_count;
    uint32_t workers;     /**< 0 = one process, without a monitor */
    const char *monitor;  /**< where the monitor listens, or NULL */
    mir_time_us lease_us; /**< 0 = none */
    bool has_grace;
    mir_time_us grace_us;
    const char *control;    /**< path; "off"; NULL: default of the target */
    const char *control_ro; /**< path, or NULL */
    bool no_sandbox;
    bool is_help;
    bool is_version;
    const char *param_values[MIR__APP_PARAMS_MAX];
    char error[MIR__APP_ERROR_MAX]; /**< one line, after an error */
};

/**
 * mir__app_options_parse() - defaults from the manifest, then the command line.
 *
 * @manifest  borrowed for as long as @options is used; its texts are kept, as those of @argv are
 * @argv      [argc] texts, the first is the program's name
 *
 * Returns 0, or -MIR_EINVAL with a line in options->error that says which text is wrong, what was
 * expected and what may have been meant.
 * Source  none
 */
int mir__app_options_parse(struct mir__app_options *options, const struct mir_manifest *manifest,
                           int argc, const char *const *argv) MIR_CHECK;

/** stores.c: "NAME=PLACE". Returns 0, -MIR_EINVAL with a line in options->error. */
int mir__app_add_store(struct mir__app_options *options, const char *text) MIR_CHECK;

/** stores.c: which disk of the manifest, or "disk0" and so on, a text names. Returns 0 or
 * -MIR_ENOENT. */
int mir__app_disk_index(const struct mir_manifest *manifest, const char *text,
                        uint32_t *index) MIR_CHECK;
/** stores.c: the name of a disk that there must be, when the machine has [count]; NULL: enough. */
const char *mir__app_missing_disk(const struct mir_manifest *manifest, uint32_t count);

/** process.c: @text is the value of @name, --spin, --workers or --monitor. Returns 0, -MIR_EINVAL
 * with a line in options->error. */
int mir__app_set_process(struct mir__app_options *options, const char *name,
                         const char *text) MIR_CHECK;
/** life.c: an option about the appliance's life and control channel, @name "--lease" and so on.
 *  Returns 0, -MIR_EINVAL. */
int mir__app_set_life(struct mir__app_options *options, const char *name,
                      const char *value) MIR_CHECK;

/** "90", "90s", "30m", "2h", "7d" to microseconds, at most ten years. 0, -MIR_EINVAL. */
int mir__app_parse_time(const char *text, mir_time_us *us) MIR_CHECK;

/* addresses.c: one value of a network; false if the text makes no sense or the list is full. */
bool mir__app_add_ip(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_set_gateway(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_add_route(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_set_ip6(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_set_acd(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_set_link_local4(struct mir__app_net *net, const char *text, size_t len);
bool mir__app_set_host_ip(struct mir__app_net *net, const char *text, size_t len);

/** What is the same for every target of an interface's configuration: IPv6 and further addresses.
 *  @mtu of the link. 0, or -MIR_EINVAL: IPv6 addresses, but IPv6 is off. */
int mir__app_net_config(const struct mir__app_net *net, uint16_t mtu,
                        struct mir_net_if_config *config) MIR_CHECK;

/** The line "net: ..." of the start: the device's @kind, addresses, and @place if it is not empty.
 */
void mir__app_print_net(struct mir_app *app, const char *kind,
                        const struct mir_net_if_config *config, const char *place);

/** Add the routes of @net to the interface @if_index, from 1. 0, or as mir_net_add_route(). */
int mir__app_add_routes(const struct mir__app_net *net, struct mir_net *stack,
                        uint32_t if_index) MIR_CHECK;

/** Is the mode of @net @mode? */
bool mir__app_net_is(const struct mir__app_net *net, const char *mode);

/** Text of --help into [size] bytes; returns the length that it has as a whole. */
size_t mir__app_options_help(const struct mir_manifest *manifest, char *out, size_t size);

/** True if @value is a valid text for a parameter of that type; for MIR_PARAM_INT and
 *  MIR_PARAM_BOOL @number is what it says. */
bool mir__app_param_value(enum mir_param_type type, const char *value, int64_t *number);

/** The name in @names nearest to [len] bytes of @word, or NULL if none is near. */
const char *mir__app_nearest(const char *word, size_t len, const char *const *names, size_t count);

#endif
