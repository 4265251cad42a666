"""Weights as safetensors, with the config they belong to in the header: nothing is unpickled.

A checkpoint of sharded training has no `content.safetensors`. It has the rows of each process in
`content.shard-0-of-2.safetensors` and on, and one index of all such files, `shards.json`:
{"content.safetensors": {"header": {...}, "tensors": {NAME: {"shape": [6, 4], "dtype": "F32",
"rows": {"content.shard-0-of-2.safetensors": [0, 3], ...}}}}}. Rows are first and end along the
first dimension; a number without dimensions has the rows [0, 1]. Any number of processes reads
them, each the rows it needs.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor, nn

from nvg.config import ConfigError, as_table, build
from nvg.errors import InputError, first_line
from nvg.files import HEADER_LIMIT, fault_of_weights, parse_json, read_small, require_regular

Config = TypeVar("Config")
Rows = tuple[int, int]

HEADER = "nvg"  # the key of our metadata in a safetensors header
INDEX = "shards.json"


class CheckpointError(InputError):
    """Weights or training state that cannot be used; the message names the file."""


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of every weight: the identity of a tokenizer.

    A module's `choices`, lines of text, decide too what its weights mean.
    """
    state = hashlib.sha256()
    for choice in getattr(module, "choices", ()):
        state.update(f"{choice}\n".encode())
    for name, tensor in sorted(module.state_dict().items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        state.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def header_for(config: Any, **metadata: str) -> dict[str, Any]:
    """What stands in the header beside weights: their config, and further facts."""
    return {"config": as_table(config), **metadata}


def weights_bytes(state: dict[str, Tensor], config: Any, **metadata: str) -> bytes:
    """Weights as one safetensors blob; their config and further metadata go into the header."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items()}
    header = json.dumps(header_for(config, **metadata), sort_keys=True)
    return save(tensors, metadata={HEADER: header})  # several keys would be written in any order


def read_header(source: Path | bytes) -> dict[str, Any]:
    """Metadata in the header of a safetensors file or blob; CheckpointError where it has none."""
    if isinstance(source, Path) and (of_shards := header_of(source)) is not None:
        return of_shards
    try:
        if isinstance(source, Path):
            require_regular(source)
            with source.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = file.read(min(size, HEADER_LIMIT))
        else:
            size = int.from_bytes(source[:8], "little")
            header = source[8 : 8 + min(size, HEADER_LIMIT)]
        metadata = parse_json(parse_json(header)["__metadata__"][HEADER])
        return metadata if isinstance(metadata, dict) else {}
    except KeyError:
        raise CheckpointError(f"{_name(source)} was not written by nvgctl") from None
    except OSError as error:
        raise CheckpointError(f"cannot read {_name(source)}: {error.strerror}") from None
    except (ValueError, AttributeError, TypeError):
        fault = fault_of_weights(source) if isinstance(source, Path) else None
        raise CheckpointError(f"{_name(source)} is {fault or 'not a safetensors file'}") from None


def read_config(kind: type[Config], source: Path | bytes) -> Config:
    """The config stored beside the weights."""
    try:
        return build(kind, read_header(source).get("config", {}))
    except ConfigError as error:
        raise CheckpointError(f"{_name(source)} holds weights of another kind: {error}") from None


def why_damaged(file: Path | None, error: Exception) -> str:
    """Why a safetensors file, or a blob, of ours cannot be read, in one line of our words."""
    if isinstance(error, SafetensorError):
        return (fault_of_weights(file) if file else None) or "not a sound safetensors file"
    if isinstance(error, LookupError):
        return f"without {error.args[0] if error.args else 'a part'}"
    return getattr(error, "strerror", None) or first_line(error)


def misfit(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """The first name or shape in which given tensors are not those of a network; "" if none."""
    for name, value in own.items():
        if name not in given:
            return f"{name} is missing"
        if given[name].shape != value.shape:
            return f"{name} is {tuple(given[name].shape)}, not {tuple(value.shape)}"
    return next((f"it knows no {name}" for name in given if name not in own), "")


def read_tensors(
    source: Path | bytes, wanted: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whole or in shards, or of a blob.

    Of those sharded in `wanted` this process's rows. CheckpointError where it is none.
    """
    try:
        if isinstance(source, bytes):
            return load_tensors(source)
        with opened(source) as stored:
            return stored.read_like(wanted or {})
    except (OSError, SafetensorError, RuntimeError, ValueError, LookupError, TypeError) as error:
        reason = why_damaged(source if isinstance(source, Path) else None, error)
        if isinstance(error, SafetensorError):
            raise CheckpointError(f"{_name(source)} is {reason}") from None
        raise CheckpointError(f"{_name(source)} does not fit the model: {reason}") from error


def require_finite(weights: Mapping[str, Tensor], name: object) -> None:
    """CheckpointError naming the first tensor with NaN or Inf: it would make grey pictures."""
    for tensor, values in weights.items():
        if values.is_floating_point() and not bool(values.isfinite().all()):
            raise CheckpointError(
                f"{name} holds NaN or Inf, in {tensor}: use weights from before, or train again"
            )


def load_weights(
    module: nn.Module, source: Path | bytes | dict[str, Tensor], name: str = ""
) -> None:
    """Fill a module from a safetensors file, whole or in shards; of a sharded module its own rows.

    Tensors in memory may take its place, with a `name` for the error. CheckpointError where names
    or shapes differ.
    """
    tensors = source if isinstance(source, dict) else read_tensors(source, module.state_dict())
    name = name or _name(source)
    require_finite(tensors, name)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = misfit(module.state_dict(), tensors) or first_line(error)
        raise CheckpointError(f"{name} does not fit the model: {reason}") from error


def _name(source: object) -> str:
    return str(source) if isinstance(source, Path) else "the weights"


def is_stored(path: Path) -> bool:
    """Whether there is such a safetensors file, whole or in shards."""
    return path.exists() or path.name in _index(path.parent)


def header_of(path: Path) -> dict[str, Any] | None:
    """What the index says beside the tensors of a file in shards; None of a whole file."""
    return None if path.exists() else _index(path.parent).get(path.name, {}).get("header")


def is_sharded(tensor: Tensor) -> bool:
    """Whether this process holds rows of a tensor only."""
    if not dist.is_initialized():  # the import takes long
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def local_rows(tensor: Any) -> tuple[Tensor, Rows]:
    """This process's rows of a tensor that FSDP2 sharded, in its own memory, and which they are."""
    local: Tensor = tensor.to_local()
    mesh, (*copied, split) = tensor.device_mesh, tensor.placements  # between nodes, within a node
    assert [split.is_shard(0), *(each.is_replicate() for each in copied)].count(False) == 0
    count, last = tensor.shape[0], mesh.ndim - 1
    chunk = -(-count // mesh.size(last))  # as torch.chunk: the last may be shorter, or empty
    first = min(mesh.get_local_rank(last) * chunk, count)
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
            require_regular(file)
            return stack.enter_context(safe_open(file, framework="pt"))

        tables = {} if path.exists() else _index(path.parent)
        if path.name not in tables:
            whole = reader(path)
            shapes = {n: tuple(whole.get_slice(n).get_shape()) for n in list(whole.keys())}
            rows = {name: (0, shape[0] if shape else 1) for name, shape in shapes.items()}
            yield StoredTensors(shapes, {name: [(whole, rows[name])] for name in shapes})
            return
        tensors = tables[path.name]["tensors"]
        files = sorted({file for entry in tensors.values() for file in entry["rows"]})
        readers = {file: reader(path.parent / Path(file).name) for file in files}
        pieces = {
            name: [
                (readers[file], (first, end))
                for file, (first, end) in sorted(entry["rows"].items(), key=lambda item: item[1])
            ]
            for name, entry in tensors.items()
        }
        yield StoredTensors({name: tuple(t["shape"]) for name, t in tensors.items()}, pieces)


def _index(directory: Path) -> dict[str, Any]:
    """The index of a checkpoint, empty where no file is in shards; CheckpointError if damaged."""
    if not (path := directory / INDEX).exists():
        return {}
    try:
        found = parse_json(read_small(path))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(t, dict) for t in found.values()):
        raise CheckpointError(f"{path} is damaged: remove {directory} and resume")
    return found
