INLINE void fill_u8(uint8_t *to, uint8_t value, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = value;
}

INLINE void copy_u8(uint8_t *RESTRICT to, const uint8_t *from, int n)
{
    int i = 0;
#ifdef FAST_DOT
    for (; i + 4 <= n; i += 4) /* this processor loads words from anywhere */
        __builtin_memcpy(to + i, from + i, 4);
#endif
    for (; i < n; i++)
        to[i] = from[i];
}

/* The bytes under a filter at one output, row by row; beyond the edge they are `zero`. x: h x w x c. */
INLINE void patch_u8(const uint8_t *x, const conv_shape s, int oy, int ox, uint8_t zero, uint8_t *RESTRICT patch)
{
    const int iy = oy * s.sy - s.top, ix = ox * s.sx - s.left, row = s.kw * s.c;
    const int never_outside = s.top == 0 && s.left == 0 && (s.out_h - 1) * s.sy + s.kh <= s.h && (s.out_w - 1) * s.sx + s.kw <= s.w;
    const int inside = never_outside || (iy >= 0 && ix >= 0 && iy + s.kh <= s.h && ix + s.kw <= s.w);
    for (int ky = 0; ky < s.kh; ky++) {
        uint8_t *to = patch + ky * row;
        const uint8_t *from = x + ((iy + ky) * s.w + ix) * s.c;
        if (inside) {
            copy_u8(to, from, row);
        } else {
            const int in_height = iy + ky >= 0 && iy + ky < s.h;
            const int first = in_height ? smaller(larger(-ix, 0), s.kw) * s.c : row;
            const int last = in_height ? larger(first, smaller(s.w - ix, s.kw) * s.c) : row;
            fill_u8(to, zero, first);
            copy_u8(to + first, from + first, last - first);
            fill_u8(to + last, zero, row - last);
        }
    }
}

/* x: h x w x c; filters: o x k, each kh x kw x c with zeros behind, k a multiple of 4; y: pooled_h x pooled_w x o.
   The largest sum of a window is the largest byte, too, so pooling comes first. patches: pool_h x pool_w of k bytes. */
INLINE void conv_u8(const uint8_t *x, const int8_t *filters, const int32_t *bias, const float *scale, const conv_shape s, int k,
                    uint8_t zero_x, int zero_y, uint8_t *RESTRICT patches, uint8_t *RESTRICT y)
{
    const int window = s.pool_h * s.pool_w;
    ROLLED
    for (int i = 0; i < window * k; i++)
        patches[i] = 0; /* what is behind a patch stays so */
    for (int py = 0; py < s.pooled_h; py++)
        for (int px = 0; px < s.pooled_w; px++) {
            uint8_t *out = y + (py * s.pooled_w + px) * s.o;
            for (int p = 0; p < window; p++)
                patch_u8(x, s, py * s.pool_sy + p / s.pool_w, px * s.pool_sx + p % s.pool_w, zero_x, patches + p * k);
            ROLLED
            for (int o = 0; o < s.o; o += 2) {
                const int filters_now = s.o - o < 2 ? 1 : 2;
                int32_t best[2] = {INT32_MIN, INT32_MIN};
                for (int p = 0; p < window; p += 2) {
                    const int patches_now = window - p < 2 ? 1 : 2;
                    if (filters_now == 2 && patches_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 2, 2, best);
                    else if (filters_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 2, 1, best);
                    else if (patches_now == 2)
                        dot_u8(patches + p * k, filters + o * k, k, 1, 2, best);
                    else
                        dot_u8(patches + p * k, filters + o * k, k, 1, 1, best);
                }
                for (int f = 0; f < filters_now; f++)
                    out[o + f] = to_byte((float)(best[f] + bias[o + f]) * scale[o + f], zero_y);
            }
        }
}
