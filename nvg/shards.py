"""Tensors on disk by name: of one safetensors file, or of one whose rows lie in several.

A checkpoint of sharded training has no `content.safetensors`. It has the rows of each process in
`content.shard-0-of-2.safetensors` and on, and one index of all such files, `shards.json`:
{"content.safetensors": {"header": {...}, "tensors": {NAME: {"shape": [6, 4], "dtype": "F32",
"rows": {"content.shard-0-of-2.safetensors": [0, 3], ...}}}}}. Rows are first and end along the
first dimension; a number without dimensions has the rows [0, 1]. Any number of processes reads
them, each the rows it needs.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor

INDEX = "shards.json"

Rows = tuple[int, int]


def is_stored(path: Path) -> bool:
    """Whether there is such a safetensors file, whole or in shards."""
    return path.exists() or path.name in _index(path.parent)


def header_of(path: Path) -> dict[str, Any] | None:
    """What the index says beside the tensors of a file in shards; None of a whole file."""
    if path.exists():
        return None
    found: dict[str, Any] | None = _index(path.parent).get(path.name, {}).get("header")
    return found


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds rows of a tensor only."""
    if not dist.is_initialized():  # the import takes long
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local_rows(tensor: Any) -> tuple[Tensor, Rows]:
    """This process's rows of a tensor that FSDP2 sharded, in its own memory, and which they are."""
    local: Tensor = tensor.to_local()
    mesh, (placement,) = tensor.device_mesh, tensor.placements
    assert placement.is_shard(0), placement
    count = tensor.shape[0]
    chunk = -(-count // mesh.size())  # as torch.chunk: the last ones may be shorter, or empty
    first = min(mesh.get_local_rank() * chunk, count)
    assert len(local) == min(chunk, count - first)
    return local, (first, first + len(local))


@dataclass(frozen=True)
class StoredTensors:
    """The tensors of a file that is open: for each its pieces, (reader, rows) in order."""

    shapes: dict[str, tuple[int, ...]]
    pieces: dict[str, list[tuple[Any, Rows]]]

    def read(self, name: str, rows: Rows | None = None) -> Tensor:
        """A tensor, or rows of it, on the CPU."""
        shape, pieces = self.shapes[name], self.pieces[name]
        if not shape:
            return pieces[0][0].get_tensor(name).clone()
        first, end = rows or (0, shape[0])
        found = []
        for reader, (start, stop) in pieces:
            low, high = max(first, start), min(end, stop)
            if low < high:
                found.append(reader.get_slice(name)[low - start : high - start])
        if not found:
            found.append(pieces[0][0].get_tensor(name)[:0])
        if sum(map(len, found)) != end - first:
            raise ValueError(f"rows {first} to {end} of {name} are not all there")
        return torch.cat(found)  # in memory of its own, where slices may be of the file

    def read_like(self, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors; of those that are sharded in `wanted` this process's rows, on its device.

        RuntimeError where one of these has another shape.
        """
        return {
            name: self._rows_like(name, wanted[name])
            if name in wanted and is_sharded(wanted[name])
            else self.read(name)
            for name in self.shapes
        }

    def _rows_like(self, name: str, sharded: Any) -> Tensor:
        """A tensor sharded as another one is."""
        from torch.distributed.tensor import DTensor

        if self.shapes[name] != tuple(sharded.shape):
            raise RuntimeError(f"{name} is {self.shapes[name]}, not {tuple(sharded.shape)}")
        local = self.read(name, local_rows(sharded)[1]).to(sharded.device)
        mesh, placements = sharded.device_mesh, sharded.placements
        shape, stride = sharded.shape, sharded.stride()
        return DTensor.from_local(
            local, mesh, placements, run_check=False, shape=shape, stride=stride
        )


@contextmanager
def opened(path: Path) -> Iterator[StoredTensors]:
    """The tensors of a file, whole or in shards.

    OSError, SafetensorError, ValueError or KeyError where it is missing or damaged.
    """
    with ExitStack() as stack:

        def reader(file: Path) -> Any:
            return stack.enter_context(safe_open(file, framework="pt"))

        tables = {} if path.exists() else _index(path.parent)
        if path.name not in tables:
            whole = reader(path)
            names = list(whole.keys())
            shapes = {name: tuple(whole.get_slice(name).get_shape()) for name in names}
            rows = {name: (0, shape[0] if shape else 1) for name, shape in shapes.items()}
            yield StoredTensors(shapes, {name: [(whole, rows[name])] for name in shapes})
            return
        tensors = tables[path.name]["tensors"]
        files = sorted({file for entry in tensors.values() for file in entry["rows"]})
        readers = {file: reader(path.parent / file) for file in files}
        yield StoredTensors(
            {name: tuple(entry["shape"]) for name, entry in tensors.items()},
            {
                name: [
                    (readers[file], (first, end))
                    for file, (first, end) in sorted(
                        entry["rows"].items(), key=lambda item: item[1]
                    )
                ]
                for name, entry in tensors.items()
            },
        )


def _index(directory: Path) -> dict[str, Any]:
    """The index of a checkpoint, empty where no file is in shards."""
    path = directory / INDEX
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found
