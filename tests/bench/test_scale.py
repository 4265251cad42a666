"""The estimates of scale: operations against figures worked out by hand."""

import pytest

from tests.bench.scale import readable, steps


def test_operations_are_those_of_the_paper() -> None:
    """d16: 333,000 steps of 768 images, 3 x (108 + 28) GFLOP each; 128 M images of a tokenizer."""
    found = {name: operations for name, operations, _ in steps()}
    assert found["d16, both generators"] == pytest.approx(333e3 * 768 * 3 * 136e9, rel=1e-2)
    assert found["autoencoder, 100 epochs"] == pytest.approx(1.28e8 * 1.4e12)
    per_sample = 2 * (9 * 108e9 + 7 * 25 * 28e9) + 252e9
    sampled = found["50,000 samples of d16, 25 Euler steps"]
    assert sampled == pytest.approx(50_000 * per_sample, rel=1e-2)


def test_units_are_readable() -> None:
    """The largest of which there are two."""
    assert [readable(s) for s in (119, 120, 7199, 7200, 172_800)] == [
        "119 s",
        "2.0 min",
        "120.0 min",
        "2.0 h",
        "2.0 days",
    ]
