/* x: h x w x c. The mean is computed in float, and the zero point is added before it is rounded, as in onnxruntime. */
INLINE void pool_u8(const uint8_t *x, const conv_shape s, float scale_x, int zero_x, float scale_y, int zero_y, uint8_t *RESTRICT y)
{
    for (int py = 0; py < s.pooled_h; py++)
        for (int px = 0; px < s.pooled_w; px++)
            for (int c = 0; c < s.c; c++) {
                float sum = 0.0f;
                int largest = 0;
                for (int r = 0; r < s.pool_h; r++)
                    for (int i = 0; i < s.pool_w; i++) {
                        const int byte = x[((py * s.pool_sy + r) * s.w + px * s.pool_sx + i) * s.c + c];
                        sum += (float)(byte - zero_x) * scale_x;
                        largest = larger(largest, byte);
                    }
                if (s.average)
                    y[(py * s.pooled_w + px) * s.c + c] = to_byte(sum / (float)(s.pool_h * s.pool_w) / scale_y + (float)zero_y, 0);
                else
                    y[(py * s.pooled_w + px) * s.c + c] = (uint8_t)largest;
            }
}
