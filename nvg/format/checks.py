"""What can be wrong with a store, as pure functions over arrays, index rows, records and weights.

Legend: R row of the store, X view, N position, T token.

Each returns one line per fault. `Store.verify` reports them; `nvg.store.repair` withdraws chunks
that have any.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError, deserialize

from nvg.choices import ChildOrder, PhiCount, PhiForm
from nvg.files import parse_json
from nvg.format.base import ERROR, OK, Arrays, Split, digest
from nvg.format.index import has_status, in_split, numbers, rows_digest
from nvg.format.manifest import Manifest
from nvg.format.record import INDEX, CommitRecord

Array = np.ndarray[Any, Any]
MOST_NAMED = 20  # chunks in a line
HEADER = "nvg"  # the key of the metadata
CHOICES = {"phi": PhiForm, "phis": PhiCount}  # of the network that is made of a codebook
FLOATS = {"F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80), "F32": (np.uint32, 0x7F800000)}
"""Types of numbers: as what their bits are read, and the exponent of NaN and Inf."""


def index_faults(parts: Iterable[pa.Table], manifest: Manifest) -> list[str]:
    """What is wrong with the index of a finished store, given in parts, by what its manifest
    counts."""
    rows, is_ordered, found = 0, True, {"error": 0, "val": 0}
    for part in parts:
        stop = rows + len(part)
        is_ordered &= np.array_equal(numbers(part, "row"), np.arange(rows, stop))
        found["error"] += int(has_status(part, ERROR).sum())
        found["val"] += int(in_split(part, Split.VAL).sum())
        rows = stop
    faults = []
    if not is_ordered or rows != manifest.rows:
        faults.append(f"index has {rows} rows, not rows 0..{manifest.rows - 1} in order")
    for name, wanted in (("error", manifest.errors), ("val", manifest.val_rows)):
        if found[name] != wanted:
            faults.append(f"index has {found[name]} {name} rows, the manifest {wanted}")
    return faults


def chunk_faults(
    arrays: Arrays, record: CommitRecord, part: pa.Table, rows: slice, manifest: Manifest
) -> list[str]:
    """What is wrong with one chunk: its arrays, commit record and the index part of its `rows`."""
    faults = [
        f"{name} does not match its checksum"
        for name, values in arrays.items()
        if digest(values) != record.sha256[name]
    ]
    if not np.array_equal(numbers(part, "row"), np.arange(rows.start, rows.stop)):
        return [*faults, "rows are missing from the index"]
    if not np.array_equal(numbers(part, "label"), arrays["label"]):
        faults.append("label differs from the index")
    else:
        faults += label_faults(arrays["label"], part, manifest)
    if not (in_split(part, Split.TRAIN) | in_split(part, Split.VAL)).all():
        unknown = sorted(set(part["split"].to_pylist()) - set(Split))
        faults.append(f"index has an unknown split: {unknown}")
    is_ok = has_status(part, OK)
    if not (is_ok | has_status(part, ERROR)).all():
        unknown = sorted(set(part["status"].to_pylist()) - {OK, ERROR})
        return [*faults, f"index has an unknown status: {unknown}"]
    if (found := int(np.sum(~is_ok))) != record.errors:
        faults.append(f"index has {found} error rows, the commit record {record.errors}")
    faults += _value_faults(arrays, is_ok, manifest)
    if not faults and record.sha256.get(INDEX, own := rows_digest(part)) != own:
        faults.append("index rows do not match their checksum")
    return faults


def missing_chunks(chunks: int, committed: list[int]) -> list[str]:
    """Chunks that have no commit record, and records of no chunk, as at most two lines.

    Without a list of all chunks: how many there are is only said.
    """
    known, faults = set(committed), []
    missing = list(islice((n for n in range(chunks) if n not in known), MOST_NAMED + 1))
    if missing:
        more = " and more" if len(missing) > MOST_NAMED else ""
        faults.append(f"chunks without a commit record: {missing[:MOST_NAMED]}{more}")
    if extra := [n for n in committed if n >= chunks]:
        faults.append(f"commit records of chunks that there are not: {extra[:MOST_NAMED]}")
    return faults


def token_fault(leaves: Array, content: Array, manifest: Manifest) -> str:
    """Why leaves [R, X, N] or content [R, X, T] cannot be those of tokenized rows; "" else."""
    if not is_permutation(leaves):
        return "leaves are not a permutation of the positions"
    if content.size and content.max() >= manifest.codebook_size:
        return f"token {content.max()} is outside the codebook of {manifest.codebook_size}"
    return ""


def label_faults(labels: Array, part: pa.Table, manifest: Manifest) -> list[str]:
    """Labels [R] that are no class, or whose name in the index is another."""
    classes = manifest.classes
    wrong = labels[(labels < -1) | (labels >= len(classes))]
    if len(wrong):
        return [f"label {wrong[0]} is none of the {len(classes)} classes"]
    named = [classes[label] if label >= 0 else "" for label in labels.tolist()]
    if part["class"].to_pylist() != named:
        return ["class differs from the name of the label"]
    return []


def is_permutation(leaves: np.ndarray[Any, Any]) -> bool:
    """Whether the labels of every row and view [R, X, N] are a permutation of 0..N-1."""
    in_order = np.arange(leaves.shape[-1])
    return bool((np.sort(leaves, axis=-1) == in_order).all())


def is_canonical(leaves: np.ndarray[Any, Any], only_pairs: bool = False) -> bool:
    """Whether, of each pair of siblings, cluster 2j holds the smallest position. [R, X, N].

    With `only_pairs` of the leaves of each pair, which child order by merging promises too.

    The clusters of every stage are runs of equal length in `order`. Once the shorter runs are in
    canonical order, the smallest position of a run is its first.
    """
    order = np.argsort(leaves, axis=-1)
    firsts = order
    while firsts.shape[-1] > 1:
        if not (firsts[..., 0::2] < firsts[..., 1::2]).all():
            return False
        firsts = firsts[..., :1] if only_pairs else firsts[..., 0::2]
    return True


def weights_fault(data: bytes) -> str:
    """Why bytes cannot be weights of a store; "" where they can.

    That all tensors are there which a network needs is found when it is built.
    """
    try:
        tensors = deserialize(data)  # type: ignore[no-untyped-call]
        size = int.from_bytes(data[:8], "little")
        table = parse_json(parse_json(data[8 : 8 + size])["__metadata__"][HEADER])
    except SafetensorError:
        return "is not a safetensors file"
    except (ValueError, LookupError, TypeError):
        return "was not written by nvgctl"
    if not isinstance(table, dict) or not isinstance(table.get("config", {}), dict):
        return "does not say which network it is of"
    for name, kinds in CHOICES.items():
        if name in table.get("config", {}) and table["config"][name] not in [*kinds]:
            return f"is of a network whose {name} there is not"
    for name, tensor in tensors:
        if not _is_finite(tensor):
            return f"holds NaN or Inf, in {name}"
    return ""


def _value_faults(arrays: Arrays, is_ok: np.ndarray[Any, Any], manifest: Manifest) -> list[str]:
    faults = []
    leaves, content = arrays["leaves"][is_ok], arrays["content"][is_ok]
    if not is_permutation(leaves):
        faults.append("leaves are not a permutation of the positions")
    elif not is_canonical(leaves, only_pairs=manifest.child_order is ChildOrder.MERGING):
        faults.append("leaves are not in canonical child order")
    if content.size and content.max() >= manifest.codebook_size:
        faults.append(f"token {content.max()} is outside the codebook")
    if arrays["leaves"][~is_ok].any() or arrays["content"][~is_ok].any():
        faults.append("an error row holds tokens")
    return faults


def _is_finite(tensor: dict[str, Any]) -> bool:
    kind, exponent = FLOATS.get(tensor["dtype"], (np.uint8, 0))
    if not exponent:
        return True
    bits = np.frombuffer(tensor["data"], kind)
    return not bool(((bits & exponent) == exponent).any())
