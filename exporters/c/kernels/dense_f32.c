/* x: rows x k; weight: as rows_f32 has it; y: rows x n. */
INLINE void dense_f32(const float *x, const float *weight, const float *bias, int rows, int k, int n, int relu, float *RESTRICT y)
{
    rows_f32(x, weight, bias, rows, k, n, y, n);
    for (int i = 0; relu && i < rows * n; i++)
        y[i] = y[i] < 0.0f ? 0.0f : y[i];
}
