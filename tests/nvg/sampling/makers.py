"""A run directory with trained generators, and their samples as one batch."""

from pathlib import Path

from nvg.sampling.control import Control
from nvg.sampling.sampler import Sampler
from nvg.sequence import Sequences
from pipeline.train import fit_generator
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store


def write_run(root: Path, only: str | None = None) -> Path:
    """A directory with both generators of the tiny recipe, trained for four steps."""
    store = make_store(root / "tokens.vgs", rows=10)
    fit_generator(tiny_recipe(root / "images"), store.path, root / "run", only, False)
    return root / "run"


def sampled(
    sampler: Sampler, labels: list[int], seed: int, control: Control | None = None, batch: int = 64
) -> Sequences:
    """The sequences of many labels."""
    parts = sampler.batches(labels, seed, control, batch)
    return Sequences.join([part.sequences for part in parts])
