// Small matrices (MC_T inputs) of one network in shared memory, worked on by the whole block. Everything is double:
// the observables are differences of order 1 / width. Every function is reached by all threads.

#define MC_PAIRS(n) ((n) * ((n) + 1) / 2)

// A power of two p with 1 <= p^2 x < 4, for x >= 0 (x = 0: some large power).
static __device__ __forceinline__ double mc_half_power(double x) {
  const long long exponent = (__double_as_longlong(x) >> 52) - 1023;
  return __longlong_as_double((1023 - (exponent >> 1)) << 52);
}

// The same in the range of float.
static __device__ __forceinline__ double mc_limited_power(double x) {
  const double low = x < 0x1p-240 ? 0x1p-240 : x;
  return mc_half_power(low > 0x1p240 ? 0x1p240 : low);
}

// Number n of the pairs (p, q), q <= p, in the order (0, 0), (1, 0), (1, 1), (2, 0), ...
static __device__ __forceinline__ void mc_pair(int n, int& p, int& q) {
  p = 0;
  for (q = n; q > p; ++p) q -= p + 1;
}

// a <- lower Cholesky factor of s, of any rank: a pivot below 1e-13 of its diagonal entry is zero; an input of plain
// length exactly zero has minus the row of input 0.                                       reference: reference.factor
// Thread t owns row t. A barrier before each column, none after the last: a row of a is its thread's until the next one.
template <int COLUMNS>
static __device__ __forceinline__ void mc_factor(const double (&s)[MC_T][MC_T], double (&a)[MC_T][COLUMNS]) {
  const int t = threadIdx.x;
#pragma unroll 1
  for (int q = 0; q < MC_T; ++q) {
    __syncthreads();
    if (t >= q && t < MC_T) {
      const bool dead = t > 0 && s[0][0] + 2.0 * s[t][0] + s[t][t] == 0.0;
      const bool dead_pivot = q > 0 && s[0][0] + 2.0 * s[q][0] + s[q][q] == 0.0;
      double x = s[t][q], pivot = s[q][q];
      for (int r = 0; r < q; ++r) {
        x -= a[t][r] * a[q][r];
        pivot -= a[q][r] * a[q][r];
      }
      pivot = !dead_pivot && pivot > 1e-13 * s[q][q] ? sqrt(pivot) : 0.0;
      if (t == q)
        a[t][q] = pivot;
      else if (dead)
        a[t][q] = q == 0 ? -pivot : 0.0;
      else
        a[t][q] = pivot > 0.0 ? x / pivot : 0.0;
    }
  }
}

// a <- scale a c^-1 for lower triangular a and c; thread t owns row t.
template <int COLUMNS>
static __device__ __forceinline__ void mc_orthonormalise(double (&a)[MC_T][COLUMNS], const double (&c)[MC_T][MC_T],
                                                         double scale) {
  const int t = threadIdx.x;
  if (t < MC_T)
    for (int q = t; q >= 0; --q) {
      double x = a[t][q] * scale;
      for (int r = q + 1; r <= t; ++r) x -= a[t][r] * c[r][q];
      a[t][q] = c[q][q] > 0.0 ? x / c[q][q] : 0.0;
    }
}
