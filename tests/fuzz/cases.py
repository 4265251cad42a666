"""What a case is: a kind of input, a seed that decides the mutation, and what came of it."""

from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

READ, REFUSED, FAILED, ERROR_ROW = "read", "refused", "failed", "error row"
OUTCOMES = (READ, ERROR_ROW, REFUSED, FAILED)


@dataclass(frozen=True)
class Outcome:
    """What became of one case."""

    mutation: str
    """What was changed, in words."""
    result: str = READ
    """One of OUTCOMES."""
    fault: str = ""
    """What the product did that it must not; "" for nothing."""
    peak: int = 0
    """Bytes of memory that the case took at most, beyond what was in use before it."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


class Kind(Protocol):
    """One kind of input: its sound templates, and a case made of one of them."""

    name: str
    seconds: float
    """That a case may take."""
    memory: int
    """Bytes that it may take."""

    def prepare(self, folder: Path) -> None:
        """Write the sound templates into an empty folder."""

    def run(self, templates: Path, work: Path, random: Random) -> Outcome:
        """Mutate a copy of a template in the empty folder `work`, and use it."""


def randomness(kind: str, seed: int) -> Random:
    """The same for the same case, on every machine."""
    return Random(f"{kind}:{seed}")
