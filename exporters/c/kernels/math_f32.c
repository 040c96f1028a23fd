/* exp, tanh and erf as in Stephen Moshier's Cephes library (expf.c, tanhf.c, ndtrf.c), with errors of a few units in the last place. They use
   no libm, because each one rounds otherwise. */
INLINE float float_of_bits(uint32_t bits)
{
    union {
        uint32_t bits;
        float value;
    } both;
    both.bits = bits;
    return both.value;
}

INLINE float exp_f32(float x)
{
    const float clipped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    const float n = (clipped * 1.44269504f + 12582912.0f) - 12582912.0f; /* to the nearest: beyond 1.5 * 2^23, floats have no fraction */
    const float r = (clipped - n * 0.693359375f) - n * -2.12194440e-4f;  /* log(2) in two parts */
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * (r * r) + r + 1.0f) * float_of_bits((uint32_t)((int)n + 127) << 23);
}

INLINE float sigmoid_f32(float x)
{
    return 1.0f / (1.0f + exp_f32(-x));
}

INLINE float tanh_f32(float x)
{
    const float size = x < 0.0f ? -x : x;
    if (size > 0.625f) {
        const float y = 1.0f - 2.0f / (exp_f32(2.0f * size) + 1.0f);
        return x < 0.0f ? -y : y;
    }
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    return p * z * x + x;
}

INLINE float erf_f32(float x)
{
    const float size = x < 0.0f ? -x : x;
    if (size <= 1.0f) {
        const float z = x * x;
        float p = 7.853861353153693e-5f;
        p = p * z - 8.010193625184903e-4f;
        p = p * z + 5.188327685732524e-3f;
        p = p * z - 2.685381193529856e-2f;
        p = p * z + 1.128358514861418e-1f;
        p = p * z - 3.761262582423300e-1f;
        p = p * z + 1.128379165726710f;
        return x * p;
    }
    const float q = 1.0f / size, y = q * q;
    float p;
    if (size < 2.0f) {
        p = 2.326819970068386e-2f;
        p = p * y - 1.387039388740657e-1f;
        p = p * y + 3.687424674597105e-1f;
        p = p * y - 5.824733027278666e-1f;
        p = p * y + 6.210004621745983e-1f;
        p = p * y - 4.944515323274145e-1f;
        p = p * y + 3.404879937665872e-1f;
        p = p * y - 2.741127028184656e-1f;
        p = p * y + 5.638259427386472e-1f;
    } else {
        p = -1.047766399936249e+1f;
        p = p * y + 1.297719955372516e+1f;
        p = p * y - 7.495518717768503f;
        p = p * y + 2.921019019210786f;
        p = p * y - 1.015265279202700f;
        p = p * y + 4.218463358204948e-1f;
        p = p * y - 2.820767439740514e-1f;
        p = p * y + 5.641895067754075e-1f;
    }
    const float erfc = exp_f32(-size * size) * q * p;
    return x < 0.0f ? erfc - 1.0f : 1.0f - erfc;
}

/* Newton's iteration, from half of the exponent on; for x > 0. */
INLINE float sqrt_f32(float x)
{
    union {
        uint32_t bits;
        float value;
    } both;
    both.value = x;
    float y = float_of_bits(0x1fbd1df5u + (both.bits >> 1));
    y = 0.5f * (y + x / y);
    y = 0.5f * (y + x / y);
    return 0.5f * (y + x / y);
}
