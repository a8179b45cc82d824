/* Driver API of the virtual GPU: graphs that the program builds node by node, changes and executes again. */
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/vgpu/api_support.h"

namespace {

class ApiGraphTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    ASSERT_CUDA(CU(cuStreamCreate)(&stream, CU_STREAM_DEFAULT));
    ASSERT_CUDA(CU(cuGraphCreate)(&graph, 0));
  }
  /* x[i] = 2 x[i] + c of the first `elements` numbers. */
  CUgraphNode add_step(CUgraph to, const std::vector<CUgraphNode> &after, unsigned c) {
    CUgraphNode node = nullptr;
    CUDA_KERNEL_NODE_PARAMS given = kernel(&c);
    EXPECT_CUDA(CU(cuGraphAddKernelNode)(&node, to, after.data(), after.size(), &given));
    return node;
  }
  CUDA_KERNEL_NODE_PARAMS kernel(unsigned *c) {
    parameters[0] = &numbers;
    parameters[1] = &elements;
    parameters[2] = c;
    CUDA_KERNEL_NODE_PARAMS given = {};
    given.func = step;
    given.gridDimX = 16;
    given.gridDimY = given.gridDimZ = given.blockDimY = given.blockDimZ = 1;
    given.blockDimX = 64;
    given.kernelParams = parameters;
    return given;
  }
  CUDA_MEMSET_NODE_PARAMS fill(unsigned value) const {
    CUDA_MEMSET_NODE_PARAMS given = {};
    given.dst = numbers;
    given.value = value;
    given.elementSize = 4;
    given.width = count;
    given.height = 1;
    return given;
  }
  /* The first number after one more execution. */
  unsigned after_launch(CUgraphExec exec) {
    EXPECT_CUDA(CU(cuGraphLaunch)(exec, stream));
    EXPECT_CUDA(CU(cuStreamSynchronize)(stream));
    return number(0);
  }
  CUgraphExec instantiate(CUgraph of) {
    CUgraphExec exec = nullptr;
    EXPECT_CUDA(CU(cuGraphInstantiate)(&exec, of, 0));
    return exec;
  }
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  unsigned elements = count;
  void *parameters[3] = {};
};

}  // namespace

TEST_F(ApiGraphTest, NodesOfEachKindDoTheirWorkInOrder) {
  CUgraphNode set, host, copy, empty;
  CUDA_MEMSET_NODE_PARAMS filled = fill(5);
  ASSERT_CUDA(CU(cuGraphAddMemsetNode)(&set, graph, nullptr, 0, &filled, context));
  CUgraphNode first = add_step(graph, {set}, 1); /* 11 */
  struct state {
    CUdeviceptr at;
    unsigned seen;
  } state = {numbers, 0};
  CUDA_HOST_NODE_PARAMS function = {};
  function.fn = [](void *data) {
    auto *own = static_cast<struct state *>(data);
    own->seen = *reinterpret_cast<unsigned *>(own->at);
  };
  function.userData = &state;
  ASSERT_CUDA(CU(cuGraphAddHostNode)(&host, graph, &first, 1, &function));
  CUDA_MEMCPY3D moved = {};
  moved.srcMemoryType = moved.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  moved.srcDevice = numbers;
  moved.dstDevice = numbers + 400;
  moved.WidthInBytes = 40;
  moved.Height = moved.Depth = 1;
  ASSERT_CUDA(CU(cuGraphAddMemcpyNode)(&copy, graph, &host, 1, &moved, context));
  ASSERT_CUDA(CU(cuGraphAddEmptyNode)(&empty, graph, &copy, 1));
  add_step(graph, {empty}, 2); /* 24 */
  CUgraphExec exec = instantiate(graph);
  EXPECT_EQ(after_launch(exec), 24u);
  EXPECT_EQ(state.seen, 11u);
  EXPECT_EQ(number(100), 24u);
  EXPECT_EQ(number(110), 24u);
  CUgraphNodeType type;
  ASSERT_CUDA(CU(cuGraphNodeGetType)(host, &type));
  EXPECT_EQ(type, CU_GRAPH_NODE_TYPE_HOST);
  EXPECT_CUDA(CU(cuGraphExecDestroy)(exec));
}

TEST_F(ApiGraphTest, EdgesDecideNotTheOrderOfMaking) {
  CUgraphNode last = add_step(graph, {}, 3), middle = add_step(graph, {}, 2), first = add_step(graph, {}, 1);
  CUgraphNode from[] = {first, middle}, to[] = {middle, last};
  ASSERT_CUDA(CU(cuGraphAddDependencies)(graph, from, to, nullptr, 2));
  EXPECT_EQ(CU(cuGraphAddDependencies)(graph, from, to, nullptr, 1), CUDA_ERROR_INVALID_VALUE) << "there already";
  CUgraphExec exec = instantiate(graph);
  EXPECT_EQ(after_launch(exec), 19u);
  size_t edges = 0, roots = 0, dependencies = 0, dependents = 0;
  EXPECT_CUDA(CU(cuGraphGetEdges)(graph, nullptr, nullptr, nullptr, &edges));
  EXPECT_EQ(edges, 2u);
  CUgraphNode root[4] = {};
  roots = 4;
  EXPECT_CUDA(CU(cuGraphGetRootNodes)(graph, root, &roots));
  EXPECT_EQ(roots, 1u);
  EXPECT_EQ(root[0], first);
  EXPECT_EQ(root[1], nullptr);
  EXPECT_CUDA(CU(cuGraphNodeGetDependencies)(last, nullptr, nullptr, &dependencies));
  EXPECT_EQ(dependencies, 1u);
  EXPECT_CUDA(CU(cuGraphNodeGetDependentNodes)(last, nullptr, nullptr, &dependents));
  EXPECT_EQ(dependents, 0u);
  /* A cycle cannot be executed. */
  CUgraphExec none = nullptr;
  ASSERT_CUDA(CU(cuGraphAddDependencies)(graph, &last, &first, nullptr, 1));
  EXPECT_EQ(CU(cuGraphInstantiate)(&none, graph, 0), CUDA_ERROR_INVALID_VALUE);
  ASSERT_CUDA(CU(cuGraphRemoveDependencies)(graph, &last, &first, nullptr, 1));
  ASSERT_CUDA(CU(cuGraphDestroyNode)(middle));
  EXPECT_CUDA(CU(cuGraphGetEdges)(graph, nullptr, nullptr, nullptr, &edges));
  EXPECT_EQ(edges, 0u);
}

TEST_F(ApiGraphTest, ParametersAreReadAndChangedInTheGraphAndInItsExecutable) {
  CUgraphNode node = add_step(graph, {}, 4);
  CUDA_KERNEL_NODE_PARAMS found = {};
  ASSERT_CUDA(CU(cuGraphKernelNodeGetParams)(node, &found));
  EXPECT_EQ(found.func, step);
  EXPECT_EQ(found.blockDimX, 64u);
  EXPECT_EQ(*static_cast<unsigned *>(found.kernelParams[2]), 4u);
  CUgraphExec exec = instantiate(graph);
  unsigned c = 10;
  CUDA_KERNEL_NODE_PARAMS changed = kernel(&c);
  ASSERT_CUDA(CU(cuGraphKernelNodeSetParams)(node, &changed));
  EXPECT_EQ(after_launch(exec), 6u) << "the executable was made before";
  c = 20;
  ASSERT_CUDA(CU(cuGraphExecKernelNodeSetParams)(exec, node, &changed));
  EXPECT_EQ(after_launch(exec), 32u);
  ASSERT_CUDA(CU(cuGraphNodeSetEnabled)(exec, node, 0));
  unsigned enabled = 1;
  ASSERT_CUDA(CU(cuGraphNodeGetEnabled)(exec, node, &enabled));
  EXPECT_EQ(enabled, 0u);
  EXPECT_EQ(after_launch(exec), 32u);
  ASSERT_CUDA(CU(cuGraphNodeSetEnabled)(exec, node, 1));
  EXPECT_EQ(after_launch(exec), 84u);
  changed.blockDimX = 2000;
  EXPECT_EQ(CU(cuGraphExecKernelNodeSetParams)(exec, node, &changed), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiGraphTest, FillsAndCopiesAreChanged) {
  CUgraphNode set, generic;
  CUDA_MEMSET_NODE_PARAMS filled = fill(5), found = {};
  ASSERT_CUDA(CU(cuGraphAddMemsetNode)(&set, graph, nullptr, 0, &filled, context));
  CUgraphNodeParams copied = {};
  copied.type = CU_GRAPH_NODE_TYPE_MEMCPY;
  copied.memcpy.copyParams.srcMemoryType = copied.memcpy.copyParams.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copied.memcpy.copyParams.srcDevice = numbers + 8;
  copied.memcpy.copyParams.dstDevice = numbers;
  copied.memcpy.copyParams.WidthInBytes = 4;
  copied.memcpy.copyParams.Height = copied.memcpy.copyParams.Depth = 1;
  ASSERT_CUDA(CU(cuGraphAddNode)(&generic, graph, &set, nullptr, 1, &copied));
  CUgraphExec exec = instantiate(graph);
  EXPECT_EQ(after_launch(exec), 5u);
  ASSERT_CUDA(CU(cuGraphMemsetNodeGetParams)(set, &found));
  EXPECT_EQ(found.value, 5u);
  filled.value = 8;
  ASSERT_CUDA(CU(cuGraphExecMemsetNodeSetParams)(exec, set, &filled, context));
  EXPECT_EQ(after_launch(exec), 8u);
  filled.dst = numbers + 4 * count - 4;
  EXPECT_EQ(CU(cuGraphExecMemsetNodeSetParams)(exec, set, &filled, context), CUDA_ERROR_INVALID_VALUE) << "too long";
  ASSERT_CUDA(CU(cuMemsetD32)(numbers, 0, count));
  filled = fill(9);
  filled.width = 1;
  ASSERT_CUDA(CU(cuGraphExecMemsetNodeSetParams)(exec, set, &filled, context));
  copied.memcpy.copyParams.srcDevice = numbers;
  copied.memcpy.copyParams.dstDevice = numbers + 40;
  ASSERT_CUDA(CU(cuGraphExecNodeSetParams)(exec, generic, &copied));
  after_launch(exec);
  EXPECT_EQ(number(10), 9u);
  EXPECT_EQ(number(9), 0u);
}

TEST_F(ApiGraphTest, ChildGraphsAreCopiesThatRunInPlace) {
  CUgraph child, inside;
  CUgraphNode node;
  ASSERT_CUDA(CU(cuGraphCreate)(&child, 0));
  CUgraphNode one = add_step(child, {}, 1);
  add_step(child, {one}, 2);
  CUgraphNode before = add_step(graph, {}, 3);
  ASSERT_CUDA(CU(cuGraphAddChildGraphNode)(&node, graph, &before, 1, child));
  add_step(graph, {node}, 4);
  add_step(child, {}, 5); /* comes too late */
  CUgraphExec exec = instantiate(graph);
  EXPECT_EQ(after_launch(exec), (((1 * 2 + 3) * 2 + 1) * 2 + 2) * 2 + 4u);
  ASSERT_CUDA(CU(cuGraphChildGraphNodeGetGraph)(node, &inside));
  EXPECT_NE(inside, child);
  EXPECT_EQ(CU(cuGraphDestroy)(inside), CUDA_ERROR_INVALID_VALUE) << "the node owns it";
  EXPECT_CUDA(CU(cuGraphDestroy)(child));
  EXPECT_CUDA(CU(cuGraphDestroy)(graph));
  EXPECT_EQ(CU(cuGraphInstantiate)(&exec, graph, 0), CUDA_ERROR_INVALID_VALUE) << "destroyed";
  size_t nodes;
  EXPECT_EQ(CU(cuGraphGetNodes)(inside, nullptr, &nodes), CUDA_ERROR_INVALID_VALUE) << "went with it";
}

TEST_F(ApiGraphTest, ClonesKnowTheirOriginals) {
  CUgraphNode node = add_step(graph, {}, 3), found = nullptr;
  CUgraph clone;
  ASSERT_CUDA(CU(cuGraphClone)(&clone, graph));
  ASSERT_CUDA(CU(cuGraphNodeFindInClone)(&found, node, clone));
  EXPECT_NE(found, node);
  unsigned c = 7;
  CUDA_KERNEL_NODE_PARAMS changed = kernel(&c);
  ASSERT_CUDA(CU(cuGraphKernelNodeSetParams)(found, &changed));
  CUgraphExec first = instantiate(graph), second = instantiate(clone);
  EXPECT_EQ(after_launch(first), 5u);
  EXPECT_EQ(after_launch(second), 17u);
  ASSERT_CUDA(CU(cuGraphDestroyNode)(found));
  EXPECT_EQ(CU(cuGraphNodeFindInClone)(&found, node, clone), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiGraphTest, AnUpdateTakesParametersOfTheSameShapeOnly) {
  CUgraphNode one = add_step(graph, {}, 1);
  add_step(graph, {one}, 2);
  CUgraphExec exec = instantiate(graph);
  EXPECT_EQ(after_launch(exec), 8u);
  CUgraph other, different;
  ASSERT_CUDA(CU(cuGraphCreate)(&other, 0));
  one = add_step(other, {}, 3);
  add_step(other, {one}, 4);
  CUgraphExecUpdateResultInfo info = {};
  ASSERT_CUDA(CU(cuGraphExecUpdate)(exec, other, &info));
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_SUCCESS);
  EXPECT_EQ(after_launch(exec), (8 * 2 + 3) * 2 + 4u);
  ASSERT_CUDA(CU(cuGraphCreate)(&different, 0));
  one = add_step(different, {}, 3);
  EXPECT_EQ(CU(cuGraphExecUpdate)(exec, different, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED);
  CUgraphNode empty;
  ASSERT_CUDA(CU(cuGraphAddEmptyNode)(&empty, different, &one, 1));
  EXPECT_EQ(CU(cuGraphExecUpdate)(exec, different, &info), CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE);
  EXPECT_EQ(info.result, CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED);
  EXPECT_EQ(info.errorNode, empty);
}

TEST_F(ApiGraphTest, EventsAreRecordedAndWaitedFor) {
  CUevent inside, outside;
  CUstream other;
  CUgraphNode node, wait;
  ASSERT_CUDA(CU(cuStreamCreate)(&other, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(CU(cuEventCreate)(&inside, CU_EVENT_DEFAULT));
  ASSERT_CUDA(CU(cuEventCreate)(&outside, CU_EVENT_DEFAULT));
  ASSERT_CUDA(CU(cuGraphAddEventWaitNode)(&wait, graph, nullptr, 0, outside));
  CUgraphNode stepped = add_step(graph, {wait}, 1);
  ASSERT_CUDA(CU(cuGraphAddEventRecordNode)(&node, graph, &stepped, 1, inside));
  CUgraphExec exec = instantiate(graph);
  CUdeviceptr flag;
  ASSERT_CUDA(CU(cuMemAllocManaged)(&flag, 4, CU_MEM_ATTACH_GLOBAL));
  *reinterpret_cast<unsigned *>(flag) = 0;
  ASSERT_CUDA(CU(cuStreamWaitValue32)(other, flag, 1, CU_STREAM_WAIT_VALUE_EQ));
  ASSERT_CUDA(CU(cuEventRecord)(outside, other));
  ASSERT_CUDA(CU(cuGraphLaunch)(exec, stream));
  EXPECT_EQ(CU(cuEventQuery)(inside), CUDA_ERROR_NOT_READY);
  __atomic_store_n(reinterpret_cast<unsigned *>(flag), 1u, __ATOMIC_RELEASE);
  ASSERT_CUDA(CU(cuEventSynchronize)(inside));
  float milliseconds = -1;
  EXPECT_CUDA(CU(cuEventElapsedTime)(&milliseconds, outside, inside));
  EXPECT_GE(milliseconds, 0.0f);
  EXPECT_EQ(number(0), 3u);
}

TEST_F(ApiGraphTest, MemoryOfAGraphLivesAsLongAsTheGraph) {
  CUgraphNode allocated, freed, copied;
  CUDA_MEM_ALLOC_NODE_PARAMS given = {};
  given.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  given.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  given.bytesize = 4 * count;
  ASSERT_CUDA(CU(cuGraphAddMemAllocNode)(&allocated, graph, nullptr, 0, &given));
  ASSERT_NE(given.dptr, 0u);
  CUDA_MEMCPY3D moved = {};
  moved.srcMemoryType = moved.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  moved.srcDevice = numbers;
  moved.dstDevice = given.dptr;
  moved.WidthInBytes = 4 * count;
  moved.Height = moved.Depth = 1;
  ASSERT_CUDA(CU(cuGraphAddMemcpyNode)(&copied, graph, &allocated, 1, &moved, context));
  ASSERT_CUDA(CU(cuGraphAddMemFreeNode)(&freed, graph, &copied, 1, given.dptr));
  cuuint64_t used = 0;
  ASSERT_CUDA(CU(cuDeviceGetGraphMemAttribute)(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
  EXPECT_GE(used, 4u * count);
  CUgraphExec exec = instantiate(graph);
  after_launch(exec);
  after_launch(exec);
  unsigned value = 0;
  ASSERT_CUDA(CU(cuGraphDestroy)(graph));
  EXPECT_CUDA(CU(cuMemcpyDtoH)(&value, given.dptr, 4)) << "the executable holds it";
  EXPECT_EQ(value, 1u);
  ASSERT_CUDA(CU(cuGraphExecDestroy)(exec));
  EXPECT_EQ(CU(cuMemcpyDtoH)(&value, given.dptr, 4), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiGraphTest, CapturesForkAndJoinAsEdges) {
  CUstream other;
  CUevent fork, join;
  ASSERT_CUDA(CU(cuStreamCreate)(&other, CU_STREAM_NON_BLOCKING));
  ASSERT_CUDA(CU(cuEventCreate)(&fork, CU_EVENT_DISABLE_TIMING));
  ASSERT_CUDA(CU(cuEventCreate)(&join, CU_EVENT_DISABLE_TIMING));
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers, 4, count, stream));
  ASSERT_CUDA(CU(cuEventRecord)(fork, stream));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(other, fork, 0));
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers + 400, 6, 10, other));
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers + 200, 5, 10, stream));
  CUstreamCaptureStatus status;
  cuuint64_t id = 0;
  CUgraph captured = nullptr;
  const CUgraphNode *heads = nullptr;
  size_t head_count = 0;
  ASSERT_CUDA(CU(cuStreamGetCaptureInfo)(other, &status, &id, &captured, &heads, nullptr, &head_count));
  EXPECT_EQ(status, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  EXPECT_EQ(head_count, 1u);
  ASSERT_CUDA(CU(cuEventRecord)(join, other));
  ASSERT_CUDA(CU(cuStreamWaitEvent)(stream, join, 0));
  ASSERT_CUDA(launch(1, stream));
  CUgraph made;
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &made));
  EXPECT_EQ(made, captured);
  size_t nodes = 0, edges = 0;
  ASSERT_CUDA(CU(cuGraphGetNodes)(made, nullptr, &nodes));
  ASSERT_CUDA(CU(cuGraphGetEdges)(made, nullptr, nullptr, nullptr, &edges));
  EXPECT_EQ(nodes, 4u);
  EXPECT_EQ(edges, 4u) << "a diamond";
  EXPECT_EQ(after_launch(instantiate(made)), 9u);
  EXPECT_EQ(number(50), 11u);
  EXPECT_EQ(number(100), 13u);
  /* What was captured can be continued in a graph of the program's. */
  ASSERT_CUDA(CU(cuStreamBeginCaptureToGraph)(stream, made, nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_RELAXED));
  ASSERT_CUDA(CU(cuMemsetD32Async)(numbers, 4, 1, stream));
  CUgraph same;
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &same));
  EXPECT_EQ(same, made);
  ASSERT_CUDA(CU(cuGraphGetNodes)(made, nullptr, &nodes));
  EXPECT_EQ(nodes, 5u);
}

TEST_F(ApiGraphTest, AllocationsAreCaptured) {
  CUdeviceptr memory;
  CUgraph made;
  ASSERT_CUDA(CU(cuStreamBeginCapture)(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  ASSERT_CUDA(CU(cuMemAllocAsync)(&memory, 4 * count, stream));
  ASSERT_CUDA(CU(cuMemsetD32Async)(memory, 33, count, stream));
  ASSERT_CUDA(CU(cuMemcpyDtoDAsync)(numbers, memory, 4 * count, stream));
  ASSERT_CUDA(CU(cuMemFreeAsync)(memory, stream));
  ASSERT_CUDA(CU(cuStreamEndCapture)(stream, &made));
  CUgraphExec exec = instantiate(made);
  EXPECT_EQ(after_launch(exec), 33u);
  EXPECT_EQ(after_launch(exec), 33u);
}

TEST_F(ApiGraphTest, AnExecutableWhoseKernelWasUnloadedIsAnError) {
  add_step(graph, {}, 1);
  CUgraphExec exec = instantiate(graph);
  ASSERT_CUDA(CU(cuModuleUnload)(module));
  EXPECT_EQ(CU(cuGraphLaunch)(exec, stream), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(ApiGraphTest, ObjectsOfTheProgramAreKeptUntilTheLastGraphGoes) {
  int ended = 0;
  CUuserObject object;
  CUgraph clone;
  ASSERT_CUDA(CU(cuUserObjectCreate)(
      &object, &ended, [](void *at) { ++*static_cast<int *>(at); }, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
  ASSERT_CUDA(CU(cuGraphRetainUserObject)(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
  ASSERT_CUDA(CU(cuGraphClone)(&clone, graph));
  ASSERT_CUDA(CU(cuGraphDestroy)(graph));
  EXPECT_EQ(ended, 0);
  ASSERT_CUDA(CU(cuGraphDestroy)(clone));
  EXPECT_EQ(ended, 1);
  EXPECT_EQ(CU(cuUserObjectRelease)(object, 1), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ApiGraphTest, GraphsCanBeDrawn) {
  CUgraphNode one = add_step(graph, {}, 1);
  add_step(graph, {one}, 2);
  const std::string file = (std::filesystem::temp_directory_path() / "noprop-graph.dot").string();
  ASSERT_CUDA(CU(cuGraphDebugDotPrint)(graph, file.c_str(), 0));
  std::stringstream text;
  text << std::ifstream(file).rdbuf();
  EXPECT_NE(text.str().find("kernel step"), std::string::npos);
  EXPECT_NE(text.str().find(" -> "), std::string::npos);
  std::filesystem::remove(file);
  EXPECT_EQ(CU(cuGraphDebugDotPrint)(graph, "/no/such/folder/graph.dot", 0), CUDA_ERROR_OPERATING_SYSTEM);
}
