"""The digits that come with scikit-learn: real images without a download."""

import hashlib
import io
from collections.abc import Iterator, Sequence

from pipeline.sources.base import Row, SourceError
from pipeline.sources.rows import Rows


class DigitsSource:
    """scikit-learn's bundled 8x8 scans of handwritten digits (1,797 of them), as PNG."""

    def __init__(self) -> None:
        try:
            from sklearn.datasets import load_digits
        except ModuleNotFoundError:
            raise SourceError(
                "the digits source needs scikit-learn: pip install -e '.[demo]'"
            ) from None
        bunch = load_digits()
        self.left_out: dict[str, int] = {}
        self.images = bunch.images
        self.classes = [str(n) for n in range(10)]
        rows = (Row(f"digit-{n:04d}", int(label)) for n, label in enumerate(bunch.target))
        self.rows: Sequence[Row] = Rows.of(rows)

    def read(self, keys: Sequence[str]) -> Iterator[bytes | OSError]:
        """Grey levels 0..16 stretched to 0..255."""
        from PIL import Image

        for key in keys:
            grey = (self.images[int(key.removeprefix("digit-"))] * 255 / 16).round()
            buffer = io.BytesIO()
            Image.fromarray(grey.astype("uint8")).save(buffer, "png")
            yield buffer.getvalue()

    def fingerprint(self) -> str:
        """Over the pixels."""
        return hashlib.sha256(self.images.tobytes()).hexdigest()
