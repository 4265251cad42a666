"""What a recipe may choose: each default comes first, and the guide names every choice."""

from enum import StrEnum
from pathlib import Path

import pytest

from nvg.choices import DiscriminatorLoss, GeneratorLoss, TrainingCrop
from nvg.config import build
from nvg.quantizer.config import CodebookInit
from nvg.training.autoencoder.config import AutoencoderTraining

GUIDE = Path(__file__).parents[4] / "docs/guides/train-tokenizer.md"
KEYS: list[tuple[str, type[StrEnum]]] = [
    ("discriminator.loss", DiscriminatorLoss),
    ("discriminator.generator_loss", GeneratorLoss),
    ("crop", TrainingCrop),
    ("codebook_init", CodebookInit),
]


@pytest.mark.parametrize(("key", "choices"), KEYS, ids=[key for key, _ in KEYS])
def test_the_default_comes_first_and_all_are_in_the_guide(key: str, choices: type[StrEnum]) -> None:
    """A recipe's word gives the member; the row of the key has all words."""

    def chosen(training: AutoencoderTraining) -> StrEnum:
        section, _, name = key.rpartition(".")
        found: StrEnum = getattr(getattr(training, section) if section else training, name)
        return found

    assert chosen(AutoencoderTraining()) is next(iter(choices))
    lines = GUIDE.read_text(encoding="utf-8").splitlines()
    (row,) = (line for line in lines if line.startswith("|") and f"`{key}`" in line.split("|")[1])
    for choice in choices:
        section, _, name = key.rpartition(".")
        table = {section: {name: choice.value}} if section else {name: choice.value}
        assert chosen(build(AutoencoderTraining, table)) is choice
        assert f"`{choice.value}`" in row
