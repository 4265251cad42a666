"""Settings of sampling and their schedules over the stages."""

from itertools import pairwise
from typing import Any, cast

import pytest

from nvg.sampling.config import SamplerConfig, guidance_at, top_p_at


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
