// mc_real, the type of units, is float or double (MC_DOUBLE 0 or 1); products and sums whose rounding matters.

#if MC_DOUBLE
typedef double mc_real;
static __device__ __forceinline__ double mc_mul(double a, double b) { return __dmul_rn(a, b); }
static __device__ __forceinline__ double mc_add(double a, double b) { return __dadd_rn(a, b); }
static __device__ __forceinline__ double mc_fma(double a, double b, double c) { return __fma_rn(a, b, c); }
#else
typedef float mc_real;
static __device__ __forceinline__ float mc_mul(float a, float b) { return __fmul_rn(a, b); }
static __device__ __forceinline__ float mc_add(float a, float b) { return __fadd_rn(a, b); }
static __device__ __forceinline__ float mc_fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
#endif
