/* Numbers of float32 and bfloat16 (2 bytes, the upper half of a float32), the exponential and vectors, as all C
 * sources here compute them. A source is compiled once for each kind of processor (setup.py); compiled.py chooses one
 * of the libraries when it runs.
 */
#ifndef POSTTRAIN_SIMD_H
#define POSTTRAIN_SIMD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#else /* one thread */
#define omp_get_max_threads() 1
#define omp_get_thread_num() 0
#endif

#if defined(__AVX512F__)
#define LANES 16 /* numbers in a register */
#elif defined(__AVX2__)
#define LANES 8
#else /* NEON */
#define LANES 4
#endif

#define INLINE static inline __attribute__((always_inline))

INLINE float bf16_to_f32(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

INLINE uint16_t f32_to_bf16(float x) { /* to the nearest, ties to even; infinities stay, NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t near = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (uint16_t)(x != x ? 0x7fc0u : near);
}

INLINE float exp_nonpositive(float x) { /* e^x for x <= 0, to a relative 2e-7; below -87 it is 0; NaN stays NaN */
    float low = x < -87.0f ? -87.0f : x;
    float n = rintf(low * 1.44269504f);
    float r = low - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t scale = ((int32_t)n + 127) << 23;
    float two;
    memcpy(&two, &scale, 4);
    return x < -87.0f ? 0.0f : p * two;
}

INLINE float sigmoid(float x) {
    const float e = exp_nonpositive(-fabsf(x)), near = 1.0f / (1.0f + e);
    return x < 0.0f ? e * near : near;
}

INLINE float largest(const float *x, long n) { /* NaN is passed over; -infinity where there is no other */
    float top[4 * LANES]; /* four registers, as one would wait for itself */
    long c = 0;
    for (int i = 0; i < 4 * LANES; i++) top[i] = -INFINITY;
    for (; c + 4 * LANES <= n; c += 4 * LANES)
        for (int i = 0; i < 4 * LANES; i++) top[i] = x[c + i] > top[i] ? x[c + i] : top[i];
    for (; c + LANES <= n; c += LANES)
        for (int i = 0; i < LANES; i++) top[i] = x[c + i] > top[i] ? x[c + i] : top[i];
    for (; c < n; c++) top[0] = x[c] > top[0] ? x[c] : top[0];
    for (int half = 2 * LANES; half > 0; half /= 2)
        for (int i = 0; i < half; i++) top[i] = top[i + half] > top[i] ? top[i + half] : top[i];
    return top[0];
}

typedef float vec __attribute__((vector_size(4 * LANES)));

INLINE vec load(const float *x) {
    vec out;
    memcpy(&out, x, sizeof out);
    return out;
}

#endif
