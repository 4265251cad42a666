"""Interleaved timing: every method once per round, so that a busy moment hits all of them."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import torch

PAUSE = 0.05  # seconds in which the threads of the call before stop spinning
PACKAGES = ("torch", "numpy", "numba", "faiss-cpu")


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each call over `rounds`, after one call of each to warm up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(PAUSE)
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def machine() -> str:
    """Cores, threads and versions that the figures belong to."""
    found = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads{gpu}, "
        f"Python {platform.python_version()}, {found}"
    )
