/* SPDX-License-Identifier: ISC */
/* Checks and runs programs of the classic BSD packet filter.
 *
 *   accumulator A, index X, 16 words of memory, the frame      code = class | size or operation |
 *   jumps go forward only, the last instruction returns                mode or source
 *
 * So a checked program of n instructions ends after at most n steps. A load beyond the frame, or a
 * division by an X of zero, ends it with "not wanted". Frames may be in pieces: a load copies its
 * few bytes.
 */
#include "lib/wire/bpf.h"

#include <mirari/bytes.h>

enum { LD, LDX, ST, STX, ALU, JMP, RET, MISC };
enum { IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xa0 };
enum { WORD = 0x00, HALF = 0x08, BYTE = 0x10 };
enum { ADD = 0x00, SUB = 0x10, MUL = 0x20, DIV = 0x30, OR = 0x40, AND = 0x50 };
enum { LSH = 0x60, RSH = 0x70, NEG = 0x80, MOD = 0x90, XOR = 0xa0 };
enum { JA = 0x00, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40 };
enum { SOURCE_X = 0x08, RET_A = 0x10, TAX = 0x00, TXA = 0x80 };
#define WORDS 16u

struct machine {
    uint32_t a, x;
    uint32_t memory[WORDS];
    const struct mir_buf *buf;
};

/* ---- checking -------------------------------------------------------------------------------- */

static bool is_load(uint16_t code)
{
    unsigned mode = code & 0xe0, size = code & 0x18;
    if ((code & 7) == LDX)
        return mode == MSH ? size == BYTE
                           : size == WORD && mode <= LEN && mode != ABS && mode != IND;
    if (mode == ABS || mode == IND)
        return size != 0x18;
    return size == WORD && mode != MSH && mode <= LEN;
}

static bool is_good(const struct mir__bpf *i, uint32_t left)
{
    unsigned operation = i->code & 0xf0;
    bool is_from_x = i->code & SOURCE_X;
    switch (i->code & 7) {
    case LD:
    case LDX:
        return i->code < 0x100 && is_load(i->code) && ((i->code & 0xe0) != MEM || i->k < WORDS);
    case ST:
    case STX:
        return i->code < 8 && i->k < WORDS;
    case ALU:
        if (operation > XOR || i->code > 0xff)
            return false;
        if ((operation == DIV || operation == MOD) && !is_from_x)
            return i->k != 0;
        return (operation != LSH && operation != RSH) || is_from_x || i->k < 32;
    case JMP:
        if (operation == JA)
            return i->code == JMP && i->k < left;
        return operation <= JSET && i->code <= 0xff && i->jump_true < left && i->jump_false < left;
    case RET:
        return i->code == RET || i->code == (RET | RET_A);
    default:
        return i->code == (MISC | TAX) || i->code == (MISC | TXA);
    }
}

int mir__bpf_check(const struct mir__bpf *program, uint32_t count)
{
    if (count == 0 || count > MIR__BPF_MAX || (program[count - 1].code & 7) != RET)
        return -MIR_EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_good(&program[i], count - 1 - i))
            return -MIR_EINVAL;
    }
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Bytes of the frame; false: it is shorter. */
static bool load(const struct machine *m, uint64_t offset, unsigned size, uint32_t *value)
{
    uint8_t bytes[4];
    uint32_t len = size == BYTE ? 1 : size == HALF ? 2 : 4;
    if (offset + len > mir_buf_total(m->buf) ||
        mir_buf_copy_out(m->buf, (uint32_t)offset, bytes, len) < 0)
        return false;
    *value = size == BYTE ? bytes[0] : size == HALF ? mir_get_be16(bytes) : mir_get_be32(bytes);
    return true;
}

static bool run_load(struct machine *m, const struct mir__bpf *i)
{
    uint32_t value = 0;
    bool is_there = true;
    switch (i->code & 0xe0) {
    case IMM:
        value = i->k;
        break;
    case ABS:
        is_there = load(m, i->k, i->code & 0x18, &value);
        break;
    case IND:
        is_there = load(m, (uint64_t)m->x + i->k, i->code & 0x18, &value);
        break;
    case MEM:
        value = m->memory[i->k];
        break;
    case LEN:
        value = mir_buf_total(m->buf);
        break;
    default: /* MSH: length of an IPv4 header */
        is_there = load(m, i->k, BYTE, &value);
        value = (value & 15) * 4;
        break;
    }
    *((i->code & 7) == LD ? &m->a : &m->x) = value;
    return is_there;
}

static bool run_alu(struct machine *m, const struct mir__bpf *i)
{
    uint32_t b = i->code & SOURCE_X ? m->x : i->k;
    unsigned operation = i->code & 0xf0;
    if ((operation == DIV || operation == MOD) && b == 0)
        return false;
    switch (operation) {
    case ADD:
        m->a += b;
        break;
    case SUB:
        m->a -= b;
        break;
    case MUL:
        m->a *= b;
        break;
    case DIV:
        m->a /= b;
        break;
    case MOD:
        m->a %= b;
        break;
    case OR:
        m->a |= b;
        break;
    case AND:
        m->a &= b;
        break;
    case XOR:
        m->a ^= b;
        break;
    case LSH:
        m->a = b < 32 ? m->a << b : 0;
        break;
    case RSH:
        m->a = b < 32 ? m->a >> b : 0;
        break;
    default:
        m->a = 0u - m->a;
        break;
    }
    return true;
}

/* Instructions to skip. */
static uint32_t run_jump(const struct machine *m, const struct mir__bpf *i)
{
    uint32_t b = i->code & SOURCE_X ? m->x : i->k;
    bool is_true = false;
    switch (i->code & 0xf0) {
    case JA:
        return i->k;
    case JEQ:
        is_true = m->a == b;
        break;
    case JGT:
        is_true = m->a > b;
        break;
    case JGE:
        is_true = m->a >= b;
        break;
    default:
        is_true = (m->a & b) != 0;
        break;
    }
    return is_true ? i->jump_true : i->jump_false;
}

uint32_t mir__bpf_run(const struct mir__bpf *program, const struct mir_buf *buf)
{
    struct machine m = {.buf = buf};
    bool goes_on = true;
    const struct mir__bpf *i = program;
    for (; goes_on && (i->code & 7) != RET; i++) {
        switch (i->code & 7) {
        case LD:
        case LDX:
            goes_on = run_load(&m, i);
            break;
        case ST:
            m.memory[i->k] = m.a;
            break;
        case STX:
            m.memory[i->k] = m.x;
            break;
        case ALU:
            goes_on = run_alu(&m, i);
            break;
        case JMP:
            i += run_jump(&m, i);
            break;
        default:
            *(i->code & TXA ? &m.a : &m.x) = i->code & TXA ? m.x : m.a;
            break;
        }
    }
    if (!goes_on)
        return 0;
    return i->code & RET_A ? m.a : i->k;
}
