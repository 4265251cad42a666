"""Algorithm 2 and its parts: halving, nucleus, guidance, noise per image, whole samples."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.generator.backbone import TransformerConfig
from nvg.generator.content import ContentGenerator
from nvg.generator.structure_flow import StructureGenerator
from nvg.geometry import Geometry, canonical
from nvg.quantizer import MultiGranularityQuantizer
from nvg.sampling.guidance import Guidance, Noise, SamplerConfig, guidance_at, top_p_at
from nvg.sampling.sampler import sample_images, top_p
from nvg.sampling.structure import balanced_split
from nvg.sequence import Sequences
from tests.nvg.generator.makers import randomize
from tests.nvg.structure import reference

# B image, N position, n cluster, V codeword
light = settings(deadline=None, max_examples=40)
CPU = torch.device("cpu")
CODES, CLASSES = 16, 3


def make_parents(seed: int, positions: int, stage: int, batch: int = 2) -> Tensor:
    """Equal-sized parents 0..2^stage-1 in random places [B, N]."""
    g = torch.Generator().manual_seed(seed)
    run = torch.arange(positions) // (positions >> stage)
    return torch.stack([run[torch.randperm(positions, generator=g)] for _ in range(batch)])


@light
@given(
    seed=st.integers(0, 10**6),
    last=st.integers(1, 6),
    scale=st.sampled_from([0.0, 1e-6, 1.0, 100.0]),
    data=st.data(),
)
def test_halve_splits_every_parent_exactly_in_half(
    seed: int, last: int, scale: float, data: st.DataObject
) -> None:
    """Whatever the values, both children of every parent get half of its positions."""
    stage = data.draw(st.integers(0, last - 1))
    parent = make_parents(seed, 1 << last, stage)
    g = torch.Generator().manual_seed(seed)
    value = scale * torch.randn(parent.shape, generator=g) + 1
    child = balanced_split(value, parent, stage, torch.rand(parent.shape, generator=g))
    assert torch.equal(child >> 1, parent)
    half = (1 << last) >> (stage + 1)
    for row in child.tolist():
        assert Counter(row) == dict.fromkeys(range(2 << stage), half)


@light
@given(seed=st.integers(0, 10**6), last=st.integers(1, 6), data=st.data())
def test_halve_gives_the_smallest_position_to_the_even_child(
    seed: int, last: int, data: st.DataObject
) -> None:
    """Canonical order: the half that holds a parent's smallest position is child 2j."""
    stage = data.draw(st.integers(0, last - 1))
    parent = make_parents(seed, 1 << last, stage)
    g = torch.Generator().manual_seed(seed)
    value = torch.randn(parent.shape, generator=g)
    child = balanced_split(value, parent, stage, torch.rand(parent.shape, generator=g))
    for parents, children in zip(parent.tolist(), child.tolist(), strict=True):
        for j in range(1 << stage):
            assert children[parents.index(j)] == 2 * j


@pytest.mark.parametrize(("positions", "stage"), [(16, 0), (16, 3), (256, 0), (256, 2)])
def test_halve_follows_clear_balanced_bits(positions: int, stage: int) -> None:
    """Channels of exactly 0 and 2, half of each in every parent, are taken as they are."""
    batch = 1000
    parent = make_parents(0, positions, stage, batch)
    order = parent.argsort(dim=1, stable=True)
    size = positions >> stage
    g = torch.Generator().manual_seed(1)
    bits = torch.stack([torch.randperm(size, generator=g) % 2 for _ in range(batch << stage)])
    bit = torch.empty_like(parent).scatter_(1, order, bits.reshape(batch, positions))
    first = bits[:, :1].reshape(batch, -1).gather(1, parent)
    child = balanced_split(2.0 * bit, parent, stage, torch.rand(parent.shape, generator=g))
    wrong = int((child != 2 * parent + (bit ^ first)).any(1).sum())
    assert wrong == 0, f"{wrong} of {batch} images leave a certain split"


def test_halve_draws_as_plackett_luce() -> None:
    """Gumbel-top-2 of 4 positions is two draws without replacement, in proportion to the channel.

    A pair and its complement make the same canonical split, hence the sum of both.
    """
    weight = [0.2, 0.9, 0.4, 0.7]
    total, draws = sum(weight), 40_000

    def pair(a: int, b: int) -> float:
        one = weight[a] / total * weight[b] / (total - weight[a])
        return one + weight[b] / total * weight[a] / (total - weight[b])

    g = torch.Generator().manual_seed(0)
    value = 2 * torch.tensor(weight).expand(draws, -1)
    uniform = torch.rand(draws, 4, generator=g)
    child = balanced_split(value, torch.zeros(draws, 4, dtype=torch.int64), 0, uniform)
    seen = Counter(tuple(row) for row in child.tolist())
    expected = {
        (0, 0, 1, 1): pair(0, 1) + pair(2, 3),
        (0, 1, 0, 1): pair(0, 2) + pair(1, 3),
        (0, 1, 1, 0): pair(0, 3) + pair(1, 2),
    }
    assert set(seen) == set(expected)
    for split, probability in expected.items():
        spread = math.sqrt(probability * (1 - probability) / draws)
        assert abs(seen[split] / draws - probability) < 4 * spread


@light
@given(
    # eighths: two logits are equal, or so far apart that float32 probabilities differ too
    logits=st.lists(st.integers(-40, 40).map(lambda n: n / 8), min_size=1, max_size=8),
    nucleus=st.floats(0.01, 1.0),
    uniform=st.floats(0, 0.999),
)
def test_top_p_equals_the_slow_reference(
    logits: list[float], nucleus: float, uniform: float
) -> None:
    """Inverse CDF over the shortest run of likeliest tokens that reaches the nucleus."""
    weight = [math.exp(value) for value in logits]
    share = [w / sum(weight) for w in weight]
    order = sorted(range(len(share)), key=lambda token: (-logits[token], token))
    sums = [sum(share[t] for t in order[: n + 1]) for n in range(len(order))]
    assume(all(abs(value - nucleus) > 1e-5 for value in sums[:-1]))
    size = next((n + 1 for n, value in enumerate(sums) if value >= nucleus), len(order))
    target = uniform * sums[size - 1]
    assume(all(abs(value - target) > 1e-5 for value in sums))
    expected = order[next(n for n, value in enumerate(sums) if value > target)]
    got = top_p(torch.tensor([[logits]]), nucleus, torch.tensor([[uniform]]))
    assert got.tolist() == [[expected]]


def test_a_full_nucleus_is_unbiased() -> None:
    """With nucleus 1 tokens appear as often as softmax says."""
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, -3.0])
    draws = 40_000
    uniform = torch.rand(1, draws, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits.expand(1, draws, -1), 1.0, uniform)
    frequency = torch.bincount(tokens[0], minlength=5) / draws
    share = logits.exp() / logits.exp().sum()
    assert ((frequency - share).abs() < 4 * (share * (1 - share) / draws).sqrt()).all()


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-24])
def test_a_tiny_nucleus_is_the_likeliest_token(uniform: float) -> None:
    """The nucleus never becomes empty: it keeps the arg max."""
    logits = torch.randn(3, 7, 50, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits, 1e-6, torch.full((3, 7), uniform))
    assert torch.equal(tokens, logits.argmax(-1))


@pytest.mark.parametrize("nucleus", [0.1, 0.5, 0.9])
def test_the_largest_uniform_stays_inside_the_nucleus(nucleus: float) -> None:
    """No rounding lets a token outside the nucleus through, not even at u = 1 - 2^-24."""
    logits = 3 * torch.randn(500, 1, 40, generator=torch.Generator().manual_seed(0))
    tokens = top_p(logits, nucleus, torch.full((500, 1), 1 - 2**-24))
    share, order = logits.double().softmax(-1).sort(-1, descending=True)
    place = (order == tokens.unsqueeze(-1)).double().argmax(-1, keepdim=True)
    before = (share.cumsum(-1) - share).gather(-1, place)
    assert (before < nucleus + 1e-6).all()


@pytest.mark.parametrize("K", [2, 4, 8])
def test_guidance_rises_linearly_from_one(K: int) -> None:
    """1 at stage 0, 3.5 at K, equal steps between (Generation)."""
    scales = [guidance_at(stage, K, 3.5) for stage in range(K + 1)]
    assert scales == pytest.approx([1 + 2.5 * stage / K for stage in range(K + 1)])
    assert (scales[0], scales[-1]) == (1.0, 3.5)


@pytest.mark.parametrize("K", [2, 4, 8])
def test_top_p_falls_from_one_by_shrinking_steps(K: int) -> None:
    """100 % at stage 0, 50 % at K, and every drop is smaller than the one before: a logarithm."""
    values = [top_p_at(stage, K, 0.5) for stage in range(K + 1)]
    drops = [a - b for a, b in pairwise(values)]
    assert (values[0], values[-1]) == pytest.approx((1.0, 0.5))
    assert all(drop > 0 for drop in drops)
    assert all(a > b for a, b in pairwise(drops))


@pytest.mark.parametrize("scale", [1.0, 0.0, 2.5])
def test_guidance_is_uncond_plus_scaled_difference(scale: float) -> None:
    """u + s (c - u) from one call; with s = 1 the batch is not doubled."""
    batches: list[list[int]] = []

    def predict(x: Tensor, label: Tensor) -> Tensor:
        batches.append(label.tolist())
        return x * (1.0 + label.float()).unsqueeze(1)

    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    got = Guidance(torch.tensor([0, 2]), 9, scale)(predict, x)
    conditional = x * torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(got, 10 * x + scale * (conditional - 10 * x))
    assert batches == ([[0, 2]] if scale == 1.0 else [[0, 2, 9, 9]])


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_belongs_to_the_image(kind: str) -> None:
    """Image 5 draws the same numbers alone as in the batch 3..7, and others than image 4."""
    alone, together = (getattr(Noise(1, r, CPU), kind)(3, 2) for r in (range(5, 6), range(3, 8)))
    assert torch.equal(alone[0], together[2])
    assert not torch.equal(alone[0], together[1])


@pytest.mark.parametrize(
    ("name", "value"),
    [("content_guidance", -1.0), ("top_p", 0.0), ("top_p", 1.5), ("flow_steps", 0)],
)
def test_schedules_out_of_range_are_refused(name: str, value: float) -> None:
    """A schedule that cannot be meant is an error when the recipe is read."""
    with pytest.raises(ValueError, match=name.split("_")[-1]):
        SamplerConfig(**{name: value})


def test_the_default_schedules_are_the_papers() -> None:
    """2.5 and 3.5, top-p down to 50 %, 25 Euler steps (Generation)."""
    config = SamplerConfig()
    assert (config.structure_guidance, config.content_guidance) == (2.5, 3.5)
    assert (config.top_p, config.flow_steps) == (0.5, 25)


def draw(labels: list[int], seed: int = 0, batch: int = 64, grid: int = 4) -> Sequences:
    """Sequences from random models."""
    geometry, config = Geometry(grid), TransformerConfig(depth=1, width=64, heads=2)
    content = ContentGenerator(config, geometry, CLASSES, CODES, 4, 0.5)
    structure = StructureGenerator(config, geometry, CLASSES, 4, 0.5)
    quantizer = MultiGranularityQuantizer(CODES, 4, geometry)
    for number, model in enumerate((content, structure, quantizer)):
        randomize(model.eval(), number, 0.3)
    steps = SamplerConfig(flow_steps=2)
    return sample_images(content, structure, quantizer, labels, seed, steps, batch)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_samples_are_valid_sequences(grid: int) -> None:
    """Leaves are canonical permutations with leaf 0 at position 0; tokens are in the codebook."""
    made = draw([0, 1, 2, 0, -1], grid=grid)
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
def test_an_image_does_not_depend_on_the_batch_it_is_drawn_in(batch: int) -> None:
    """Image i of a seed is the same for every batch size."""
    labels = [0, 2, 1, -1, 1]
    whole, parts = draw(labels), draw(labels, batch=batch)
    assert torch.equal(parts.leaves, whole.leaves)
    assert torch.equal(parts.content, whole.content)


def test_seed_and_label_change_the_images() -> None:
    """Another seed gives other tokens, and so does another class with the same seed."""
    base = draw([0] * 4)
    assert torch.equal(base.content, draw([0] * 4).content)
    assert not torch.equal(base.content, draw([0] * 4, seed=1).content)
    assert not torch.equal(base.content, draw([1] * 4).content)


def test_no_class_is_the_null_class() -> None:
    """Label -1 draws what the null class, one past the last, draws."""
    assert torch.equal(draw([-1, -1]).content, draw([CLASSES, CLASSES]).content)
