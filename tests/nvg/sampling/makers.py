"""Random samplers, a run directory with trained generators, and samples as one batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.config import SamplerConfig
from nvg.sampling.control import Control
from nvg.sampling.sampler import Sampler
from nvg.sequence import Sequences
from pipeline.recipe.profiles import RELEASE
from pipeline.train import fit_generator
from tests.makers import tiny_recipe
from tests.nvg.generator.makers import RELEASED, RMS, make_shape, randomize
from tests.nvg.store.makers import make_store

CODES, CLASSES = 16, 3
PAPER = SamplerConfig(flow_steps=2)
RELEASE_SAMPLE: dict[str, Any] = RELEASE["sample"]
RELEASE_PARTS: dict[str, Any] = {
    "config": replace(PAPER, **RELEASE_SAMPLE),
    "variant": RELEASED,
    "canvas_rms": RMS,
}


def make_sampler(grid: int = 4, config: SamplerConfig = PAPER, **parts: Any) -> Sampler:
    """Random models of a shape with these parts."""
    sizes: dict[str, Any] = {"classes": CLASSES, "codebook_size": CODES, "latent_dim": 4}
    shape = make_shape(grid=grid, latent_scale=0.5, **sizes, **parts)
    content, structure = ContentGenerator(shape), StructureGenerator(shape)
    quantizer = MultiGranularityQuantizer(CODES, 4, Geometry(grid))
    for number, model in enumerate((content, structure, quantizer)):
        randomize(model.eval(), number, 0.3)
    return Sampler(content, structure, quantizer, config)


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
