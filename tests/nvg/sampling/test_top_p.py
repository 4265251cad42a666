"""Logits to tokens against a slow reference and against a full stable sort."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from nvg.sampling import top_p as module
from nvg.sampling.top_p import sample_tokens, top_p

# B image, n cluster, V code
light = settings(deadline=None, max_examples=40)


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


def by_full_sort(logits_BnV: Tensor, top_k: int, p: float, uniform_Bn: Tensor) -> Tensor:
    """All tokens in a stable order, cut after the k-th where there is a k."""
    if top_k:
        least = logits_BnV.topk(top_k).values[..., -1:]
        logits_BnV = logits_BnV.masked_fill(logits_BnV < least, -torch.inf)
    share, token = logits_BnV.softmax(-1).sort(dim=-1, descending=True, stable=True)
    share = share[..., : top_k or None]
    cdf = torch.where(share.cumsum(-1) - share < p, share, 0.0).cumsum(-1)
    pick = (cdf <= uniform_Bn.unsqueeze(-1) * cdf[..., -1:]).sum(-1, keepdim=True)
    return token.gather(-1, pick.clamp(max=share.shape[-1] - 1)).squeeze(-1)


@pytest.mark.thorough
@pytest.mark.parametrize("top_k", [0, 1, 7, 100])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0, 30.0])
def test_tokens_are_those_of_a_full_sort(top_k: int, p: float, spread: float) -> None:
    """Flat or peaked, with equal probabilities among distinct logits: to the bit."""
    generator = torch.Generator().manual_seed(7)
    logits = spread * torch.randn(5, 40, 512, generator=generator)
    logits[:, :3, 5::7] = logits[:, :3, 4:-3:7] * (1 + 2.0**-24)  # ties after the softmax
    uniform = torch.rand(5, 40, generator=generator)
    expected = by_full_sort(logits, top_k, p, uniform)
    assert torch.equal(sample_tokens(logits, top_k, p, uniform), expected)


@pytest.mark.parametrize(("spread", "sorts"), [(4.0, 0), (0.1, 1)])
def test_few_likely_tokens_need_no_full_sort(
    spread: float, sorts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in eight is enough where they reach p; flat logits are sorted whole."""
    seen: list[int] = []
    pick = module._pick

    def watched(share: Tensor, *rest: Any) -> Tensor:
        seen.append(share.shape[-1])
        return pick(share, *rest)

    monkeypatch.setattr(module, "_pick", watched)
    logits = spread * torch.randn(2, 9, 512, generator=torch.Generator().manual_seed(1))
    top_p(logits, 0.5, torch.rand(2, 9))
    assert seen == [512 if sorts else 64]


def test_of_equal_logits_the_lowest_tokens_are_the_top_k() -> None:
    """Exactly k are kept, whatever order topk has among equals."""
    uniform = torch.linspace(0, 0.999, 400).view(1, -1)
    tokens = sample_tokens(torch.zeros(1, 400, 64), 3, 1.0, uniform)
    assert tokens.unique().tolist() == [0, 1, 2]
