// Runs CUDA kernels on the processor: what is a thread on a GPU is a fiber here, with a stack of its own.
//
// A block is one loop over its fibers, each of which runs until it has to wait for another. Blocks run one after another.
// What this finds: wrong indices, missing or superfluous barriers, exchanges between lanes that do not add up, shared
// memory read before it is written, writes beyond a buffer (with driver.cpp), threads that wait for ever. What it cannot
// find: speed, bank conflicts, the order in which memory of one warp becomes visible to another, limits on registers.
//
// The order of fibers is a seed's choice. Seed 0 runs warps in turn; any other runs blocks and warps in random order, each
// warp as far as it can go, so that a missing barrier shows in one of a few seeds. A test can also take a barrier away on
// purpose: see `dropped`.
//
// x86-64 Linux, g++ or clang++.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include <sys/mman.h>

#define STAND_IN 1
#define __device__
#define __forceinline__ inline
#define __noinline__
#define __restrict__ __restrict
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

namespace shim {

/// Where in the source something was called.
struct Place {
  const char* file;
  int line;
};
// The last parameters of a function that wants to know where it is called from, and what they say. (Default arguments are
// evaluated there, but only if they are the builtins themselves.)
#define SHIM_CALLER const char *caller_file = __builtin_FILE(), int caller_line = __builtin_LINE()
#define SHIM_PLACE \
  shim::Place { caller_file, caller_line }

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// How a launch is run. Chosen by the thread that launches.
struct Options {
  uint64_t seed = 0;
  /// The synchronisation that is left out, as `site_name` calls it; none if empty.
  std::string drop;
};

struct Fiber {
  void* stack_pointer = nullptr;
  void* stack = nullptr;
  Dim3 index;
  unsigned number = 0;
  bool done = false;
  Place waits_at = {"", 0};
};

/// Fibers that wait for each other: so many have arrived, in this generation.
struct Group {
  int arrived = 0;
  uint64_t generation = 0;
};

/// A barrier that kernels call by its number.
struct NamedBarrier {
  Group group;
  /// Of those who arrived, how many wait.
  int waiting = 0;
};

struct Warp {
  Group group;
  alignas(64) uint64_t slot[32][8];
};

/// The block that an operating system's thread is running.
struct Block {
  Dim3 grid, size, index;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Group all;
  int threads = 0;
  Fiber* current = nullptr;
  void* scheduler = nullptr;
  /// Counts what fibers achieve; when it stands still, they wait for ever.
  uint64_t progress = 0;
  /// Tells blocks apart, over all launches.
  uint64_t serial = 0;
  uint64_t random = 0;
  std::vector<unsigned char> dynamic;
  unsigned char* dynamic_start = nullptr;
  const std::function<void()>* body = nullptr;
  /// Barriers of each four warps, and copies that a device makes by itself, in no particular order.
  Group warpgroups[8];
  NamedBarrier named[16];
  std::vector<std::function<void()>> later;
  std::string error;
  Options options;
  /// Shared variables, with the block that last saw them.
  std::unordered_map<void*, uint64_t> shared;
  std::map<std::pair<const char*, int>, bool> sites;
};
inline thread_local Block block;

extern "C" void shim_switch(void** save, void* to);
// Saves what a function must preserve on the stack it leaves, and takes the same from the stack it enters.
asm(R"(
.text
.weak shim_switch
.type shim_switch, @function
shim_switch:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
.size shim_switch, . - shim_switch
)");

inline void yield() { shim_switch(&block.current->stack_pointer, block.scheduler); }

/// Ends the launch with an error.
inline void fail(const std::string& what, Place place = {"", 0}) {
  if (block.error.empty()) {
    block.error = what;
    if (place.line) block.error += " at " + std::string(place.file) + ":" + std::to_string(place.line);
    block.error += " in block (" + std::to_string(block.index.x) + ", " + std::to_string(block.index.y) + ", " +
                   std::to_string(block.index.z) + "), thread " + std::to_string(block.current->number);
  }
  for (;;) yield();
}

/// All synchronisation that any kernel has run through, and how often it was dropped. Defined in driver.cpp.
void note_site(const std::string& name);

/// The file's name without its folders, and the line: `reduce.h:31 __syncthreads`.
inline std::string site_name(const char* kind, Place place) {
  const char* slash = strrchr(place.file, '/');
  return std::string(slash ? slash + 1 : place.file) + ":" + std::to_string(place.line) + " " + kind;
}

/// Whether the test took away this synchronisation. Every kind of synchronisation asks, so that a test can prove of each
/// one that its absence is noticed.
inline bool dropped(const char* kind, Place place) {
  auto key = std::make_pair(place.file, place.line);
  auto known = block.sites.find(key);
  if (known != block.sites.end()) return known->second;
  std::string name = site_name(kind, place);
  note_site(name);
  return block.sites[key] = name == block.options.drop;
}

/// Writes what must not be read: NaN in every type.
inline void spoil(void* memory, size_t bytes) { memset(memory, 0xff, bytes); }

/// Spoils a shared variable when a block first meets it.
inline void fresh(void* variable, size_t bytes) {
  uint64_t& seen = block.shared[variable];
  if (seen != block.serial) spoil(variable, bytes);
  seen = block.serial;
}

/// A value of each fiber, made anew for each block.
template <class T>
inline T& mine() {
  static thread_local std::vector<std::pair<uint64_t, T>> values;
  unsigned number = block.current->number;
  if (values.size() <= number) values.resize(number + 1);
  auto& [serial, value] = values[number];
  if (serial != block.serial) value = T{};
  serial = block.serial;
  return value;
}

/// Comes to a group of `count` fibers.
inline void arrive(Group& group, int count) {
  ++block.progress;
  if (++group.arrived < count) return;
  group.arrived = 0;
  ++group.generation;
}

/// Waits for the end of a generation.
inline void await(const Group& group, uint64_t generation, Place place) {
  if (group.generation != generation) return;
  block.current->waits_at = place;
  while (group.generation == generation) yield();
  block.current->waits_at = {"", 0};
  ++block.progress;
}

/// Waits for `count` fibers.
inline void barrier(Group& group, int count, Place place) {
  uint64_t generation = group.generation;
  arrive(group, count);
  await(group, generation, place);
}

inline void warp_barrier(Place place) { barrier(block.warps[block.current->number / 32].group, 32, place); }

/// Every lane gives a value and then, in `read(of, lane)`, sees that of any other as `of(other)`.
template <class T, class Read>
inline auto exchange(const T& value, Place place, Read read) {
  static_assert(sizeof(T) <= sizeof(Warp::slot[0]));
  Warp& warp = block.warps[block.current->number / 32];
  int lane = block.current->number % 32;
  memcpy(warp.slot[lane], &value, sizeof value);
  warp_barrier(place);
  auto of = [&](int other) {
    T theirs;
    memcpy(&theirs, warp.slot[other & 31], sizeof theirs);
    return theirs;
  };
  struct After {
    Place place;
    ~After() { warp_barrier(place); }
  } after{place};
  return read(of, lane);
}

inline uint64_t next_random() {
  block.random ^= block.random << 13;
  block.random ^= block.random >> 7;
  block.random ^= block.random << 17;
  return block.random >> 20;
}

template <class T>
inline void shuffle(std::vector<T>& list) {
  for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[next_random() % i]);
}

inline void fiber_main() {
  (*block.body)();
  block.current->done = true;
  ++block.progress;
  for (;;) yield();
}

/// More than any kernel keeps on its stack; pages that are not touched cost nothing.
constexpr size_t STACK = 128 << 10;

inline void reset(Fiber& fiber, unsigned number) {
  fiber.number = number;
  fiber.index = {number % block.size.x, number / block.size.x % block.size.y,
                 number / (block.size.x * block.size.y)};
  fiber.done = false;
  fiber.waits_at = {"", 0};
  if (!fiber.stack)
    fiber.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // As a call leaves it: below a return address that is never used, the function to return to, then six registers.
  void** top = (void**)((char*)fiber.stack + STACK - 64);
  *--top = nullptr;
  *--top = (void*)fiber_main;
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  fiber.stack_pointer = top;
}

inline void resume(Fiber& fiber) {
  block.current = &fiber;
  shim_switch(&block.scheduler, fiber.stack_pointer);
}

/// Lets the fibers of a warp run once; whether all are done.
inline bool run_warp(unsigned warp) {
  bool done = true, backwards = block.options.seed && next_random() & 1;
  for (unsigned i = 0; i < 32 && block.error.empty(); ++i) {
    Fiber& fiber = block.fibers[warp * 32 + (backwards ? 31 - i : i)];
    if (!fiber.done) resume(fiber);
    done &= fiber.done;
  }
  return done;
}

/// Makes some of the copies that are under way: with seed 0 all, else one now and then, and one when nothing else moves.
inline void make_copies(bool stuck) {
  while (!block.later.empty() && (stuck || !block.options.seed || next_random() % 8 == 0)) {
    size_t i = block.options.seed ? next_random() % block.later.size() : 0;
    auto copy = std::move(block.later[i]);
    block.later.erase(block.later.begin() + i);
    copy();
    ++block.progress;
    stuck = false;
  }
}

inline void report_deadlock() {
  block.error = "threads wait for ever:";
  for (int i = 0; i < block.threads; i += 32) {
    const Fiber& fiber = block.fibers[i];
    block.error += " " + std::to_string(i) + (fiber.done ? " has returned" : " at ");
    if (!fiber.done) block.error += site_name("", fiber.waits_at);
  }
}

inline void run_block() {
  ++block.serial;
  if ((int)block.fibers.size() < block.threads) block.fibers.resize(block.threads);
  for (int i = 0; i < block.threads; ++i) reset(block.fibers[i], i);
  block.warps.assign(block.threads / 32, Warp{});
  block.all = Group{};
  std::fill(std::begin(block.warpgroups), std::end(block.warpgroups), Group{});
  std::fill(std::begin(block.named), std::end(block.named), NamedBarrier{});
  block.later.clear();
  spoil(block.dynamic.data(), block.dynamic.size());
  std::vector<unsigned> order(block.warps.size());
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  for (bool done = false; !done && block.error.empty();) {
    uint64_t before = block.progress;
    if (block.options.seed) shuffle(order);
    done = true;
    for (unsigned warp : order) {
      uint64_t warp_before;
      bool warp_done;
      do {
        warp_before = block.progress;
        warp_done = run_warp(warp);
      } while (block.options.seed && !warp_done && block.progress != warp_before && block.error.empty());
      done &= warp_done;
    }
    make_copies(block.progress == before);
    if (!done && block.progress == before && block.error.empty()) report_deadlock();
  }
}

/// Runs a launch; an empty string, or what went wrong.
inline std::string launch(Dim3 grid, Dim3 size, size_t dynamic, const Options& options,
                          const std::function<void()>& body) {
  block.grid = grid;
  block.size = size;
  block.threads = size.x * size.y * size.z;
  block.body = &body;
  block.error.clear();
  block.options = options;
  block.sites.clear();
  block.random = options.seed * 0x9e3779b97f4a7c15u + 1;
  if (block.threads % 32 || block.threads > 1024)
    return "a block of " + std::to_string(block.threads) + " threads is not made of 1 to 32 whole warps";
  block.dynamic.resize(dynamic + 1024);
  block.dynamic_start = (unsigned char*)(((uintptr_t)block.dynamic.data() + 1023) / 1024 * 1024);
  std::vector<unsigned> order((size_t)grid.x * grid.y * grid.z);
  for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
  if (options.seed) shuffle(order);
  for (unsigned i : order) {
    block.index = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    run_block();
    if (!block.error.empty()) return block.error;
  }
  return "";
}

/// A kernel by name, with its arguments as bytes.
struct Kernel {
  std::vector<size_t> sizes;
  std::function<void(const std::vector<std::vector<unsigned char>>&)> call;
};
/// Every kernel that was compiled into the stand-in. Defined in driver.cpp.
std::map<std::string, Kernel>& kernels();

template <class... A, size_t... I>
void call(void (*kernel)(A...), const std::vector<std::vector<unsigned char>>& arguments, std::index_sequence<I...>) {
  kernel(*(const std::remove_cv_t<A>*)arguments[I].data()...);
}

/// Adds a kernel to the list when the library is opened.
struct Register {
  template <class... A>
  Register(const char* name, void (*kernel)(A...)) {
    kernels()[name] = Kernel{{sizeof(A)...}, [kernel](const std::vector<std::vector<unsigned char>>& arguments) {
                               call(kernel, arguments, std::index_sequence_for<A...>{});
                             }};
  }
};

}  // namespace shim

#define KERNEL(threads, blocks, name, ...)           \
  static void name(__VA_ARGS__);                     \
  static shim::Register register_##name(#name, name); \
  static void name(__VA_ARGS__)

#define SHARED(type, name, count)                     \
  alignas(16) static thread_local type name[count];   \
  shim::fresh(name, sizeof name)

#define DYNAMIC_SHARED(name) unsigned char* name = shim::block.dynamic_start

#define threadIdx (shim::block.current->index)
#define blockIdx (shim::block.index)
#define blockDim (shim::block.size)
#define gridDim (shim::block.grid)

inline void __syncthreads(SHIM_CALLER) {
  if (!shim::dropped("__syncthreads", SHIM_PLACE)) shim::barrier(shim::block.all, shim::block.threads, SHIM_PLACE);
}

inline void __syncwarp(unsigned = ~0u, SHIM_CALLER) {
  if (!shim::dropped("__syncwarp", SHIM_PLACE)) shim::warp_barrier(SHIM_PLACE);
}

template <class T>
inline T __shfl_xor_sync(unsigned, T value, int mask, SHIM_CALLER) {
  return shim::exchange(value, SHIM_PLACE, [&](auto of, int lane) { return of(lane ^ mask); });
}

template <class T>
inline T __shfl_sync(unsigned, T value, int from, SHIM_CALLER) {
  return shim::exchange(value, SHIM_PLACE, [&](auto of, int) { return of(from); });
}

inline float __uint_as_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}
inline uint32_t __float_as_uint(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
using std::max;
using std::min;
inline float rsqrtf(float x) { return 1.f / std::sqrt(x); }
