INLINE void relu_f32(const float *x, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = x[i] < 0.0f ? 0.0f : x[i];
}

/* `other` has n elements, or one. */
INLINE void add_f32(const float *x, const float *other, int of_other, int relu, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++) {
        const float sum = x[i] + other[of_other == 1 ? 0 : i];
        y[i] = relu && sum < 0.0f ? 0.0f : sum;
    }
}

INLINE void mul_f32(const float *x, const float *other, int of_other, int relu, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++) {
        const float product = x[i] * other[of_other == 1 ? 0 : i];
        y[i] = relu && product < 0.0f ? 0.0f : product;
    }
}
