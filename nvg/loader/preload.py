"""A whole split of a store in memory, once per machine where several processes train on it.

Legend: M vector of a flat list.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch.distributed as dist

from nvg.loader.token_reader import TokenReader, Tokens
from nvg.progress import progress

SHARED = Path("/dev/shm")  # files that are memory
PART = 64  # chunks that are read between two steps of the bar


def bytes_of(reader: TokenReader) -> int:
    """What all valid rows take in memory."""
    return reader.row_bytes * int(reader.counts.sum())


def free_bytes() -> int:
    """Memory of this machine that is free for the taking; 0 where nothing tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")), 0)


def preload(reader: TokenReader) -> Tokens:
    """All valid rows. Processes of one machine under torchrun or Ray Train share one copy."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if ranks > 1 and dist.is_initialized() and _has_room(reader):
        return _shared(reader, int(os.environ["LOCAL_RANK"]))
    tokens = reader.empty(int(reader.counts.sum()))
    _fill(reader, tokens)
    return tokens


def _fill(reader: TokenReader, tokens: Tokens) -> None:
    at, pieces = 0, reader.pieces
    starts = range(0, len(pieces), PART)
    with progress(starts, desc="preload", unit="part", leave=False, delay=2) as bar:
        for start in bar:
            at = reader.read_into(tokens, pieces[start : start + PART], at)


def _has_room(reader: TokenReader) -> bool:
    """Whether it fits on every machine; all processes get the same answer."""
    found: list[bool] = [False] * dist.get_world_size()
    here = SHARED.is_dir() and shutil.disk_usage(SHARED).free > bytes_of(reader)
    dist.all_gather_object(found, here)
    return all(found)


def _shared(reader: TokenReader, local_rank: int) -> Tokens:
    """The first process of a machine fills files in memory, all map them, and their names go."""
    run = f"{os.environ.get('MASTER_PORT', '')} {reader.split} {reader.store.path}"
    folder = SHARED / f"nvg-{hashlib.sha256(run.encode()).hexdigest()[:16]}"
    if local_rank == 0:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        folder.mkdir()
        _fill(reader, _mapped(reader, folder, "w+"))
    dist.barrier()
    tokens = _mapped(reader, folder, "r")
    dist.barrier()
    if local_rank == 0:
        shutil.rmtree(folder)
    return tokens


def _mapped(reader: TokenReader, folder: Path, mode: Literal["r", "w+"]) -> Tokens:
    rows = int(reader.counts.sum())
    kinds = {**reader.kinds, "row": ((), np.dtype(np.int64))}
    made: dict[str, Any] = {
        name: np.asarray(np.memmap(folder / name, kind, mode, shape=(rows, *shape)))
        for name, (shape, kind) in kinds.items()
    }
    return Tokens(**made)
