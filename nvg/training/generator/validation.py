"""Held-out losses of the generators in training: whether they still learn, or learn by heart.

Some held-out images and as many of the training ones are measured alike, by the EMA weights, with
the same noise and flow times every time.
"""

import logging
from contextlib import ExitStack
from typing import Any

import torch

from nvg.distributed import World
from nvg.generator.config import GeneratorKind
from nvg.loader.first_views import Rows, first_views, spread
from nvg.metrics.likelihood import TIMES, Likelihood, averaged, likelihood
from nvg.quantizer import MultiGranularityQuantizer
from nvg.seeding import shard_seed
from nvg.store import Split, Store
from nvg.training.generator.state import GeneratorState
from nvg.training.run_dir import Run
from nvg.view.curves import draw_curves

log = logging.getLogger("nvg")

BATCH = 256
PROOF = 2  # measurements in a row that show overfitting
RISE = 1.01  # a held-out loss has risen when it is above its lowest by this factor
SEED_STEP = -2  # stands for the step in the seed of the noise; no step has it

History = list[dict[str, Any]]
"""A table a measurement: its `step`, and the losses by generator of `train` and of `val`."""


class Validation:
    """Measures the generators of a run, and remembers."""

    def __init__(
        self,
        states: list[GeneratorState],
        store: Store,
        quantizer: MultiGranularityQuantizer,
        run: Run,
        world: World,
    ) -> None:
        self.states, self.store, self.quantizer = states, store, quantizer
        self.run, self.world, self.training = run, world, states[0].training
        self.history: History = []
        heldout = spread(store.ok_rows(Split.VAL), self.training.val_images)
        trained = spread(store.ok_rows(Split.TRAIN), len(heldout))
        self.rows = {Split.TRAIN: trained, Split.VAL: heldout}
        if not len(heldout) and run.writes:
            log.warning(
                "%s has no held-out rows, so nothing will tell whether the generators only learn "
                "it by heart: set data.heldout and tokenize again",
                store.path,
            )

    def is_due(self, step: int) -> bool:
        """Whether there are held-out rows to measure after so many steps."""
        every = self.training.val_every or self.training.checkpoint_every
        is_time = step % every == 0 or step == self.training.steps
        return is_time and len(self.rows[Split.VAL]) > 0

    def look(self, step: int) -> dict[str, float]:
        """Measure, log a line; the held-out loss by generator. Collective."""
        found = {split.value: self._measure(rows) for split, rows in self.rows.items()}
        losses = {
            name: {state.part.value: made.loss(state.part) for state in self.states}
            for name, made in found.items()
        }
        self.history.append({"step": step, **losses})
        self.run.log(
            step, heldout={name: losses[name] | made.table() for name, made in found.items()}
        )
        if self.run.writes:
            for line in overfitting(self.history):
                log.warning("step %d: %s", step, line)
        return losses[Split.VAL]

    def draw(self) -> None:
        """Draw the curves so far, which takes half a second."""
        if self.history and self.run.writes:
            draw_curves(self.run.metrics_path)

    def has_converged(self) -> bool:
        """Whether no held-out loss has become lower in the last `patience` measurements."""
        patience = self.training.patience
        if not patience or len(self.history) <= patience:
            return False
        before, after = self.history[:-patience], self.history[-patience:]
        return all(
            lowest(after, state.part)[1] >= lowest(before, state.part)[1] for state in self.states
        )

    def lines(self) -> list[str]:
        """Where each held-out loss was lowest; nothing without held-out rows."""
        return [
            f"{state.part.value}: held-out loss {self.history[-1]['val'][state.part.value]:.4f}, "
            "lowest {1:.4f} at step {0}".format(*lowest(self.history, state.part))
            for state in self.states
            if self.history
        ]

    def _measure(self, rows: Rows) -> Likelihood:
        """Of some rows, averaged over the processes, each of which takes an equal share."""
        world = self.world
        if len(rows) >= world.size:
            rows = rows[world.rank : len(rows) - len(rows) % world.size : world.size]
        torch.manual_seed(shard_seed(self.training.seed, SEED_STEP, world.rank))
        with ExitStack() as stack:
            for state in self.states:
                stack.enter_context(state.ema_weights())
            found = likelihood(
                {state.part: state.model for state in self.states},
                {state.part: state.local for state in self.states},
                self.quantizer,
                first_views(self.store, rows, BATCH, world.device),
                min(TIMES, len(rows)),
            )
        return averaged(world.gather(found))


def lowest(history: History, part: GeneratorKind) -> tuple[int, float]:
    """Step and value of the lowest held-out loss of a generator."""
    best = min(history, key=lambda measured: measured["val"][part.value])
    return best["step"], best["val"][part.value]


def _rises(history: History, part: str) -> int:
    """For how many measurements, up to the last, a held-out loss has been above its lowest while
    the loss of training images was below what it was there."""
    best = min(history, key=lambda measured: measured["val"][part])
    risen = [
        measured["val"][part] > RISE * best["val"][part]
        and measured["train"][part] < best["train"][part]
        for measured in history
    ]
    return next((n for n, has in enumerate(reversed(risen)) if not has), len(risen))


def overfitting(history: History) -> list[str]:
    """A line for each generator that is now known to learn the images by heart.

    Its held-out loss has risen and its training loss fallen PROOF times in a row, never before.
    """
    lines = []
    for part in GeneratorKind:
        if part.value not in history[-1]["val"]:
            continue
        known = [n for n in range(1, len(history) + 1) if _rises(history[:n], part.value) >= PROOF]
        if known and known[0] == len(history):
            step, best = lowest(history, part)
            now = history[-1]
            lines.append(
                f"{part.value}: the held-out loss rises, from {best:.4f} at step {step} to "
                f"{now['val'][part.value]:.4f}, while that of training images falls to "
                f"{now['train'][part.value]:.4f}: it learns the images by heart; use more views "
                "([tokenize] views) or images, dropout, or fewer steps"
            )
    return lines
