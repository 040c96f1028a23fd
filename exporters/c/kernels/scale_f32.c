/* x and y: outer x c x inner; a factor and a term for each of the c channels. */
INLINE void scale_f32(const float *x, const float *factors, const float *terms, int outer, int c, int inner, int relu, float *RESTRICT y)
{
    for (int i = 0; i < outer; i++)
        for (int j = 0; j < c; j++)
            for (int k = 0; k < inner; k++) {
                const float value = x[(i * c + j) * inner + k] * factors[j] + terms[j];
                y[(i * c + j) * inner + k] = relu && value < 0.0f ? 0.0f : value;
            }
}
