/* Over rows of n. */
INLINE void softmax_f32(const float *x, int rows, int n, float *RESTRICT y)
{
    for (int row = 0; row < rows; row++) {
        const float *in = x + row * n;
        float *out = y + row * n;
        float largest = in[0], sum = 0.0f;
        for (int i = 1; i < n; i++)
            largest = in[i] > largest ? in[i] : largest;
        for (int i = 0; i < n; i++) {
            out[i] = exp_f32(in[i] - largest);
            sum += out[i];
        }
        for (int i = 0; i < n; i++)
            out[i] = out[i] / sum;
    }
}
