/* Bytes to floats and back, as ONNX defines it: (byte - zero) * scale, and to the nearest, even if it is a tie. */
INLINE void dequantize_u8(const uint8_t *x, float scale, int zero, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = (float)((int)x[i] - zero) * scale;
}

INLINE void quantize_u8(const float *x, float scale, int zero, int n, uint8_t *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = to_byte(x[i] / scale, zero);
}
