"""Weights and training state as safetensors + JSON: nothing that needs unpickling.

A checkpoint is written by a thread, beside the next steps. One is written at a time: a process
holds one copy of what it writes on the CPU, no more (weights, EMA weights and two moments of AdamW:
16 bytes a parameter, divided by the processes where they are sharded).
"""

import contextlib
import json
import math
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from nvg.distributed import World
from nvg.errors import WorkError
from nvg.files import read_small, write_atomic
from nvg.training.background import Background
from nvg.training.saved_state import read_state
from nvg.training.shard_files import Deadline, join_shards, write_shards
from nvg.training.snapshot import Snapshot
from nvg.weights import CheckpointError, opened, require_finite, why_damaged

Files = Mapping[str, bytes | Snapshot]

ALONE = World(0, 1, torch.device("cpu"))
HURRY = 10.0  # seconds for the shards of other processes when this one fails

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
        self._background, self._deadline = Background(), Deadline()

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

    def begin(
        self,
        step: int,
        files: Files,
        state: dict[str, Any],
        keep: int = 2,
        scores: dict[str, float] | None = None,
        world: World = ALONE,
    ) -> None:
        """Begin to write a checkpoint, when the one before is written; see `wait`.

        All files go to a staging directory that is renamed last. Keeps the newest `keep` and that
        of the lowest score of each name; deletes the others. Where files are shards every process
        writes its own, and the call is collective; else the main process alone has files.
        """
        self.wait()
        finite = {name: score for name, score in (scores or {}).items() if math.isfinite(score)}
        text = json.dumps({"step": step, "scores": finite, **state}, indent=1).encode()
        staging = self.directory / f"writing-{step:08d}"
        if world.is_main:
            for old in self.directory.glob("writing-*"):  # of a process that was killed
                shutil.rmtree(old, ignore_errors=True)
        if any(isinstance(data, Snapshot) and data.is_sharded for data in files.values()):
            world.wait()  # none of the others has begun
        elif not world.is_main:
            return
        self._deadline = Deadline()
        self._background.start(partial(self._write, step, staging, files, text, keep, world))

    def check(self) -> None:
        """WorkError where a checkpoint could not be written."""
        self._background.check()

    def wait(self) -> None:
        """Wait until this process's part is written, in the main process the checkpoint complete.

        WorkError where it cannot be.
        """
        self._background.wait()

    def hurry(self) -> None:
        """Wait no longer than HURRY seconds for other processes, one of which may be gone."""
        self._deadline.shorten(HURRY)

    def save(
        self,
        step: int,
        files: Files,
        state: dict[str, Any],
        keep: int = 2,
        scores: dict[str, float] | None = None,
    ) -> None:
        """`begin` and `wait`."""
        self.begin(step, files, state, keep, scores)
        self.wait()

    def _write(
        self, step: int, staging: Path, files: Files, text: bytes, keep: int, world: World
    ) -> None:
        """Write this process's files; the main process then completes the checkpoint."""
        try:
            staging.mkdir(parents=True, exist_ok=True)
            self._write_files(staging, files, world)
            if not world.is_main:
                return
            write_atomic(staging / "state.json", text)
        except (OSError, WorkError) as error:
            if world.is_main:
                shutil.rmtree(staging, ignore_errors=True)
            if isinstance(error, WorkError):
                raise
            raise WorkError(
                f"the checkpoint of step {step} cannot be written to {self.directory}: "
                f"{error.strerror or error}; make room, then go on with --resume"
            ) from error
        before = staging.with_name(f"{staging.name}-before")
        if self.path(step).exists():
            self.path(step).rename(before)
        staging.rename(self.path(step))
        shutil.rmtree(before, ignore_errors=True)
        best = set(self.best().values())
        for old_step in self.steps()[:-keep]:
            if old_step not in best:
                shutil.rmtree(self.path(old_step))

    def _write_files(self, staging: Path, files: Files, world: World) -> None:
        """Files that are whole, and this process's shards of the others."""
        shards: dict[str, Snapshot] = {}
        for name, data in files.items():
            if not isinstance(data, Snapshot):
                write_atomic(staging / name, data)
            elif data.is_sharded:
                shards[name] = data
            else:
                data.write(staging / name)
        if shards:
            write_shards(staging, shards, world)
            if world.is_main:
                join_shards(staging, world, self._deadline)

    def state(self, step: int) -> dict[str, Any]:
        """The JSON state of one checkpoint."""
        path = self.path(step) / "state.json"
        try:
            return read_state(read_small(path), step)
        except OSError as error:
            raise _damaged(path, error.strerror or "it cannot be read") from None
        except ValueError as error:
            raise _damaged(path, str(error)) from None


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is damaged ({reason}): remove {path.parent} and resume")


def file_of(checkpoint: Path, name: str) -> Path:
    """A file of a checkpoint, which may still have its older name."""
    older = checkpoint / OLDER_NAMES.get(name, name)
    return older if older.exists() else checkpoint / name


def _require_moments(moments: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """ValueError where a moment has another shape than its parameter."""
    for name, shape in shapes.items():
        is_step = name.endswith(".step")
        if is_step != (name not in moments) or (
            not is_step and tuple(moments[name].shape) != tuple(shape)
        ):
            raise ValueError(f"{name} has the shape {list(shape)}, which its parameter has not")


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of each parameter as NUMBER.NAME; hyper-parameters come from the config."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def optimizer_bytes(optimizer: torch.optim.Optimizer) -> bytes:
    """`optimizer_tensors` of an optimizer that is not sharded, as safetensors."""
    tensors = optimizer_tensors(optimizer)
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, path: Path) -> None:
    """Load what `optimizer_tensors` found, sharded as the parameters are."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    try:
        with opened(path) as stored:
            owners = {name: int(name.split(".", 1)[0]) for name in stored.shapes}
            moments = {n: parameters[i] for n, i in owners.items() if not n.endswith(".step")}
            tensors = stored.read_like(moments)
            _require_moments(moments, stored.shapes)
    except (OSError, SafetensorError, ValueError, LookupError, RuntimeError, TypeError) as error:
        raise _damaged(path, why_damaged(path, error)) from None
    require_finite(tensors, path)
    for name, tensor in tensors.items():
        state.setdefault(owners[name], {})[name.split(".", 1)[1]] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
