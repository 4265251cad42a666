"""What figures of few images are worth: warnings, and no more digits than the sample carries."""

import math

FEW = (
    5000  # images, below which a Frechet distance depends on their number more than on most models
)
FULL_DIGITS = 4


def significant_digits(images: int) -> int:
    """Digits of a figure worth printing: 2 below 1000 images, 3 below FEW, then 4."""
    return 2 if images < 1000 else 3 if images < FEW else FULL_DIGITS


def rounded(value: float, images: int) -> str:
    """A figure as text, at the significant digits of so many images; never in powers of ten."""
    digits = significant_digits(images)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    value = float(f"{value:.{digits - 1}e}")
    return f"{value:.{max(digits - 1 - math.floor(math.log10(abs(value))), 0)}f}"


def distance_warnings(images: int, what: str) -> list[str]:
    """A line where a Frechet distance `what` is of few images."""
    if images >= FEW:
        return []
    return [
        f"{what} of {images} images is too large by an unknown amount: compare it only with one "
        f"of as many, or use {FEW} and more"
    ]


def kernel_warnings(images: int, subset: int, what: str) -> list[str]:
    """A line where a subset of the kernel distance `what` is the whole sample."""
    if images > subset:
        return []
    return [
        f"{what} of {images} images has no ±: each of its subsets is the whole sample; use more "
        f"than {subset}"
    ]


def score_warnings(images: int, splits: int, what: str) -> list[str]:
    """A line where a score `what` of classes is of few images in each of its splits."""
    if images >= FEW:
        return []
    return [
        f"{what} of {images} images is too small by an unknown amount: it is the mean over "
        f"{splits} splits of {images // splits}"
    ]
