/* a: batch x m x k; b: batch x k x n; y: batch x m x n. */
INLINE void matmul_f32(const float *a, const float *b, int batch, int m, int k, int n, float *RESTRICT y)
{
    for (int i = 0; i < batch; i++)
        for (int r = 0; r < m; r++) {
            float *out = y + (i * m + r) * n;
            for (int j = 0; j < n; j++)
                out[j] = 0.0f;
            for (int q = 0; q < k; q++)
                for (int j = 0; j < n; j++)
                    out[j] += a[(i * m + r) * k + q] * b[(i * k + q) * n + j];
        }
}
