"""Kernels: all code that Numba compiles, and nothing else. The program never imports this package; the compilers do."""
