/* What an observer is told of a launch: every instruction with its lanes, addresses by space, branches, barriers, ends;
 * and what it can change: results, lanes of an access, the order of warps and blocks, the mode. */
#include <cstring>

#include "tests/vgpu/api_support.h"
#include "tests/vgpu/ptx_support.h"

namespace {

struct Record {
  std::vector<std::pair<unsigned, uint32_t>> instructions; /* opcode, active lanes */
  std::vector<vgpu_access> accesses;
  std::vector<uint32_t> taken, ended;
  std::vector<std::string> events;
  std::vector<unsigned> order; /* warps, by turn */
  uint32_t allowed = UINT32_MAX;
  std::string fault;
} * record;

/* Observers are tables of plain functions, so what they see goes to `record`. */
const vgpu_observer recorder = [] {
  vgpu_observer observer = {};
  observer.name = "recorder";
  observer.serial = true;
  observer.begin_block = [](vgpu_observed_block *block) {
    record->events.push_back("begin " + std::to_string(block->index) + " of " + std::to_string(block->threads));
    block->state = record;
  };
  observer.end_block = [](vgpu_observed_block *block, bool faulted) {
    EXPECT_EQ(block->state, record);
    record->events.push_back(faulted ? "fault" : "end");
  };
  observer.instruction = [](vgpu_observed_warp *warp, const ptx_instruction *source) {
    EXPECT_EQ(warp->active & ~warp->mask, 0u);
    EXPECT_EQ(warp->mask & ~warp->alive, 0u);
    record->instructions.emplace_back(source->op, warp->active);
  };
  observer.access = [](vgpu_observed_warp *, const vgpu_access *access) {
    record->accesses.push_back(*access);
    return access->lanes & record->allowed;
  };
  observer.branch = [](vgpu_observed_warp *, const ptx_instruction *, uint32_t taken) {
    record->taken.push_back(taken);
  };
  observer.ended = [](vgpu_observed_warp *, uint32_t lanes) { record->ended.push_back(lanes); };
  observer.fault = [](vgpu_observed_warp *, const ptx_instruction *, unsigned, int, const char *what) {
    record->fault = what;
  };
  observer.barrier = [](vgpu_observed_warp *warp, const ptx_instruction *, unsigned id, unsigned count) {
    record->events.push_back("warp " + std::to_string(warp->index) + " at " + std::to_string(id) + "/" +
                             std::to_string(count));
  };
  observer.barrier_complete = [](vgpu_observed_block *, unsigned id, uint32_t waiting) {
    record->events.push_back("barrier " + std::to_string(id) + " lets go " + std::to_string(waiting));
  };
  return observer;
}();

struct Observe : ::testing::Test {
  void SetUp() override { record = &seen; }
  std::string run(const std::string &body, const vgpu_observer &observer, unsigned block, uint64_t param = 0,
                  const std::string &before = "") {
    ptx::Module module(ptx::kernel(body, 1, before));
    EXPECT_STREQ(module.error.reason, "") << "line " << module.error.line;
    ptx::Shape shape;
    shape.block[0] = block;
    return ptx::launch(ptx::observed(&observer), module.function("k"), shape, {param});
  }
  size_t count(unsigned op) const {
    size_t found = 0;
    for (const auto &instruction : seen.instructions) found += instruction.first == op;
    return found;
  }
  Record seen;
};

TEST_F(Observe, EveryInstructionIsShownWithTheLanesThatExecuteIt) {
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<4>;\n"
      "mov.u32 %r0, %tid.x; setp.lt.u32 %p, %r0, 5;\n"
      "@%p add.u32 %r1, %r0, 1;\n"
      "@%p bra LOW; mul.lo.u32 %r2, %r0, 3; LOW: sub.u32 %r3, %r0, 1;\n";
  EXPECT_EQ(run(body, recorder, 40), "");
  const std::vector<std::pair<unsigned, uint32_t>> expected = {
      {PTX_MOV, ~0u}, {PTX_SETP, ~0u}, {PTX_ADD, 31u},  {PTX_BRA, 31u},   {PTX_MUL, ~31u},
      {PTX_SUB, ~0u}, {PTX_RET, ~0u},  {PTX_MOV, 255u}, {PTX_SETP, 255u}, {PTX_ADD, 0u},
      {PTX_BRA, 0u},  {PTX_MUL, 255u}, {PTX_SUB, 255u}, {PTX_RET, 255u}};
  EXPECT_EQ(seen.instructions, expected);
  EXPECT_EQ(seen.taken, (std::vector<uint32_t>{31u, 0u}));
  EXPECT_EQ(seen.ended, (std::vector<uint32_t>{~0u, 255u}));
  EXPECT_EQ(seen.events, (std::vector<std::string>{"begin 0 of 40", "end"}));
}

TEST_F(Observe, AccessesComeWithSpaceAndAddressByLane) {
  ptx::Memory memory(4096);
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<4>; .reg .b64 %d<6>; .shared .align 16 .b8 window[512]; .local .align 8 .b8 "
      "own[64];\n"
      "ld.param.u64 %d0, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 8; add.u64 %d2, %d0, %d1;\n"
      "st.global.v2.u32 [%d2+16], {%r0, %r0};\n"
      "mov.u32 %r1, window; shl.b32 %r2, %r0, 2; add.u32 %r1, %r1, %r2; st.shared.u32 [%r1+4], %r0;\n"
      "mov.u64 %d3, own; st.local.u64 [%d3+8], %d0;\n"
      "setp.eq.u32 %p, %r0, 3; cvta.shared.u64 %d4, window; cvta.local.u64 %d5, %d3;\n"
      "selp.b64 %d4, %d5, %d4, %p; setp.eq.u32 %p, %r0, 4; selp.b64 %d4, %d0, %d4, %p; ld.u32 %r3, [%d4+8];\n"
      "atom.global.add.u32 %r3, [%d0], 1;\n";
  EXPECT_EQ(run(body, recorder, 32, memory.address()), "");
  ASSERT_EQ(seen.accesses.size(), 6u);
  const vgpu_access &param = seen.accesses[0], &global = seen.accesses[1], &shared = seen.accesses[2];
  const vgpu_access &local = seen.accesses[3], &generic = seen.accesses[4], &atomic = seen.accesses[5];
  for (unsigned l = 0; l < 32; l++) {
    EXPECT_EQ(param.space[l], PTX_PARAM);
    EXPECT_EQ(param.address[l], 0u);
    EXPECT_EQ(global.space[l], PTX_GLOBAL);
    EXPECT_EQ(global.address[l], memory.address() + 16 + 8 * l);
    EXPECT_EQ(shared.space[l], PTX_SHARED);
    EXPECT_EQ(shared.address[l], 4 + 4 * l);
    EXPECT_EQ(local.space[l], PTX_LOCAL);
    EXPECT_EQ(local.address[l], 8u);
    EXPECT_EQ(generic.space[l], l == 3 ? PTX_LOCAL : l == 4 ? PTX_GLOBAL : PTX_SHARED) << l;
    EXPECT_EQ(generic.address[l], l == 4 ? memory.address() + 8 : 8u) << l;
    EXPECT_EQ(atomic.address[l], memory.address());
  }
  EXPECT_TRUE(param.reads && !param.writes);
  EXPECT_TRUE(!global.reads && global.writes && global.bytes == 8);
  EXPECT_TRUE(generic.reads && !generic.writes && generic.bytes == 4);
  EXPECT_TRUE(atomic.reads && atomic.writes);
}

TEST_F(Observe, LanesThatTheObserverTakesOutDoNotAccessMemory) {
  ptx::Memory memory(128);
  std::memset(memory.as<void>(), 0, 128);
  seen.allowed = 0xffff0000u;
  /* Lanes 0 to 15 would store far outside. */
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<4>; .reg .b64 %d<4>;\n"
      "ld.param.u64 %d0, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 4; add.u64 %d2, %d0, %d1;\n"
      "setp.lt.u32 %p, %r0, 16; selp.b64 %d3, 64, %d2, %p; mov.u32 %r1, 7; st.global.u32 [%d3], %r1;\n"
      "@!%p add.u32 %r1, %r1, 1; @!%p st.global.u32 [%d2], %r1;\n";
  vgpu_observer stores = recorder;
  stores.access = [](vgpu_observed_warp *, const vgpu_access *access) {
    return access->writes ? access->lanes & record->allowed : access->lanes;
  };
  EXPECT_EQ(run(body, stores, 32, memory.address()), "");
  for (unsigned i = 0; i < 32; i++) EXPECT_EQ(memory.as<uint32_t>()[i], i < 16 ? 0u : 8u) << i;
  seen.allowed = UINT32_MAX;
  EXPECT_NE(run(body, stores, 32, memory.address()), "");
  EXPECT_NE(seen.fault.find("invalid write of 4 bytes"), std::string::npos) << seen.fault;
  EXPECT_EQ(seen.events.back(), "fault");
}

TEST_F(Observe, BarriersAreShownWhenWarpsArriveAndWhenTheyGoOn) {
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<2>;\n"
      "bar.sync 0; mov.u32 %r0, %tid.x; setp.ge.u32 %p, %r0, 64; @%p bra END; bar.sync 3, 64; END:\n";
  EXPECT_EQ(run(body, recorder, 96), "");
  const std::vector<std::string> expected = {"begin 0 of 96",  "warp 0 at 0/0",       "warp 1 at 0/0",
                                             "warp 2 at 0/0",  "barrier 0 lets go 7", "warp 0 at 3/64",
                                             "warp 1 at 3/64", "barrier 3 lets go 3", "end"};
  EXPECT_EQ(seen.events, expected);
}

TEST_F(Observe, ResultsCanBeChangedInTheActiveLanes) {
  ptx::Memory memory(256);
  vgpu_observer doubler = {};
  doubler.result = [](vgpu_observed_warp *warp, const ptx_instruction *source, void *lanes, unsigned width) {
    if (source->op != PTX_ADD) return;
    EXPECT_EQ(width, source->type == PTX_U64 ? 8u : 4u);
    for (unsigned l = 0; l < 32; l++)
      if (warp->active >> l & 1 && width == 4) static_cast<uint32_t *>(lanes)[l] *= 2;
  };
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<4>; .reg .b64 %d<4>;\n"
      "ld.param.u64 %d0, [p0]; mov.u32 %r0, %tid.x; mul.wide.u32 %d1, %r0, 4; add.u64 %d2, %d0, %d1;\n"
      "mov.u32 %r1, 100; setp.lt.u32 %p, %r0, 16; @%p add.u32 %r1, %r0, 1; st.global.u32 [%d2], %r1;\n";
  EXPECT_EQ(run(body, doubler, 32, memory.address()), "");
  for (unsigned i = 0; i < 32; i++) EXPECT_EQ(memory.as<uint32_t>()[i], i < 16 ? 2 * (i + 1) : 100) << i;
}

TEST_F(Observe, TheScheduleDecidesWhichWarpRuns) {
  ptx::Memory memory(64);
  std::memset(memory.as<void>(), 0, 64);
  vgpu_observer backwards = {};
  backwards.schedule = [](vgpu_observed_block *, uint32_t ready) {
    record->order.push_back(31 - static_cast<unsigned>(__builtin_clz(ready)));
    return vgpu_turn{record->order.back(), 1000, 0};
  };
  /* Each warp notes its place in the order, without a barrier in the kernel. */
  const std::string body =
      ".reg .pred %p; .reg .b32 %r<6>; .reg .b64 %d<4>;\n"
      "ld.param.u64 %d0, [p0]; mov.u32 %r0, %tid.x; and.b32 %r1, %r0, 31; setp.ne.u32 %p, %r1, 0; @%p bra END;\n"
      "atom.global.add.u32 %r2, [%d0], 1; shr.u32 %r3, %r0, 5; mul.wide.u32 %d1, %r3, 4; add.u64 %d2, %d0, %d1;\n"
      "st.global.u32 [%d2+4], %r2; END:\n";
  EXPECT_EQ(run(body, backwards, 128, memory.address()), "");
  for (unsigned w = 0; w < 4; w++) EXPECT_EQ(memory.as<uint32_t>()[1 + w], 3 - w) << w;
  EXPECT_EQ(seen.order, (std::vector<unsigned>{3, 2, 1, 0}));
}

class ObserveApi : public ApiTest {
 protected:
  void SetUp() override {
    before = vgpu_current_mode();
    ApiTest::SetUp();
  }
  void TearDown() override {
    ApiTest::TearDown();
    vgpu_set_mode(before);
  }
  vgpu_mode before = VGPU_MODE_RUN;
};

/* A kernel loaded in one mode runs in another one. */
TEST_F(ObserveApi, ResultsAreTheSameInEveryMode) {
  for (const char *name : {"check", "run"}) {
    const vgpu_mode mode = vgpu_mode_by_name(name);
    ASSERT_NE(mode, VGPU_MODES);
    vgpu_set_mode(mode);
    ASSERT_CUDA(CU(cuMemsetD32)(numbers, 1, count));
    ASSERT_CUDA(launch(5));
    ASSERT_CUDA(CU(cuCtxSynchronize)());
    for (int i = 0; i < count; i++) ASSERT_EQ(number(i), 7u) << name << " " << i;
  }
}

TEST_F(ObserveApi, ModesHaveNames) {
  for (int mode = 0; mode < VGPU_MODES; mode++)
    EXPECT_EQ(vgpu_mode_by_name(vgpu_mode_name(static_cast<vgpu_mode>(mode))), mode);
  EXPECT_EQ(vgpu_mode_by_name("chekc"), VGPU_MODES);
}

TEST_F(ObserveApi, AnUnknownModeIsRefusedByCuInit) {
  vgpu_set_mode(VGPU_MODES);
  EXPECT_EQ(CU(cuInit)(0), CUDA_ERROR_INVALID_VALUE);
  EXPECT_NE(std::string(vgpu_last_message()).find("run, check, fuzz or count"), std::string::npos);
}

}  // namespace
