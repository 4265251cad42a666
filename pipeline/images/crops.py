"""Which squares of an image are stored: the views a recipe names, as windows of the resized image.

Every view is a function of the image's size and key alone, so a row comes out the same on any
machine, in any order, and when its chunk is made anew.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.recipe import TokenizeConfig, View

# Where the crops of a ten-crop lie, as shares of the room to the right and below; then mirrored.
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
    """A square whose corner is (`left`, `top`) in the image resized to `whole`; or its mirror."""

    whole: tuple[int, int]
    left: int
    top: int
    flip: bool


@dataclass(frozen=True)
class Crops:
    """The views of every image, `size` pixels a side; the short side of `center` is the size.

    The others are cut from a larger image, its short side `resize` times the size: the room that
    ten-crop and random crops move in (1.1 and 1.125 are usual).
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
        whole = kinds != ["adm-center-crop"]
        return ", ".join(kinds) + (f" of an adm-resize by {self.resize:g}" if whole else "")

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
            short, place = self._larger, _draw(f"{key}\n{name}")
        whole, room = resized(width, height, short, self.size)
        # A drawn share is below 1, and has one more place to fall on than there is room.
        spread = 1 if view in RANDOM else 0
        left, top = (int(share * (free + spread)) for share, free in zip(place, room, strict=True))
        mirrored = view in (View.FLIP, View.RANDOM_FLIP) or name.endswith("-flip")
        return Window(whole, left, top, mirrored)

    @property
    def _larger(self) -> int:
        return round(self.size * self.resize)


def resized(
    width: int, height: int, short: int, size: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size ADM's resize gives an image whose short side becomes `short`, and the room in it.

    Its halvings round down, and the last step scales what they leave.
    """
    while min(width, height) >= 2 * short:
        width, height = width // 2, height // 2
    scale = short / min(width, height)
    wide, high = round(width * scale), round(height * scale)
    return (wide, high), (wide - size, high - size)


def _draw(text: str) -> tuple[float, float]:
    """Two shares in [0, 1) that depend on the text alone."""
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    x, y = (int.from_bytes(part) >> 11 for part in (digest[:8], digest[8:16]))
    return x / 2**53, y / 2**53
