"""Numbers of images against batches and steps."""

from dataclasses import replace

import pytest

from nvg.errors import InputError
from pipeline.train_size import MANY_EPOCHS, epochs_of, require_size
from tests.makers import tiny_recipe


def test_a_batch_must_have_images_enough() -> None:
    """One image less than a batch is refused; as many are none too few."""
    training = replace(tiny_recipe().generator.train, batch_size=8, steps=10)
    assert require_size("generator", training, 8) == []
    assert epochs_of(training, 8) == 10
    with pytest.raises(InputError, match=r"generator\.train\.batch_size 8 is more than the 7"):
        require_size("generator", training, 7)
    with pytest.raises(InputError, match="there are no images to train on: only held-out ones"):
        require_size("generator", training, 0)


def test_many_epochs_are_said() -> None:
    """From a thousand on."""
    training = replace(tiny_recipe().generator.train, batch_size=8, steps=MANY_EPOCHS - 1)
    assert require_size("generator", training, 8) == []
    (line,) = require_size("generator", replace(training, steps=MANY_EPOCHS), 8)
    assert line.startswith("1,000 epochs of 8 images")
