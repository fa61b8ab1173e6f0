/* SPDX-License-Identifier: ISC */
/* Confines a process of the tool that goes on opening files and sockets of this host.
 *
 *   Landlock   files: what is below its folders; TCP: no bind, no connect; signals and abstract
 *              sockets: of its own only
 *   seccomp    sockets: Unix ones; starting programs, tracing, modules and the like end the process
 *
 * Appliances have a list of the calls they need (target/unix/sandbox.c), and nothing else is let
 * through. A program that reads folders over the C library cannot promise such a list for every
 * version of it, so here it is the other way round: what nobody needs who shows appliances is
 * taken away. Landlock that the host does not have, or does not allow, is no error.
 *
 * The other ABIs of the machine (32-bit, x32) end the process: their numbers mean something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/mirari/tool.h"

#if defined(__x86_64__)
#define NATIVE_AUDIT_ARCH AUDIT_ARCH_X86_64
#define FOREIGN_NUMBERS   0x40000000u /* x32 */
#elif defined(__aarch64__)
#define NATIVE_AUDIT_ARCH AUDIT_ARCH_AARCH64
#define FOREIGN_NUMBERS   UINT32_MAX
#else
#error "the filter knows x86_64 and aarch64"
#endif

/* ---- files ------------------------------------------------------------------------------------
 */

/* Headers of Debian 12 end at Landlock's first version: network came with 4, scopes with 6. */
struct rules {
    uint64_t fs, net, scoped;
};

#define TO_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static void allow(int rules_fd, const char *folder, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = rights, .parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (rule.parent_fd < 0)
        return;
    (void)syscall(SYS_landlock_add_rule, rules_fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

static bool confine_files(const struct confine *confine)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return false;
    struct rules rules = {
        /* 13 rights in version 1; refer, truncate and ioctl on devices came with 2, 3 and 5. */
        .fs = version >= 5   ? 0xffff
              : version >= 3 ? 0x7fff
              : version >= 2 ? 0x3fff
                             : 0x1fff,
        .net = version >= 4 ? 3 : 0,
        .scoped = version >= 6 ? 3 : 0,
    };
    size_t size = version >= 6   ? sizeof(rules)
                  : version >= 4 ? offsetof(struct rules, scoped)
                                 : offsetof(struct rules, net);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (fd < 0)
        return false;
    for (size_t i = 0; i < LEN(confine->read); i++)
        if (confine->read[i] != NULL)
            allow(fd, confine->read[i], TO_READ);
    allow(fd, confine->change, rules.fs & ~(uint64_t)LANDLOCK_ACCESS_FS_EXECUTE);
    long r = syscall(SYS_landlock_restrict_self, fd, 0);
    close(fd);
    return r == 0;
}

/* ---- system calls -----------------------------------------------------------------------------
 */

static const uint32_t deadly[] = {
    SYS_execve,
    SYS_execveat,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_pidfd_getfd,
    SYS_init_module,
    SYS_finit_module,
    SYS_kexec_load,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    SYS_io_uring_setup,
    SYS_mount,
    SYS_unshare,
    SYS_setns,
    SYS_keyctl,
    SYS_add_key,
};

#define OFFSET(member)         ((uint32_t)offsetof(struct seccomp_data, member))
#define LOAD(offset)           BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define SKIP_UNLESS(op, k, by) BPF_JUMP(BPF_JMP | (op) | BPF_K, (k), 0, (by))
#define GIVE(action)           BPF_STMT(BPF_RET | BPF_K, (action))

static int confine_calls(void)
{
    struct sock_filter program[12 + 2 * LEN(deadly)] = {
        LOAD(OFFSET(arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_AUDIT_ARCH, 1, 0),
        GIVE(SECCOMP_RET_KILL_PROCESS),
        LOAD(OFFSET(nr)),
        SKIP_UNLESS(BPF_JGE, FOREIGN_NUMBERS, 1),
        GIVE(SECCOMP_RET_KILL_PROCESS),
    };
    unsigned len = 6;
    for (size_t i = 0; i < LEN(deadly); i++) {
        program[len++] = (struct sock_filter)SKIP_UNLESS(BPF_JEQ, deadly[i], 1);
        program[len++] = (struct sock_filter)GIVE(SECCOMP_RET_KILL_PROCESS);
    }
    const struct sock_filter sockets[] = {
        SKIP_UNLESS(BPF_JEQ, SYS_socket, 3),
        LOAD(OFFSET(args)), /* the family: an int, whose lower half is first */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
        GIVE(SECCOMP_RET_ERRNO | EPERM),
        GIVE(SECCOMP_RET_ALLOW),
    };
    for (size_t i = 0; i < LEN(sockets); i++)
        program[len++] = sockets[i];
    struct sock_fprog filter = {.len = (unsigned short)len, .filter = program};
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "which half of an argument is first");
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 ? 0 : -errno;
}

int confine_self(const struct confine *confine, bool *has_files)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    *has_files = confine_files(confine);
    return confine_calls();
}
