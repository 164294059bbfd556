"""Layouts of bytes that kernels and the rest of the engine share: plan rows, weight tiles, AMX panels, team memory.

This package holds constants, dtypes and sizes only. It never imports Numba, because the running program imports it.
"""
