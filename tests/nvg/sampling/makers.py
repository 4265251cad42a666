"""A run directory with trained generators."""

from pathlib import Path

from pipeline.train import fit_generator
from tests.makers import tiny_recipe
from tests.nvg.store.makers import make_store


def write_run(root: Path, only: str | None = None) -> Path:
    """A directory with both generators of the tiny recipe, trained for four steps."""
    store = make_store(root / "tokens.vgs", rows=10)
    fit_generator(tiny_recipe(root / "images"), store.path, root / "run", only, False)
    return root / "run"
