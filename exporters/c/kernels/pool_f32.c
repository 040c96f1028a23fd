/* x: c x h x w. */
INLINE void pool_f32(const float *x, const conv_shape s, float *RESTRICT y)
{
    for (int c = 0; c < s.c; c++)
        for (int py = 0; py < s.pooled_h; py++)
            for (int px = 0; px < s.pooled_w; px++) {
                float value = 0.0f;
                for (int r = 0; r < s.pool_h; r++)
                    for (int i = 0; i < s.pool_w; i++) {
                        const float one = x[(c * s.h + py * s.pool_sy + r) * s.w + px * s.pool_sx + i];
                        if (r == 0 && i == 0)
                            value = one;
                        else if (s.average)
                            value += one;
                        else
                            value = one > value ? one : value;
                    }
                y[(c * s.pooled_h + py) * s.pooled_w + px] = s.average ? value / (float)(s.pool_h * s.pool_w) : value;
            }
}
