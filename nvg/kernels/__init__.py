"""Code that numba compiles: plain loops over arrays, one image or vector after the other."""
