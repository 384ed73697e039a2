/* What a decoding step does besides its matrix products, for processors: attention over each row's own columns
 * of the cache, the root-mean-square norm, and the choice of a token. Loaded by decode.py; without it the same
 * is done by PyTorch. Every result is computed by one thread in one order, so it depends neither on how many
 * threads there are nor on what other rows are under way. Numbers are float32 or bfloat16 (2 bytes, the upper
 * half of a float32); sums are float32, over many blocks float64.
 */
#include <stdlib.h>

#include "simd.h"

#define VERSION 5 /* as in decode.py: raised with every change of a signature */
#define BLOCK 256 /* tokens whose probabilities are summed first, as in choose.py */
#define WIDEST 256 /* of a head */

int posttrain_version(void) { return VERSION; }

int posttrain_threaded(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

typedef float quarter __attribute__((vector_size(16)));
#if defined(__clang__)
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t places __attribute__((vector_size(16)));
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

INLINE quarter folded(vec x) { /* all numbers to 4 sums */
    quarter part[LANES / 4];
    memcpy(part, &x, sizeof x);
    for (int n = LANES / 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++) part[i] += part[i + n];
    return part[0];
}

INLINE quarter summed(vec a, vec b, vec c, vec d) { /* the sums of four */
    const quarter w = folded(a), x = folded(b), y = folded(c), z = folded(d);
    const quarter wx = MIXED(w, x, 0, 4, 1, 5) + MIXED(w, x, 2, 6, 3, 7);
    const quarter yz = MIXED(y, z, 0, 4, 1, 5) + MIXED(y, z, 2, 6, 3, 7);
    return MIXED(wx, yz, 0, 1, 4, 5) + MIXED(wx, yz, 2, 3, 6, 7);
}

INLINE void fetch(const void *from, long bytes) { /* what the next head will read; never faults */
    for (long b = 0; b < bytes; b += 64) __builtin_prefetch((const char *)from + b);
}

INLINE vec product(const vec *q, const float *k, long parts) {
    vec sum = q[0] * load(k);
    for (long i = 1; i < parts; i++) sum += q[i] * load(k + LANES * i);
    return sum;
}

/* q . k of a query and n keys [n, parts LANES]. */
INLINE void dots(const float *query, const float *keys, float *scores, long n, long parts) {
    vec q[WIDEST / LANES];
    for (long i = 0; i < parts; i++) q[i] = load(query + LANES * i);
    const long width = LANES * parts;
    long c = 0;
    for (; c + 4 <= n; c += 4) {
        const float *k = keys + c * width;
        const quarter sum = summed(product(q, k, parts), product(q, k + width, parts),
                                   product(q, k + 2 * width, parts), product(q, k + 3 * width, parts));
        memcpy(scores + c, &sum, sizeof sum);
    }
    for (; c < n; c++) {
        const vec sum = product(q, keys + c * width, parts);
        const quarter one = summed(sum, sum, sum, sum);
        scores[c] = one[0];
    }
}

/* The weighted sum of n values [n, parts LANES], a strip of at most 4 vectors at a time: their sums are in registers. */
INLINE void mixed(const float *weights, const float *values, float *out, long n, long parts, float scale) {
    const long width = LANES * parts, strip = parts < 4 ? parts : 4;
    for (long from = 0; from < width; from += strip * LANES) {
        vec even[4], odd[4];
        for (long i = 0; i < strip; i++) even[i] = odd[i] = (vec){0};
        long c = 0;
        for (; c + 2 <= n; c += 2) {
            const float *v = values + c * width + from, p = weights[c], r = weights[c + 1];
            for (long i = 0; i < strip; i++) {
                even[i] += p * load(v + LANES * i);
                odd[i] += r * load(v + width + LANES * i);
            }
        }
        if (c < n)
            for (long i = 0; i < strip; i++) even[i] += weights[c] * load(values + c * width + from + LANES * i);
        for (long i = 0; i < strip; i++) {
            const vec sum = (even[i] + odd[i]) * scale;
            memcpy(out + from + LANES * i, &sum, sizeof sum);
        }
    }
}

INLINE void dots_of_any(const float *q, const float *keys, float *scores, long n, long width) {
    for (long c = 0; c < n; c++) {
        const float *k = keys + c * width;
        float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
        for (long e = 0; e < width; e++) sum += q[e] * k[e];
        scores[c] = sum;
    }
}

INLINE void mixed_of_any(const float *weights, const float *values, float *out, long n, long width,
                         float scale) {
    for (long e = 0; e < width; e++) out[e] = 0.0f;
    for (long c = 0; c < n; c++) {
        const float p = weights[c] * scale, *v = values + c * width;
#pragma omp simd
        for (long e = 0; e < width; e++) out[e] += p * v[e];
    }
}

/* Scores to what each counts, of which the largest is 1; their sum. */
INLINE float weighed(float *scores, long n, float scale) {
    const float top = largest(scores, n);
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (long c = 0; c < n; c++) {
        scores[c] = exp_nonpositive((scores[c] - top) * scale);
        total += scores[c];
    }
    return total;
}

/* One key head of one row. queries [group, width] and keys, values [n, width] float32; scores [n] is room. */
INLINE void attend_width(const float *queries, const float *keys, const float *values, float *out,
                         float *scores, long n, long group, long width) {
    const float scale = 1.0f / sqrtf((float)width);
    for (long g = 0; g < group; g++) {
        const float *q = queries + g * width;
        float *to = out + g * width;
        switch (width) { /* of these the vectors stay in registers */
        case 16: dots(q, keys, scores, n, 16 / LANES); break;
        case 32: dots(q, keys, scores, n, 32 / LANES); break;
        case 64: dots(q, keys, scores, n, 64 / LANES); break;
        case 128: dots(q, keys, scores, n, 128 / LANES); break;
        default: dots_of_any(q, keys, scores, n, width);
        }
        const float share = 1.0f / weighed(scores, n, scale);
        switch (width) {
        case 16: mixed(scores, values, to, n, 16 / LANES, share); break;
        case 32: mixed(scores, values, to, n, 32 / LANES, share); break;
        case 64: mixed(scores, values, to, n, 64 / LANES, share); break;
        case 128: mixed(scores, values, to, n, 128 / LANES, share); break;
        default: mixed_of_any(scores, values, to, n, width, share);
        }
    }
}

INLINE void rotate(float *x, const float *cos, const float *sin, long width) { /* x * cos + roll(x, E/2) * sin */
    const long half = width / 2;
    float was[WIDEST];
    memcpy(was, x, (size_t)width * 4);
    for (long e = 0; e < half; e++) {
        x[e] = was[e] * cos[e] + was[e + half] * sin[e];
        x[e + half] = was[e + half] * cos[e + half] + was[e] * sin[e + half];
    }
}

/* A key head of a row: its queries and its key in ``fused`` [(H + 2 K) E] turn by cos and sin [E], the key and the
 * value join the head's cache [columns, E] at column ``past``, and the queries attend to all columns until there.
 * ``room`` is float32 for n scores, 2 H / K E for queries and what they saw, and for bfloat16 2 n E more.
 */
static void attend_f32(const float *fused, float *keys, float *values, const float *cos,
                              const float *sin, float *out, float *room, long past, long k, long heads,
                              long key_heads, long width, long columns) {
    const long group = heads / key_heads, n = past + 1;
    float *queries = room, *scores = room + group * width;
    memcpy(queries, fused + k * group * width, (size_t)(group * width) * 4);
    for (long g = 0; g < group; g++) rotate(queries + g * width, cos, sin, width);
    memcpy(keys + past * width, fused + (heads + k) * width, (size_t)width * 4);
    rotate(keys + past * width, cos, sin, width);
    memcpy(values + past * width, fused + (heads + key_heads + k) * width, (size_t)width * 4);
    fetch(keys + columns * width, n * width * 4);
    fetch(values + columns * width, n * width * 4);
    attend_width(queries, keys, values, out + k * group * width, scores, n, group, width);
}

static void attend_bf16(const uint16_t *fused, uint16_t *keys, uint16_t *values, const float *cos,
                               const float *sin, uint16_t *out, float *room, long past, long k, long heads,
                               long key_heads, long width, long columns) {
    const long group = heads / key_heads, n = past + 1, size = group * width;
    float *queries = room, *made = room + size, *wide = room + 2 * size, *scores = wide + 2 * n * width;
    for (long e = 0; e < size; e++) queries[e] = bf16_to_f32(fused[k * size + e]);
    for (long g = 0; g < group; g++) rotate(queries + g * width, cos, sin, width);
    for (long e = 0; e < size; e++) queries[e] = bf16_to_f32(f32_to_bf16(queries[e]));
    float key[WIDEST];
    for (long e = 0; e < width; e++) key[e] = bf16_to_f32(fused[(heads + k) * width + e]);
    rotate(key, cos, sin, width);
    for (long e = 0; e < width; e++) keys[past * width + e] = f32_to_bf16(key[e]);
    memcpy(values + past * width, fused + (heads + key_heads + k) * width, (size_t)width * 2);
    fetch(keys + columns * width, n * width * 2);
    fetch(values + columns * width, n * width * 2);
#pragma omp simd
    for (long i = 0; i < n * width; i++) wide[i] = bf16_to_f32(keys[i]);
#pragma omp simd
    for (long i = 0; i < n * width; i++) wide[n * width + i] = bf16_to_f32(values[i]);
    attend_width(queries, wide, wide + n * width, made, scores, n, group, width);
    for (long e = 0; e < size; e++) out[k * size + e] = f32_to_bf16(made[e]);
}

/* A step's attention for all rows. fused [R, (H + 2 K) E]; keys and values of a layer, [slots, K, C, E]; cos and
 * sin float32 [columns, E]; past [R]; out [R, H E]. ``half``: whether numbers are bfloat16. Returns 0, or 1
 * where there was no room.
 */
int posttrain_attend(const void *fused, void *keys, void *values, const float *cos, const float *sin,
                     const int64_t *past, void *out, long rows, long heads, long key_heads, long width,
                     long columns, int half) {
    const long all = (heads + 2 * key_heads) * width, size = heads / key_heads * width;
    long most = 0;
    for (long r = 0; r < rows; r++) most = past[r] + 1 > most ? past[r] + 1 : most;
    const size_t bytes = (size_t)(2 * size + most + (half ? 2 * most * width : 0)) * 4;
    const long threads = omp_get_max_threads(), each = (long)((bytes + 63) / 64 * 64);
    char *const room = malloc((size_t)(threads * each));
    if (room == NULL) return 1;
#pragma omp parallel for schedule(static) if (rows * key_heads * most * size > 65536)
    for (long i = 0; i < rows * key_heads; i++) {
        const long r = i / key_heads, k = i % key_heads, at = (r * key_heads + k) * columns * width;
        const float *c = cos + past[r] * width, *s = sin + past[r] * width;
        float *own = (float *)(room + omp_get_thread_num() * each);
        if (half)
            attend_bf16((const uint16_t *)fused + r * all, (uint16_t *)keys + at, (uint16_t *)values + at, c, s,
                        (uint16_t *)out + r * heads * width, own, past[r], k, heads, key_heads, width, columns);
        else
            attend_f32((const float *)fused + r * all, (float *)keys + at, (float *)values + at, c, s,
                       (float *)out + r * heads * width, own, past[r], k, heads, key_heads, width, columns);
    }
    free(room);
    return 0;
}

static void norm_f32(const float *x, float *out, long width, float eps) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long e = 0; e < width; e++) sum += x[e] * x[e];
    const float scale = 1.0f / sqrtf(sum / (float)width + eps);
#pragma omp simd
    for (long e = 0; e < width; e++) out[e] = x[e] * scale;
}

static void norm_bf16(const uint16_t *x, uint16_t *out, long width, float eps) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long e = 0; e < width; e++) sum += bf16_to_f32(x[e]) * bf16_to_f32(x[e]);
    const float scale = 1.0f / sqrtf(sum / (float)width + eps);
#pragma omp simd
    for (long e = 0; e < width; e++) out[e] = f32_to_bf16(bf16_to_f32(x[e]) * scale);
}

/* x / sqrt(mean(x^2) + eps) of each row of [R, D]. */
void posttrain_norm(const void *x, void *out, long rows, long width, float eps, int half) {
#pragma omp parallel for schedule(static) if (rows * width > 65536)
    for (long r = 0; r < rows; r++) {
        if (half)
            norm_bf16((const uint16_t *)x + r * width, (uint16_t *)out + r * width, width, eps);
        else
            norm_f32((const float *)x + r * width, (float *)out + r * width, width, eps);
    }
}

/* A row of logits [V] as float32, divided by the temperature. Returns the largest. */
static float read_f32(const float *logits, float *z, long count, float scale) {
    for (long v = 0; v < count; v++) z[v] = logits[v] * scale;
    return largest(z, count);
}

static float read_bf16(const uint16_t *logits, float *z, long count, float scale) {
    for (long v = 0; v < count; v++) z[v] = bf16_to_f32(logits[v]) * scale;
    return largest(z, count);
}

static float block_sum(const float *z, long count, float top) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (long v = 0; v < count; v++) sum += exp_nonpositive(z[v] - top);
    return sum;
}

/* The token whose share of [0, 1) has ``uniform`` in it, and its log-probability, by the sums of blocks. */
static void choose_row(const float *z, double *sums, long count, float top, double uniform, int greedy,
                       int64_t *token, float *logprob) {
    const long blocks = (count + BLOCK - 1) / BLOCK;
    double total = 0.0;
    for (long b = 0; b < blocks; b++) {
        const long left = count - b * BLOCK;
        total += block_sum(z + b * BLOCK, left < BLOCK ? left : BLOCK, top);
        sums[b] = total;
    }
    long chosen = 0;
    if (greedy) {
        while (chosen < count - 1 && z[chosen] != top) chosen++;
    } else {
        const double threshold = uniform * total;
        long block = 0, last = 0;
        while (block < blocks - 1 && sums[block] <= threshold) block++;
        const long start = block * BLOCK, end = start + BLOCK < count ? start + BLOCK : count;
        double sum = block ? sums[block - 1] : 0.0, inside = 0.0;
        for (long v = start; v < end; v++) inside += exp_nonpositive(z[v] - top);
        /* the block's tokens, summed one by one, are stretched to the block's sum */
        const double whole = sums[block] - sum, stretch = inside > 0.0 ? whole / inside : 0.0;
        chosen = last = start;
        for (long v = start; v < end; v++) {
            const double weight = exp_nonpositive(z[v] - top);
            if (weight > 0.0) last = v;
            sum += weight * stretch;
            chosen = v;
            if (sum > threshold) break;
        }
        if (sum <= threshold || exp_nonpositive(z[chosen] - top) == 0.0f)
            chosen = last; /* rounding: never one of weight 0 */
    }
    *token = chosen;
    *logprob = (float)((double)(z[chosen] - top) - log(total));
}

/* Tokens [R] and their log-probabilities float32 [R] from logits [R, V], temperature float32 [R] (0 takes the
 * likeliest token and its probability at 1) and uniform float64 [R] in (0, 1). Returns 0, 1 where there was no
 * room, or 2 where a row's probabilities do not add up to a number.
 */
int posttrain_choose(const void *logits, const float *temperature, const double *uniform, int64_t *tokens,
                     float *logprobs, long rows, long count, int half) {
    const long blocks = (count + BLOCK - 1) / BLOCK;
    const long each = ((long)sizeof(double) * blocks + (long)sizeof(float) * count + 63) / 64 * 64;
    char *const room = malloc((size_t)(omp_get_max_threads() * each));
    int broken = 0;
    if (room == NULL) return 1;
#pragma omp parallel for schedule(static) reduction(| : broken) if (rows * count > 65536)
    for (long r = 0; r < rows; r++) {
        double *sums = (double *)(room + omp_get_thread_num() * each);
        float *z = (float *)(sums + blocks);
        const int greedy = temperature[r] == 0.0f;
        const float scale = greedy ? 1.0f : 1.0f / temperature[r];
        const float top = half ? read_bf16((const uint16_t *)logits + r * count, z, count, scale)
                               : read_f32((const float *)logits + r * count, z, count, scale);
        choose_row(z, sums, count, top, uniform[r], greedy, tokens + r, logprobs + r);
        broken |= !(sums[blocks - 1] > 0.0 && sums[blocks - 1] < INFINITY && top < INFINITY);
    }
    free(room);
    return broken ? 2 : 0;
}
