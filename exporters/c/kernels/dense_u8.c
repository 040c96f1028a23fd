/* x: rows x k; weight: n x k; k a multiple of 4. sums: of row `row` with weights j and j + 1; of the last weight alone, if n is odd. */
INLINE int pair_u8(const uint8_t *x, const int8_t *weight, int row, int j, int k, int n, int32_t *RESTRICT sums)
{
    sums[0] = INT32_MIN;
    sums[1] = INT32_MIN;
    if (n - j < 2)
        dot_u8(x + row * k, weight + j * k, k, 1, 1, sums);
    else
        dot_u8(x + row * k, weight + j * k, k, 2, 1, sums);
    return n - j < 2 ? 1 : 2;
}

/* y: rows x n, bytes. */
INLINE void dense_u8(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *scale, int rows, int k, int n, int zero_y,
                     uint8_t *RESTRICT y)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < n; j += 2) {
            int32_t sums[2];
            const int now = pair_u8(x, weight, row, j, k, n, sums);
            for (int f = 0; f < now; f++)
                y[row * n + j + f] = to_byte((float)(sums[f] + bias[j + f]) * scale[j + f], zero_y);
        }
}

/* The same, with floats as output. */
INLINE void dense_u8_f32(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *scale, int rows, int k, int n, float *RESTRICT y)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < n; j += 2) {
            int32_t sums[2];
            const int now = pair_u8(x, weight, row, j, k, n, sums);
            for (int f = 0; f < now; f++)
                y[row * n + j + f] = (float)(sums[f] + bias[j + f]) * scale[j + f];
        }
}
