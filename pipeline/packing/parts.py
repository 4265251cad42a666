"""Which files of a run others need: EMA weights, decoder, classes and recipe."""

import contextlib
import json
import ntpath
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from safetensors.torch import save

from nvg.config import dump
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.generator.config import GeneratorKind
from nvg.sampling.generators import CLASSES, weights_file
from nvg.tokenizer.autoencoder import AUTOENCODER_FILE, INNER
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.training.checkpoint import Checkpoints, file_of
from nvg.training.run_dir import CHANGES
from nvg.weights import HEADER, is_stored, read_header, read_tensors
from pipeline.recipe import load_recipe
from pipeline.run_weights import checkpoint_of

CONFIG = "config.toml"


@dataclass(frozen=True)
class Parts:
    """Where the files of a pack come from."""

    run: Path
    weights: dict[str, Path]
    """By their name in the pack, those of this run: of the autoencoder, or of both generators."""
    step: int | None
    """Of the checkpoint that is packed; None for the finished run."""

    @property
    def has_generators(self) -> bool:
        """Whether this is a run of generators."""
        return AUTOENCODER_FILE not in self.weights

    def write(self, out: Path) -> None:
        """Copy them into a folder."""
        identity = {}
        if self.has_generators:
            for name in (DETOKENIZER_FILE, CLASSES):
                shutil.copyfile(self.run / name, out / name)
            identity = {"tokenizer": read_header(self.run / DETOKENIZER_FILE).get("tokenizer", "")}
        for name, source in self.weights.items():
            _copy_weights(source, out / name, identity)
        if (self.run / CONFIG).exists():
            dump(load_recipe(self.run / CONFIG, (), warn=False), out / CONFIG)  # by today's names
            text = (out / CONFIG).read_text(encoding="utf-8")
            (out / CONFIG).write_text(without_folders(text), encoding="utf-8")


def find_parts(run: Path, step: int | None) -> Parts:
    """The weights of a finished run, or of its checkpoint of a step.

    InputError for a run that is unfinished or holds neither an autoencoder nor both generators.
    """
    if not run.is_dir():
        raise InputError(f"{run} is no run directory")
    kept = Checkpoints(run / "checkpoints")
    if (run / AUTOENCODER_FILE).exists() or any(run.glob("checkpoints/step-*/model.safetensors")):
        return _autoencoder(run, kept, step)
    for name in (DETOKENIZER_FILE, CLASSES):
        if not (run / name).exists():
            raise InputError(f"{run} holds no {name}: it is a run of neither kind, nothing to pack")
    folders = {
        part: run if step is None else checkpoint_of(run, part, step) for part in GeneratorKind
    }
    found = {part: weights_file(folder, part) for part, folder in folders.items()}
    for part, path in found.items():
        if not is_stored(path):
            raise _unfinished(run, f"it holds no {part.value}.safetensors")
        if step is None:
            for checkpoints in (kept, Checkpoints(run / "checkpoints" / part.value)):
                _require_finished(run, "generator", path, checkpoints)
    return Parts(run, {path.name: path for path in found.values()}, step)


def _autoencoder(run: Path, kept: Checkpoints, step: int | None) -> Parts:
    path = run / AUTOENCODER_FILE
    if step is not None:
        if step not in kept.steps():
            known = ", ".join(map(str, kept.steps())) or "none"
            raise InputError(f"{run} has no checkpoint of step {step}: it has {known}")
        path = file_of(kept.path(step), "model-ema.safetensors")
    elif not path.exists():
        raise _unfinished(run, f"it holds no {AUTOENCODER_FILE}")
    else:
        _require_finished(run, "autoencoder", path, kept)
    return Parts(run, {AUTOENCODER_FILE: path}, step)


def _require_finished(run: Path, section: str, weights: Path, kept: Checkpoints) -> None:
    """InputError for weights of an earlier end of a run that is being trained on."""
    steps = kept.steps()
    if not steps or not (run / CHANGES).exists():  # never trained on
        return
    recipe = getattr(load_recipe(run / CONFIG, (), warn=False), section)
    wanted = recipe.train.steps if recipe else 0
    newest = kept.path(steps[-1]) / "state.json"
    if steps[-1] < wanted and weights.stat().st_mtime < newest.stat().st_mtime:
        raise _unfinished(run, f"it is at step {steps[-1]} of {wanted}")


def _unfinished(run: Path, why: str) -> InputError:
    steps = {
        int(path.name.removeprefix("step-"))
        for path in run.glob("checkpoints/**/step-*")
        if path.name.removeprefix("step-").isdecimal()
    }
    remedy = f", or pack a checkpoint with --checkpoint {max(steps)}" if steps else ""
    return InputError(f"{run} is unfinished, {why}: finish it with --resume{remedy}")


def inner_tokenizer(run: Path) -> Path | None:
    """The autoencoder's run in a run of generators, where there is one."""
    return run / INNER if (run / INNER / AUTOENCODER_FILE).exists() else None


def _copy_weights(source: Path, target: Path, identity: dict[str, str]) -> None:
    """The same bytes, or the same tensors in one file that says which tokenizer they belong to."""
    header = read_header(source)
    if source.exists() and header == header | identity:
        shutil.copyfile(source, target)
        return
    text = json.dumps(header | identity, sort_keys=True)
    write_atomic(target, save(read_tensors(source), metadata={HEADER: text}))


def without_folders(recipe: str) -> str:
    """A recipe in which files of this machine have their names, and no longer their folders."""
    return tomli_w.dumps({key: _named(value) for key, value in tomllib.loads(recipe).items()})


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _named(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_named(each) for each in value]
    is_place = isinstance(value, str) and (
        value.startswith(("/", "~")) or ntpath.splitdrive(value)[0]
    )
    return value.rstrip("/\\").replace("\\", "/").rpartition("/")[2] if is_place else value


def files_of(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in folder.rglob("*") if path.is_file())


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    total = 0
    for path in files_of(folder):
        with contextlib.suppress(FileNotFoundError):  # a training may be at work there
            total += path.stat().st_size
    return total
