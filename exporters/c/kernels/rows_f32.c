/* Rows of x, k floats each, times a matrix, k x n, that is cut into bands of 16 columns, the last of the n % 16 that remain. Each sum starts with
   the bias and goes on from the first product to the last, on every processor; what differs is how many sums go on side by side.
   A vector may reach over the end of a band: what it computes there is left out. Behind weights and biases lie 7 floats for that. */
#define BAND 16
#if (defined(__GNUC__) || defined(__clang__)) && defined(__AVX__)
#define LANES 8
#elif (defined(__GNUC__) || defined(__clang__)) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__))
#define LANES 4
#else
#define LANES 1
#endif
#if LANES == 1
typedef float floats;
#else
typedef float floats __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#endif

INLINE floats load(const float *p)
{
    return *(const floats *)p;
}

/* The first n lanes. */
INLINE void store(float *p, floats v, int n)
{
#if LANES == 1
    if (n > 0)
        *p = v;
#else
    if (n >= LANES)
        *(floats *)p = v;
    else
        for (int i = 0; i < n; i++)
            p[i] = v[i];
#endif
}

/* One row and up to four vectors of columns, n in all: at w, w + LANES, and at as far again from `further` on. */
INLINE void one_row(const float *x, const float *w, int step, int k, int n, int further, const float *bias, float *RESTRICT y)
{
    const int vectors = (n + LANES - 1) / LANES;
    floats a = load(bias), b = a, c = a, d = a;
    if (vectors > 1)
        b = load(bias + LANES);
    if (vectors > 2)
        c = load(bias + 2 * LANES);
    if (vectors > 3)
        d = load(bias + 3 * LANES);
    for (int i = 0; i < k; i++) {
        const float *p = w + i * step;
        a += load(p) * x[i];
        if (vectors > 1)
            b += load(p + LANES) * x[i];
        if (vectors > 2)
            c += load(p + further) * x[i];
        if (vectors > 3)
            d += load(p + further + LANES) * x[i];
    }
    store(y, a, n);
    store(y + LANES, b, n - LANES);
    store(y + 2 * LANES, c, n - 2 * LANES);
    store(y + 3 * LANES, d, n - 3 * LANES);
}

#if LANES > 1
/* Four rows and up to two vectors of columns beside each other. Each row is in `parts` of k floats, which lie x_step apart. */
INLINE void four_rows(const float *p, const float *q, const float *r, const float *s, int parts, int x_step, const float *w, int step, int k, int n,
                      const float *bias, float *RESTRICT y, int y_step)
{
    const int two = n > LANES;
    floats a = load(bias), b = a, c = a, d = a, e = two ? load(bias + LANES) : a, f = e, g = e, h = e;
    for (int part = 0; part < parts; part++) {
        const int at = part * x_step;
        for (int i = 0; i < k; i++) {
            const float *weights = w + (part * k + i) * step;
            const floats v = load(weights);
            a += v * p[at + i];
            b += v * q[at + i];
            c += v * r[at + i];
            d += v * s[at + i];
            if (two) {
                const floats u = load(weights + LANES);
                e += u * p[at + i];
                f += u * q[at + i];
                g += u * r[at + i];
                h += u * s[at + i];
            }
        }
    }
    store(y, a, n);
    store(y + LANES, e, n - LANES);
    store(y + y_step, b, n);
    store(y + y_step + LANES, f, n - LANES);
    store(y + 2 * y_step, c, n);
    store(y + 2 * y_step + LANES, g, n - LANES);
    store(y + 3 * y_step, d, n);
    store(y + 3 * y_step + LANES, h, n - LANES);
}
#endif

INLINE void band_f32(const float *x, const float *w, int width, int rows, int k, const float *bias, float *RESTRICT y, int y_step)
{
    int r = 0;
#if LANES > 1 /* processors with few registers take one row at a time */
    for (; r + 4 <= rows; r += 4)
        for (int j = 0; j < width; j += 2 * LANES)
            four_rows(x + r * k, x + (r + 1) * k, x + (r + 2) * k, x + (r + 3) * k, 1, 0, w + j, width, k, smaller(2 * LANES, width - j), bias + j,
                      y + r * y_step + j, y_step);
#endif
    for (; r < rows; r++)
        for (int j = 0; j < width; j += 4 * LANES)
            one_row(x + r * k, w + j, width, k, smaller(4 * LANES, width - j), 2 * LANES, bias + j, y + r * y_step + j);
}

/* x: rows x k; y: rows of n, which lie y_step floats apart. */
INLINE void rows_f32(const float *x, const float *weight, const float *bias, int rows, int k, int n, float *RESTRICT y, int y_step)
{
    int j = 0;
#if LANES == 8 /* one row alone keeps two bands going */
    for (; rows == 1 && j + 2 * BAND <= n; j += 2 * BAND)
        one_row(x, weight + j * k, BAND, k, 2 * BAND, BAND * k, bias + j, y + j);
#endif
    for (; j + BAND <= n; j += BAND)
        band_f32(x, weight + j * k, BAND, rows, k, bias + j, y + j, y_step);
    if (n % BAND)
        band_f32(x, weight + j * k, n % BAND, rows, k, bias + j, y + j, y_step);
}
