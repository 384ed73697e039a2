/* The logsumexp and entropy of a tile of logits, and its gradient, each in one pass over a row: for processors, in
 * float32.
 *
 * Loaded by tiles.py; without it PyTorch does the same in several passes. A row is one thread's, so nothing depends
 * on how many there are.
 */
#include "simd.h"

#define VERSION 1 /* as in tiles.py: raised with every change of a signature */
#define ENOUGH (1L << 15) /* exponentials that are worth a second thread */

int posttrain_version(void) { return VERSION; }

static void stats_row(const float *z, long count, float *lse, float *entropy) {
    const float top = largest(z, count);
    float total = 0.0f, mean = 0.0f;
#pragma omp simd reduction(+ : total, mean)
    for (long v = 0; v < count; v++) {
        const float x = z[v] - top, e = exp_nonpositive(x);
        total += e;
        mean += x < -87.0f ? 0.0f : e * x;
    }
    const float log_total = logf(total);
    *lse = top + log_total;
    if (entropy != NULL) *entropy = log_total - mean / total;
}

/* Of each row of logits [R, V]: the logarithm of the sum of exponentials [R], and the entropy [R] unless NULL. */
void posttrain_tile_stats(const float *logits, float *lse, float *entropy, long rows, long count) {
#pragma omp parallel for schedule(static) if (rows * count > ENOUGH)
    for (long r = 0; r < rows; r++) stats_row(logits + r * count, count, lse + r, entropy == NULL ? NULL : entropy + r);
}

static void gradient_row(float *z, long count, float lse, float by_logprob, float by_entropy, float entropy) {
#pragma omp simd
    for (long v = 0; v < count; v++) {
        const float x = z[v] - lse, p = exp_nonpositive(x);
        z[v] = x < -87.0f ? 0.0f : -p * (by_logprob + by_entropy * (entropy + x));
    }
}

/* Logits [R, V] become their gradient, from those of the chosen token's log-probability [R] and of the entropy [R]
 * (both NULL where it has none). ``chosen`` [R] is its place in the tile, or -1 where it is in another.
 */
void posttrain_tile_gradient(float *logits, const float *lse, const float *by_logprob, const float *by_entropy,
                             const float *entropy, const int64_t *chosen, long rows, long count) {
#pragma omp parallel for schedule(static) if (rows * count > ENOUGH)
    for (long r = 0; r < rows; r++) {
        float *z = logits + r * count;
        gradient_row(z, count, lse[r], by_logprob[r], by_entropy == NULL ? 0.0f : by_entropy[r],
                     by_entropy == NULL ? 0.0f : entropy[r]);
        if (chosen[r] >= 0) z[chosen[r]] += by_logprob[r];
    }
}
