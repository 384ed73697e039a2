/* What a decoder layer of Llama's family does between its matrix products, forward and backward, for processors:
 * the root-mean-square norm, the rotation of queries and keys, and the gate of the perceptron. Loaded by
 * layers.py; without it transformers' own modules do the same in many more passes. Every number is summed in one
 * order, whatever the number of threads. Numbers are float32 or bfloat16 (2 bytes, the upper half of a float32);
 * what is computed is float32.
 */
#include <stdlib.h>

#include "simd.h"

#define VERSION 1 /* as in layers.py: raised with every change of a signature */
#define TOGETHER 64 /* rows whose part in the gradient of a scale is summed first */
#define ENOUGH (1L << 17) /* numbers that are worth a second thread: some 30 microseconds */

int posttrain_version(void) { return VERSION; }

INLINE float get(const void *from, long i, int half) {
    return half ? bf16_to_f32(((const uint16_t *)from)[i]) : ((const float *)from)[i];
}

INLINE void put(void *to, long i, float x, int half) {
    if (half)
        ((uint16_t *)to)[i] = f32_to_bf16(x);
    else
        ((float *)to)[i] = x;
}

INLINE const void *at(const void *from, long i, int half) { return (const char *)from + i * (half ? 2 : 4); }

INLINE void norm_row(const float *x, const float *weight, void *out, float *rstd, long width, float eps, int half) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long e = 0; e < width; e++) sum += x[e] * x[e];
    const float scale = 1.0f / sqrtf(sum / (float)width + eps);
    *rstd = scale;
#pragma omp simd
    for (long e = 0; e < width; e++) put(out, e, weight[e] * (x[e] * scale), half);
}

static void norm_f32(const float *x, const float *weight, void *out, float *rstd, long width, float eps) {
    norm_row(x, weight, out, rstd, width, eps, 0);
}

static void norm_bf16(const float *x, const float *weight, void *out, float *rstd, long width, float eps) {
    norm_row(x, weight, out, rstd, width, eps, 1);
}

/* weight * x / sqrt(mean(x^2) + eps) of each row of x float32 [R, D], and the factors [R]. */
void posttrain_norm_forward(const float *x, const float *weight, void *out, float *rstd, long rows, long width,
                            float eps, int half) {
#pragma omp parallel for schedule(static) if (rows * width > ENOUGH)
    for (long r = 0; r < rows; r++) {
        void *to = (char *)out + r * width * (half ? 2 : 4);
        if (half)
            norm_bf16(x + r * width, weight, to, rstd + r, width, eps);
        else
            norm_f32(x + r * width, weight, to, rstd + r, width, eps);
    }
}

/* dx = s (w g - x s^2 mean(w g x)) with s the factor of the row; dw += g x s where it is wanted. */
INLINE void unnorm_row(const void *g, const float *x, const float *weight, float s, float *dx, float *dw, long width,
                       int half) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long e = 0; e < width; e++) sum += weight[e] * get(g, e, half) * x[e];
    const float back = sum / (float)width * s * s;
#pragma omp simd
    for (long e = 0; e < width; e++) dx[e] = s * (weight[e] * get(g, e, half) - back * x[e]);
    if (dw == NULL) return;
#pragma omp simd
    for (long e = 0; e < width; e++) dw[e] += get(g, e, half) * (x[e] * s);
}

static void unnorm_f32(const void *g, const float *x, const float *weight, float s, float *dx, float *dw,
                              long width) {
    unnorm_row(g, x, weight, s, dx, dw, width, 0);
}

static void unnorm_bf16(const void *g, const float *x, const float *weight, float s, float *dx, float *dw,
                               long width) {
    unnorm_row(g, x, weight, s, dx, dw, width, 1);
}

/* Gradients of posttrain_norm_forward: dx [R, D] and, unless NULL, dw [D]. Returns 0, or 1 where there was no room. */
int posttrain_norm_backward(const void *g, const float *x, const float *weight, const float *rstd, float *dx,
                            float *dw, long rows, long width, int half) {
    const long parts = (rows + TOGETHER - 1) / TOGETHER;
    float *sums = NULL;
    if (dw != NULL && (sums = calloc((size_t)(parts * width), sizeof(float))) == NULL) return 1;
#pragma omp parallel for schedule(static) if (rows * width > ENOUGH)
    for (long p = 0; p < parts; p++) {
        const long end = (p + 1) * TOGETHER < rows ? (p + 1) * TOGETHER : rows;
        float *own = sums == NULL ? NULL : sums + p * width;
        for (long r = p * TOGETHER; r < end; r++) {
            const void *from = at(g, r * width, half);
            if (half)
                unnorm_bf16(from, x + r * width, weight, rstd[r], dx + r * width, own, width);
            else
                unnorm_f32(from, x + r * width, weight, rstd[r], dx + r * width, own, width);
        }
    }
    if (sums == NULL) return 0;
    memset(dw, 0, (size_t)width * sizeof(float));
    for (long p = 0; p < parts; p++)
        for (long e = 0; e < width; e++) dw[e] += sums[p * width + e];
    free(sums);
    return 0;
}

INLINE void gate_piece(const void *gate, const void *up, void *out, long n, int half) {
#pragma omp simd
    for (long i = 0; i < n; i++) {
        const float a = get(gate, i, half);
        put(out, i, a * sigmoid(a) * get(up, i, half), half);
    }
}

INLINE void ungate_piece(const void *g, const void *gate, const void *up, void *dgate, void *dup, long n, int half) {
#pragma omp simd
    for (long i = 0; i < n; i++) {
        const float a = get(gate, i, half), s = sigmoid(a), d = get(g, i, half);
        put(dup, i, d * a * s, half);
        put(dgate, i, d * get(up, i, half) * s * (1.0f + a * (1.0f - s)), half);
    }
}

static void gate_f32(const void *gate, const void *up, void *out, long n) { gate_piece(gate, up, out, n, 0); }
static void gate_bf16(const void *gate, const void *up, void *out, long n) { gate_piece(gate, up, out, n, 1); }
static void ungate_f32(const void *g, const void *gate, const void *up, void *dgate, void *dup, long n) {
    ungate_piece(g, gate, up, dgate, dup, n, 0);
}
static void ungate_bf16(const void *g, const void *gate, const void *up, void *dgate, void *dup, long n) {
    ungate_piece(g, gate, up, dgate, dup, n, 1);
}

#define PIECE 4096 /* numbers a thread does before it looks for more */

/* silu(gate) * up of n numbers. */
void posttrain_gate_forward(const void *gate, const void *up, void *out, long n, int half) {
#pragma omp parallel for schedule(static) if (n > ENOUGH)
    for (long i = 0; i < n; i += PIECE) {
        const long size = n - i < PIECE ? n - i : PIECE;
        if (half)
            gate_bf16(at(gate, i, 1), at(up, i, 1), (void *)at(out, i, 1), size);
        else
            gate_f32(at(gate, i, 0), at(up, i, 0), (void *)at(out, i, 0), size);
    }
}

/* Its gradients by gate and up. */
void posttrain_gate_backward(const void *g, const void *gate, const void *up, void *dgate, void *dup, long n,
                             int half) {
#pragma omp parallel for schedule(static) if (n > ENOUGH)
    for (long i = 0; i < n; i += PIECE) {
        const long size = n - i < PIECE ? n - i : PIECE;
        if (half)
            ungate_bf16(at(g, i, 1), at(gate, i, 1), at(up, i, 1), (void *)at(dgate, i, 1), (void *)at(dup, i, 1),
                        size);
        else
            ungate_f32(at(g, i, 0), at(gate, i, 0), at(up, i, 0), (void *)at(dgate, i, 0), (void *)at(dup, i, 0),
                       size);
    }
}

/* x cos + (-x2, x1) sin of heads of one token, where x = (x1, x2); or back: its transpose, for a gradient. */
INLINE void rotate_row(const void *x, const float *cos, const float *sin, void *out, long heads, long width, int back,
                       int half) {
    const long h = width / 2;
    for (long k = 0; k < heads; k++) {
        const long i = k * width;
#pragma omp simd
        for (long e = 0; e < h; e++) {
            const float a = get(x, i + e, half), b = get(x, i + h + e, half);
            put(out, i + e, a * cos[e] + (back ? b * sin[e + h] : -b * sin[e]), half);
            put(out, i + h + e, b * cos[e + h] + (back ? -a * sin[e] : a * sin[e + h]), half);
        }
    }
}

static void rotate_f32(const void *x, const float *c, const float *s, void *out, long heads, long width, int back) {
    if (back)
        rotate_row(x, c, s, out, heads, width, 1, 0);
    else
        rotate_row(x, c, s, out, heads, width, 0, 0);
}

static void rotate_bf16(const void *x, const float *c, const float *s, void *out, long heads, long width,
                        int back) {
    if (back)
        rotate_row(x, c, s, out, heads, width, 1, 1);
    else
        rotate_row(x, c, s, out, heads, width, 0, 1);
}

/* The rotation of x [N, H, E] by cos and sin float32 [N, E]. */
void posttrain_rotate(const void *x, const float *cos, const float *sin, void *out, long rows, long heads, long width,
                      int back, int half) {
    const long all = heads * width;
#pragma omp parallel for schedule(static) if (rows * all > ENOUGH)
    for (long r = 0; r < rows; r++) {
        const void *from = at(x, r * all, half);
        void *to = (void *)at(out, r * all, half);
        if (half)
            rotate_bf16(from, cos + r * width, sin + r * width, to, heads, width, back);
        else
            rotate_f32(from, cos + r * width, sin + r * width, to, heads, width, back);
    }
}
