"""Kernels for NVIDIA GPUs, written with `numba.cuda`: the twins of `kernels.cpu`, a file an algorithm."""
