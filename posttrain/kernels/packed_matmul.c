/* Matrix products of decoding, in float32 or from bfloat16 with sums in float32: few rows, and a matrix so large that
 * fetching it takes as long as using it.
 *
 * The matrix [N, K] is laid out once in panels of WIDE outputs: [N / WIDE][K][WIDE], zeros where N ends. CHUNK inputs of
 * a panel stay in the nearest cache while rows pass by, TOGETHER at a time: their sums are in registers, and what memory
 * sends meanwhile is the next chunk. A result is the sum over K in order, whatever the number of rows and threads.
 */
#include <stdlib.h>

#include "simd.h"

#if LANES == 16 /* of 32 registers 16 are sums */
#define SIDE 2     /* vectors side by side */
#define TOGETHER 8 /* rows */
#elif LANES == 8   /* of 16 registers 12 */
#define SIDE 3
#define TOGETHER 4
#else /* of 32 registers 24 */
#define SIDE 3
#define TOGETHER 8
#endif
#define WIDE (SIDE * LANES) /* outputs of a panel */
#define CHUNK 64            /* inputs */
#define LINE 64             /* bytes that memory sends together */
#define STEP 4              /* inputs after each of which something is fetched */
#define GROUP 64            /* rows that share a chunk */
#define ENOUGH (1L << 21)   /* multiplications that are worth a second thread: some 40 microseconds */

enum { PLAIN, SILU, TIMES, PLUS }; /* what is done with a result, as in decode.py */

int posttrain_panel(void) { return WIDE; }

/* Rows of weight [N, K], each column times its scale (NULL: 1), into panels. */
void posttrain_pack(const float *weight, const float *scale, void *packed, long outputs, long inputs, int half) {
    const long panels = (outputs + WIDE - 1) / WIDE;
#pragma omp parallel for schedule(static)
    for (long p = 0; p < panels; p++)
        for (long k = 0; k < inputs; k++)
            for (long i = 0; i < WIDE; i++) {
                const long to = (p * inputs + k) * WIDE + i, n = p * WIDE + i;
                const float number = n < outputs ? weight[n * inputs + k] * (scale == NULL ? 1.0f : scale[k]) : 0.0f;
                if (half)
                    ((uint16_t *)packed)[to] = f32_to_bf16(number);
                else
                    ((float *)packed)[to] = number;
            }
}

/* s += input i of each row times its WIDE weights. */
INLINE void add(vec (*s)[SIDE], const float *const *x, const float *w, long i, const int rows) {
    vec v[SIDE];
    for (int j = 0; j < SIDE; j++) v[j] = load(w + j * LANES);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < SIDE; j++) s[r][j] += v[j] * x[r][i];
}

/* sum += x times inputs from..to, whose part of the panel is w; for every STEP of them ``lines`` of next are fetched. */
INLINE void sums(const float *const *from_x, const float *w, const char *next, int lines, vec (*sum)[SIDE], long from,
                 long to, const int rows) {
    const float *x[TOGETHER];
    vec s[TOGETHER][SIDE];
    for (int r = 0; r < rows; r++) {
        x[r] = from_x[r];
        for (int j = 0; j < SIDE; j++) s[r][j] = sum[r][j];
    }
    long k = from;
    for (; k + STEP <= to; k += STEP, w += STEP * WIDE) {
        for (int line = 0; line < lines; line++, next += LINE) __builtin_prefetch(next);
        for (long i = 0; i < STEP; i++) add(s, x, w + i * WIDE, k + i, rows);
    }
    for (; k < to; k++, w += WIDE) add(s, x, w, k, rows);
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < SIDE; j++) sum[r][j] = s[r][j];
}

#define SUMS(name, rows)                                                                                               \
    static __attribute__((noinline)) void name(const float *const *x, const float *w, const char *next, int lines,     \
                                               vec(*sum)[SIDE], long from, long to) {                                  \
        sums(x, w, next, lines, sum, from, to, rows);                                                                  \
    }
SUMS(of_some, TOGETHER / 2) SUMS(of_all, TOGETHER)

/* Of a row of sums ``count`` numbers to out[at..]; whole panels at a time, so that all are vectors. */
INLINE void finish(const vec *sum, const float *bias, const void *other, void *out, long at, long count, int how, int half) {
    float y[WIDE], z[WIDE] = {0};
    memcpy(y, sum, sizeof y);
    if (bias != NULL) {
        memcpy(z, bias, (size_t)count * 4);
        for (int i = 0; i < WIDE; i++) y[i] += z[i];
    }
    if (how == SILU)
        for (int i = 0; i < WIDE; i++) y[i] *= sigmoid(y[i]);
    if (how == TIMES || how == PLUS) {
        if (half) {
            uint16_t narrow[WIDE] = {0};
            memcpy(narrow, (const uint16_t *)other + at, (size_t)count * 2);
            for (int i = 0; i < WIDE; i++) z[i] = bf16_to_f32(narrow[i]);
        } else
            memcpy(z, (const float *)other + at, (size_t)count * 4);
        for (int i = 0; i < WIDE; i++) y[i] = how == TIMES ? y[i] * z[i] : y[i] + z[i];
    }
    if (half) {
        uint16_t narrow[WIDE];
        for (int i = 0; i < WIDE; i++) narrow[i] = f32_to_bf16(y[i]);
        memcpy((uint16_t *)out + at, narrow, (size_t)count * 2);
    } else
        memcpy((float *)out + at, y, (size_t)count * 4);
}

/* out = how(x times the panel from output n on) for at most GROUP rows of x. */
static void panel(const float *x, const char *packed, const float *bias, const void *other, void *out, long first,
                  long rows, long inputs, long outputs, long n, int how, int half) {
    const long size = half ? 2 : 4, row = WIDE * size, count = outputs - n < WIDE ? outputs - n : WIDE;
    const int passes = (int)((rows + TOGETHER - 1) / TOGETHER);
    const int all = (int)((STEP * row + LINE - 1) / LINE), lines = (all + passes - 1) / passes; /* for every STEP */
    vec sum[GROUP][SIDE];
    float wide[CHUNK * WIDE];
    memset(sum, 0, (size_t)(passes * TOGETHER) * sizeof *sum);
    for (long from = 0; from < inputs; from += CHUNK) {
        const long to = from + CHUNK < inputs ? from + CHUNK : inputs;
        const char *stored = packed + from * row, *ahead = packed + to * row; /* the next chunk, or the next panel's */
        if (half) /* once for all rows */
            for (long i = 0; i < (to - from) * WIDE; i++) wide[i] = bf16_to_f32(((const uint16_t *)stored)[i]);
        for (int pass = 0; pass < passes; pass++) {
            const long start = pass * TOGETHER, left = rows - start;
            const float *at[TOGETHER];
            for (long r = 0; r < TOGETHER; r++) at[r] = x + (first + start + (r < left ? r : 0)) * inputs;
            (left > TOGETHER / 2 ? of_all : of_some)(at, half ? wide : (const float *)stored,
                                                     ahead + pass * lines * (CHUNK / STEP) * LINE,
                                                     pass * lines < all ? lines : 0, sum + start, from, to);
        }
    }
    for (long r = 0; r < rows; r++)
        finish(sum[r], bias == NULL ? NULL : bias + n, other, out, (first + r) * outputs + n, count, how, half);
}

static void widen(const uint16_t *x, float *out, long count) {
    for (long i = 0; i < count; i++) out[i] = bf16_to_f32(x[i]);
}

/* out [R, N] = how(x [R, K] times packed' + bias [N], other [R, N]); half: all but bias in bfloat16. Returns 0, or 1
 * where there was no room.
 */
int posttrain_matmul(const void *x, const void *packed, const float *bias, const void *other, void *out, long rows,
                     long inputs, long outputs, int how, int half) {
    const long panels = (outputs + WIDE - 1) / WIDE, groups = (rows + GROUP - 1) / GROUP;
    float *const wide = half ? malloc((size_t)(rows * inputs) * sizeof *wide) : NULL;
    if (half && wide == NULL) return 1;
    if (half) widen(x, wide, rows * inputs);
#pragma omp parallel for collapse(2) schedule(static) if (rows * inputs * outputs > ENOUGH)
    for (long g = 0; g < groups; g++)
        for (long p = 0; p < panels; p++) {
            const long first = g * GROUP, n = p * WIDE;
            panel(half ? wide : x, (const char *)packed + n * inputs * (half ? 2 : 4), bias, other, out, first,
                  rows - first < GROUP ? rows - first : GROUP, inputs, outputs, n, how, half);
        }
    free(wide);
    return 0;
}
