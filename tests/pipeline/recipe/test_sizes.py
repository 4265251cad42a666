"""Sizes for images without a recipe: they fit, and every size makes a grid."""

import pytest

from nvg.errors import InputError
from nvg.training.autoencoder.memory import autoencoder_memory
from nvg.training.memory import Device, device_of
from pipeline.recipe import resolved
from pipeline.recipe.presets import PRESETS
from pipeline.recipe.sizes import MULTIPLIERS, sizes_for
from tests.nvg.tokenizer.makers import tiny_model

SMALL, LARGE = device_of(8), device_of(80)
CPU = Device("the CPU", 2**34, is_mixed=False)


@pytest.mark.parametrize("image_size", MULTIPLIERS)
def test_every_size_makes_a_recipe(image_size: int) -> None:
    """Its table alone gives the model and training that were chosen; the preset is one."""
    sizes = sizes_for(image_size, 5000, LARGE)
    assert sizes.preset in PRESETS
    section = resolved({"autoencoder": sizes.table()}).autoencoder
    assert section.model == sizes.model
    assert section.train == sizes.train
    assert sizes.model.image_size == image_size


def test_a_batch_fits_the_device() -> None:
    """A larger device takes a larger one, never more than it has memory for."""
    batches = []
    for device in (SMALL, LARGE):
        sizes = sizes_for(256, 1_000_000, device)
        needed = autoencoder_memory(sizes.model, sizes.train, device.is_mixed)
        assert sizes.train.batch_size <= needed.largest(device.bytes)
        batches.append(sizes.train.batch_size)
    assert batches[0] < batches[1]


def test_few_images_get_small_batches_and_codebooks() -> None:
    """A tenth of the images at most, and enough steps to learn something."""
    few, many = (sizes_for(32, count, LARGE) for count in (300, 1_000_000))
    assert (few.train.batch_size, many.train.batch_size) == (16, 256)
    assert few.model.codebook_size < many.model.codebook_size == 4096
    assert few.train.steps >= 1000
    assert many.train.steps <= 200_000


@pytest.mark.parametrize(
    "images",
    [40, *(pytest.param(n, marks=pytest.mark.thorough) for n in (1, 300, 5000, 2_000_000))],
)
@pytest.mark.parametrize("image_size", MULTIPLIERS)
def test_the_generators_can_be_trained_on_so_few(image_size: int, images: int) -> None:
    """A batch is no more than the images (8 at least), and no step is more than the preset's."""
    for device in (SMALL, LARGE, CPU):
        sizes = sizes_for(image_size, images, device)
        recipe = resolved({"autoencoder": sizes.table(), "generator": sizes.generator_table()})
        train, usual = recipe.generator.train, PRESETS[sizes.preset]["train"]
        assert train.batch_size <= max(images, 8)
        assert train.steps <= usual["steps"]
        assert train.warmup < train.steps
        if images > 1_000_000 and device.is_mixed:
            assert (train.batch_size, train.steps) == (usual["batch_size"], usual["steps"])


def test_a_cpu_trains_what_it_can() -> None:
    """The smallest generators of any grid, and about as many positions a step."""
    for image_size, batch in ((32, 16), (16, 64), (256, 8)):
        sizes = sizes_for(image_size, 5000, CPU)
        assert (sizes.preset, sizes.generators["batch_size"]) == ("small4", batch)
        assert sizes.why["generator.preset"] == "for the CPU"


def test_a_size_without_a_grid_is_refused() -> None:
    """The line names those that have one."""
    with pytest.raises(InputError, match=r"--image-size 96 is none of 16, 32, 64"):
        sizes_for(96, 100, LARGE)


def test_a_given_model_is_taken() -> None:
    """With the preset of its own grid."""
    sizes = sizes_for(8, 100, LARGE, tiny_model())
    assert (sizes.model, sizes.preset) == (tiny_model(), "small4")
    assert not [key for key in sizes.why if key.startswith("autoencoder.model")]
