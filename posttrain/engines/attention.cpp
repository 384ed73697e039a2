// One decode step of attention for rows of different lengths: rotate the new query and key, keep the key and
// the value, attend to the row's own columns and no others. Grouped queries read each key once.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int LANES = 16;
constexpr int MOST_WIDTH = 256;
typedef float Floats __attribute__((vector_size(4 * LANES)));
typedef uint32_t Words __attribute__((vector_size(4 * LANES)));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES)));

struct Half {  // bfloat16: the upper half of a float
    uint16_t bits;
};

inline Floats load(const float *from) {
    Floats out;
    std::memcpy(&out, from, sizeof out);
    return out;
}
inline Floats load(const Half *from) {
    Halves bits;
    std::memcpy(&bits, from, sizeof bits);
    const Words wide = __builtin_convertvector(bits, Words) << 16;
    Floats out;
    std::memcpy(&out, &wide, sizeof out);
    return out;
}
inline void store(float *to, Floats x) { std::memcpy(to, &x, sizeof x); }
inline void store(Half *to, Floats x) {  // to the nearest, ties to even
    Words bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Halves narrow = __builtin_convertvector(bits, Halves);
    std::memcpy(to, &narrow, sizeof narrow);
}
inline float total(Floats x) {
    float out = 0;
    for (int i = 0; i < LANES; i++) out += x[i];
    return out;
}
// The totals of four vectors at a stride: halves of two are added side by side, then quarters of four.
inline void totals(const Floats *x, float *to) {
    Floats two[2];
    for (int i = 0; i < 2; i++) {
        const Floats a = x[2 * i], b = x[2 * i + 1];
        two[i] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
                 __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    }
    Floats y = __builtin_shufflevector(two[0], two[1], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
               __builtin_shufflevector(two[0], two[1], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    y += __builtin_shufflevector(y, y, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    y += __builtin_shufflevector(y, y, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    for (int i = 0; i < 4; i++) to[i] = y[4 * i];
}

// sin carries the sign of the half-rotation; half of the width is a multiple of LANES or the width is LANES.
template <typename T>
void rotate(const T *from, const float *cos, const float *sin, float *to, int width) {
    float x[MOST_WIDTH];
    for (int i = 0; i < width; i += LANES) store(x + i, load(from + i));
    for (int i = 0; i < width; i++) to[i] = x[i] * cos[i] + x[(i + width / 2) % width] * sin[i];
}

// G query heads [G, E] over keys and values [count, E]; scores has room for G * count.
template <typename T, int E, int G>
void heads(const float *query, const T *keys, const T *values, T *out, int64_t count, float *scores) {
    constexpr int N = E / LANES;
    Floats q[G][N];
    for (int g = 0; g < G; g++)
        for (int n = 0; n < N; n++) q[g][n] = load(query + g * E + n * LANES);
    int64_t t = 0;
    for (; t + 4 <= count; t += 4) {
        Floats dot[G][4];
        for (int i = 0; i < 4; i++)
            for (int n = 0; n < N; n++) {
                const Floats k = load(keys + (t + i) * E + n * LANES);
                for (int g = 0; g < G; g++) dot[g][i] = n ? dot[g][i] + q[g][n] * k : q[g][n] * k;
            }
        for (int g = 0; g < G; g++) totals(dot[g], scores + g * count + t);
    }
    for (; t < count; t++)
        for (int g = 0; g < G; g++) {
            Floats dot = q[g][0] * load(keys + t * E);
            for (int n = 1; n < N; n++) dot += q[g][n] * load(keys + t * E + n * LANES);
            scores[g * count + t] = total(dot);
        }
    float scale[G];
    for (int g = 0; g < G; g++) {
        float sum = 0, top = -INFINITY, *s = scores + g * count;
#pragma omp simd reduction(max : top)
        for (int64_t t = 0; t < count; t++) top = std::max(top, s[t]);
#pragma omp simd reduction(+ : sum)
        for (int64_t t = 0; t < count; t++) {
            s[t] = std::exp(s[t] - top);
            sum += s[t];
        }
        scale[g] = 1 / sum;
    }
    Floats y[G][N];
    for (int g = 0; g < G; g++)
        for (int n = 0; n < N; n++) y[g][n] = Floats{};
    for (int64_t t = 0; t < count; t++)
        for (int n = 0; n < N; n++) {
            const Floats v = load(values + t * E + n * LANES);
            for (int g = 0; g < G; g++) y[g][n] += scores[g * count + t] * v;
        }
    for (int g = 0; g < G; g++)
        for (int n = 0; n < N; n++) store(out + g * E + n * LANES, y[g][n] * scale[g]);
}

// As many heads at once as leave their sums in registers.
template <typename T, int E>
void group(const float *query, const T *keys, const T *values, T *out, int64_t count, float *scores, int size) {
    constexpr int MOST = E <= 64 ? 4 : E <= 128 ? 2 : 1;
    while (size > 0) {
        const int now = std::min(size, MOST);
        if (now == 1) heads<T, E, 1>(query, keys, values, out, count, scores);
        if constexpr (MOST >= 2)
            if (now == 2) heads<T, E, 2>(query, keys, values, out, count, scores);
        if constexpr (MOST >= 3)
            if (now == 3) heads<T, E, 3>(query, keys, values, out, count, scores);
        if constexpr (MOST >= 4)
            if (now == 4) heads<T, E, 4>(query, keys, values, out, count, scores);
        query += now * E, out += now * E, size -= now;
    }
}

struct Shape {
    int rows, heads, key_heads, width, threads;
    int64_t columns;
};

template <typename T>
void attend(const T *qkv, T *keys, T *values, T *out, const float *cos, const float *sin, const int64_t *past,
            const Shape &s) {
    const int size = s.heads / s.key_heads, E = s.width;
    const float scale = 1 / std::sqrt(float(E));
    const int64_t longest = *std::max_element(past, past + s.rows) + 1;
#pragma omp parallel num_threads(s.threads)
    {
        std::vector<float> scores(longest * 4), query(size * E);
        float key[MOST_WIDTH];
#pragma omp for schedule(dynamic, 2)
        for (int job = 0; job < s.rows * s.key_heads; job++) {
            const int r = job / s.key_heads, h = job % s.key_heads;
            const T *row = qkv + int64_t(r) * (s.heads + 2 * s.key_heads) * E;
            const float *c = cos + past[r] * E, *d = sin + past[r] * E;
            T *k = keys + int64_t(job) * s.columns * E, *v = values + int64_t(job) * s.columns * E;
            for (int g = 0; g < size; g++) rotate(row + (h * size + g) * E, c, d, query.data() + g * E, E);
            for (float &x : query) x *= scale;
            rotate(row + (s.heads + h) * E, c, d, key, E);
            for (int i = 0; i < E; i += LANES) store(k + past[r] * E + i, load(key + i));
            std::memcpy(v + past[r] * E, row + (s.heads + s.key_heads + h) * E, sizeof(T) * E);
            T *o = out + (int64_t(r) * s.heads + h * size) * E;
            const int64_t count = past[r] + 1;
            switch (E) {
#define WIDTH(E) case E: group<T, E>(query.data(), k, v, o, count, scores.data(), size); break
                WIDTH(16); WIDTH(32); WIDTH(48); WIDTH(64); WIDTH(96); WIDTH(128); WIDTH(256);
            }
        }
    }
}

}  // namespace

// qkv [R, (H + 2 K) E]; keys, values [slots, K, columns, E], of which the first R are in use; out [R, H E];
// cos, sin [columns, E]; past [R]: columns that each row has already. width is one of the cases above.
#define EXPORT(NAME, T)                                                                                     \
    extern "C" void NAME(const void *qkv, void *keys, void *values, void *out, const float *cos,            \
                         const float *sin, const int64_t *past, int rows, int heads, int key_heads,         \
                         int width, int threads, int64_t columns) {                                         \
        attend((const T *)qkv, (T *)keys, (T *)values, (T *)out, cos, sin, past,                            \
               Shape{rows, heads, key_heads, width, threads, columns});                                     \
    }
EXPORT(attend_float32, float)
EXPORT(attend_bfloat16, Half)
