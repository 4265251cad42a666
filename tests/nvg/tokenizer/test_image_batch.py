"""Pixels and label maps on their way to the model."""

import numpy as np
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
