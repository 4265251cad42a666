"""What the training verbs would do: images, epochs, parameters, memory. Nothing is touched."""

from pathlib import Path

import torch

from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Split, open_store
from nvg.store.format import TOKENIZER_FILE
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.training.autoencoder.memory import autoencoder_memory
from nvg.training.generator.memory import generator_memory
from nvg.training.generator.repa import aligner_of
from nvg.training.generator.shape import shape_of
from nvg.training.memory import device_of
from pipeline.recipe import Recipe
from pipeline.sources import left_out_lines, open_source, split_rows
from pipeline.train import parts_named, require_start


def plan_autoencoder(recipe: Recipe, memory: float | None = None, processes: int = 1) -> list[str]:
    """What training the autoencoder would do, and the memory of one of so many processes.

    On a GPU of `memory` GiB, or here.
    """
    source = open_source(recipe.data)
    rows, heldout = split_rows(source.rows, recipe.data.heldout)
    with torch.device("meta"):
        model = Autoencoder(recipe.autoencoder.model)
    training, geometry = recipe.autoencoder.train, recipe.autoencoder.model.geometry
    device = device_of(memory)
    needed = autoencoder_memory(recipe.autoencoder.model, training, device.is_mixed)
    return [
        f"{len(rows)} images to train on, {len(heldout)} held out",
        *left_out_lines(source.left_out),
        f"{_millions(model)} M parameters, grid {geometry.grid}, {geometry.tokens} tokens an image",
        f"{training.steps} steps of {training.batch_size} images "
        f"({training.steps * training.batch_size / max(len(rows), 1):.1f} epochs)",
        *needed.lines(-(-training.batch_size // (processes * training.accumulate)), device),
    ]


def plan_generator(
    recipe: Recipe,
    store_path: str,
    only: str | None,
    start_from: Path | None = None,
    processes: int = 1,
    memory: float | None = None,
) -> list[str]:
    """What training the generators would do, and the memory of one of so many processes.

    On a GPU of `memory` GiB, or here.
    """
    store = open_store(store_path)
    if start_from:
        require_start(recipe, store, parts_named(only), start_from)
    training = recipe.generator.train
    images = store.count(Split.TRAIN)
    lines = [f"{images} images to train on in {store_path}, {store.count(Split.VAL)} held out"]
    quantizer, config = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), recipe.generator
    shapes = {}
    for part in parts_named(only):
        shape = shape_of(getattr(config, part.value), store, quantizer, config.variant)
        shapes[part] = shape
        with torch.device("meta"):
            model = build_generator(part, shape)
        lines.append(f"{part.value}: {_millions(model)} M parameters")
    epochs = training.steps * training.batch_size / max(images, 1)
    lines.append(f"{training.steps} steps of {training.batch_size} ({epochs:.1f} epochs)")
    features = 0
    if training.align and GeneratorKind.CONTENT in shapes:
        features = aligner_of(config.content.width, store).codec.shape.width
    device = device_of(memory)
    needed = generator_memory(shapes, training, device.is_mixed, features)
    needed = needed.sharded(processes) if training.sharded else needed
    micro = -(-training.batch_size // (processes * training.accumulate))
    return [*lines, *needed.lines(micro, device)]


def _millions(model: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}"
