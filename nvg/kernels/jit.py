"""Compilation of kernels, and the threads that run them.

Each kernel call releases the GIL and takes a slice of a batch. Plain threads run the slices: two
Python threads cannot enter numba's own parallel layers at once, and those do not survive a fork.
"""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import torch

Array = np.ndarray[Any, Any]  # what kernels take, besides numbers
Function = TypeVar("Function", bound=Callable[..., Any])

PIECES = 8  # slices per thread, so that fast threads take over the work of slow ones


def kernel(*fastmath: str) -> Callable[[Function], Function]:
    """Compile a function on its first call, and cache the machine code on disk if possible.

    `fastmath` names LLVM's flags that the function may use; without any, floats are strict.
    """

    def compile_(function: Function) -> Function:
        config: Any = numba.config
        folder = _cache_folder()
        previous, config.CACHE_DIR = config.CACHE_DIR, folder or config.CACHE_DIR
        try:
            return numba.njit(
                function,
                nogil=True,
                error_model="numpy",
                fastmath=set(fastmath),
                cache=folder is not None,
            )
        finally:
            config.CACHE_DIR = previous

    return compile_


@cache
def _cache_folder() -> str | None:
    """A cache folder, new whenever any kernel changes; None if it cannot be written.

    numba itself checks only the file of a kernel, not those of the kernels it calls.
    """
    here = Path(__file__).parent
    sources = b"".join(file.read_bytes() for file in sorted(here.glob("*.py")))
    version = hashlib.sha256(sources).hexdigest()[:16]
    root = Path(os.environ.get("NUMBA_CACHE_DIR") or here / "__pycache__")
    folder = root / f"nvg-{version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None


def over_slices(run: Callable[[slice], Any], count: int) -> None:
    """Call `run` for slices that cover 0..count, on as many threads as torch computes with."""
    threads = min(torch.get_num_threads(), count)
    if threads <= 1:
        run(slice(0, count))
        return
    pieces = min(count, threads * PIECES)
    cuts = [count * piece // pieces for piece in range(pieces + 1)]
    list(_pool(os.getpid(), threads).map(run, (slice(*ends) for ends in pairwise(cuts))))


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """The thread pool of this process; a forked child makes its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="nvg")
