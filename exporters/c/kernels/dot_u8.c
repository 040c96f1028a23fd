/* Four products of bytes, unsigned by signed, are added to a sum. */
#if defined(__ARM_FEATURE_DSP) && (defined(__GNUC__) || defined(__clang__)) && !defined(PLAIN_C)
INLINE uint32_t four_bytes(const void *p)
{
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    return v;
}
#define UXTB16(to, v) __asm__("uxtb16 %0, %1" : "=r"(to) : "r"(v))
#define UXTB16_8(to, v) __asm__("uxtb16 %0, %1, ror #8" : "=r"(to) : "r"(v))
#define SXTB16(to, v) __asm__("sxtb16 %0, %1" : "=r"(to) : "r"(v))
#define SXTB16_8(to, v) __asm__("sxtb16 %0, %1, ror #8" : "=r"(to) : "r"(v))
#define SMLAD(sum, a, b) __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b))
#define FAST_DOT 1
#endif

/* sums[f][p]: filter f with patch p, over k bytes, a multiple of 4. */
INLINE void dot_u8(const uint8_t *x, const int8_t *w, int k, int filters, int patches, int32_t *RESTRICT sums)
{
#ifdef FAST_DOT
    int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0;
    for (int i = 0; i < k; i += 4) {
        uint32_t a0, b0, a1 = 0, b1 = 0, c0, d0, c1 = 0, d1 = 0;
        const uint32_t w0 = four_bytes(w + i), x0 = four_bytes(x + i);
        SXTB16(a0, w0);
        SXTB16_8(b0, w0);
        UXTB16(c0, x0);
        UXTB16_8(d0, x0);
        SMLAD(s00, a0, c0);
        SMLAD(s00, b0, d0);
        if (filters == 2) {
            const uint32_t w1 = four_bytes(w + k + i);
            SXTB16(a1, w1);
            SXTB16_8(b1, w1);
            SMLAD(s10, a1, c0);
            SMLAD(s10, b1, d0);
        }
        if (patches == 2) {
            const uint32_t x1 = four_bytes(x + k + i);
            UXTB16(c1, x1);
            UXTB16_8(d1, x1);
            SMLAD(s01, a0, c1);
            SMLAD(s01, b0, d1);
            if (filters == 2) {
                SMLAD(s11, a1, c1);
                SMLAD(s11, b1, d1);
            }
        }
    }
    sums[0] = s00;
    sums[1] = s01;
    sums[2] = s10;
    sums[3] = s11;
#else
    for (int f = 0; f < filters; f++)
        for (int p = 0; p < patches; p++) {
            int32_t sum = 0;
            for (int i = 0; i < k; i++)
                sum += (int32_t)w[f * k + i] * (int32_t)x[p * k + i];
            sums[2 * f + p] = sum;
        }
#endif
}

/* A float becomes a byte: to the nearest, even if it is a tie, as onnxruntime does it; then the zero point is added. */
INLINE uint8_t to_byte(float value, int zero)
{
    const float lowest = (float)(0 - zero), highest = (float)(255 - zero);
    const float clipped = value < lowest ? lowest : value > highest ? highest : value;
    const float nearest = (clipped + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: beyond it, floats have no fraction */
    return (uint8_t)((int)nearest + zero);
}
