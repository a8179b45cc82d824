/* The order in which machine code stands, for processors that have sixteen vector registers of eight numbers. */
#ifndef VGPU_TRANSLATE_ORDER_H
#define VGPU_TRANSLATE_ORDER_H

#include <llvm-c/Core.h>
#include <stdbool.h>

/* Names of blocks that begin so are loops whose instructions stand as they should. */
#define ORDER_LOOP "strips"

/* Orders the instructions of a module that is otherwise done. Nothing else changes. */
void order_instructions(LLVMModuleRef module);

#endif
