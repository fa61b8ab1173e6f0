/* SPDX-License-Identifier: ISC */
/* What the files of the tool that run appliances share, and those about virtual machines.
 *
 *   run.c      options, checked; which command
 *   watch.c    the child: pipes, signals, log, end; in the foreground or detached
 *   vm.c       the command line of QEMU
 *   vm_net.c   the host's side of a machine's networks
 *   channel.c  the regions where channels are made
 *   qmp.c      QEMU's control channel: start, power button, why it ended
 *   accel.c    does KVM work?
 *   console.c  the console of a running appliance
 *   vm_control.c  the control channel of a machine
 */
#ifndef CMD_MIRARI_VM_H
#define CMD_MIRARI_VM_H

#include <poll.h>

#include "cmd/mirari/tool.h"
#include "lib/control/line.h"

/** What `run` was told about the machine; NULL: not. The manifest's section vm fills the rest. */
struct vm_options {
    const char *accel, *machine, *cpu;
    struct list disks;    /**< FILE[,ro] */
    struct list channels; /**< REGION, or NAME=REGION */
    struct list extra;    /**< words for QEMU as they are */
    bool is_debugged;
    uint16_t debug_port; /**< 0: any */
};

struct run {
    struct common common;
    bool no_build, dry_run, detach;
    struct list options;  /**< of the appliance: pairs "--name", "value"; value "" = has none */
    struct list verbatim; /**< after "--" */
    struct vm_options vm_options;
    struct manifest manifest;
    struct place place;
    struct list argv;
    struct vm *vm;           /**< NULL: a process */
    int listen_fd;           /**< becomes its descriptor 3; 0: none */
    const char *listen_path; /**< removed at its end; NULL: none */
    bool has_control;        /**< its path was given, or it is off */
    int64_t lease_ms;        /**< 0 = none */
    int64_t grace_ms;        /**< what its end may take; 0 = as long as it likes */
};

/** The command of @argv, quoted for a shell; to be freed. */
char *command_line(const struct list *argv);

/** Take argv[*at], an option of the appliance. Returns 0 or EXIT_USAGE after a message. */
int run_take_option(struct run *run, int argc, char **argv, int *at);
/** Check all of them against the manifest, which takes what is about networks. 0 or EXIT_USAGE. */
int run_check_options(struct run *run);

/* ---- watch.c --------------------------------------------------------------------------------- */

/** Run run->argv and stay with it. @tell_fd: -1, or where a detached one reports. Returns the exit
 *  status of the tool. */
int look_after(struct run *run, int tell_fd);
/** workers.c: in the child that becomes the appliance: tell it where its monitor listens. */
void workers_listen(struct run *run, const struct state *state);
/** The same in the background; returns when the appliance has said something. */
int run_detached(struct run *run);

/* ---- vm.c ------------------------------------------------------------------------------------ */

#define VM_HELPERS_MAX MANIFEST_NETS_MAX

struct vm_net {
    int fd;          /**< tap or passt's socket, for QEMU; -1: none */
    char ifname[16]; /**< of a tap */
    pid_t helper;    /**< passt, or 0 */
    char *forwards;  /**< HOST:PORT:PORT/PROTO with commas, with ports that are free */
};

struct vm {
    const char *arch, *machine, *accel, *cpu; /**< what was chosen */
    bool is_mmio;                             /**< devices of virtio-mmio, not PCI */
    bool is_arm;                              /**< arch is aarch64 */
    bool has_line;                            /**< there is a control channel */
    struct list disks;
    struct vm_net net[MANIFEST_NETS_MAX];
    struct list channels; /**< paths of the servers of ivshmem, in the manifest's order */
    struct list shown;    /**< the command without the descriptors that only we can give */
    struct list words;    /**< of the guest's command line */
    struct str announce;  /**< lines for the console before the guest's own */
    int control[2];       /**< QMP: our end, QEMU's end */
    int gdb_port;         /**< 0: none */
    int input;            /**< into QEMU's serial port; -1: none */
    int line[2];          /**< the machine's control channel: our end, QEMU's end; -1: none */
    int ram;              /**< the machine's memory, for its record; -1: QEMU's own */
    const char *control_path, *control_ro_path; /**< of its sockets; NULL: the usual place, none */
};

/** Is the option one of ours (machine, disks, ...)? Takes it. 1 taken, 0 not one, -1 bad. */
int vm_option(struct vm_options *options, int argc, char **argv, int *at);
/** Do machine and architecture fit? Returns 0 or an exit status after a message. */
int vm_check(const struct run *run);
/** Decide everything; run->vm and vm->shown are made. Returns 0 or an exit status after a message.
 */
int vm_prepare(struct run *run);
/** Open what the machine needs, in the process that will look after it; run->argv is made. Returns
 *  0 or an exit status after a message. */
int vm_open(struct run *run);
/** End helpers, after the machine. */
void vm_finish(struct vm *vm);
/** The options that the guest sees. */
void vm_words(const struct run *run, struct list *words);
/** Exit status of the tool for that of QEMU, which began to run the guest. */
int vm_status(const struct vm *vm, int status);

/* ---- vm_net.c -------------------------------------------------------------------------------- */

/** Is it a mode of a machine's network? */
bool vm_net_mode(const char *mode);
/** Choose MAC addresses and ports of every network. */
void vm_net_plan(struct run *run, struct vm *vm);
/** Open the host's side of every network. Returns 0 or an exit status after a message. */
int vm_net_open(struct run *run, struct vm *vm);
/** -netdev and what belongs to it, for network @index. @is_dry: without descriptors. */
void vm_net_args(const struct run *run, const struct vm *vm, size_t index, bool is_dry,
                 struct list *argv);
/** Addresses for the guest where neither manifest nor options name any: DHCP, or if the machine is
 *  ours (@is_ours) what its network has. */
void vm_net_words(const struct run *run, bool is_ours, struct list *words);

/* ---- channel.c ------------------------------------------------------------------------------- */

/** Which region each channel of the manifest is made in: paths of servers, in the manifest's order.
 *  Returns 0 or an exit status after a message. */
int channel_plan(const struct run *run, struct list *paths);
/** Start the servers that are not there. Returns 0 or an exit status after a message. */
int channel_open(const struct list *paths);

/* ---- qmp.c ----------------------------------------------------------------------------------- */

/** Why a machine ended, as QEMU said. */
enum vm_end { VM_END_UNKNOWN, VM_END_SHUTDOWN, VM_END_RESET, VM_END_FORCED };

struct qmp {
    int fd; /**< not blocking; -1: closed */
    struct str line;
    bool has_started; /**< the guest runs, or waits for a debugger */
    bool is_debugged; /**< the debugger starts it */
    bool has_panicked;
    enum vm_end end;
};
/** Read what came and answer. */
void qmp_read(struct qmp *qmp);
/** Send a command without arguments. */
void qmp_send(struct qmp *qmp, const char *command);

/* ---- accel.c --------------------------------------------------------------------------------- */

/** Does KVM work for images of @arch? @why: what was found, in either case. */
bool accel_works(const char *arch, struct why *why);

/* ---- console.c ------------------------------------------------------------------------------- */

#define CONSOLE_CLIENTS_MAX 4

/** The end at `mirari run`: who is attached gets the output, and what they type goes in. */
struct console {
    int listener;
    int client[CONSOLE_CLIENTS_MAX];
};
/** Listen in the appliance's folder. Without that there is no console, and nothing else is lost. */
void console_open(struct console *console, const struct state *state);
void console_accept(struct console *console);
/** To everybody attached; who does not take it at once loses it. */
void console_write(struct console *console, const char *data, size_t len);
/** From client @index into @input (-1: nowhere). */
void console_read(struct console *console, size_t index, int input);
void console_close(struct console *console);

/* ---- vm_control.c ---------------------------------------------------------------------------- */

#define VM_CONTROL_FDS (3 + MIR__LINE_SESSIONS)

/** A client of the channel, and the session of the machine that is its. */
struct vm_client {
    bool is_used;
    bool has_closed, was_closed; /**< who has said CLOSE: we, the machine */
    int fd;                      /**< -1: it left */
    struct str out;              /**< for it */
    uint32_t may_send;           /**< bytes the machine takes */
    uint32_t may_come, read;     /**< bytes it may send; that the client has taken since we said */
};

struct vm_control {
    struct vm *vm;   /**< NULL: there is no channel */
    int line;        /**< -1: closed */
    int listener[2]; /**< by role; -1: none */
    bool is_up;      /**< the machine has answered */
    uint8_t hello[MIR__LINE_HELLO];
    struct mir__line_in *in;
    struct str out; /**< for the machine */
    struct vm_client client[MIR__LINE_SESSIONS];
};

/** Begin, in the process that looks after the machine. @vm: NULL, or one without a channel:
 *  nothing happens. */
void vm_control_open(struct vm_control *control, struct vm *vm, const struct state *state);
/** What to wait for. */
void vm_control_watch(const struct vm_control *control, struct pollfd fds[VM_CONTROL_FDS]);
void vm_control_serve(struct vm_control *control, const struct pollfd fds[VM_CONTROL_FDS]);
/** The machine has ended: its last words go to the clients. */
void vm_control_close(struct vm_control *control);

#endif
