/* x: rows x k; weight: n x k; k a multiple of 4; y: rows x n, bytes. */
INLINE void dense_u8(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *scale, int rows, int k, int n, int zero_y,
                     uint8_t *RESTRICT y)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < n; j += 2) {
            int32_t sums[4];
            const int now = n - j < 2 ? 1 : 2;
            if (now == 2)
                dot_u8(x + row * k, weight + j * k, k, 2, 1, sums);
            else
                dot_u8(x + row * k, weight + j * k, k, 1, 1, sums);
            for (int f = 0; f < now; f++)
                y[row * n + j + f] = to_byte((float)(sums[2 * f] + bias[j + f]) * scale[j + f], zero_y);
        }
}

/* The same, with floats as output. */
INLINE void dense_u8_f32(const uint8_t *x, const int8_t *weight, const int32_t *bias, const float *scale, int rows, int k, int n, float *RESTRICT y)
{
    for (int row = 0; row < rows; row++)
        for (int j = 0; j < n; j++) {
            int32_t sums[4];
            dot_u8(x + row * k, weight + j * k, k, 1, 1, sums);
            y[row * n + j] = (float)(sums[0] + bias[j]) * scale[j];
        }
}
