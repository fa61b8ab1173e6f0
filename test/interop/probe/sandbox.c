/* SPDX-License-Identifier: ISC */
/* An appliance that tries what the sandbox must refuse; test/interop/sandbox.t runs it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mirari/app.h>

static const struct mir_manifest_net nets[] = {{.name = "net0", .mode = "user"}};
static const struct mir_param params[] = {
    {"try", "what to try", MIR_PARAM_STRING, "nothing"},
};
const struct mir_manifest mir_manifest = {
    .name = "sandbox-probe",
    .version = "1",
    .memory_mib = 16,
    .nets = nets,
    .net_count = 1,
    .params = params,
    .param_count = 1,
};

static int try_open(void)
{
    return open("/etc/passwd", O_RDONLY);
}
static int try_create(void)
{
    return open("/tmp/mirari-sandbox-probe", O_WRONLY | O_CREAT, 0600);
}
static int try_execve(void)
{
    char *argv[] = {NULL};
    return execve("/bin/true", argv, argv);
}
static int try_ptrace(void)
{
    return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static int try_fork(void)
{
    int pid = fork();
    if (pid == 0)
        _exit(0);
    return pid;
}
static int try_tcp(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}
static int try_unix(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static int try_netlink(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static int try_raw(void)
{
    return socket(AF_INET, SOCK_RAW, 1);
}
static int try_exec_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
               ? -1
               : 0;
}
static int try_type(void)
{
    return ioctl(0, TIOCSTI, "x");
}
static int try_setuid(void)
{
    return setuid(0);
}

static const struct {
    const char *name;
    int (*run)(void);
} attempts[] = {
    {"open", try_open},     {"create", try_create},   {"execve", try_execve},
    {"ptrace", try_ptrace}, {"fork", try_fork},       {"tcp", try_tcp},
    {"unix", try_unix},     {"netlink", try_netlink}, {"raw", try_raw},
    {"terminal", try_type}, {"setuid", try_setuid},   {"exec-memory", try_exec_memory},
};

static int use_stack(volatile int *sum, int depth)
{
    volatile char bytes[512];
    bytes[0] = (char)depth;
    *sum += bytes[0];
    return use_stack(sum, depth + 1) + bytes[0];
}

int mir_app_main(struct mir_app *app)
{
    const char *what = mir_app_string(app, "try");
    volatile int sum = 0;
    for (size_t i = 0; i < MIR_ARRAY_LEN(attempts); i++) {
        if (strcmp(attempts[i].name, what) != 0)
            continue;
        int r = attempts[i].run();
        mir_app_print(app, "%s: %s\n", what,
                      r >= 0           ? "allowed"
                      : errno == EPERM ? "refused"
                                       : "failed otherwise");
        return 0;
    }
    if (strcmp(what, "crash") == 0)
        *(volatile int *)16 = 1;
    if (strcmp(what, "overflow") == 0)
        return use_stack(&sum, 0);
    if (strcmp(what, "assert") == 0)
        MIR_ASSERT_OP(1, ==, 2);
    mir_app_print(app, "running\n");
    mir_app_wait_stop(app);
    return 7;
}
