/* Every function of cuda.h, by exported name, in one of three lists. cuGetProcAddress, vgpu_symbol() and the exports of
 * libcuda.so.1 are made of them; docs/driver_api.md shows them, and a test compares both with cuda.h. */
#ifndef VGPU_API_LIST_H
#define VGPU_API_LIST_H

/* clang-format off */

/* X(name): does what NVIDIA documents. */
#define VGPU_API_LIST(X) \
  X(cuCtxAttach) X(cuCtxCreate) X(cuCtxCreate_v2) X(cuCtxCreate_v3) X(cuCtxCreate_v4) X(cuCtxDestroy) \
  X(cuCtxDestroy_v2) X(cuCtxDetach) X(cuCtxDisablePeerAccess) X(cuCtxEnablePeerAccess) X(cuCtxGetApiVersion) \
  X(cuCtxGetCacheConfig) X(cuCtxGetCurrent) X(cuCtxGetDevice) X(cuCtxGetDevice_v2) X(cuCtxGetExecAffinity) \
  X(cuCtxGetFlags) X(cuCtxGetId) X(cuCtxGetLimit) X(cuCtxGetSharedMemConfig) X(cuCtxGetStreamPriorityRange) \
  X(cuCtxPopCurrent) X(cuCtxPopCurrent_v2) X(cuCtxPushCurrent) X(cuCtxPushCurrent_v2) X(cuCtxRecordEvent) \
  X(cuCtxResetPersistingL2Cache) X(cuCtxSetCacheConfig) X(cuCtxSetCurrent) X(cuCtxSetFlags) X(cuCtxSetLimit) \
  X(cuCtxSetSharedMemConfig) X(cuCtxSynchronize) X(cuCtxSynchronize_v2) X(cuCtxWaitEvent) \
  X(cuDeviceCanAccessPeer) X(cuDeviceComputeCapability) X(cuDeviceGet) X(cuDeviceGetAttribute) \
  X(cuDeviceGetByPCIBusId) X(cuDeviceGetCount) X(cuDeviceGetDefaultMemPool) X(cuDeviceGetExecAffinitySupport) \
  X(cuDeviceGetGraphMemAttribute) X(cuDeviceGetLuid) X(cuDeviceGetMemPool) X(cuDeviceGetName) \
  X(cuDeviceGetP2PAttribute) X(cuDeviceGetPCIBusId) X(cuDeviceGetProperties) X(cuDeviceGetUuid) \
  X(cuDeviceGetUuid_v2) X(cuDeviceGraphMemTrim) X(cuDevicePrimaryCtxGetState) X(cuDevicePrimaryCtxRelease) \
  X(cuDevicePrimaryCtxRelease_v2) X(cuDevicePrimaryCtxReset) X(cuDevicePrimaryCtxReset_v2) \
  X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxSetFlags) X(cuDevicePrimaryCtxSetFlags_v2) \
  X(cuDeviceSetGraphMemAttribute) X(cuDeviceSetMemPool) X(cuDeviceTotalMem_v2) \
  X(cuEventCreate) X(cuEventDestroy) X(cuEventDestroy_v2) X(cuEventElapsedTime) X(cuEventElapsedTime_v2) \
  X(cuEventQuery) X(cuEventRecord) X(cuEventRecordWithFlags) X(cuEventSynchronize) \
  X(cuFuncGetAttribute) X(cuFuncGetModule) X(cuFuncGetName) X(cuFuncGetParamInfo) X(cuFuncIsLoaded) X(cuFuncLoad) \
  X(cuFuncSetAttribute) X(cuFuncSetBlockShape) X(cuFuncSetCacheConfig) X(cuFuncSetSharedMemConfig) \
  X(cuFuncSetSharedSize) \
  X(cuGraphAddChildGraphNode) X(cuGraphAddDependencies) X(cuGraphAddDependencies_v2) X(cuGraphAddEmptyNode) \
  X(cuGraphAddEventRecordNode) X(cuGraphAddEventWaitNode) X(cuGraphAddHostNode) X(cuGraphAddKernelNode) \
  X(cuGraphAddKernelNode_v2) X(cuGraphAddMemAllocNode) X(cuGraphAddMemFreeNode) X(cuGraphAddMemcpyNode) \
  X(cuGraphAddMemsetNode) X(cuGraphAddNode) X(cuGraphAddNode_v2) X(cuGraphChildGraphNodeGetGraph) X(cuGraphClone) \
  X(cuGraphCreate) X(cuGraphDebugDotPrint) X(cuGraphDestroy) X(cuGraphDestroyNode) \
  X(cuGraphEventRecordNodeGetEvent) X(cuGraphEventRecordNodeSetEvent) X(cuGraphEventWaitNodeGetEvent) \
  X(cuGraphEventWaitNodeSetEvent) X(cuGraphExecChildGraphNodeSetParams) X(cuGraphExecDestroy) \
  X(cuGraphExecEventRecordNodeSetEvent) X(cuGraphExecEventWaitNodeSetEvent) X(cuGraphExecGetFlags) \
  X(cuGraphExecHostNodeSetParams) X(cuGraphExecKernelNodeSetParams) X(cuGraphExecKernelNodeSetParams_v2) \
  X(cuGraphExecMemcpyNodeSetParams) X(cuGraphExecMemsetNodeSetParams) X(cuGraphExecNodeSetParams) \
  X(cuGraphExecUpdate) X(cuGraphExecUpdate_v2) X(cuGraphGetEdges) X(cuGraphGetEdges_v2) X(cuGraphGetNodes) \
  X(cuGraphGetRootNodes) X(cuGraphHostNodeGetParams) X(cuGraphHostNodeSetParams) X(cuGraphInstantiate) \
  X(cuGraphInstantiateWithFlags) X(cuGraphInstantiateWithParams) X(cuGraphInstantiate_v2) \
  X(cuGraphKernelNodeCopyAttributes) X(cuGraphKernelNodeGetAttribute) X(cuGraphKernelNodeGetParams) \
  X(cuGraphKernelNodeGetParams_v2) X(cuGraphKernelNodeSetAttribute) X(cuGraphKernelNodeSetParams) \
  X(cuGraphKernelNodeSetParams_v2) X(cuGraphLaunch) X(cuGraphMemAllocNodeGetParams) X(cuGraphMemFreeNodeGetParams) \
  X(cuGraphMemcpyNodeGetParams) X(cuGraphMemcpyNodeSetParams) X(cuGraphMemsetNodeGetParams) \
  X(cuGraphMemsetNodeSetParams) X(cuGraphNodeFindInClone) X(cuGraphNodeGetDependencies) \
  X(cuGraphNodeGetDependencies_v2) X(cuGraphNodeGetDependentNodes) X(cuGraphNodeGetDependentNodes_v2) \
  X(cuGraphNodeGetEnabled) X(cuGraphNodeGetType) X(cuGraphNodeSetEnabled) X(cuGraphNodeSetParams) \
  X(cuGraphReleaseUserObject) X(cuGraphRemoveDependencies) X(cuGraphRemoveDependencies_v2) \
  X(cuGraphRetainUserObject) X(cuGraphUpload) \
  X(cuKernelGetAttribute) X(cuKernelGetFunction) X(cuKernelGetLibrary) X(cuKernelGetName) X(cuKernelGetParamInfo) \
  X(cuKernelSetAttribute) X(cuKernelSetCacheConfig) \
  X(cuLaunch) X(cuLaunchCooperativeKernel) X(cuLaunchGrid) X(cuLaunchGridAsync) X(cuLaunchHostFunc) \
  X(cuLaunchKernel) X(cuLaunchKernelEx) \
  X(cuLibraryEnumerateKernels) X(cuLibraryGetGlobal) X(cuLibraryGetKernel) X(cuLibraryGetKernelCount) \
  X(cuLibraryGetManaged) X(cuLibraryGetModule) X(cuLibraryLoadData) X(cuLibraryLoadFromFile) X(cuLibraryUnload) \
  X(cuLinkAddData) X(cuLinkAddData_v2) X(cuLinkAddFile) X(cuLinkAddFile_v2) X(cuLinkComplete) X(cuLinkCreate) \
  X(cuLinkCreate_v2) X(cuLinkDestroy) \
  X(cuMemAddressFree) X(cuMemAddressReserve) X(cuMemAdvise) X(cuMemAdvise_v2) X(cuMemAllocAsync) \
  X(cuMemAllocFromPoolAsync) X(cuMemAllocHost_v2) X(cuMemAllocManaged) X(cuMemAllocPitch_v2) X(cuMemAlloc_v2) \
  X(cuMemCreate) X(cuMemDiscardAndPrefetchBatchAsync) X(cuMemDiscardBatchAsync) X(cuMemFreeAsync) X(cuMemFreeHost) \
  X(cuMemFree_v2) X(cuMemGetAccess) X(cuMemGetAddressRange_v2) X(cuMemGetAllocationGranularity) \
  X(cuMemGetAllocationPropertiesFromHandle) X(cuMemGetDefaultMemPool) X(cuMemGetInfo_v2) X(cuMemGetMemPool) \
  X(cuMemHostAlloc) X(cuMemHostGetDevicePointer_v2) X(cuMemHostGetFlags) X(cuMemHostRegister) \
  X(cuMemHostRegister_v2) X(cuMemHostUnregister) X(cuMemMap) X(cuMemPoolCreate) X(cuMemPoolDestroy) \
  X(cuMemPoolGetAccess) X(cuMemPoolGetAttribute) X(cuMemPoolSetAccess) X(cuMemPoolSetAttribute) X(cuMemPoolTrimTo) \
  X(cuMemPrefetchAsync) X(cuMemPrefetchAsync_v2) X(cuMemPrefetchBatchAsync) X(cuMemRangeGetAttribute) \
  X(cuMemRangeGetAttributes) X(cuMemRelease) X(cuMemRetainAllocationHandle) X(cuMemSetAccess) X(cuMemSetMemPool) \
  X(cuMemUnmap) X(cuMemcpy) X(cuMemcpy2DAsync_v2) X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2D_v2) X(cuMemcpy3DAsync_v2) \
  X(cuMemcpy3DPeer) X(cuMemcpy3DPeerAsync) X(cuMemcpy3D_v2) X(cuMemcpyAsync) X(cuMemcpyBatchAsync) \
  X(cuMemcpyBatchAsync_v2) X(cuMemcpyDtoDAsync_v2) X(cuMemcpyDtoD_v2) X(cuMemcpyDtoHAsync_v2) X(cuMemcpyDtoH_v2) \
  X(cuMemcpyHtoDAsync_v2) X(cuMemcpyHtoD_v2) X(cuMemcpyPeer) X(cuMemcpyPeerAsync) X(cuMemsetD16Async) \
  X(cuMemsetD16_v2) X(cuMemsetD2D16Async) X(cuMemsetD2D16_v2) X(cuMemsetD2D32Async) X(cuMemsetD2D32_v2) \
  X(cuMemsetD2D8Async) X(cuMemsetD2D8_v2) X(cuMemsetD32Async) X(cuMemsetD32_v2) X(cuMemsetD8Async) \
  X(cuMemsetD8_v2) \
  X(cuModuleEnumerateFunctions) X(cuModuleGetFunction) X(cuModuleGetFunctionCount) X(cuModuleGetGlobal_v2) \
  X(cuModuleGetLoadingMode) X(cuModuleLoad) X(cuModuleLoadData) X(cuModuleLoadDataEx) X(cuModuleLoadFatBinary) \
  X(cuModuleUnload) \
  X(cuOccupancyAvailableDynamicSMemPerBlock) X(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) X(cuOccupancyMaxPotentialBlockSize) \
  X(cuOccupancyMaxPotentialBlockSizeWithFlags) \
  X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuGetProcAddress) X(cuGetProcAddress_v2) X(cuInit) \
  X(cuProfilerStart) X(cuProfilerStop) X(cuThreadExchangeStreamCaptureMode) \
  X(cuParamSetSize) X(cuParamSetf) X(cuParamSeti) X(cuParamSetv) \
  X(cuPointerGetAttribute) X(cuPointerGetAttributes) X(cuPointerSetAttribute) \
  X(cuStreamAddCallback) X(cuStreamAttachMemAsync) X(cuStreamBatchMemOp) X(cuStreamBatchMemOp_v2) \
  X(cuStreamBeginCapture) X(cuStreamBeginCaptureToGraph) X(cuStreamBeginCapture_v2) X(cuStreamCopyAttributes) \
  X(cuStreamCreate) X(cuStreamCreateWithPriority) X(cuStreamDestroy) X(cuStreamDestroy_v2) X(cuStreamEndCapture) \
  X(cuStreamGetAttribute) X(cuStreamGetCaptureInfo) X(cuStreamGetCaptureInfo_v2) X(cuStreamGetCaptureInfo_v3) \
  X(cuStreamGetCtx) X(cuStreamGetCtx_v2) X(cuStreamGetDevice) X(cuStreamGetFlags) X(cuStreamGetId) \
  X(cuStreamGetPriority) X(cuStreamIsCapturing) X(cuStreamQuery) X(cuStreamSetAttribute) X(cuStreamSynchronize) \
  X(cuStreamUpdateCaptureDependencies) X(cuStreamUpdateCaptureDependencies_v2) X(cuStreamWaitEvent) \
  X(cuStreamWaitValue32) X(cuStreamWaitValue32_v2) X(cuStreamWaitValue64) X(cuStreamWaitValue64_v2) \
  X(cuStreamWriteValue32) X(cuStreamWriteValue32_v2) X(cuStreamWriteValue64) X(cuStreamWriteValue64_v2) \
  X(cuUserObjectCreate) X(cuUserObjectRelease) X(cuUserObjectRetain)

/* X(name): the same with the calling thread's own stream as the default stream (-DCUDA_API_PER_THREAD_DEFAULT_STREAM). */
#define VGPU_API_PER_THREAD(X) \
  X(cuEventRecordWithFlags_ptsz) X(cuEventRecord_ptsz) X(cuGraphInstantiateWithParams_ptsz) X(cuGraphLaunch_ptsz) \
  X(cuGraphUpload_ptsz) X(cuLaunchCooperativeKernel_ptsz) X(cuLaunchHostFunc_ptsz) X(cuLaunchKernelEx_ptsz) \
  X(cuLaunchKernel_ptsz) X(cuMemAllocAsync_ptsz) X(cuMemAllocFromPoolAsync_ptsz) \
  X(cuMemDiscardAndPrefetchBatchAsync_ptsz) X(cuMemDiscardBatchAsync_ptsz) X(cuMemFreeAsync_ptsz) \
  X(cuMemPrefetchAsync_ptsz) X(cuMemPrefetchAsync_v2_ptsz) X(cuMemPrefetchBatchAsync_ptsz) \
  X(cuMemcpy2DAsync_v2_ptsz) X(cuMemcpy2DUnaligned_v2_ptds) X(cuMemcpy2D_v2_ptds) X(cuMemcpy3DAsync_v2_ptsz) \
  X(cuMemcpy3DPeerAsync_ptsz) X(cuMemcpy3DPeer_ptds) X(cuMemcpy3D_v2_ptds) X(cuMemcpyAsync_ptsz) \
  X(cuMemcpyBatchAsync_ptsz) X(cuMemcpyBatchAsync_v2_ptsz) X(cuMemcpyDtoDAsync_v2_ptsz) X(cuMemcpyDtoD_v2_ptds) \
  X(cuMemcpyDtoHAsync_v2_ptsz) X(cuMemcpyDtoH_v2_ptds) X(cuMemcpyHtoDAsync_v2_ptsz) X(cuMemcpyHtoD_v2_ptds) \
  X(cuMemcpyPeerAsync_ptsz) X(cuMemcpyPeer_ptds) X(cuMemcpy_ptds) X(cuMemsetD16Async_ptsz) X(cuMemsetD16_v2_ptds) \
  X(cuMemsetD2D16Async_ptsz) X(cuMemsetD2D16_v2_ptds) X(cuMemsetD2D32Async_ptsz) X(cuMemsetD2D32_v2_ptds) \
  X(cuMemsetD2D8Async_ptsz) X(cuMemsetD2D8_v2_ptds) X(cuMemsetD32Async_ptsz) X(cuMemsetD32_v2_ptds) \
  X(cuMemsetD8Async_ptsz) X(cuMemsetD8_v2_ptds) X(cuStreamAddCallback_ptsz) X(cuStreamAttachMemAsync_ptsz) \
  X(cuStreamBatchMemOp_ptsz) X(cuStreamBatchMemOp_v2_ptsz) X(cuStreamBeginCaptureToGraph_ptsz) \
  X(cuStreamBeginCapture_ptsz) X(cuStreamBeginCapture_v2_ptsz) X(cuStreamCopyAttributes_ptsz) \
  X(cuStreamEndCapture_ptsz) X(cuStreamGetAttribute_ptsz) X(cuStreamGetCaptureInfo_ptsz) \
  X(cuStreamGetCaptureInfo_v2_ptsz) X(cuStreamGetCaptureInfo_v3_ptsz) X(cuStreamGetCtx_ptsz) \
  X(cuStreamGetCtx_v2_ptsz) X(cuStreamGetDevice_ptsz) X(cuStreamGetFlags_ptsz) X(cuStreamGetId_ptsz) \
  X(cuStreamGetPriority_ptsz) X(cuStreamIsCapturing_ptsz) X(cuStreamQuery_ptsz) X(cuStreamSetAttribute_ptsz) \
  X(cuStreamSynchronize_ptsz) X(cuStreamUpdateCaptureDependencies_ptsz) \
  X(cuStreamUpdateCaptureDependencies_v2_ptsz) X(cuStreamWaitEvent_ptsz) X(cuStreamWaitValue32_ptsz) \
  X(cuStreamWaitValue32_v2_ptsz) X(cuStreamWaitValue64_ptsz) X(cuStreamWaitValue64_v2_ptsz) \
  X(cuStreamWriteValue32_ptsz) X(cuStreamWriteValue32_v2_ptsz) X(cuStreamWriteValue64_ptsz) \
  X(cuStreamWriteValue64_v2_ptsz)

#define VGPU_NO_ARRAYS "there are no texture units, so there are no CUDA arrays, textures and surfaces"
#define VGPU_NO_GRAPHICS "the virtual GPU shares nothing with graphics and other devices"
#define VGPU_NO_PROCESSES "the virtual GPU shares nothing between processes"
#define VGPU_NO_MULTICAST "there is one virtual GPU, so there is nothing to multicast to"
#define VGPU_NO_PARTITIONS "multiprocessors cannot be divided among contexts"
#define VGPU_NO_TENSOR_MAPS "there are no tensor maps (bulk copies of sm_90)"
#define VGPU_NO_CLUSTERS "there are no clusters of blocks"
#define VGPU_NO_CONDITIONAL "graphs have no conditional nodes"
#define VGPU_NO_VALUE_NODES "graphs have no nodes for values in memory"
#define VGPU_NO_CHECKPOINTS "processes cannot be checkpointed"
#define VGPU_NO_CORE_DUMPS "there are no core dumps of the device"
#define VGPU_NO_LOGS "there is no log of the driver; vgpu_last_message() explains a failing call"
#define VGPU_NO_NOTIFICATIONS "the device sends no notifications"
#define VGPU_NO_PROFILER "the profiler takes no configuration"
#define VGPU_NO_EXPORT_TABLE "its tables are not documented"
#define VGPU_NO_DEVICES "one launch uses one device"
#define VGPU_NO_UNIFIED "there are no unified function pointers"
#define VGPU_NO_DECOMPRESSION "there is no decompression unit"
#define VGPU_NO_BATCH_3D "its description of copies changed too often; cuMemcpy3DAsync does one"
#define VGPU_NO_CAPABILITIES "there are no capabilities to list"
#define VGPU_NO_OLD "it is the interface with addresses of 32 bits that CUDA 3.2 replaced"

/* X(name, WHY): fails with CUDA_ERROR_NOT_SUPPORTED and the sentence VGPU_NO_WHY. */
#define VGPU_API_REFUSED(X) \
  X(cuArray3DCreate, ARRAYS) X(cuArray3DCreate_v2, ARRAYS) X(cuArray3DGetDescriptor, ARRAYS) \
  X(cuArray3DGetDescriptor_v2, ARRAYS) X(cuArrayCreate, ARRAYS) X(cuArrayCreate_v2, ARRAYS) \
  X(cuArrayDestroy, ARRAYS) X(cuArrayGetDescriptor, ARRAYS) X(cuArrayGetDescriptor_v2, ARRAYS) \
  X(cuArrayGetMemoryRequirements, ARRAYS) X(cuArrayGetPlane, ARRAYS) X(cuArrayGetSparseProperties, ARRAYS) \
  X(cuMipmappedArrayCreate, ARRAYS) X(cuMipmappedArrayDestroy, ARRAYS) X(cuMipmappedArrayGetLevel, ARRAYS) \
  X(cuMipmappedArrayGetMemoryRequirements, ARRAYS) X(cuMipmappedArrayGetSparseProperties, ARRAYS) \
  X(cuTexObjectCreate, ARRAYS) X(cuTexObjectDestroy, ARRAYS) X(cuTexObjectGetResourceDesc, ARRAYS) \
  X(cuTexObjectGetResourceViewDesc, ARRAYS) X(cuTexObjectGetTextureDesc, ARRAYS) X(cuTexRefCreate, ARRAYS) \
  X(cuTexRefDestroy, ARRAYS) X(cuTexRefGetAddress, ARRAYS) X(cuTexRefGetAddressMode, ARRAYS) \
  X(cuTexRefGetAddress_v2, ARRAYS) X(cuTexRefGetArray, ARRAYS) X(cuTexRefGetBorderColor, ARRAYS) \
  X(cuTexRefGetFilterMode, ARRAYS) X(cuTexRefGetFlags, ARRAYS) X(cuTexRefGetFormat, ARRAYS) \
  X(cuTexRefGetMaxAnisotropy, ARRAYS) X(cuTexRefGetMipmapFilterMode, ARRAYS) X(cuTexRefGetMipmapLevelBias, ARRAYS) \
  X(cuTexRefGetMipmapLevelClamp, ARRAYS) X(cuTexRefGetMipmappedArray, ARRAYS) X(cuTexRefSetAddress, ARRAYS) \
  X(cuTexRefSetAddress2D, ARRAYS) X(cuTexRefSetAddress2D_v2, ARRAYS) X(cuTexRefSetAddress2D_v3, ARRAYS) \
  X(cuTexRefSetAddressMode, ARRAYS) X(cuTexRefSetAddress_v2, ARRAYS) X(cuTexRefSetArray, ARRAYS) \
  X(cuTexRefSetBorderColor, ARRAYS) X(cuTexRefSetFilterMode, ARRAYS) X(cuTexRefSetFlags, ARRAYS) \
  X(cuTexRefSetFormat, ARRAYS) X(cuTexRefSetMaxAnisotropy, ARRAYS) X(cuTexRefSetMipmapFilterMode, ARRAYS) \
  X(cuTexRefSetMipmapLevelBias, ARRAYS) X(cuTexRefSetMipmapLevelClamp, ARRAYS) \
  X(cuTexRefSetMipmappedArray, ARRAYS) X(cuSurfObjectCreate, ARRAYS) X(cuSurfObjectDestroy, ARRAYS) \
  X(cuSurfObjectGetResourceDesc, ARRAYS) X(cuSurfRefGetArray, ARRAYS) X(cuSurfRefSetArray, ARRAYS) \
  X(cuMemcpyAtoA, ARRAYS) X(cuMemcpyAtoA_v2, ARRAYS) X(cuMemcpyAtoA_v2_ptds, ARRAYS) X(cuMemcpyAtoD, ARRAYS) \
  X(cuMemcpyAtoD_v2, ARRAYS) X(cuMemcpyAtoD_v2_ptds, ARRAYS) X(cuMemcpyAtoH, ARRAYS) X(cuMemcpyAtoHAsync, ARRAYS) \
  X(cuMemcpyAtoHAsync_v2, ARRAYS) X(cuMemcpyAtoHAsync_v2_ptsz, ARRAYS) X(cuMemcpyAtoH_v2, ARRAYS) \
  X(cuMemcpyAtoH_v2_ptds, ARRAYS) X(cuMemcpyDtoA, ARRAYS) X(cuMemcpyDtoA_v2, ARRAYS) \
  X(cuMemcpyDtoA_v2_ptds, ARRAYS) X(cuMemcpyHtoA, ARRAYS) X(cuMemcpyHtoAAsync, ARRAYS) \
  X(cuMemcpyHtoAAsync_v2, ARRAYS) X(cuMemcpyHtoAAsync_v2_ptsz, ARRAYS) X(cuMemcpyHtoA_v2, ARRAYS) \
  X(cuMemcpyHtoA_v2_ptds, ARRAYS) X(cuModuleGetSurfRef, ARRAYS) X(cuModuleGetTexRef, ARRAYS) \
  X(cuParamSetTexRef, ARRAYS) X(cuDeviceGetTexture1DLinearMaxWidth, ARRAYS) X(cuMemMapArrayAsync, ARRAYS) \
  X(cuMemMapArrayAsync_ptsz, ARRAYS) \
  X(cuGraphicsMapResources, GRAPHICS) X(cuGraphicsMapResources_ptsz, GRAPHICS) \
  X(cuGraphicsResourceGetMappedMipmappedArray, GRAPHICS) X(cuGraphicsResourceGetMappedPointer, GRAPHICS) \
  X(cuGraphicsResourceGetMappedPointer_v2, GRAPHICS) X(cuGraphicsResourceSetMapFlags, GRAPHICS) \
  X(cuGraphicsResourceSetMapFlags_v2, GRAPHICS) X(cuGraphicsSubResourceGetMappedArray, GRAPHICS) \
  X(cuGraphicsUnmapResources, GRAPHICS) X(cuGraphicsUnmapResources_ptsz, GRAPHICS) \
  X(cuGraphicsUnregisterResource, GRAPHICS) X(cuImportExternalMemory, GRAPHICS) \
  X(cuImportExternalSemaphore, GRAPHICS) X(cuExternalMemoryGetMappedBuffer, GRAPHICS) \
  X(cuExternalMemoryGetMappedMipmappedArray, GRAPHICS) X(cuDestroyExternalMemory, GRAPHICS) \
  X(cuDestroyExternalSemaphore, GRAPHICS) X(cuSignalExternalSemaphoresAsync, GRAPHICS) \
  X(cuSignalExternalSemaphoresAsync_ptsz, GRAPHICS) X(cuWaitExternalSemaphoresAsync, GRAPHICS) \
  X(cuWaitExternalSemaphoresAsync_ptsz, GRAPHICS) X(cuGraphAddExternalSemaphoresSignalNode, GRAPHICS) \
  X(cuGraphAddExternalSemaphoresWaitNode, GRAPHICS) X(cuGraphExecExternalSemaphoresSignalNodeSetParams, GRAPHICS) \
  X(cuGraphExecExternalSemaphoresWaitNodeSetParams, GRAPHICS) \
  X(cuGraphExternalSemaphoresSignalNodeGetParams, GRAPHICS) \
  X(cuGraphExternalSemaphoresSignalNodeSetParams, GRAPHICS) \
  X(cuGraphExternalSemaphoresWaitNodeGetParams, GRAPHICS) X(cuGraphExternalSemaphoresWaitNodeSetParams, GRAPHICS) \
  X(cuDeviceGetNvSciSyncAttributes, GRAPHICS) X(cuFlushGPUDirectRDMAWrites, GRAPHICS) \
  X(cuIpcCloseMemHandle, PROCESSES) X(cuIpcGetEventHandle, PROCESSES) X(cuIpcGetMemHandle, PROCESSES) \
  X(cuIpcOpenEventHandle, PROCESSES) X(cuIpcOpenMemHandle, PROCESSES) X(cuIpcOpenMemHandle_v2, PROCESSES) \
  X(cuMemPoolExportPointer, PROCESSES) X(cuMemPoolExportToShareableHandle, PROCESSES) \
  X(cuMemPoolImportFromShareableHandle, PROCESSES) X(cuMemPoolImportPointer, PROCESSES) \
  X(cuMemExportToShareableHandle, PROCESSES) X(cuMemImportFromShareableHandle, PROCESSES) \
  X(cuMemGetHandleForAddressRange, PROCESSES) \
  X(cuMulticastAddDevice, MULTICAST) X(cuMulticastBindAddr, MULTICAST) X(cuMulticastBindMem, MULTICAST) \
  X(cuMulticastCreate, MULTICAST) X(cuMulticastGetGranularity, MULTICAST) X(cuMulticastUnbind, MULTICAST) \
  X(cuGreenCtxCreate, PARTITIONS) X(cuGreenCtxDestroy, PARTITIONS) X(cuGreenCtxGetDevResource, PARTITIONS) \
  X(cuGreenCtxGetId, PARTITIONS) X(cuGreenCtxRecordEvent, PARTITIONS) X(cuGreenCtxStreamCreate, PARTITIONS) \
  X(cuGreenCtxWaitEvent, PARTITIONS) X(cuDevResourceGenerateDesc, PARTITIONS) \
  X(cuDevSmResourceSplitByCount, PARTITIONS) X(cuCtxGetDevResource, PARTITIONS) \
  X(cuDeviceGetDevResource, PARTITIONS) X(cuCtxFromGreenCtx, PARTITIONS) X(cuStreamGetGreenCtx, PARTITIONS) \
  X(cuTensorMapEncodeIm2col, TENSOR_MAPS) X(cuTensorMapEncodeIm2colWide, TENSOR_MAPS) \
  X(cuTensorMapEncodeTiled, TENSOR_MAPS) X(cuTensorMapReplaceAddress, TENSOR_MAPS) \
  X(cuOccupancyMaxActiveClusters, CLUSTERS) X(cuOccupancyMaxPotentialClusterSize, CLUSTERS) \
  X(cuGraphConditionalHandleCreate, CONDITIONAL) \
  X(cuGraphAddBatchMemOpNode, VALUE_NODES) X(cuGraphBatchMemOpNodeGetParams, VALUE_NODES) \
  X(cuGraphBatchMemOpNodeSetParams, VALUE_NODES) X(cuGraphExecBatchMemOpNodeSetParams, VALUE_NODES) \
  X(cuCheckpointProcessCheckpoint, CHECKPOINTS) X(cuCheckpointProcessGetRestoreThreadId, CHECKPOINTS) \
  X(cuCheckpointProcessGetState, CHECKPOINTS) X(cuCheckpointProcessLock, CHECKPOINTS) \
  X(cuCheckpointProcessRestore, CHECKPOINTS) X(cuCheckpointProcessUnlock, CHECKPOINTS) \
  X(cuCoredumpGetAttribute, CORE_DUMPS) X(cuCoredumpGetAttributeGlobal, CORE_DUMPS) \
  X(cuCoredumpSetAttribute, CORE_DUMPS) X(cuCoredumpSetAttributeGlobal, CORE_DUMPS) \
  X(cuLogsCurrent, LOGS) X(cuLogsDumpToFile, LOGS) X(cuLogsDumpToMemory, LOGS) X(cuLogsRegisterCallback, LOGS) \
  X(cuLogsUnregisterCallback, LOGS) \
  X(cuDeviceRegisterAsyncNotification, NOTIFICATIONS) X(cuDeviceUnregisterAsyncNotification, NOTIFICATIONS) \
  X(cuProfilerInitialize, PROFILER) \
  X(cuGetExportTable, EXPORT_TABLE) \
  X(cuLaunchCooperativeKernelMultiDevice, DEVICES) \
  X(cuLibraryGetUnifiedFunction, UNIFIED) \
  X(cuMemBatchDecompressAsync, DECOMPRESSION) X(cuMemBatchDecompressAsync_ptsz, DECOMPRESSION) \
  X(cuMemcpy3DBatchAsync, BATCH_3D) X(cuMemcpy3DBatchAsync_ptsz, BATCH_3D) X(cuMemcpy3DBatchAsync_v2, BATCH_3D) \
  X(cuMemcpy3DBatchAsync_v2_ptsz, BATCH_3D) \
  X(cuDeviceGetHostAtomicCapabilities, CAPABILITIES) X(cuDeviceGetP2PAtomicCapabilities, CAPABILITIES) \
  X(cuMemAlloc, OLD) X(cuMemAllocPitch, OLD) X(cuMemFree, OLD) X(cuMemGetAddressRange, OLD) X(cuMemGetInfo, OLD) \
  X(cuMemHostGetDevicePointer, OLD) X(cuMemAllocHost, OLD) X(cuModuleGetGlobal, OLD) X(cuDeviceTotalMem, OLD) \
  X(cuMemcpy2D, OLD) X(cuMemcpy2DAsync, OLD) X(cuMemcpy2DUnaligned, OLD) X(cuMemcpy3D, OLD) \
  X(cuMemcpy3DAsync, OLD) X(cuMemcpyDtoD, OLD) X(cuMemcpyDtoDAsync, OLD) X(cuMemcpyDtoH, OLD) \
  X(cuMemcpyDtoHAsync, OLD) X(cuMemcpyHtoD, OLD) X(cuMemcpyHtoDAsync, OLD) X(cuMemsetD16, OLD) \
  X(cuMemsetD2D16, OLD) X(cuMemsetD2D32, OLD) X(cuMemsetD2D8, OLD) X(cuMemsetD32, OLD) X(cuMemsetD8, OLD)

/* clang-format on */

#endif
