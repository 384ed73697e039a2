/* Matrix products of decoding in float32: few rows, and a matrix so large that fetching it takes as long as using it.
 *
 * The matrix [N, K] is laid out once, 16 outputs by 16: [N / 16][K][16], zeros where N ends. Two blocks are read side
 * by side, CHUNK inputs of them at a time, which stay in the nearest cache while rows pass by, 8 at a time: their sums
 * are in registers, and what memory sends meanwhile is the next chunk. A result is the sum over K in order, whatever
 * the number of rows and threads. For processors with registers of 16 numbers (AVX-512); native.py asks whether this
 * is one.
 */
#include <string.h>

#include "../models/numbers.h"

#define WIDE 16 /* outputs in a vector */
#define TOGETHER 8 /* rows whose sums are in registers */
#define CHUNK 64 /* inputs */
#define STEP 4 /* inputs after each of which something is fetched */
#define GROUP 64 /* rows that share a chunk */
#define ENOUGH (1L << 21) /* multiplications that are worth a second thread: some 40 microseconds */

enum { PLAIN, SILU, TIMES, PLUS }; /* what is done with a result, as in native.py */

typedef struct {
    const float *first, *second; /* of the two blocks, or of what is fetched of them */
} Two;

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

/* sum += x times inputs from..to of both blocks; for every STEP inputs ``lines`` of each of ``next`` are fetched. */
INLINE void sums(const float *const *x, Two w, Two next, int lines, vec (*sum)[2], long from, long to, const int rows) {
    vec one[TOGETHER], two[TOGETHER];
    for (int r = 0; r < rows; r++) one[r] = sum[r][0], two[r] = sum[r][1];
    for (long k = from; k < to; k += STEP) {
        const long end = k + STEP < to ? k + STEP : to;
        for (int line = 0; line < lines; line++) {
            __builtin_prefetch(next.first);
            __builtin_prefetch(next.second);
            next.first += WIDE, next.second += WIDE;
        }
        for (long i = k; i < end; i++) {
            const vec u = load(w.first + WIDE * i), v = load(w.second + WIDE * i);
            for (int r = 0; r < rows; r++) {
                const float y = x[r][i];
                one[r] += u * y, two[r] += v * y;
            }
        }
    }
    for (int r = 0; r < rows; r++) sum[r][0] = one[r], sum[r][1] = two[r];
}

#define SUMS(rows)                                                                                                     \
    FITTED static void sums_##rows(const float *const *x, Two w, Two next, int lines, vec(*sum)[2], long from, long to) { \
        sums(x, w, next, lines, sum, from, to, rows);                                                                  \
    }
SUMS(4) SUMS(8)

INLINE vec some(const float *x, long count) { /* the rest is 0 */
    vec out = {0};
    if (count == WIDE) return load(x);
    memcpy(&out, x, (size_t)count * sizeof *x);
    return out;
}

INLINE void finish(vec y, const float *bias, const float *other, float *out, long count, int how) {
    if (bias != NULL) y += some(bias, count);
    if (how == TIMES) y *= some(other, count);
    if (how == PLUS) y += some(other, count);
    if (how == SILU)
        for (int i = 0; i < WIDE; i++) y[i] *= sigmoid(y[i]);
    memcpy(out, &y, (size_t)(count == WIDE ? WIDE : count) * sizeof *out);
}

/* out = how(x times two blocks from output n on) for at most GROUP rows of x; one block where N ends with it. */
FITTED static void blocks(const float *x, const float *packed, const float *bias, const float *other, float *out,
                          long rows, long inputs, long outputs, long n, int how) {
    const int count = n + WIDE < outputs ? 2 : 1;
    const long block = inputs * WIDE;
    const Two w = {packed, packed + (count - 1) * block};
    const int passes = (int)((rows + TOGETHER - 1) / TOGETHER), lines = passes < STEP ? (STEP + passes - 1) / passes : 1;
    vec sum[GROUP][2];
    memset(sum, 0, (size_t)(passes * TOGETHER) * sizeof *sum);
    for (long from = 0; from < inputs; from += CHUNK) {
        const long to = from + CHUNK < inputs ? from + CHUNK : inputs;
        const long ahead = to < inputs ? to * WIDE : 2 * block; /* the next chunk, or the next two blocks */
        for (int pass = 0; pass < passes; pass++) {
            const long first = pass * TOGETHER, left = rows - first;
            const long next = ahead + pass * lines * (CHUNK / STEP) * WIDE;
            const Two fetched = {w.first + next, w.second + next};
            const float *at[TOGETHER];
            for (long r = 0; r < TOGETHER; r++) at[r] = x + (first + (r < left ? r : 0)) * inputs;
            if (left > 4)
                sums_8(at, w, fetched, pass * lines < STEP ? lines : 0, sum + first, from, to);
            else
                sums_4(at, w, fetched, pass * lines < STEP ? lines : 0, sum + first, from, to);
        }
    }
    for (long r = 0; r < rows; r++)
        for (int b = 0; b < count; b++) {
            const long start = n + b * WIDE, at = r * outputs + start;
            finish(sum[r][b], bias == NULL ? NULL : bias + start, other == NULL ? NULL : other + at,
                   out + at, outputs - start < WIDE ? outputs - start : WIDE, how);
        }
}

/* out [R, N] = how(x [R, K] times packed' + bias [N], other [R, N]). */
void posttrain_product(const float *x, const float *packed, const float *bias, const float *other, float *out,
                       long rows, long inputs, long outputs, int how) {
    const long pairs = (outputs + 2 * WIDE - 1) / (2 * WIDE), groups = (rows + GROUP - 1) / GROUP;
#pragma omp parallel for collapse(2) schedule(static) if (rows * inputs * outputs > ENOUGH)
    for (long g = 0; g < groups; g++)
        for (long p = 0; p < pairs; p++) {
            const long first = g * GROUP, n = p * 2 * WIDE;
            blocks(x + first * inputs, packed + n * inputs, bias, other == NULL ? NULL : other + first * outputs,
                   out + first * outputs, rows - first < GROUP ? rows - first : GROUP, inputs, outputs, n, how);
        }
}
