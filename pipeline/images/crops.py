"""Which squares of an image are stored: the views a recipe names, as windows of the resized image.

Every view depends on the image's size and key alone: a row is the same on any machine, in any
order, and when its chunk is written again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from nvg.tokenizer.adm import resized
from pipeline.recipe import TokenizeConfig, View

# Corners of a ten-crop, as fractions of the largest offset right and down; then mirrored.
CORNERS = {
    "top-left": (0.0, 0.0),
    "top-right": (1.0, 0.0),
    "bottom-left": (0.0, 1.0),
    "bottom-right": (1.0, 1.0),
    "middle": (0.5, 0.5),
}
RANDOM = (View.RANDOM, View.RANDOM_FLIP)


@dataclass(frozen=True, slots=True)
class Window:
    """A square whose corner is (`left`, `top`) in the image resized to `resized`; or its mirror."""

    resized: tuple[int, int]
    left: int
    top: int
    flip: bool


@dataclass(frozen=True)
class Crops:
    """The views of every image, `size` pixels a side; the short side of `center` is the size.

    Ten-crop and random crops are cut from a larger image whose short side is `resize` times the
    size (1.1 and 1.125 are usual).
    """

    size: int
    views: tuple[View, ...] = (View.CENTER,)
    resize: float = TokenizeConfig.resize

    def names(self) -> list[str]:
        """One name for each stored view, as the manifest lists them."""
        return [name for name, _ in self._placed()]

    def describe(self) -> str:
        """How the pixels are made, for the manifest."""
        kinds = ["adm-center-crop"] if {View.CENTER, View.FLIP} & set(self.views) else []
        kinds += ["ten-crop"] if View.TEN in self.views else []
        kinds += ["random-crop"] if set(RANDOM) & set(self.views) else []
        larger = kinds != ["adm-center-crop"]
        return ", ".join(kinds) + (f" of an adm-resize by {self.resize:g}" if larger else "")

    def windows(self, width: int, height: int, key: str) -> list[Window]:
        """The window of each stored view, for an image of this size."""
        return [self._window(name, view, width, height, key) for name, view in self._placed()]

    def _placed(self) -> Iterator[tuple[str, View]]:
        """(name, view) of each stored view; ten-crop is ten of them."""
        for number, view in enumerate(self.views):
            if view is View.TEN:
                yield from ((name, view) for name in CORNERS)
                yield from ((f"{name}-flip", view) for name in CORNERS)
            else:
                yield f"{view.value}-{number}" if view in RANDOM else view.value, view

    def _window(self, name: str, view: View, width: int, height: int, key: str) -> Window:
        if view in (View.CENTER, View.FLIP):
            short, place = self.size, (0.5, 0.5)
        elif view is View.TEN:
            short, place = self._larger, CORNERS[name.removesuffix("-flip")]
        else:
            short, place = self._larger, _random_place(f"{key}\n{name}")
        sides = resized(width, height, short)
        # A random fraction is below 1: one more offset makes the last one reachable.
        extra = 1 if view in RANDOM else 0
        left, top = (
            int(fraction * (side - self.size + extra))
            for fraction, side in zip(place, sides, strict=True)
        )
        mirrored = view in (View.FLIP, View.RANDOM_FLIP) or name.endswith("-flip")
        return Window(sides, left, top, mirrored)

    @property
    def _larger(self) -> int:
        return round(self.size * self.resize)


def _random_place(text: str) -> tuple[float, float]:
    """Two fractions in [0, 1), hashed from the text."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    x, y = (int.from_bytes(part) >> 11 for part in (digest[:8], digest[8:16]))
    return x / 2**53, y / 2**53
