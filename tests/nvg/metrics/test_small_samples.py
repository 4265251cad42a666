"""Digits and warnings of figures from few images."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvg.metrics.small_samples import distance_warnings, kernel_warnings, rounded, score_warnings


@pytest.mark.parametrize(
    ("value", "images", "text"),
    [
        (123.456, 200, "120"),
        (123.456, 4999, "123"),
        (3.03456, 50_000, "3.035"),
        (0.0123456, 999, "0.012"),
        (0.999, 10, "1.0"),
        (9.99, 10, "10"),
        (12345.6, 10, "12000"),
        (-0.00123, 10, "-0.0012"),
        (0.0, 10, "0"),
    ],
)
def test_digits_follow_the_sample(value: float, images: int, text: str) -> None:
    """Two below 1000 images, three below 5000, then four; no powers of ten."""
    assert rounded(value, images) == text


@settings(deadline=None, max_examples=100)
@given(st.floats(1e-6, 1e6), st.sampled_from([(10, 2), (2000, 3), (9000, 4)]))
def test_the_text_is_as_near_as_its_digits(value: float, sample: tuple[int, int]) -> None:
    """Half a unit of the last digit at most."""
    images, digits = sample
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    assert abs(float(rounded(value, images)) - value) <= 0.5 * unit * (1 + 1e-6)


def test_few_images_are_named() -> None:
    """None from 5000 images for a distance and a score, above a subset for the kernel distance."""
    (line,) = distance_warnings(4999, "FID")
    assert line.startswith("FID of 4999 images is too large")
    assert distance_warnings(5000, "FID") == []
    (line,) = kernel_warnings(1000, 1000, "KID")
    assert line.startswith("KID of 1000 images has no ±")
    assert kernel_warnings(1001, 1000, "KID") == []
    (line,) = score_warnings(4999, 10, "IS")
    assert line.endswith("the mean over 10 splits of 499")
    assert score_warnings(5000, 10, "IS") == []
