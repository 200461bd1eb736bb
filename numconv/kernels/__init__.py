"""Kernels: one file an algorithm, the same file name on every device."""
