"""Settings of the generators' training: the paper's defaults, and what is refused."""

from typing import Any

import pytest

from nvg.training.generator.config import GeneratorTraining


def test_the_defaults_are_the_papers_d16() -> None:
    """333K steps of 768, 1,000 of warm-up, decay from 80 %, 10 % null class (A.4, A.5)."""
    train = GeneratorTraining()
    assert (train.steps, train.batch_size, train.warmup) == (333_000, 768, 1000)
    assert (train.lr, train.decay_start, train.class_dropout_prob) == (1e-4, 0.8, 0.1)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"accumulate": 0}, "accumulate"),
        ({"stages_per_image": 0}, "stages_per_image"),
        ({"warmup_start": -0.1}, "warmup_start"),
        ({"final_lr": 1.5}, "final_lr"),
        ({"ema": 1.5}, "ema"),
        ({"sample_every": 3, "checkpoint_every": 2}, "multiple of checkpoint_every"),
        ({"keep": 0}, "keep"),
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict[str, Any], words: str) -> None:
    """By name."""
    with pytest.raises(ValueError, match=words):
        GeneratorTraining(**bad)
