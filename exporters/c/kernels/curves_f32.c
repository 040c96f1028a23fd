INLINE void gelus_f32(const float *x, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = 0.5f * x[i] * (1.0f + erf_f32(x[i] * 0.707106781f));
}

INLINE void sigmoids_f32(const float *x, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = sigmoid_f32(x[i]);
}

INLINE void tanhs_f32(const float *x, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = tanh_f32(x[i]);
}

INLINE void erfs_f32(const float *x, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = erf_f32(x[i]);
}
