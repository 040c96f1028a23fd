#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__)
#error "compile this file without -ffast-math: it lets the compiler round otherwise, and the answers are proven bit for bit"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0
#error "float arithmetic has to round to float after each operation; on 32-bit x86, add -msse2 -mfpmath=sse"
#endif
#if defined(__SIZEOF_INT__) && __SIZEOF_INT__ < 4
#error "this code needs an int of 32 bits"
#endif

/* A multiplication and an addition that are contracted to one operation round once instead of twice. And no loop may become a call of memcpy,
   memmove or memset: nothing of a C library is needed. Each kernel is compiled for each layer, with the layer's sizes as constants. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#define ALONE __attribute__((no_builtin))
#define INLINE static inline __attribute__((always_inline, unused, no_builtin))
#define RESTRICT __restrict__
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "no-tree-loop-distribute-patterns")
#define ALONE
#define INLINE static inline __attribute__((always_inline, unused))
#define RESTRICT __restrict__
#else
#define ALONE
#define INLINE static inline
#define RESTRICT
#endif

/* For loops that take little of the time, but would take much of the flash. */
#if defined(__clang__) && defined(__ARM_FEATURE_DSP)
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED
#endif

INLINE int smaller(int a, int b)
{
    return a < b ? a : b;
}

INLINE int larger(int a, int b)
{
    return a > b ? a : b;
}
