// Units of a layer, and sums over those of a thread and of a block; used by the conditioned chains.

#define MC_ROWS (MC_T + MC_HAAR)  // rows of normals: inputs, and the bias beside Haar weights
#define MC_SMALL (MC_T <= 4)      // few enough inputs for the registers of a thread
#define MC_NODE 0.21132486540518713  // (1 - 1/sqrt(3)) / 2: Gauss-Legendre with two nodes on (0, 1)
#if MC_SMALL
#define MC_LOOP _Pragma("unroll")
#else
#define MC_LOOP _Pragma("unroll 1")
#endif

struct mc_layer {  // what the units of a layer need
  mc_real coefficients[MC_T][MC_ROWS];
  mc_real scale[MC_T];
  int near[MC_T];  // whether the difference to input 0 is small
};

// Units of one thread: u = coefficients z, h = phi(u) in the difference basis times the scale of each row and, with
// `slopes`, p = phi' of every input. A small difference of phi is the difference of u times the mean slope between, by two
// nodes, unless there is a kink between: it keeps its digits.
template <bool slopes>
static __device__ __forceinline__ void mc_unit(const mc_layer& layer, const mc_real* z, int z_stride, mc_real* h,
                                               int h_stride, mc_real* p) {
  mc_real u0 = mc_mul(layer.coefficients[0][0], z[0]);
#if MC_HAAR
  u0 = mc_fma(layer.coefficients[0][MC_T], z[MC_T * z_stride], u0);
#endif
  const mc_real y0 = mc_phi(u0);
  h[0] = mc_mul(y0, layer.scale[0]);
  if (slopes) p[0] = mc_dphi(u0);
  MC_LOOP
  for (int t = 1; t < MC_T; ++t) {
    mc_real u = mc_mul(layer.coefficients[t][t], z[t * z_stride]);
    MC_LOOP
    for (int s = 0; s < t; ++s) u = mc_fma(layer.coefficients[t][s], z[s * z_stride], u);
    const mc_real both = mc_add(u0, u);
    mc_real y = mc_add(mc_phi(both), -y0);
    if (layer.near[t] && !(mc_kink_product(u0, both) < (mc_real)0))
      y = u * (mc_dphi(mc_fma(u, (mc_real)MC_NODE, u0)) + mc_dphi(mc_fma(u, (mc_real)(1.0 - MC_NODE), u0))) * (mc_real)0.5;
    h[t * h_stride] = mc_mul(y, layer.scale[t]);
    if (slopes) p[t] = mc_dphi(both);
  }
}

// sums[n] += x_p . x_q for the pairs q <= p of rows, in the order of mc_pair.
template <int ROWS>
static __device__ __forceinline__ void mc_add_pairs(const mc_real* x, int stride, mc_real* sums) {
  int n = 0;
#pragma unroll
  for (int p = 0; p < ROWS; ++p)
#pragma unroll
    for (int q = 0; q <= p; ++q, ++n) sums[n] = mc_fma(x[p * stride], x[q * stride], sums[n]);
}

// Add the short sums to the long ones, and begin again.
template <int COUNT>
static __device__ __forceinline__ void mc_flush(mc_real (&run)[COUNT], double (&sums)[COUNT]) {
#pragma unroll
  for (int n = 0; n < COUNT; ++n) {
    sums[n] += run[n];
    run[n] = (mc_real)0;
  }
}

// part[n][0] <- sum over the threads of sums[n], as a tree.
template <int COUNT>
static __device__ __forceinline__ void mc_reduce(const double (&sums)[COUNT], double (&part)[COUNT][MC_BLOCK]) {
#pragma unroll
  for (int n = 0; n < COUNT; ++n) part[n][threadIdx.x] = sums[n];
#pragma unroll 1
  for (int half = MC_BLOCK / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
#pragma unroll
      for (int n = 0; n < COUNT; ++n) part[n][threadIdx.x] += part[n][threadIdx.x + half];
  }
  __syncthreads();
}

// Powers of two that keep sums of mc_real in range (exact, so that they change no digit), and the coefficients with them.
// Thread t owns row t; `power` is the product of both powers. The caller's next barrier makes it known to the block.
static __device__ __forceinline__ double mc_scale_layer(const double (&s)[MC_T][MC_T], const double (&a)[MC_T][MC_ROWS],
                                                        mc_layer& layer, double (&power)[MC_T], double threshold,
                                                        bool homogeneous, bool centred) {
  const int thread = threadIdx.x;
  double top = s[0][0];
  for (int t = 1; t < MC_T; ++t) top = s[t][t] > top ? s[t][t] : top;
  const double gamma = homogeneous && top > 0.0 ? mc_half_power(top) : 1.0;
  if (thread < MC_T) {
    const double spread = s[thread][thread] * gamma * gamma;
    const double scale = centred || thread > 0 ? mc_limited_power(spread) : 1.0;
    power[thread] = gamma * scale;
    layer.scale[thread] = (mc_real)scale;
    layer.near[thread] = spread < threshold;
    for (int r = 0; r < MC_ROWS; ++r)
      if (r <= thread || r == MC_T) layer.coefficients[thread][r] = (mc_real)(a[thread][r] * gamma);
  }
  return gamma;
}

// Element (t, q) of a z_gram a^T.
static __device__ __forceinline__ double mc_seen(const double (&a)[MC_T][MC_ROWS],
                                                 const double (&z_gram)[MC_ROWS][MC_ROWS], int t, int q) {
  double u = 0.0;
  for (int r = 0; r < MC_ROWS; ++r)
    if (r <= q || r == MC_T) {
      double x = 0.0;
      for (int j = 0; j < MC_ROWS; ++j)
        if (j <= t || j == MC_T) x += a[t][j] * z_gram[j][r];
      u += x * a[q][r];
    }
  return u;
}
