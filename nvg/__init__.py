"""Next Visual Granularity generation (arXiv 2508.12811): the library."""

__version__ = "0.1.0"
