"""What both generators promise to training: noise of a seed, named terms, intermediate tokens."""

from itertools import product

import pytest
import torch

from nvg.choices import ContentInput
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig, Variant
from nvg.generator.generator import TrainingExample
from nvg.sequence import Sequences
from tests.nvg.generator.makers import CHANNELS, CODES, RELEASED, RMS, make_shape

POSITIONS, WIDTH = 16, 64
TRANSFORMER = TransformerConfig(depth=2, width=WIDTH, heads=2)
SHAPES = [
    make_shape(transformer=TRANSFORMER, variant=Variant(content_input=ContentInput.NOISED)),
    make_shape(transformer=TRANSFORMER, variant=RELEASED, canvas_rms=RMS),
]


@pytest.mark.parametrize(("part", "block"), list(product(GeneratorKind, (0, 2))))
@pytest.mark.parametrize("shape", SHAPES, ids=["noised", "release"])
def test_a_generator_computes_its_loss_from_the_noise_it_drew(
    part: GeneratorKind, block: int, shape: GeneratorShape
) -> None:
    """A seed fixes the noise; terms are finite scalars; intermediate tokens are [B, N, W]."""
    model, count = build_generator(part, shape), 3
    canvas = torch.randn(count, POSITIONS, CHANNELS)
    leaves = torch.stack([torch.randperm(POSITIONS) for _ in range(count)])
    batch = Sequences(
        leaves, torch.randint(CODES, (count, 2 * POSITIONS - 1)), torch.tensor([0, 4, 5])
    )
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(model.draw_noise(canvas))
    for one, other in zip(*draws, strict=True):
        assert torch.equal(one, other)
    stage = torch.tensor([1, 2, 3])
    example = TrainingExample(batch, batch.label, stage, canvas, canvas, draws[0])
    terms, tokens = model.loss(example, block)
    assert all(term.ndim == 0 and term.isfinite() for term in terms.values())
    assert tokens.shape == (count, POSITIONS, WIDTH)
