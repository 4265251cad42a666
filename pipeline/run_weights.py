"""A run of generators: its recipe, which of its weights are meant, and samples to look at."""

from collections.abc import Iterable
from pathlib import Path

import torch

from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import Generators, class_ids, load_generators
from nvg.tokenizer.detokenizer import DETOKENIZER_FILE
from nvg.training.checkpoint import Checkpoints
from nvg.view.figures import png_bytes, sample_figure
from pipeline.recipe import Recipe, load_recipe

BEST, RAW = "best", "raw"
SHOWN_CLASSES, SHOWN = 10, 8  # of a picture of samples


def open_generators(
    run: Path, weights: str, step: int | None = None, device: str | None = None
) -> Generators:
    """The generators of a run: `ema` or `raw` weights of its last or another step, or `best` ones.

    The best are the EMA weights of the checkpoint of the lowest held-out loss, of each generator on
    its own. InputError where there are none.
    """
    place, chosen = device_named(device) if device else None, checkpoints_of(run, weights, step)
    return load_generators(run, chosen, raw=weights == RAW, device=place)


def first_samples(generators: Generators, config: SamplerConfig) -> bytes:
    """A PNG of samples of the first classes, a row each."""
    ids = class_ids(generators.classes, [])[:SHOWN_CLASSES]
    labels = [label for label in ids for _ in range(SHOWN)]
    pixels = generators.images(labels, 0, config)
    return png_bytes(sample_figure(pixels, generators.names(ids), SHOWN))


def run_recipe(run: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe of a run of generators, with overrides; InputError for what is no such run."""
    if not (run / "config.toml").exists():
        raise InputError(
            f"{run} is no run of generators, since it has no config.toml: name the --out of "
            "`nvgctl train generator`"
        )
    return load_recipe(run / "config.toml", overrides, needs=("generator",))


def checkpoints_of(run: Path, weights: str, step: int | None) -> dict[GeneratorKind, Path] | None:
    """The checkpoint whose weights are meant, of each generator; None where the run's own are."""
    if weights == BEST:
        return {part: best_checkpoint(run, part) for part in GeneratorKind}
    if step is not None:
        return {part: checkpoint_of(run, part, step) for part in GeneratorKind}
    return None


def weights_files(run: Path, weights: str, step: int | None) -> list[Path]:
    """The files that such a choice of weights reads."""
    chosen = checkpoints_of(run, weights, step) or dict.fromkeys(GeneratorKind, run)
    found = [
        path
        for part, folder in chosen.items()
        for path in sorted(folder.glob(f"{part.value}*.safetensors"))
        if "-optimizer" not in path.name
    ]
    return [*found, run / DETOKENIZER_FILE]


def best_checkpoint(run: Path, part: GeneratorKind) -> Path:
    """The checkpoint of a generator's lowest held-out loss; a run of one part has its own."""
    for checkpoints in _kept(run, part):
        if (step := checkpoints.best().get(part.value)) is not None:
            return checkpoints.path(step)
    raise InputError(
        f"{run} has no checkpoint with a held-out loss of its {part.value} generator: train it on "
        "a store with held-out rows, or sample its last weights"
    )


def checkpoint_of(run: Path, part: GeneratorKind, step: int) -> Path:
    """The checkpoint of a generator at a step; a run of one part has its own."""
    known: set[int] = set()
    for checkpoints in _kept(run, part):
        known |= set(checkpoints.steps())
        if step in checkpoints.steps():
            return checkpoints.path(step)
    steps = ", ".join(map(str, sorted(known))) or "none"
    raise InputError(
        f"{run} has no checkpoint of step {step} of its {part.value} generator: it has {steps}"
    )


def split_checkpoint(path: Path) -> tuple[Path, int | None]:
    """The run and the step that `RUN/checkpoints/step-N` names; a run alone has no step."""
    name, parents = path.name.removeprefix("step-"), path.absolute().parents
    if path.name == name or not name.isdecimal():
        return path, None
    for above in parents[:2]:  # one part may have a folder of its own
        if above.name == "checkpoints":
            return above.parent, int(name)
    return path, None


def device_named(name: str) -> torch.device:
    """A device by the name that torch gives it; InputError where this machine has none such."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        count = torch.cuda.device_count()
        raise InputError(
            f"no device {name!r} here: there is cpu" + f", cuda:0..{count - 1}" * bool(count)
        ) from None
    return device


def _kept(run: Path, part: GeneratorKind) -> list[Checkpoints]:
    return [Checkpoints(run / "checkpoints" / name) for name in ("", part.value)]
