// The random streams: numbers from counters, with the bits of mcnet/streams.py.
//
// Every float operation is rounded by itself (__fmul_rn, __fadd_rn are never fused), so that the numbers do not depend
// on the compiler's freedom to contract a * b + c. No header is needed; all names begin with mc_ or MC_.

typedef unsigned int mc_word;
typedef unsigned long long mc_size;

struct mc_words {
  mc_word x, y, z, w;
};

// Philox4x32 with ten rounds: counter and key -> four words.                      reference: streams.philox4x32_10
static __device__ __forceinline__ mc_words mc_philox(mc_words c, mc_word k0, mc_word k1) {
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const mc_size p0 = (mc_size)0xD2511F53u * c.x, p1 = (mc_size)0xCD9E8D57u * c.z;
    const mc_words next = {(mc_word)(p1 >> 32) ^ c.y ^ k0, (mc_word)p1, (mc_word)(p0 >> 32) ^ c.w ^ k1, (mc_word)p0};
    c = next;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// p x + c, rounded twice.
static __device__ __forceinline__ float mc_step(float p, float x, float c) {
  return __fadd_rn(__fmul_rn(p, x), c);
}

// sqrt(-2 log u), u = (word + 1/2) / 2^32.                                               reference: streams.radius
static __device__ __forceinline__ float mc_radius(mc_word word) {
  const float u = mc_step(__uint2float_rn(word), 0x1p-32f, 0x1p-33f);
  const int bits = __float_as_int(u);
  const int exponent = (bits - 0x3f3504f3) >> 23;  // u = 2^exponent (1 + f), sqrt(1/2) <= 1 + f < sqrt(2)
  const float f = __fadd_rn(__int_as_float(bits - (int)((mc_word)exponent << 23)), -1.0f);
  float p = 0x1.65c622p-4f;
  p = mc_step(p, f, -0x1.250490p-3f);
  p = mc_step(p, f, 0x1.318560p-3f);
  p = mc_step(p, f, -0x1.535d36p-3f);
  p = mc_step(p, f, 0x1.98d2bap-3f);
  p = mc_step(p, f, -0x1.00049ap-2f);
  p = mc_step(p, f, 0x1.5556f4p-2f);
  p = mc_step(p, f, -0x1.fffffap-2f);
  const float log = __fadd_rn(f, __fmul_rn(__fmul_rn(f, f), p));
  return __fsqrt_rn(__fmul_rn(-2.0f, mc_step(__int2float_rn(exponent), 0x1.62e430p-1f, log)));
}

// Cosine and sine of 2 pi word / 2^32.                                                reference: streams.direction
static __device__ __forceinline__ void mc_direction(mc_word word, float& cosine, float& sine) {
  const mc_word quarter = (word + 0x20000000u) >> 30;
  const float t = __fmul_rn(__int2float_rn((int)(word - (quarter << 30))), 0x1p-30f);  // in quarter turns, |t| <= 1/2
  const float z = __fmul_rn(t, t);
  float s = -0x1.2d9332p-8f;
  s = mc_step(s, z, 0x1.465e94p-4f);
  s = mc_step(s, z, -0x1.4abbbap-1f);
  s = __fmul_rn(mc_step(s, z, 0x1.921fb6p+0f), t);
  float c = 0x1.d9f7a6p-11f;
  c = mc_step(c, z, -0x1.55c664p-6f);
  c = mc_step(c, z, 0x1.03c1dep-2f);
  c = mc_step(c, z, -0x1.3bd3ccp+0f);
  c = mc_step(c, z, 1.0f);
  const bool odd = quarter & 1u;
  const float first = odd ? s : c, second = odd ? c : s;
  cosine = ((quarter + 1u) & 2u) ? -first : first;
  sine = (quarter & 2u) ? -second : second;
}

// Columns 4 block to 4 block + 3 of a row of normals.                                   reference: streams.normals
static __device__ __forceinline__ void mc_normals(mc_word block, mc_word row, mc_word network, mc_word tag, mc_word k0,
                                                  mc_word k1, float out[4]) {
  const mc_words counter = {block, row, network, tag};
  const mc_words word = mc_philox(counter, k0, k1);
  const float r0 = mc_radius(word.x), r1 = mc_radius(word.z);
  float cosine, sine;
  mc_direction(word.y, cosine, sine);
  out[0] = __fmul_rn(r0, cosine);
  out[1] = __fmul_rn(r0, sine);
  mc_direction(word.w, cosine, sine);
  out[2] = __fmul_rn(r1, cosine);
  out[3] = __fmul_rn(r1, sine);
}

// The same of uniform numbers on (-1, 1).                                              reference: streams.uniforms
static __device__ __forceinline__ void mc_uniforms(mc_word block, mc_word row, mc_word network, mc_word tag, mc_word k0,
                                                   mc_word k1, float out[4]) {
  const mc_words counter = {block, row, network, tag};
  const mc_words word = mc_philox(counter, k0, k1);
  out[0] = __fmul_rn(__int2float_rn((int)word.x), 0x1p-31f);
  out[1] = __fmul_rn(__int2float_rn((int)word.y), 0x1p-31f);
  out[2] = __fmul_rn(__int2float_rn((int)word.z), 0x1p-31f);
  out[3] = __fmul_rn(__int2float_rn((int)word.w), 0x1p-31f);
}

// Numbers of the law MC_UNIFORM says (0: normals, 1: uniforms).
static __device__ __forceinline__ void mc_numbers(mc_word block, mc_word row, mc_word network, mc_word tag, mc_word k0,
                                                  mc_word k1, float out[4]) {
#if MC_UNIFORM
  mc_uniforms(block, row, network, tag, k0, k1, out);
#else
  mc_normals(block, row, network, tag, k0, k1, out);
#endif
}
