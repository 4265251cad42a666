"""Kernels compiled by numba: plain loops over arrays, one image or vector at a time."""
