/* SPDX-License-Identifier: ISC */
/* Does KVM truly work here? Found out with a guest of 13 bytes that counts.
 *
 * On some machines /dev/kvm opens and makes virtual machines, but every instruction of a guest is
 * trapped and interpreted: emulation by QEMU (TCG) is then a hundred times faster. No flag tells,
 * so a guest counts COUNT down in a register:
 *
 *         mov ecx, COUNT
 *   1:    dec ecx
 *         jnz 1b
 *         hlt
 *
 * A processor that runs it itself needs milliseconds, a trapping one minutes. If it has not come to
 * the hlt when LIMIT_MS have passed since the start of the probe, KVM is not used.
 *
 * The guest is run by a child, so that whatever /dev/kvm does is over when the child is killed. The
 * verdict is kept in the folder of running appliances for DAY_S seconds of this boot and as long as
 * /dev/kvm is the same node with the same permissions.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/mirari/vm.h"

#define LIMIT_MS   300
#define COUNT      4000000u
#define DAY_S      86400
#define GUEST_BASE 0x1000u
#define CACHE_NAME ".kvm"

/* What the child found. Texts in explain(). */
enum verdict { WORKS, NO_DEVICE, NO_PERMISSION, NO_MACHINE, TRAPS, FOREIGN, VERDICTS };

/* ---- the child ------------------------------------------------------------------------------- */

/* 16-bit code with 32-bit operands, as a processor wakes up. */
static void write_guest(uint8_t *memory)
{
    static const uint8_t code[] = {
        0x66,        0xb9, COUNT & 0xff, COUNT >> 8 & 0xff, COUNT >> 16 & 0xff,
        COUNT >> 24,       /* mov ecx, COUNT */
        0x66,        0x49, /* dec ecx */
        0x75,        0xfc, /* jnz -4 */
        0xf4};             /* hlt */
    memcpy(memory, code, sizeof(code));
}

static bool set_registers(int cpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = GUEST_BASE, .rflags = 2};
    if (ioctl(cpu, KVM_GET_SREGS, &sregs) != 0)
        return false;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    return ioctl(cpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(cpu, KVM_SET_REGS, &regs) == 0;
}

/* Everything is closed by the end of the child. */
static enum verdict run_guest(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return errno == EACCES || errno == EPERM ? NO_PERMISSION : NO_DEVICE;
    if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
        return NO_MACHINE;
    int machine = ioctl(kvm, KVM_CREATE_VM, 0);
    uint8_t *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (machine < 0 || memory == MAP_FAILED)
        return NO_MACHINE;
    write_guest(memory);
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = GUEST_BASE, .memory_size = 4096, .userspace_addr = (uintptr_t)memory};
    if (ioctl(machine, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return NO_MACHINE;
    int cpu = ioctl(machine, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (cpu < 0 || size < (int)sizeof(struct kvm_run))
        return NO_MACHINE;
    const struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, cpu, 0);
    if (run == MAP_FAILED || !set_registers(cpu))
        return NO_MACHINE;
    while (ioctl(cpu, KVM_RUN, 0) != 0)
        if (errno != EINTR)
            return NO_MACHINE;
    return run->exit_reason == KVM_EXIT_HLT ? WORKS : NO_MACHINE;
}

static enum verdict probe(void)
{
    int done[2], status = 0;
    if (pipe2(done, O_CLOEXEC) != 0)
        return NO_MACHINE;
    fflush(NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(getppid() == parent ? (int)run_guest() : NO_MACHINE);
    }
    close(done[1]);
    if (pid < 0) {
        close(done[0]);
        return NO_MACHINE;
    }
    struct pollfd end = {.fd = done[0], .events = POLLIN};
    struct timespec began, now;
    clock_gettime(CLOCK_MONOTONIC, &began);
    int ready = -1;
    for (int64_t left = LIMIT_MS; left > 0 && ready < 0;) {
        ready = poll(&end, 1, (int)left);
        clock_gettime(CLOCK_MONOTONIC, &now);
        left = LIMIT_MS -
               ((now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000);
    }
    if (ready <= 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(done[0]);
    if (ready <= 0)
        return TRAPS;
    return WIFEXITED(status) && WEXITSTATUS(status) < VERDICTS ? (enum verdict)WEXITSTATUS(status)
                                                               : NO_MACHINE;
}

/* ---- the verdict, kept ----------------------------------------------------------------------- */

/* What the verdict depends on; it ends in a blank. */
static void make_key(struct str *key)
{
    struct stat st = {0};
    struct str boot = {0};
    (void)stat("/dev/kvm", &st);
    if (file_read("/proc/sys/kernel/random/boot_id", 256, &boot) == 0)
        boot.data[strcspn(boot.data, "\n")] = '\0';
    str_format(key, "%s %llx %o %u %u %lld ", boot.data != NULL ? boot.data : "-",
               (unsigned long long)st.st_rdev, st.st_mode, (unsigned)st.st_uid, (unsigned)st.st_gid,
               (long long)st.st_ctim.tv_sec);
    str_free(&boot);
}

static bool read_cache(const struct state *state, const struct str *key, enum verdict *verdict)
{
    char path[64];
    struct str text = {0};
    struct stat st;
    bool found = fstatat(state->base_fd, CACHE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISREG(st.st_mode) && time(NULL) - st.st_mtim.tv_sec < DAY_S &&
                 time(NULL) >= st.st_mtim.tv_sec;
    snprintf(path, sizeof(path), "/proc/self/fd/%d/" CACHE_NAME, state->base_fd);
    found = found && file_read(path, 4096, &text) == 0 && text.len > key->len &&
            memcmp(text.data, key->data, key->len) == 0;
    int number = found ? text.data[key->len] - '0' : -1;
    str_free(&text);
    if (number < 0 || number >= VERDICTS)
        return false;
    *verdict = (enum verdict)number;
    return true;
}

static void write_cache(const struct state *state, const struct str *key, enum verdict verdict)
{
    char path[64];
    struct str text = {0};
    snprintf(path, sizeof(path), "/proc/self/fd/%d/" CACHE_NAME, state->base_fd);
    str_format(&text, "%s%c\n", key->data, '0' + (char)verdict);
    (void)unlinkat(state->base_fd, CACHE_NAME, 0); /* its time is that of the probe */
    (void)file_write_if_changed(path, text.data, text.len, NULL);
    str_free(&text);
}

static enum verdict judge(bool *is_known)
{
    enum verdict verdict;
    struct state state;
    struct str key = {0};
    *is_known = false;
    if (access("/dev/kvm", R_OK | W_OK) != 0)
        return errno == EACCES ? NO_PERMISSION : NO_DEVICE;
    if (state_open(&state) != 0)
        return probe();
    make_key(&key);
    *is_known = read_cache(&state, &key, &verdict);
    if (!*is_known) {
        verdict = probe();
        write_cache(&state, &key, verdict);
    }
    close(state.base_fd);
    free(state.base);
    str_free(&key);
    return verdict;
}

static void explain(enum verdict verdict, bool is_known, struct why *why)
{
    const char *const when = is_known ? " (measured earlier)" : "";
    switch (verdict) {
    case WORKS:
        fail(why, "KVM: a guest counted to %u million on the processor itself%s", COUNT / 1000000,
             when);
        break;
    case NO_DEVICE:
        fail(why, "emulation: there is no /dev/kvm; load the module kvm_intel or kvm_amd, or "
                  "allow nested virtualisation");
        break;
    case NO_PERMISSION:
        fail(why, "emulation: no permission for /dev/kvm; join the group kvm");
        break;
    case TRAPS:
        fail(why,
             "emulation: /dev/kvm is there, but a guest did not count to %u million in %d ms: "
             "the host traps every instruction%s",
             COUNT / 1000000, LIMIT_MS, when);
        break;
    case FOREIGN:
        fail(why, "emulation: the image is for another processor than this machine's");
        break;
    default:
        fail(why, "emulation: /dev/kvm is there, but cannot run a guest%s", when);
    }
}

bool accel_works(const char *arch, struct why *why)
{
    bool is_known = false;
#if defined(__x86_64__)
    enum verdict verdict = strcmp(arch, "x86_64") == 0 ? judge(&is_known) : FOREIGN;
#else
    enum verdict verdict = FOREIGN;
    (void)arch;
    (void)judge;
#endif
    explain(verdict, is_known, why);
    return verdict == WORKS;
}
