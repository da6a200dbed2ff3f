// Activation functions, as `kernels_backend::Activation` defines them; numbered as `linear::activation_code` does.
#pragma once
#include "types.h"

enum Activation : int {
  IDENTITY, GELU, GELU_10, GELU_TANH, QUICK_GELU, RELU, RELU_2, RELU_6, LEAKY_RELU, SELU, SILU, MISH, SIGMOID, TANH,
  HARD_SWISH, LAPLACE
};

/// Lets NaN through, which fminf and fmaxf do not.
__device__ __forceinline__ float clip(float x, float low, float high) { return x < low ? low : x > high ? high : x; }

/// x·Φ(x), by the error function.
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.f + erff(x * 0.70710678f)); }

__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

/// ln(1 + e^x), without overflow.
__device__ __forceinline__ float softplus(float x) { return x > 30.f ? x : log1pf(expf(x)); }

/// The functions that no VideoMAE uses: one copy of their long code, which is called.
__device__ __noinline__ inline float activate_rarely(Activation activation, float x) {
  switch (activation) {
    case GELU_10: return clip(gelu(x), -10.f, 10.f);
    case GELU_TANH: return 0.5f * x * (1.f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case QUICK_GELU: return x * sigmoid(1.702f * x);
    case RELU: return clip(x, 0.f, infinity());
    case RELU_2: return clip(x, 0.f, infinity()) * clip(x, 0.f, infinity());
    case RELU_6: return clip(x, 0.f, 6.f);
    case LEAKY_RELU: return x * (x < 0.f ? 0.01f : 1.f);
    case SELU: return 1.05070099f * (x > 0.f ? x : 1.67326324f * expm1f(x));
    case SILU: return x * sigmoid(x);
    case MISH: return x * tanhf(softplus(x));
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case HARD_SWISH: return x * clip(x + 3.f, 0.f, 6.f) / 6.f;
    case LAPLACE: return 0.5f * (1.f + erff((x - 0.707107f) / (0.282095f * 1.41421356f)));
    default: return not_a_number();
  }
}

__device__ __forceinline__ float activate(Activation activation, float x) {
  switch (activation) {
    case IDENTITY: return x;
    case GELU: return gelu(x);
    default: return activate_rarely(activation, x);
  }
}
