"""What both generators promise to training: noise of a seed, named terms, intermediate tokens."""

from itertools import product

import pytest
import torch

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind, GeneratorShape, TransformerConfig
from nvg.generator.generator import TrainingExample
from nvg.generator.variants import ContentInput, Variant
from nvg.sequence import Sequences

POSITIONS, K, CHANNELS, CODES, WIDTH = 16, 4, 3, 7, 64
SHAPE = GeneratorShape(
    transformer=TransformerConfig(depth=2, width=WIDTH, heads=2),
    grid=4,
    classes=5,
    codebook_size=CODES,
    latent_dim=CHANNELS,
    latent_scale=1.0,
    variant=Variant(content_input=ContentInput.NOISED),
)


@pytest.mark.parametrize(("part", "block"), list(product(GeneratorKind, (0, 2))))
def test_a_generator_computes_its_loss_from_the_noise_it_drew(
    part: GeneratorKind, block: int
) -> None:
    """A seed fixes the noise; terms are finite scalars; intermediate tokens are [B, N, W]."""
    model, count = build_generator(part, SHAPE), 3
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
