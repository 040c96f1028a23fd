/* The bytes under a filter at one output, row by row; beyond the edge they are `zero`. x: h x w x c. */
INLINE void patch_u8(const uint8_t *x, const conv_shape s, int oy, int ox, uint8_t zero, int k, uint8_t *RESTRICT patch)
{
    const int iy = oy * s.sy - s.top, ix = ox * s.sx - s.left;
    const int inside = iy >= 0 && ix >= 0 && iy + s.kh <= s.h && ix + s.kw <= s.w;
    for (int ky = 0; ky < s.kh; ky++) {
        uint8_t *to = patch + ky * s.kw * s.c;
        const uint8_t *from = x + ((iy + ky) * s.w + ix) * s.c;
        if (inside) {
            for (int i = 0; i < s.kw * s.c; i++)
                to[i] = from[i];
        } else {
            const int row_inside = iy + ky >= 0 && iy + ky < s.h;
            for (int kx = 0; kx < s.kw; kx++)
                for (int c = 0; c < s.c; c++)
                    to[kx * s.c + c] = row_inside && ix + kx >= 0 && ix + kx < s.w ? from[kx * s.c + c] : zero;
        }
    }
    for (int i = s.kh * s.kw * s.c; i < k; i++)
        patch[i] = 0;
}

/* x: h x w x c; filters: o x k, each kh x kw x c with zeros behind, k a multiple of 4; y: pooled_h x pooled_w x o.
   The largest sum of a window is the largest byte, too, so pooling comes first. patches: pool_h x pool_w of k bytes. */
INLINE void conv_u8(const uint8_t *x, const int8_t *filters, const int32_t *bias, const float *scale, const conv_shape s, int k,
                    uint8_t zero_x, int zero_y, uint8_t *RESTRICT patches, uint8_t *RESTRICT y)
{
    const int window = s.pool_h * s.pool_w;
    for (int py = 0; py < s.pooled_h; py++)
        for (int px = 0; px < s.pooled_w; px++) {
            uint8_t *out = y + (py * s.pooled_w + px) * s.o;
            for (int p = 0; p < window; p++)
                patch_u8(x, s, py * s.pool_sy + p / s.pool_w, px * s.pool_sx + p % s.pool_w, zero_x, k, patches + p * k);
            for (int o = 0; o < s.o; o += 2) {
                const int filters_now = s.o - o < 2 ? 1 : 2;
                int32_t best[2] = {INT32_MIN, INT32_MIN};
                for (int p = 0; p < window; p += 2) {
                    int32_t sums[4];
                    const int patches_now = window - p < 2 ? 1 : 2;
                    if (filters_now == 2 && patches_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 2, 2, sums);
                    else if (filters_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 2, 1, sums);
                    else if (patches_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 1, 2, sums);
                    else
                        dot_u8(patches + p * k, filters + o * k, k, 1, 1, sums);
                    for (int f = 0; f < filters_now; f++)
                        for (int q = 0; q < patches_now; q++)
                            best[f] = sums[2 * f + q] > best[f] ? sums[2 * f + q] : best[f];
                }
                for (int f = 0; f < filters_now; f++)
                    out[o + f] = to_byte((float)(best[f] + bias[o + f]) * scale[o + f], zero_y);
            }
        }
}
