/* SPDX-License-Identifier: ISC */
/* Which system calls the filter of `mirari socket run` stops: the program is run here, call by
 * call. */
#include <string.h>

#include "cmd/mirari/socket_filter.c"
#include "test/harness/tap.h"

static struct program filter;

/* What the kernel's interpreter does with the few instructions that are used. */
static uint32_t decide(const struct seccomp_data *data)
{
    uint32_t value = 0;
    for (unsigned at = 0; at < filter.len; at++) {
        const struct sock_filter *op = &filter.op[at];
        switch (op->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            if (op->k > sizeof(*data) - 4 || op->k % 4 != 0)
                return 0;
            memcpy(&value, (const uint8_t *)data + op->k, sizeof(value));
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            at += value == op->k ? op->jt : op->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            at += value >= op->k ? op->jt : op->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            at += value > op->k ? op->jt : op->jf;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            at += (value & op->k) != 0 ? op->jt : op->jf;
            break;
        case BPF_RET | BPF_K:
            return op->k;
        default:
            return 0;
        }
    }
    return 0; /* ran over its end: kill */
}

static uint32_t call_on(uint32_t arch, int nr, const uint64_t args[6])
{
    struct seccomp_data data = {.nr = nr, .arch = arch};
    if (args != NULL)
        memcpy(data.args, args, sizeof(data.args));
    return decide(&data);
}

#define CALL(nr, ...) call_on(NATIVE_AUDIT_ARCH, nr, (const uint64_t[6]){__VA_ARGS__})
#define STOPS         SECCOMP_RET_USER_NOTIF
#define PASSES        SECCOMP_RET_ALLOW
#define MISSING       (SECCOMP_RET_ERRNO | ENOSYS)

static void test_numbers(void)
{
    tap_case("control calls stop, whatever their arguments");
    for (size_t i = 0; i < LEN(always); i++) {
        check_int(CALL((int)always[i], 0), ==, STOPS);
        check_int(CALL((int)always[i], ~0ull, ~0ull, ~0ull, ~0ull, ~0ull, ~0ull), ==, STOPS);
    }
    tap_case("every other call passes");
    for (int nr = 0; nr < 600; nr++) {
        bool is_ours = nr == SYS_setsockopt || nr == SYS_getsockopt || nr == SYS_sendto ||
                       nr == SYS_recvfrom || nr == SYS_socket || nr == SYS_ioctl ||
                       nr == SYS_io_uring_setup;
        for (size_t i = 0; i < LEN(always); i++)
            is_ours = is_ours || nr == (int)always[i];
        if (!is_ours && CALL(nr, 2, 2, 2, 2, 2, 2) != PASSES)
            check_int(nr, ==, -1);
    }
    check_int(CALL(SYS_read, 0), ==, PASSES);
    check_int(CALL(SYS_shutdown, 3, 2), ==, STOPS);
    check_int(CALL(SYS_socketpair, AF_UNIX), ==, PASSES);
    tap_case("io_uring is missing");
    check_int(CALL(SYS_io_uring_setup, 1), ==, MISSING);
}

static void test_arguments(void)
{
    tap_case("sockets by family");
    check_int(CALL(SYS_socket, AF_INET, SOCK_STREAM, 0), ==, STOPS);
    check_int(CALL(SYS_socket, AF_INET6, SOCK_DGRAM, 0), ==, STOPS);
    check_int(CALL(SYS_socket, AF_UNIX, SOCK_STREAM, 0), ==, PASSES);
    check_int(CALL(SYS_socket, AF_PACKET, SOCK_RAW, 0), ==, PASSES);
    check_int(CALL(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), ==, STOPS);
    check_int(CALL(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT), ==, PASSES);
    /* The kernel takes an int: the upper half of the register means nothing. */
    check_int(CALL(SYS_socket, 0xdeadbeef00000000ull | AF_INET), ==, STOPS);
    tap_case("send and receive by address");
    check_int(CALL(SYS_sendto, 3, 4096, 10, 0, 0, 0), ==, PASSES);
    check_int(CALL(SYS_sendto, 3, 4096, 10, 0, 1, 16), ==, STOPS);
    check_int(CALL(SYS_sendto, 3, 4096, 10, 0, 0x7fff00000000ull, 16), ==, STOPS);
    check_int(CALL(SYS_recvfrom, 3, 4096, 10, 0, 0, 4096), ==, PASSES);
    check_int(CALL(SYS_recvfrom, 3, 4096, 10, MSG_PEEK | MSG_DONTWAIT, 0, 0), ==, PASSES);
    check_int(CALL(SYS_recvfrom, 3, 4096, 10, MSG_ERRQUEUE, 0, 0), ==, STOPS);
    check_int(CALL(SYS_sendto, 3, 4096, 10, MSG_NOSIGNAL | MSG_DONTWAIT, 0, 0), ==, PASSES);
    check_int(CALL(SYS_sendto, 3, 4096, 10, MSG_FASTOPEN, 0, 0), ==, STOPS);
    check_int(CALL(SYS_recvfrom, 3, 4096, 10, 0, 0x100000000ull, 4096), ==, STOPS);
    check_int(CALL(SYS_recvfrom, 3, 4096, 1, 0, 0, 0), ==, STOPS); /* is it connected? */
    check_int(CALL(SYS_recvfrom, 3, 4096, 1, MSG_PEEK, 0, 0), ==, PASSES);
    check_int(CALL(SYS_recvfrom, 3, 4096, 1, MSG_PEEK, 4096, 4096), ==, STOPS);
    tap_case("options but time-outs");
    check_int(CALL(SYS_setsockopt, 3, SOL_SOCKET, SO_RCVTIMEO, 0, 0), ==, PASSES);
    check_int(CALL(SYS_getsockopt, 3, SOL_SOCKET, SO_SNDTIMEO, 0, 0), ==, PASSES);
    check_int(CALL(SYS_setsockopt, 3, SOL_SOCKET, SO_REUSEADDR, 0, 0), ==, STOPS);
    check_int(CALL(SYS_getsockopt, 3, SOL_SOCKET, SO_ERROR, 0, 0), ==, STOPS);
    check_int(CALL(SYS_setsockopt, 3, IPPROTO_TCP, SO_RCVTIMEO, 0, 0), ==, STOPS);
    tap_case("questions about interfaces");
    check_int(CALL(SYS_ioctl, 3, SIOCGIFCONF), ==, STOPS);
    check_int(CALL(SYS_ioctl, 3, SIOCGIFINDEX), ==, STOPS);
    check_int(CALL(SYS_ioctl, 3, TIOCOUTQ), ==, STOPS);
    check_int(CALL(SYS_ioctl, 3, FIONREAD), ==, STOPS);
    check_int(CALL(SYS_ioctl, 3, 0x5401), ==, PASSES);
    check_int(CALL(SYS_ioctl, 3, SIOCSIFADDR), ==, PASSES);
}

static void test_foreign(void)
{
    tap_case("other ways into the kernel have no sockets");
#if defined(__x86_64__)
    check_int(call_on(AUDIT_ARCH_I386, 102, NULL), ==, MISSING);
    check_int(call_on(AUDIT_ARCH_I386, 359, NULL), ==, MISSING);
    check_int(call_on(AUDIT_ARCH_I386, 373, NULL), ==, MISSING);
    check_int(call_on(AUDIT_ARCH_I386, 358, NULL), ==, PASSES);
    check_int(call_on(AUDIT_ARCH_I386, 374, NULL), ==, PASSES);
    check_int(call_on(AUDIT_ARCH_I386, 4, NULL), ==, PASSES);
    check_int(CALL(0x40000000 | SYS_socket, AF_INET), ==, MISSING);
    check_int(CALL(0x40000000 | SYS_read, 0), ==, MISSING);
#else
    check_int(call_on(AUDIT_ARCH_ARM, 281, NULL), ==, MISSING);
#endif
}

int main(void)
{
    tap_begin("socket_filter");
    make_program(&filter);
    tap_case("the program fits");
    check_int(filter.len, <, PROGRAM_MAX);
    test_numbers();
    test_arguments();
    test_foreign();
    return tap_done();
}
