/* Gated recurrent unit, as in PyTorch: update gate z, reset gate r, and a candidate in which r weighs the state's part.
   x: steps x k; y: steps x h, the state after each step; parts: room for 6 h floats. */
INLINE void gru_f32(const float *x, const float *input_weight, const float *input_bias, const float *state_weight, const float *state_bias,
                    const float *start, int steps, int k, int h, float *RESTRICT parts, float *RESTRICT y)
{
    float *of_input = parts, *of_state = parts + 3 * h;
    for (int t = 0; t < steps; t++) {
        const float *state = t == 0 ? start : y + (t - 1) * h;
        dense_f32(x + t * k, input_weight, input_bias, 1, k, 3 * h, 0, of_input);
        dense_f32(state, state_weight, state_bias, 1, h, 3 * h, 0, of_state);
        for (int i = 0; i < h; i++) {
            const float z = sigmoid_f32(of_input[i] + of_state[i]);
            const float r = sigmoid_f32(of_input[h + i] + of_state[h + i]);
            const float candidate = tanh_f32(of_input[2 * h + i] + r * of_state[2 * h + i]);
            y[t * h + i] = (1.0f - z) * candidate + z * state[i];
        }
    }
}
