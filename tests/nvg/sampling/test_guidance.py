"""Schedules over the stages, classifier-free guidance, and noise that belongs to an image."""

from itertools import pairwise
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from nvg.sampling.guidance import Guidance, Noise, SamplerConfig, guidance_at, top_p_at

CPU = torch.device("cpu")


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
        SamplerConfig(**cast(Any, {name: value}))


def test_the_default_schedules_are_the_papers() -> None:
    """2.5 and 3.5, top-p down to 50 %, 25 Euler steps (Generation)."""
    config = SamplerConfig()
    assert (config.structure_guidance, config.content_guidance) == (2.5, 3.5)
    assert (config.top_p, config.flow_steps) == (0.5, 25)
