/* One row of a convolution, for one filter. Each sum starts with the bias and goes on by channel, row and column of the filter. */
INLINE void conv_row_f32(const float *x, const float *filter, float bias, const conv_shape s, int y, float *RESTRICT row)
{
    /* The filter lies inside of x at outputs lo to hi - 1, and reaches over an edge at the others. */
    const int lo = smaller((s.left + s.sx - 1) / s.sx, s.out_w);
    const int hi = larger(lo, smaller(s.out_w, s.w + s.left < s.kw ? 0 : (s.w + s.left - s.kw) / s.sx + 1));
    for (int i = 0; i < s.out_w; i++)
        row[i] = bias;
    for (int c = 0; c < s.c; c++) {
        for (int ky = 0; ky < s.kh; ky++) {
            const int iy = y * s.sy + ky - s.top;
            const float *in = x + (c * s.h + iy) * s.w;
            const float *tap = filter + (c * s.kh + ky) * s.kw;
            if (iy < 0 || iy >= s.h)
                continue;
            for (int i = 0; i < s.out_w; i = i + 1 == lo && hi > lo ? hi : i + 1) {
                if (i >= lo && i < hi)
                    continue;
                for (int kx = 0; kx < s.kw; kx++) {
                    const int ix = i * s.sx + kx - s.left;
                    if (ix >= 0 && ix < s.w)
                        row[i] += tap[kx] * in[ix];
                }
            }
            for (int i = lo; i < hi; i++) {
                float sum = row[i];
                for (int kx = 0; kx < s.kw; kx++)
                    sum += tap[kx] * in[i * s.sx + kx - s.left];
                row[i] = sum;
            }
        }
    }
}

/* x: c x h x w; filters: o x c x kh x kw; y: o x pooled_h x pooled_w; row: room for ow values. */
INLINE void conv_f32(const float *x, const float *filters, const float *bias, const conv_shape s, float *RESTRICT row, float *RESTRICT y)
{
    for (int o = 0; o < s.o; o++) {
        for (int py = 0; py < s.pooled_h; py++) {
            float *out = y + (o * s.pooled_h + py) * s.pooled_w;
            for (int r = 0; r < s.pool_h; r++) {
                conv_row_f32(x, filters + o * s.c * s.kh * s.kw, bias[o], s, py * s.pool_sy + r, row);
                for (int px = 0; px < s.pooled_w; px++) {
                    for (int i = 0; i < s.pool_w; i++) {
                        const float raw = row[px * s.pool_sx + i];
                        const float value = s.relu && raw < 0.0f ? 0.0f : raw;
                        if (r == 0 && i == 0)
                            out[px] = value;
                        else if (s.average)
                            out[px] += value;
                        else
                            out[px] = value > out[px] ? value : out[px];
                    }
                }
            }
            if (s.average)
                for (int px = 0; px < s.pooled_w; px++)
                    out[px] = out[px] / (float)(s.pool_h * s.pool_w);
        }
    }
}
