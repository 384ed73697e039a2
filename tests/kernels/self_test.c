/* Every kernel beside a plain sum in float64, and each row alone beside all rows: a program that says what differs. It
 * is linked with the C sources of posttrain for one kind of processor by test_build.py.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int posttrain_panel(void);
void posttrain_pack(const float *, const float *, void *, long, long, int);
int posttrain_matmul(const void *, const void *, const float *, const void *, void *, long, long, long, int, int);
int posttrain_attend(const void *, void *, void *, const float *, const float *, const int64_t *, void *, long, long,
                     long, long, long, int);
void posttrain_norm(const void *, void *, long, long, float, int);
int posttrain_choose(const void *, const float *, const double *, int64_t *, float *, long, long, int);
void posttrain_norm_forward(const float *, const float *, void *, float *, long, long, float, int);
int posttrain_norm_backward(const void *, const float *, const float *, const float *, float *, float *, long, long, int);
void posttrain_gate_forward(const void *, const void *, void *, long, int);
void posttrain_gate_backward(const void *, const void *, const void *, void *, void *, long, int);
void posttrain_rotate(const void *, const float *, const float *, void *, long, long, long, int, int);
void posttrain_tile_stats(const float *, float *, float *, long, long);
void posttrain_tile_gradient(float *, const float *, const float *, const float *, const float *, const int64_t *, long, long);

enum { PLAIN, SILU, TIMES, PLUS };
static int wrong;
static uint64_t state = 1;

static double drawn(void) { /* about normal: the sum of 12 uniform numbers */
    double sum = -6.0;
    for (int i = 0; i < 12; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(state >> 11) / (double)(1ull << 53);
    }
    return sum;
}

static float *numbers(long n) {
    float *x = malloc((size_t)n * sizeof *x);
    for (long i = 0; i < n; i++) x[i] = (float)drawn();
    return x;
}

static void *room(long bytes) { return calloc(1, (size_t)bytes); }

static float widened(uint16_t x) {
    uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, 4);
    return out;
}

static uint16_t narrowed(float x) { /* numbers that bfloat16 has exactly, so nothing is rounded here */
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
}

static void near(const char *what, double found, double expected, double most) {
    if (fabs(found - expected) <= most * (1.0 + fabs(expected))) return;
    if (wrong++ < 20) printf("%s: %.9g, expected %.9g\n", what, found, expected);
}

static void same(const char *what, const void *a, const void *b, long bytes) {
    if (memcmp(a, b, (size_t)bytes) == 0) return;
    if (wrong++ < 20) printf("%s: a row alone differs\n", what);
}

static double silu(double x) { return x / (1.0 + exp(-x)); }

static double value(const void *x, long i, int half) {
    return half ? widened(((const uint16_t *)x)[i]) : ((const float *)x)[i];
}

static void products(long outputs, long inputs, int half) {
    enum { ROWS = 70 };
    const long size = half ? 2 : 4, panel = posttrain_panel();
    float *weight = numbers(outputs * inputs), *scale = numbers(inputs), *bias = numbers(outputs);
    float *x = numbers(ROWS * inputs), *other = numbers(ROWS * outputs);
    uint16_t *x2 = room(ROWS * inputs * 2), *other2 = room(ROWS * outputs * 2);
    for (long i = 0; i < ROWS * inputs; i++) x2[i] = narrowed(x[i]);
    for (long i = 0; i < ROWS * outputs; i++) other2[i] = narrowed(other[i]);
    const void *from = half ? (void *)x2 : x, *with = half ? (void *)other2 : other;
    char *packed = room((outputs + panel) * inputs * size), *out = room(ROWS * outputs * size), *one = room(outputs * size);
    posttrain_pack(weight, scale, packed, outputs, inputs, half);
    for (int how = PLAIN; how <= PLUS; how++) {
        near("room", posttrain_matmul(from, packed, bias, with, out, ROWS, inputs, outputs, how, half), 0, 0);
        for (long r = 0; r < ROWS; r++) {
            for (long n = 0; n < outputs; n++) {
                double y = bias[n];
                for (long k = 0; k < inputs; k++) y += (double)(weight[n * inputs + k] * scale[k]) * value(from, r * inputs + k, half);
                const double z = value(with, r * outputs + n, half);
                const double expected = how == PLAIN ? y : how == SILU ? silu(y) : how == TIMES ? y * z : y + z;
                near("product", value(out, r * outputs + n, half), expected, (half ? 6e-2 : 3e-5) * (1.0 + fabs(z)));
            }
            posttrain_matmul((const char *)from + r * inputs * size, packed, bias, (const char *)with + r * outputs * size,
                              one, 1, inputs, outputs, how, half);
            same("product", one, out + r * outputs * size, outputs * size);
        }
    }
}

static void attention(long heads, long key_heads, long width) {
    enum { ROWS = 5, COLUMNS = 40 };
    const int64_t past[ROWS] = {0, 1, 6, 22, COLUMNS - 1};
    const long all = (heads + 2 * key_heads) * width, group = heads / key_heads, h = width / 2;
    float *fused = numbers(ROWS * all), *keys = numbers(ROWS * key_heads * COLUMNS * width);
    float *values = numbers(ROWS * key_heads * COLUMNS * width), *cos = numbers(COLUMNS * width), *sin = numbers(COLUMNS * width);
    float *out = room(ROWS * heads * width * 4), *one = room(heads * width * 4);
    near("room", posttrain_attend(fused, keys, values, cos, sin, past, out, ROWS, heads, key_heads, width, COLUMNS, 0), 0, 0);
    for (long r = 0; r < ROWS; r++) {
        const long n = past[r] + 1, slot = r * key_heads * COLUMNS * width;
        const float *c = cos + past[r] * width, *s = sin + past[r] * width;
        for (long head = 0; head < heads; head++) {
            const float *q = fused + r * all + head * width;
            const float *key = keys + slot + head / group * COLUMNS * width, *v = values + slot + head / group * COLUMNS * width;
            double scores[COLUMNS], top = -1e30, total = 0.0;
            for (long t = 0; t < n; t++) {
                scores[t] = 0.0;
                for (long e = 0; e < width; e++)
                    scores[t] += ((double)q[e] * c[e] + (double)q[(e + h) % width] * s[e]) * key[t * width + e];
                scores[t] /= sqrt((double)width);
                top = scores[t] > top ? scores[t] : top;
            }
            for (long t = 0; t < n; t++) total += scores[t] = exp(scores[t] - top);
            for (long e = 0; e < width; e++) {
                double sum = 0.0;
                for (long t = 0; t < n; t++) sum += scores[t] / total * v[t * width + e];
                near("attention", out[(r * heads + head) * width + e], sum, 2e-5);
            }
        }
        posttrain_attend(fused + r * all, keys + slot, values + slot, cos, sin, past + r, one, 1, heads, key_heads, width,
                         COLUMNS, 0);
        same("attention", one, out + r * heads * width, heads * width * 4);
    }
}

static void layers(long rows, long width) {
    const long n = rows * width;
    float *x = numbers(n), *weight = numbers(width), *g = numbers(n), *up = numbers(n), *out = room(n * 4), *rstd = room(rows * 4);
    float *dx = room(n * 4), *dw = room(width * 4), *dup = room(n * 4);
    double *expected = room(width * 8);
    posttrain_norm_forward(x, weight, out, rstd, rows, width, 1e-5f, 0);
    near("room", posttrain_norm_backward(g, x, weight, rstd, dx, dw, rows, width, 0), 0, 0);
    for (long r = 0; r < rows; r++) {
        double sum = 0.0, mean = 0.0;
        for (long e = 0; e < width; e++) sum += (double)x[r * width + e] * x[r * width + e];
        const double s = 1.0 / sqrt(sum / (double)width + 1e-5);
        for (long e = 0; e < width; e++) mean += (double)weight[e] * g[r * width + e] * x[r * width + e] / (double)width;
        for (long e = 0; e < width; e++) {
            const long i = r * width + e;
            near("norm", out[i], weight[e] * x[i] * s, 1e-5);
            near("norm's gradient", dx[i], s * (weight[e] * g[i] - x[i] * s * s * mean), 1e-4);
            expected[e] += g[i] * x[i] * s;
        }
    }
    for (long e = 0; e < width; e++) near("scale's gradient", dw[e], expected[e], 1e-4 * sqrt((double)rows));
    posttrain_norm(x, out, rows, width, 1e-5f, 0);
    for (long i = 0; i < n; i++) near("plain norm", out[i], x[i] * rstd[i / width], 1e-5);
    posttrain_gate_forward(x, up, out, n, 0);
    posttrain_gate_backward(g, x, up, dx, dup, n, 0);
    for (long i = 0; i < n; i++) {
        const double s = 1.0 / (1.0 + exp(-(double)x[i]));
        near("gate", out[i], x[i] * s * up[i], 1e-5);
        near("gate's gradient", dx[i], (double)g[i] * up[i] * s * (1.0 + x[i] * (1.0 - s)), 1e-5);
        near("up's gradient", dup[i], (double)g[i] * x[i] * s, 1e-5);
    }
    posttrain_rotate(x, g, up, out, rows, 1, width, 0, 0);
    for (long i = 0; i < n; i++) {
        const long e = i % width, h = width / 2, partner = e < h ? i + h : i - h;
        near("rotation", out[i], (double)x[i] * g[i] + (e < h ? -1.0 : 1.0) * x[partner] * up[i], 1e-5);
    }
}

static void logits(long rows, long count) {
    float *z = numbers(rows * count), *lse = room(rows * 4), *entropy = room(rows * 4), *by = numbers(rows), *of = numbers(rows);
    float *moved = room(rows * count * 4), *heat = room(rows * 4), *logprobs = room(rows * 4);
    double *uniform = room(rows * 8);
    int64_t *chosen = room(rows * 8), *tokens = room(rows * 8);
    for (long r = 0; r < rows; r++) chosen[r] = r % 3 ? r % count : -1, heat[r] = 1.0f, uniform[r] = (r + 0.5) / rows;
    posttrain_tile_stats(z, lse, entropy, rows, count);
    memcpy(moved, z, (size_t)(rows * count) * 4);
    posttrain_tile_gradient(moved, lse, by, of, entropy, chosen, rows, count);
    near("room", posttrain_choose(z, heat, uniform, tokens, logprobs, rows, count, 0), 0, 0);
    for (long r = 0; r < rows; r++) {
        const float *row = z + r * count;
        double total = 0.0, h = 0.0, before = 0.0;
        for (long v = 0; v < count; v++) total += exp(row[v]);
        for (long v = 0; v < count; v++) h -= exp(row[v]) / total * (row[v] - log(total));
        near("logsumexp", lse[r], log(total), 1e-5);
        near("entropy", entropy[r], h, 1e-5);
        for (long v = 0; v < count; v++) {
            const double l = row[v] - log(total);
            near("logits' gradient", moved[r * count + v], (v == chosen[r]) * by[r] - exp(l) * (by[r] + of[r] * (h + l)), 1e-5);
        }
        for (long v = 0; v < tokens[r]; v++) before += exp(row[v]) / total;
        near("chosen", logprobs[r], row[tokens[r]] - log(total), 1e-5);
        if (uniform[r] < before - 1e-5 || uniform[r] > before + exp(row[tokens[r]]) / total + 1e-5) near("token", 0, 1, 0);
    }
}

int main(void) {
    for (int half = 0; half < 2; half++) products(1, 1, half), products(24, 64, half), products(101, 130, half);
    attention(4, 2, 16), attention(9, 3, 64), attention(4, 1, 128), attention(2, 2, 40);
    layers(3, 40), layers(70, 64);
    logits(9, 3), logits(40, 700);
    printf("%d of the results are wrong\n", wrong);
    return wrong != 0;
}
