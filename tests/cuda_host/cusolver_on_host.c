// The entry points of cuSOLVER that mcnet calls, on host memory: signatures as in cusolverDn.h of CUDA 12.6 to 13, the
// eigenvalues by cyclic Jacobi rotations. What is passed wrongly comes back as a status or as wrong numbers.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 3, HANDLE = 0x48, PARAMETERS = 0x50, DEVICE = 40, HOST = 24 };
static int handle = HANDLE, parameters = PARAMETERS, open_count = 0;
static void* stream_set = 0;

int cusolverDnCreate(void** out) { *out = &handle; ++open_count; return SUCCESS; }
int cusolverDnDestroy(void* given) { --open_count; return given == &handle ? SUCCESS : INVALID_VALUE; }
int cusolverDnCreateParams(void** out) { *out = &parameters; return SUCCESS; }
int cusolverDnDestroyParams(void* given) { return given == &parameters ? SUCCESS : INVALID_VALUE; }
int cusolverDnSetStream(void* given, void* stream) { stream_set = stream; return given == &handle ? SUCCESS : INVALID_VALUE; }

static int wrong(void* h, void* p, int jobz, int uplo, int64_t n, int type_a, int64_t lda, int type_w, int type) {
  if (h != &handle || p != &parameters || stream_set != (void*)77) return NOT_INITIALIZED;
  return jobz != 0 || uplo != 0 || n < 1 || lda != n || type_a != type_w || type_a != type || type_a < 0 || type_a > 1;
}

int cusolverDnXsyevBatched_bufferSize(void* h, void* p, int jobz, int uplo, int64_t n, int type_a, const void* a,
                                      int64_t lda, int type_w, const void* w, int type, size_t* on_device,
                                      size_t* on_host, int64_t batch) {
  if (wrong(h, p, jobz, uplo, n, type_a, lda, type_w, type) || !a || !w || batch < 1) return INVALID_VALUE;
  *on_device = DEVICE;
  *on_host = HOST;
  return SUCCESS;
}

static double get(const void* a, int type, int64_t i) { return type ? ((const double*)a)[i] : ((const float*)a)[i]; }

static int compare(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static int eigenvalues(double* m, int64_t n, double* w) {
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    for (int64_t p = 0; p < n; ++p)
      for (int64_t q = 0; q < p; ++q) {
        const double x = m[p * n + q];
        off += x * x;
        if (x == 0) continue;
        const double theta = (m[q * n + q] - m[p * n + p]) / (2 * x);
        const double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1)), c = 1 / sqrt(t * t + 1), s = t * c;
        for (int64_t k = 0; k < n; ++k) {
          const double u = m[k * n + p], v = m[k * n + q];
          m[k * n + p] = c * u - s * v;
          m[k * n + q] = s * u + c * v;
        }
        for (int64_t k = 0; k < n; ++k) {
          const double u = m[p * n + k], v = m[q * n + k];
          m[p * n + k] = c * u - s * v;
          m[q * n + k] = s * u + c * v;
        }
      }
    if (!(off == off)) return 1;
    if (off < 1e-30) break;
  }
  for (int64_t k = 0; k < n; ++k) w[k] = m[k * n + k];
  qsort(w, n, sizeof(double), compare);
  return 0;
}

int cusolverDnXsyevBatched(void* h, void* p, int jobz, int uplo, int64_t n, int type_a, void* a, int64_t lda,
                           int type_w, void* w, int type, void* on_device, size_t device_bytes, void* on_host,
                           size_t host_bytes, int* info, int64_t batch) {
  if (wrong(h, p, jobz, uplo, n, type_a, lda, type_w, type)) return INVALID_VALUE;
  if (device_bytes != DEVICE || host_bytes != HOST || !on_device || !on_host) return INVALID_VALUE;
  for (int i = 0; i < DEVICE; ++i) ((char*)on_device)[i] = 1;
  for (int i = 0; i < HOST; ++i) ((char*)on_host)[i] = 1;
  double *m = malloc(sizeof(double) * n * n), *values = malloc(sizeof(double) * n);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j <= i; ++j) m[i * n + j] = m[j * n + i] = get(a, type, b * n * n + j * n + i);  // lower, by columns
    info[b] = eigenvalues(m, n, values);
    for (int64_t i = 0; i < n; ++i)
      if (type)
        ((double*)w)[b * n + i] = values[i];
      else
        ((float*)w)[b * n + i] = (float)values[i];
  }
  for (int64_t i = 0; i < batch * n * n; ++i)
    if (type) ((double*)a)[i] = NAN; else ((float*)a)[i] = NAN;
  free(m);
  free(values);
  return SUCCESS;
}
