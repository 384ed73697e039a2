/* Matrix products of decoding in float32: few rows, and a matrix so large that fetching it takes as long as using it.
 *
 * The matrix [N, K] is laid out once, 16 outputs by 16: [N / 16][K][16], zeros where N ends. Rows are taken 16 at a
 * time, so that every number fetched is used 16 times while it is in a register, and what comes next is fetched
 * ahead. A result is the sum over K in order, whatever the number of rows and threads. For processors with
 * registers of 16 numbers (AVX-512); native.py asks whether this is one.
 */
#include <stdlib.h>

#include "../models/numbers.h"

#define WIDE 16 /* outputs in a vector, and rows in a tile */
#define AHEAD 1024 /* numbers of the matrix: 4 KB, about what memory takes to answer */
#define TILES 4 /* that share a block of the matrix before it leaves the cache */
#define ENOUGH (1L << 21) /* multiplications that are worth a second thread: some 40 microseconds */

enum { PLAIN, SILU, TIMES, PLUS }; /* what is done with a result, as in native.py */

int posttrain_wide(void) {
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#else
    return 0;
#endif
}

/* Rows of weight [N, K], each column times its scale (NULL: 1), into blocks from output ``from`` on, a multiple of 16. */
void posttrain_pack(const float *weight, const float *scale, float *packed, long from, long outputs, long inputs) {
    const long blocks = (outputs + WIDE - 1) / WIDE;
#pragma omp parallel for schedule(static)
    for (long b = 0; b < blocks; b++) {
        float *to = packed + (from / WIDE + b) * inputs * WIDE;
        const long n = b * WIDE, count = outputs - n < WIDE ? outputs - n : WIDE;
        for (long k = 0; k < inputs; k++) {
            const float s = scale == NULL ? 1.0f : scale[k];
            for (long i = 0; i < WIDE; i++) to[k * WIDE + i] = i < count ? weight[(n + i) * inputs + k] * s : 0.0f;
        }
    }
}

/* ``next`` is what will be wanted of the matrix, as many numbers as are used here. */
INLINE void sums(const float *w, const float *x, const float *next, vec *out, long inputs, const int rows) {
    vec sum[WIDE];
    for (int r = 0; r < rows; r++) sum[r] = (vec){0};
    for (long k = 0; k < inputs; k++) {
        const vec one = load(w + WIDE * k);
        __builtin_prefetch(next + WIDE * k);
        for (int r = 0; r < rows; r++) sum[r] += one * x[WIDE * k + r];
    }
    for (int r = 0; r < rows; r++) out[r] = sum[r];
}

#define SUMS(rows) \
    FITTED static void sums_##rows(const float *w, const float *x, const float *next, vec *out, long inputs) {          \
        sums(w, x, next, out, inputs, rows);                                                                             \
    }
SUMS(4) SUMS(8) SUMS(12) SUMS(16)

FITTED static void finish(const float *sum, const float *bias, const float *other, float *out, long count, int how) {
    for (long i = 0; i < count; i++) {
        const float y = bias == NULL ? sum[i] : sum[i] + bias[i];
        out[i] = how == SILU ? y * sigmoid(y) : how == TIMES ? y * other[i] : how == PLUS ? y + other[i] : y;
    }
}

/* x [R, K] to tiles [R / 16][K][16], zeros where R ends; one tile. */
FITTED static void lay(const float *x, float *tile, long rows, long inputs) {
    for (long k = 0; k < inputs; k++)
        for (long r = 0; r < WIDE; r++) tile[k * WIDE + r] = r < rows ? x[r * inputs + k] : 0.0f;
}

/* out [R, N] = how(x [R, K] times packed' + bias [N], other [R, N]). Returns 0, or 1 where there was no room. */
int posttrain_product(const float *x, const float *packed, const float *bias, const float *other, float *out,
                      long rows, long inputs, long outputs, int how) {
    const long tiles = (rows + WIDE - 1) / WIDE, blocks = (outputs + WIDE - 1) / WIDE;
    const long parts = (tiles + TILES - 1) / TILES;
    float *const laid = aligned_alloc(64, (size_t)(tiles * inputs * WIDE) * sizeof(float));
    if (laid == NULL) return 1;
#pragma omp parallel for schedule(static) if (tiles > TILES) /* fewer are done before another thread wakes */
    for (long t = 0; t < tiles; t++) {
        const long left = rows - t * WIDE;
        lay(x + t * WIDE * inputs, laid + t * inputs * WIDE, left < WIDE ? left : WIDE, inputs);
    }
#pragma omp parallel for collapse(2) schedule(static) if (rows * inputs * outputs > ENOUGH)
    for (long p = 0; p < parts; p++)
        for (long b = 0; b < blocks; b++) {
            const float *w = packed + b * inputs * WIDE;
            const long n = b * WIDE, wide = outputs - n < WIDE ? outputs - n : WIDE;
            for (long t = p * TILES; t < tiles && t < (p + 1) * TILES; t++) {
                const long first = t * WIDE, count = rows - first < WIDE ? rows - first : WIDE;
                const float *own = laid + t * inputs * WIDE;
                /* what memory sends while the last tile is computed is the next block */
                const float *next = w + (parts == 1 && tiles > 1 && t == tiles - 1 ? inputs * WIDE : AHEAD);
                vec sum[WIDE];
                if (count > 12)
                    sums_16(w, own, next, sum, inputs);
                else if (count > 8)
                    sums_12(w, own, next, sum, inputs);
                else if (count > 4)
                    sums_8(w, own, next, sum, inputs);
                else
                    sums_4(w, own, next, sum, inputs);
                for (long r = 0; r < count; r++) {
                    const long at = (first + r) * outputs + n;
                    finish((const float *)&sum[r], bias == NULL ? NULL : bias + n,
                           other == NULL ? NULL : other + at, out + at, wide, how);
                }
            }
        }
    free(laid);
    return 0;
}
