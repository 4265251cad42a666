"""Moments of features and the Fréchet distance between them."""

import numpy as np
import pytest
import torch

from nvg.errors import InputError
from nvg.metrics.frechet import Moments, frechet_distance


def test_moments_are_numpys() -> None:
    """In any batches; far from the origin too."""
    values = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) + 100
    moments = Moments()
    for part in values.split(7):
        moments.add(part)
    found = moments.statistics()
    assert np.allclose(found["mu"], values.double().numpy().mean(0))
    assert np.allclose(found["sigma"], np.cov(values.double().numpy(), rowvar=False), atol=1e-8)
    with pytest.raises(InputError, match="0 images are too few"):
        Moments().statistics()


def test_distance_of_gaussians_on_a_line() -> None:
    """|mu1 - mu2|^2 + (s1 - s2)^2 in one dimension; zero to itself."""
    one, other = Moments(), Moments()
    values = torch.linspace(-1, 1, 101).view(-1, 1)
    one.add(values)
    other.add(3 * values + 2)
    spread = float(values.double().std())
    assert frechet_distance(one, other) == pytest.approx(4 + (2 * spread) ** 2, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
