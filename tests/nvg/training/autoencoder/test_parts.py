"""Micro-batches of images: nearly equal, in order, none empty."""

import numpy as np
import pytest
import torch

from nvg.tokenizer.autoencoder import from_pixels
from nvg.tokenizer.image_batch import ImageBatch
from nvg.training.autoencoder.parts import parts_of


@pytest.mark.parametrize(("count", "sizes"), [(1, [7]), (3, [3, 2, 2]), (9, [1] * 7)])
@pytest.mark.parametrize("has_segments", [False, True])
def test_a_batch_is_cut(count: int, sizes: list[int], has_segments: bool) -> None:
    """Joined again the parts are the batch, label maps too; shares sum to one."""
    pixels = np.arange(7 * 12, dtype=np.uint8).reshape(7, 3, 2, 2)
    segments = np.arange(7 * 4, dtype=np.int32).reshape(7, 4) if has_segments else None
    parts = parts_of(ImageBatch(pixels, segments), count, torch.device("cpu"))
    assert [len(part.pixels) for part in parts] == sizes
    assert [part.share for part in parts] == [size / 7 for size in sizes]
    joined = torch.cat([part.images for part in parts])
    assert torch.equal(joined, from_pixels(torch.from_numpy(pixels)))
    if segments is None:
        assert {part.segments for part in parts} == {None}
    else:
        found = [part.segments for part in parts if part.segments is not None]
        assert torch.equal(torch.cat(found), torch.from_numpy(segments))
