"""A remark when the object stores of a Ray cluster write to disks."""

import logging
import time
from collections.abc import Callable

log = logging.getLogger("nvg")

LOOK_SECONDS = 30.0  # between two looks


class Spilling:
    """Says once, in one line, that the object stores write to disks because they are full."""

    def __init__(self, spilled: Callable[[], int]) -> None:
        self.spilled, self.at, self.said = spilled, time.monotonic(), False
        self.before = self._bytes()

    def look(self, now: bool = False) -> None:
        """Ask the cluster where it is time to, or `now`; costs nothing else."""
        if self.said or not (now or time.monotonic() - self.at > LOOK_SECONDS):
            return
        self.at = time.monotonic()
        if (found := self._bytes() - self.before) > 0:
            self.said = True
            log.warning(
                "Ray's object store is full and has written %.1f GB to disk: decoding is quicker "
                "than encoding or writing; lower tokenize.chunk_rows, or start the nodes with more "
                "--object-store-memory",
                found / 1e9,
            )

    def _bytes(self) -> int:
        """0 where Ray does not tell: this is a remark only, and the call is none of its public."""
        try:
            return self.spilled()
        except Exception:
            return 0
