// Products with an explicit weight matrix that is never stored: each weight is made in a register and used at once.
//
//   mc_apply:            out[n, t, i] = scale sum_j W[n, i, j] x[n, t, j]                reference: apply_weights
//   mc_apply_transpose:  out[n, t, j] = scale sum_i W[n, i, j] x[n, t, i]                reference: apply_weights
//
// x (1 or N, T, inputs or units), out (N, T, units or inputs), mc_real, C order; T = MC_T up to 8. W (units, inputs) are
// the numbers of role 0 of the layer, of the law MC_UNIFORM says. A block owns MC_BLOCK rows of W (mc_apply) or four
// times as many columns (mc_apply_transpose) of one network, a thread one row or one counter's four columns; parts =
// blocks per network. The vectors pass through shared memory in tiles. A thread sums MC_RUN products in mc_real and the
// runs in double, in index order: the result depends on nothing but W and x.
#define MC_RUN 64

struct alignas(4 * sizeof(mc_real)) mc_four {
  mc_real x, y, z, w;
};

// tile[t][i] <- x[t, first + i], zero from `count` on.
template <int SIZE>
static __device__ __forceinline__ void mc_load(mc_real (&tile)[MC_T][SIZE], const mc_real* x, mc_word first,
                                               mc_word count) {
  __syncthreads();
#pragma unroll
  for (int t = 0; t < MC_T; ++t)
    for (mc_word i = threadIdx.x; i < SIZE; i += MC_BLOCK)
      tile[t][i] = first + i < count ? x[(mc_size)t * count + first + i] : (mc_real)0;
  __syncthreads();
}

extern "C" __global__ void __launch_bounds__(MC_BLOCK, 1)
    mc_apply(mc_real* out, const mc_real* x, mc_word sets, mc_word units, mc_word inputs, mc_word parts,
             mc_word first_network, mc_word layer, mc_word k0, mc_word k1, double scale) {
  __shared__ __align__(32) mc_real tile[MC_T][4 * MC_RUN];
  const mc_word n = blockIdx.x / parts, i = (blockIdx.x - n * parts) * MC_BLOCK + threadIdx.x;
  x += (mc_size)(sets == 1 ? 0 : n) * MC_T * inputs;
  double total[MC_T];
#pragma unroll
  for (int t = 0; t < MC_T; ++t) total[t] = 0.0;
#pragma unroll 1
  for (mc_word first = 0; first < inputs; first += 4 * MC_RUN) {
    mc_load(tile, x, first, inputs);
#pragma unroll 1
    for (mc_word run = 0; run < 4 * MC_RUN && first + run < inputs; run += MC_RUN) {
      mc_real sum[MC_T];
#pragma unroll
      for (int t = 0; t < MC_T; ++t) sum[t] = (mc_real)0;
#pragma unroll 2
      for (mc_word j = run; j < run + MC_RUN; j += 4) {
        float w[4];
        mc_numbers((first + j) / 4, i, first_network + n, layer, k0, k1, w);
#pragma unroll
        for (int t = 0; t < MC_T; ++t) {
          const mc_four four = *(const mc_four*)&tile[t][j];
          sum[t] = mc_fma((mc_real)w[0], four.x, sum[t]);
          sum[t] = mc_fma((mc_real)w[1], four.y, sum[t]);
          sum[t] = mc_fma((mc_real)w[2], four.z, sum[t]);
          sum[t] = mc_fma((mc_real)w[3], four.w, sum[t]);
        }
      }
#pragma unroll
      for (int t = 0; t < MC_T; ++t) total[t] += sum[t];
    }
  }
  if (i < units)
#pragma unroll
    for (int t = 0; t < MC_T; ++t) out[((mc_size)n * MC_T + t) * units + i] = (mc_real)(scale * total[t]);
}

extern "C" __global__ void __launch_bounds__(MC_BLOCK, 1)
    mc_apply_transpose(mc_real* out, const mc_real* x, mc_word sets, mc_word units, mc_word inputs, mc_word parts,
                       mc_word first_network, mc_word layer, mc_word k0, mc_word k1, double scale) {
  __shared__ mc_real tile[MC_T][MC_RUN];
  const mc_word n = blockIdx.x / parts, counter = (blockIdx.x - n * parts) * MC_BLOCK + threadIdx.x;
  x += (mc_size)(sets == 1 ? 0 : n) * MC_T * units;
  double total[MC_T][4];
#pragma unroll
  for (int t = 0; t < MC_T; ++t)
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) total[t][lane] = 0.0;
#pragma unroll 1
  for (mc_word first = 0; first < units; first += MC_RUN) {
    mc_load(tile, x, first, units);
    mc_real sum[MC_T][4];
#pragma unroll
    for (int t = 0; t < MC_T; ++t)
#pragma unroll
      for (int lane = 0; lane < 4; ++lane) sum[t][lane] = (mc_real)0;
#pragma unroll 2
    for (mc_word i = 0; i < MC_RUN; ++i) {
      float w[4];
      mc_numbers(counter, first + i, first_network + n, layer, k0, k1, w);
#pragma unroll
      for (int t = 0; t < MC_T; ++t)
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) sum[t][lane] = mc_fma((mc_real)w[lane], tile[t][i], sum[t][lane]);
    }
#pragma unroll
    for (int t = 0; t < MC_T; ++t)
#pragma unroll
      for (int lane = 0; lane < 4; ++lane) total[t][lane] += sum[t][lane];
  }
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) {
    const mc_word j = 4 * counter + lane;
    if (j < inputs)
#pragma unroll
      for (int t = 0; t < MC_T; ++t) out[((mc_size)n * MC_T + t) * inputs + j] = (mc_real)(scale * total[t][lane]);
  }
}
