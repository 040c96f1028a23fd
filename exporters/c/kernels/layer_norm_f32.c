/* Over rows of n. */
INLINE void layer_norm_f32(const float *x, const float *factors, const float *terms, float epsilon, int rows, int n, float *RESTRICT y)
{
    for (int row = 0; row < rows; row++) {
        const float *in = x + row * n;
        float mean = 0.0f, variance = 0.0f;
        for (int i = 0; i < n; i++)
            mean += in[i];
        mean = mean / (float)n;
        for (int i = 0; i < n; i++)
            variance += (in[i] - mean) * (in[i] - mean);
        const float deviation = sqrt_f32(variance / (float)n + epsilon);
        for (int i = 0; i < n; i++)
            y[row * n + i] = (in[i] - mean) / deviation * factors[i] + terms[i];
    }
}
