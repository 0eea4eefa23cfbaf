// out[n, r, c] = number (first_row + r, first_column + c) of network first_network + n     reference: normals, uniforms
//
// out (N, rows, columns), float32 or float64 (MC_DOUBLE), C order; MC_UNIFORM chooses the law; no sums. A thread makes
// counters, that is four neighbouring columns of a row at a time. A block of (x, y) threads owns y lines (a line is a
// row of a network, one for each threadIdx.y) and, of each, every gridDim.y-th run of x counters from blockIdx.y on.
// Where four columns lie whole and aligned in a row they are written as one vector.
struct alignas(4 * sizeof(mc_real)) mc_four {
  mc_real x, y, z, w;
};

extern "C" __global__ void __launch_bounds__(MC_BLOCK)
    mc_fill(mc_real* out, mc_word networks, mc_word rows, mc_word columns, mc_word counters, mc_word first_network,
            mc_word tag, mc_word first_row, mc_word first_column, mc_word k0, mc_word k1) {
  const mc_word line = blockIdx.x * blockDim.y + threadIdx.y;  // network * rows + row
  if (line < networks * rows) {                                // no barrier follows
    const mc_word network = line / rows, row = line - network * rows;
    const mc_word skip = first_column % 4;
    const bool whole = skip == 0 && columns % 4 == 0;
    mc_real* place = out + (mc_size)line * columns;
    for (mc_word i = blockIdx.y * blockDim.x + threadIdx.x; i < counters; i += gridDim.y * blockDim.x) {
      float x[4];
      mc_numbers(first_column / 4 + i, first_row + row, first_network + network, tag, k0, k1, x);
      if (whole) {
        const mc_four four = {(mc_real)x[0], (mc_real)x[1], (mc_real)x[2], (mc_real)x[3]};
        *(mc_four*)(place + 4 * (mc_size)i) = four;
      } else {
#pragma unroll
        for (int lane = 0; lane < 4; ++lane) {
          const mc_word column = 4 * i + lane - skip;  // wraps to a large number before the first column
          if (column < columns) place[column] = (mc_real)x[lane];
        }
      }
    }
  }
}
