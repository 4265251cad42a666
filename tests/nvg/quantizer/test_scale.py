"""VAR's pyramid against explicit loops: areas, bicubic enlargement, which refiner, which tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nvg.errors import InputError
from nvg.quantizer.scale import SIDES, ScalePyramidQuantizer
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.tokenizer.config import AutoencoderConfig, Pyramid
from pipeline.tokenize.dataset import tokenize_dataset
from tests.makers import tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder

# B image, N position, C latent channel


def scale_model() -> AutoencoderConfig:
    """The tiny tokenizer with VAR's pyramid."""
    return replace(tiny_model(), pyramid=Pyramid.SCALE)


@pytest.mark.parametrize("grid", list(SIDES))
def test_scales_grow_from_one_to_the_grid(grid: int) -> None:
    """Stages in order fill the sequence; at 16 they are VAR's 680 tokens."""
    layout = ScalePyramidQuantizer(8, 4, grid).layout
    slices = [layout.stage_slice(stage) for stage in range(layout.stages)]
    assert slices[0] == slice(0, 1)
    assert [s.start for s in slices[1:]] == [s.stop for s in slices[:-1]]
    assert slices[-1].stop == layout.tokens
    assert layout.clusters(layout.stages - 1) == grid * grid
    assert ScalePyramidQuantizer(8, 4, 16).layout.tokens == 680


def test_the_refiners_are_vars() -> None:
    """Ten scales take phi 0 0 1 1 1 2 2 3 3 3, as its own code finds them (two are exact ties)."""
    quantizer = ScalePyramidQuantizer(8, 4, 16)
    assert [quantizer.phi_index(k) for k in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]


def test_pooling_is_by_area() -> None:
    """A cell of a 3x3 grid over 4x4 positions averages all positions it touches."""
    quantizer = ScalePyramidQuantizer(8, 1, 4)
    values = torch.arange(16.0).view(1, 16, 1)
    grid = values.view(4, 4).numpy()
    expected = [
        grid[int(np.floor(y * 4 / 3)) : int(np.ceil((y + 1) * 4 / 3))][
            :, int(np.floor(x * 4 / 3)) : int(np.ceil((x + 1) * 4 / 3))
        ].mean()
        for y in range(3)
        for x in range(3)
    ]
    found = quantizer.pool(values, torch.arange(16).view(1, -1), 2)
    assert found.flatten().tolist() == pytest.approx(expected)


def test_spreading_a_constant_gives_a_constant() -> None:
    """Bicubic weights sum to one; the last scale is not touched."""
    quantizer = ScalePyramidQuantizer(8, 2, 4)
    leaves = torch.arange(16).view(1, -1)
    for stage, side in enumerate(SIDES[4]):
        scatter = quantizer.scatter(torch.full((1, side * side, 2), 3.0), leaves, stage)
        assert torch.allclose(scatter, torch.full((1, 16, 2), 3.0), atol=1e-5)
    values = torch.randn(1, 16, 2)
    assert torch.equal(quantizer.scatter(values, leaves, 3), values)


def test_other_grids_are_refused() -> None:
    """There is no pyramid for 32."""
    with pytest.raises(InputError, match="no scale pyramid for a grid of 32: use one of "):
        ScalePyramidQuantizer(8, 4, 32)


def test_a_scale_tokenizer_has_the_same_convolutions() -> None:
    """Same encoder, decoder, codebook and refiners: names and shapes agree."""
    models = [Autoencoder(tiny_model()), Autoencoder(scale_model())]
    shapes = [{name: v.shape for name, v in model.state_dict().items()} for model in models]
    assert shapes[0] == shapes[1]
    content = models[1].tokenize(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))[1]
    assert content.shape == (2, 30)


def test_its_tokens_are_not_stored(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A store holds structure; scales have none."""
    folder = tmp_path_factory.mktemp("scale")
    write_image_folder(folder / "images")
    write_autoencoder(folder / "run", config=scale_model())
    recipe = tiny_recipe(folder / "images")
    section = replace(recipe.autoencoder, model=scale_model())
    with pytest.raises(InputError, match="is a scale pyramid, for comparison only"):
        tokenize_dataset(
            replace(recipe, autoencoder=section), folder / "run", str(folder / "a.vgs")
        )
