"""Weights as safetensors, with the config they belong to in the header: nothing is unpickled."""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor, nn

from nvg.config import ConfigError, as_table, build
from nvg.errors import InputError
from nvg.shards import header_of, opened

Config = TypeVar("Config")

HEADER = "nvg"  # the key of our metadata in a safetensors header
HEADER_LIMIT = 100_000_000  # bytes; the format's own limit


class CheckpointError(InputError):
    """Weights or training state that cannot be used; the message names the file."""


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of every weight: the identity of a tokenizer.

    A module's `choices`, lines of text, are what else decides what its weights mean.
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
    try:
        if isinstance(source, Path):
            if (of_shards := header_of(source)) is not None:
                return of_shards
            with source.open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                header = file.read(min(size, HEADER_LIMIT))
        else:
            size = int.from_bytes(source[:8], "little")
            header = source[8 : 8 + min(size, HEADER_LIMIT)]
        metadata: dict[str, Any] = json.loads(json.loads(header)["__metadata__"][HEADER])
        return metadata
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
        return build(kind, read_header(source)["config"])
    except ConfigError as error:
        raise CheckpointError(f"{_name(source)} holds weights of another kind: {error}") from None


def fault_of_weights(file: Path) -> str | None:
    """What a file is that was taken for weights and was never downloaded, with the remedy."""
    try:
        with file.open("rb") as opened:
            start = opened.read(256).lstrip()
    except OSError:
        return None
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the weights: run `git lfs pull` where it comes from"
    if start[:1] == b"<":
        return "a web page, not the weights: download the file itself"
    return None if start else "an empty file: download it again"


def why_unreadable(file: Path, error: Exception) -> str:
    """Why a foreign file of weights cannot be read, in one line."""
    if fault := fault_of_weights(file):
        return f"it is {fault}"
    is_opcode = isinstance(error, KeyError) and isinstance(error.args[0], int)
    if isinstance(error, pickle.UnpicklingError) or is_opcode:
        return "it is no PyTorch file that holds weights alone"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def read_tensors(
    source: Path | bytes, wanted: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """The tensors of a safetensors file, whole or in shards, or of a blob.

    Of those that are sharded in `wanted` this process's rows. CheckpointError where it is none.
    """
    try:
        if isinstance(source, bytes):
            return load_tensors(source)
        with opened(source) as stored:
            return stored.read_like(wanted or {})
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(source, Path) and (fault := fault_of_weights(source)):
            raise CheckpointError(f"{source} is {fault}") from None
        raise CheckpointError(f"{_name(source)} does not fit the model: {_line(error)}") from error


def load_weights(
    module: nn.Module, source: Path | bytes | dict[str, Tensor], name: str = ""
) -> None:
    """Fill a module from a safetensors file, whole or in shards; of a sharded module its own rows.

    Tensors in memory may take its place, with a `name` for the error. CheckpointError where names
    or shapes differ.
    """
    tensors = source if isinstance(source, dict) else read_tensors(source, module.state_dict())
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        where = name if isinstance(source, dict) else _name(source)
        raise CheckpointError(f"{where} does not fit the model: {_line(error)}") from error


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _name(source: Path | bytes) -> str:
    return str(source) if isinstance(source, Path) else "the weights"
