/* x: outer x n x inner; y: outer x inner, the means over n. */
INLINE void mean_f32(const float *x, int outer, int n, int inner, float *RESTRICT y)
{
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < inner; j++) {
            float sum = 0.0f;
            for (int k = 0; k < n; k++)
                sum += x[(i * n + k) * inner + j];
            y[i * inner + j] = sum / (float)n;
        }
}
