/* SPDX-License-Identifier: ISC */
/* Segments, the interrupt table, and what happens on an exception of the CPU.
 *
 * Every exception runs on a stack of its own (the task state segment's IST), because the one in use
 * may be what is wrong: it may be used up, or its pointer may be nonsense. A double fault, a
 * non-maskable interrupt and a machine check each have another one again, since they can come while
 * the first is in use.
 *
 * A page fault in the space for stacks, not in a guard page, is how a stack grows: the target puts
 * a page there (stacks.c) and the task goes on. Vector registers are saved around that. Every other
 * exception is a crash: names, registers and the call chain are printed and the machine ends with
 * the crash status. A non-maskable interrupt (`nmi` on QEMU's monitor) does the same: it shows
 * where an appliance hangs.
 *
 * Compiled without vector registers.
 */
#include <mirari/format.h>

#include "target/virt/x86_64/internal.h"

enum {
    EXCEPTION_NMI = 2,
    EXCEPTION_DOUBLE = 8,
    EXCEPTION_PAGE = 14,
    EXCEPTION_CHECK = 18,
};

#define PAGE_WRITE 2u
#define PAGE_FETCH 16u

#define GATE_INTERRUPT 0x8e00u /* present, ring 0, interrupts off */
#define TSS_AVAILABLE  0x0000890000000000ull

struct gate {
    uint16_t offset_low, selector, bits, offset_middle;
    uint32_t offset_high, reserved;
};

/* Intel SDM volume 3, figure 8-11. */
struct task_state {
    uint32_t reserved0;
    uint32_t stacks[6]; /* rsp0 .. rsp2, as halves: the structure is not aligned to 8 */
    uint32_t reserved1[2];
    uint32_t ist[14]; /* ist1 .. ist7 */
    uint32_t reserved2[2];
    uint16_t reserved3, io_map;
};
_Static_assert(sizeof(struct task_state) == 104, "as the CPU has it");

struct pseudo_descriptor {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

extern const uint8_t mir__stubs[];

static struct gate gates[MIR__EXCEPTIONS + MIR__INTERRUPTS];
static struct task_state task_state;
static uint64_t segments[] = {0, MIR__DESCRIPTOR_CODE, MIR__DESCRIPTOR_DATA, 0, 0};

static unsigned ist_of(unsigned vector)
{
    switch (vector) {
    case EXCEPTION_DOUBLE:
        return 2;
    case EXCEPTION_NMI:
        return 3;
    case EXCEPTION_CHECK:
        return 4;
    default:
        return vector < MIR__EXCEPTIONS ? 1 : 0;
    }
}

static void set_up_segments(void)
{
    uint64_t base = (uintptr_t)&task_state;
    for (unsigned i = 0; i < MIR__TRAP_STACKS; i++) {
        uint64_t high = (uintptr_t)mir__stacks + MIR__STACK_TRAP_HIGH(i);
        task_state.ist[2 * i] = (uint32_t)high;
        task_state.ist[2 * i + 1] = (uint32_t)(high >> 32);
    }
    task_state.io_map = sizeof task_state;
    segments[3] = TSS_AVAILABLE | (sizeof task_state - 1) | (base & 0xffffff) << 16 |
                  (base >> 24 & 0xff) << 56;
    segments[4] = base >> 32;
    struct pseudo_descriptor all = {sizeof segments - 1, (uintptr_t)segments};
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(all), "r"(MIR__SELECTOR_TSS) : "memory");
}

void mir__traps_open(void)
{
    set_up_segments();
    for (unsigned i = 0; i < MIR_ARRAY_LEN(gates); i++) {
        uint64_t stub = (uintptr_t)mir__stubs + 16 * i;
        gates[i] = (struct gate){
            .offset_low = (uint16_t)stub,
            .selector = MIR__SELECTOR_CODE,
            .bits = (uint16_t)(GATE_INTERRUPT | ist_of(i)),
            .offset_middle = (uint16_t)(stub >> 16),
            .offset_high = (uint32_t)(stub >> 32),
        };
    }
    struct pseudo_descriptor all = {sizeof gates - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(all));
}

/* ---- exceptions ------------------------------------------------------------------------------ */

static const char *name_of(uint64_t vector)
{
    static const char names[MIR__EXCEPTIONS][20] = {
        "division by zero", "debug trap",
        "non-maskable irq", "breakpoint",
        "overflow",         "bound",
        "bad instruction",  "no coprocessor",
        "double fault",     "",
        "bad task state",   "no segment",
        "stack segment",    "protection fault",
        "page fault",       "",
        "x87 arithmetic",   "misaligned access",
        "machine check",    "vector arithmetic",
        "virtualisation",   "control flow",
    };
    return names[vector][0] != '\0' ? names[vector] : "unknown exception";
}

static const char *format_registers(const struct mir__trap_registers *r)
{
    static char text[640];
    typedef unsigned long long u;
    mir_format(text, sizeof text,
               "mirari:   rip %llx rsp %llx rbp %llx rax %llx rbx %llx rcx %llx\n"
               "mirari:   rdx %llx rsi %llx rdi %llx r8 %llx r9 %llx r10 %llx\n"
               "mirari:   r11 %llx r12 %llx r13 %llx r14 %llx r15 %llx\n"
               "mirari:   flags %llx cr2 %llx error %llx vector %llu\n",
               (u)r->rip, (u)r->rsp, (u)r->rbp, (u)r->rax, (u)r->rbx, (u)r->rcx, (u)r->rdx,
               (u)r->rsi, (u)r->rdi, (u)r->r8, (u)r->r9, (u)r->r10, (u)r->r11, (u)r->r12, (u)r->r13,
               (u)r->r14, (u)r->r15, (u)r->flags, (u)mir__read_cr2(), (u)r->error, (u)r->vector);
    return text;
}

MIR_NORETURN static void crash(const struct mir__trap_registers *r, uintptr_t address)
{
    struct mir__trap trap = {
        .name = name_of(r->vector),
        .registers = format_registers(r),
        .frame = {.pc = r->rip, .frame = r->rbp, .sp = r->rsp},
    };
    if (r->vector == EXCEPTION_PAGE) {
        trap.has_address = true;
        trap.address = address;
        trap.access = r->error & PAGE_FETCH   ? "call of"
                      : r->error & PAGE_WRITE ? "write to"
                                              : "read of";
    }
    mir__crash(&trap);
}

void mir__trap_enter(const struct mir__trap_registers *r)
{
    static uint8_t vectors[512] MIR_ALIGNED(16);
    static bool is_growing;
    uintptr_t address = mir__read_cr2();
    if (r->vector != EXCEPTION_PAGE || (r->error & PAGE_FETCH) || is_growing)
        crash(r, address);
    __asm__ volatile("fxsave64 %0" : "=m"(vectors));
    is_growing = true;
    bool is_grown = mir__stacks_grow(address);
    is_growing = false;
    if (!is_grown)
        crash(r, address);
    __asm__ volatile("fxrstor64 %0" : : "m"(vectors));
}

/* ---- call chains ----------------------------------------------------------------------------- */

struct mir__frame mir__arch_frame(void)
{
    const uintptr_t *frame = __builtin_frame_address(0);
    return (struct mir__frame){.pc = frame[1] - 1, .frame = frame[0], .sp = (uintptr_t)(frame + 2)};
}

bool mir__arch_unwind(struct mir__frame *frame, uintptr_t low, uintptr_t high)
{
    const uintptr_t *at = (const uintptr_t *)frame->frame;
    /* A call to where nothing is: the caller's address is still on the stack, its frame current. */
    if (mir__arch_image_address(frame->pc) == 0 && frame->sp >= low && frame->sp + 8 <= high &&
        frame->sp % 8 == 0) {
        uintptr_t back = *(const uintptr_t *)frame->sp;
        frame->sp += 8;
        if (mir__arch_image_address(back) != 0) {
            frame->pc = back - 1;
            return true;
        }
    }
    if (frame->frame < low || frame->frame + 16 > high || frame->frame % 8 != 0 || at[1] == 0)
        return false;
    bool is_deeper = at[0] > frame->frame;
    frame->pc = at[1] - 1;
    frame->sp = frame->frame + 16;
    frame->frame = is_deeper ? at[0] : 0;
    return true;
}
