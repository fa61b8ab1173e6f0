/* SPDX-License-Identifier: ISC */
/* The inner loop of the Internet checksum with AVX2, for hosted targets: kernels may not touch
 * vector registers, so nothing in lib/ uses it unless a target asks (mir__csum_use).
 *
 * uint64_t mir__csum_blocks_simd(const uint8_t *data, size_t blocks)
 *
 *   rdi  data, any alignment      rsi  number of 128-byte blocks, at least 1
 *   rax  their sum as 32-bit words
 *
 * As in csum.c: ymm0 and ymm2 are sums of 64-bit words, whose carries are lost, ymm1 and ymm3 of
 * their high halves, which lose none; the low halves are what the first lack of the second.
 *
 * int mir__csum_has_simd(void): does this processor have it, and its system save the registers?
 */
    .text
    .globl mir__csum_blocks_simd
    .type mir__csum_blocks_simd, @function
mir__csum_blocks_simd:
    .cfi_startproc
    vpxor %ymm0, %ymm0, %ymm0
    vpxor %ymm1, %ymm1, %ymm1
    vpxor %ymm2, %ymm2, %ymm2
    vpxor %ymm3, %ymm3, %ymm3
1:
    vmovdqu (%rdi), %ymm4
    vmovdqu 32(%rdi), %ymm5
    vmovdqu 64(%rdi), %ymm6
    vmovdqu 96(%rdi), %ymm7
    vpaddq %ymm4, %ymm0, %ymm0
    vpsrlq $32, %ymm4, %ymm4
    vpaddq %ymm5, %ymm2, %ymm2
    vpsrlq $32, %ymm5, %ymm5
    vpaddq %ymm4, %ymm1, %ymm1
    vpaddq %ymm5, %ymm3, %ymm3
    vpaddq %ymm6, %ymm0, %ymm0
    vpsrlq $32, %ymm6, %ymm6
    vpaddq %ymm7, %ymm2, %ymm2
    vpsrlq $32, %ymm7, %ymm7
    vpaddq %ymm6, %ymm1, %ymm1
    vpaddq %ymm7, %ymm3, %ymm3
    subq $-128, %rdi
    decq %rsi
    jnz 1b

    vpaddq %ymm2, %ymm0, %ymm0
    vpaddq %ymm3, %ymm1, %ymm1
    vpsllq $32, %ymm1, %ymm2
    vpsubq %ymm2, %ymm0, %ymm0          /* low halves */
    vpaddq %ymm1, %ymm0, %ymm0          /* and high ones */
    vextracti128 $1, %ymm0, %xmm1
    vpaddq %xmm1, %xmm0, %xmm0
    vpshufd $0x4e, %xmm0, %xmm1
    vpaddq %xmm1, %xmm0, %xmm0
    vmovq %xmm0, %rax
    vzeroupper
    ret
    .cfi_endproc
    .size mir__csum_blocks_simd, . - mir__csum_blocks_simd

    .globl mir__csum_has_simd
    .type mir__csum_has_simd, @function
mir__csum_has_simd:
    .cfi_startproc
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    xorl %eax, %eax
    cpuid
    cmpl $7, %eax
    jb 2f
    movl $1, %eax
    xorl %ecx, %ecx
    cpuid
    andl $0x18000000, %ecx              /* OSXSAVE, AVX */
    cmpl $0x18000000, %ecx
    jne 2f
    xorl %ecx, %ecx
    xgetbv
    andl $6, %eax                       /* xmm and ymm are saved */
    cmpl $6, %eax
    jne 2f
    movl $7, %eax
    xorl %ecx, %ecx
    cpuid
    movl %ebx, %eax
    shrl $5, %eax                       /* AVX2 */
    andl $1, %eax
    jmp 3f
2:
    xorl %eax, %eax
3:
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    ret
    .cfi_endproc
    .size mir__csum_has_simd, . - mir__csum_has_simd

    .section .note.GNU-stack, "", @progbits
