// Stores and process groups of c10d, which tch does not show. The Rust side is src/distributed/.
//
// Every pointer that a function gives out is freed by the function of its name with `_free`, once. Tensors are
// `at::Tensor*` as tch holds them; they stay the caller's.

#include "boundary.h"

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using patchwork::guarded;

namespace {

using Milliseconds = std::chrono::milliseconds;

struct Store {
  c10::intrusive_ptr<c10d::Store> held;
};

struct Group {
  c10::intrusive_ptr<c10d::Backend> held;
  Milliseconds timeout;

  c10d::Backend& open() {
    TORCH_CHECK(held, "the group is closed");
    return *held;
  }
};

// Views of the caller's tensors that autograd does not see. Gloo reads and writes `numel` elements from the first one
// on, whatever the strides are: what is not contiguous is refused here, whoever calls.
std::vector<at::Tensor> borrowed(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> views;
  views.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    TORCH_CHECK(tensors[index]->is_contiguous(), "a tensor for a collective operation is not contiguous");
    views.push_back(tensors[index]->detach());
  }
  return views;
}

// Waits for the result, on the host: an operation on a GPU that went wrong is an error here and not somewhere later.
// The operation's own timeout ends the wait; a second one here could end it while a thread still writes.
void finish(const c10::intrusive_ptr<c10d::Work>& work) {
  if (work) {
    work->wait();
  }
}

} // namespace

extern "C" {

int pw_tcp_store(
    const char* host,
    uint16_t port,
    int listener,
    bool is_server,
    int64_t timeout_ms,
    Store** store) noexcept {
  return guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = is_server;
    options.waitWorkers = false;
    options.timeout = Milliseconds(timeout_ms);
    if (listener >= 0) {
      options.masterListenFd = listener;
    }
    *store = new Store{c10::make_intrusive<c10d::TCPStore>(host, options)};
  });
}

int pw_file_store(const char* path, int ranks, int64_t timeout_ms, Store** store) noexcept {
  return guarded([&] {
    auto held = c10::make_intrusive<c10d::FileStore>(path, ranks);
    held->setTimeout(Milliseconds(timeout_ms));
    *store = new Store{std::move(held)};
  });
}

int pw_store_prefix(Store* store, const char* prefix, Store** prefixed) noexcept {
  return guarded([&] {
    *prefixed = new Store{c10::make_intrusive<c10d::PrefixStore>(prefix, store->held)};
  });
}

int pw_store_set(Store* store, const char* key, const uint8_t* bytes, size_t length) noexcept {
  return guarded([&] { store->held->set(key, std::vector<uint8_t>(bytes, bytes + length)); });
}

// `take` is called once with the value, before this returns.
int pw_store_get(
    Store* store,
    const char* key,
    int64_t timeout_ms,
    void (*take)(void*, const uint8_t*, size_t),
    void* taker) noexcept {
  return guarded([&] {
    store->held->wait({key}, Milliseconds(timeout_ms));
    const auto bytes = store->held->get(key);
    take(taker, bytes.data(), bytes.size());
  });
}

int pw_store_check(Store* store, const char* key, bool* is_there) noexcept {
  return guarded([&] { *is_there = store->held->check({key}); });
}

int pw_store_add(Store* store, const char* key, int64_t amount, int64_t* sum) noexcept {
  return guarded([&] { *sum = store->held->add(key, amount); });
}

void pw_store_free(Store* store) noexcept {
  guarded([&] { delete store; });
}

// An empty `host` leaves the interface to c10d: GLOO_SOCKET_IFNAME, or the one that the machine's name belongs to.
int pw_gloo_group(
    Store* store,
    int rank,
    int ranks,
    int64_t timeout_ms,
    const char* host,
    Group** group) noexcept {
  return guarded([&] {
    const Milliseconds timeout(timeout_ms);
    auto options = *host == '\0' ? c10d::ProcessGroupGloo::Options::create_default(timeout)
                                 : c10d::ProcessGroupGloo::Options::create(timeout);
    if (*host != '\0') {
      options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
    }
    *group = new Group{
        c10::make_intrusive<c10d::ProcessGroupGloo>(store->held, rank, ranks, std::move(options)), timeout};
  });
}

bool pw_has_nccl() noexcept {
#ifdef USE_C10D_NCCL
  return true;
#else
  return false;
#endif
}

int pw_nccl_group(
    [[maybe_unused]] Store* store,
    [[maybe_unused]] int rank,
    [[maybe_unused]] int ranks,
    [[maybe_unused]] int64_t timeout_ms,
    [[maybe_unused]] int device,
    [[maybe_unused]] Group** group) noexcept {
  return guarded([&] {
#ifdef USE_C10D_NCCL
    // Read when a group is made. Without it a failure ends the process from a thread of c10d's own.
    TORCH_CHECK(setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 1) == 0, "the environment cannot be changed");
    const Milliseconds timeout(timeout_ms);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = timeout;
    auto held = c10::make_intrusive<c10d::ProcessGroupNCCL>(store->held, rank, ranks, std::move(options));
    held->setBoundDeviceId(at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *group = new Group{std::move(held), timeout};
#else
    TORCH_CHECK(false, "this program is built without NCCL");
#endif
  });
}

// In place. All tensors are of one kind and on one device where there are several.
int pw_all_reduce(Group* group, at::Tensor* const* tensors, size_t count, bool average) noexcept {
  return guarded([&] {
    auto views = borrowed(tensors, count);
    if (views.size() == 1) {
      c10d::AllreduceOptions options;
      options.timeout = group->timeout;
      finish(group->open().allreduce(views, options));
    } else if (views.size() > 1) {
      c10d::AllreduceCoalescedOptions options;
      options.timeout = group->timeout;
      finish(group->open().allreduce_coalesced(views, options));
    }
    // Gloo has no average of its own, and all ranks divide alike.
    if (average) {
      for (auto& view : views) {
        view.div_(group->open().getSize());
      }
    }
  });
}

int pw_broadcast(Group* group, at::Tensor* const* tensors, size_t count, int root) noexcept {
  return guarded([&] {
    // Several tensors in one call would be one a device.
    for (auto& view : borrowed(tensors, count)) {
      std::vector<at::Tensor> one{view};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      options.timeout = group->timeout;
      finish(group->open().broadcast(one, options));
    }
  });
}

// Both of one dimension; `output` has room for the input of each rank.
int pw_all_gather(Group* group, at::Tensor* output, at::Tensor* input) noexcept {
  return guarded([&] {
    at::Tensor* tensors[] = {output, input};
    auto views = borrowed(tensors, 2);
    c10d::AllgatherOptions options;
    options.timeout = group->timeout;
    finish(group->open()._allgather_base(views[0], views[1], options));
  });
}

int pw_barrier(Group* group) noexcept {
  return guarded([&] {
    c10d::BarrierOptions options;
    options.timeout = group->timeout;
    finish(group->open().barrier(options));
  });
}

// Closes the connections, so that the other ranks fail at once too. The group is of no use afterwards.
int pw_group_abort(Group* group) noexcept {
  return guarded([&] {
    if (group->held) {
      // NCCL ends what hangs on the device; Gloo's connections close with the last owner, which this is.
      if (group->held->getBackendName() != c10d::GLOO_BACKEND_NAME) {
        group->held->abort();
      }
      group->held.reset();
    }
  });
}

void pw_group_free(Group* group) noexcept {
  guarded([&] { delete group; });
}

} // extern "C"
