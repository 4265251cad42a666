"""Samples per second of one shuffled epoch: our loader, the limit in RAM, and other libraries.

The others are compared where they are installed, best in a folder of their own that PYTHONPATH
names (`PYTHONPATH=PEERS:. python -m tests.bench loader`), so that the project's environment need
not hold them. Every measurement runs in a process of its own: what one library leaves running
slows no other. The temporary folder must be on a disk for the cold figures to mean anything.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nvg.geometry import canonical
from nvg.loader import Mode, SequenceLoader
from nvg.store import open_store
from tests.bench.loader_peers import (
    BATCH,
    LEAVES,
    PEERS,
    ROWS,
    TOKENS,
    Array,
    Batch,
    Reader,
    Samples,
    Way,
)
from tests.bench.measure import machine
from tests.makers import empty_store, index_table, write_rows

ROUNDS = 3
CAP, TRIAL = 6.0, 2.0  # seconds after which a slow epoch is left, and its rate extrapolated
PART = 20_000  # samples that are made at a time
CODES, CLASSES, SKEW = 4096, 1000, 2.65
CHECKED = 40  # batches of every setting that are compared with the samples
HANGS = 120  # seconds


def make_samples() -> Samples:
    """Leaves of random hierarchies, tokens of a skewed distribution (entropy 11 bits), labels."""
    rng = np.random.default_rng(0)
    leaves = np.empty((ROWS, LEAVES), np.uint8)
    for part in np.split(leaves, ROWS // PART):
        part[:] = canonical(torch.from_numpy(rng.permuted(part + _ORDER, axis=1))).numpy()
    content = CODES * rng.random((ROWS, TOKENS), np.float32) ** SKEW
    return Samples(leaves, content.astype(np.uint16), rng.integers(CLASSES, size=ROWS, dtype="i4"))
