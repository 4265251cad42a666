"""From stored tokens back to pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cli.demo import write_hierarchy
from nvg.choices import PhiForm
from nvg.errors import InputError
from nvg.store import Store, open_store
from nvg.tokenizer.autoencoder import Detokenizer
from nvg.tokenizer.detokenizer import load_detokenizer
from nvg.weights import CheckpointError, weights_bytes
from tests.nvg.launches import Launches, fake_cuda
from tests.nvg.store.makers import empty_store, index_table, make_store, random_arrays, write_rows
from tests.nvg.tokenizer.makers import tiny_autoencoder, tiny_model


def test_a_store_decodes_as_its_tokenizer_does(store: Store) -> None:
    """The weights that a store carries turn its rows into the pixels of the autoencoder itself."""
    leaves = torch.from_numpy(store.leaves[:, 0])
    content = torch.from_numpy(store.content[:, 0].astype(np.int64))
    viewer = load_detokenizer(store.read("detokenizer.safetensors"))
    expected = tiny_autoencoder().decode(content, leaves)
    assert torch.equal(viewer.decode(content, leaves), expected)
    assert len(np.unique(expected.numpy())) > 10


def test_a_detokenizer_loads_from_a_file(store: Store) -> None:
    """A path is as good as the bytes; the model comes in eval mode."""
    viewer = load_detokenizer(Path(store.path, "detokenizer.safetensors"))
    assert not viewer.training
    assert viewer.config == tiny_autoencoder().config


def test_a_whole_autoencoder_is_no_detokenizer(tmp_path: Path) -> None:
    """Weights with an encoder do not fit, and the file is named."""
    model = tiny_autoencoder()
    file = tmp_path / "whole.safetensors"
    file.write_bytes(weights_bytes(model.state_dict(), model.config))
    with pytest.raises(CheckpointError, match=r"whole\.safetensors"):
        load_detokenizer(file)


@pytest.mark.parametrize("sizes", [{}, {"grid": 32}])
def test_a_row_is_drawn_view_by_view(tmp_path: Path, sizes: dict[str, Any]) -> None:
    """A second view makes the picture about twice as high; two-byte leaves are drawn too."""
    pictures = []
    for views in (1, 2):
        store = make_store(tmp_path / f"{views}.vgs", 2, views, **sizes)
        write_hierarchy(store, 1, tmp_path / "row.png")
        with Image.open(tmp_path / "row.png") as picture:
            pictures.append(picture.size)
    (width, one), (same, two) = pictures
    assert width == same
    assert 1.7 * one < two < 2 * one


def test_a_picture_shows_the_row_asked_for(store: Store, tmp_path: Path) -> None:
    """Different rows give different pictures, the same row the same bytes."""
    for name, row in {"a": 0, "b": 1, "c": 0}.items():
        write_hierarchy(store, row, tmp_path / f"{name}.png")
    first, other, again = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != other


@pytest.mark.parametrize("row", [-1, 10])
def test_a_row_that_is_not_there_is_refused(store: Store, tmp_path: Path, row: int) -> None:
    """The error names the rows there are, and nothing is written."""
    with pytest.raises(InputError, match=rf"row {row} .*0\.\.9"):
        write_hierarchy(store, row, tmp_path / "row.png")
    assert not (tmp_path / "row.png").exists()


def test_an_error_row_is_refused_with_its_reason(store: Store, tmp_path: Path) -> None:
    """There is nothing to draw where the image was bad."""
    with pytest.raises(InputError, match=r"row 3 .*not an image"):
        write_hierarchy(store, 3, tmp_path / "row.png")


def test_a_row_not_yet_written_is_refused(tmp_path: Path) -> None:
    """In an unfinished store the committed rows can be drawn, the others not."""
    store = empty_store(tmp_path / "a.vgs", 10)
    arrays = random_arrays(store)
    write_rows(store, 1, arrays, index_table(store, arrays))
    unfinished = open_store(store.path)
    write_hierarchy(unfinished, 4, tmp_path / "row.png")
    with pytest.raises(InputError, match=r"row 1 .*not committed"):
        write_hierarchy(unfinished, 1, tmp_path / "other.png")


@pytest.mark.parametrize("phi", list(PhiForm))
@pytest.mark.parametrize("stage", [None, 2])
def test_a_gpu_decodes_without_waiting(phi: PhiForm, stage: int | None) -> None:
    """Tokens that are there become pixels there: no copy from the host and no wait, whatever
    autocast is around."""
    config = replace(tiny_model(), phi=phi)
    with fake_cuda():
        with torch.device("cuda"):
            model = Detokenizer(config).eval()
            geometry = config.geometry
            content_BT = torch.zeros(2, geometry.tokens, dtype=torch.int64)
            leaves_BN = torch.arange(geometry.positions).expand(2, -1)
        with torch.autocast("cuda", torch.bfloat16), Launches() as launches:
            pixels = model.decode(content_BT, leaves_BN, stage)
        assert (pixels.dtype, pixels.device.type) == (torch.uint8, "cuda")
        assert pixels.shape == (2, 3, config.image_size, config.image_size)
    assert (launches.copies, launches.waits) == (0, 0)
    assert launches.count > 20
