// Signal and back-propagated errors of one output, all layers in one launch                reference: tangent_chain
//
//   up:    U = A Z,  A A^T = sigma_w2 K + sigma_b2 e_0 e_0^T,  h = phi(U),  K_next = h h^T / M
//   down:  y = V^T d = r g + f X,  f = (d Z^T - r g X^T A^-T) A^-1,  X = (sqrt(sigma_w2/M) h, sqrt(sigma_b2) e_0),
//          d_below = phi'(U) y,  r r^T = d d^T,  g fresh normals, one row per question
//
// all in the difference basis of the inputs; Gaussian weights (MC_HAAR 0). gram (1 or N, T, T) of the inputs; u_grams,
// h_grams, b_grams (N, depth, T, T); exponents (N, depth); scratch (N, depth + 1, MC_SCRATCH); double, C order.
// T = MC_T up to 2 (3 and 4 work, but spill registers). One block of MC_BLOCK threads (a power of two) owns one network. Nothing of the size of a layer is
// stored: on the way down z, g, h and phi' are made again from their counters and the small matrices in scratch, so that
// sums of g . h must be, and are, taken on the way up. Units (normals, u, h, d) are mc_real; a thread sums at most 32
// of them in float and the rest in double, in an order that depends on the width alone.

#define MC_RUN 32
#define MC_H_AT MC_PAIRS(MC_T)         // sums upwards: z . z, h . h, h . g; downwards: d . d, then d . z
#define MC_G_AT (2 * MC_PAIRS(MC_T))
#define MC_SUMS (MC_G_AT + MC_T * MC_T)
#define MC_D_SUMS (MC_PAIRS(MC_T) + MC_T * MC_T)
#define MC_SCRATCH (2 * MC_T * MC_T + 2 * MC_T + 1)  // of a layer: a, h . g, near and scale of each row, gamma
#define MC_FAR 0x1p200                 // errors grown or shrunk by so much are stored with an exponent

struct mc_rows {  // the counters of a layer's normals
  mc_word network, forward, backward, questions, k0, k1;
};

// Row t of the forward or backward normals of four units, zero beyond the width and beyond the questions.
static __device__ __forceinline__ void mc_four_units(const mc_rows& rows, mc_word tag, mc_word counter, int t,
                                                     mc_word width, bool asked, mc_real* z) {
  float x[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  if (asked) mc_normals(counter, t, rows.network, tag, rows.k0, rows.k1, x);
#pragma unroll
  for (int lane = 0; lane < 4; ++lane) z[lane] = 4 * counter + lane < width ? (mc_real)x[lane] : (mc_real)0;
}

static __device__ __forceinline__ void mc_make(const mc_rows& rows, mc_word counter, mc_word width,
                                               mc_real (&z)[MC_T * 4], mc_real (&g)[MC_T * 4]) {
#pragma unroll
  for (int t = 0; t < MC_T; ++t) {
    mc_four_units(rows, rows.forward, counter, t, width, true, z + 4 * t);
    mc_four_units(rows, rows.backward, counter, t, width, t < rows.questions, g + 4 * t);
  }
}

static __device__ __forceinline__ double mc_one(mc_word network, mc_word tag, mc_word row, mc_word column, mc_word k0,
                                                mc_word k1) {
  float x[4];
  mc_normals(column / 4, row, network, tag, k0, k1, x);
  return x[0];
}

static __device__ __forceinline__ void mc_up(const mc_rows& rows, const mc_layer& layer, mc_word width,
                                             double (&part)[MC_SUMS][MC_BLOCK]) {
  mc_real run[MC_SUMS];
  double sums[MC_SUMS];
#pragma unroll
  for (int n = 0; n < MC_SUMS; ++n) {
    run[n] = (mc_real)0;
    sums[n] = 0.0;
  }
  int count = 0;
#pragma unroll 1
  for (mc_word i = threadIdx.x; 4 * i < width; i += MC_BLOCK) {
    mc_real z[MC_T * 4], g[MC_T * 4], h[MC_T];
    mc_make(rows, i, width, z, g);
#pragma unroll
    for (int lane = 0; lane < 4; ++lane)
      if (4 * i + lane < width) {
        mc_unit<false>(layer, z + lane, 4, h, 1, nullptr);
        mc_add_pairs<MC_T>(z + lane, 4, run);
        mc_add_pairs<MC_T>(h, 1, run + MC_H_AT);
#pragma unroll
        for (int n = 0; n < MC_T * MC_T; ++n)
          run[MC_G_AT + n] = mc_fma(h[n / MC_T], g[4 * (n % MC_T) + lane], run[MC_G_AT + n]);
      }
    if (!MC_DOUBLE && ++count == MC_RUN / 4) {
      mc_flush(run, sums);
      count = 0;
    }
  }
  mc_flush(run, sums);
  mc_reduce(sums, part);
}

// y = fresh g + told h and d = phi' y, d_t = p_t y_t + (p_t - p_0) y_0 for t > 0.
static __device__ __forceinline__ void mc_down(const mc_rows& rows, const mc_layer& layer, mc_word width,
                                               const mc_real (&fresh)[MC_T][MC_T], const mc_real (&told)[MC_T][MC_T],
                                               double (&part)[MC_D_SUMS][MC_BLOCK]) {
  mc_real run[MC_D_SUMS];
  double sums[MC_D_SUMS];
#pragma unroll
  for (int n = 0; n < MC_D_SUMS; ++n) {
    run[n] = (mc_real)0;
    sums[n] = 0.0;
  }
  int count = 0;
#pragma unroll 1
  for (mc_word i = threadIdx.x; 4 * i < width; i += MC_BLOCK) {
    mc_real z[MC_T * 4], g[MC_T * 4], h[MC_T], p[MC_T], d[MC_T];
    mc_make(rows, i, width, z, g);
#pragma unroll
    for (int lane = 0; lane < 4; ++lane)
      if (4 * i + lane < width) {
        mc_unit<true>(layer, z + lane, 4, h, 1, p);
        mc_real y0 = (mc_real)0;
#pragma unroll
        for (int t = 0; t < MC_T; ++t) {
          mc_real y = mc_mul(told[t][0], h[0]);
#pragma unroll
          for (int s = 1; s < MC_T; ++s) y = mc_fma(told[t][s], h[s], y);
#pragma unroll
          for (int s = 0; s <= t; ++s) y = mc_fma(fresh[t][s], g[4 * s + lane], y);
          if (t == 0) y0 = y;
          d[t] = t == 0 ? mc_mul(p[0], y) : mc_fma(p[t], y, mc_mul(mc_add(p[t], -p[0]), y0));
        }
        mc_add_pairs<MC_T>(d, 1, run);
#pragma unroll
        for (int n = 0; n < MC_T * MC_T; ++n)
          run[MC_PAIRS(MC_T) + n] = mc_fma(d[n / MC_T], z[4 * (n % MC_T) + lane], run[MC_PAIRS(MC_T) + n]);
      }
    if (!MC_DOUBLE && ++count == MC_RUN / 4) {
      mc_flush(run, sums);
      count = 0;
    }
  }
  mc_flush(run, sums);
  mc_reduce(sums, part);
}

// Row t of f with V^T d = r g + f X: f = (c - r q^T a^-T) a^-1, where c = d . z is what the forward answers tell and
// q = X g^T what the fresh normals would say instead. A pivot of zero is a question never asked.
static __device__ __forceinline__ void mc_agree(const double (&c)[MC_T][MC_T], const double (&r)[MC_T][MC_T],
                                                const double (&q)[MC_T][MC_T], const double (&a)[MC_T][MC_T],
                                                double (&f)[MC_T][MC_T]) {
  const int t = threadIdx.x;
  if (t < MC_T) {
    for (int s = 0; s < MC_T; ++s) {
      double x = 0.0;
      for (int k = 0; k <= t; ++k) x += r[t][k] * q[s][k];
      for (int k = 0; k < s; ++k) x -= f[t][k] * a[s][k];
      f[t][s] = a[s][s] > 0.0 ? x / a[s][s] : 0.0;
    }
    for (int s = MC_T - 1; s >= 0; --s) {
      double x = c[t][s] - f[t][s];
      for (int k = s + 1; k < MC_T; ++k) x -= f[t][k] * a[k][s];
      f[t][s] = a[s][s] > 0.0 ? x / a[s][s] : 0.0;
    }
  }
}

extern "C" __global__ void __launch_bounds__(MC_BLOCK, 1)
    mc_tangent(double* u_grams, double* h_grams, double* b_grams, double* exponents, double* scratch,
               const double* gram, mc_word grams, mc_word depth, mc_word width, mc_word first_network, mc_word k0,
               mc_word k1, double sigma_w2, double sigma_b2, double threshold, mc_word homogeneous, mc_word centred,
               mc_word readout) {
  __shared__ double k[MC_T][MC_T], s[MC_T][MC_T], a[MC_T][MC_T], power[MC_T], part[MC_SUMS][MC_BLOCK];
  __shared__ double root[MC_T][MC_T], crossed[MC_T][MC_T], f[MC_T][MC_T];
  __shared__ mc_real fresh[MC_T][MC_T], told[MC_T][MC_T];
  __shared__ mc_layer layer;
  const mc_word n = blockIdx.x, network = first_network + n;
  const int thread = threadIdx.x;
  const double* given = gram + (mc_size)(grams == 1 ? 0 : n) * MC_T * MC_T;
  scratch += (mc_size)n * (depth + 1) * MC_SCRATCH;
  for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) k[e / MC_T][e % MC_T] = given[e];

#pragma unroll 1
  for (mc_word l = 1; l <= depth + 1; ++l) {
    double* kept = scratch + (l - 1) * MC_SCRATCH;
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {
      const double x = sigma_w2 * k[e / MC_T][e % MC_T];
      s[e / MC_T][e % MC_T] = e == 0 ? x + sigma_b2 : x;
    }
    mc_factor(s, a);
    if (thread < MC_T)
      for (int q = 0; q <= thread; ++q) kept[thread * MC_T + q] = a[thread][q];
    if (l <= depth) {  // the same for all threads
      const double gamma = mc_scale_layer(s, a, layer, power, threshold, homogeneous, centred);
      if (thread < MC_T) {
        kept[2 * MC_T * MC_T + 2 * thread] = layer.near[thread];
        kept[2 * MC_T * MC_T + 2 * thread + 1] = layer.scale[thread];
      }
      if (thread == 0) kept[MC_SCRATCH - 1] = gamma;
      __syncthreads();
      const mc_word questions = l == depth ? 1 : MC_T, role = l < depth || readout ? 5 : 6;
      const mc_rows rows = {network, 4u << 24 | l, role << 24 | (l + 1), questions, k0, k1};
      mc_up(rows, layer, width, part);
      for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) kept[MC_T * MC_T + e] = part[MC_G_AT + e][0];
      for (int e = thread; e < MC_PAIRS(MC_T); e += MC_BLOCK) {
        int p, q;
        mc_pair(e, p, q);
        root[p][q] = root[q][p] = part[e][0];  // z . z, until the way down
        k[p][q] = k[q][p] = part[MC_H_AT + e][0] / (power[p] * power[q]) * (1.0 / width);
      }
      __syncthreads();
      const mc_size place = ((mc_size)n * depth + (l - 1)) * MC_T * MC_T;
      for (int e = thread; e < MC_PAIRS(MC_T); e += MC_BLOCK) {
        int t, q;
        mc_pair(e, t, q);
        const double u = mc_seen(a, root, t, q) * (1.0 / width);
        u_grams[place + t * MC_T + q] = u_grams[place + q * MC_T + t] = u;
        h_grams[place + t * MC_T + q] = h_grams[place + q * MC_T + t] = k[t][q];
      }
    }
  }

  // Downwards: s is now d . d and k is d . z, both without the powers of two of the exponent.
  const double step = sqrt(sigma_w2 / width), bias = sqrt(sigma_b2);
  double exponent = 0.0;
  __syncthreads();
  for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {
    s[e / MC_T][e % MC_T] = e == 0 ? 1.0 : 0.0;
    k[e / MC_T][e % MC_T] =
        e < MC_T && readout ? mc_one(network, 4u << 24 | (depth + 1), e, 0, k0, k1) : 0.0;  // row 0: the readout's answers
  }
#pragma unroll 1
  for (mc_word l = depth; l > 0; --l) {
    const double* kept = scratch + (l - 1) * MC_SCRATCH;
    const double* above = scratch + l * MC_SCRATCH;
    const bool probe = l == depth && !readout;
    const mc_word questions = l == depth ? 1 : MC_T, role = l < depth || readout ? 5 : 6;
    const mc_rows rows = {network, 4u << 24 | l, role << 24 | (l + 1), questions, k0, k1};
    mc_factor(s, root);
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {
      const int q = e / MC_T, t = e % MC_T;
      if (t > q) root[q][t] = 0.0;
      a[q][t] = t <= q ? above[e] : 0.0;
      double x = kept[MC_T * MC_T + e] / (kept[2 * MC_T * MC_T + 2 * q + 1] * kept[MC_SCRATCH - 1]) * step;
      if (q == 0 && bias > 0.0 && t < questions)
        x += bias * mc_one(network, 5u << 24 | (l + 1), t, 1u << 30, k0, k1);
      crossed[q][t] = x;
    }
    __syncthreads();
    if (probe) {
      for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) f[e / MC_T][e % MC_T] = 0.0;
    } else {
      mc_agree(k, root, crossed, a, f);
    }
    const double scale_fresh = probe ? 1.0 / sqrt((double)width) : step;
    double top = s[0][0];
    for (int t = 1; t < MC_T; ++t) top = s[t][t] > top ? s[t][t] : top;
    top *= scale_fresh * scale_fresh;
    const double gamma = top > 0.0 ? mc_half_power(top) : 1.0;
    __syncthreads();
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {
      const int t = e / MC_T, q = e % MC_T;
      const double unit = kept[2 * MC_T * MC_T + 2 * q + 1] * kept[MC_SCRATCH - 1];
      fresh[t][q] = (mc_real)(root[t][q] * gamma * scale_fresh);
      told[t][q] = (mc_real)(f[t][q] * gamma * (step * step) / unit);
      if (q <= t) layer.coefficients[t][q] = (mc_real)(kept[e] * kept[MC_SCRATCH - 1]);
      if (q == 0) {
        layer.near[t] = (int)kept[2 * MC_T * MC_T + 2 * t];
        layer.scale[t] = (mc_real)kept[2 * MC_T * MC_T + 2 * t + 1];
      }
    }
    __syncthreads();
    double(&sums)[MC_D_SUMS][MC_BLOCK] = *(double(*)[MC_D_SUMS][MC_BLOCK])part;
    mc_down(rows, layer, width, fresh, told, sums);
    double largest = 0.0;
    for (int t = 0; t < MC_T; ++t) {
      const double x = sums[MC_PAIRS(t + 1) - 1][0] / (gamma * gamma);
      largest = x > largest ? x : largest;
    }
    const double out = largest > MC_FAR * MC_FAR ? 1.0 / MC_FAR : largest > 0.0 && largest < 1.0 / (MC_FAR * MC_FAR) ? MC_FAR : 1.0;
    exponent += out < 1.0 ? 200.0 : out > 1.0 ? -200.0 : 0.0;
    const mc_size place = ((mc_size)n * depth + (l - 1)) * MC_T * MC_T;
    for (int e = thread; e < MC_PAIRS(MC_T); e += MC_BLOCK) {
      int t, q;
      mc_pair(e, t, q);
      s[t][q] = s[q][t] = sums[e][0] / (gamma * gamma) * out * out;
    }
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK)
      k[e / MC_T][e % MC_T] = sums[MC_PAIRS(MC_T) + e][0] / gamma * out;
    __syncthreads();
    for (int e = thread; e < MC_T * MC_T; e += MC_BLOCK) {  // of the inputs themselves
      const int t = e / MC_T, q = e % MC_T;
      b_grams[place + e] = s[t][q] + (t ? s[0][q] : 0.0) + (q ? s[t][0] : 0.0) + (t && q ? s[0][0] : 0.0);
    }
    if (thread == 0) exponents[(mc_size)n * depth + (l - 1)] = exponent;
  }
}
