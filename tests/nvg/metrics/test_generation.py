"""Measures from features: identical sets, far sets, hand-made cases, and their names."""

import math
import re

import pytest
import torch

from nvg.errors import InputError
from nvg.metrics.generation import Features, fidelity, fidelity_line
from nvg.pretrained.inception import Extractor
from tests.nvg.metrics.makers import Classified

CPU = torch.device("cpu")


OWN = Extractor("own:net", "", Classified())


def cloud(count: int, seed: int, shift: float = 0.0) -> Features:
    """Normal features around a point."""
    generator = torch.Generator().manual_seed(seed)
    return Features(torch.randn(count, 4, generator=generator) + shift, None)


def test_equal_sets_are_as_close_as_can_be() -> None:
    """Distance 0, all of each within the other."""
    one = cloud(200, 0)
    found = fidelity(one, one, OWN)
    assert found["frechet"] == pytest.approx(0, abs=1e-6)
    assert (found["precision"], found["recall"]) == (1.0, 1.0)
    assert "inception_score" not in found
    assert found["frechet_name"] == "Frechet distance (own:net)"


def test_far_sets_share_nothing() -> None:
    """Distance about the squared shift, nothing within the other, a large kernel distance."""
    found = fidelity(cloud(200, 0), cloud(200, 1, 10.0), OWN)
    assert found["frechet"] == pytest.approx(400, rel=0.05)
    assert (found["precision"], found["recall"]) == (0.0, 0.0)
    near = fidelity(cloud(200, 0), cloud(200, 1), OWN)
    assert found["kid"] > 100 * abs(near["kid"])


@pytest.mark.thorough
def test_precision_and_recall_are_not_swapped() -> None:
    """Generated images in a small part of the real ones: precise, of low recall."""
    real = cloud(400, 0)
    made = Features(0.05 * cloud(400, 1).values, None)
    found = fidelity(made, real, OWN)
    assert found["precision"] > 0.99
    assert found["recall"] < 0.1


@pytest.mark.thorough
def test_the_score_counts_classes() -> None:
    """Three sure classes in equal shares score 3, one class scores 1."""
    pixels = torch.zeros(900, 3, 2, 2, dtype=torch.uint8)
    for n in range(900):
        pixels[n, n % 3] = 255
    even = Features.join([Features.of(OWN, batch) for batch in pixels.split(64)])
    one = Features.of(OWN, pixels[::3])
    assert fidelity(even, even, OWN)["inception_score"] == pytest.approx(3, rel=0.1)
    single = fidelity(one, one, OWN)
    assert math.isclose(single["inception_score"], 1, abs_tol=1e-6)


def test_too_few_images_are_refused() -> None:
    """Three neighbours need five images."""
    with pytest.raises(InputError, match="4 images are too few"):
        fidelity(cloud(4, 0), cloud(100, 1), OWN)
    with pytest.raises(InputError, match="no images"):
        Features.join([])


def test_features_that_are_not_finite_are_refused() -> None:
    """Before any sum is made of them."""

    class Broken(Classified):
        def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            means, logits = super().forward(pixels)
            return means / 0, logits

    pixels = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(InputError, match="own:net gives features that are not finite"):
        Features.of(Extractor("own:net", "", Broken()), pixels)


def test_the_spread_of_subsets_needs_more_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """± of the kernel distance from 1001 images on, as the text has it; few subsets do here."""
    monkeypatch.setattr("nvg.metrics.generation.KID_SUBSETS", 3)
    few, enough = (fidelity(cloud(n, 0), cloud(n, 1), OWN) for n in (1000, 1001))
    assert few["kid_std"] is None
    assert enough["kid_std"] > 0
    assert "±" not in fidelity_line(few)
    assert re.search(r"kernel distance -?0\.\d+ ± 0\.\d+, precision", fidelity_line(enough))
    assert (len(few["warnings"]), len(enough["warnings"])) == (2, 1)
