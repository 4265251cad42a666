"""Micro-batches of a step: which process has which, what they hold, and what each draws."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nvg.distributed import World
from nvg.seeding import shard_seed
from nvg.tokenizer.autoencoder import from_pixels
from nvg.tokenizer.image_batch import ImageBatch
from nvg.training.autoencoder.parts import Draws, Part, parts_of, rows_of

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)


@dataclass(frozen=True)
class Told(World):
    """A world whose processes have said how many images their micro-batches have."""

    counts: Any = ()

    def gather(self, value: Any) -> Any:
        assert value == self.counts[self.rank]
        return self.counts


@given(st.integers(0, 40), st.sampled_from([(1, 4), (2, 2), (4, 1)]))
def test_the_same_micro_batches_whoever_computes_them(count: int, layout: tuple[int, int]) -> None:
    """In order of their numbers they are four consecutive, nearly equal runs of the rows."""
    size, accumulate = layout
    own = [rows_of(np.arange(count), World(rank, size, CPU), accumulate) for rank in range(size)]
    by_number = [own[rank][micro] for micro in range(accumulate) for rank in range(size)]
    assert np.concatenate(by_number).tolist() == list(range(count))
    sizes = [len(rows) for rows in by_number]
    assert all(0 <= one - other <= 1 for one, other in pairwise(sizes))


@pytest.mark.parametrize("asked", [[7], [3, 2, 2], [4, 0, 3]])
@pytest.mark.parametrize("has_segments", [False, True])
def test_a_batch_is_cut(asked: list[int], has_segments: bool) -> None:
    """Joined again the parts are the batch, label maps too; shares sum to one; none is empty."""
    pixels = np.arange(7 * 12, dtype=np.uint8).reshape(7, 3, 2, 2)
    segments = np.arange(7 * 4, dtype=np.int32).reshape(7, 4) if has_segments else None
    parts = parts_of(ImageBatch(pixels, segments).split(asked), ALONE)
    sizes = [size for size in asked if size]
    assert [len(part.pixels) for part in parts] == sizes
    assert [part.share for part in parts] == [size / 7 for size in sizes]
    assert [part.number for part in parts] == [n for n, size in enumerate(asked) if size]
    joined = torch.cat([part.images for part in parts])
    assert torch.equal(joined, from_pixels(torch.from_numpy(pixels)))
    if segments is None:
        assert {part.segments for part in parts} == {None}
    else:
        found = [part.segments for part in parts if part.segments is not None]
        assert torch.equal(torch.cat(found), torch.from_numpy(segments))


def test_a_process_knows_its_place_in_the_step() -> None:
    """Micro-batches 0 and 2 are the first process's, 1 and 3 the second's; 1 lost an image."""
    counts = [[2, 2], [1, 2]]
    found = []
    for rank, own in enumerate(counts):
        batches = [ImageBatch(np.zeros((n, 3, 2, 2), np.uint8)) for n in own]
        found.append(parts_of(batches, Told(rank, 2, CPU, None, counts)))

    def places(parts: list[Part]) -> list[tuple[int, int, int]]:
        return [(part.number, part.before, part.of) for part in parts]

    assert places(found[0]) == [(0, 0, 7), (2, 3, 7)]
    assert places(found[1]) == [(1, 2, 7), (3, 5, 7)]
    assert sum(part.share for parts in found for part in parts) == pytest.approx(1)


def test_every_micro_batch_draws_from_a_stream_of_its_own() -> None:
    """Interleaved as if alone; the beginning can be drawn again without losing the place."""
    expected = {}
    for number in (0, 3):
        torch.manual_seed(shard_seed(7, 5, number))
        expected[number] = torch.rand(6).tolist()
    draws, found = Draws(7, 5, CPU), {0: [], 3: []}  # type: ignore[var-annotated]
    for number in (0, 3):
        with draws.first(number):
            found[number] += torch.rand(2).tolist()
    for number in (3, 0, 0, 3):
        with draws.first(number):
            assert torch.rand(2).tolist() == expected[number][:2]
        with draws.further(number):
            found[number] += torch.rand(2).tolist()
    assert found == expected
    with draws.further(1):  # of one that has drawn nothing
        torch_rand = torch.rand(1)
    torch.manual_seed(shard_seed(7, 5, 1))
    assert torch.equal(torch_rand, torch.rand(1))
