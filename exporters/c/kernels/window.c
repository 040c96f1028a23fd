/* A convolution of c x h x w with o filters of kh x kw, and pooling of its output: windows of pool_h x pool_w give pooled_h x pooled_w values. */
typedef struct {
    int c, h, w;
    int o, kh, kw;
    int sy, sx, top, left; /* strides and padding */
    int out_h, out_w;
    int pool_h, pool_w, pool_sy, pool_sx, pooled_h, pooled_w; /* 1 x 1 windows: no pooling */
    int average;                    /* 1: the mean of a window; 0: its largest value */
    int relu;
} conv_shape;
