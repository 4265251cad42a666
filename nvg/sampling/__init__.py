"""Sampling (Alg. 2): structure and content stage by stage, guided and controlled."""
