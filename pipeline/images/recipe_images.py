"""The images of a recipe, opened once and handed on: source, stored views, label maps."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

from nvg.errors import InputError
from nvg.structure import takes_segments
from pipeline.images.blocks import Block, RowImages, decode_rows
from pipeline.images.crops import Crops
from pipeline.images.decode import DEFAULT
from pipeline.images.label_maps import SegmentMaps
from pipeline.images.pixels import Reading
from pipeline.recipe import Recipe
from pipeline.sources import Counting, Row, Source, digest, open_source


@dataclass(frozen=True)
class RecipeImages:
    """Where a recipe's images come from and how they are cut; travels to workers."""

    source: Source
    crops: Crops
    """The views that the store keeps of each image."""
    maps: SegmentMaps | None = None
    """Label maps, where the recipe's structure builder needs them."""
    reading: Reading = DEFAULT
    """How pictures become RGB."""

    def block(self, rows: Sequence[Row], threads: int = 1, isolated: bool = False) -> Block:
        """The stored views of some rows as pixels, see `decode_rows`."""
        return decode_rows(
            self.source, rows, self.crops, self.maps, "", threads, self.reading, isolated
        )

    def center_crops(self, rows: Sequence[Row]) -> RowImages:
        """Random access to the centre or random crops of some rows, with their label maps."""
        return RowImages(self.source, rows, self.crops.size, self.maps, self.reading)

    def fingerprint(self) -> str:
        """SHA-256 that changes with the images, or with the label maps that structure follows."""
        found = self.source.fingerprint()
        if self.maps is None:
            return found
        return digest([found, self.maps.fingerprint(row.key for row in self.source.rows)])

    def without_rows(self, classes: list[str]) -> "RecipeImages":
        """The same with these class names and without the list of all rows, for workers."""
        source = copy(self.source)
        source.rows, source.classes = [], classes
        return replace(self, source=source)


def open_images(recipe: Recipe, counting: Counting | None = None) -> RecipeImages:
    """Open what `data` names, see `open_source`. InputError when images or maps are missing."""
    model, tokenize = recipe.autoencoder.model, recipe.tokenize
    maps = None
    if takes_segments(model.builder):
        if not recipe.data.segments:
            raise InputError(
                f"data.segments is missing: builder {model.builder!r} needs a folder of label "
                "maps, one KEY.png for each image"
            )
        maps = SegmentMaps(recipe.data.segments, model.image_size, model.geometry.grid)
    crops = Crops(model.image_size, tokenize.views, tokenize.resize)
    return RecipeImages(open_source(recipe.data, counting), crops, maps, Reading.of(recipe.data))
