"""Bytes that kernels and the rest of the engine agree on: rows of the plan, tiles of weights, panels, shared memory.

Constants, dtypes and sizes only; nothing here imports Numba, so that the running program may use them.
"""
