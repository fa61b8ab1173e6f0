/* SPDX-License-Identifier: ISC */
/* Exceptions of the CPU: what happened, in words, for the crash report; and call chains.
 *
 * All but two are the end: a stack that grows (a page fault in the space for stacks, not in a guard
 * page: the target puts a page there), and the instruction by which power.c asks a debugger or QEMU
 * to take the exit status, if nobody took it.
 *
 * Call chains follow frame records (x29 points at the caller's x29 and the return address):
 * everything is compiled with them.
 */
#include <mirari/format.h>

#include "target/virt/aarch64/internal.h"

#define TEXT_MAX  1024u
#define ESR_WRITE (1u << 6)

/* As vectors.S stores it. */
struct trap_frame {
    uint64_t x[31], sp, pc, pstate, esr, far;
    uint64_t vectors[64], fpsr, fpcr;
};

void mir__trap(uint64_t number, struct trap_frame *f);

/* The four of each group in vectors.S. */
enum { VECTOR_EXCEPTION = 0, VECTOR_SYSTEM = 3 };
enum { CLASS_UNKNOWN = 0x00, CLASS_CALL_ABORT = 0x21, CLASS_DATA_ABORT = 0x25 };

/* Where a call to an address without code came from: the link register then. */
static uintptr_t lost_caller;

static unsigned class_of(const struct trap_frame *f)
{
    return f->esr >> 26 & 0x3f;
}

static bool is_abort(unsigned class)
{
    return class == CLASS_CALL_ABORT || class == CLASS_DATA_ABORT;
}

/* ESR_ELx.EC, D17.2.37 of the Architecture Reference Manual. */
static const char *class_name(unsigned class)
{
    switch (class) {
    case CLASS_UNKNOWN:
        return "undefined instruction";
    case 0x07:
        return "floating point is off";
    case 0x0d:
        return "branch target exception";
    case 0x0e:
        return "illegal execution state";
    case 0x18:
        return "access to a system register";
    case 0x1c:
        return "pointer authentication failure";
    case CLASS_CALL_ABORT:
    case CLASS_DATA_ABORT:
        return "page fault";
    case 0x22:
        return "misaligned program counter";
    case 0x26:
        return "misaligned stack pointer";
    case 0x2c:
        return "floating-point exception";
    case 0x2f:
        return "system error";
    case 0x3c:
        return "trap instruction";
    default:
        return "exception";
    }
}

/* ISS.DFSC: what was wrong with the address. */
static const char *fault_name(unsigned class, uint64_t esr)
{
    unsigned status = esr & 0x3f;
    if (!is_abort(class))
        return class_name(class);
    if (status >= 0x0c && status <= 0x0f)
        return "protection fault";
    if (status == 0x21)
        return "alignment fault";
    if (status == 0x10)
        return "bus error";
    return class_name(class);
}

static const char *format_registers(const struct trap_frame *f)
{
    static char text[TEXT_MAX];
    typedef unsigned long long u;
    size_t len = mir_format(text, TEXT_MAX,
                            "mirari:   pc %llx sp %llx lr %llx pstate %llx esr %llx far %llx",
                            (u)f->pc, (u)f->sp, (u)f->x[30], (u)f->pstate, (u)f->esr, (u)f->far);
    for (unsigned i = 0; i < 30 && len < TEXT_MAX; i++)
        len += mir_format(text + len, TEXT_MAX - len, "%sx%u %llx",
                          i % 6 == 0 ? "\nmirari:   " : " ", i, (u)f->x[i]);
    if (len + 1 < TEXT_MAX)
        mir_format(text + len, TEXT_MAX - len, "\n");
    return text;
}

/* A page fault in the space for stacks, not in a guard page, is how a stack grows. */
static bool is_growing(const struct trap_frame *f)
{
    static bool is_inside;
    unsigned status = f->esr & 0x3f;
    if (class_of(f) != CLASS_DATA_ABORT || status < 0x04 || status > 0x07 || is_inside)
        return false;
    is_inside = true;
    bool is_grown = mir__stacks_grow(f->far);
    is_inside = false;
    return is_grown;
}

MIR_NORETURN static void crash(uint64_t number, const struct trap_frame *f)
{
    static unsigned depth;
    unsigned class = class_of(f);
    /* An exception of the report ends with what was already said. */
    if (depth++ > 0)
        mir__arch_exit(MIR__EXIT_CRASH);
    struct mir__trap trap = {
        .name = number % 4 == VECTOR_EXCEPTION ? fault_name(class, f->esr)
                : number % 4 == VECTOR_SYSTEM  ? "system error"
                                               : "interrupt nobody asked for",
        .frame = {.pc = f->pc, .frame = f->x[29], .sp = f->sp},
        .registers = format_registers(f),
    };
    if (number % 4 == VECTOR_EXCEPTION && is_abort(class)) {
        trap.has_address = true;
        trap.address = f->far;
        trap.access = class == CLASS_CALL_ABORT ? "call of"
                      : f->esr & ESR_WRITE      ? "write to"
                                                : "read of";
    }
    lost_caller = f->x[30];
    mir__crash(&trap);
}

void mir__trap(uint64_t number, struct trap_frame *f)
{
    if (number == VECTOR_EXCEPTION && class_of(f) == CLASS_UNKNOWN &&
        mir__semihosting_refused(f->pc, &f->pc))
        return;
    if (number != VECTOR_EXCEPTION || !is_growing(f))
        crash(number, f);
}

void mir__traps_open(void)
{
    mir__write_sysreg(vbar_el1, (uintptr_t)mir__vectors);
    mir__isb();
    /* System errors are let in: they mean that the machine is broken. */
    __asm__ volatile("msr daifclr, #4" : : : "memory");
}

/* ---- call chains ----------------------------------------------------------------------------- */

struct mir__frame mir__arch_frame(void)
{
    const uintptr_t *own = __builtin_frame_address(0);
    return (struct mir__frame){.pc = own[1] - 1, .frame = own[0], .sp = own[0]};
}

bool mir__arch_unwind(struct mir__frame *frame, uintptr_t low, uintptr_t high)
{
    uintptr_t at = frame->frame;
    /* A call to where nothing is: the caller's frame is still current. */
    if (mir__arch_image_address(frame->pc) == 0 && mir__arch_image_address(lost_caller) != 0) {
        frame->pc = lost_caller - 1;
        lost_caller = 0;
        return true;
    }
    if (at < low || at % 16 != 0 || at > high || high - at < 16)
        return false;
    uintptr_t next = ((const uintptr_t *)at)[0], back = ((const uintptr_t *)at)[1];
    if (back == 0)
        return false;
    *frame = (struct mir__frame){.pc = back - 1, .frame = next > at ? next : 0, .sp = at + 16};
    return true;
}
