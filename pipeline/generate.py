"""The sampling verb: a generator run -> sequences -> pictures."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from nvg.autoencoder import Detokenizer
from nvg.checkpoint import load_weights, read_config, read_header
from nvg.content import ContentGenerator
from nvg.detokenize import WEIGHTS, load_detokenizer
from nvg.distributed import device
from nvg.errors import InputError
from nvg.files import require_file_place, write_atomic
from nvg.generators import GeneratorShape, Part
from nvg.picture import png_bytes, samples
from nvg.quantizer import MultiGranularityQuantizer
from nvg.run import Run
from nvg.sampler import SamplerConfig, sample_images
from nvg.structure_flow import StructureGenerator
from nvg.train_generator import CLASSES
from pipeline.recipe import Recipe, load_recipe

BATCH = 64
SHOWN_CLASSES, SHOWN = 10, 8  # of a picture drawn in training


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
        assert isinstance(quantizer, MultiGranularityQuantizer)  # stores hold no scales
        made = sample_images(self.content, self.structure, quantizer, labels, seed, config, BATCH)
        batches = zip(made.content.split(BATCH), made.leaves.split(BATCH), strict=True)
        return torch.cat([self.detokenizer.decode(content, leaves) for content, leaves in batches])


def load_generators(run: Path, weights: Path | None = None) -> Generators:
    """The generators of a run directory, or of `weights`, a checkpoint of it.

    The average weights where there are some. InputError when a part is missing or does not belong.
    """
    weights = weights or run
    wanted = [weights / f"{part.value}.safetensors" for part in Part]
    for path in (*wanted, run / WEIGHTS, run / CLASSES):
        if not path.exists():
            raise InputError(
                f"{path.parent} holds no {path.name}: train it with "
                f"`nvgctl train generator ... --out {run}`"
            )
    where = device()
    classes = json.loads((run / CLASSES).read_text())
    models = {}
    for part, raw in zip(Part, wanted, strict=True):
        average = raw.with_stem(f"{raw.stem}-ema")
        path = average if average.exists() else raw
        shape = read_config(GeneratorShape, path)
        if shape.classes != len(classes):
            raise InputError(
                f"{path} knows {shape.classes} classes, {run / CLASSES} {len(classes)}: train both "
                "generators on one store"
            )
        model = shape.build(part)
        load_weights(model, path)
        models[part] = model.to(where).eval()
        if weights == run:
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
    recipe = load_recipe(run / "config.toml", settings)
    generators = load_generators(run)
    ids = class_ids(generators.classes, wanted)
    labels = [label for label in ids for _ in range(number)]
    pixels = generators.images(labels, seed, recipe.sample)
    names = [generators.classes[label] if label >= 0 else "" for label in ids]
    write_atomic(png, png_bytes(samples(pixels, names, number)))


def sample_checkpoints(recipe: Recipe, out: Path, run: Run) -> Callable[[int], None]:
    """Draws `samples/step-N.png` from the checkpoint of step N: a row for each of a few classes."""

    def sample(step: int) -> None:
        generators = load_generators(out, run.checkpoints.path(step))
        ids = class_ids(generators.classes, [])[:SHOWN_CLASSES]
        labels = [label for label in ids for _ in range(SHOWN)]
        pixels = generators.images(labels, 0, recipe.sample)
        names = [generators.classes[label] if label >= 0 else "" for label in ids]
        path = out / "samples" / f"step-{step:08d}.png"
        write_atomic(path, png_bytes(samples(pixels, names, SHOWN)))

    return sample


def _check_tokenizer(generator: Path, detokenizer: Path) -> None:
    wanted, found = (read_header(path).get("tokenizer", "") for path in (generator, detokenizer))
    if wanted != found:
        raise InputError(
            f"{generator} was trained on tokens of tokenizer {wanted[:12]}, but {detokenizer} is "
            f"{found[:12]}: train both generators on one store"
        )
