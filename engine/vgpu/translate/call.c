/* How generated code calls C: through code that saves every register, so that a call which is almost never made costs
 * the code around it no registers. LLVM sees one instruction that changes rax and memory. */
#include "engine/vgpu/translate/runtime.h"

#if defined(__x86_64__)
/* Both: rdi = struct warp *; keeps all registers but rax; the stack may have any alignment. rbp holds the way back. */
#define SAVE_GENERAL                  \
  "  pushq %rbp\n  movq %rsp, %rbp\n" \
  "  pushq %rcx\n  pushq %rdx\n  pushq %rsi\n  pushq %rdi\n  pushq %r8\n  pushq %r9\n  pushq %r10\n  pushq %r11\n"
#define RESTORE_GENERAL                                                                                           \
  "  leaq -64(%rbp), %rsp\n"                                                                                      \
  "  popq %r11\n  popq %r10\n  popq %r9\n  popq %r8\n  popq %rdi\n  popq %rsi\n  popq %rdx\n  popq %rcx\n  popq " \
  "%rbp\n"                                                                                                        \
  "  ret\n"

__asm__("  .text\n  .p2align 4\n  .type translated_call_avx512, @function\ntranslated_call_avx512:\n" SAVE_GENERAL
        "  andq $-64, %rsp\n  subq $2112, %rsp\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, "
        "27, 28, 29, 30, 31\n"
        "  vmovups %zmm\\n, 64*\\n(%rsp)\n  .endr\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7\n  kmovq %k\\n, 2048+8*\\n(%rsp)\n  .endr\n"
        "  vzeroupper\n  call translated_serve\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, "
        "27, 28, 29, 30, 31\n"
        "  vmovups 64*\\n(%rsp), %zmm\\n\n  .endr\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7\n  kmovq 2048+8*\\n(%rsp), %k\\n\n  .endr\n" RESTORE_GENERAL
        "  .size translated_call_avx512, .-translated_call_avx512\n"
        "  .p2align 4\n  .type translated_call_avx2, @function\ntranslated_call_avx2:\n" SAVE_GENERAL
        "  andq $-64, %rsp\n  subq $512, %rsp\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n  vmovups %ymm\\n, 32*\\n(%rsp)\n  .endr\n"
        "  vzeroupper\n  call translated_serve\n"
        "  .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n  vmovups 32*\\n(%rsp), %ymm\\n\n  "
        ".endr\n" RESTORE_GENERAL "  .size translated_call_avx2, .-translated_call_avx2\n");

void translated_call_avx512(void);
void translated_call_avx2(void);

translated_entry translated_call(bool avx512) { return avx512 ? translated_call_avx512 : translated_call_avx2; }
#else
translated_entry translated_call(bool avx512) {
  (void)avx512;
  return NULL;
}
#endif
