"""Training of the generators (Sec. 2.2, A.5)."""
