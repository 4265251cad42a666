"""Settings of the tokenizer's training: the paper's defaults, and what is refused."""

import pytest

from nvg.config import ConfigError, build
from nvg.training.autoencoder.config import AutoencoderTraining


def test_the_defaults_are_the_papers() -> None:
    """Batch 256 at 1e-4 (A.5)."""
    assert (AutoencoderTraining().batch_size, AutoencoderTraining().lr) == (256, 1e-4)


def test_bad_settings_are_named() -> None:
    """LPIPS without weights, negative numbers, pictures without a checkpoint."""
    for table, words in (
        ({"loss": {"perceptual": 1.0}}, "loss: perceptual needs vgg"),
        ({"loss": {"l1": -1.0}}, "l1 must not be negative"),
        ({"frozen": ["encoder", "decoder", "quantizer"]}, "nothing is left to train"),
        ({"ibq_steps": -1}, "ibq_steps must not be negative"),
        ({"cosine_every": 0}, "cosine_every must be at least 1"),
        ({"crop_resize": 0.9}, "crop_resize must be between 1 and 4"),
        ({"crop": "flip"}, "crop must be one of center, random-crop"),
        ({"discriminator": {"loss": "wasserstein"}}, "loss must be one of hinge, half-hinge"),
        ({"sample_every": 3, "checkpoint_every": 2}, "sample_every 3 must be a multiple"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(AutoencoderTraining, table)
