/* SPDX-License-Identifier: ISC */
/* Confines the process to the system calls it needs once everything is open.
 *
 * One table: a row is a call and the network modes that need it. What is not in it is refused with
 * EPERM, so that a library which merely tries something goes on; calls that only an attacker makes
 * (execve, ptrace, ...) end the process. Arguments are looked at where the call alone says too
 * little: no memory becomes executable, sockets are TCP, UDP or ICMP over IPv4 or IPv6, and ioctl
 * is for sockets only.
 *
 * On top, Landlock takes away the whole file system (and, in modes tap and packet, binding and
 * connecting TCP sockets) on kernels that have it; one that has not is no error.
 *
 * The list is printed with --log target=debug. Under AddressSanitizer, which needs much more, there
 * is no confinement, and a warning.
 */
#include "target/unix/internal.h"

#include <errno.h>
#include <linux/landlock.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mirari/format.h>

#define WORKER         MIR__SANDBOX_WORKER
#define BASE           (WORKER | MIR__SANDBOX_TAP | MIR__SANDBOX_PACKET | SERVICE | SOCKETS)
#define CONTROL        MIR__SANDBOX_CONTROL
#define SERVICE        MIR__SANDBOX_SERVICE
#define SOCKETS        (MIR__SANDBOX_USER | MIR__SANDBOX_SOCKET)
#define TEXT_MAX       900u
#define LINE_MAX_WORDS 300u

/* What is known of the arguments. */
enum rule { ANY, NOT_EXECUTABLE, INET_SOCKET, SOCKET_IOCTL, LOCAL_PAIR };

struct row {
    int call;
    unsigned needs; /* enum mir__sandbox_needs: any of these */
    enum rule rule;
};

static const struct row allowed[] = {
    {SCMP_SYS(read), BASE, ANY}, /* tap, signals */
    {SCMP_SYS(write), BASE, ANY},
    {SCMP_SYS(writev), BASE, ANY},
    {SCMP_SYS(pwrite64), MIR__SANDBOX_LEASE, ANY},
    {SCMP_SYS(flock), MIR__SANDBOX_LEASE, ANY}, /* by the worker that takes over */
    {SCMP_SYS(epoll_pwait2), BASE, ANY},
    {SCMP_SYS(epoll_pwait), BASE, ANY}, /* kernels before 5.11 */
    {SCMP_SYS(epoll_ctl), BASE, ANY},
    {SCMP_SYS(close), BASE, ANY},
    {SCMP_SYS(clock_gettime), BASE, ANY}, /* hosts whose clock the vDSO cannot read */
    {SCMP_SYS(rt_sigreturn), BASE, ANY},
    {SCMP_SYS(setitimer), BASE, ANY},       /* the guard of the end */
    {SCMP_SYS(restart_syscall), BASE, ANY}, /* after SIGSTOP and SIGCONT */
    {SCMP_SYS(exit_group), BASE, ANY},
    {SCMP_SYS(socket), SOCKETS, INET_SOCKET},
    {SCMP_SYS(bind), SOCKETS, ANY},
    {SCMP_SYS(listen), SOCKETS, ANY},
    {SCMP_SYS(accept), SOCKETS, ANY},
    {SCMP_SYS(accept4), SOCKETS | SERVICE | CONTROL, ANY},
    {SCMP_SYS(connect), SOCKETS, ANY},
    {SCMP_SYS(shutdown), SOCKETS | SERVICE, ANY},
    {SCMP_SYS(getsockname), SOCKETS, ANY},
    {SCMP_SYS(getpeername), SOCKETS, ANY},
    {SCMP_SYS(getsockopt), SOCKETS | SERVICE | CONTROL | MIR__SANDBOX_PACKET, ANY},
    {SCMP_SYS(setsockopt), SOCKETS | SERVICE, ANY},
    {SCMP_SYS(sendto), SOCKETS | SERVICE, ANY},
    {SCMP_SYS(recvfrom), SOCKETS | SERVICE | MIR__SANDBOX_PACKET, ANY},
    {SCMP_SYS(sendmmsg), MIR__SANDBOX_PACKET, ANY},
    {SCMP_SYS(sendmsg), SOCKETS | SERVICE | WORKER, ANY},
    {SCMP_SYS(recvmsg), SOCKETS | SERVICE | WORKER | MIR__SANDBOX_CHANNEL, ANY},
    {SCMP_SYS(readv), SOCKETS, ANY},
    {SCMP_SYS(fcntl), SOCKETS | SERVICE, ANY},
    {SCMP_SYS(ioctl), SOCKETS | SERVICE, SOCKET_IOCTL},
    {SCMP_SYS(socketpair), SERVICE, LOCAL_PAIR},
    {SCMP_SYS(fstat), SERVICE, ANY},                /* which socket is this? */
    {SCMP_SYS(memfd_create), SERVICE, ANY},         /* where a datagram comes from */
    {SCMP_SYS(ppoll), SERVICE, ANY},                /* is a socket closed that holds a port? */
    {SCMP_SYS(newfstatat), MIR__SANDBOX_USER, ANY}, /* is /etc/resolv.conf still the same? */
    {SCMP_SYS(brk), SOCKETS | WORKER, ANY},
    {SCMP_SYS(mmap), SOCKETS | WORKER, NOT_EXECUTABLE},
    {SCMP_SYS(munmap), SOCKETS | WORKER, ANY},
    {SCMP_SYS(mremap), SOCKETS, ANY},
    {SCMP_SYS(madvise), SOCKETS, ANY},
    {SCMP_SYS(getrandom), SOCKETS, ANY},
};

static const int deadly[] = {
    SCMP_SYS(execve),           SCMP_SYS(execveat),          SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(init_module),
    SCMP_SYS(finit_module),     SCMP_SYS(kexec_load),        SCMP_SYS(bpf),
};

static int add_socket_rules(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_INET, AF_INET6};
    static const unsigned types[] = {SOCK_STREAM, SOCK_DGRAM};
    int r = 0;
    for (size_t f = 0; f < MIR_ARRAY_LEN(families); f++) {
        for (size_t t = 0; t < MIR_ARRAY_LEN(types) && r == 0; t++)
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                                 SCMP_A0_64(SCMP_CMP_EQ, families[f], 0),
                                 SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xf, types[t]));
    }
    return r;
}

/* Never those of a terminal: TIOCSTI types for the user. */
static int add_ioctl_rules(scmp_filter_ctx filter)
{
    static const unsigned long requests[] = {FIONREAD, FIONBIO, TIOCOUTQ};
    int r = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(requests) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                             SCMP_A1_64(SCMP_CMP_EQ, requests[i], 0));
    return r;
}

static int add_row(scmp_filter_ctx filter, const struct row *row)
{
    switch (row->rule) {
    case INET_SOCKET:
        return add_socket_rules(filter);
    case SOCKET_IOCTL:
        return add_ioctl_rules(filter);
    case NOT_EXECUTABLE:
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, 1,
                                SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    case LOCAL_PAIR:
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, 1,
                                SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX, 0));
    case ANY:
        break;
    }
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, row->call, 0);
}

/* "read write ..." and how many. */
static unsigned list_calls(unsigned needs, char text[TEXT_MAX])
{
    unsigned count = 0;
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < MIR_ARRAY_LEN(allowed); i++) {
        if (!(allowed[i].needs & needs))
            continue;
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, allowed[i].call);
        count++;
        if (at < TEXT_MAX)
            at += mir_format(text + at, TEXT_MAX - at, " %s", name != NULL ? name : "?");
        __builtin_free(name);
    }
    return count;
}

/* The log cuts long lines: the list goes out in as many as it needs, cut between words. */
static void log_words(const char *text)
{
    while (*text != '\0') {
        size_t len = strlen(text);
        if (len > LINE_MAX_WORDS) {
            len = LINE_MAX_WORDS;
            while (len > 1 && text[len] != ' ')
                len--;
        }
        MIR_LOG(TARGET, DEBUG, "sandbox:%.*s", (int)len, text);
        text += len;
    }
}

static int load_filter(unsigned needs)
{
    int r = -ENOMEM;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return r;
    /* Refusals appear in the audit log where the host keeps one. */
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    r = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(allowed) && r == 0; i++) {
        if (allowed[i].needs & needs)
            r = add_row(filter, &allowed[i]);
    }
    for (size_t i = 0; i < MIR_ARRAY_LEN(deadly) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    if (r == 0)
        r = seccomp_load(filter);
    seccomp_release(filter);
    return r;
}

/* Headers of Debian 12 end at Landlock's first version; network rights came with the fourth. */
struct landlock_rules {
    uint64_t fs;
    uint64_t net;
};

static const char *enter_landlock(unsigned needs)
{
    struct landlock_rules rules = {.fs = 0};
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1)
        return "absent";
    /* 13 rights in version 1; refer, truncate and ioctl on devices came with 2, 3 and 5. */
    rules.fs = version >= 5 ? 0xffff : version >= 3 ? 0x7fff : version >= 2 ? 0x3fff : 0x1fff;
    if (version >= 4 && !(needs & SOCKETS))
        rules.net = 3;
    size_t size = version >= 4 ? sizeof rules : sizeof rules.fs;
    int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (fd < 0)
        return "refused";
    long r = syscall(SYS_landlock_restrict_self, fd, 0);
    close(fd);
    return r == 0 ? "on" : "refused";
}

int mir__sandbox_enter(unsigned needs, char error[MIR__ERROR_MAX])
{
    char text[TEXT_MAX];
    error[0] = '\0';
#if defined(__SANITIZE_ADDRESS__)
    (void)text;
    (void)needs;
    (void)load_filter;
    (void)enter_landlock;
    (void)list_calls;
    (void)log_words;
    MIR_LOG(TARGET, INFO, "no sandbox: this is a build with AddressSanitizer");
    return 0;
#else
    if (!(needs & (BASE)))
        needs |= MIR__SANDBOX_TAP;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        snprintf(error, MIR__ERROR_MAX, "sandbox: no_new_privs: %s", strerror(errno));
        return -MIR_EPERM;
    }
    const char *landlock = enter_landlock(needs);
    unsigned count = list_calls(needs, text);
    MIR_LOG(TARGET, DEBUG, "sandbox: landlock %s, %u system calls", landlock, count);
    log_words(text);
    int r = load_filter(needs);
    if (r < 0) {
        snprintf(error, MIR__ERROR_MAX, "sandbox: seccomp: %s (--no-sandbox runs without)",
                 strerror(-r));
        return -MIR_EPERM;
    }
    return 0;
#endif
}
