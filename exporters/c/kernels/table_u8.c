/* Each byte becomes another. */
INLINE void table_u8(const uint8_t *x, const uint8_t *table, int n, uint8_t *RESTRICT y)
{
    ROLLED
    for (int i = 0; i < n; i++)
        y[i] = table[x[i]];
}
