/* Pixels, 0 to 255, become floats, as the network was trained on them. */
INLINE void pixels_f32(const uint8_t *x, float scale, float shift, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = (float)x[i] * scale + shift;
}
