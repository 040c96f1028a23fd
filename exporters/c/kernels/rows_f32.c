/* Rows of x, k floats each, times a matrix, k x n, that is cut into bands of 16 columns and at last of 8, 4, 2 and 1. Each sum starts with the
   bias and goes on from the first product to the last, on every processor; what differs is how many sums go on side by side. */
typedef float floats1;
#if (defined(__GNUC__) || defined(__clang__)) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__))
typedef float floats4 __attribute__((vector_size(16), aligned(4), may_alias));
#define SIMD 4
#else
#define SIMD 1
#endif
#if SIMD == 4 && defined(__AVX__)
typedef float floats8 __attribute__((vector_size(32), aligned(4), may_alias));
#endif

/* One row, and one, two or four vectors of columns; `apart` is the distance of the second from the first, `further` that of the last two. */
#define ONE_ROW(lanes)                                                                                                                     \
    INLINE void one_row_##lanes(const float *x, const float *w, int step, int k, int vectors, int apart, int further,                      \
                                const float *bias, int bias_further, float *RESTRICT y)                                                    \
    {                                                                                                                                      \
        floats##lanes a = *(const floats##lanes *)bias, b = a, c = a, d = a;                                                               \
        if (vectors > 1)                                                                                                                   \
            b = *(const floats##lanes *)(bias + apart);                                                                                    \
        if (vectors > 2) {                                                                                                                 \
            c = *(const floats##lanes *)(bias + bias_further);                                                                             \
            d = *(const floats##lanes *)(bias + bias_further + apart);                                                                     \
        }                                                                                                                                  \
        for (int i = 0; i < k; i++) {                                                                                                      \
            const float *p = w + i * step;                                                                                                 \
            a += *(const floats##lanes *)p * x[i];                                                                                         \
            if (vectors > 1)                                                                                                               \
                b += *(const floats##lanes *)(p + apart) * x[i];                                                                           \
            if (vectors > 2) {                                                                                                             \
                c += *(const floats##lanes *)(p + further) * x[i];                                                                         \
                d += *(const floats##lanes *)(p + further + apart) * x[i];                                                                 \
            }                                                                                                                              \
        }                                                                                                                                  \
        *(floats##lanes *)y = a;                                                                                                           \
        if (vectors > 1)                                                                                                                   \
            *(floats##lanes *)(y + apart) = b;                                                                                             \
        if (vectors > 2) {                                                                                                                 \
            *(floats##lanes *)(y + bias_further) = c;                                                                                      \
            *(floats##lanes *)(y + bias_further + apart) = d;                                                                              \
        }                                                                                                                                  \
    }

/* Four rows, and one or two vectors of columns beside each other. */
#define FOUR_ROWS(lanes)                                                                                                                   \
    INLINE void four_rows_##lanes(const float *x, const float *w, int step, int k, int vectors, const float *bias, float *RESTRICT y,      \
                                  int y_step)                                                                                              \
    {                                                                                                                                      \
        floats##lanes a = *(const floats##lanes *)bias, b = a, c = a, d = a, e = a, f, g, h;                                               \
        if (vectors > 1)                                                                                                                   \
            e = *(const floats##lanes *)(bias + lanes);                                                                                    \
        f = g = h = e;                                                                                                                     \
        for (int i = 0; i < k; i++) {                                                                                                      \
            const floats##lanes v = *(const floats##lanes *)(w + i * step);                                                                \
            a += v * x[i];                                                                                                                 \
            b += v * x[k + i];                                                                                                             \
            c += v * x[2 * k + i];                                                                                                         \
            d += v * x[3 * k + i];                                                                                                         \
            if (vectors > 1) {                                                                                                             \
                const floats##lanes u = *(const floats##lanes *)(w + i * step + lanes);                                                    \
                e += u * x[i];                                                                                                             \
                f += u * x[k + i];                                                                                                         \
                g += u * x[2 * k + i];                                                                                                     \
                h += u * x[3 * k + i];                                                                                                     \
            }                                                                                                                              \
        }                                                                                                                                  \
        *(floats##lanes *)y = a;                                                                                                           \
        *(floats##lanes *)(y + y_step) = b;                                                                                                \
        *(floats##lanes *)(y + 2 * y_step) = c;                                                                                            \
        *(floats##lanes *)(y + 3 * y_step) = d;                                                                                            \
        if (vectors > 1) {                                                                                                                 \
            *(floats##lanes *)(y + lanes) = e;                                                                                             \
            *(floats##lanes *)(y + y_step + lanes) = f;                                                                                    \
            *(floats##lanes *)(y + 2 * y_step + lanes) = g;                                                                                \
            *(floats##lanes *)(y + 3 * y_step + lanes) = h;                                                                                \
        }                                                                                                                                  \
    }

ONE_ROW(1)
#if SIMD == 4
FOUR_ROWS(1)
ONE_ROW(4)
FOUR_ROWS(4)
#endif
#if SIMD == 4 && defined(__AVX__)
ONE_ROW(8)
FOUR_ROWS(8)
#endif

/* One row and one band. */
INLINE void one_band(const float *x, const float *w, int width, int k, const float *bias, float *RESTRICT y)
{
#if SIMD == 4 && defined(__AVX__)
    if (width >= 8) {
        one_row_8(x, w, width, k, width / 8, 8, 0, bias, 0, y);
        return;
    }
#endif
#if SIMD == 4
    if (width >= 4) {
        one_row_4(x, w, width, k, width / 4, 4, 8, bias, 8, y);
        return;
    }
#endif
    if (width >= 4) {
        for (int j = 0; j < width; j += 4)
            one_row_1(x, w + j, width, k, 4, 1, 2, bias + j, 2, y + j);
        return;
    }
    one_row_1(x, w, width, k, width, 1, 0, bias, 0, y);
}

/* Four rows and one band. */
INLINE void band_of_four(const float *x, const float *w, int width, int k, const float *bias, float *RESTRICT y, int y_step)
{
#if SIMD == 4 && defined(__AVX__)
    if (width >= 8) {
        four_rows_8(x, w, width, k, width / 8, bias, y, y_step);
        return;
    }
#endif
#if SIMD == 4
    if (width >= 4) {
        for (int j = 0; j < width; j += 8)
            four_rows_4(x, w + j, width, k, smaller(width / 4, 2), bias + j, y + j, y_step);
        return;
    }
    four_rows_1(x, w, width, k, width, bias, y, y_step);
#else
    for (int r = 0; r < 4; r++)
        one_band(x + r * k, w, width, k, bias, y + r * y_step);
#endif
}

INLINE void band_f32(const float *x, const float *w, int width, int rows, int k, const float *bias, float *RESTRICT y, int y_step)
{
    int r = 0;
    for (; r + 4 <= rows; r += 4)
        band_of_four(x + r * k, w, width, k, bias, y + r * y_step, y_step);
    for (; r < rows; r++)
        one_band(x + r * k, w, width, k, bias, y + r * y_step);
}

/* x: rows x k; y: rows of n, which lie y_step floats apart. */
INLINE void rows_f32(const float *x, const float *weight, const float *bias, int rows, int k, int n, float *RESTRICT y, int y_step)
{
    int j = 0;
#if SIMD == 4 && defined(__AVX__)
    for (; rows == 1 && j + 32 <= n; j += 32)
        one_row_8(x, weight + j * k, 16, k, 4, 8, 16 * k, bias + j, 16, y + j);
#endif
    for (; j + 16 <= n; j += 16)
        band_f32(x, weight + j * k, 16, rows, k, bias + j, y + j, y_step);
    if (n & 8) {
        band_f32(x, weight + j * k, 8, rows, k, bias + j, y + j, y_step);
        j += 8;
    }
    if (n & 4) {
        band_f32(x, weight + j * k, 4, rows, k, bias + j, y + j, y_step);
        j += 4;
    }
    if (n & 2) {
        band_f32(x, weight + j * k, 2, rows, k, bias + j, y + j, y_step);
        j += 2;
    }
    if (n & 1)
        band_f32(x, weight + j * k, 1, rows, k, bias + j, y + j, y_step);
}
