"""Several stores to train on at once, in given shares: `nvgctl train generator --weights`."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from nvg.compose.pieces import Piece, joined_classes, pieces_of, write_linked
from nvg.errors import InputError
from nvg.store import Split, Store
from nvg.store.linked import LinkedStore, open_store


@dataclass(frozen=True)
class Mixture:
    """Stores, and the share of the samples that each has, of which the proportions matter."""

    paths: tuple[str, ...]
    weights: tuple[float, ...] = ()
    """None: by the number of rows to train on."""

    def __post_init__(self) -> None:
        if self.weights and len(self.weights) != len(self.paths):
            raise InputError(
                f"{len(self.weights)} weights for {len(self.paths)} stores: give one a store"
            )

    def __str__(self) -> str:
        return " + ".join(self.paths)


class MixedStore(LinkedStore):
    """The rows of several stores as those of a store that exists in this process only."""

    def __init__(self, place: str, mixture: Mixture, pieces: Sequence[Sequence[Piece]]) -> None:
        super().__init__(place, [piece.store.path for each in pieces for piece in each])
        self.path = str(mixture)  # what messages name
        ends = [0]
        for each in pieces:
            ends.append(ends[-1] + sum(len(piece.rows) for piece in each))
        self.spans = list(pairwise(ends))
        """First row of each of the stores, and the one after its last."""
        train = self.ok_rows(Split.TRAIN)
        counts = [int(((train >= first) & (train < end)).sum()) for first, end in self.spans]
        for path, count in zip(mixture.paths, counts, strict=True):
            if not count:
                raise InputError(f"{path} has no row to train on: leave it out")
        self.weights = mixture.weights or tuple(map(float, counts))


def open_mixture(mixture: Mixture) -> MixedStore:
    """Open several stores as one; classes are joined by name, keys may repeat.

    StoreError where one is unfinished or they are not alike, InputError for one without a row to
    train on.
    """
    pieces = [pieces_of(open_store(path)) for path in mixture.paths]
    every = [piece for each in pieces for piece in each]
    place = f"memory://nvg-{uuid.uuid4().hex}/mixture.vgs"
    write_linked(place, every, joined_classes(every))
    return MixedStore(place, mixture, pieces)


def open_tokens(place: str | Mixture) -> Store:
    """The store at a path, or that of a mixture."""
    return open_mixture(place) if isinstance(place, Mixture) else open_store(place)


def absolute(place: str | Mixture) -> str | Mixture:
    """The same from any folder."""
    if isinstance(place, Mixture):
        return replace(place, paths=tuple(str(absolute(path)) for path in place.paths))
    return place if "://" in place else str(Path(place).absolute())


def places_of(paths: Sequence[str], weights: str | None) -> str | Mixture:
    """One store, or a mixture of several with weights such as 0.7,0.3."""
    if len(paths) == 1:
        if weights is not None:
            raise InputError("--weights are the shares of several stores: give --store for each")
        return paths[0]
    try:
        numbers = tuple(float(each) for each in weights.split(",")) if weights is not None else ()
    except ValueError:
        raise InputError(f"--weights {weights!r} must be numbers such as 0.7,0.3") from None
    return Mixture(tuple(paths), numbers)
