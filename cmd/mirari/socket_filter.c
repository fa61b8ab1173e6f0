/* SPDX-License-Identifier: ISC */
/* The seccomp filter under `mirari socket run`: which system calls stop and ask the supervisor.
 *
 * Made by hand, not with libseccomp, for two reasons: the order of the tests is the order of what
 * programs call most, and calls with the same number are told apart by their arguments:
 *
 *   socket            families inet and inet6, and netlink's route protocol
 *   sendto, recvfrom  with an address, or with a flag that a pair has not; else they are send() and
 *                     recv(): data. A recv() of one byte and no flags stops too: that is how
 * CPython's ssl module asks whether a socket is connected, and a pair would say that it is
 *   set/getsockopt    but for timeouts and SO_RCVLOWAT, which the kernel's pair has itself
 *   ioctl             questions about interfaces, and what waits (SIOCOUTQ, FIONREAD)
 *   bind, listen, accept, connect, the names, and messages: always, since a filter sees numbers
 *                     only, and cannot know whether descriptor 5 is a socket of ours
 *
 * A call that no test here names is let pass for any arguments, so the kernel skips the whole
 * filter for it (its bitmap of constant answers): read, write and epoll_wait cost nothing.
 *
 * io_uring would do sockets without system calls: it is reported as missing, and programs take
 * their other way. The 32-bit and x32 ABIs get ENOSYS for sockets: they would escape to the host's
 * stack unnoticed.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd/mirari/socket_notify.h"
#include "cmd/mirari/tool.h"

#if defined(__x86_64__)
#define NATIVE_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_AUDIT_ARCH AUDIT_ARCH_AARCH64
#else
#error "the filter knows x86_64 and aarch64"
#endif

#ifndef SECCOMP_FILTER_FLAG_SPEC_ALLOW
#define SECCOMP_FILTER_FLAG_SPEC_ALLOW (1UL << 2)
#endif

#define PROGRAM_MAX 256

struct program {
    struct sock_filter op[PROGRAM_MAX];
    unsigned len;
};

static void emit(struct program *p, unsigned code, uint32_t k, unsigned on_true, unsigned on_false)
{
    if (p->len < PROGRAM_MAX)
        p->op[p->len] = (struct sock_filter){
            .code = (uint16_t)code, .jt = (uint8_t)on_true, .jf = (uint8_t)on_false, .k = k};
    p->len++;
}

static void load(struct program *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void load_arg(struct program *p, unsigned arg, bool high)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "which half of an argument is first");
    load(p, offsetof(struct seccomp_data, args) + 8 * (size_t)arg + (high ? 4 : 0));
}

static void give(struct program *p, uint32_t action)
{
    emit(p, BPF_RET | BPF_K, action, 0, 0);
}

/* "if the value is @k then @action" */
static void on_value(struct program *p, uint32_t k, uint32_t action)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, k, 0, 1);
    give(p, action);
}

/* What follows, until end_block(), is for system call @nr only; it must not fall through. */
static unsigned begin_block(struct program *p, uint32_t nr)
{
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 0);
    return p->len - 1;
}

static void end_block(struct program *p, unsigned begin)
{
    if (begin < PROGRAM_MAX)
        p->op[begin].jf = (uint8_t)(p->len - begin - 1);
}

/* Calls that always stop, those of busy servers first. */
static const uint32_t always[] = {
    SYS_accept4,     SYS_recvmsg,     SYS_sendmsg,  SYS_connect,
#ifdef SYS_accept
    SYS_accept,
#endif
    SYS_recvmmsg,    SYS_sendmmsg,    SYS_bind,     SYS_listen,
    SYS_getsockname, SYS_getpeername, SYS_shutdown,
};

static const uint32_t questions[] = {
    FIONREAD,       TIOCOUTQ,      SIOCATMARK,  SIOCGIFCONF,    SIOCGIFNAME,
    SIOCGIFINDEX,   SIOCGIFFLAGS,  SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFBRDADDR,
    SIOCGIFDSTADDR, SIOCGIFHWADDR, SIOCGIFMTU,  SIOCGIFTXQLEN,  SIOCGIFMETRIC,
};

/* Options of the level SOL_SOCKET that a pair has like any socket. */
static const uint32_t native_options[] = {
    SO_RCVTIMEO,     SO_SNDTIMEO,     SO_RCVLOWAT, SO_PEEK_OFF,
#if SO_RCVTIMEO != 66 && defined(SO_RCVTIMEO_NEW)
    SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW,
#endif
};

static void add_options(struct program *p, uint32_t nr)
{
    unsigned block = begin_block(p, nr);
    load_arg(p, 1, false);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, SOL_SOCKET, 1, 0);
    give(p, SECCOMP_RET_USER_NOTIF);
    load_arg(p, 2, false);
    for (size_t i = 0; i < LEN(native_options); i++)
        on_value(p, native_options[i], SECCOMP_RET_ALLOW);
    give(p, SECCOMP_RET_USER_NOTIF);
    end_block(p, block);
}

/* A pointer that is not NULL, or one of @flags in the fourth argument. */
static void add_pointer(struct program *p, uint32_t nr, unsigned arg, uint32_t flags)
{
    unsigned block = begin_block(p, nr);
    load_arg(p, 3, false);
    emit(p, BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1);
    give(p, SECCOMP_RET_USER_NOTIF);
    load_arg(p, arg, false);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0);
    give(p, SECCOMP_RET_USER_NOTIF);
    load_arg(p, arg, true);
    on_value(p, 0, SECCOMP_RET_ALLOW);
    give(p, SECCOMP_RET_USER_NOTIF);
    end_block(p, block);
}

/* recv() of one byte without flags; others go on to the next block. */
static void add_probe(struct program *p)
{
    unsigned block = begin_block(p, SYS_recvfrom);
    load_arg(p, 2, false);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 3);
    load_arg(p, 3, false);
    on_value(p, 0, SECCOMP_RET_USER_NOTIF);
    load(p, offsetof(struct seccomp_data, nr));
    end_block(p, block);
}

static void add_socket(struct program *p)
{
    unsigned block = begin_block(p, SYS_socket);
    load_arg(p, 0, false);
    on_value(p, AF_INET, SECCOMP_RET_USER_NOTIF);
    on_value(p, AF_INET6, SECCOMP_RET_USER_NOTIF);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 1, 0);
    give(p, SECCOMP_RET_ALLOW);
    load_arg(p, 2, false);
    on_value(p, NETLINK_ROUTE, SECCOMP_RET_USER_NOTIF);
    give(p, SECCOMP_RET_ALLOW);
    end_block(p, block);
}

static void add_ioctl(struct program *p)
{
    unsigned block = begin_block(p, SYS_ioctl);
    load_arg(p, 1, false);
    for (size_t i = 0; i < LEN(questions); i++)
        on_value(p, questions[i], SECCOMP_RET_USER_NOTIF);
    give(p, SECCOMP_RET_ALLOW);
    end_block(p, block);
}

/* Other ways into the kernel of the same machine. */
static void add_foreign(struct program *p)
{
    const uint32_t none = SECCOMP_RET_ERRNO | ENOSYS;
    load(p, offsetof(struct seccomp_data, arch));
    unsigned native = begin_block(p, NATIVE_AUDIT_ARCH);
#if defined(__x86_64__)
    enum { I386_SOCKETCALL = 102, I386_SOCKET = 359, I386_SHUTDOWN = 373, X32 = 0x40000000 };
    load(p, offsetof(struct seccomp_data, nr));
    on_value(p, I386_SOCKETCALL, none);
    emit(p, BPF_JMP | BPF_JGE | BPF_K, I386_SOCKET, 0, 2);
    emit(p, BPF_JMP | BPF_JGT | BPF_K, I386_SHUTDOWN, 1, 0);
    give(p, none);
    give(p, SECCOMP_RET_ALLOW);
#else
    give(p, none);
#endif
    p->op[native].jt = (uint8_t)(p->len - native - 1);
    load(p, offsetof(struct seccomp_data, nr));
#if defined(__x86_64__)
    emit(p, BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1);
    give(p, none);
#endif
}

static void make_program(struct program *p)
{
    p->len = 0;
    add_foreign(p);
    for (size_t i = 0; i < LEN(always); i++)
        on_value(p, always[i], SECCOMP_RET_USER_NOTIF);
    add_options(p, SYS_setsockopt);
    add_options(p, SYS_getsockopt);
    add_pointer(p, SYS_sendto, 4, MSG_FASTOPEN);
    add_probe(p);
    add_pointer(p, SYS_recvfrom, 4, MSG_ERRQUEUE | MSG_OOB);
    add_socket(p);
    add_ioctl(p);
    on_value(p, SYS_io_uring_setup, SECCOMP_RET_ERRNO | ENOSYS);
    give(p, SECCOMP_RET_ALLOW);
}

int filter_install(void)
{
    static struct program program;
    make_program(&program);
    if (program.len > PROGRAM_MAX)
        return -E2BIG;
    struct sock_fprog fprog = {.len = (unsigned short)program.len, .filter = program.op};
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
    if (fd < 0 && errno == EACCES) {
        /* Without privileges a filter is allowed to who gives up gaining any. */
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
            return -errno;
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
    }
    return fd < 0 ? -errno : (int)fd;
}
