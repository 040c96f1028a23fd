/* From rows of c channels to c channels one behind another. */
INLINE void channels_first_u8(const uint8_t *x, int n, int c, uint8_t *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            y[j * n + i] = x[i * c + j];
}

INLINE void channels_first_f32(const float *x, int n, int c, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            y[j * n + i] = x[i * c + j];
}

/* And back. */
INLINE void channels_last_u8(const uint8_t *x, int n, int c, uint8_t *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            y[i * c + j] = x[j * n + i];
}

INLINE void channels_last_f32(const float *x, int n, int c, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < c; j++)
            y[i * c + j] = x[j * n + i];
}
