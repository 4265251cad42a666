"""Training of the generators from a store: tokens only, no pixels (Sec. 2.2, A.5)."""

import logging
from pathlib import Path

import torch

from nvg.distributed import World, default_device
from nvg.files import write_atomic
from nvg.format.base import TOKENIZER_FILE
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.quantizer.granularity import load_quantizer
from nvg.sampling.generators import save_decoder, weights_file
from nvg.seeding import step_seed
from nvg.store import Store
from nvg.training.generator.classes import NEW, class_rows
from nvg.training.generator.config import GeneratorConfig
from nvg.training.generator.repa import aligner_of
from nvg.training.generator.shape import shape_of, shape_to_start_from
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.trainer import GeneratorTrainer, SampleCheckpoint, source_of
from nvg.training.generator.validation import Validation
from nvg.training.loop import train_loop
from nvg.training.run_dir import Run, RunError
from nvg.weights import is_sharded, read_config, read_tensors, weights_bytes

log = logging.getLogger("nvg")

STARTED_FROM = "started-from.txt"  # in a run: where the weights are that it began with


def train_generator(
    config: GeneratorConfig,
    store: Store,
    parts: list[GeneratorKind],
    run: Run,
    world: World | None = None,
    sample_checkpoint: SampleCheckpoint | None = None,
    start_from: Path | None = None,
) -> list[str]:
    """Train the named generators on the same batches; saves `<part>.safetensors` and a decoder.

    A new run starts from fresh weights, or from those of the finished run `start_from`. With
    several processes each takes its share of every batch. Returns lines on held-out losses.
    """
    world = world or World(0, 1, default_device())
    start = run.start_step()
    saved = run.checkpoints.state(start) if start else None
    checkpoint = run.checkpoints.path(start) if start else None
    if saved and saved.get("store") != source_of(store):
        line = f"{run.directory} was trained on another store than {store.path}"
        raise RunError(f"{line}: name that one, or another --out")

    torch.manual_seed(step_seed(config.train.seed, -1))
    states, rows = [], None
    for part in parts:
        transformer, aligner = getattr(config, part.value), None
        if part is GeneratorKind.CONTENT and config.train.align:
            aligner = aligner_of(transformer.width, store)
        # One for each part: building a quantizer draws random numbers, so a run's first weights
        # depend on it.
        quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
        if checkpoint:
            shape = read_config(GeneratorShape, checkpoint / f"{part.value}.safetensors")
        elif start_from:
            shape = shape_to_start_from(start_from, part, transformer, config.variant, store)
            known = read_config(GeneratorShape, weights_file(start_from, part)).classes
            rows = class_rows(start_from, known, store)
        else:
            shape = shape_of(transformer, store, quantizer, config.variant)
        begin = None if start else start_from
        states.append(
            GeneratorState(part, shape, config.train, world, aligner, checkpoint, begin, rows)
        )
    validation = Validation(states, store, quantizer.to(world.device), run, world)
    trainer = GeneratorTrainer(states, store, quantizer, world, validation, sample_checkpoint)
    if saved:
        trainer.restore(saved)
    run.begin(start)
    if rows is not None and world.is_main:
        log.info("%d of %d classes are new to %s", rows.count(NEW), len(rows), start_from)
    if run.writes:
        save_decoder(run.directory, store)  # checkpoints and the finished run are sampled with it
        if start_from:
            write_atomic(run.directory / STARTED_FROM, str(start_from.absolute()).encode())

    description = " + ".join(part.value for part in parts)
    train_loop(run, config.train, start, trainer.batches(), trainer, description, world)
    _save_weights(run, states, store.manifest.tokenizer)
    return validation.lines()


def _save_weights(run: Run, states: list[GeneratorState], tokenizer: str) -> None:
    """Weights and EMA weights of each generator, with the tokenizer they belong to.

    Those of a sharded network are read from the last checkpoint, which has just been written: no
    process gathers them from the others.
    """
    if not run.writes:
        return
    last = run.checkpoints.path(run.start_step())
    for state in states:
        for suffix, weights in (("", state.model.state_dict()), ("-ema", state.ema)):
            name = f"{state.part.value}{suffix}.safetensors"
            whole = read_tensors(last / name) if any(map(is_sharded, weights.values())) else weights
            data = weights_bytes(whole, state.shape, tokenizer=tokenizer)
            write_atomic(run.directory / name, data)
