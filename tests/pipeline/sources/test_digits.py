"""The bundled handwritten digits."""

import numpy as np

from pipeline.images.decode import decode
from pipeline.recipe import SourceKind
from pipeline.sources import (
    DigitsSource,
)
from tests.pipeline.sources.makers import opened


def test_digits_are_the_bundled_scans() -> None:
    """1,797 grey 8x8 images of ten classes, whose PNG holds levels 0..16 as 0..255."""
    from sklearn.datasets import load_digits

    source = opened(SourceKind.DIGITS, "")
    assert source.classes == [str(n) for n in range(10)]
    assert [row.label for row in source.rows] == load_digits().target.tolist()
    assert len({row.key for row in source.rows}) == 1797
    (data,) = source.read([source.rows[1000].key])
    assert isinstance(data, bytes)
    levels = np.asarray(decode(data)[0]).astype(float)
    assert np.abs(levels - load_digits().images[1000][:, :, None] * 255 / 16).max() <= 0.5


def test_digits_have_a_fingerprint_of_their_own() -> None:
    """The same on every call."""
    assert DigitsSource().fingerprint() == DigitsSource().fingerprint()
