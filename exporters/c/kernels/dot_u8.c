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
        "1:\n" FOUR_2X1
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

#if defined(__AVX2__) && !defined(PLAIN_C)
#include <immintrin.h>
#define FAST_X86 1

/* 16 bytes as 16-bit numbers; of the last 8 or 4 bytes, zeros behind them. */
INLINE __m256i unsigned_16(const uint8_t *p, int n)
{
    int32_t four;
    if (n >= 16)
        return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    if (n >= 8)
        return _mm256_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __builtin_memcpy(&four, p, 4);
    return _mm256_cvtepu8_epi16(_mm_cvtsi32_si128(four));
}

INLINE __m256i signed_16(const int8_t *p, int n)
{
    int32_t four;
    if (n >= 16)
        return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
    if (n >= 8)
        return _mm256_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __builtin_memcpy(&four, p, 4);
    return _mm256_cvtepi8_epi16(_mm_cvtsi32_si128(four));
}

INLINE int32_t sum_of_8(__m256i v)
{
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i two = _mm_add_epi32(four, _mm_unpackhi_epi64(four, four));
    return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 1)));
}

INLINE void dot_avx2(const uint8_t *x, const int8_t *w, int k, int filters, int patches, int32_t *RESTRICT best)
{
    __m256i s00 = _mm256_setzero_si256(), s01 = s00, s10 = s00, s11 = s00;
    for (int i = 0; i < k; i += k - i >= 16 ? 16 : k - i >= 8 ? 8 : 4) {
        const __m256i w0 = signed_16(w + i, k - i), w1 = filters == 2 ? signed_16(w + k + i, k - i) : w0;
        const __m256i x0 = unsigned_16(x + i, k - i), x1 = patches == 2 ? unsigned_16(x + k + i, k - i) : x0;
        s00 = _mm256_add_epi32(s00, _mm256_madd_epi16(w0, x0));
        if (patches == 2)
            s01 = _mm256_add_epi32(s01, _mm256_madd_epi16(w0, x1));
        if (filters == 2)
            s10 = _mm256_add_epi32(s10, _mm256_madd_epi16(w1, x0));
        if (filters == 2 && patches == 2)
            s11 = _mm256_add_epi32(s11, _mm256_madd_epi16(w1, x1));
    }
    best[0] = larger(best[0], patches == 2 ? larger(sum_of_8(s00), sum_of_8(s01)) : sum_of_8(s00));
    if (filters == 2)
        best[1] = larger(best[1], patches == 2 ? larger(sum_of_8(s10), sum_of_8(s11)) : sum_of_8(s10));
}
#endif

#if defined(__wasm_simd128__) && defined(__clang__) && !defined(PLAIN_C)
#include <wasm_simd128.h>
#define FAST_WASM 1

/* 8 bytes as 16-bit numbers; of the last 4 bytes, zeros behind them. */
INLINE v128_t unsigned_8(const uint8_t *p, int n)
{
    return n >= 8 ? wasm_u16x8_load8x8(p) : wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p));
}

INLINE v128_t signed_8(const int8_t *p, int n)
{
    return n >= 8 ? wasm_i16x8_load8x8(p) : wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p));
}

/* Four sums of the products. Of the last 4 bytes there is nothing to sum; and LLVM 22 (Zig 0.17) crashes at a dot of what it knows to be zero. */
INLINE v128_t products(v128_t w, v128_t x, int n)
{
    return n >= 8 ? wasm_i32x4_dot_i16x8(w, x) : wasm_i32x4_extmul_low_i16x8(w, x);
}

INLINE int32_t sum_of_4(v128_t v)
{
    const v128_t two = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(two, 0) + wasm_i32x4_extract_lane(two, 1);
}

INLINE void dot_wasm(const uint8_t *x, const int8_t *w, int k, int filters, int patches, int32_t *RESTRICT best)
{
    v128_t s00 = wasm_i32x4_const_splat(0), s01 = s00, s10 = s00, s11 = s00;
    for (int i = 0; i < k; i += 8) {
        const v128_t w0 = signed_8(w + i, k - i), w1 = filters == 2 ? signed_8(w + k + i, k - i) : w0;
        const v128_t x0 = unsigned_8(x + i, k - i), x1 = patches == 2 ? unsigned_8(x + k + i, k - i) : x0;
        s00 = wasm_i32x4_add(s00, products(w0, x0, k - i));
        if (patches == 2)
            s01 = wasm_i32x4_add(s01, products(w0, x1, k - i));
        if (filters == 2)
            s10 = wasm_i32x4_add(s10, products(w1, x0, k - i));
        if (filters == 2 && patches == 2)
            s11 = wasm_i32x4_add(s11, products(w1, x1, k - i));
    }
    best[0] = larger(best[0], patches == 2 ? larger(sum_of_4(s00), sum_of_4(s01)) : sum_of_4(s00));
    if (filters == 2)
        best[1] = larger(best[1], patches == 2 ? larger(sum_of_4(s10), sum_of_4(s11)) : sum_of_4(s10));
}
#endif

/* Filters with patches, at most two of each: best[f] becomes the largest sum of filter f and a patch, if that is larger. */
INLINE void dot_u8(const uint8_t *x, const int8_t *w, int k, int filters, int patches, int32_t *RESTRICT best)
{
#if defined(FAST_X86)
    dot_avx2(x, w, k, filters, patches, best);
#elif defined(FAST_WASM)
    dot_wasm(x, w, k, filters, patches, best);
#else
#if defined(FAST_DOT)
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
#endif
}

/* A float becomes a byte: to the nearest, even if it is a tie, as onnxruntime does it; then the zero point is added. */
INLINE uint8_t to_byte(float value, int zero)
{
#if defined(FAST_DOT) && defined(__ARM_FP) && (__ARM_FP & 4) && !defined(__SOFTFP__)
    int32_t byte;
    __asm__("vcvtr.s32.f32 %1, %1\n vmov %0, %1" : "=r"(byte), "+t"(value)); /* the processor's own rounding is the same */
    if (zero != 0)
        __asm__("qadd %0, %0, %1" : "+r"(byte) : "r"(zero));
    __asm__("usat %0, #8, %0" : "+r"(byte));
    return (uint8_t)byte;
#else
    const float lowest = (float)(0 - zero), highest = (float)(255 - zero);
    const float clipped = value < lowest ? lowest : value > highest ? highest : value;
    const float nearest = (clipped + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: beyond it, floats have no fraction */
    return (uint8_t)((int)nearest + zero);
#endif
}
