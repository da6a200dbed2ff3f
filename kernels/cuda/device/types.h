// Element types in memory. Arithmetic is f32: a number is widened when it is loaded and rounded once when it is stored.
#pragma once
#include "ptx.h"

struct bf16 {
  u16 bits;
};
struct f16 {
  u16 bits;
};

/// The element type of a tensor; numbered as `storage::type_code` does.
enum Type : int { F32 = 0, BF16 = 1, F16 = 2 };

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return f32_from_bf16(x.bits); }
__device__ __forceinline__ float widen(f16 x) { return f32_from_f16(x.bits); }

template <class T>
__device__ __forceinline__ T narrow(float x);
template <>
__device__ __forceinline__ float narrow<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 narrow<bf16>(float x) {
  return {bf16_from_f32(x)};
}
template <>
__device__ __forceinline__ f16 narrow<f16>(float x) {
  return {f16_from_f32(x)};
}

/// Four elements that one instruction moves.
template <class T>
struct __align__(4 * sizeof(T)) Four {
  T element[4];
};

template <class T>
__device__ __forceinline__ void load_four(const T* from, float (&x)[4]) {
  Four<T> four = *(const Four<T>*)from;
#pragma unroll
  for (int i = 0; i < 4; ++i) x[i] = widen(four.element[i]);
}

template <class T>
__device__ __forceinline__ void store_four(T* to, const float (&x)[4]) {
  Four<T> four;
#pragma unroll
  for (int i = 0; i < 4; ++i) four.element[i] = narrow<T>(x[i]);
  *(Four<T>*)to = four;
}

/// Eight elements: one instruction moves those of 16 bits, two those of 32.
template <class T>
struct __align__(16) Eight {
  T element[8];
};

template <class T>
__device__ __forceinline__ void load_eight(const T* from, float (&x)[8]) {
  Eight<T> eight = *(const Eight<T>*)from;
#pragma unroll
  for (int i = 0; i < 8; ++i) x[i] = widen(eight.element[i]);
}

template <class T>
__device__ __forceinline__ void store_eight(T* to, const float (&x)[8]) {
  Eight<T> eight;
#pragma unroll
  for (int i = 0; i < 8; ++i) eight.element[i] = narrow<T>(x[i]);
  *(Eight<T>*)to = eight;
}

/// Calls `body(T{})` for the type a tensor has. All threads of a launch take the same branch, so it costs a few
/// instructions in all; beside memory traffic that is nothing, and one kernel serves every mixture of types.
template <class Body>
__device__ __forceinline__ void with_type(Type type, Body body) {
  switch (type) {
    case F32: return body(float{});
    case BF16: return body(bf16{});
    case F16: return body(f16{});
  }
}

/// Rounds to the precision of a type and back.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return widen(narrow<T>(x));
}

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000); }
__device__ __forceinline__ float not_a_number() { return __uint_as_float(0x7fffffff); }
