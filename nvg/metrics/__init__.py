"""Measures of tokenizers and generators."""
