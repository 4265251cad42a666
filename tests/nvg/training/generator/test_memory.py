"""The formula of the generators' memory, against the bytes that autograd keeps: within 8 %."""

from typing import Any

import pytest
import torch

from nvg.choices import CanvasCondition
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig, Variant
from nvg.generator.generator import Generator, TrainingExample
from nvg.geometry import Geometry
from nvg.sequence import Sequences
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.memory import activation_bytes, align_bytes, generator_memory
from nvg.training.generator.repa import Aligner
from nvg.training.memory import Memory
from nvg.training.recompute import recompute_blocks
from tests.nvg.store.makers import random_codec
from tests.nvg.training.reference import as_on_a_gpu, kept_of_one

CONTENT, STRUCTURE = GeneratorKind.CONTENT, GeneratorKind.STRUCTURE
SIZES = [(4, 1, 64, 2, 64), (4, 3, 128, 4, 64), (8, 2, 128, 4, 512), (8, 4, 64, 1, 64)]
TOLERANCE = 0.08
TOKENS = Variant(canvas_condition=CanvasCondition.TOKENS)


def shape_of_size(size: tuple[int, ...], variant: Variant) -> GeneratorShape:
    grid, depth, width, heads, codes = size
    return GeneratorShape(
        transformer=TransformerConfig(depth=depth, width=width, heads=heads),
        grid=grid,
        classes=5,
        codebook_size=codes,
        latent_dim=8,
        latent_scale=1.0,
        variant=variant,
    )


def example(model: Generator, shape: GeneratorShape, part: GeneratorKind, each: int) -> Any:
    """Every stage that the part trains, `each` times."""
    geometry = Geometry(shape.grid)
    stages = range(geometry.stages) if part is CONTENT else range(1, geometry.K)
    stage = torch.tensor(list(stages) * each)
    count = len(stage)
    leaves = torch.stack([torch.randperm(geometry.positions) for _ in range(count)])
    content = torch.randint(shape.codebook_size, (count, geometry.tokens))
    canvas = torch.randn(count, geometry.positions, shape.latent_dim)
    label = torch.zeros(count, dtype=torch.long)
    batch = Sequences(leaves, content, label)
    noise = model.draw_noise(canvas, count)
    return TrainingExample(batch, label, stage, canvas, torch.randn_like(canvas), noise)


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("part", "variant"), [(CONTENT, Variant()), (STRUCTURE, Variant()), (STRUCTURE, TOKENS)]
)
def test_a_loss_in_float32_keeps_what_the_formula_says(
    size: tuple[int, ...], part: GeneratorKind, variant: Variant
) -> None:
    """Several grids, depths, widths, heads and codebooks; the mean over stages."""
    shape = shape_of_size(size, variant)
    model = build_generator(part, shape)
    geometry = Geometry(shape.grid)
    count = geometry.stages if part is CONTENT else geometry.K - 1
    kept = kept_of_one(model, lambda each: model.loss(example(model, shape, part, each)), 1) / count
    assert activation_bytes(part, shape, False) == pytest.approx(kept, rel=TOLERANCE)


@pytest.mark.parametrize("part", [CONTENT, STRUCTURE])
def test_a_block_that_is_recomputed_keeps_its_tokens(part: GeneratorKind) -> None:
    """All that one block keeps is there besides, in the backward pass."""
    grid, depth, *rest = SIZES[1]
    shape, deeper = (shape_of_size((grid, n, *rest), Variant()) for n in (depth, depth + 1))
    block = activation_bytes(part, deeper, False) - activation_bytes(part, shape, False)
    model = build_generator(part, shape)
    recompute_blocks(model.backbone.blocks)
    count = Geometry(grid).stages if part is CONTENT else Geometry(grid).K - 1
    kept = kept_of_one(model, lambda each: model.loss(example(model, shape, part, each)), 1) / count
    found, plain = (activation_bytes(part, shape, False, recomputes=r) for r in (True, False))
    assert found - block == pytest.approx(kept, abs=0.02 * plain)
    assert kept < 0.2 * plain


@pytest.mark.thorough
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [CONTENT, STRUCTURE])
def test_a_gpu_keeps_what_the_formula_says(
    size: tuple[int, ...], part: GeneratorKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network under autocast, without its loss: few codes, whose logits hardly count."""
    shape = shape_of_size((*size[:4], 2), Variant())
    positions, K = shape.grid**2, Geometry(shape.grid).K
    with as_on_a_gpu(monkeypatch):
        model = build_generator(part, shape)

        def forward(count: int) -> object:
            canvas, bits = torch.zeros(count, positions, 8), torch.zeros(count, positions, K)
            label = torch.zeros(count, dtype=torch.long)
            if part is CONTENT:
                return model(canvas, bits, label, label)
            return model(bits, torch.zeros(count), canvas, bits, label, label)

        kept = kept_of_one(model, forward)
    assert activation_bytes(part, shape, True) == pytest.approx(kept, rel=TOLERANCE)


def test_parameters_and_their_optimizer_are_counted() -> None:
    """Weights, gradients and EMA weights of 4 bytes, moments of 8; halves on a GPU of matrices."""
    shapes = {part: shape_of_size(SIZES[1], Variant()) for part in (CONTENT, STRUCTURE)}
    models = [build_generator(part, shape) for part, shape in shapes.items()]
    numbers = sum(p.numel() for model in models for p in model.parameters())
    found = generator_memory(shapes, GeneratorTraining(), False)
    assert isinstance(found, Memory)
    assert (found.parameters, found.gradients, found.ema) == (4 * numbers,) * 3
    assert (found.optimizer, found.casts) == (8 * numbers, 0)
    largest = max(activation_bytes(part, shape, False) for part, shape in shapes.items())
    assert found.activations == largest
    matrices = [sum(p.numel() for p in m.parameters() if p.ndim > 1) for m in models]
    assert generator_memory(shapes, GeneratorTraining(), True).casts == 2 * max(matrices)


def test_stages_of_an_image_add_up() -> None:
    """Nine are asked for, five there are."""
    shapes = {CONTENT: shape_of_size(SIZES[0], Variant())}
    one, all_of_them = (
        generator_memory(shapes, GeneratorTraining(stages_per_image=n), False) for n in (1, 9)
    )
    assert all_of_them.activations == 5 * one.activations
    assert all_of_them.fixed == one.fixed


def test_alignment_adds_a_projector() -> None:
    """Its parameters and what it keeps of an image's positions."""
    codec = random_codec(24, 4)
    aligner = Aligner(64, codec)

    def forward(count: int) -> object:
        tokens = torch.randn(count, 16, 64, requires_grad=True)
        return aligner(tokens, torch.zeros(count, 16, codec.shape.dims, dtype=torch.uint8))

    shapes = {CONTENT: shape_of_size(SIZES[0], Variant())}
    plain, aligned = (generator_memory(shapes, GeneratorTraining(), False, n) for n in (0, 24))
    numbers = sum(p.numel() for p in aligner.projector.parameters())
    assert aligned.fixed - plain.fixed == 16 * numbers
    assert aligned.activations - plain.activations == align_bytes(64, 16, 24, False)
    assert align_bytes(64, 16, 24, False) == pytest.approx(kept_of_one(aligner, forward), rel=0.1)
