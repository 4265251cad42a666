"""Re-read a whole store and say what is wrong with it."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from nvg.geometry import canonical
from nvg.store.format import ERROR, OK, ORDER, digest
from nvg.store.store import Store


def verify(store: Store, progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[str]:
    """Checksums, ranges, the permutation property, and whether index and manifest agree.

    One line per fault; an unfinished store is a fault, its committed chunks are still checked.
    """
    faults = []
    committed = store.committed()
    if not store.finished:
        faults.append(f"unfinished: {len(committed)} of {store.chunks} chunks are committed")
    missing = sorted(set(range(store.chunks)) - set(committed))
    if store.finished and missing:
        faults.append(f"chunks without a commit record: {missing}")
    faults += _file_faults(store)
    try:
        status = _statuses(store, faults)
    except Exception as error:  # any damage to the index is a fault to report, not a crash
        return [*faults, f"index cannot be read: {_one_line(error)}"]
    for chunk in progress(committed):
        try:
            faults += chunk_faults(store, chunk, status)
        except Exception as error:  # likewise for damaged chunk files
            faults.append(f"chunk {chunk}: cannot be read: {_one_line(error)}")
    return faults


def _file_faults(store: Store) -> list[str]:
    """Weights, or the order of rows, that are missing or not the ones the store was made with."""
    faults = []
    wanted_files = dict(store.manifest["weights"])
    if "order" in store.manifest:
        wanted_files[ORDER] = store.manifest["order"]
    for name, wanted in sorted(wanted_files.items()):
        try:
            found = hashlib.sha256(store.read(name)).hexdigest()
        except OSError:
            faults.append(f"{name} is missing")
            continue
        if found != wanted:
            faults.append(f"{name} does not match its checksum")
    return faults


def _statuses(store: Store, faults: list[str]) -> dict[int, tuple[str, int]]:
    """(status, label) by row, after checking the index as a whole."""
    index = store.index
    rows = index["row"].to_pylist()
    status = index["status"].to_pylist()
    if store.finished and rows != list(range(len(store))):
        faults.append(f"index has {len(rows)} rows, not rows 0..{len(store) - 1} in order")
    errors = sum(value == ERROR for value in status)
    if store.finished and errors != store.manifest["errors"]:
        faults.append(f"index has {errors} error rows, the manifest {store.manifest['errors']}")
    if not set(status) <= {OK, ERROR}:
        faults.append(f"index has an unknown status: {sorted(set(status) - {OK, ERROR})}")
    return dict(zip(rows, zip(status, index["label"].to_pylist(), strict=True), strict=True))


def chunk_faults(store: Store, chunk: int, status: dict[int, tuple[str, int]]) -> list[str]:
    """What is wrong with one committed chunk, given (status, label) of its rows in the index."""
    rows = store.chunk_slice(chunk)
    record = store.commit_record(chunk)
    arrays = {name: store.group[name][rows] for name in store.arrays}
    faults = [
        f"chunk {chunk}: {name} does not match its checksum"
        for name in store.arrays
        if digest(arrays[name]) != record["sha256"][name]
    ]
    entries = [status.get(row) for row in range(rows.start, rows.stop)]
    if None in entries:
        return [*faults, f"chunk {chunk}: rows are missing from the index"]
    good = np.array([entry is not None and entry[0] == OK for entry in entries])
    label = np.array([entry[1] for entry in entries if entry is not None])
    if not np.array_equal(label, arrays["label"]):
        faults.append(f"chunk {chunk}: label differs from the index")
    return faults + _value_faults(store, chunk, arrays, good)


def _value_faults(
    store: Store, chunk: int, arrays: dict[str, Any], good: np.ndarray[Any, Any]
) -> list[str]:
    faults = []
    leaves, content = arrays["leaves"][good], arrays["content"][good]
    if not np.array_equal(
        np.sort(leaves, axis=-1), np.broadcast_to(np.arange(leaves.shape[-1]), leaves.shape)
    ):
        faults.append(f"chunk {chunk}: leaves are not a permutation of the positions")
    elif not torch.equal(canonical(_int64(leaves)), _int64(leaves)):
        faults.append(f"chunk {chunk}: leaves are not in canonical child order")
    if content.size and content.max() >= store.manifest["codebook_size"]:
        faults.append(f"chunk {chunk}: token {content.max()} is outside the codebook")
    if arrays["leaves"][~good].any() or arrays["content"][~good].any():
        faults.append(f"chunk {chunk}: an error row holds tokens")
    return faults


def _int64(leaves: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(leaves.astype(np.int64))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
