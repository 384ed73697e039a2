/* Matrix products of decoding, in float32 or from bfloat16 with sums in float32: few rows, and a matrix so large that
 * fetching it takes as long as using it.
 *
 * The matrix [N, K] is laid out once, 16 outputs by 16: [N / 16][K][16], zeros where N ends. Two blocks are read side
 * by side, CHUNK inputs of them at a time, which stay in the nearest cache while rows pass by, 8 at a time: their sums
 * are in registers, and what memory sends meanwhile is the next chunk. A result is the sum over K in order, whatever
 * the number of rows and threads. For processors with registers of 16 numbers (AVX-512); native.py asks whether this
 * is one, and whether bfloat16 is better widened here than multiplied by the processor.
 */
#include <stdlib.h>
#include <string.h>

#include "../models/numbers.h"

#define WIDE 16 /* outputs in a vector */
#define TOGETHER 8 /* rows whose sums are in registers */
#define CHUNK 64 /* inputs */
#define LINE 64 /* bytes that memory sends together */
#define STEP 4 /* inputs after each of which something is fetched */
#define GROUP 64 /* rows that share a chunk */
#define ENOUGH (1L << 21) /* multiplications that are worth a second thread: some 40 microseconds */

enum { PLAIN, SILU, TIMES, PLUS }; /* what is done with a result, as in native.py */

typedef struct {
    const char *first, *second; /* of the two blocks, or of what is fetched of them */
} Two;

typedef uint16_t halves __attribute__((vector_size(32)));
typedef uint32_t words __attribute__((vector_size(64)));

/* 16 numbers from number ``at`` on. */
INLINE vec numbers(const void *from, long at, const int half) {
    if (!half) return load((const float *)from + at);
    halves narrow;
    memcpy(&narrow, (const uint16_t *)from + at, sizeof narrow);
    const words wide = __builtin_convertvector(narrow, words) << 16;
    vec out;
    memcpy(&out, &wide, sizeof out);
    return out;
}

int posttrain_wide(void) {
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#else
    return 0;
#endif
}

/* Whether Intel's, and without its matrix unit: there bfloat16 products take twice the time of float32's. */
int posttrain_widens(void) {
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__)
    return posttrain_wide() && __builtin_cpu_is("intel") && !__builtin_cpu_supports("amx-bf16");
#else
    return 0;
#endif
}

/* Rows of weight [N, K], each column times its scale (NULL: 1), into blocks from output ``from`` on, a multiple of 16. */
void posttrain_pack(const float *weight, const float *scale, void *packed, long from, long outputs, long inputs,
                    int half) {
    const long blocks = (outputs + WIDE - 1) / WIDE;
#pragma omp parallel for schedule(static)
    for (long b = 0; b < blocks; b++) {
        const long to = (from / WIDE + b) * inputs * WIDE;
        const long n = b * WIDE, count = outputs - n < WIDE ? outputs - n : WIDE;
        for (long k = 0; k < inputs; k++) {
            const float s = scale == NULL ? 1.0f : scale[k];
            for (long i = 0; i < WIDE; i++) {
                const float number = i < count ? weight[(n + i) * inputs + k] * s : 0.0f;
                if (half)
                    ((uint16_t *)packed)[to + k * WIDE + i] = rounded(number);
                else
                    ((float *)packed)[to + k * WIDE + i] = number;
            }
        }
    }
}

/* sum += x times inputs from..to, where both blocks begin; for every STEP of them ``lines`` of each of ``next`` are
 * fetched.
 */
INLINE void sums(const float *const *x, Two w, Two next, int lines, vec (*sum)[2], long from, long to, const int rows) {
    vec one[TOGETHER], two[TOGETHER];
    for (int r = 0; r < rows; r++) one[r] = sum[r][0], two[r] = sum[r][1];
    for (long k = from; k < to; k += STEP) {
        const long end = k + STEP < to ? k + STEP : to;
        for (int line = 0; line < lines; line++) {
            __builtin_prefetch(next.first);
            __builtin_prefetch(next.second);
            next.first += LINE, next.second += LINE;
        }
        for (long i = k; i < end; i++) {
            const vec u = numbers(w.first, WIDE * (i - from), 0), v = numbers(w.second, WIDE * (i - from), 0);
            for (int r = 0; r < rows; r++) {
                const float y = x[r][i];
                one[r] += u * y, two[r] += v * y;
            }
        }
    }
    for (int r = 0; r < rows; r++) sum[r][0] = one[r], sum[r][1] = two[r];
}

#define SUMS(name, rows)                                                                                               \
    FITTED static void name(const float *const *x, Two w, Two next, int lines, vec(*sum)[2], long from, long to) {     \
        sums(x, w, next, lines, sum, from, to, rows);                                                                  \
    }
SUMS(of_four, 4) SUMS(of_eight, 8)

INLINE vec some(const void *from, long at, long count, const int half) { /* the rest is 0 */
    if (count == WIDE) return numbers(from, at, half);
    float out[WIDE] = {0};
    for (long i = 0; i < count; i++)
        out[i] = half ? widened(((const uint16_t *)from)[at + i]) : ((const float *)from)[at + i];
    return load(out);
}

INLINE void finish(vec y, const float *bias, const void *other, void *out, long at, long count, int how, int half) {
    if (bias != NULL) y += some(bias, 0, count, 0);
    if (how == TIMES) y *= some(other, at, count, half);
    if (how == PLUS) y += some(other, at, count, half);
    if (how == SILU)
        for (int i = 0; i < WIDE; i++) y[i] *= sigmoid(y[i]);
    uint16_t narrow[WIDE];
    if (half) {
        for (int i = 0; i < WIDE; i++) narrow[i] = rounded(y[i]);
        memcpy((uint16_t *)out + at, narrow, (size_t)(count == WIDE ? WIDE : count) * sizeof *narrow);
    } else
        memcpy((float *)out + at, &y, (size_t)(count == WIDE ? WIDE : count) * sizeof(float));
}

/* out = how(x times two blocks from output n on) for at most GROUP rows of x; one block where N ends with it. */
FITTED static void blocks(const float *x, const char *packed, const float *bias, const void *other, void *out,
                          long first, long rows, long inputs, long outputs, long n, int how, int half) {
    const int count = n + WIDE < outputs ? 2 : 1;
    const long line = WIDE * (half ? 2 : 4), block = inputs * line; /* bytes */
    const int passes = (int)((rows + TOGETHER - 1) / TOGETHER), lines = passes < STEP ? (STEP + passes - 1) / passes : 1;
    vec sum[GROUP][2], widened_chunk[2][CHUNK];
    memset(sum, 0, (size_t)(passes * TOGETHER) * sizeof *sum);
    for (long from = 0; from < inputs; from += CHUNK) {
        const long to = from + CHUNK < inputs ? from + CHUNK : inputs;
        const Two stored = {packed + from * line, packed + (count - 1) * block + from * line};
        const long ahead = to < inputs ? (to - from) * line : 2 * block - from * line; /* next chunk, or next two blocks */
        Two w = stored;
        if (half) { /* once for all rows */
            for (long k = 0; k < to - from; k++) {
                widened_chunk[0][k] = numbers(stored.first, WIDE * k, 1);
                widened_chunk[1][k] = numbers(stored.second, WIDE * k, 1);
            }
            w = (Two){(const char *)widened_chunk[0], (const char *)widened_chunk[1]};
        }
        for (int pass = 0; pass < passes; pass++) {
            const long start = pass * TOGETHER, left = rows - start;
            const long next = ahead + pass * lines * (CHUNK / STEP) * line;
            const Two fetched = {stored.first + next, stored.second + next};
            const float *at[TOGETHER];
            for (long r = 0; r < TOGETHER; r++) at[r] = x + (first + start + (r < left ? r : 0)) * inputs;
            (left > 4 ? of_eight : of_four)(at, w, fetched, pass * lines < STEP ? lines : 0, sum + start, from, to);
        }
    }
    for (long r = 0; r < rows; r++)
        for (int b = 0; b < count; b++) {
            const long start = n + b * WIDE;
            finish(sum[r][b], bias == NULL ? NULL : bias + start, other, out, (first + r) * outputs + start,
                   outputs - start < WIDE ? outputs - start : WIDE, how, half);
        }
}

FITTED static void widen(const uint16_t *x, float *out, long count) {
    for (long i = 0; i < count; i++) out[i] = widened(x[i]);
}

/* out [R, N] = how(x [R, K] times packed' + bias [N], other [R, N]); half: all but bias in bfloat16. Returns 0, or 1
 * where there was no room.
 */
int posttrain_product(const void *x, const void *packed, const float *bias, const void *other, void *out, long rows,
                      long inputs, long outputs, int how, int half) {
    const long pairs = (outputs + 2 * WIDE - 1) / (2 * WIDE), groups = (rows + GROUP - 1) / GROUP;
    float *const wide = half ? malloc((size_t)(rows * inputs) * sizeof *wide) : NULL;
    if (half && wide == NULL) return 1;
    if (half) widen(x, wide, rows * inputs);
#pragma omp parallel for collapse(2) schedule(static) if (rows * inputs * outputs > ENOUGH)
    for (long g = 0; g < groups; g++)
        for (long p = 0; p < pairs; p++) {
            const long first = g * GROUP, n = p * 2 * WIDE;
            blocks(half ? wide : x, (const char *)packed + n * inputs * (half ? 2 : 4), bias, other, out, first,
                   rows - first < GROUP ? rows - first : GROUP, inputs, outputs, n, how, half);
        }
    free(wide);
    return 0;
}
