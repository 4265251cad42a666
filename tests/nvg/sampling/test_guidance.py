"""Classifier-free guidance, and noise that belongs to an image."""

import pytest
import torch
from torch import Tensor

from nvg.sampling.config import SamplerConfig
from nvg.sampling.guidance import Draw, Guidance, Noise, untrained_null_warnings

CPU = torch.device("cpu")


@pytest.mark.parametrize("scale", [1.0, 0.0, 2.5])
def test_guidance_is_uncond_plus_scaled_difference(scale: float) -> None:
    """u + s (c - u) from one call; with s = 1 the batch is not doubled."""
    batches: list[list[int]] = []

    def predict(x: Tensor, label: Tensor) -> Tensor:
        batches.append(label.tolist())
        return x * (1.0 + label.float()).unsqueeze(1)

    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    guide = Guidance(torch.tensor([0, 2]), 9, scale)
    got = guide.mix(predict(guide.both(x), guide.labels))
    conditional = x * torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(got, 10 * x + scale * (conditional - 10 * x))
    assert batches == ([[0, 2]] if scale == 1.0 else [[0, 2, 9, 9]])


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_belongs_to_the_image(kind: str) -> None:
    """Image 5 draws the same numbers alone as in the batch 3..7, and others than image 4."""
    alone, together = (getattr(Noise(1, r, CPU), kind)(3, 2) for r in (range(5, 6), range(3, 8)))
    assert torch.equal(alone[0], together[2])
    assert not torch.equal(alone[0], together[1])


def test_guidance_by_an_untrained_class_is_warned_of() -> None:
    """Not where training dropped classes, there are none, or both scales are 1."""
    plain = SamplerConfig(content_guidance=1, structure_guidance=1)
    (line,) = untrained_null_warnings(SamplerConfig(), 0.0, 10)
    assert "class_dropout_prob = 0" in line
    assert untrained_null_warnings(SamplerConfig(content_guidance=1), 0.0, 10) == [line]
    for config, dropout, classes in ((plain, 0.0, 10), (SamplerConfig(), 0.1, 10)):
        assert untrained_null_warnings(config, dropout, classes) == []
    assert untrained_null_warnings(SamplerConfig(), 0.0, 0) == []


def test_noise_drawn_ahead_is_the_same() -> None:
    """To the bit, whatever shapes and order; after it, images go on where they are."""
    ahead = [Draw(torch.randn, (16, 4)), Draw(torch.rand, (1,)), Draw(torch.randn, (3,))]
    one, other = Noise(2, range(4, 7), CPU), Noise(2, range(4, 7), CPU, ahead)
    for draw in (*ahead, Draw(torch.rand, (5,)), Draw(torch.randn, (17,))):
        kind = "normal" if draw.fill is torch.randn else "uniform"
        first, second = (getattr(noise, kind)(*draw.shape) for noise in (one, other))
        assert torch.equal(first, second)


def test_other_noise_than_was_drawn_ahead_is_refused() -> None:
    """A sampler that asks in another order is wrong, and told so."""
    noise = Noise(0, range(2), CPU, [Draw(torch.randn, (4,))])
    with pytest.raises(ValueError, match=r"drawn ahead was .*\(4,\)"):
        noise.uniform(4)
