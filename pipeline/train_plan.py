"""What the training verbs would do: images, epochs, parameters, memory. Nothing is touched."""

from pathlib import Path

import torch

from nvg.compose.mixture import Mixture, open_tokens
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.build import build_generator
from nvg.generator.config import GeneratorKind
from nvg.quantizer.granularity import load_quantizer
from nvg.store import Split
from nvg.tokenizer.autoencoder import Autoencoder
from nvg.training.autoencoder.memory import autoencoder_memory
from nvg.training.config import ShardOver
from nvg.training.generator.memory import generator_memory
from nvg.training.generator.repa import aligner_of
from nvg.training.generator.shape import shape_of
from nvg.training.generator.trainer import micro_batch
from nvg.training.memory import device_of
from nvg.training.run_dir import Run
from pipeline.recipe import Recipe
from pipeline.sources import left_out_lines, open_source, split_rows
from pipeline.train import autoencoder_run, parts_named, require_start, start_of
from pipeline.train_size import epochs_of, require_size

NODE_GPUS = 8  # of a usual node, taken for the processes that share what is sharded within nodes


def plan_autoencoder(
    recipe: Recipe,
    memory: float | None = None,
    processes: int = 1,
    out: Path | None = None,
    resume: bool = False,
) -> list[str]:
    """What training the autoencoder would do, and the memory of one of so many processes.

    On a GPU of `memory` GiB, or here. InputError where that training would be refused, into `out`
    if it is named.
    """
    if out:
        autoencoder_run(recipe, out, resume)
    source = open_source(recipe.data)
    rows, heldout = split_rows(source.rows, recipe.data.heldout)
    with torch.device("meta"):
        model = Autoencoder(recipe.autoencoder.model)
    training, geometry = recipe.autoencoder.train, recipe.autoencoder.model.geometry
    warnings = require_size("autoencoder", training, len(rows))
    device = device_of(memory)
    needed = autoencoder_memory(recipe.autoencoder.model, training, device.is_mixed)
    return [
        f"{len(rows)} images to train on, {len(heldout)} held out",
        *left_out_lines(source.left_out),
        f"{_millions(model)} M parameters, grid {geometry.grid}, {geometry.tokens} tokens an image",
        f"{training.steps} steps of {training.batch_size} images "
        f"({epochs_of(training, len(rows)):.1f} epochs)",
        *warnings,
        *needed.lines(-(-training.batch_size // (processes * training.accumulate)), device),
    ]


def plan_generator(
    recipe: Recipe,
    store_path: str | Mixture,
    only: str | None,
    start_from: Path | None = None,
    processes: int = 1,
    memory: float | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> list[str]:
    """What training the generators would do, and the memory of one of so many processes.

    On a GPU of `memory` GiB, or here. InputError where that training would be refused, into `out`
    if it is named.
    """
    store = open_tokens(store_path)
    store.require_finished()
    if out:
        start_from = start_of(recipe, store, parts_named(only), out, start_from)
        Run(out, recipe, resume, ("generator",), only or "")
    elif start_from:
        require_start(recipe, store, parts_named(only), start_from)
    training = recipe.generator.train
    images = store.count(Split.TRAIN)
    warnings = require_size("generator", training, images)
    lines = [f"{images} images to train on in {store_path}, {store.count(Split.VAL)} held out"]
    quantizer, config = load_quantizer(store.read(TOKENIZER_FILE), store.geometry), recipe.generator
    shapes = {}
    for part in parts_named(only):
        shape = shape_of(getattr(config, part.value), store, quantizer, config.variant)
        shapes[part] = shape
        with torch.device("meta"):
            model = build_generator(part, shape)
        lines.append(f"{part.value}: {_millions(model)} M parameters")
    epochs = epochs_of(training, images)
    lines.append(f"{training.steps} steps of {training.batch_size} ({epochs:.1f} epochs)")
    lines += warnings
    features = 0
    if training.align and GeneratorKind.CONTENT in shapes:
        features = aligner_of(config.content.width, store).codec.shape.width
    device = device_of(memory)
    needed = generator_memory(shapes, training, device.is_mixed, features)
    if training.sharded:
        is_whole = training.shard_over is ShardOver.ALL
        sharing = processes if is_whole else min(processes, NODE_GPUS)
        needed = needed.sharded(sharing, training.accumulate)
    return [*lines, *needed.lines(micro_batch(training, processes), device)]


def _millions(model: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f}"
