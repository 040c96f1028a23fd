/* x: rows x k; weight: k x n, cut into bands of 16 columns that lie one behind another; y: rows x n. */
#define BAND 16

INLINE void dense_band_f32(const float *x, const float *weight, const float *bias, int k, int n, float *RESTRICT y)
{
    float sum[BAND];
    for (int j = 0; j < n; j++)
        sum[j] = bias[j];
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n; j++)
            sum[j] += x[i] * weight[i * n + j];
    for (int j = 0; j < n; j++)
        y[j] = sum[j];
}

INLINE void dense_f32(const float *x, const float *weight, const float *bias, int rows, int k, int n, int relu, float *RESTRICT y)
{
    for (int row = 0; row < rows; row++) {
        for (int j = 0; j + BAND <= n; j += BAND)
            dense_band_f32(x + row * k, weight + j * k, bias + j, k, BAND, y + row * n + j);
        if (n % BAND)
            dense_band_f32(x + row * k, weight + n / BAND * BAND * k, bias + n / BAND * BAND, k, n % BAND, y + row * n + n / BAND * BAND);
    }
    for (int i = 0; relu && i < rows * n; i++)
        y[i] = y[i] < 0.0f ? 0.0f : y[i];
}
