"""The training steps of one or both generators on the same batches."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nvg.compose.mixture import MixedStore
from nvg.distributed import World
from nvg.loader import LoaderMode, SequenceLoader
from nvg.loader.mixture import MixtureLoader
from nvg.quantizer import MultiGranularityQuantizer
from nvg.seeding import shard_seed
from nvg.sequence import Sequences
from nvg.store import Store
from nvg.training.checkpoint import Files
from nvg.training.generator.config import GeneratorTraining
from nvg.training.generator.corruption import near_codes
from nvg.training.generator.objective import sample_example
from nvg.training.generator.state import GeneratorState
from nvg.training.generator.validation import Validation
from nvg.training.late_metrics import Metrics
from nvg.training.parallel import processes_of_a_node
from nvg.training.run_dir import RunError

MOST_NAMED = 16  # rows of a batch that an error names

SampleCheckpoint = Callable[[int], None]
"""Writes a picture of samples from the checkpoint of a step."""


class GeneratorTrainer:
    """The generators of a run, fed by one loader; what `train_loop` drives."""

    def __init__(
        self,
        states: list[GeneratorState],
        store: Store,
        quantizer: MultiGranularityQuantizer,
        world: World,
        validation: Validation | None = None,
        sample_checkpoint: SampleCheckpoint | None = None,
    ) -> None:
        self.states, self.world, self.validation = states, world, validation
        self.sample_checkpoint = sample_checkpoint
        self.training = states[0].training
        self.quantizer = quantizer.to(world.device)
        self.models = {state.part: state.model for state in states}
        self.near_codes = near_codes(quantizer.codebook) if self.training.corruption else None
        self.source = source_of(store)
        micro = micro_batch(self.training, world.size)
        # Consecutive batches of the loader are the shards of a step, whoever takes them.
        features = any(state.aligner for state in states)
        self.loader = loader_of(store, micro, self.training, world, features)
        # Free memory differs between processes.
        if world.any(self.loader.mode is LoaderMode.STREAM):
            self.loader.stream()

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
            examples = sample_example(
                self.models, self.quantizer, sequences, self.training, self.near_codes
            )
            for state in self.states:
                state.accumulate(examples[state.part], micro + 1 == len(batch))
        found: dict[str, Tensor] = {}
        for state in self.states:
            found |= state.update(number)
        losses = [value for name, value in found.items() if not name.endswith("_norm")]
        return {"loss": torch.stack(losses).sum(), **found}

    def is_validated(self, number: int) -> bool:
        """Whether held-out losses are due."""
        return self.validation is not None and self.validation.is_due(number)

    def validate(self, number: int) -> dict[str, float]:
        """Held-out loss of each generator."""
        return self.validation.look(number) if self.validation else {}

    def has_converged(self) -> bool:
        """Whether no held-out loss falls any more."""
        return self.validation is not None and self.validation.has_converged()

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on where a checkpoint was made; the weights are there already."""
        self.loader.load_state_dict(saved["loader"])
        if self.validation:
            self.validation.history = saved.get("heldout", [])

    def state(self) -> tuple[Files, dict[str, Any]]:
        """Files and metadata of a checkpoint."""
        files = {name: data for state in self.states for name, data in state.files().items()}
        return files, {
            "loader": self.loader.state_dict(),
            "store": self.source,
            "heldout": self.validation.history if self.validation else [],
        }

    def rows(self, batch: list[Sequences]) -> str:
        """Rows of the store."""
        rows = [int(row) for part in batch if part.row is not None for row in part.row]
        return ", ".join(map(str, rows[:MOST_NAMED])) + (", ..." if len(rows) > MOST_NAMED else "")

    def reads_checkpoint(self, number: int) -> bool:
        """Whether a picture of samples is due, in the main process."""
        every = self.training.sample_every
        is_drawn = self.sample_checkpoint is not None and self.world.is_main
        return is_drawn and every > 0 and number % every == 0

    def checkpointed(self, number: int) -> None:
        """Draw the curves, and a picture of samples where it is due."""
        if self.validation:
            self.validation.draw()
        if self.sample_checkpoint and self.reads_checkpoint(number):
            self.sample_checkpoint(number)


def loader_of(
    store: Store, micro: int, training: GeneratorTraining, world: World, features: bool
) -> SequenceLoader | MixtureLoader:
    """The batches of one store, or of several in their shares."""
    place = (training.seed, world.rank, world.size)
    own = processes_of_a_node(world) or world.size
    options: dict[str, Any] = {
        "mode": training.loader,
        "features": features,
        "nodes": world.size // own,
    }
    if isinstance(store, MixedStore):
        return MixtureLoader(store, store.spans, store.weights, micro, *place, **options)
    return SequenceLoader(store, micro, *place, **options)


def micro_batch(training: GeneratorTraining, processes: int) -> int:
    """Images of a micro-batch of one process; RunError where the batch cannot be shared out."""
    parts = processes * training.accumulate
    if training.batch_size % parts:
        raise RunError(
            f"generator.train.batch_size {training.batch_size} is not a multiple of "
            f"{processes} processes x {training.accumulate} micro-batches: change one"
        )
    return training.batch_size // parts


def source_of(store: Store) -> dict[str, Any]:
    """What a checkpoint remembers of its store."""
    manifest = store.manifest
    return {
        "tokenizer": manifest.tokenizer,
        "source": manifest.source,
        "rows": manifest.rows,
        "views": list(manifest.views),
    }
