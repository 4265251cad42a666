"""Algorithm 2 and its parts: halving, top-p, guidance, noise per image, whole samples."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nvg.generator.config import TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry, canonical
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.config import SamplerConfig
from nvg.sampling.sampler import Sampler, top_p
from nvg.sequence import Sequences
from tests.nvg.generator.makers import randomize
from tests.nvg.sampling.makers import sampled
from tests.nvg.structure import reference

# B image, N position, n cluster, V code
light = settings(deadline=None, max_examples=40)
CPU = torch.device("cpu")
CODES, CLASSES = 16, 3


@light
@given(
    # eighths: two logits are equal, or so far apart that float32 probabilities differ too
    logits=st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=8),
    p=st.floats(0.01, 1.0),
    uniform=st.floats(0, 0.999),
)
def test_top_p_equals_the_slow_reference(logits: list[float], p: float, uniform: float) -> None:
    """Inverse CDF over the shortest run of likeliest tokens that reaches p."""
    weight = [math.exp(value) for value in logits]
    share = [w / sum(weight) for w in weight]
    order = sorted(range(len(share)), key=lambda token: (-logits[token], token))
    sums = [sum(share[t] for t in order[: n + 1]) for n in range(len(order))]
    assume(all(abs(value - p) > 1e-5 for value in sums[:-1]))
    size = next((n + 1 for n, value in enumerate(sums) if value >= p), len(order))
    target = uniform * sums[size - 1]
    assume(all(abs(value - target) > 1e-5 for value in sums))
    expected = order[next(n for n, value in enumerate(sums) if value > target)]
    got = top_p(torch.tensor([[logits]]), p, torch.tensor([[uniform]]))
    assert got.tolist() == [[expected]]


def test_top_p_of_one_is_unbiased() -> None:
    """With p = 1 tokens appear as often as softmax says."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, -3.0])
    draws = 40_000
    uniform = torch.rand(1, draws, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits.expand(1, draws, -1), 1.0, uniform)
    frequency = torch.bincount(tokens[0], minlength=5) / draws
    share = logits.exp() / logits.exp().sum()
    assert ((frequency - share).abs() < 4 * (share * (1 - share) / draws).sqrt()).all()


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_a_tiny_top_p_takes_the_likeliest_token(uniform: float) -> None:
    """The set of tokens never becomes empty: it keeps the arg max."""
    logits = torch.randn(3, 7, 50, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits, 1e-6, torch.full((3, 7), uniform))
    assert torch.equal(tokens, logits.argmax(-1))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_largest_uniform_stays_inside_top_p(p: float) -> None:
    """No rounding lets a token outside top-p through, not even at u = 1 - 2^-24."""
    logits = 3 * torch.randn(500, 1, 40, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits, p, torch.full((500, 1), 1 - 2**-24))
    share, order = logits.double().softmax(-1).sort(-1, descending=True)
    place = (order == tokens.unsqueeze(-1)).double().argmax(-1, keepdim=True)
    before = (share.cumsum(-1) - share).gather(-1, place)
    assert (before < p + 1e-6).all()


def samples(labels: list[int], seed: int = 0, batch: int = 64, grid: int = 4) -> Sequences:
    """Sequences from random models."""
    geometry, config = Geometry(grid), TransformerConfig(depth=1, width=64, heads=2)
    content = ContentGenerator(config, geometry, CLASSES, CODES, 4, 0.5)
    structure = StructureGenerator(config, geometry, CLASSES, 4, 0.5)
    quantizer = MultiGranularityQuantizer(CODES, 4, geometry)
    for number, model in enumerate((content, structure, quantizer)):
        randomize(model.eval(), number, 0.3)
    steps = SamplerConfig(flow_steps=2)
    return sampled(Sampler(content, structure, quantizer, steps), labels, seed, batch=batch)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_samples_are_valid_sequences(grid: int) -> None:
    """Leaves are canonical permutations with leaf 0 at position 0; tokens are in the codebook."""
    made = samples([0, 1, 2, 0, -1], grid=grid)
    assert made.leaves.dtype == torch.uint8
    assert made.label.tolist() == [0, 1, 2, 0, -1]
    assert made.content.shape == (5, 2 * grid**2 - 1)
    assert 0 <= int(made.content.min()) <= int(made.content.max()) < CODES
    for row in made.leaves.tolist():
        assert sorted(row) == list(range(grid**2))
        assert row[0] == 0
        assert reference.canonical(row) == row
    assert torch.equal(canonical(made.leaves), made.leaves)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_image_does_not_depend_on_its_batch(batch: int) -> None:
    """Image i of a seed is the same for every batch size."""
    labels = [0, 2, 1, -1, 1]
    whole, parts = samples(labels), samples(labels, batch=batch)
    assert torch.equal(parts.leaves, whole.leaves)
    assert torch.equal(parts.content, whole.content)


def test_seed_and_label_change_the_images() -> None:
    """Another seed gives other tokens, and so does another class with the same seed."""
    base = samples([0] * 4)
    assert torch.equal(base.content, samples([0] * 4).content)
    assert not torch.equal(base.content, samples([0] * 4, seed=1).content)
    assert not torch.equal(base.content, samples([1] * 4).content)


def test_no_class_is_the_null_class() -> None:
    """Label -1 draws what the null class, one past the last, draws."""
    assert torch.equal(samples([-1, -1]).content, samples([CLASSES, CLASSES]).content)
