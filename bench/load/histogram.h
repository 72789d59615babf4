/* Histograms of nanoseconds: buckets of 1/64 of a power of two, so that a value is known to 1.6 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum { SUB = 64, BUCKETS = 64 * SUB };

typedef struct {
    uint64_t counts[BUCKETS], total;
    int64_t most;
} Histogram;

static int bucket(int64_t value) {
    if (value < SUB) return value < 0 ? 0 : (int)value;
    int power = 63 - __builtin_clzll((uint64_t)value);
    int at = (power - 5) * SUB + (int)((value >> (power - 6)) & (SUB - 1));
    return at < BUCKETS ? at : BUCKETS - 1;
}

static double bucket_middle(int at) {
    if (at < SUB) return at;
    int power = at / SUB + 5;
    return ((double)SUB + at % SUB + 0.5) * (double)(1ull << (power - 6));
}

static void note(Histogram *h, int64_t value) {
    h->counts[bucket(value)]++, h->total++;
    if (value > h->most) h->most = value;
}

/* In milliseconds; 0 where nothing was noted. */
static double percentile(const Histogram *h, double part) {
    uint64_t wanted = (uint64_t)(part * (double)h->total), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += h->counts[i]) > wanted) return bucket_middle(i) / 1e6;
    return 0;
}

static void print_histogram(const char *name, const Histogram *h) {
    printf("\"%s_count\":%llu,\"%s_p50_ms\":%.4f,\"%s_p95_ms\":%.4f,\"%s_p99_ms\":%.4f,"
           "\"%s_max_ms\":%.4f,", name, (unsigned long long)h->total, name, percentile(h, 0.5), name,
           percentile(h, 0.95), name, percentile(h, 0.99), name, (double)h->most / 1e6);
}

#endif
