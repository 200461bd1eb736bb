"""CPU kernels, compiled by Numba. `jit` holds the compiler's settings, `simd` the vector instructions."""
