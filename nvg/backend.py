"""Backends of the hot parts: structure construction and nearest-code search."""

from enum import StrEnum

from torch import Tensor


class Backend(StrEnum):
    """All backends give bit-identical results."""

    AUTO = "auto"
    NUMBA = "numba"
    TORCH = "torch"
    FAISS = "faiss"


def choose_backend(name: str, values: Tensor) -> Backend:
    """The backend called `name`; `auto` is numba on a CPU, torch elsewhere. ValueError if unknown.

    docs/PERFORMANCE.md has the figures behind the choice.
    """
    if name not in list(Backend):
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(Backend)}")
    if name != Backend.AUTO:
        return Backend(name)
    return Backend.NUMBA if values.device.type == "cpu" else Backend.TORCH
