/* Copies n0 x n1 x n2 x n3 floats; those of x lie x0, x1, x2, x3 floats apart along each axis, those of y likewise. */
INLINE void copy_f32(const float *x, int n0, int n1, int n2, int n3, int x0, int x1, int x2, int x3, int y0, int y1, int y2, int y3,
                     float *RESTRICT y)
{
    for (int i = 0; i < n0; i++)
        for (int j = 0; j < n1; j++)
            for (int k = 0; k < n2; k++)
                for (int l = 0; l < n3; l++)
                    y[i * y0 + j * y1 + k * y2 + l * y3] = x[i * x0 + j * x1 + k * x2 + l * x3];
}

INLINE void fill_f32(float value, int n, float *RESTRICT y)
{
    for (int i = 0; i < n; i++)
        y[i] = value;
}
