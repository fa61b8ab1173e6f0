/* SPDX-License-Identifier: ISC */
/* Everything the files of the `mirari` tool share.
 *
 *   util.c       growing texts, files, messages, paths
 *   conf.c       UCL text (and old `key: value` files) -> tree of nodes with line numbers
 *   check.c      one checker per kind of value, nearest name
 *   manifest.c   tree -> struct manifest, everything checked
 *   load.c       finds and reads the manifest of a folder
 *   configure.c  struct manifest -> manifest.c and crunched stores (only if changed)
 *   build.c      compile and link what changed
 *   run.c watch.c  start an appliance, forward signals, keep its log
 *   vm.c and others  the same for virtual machines, see vm.h
 *   zones.c      files of zones, checked when the appliance is made
 *   crash.c      what is known of an appliance that ended badly
 *   ctl.c and others  what is asked of running appliances, see ctl.h
 *   dash.c and others  the page of running appliances, see dash.h
 *   confine.c    what that page's process may do
 *   test.c and others  tests that drive appliances, see test.h
 *   state.c      the folder of running appliances: ps, stop, logs
 *   elf.c dwarf.c size.c   where the bytes of an image go
 *   pack.c pack_image.c  images that unpack themselves, see pack.h
 *   socket.c     servers of sockets, see socket.h
 *   vchan.c and others   channels between processes
 *   new.c describe.c doctor.c main.c   the remaining subcommands
 *
 * The tool is a short-lived process: memory is taken with need() functions that end it when there
 * is none, and structures of a command are not freed one by one.
 */
#ifndef CMD_MIRARI_TOOL_H
#define CMD_MIRARI_TOOL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

/* Exit statuses, besides 0 and an appliance's own. */
enum { EXIT_FAIL = 1, EXIT_USAGE = 64, EXIT_MANIFEST = 65 };

#define LEN(a)       (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* ---- util.c: texts, files, messages ------------------------------------------------------- */

/** A growing text; data is NUL-terminated once something was added, NULL before. */
struct str {
    char *data;
    size_t len, size;
};

/** Growing list of texts, NULL-terminated. */
struct list {
    char **item;
    size_t count, size;
};

void *need(size_t size); /**< zeroed; ends the program without memory */
char *need_text(const char *text, size_t len);
char *need_format(const char *fmt, ...) PRINTF(1, 2);

void str_add(struct str *str, const void *data, size_t len);
void str_text(struct str *str, const char *text);
void str_format(struct str *str, const char *fmt, ...) PRINTF(2, 3);
void str_c_literal(struct str *str, const char *text); /**< as a C string; NULL becomes NULL */
void str_json(struct str *str, const char *text);      /**< as a JSON string; NULL becomes null */
void str_shell(struct str *str, const char *text);     /**< quoted for a shell if needed */
void str_visible(struct str *str, const char *text);   /**< control bytes as \xNN */
void str_free(struct str *str);

void list_add(struct list *list, const char *text);
void list_sort(struct list *list);

/** "mirari: text" to stderr, control bytes made visible. */
void complain(const char *fmt, ...) PRINTF(1, 2);

char *path_join(const char *folder, const char *name);
/** All of a file of at most @limit bytes. Returns 0 or -errno (-EFBIG). */
int file_read(const char *path, size_t limit, struct str *out);
/** Write whole through a temporary name; nothing happens if the content is there already.
 *  Returns 0 or -errno. */
int file_write_if_changed(const char *path, const void *data, size_t len, bool *changed);
int make_folders(const char *path); /**< mkdir -p; 0 or -errno */
/** Remove a folder with all that is in it; follows no symbolic link. Returns 0 or -errno. */
int remove_tree(int parent_fd, const char *name);

/** Path of a program as execvp() finds it, or NULL. */
char *find_program(const char *name);
/** First line that a program prints, without its newline; false if it cannot be run or fails. */
bool program_line(char *const argv[], char *out, size_t size);

/** Where libraries, headers and templates are, relative to this executable. */
struct sdk {
    char *include, *templates;
    char *libs;      /**< folder of lib*.a */
    char *asan_libs; /**< folder of their ASan build, or NULL when installed */
    char *virt_libs; /**< folder of those for target virt; may not exist */
    char *virt_musl; /**< folder with include/ and lib/ of another architecture's C library, or NULL
                      */
    char *virt_layout; /**< how an image of target virt is laid out, for the linker */
};
/** @arch of appliances, NULL: that of this machine. Returns 0, or complains and returns EXIT_FAIL.
 */
int sdk_find(struct sdk *sdk, const char *arch);

/* ---- conf.c: syntax ------------------------------------------------------------------------ */

/** Messages about one file; shown in the order of their lines by diag_show(). */
struct diag_item {
    int line; /**< 0: the whole file or the command line */
    bool is_error;
    char *text;
};
struct diag {
    const char *file; /**< as the user would name it */
    struct diag_item *item;
    size_t count, size, dropped;
    unsigned errors, warnings;
};
void diag_error(struct diag *diag, int line, const char *fmt, ...) PRINTF(3, 4);
void diag_warn(struct diag *diag, int line, const char *fmt, ...) PRINTF(3, 4);
void diag_show(struct diag *diag, FILE *out, bool with_warnings);
void diag_free(struct diag *diag);

enum conf_kind { CONF_OBJECT, CONF_ARRAY, CONF_SCALAR };

struct conf_node {
    enum conf_kind kind;
    int line;       /**< where its key stands; in an array, its value */
    bool is_quoted; /**< a scalar written in quotes is never a number or a boolean */
    char *key;      /**< NULL in an array */
    char *text;     /**< of a scalar */
    struct conf_node *child, *next, *last;
};

#define CONF_SIZE_MAX  ((size_t)1 << 20)
#define CONF_DEPTH_MAX 16
#define CONF_NODES_MAX 20000

/** Parse [len] bytes. Always returns a tree; what is wrong went to @diag. */
struct conf_node *conf_parse(const char *text, size_t len, struct diag *diag);
/** True if the text is a file of the old Mirari: only `key: value` lines, one of its keys among
 *  them. */
bool conf_is_legacy(const char *text, size_t len);
void conf_free(struct conf_node *node);

/* ---- check.c: values ----------------------------------------------------------------------- */

/** What is wrong with a value and what to do about it. */
struct why {
    char text[256];
};
bool fail(struct why *why, const char *fmt, ...) PRINTF(2, 3); /**< sets the text; false */

struct cidr {
    uint32_t addr; /**< host order */
    unsigned len;
};
struct forward {
    uint32_t host_addr;     /**< 0 = not given, or of IPv6 */
    uint8_t host_addr6[16]; /**< zeros = not given, or of IPv4 */
    bool is_v6;
    uint16_t host_port, port;
    bool is_udp;
};

/* Each returns true, or false with @why set. Outputs may be NULL. */
bool valid_name(const char *text, struct why *why);  /**< of an appliance */
bool valid_label(const char *text, struct why *why); /**< of a net, store or parameter */
bool valid_ip4(const char *text, uint32_t *addr, struct why *why);
bool valid_cidr(const char *text, struct cidr *cidr, struct why *why); /**< a host's address */
bool valid_ip6(const char *text, struct why *why);
bool valid_dns(const char *text, struct why *why);   /**< up to 4 addresses with commas */
bool valid_cidr6(const char *text, struct why *why); /**< a host's address */
bool valid_netmask(const char *text, unsigned *len, struct why *why);
bool valid_mode(const char *text, struct why *why);
bool valid_mac(const char *text, uint8_t mac[6], struct why *why);
bool valid_mtu(const char *text, uint16_t *mtu, struct why *why);
bool valid_vlan(const char *text, struct why *why);
bool valid_forward(const char *text, struct forward *forward, struct why *why);
bool valid_memory(const char *text, bool bare_is_mib, uint32_t *mib, struct why *why);
bool valid_log(const char *text, struct why *why);
bool valid_int(const char *text, int64_t *value, struct why *why);
bool valid_bool(const char *text, bool *value, struct why *why);
/* Of a virtual machine (vm.c). */
bool valid_machine(const char *text, struct why *why);
bool valid_accel(const char *text, struct why *why);
bool valid_cpu(const char *text, struct why *why);
bool valid_disk(const char *text, struct why *why); /**< FILE[,ro]; looks at no file */
/** "tap:NAME" -> "tap" and so on: the mode without its interface. */
bool mode_is(const char *mode, const char *kind);

/** The nearest of the @count names if one is near enough, or NULL. */
const char *nearest(const char *text, const char *const *names, size_t count);
/** "; did you mean "x"?" for the nearest name, or "". Static text, good for one message. */
const char *did_you_mean(const char *text, const char *const *names, size_t count);

/* ---- manifest.c, load.c
 * ---------------------------------------------------------------------------- */

/** A value and where it came from: a line of the manifest, or 0 for the command line. */
struct field {
    char *text; /**< NULL: not given */
    int line;
};

struct manifest_net {
    char *name;
    int line;
    struct field mode, ip, gateway, route, ip6, acd, link_local4, mac, mtu, vlan, forward, dns;
};
struct manifest_kv {
    char *name, *symbol, *dir; /**< dir as written, relative to the manifest */
    int line;
    bool is_zones; /**< its files are checked as zones of names */
};
enum param_type { PARAM_STRING, PARAM_INT, PARAM_BOOL };
struct manifest_param {
    char *name, *doc, *value;
    enum param_type type;
    int line;
};

/** How the appliance is run as a virtual machine. */
struct manifest_vm {
    int line; /**< 0: no such section */
    struct field machine, cpu, accel;
    struct list disks; /**< FILE[,ro], relative to the manifest */
    bool has_control;  /**< the image has a control channel */
};

/** A disk that the appliance knows by name. */
struct manifest_disk {
    char *name;
    int line;
    bool is_optional, is_readonly;
};

/** Channels that the appliance knows by name. */
struct manifest_channel {
    char *name;
    int line;
    bool is_optional;
};

#define MANIFEST_NETS_MAX     8
#define MANIFEST_DISKS_MAX    8
#define MANIFEST_CHANNELS_MAX 8
#define MANIFEST_KVS_MAX      32
#define MANIFEST_PARAMS_MAX   64

struct manifest {
    char *folder; /**< as given by -C; "." at least */
    char *file;   /**< path as the user would name it */
    bool is_legacy;
    char *name, *version, *log;
    uint32_t memory_mib;
    bool is_testable; /**< has the methods for tests */
    struct list sources, cflags, libs;
    struct manifest_net net[MANIFEST_NETS_MAX];
    size_t net_count;
    struct manifest_kv kv[MANIFEST_KVS_MAX];
    size_t kv_count;
    struct manifest_param param[MANIFEST_PARAMS_MAX];
    size_t param_count;
    struct manifest_disk disk[MANIFEST_DISKS_MAX];
    size_t disk_count;
    struct manifest_channel channel[MANIFEST_CHANNELS_MAX];
    size_t channel_count;
    struct manifest_vm vm;
};

/** Tree to manifest. With @look_at_files false nothing outside the tree is looked at (fuzzing). */
void manifest_from_conf(struct manifest *manifest, const struct conf_node *root, bool look_at_files,
                        struct diag *diag);
/** Check the networks against themselves and one another. */
void manifest_check_nets(const struct manifest *manifest, struct diag *diag);
/** Find, read and check the manifest of a folder; messages go to stderr.
 *  Returns 0, EXIT_MANIFEST or EXIT_FAIL. */
int manifest_load(const char *folder, const char *file, bool quiet, struct manifest *manifest);
void manifest_free(struct manifest *manifest);
extern const char *const reserved_options[]; /**< option names an appliance has anyway */
extern const size_t reserved_option_count;

/* ---- configure.c, build.c ------------------------------------------------------------------ */

/** Options that configure, build, run, describe and clean share. */
struct common {
    const char *folder, *file, *target, *out;
    const char *arch; /**< of the appliance */
    bool quiet, asan, verbose;
    unsigned jobs;
};
/** Take argv[*at] if it is one of them. Returns 1 taken, 0 not one, -1 bad (complained). */
int common_option(struct common *common, int argc, char **argv, int *at, const char *accepted);
int common_finish(struct common *common); /**< defaults; 0 or EXIT_USAGE */

extern const char *const target_names[];
extern const size_t target_count;
bool is_virt(const char *target); /**< a virtual machine */

#if defined(__aarch64__)
#define NATIVE_ARCH "aarch64"
#else
#define NATIVE_ARCH "x86_64"
#endif
/** Not that of this machine. */
bool is_foreign(const char *arch);

/** Where the generated files and the result of a target are. */
struct place {
    char *gen;         /**< OUT/TARGET, absolute */
    char *binary;      /**< as the user would name it */
    struct list units; /**< generated sources, relative to gen */
};
/** Write manifest.c and the stores. Returns 0 or an exit status. */
int configure(const struct common *common, const struct manifest *manifest, struct place *place);
int build(const struct common *common, const struct manifest *manifest, struct place *place);
void place_of(const struct common *common, const struct manifest *manifest, struct place *place);

/* ---- zones.c -------------------------------------------------------------------------------- */

/** Are the files *.zone below @dir zones? What is wrong is printed. */
bool check_zones(const char *dir);

/* ---- state.c -------------------------------------------------------------------------------- */

/** The folder of the user's running appliances, and one appliance's folder in it. */
struct state {
    int base_fd, fd;
    char *base;   /**< path of base_fd, for messages */
    char *folder; /**< NAME-PID */
};
/** Open (and make) the folder of all. Returns 0, or complains and returns EXIT_FAIL. */
int state_open(struct state *state);
/** Make NAME-PID with a file "info" of @info in it, at once. Returns 0 or -errno. */
int state_add(struct state *state, const char *name, pid_t pid, const struct str *info);
/** Add a line "key value" to an info, or to the info file of an appliance. */
void info_line(struct str *info, const char *key, const char *value);
void state_note(struct state *state, const char *key, const char *value);
/** Remove the appliance's folder; @keep_log: its log stays as NAME.log. */
void state_remove(struct state *state, const char *name, bool keep_log);
/** The folder of the one appliance that @who (name or process id) means, opened; or -1 after a
 *  message. */
int state_find(struct state *state, const char *who);

/** The end of an appliance that is asked for in another way than by a signal. */
struct state_end {
    struct state state;
    struct entry *entry; /**< NULL: it is known by the path of its channel alone */
    int process, supervisor;
};
/** Before it is asked: hold on to its processes. Complains where there is no such appliance. */
void state_watch_end(struct state_end *end, const char *who);
/** Wait until they have ended and nothing of it is left. False: that takes too long. */
bool state_await_end(struct state_end *end);
/** Call @each for every running appliance. */
void state_each(struct state *state,
                void (*each)(void *arg, const char *folder, const char *name, const char *target),
                void *arg);
/** Start of a process in ticks since boot; 0 if there is none, or only its remains. */
uint64_t process_start(pid_t pid);

#define LOG_SIZE_MAX ((size_t)16 << 20)

/* ---- crash.c --------------------------------------------------------------------------------- */

/** How an appliance ended, and where its record is. */
struct crash_end {
    const char *name, *target, *image;
    int64_t began;
    int status, signal;       /**< signal 0: it ended by itself */
    int base_fd;              /**< of the state: NAME.crash is kept there */
    int folder_fd;            /**< of the appliance */
    int memory_fd;            /**< of a machine; -1: the record is in the folder */
    const struct str *report; /**< what it printed about a crash */
};
/** Keep its record as NAME.crash. */
void crash_keep(const struct crash_end *end);
/** The same for an appliance whose folder is left over. */
void crash_rescue(int base_fd, const char *folder);
int cmd_crash(int argc, char **argv);

/* ---- confine.c ------------------------------------------------------------------------------- */

struct confine {
    const char *read[2]; /**< folders whose files may be read, or NULL */
    const char *change;  /**< one below which everything may be done but executed */
};
/** From now on: no files but those, no programs, no sockets but Unix ones, no TCP port but those
 *  that are open. @has_files out: the host can keep files away. Returns 0 or a negative errno. */
int confine_self(const struct confine *confine, bool *has_files);

/* ---- subcommands ----------------------------------------------------------------------------- */

int cmd_new(int argc, char **argv);
int cmd_configure(int argc, char **argv);
int cmd_build(int argc, char **argv);
int cmd_clean(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_describe(int argc, char **argv);
int cmd_attach(int argc, char **argv);
int cmd_detach(int argc, char **argv);
int cmd_upgrade(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_size(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_vchan(int argc, char **argv);

/** "unknown option" with the nearest of @names; returns EXIT_USAGE. */
int usage_error(const char *command, const char *option, const char *const *names, size_t count);

#endif
