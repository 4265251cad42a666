"""The ablation's switches: each trains, samples, and does what its name says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nvg.choices import ContentInput, Prediction, Rope, StructureInput
from nvg.generator.backbone import STRUCTURE
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, Variant
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.sampling.config import SamplerConfig
from nvg.sampling.generators import load_generators
from nvg.store import Store
from nvg.training.generator.train import train_generator
from nvg.training.run_dir import Run
from pipeline.recipe.profiles import RELEASE
from tests.makers import tiny_recipe
from tests.nvg.generator.makers import RELEASED, make_shape
from tests.nvg.sampling.makers import sampled
from tests.nvg.store.makers import make_store
from tests.nvg.training.generator.makers import shape_for
from tests.nvg.training.makers import lines_of

VARIANTS = {
    "nvg": Variant(),
    "noised canvas": Variant(content_input=ContentInput.NOISED),
    "variance preserving": Variant(content_input=ContentInput.VARIANCE_PRESERVING),
    "pure noise": Variant(structure_input=StructureInput.NOISE),
    "direct": Variant(prediction=Prediction.DIRECT),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve random rows on a 4x4 grid."""
    return make_store(tmp_path / "store.vgs", rows=12)


def fit(
    store: Store, out: Path, variant: Variant, rope: Rope = Rope.STRUCTURE, **settings: Any
) -> list[float]:
    """The losses of thirty steps."""
    recipe = tiny_recipe()
    train = replace(recipe.generator.train, steps=30, log_every=1, lr=0.05, **settings)
    shapes = {
        part.value: replace(getattr(recipe.generator, part.value), rope=rope)
        for part in GeneratorKind
    }
    config = replace(recipe.generator, train=train, variant=variant, **shapes)
    run = Run(out, tiny_recipe(generator=config), False, ("generator",))
    train_generator(config, store, list(GeneratorKind), run)
    return [line["loss"] for line in lines_of(out / "metrics.jsonl")]


@pytest.mark.thorough
def test_every_switch_trains_samples_and_differs(store: Store, tmp_path: Path) -> None:
    """All losses fall, no two variants have the same curve, and each draws valid sequences."""
    curves = {}
    cases = {name: (variant, Rope.STRUCTURE) for name, variant in VARIANTS.items()}
    cases["spatial rope"] = (Variant(), Rope.SPATIAL)
    for name, (variant, rope) in cases.items():
        curves[name] = fit(store, tmp_path / name, variant, rope)
        assert sum(curves[name][-5:]) < 0.95 * sum(curves[name][:5]), name
        generators = load_generators(tmp_path / name)
        made = sampled(generators.sampler(SamplerConfig(flow_steps=2)), [0, 1, 2], 0)
        made.check(generators.detokenizer.config.geometry)
    assert len({tuple(curve) for curve in curves.values()}) == len(cases)


@pytest.mark.thorough
def test_the_release_trains_on_all_stages_and_samples(store: Store, tmp_path: Path) -> None:
    """Every choice of its profile at once: the loss falls, and what is drawn is valid."""
    losses = fit(store, tmp_path / "run", RELEASED, **RELEASE["generator"]["train"])
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    generators = load_generators(tmp_path / "run", raw=True)
    assert generators.content.variant == generators.structure.variant == RELEASED
    config = SamplerConfig(flow_steps=2, **RELEASE["sample"])
    made = sampled(generators.sampler(config), [0, 1, 2, -1], 0)
    made.check(store.geometry)
    assert 0 <= int(made.content.min()) <= int(made.content.max()) < store.manifest.codebook_size
    for leaves in made.leaves.tolist():
        assert sorted(leaves) == list(range(16))


def test_noise_falls_with_the_stage(store: Store) -> None:
    """Of stage i the share 1 - i / (K + 1) is noise; variance is kept where the name says so."""
    canvas, noise = torch.full((5, 16, 4), 3.0), torch.ones(5, 16, 4)
    stage = torch.arange(5)
    shape = shape_for(tiny_recipe().generator.content, store)
    share = 1 - torch.arange(5) / 5
    for kind, kept in (
        (ContentInput.CANVAS, None),
        (ContentInput.NOISED, torch.ones(5)),
        (ContentInput.VARIANCE_PRESERVING, (1 - share**2).sqrt()),
    ):
        model = build_generator(
            GeneratorKind.CONTENT, replace(shape, variant=Variant(content_input=kind))
        )
        assert isinstance(model, ContentGenerator)
        seen = model.noised_canvas(canvas, stage, noise)
        wanted = (
            canvas
            if kept is None
            else kept.view(-1, 1, 1) * 3 + (share.view(-1, 1, 1) * shape.latent_scale)
        )
        torch.testing.assert_close(seen, wanted.expand_as(seen))


def test_pure_noise_keeps_no_channel() -> None:
    """Eq. 1 puts the known channels back; the switch leaves all to the model."""
    noisy, known = torch.zeros(2, 3, 4), torch.ones(2, 3, 4)
    stage = torch.tensor([3, 1])
    partial, noise = (
        StructureGenerator(make_shape(variant=Variant(structure_input=kind)))
        for kind in (StructureInput.PARTIAL, StructureInput.NOISE)
    )
    assert partial.inpaint(noisy, known, stage)[0, 0].tolist() == [1, 1, 0, 0]
    assert torch.equal(noise.inpaint(noisy, known, stage), noisy)


def test_spatial_rope_does_not_see_structure(store: Store) -> None:
    """Two structures rotate alike without it, and differently with it."""
    for rope, is_same in ((Rope.SPATIAL, True), (Rope.STRUCTURE, False)):
        config = replace(tiny_recipe().generator.structure, rope=rope)
        model = build_generator(GeneratorKind.STRUCTURE, shape_for(config, store))
        assert isinstance(model, StructureGenerator)
        ids = [model.backbone.token_ids(torch.full((1, 16, 4), v), STRUCTURE) for v in (0, 2)]
        assert torch.equal(*ids) == is_same
