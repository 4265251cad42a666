"""What tests of several packages share: the tiny recipe, image folders, files of a folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nvg.generator.config import TransformerConfig
from nvg.sampling.config import SamplerConfig
from nvg.training.autoencoder.config import AutoencoderTraining
from nvg.training.generator.config import GeneratorConfig, GeneratorTraining
from pipeline.recipe import AutoencoderSection, DataConfig, Recipe, SourceKind, TokenizeConfig
from tests.nvg.tokenizer.makers import tiny_model

CLASSES = ("ant", "bee", "cat")
HOSTILE_JSON = {
    "brackets": "[" * 100_000,
    "deep": "[" * 500 + "]" * 500,
    "deep tables": '{"a":' * 100 + "1" + "}" * 100,
    "a long number": "1" + "0" * 5000,
    "beyond any float": "1e400",
    "no number": "NaN",
    "half a character": '"\\ud800"',
    "half a character as a key": '{"\\ud800": 1}',
    "a key twice": '{"a": 1, "a": 2}',
}
"""Values that JSON's reader takes, or fails at in words of its own, and that nothing can use."""


def tiny_recipe(path: Path | str = "", **overrides: Any) -> Recipe:
    """A recipe of minimal sizes over the image folder `path`; `overrides` replace sections."""
    shape = TransformerConfig(depth=1, width=64, heads=1)
    sections: dict[str, Any] = {
        "data": DataConfig(source=SourceKind.FOLDER, path=str(path)),
        "autoencoder": AutoencoderSection(
            model=tiny_model(),
            train=AutoencoderTraining(steps=4, batch_size=4, warmup=1, checkpoint_every=2),
        ),
        "generator": GeneratorConfig(
            content=shape,
            structure=shape,
            train=GeneratorTraining(steps=4, batch_size=4, warmup=1, checkpoint_every=2),
        ),
        "tokenize": TokenizeConfig(chunk_rows=4, batch_size=3),
        "sample": SamplerConfig(flow_steps=2),
    }
    return Recipe(**sections | overrides)


def smooth_image(rng: np.random.Generator, size: int) -> Image.Image:
    """A random picture without hard edges: 4x4 random colours, enlarged."""
    colours = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((size, size), Image.Resampling.BICUBIC)


def write_image_folder(
    path: Path,
    classes: Sequence[str] = CLASSES,
    per_class: int = 4,
    size: int = 16,
    seed: int = 0,
) -> list[str]:
    """Write <class>/<number>.png or .jpg in turn, size x size; returns the keys, sorted."""
    rng = np.random.default_rng(seed)
    keys = []
    for name in classes:
        (path / name).mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            keys.append(f"{name}/{number:03d}.{'jpg' if number % 2 else 'png'}")
            smooth_image(rng, size).save(path / keys[-1])
    return sorted(keys)


def files_below(path: Path | str) -> dict[str, bytes]:
    """Every file of a local directory by its relative path."""
    root = Path(path)
    files = (file for file in root.rglob("*") if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture that must be a PNG."""
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        return image.size


def recipe_over(tmp_path: Path, heldout: int = 0) -> Recipe:
    """The tiny recipe over twelve images, written below `tmp_path`."""
    write_image_folder(tmp_path / "images")
    recipe = tiny_recipe(tmp_path / "images")
    return replace(recipe, data=replace(recipe.data, heldout=heldout))
