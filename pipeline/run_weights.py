"""Which weights of a run: those of its last step, or of its lowest held-out loss."""

from pathlib import Path

from nvg.errors import InputError
from nvg.generator.config import GeneratorKind
from nvg.sampling.generators import Generators, load_generators
from nvg.training.checkpoint import Checkpoints

BEST, RAW = "best", "raw"


def open_generators(run: Path, weights: str) -> Generators:
    """The generators of a run: `ema` or `raw` weights of its last step, or the `best` ones.

    The best are the EMA weights of the checkpoint of the lowest held-out loss, of each generator on
    its own. InputError where there are none.
    """
    if weights == BEST:
        return load_generators(run, {part: best_checkpoint(run, part) for part in GeneratorKind})
    return load_generators(run, raw=weights == RAW)


def best_checkpoint(run: Path, part: GeneratorKind) -> Path:
    """The checkpoint of a generator's lowest held-out loss; a run of one part has its own."""
    for name in ("", part.value):
        checkpoints = Checkpoints(run / "checkpoints" / name)
        if (step := checkpoints.best().get(part.value)) is not None:
            return checkpoints.path(step)
    raise InputError(
        f"{run} has no checkpoint with a held-out loss of its {part.value} generator: train it on "
        "a store with held-out rows, or sample its last weights"
    )
