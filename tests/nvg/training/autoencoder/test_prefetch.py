"""Reading ahead: the batches of the steps in order, a few at a time, errors where they belong."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from nvg.choices import TrainingCrop
from nvg.distributed import World
from nvg.seeding import step_rows, step_seed
from nvg.tokenizer.image_batch import ImageBatch, RandomCrop
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.autoencoder.prefetch import AHEAD, Prefetch
from tests.nvg.training.makers import Pictures

ALONE = World(0, 1, torch.device("cpu"))
TRAINING = AutoencoderTraining(steps=20, batch_size=4, seed=3)


class Gated(Pictures):
    """Pictures that are given out one batch for each turn of the gate."""

    def __init__(self) -> None:
        super().__init__(12)
        self.gate, self.begun = threading.Semaphore(0), threading.Semaphore(0)

    def batch(self, rows: np.ndarray[Any, Any], crop: RandomCrop | None = None) -> ImageBatch:
        self.begun.release()
        assert self.gate.acquire(timeout=30)
        return super().batch(rows, crop)


@pytest.mark.parametrize("start", [0, 7])
def test_every_step_gets_its_own_batch(start: int) -> None:
    """From any step on, in order, each read once."""
    images = Pictures(12)
    with Prefetch(images, TRAINING, ALONE) as fetch:
        found = [fetch(step) for step in range(start, 20)]
    rows = [step_rows(12, 4, 3, step).tolist() for step in range(start, 20)]
    assert images.asked == rows
    assert all(
        np.array_equal(micro.pixels, images.images[own])
        for (micro,), own in zip(found, rows, strict=True)
    )


def test_random_crops_are_those_of_the_step() -> None:
    """Seeded by the training's seed and the step."""
    images = Pictures(12)
    training = AutoencoderTraining(
        steps=3, batch_size=4, seed=3, crop=TrainingCrop.RANDOM, crop_resize=1.5
    )
    with Prefetch(images, training, ALONE) as fetch:
        for step in range(3):
            fetch(step)
    assert images.crops == [RandomCrop(step_seed(3, step), 1.5) for step in range(3)]


def test_a_few_batches_are_read_ahead() -> None:
    """While one is in use, AHEAD more are made and no further; the end drops those not begun."""
    images = Gated()
    with Prefetch(images, TRAINING, ALONE) as fetch:
        images.gate.release(1 + AHEAD)
        fetch(0)
        for _ in range(1 + AHEAD):
            assert images.begun.acquire(timeout=30)
        assert not images.begun.acquire(timeout=0.2)
        fetch(1)  # one more is asked for, and waits at the gate
        assert images.begun.acquire(timeout=30)
        images.gate.release(1)
    assert len(images.asked) == 2 + AHEAD


def test_an_error_is_raised_at_its_step() -> None:
    """Those before it are given out; nothing hangs."""

    class Broken(Pictures):
        def batch(self, rows: np.ndarray[Any, Any], crop: RandomCrop | None = None) -> ImageBatch:
            if len(self.asked) == 2:
                raise OSError("lost")
            return super().batch(rows, crop)

    with Prefetch(Broken(12), TRAINING, ALONE) as fetch:
        fetch(0)
        fetch(1)
        with pytest.raises(OSError, match="lost"):
            fetch(2)


@pytest.mark.parametrize(("count", "batches"), [(12, 3), (13, 4), (3, 1)])
def test_the_first_epoch_initializes_the_codebook(count: int, batches: int) -> None:
    """As many batches as hold all images; they are those of the first steps."""
    images = Pictures(count)
    with Prefetch(images, TRAINING, ALONE) as fetch:
        assert len(list(fetch.batches())) == batches
    assert images.asked == [step_rows(count, 4, 3, step).tolist() for step in range(batches)]
