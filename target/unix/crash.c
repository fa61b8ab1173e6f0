/* SPDX-License-Identifier: ISC */
/* What is printed when the appliance crashes, before it ends with status 70.
 *
 *   mirari: crash: signal 11 (SIGSEGV) at address 0x10 in task "main"
 *   mirari:   rip 0x55d0c0de1234 ...
 *   mirari:   #0 /path/hello+0x4321
 *
 * The handler runs on a stack of its own, since the usual cause may be that the task's stack is
 * used up, and makes no system call but write and exit, so the sandbox need not allow more for it.
 * Return addresses are found by following frame pointers (everything here is compiled with them)
 * inside the bounds of the stack it runs on; a chain that leaves them ends. Modules and their
 * addresses are noted at start. The recorder keeps what is printed. `addr2line -e FILE 0xOFFSET`
 * turns a line into a source line.
 */
#include "target/unix/internal.h"

#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <ucontext.h>
#include <unistd.h>

#include <mirari/format.h>
#include <mirari/platform.h>

#define MODULES_MAX 32
#define FRAMES_MAX  32

struct module {
    uintptr_t start, end, bias;
    char name[128];
};

static struct module modules[MODULES_MAX];
static int module_count;
static struct mir_app *crash_app;
static struct mir_loop *crash_loop;
static uintptr_t main_stack_top;
static volatile sig_atomic_t is_second;
static uint8_t handler_stack[32768] MIR_ALIGNED(16);

static void print(const char *fmt, ...) MIR_PRINTF(1, 2);
static void print(const char *fmt, ...)
{
    char line[400];
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(line, sizeof line, fmt, args);
    va_end(args);
    len = MIR_MIN(len, sizeof line - 1);
    mir__record_report(line, len);
    if (write(STDERR_FILENO, line, len) < 0)
        return;
}

static int note_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    if (module_count == MODULES_MAX)
        return 1;
    struct module *m = &modules[module_count];
    uintptr_t end = 0, start = UINTPTR_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD)
            continue;
        start = MIR_MIN(start, info->dlpi_addr + header->p_vaddr);
        end = MIR_MAX(end, info->dlpi_addr + header->p_vaddr + header->p_memsz);
    }
    if (end == 0)
        return 0;
    *m = (struct module){.start = start, .end = end, .bias = info->dlpi_addr};
    if (info->dlpi_name[0] != '\0')
        snprintf(m->name, sizeof m->name, "%s", info->dlpi_name);
    else if (readlink("/proc/self/exe", m->name, sizeof m->name - 1) < 0)
        snprintf(m->name, sizeof m->name, "(program)");
    module_count++;
    return 0;
}

static void print_frame(int number, uintptr_t address)
{
    for (int i = 0; i < module_count; i++) {
        const struct module *m = &modules[i];
        if (address < m->start || address >= m->end)
            continue;
        print("mirari:   #%d %s+0x%llx\n", number, m->name,
              (unsigned long long)(address - m->bias));
        return;
    }
    print("mirari:   #%d 0x%llx\n", number, (unsigned long long)address);
}

static void print_frames(uintptr_t pc, uintptr_t frame, uintptr_t low, uintptr_t high)
{
    print_frame(0, pc);
    for (int i = 1; i < FRAMES_MAX; i++) {
        if (frame < low || frame + 16 > high || frame % 8 != 0)
            return;
        uintptr_t next = ((const uintptr_t *)frame)[0];
        uintptr_t back = ((const uintptr_t *)frame)[1];
        if (back == 0)
            return;
        print_frame(i, back - 1);
        if (next <= frame)
            return;
        frame = next;
    }
}

#if defined(__x86_64__)
static void print_context(const ucontext_t *context, uintptr_t *pc, uintptr_t *frame, uintptr_t *sp)
{
    const greg_t *r = context->uc_mcontext.gregs;
    *pc = (uintptr_t)r[REG_RIP];
    *frame = (uintptr_t)r[REG_RBP];
    *sp = (uintptr_t)r[REG_RSP];
    print("mirari:   rip %llx rsp %llx rbp %llx rax %llx rbx %llx rcx %llx\n", r[REG_RIP],
          r[REG_RSP], r[REG_RBP], r[REG_RAX], r[REG_RBX], r[REG_RCX]);
    print("mirari:   rdx %llx rsi %llx rdi %llx r8 %llx r9 %llx r12 %llx\n", r[REG_RDX], r[REG_RSI],
          r[REG_RDI], r[REG_R8], r[REG_R9], r[REG_R12]);
}
#elif defined(__aarch64__)
static void print_context(const ucontext_t *context, uintptr_t *pc, uintptr_t *frame, uintptr_t *sp)
{
    const mcontext_t *m = &context->uc_mcontext;
    *pc = m->pc;
    *frame = m->regs[29];
    *sp = m->sp;
    print("mirari:   pc %llx sp %llx fp %llx lr %llx x0 %llx x1 %llx\n", (unsigned long long)m->pc,
          (unsigned long long)m->sp, (unsigned long long)m->regs[29],
          (unsigned long long)m->regs[30], (unsigned long long)m->regs[0],
          (unsigned long long)m->regs[1]);
}
#endif

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    default:
        return "SIGABRT";
    }
}

/* Hooks of the application, at most once. One that hangs is ended by the alarm, one that crashes
 * by coming here again. */
MIR_NORETURN static void end(void)
{
    mir__signals_panic();
    mir__app_panic(crash_app);
    _exit(MIR__EXIT_CRASH);
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    uintptr_t pc, frame, sp, address = (uintptr_t)info->si_addr;
    if (is_second)
        _exit(MIR__EXIT_CRASH);
    is_second = 1;
    struct mir_task *task = mir_task_current(crash_loop);
    const char *name = task != NULL ? mir_task_name(task) : "none, the loop itself";
    if (number == SIGSEGV && mir__stacks_is_guard(address))
        print("mirari: crash: stack overflow in task %s\n", name);
    else
        print("mirari: crash: signal %d (%s) at address 0x%llx in task %s\n", number,
              signal_name(number), (unsigned long long)address, name);
    print_context(context, &pc, &frame, &sp);
    /* An overflowed stack pointer is in the guard, below its stack. */
    uintptr_t top = mir__stacks_top(sp);
    if (mir__stacks_is_guard(sp))
        sp = (sp | (MIR_PAGE_SIZE - 1)) + 1;
    print_frames(pc, frame, sp, top != 0 ? top : main_stack_top);
    end();
}

/* An assertion: the text, then who called. */
void mir_platform_abort(const char *text)
{
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0), top = mir__stacks_top(frame);
    struct mir_task *task = crash_loop != NULL ? mir_task_current(crash_loop) : NULL;
    if (is_second)
        _exit(MIR__EXIT_CRASH);
    is_second = 1;
    print("mirari: %s\n", text);
    if (task != NULL)
        print("mirari: in task %s\n", mir_task_name(task));
    if (main_stack_top != 0)
        print_frames((uintptr_t)__builtin_return_address(0) - 1, *(const uintptr_t *)frame, frame,
                     top != 0 ? top : main_stack_top);
    end();
}

void mir__crash_init(struct mir_app *app, struct mir_loop *loop)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction action = {.sa_sigaction = on_crash,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    crash_app = app;
    crash_loop = loop;
    main_stack_top = (uintptr_t)__builtin_frame_address(0) + 512;
    dl_iterate_phdr(note_module, NULL);
#if !defined(__SANITIZE_ADDRESS__)
    if (sigaltstack(&stack, NULL) < 0)
        return;
    for (size_t i = 0; i < MIR_ARRAY_LEN(numbers); i++)
        sigaction(numbers[i], &action, NULL);
#else
    (void)numbers;
    (void)stack;
    (void)action;
#endif
}
