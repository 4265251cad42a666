"""Pixels and label maps on their way to the model."""

import numpy as np
import pytest
import torch

from nvg.tokenizer.image_batch import ImageBatch

CPU = torch.device("cpu")


def test_tensors_hold_the_arrays() -> None:
    """In their own types, which is what the model casts from."""
    pixels = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    segments = np.arange(8, dtype=np.int32).reshape(2, 4)
    found, regions = ImageBatch(pixels, segments, ("a", "b")).tensors(CPU)
    assert found.dtype == torch.uint8
    assert np.array_equal(found.numpy(), pixels)
    assert regions is not None
    assert np.array_equal(regions.numpy(), segments)


def test_there_may_be_no_label_maps() -> None:
    """Builders that look at latents need none."""
    assert ImageBatch(np.zeros((1, 3, 4, 4), np.uint8)).tensors(CPU)[1] is None


@pytest.mark.parametrize(("asked", "sizes"), [([4], [3]), ([1, 3], [1, 2]), ([0, 2, 2], [0, 1, 2])])
def test_a_batch_is_split_by_what_was_asked_for(asked: list[int], sizes: list[int]) -> None:
    """Row 1 of four could not be read; pixels, label maps and keys stay together."""
    kept = np.array([True, False, True, True])
    pixels = np.arange(3 * 12, dtype=np.uint8).reshape(3, 3, 2, 2)
    segments = np.arange(3 * 4, dtype=np.int32).reshape(3, 4)
    parts = ImageBatch(pixels, segments, ("a", "c", "d"), kept).split(asked)
    assert [len(part.pixels) for part in parts] == sizes
    assert np.array_equal(np.concatenate([part.pixels for part in parts]), pixels)
    maps = [part.segments for part in parts if part.segments is not None]
    assert np.array_equal(np.concatenate(maps), segments)
    assert [key for part in parts for key in part.keys] == ["a", "c", "d"]
    assert [len(part.keys) for part in parts] == sizes
