// A stand-in for libcuda.so.1: memory of the device is memory of the host, and a launch runs the kernel's build for the
// processor (shim.h). So contexts, buffers, launches and graphs of the backend run unchanged on a machine without a GPU.
//
// It is late on purpose, as a device is: work given to a stream is kept until something waits for that stream, and so are
// copies from and to page-locked memory. Buffers start as NaN and lie between guards that are checked after every launch.
#include <atomic>
#include <climits>
#include <memory>
#include <mutex>
#include <set>
#include <sstream>

#include "shim.h"
#include "tma.h"

namespace {

using Result = int;
using Address = unsigned long long;

constexpr Result SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
                 NOT_FOUND = 500, LAUNCH_FAILED = 719;

/// Of a block, as on an H100.
constexpr int SHARED_MEMORY = 227 << 10;
constexpr size_t GUARD = 256;
constexpr unsigned char GUARD_BYTE = 0xa5;

/// Of the memory, the sites and the streams.
std::mutex mutex;

struct Allocation {
  size_t bytes;
  std::unique_ptr<unsigned char[]> memory;
};
std::map<Address, Allocation> allocations;
size_t allocated = 0;
/// Of the device.
size_t memory = 4ull << 30;
/// Page-locked memory of the host: what is copied from here is read when the copy is made, not when it is asked for.
std::map<Address, std::vector<unsigned char>> pinned;

std::set<std::string> sites;
thread_local shim::Options options;
thread_local std::string last_error;
/// How often this thread called what.
thread_local std::map<std::string, unsigned long long> calls;

bool guards_hold() {
  std::lock_guard<std::mutex> lock(mutex);
  for (auto& [address, allocation] : allocations)
    for (size_t i = 0; i < GUARD; ++i)
      if (((unsigned char*)address)[-(long)i - 1] != GUARD_BYTE ||
          ((unsigned char*)address)[allocation.bytes + i] != GUARD_BYTE)
        return false;
  return true;
}

/// A piece of work; an empty string, or what went wrong.
using Work = std::function<std::string()>;
/// A launch, run as whoever launches its graph chooses.
using Node = std::function<std::string(const shim::Options&)>;
/// In order: each node waits for the one before it.
using Graph = std::vector<Node>;

struct Stream {
  std::mutex running;
  std::deque<Work> pending;
  /// The first error; as on a device, everything after it fails too.
  std::string error;

  void give(Work work) {
    std::lock_guard<std::mutex> lock(mutex);
    pending.push_back(std::move(work));
  }

  /// Runs what is pending, or only what comes before `reached`.
  Result wait(const std::function<bool()>& reached = [] { return false; }) {
    std::lock_guard<std::mutex> run(running);
    while (!reached()) {
      Work piece;
      {
        std::lock_guard<std::mutex> lock(mutex);
        if (pending.empty()) break;
        piece = std::move(pending.front());
        pending.pop_front();
      }
      std::string found = piece();
      if (error.empty()) error = found;
    }
    last_error = error;
    return error.empty() ? SUCCESS : LAUNCH_FAILED;
  }
};
std::set<Stream*> streams;

/// A point in a stream, passed again and again.
struct Event {
  Stream* stream = nullptr;
  size_t recorded = 0;
  std::atomic<size_t> passed{0};
};

struct Module {
  std::string text;
};

struct Function {
  std::string name;
  const shim::Kernel* kernel;
};

/// The bytes that PTX declares for the parameters of a kernel, in order: what the driver would copy from the caller.
bool declared(const std::string& ptx, const std::string& kernel, std::vector<size_t>& sizes) {
  size_t at = ptx.find(".entry " + kernel + "(");
  if (at == std::string::npos) return false;
  std::istringstream lines(ptx.substr(at, ptx.find(')', at + kernel.size() + 8) - at));
  for (std::string line; std::getline(lines, line);) {
    size_t param = line.find(".param ");
    if (param == std::string::npos) continue;
    size_t open = line.find('['), bits = line.find_first_of("0123456789", line.rfind(" .") + 2);
    sizes.push_back(open != std::string::npos ? std::stoul(line.substr(open + 1)) : std::stoul(line.substr(bits)) / 8);
  }
  return true;
}

Result copy(Stream* stream, void* to, const void* from, size_t bytes) {
  stream->give([=] {
    if (stream->error.empty()) memcpy(to, from, bytes);
    return std::string();
  });
  return SUCCESS;
}

bool is_pinned(const void* from) {
  std::lock_guard<std::mutex> lock(mutex);
  auto after = pinned.upper_bound((Address)from);
  return after != pinned.begin() && (Address)from < std::prev(after)->first + std::prev(after)->second.size();
}

/// A launch with parameters copied from `arguments`; nothing if no device would take it.
Node launch(void* function, shim::Dim3 grid, shim::Dim3 threads, unsigned dynamic, void** arguments) {
  if (!grid.x || !grid.y || !grid.z || grid.y > 65535 || grid.z > 65535) return nullptr;
  const Function& f = *(Function*)function;
  std::vector<std::vector<unsigned char>> values;
  for (size_t i = 0; i < f.kernel->sizes.size(); ++i) {
    auto* bytes = (const unsigned char*)arguments[i];
    values.emplace_back(bytes, bytes + f.kernel->sizes[i]);
  }
  return [=](const shim::Options& chosen) {
    std::string error = shim::launch(grid, threads, dynamic, chosen, [&] { f.kernel->call(values); });
    if (error.empty() && !guards_hold()) error = "wrote outside of its buffers";
    return error.empty() ? error : f.name + ": " + error;
  };
}

void give(Stream* stream, const Node& node) {
  stream->give([=, chosen = options] { return stream->error.empty() ? node(chosen) : std::string(); });
}

}  // namespace

void shim::note_site(const std::string& name) {
  std::lock_guard<std::mutex> lock(mutex);
  sites.insert(name);
}

std::map<std::string, shim::Kernel>& shim::kernels() {
  static std::map<std::string, shim::Kernel> kernels;
  return kernels;
}

// What tests ask of the stand-in itself; each is for launches of the calling thread.

extern "C" void stand_in_options(unsigned long long seed, const char* drop) { options = {seed, drop}; }

/// The names of all synchronisation that ran so far, one a line; the length it needs.
extern "C" size_t stand_in_sites(char* text, size_t capacity) {
  std::lock_guard<std::mutex> lock(mutex);
  std::string all;
  for (const std::string& site : sites) all += site + "\n";
  if (all.size() <= capacity) memcpy(text, all.data(), all.size());
  return all.size();
}

/// How much memory the device has from here on.
extern "C" void stand_in_memory(size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex);
  memory = bytes;
}

/// How often the calling thread called a function of the driver, of those that cost time or wait.
extern "C" unsigned long long stand_in_calls(const char* function) { return calls[function]; }

// The driver's functions. Signatures are those of cuda.h; what is not read has no name.

#define API extern "C" __attribute__((visibility("default"))) Result
#define COUNTED ++calls[__func__]

API cuInit(unsigned) { return SUCCESS; }
API cuDriverGetVersion(int* version) { return *version = 12000, SUCCESS; }
API cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
API cuDeviceGet(int* device, int ordinal) { return *device = 0, ordinal ? INVALID_DEVICE : SUCCESS; }
API cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "stand-in"), SUCCESS; }
API cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = memory, SUCCESS; }

API cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 75: return *value = 9, SUCCESS;       // compute capability, major
    case 76: return *value = 0, SUCCESS;       // and minor
    case 16: return *value = 4, SUCCESS;       // multiprocessors
    case 97: return *value = SHARED_MEMORY, SUCCESS;
    default: return *value = 0, SUCCESS;
  }
}

API cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)1, SUCCESS; }
API cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
static thread_local void* current;
API cuCtxGetCurrent(void** context) { return *context = current, SUCCESS; }
API cuCtxSetCurrent(void* context) { return current = context, SUCCESS; }

API cuCtxSynchronize() {
  COUNTED;
  std::vector<Stream*> all;
  {
    std::lock_guard<std::mutex> lock(mutex);
    all.assign(streams.begin(), streams.end());
  }
  for (Stream* stream : all) {
    {
      // Another thread may have destroyed it.
      std::lock_guard<std::mutex> lock(mutex);
      if (!streams.count(stream)) continue;
    }
    // An error ends its stream only, so that tests of planted bugs do not end the others of their process.
    stream->wait();
  }
  return SUCCESS;
}

API cuStreamCreate(void** stream, unsigned) {
  std::lock_guard<std::mutex> lock(mutex);
  return *stream = *streams.insert(new Stream).first, SUCCESS;
}

API cuStreamDestroy_v2(void* stream) {
  ((Stream*)stream)->wait();
  std::lock_guard<std::mutex> lock(mutex);
  // Not freed: another thread may be waiting for it in cuCtxSynchronize.
  return streams.erase((Stream*)stream), SUCCESS;
}

API cuStreamSynchronize(void* stream) {
  COUNTED;
  return ((Stream*)stream)->wait();
}

API cuEventCreate(void** event, unsigned) { return *event = new Event, SUCCESS; }
/// Not freed: the stream may not have passed it yet.
API cuEventDestroy_v2(void*) { return SUCCESS; }

API cuEventRecord(void* event, void* stream) {
  auto* point = (Event*)event;
  point->stream = (Stream*)stream;
  point->stream->give([point, number = ++point->recorded] {
    point->passed = number;
    return std::string();
  });
  return SUCCESS;
}

API cuEventSynchronize(void* event) {
  COUNTED;
  auto* point = (Event*)event;
  if (options.drop == __func__ || !point->stream) return SUCCESS;
  return point->stream->wait([=] { return point->passed >= point->recorded; });
}

API cuGraphCreate(void** graph, unsigned) { return *graph = new Graph, SUCCESS; }

/// Of cuda.h.
struct KernelNode {
  void* function;
  unsigned grid[3], threads[3], dynamic;
  void **arguments, **extra;
  void *kernel, *context;
};

/// A node of a graph is its address plus its number; only chains are run.
API cuGraphAddKernelNode_v2(void** node, void* graph, void* const* before, size_t count, const KernelNode* made) {
  auto* nodes = (Graph*)graph;
  size_t number = nodes->size();
  if (count != (number ? 1 : 0) || (count && *before != (char*)graph + number - 1)) return INVALID_VALUE;
  auto& [gx, gy, gz] = made->grid;
  auto& [bx, by, bz] = made->threads;
  Node next = launch(made->function, {gx, gy, gz}, {bx, by, bz}, made->dynamic, made->arguments);
  if (!next) return INVALID_VALUE;
  nodes->push_back(next);
  return *node = (char*)graph + number, SUCCESS;
}

API cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  COUNTED;
  if (options.drop == __func__) return OUT_OF_MEMORY;
  return *executable = new Graph(*(Graph*)graph), SUCCESS;
}

API cuGraphExecDestroy(void* executable) { return delete (Graph*)executable, SUCCESS; }
API cuGraphDestroy(void* graph) { return delete (Graph*)graph, SUCCESS; }

API cuGraphLaunch(void* executable, void* stream) {
  COUNTED;
  for (const Node& node : *(Graph*)executable) give((Stream*)stream, node);
  return SUCCESS;
}

API cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard<std::mutex> lock(mutex);
  return *free = memory - std::min(memory, allocated), *total = memory, SUCCESS;
}

API cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  COUNTED;
  std::vector<unsigned char> made(bytes, 0xff);
  *address = made.data();
  std::lock_guard<std::mutex> lock(mutex);
  return pinned[(Address)*address] = std::move(made), SUCCESS;
}

API cuMemFreeHost(void* address) {
  std::lock_guard<std::mutex> lock(mutex);
  return pinned.erase((Address)address) ? SUCCESS : INVALID_VALUE;
}

API cuMemAlloc_v2(Address* address, size_t bytes) {
  COUNTED;
  std::lock_guard<std::mutex> lock(mutex);
  if (!bytes) return INVALID_VALUE;
  if (allocated > memory || bytes > memory - allocated) return OUT_OF_MEMORY;
  auto made = std::make_unique<unsigned char[]>(bytes + 3 * GUARD);
  *address = ((Address)made.get() + 2 * GUARD - 1) / GUARD * GUARD;
  memset((void*)(*address - GUARD), GUARD_BYTE, GUARD);
  shim::spoil((void*)*address, bytes);
  memset((void*)(*address + bytes), GUARD_BYTE, GUARD);
  allocated += bytes;
  allocations[*address] = {bytes, std::move(made)};
  return SUCCESS;
}

API cuMemFree_v2(Address address) {
  COUNTED;
  std::lock_guard<std::mutex> lock(mutex);
  auto found = allocations.find(address);
  if (found == allocations.end()) return INVALID_VALUE;
  allocated -= found->second.bytes;
  return allocations.erase(found), SUCCESS;
}

API cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
  COUNTED;
  if (is_pinned(from)) return copy((Stream*)stream, (void*)to, from, bytes);
  // Ordinary memory is staged before the call returns.
  auto staged = std::make_shared<std::vector<unsigned char>>((const unsigned char*)from, (const unsigned char*)from + bytes);
  ((Stream*)stream)->give([=] {
    if (((Stream*)stream)->error.empty()) memcpy((void*)to, staged->data(), staged->size());
    return std::string();
  });
  return SUCCESS;
}

API cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
  COUNTED;
  return copy((Stream*)stream, to, (const void*)from, bytes);
}

API cuModuleLoadData(void** module, const void* image) {
  const char* text = (const char*)image;
  if (!strstr(text, ".version")) return INVALID_IMAGE;
  return *module = new Module{text}, SUCCESS;
}

API cuModuleUnload(void* module) { return delete (Module*)module, SUCCESS; }

API cuModuleGetFunction(void** function, void* module, const char* name) {
  auto kernel = shim::kernels().find(name);
  std::vector<size_t> sizes;
  if (kernel == shim::kernels().end() || !declared(((Module*)module)->text, name, sizes)) return NOT_FOUND;
  if (sizes != kernel->second.sizes) {
    last_error = std::string(name) + ": the PTX declares other parameters than the kernel has; compile it again";
    return INVALID_IMAGE;
  }
  return *function = new Function{name, &kernel->second}, SUCCESS;
}

/// The attribute is the most dynamic shared memory, the only one that is set.
API cuFuncSetAttribute(void*, int, int value) { return value <= SHARED_MEMORY ? SUCCESS : INVALID_VALUE; }

/// Writes what tma.h of this processor reads; refuses what a device refuses, and rows narrower than their swizzle, which a
/// device spreads out.
API cuTensorMapEncodeTiled(void* map, int, unsigned rank, void* address, const Address* sizes, const Address* strides,
                           const unsigned* box, const unsigned* steps, int, int swizzle, int, int) {
  bool fits = rank >= 2 && rank <= 4 && swizzle >= 1 && swizzle <= 3 && box[0] * 2 == 16u << swizzle;
  if (!fits || (Address)address % 16 || (Address)map % 64) return INVALID_VALUE;
  TensorMap made{(const u8*)address, {2, 0, 0, 0}, {1, 1, 1, 1}, {1, 1, 1, 1}};
  for (unsigned d = 0; d < rank; ++d) {
    if (!sizes[d] || sizes[d] > INT_MAX || !box[d] || box[d] > 256 || steps[d] != 1) return INVALID_VALUE;
    made.sizes[d] = (int)sizes[d];
    made.box[d] = (int)box[d];
    if (d == 0) continue;
    made.strides[d] = strides[d - 1];
    // By the documentation, each stride is a multiple of the one before.
    if (made.strides[d] % 16 || (d > 1 && made.strides[d] % made.strides[d - 1])) return INVALID_VALUE;
  }
  return memcpy(map, &made, sizeof made), SUCCESS;
}

API cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned dynamic, void* stream, void** arguments, void**) {
  COUNTED;
  Node node = launch(function, {gx, gy, gz}, {bx, by, bz}, dynamic, arguments);
  return node ? (give((Stream*)stream, node), SUCCESS) : INVALID_VALUE;
}

API cuGetErrorName(Result result, const char** name) {
  switch (result) {
    case OUT_OF_MEMORY: return *name = "CUDA_ERROR_OUT_OF_MEMORY", SUCCESS;
    case INVALID_DEVICE: return *name = "CUDA_ERROR_INVALID_DEVICE", SUCCESS;
    case LAUNCH_FAILED: return *name = "CUDA_ERROR_LAUNCH_FAILED", SUCCESS;
    case NOT_FOUND: return *name = "CUDA_ERROR_NOT_FOUND", SUCCESS;
    default: return *name = "CUDA_ERROR_UNKNOWN", SUCCESS;
  }
}

API cuGetErrorString(Result result, const char** text) {
  static thread_local std::string kept;
  const char* name;
  cuGetErrorName(result, &name);
  kept = last_error.empty() ? std::string(name) : last_error;
  return *text = kept.c_str(), SUCCESS;
}
