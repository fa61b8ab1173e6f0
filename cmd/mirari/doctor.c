/* SPDX-License-Identifier: ISC */
/* Looks at this machine: what building and running appliances needs, what is there, how to mend.
 *
 * Each check is one line: ok, note (something optional is lacking) or FAIL (building or running
 * without privileges does not work), then what it means and what to do. Nothing is changed;
 * whatever a check opens it closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

enum verdict { GOOD, NOTE, BAD };

static unsigned bad_count;

static void say(enum verdict verdict, const char *what, const char *fmt, ...) PRINTF(3, 4);
static void say(enum verdict verdict, const char *what, const char *fmt, ...)
{
    static const char *const marks[] = {"ok  ", "note", "FAIL"};
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct str line = {0};
    str_add(&line, "", 0);
    str_visible(&line, text);
    printf("%s  %-19s %s\n", marks[verdict], what, line.data);
    str_free(&line);
    bad_count += verdict == BAD;
}

static void check_compiler(void)
{
    char line[200];
    const char *cc = getenv("CC");
    struct str word = {0};
    str_text(&word, cc != NULL && cc[strspn(cc, " ")] != '\0' ? cc + strspn(cc, " ") : "cc");
    word.data[strcspn(word.data, " ")] = '\0';
    char *argv[] = {word.data, (char[]){"--version"}, NULL};
    if (program_line(argv, line, sizeof(line)))
        say(GOOD, "compiler", "%s", line);
    else
        say(BAD, "compiler",
            "\"%s\" does not run: nothing can be built; install gcc, or name one "
            "in CC",
            word.data);
    str_free(&word);
}

static void check_libraries(void)
{
    static const struct {
        const char *package, *header, *what;
    } libraries[] = {
        {"libslirp-dev", "/usr/include/slirp/libslirp.h", "network without privileges"},
        {"libseccomp-dev", "/usr/include/seccomp.h", "sandbox"},
        {"libglib2.0-dev", "/usr/include/glib-2.0/glib.h", "what libslirp needs"},
    };
    for (size_t i = 0; i < LEN(libraries); i++) {
        if (access(libraries[i].header, R_OK) == 0)
            say(GOOD, libraries[i].package, "%s", libraries[i].what);
        else
            say(BAD, libraries[i].package,
                "missing (%s): target unix cannot be linked; apt-get install %s", libraries[i].what,
                libraries[i].package);
    }
    struct sdk sdk;
    if (sdk_find(&sdk, NULL) == 0)
        say(GOOD, "mirari", "headers %s, libraries %s", sdk.include, sdk.libs);
    else
        say(BAD, "mirari", "headers or libraries are missing, see above");
}

static bool has_net_admin(void)
{
    struct str text = {0};
    bool has = false;
    if (file_read("/proc/self/status", 65536, &text) == 0) {
        const char *at = strstr(text.data, "\nCapEff:");
        has = at != NULL && (strtoull(at + 8, NULL, 16) >> 12 & 1) != 0; /* CAP_NET_ADMIN */
    }
    str_free(&text);
    return has;
}

static void check_tap(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        say(NOTE, "/dev/net/tun",
            "%s: net = tap does not work, net = user does; load the module "
            "tun, or give yourself access",
            strerror(errno));
    else if (!has_net_admin())
        say(NOTE, "/dev/net/tun",
            "there, but making a tap needs CAP_NET_ADMIN: run as root, or "
            "use a tap that was made for you (--net tap:NAME)");
    else
        say(GOOD, "/dev/net/tun", "net = tap works");
    if (fd >= 0)
        close(fd);
}

static void check_sandbox(void)
{
    int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    if (mode < 0)
        say(NOTE, "seccomp",
            "the kernel has none: the sandbox does not work, run with "
            "--no-sandbox or take another kernel");
    else
        say(GOOD, "seccomp", "appliances are confined to the system calls they need");
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
    if (abi > 0)
        say(GOOD, "Landlock", "ABI %ld: appliances see no files", abi);
    else
        say(NOTE, "Landlock",
            "%s: files are closed to appliances by seccomp alone; enable it with "
            "lsm=landlock on the kernel's command line",
            errno == ENOSYS ? "not in this kernel" : "not enabled");
}

/* A program, by the first line of its --version, or what it lacks. */
static void check_program(const char *program, const char *package, const char *without)
{
    char line[200], *path = find_program(program);
    char *name = need_text(program, strlen(program));
    char *argv[] = {name, (char[]){"--version"}, NULL};
    if (path == NULL)
        say(NOTE, program, "not installed: %s; apt-get install %s", without, package);
    else
        say(GOOD, program, "%s",
            program_line(argv, line, sizeof(line)) && strchr(line, '.') != NULL ? line : path);
    free(path);
    free(name);
}

static void check_file(const char *what, const char *file, const char *package, const char *without)
{
    if (access(file, R_OK) == 0)
        say(GOOD, what, "%s", file);
    else
        say(NOTE, what, "missing: %s; apt-get install %s", without, package);
}

/* What target virt needs. */
static void check_virt(void)
{
    struct why why = {""};
    struct sdk sdk;
    check_file("musl", "/usr/lib/" NATIVE_ARCH "-linux-musl/libc.a", "musl-dev",
               "target virt cannot be linked");
    if (sdk_find(&sdk, NULL) == 0) {
        char *library = path_join(sdk.virt_libs, "libmirari-virt.a");
        if (access(library, R_OK) == 0)
            say(GOOD, "target virt", "%s", library);
        else
            say(NOTE, "target virt",
                "no %s: run `make` in the source tree after installing musl-dev", library);
        free(library);
    }
    check_program("qemu-system-x86_64", "qemu-system-x86", "run -t virt does not work");
    check_program("qemu-system-aarch64", "qemu-system-arm",
                  "run -t virt --arch aarch64 does not work");
    bool has_kvm = accel_works(NATIVE_ARCH, &why);
    say(has_kvm ? GOOD : NOTE, "accelerator", "%s", why.text);
    check_program("gdb", "gdb", "run -t virt --gdb waits for nobody");
    check_program("passt", "passt", "net = passt does not work, net = user does");
    check_program("grub-mkimage", "grub-common", "image does not work");
    check_file("GRUB for BIOS", "/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin",
               "image does not work");
    check_file("GRUB for UEFI", "/usr/lib/grub/x86_64-efi/moddep.lst", "grub-efi-amd64-bin",
               "image does not work");
}

static void check_namespaces(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */) == 0 ? 0 : 1);
    int status = 1;
    if (pid > 0)
        waitpid(pid, &status, 0);
    if (status == 0)
        say(GOOD, "user namespaces", "tests of networks need no root");
    else
        say(NOTE, "user namespaces",
            "not allowed: tests of networks need root; "
            "sysctl kernel.unprivileged_userns_clone=1");
}

static void check_port(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        say(GOOD, "port 8080", "free");
    else
        say(NOTE, "port 8080",
            "%s: forwarding takes another port and says which; choose one with "
            "-p PORT:80",
            strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void check_memory(void)
{
    struct str text = {0};
    const char *at = NULL;
    if (file_read("/proc/meminfo", 65536, &text) == 0)
        at = strstr(text.data, "MemAvailable:");
    uint64_t mib = at != NULL ? strtoull(at + 13, NULL, 10) / 1024 : 0;
    if (at == NULL)
        say(NOTE, "memory", "cannot tell how much is free; is /proc mounted?");
    else if (mib < 256)
        say(NOTE, "memory",
            "%llu MiB free: an appliance takes 64 MiB unless its manifest says "
            "otherwise, a compiler more; close other programs",
            (unsigned long long)mib);
    else
        say(GOOD, "memory", "%llu MiB free", (unsigned long long)mib);
    str_free(&text);
}

int cmd_doctor(int argc, char **argv)
{
    struct state state;
    if (argc > 1)
        return usage_error("doctor", argv[1], NULL, 0);
    check_compiler();
    check_libraries();
    check_tap();
    check_sandbox();
    check_namespaces();
    check_virt();
    check_port();
    check_memory();
    if (state_open(&state) == 0)
        say(GOOD, "state folder", "%s", state.base);
    else
        say(BAD, "state folder", "cannot be used, see above: appliances cannot be run");
    if (bad_count > 0)
        printf("%u of these must be mended before appliances can be built and run.\n", bad_count);
    return bad_count > 0 ? EXIT_FAIL : 0;
}
