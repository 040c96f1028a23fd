/* Sums of products of bytes, unsigned by signed. k, how many bytes, is a multiple of 4. */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN) && (defined(__GNUC__) || defined(__clang__)) && !defined(PLAIN_C)
#define FAST_DOT 1
#define UNUSED __attribute__((unused))

/* Four bytes of two filters and two patches. SXTB16 and UXTB16 make two words of two 16-bit numbers out of four bytes; SMLAD adds two products. */
#define FOUR_2X2 \
    "ldr r8, [r1, r2]\n" \
    "ldr r7, [r1], #4\n" \
    "sxtb16 r10, r8\n" \
    "sxtb16 r8, r8, ror #8\n" \
    "sxtb16 r9, r7\n" \
    "sxtb16 r7, r7, ror #8\n" \
    "ldr r12, [r0, r2]\n" \
    "uxtb16 r11, r12\n" \
    "uxtb16 r12, r12, ror #8\n" \
    "smlad r4, r9, r11, r4\n" \
    "smlad r6, r10, r11, r6\n" \
    "smlad r4, r7, r12, r4\n" \
    "smlad r6, r8, r12, r6\n" \
    "ldr r12, [r0], #4\n" \
    "uxtb16 r11, r12\n" \
    "uxtb16 r12, r12, ror #8\n" \
    "smlad r3, r9, r11, r3\n" \
    "smlad r5, r10, r11, r5\n" \
    "smlad r3, r7, r12, r3\n" \
    "smlad r5, r8, r12, r5\n"

/* best[f] becomes the sum of filter f and a patch if that is larger; f is 0 and 1, and the patches are two. By hand: compilers run out of registers. */
static __attribute__((naked, noinline)) void dot_2x2_u8(const uint8_t *x UNUSED, const int8_t *w UNUSED, int k UNUSED, int32_t *best UNUSED)
{
    __asm__ volatile(
        "push {r3-r11, lr}\n"
        "add lr, r0, r2\n"
        "movs r3, #0\n"
        "movs r4, #0\n"
        "movs r5, #0\n"
        "movs r6, #0\n"
        "tst r2, #4\n"
        "bne 2f\n"
        "1:\n" FOUR_2X2
        "2:\n" FOUR_2X2
        "cmp r0, lr\n"
        "bne 1b\n"
        "pop {r0}\n"
        "ldrd r1, r2, [r0]\n"
        "cmp r1, r3\n"
        "it lt\n"
        "movlt r1, r3\n"
        "cmp r1, r4\n"
        "it lt\n"
        "movlt r1, r4\n"
        "cmp r2, r5\n"
        "it lt\n"
        "movlt r2, r5\n"
        "cmp r2, r6\n"
        "it lt\n"
        "movlt r2, r6\n"
        "strd r1, r2, [r0]\n"
        "pop {r4-r11, pc}\n");
}

#define FOUR_2X1 \
    "ldr r12, [r0], #4\n" \
    "ldr r8, [r1, r2]\n" \
    "uxtb16 r10, r12\n" \
    "uxtb16 r12, r12, ror #8\n" \
    "sxtb16 r9, r8\n" \
    "sxtb16 r8, r8, ror #8\n" \
    "smlad r7, r9, r10, r7\n" \
    "smlad r7, r8, r12, r7\n" \
    "ldr r8, [r1], #4\n" \
    "sxtb16 r9, r8\n" \
    "sxtb16 r8, r8, ror #8\n" \
    "smlad r6, r9, r10, r6\n" \
    "smlad r6, r8, r12, r6\n"

/* The same with one patch. */
static __attribute__((naked, noinline)) void dot_2x1_u8(const uint8_t *x UNUSED, const int8_t *w UNUSED, int k UNUSED, int32_t *best UNUSED)
{
    __asm__ volatile(
        "push {r4-r10, lr}\n"
        "add lr, r0, r2\n"
        "ldrd r4, r5, [r3]\n"
        "movs r6, #0\n"
        "movs r7, #0\n"
        "tst r2, #4\n"
        "bne 2f\n"
        "1:\n" FOUR_2X1
        "2:\n" FOUR_2X1
        "cmp r0, lr\n"
        "bne 1b\n"
        "cmp r4, r6\n"
        "it lt\n"
        "movlt r4, r6\n"
        "cmp r5, r7\n"
        "it lt\n"
        "movlt r5, r7\n"
        "strd r4, r5, [r3]\n"
        "pop {r4-r10, pc}\n");
}
#endif

/* Filters with patches, at most two of each: best[f] becomes the largest sum of filter f and a patch, if that is larger. */
INLINE void dot_u8(const uint8_t *x, const int8_t *w, int k, int filters, int patches, int32_t *RESTRICT best)
{
#ifdef FAST_DOT
    if (filters == 2) {
        if (patches == 2)
            dot_2x2_u8(x, w, k, best);
        else
            dot_2x1_u8(x, w, k, best);
        return;
    }
#endif
    for (int f = 0; f < filters; f++)
        for (int p = 0; p < patches; p++) {
            int32_t sum = 0;
            for (int i = 0; i < k; i++)
                sum += (int32_t)w[f * k + i] * (int32_t)x[p * k + i];
            best[f] = sum > best[f] ? sum : best[f];
        }
}

/* A float becomes a byte: to the nearest, even if it is a tie, as onnxruntime does it; then the zero point is added. */
INLINE uint8_t to_byte(float value, int zero)
{
#if defined(FAST_DOT) && defined(__ARM_FP) && (__ARM_FP & 4) && !defined(__SOFTFP__)
    int32_t nearest, byte;
    __asm__("vcvtr.s32.f32 %1, %1\n vmov %0, %1" : "=r"(nearest), "+t"(value)); /* the processor's own rounding is the same */
    __asm__("qadd %0, %1, %2\n usat %0, #8, %0" : "=r"(byte) : "r"(nearest), "r"(zero));
    return (uint8_t)byte;
#else
    const float lowest = (float)(0 - zero), highest = (float)(255 - zero);
    const float clipped = value < lowest ? lowest : value > highest ? highest : value;
    const float nearest = (clipped + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: beyond it, floats have no fraction */
    return (uint8_t)((int)nearest + zero);
#endif
}
