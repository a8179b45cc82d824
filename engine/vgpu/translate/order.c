/* The order of a block's instructions: see order.h.
 *
 * Code that computes one function of many numbers (activations) comes as one chain of dependent operations after the
 * other. A processor looks some 60 waiting vector operations ahead: two or three such chains, which keep its units busy
 * a third of the time. So CHAINS of them go in step here: their first operations, their second, and so on. As many as
 * need two registers each, beside what they share, out of sixteen. */
#include "engine/vgpu/translate/order.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  CHAINS = 4,
  CHAIN_LEAST = 6,    /* operations; fewer belong to the chain before */
  LATENCY_LEAST = 24, /* cycles of the longest chain; shorter ones overlap without help */
  VECTORS_LEAST = 48, /* vector operations of a region that is worth it */
  REGION_MOST = 6000, /* instructions: the time taken grows with the square of loads and stores */
  CONSTANTS_MOST = 32
};

struct node {
  LLVMValueRef value;
  uint32_t *users; /* numbers of nodes that must come later */
  uint32_t user_count, user_room, missing;
  uint32_t chain, due, depth; /* cycles */
  bool has_reader;
};

struct region {
  struct node *nodes;
  uint32_t count, room;
  struct {
    LLVMValueRef value;
    uint32_t number;
  } * table; /* from values to nodes; open addressing */
  uint32_t table_size;
  LLVMModuleRef module;
  unsigned alias_kind, invariant_kind;
  bool failed;
};

static uint32_t place_of(const struct region *region, LLVMValueRef value) {
  uint32_t at = (uint32_t)(((uintptr_t)value >> 4) * 2654435761u) & (region->table_size - 1);
  while (region->table[at].value && region->table[at].value != value) at = (at + 1) & (region->table_size - 1);
  return at;
}

static void add_user(struct region *region, uint32_t from, uint32_t to) {
  struct node *node = &region->nodes[from];
  if (from == to || (node->user_count > 0 && node->users[node->user_count - 1] == to)) return;
  if (node->user_count == node->user_room) {
    const uint32_t room = node->user_room ? 2 * node->user_room : 4;
    uint32_t *users = realloc(node->users, room * sizeof *users);
    if (!users) {
      region->failed = true;
      return;
    }
    node->users = users;
    node->user_room = room;
  }
  node->users[node->user_count++] = to;
  region->nodes[to].missing++;
}

static uint32_t latency(LLVMValueRef value) {
  switch (LLVMGetInstructionOpcode(value)) {
    case LLVMFDiv:
      return 11;
    case LLVMFAdd:
    case LLVMFSub:
      return 3;
    case LLVMFMul:
    case LLVMCall:
      return 4;
    case LLVMLoad: /* where its value is used, as the operand of an instruction */
    case LLVMBitCast:
    case LLVMIntToPtr:
    case LLVMGetElementPtr:
      return 0;
    default:
      return 1;
  }
}

static bool is_vector(LLVMValueRef value) {
  const LLVMTypeRef type = LLVMTypeOf(value);
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind && LLVMGetVectorSize(type) == 8 && latency(value) > 1;
}

/* Whether nothing may pass the instruction. */
static bool is_boundary(LLVMValueRef instruction) {
  switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMCall: {
      size_t length;
      const char *name = LLVMGetValueName2(LLVMGetCalledValue(instruction), &length);
      return length < 9 || (strncmp(name, "llvm.fma.", 9) != 0 && strncmp(name, "llvm.sqrt", 9) != 0);
    }
    case LLVMLoad:
    case LLVMStore:
      return LLVMGetVolatile(instruction) || LLVMGetOrdering(instruction) != LLVMAtomicOrderingNotAtomic;
    case LLVMAlloca:
    case LLVMPHI:
    case LLVMFence:
    case LLVMAtomicRMW:
    case LLVMAtomicCmpXchg:
    case LLVMInvoke:
      return true;
    default:
      return false;
  }
}

/* Kinds of memory that do not overlap: what an access says, or the stack. NULL: any. */
static const void *memory_of(const struct region *region, LLVMValueRef access) {
  LLVMValueRef address = LLVMGetOperand(access, LLVMGetInstructionOpcode(access) == LLVMStore ? 1 : 0);
  if (LLVMIsAAllocaInst(address)) return "stack";
  LLVMValueRef scope = LLVMGetMetadata(access, region->alias_kind);
  return scope ? (const void *)LLVMValueAsMetadata(scope) : NULL;
}

static void link_memory(struct region *region) {
  struct access {
    uint32_t number;
    bool stores;
    const void *memory;
  } *accesses = malloc(region->count * sizeof *accesses);
  uint32_t count = 0;
  if (!accesses) {
    region->failed = true;
    return;
  }
  for (uint32_t i = 0; i < region->count; i++) {
    LLVMValueRef value = region->nodes[i].value;
    const bool stores = LLVMGetInstructionOpcode(value) == LLVMStore;
    if (!stores && LLVMGetInstructionOpcode(value) != LLVMLoad) continue;
    const struct access access = {i, stores, memory_of(region, value)};
    for (uint32_t k = 0; k < count; k++) {
      const struct access *before = &accesses[k];
      if (!stores && !before->stores) continue;
      if (!access.memory || !before->memory || access.memory == before->memory) add_user(region, before->number, i);
    }
    accesses[count++] = access;
  }
  free(accesses);
}

static void link_operands(struct region *region) {
  for (uint32_t i = 0; i < region->count; i++) {
    LLVMValueRef value = region->nodes[i].value;
    const int operands = LLVMGetNumOperands(value);
    for (int k = 0; k < operands; k++) {
      const uint32_t at = place_of(region, LLVMGetOperand(value, (unsigned)k));
      if (!region->table[at].value) continue;
      const uint32_t from = region->table[at].number;
      add_user(region, from, i);
      region->nodes[from].has_reader = true;
      const uint32_t depth = region->nodes[from].depth + latency(region->nodes[from].value);
      if (depth > region->nodes[i].depth) region->nodes[i].depth = depth;
    }
  }
}

static const uint32_t NO_CHAIN = UINT32_MAX;

/* Everything that `from` needs and that has no chain yet. Returns how many that were. */
static uint32_t claim(struct region *region, uint32_t from, uint32_t chain, uint32_t *stack) {
  uint32_t height = 0, claimed = 0;
  if (region->nodes[from].chain != NO_CHAIN) return 0;
  region->nodes[from].chain = chain;
  stack[height++] = from;
  while (height > 0) {
    LLVMValueRef value = region->nodes[stack[--height]].value;
    claimed++;
    const int operands = LLVMGetNumOperands(value);
    for (int k = 0; k < operands; k++) {
      const uint32_t at = place_of(region, LLVMGetOperand(value, (unsigned)k));
      if (!region->table[at].value) continue;
      struct node *operand = &region->nodes[region->table[at].number];
      if (operand->chain != NO_CHAIN) continue;
      operand->chain = chain;
      stack[height++] = region->table[at].number;
    }
  }
  return claimed;
}

static void find_chains(struct region *region, uint32_t *stack) {
  uint32_t chain = 0;
  for (uint32_t i = 0; i < region->count; i++) region->nodes[i].chain = NO_CHAIN;
  for (uint32_t i = 0; i < region->count; i++) {
    if (region->nodes[i].has_reader) continue;
    if (claim(region, i, chain, stack) >= CHAIN_LEAST) chain++;
  }
}

/* When a node is due, from the start of its chain: as late as its chain's last one allows. */
static bool find_due(struct region *region) {
  uint32_t *length = calloc(region->count + 1, sizeof *length);
  if (!length) return false;
  for (uint32_t i = region->count; i-- > 0;) {
    struct node *node = &region->nodes[i];
    node->due = latency(node->value); /* the way to the end */
    for (uint32_t k = 0; k < node->user_count; k++) {
      const struct node *user = &region->nodes[node->users[k]];
      const uint32_t way = user->due + latency(node->value);
      if (user->chain == node->chain && way > node->due) node->due = way;
    }
    if (node->due > length[node->chain]) length[node->chain] = node->due;
  }
  for (uint32_t i = 0; i < region->count; i++)
    region->nodes[i].due = length[region->nodes[i].chain] - region->nodes[i].due;
  free(length);
  return true;
}

static bool is_before(const struct node *a, const struct node *b) {
  if (a->chain / CHAINS != b->chain / CHAINS) return a->chain < b->chain;
  if (a->due != b->due) return a->due < b->due;
  return a < b;
}

/* Fills order[]: numbers of nodes. */
static void arrange(struct region *region, uint32_t *open, uint32_t *order) {
  uint32_t open_count = 0, placed = 0;
  for (uint32_t i = 0; i < region->count; i++)
    if (region->nodes[i].missing == 0) open[open_count++] = i;
  while (open_count > 0) {
    uint32_t best = 0;
    for (uint32_t k = 1; k < open_count; k++)
      if (is_before(&region->nodes[open[k]], &region->nodes[open[best]])) best = k;
    const struct node *node = &region->nodes[open[best]];
    order[placed++] = open[best];
    open[best] = open[--open_count];
    for (uint32_t k = 0; k < node->user_count; k++)
      if (--region->nodes[node->users[k]].missing == 0) open[open_count++] = node->users[k];
  }
}

static bool is_worth_it(const struct region *region) {
  uint32_t vectors = 0, longest = 0;
  for (uint32_t i = 0; i < region->count; i++) {
    vectors += is_vector(region->nodes[i].value);
    if (region->nodes[i].depth > longest) longest = region->nodes[i].depth;
  }
  return vectors >= VECTORS_LEAST && longest >= LATENCY_LEAST;
}

/* A constant of the module with this value. */
static LLVMValueRef global_of(struct region *region, LLVMValueRef constant) {
  char name[40];
  snprintf(name, sizeof name, "constant.%p", (void *)constant);
  LLVMValueRef global = LLVMGetNamedGlobal(region->module, name);
  if (global) return global;
  global = LLVMAddGlobal(region->module, LLVMTypeOf(constant), name);
  LLVMSetInitializer(global, constant);
  LLVMSetGlobalConstant(global, 1);
  LLVMSetLinkage(global, LLVMPrivateLinkage);
  LLVMSetAlignment(global, 32);
  return global;
}

/* Whether an operand that is a constant may be anything else. */
static bool takes_variables(LLVMValueRef instruction) {
  switch (LLVMGetInstructionOpcode(instruction)) {
    case LLVMShuffleVector:
    case LLVMGetElementPtr:
    case LLVMShl: /* shifts by one number for all lanes are instructions of their own */
    case LLVMLShr:
    case LLVMAShr:
      return false;
    default:
      return true;
  }
}

/* Constants of eight lanes come from memory, by loads that LLVM repeats where registers are short. Left alone it
 * broadcasts them from one number and then keeps the results at any price. */
static void read_constants(struct region *region, LLVMBuilderRef builder) {
  LLVMContextRef context = LLVMGetModuleContext(region->module);
  LLVMValueRef none = LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, NULL, 0));
  LLVMValueRef from[CONSTANTS_MOST], to[CONSTANTS_MOST];
  unsigned known = 0;
  LLVMPositionBuilderBefore(builder, region->nodes[0].value);
  for (uint32_t i = 0; i < region->count; i++) {
    LLVMValueRef value = region->nodes[i].value;
    const int operands = takes_variables(value) ? LLVMGetNumOperands(value) : 0;
    for (int k = 0; k < operands; k++) {
      LLVMValueRef operand = LLVMGetOperand(value, (unsigned)k);
      const LLVMTypeRef type = LLVMTypeOf(operand);
      if (!LLVMIsAConstantDataVector(operand) || LLVMGetVectorSize(type) != 8) continue;
      unsigned at = 0;
      while (at < known && from[at] != operand) at++;
      if (at == CONSTANTS_MOST) continue;
      if (at == known) {
        from[known] = operand;
        to[known] = LLVMBuildLoad2(builder, type, global_of(region, operand), "");
        LLVMSetAlignment(to[known], 32);
        LLVMSetMetadata(to[known++], region->invariant_kind, none);
      }
      LLVMSetOperand(value, (unsigned)k, to[at]);
    }
  }
}

/* What LLVM's scheduler of machine code moves nothing across: a label for debuggers. It would take one chain after the
 * other again. */
static void mark(struct region *region, LLVMBuilderRef builder) {
  static const char name[] = "llvm.codeview.annotation";
  LLVMContextRef context = LLVMGetModuleContext(region->module);
  LLVMTypeRef argument = LLVMMetadataTypeInContext(context);
  LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(context), &argument, 1, 0);
  LLVMValueRef function = LLVMGetNamedFunction(region->module, name);
  if (!function) function = LLVMAddFunction(region->module, name, type);
  LLVMMetadataRef text = LLVMMDStringInContext2(context, "", 0);
  LLVMValueRef node = LLVMMetadataAsValue(context, LLVMMDNodeInContext2(context, &text, 1));
  LLVMBuildCall2(builder, type, function, &node, 1, "");
}

/* Orders what lies before `end`. */
static void order_region(struct region *region, LLVMValueRef end, LLVMBuilderRef builder) {
  const uint32_t count = region->count;
  if (count < VECTORS_LEAST || count > REGION_MOST) return;
  region->table_size = 64;
  while (region->table_size < 2 * count) region->table_size *= 2;
  region->table = calloc(region->table_size, sizeof *region->table);
  uint32_t *order = malloc(count * sizeof *order), *open = malloc(count * sizeof *open);
  if (!region->table || !order || !open) goto done; /* an order is there already */
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t at = place_of(region, region->nodes[i].value);
    region->table[at].value = region->nodes[i].value;
    region->table[at].number = i;
  }
  link_operands(region);
  if (!is_worth_it(region)) goto done;
  link_memory(region);
  find_chains(region, open);
  if (region->failed || !find_due(region)) goto done;
  read_constants(region, builder);
  arrange(region, open, order);
  for (uint32_t i = 0; i < count; i++) LLVMInstructionRemoveFromParent(region->nodes[i].value);
  LLVMPositionBuilderBefore(builder, end);
  for (uint32_t i = 0; i < count; i++) {
    if (i > 0 && region->nodes[order[i]].due != region->nodes[order[i - 1]].due) mark(region, builder);
    LLVMInsertIntoBuilder(builder, region->nodes[order[i]].value);
  }
done:
  free(region->table), free(order), free(open);
}

static void clear_region(struct region *region) {
  for (uint32_t i = 0; i < region->count; i++) free(region->nodes[i].users);
  region->count = 0;
  region->failed = false;
}

static void add_node(struct region *region, LLVMValueRef value) {
  if (region->count == region->room) {
    const uint32_t room = region->room ? 2 * region->room : 1024;
    struct node *nodes = realloc(region->nodes, room * sizeof *nodes);
    if (!nodes) {
      region->failed = true;
      return;
    }
    region->nodes = nodes;
    region->room = room;
  }
  region->nodes[region->count++] = (struct node){.value = value};
}

static void order_block(struct region *region, LLVMBasicBlockRef block, LLVMBuilderRef builder) {
  LLVMValueRef end = LLVMGetBasicBlockTerminator(block), next;
  for (LLVMValueRef at = LLVMGetFirstInstruction(block); at; at = next) {
    next = LLVMGetNextInstruction(at);
    if (at != end && !is_boundary(at)) {
      add_node(region, at);
      continue;
    }
    if (!region->failed) order_region(region, at, builder);
    clear_region(region);
  }
}

/* The first instruction after `value`, in its block, that uses it; NULL: none. */
static LLVMValueRef first_reader(LLVMValueRef value) {
  for (LLVMValueRef at = LLVMGetNextInstruction(value); at; at = LLVMGetNextInstruction(at)) {
    const int operands = LLVMGetNumOperands(at);
    for (int k = 0; k < operands; k++)
      if (LLVMGetOperand(at, (unsigned)k) == value) return at;
  }
  return NULL;
}

/* Whether a load's numbers are read by one shuffle of twice as many, which is one instruction with it. */
static bool is_repeated(LLVMValueRef load) {
  LLVMUseRef use = LLVMGetFirstUse(load);
  if (!use || LLVMGetNextUse(use) || LLVMGetInstructionOpcode(LLVMGetUser(use)) != LLVMShuffleVector) return false;
  return LLVMGetVectorSize(LLVMTypeOf(LLVMGetUser(use))) == 2 * LLVMGetVectorSize(LLVMTypeOf(load));
}

/* A loop whose instructions stand as they should, which stores nothing. LLVM's scheduler of the selection graph puts
 * loads of neighbouring addresses side by side, and with them the factors of a loop's first sums into registers that
 * its other sums need. Volatile loads it leaves where they are, and other loads on their side of them: so those have to
 * stand where they are used. */
static void order_loop(LLVMBasicBlockRef block, LLVMBuilderRef builder) {
  LLVMValueRef before;
  for (LLVMValueRef at = LLVMGetBasicBlockTerminator(block); at; at = before) {
    before = LLVMGetPreviousInstruction(at);
    if (LLVMGetInstructionOpcode(at) != LLVMLoad) continue;
    if (LLVMGetTypeKind(LLVMTypeOf(at)) == LLVMVectorTypeKind) {
      LLVMSetVolatile(at, !is_repeated(at));
      continue;
    }
    LLVMValueRef reader = first_reader(at);
    if (!reader || LLVMGetInstructionOpcode(reader) == LLVMPHI) continue;
    LLVMInstructionRemoveFromParent(at);
    LLVMPositionBuilderBefore(builder, reader);
    LLVMInsertIntoBuilder(builder, at);
  }
}

void order_instructions(LLVMModuleRef module) {
  LLVMContextRef context = LLVMGetModuleContext(module);
  LLVMBuilderRef builder = LLVMCreateBuilderInContext(context);
  struct region region = {.module = module,
                          .alias_kind = LLVMGetMDKindIDInContext(context, "alias.scope", 11),
                          .invariant_kind = LLVMGetMDKindIDInContext(context, "invariant.load", 14)};
  for (LLVMValueRef function = LLVMGetFirstFunction(module); function; function = LLVMGetNextFunction(function)) {
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(function); block; block = LLVMGetNextBasicBlock(block)) {
      if (strncmp(LLVMGetBasicBlockName(block), ORDER_LOOP, strlen(ORDER_LOOP)) == 0)
        order_loop(block, builder);
      else
        order_block(&region, block, builder);
    }
  }
  free(region.nodes);
  LLVMDisposeBuilder(builder);
}
