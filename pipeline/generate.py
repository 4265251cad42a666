"""A generator run put to work: class labels -> sequences -> images."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nvg.autoencoder import Detokenizer
from nvg.checkpoint import load_weights, read_config, read_header
from nvg.content import ContentGenerator
from nvg.control import Control
from nvg.detokenize import WEIGHTS, load_detokenizer
from nvg.distributed import device
from nvg.errors import InputError
from nvg.files import write_atomic
from nvg.generators import GeneratorShape, Part
from nvg.guidance import SamplerConfig
from nvg.picture import png_bytes, samples
from nvg.quantizer import MultiGranularityQuantizer
from nvg.run import Run
from nvg.sampler import sample_batches
from nvg.sequence import Sequences
from nvg.structure_flow import StructureGenerator
from nvg.train_generator import CLASSES
from pipeline.recipe import Recipe

BATCH = 64
SHOWN_CLASSES, SHOWN = 10, 8  # of a picture drawn in training


@dataclass(frozen=True)
class Generators:
    """Everything that turns class labels into images."""

    content: ContentGenerator
    structure: StructureGenerator
    detokenizer: Detokenizer
    classes: list[str]
    tokenizer: str
    """Fingerprint of the tokenizer they were trained with."""

    def batches(
        self, labels: list[int], seed: int, config: SamplerConfig, control: Control | None = None
    ) -> Iterator[tuple[Sequences, torch.Tensor]]:
        """Tokens and images uint8 [B, 3, D, D] of class ids, batch by batch.

        Image i depends on (seed, i) and what `control` gives it, whatever the batch.
        """
        quantizer = self.detokenizer.quantizer
        assert isinstance(quantizer, MultiGranularityQuantizer)  # stores hold no scales
        batches = sample_batches(
            self.content, self.structure, quantizer, labels, seed, config, BATCH, control
        )
        for made in batches:
            yield made, self.detokenizer.decode(made.content, made.leaves)

    def images(
        self, labels: list[int], seed: int, config: SamplerConfig, control: Control | None = None
    ) -> torch.Tensor:
        """The images alone, all at once."""
        return torch.cat([pixels for _, pixels in self.batches(labels, seed, config, control)])


def load_generators(run: Path, weights: Path | None = None, raw: bool = False) -> Generators:
    """The generators of a run directory, or of `weights`, a checkpoint of it.

    The average weights where there are some, unless `raw`. InputError when a part is missing or
    does not belong.
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
    for part, plain in zip(Part, wanted, strict=True):
        average = plain.with_stem(f"{plain.stem}-ema")
        path = average if average.exists() and not raw else plain
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
    detokenizer = load_detokenizer(run / WEIGHTS).to(where)
    identity = read_header(run / WEIGHTS).get("tokenizer", "")
    return Generators(content, structure, detokenizer, classes, identity)


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
