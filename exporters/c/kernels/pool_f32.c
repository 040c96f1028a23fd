/* x: h x w x c. */
INLINE void pool_f32(const float *x, const conv_shape s, float *RESTRICT y)
{
    for (int py = 0; py < s.pooled_h; py++)
        for (int px = 0; px < s.pooled_w; px++)
            for (int c = 0; c < s.c; c++) {
                float value = 0.0f;
                for (int r = 0; r < s.pool_h; r++)
                    for (int i = 0; i < s.pool_w; i++) {
                        const float one = x[((py * s.pool_sy + r) * s.w + px * s.pool_sx + i) * s.c + c];
                        value = r == 0 && i == 0 ? one : s.average ? value + one : one > value ? one : value;
                    }
                y[(py * s.pooled_w + px) * s.c + c] = s.average ? value / (float)(s.pool_h * s.pool_w) : value;
            }
}
