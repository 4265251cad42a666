"""Settings of sampling and their schedules over the stages."""

import math
from itertools import pairwise
from typing import Any, cast

import pytest

from nvg.choices import LastSplit, StructureGuidance, TimeGrid, TopPCurve
from nvg.sampling.config import (
    SamplerConfig,
    flow_steps,
    guidance_at,
    structure_guidance_at,
    top_p_at,
)


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


def test_a_late_top_p_has_the_releases_values() -> None:
    """Fast last: nine stages from 1 to 0.5, to three decimals."""
    values = [top_p_at(stage, 8, 0.5, TopPCurve.LATE) for stage in range(9)]
    expected = [1, 0.979, 0.951, 0.916, 0.869, 0.809, 0.732, 0.631, 0.5]
    assert [round(value, 3) for value in values] == expected


@pytest.mark.parametrize("curve", list(TopPCurve))
@pytest.mark.parametrize("K", [2, 4, 8])
def test_top_p_goes_from_one_to_the_last(K: int, curve: TopPCurve) -> None:
    """Whatever the curve, and whatever the last value."""
    for last in (0.1, 0.9, 1.0):
        values = [top_p_at(stage, K, last, curve) for stage in range(K + 1)]
        assert (values[0], values[-1]) == pytest.approx((1.0, last))
        assert all(a >= b for a, b in pairwise(values))


@pytest.mark.parametrize("grid", list(TimeGrid))
@pytest.mark.parametrize("steps", [1, 2, 25])
@pytest.mark.parametrize("positions", [16, 256, 4096])
def test_the_steps_of_a_flow_lead_from_noise_to_data(
    steps: int, grid: TimeGrid, positions: int
) -> None:
    """From time 1, each where the one before ended; the sizes add up to 1."""
    made = flow_steps(steps, positions, grid)
    assert len(made) == steps
    assert made[0][0] == pytest.approx(1)
    assert all(size > 0 for _, size in made)
    assert sum(size for _, size in made) == pytest.approx(1)
    for (time, size), (following, _) in pairwise(made):
        assert time - size == pytest.approx(following)


@pytest.mark.parametrize(("positions", "shift"), [(256, 0.5), (4096, 1.15), (2176, 0.825)])
def test_shifted_times_follow_the_formula(positions: int, shift: float) -> None:
    """t -> e^m / (e^m + 1/t - 1): m is 0.5 at 256 positions, 1.15 at 4096, linear between."""
    times = [time for time, _ in flow_steps(10, positions, TimeGrid.SHIFTED)]
    factor = math.exp(shift)
    assert times == pytest.approx([factor / (factor + 10 / n - 1) for n in range(10, 0, -1)])


@pytest.mark.parametrize(
    ("of", "expected"),
    [(StructureGuidance.OWN, [1.375, 1.75, 2.125]), (StructureGuidance.PARENT, [1, 1.375, 1.75])],
)
def test_structure_may_be_guided_as_its_parent(
    of: StructureGuidance, expected: list[float]
) -> None:
    """The scale of stage i or i - 1, on the line from 1 to 2.5 at K."""
    config = SamplerConfig(structure_guidance=2.5, structure_guidance_of=of)
    assert [structure_guidance_at(stage, 4, config) for stage in (1, 2, 3)] == expected


def test_a_last_split_by_noise_needs_the_noise() -> None:
    """It is the shared noise of the flow, so there must be one."""
    with pytest.raises(ValueError, match=r"last_split .* needs flow_noise"):
        SamplerConfig(last_split=LastSplit.NOISE)
