/* SPDX-License-Identifier: ISC */
/* Packet filters: programs of the classic BSD packet filter, as pcap_compile() makes them. Not
 * public.
 *
 * Source  McCanne and Jacobson, "The BSD Packet Filter", USENIX 1993, section 3.1 and table 1
 */
#ifndef LIB_WIRE_BPF_H
#define LIB_WIRE_BPF_H

#include <mirari/page.h>

#define MIR__BPF_MAX 512u /* instructions of one program */

struct mir__bpf {
    uint16_t code;
    uint8_t jump_true, jump_false;
    uint32_t k;
};

/** Is it a program that ends and stays within its memory? Returns 0, -MIR_EINVAL. */
int mir__bpf_check(const struct mir__bpf *program, uint32_t count) MIR_CHECK;
/** Run a checked program on a frame. Returns how many bytes of it are wanted; 0: none. */
uint32_t mir__bpf_run(const struct mir__bpf *program, const struct mir_buf *buf);

#endif
