// Runs CUDA kernels on the CPU: one fibre per CUDA thread, blocks one after another.
//
// __syncthreads() is exact: every thread of a block must reach the same barrier (the same source line); a divergent one
// is reported. Between barriers the threads run in order, in reverse or shuffled (order 0, 1, 2), so that a missing
// barrier shows as a result that depends on the order. Shared memory holds NaN (bytes 0xff) when a block begins.
// Built with -nostdinc++: the headers of C alone compile in a fraction of the time.
#pragma once
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("mc_shared")))
struct Dim {
  unsigned x = 1, y = 1, z = 1;
};
static Dim threadIdx, blockIdx, blockDim, gridDim;
extern "C" char __start_mc_shared[] __attribute__((weak)), __stop_mc_shared[] __attribute__((weak));

template <class To, class From>
static inline To host_bits(From from) {
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}
static inline int __float_as_int(float x) { return host_bits<int>(x); }
static inline float __int_as_float(int x) { return host_bits<float>(x); }
static inline long long __double_as_longlong(double x) { return host_bits<long long>(x); }
static inline double __longlong_as_double(long long x) { return host_bits<double>(x); }
static inline float __uint2float_rn(unsigned x) { return (float)x; }
static inline float __int2float_rn(int x) { return (float)x; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fsqrt_rn(float x) { return sqrtf(x); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
#define HOST_FLOAT(name) \
  static inline float name(float x) { return name##f(x); }
HOST_FLOAT(cos)
HOST_FLOAT(erf)
HOST_FLOAT(exp)
HOST_FLOAT(expm1)
HOST_FLOAT(fabs)
HOST_FLOAT(log1p)
HOST_FLOAT(sin)
HOST_FLOAT(sqrt)
HOST_FLOAT(tanh)

enum { HOST_STACK = 64 << 10, HOST_FINISHED = -1 };
struct Fibre {
  ucontext_t context;
  Dim thread;
  int line;  // of the barrier it waits at, or HOST_FINISHED
};
static ucontext_t host_scheduler;
static Fibre* host_fibres;
static int host_current;
static void (*host_kernel)(void*);
static void* host_arguments;

static void host_begin() {
  host_kernel(host_arguments);
  host_fibres[host_current].line = HOST_FINISHED;
}
static void host_barrier(int line) {
  host_fibres[host_current].line = line;
  swapcontext(&host_fibres[host_current].context, &host_scheduler);
}
// 0, or 1 if threads of a block wait at different barriers.
static int host_block(int order, unsigned* random, int* turn, char* stacks, int count) {
  if (__start_mc_shared) memset(__start_mc_shared, 0xff, __stop_mc_shared - __start_mc_shared);
  for (int i = 0; i < count; ++i) {
    turn[i] = order == 1 ? count - 1 - i : i;
    Fibre& fibre = host_fibres[i];
    fibre.thread.x = i % blockDim.x;
    fibre.thread.y = i / blockDim.x % blockDim.y;
    fibre.thread.z = i / (blockDim.x * blockDim.y);
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = stacks + (size_t)i * HOST_STACK;
    fibre.context.uc_stack.ss_size = HOST_STACK;
    fibre.context.uc_link = &host_scheduler;
    makecontext(&fibre.context, host_begin, 0);
  }
  for (int line = 0; line != HOST_FINISHED;) {
    if (order == 2)
      for (int i = count - 1; i > 0; --i) {
        *random = *random * 1664525u + 1013904223u;
        const int j = (*random >> 8) % (i + 1), kept = turn[i];
        turn[i] = turn[j];
        turn[j] = kept;
      }
    for (int i = 0; i < count; ++i) {
      host_current = turn[i];
      threadIdx = host_fibres[host_current].thread;
      swapcontext(&host_scheduler, &host_fibres[host_current].context);
      if (i == 0) line = host_fibres[host_current].line;
      if (host_fibres[host_current].line != line) return 1;
    }
  }
  return 0;
}
template <class Arguments>
static int host_launch(const unsigned* size, int order, Arguments arguments) {
  gridDim.x = size[0], gridDim.y = size[1], gridDim.z = size[2];
  blockDim.x = size[3], blockDim.y = size[4], blockDim.z = size[5];
  host_kernel = [](void* given) { (*(Arguments*)given)(); };
  host_arguments = &arguments;
  const int count = blockDim.x * blockDim.y * blockDim.z;
  host_fibres = (Fibre*)calloc(count, sizeof(Fibre));
  char* stacks = (char*)malloc((size_t)count * HOST_STACK);
  int* turn = (int*)malloc(count * sizeof(int));
  unsigned random = 12345;
  int failed = 0;
  for (unsigned z = 0; z < gridDim.z && !failed; ++z)
    for (unsigned y = 0; y < gridDim.y && !failed; ++y)
      for (unsigned x = 0; x < gridDim.x && !failed; ++x) {
        blockIdx.x = x, blockIdx.y = y, blockIdx.z = z;
        failed = host_block(order, &random, turn, stacks, count);
      }
  free(turn);
  free(stacks);
  free(host_fibres);
  return failed;
}
#define __syncthreads() host_barrier(__LINE__)
