"""Files and arrays of images: what is read back, and what a failure leaves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.sampling.places import array_file, image_file, read_files, write_files


def test_files_hold_the_pixels(tmp_path: Path) -> None:
    """A folder for each class, none without; PNG loses nothing."""
    assert image_file(tmp_path, 12, 3) == tmp_path / "0003" / "000012.png"
    assert image_file(tmp_path, 12, -1) == tmp_path / "000012.png"
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    files = [image_file(tmp_path, n, n) for n in range(2)]
    written = write_files(files, pixels)
    assert [path.read_bytes() for path in files] == written
    assert torch.equal(read_files(files), pixels)


def test_an_array_appears_when_it_is_whole(tmp_path: Path) -> None:
    """A user's own file with a similar name stays; a failure leaves nothing."""
    path, own = tmp_path / "a.npz", tmp_path / "a.npz.tmp"
    own.write_text("mine")
    pixels = torch.randint(0, 256, (3, 3, 4, 4), dtype=torch.uint8)
    with array_file(path, 3) as append:
        append(pixels[:2])
        append(pixels[2:])
        assert not path.exists()
    assert np.array_equal(np.load(path)["arr_0"], pixels.permute(0, 2, 3, 1).numpy())
    with pytest.raises(KeyError), array_file(tmp_path / "b.npz", 3):
        raise KeyError
    assert sorted(tmp_path.iterdir()) == [path, own]
    assert own.read_text() == "mine"
