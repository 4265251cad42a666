"""Mutations of everything that may come from others, and what the product says to each.

`python -m tests.fuzz --minutes 5` runs all kinds; `--replay KIND:SEED` runs one case again.
"""
