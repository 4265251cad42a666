"""Weights and training state as safetensors + JSON: nothing that needs unpickling."""

import contextlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import Tensor

from nvg.distributed import full_state, reshard_like
from nvg.errors import WorkError
from nvg.files import write_atomic
from nvg.weights import CheckpointError

LOSS = "loss"  # the score of checkpoints that have no held-out losses

# Names that version 0.1 gave to files of a checkpoint.
OLDER_NAMES = {
    "model-ema.safetensors": "average.safetensors",
    "dead_codes.safetensors": "idle.safetensors",
    "discriminator.safetensors": "adversary.safetensors",
    "discriminator-optimizer.safetensors": "adversary-optimizer.safetensors",
}


class Checkpoints:
    """Training checkpoints `step-NNNNNNNN/` in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, ascending."""
        names = (path.name.removeprefix("step-") for path in self.directory.glob("step-*"))
        return sorted(int(name) for name in names if name.isdecimal())  # not a copy, step-6.bak

    def best(self) -> dict[str, int]:
        """The steps of the lowest score of each name, among the checkpoints kept.

        The training loss counts only where no held-out loss was measured.
        """
        known: dict[str, dict[int, float]] = {}
        for step in self.steps():
            with contextlib.suppress(CheckpointError):  # a damaged one is not the best
                for name, score in self._scores(step).items():
                    known.setdefault(name, {})[step] = score
        if len(known) > 1:
            known.pop(LOSS, None)  # of checkpoints between two measurements of held-out losses
        return {
            name: min(by_step, key=lambda step: (by_step[step], -step))
            for name, by_step in known.items()
        }

    def _scores(self, step: int) -> dict[str, float]:
        """Scores of one checkpoint; older versions wrote the training loss only, as `score`."""
        state = self.state(step)
        older = {} if state.get("score") is None else {LOSS: state["score"]}
        scores: dict[str, float] = state.get("scores", older)
        return scores

    def path(self, step: int) -> Path:
        """The directory of one checkpoint."""
        return self.directory / f"step-{step:08d}"

    def save(
        self,
        step: int,
        files: dict[str, bytes],
        state: dict[str, Any],
        keep: int = 2,
        scores: dict[str, float] | None = None,
    ) -> None:
        """Write all files to a staging directory, then rename it into place.

        Keeps the newest `keep` and that of the lowest score of each name; deletes the others.
        """
        staging = self.directory / f"writing-{os.getpid()}"
        for old in self.directory.glob("writing-*"):  # of a process that was killed
            shutil.rmtree(old, ignore_errors=True)
        staging.mkdir(parents=True)
        finite = {name: score for name, score in (scores or {}).items() if math.isfinite(score)}
        metadata = {"step": step, "scores": finite, **state}
        text = json.dumps(metadata, indent=1).encode()
        try:
            for name, data in {**files, "state.json": text}.items():
                write_atomic(staging / name, data)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            raise WorkError(
                f"the checkpoint of step {step} cannot be written to {self.directory}: "
                f"{error.strerror or error}; make room, then go on with --resume"
            ) from error
        if self.path(step).exists():
            shutil.rmtree(self.path(step))
        staging.rename(self.path(step))
        best = set(self.best().values())
        for old_step in self.steps()[:-keep]:
            if old_step not in best:
                shutil.rmtree(self.path(old_step))

    def state(self, step: int) -> dict[str, Any]:
        """The JSON state of one checkpoint."""
        path = self.path(step) / "state.json"
        try:
            state: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError):
            raise CheckpointError(f"{path} is damaged: remove {path.parent} and resume") from None
        return state


def file_of(checkpoint: Path, name: str) -> Path:
    """A file of a checkpoint, which may still have its older name."""
    older = checkpoint / OLDER_NAMES.get(name, name)
    return older if older.exists() else checkpoint / name


def optimizer_bytes(optimizer: torch.optim.Optimizer, kept: bool = True) -> bytes:
    """Per-parameter optimizer state as safetensors; hyper-parameters come from the config.

    Collective where it is sharded; a process that does not keep it gets nothing, see `full_state`.
    """
    state = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    full = full_state(state, kept)
    return save({name: value.contiguous() for name, value in full.items()}) if kept else b""


def load_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Load what `optimizer_bytes` saved, sharded as the parameters are."""
    state: dict[int, dict[str, Tensor]] = {}
    try:
        tensors = load_tensors(path.read_bytes())
    except (OSError, SafetensorError):
        raise CheckpointError(f"{path} is damaged: remove {path.parent} and resume") from None
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        value = reshard_like(tensor, parameters[int(index)]) if tensor.ndim else tensor
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
