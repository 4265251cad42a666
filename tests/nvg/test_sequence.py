"""The record that travels: its length, its shape check and its move to a device."""

from dataclasses import replace

import pytest
import torch

from nvg.geometry import Geometry
from nvg.sequence import Sequences


def sequences(batch: int = 3, positions: int = 16, tokens: int = 31) -> Sequences:
    """A batch in the dtypes of the store."""
    return Sequences(
        torch.arange(positions, dtype=torch.uint8).expand(batch, positions),
        torch.full((batch, tokens), 40_000, dtype=torch.uint16),
        torch.arange(batch, dtype=torch.int32) - 1,
    )


def test_the_length_is_the_number_of_images() -> None:
    """len() counts images, not parts."""
    assert len(sequences(5)) == 5


@pytest.mark.parametrize(("grid", "positions", "tokens"), [(2, 4, 7), (4, 16, 31), (16, 256, 511)])
def test_a_batch_that_fits_is_handed_back(grid: int, positions: int, tokens: int) -> None:
    """check() returns the batch itself when N and 2N-1 belong to the grid."""
    batch = sequences(2, positions, tokens)
    assert batch.check(Geometry(grid)) is batch


@pytest.mark.parametrize(
    ("batch", "found", "wanted"),
    [
        (sequences(3, 64, 31), r"leaves.*\(3, 64\)", r"\(3, 16\)"),
        (sequences(3, 16, 32), r"content.*\(3, 32\)", r"\(3, 31\)"),
        (
            Sequences(sequences(2).leaves, sequences(3).content, sequences(3).label),
            r"leaves.*\(2, 16\)",
            r"\(3, 16\)",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(batch: Sequences, found: str, wanted: str) -> None:
    """The ValueError names the part, its shape and the shape the grid needs."""
    with pytest.raises(ValueError, match=f"{found}.*{wanted}"):
        batch.check(Geometry(4))


def test_on_a_device_all_parts_index() -> None:
    """to() keeps every value and makes all three parts int64."""
    moved = sequences().to(torch.device("cpu"))
    assert {moved.leaves.dtype, moved.content.dtype, moved.label.dtype} == {torch.int64}
    assert moved.leaves[2].tolist() == list(range(16))
    assert moved.content.unique().tolist() == [40_000]
    assert moved.label.tolist() == [-1, 0, 1]


@pytest.mark.parametrize("count", [1, 3])
def test_images_are_repeated_one_copy_after_the_other(count: int) -> None:
    """Every part that is there, rows and features too; those that are not stay away."""
    batch = sequences(2).to(torch.device("cpu"))
    whole = replace(batch, row=torch.tensor([7, 9]), features=torch.arange(96).view(2, 16, 3))
    made = whole.repeat(count)
    assert len(made) == 2 * count
    for name, value in vars(whole).items():
        for copy in range(2 * count):
            assert torch.equal(getattr(made, name)[copy], value[copy // count])
    assert batch.repeat(count).row is None
    assert batch.repeat(count).features is None


def test_some_images_are_taken_with_all_their_parts() -> None:
    """In the order that is asked for; those that are not there stay away."""
    whole = replace(sequences(3), row=torch.tensor([7, 9, 11]))
    made = whole.take(torch.tensor([2, 0]))
    assert made.row is not None
    assert made.row.tolist() == [11, 7]
    assert torch.equal(made.leaves, whole.leaves[[2, 0]])
    assert torch.equal(made.content, whole.content[[2, 0]])
    assert made.features is None


def test_batches_are_joined_part_by_part() -> None:
    """In order, parts that are not there stay away; small integers keep their kind."""
    one, other = sequences(2), sequences(3)
    whole = Sequences.join([one, other])
    assert len(whole) == 5
    assert whole.leaves.dtype == one.leaves.dtype
    assert torch.equal(whole.content, torch.cat([one.content, other.content]))
    assert torch.equal(whole.label[2:], other.label)
    assert whole.row is None
    assert whole.features is None
