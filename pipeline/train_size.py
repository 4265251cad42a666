"""Whether a training fits the number of its images: asked before it starts, and in a dry run."""

from nvg.errors import InputError
from nvg.training.config import LoopConfig

MANY_EPOCHS = 1000


def require_size(section: str, training: LoopConfig, images: int) -> list[str]:
    """Warnings of a training on so many images; InputError where they make no batch.

    `section` is that of the recipe, such as `generator`.
    """
    if not images:
        raise InputError("there are no images to train on: only held-out ones, or none at all")
    if training.batch_size > images:
        raise InputError(
            f"{section}.train.batch_size {training.batch_size} is more than the {images} images to "
            "train on: lower it"
        )
    epochs = epochs_of(training, images)
    if epochs < MANY_EPOCHS:
        return []
    return [
        f"{epochs:,.0f} epochs of {images} images: it will know them by heart; lower "
        f"{section}.train.steps or batch_size"
    ]


def epochs_of(training: LoopConfig, images: int) -> float:
    """How often each image is seen."""
    return training.steps * training.batch_size / max(images, 1)
