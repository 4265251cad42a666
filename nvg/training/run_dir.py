"""A run directory: config.toml (resolved), metrics.jsonl, tensorboard/ and checkpoints/."""

import json
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nvg.config import as_table, dump, load
from nvg.errors import InputError, WorkError, first_line
from nvg.files import parse_json, require_regular, write_atomic
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.training.checkpoint import Checkpoints

log = logging.getLogger("nvg")

# What may change from one life of a run to the next: where and how often, not what is computed.
FREE = {
    f"{section}.train.{key}"
    for section in ("autoencoder", "generator")
    for key in (
        "accumulate",
        "checkpoint_activations",
        "sharded",
        "shard_over",
        "loader",
        "keep",
        "log_every",
        "checkpoint_every",
        "sample_every",
        "val_every",
        "patience",
    )
}
LENGTH = {f"{section}.train.steps" for section in ("autoencoder", "generator")}
CHANGES = "changes.jsonl"  # in a run: what changed when it was resumed


class RunError(InputError):
    """A run directory that cannot be used as asked; the message names it and the remedy."""


class Run:
    """A run directory, new or to be continued; `begin` is the first to write into it.

    `decisive` names the sections of the config that must stay the same while it is continued, but
    for the keys FREE and a LENGTH not yet reached; `name` keeps several runs of one directory
    apart; of several processes one `writes`.
    """

    def __init__(
        self,
        directory: Path,
        config: Any,
        resume: bool,
        decisive: tuple[str, ...],
        name: str = "",
        writes: bool = True,
    ) -> None:
        self.directory, self.name, self.writes = directory, name, writes
        self._board: Any = None
        self.metrics_path = directory / f"metrics{'-' * bool(name)}{name}.jsonl"
        self.checkpoints = Checkpoints(directory / "checkpoints" / name)
        self.config, self.saved = config, directory / "config.toml"
        self.changes: dict[str, tuple[Any, Any]] = {}
        """Keys of the config that were another in the run's last life: before, now."""
        if directory.exists() and not directory.is_dir():
            raise RunError(f"{directory} is a file: choose another --out")
        if self.saved.exists() and any(_worked(directory)):
            self.changes = self._changes(self.saved, config, decisive)
        if self.checkpoints.steps() and not resume:
            raise RunError(
                f"{directory} holds a run: continue it with --resume, or choose another --out"
            )

    def begin(self, start: int) -> None:
        """Write the config, and drop metric lines after step `start`; nothing is written before.

        Call it when all that could refuse the run has been checked.
        """
        if start:
            self.checkpoints.state(start)  # which may be damaged
        try:
            require_regular(self.metrics_path)
        except ValueError as error:
            raise RunError(f"{self.directory}: {error}: remove it") from None
        if not self.writes:
            return
        with self._full_disk_named():
            dump(self.config, self.saved)
            if self.changes and start:
                self._note_changes(start)
            if self.metrics_path.exists():
                lines = self.metrics_path.read_bytes().splitlines(keepends=True)
                kept = [line for line in lines if line.endswith(b"\n") and _step_of(line) <= start]
                write_atomic(self.metrics_path, b"".join(kept if start else []))

    def _changes(
        self, saved: Path, config: Any, decisive: tuple[str, ...]
    ) -> dict[str, tuple[Any, Any]]:
        """What may differ and does; RunError for what may not.

        A key that is newer than the run counts as its default.
        """
        try:
            require_regular(saved)
            before, now = (
                {name: as_table(recipe).get(name) for name in decisive}
                for recipe in (load(type(config), saved, warn=False), config)
            )
        except ValueError as error:
            raise self._another(first_line(error)) from None
        found = dict(_differences(before, now))
        if different := ", ".join(sorted(set(found) - FREE - LENGTH)):
            raise self._another(different)
        for key in LENGTH & set(found):
            if found[key][1] < self.start_step():
                raise RunError(
                    f"{self.directory} is at step {self.start_step()}, which is more than {key} = "
                    f"{found[key][1]}: raise it"
                )
        return found

    def _another(self, different: str) -> RunError:
        return RunError(
            f"{self.directory} holds a run of another recipe (differs in {different}): use that "
            "recipe, choose another --out, or start a new run from its weights with --from"
        )

    def _note_changes(self, start: int) -> None:
        """Say what changed, and write it down."""
        said = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in self.changes.items())
        log.info("goes on at step %d with other settings: %s", start, said)
        line = {"step": start, "changed": self.changes} | ({"run": self.name} if self.name else {})
        with (self.directory / CHANGES).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def start_step(self) -> int:
        """The step of the newest checkpoint, 0 for a new run."""
        steps = self.checkpoints.steps()
        return steps[-1] if steps else 0

    def log(self, step: int, **values: Any) -> None:
        """Append one JSON line to the metrics; numbers go to TensorBoard too, where it is there."""
        if not self.writes:
            return
        with self._full_disk_named():
            self.directory.mkdir(parents=True, exist_ok=True)
            with self.metrics_path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        if board := self._open_board(step):
            for name, value in _scalars(values):
                board.add_scalar(name, value, step)

    @contextmanager
    def _full_disk_named(self) -> Iterator[None]:
        """WorkError with the remedy where a file of the run cannot be written."""
        try:
            yield
        except OSError as error:
            raise WorkError(
                f"{self.directory} cannot be written to: {error.strerror or error}; see to the "
                "disk, then go on with --resume"
            ) from error

    def close(self) -> None:
        """Write what TensorBoard holds back."""
        if self._board:
            self._board.close()

    def _open_board(self, step: int) -> Any:
        """A writer that hides what an earlier life of this run logged beyond its checkpoint."""
        if self._board is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self._board = False
            else:
                folder = str(self.directory / "tensorboard" / self.name)
                self._board = SummaryWriter(folder, purge_step=step)
        return self._board


def _scalars(values: dict[str, Any], where: str = "") -> Iterator[tuple[str, float]]:
    """Numbers by name; those of a table as table/name, those of a list as name/0 and on."""
    for name, value in values.items():
        if isinstance(value, list):
            value = {str(n): each for n, each in enumerate(value)}
        if isinstance(value, dict):
            yield from _scalars(value, f"{where}{name}/")
        elif isinstance(value, int | float):
            yield f"{where}{name}", value


def _step_of(line: bytes) -> float:
    """The step of a metrics line; infinite for a line that is damaged, which is then dropped."""
    try:
        step = parse_json(line, finite=False)["step"]
    except (ValueError, LookupError, TypeError):
        return math.inf
    return step if isinstance(step, int | float) else math.inf


def _differences(before: Any, now: Any, where: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Dotted names of the keys whose values differ, in order, and both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}".lstrip("."))
    elif before != now:
        yield where, (before, now)


def _worked(directory: Path) -> Iterator[Path]:
    """Checkpoints and weights: a start that failed before the first leaves none."""
    yield from directory.glob("checkpoints/**/state.json")
    yield from (file for file in directory.glob("*.safetensors") if file.name != DETOKENIZER_FILE)
