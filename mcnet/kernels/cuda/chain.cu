// The conditioned chain of Gram matrices, all layers in one launch              reference: conditioned_chain
//
//   Gaussian (MC_HAAR 0):  U = A Z,  A A^T = sigma_w2 K + sigma_b2 e_0 e_0^T
//   Haar (MC_HAAR 1):      U = s L C^-1 Z + sqrt(sigma_b2) e_0 b^T,  L L^T = K,  C C^T = Z Z^T,  s^2 = sigma_w2 max(M, fan-in)
//   h = phi(U),  K_next = h h^T / M                                             all in the difference basis of the inputs
//
// gram (1 or N, T, T) of the inputs; u_grams, h_grams (N, depth, T, T); double, C order. T = MC_T up to 16.
// One block of MC_BLOCK threads (a power of two) owns one network; nothing of the size of a layer is stored: normals are
// made from their counters, for Haar weights twice. Units (normals, u, h) are mc_real; a thread sums at most 64 of them
// in float and the rest in double, in an order that depends on the width alone.
//
// Up to four inputs (MC_SMALL) a thread keeps a counter's four units, and its sums, in registers. Above, the block works
// on tiles of MC_UNITS units in shared memory: first all normals, then one unit a thread, then one pair of inputs a thread.

#define MC_RUN 64  // units summed in mc_real
#define MC_Z_PAIRS MC_PAIRS(MC_ROWS)
#define MC_H_PAIRS MC_PAIRS(MC_T)
#define MC_SUMS (MC_Z_PAIRS + MC_H_PAIRS)  // first those of the normals, then those of h (or of the rest of the frame)
#if !MC_SMALL
#define MC_UNITS (MC_DOUBLE ? 64 : 128)
#define MC_RUNS (MC_UNITS / MC_RUN)
#define MC_STRIDE (MC_UNITS + 1)  // rows begin in different banks
#endif

struct mc_stream {  // where the normals of a layer come from
  mc_word network, layer, k0, k1;
  bool bias;
};

// Normals of a row, four units; zero beyond `columns`. Row MC_T is the bias.
static __device__ __forceinline__ void mc_row(const mc_stream& from, mc_word counter, int row, mc_word columns,
                                              mc_real* z, int stride) {
  float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (row < MC_T)
    mc_normals(counter, row, from.network, 4u << 24 | from.layer, from.k0, from.k1, x);
  else if (from.bias)
    mc_normals(counter, 0, from.network, 1u << 24 | from.layer, from.k0, from.k1, x);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) z[lane * stride] = 4 * counter + lane < columns ? (mc_real)x[lane] : (mc_real)0;
}

#if MC_SMALL

// The units of a layer (`units`), or only the normals that make a frame: sums over the block.
template <bool units>
static __device__ __forceinline__ void mc_pass(const mc_stream& from, const mc_layer& layer, mc_word width,
                                               mc_word columns, double (&part)[MC_SUMS][MC_BLOCK]) {
  mc_real run[MC_SUMS];
  double sums[MC_SUMS];
#pragma unroll
  for (int n = 0; n < MC_SUMS; ++n) {
    run[n] = (mc_real)0;
    sums[n] = 0.0;
  }
  int count = 0;
  if (units) __syncthreads();  // for the coefficients
#pragma unroll 1
  for (mc_word i = threadIdx.x; 4 * i < columns; i += MC_BLOCK) {
    mc_real z[MC_ROWS * 4], h[MC_T];
#pragma unroll
    for (int row = 0; row < MC_ROWS; ++row) mc_row(from, i, row, row < MC_T ? columns : width, z + 4 * row, 1);
#pragma unroll
    for (int lane = 0; lane < 4; ++lane) {
      const mc_word unit = 4 * i + lane;
      if (unit < width) {
        if (!units || !MC_HAAR) mc_add_pairs<MC_ROWS>(z + lane, 4, run);
        if (units) {
          mc_unit<false>(layer, z + lane, 4, h, 1, nullptr);
          mc_add_pairs<MC_T>(h, 1, run + MC_Z_PAIRS);
        }
      } else if (!units && unit < columns) {
        mc_add_pairs<MC_T>(z + lane, 4, run + MC_Z_PAIRS);
      }
    }
    if (!MC_DOUBLE && ++count == MC_RUN / 4) {
      mc_flush(run, sums);
      count = 0;
    }
  }
  mc_flush(run, sums);
  mc_reduce(sums, part);
}
#define MC_SUM(n) part[n][0]

#else

struct mc_tile {
  mc_real z[MC_ROWS * MC_STRIDE], h[MC_T * MC_STRIDE];
};

// As above; part[run][n] are sums over every MC_RUNS-th run of units.
template <bool units>
static __device__ __forceinline__ void mc_pass(const mc_stream& from, const mc_layer& layer, mc_word width,
                                               mc_word columns, mc_tile& tile, double (&part)[MC_RUNS][MC_SUMS]) {
  for (int n = threadIdx.x; n < MC_RUNS * MC_SUMS; n += MC_BLOCK) part[n / MC_SUMS][n % MC_SUMS] = 0.0;
#pragma unroll 1
  for (mc_word first = 0; first < columns; first += MC_UNITS) {
    __syncthreads();
    for (int n = threadIdx.x; n < MC_ROWS * (MC_UNITS / 4); n += MC_BLOCK) {
      const int row = n / (MC_UNITS / 4), counter = n % (MC_UNITS / 4);
      mc_row(from, first / 4 + counter, row, row < MC_T ? columns : width, tile.z + row * MC_STRIDE + 4 * counter, 1);
    }
    __syncthreads();
    if (units) {
      for (int i = threadIdx.x; i < MC_UNITS; i += MC_BLOCK) {
        mc_unit<false>(layer, tile.z + i, MC_STRIDE, tile.h + i, MC_STRIDE, nullptr);
        if (first + i >= width)
          for (int t = 0; t < MC_T; ++t) tile.h[t * MC_STRIDE + i] = (mc_real)0;
      }
      __syncthreads();
    }
    for (int n = threadIdx.x; n < MC_RUNS * MC_SUMS; n += MC_BLOCK) {
      const int run = n / MC_SUMS, sum = n % MC_SUMS;
      const bool of_z = sum < MC_Z_PAIRS;
      if (of_z && units && MC_HAAR) continue;  // known from the first pass; no barrier follows in this loop
      int p, q;
      mc_pair(of_z ? sum : sum - MC_Z_PAIRS, p, q);
      const mc_real* x = of_z || !units ? tile.z : tile.h;
      mc_real total = (mc_real)0;
      for (int i = run * MC_RUN; i < (run + 1) * MC_RUN; ++i)
        if (units || (first + i < width) == of_z)
          total = mc_fma(x[p * MC_STRIDE + i], x[q * MC_STRIDE + i], total);
      part[run][sum] += total;
    }
  }
  __syncthreads();
  for (int n = threadIdx.x; n < MC_SUMS; n += MC_BLOCK)
    for (int run = 1; run < MC_RUNS; ++run) part[0][n] += part[run][n];
  __syncthreads();
}
#define MC_SUM(n) part[0][n]
#endif

extern "C" __global__ void __launch_bounds__(MC_BLOCK, 1)
    mc_chain(double* u_grams, double* h_grams, const double* gram, mc_word grams, mc_word depth, mc_word width,
             mc_word input_dimension, mc_word first_network, mc_word k0, mc_word k1, double sigma_w2, double sigma_b2,
             double threshold, mc_word homogeneous, mc_word centred) {
  __shared__ double k[MC_T][MC_T], s[MC_T][MC_T], a[MC_T][MC_ROWS], z_gram[MC_ROWS][MC_ROWS], power[MC_T];
  __shared__ mc_layer layer;
#if MC_HAAR
  __shared__ double frame[MC_T][MC_T], c[MC_T][MC_T];
#endif
#if MC_SMALL
  __shared__ double part[MC_SUMS][MC_BLOCK];
#define MC_PASS(units, columns) mc_pass<units>(from, layer, width, columns, part)
#else
  __shared__ mc_tile tile;
  __shared__ double part[MC_RUNS][MC_SUMS];
#define MC_PASS(units, columns) mc_pass<units>(from, layer, width, columns, tile, part)
#endif
  const mc_word n = blockIdx.x;
  const int thread = threadIdx.x;
  const double* given = gram + (mc_size)(grams == 1 ? 0 : n) * MC_T * MC_T;
  for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) k[e / MC_T][e % MC_T] = given[e];

#pragma unroll 1
  for (mc_word l = 1; l <= depth; ++l) {
    const mc_stream from = {first_network + n, l, k0, k1, MC_HAAR && sigma_b2 > 0.0};
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {
      const double x = sigma_w2 * k[e / MC_T][e % MC_T];
      s[e / MC_T][e % MC_T] = e == 0 && !MC_HAAR ? x + sigma_b2 : x;
    }
#if MC_HAAR
    // 1: the normals that make the layer orthonormal; with more inputs than units also those of the units left out
    const mc_word fan_in = l == 1 ? input_dimension : width, columns = fan_in > width ? fan_in : width;
    MC_PASS(false, columns);
    for (int e = thread; e < MC_Z_PAIRS; e += MC_BLOCK) {
      int p, q;
      mc_pair(e, p, q);
      z_gram[p][q] = z_gram[q][p] = MC_SUM(e);
      if (p < MC_T) frame[p][q] = MC_SUM(e) + MC_SUM(MC_Z_PAIRS + e);
    }
    mc_factor(frame, c);
    mc_factor(s, a);
    mc_orthonormalise(a, c, sqrt((double)columns));
    if (thread < MC_T) a[thread][MC_T] = thread == 0 ? sqrt(sigma_b2) : 0.0;
    if (thread == 0) s[0][0] += sigma_b2;
    __syncthreads();
#else
    mc_factor(s, a);
#endif
    // 2: coefficients in the range of mc_real
    mc_scale_layer(s, a, layer, power, threshold, homogeneous, centred);
    // 3: the units
    MC_PASS(true, width);
    // 4: Gram matrices of h and, from that of the normals, of u
    for (int e = thread; e < MC_SUMS; e += MC_BLOCK) {
      const bool of_z = e < MC_Z_PAIRS;
      int p, q;
      mc_pair(of_z ? e : e - MC_Z_PAIRS, p, q);
      if (!of_z)
        k[p][q] = k[q][p] = MC_SUM(e) / (power[p] * power[q]) * (1.0 / width);
      else if (!MC_HAAR)
        z_gram[p][q] = z_gram[q][p] = MC_SUM(e);
    }
    __syncthreads();
    const mc_size place = ((mc_size)n * depth + (l - 1)) * MC_T * MC_T;
    for (int e = thread; e < MC_H_PAIRS; e += MC_BLOCK) {
      int t, q;
      mc_pair(e, t, q);
      const double u = mc_seen(a, z_gram, t, q) * (1.0 / width);
      u_grams[place + t * MC_T + q] = u_grams[place + q * MC_T + t] = u;
      h_grams[place + t * MC_T + q] = h_grams[place + q * MC_T + t] = k[t][q];
    }
  }
}
