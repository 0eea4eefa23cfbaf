// Runs CUDA kernels on the CPU: one fibre per CUDA thread, blocks one after another.
//
// __syncthreads() is exact: every thread of a block must reach the same barrier (the same source line); a divergent one
// is reported. Between barriers the threads run in order, in reverse or shuffled (order 0, 1, 2), so that a missing
// barrier shows as a result that depends on the order. Shared memory holds NaN (bytes 0xff) when a block begins.
#pragma once
#include <math.h>
#include <ucontext.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>
#include <vector>
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("mc_shared")))
struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;
extern "C" char __start_mc_shared[] __attribute__((weak)), __stop_mc_shared[] __attribute__((weak));

template <class To, class From>
static inline To bits(From from) {
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
static inline int __float_as_int(float x) { return bits<int>(x); }
static inline float __int_as_float(int x) { return bits<float>(x); }
static inline long long __double_as_longlong(double x) { return bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return bits<double>(x); }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

namespace host {
enum { STACK = 64 << 10, FINISHED = -1 };
struct Fibre {
  ucontext_t context;
  Dim thread;
  int line;  // of the barrier it waits at, or FINISHED
};
static ucontext_t scheduler;
static std::vector<Fibre> fibres;
static std::unique_ptr<char[]> stacks;
static int current;
static std::function<void()> body;

static void begin() {
  body();
  fibres[current].line = FINISHED;
}
static void barrier(int line) {
  fibres[current].line = line;
  swapcontext(&fibres[current].context, &scheduler);
}
// 0, or 1 if threads of a block wait at different barriers.
static int block(int order, unsigned& random) {
  const int count = (int)fibres.size();
  if (__start_mc_shared) std::memset(__start_mc_shared, 0xff, __stop_mc_shared - __start_mc_shared);
  std::vector<int> turn(count);
  for (int i = 0; i < count; ++i) {
    turn[i] = order == 1 ? count - 1 - i : i;
    Fibre& fibre = fibres[i];
    fibre.thread = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = stacks.get() + (size_t)i * STACK;
    fibre.context.uc_stack.ss_size = STACK;
    fibre.context.uc_link = &scheduler;
    makecontext(&fibre.context, begin, 0);
  }
  for (int line = 0; line != FINISHED;) {
    if (order == 2)
      for (int i = count - 1; i > 0; --i) {
        random = random * 1664525u + 1013904223u;
        std::swap(turn[i], turn[(random >> 8) % (i + 1)]);
      }
    for (int i = 0; i < count; ++i) {
      current = turn[i];
      threadIdx = fibres[current].thread;
      swapcontext(&scheduler, &fibres[current].context);
      if (i == 0) line = fibres[current].line;
      if (fibres[current].line != line) return 1;
    }
  }
  return 0;
}
static int launch(const unsigned* size, int order, std::function<void()> kernel) {
  gridDim = {size[0], size[1], size[2]};
  blockDim = {size[3], size[4], size[5]};
  body = std::move(kernel);
  fibres = std::vector<Fibre>(blockDim.x * blockDim.y * blockDim.z);
  stacks.reset(new char[fibres.size() * STACK]);
  unsigned random = 12345;
  for (unsigned z = 0; z < gridDim.z; ++z)
    for (unsigned y = 0; y < gridDim.y; ++y)
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        if (block(order, random)) return 1;
      }
  return 0;
}
}  // namespace host
#define __syncthreads() host::barrier(__LINE__)
