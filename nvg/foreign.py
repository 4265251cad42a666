"""Checkpoints of other projects: their tensors by name, without running what a pickle may hold.

PyTorch's own safe loader refuses a Lightning checkpoint, which names classes of its trainer beside
the weights. Here every such name becomes an object that does nothing, and a name from a module that
has no place in a checkpoint is refused.
"""

import pickle
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from nvg.weights import CheckpointError

PICKLE_LIMIT = 1 << 28  # bytes of the pickle beside the tensors; a large checkpoint's has some MB
SKIPPED = {  # top-level modules whose objects a training leaves beside its weights
    *(
        "argparse",
        "collections",
        "datetime",
        "enum",
        "main",
        "numpy",
        "nvg",
        "omegaconf",
        "pathlib",
    ),
    *("lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning"),
    *("torch", "torchmetrics", "typing"),
}
VALUES = {"set", "frozenset", "slice", "complex"}  # builtins that are plain values
REBUILT = {  # what makes a tensor of a storage
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
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
        if module in ("builtins", "__builtin__") and name in (
            "set",
            "frozenset",
            "slice",
            "complex",
        ):
            return super().find_class("builtins", name)
        if module.split(".")[0] in SKIPPED:
            return _Inert
        raise CheckpointError(f"it holds code ({module}.{name}), not only weights")


def read_tensors(file: Path) -> State:
    """Every tensor of a checkpoint's `state_dict` by name, mapped from the file, not copied.

    CheckpointError, naming the file, when it is no such checkpoint or holds code.
    """
    reader = SimpleNamespace(Unpickler=_Unpickler, load=None, __name__="nvg.foreign")
    try:
        _check_archive(file)
        found: Any = torch.load(
            file, map_location="cpu", pickle_module=reader, mmap=True, weights_only=False
        )
    except CheckpointError as error:
        raise CheckpointError(f"{file} cannot be imported: {error}") from None
    except Exception as error:  # whatever a foreign file causes
        reason = (str(error).splitlines() or [type(error).__name__])[0]
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
            raise CheckpointError(f"{file} cannot be imported: {name} is larger than the file")
    return tensors


def _check_archive(file: Path) -> None:
    """OSError or CheckpointError unless it is a zip of torch.save with a pickle of sane size."""
    with file.open("rb"):
        pass
    if not zipfile.is_zipfile(file):
        raise CheckpointError("it is not a file of torch.save, or cut short")
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise CheckpointError("its entries are compressed, which torch.save never does")
            if entry.filename.endswith(".pkl") and entry.file_size > PICKLE_LIMIT:
                raise CheckpointError(f"its pickle has {entry.file_size} bytes")


def take(state: State, names: dict[str, str], own: State, file: Path) -> State:
    """Tensors for our names from theirs; CheckpointError for one missing or of another shape.

    `own` are the tensors of the model to be filled, `names` their name of each of ours.
    """
    found = {}
    for ours, theirs in names.items():
        value, wanted = state.get(theirs), tuple(own[ours].shape)
        if value is None:
            raise CheckpointError(f"{file}: {theirs} is missing")
        if tuple(value.shape) != wanted:
            raise CheckpointError(f"{file}: {theirs} is {tuple(value.shape)}, not {wanted}")
        found[ours] = value.to(own[ours].dtype).clone()
    return found
