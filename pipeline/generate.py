"""The sampling verb: a generator run -> sequences -> pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from nvg.autoencoder import Detokenizer
from nvg.checkpoint import load_weights, read_config, read_header
from nvg.config import load
from nvg.content import ContentGenerator
from nvg.detokenize import WEIGHTS, load_detokenizer
from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.generators import GeneratorShape, Part
from nvg.picture import png_bytes, samples
from nvg.sampler import SamplerConfig, sample_images
from nvg.structure_flow import StructureGenerator
from nvg.train_generator import CLASSES
from nvg.training import device
from pipeline.recipe import Recipe

BATCH = 64


@dataclass(frozen=True)
class Generators:
    """Everything that turns class labels into images."""

    content: ContentGenerator
    structure: StructureGenerator
    detokenizer: Detokenizer
    classes: list[str]

    def images(self, labels: list[int], seed: int, config: SamplerConfig) -> torch.Tensor:
        """Images uint8 [B, 3, D, D] for class ids; image i depends on (seed, i) only."""
        quantizer = self.detokenizer.quantizer
        made = sample_images(self.content, self.structure, quantizer, labels, seed, config, BATCH)
        batches = zip(made.content.split(BATCH), made.leaves.split(BATCH), strict=True)
        return torch.cat([self.detokenizer.decode(content, leaves) for content, leaves in batches])


def load_generators(run: Path) -> Generators:
    """The generators of a run directory. InputError when a part is missing or does not belong."""
    for name in (*(f"{part.value}.safetensors" for part in Part), WEIGHTS, CLASSES):
        if not (run / name).exists():
            raise InputError(
                f"{run} holds no {name}: train it with `nvgctl train generator ... --out {run}`"
            )
    where = device()
    classes = json.loads((run / CLASSES).read_text())
    models = {}
    for part in Part:
        path = run / f"{part.value}.safetensors"
        shape = read_config(GeneratorShape, path)
        if shape.classes != len(classes):
            raise InputError(
                f"{path} knows {shape.classes} classes, {run / CLASSES} {len(classes)}: train both "
                "generators on one store"
            )
        model = shape.build(part)
        load_weights(model, path)
        models[part] = model.to(where).eval()
        _check_tokenizer(path, run / WEIGHTS)
    content, structure = models[Part.CONTENT], models[Part.STRUCTURE]
    assert isinstance(content, ContentGenerator)
    assert isinstance(structure, StructureGenerator)
    return Generators(content, structure, load_detokenizer(run / WEIGHTS).to(where), classes)


def class_ids(classes: list[str], wanted: list[str]) -> list[int]:
    """Ids of classes given by name or number; all when none is named, -1 where there are none."""
    if not wanted:
        return list(range(len(classes))) or [-1]
    ids = []
    for name in wanted:
        if name in classes:
            ids.append(classes.index(name))
        elif name.isdecimal() and int(name) < len(classes):
            ids.append(int(name))
        else:
            known = ", ".join(classes[:12]) + (", ..." if len(classes) > 12 else "")
            raise InputError(f"unknown class {name!r}: there are {len(classes)} ({known})")
    return ids


def draw_samples(
    run: Path, wanted: list[str], number: int, seed: int, settings: list[str], png: Path
) -> None:
    """Generate `number` images of each wanted class into one picture, a row per class."""
    require_file_place(png)
    recipe = load(Recipe, run / "config.toml", settings)
    generators = load_generators(run)
    ids = class_ids(generators.classes, wanted)
    labels = [label for label in ids for _ in range(number)]
    pixels = generators.images(labels, seed, recipe.sample)
    names = [generators.classes[label] if label >= 0 else "" for label in ids]
    write_atomic(png, png_bytes(samples(pixels, names, number)))


def _check_tokenizer(generator: Path, detokenizer: Path) -> None:
    wanted, found = (read_header(path).get("tokenizer", "") for path in (generator, detokenizer))
    if wanted != found:
        raise InputError(
            f"{generator} was trained on tokens of tokenizer {wanted[:12]}, but {detokenizer} is "
            f"{found[:12]}: train both generators on one store"
        )
