/* The virtual GPU: the CUDA driver API over a CPU executor of PTX. This header is all that the rest of the engine sees.
 */
#ifndef VGPU_VGPU_H
#define VGPU_VGPU_H

/* The virtual GPU's implementation of a driver-API function, by its exported name and version ("cuMemAlloc_v2"); NULL
 * if there is none. cuInit and the others can be called through the result; no other set-up is needed. Environment:
 * NOPROP_VGPU_THREADS (CPU threads, default all), NOPROP_VGPU_EXECUTOR = interpret | translate | auto (default auto:
 * translated machine code where LLVM is present, the interpreter meanwhile and elsewhere; both give the same bits; a
 * line on standard error names each kernel that stays with the interpreter, and why),
 * NOPROP_VGPU_INSTRUCTIONS = avx512 | avx2 | baseline (the most that is used of the CPU's vector instructions; baseline
 * has no machine code; default: what the CPU has), NOPROP_VGPU_CAPABILITY = 75..120 (default 86),
 * NOPROP_VGPU_LIMIT_SECONDS (a launch that takes longer is ended with an error; default: none), NOPROP_VGPU_MODE = run
 * | check | fuzz | count (default run; the others observe or disturb each step of a kernel, much slower: observe.h;
 * with settings of their own, fuzz.h and count.h), NOPROP_VGPU_MESSAGES=1 (the reason of every failing call goes to
 * standard error, for programs that cannot ask). A value that means nothing is an error of cuInit. */
void *vgpu_symbol(const char *name);

/* One line about the executor in use: "2 CPU threads, AVX-512, LLVM 14". */
const char *vgpu_description(void);

/* Launches so far that the interpreter did while machine code for them was not there yet but may come. Benchmarks wait
 * until this stays the same: then every kernel runs as it will for good. */
unsigned long long vgpu_interim_launches(void);

/* What the virtual GPU has to say about this thread's last failing call, beyond its error code: the refused PTX line,
 * the address and block of a fault, the limit a launch exceeds. "" if nothing. Valid until the thread's next failing
 * call. */
const char *vgpu_last_message(void);

/* How often mode `check` has found something wrong in a kernel or in the use of memory (check.h); each kind and line is
 * reported once, on standard error or in the file that NOPROP_VGPU_REPORT names. */
unsigned long long vgpu_findings(void);

/* Ends the kernels that run now, or the next one if none does, as a fault would: their contexts are of no use after
 * that. For handlers of signals (Ctrl-C): may be called in one. It takes milliseconds: loops look for it. */
void vgpu_cancel(void);

#endif
