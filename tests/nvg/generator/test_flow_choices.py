"""The structure generator's choices: canvas tokens, centred values, times, shared noise."""

import pytest
import torch

from nvg.choices import (
    FlowNoise,
    FlowTime,
    StructureValues,
)
from nvg.generator.config import Variant
from nvg.generator.structure_flow import StructureGenerator
from tests.nvg.generator.makers import (
    CHANNELS,
    make_shape,
)

POSITIONS, LAST = 16, 4


def test_centred_values_are_minus_one_and_one() -> None:
    """And 0 where a bit is unknown."""
    for values, expected in (
        (StructureValues.BITS, [0, 1, 2]),
        (StructureValues.CENTRED, [-1, 0, 1]),
    ):
        model = StructureGenerator(make_shape(variant=Variant(structure_values=values)))
        found = model.values(torch.tensor([0, 1, 2]))
        assert found.is_floating_point()
        assert found.tolist() == expected


def test_times_may_be_logit_normal() -> None:
    """Their logit is N(0, 1): mean and standard deviation to four of their own deviations."""
    model = StructureGenerator(make_shape(variant=Variant(flow_time=FlowTime.LOGIT_NORMAL)))
    torch.manual_seed(0)
    count = 10_000
    _, time = model.draw_noise(torch.zeros(count, 1, CHANNELS))
    logit = (time / (1 - time)).log()
    assert float(logit.mean()) == pytest.approx(0, abs=4 / count**0.5)
    assert float(logit.std()) == pytest.approx(1, abs=4 / (2 * count) ** 0.5)


@pytest.mark.parametrize("kind", list(FlowNoise))
def test_copies_of_an_image_may_share_their_noise(kind: FlowNoise) -> None:
    """Three copies of two images, one after the other: each has a time of its own all the same."""
    model = StructureGenerator(make_shape(variant=Variant(flow_noise=kind)))
    torch.manual_seed(0)
    noise, time = model.draw_noise(torch.zeros(6, POSITIONS, CHANNELS), 2)
    assert noise.shape == (6, POSITIONS, LAST)
    assert len(time.unique()) == 6
    same = [[torch.equal(a, b) for b in noise] for a in noise]
    is_shared = kind is FlowNoise.SHARED
    expected = [[a == b or (is_shared and a // 3 == b // 3) for b in range(6)] for a in range(6)]
    assert same == expected


@pytest.mark.parametrize("count", [64, 256])
def test_the_time_enters_as_so_many_sinusoids(count: int) -> None:
    """Half of them cosines: all 1 at time 0, where the sines are 0."""
    model = StructureGenerator(make_shape(variant=Variant(time_frequencies=count)))
    seen: list[torch.Tensor] = []
    model.time.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    noisy, canvas = torch.zeros(1, POSITIONS, LAST), torch.zeros(1, POSITIONS, CHANNELS)
    parent, number = torch.ones(1, POSITIONS, LAST, dtype=torch.int64), torch.tensor([1])
    model(noisy, torch.zeros(1), canvas, parent, number, number)
    assert seen[0].tolist() == [[1.0] * (count // 2) + [0.0] * (count // 2)]
