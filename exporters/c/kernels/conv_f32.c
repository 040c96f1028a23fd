/* What lies under a filter at one output, row by row; zeros beyond the edge. x: h x w x c. */
INLINE void patch_f32(const float *x, const conv_shape s, int oy, int ox, float *RESTRICT patch)
{
    const int iy = oy * s.sy - s.top, ix = ox * s.sx - s.left, n = s.kw * s.c;
    for (int ky = 0; ky < s.kh; ky++) {
        const float *row = x + (iy + ky) * s.w * s.c + ix * s.c;
        float *to = patch + ky * n;
        if (iy + ky >= 0 && iy + ky < s.h && ix >= 0 && ix + s.kw <= s.w)
            for (int i = 0; i < n; i++)
                to[i] = row[i];
        else
            for (int kx = 0; kx < s.kw; kx++)
                for (int c = 0; c < s.c; c++)
                    to[kx * s.c + c] = iy + ky >= 0 && iy + ky < s.h && ix + kx >= 0 && ix + kx < s.w ? row[kx * s.c + c] : 0.0f;
    }
}

/* x: h x w x c; filters: kh x kw x c x o, in bands as rows_f32 has them; y: pooled_h x pooled_w x o.
   patches: room for `group` patches and as many rows of o sums, where group is a pooling window, or how many outputs are computed together. */
INLINE void conv_f32(const float *x, const float *filters, const float *bias, const conv_shape s, int group, float *RESTRICT patches,
                     float *RESTRICT y)
{
    const int window = s.pool_h * s.pool_w, k = s.kh * s.kw * s.c, outputs = s.pooled_h * s.pooled_w;
    float *sums = patches + group * k;
    for (int at = 0; at < outputs; at += window == 1 ? group : 1) {
        const int now = window == 1 && outputs % group ? smaller(group, outputs - at) : group;
        float *out = y + at * s.o;
#if LANES > 1 /* a window of 2 x 2 that lies within the image needs no patches */
        const int iy = at / s.pooled_w * s.pool_sy * s.sy - s.top, ix = at % s.pooled_w * s.pool_sx * s.sx - s.left;
        if (s.pool_h == 2 && s.pool_w == 2 && iy >= 0 && ix >= 0 && iy + s.sy + s.kh <= s.h && ix + s.sx + s.kw <= s.w) {
            const float *first = x + (iy * s.w + ix) * s.c, *below = first + s.sy * s.w * s.c;
            for (int j = 0; j < s.o; j += 2 * LANES)
                four_rows(first, first + s.sx * s.c, below, below + s.sx * s.c, s.kh, s.w * s.c, filters + j / BAND * BAND * k + j % BAND,
                          smaller(BAND, s.o - j / BAND * BAND), s.kw * s.c, smaller(2 * LANES, s.o - j), bias + j, sums + j, s.o);
        } else
#endif
        {
            for (int p = 0; p < now; p++) {
                const int to = window == 1 ? at + p : at, py = to / s.pooled_w, px = to % s.pooled_w;
                const int down = window == 1 ? 0 : p / s.pool_w, right = window == 1 ? 0 : p % s.pool_w;
                patch_f32(x, s, py * s.pool_sy + down, px * s.pool_sx + right, patches + p * k);
            }
            rows_f32(patches, filters, bias, now, k, s.o, window == 1 ? out : sums, s.o);
        }
        for (int o = 0; window > 1 && o < s.o; o++) {
            float value = 0.0f;
            for (int p = 0; p < window; p++) {
                const float raw = sums[p * s.o + o], one = s.relu && raw < 0.0f ? 0.0f : raw;
                value = p == 0 ? one : s.average ? value + one : one > value ? one : value;
            }
            out[o] = s.average ? value / (float)window : value;
        }
        for (int o = 0; window == 1 && s.relu && o < now * s.o; o++)
            out[o] = out[o] < 0.0f ? 0.0f : out[o];
    }
}
