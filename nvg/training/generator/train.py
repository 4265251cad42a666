"""Training of the generators from a store: tokens only, no pixels (Sec. 2.2, A.5)."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nvg.distributed import World
from nvg.files import write_atomic
from nvg.generator.backbone import TransformerConfig
from nvg.generator.config import GeneratorKind, GeneratorShape
from nvg.generator.variants import Variant
from nvg.loader import SequenceLoader
from nvg.loader.loader import WINDOW
from nvg.quantizer.granularity import load_quantizer
from nvg.sampling.generators import save_decoder
from nvg.seeding import shard_seed, step_seed
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.store.format import TOKENIZER_FILE
from nvg.training.generator.config import GeneratorConfig
from nvg.training.generator.objective import sample_example
from nvg.training.generator.repa import aligner_of
from nvg.training.generator.trainer import GeneratorState
from nvg.training.loop import Metrics, train_loop
from nvg.training.run_dir import Run, RunError
from nvg.weights import weights_bytes

MOST_NAMED = 16  # rows of a batch that an error names

Sampler = Callable[[int], None]


class GeneratorTrainer:
    """The steps of one or both generators on the same batches."""

    def __init__(
        self, learners: list[GeneratorState], store: Store, world: World, sampler: Sampler | None
    ) -> None:
        self.learners, self.world, self.sampler = learners, world, sampler
        self.training = learners[0].training
        self.quantizer = load_quantizer(store.read(TOKENIZER_FILE), store.geometry).to(world.device)
        self.models = {learner.part: learner.model for learner in learners}
        made = store.manifest
        self.source = {
            "tokenizer": made.tokenizer,
            "source": made.source,
            "rows": made.rows,
            "views": list(made.views),
        }
        micro = self.training.batch_size // (world.size * self.training.accumulate)
        shards = world.size * self.training.accumulate
        if micro * shards != self.training.batch_size:
            raise RunError(
                f"generator.train.batch_size {self.training.batch_size} is not a multiple of "
                f"{world.size} processes x {self.training.accumulate} micro-batches: change one"
            )
        # Consecutive batches of the loader are the shards of a step, whoever takes them.
        self.loader = SequenceLoader(
            store,
            micro,
            self.training.seed,
            world.rank,
            world.size,
            mode=self.training.loader,
            features=any(learner.aligner for learner in learners),
        )
        # Each process sees other free memory; where one must stream, all do: the order is one.
        if world.any(self.loader.window > 0):
            self.loader.window = WINDOW

    def batches(self) -> Iterator[list[Sequences]]:
        """The micro-batches of each step, epoch after epoch."""
        endless = (batch for _ in iter(int, 1) for batch in self.loader)
        while True:
            yield [next(endless) for _ in range(self.training.accumulate)]

    def step(self, number: int, batch: list[Sequences]) -> Metrics:
        """Gradients of every micro-batch, then one update of each generator."""
        for micro, sequences in enumerate(batch):
            shard = micro * self.world.size + self.world.rank
            torch.manual_seed(shard_seed(self.training.seed, number, shard))
            moved = sequences.to(self.world.device)
            drawn = sample_example(
                self.models, self.quantizer, moved, self.training.class_dropout_prob
            )
            for learner in self.learners:
                learner.accumulate(drawn[learner.part], micro + 1 == len(batch))
        found: dict[str, Tensor] = {}
        for learner in self.learners:
            found |= learner.update(number)
        losses = [value for name, value in found.items() if not name.endswith("_norm")]
        return {"loss": torch.stack(losses).sum(), **found}

    def state(self) -> tuple[dict[str, bytes], dict[str, Any]]:
        """Everything that a later process needs to go on."""
        files = {name: data for learner in self.learners for name, data in learner.files().items()}
        return files, {"loader": self.loader.state_dict(), "store": self.source}

    def rows(self, batch: list[Sequences]) -> str:
        """Rows of the store."""
        rows = [int(row) for part in batch if part.row is not None for row in part.row]
        return ", ".join(map(str, rows[:MOST_NAMED])) + (", ..." if len(rows) > MOST_NAMED else "")

    def checkpointed(self, number: int) -> None:
        """Draw samples where it is time to."""
        every = self.training.sample_every
        if every and self.sampler and number % every == 0 and self.world.is_main:
            self.sampler(number)


def train_generator(
    config: GeneratorConfig,
    store: Store,
    parts: list[GeneratorKind],
    run: Run,
    world: World | None = None,
    sampler: Sampler | None = None,
) -> None:
    """Train the named generators on the same batches; leaves `<part>.safetensors` and a decoder.

    With several processes each takes its share of every batch. `sampler` draws a picture of the
    newest checkpoint.
    """
    world = world or World(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    training = config.train
    torch.manual_seed(step_seed(training.seed, -1))
    learners = [_learner(config, store, part, world) for part in parts]
    task = GeneratorTrainer(learners, store, world, sampler)
    start = run.start_step()
    if start:
        saved = run.checkpoints.state(start)
        if saved["store"] != task.source:
            raise RunError(f"{run.directory} was trained on another store than {store.path}")
        task.loader.load_state_dict(saved["loader"])
    for learner in learners:
        learner.start(run.checkpoints.path(start) if start else None)
    description = " + ".join(part.value for part in parts)
    train_loop(run, training, start, task.batches(), task, description, world)
    _save_results(run, learners, store)


def _learner(
    config: GeneratorConfig, store: Store, part: GeneratorKind, world: World
) -> GeneratorState:
    """The learner of one generator; the content generator's may be aligned."""
    transformer = getattr(config, part.value)
    aligner = None
    if part is GeneratorKind.CONTENT and config.train.align:
        aligner = aligner_of(transformer.width, store)
    shape = shape_of(transformer, store, config.variant)
    return GeneratorState(part, shape, config.train, world, aligner)


def _save_results(run: Run, learners: list[GeneratorState], store: Store) -> None:
    """Weights of each generator, and what sampling needs of the store: a run stands alone."""
    identity = store.manifest.tokenizer
    for learner in learners:
        states = {"": learner.model.state_dict(), "-ema": learner.average}
        for suffix, state in states.items():
            data = weights_bytes(state, learner.shape, tokenizer=identity)
            if run.writes:
                write_atomic(run.directory / f"{learner.part.value}{suffix}.safetensors", data)
    if run.writes:
        save_decoder(run.directory, store)


def shape_of(
    transformer: TransformerConfig, store: Store, variant: Variant | None = None
) -> GeneratorShape:
    """The shape of one generator for a store."""
    manifest = store.manifest
    return GeneratorShape(
        transformer=transformer,
        grid=manifest.grid,
        classes=len(manifest.classes),
        codebook_size=manifest.codebook_size,
        latent_dim=manifest.latent_dim,
        latent_scale=float(
            load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
            .codebook.square()
            .mean()
            .sqrt()
        ),
        variant=variant or Variant(),
    )
