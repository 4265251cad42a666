"""What Ray's workers do to a chunk: steps over rows that Ray carries without looking inside."""

import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.blocks import Block
from pipeline.features import FeatureJob
from pipeline.plan import ChunkTask
from pipeline.tokenize import ChunkDecoder, ChunkTokenizer, commit_chunk

CHUNK = "chunk"  # the one column that Ray sees: a chunk in some state, pickled


@dataclass(frozen=True)
class Steps:
    """What is done to every chunk; travels to workers."""

    decode: ChunkDecoder
    tokenizer: Path
    batch_size: int
    store_path: str
    features: FeatureJob | None = None


class Step(ABC):
    """A step over rows of Ray. What it raises travels on in its place: Ray keeps the text only."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        found = pickle.loads(row[CHUNK][0])
        if not isinstance(found, Exception):
            try:
                found = self.work(found)
            except Exception as error:
                found = portable(error)
        return {CHUNK: np.array([pickle.dumps(found)], dtype=object)}

    @abstractmethod
    def work(self, chunk: Any) -> Block:
        """The step itself."""


class Decode(Step):
    def work(self, chunk: ChunkTask) -> Block:
        """The pixels of a task."""
        return self.steps.decode(chunk)


class Encode(Step):
    threads: int | None = None

    @cached_property
    def encode(self) -> ChunkTokenizer:
        """The encoder, loaded once for an actor."""
        steps = self.steps
        return ChunkTokenizer(steps.tokenizer, steps.batch_size, self.threads, steps.features)

    def work(self, chunk: Block) -> Block:
        """The tokens of pixels."""
        return self.encode(chunk)


class Commit(Step):
    def work(self, chunk: Block) -> Block:
        """The counts of tokens that are written."""
        return commit_chunk(chunk, self.steps.store_path)


class WholeChunk(Encode):
    threads = 1

    def work(self, chunk: Any) -> Block:
        """All three."""
        return commit_chunk(self.encode(self.steps.decode(chunk)), self.steps.store_path)


def portable(error: Exception) -> Exception:
    """The error, or its words where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
