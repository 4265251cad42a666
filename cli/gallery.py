"""The pictures of docs/GALLERY.md, made from what ./justw demo left: ./justw gallery."""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from cli.demo import OUT, RECIPE
from nvg.files import write_atomic
from nvg.geometry import Geometry
from nvg.sampling.control import Condition, Control, condition_on_stages, edit_region
from nvg.sampling.generators import Generators, load_generators
from nvg.store import open_store
from nvg.structure.drawn import leaves_of_regions
from nvg.view.figures import hierarchy_figure, image_grid, png_bytes, tiles_of
from nvg.view.palette import Tile, structure_tile
from pipeline.recipe import load_recipe
from pipeline.sampling.references import load_reference

FOLDER = Path("docs/gallery")
SHOWN, SEED, SIDE = 8, 3, 48
REFERENCE_ROW, CLASSES = 3, (5, 3, 9, 0)  # the row's own class, then others
Row = tuple[str, list[Tile]]


class Gallery:
    """The demo's generators and a reference."""

    def __init__(self, folder: Path) -> None:
        self.generators: Generators = load_generators(folder / "generator")
        self.config = load_recipe(RECIPE).sample
        self.geometry: Geometry = self.generators.detokenizer.config.geometry
        store = f"{folder}/digits.vgs"
        identity = self.generators.tokenizer
        self.reference = load_reference(f"{store}:{REFERENCE_ROW}", identity, None)
        self.label = int(open_store(store).label[REFERENCE_ROW])

    def tiles(self, label: int, control: Control | None) -> list[Tile]:
        """Samples of a digit."""
        return tiles_of(self.generators.images([label] * SHOWN, SEED, self.config, control))

    def shown_reference(self) -> Tile:
        """The reference, decoded from its tokens."""
        detokenizer = self.generators.detokenizer
        return tiles_of(detokenizer.decode(self.reference.content, self.reference.leaves))[0]

    def shapes(self) -> list[Row]:
        """User-drawn masks, and samples of each digit that follow them."""
        rows = []
        for name, mask_DD in shapes().items():
            leaves, stages = leaves_of_regions(_on_grid(mask_DD, self.geometry.grid), self.geometry)
            control = Control(leaves.expand(SHOWN, -1), stages)
            label = leaves.numpy() >> (self.geometry.K - stages + 1)
            followed = structure_tile(label, stages - 1, self.geometry.grid)
            tile = np.repeat(mask_DD[..., None] * 255, 3, -1).astype(np.uint8)
            for digit in (0, 1, 6):
                rows.append((f"{name}: {digit}", [tile, followed, *self.tiles(digit, control)]))
        return rows

    def structure(self) -> list[Row]:
        """All maps of a reference, other classes."""
        control = condition_on_stages(
            self.reference, self.geometry, Condition.STRUCTURE, self.geometry.stages, SHOWN
        )
        first = self.shown_reference()
        return [(f"as {digit}", [first, *self.tiles(digit, control)]) for digit in CLASSES]

    def stages(self, what: Condition, digit: int) -> list[Row]:
        """The first stages of a reference kept, one more in every row."""
        first, rows = self.shown_reference(), []
        for kept in range(self.geometry.stages + 1):
            control = None
            if kept:
                control = condition_on_stages(self.reference, self.geometry, what, kept, SHOWN)
            rows.append((f"{kept} kept", [first, *self.tiles(digit, control)]))
        return rows

    def region(self) -> list[Row]:
        """The right half resampled."""
        edited = torch.zeros(self.geometry.grid, self.geometry.grid, dtype=torch.bool)
        edited[:, self.geometry.grid // 2 :] = True
        control = edit_region(self.reference, self.geometry, edited.flatten(), SHOWN)
        first = self.shown_reference()
        return [(f"as {digit}", [first, *self.tiles(digit, control)]) for digit in CLASSES]


def shapes() -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """A disc, a bar and a half, 64 pixels a side."""
    made = {}
    for name, box in {
        "disc": (18, 8, 46, 56),
        "bar": (26, 4, 40, 60),
        "half": (32, 0, 64, 64),
    }.items():
        image = Image.new("L", (64, 64))
        draw = ImageDraw.Draw(image)
        (draw.ellipse if name == "disc" else draw.rectangle)(box, fill=1)
        made[name] = np.asarray(image, np.int64)
    return made


def _on_grid(
    mask_DD: np.ndarray[tuple[int, int], np.dtype[np.int64]], grid: int
) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    cells = mask_DD.reshape(grid, 64 // grid, grid, 64 // grid).mean((1, 3))
    return (cells > 0.5).astype(np.int64)


def main() -> None:
    """Write every picture."""
    if not (OUT / "generator" / "content.safetensors").exists():
        print(
            f"gallery: {OUT} holds no trained generators: run ./justw demo first", file=sys.stderr
        )
        raise SystemExit(2)
    gallery = Gallery(OUT)
    own, other = gallery.label, (gallery.label + 4) % 10
    sheets = {
        "shapes": gallery.shapes(),
        "structure": gallery.structure(),
        "stages-own-class": gallery.stages(Condition.ALL, own),
        "stages-other-class": gallery.stages(Condition.ALL, other),
        "region": gallery.region(),
    }
    for name, rows in sheets.items():
        picture = image_grid([tiles for _, tiles in rows], SIDE, names=[title for title, _ in rows])
        write_atomic(FOLDER / f"{name}.png", png_bytes(picture))
    reference = gallery.reference
    picture = hierarchy_figure(gallery.generators.detokenizer, reference.leaves, reference.content)
    write_atomic(FOLDER / "hierarchy.png", png_bytes(picture))
    print(f"wrote {len(sheets) + 1} pictures to {FOLDER}")


if __name__ == "__main__":
    main()
