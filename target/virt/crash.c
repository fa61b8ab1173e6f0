/* SPDX-License-Identifier: ISC */
/* What is printed when the appliance crashes, before it ends with status 70.
 *
 *   mirari: crash: page fault, write to address 0x10, in task main
 *   mirari:   rip ffff9f2c10203040 rsp ...
 *   mirari:   #0 handle_request+0x21
 *   mirari:   #1 mir__task_main+0x1a
 *
 * It is written by whatever stack the exception gave, straight to the console, with nothing
 * allocated. Return addresses are found by following frame pointers (everything here is compiled
 * with them) inside the bounds of the stack that was in use. An address without a name is printed
 * as the linker had it, which is what `addr2line` wants.
 *
 * A crash inside the report ends it. The host is told before the hooks of the application run, so
 * that it can end a machine whose hook hangs.
 */
#include <mirari/format.h>
#include <mirari/platform.h>

#include "target/virt/internal.h"

#define FRAMES_MAX 32

static struct mir_app *crash_app;
static struct mir_loop *crash_loop;
static bool is_second;

static void print(const char *fmt, ...) MIR_PRINTF(1, 2);
static void print(const char *fmt, ...)
{
    char line[400];
    va_list args;
    va_start(args, fmt);
    size_t len = mir_vformat(line, sizeof line, fmt, args);
    va_end(args);
    mir__arch_console_write(line, MIR_MIN(len, sizeof line - 1));
}

static const char *task_name(void)
{
    struct mir_task *task = crash_loop != NULL ? mir_task_current(crash_loop) : NULL;
    return task != NULL ? mir_task_name(task) : "none, the loop itself";
}

static void print_frame(int number, uintptr_t pc)
{
    uintptr_t address = mir__arch_image_address(pc), distance = 0;
    const char *name = address != 0 ? mir__symbols_find(address, &distance) : NULL;
    if (name != NULL)
        print("mirari:   #%d %s+0x%llx\n", number, name, (unsigned long long)distance);
    else if (address != 0)
        print("mirari:   #%d image+0x%llx\n", number, (unsigned long long)address);
    else
        print("mirari:   #%d 0x%llx\n", number, (unsigned long long)pc);
}

/* An overflowed stack pointer is in the guard, below its stack. */
static void find_bounds(uintptr_t sp, uintptr_t *low, uintptr_t *high)
{
    uintptr_t top = mir__stacks_top(sp), loop_low;
    if (mir__stacks_is_guard(sp) || mir__arch_is_guard(sp))
        sp = (sp | (MIR_PAGE_SIZE - 1)) + 1;
    *low = sp;
    *high = top;
    if (top == 0)
        mir__arch_loop_stack(&loop_low, high);
}

static void print_frames(struct mir__frame frame)
{
    uintptr_t low, high;
    find_bounds(frame.sp, &low, &high);
    print_frame(0, frame.pc);
    for (int i = 1; i < FRAMES_MAX && mir__arch_unwind(&frame, low, high); i++)
        print_frame(i, frame.pc);
}

MIR_NORETURN static void end(void)
{
    mir__arch_panic();
    mir__app_panic(crash_app);
    mir__arch_exit(MIR__EXIT_CRASH);
}

static void begin(void)
{
    if (is_second) {
        print("mirari: crash: again, inside the report\n");
        end();
    }
    is_second = true;
}

void mir__crash(const struct mir__trap *trap)
{
    begin();
    if (trap->has_address &&
        (mir__stacks_is_guard(trap->address) || mir__arch_is_guard(trap->address)))
        print("mirari: crash: stack overflow in task %s\n", task_name());
    else if (trap->has_address && mir__stacks_top(trap->address) != 0 &&
             !mir__arch_is_mapped((const void *)trap->address))
        print("mirari: crash: no memory left for the stack of task %s\n", task_name());
    else if (trap->has_address)
        print("mirari: crash: %s, %s address 0x%llx, in task %s\n", trap->name, trap->access,
              (unsigned long long)trap->address, task_name());
    else
        print("mirari: crash: %s in task %s\n", trap->name, task_name());
    mir__arch_console_write(trap->registers, mir_str_len(trap->registers));
    print_frames(trap->frame);
    end();
}

/* An assertion: the text, then who called. */
void mir_platform_abort(const char *text)
{
    begin();
    print("mirari: %s\n", text);
    print("mirari: in task %s\n", task_name());
    print_frames(mir__arch_frame());
    end();
}

/* What the compiler's check of the canary calls. */
MIR_NORETURN void __stack_chk_fail(void);
void __stack_chk_fail(void)
{
    mir_platform_abort("crash: a buffer on the stack was written beyond its end");
}

void mir__crash_init(struct mir_app *app, struct mir_loop *loop)
{
    crash_app = app;
    crash_loop = loop;
}
