// Streams of a CUDA device beside the one that a step computes on: copies, and graphs of a step. The Rust side is src/cuda/.
// What libtorch says of streams and events of any device needs no header of CUDA; graphs do.

#include "boundary.h"

#include <ATen/ATen.h>
#include <c10/core/Allocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#ifdef PW_CUDA
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/MemPool.h>
#include <c10/cuda/CUDACachingAllocator.h>
#endif

#include <exception>
#include <memory>
#include <optional>

using at::Tensor;
using patchwork::guarded;

namespace {

c10::Device cuda_device(int index) {
  TORCH_CHECK(at::hasCUDA(), "streams are of a CUDA device, and there is none");
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

// One of libtorch's streams that nothing else of ours computes on.
c10::Stream new_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

c10::Stream current_stream(c10::Device device) {
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}

struct CopyStream {
  c10::Stream stream;
};

struct Copy {
  Tensor tensor;
  c10::Event done;
};

} // namespace

extern "C" {

int pw_copy_stream(int device, CopyStream** stream) noexcept {
  return guarded([&] { *stream = new CopyStream{new_stream(cuda_device(device))}; });
}

void pw_copy_stream_free(CopyStream* stream) noexcept {
  guarded([&] { delete stream; });
}

// Begins a copy of page-locked memory, which libtorch keeps until it is done.
int pw_copy_begin(CopyStream* stream, at::Tensor* host, Copy** copy) noexcept {
  return guarded([&] {
    TORCH_CHECK(host->is_pinned(), "memory that is copied beside a step is page-locked");
    const c10::NoGradGuard no_grad;
    const c10::StreamGuard on_stream(stream->stream);
    Tensor tensor = at::empty_like(*host, host->options().device(stream->stream.device()).pinned_memory(false));
    tensor.copy_(*host, /*non_blocking=*/true);
    c10::Event done(c10::kCUDA);
    done.record(stream->stream);
    *copy = new Copy{std::move(tensor), std::move(done)};
  });
}

// The copy, for the stream that this thread computes on, which waits for it; the host does not.
int pw_copy_take(Copy* copy, at::Tensor** out) noexcept {
  return guarded([&] {
    const auto current = current_stream(copy->tensor.device());
    copy->done.block(current);
    // Its memory belongs to the stream of copies, and may be used again there when this stream is through with it.
    copy->tensor.record_stream(current);
    *out = new Tensor(copy->tensor);
  });
}

void pw_copy_free(Copy* copy) noexcept {
  guarded([&] { delete copy; });
}

} // extern "C"

#ifdef PW_CUDA
namespace {

// What is on `first` by now comes before whatever is put on `second` from now on.
void order(const c10::Stream& first, const c10::Stream& second) {
  c10::Event event(first.device_type());
  event.record(first);
  event.block(second);
}

// A stream and the memory of all that is computed on it, which graphs keep: its kernels have the addresses written down.
// One pool for all graphs: they are replayed one after the other, so that each may use what the others compute in.
struct GraphStream {
  c10::Stream stream;
  std::unique_ptr<at::cuda::MemPool> pool = std::make_unique<at::cuda::MemPool>();

  explicit GraphStream(c10::Device device) : stream(new_stream(device)) {}

  // A pool that a failed capture still counts on must not be taken down, and goes with the process.
  ~GraphStream() {
    if (pool->use_count() != 1) {
      pool.release();
    }
  }

  c10::cuda::CUDACachingAllocator::CUDAAllocator& allocator() {
    // Registered under the device's type by libtorch's CUDA part itself.
    return *static_cast<c10::cuda::CUDACachingAllocator::CUDAAllocator*>(c10::GetAllocator(c10::kCUDA));
  }
};

// From `enter` to `leave` this thread computes on the stream.
struct Entered {
  GraphStream& graphs;
  c10::Stream before;
  std::optional<c10::StreamGuard> on_stream;
  bool allocates = false;
  std::unique_ptr<at::cuda::CUDAGraph> capture;

  Entered(GraphStream& graphs, bool captures) : graphs(graphs), before(current_stream(graphs.stream.device())) {
    const auto index = graphs.stream.device_index();
    // Memory that is free but of another pool cannot be used in this one.
    graphs.allocator().emptyCache();
    order(before, graphs.stream);
    on_stream.emplace(graphs.stream);
    if (captures) {
      capture = std::make_unique<at::cuda::CUDAGraph>();
      // What other threads allocate or copy meanwhile has nothing to do with it.
      capture->capture_begin(graphs.pool->id(), cudaStreamCaptureModeThreadLocal);
    } else {
      c10::impl::VirtualGuardImpl streams(c10::kCUDA);
      const auto own = static_cast<cudaStream_t>(streams.getStreamNativeHandle(graphs.stream));
      // Autograd's threads compute on the stream that the way forward was on.
      graphs.allocator().beginAllocateToPool(index, graphs.pool->id(), [own](cudaStream_t stream) { return stream == own; });
      allocates = true;
    }
  }

  void stop_allocating() {
    if (allocates) {
      allocates = false;
      const auto index = graphs.stream.device_index();
      graphs.allocator().endAllocateToPool(index, graphs.pool->id());
      graphs.allocator().releasePool(index, graphs.pool->id());
    }
  }

  // The graph, where one was captured.
  std::unique_ptr<at::cuda::CUDAGraph> leave() {
    stop_allocating();
    if (capture) {
      capture->capture_end();
    }
    order(graphs.stream, before);
    on_stream.reset();
    return std::move(capture);
  }

  // After a failure: what was captured is worth nothing, and the stream must not stay in capture.
  ~Entered() {
    try {
      stop_allocating();
      if (capture) {
        capture->capture_end();
      }
    } catch (const std::exception&) {
      // The failure that led here is the one to report.
    }
    if (on_stream) {
      try {
        order(graphs.stream, before);
      } catch (const std::exception&) {
      }
    }
  }
};

struct Graph {
  std::unique_ptr<at::cuda::CUDAGraph> held;
};

} // namespace

extern "C" {

int pw_graph_stream(int device, GraphStream** graphs) noexcept {
  return guarded([&] {
    const auto of = cuda_device(device);
    // A pool belongs to the device that is current.
    const c10::DeviceGuard guard(of);
    *graphs = new GraphStream(of);
  });
}

void pw_graph_stream_free(GraphStream* graphs) noexcept {
  guarded([&] { delete graphs; });
}

// Until `pw_graph_leave` this thread computes on the stream, or where `captures` is set notes what it would compute.
int pw_graph_enter(GraphStream* graphs, bool captures, Entered** entered) noexcept {
  return guarded([&] { *entered = new Entered(*graphs, captures); });
}

// `graph` is null where none was captured.
int pw_graph_leave(Entered* entered, Graph** graph) noexcept {
  return guarded([&] {
    const std::unique_ptr<Entered> owned(entered);
    auto held = owned->leave();
    *graph = held ? new Graph{std::move(held)} : nullptr;
  });
}

// After a failure within.
void pw_graph_abandon(Entered* entered) noexcept {
  guarded([&] { delete entered; });
}

int pw_graph_replay(GraphStream* graphs, Graph* graph) noexcept {
  return guarded([&] {
    const auto before = current_stream(graphs->stream.device());
    order(before, graphs->stream);
    {
      const c10::StreamGuard on_stream(graphs->stream);
      graph->held->replay();
    }
    order(graphs->stream, before);
  });
}

void pw_graph_free(Graph* graph) noexcept {
  guarded([&] { delete graph; });
}

} // extern "C"

#else

namespace {
struct GraphStream {};
struct Entered {};
struct Graph {};

int refuse() noexcept {
  return guarded([] { TORCH_CHECK(false, "this program is built without CUDA: it has no graphs of a step"); });
}
} // namespace

extern "C" {
int pw_graph_stream(int, GraphStream**) noexcept { return refuse(); }
void pw_graph_stream_free(GraphStream*) noexcept {}
int pw_graph_enter(GraphStream*, bool, Entered**) noexcept { return refuse(); }
int pw_graph_leave(Entered*, Graph**) noexcept { return refuse(); }
void pw_graph_abandon(Entered*) noexcept {}
int pw_graph_replay(GraphStream*, Graph*) noexcept { return refuse(); }
void pw_graph_free(Graph*) noexcept {}
} // extern "C"
#endif
