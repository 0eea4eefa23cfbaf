// Activation, its derivative and the second moments of a layer in one pass                        reference: activate
//
//   plain[t] = u[0] + u[t] (t > 0),  h = phi(plain) in the difference basis,  slope = phi'(plain)
//   u_gram = u u^T / M,  h_gram = h h^T / M
//
// u, h, slope (N, rows, M) mc_real; u_gram, h_gram (N, T, T) double; C order; u and h in the difference basis.
// MC_MOMENTS 1: rows = MC_T <= 4; a block owns one network; a thread sums at most MC_RUN units in mc_real and the rest in
// double, the block adds its threads as a tree: the order depends on M alone. MC_MOMENTS 0: any number of rows, no sums;
// a block owns MC_BLOCK units of one network (parts blocks per network) and u_gram, h_gram are not touched.
#define MC_RUN 16

// h and slope of one unit; u and h stand `stride` apart.
static __device__ __forceinline__ void mc_activate_unit(const mc_real* u, mc_real* h, mc_real* slope, mc_word rows,
                                                        mc_size stride) {
  const mc_real u0 = u[0], h0 = mc_phi(u0);
  h[0] = h0;
  slope[0] = mc_dphi(u0);
#if MC_MOMENTS
#pragma unroll
#endif
  for (mc_word t = 1; t < rows; ++t) {
    const mc_real plain = mc_add(u0, u[t * stride]);
    h[t * stride] = mc_add(mc_phi(plain), -h0);
    slope[t * stride] = mc_dphi(plain);
  }
}

extern "C" __global__ void __launch_bounds__(MC_BLOCK, 1)
    mc_activate(mc_real* h, mc_real* slope, double* u_gram, double* h_gram, const mc_real* u, mc_word rows,
                mc_word width, mc_word parts) {
#if MC_MOMENTS
  __shared__ double part[2 * MC_PAIRS(MC_T)][MC_BLOCK];
  const mc_size first = (mc_size)blockIdx.x * MC_T * width;
  mc_real run[2 * MC_PAIRS(MC_T)];
  double sums[2 * MC_PAIRS(MC_T)];
#pragma unroll
  for (int n = 0; n < 2 * MC_PAIRS(MC_T); ++n) {
    run[n] = (mc_real)0;
    sums[n] = 0.0;
  }
  int count = 0;
#pragma unroll 1
  for (mc_word i = threadIdx.x; i < width; i += MC_BLOCK) {
    mc_real from[MC_T], to[MC_T], by[MC_T];
#pragma unroll
    for (int t = 0; t < MC_T; ++t) from[t] = u[first + (mc_size)t * width + i];
    mc_activate_unit(from, to, by, MC_T, 1);
    int n = 0;
#pragma unroll
    for (int t = 0; t < MC_T; ++t) {
      h[first + (mc_size)t * width + i] = to[t];
      slope[first + (mc_size)t * width + i] = by[t];
#pragma unroll
      for (int s = 0; s <= t; ++s, ++n) {
        run[n] = mc_fma(from[t], from[s], run[n]);
        run[n + MC_PAIRS(MC_T)] = mc_fma(to[t], to[s], run[n + MC_PAIRS(MC_T)]);
      }
    }
    if (++count == MC_RUN) {
      count = 0;
#pragma unroll
      for (int m = 0; m < 2 * MC_PAIRS(MC_T); ++m) {
        sums[m] += run[m];
        run[m] = (mc_real)0;
      }
    }
  }
#pragma unroll
  for (int n = 0; n < 2 * MC_PAIRS(MC_T); ++n) part[n][threadIdx.x] = sums[n] + run[n];
#pragma unroll 1
  for (int half = MC_BLOCK / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half)
#pragma unroll
      for (int n = 0; n < 2 * MC_PAIRS(MC_T); ++n) part[n][threadIdx.x] += part[n][threadIdx.x + half];
  }
  __syncthreads();
  for (int n = threadIdx.x; n < 2 * MC_PAIRS(MC_T); n += MC_BLOCK) {
    int p, q;
    mc_pair(n % MC_PAIRS(MC_T), p, q);
    double* gram = (n < MC_PAIRS(MC_T) ? u_gram : h_gram) + (mc_size)blockIdx.x * MC_T * MC_T;
    gram[p * MC_T + q] = gram[q * MC_T + p] = part[n][0] * (1.0 / width);
  }
#else
  const mc_word network = blockIdx.x / parts, i = (blockIdx.x - network * parts) * MC_BLOCK + threadIdx.x;
  const mc_size place = (mc_size)network * rows * width + i;
  if (i < width) mc_activate_unit(u + place, h + place, slope + place, rows, width);  // no barrier follows
#endif
}
