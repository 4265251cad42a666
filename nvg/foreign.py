"""Checkpoints of other projects: their tensors by name, without running what a pickle may hold.

PyTorch's own safe loader refuses a Lightning checkpoint, which names classes of its trainer beside
the weights. Here every such name becomes an object that does nothing; a file that names what acts
on the system is refused all the same.
"""

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nvg.errors import first_line
from nvg.files import fault_of_weights
from nvg.weights import CheckpointError

PICKLE_LIMIT = 1 << 28  # bytes of the pickle beside the tensors; a large checkpoint's has some MB
MOST_SHOWN = 80  # characters of a foreign name in a message
REBUILT = {  # what makes a tensor of a storage
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
}
ACTING = {  # modules that have no place in a checkpoint
    *("os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "importlib", "runpy", "pty"),
    *("ctypes", "multiprocessing", "pickle", "marshal", "webbrowser", "code", "http", "urllib"),
}
ACTING_BUILTINS = {
    *("eval", "exec", "compile", "open", "input", "breakpoint", "globals", "locals", "vars"),
    *("getattr", "setattr", "delattr", "__import__"),
}

State = dict[str, Tensor]


class _Inert:
    """Stands for any object that is no tensor: takes everything, does nothing."""

    def __new__(cls, *args: Any, **options: Any) -> "_Inert":
        return object.__new__(cls)

    def __init__(self, *args: Any, **options: Any) -> None:
        """Whatever it is called with."""

    def __setstate__(self, state: Any) -> None:
        """Nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Nothing."""

    def append(self, value: Any) -> None:
        """Nothing."""

    def extend(self, values: Any) -> None:
        """Nothing."""


class _Unpickler(pickle.Unpickler):
    """Knows tensors and plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in REBUILT:
            return super().find_class(module, name)
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        is_builtin = module in ("builtins", "__builtin__")
        if module.split(".")[0] in ACTING or (is_builtin and name in ACTING_BUILTINS):
            raise CheckpointError(f"it holds code ({quoted(f'{module}.{name}')}), not only weights")
        return _Inert


def why_unreadable(file: Path, error: Exception) -> str:
    """Why a foreign file of weights cannot be read, in one line of our words."""
    if fault := fault_of_weights(file):
        return f"it is {fault}"
    if isinstance(error, OSError):
        return error.strerror or first_line(error)
    return "it is no file of weights alone, as PyTorch or safetensors write them, or is damaged"


def read_plain(file: Path, wanted: str) -> dict[str, Any]:
    """What a file of weights alone holds by name, on the CPU; no code in it is run.

    CheckpointError saying that it does not hold what is `wanted`.
    """
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a foreign file causes
        reason = why_unreadable(file, error)
        raise CheckpointError(f"{file} does not hold {wanted}: {reason}") from error
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise CheckpointError(f"{file} does not hold {wanted}: it holds a {kind}, no named tensors")
    return found


def read_tensors(file: Path) -> State:
    """Every tensor of a checkpoint's `state_dict` by name, mapped from the file, not copied.

    CheckpointError, naming the file, when it is no such checkpoint or holds code.
    """
    if fault := fault_of_weights(file):
        raise CheckpointError(f"{file} is {fault}")
    reader = SimpleNamespace(Unpickler=_Unpickler, load=None, __name__="nvg.foreign")
    try:
        _check_archive(file)
        found: Any = torch.load(
            file, map_location="cpu", pickle_module=reader, mmap=True, weights_only=False
        )
    except CheckpointError as error:
        raise CheckpointError(f"{file} cannot be imported: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a foreign file causes
        reason = quoted(why_unreadable(file, error))
        raise CheckpointError(f"{file} cannot be read as weights: {reason}") from error
    state = found.get("state_dict", found) if isinstance(found, dict) else None
    tensors = {
        name: value
        for name, value in (state.items() if isinstance(state, dict) else ())
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise CheckpointError(f"{file} cannot be imported: it has no state_dict with tensors")
    size = file.stat().st_size
    for name, value in tensors.items():
        if value.numel() * value.element_size() > size:
            raise CheckpointError(f"{file}: {quoted(name)} is larger than the file")
    return tensors


def quoted(name: str) -> str:
    """A foreign name for a message: on one line, without control characters, not too long."""
    shown = name.encode("unicode_escape", "backslashreplace").decode()
    return shown if len(shown) <= MOST_SHOWN else f"{shown[:MOST_SHOWN]}..."


def _check_archive(file: Path) -> None:
    """OSError or CheckpointError unless it is a zip of torch.save with a pickle of sane size.

    TorchScript, which is run when it is loaded, is refused.
    """
    with file.open("rb") as opened:
        is_safetensors = opened.read(9)[8:] == b"{"
    if is_safetensors:
        raise CheckpointError("it is a safetensors file: name the checkpoint that was published")
    if not zipfile.is_zipfile(file):
        raise CheckpointError(
            "it is no zip archive, as torch.save writes, or it is cut short; a file of before "
            "PyTorch 1.6 must be saved anew"
        )
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError("its entries are compressed, which torch.save never does")
            if entry.filename.endswith("constants.pkl") or "/code/" in entry.filename:
                raise CheckpointError("it holds code (TorchScript), not only weights")
            if entry.filename.endswith(".pkl") and entry.file_size > PICKLE_LIMIT:
                raise CheckpointError(f"its pickle has {entry.file_size} bytes")


def weight(state: State, name: str, dims: int, file: Path) -> Tensor:
    """One tensor; CheckpointError naming it where it is missing or no plain weight of that rank."""
    value = state.get(name)
    if value is None:
        raise CheckpointError(f"{file}: {quoted(name)} is missing")
    is_plain = value.layout is torch.strided and not value.is_quantized and not value.is_meta
    if not (is_plain and value.is_floating_point()):
        raise CheckpointError(f"{file}: {quoted(name)} is no plain tensor of floating point")
    if value.ndim != dims or not value.numel():
        raise CheckpointError(f"{file}: {quoted(name)} is {tuple(value.shape)}, not of rank {dims}")
    if not bool(torch.isfinite(value).all()):
        raise CheckpointError(f"{file}: {quoted(name)} holds NaN or Inf")
    return value


def take(state: State, names: dict[str, str], own: State, file: Path) -> State:
    """Tensors for our names from theirs; CheckpointError for one missing or of another shape.

    `own` are the tensors of the model to be filled, `names` their name of each of ours.
    """
    found = {}
    for ours, theirs in names.items():
        wanted = tuple(own[ours].shape)
        value = weight(state, theirs, len(wanted), file)
        if tuple(value.shape) != wanted:
            raise CheckpointError(f"{file}: {quoted(theirs)} is {tuple(value.shape)}, not {wanted}")
        found[ours] = value.to(own[ours].dtype).clone()
    return found
