"""How much is read at once: as many chunks as keep the cores busy while requests go around."""

import math
import os

MOST_THREADS, MOST_AHEAD = 64, 4
LEAST_CORES, MOST_CORES = 2, 8
FAR = 0.05  # seconds that a request over the network is taken for before one was measured
WORK = 0.005  # and those that a chunk is
NEW = 0.05  # weight of a new measurement
AHEAD_BYTES = 512 << 20  # that windows may take which are read ahead of the next one


class Pace:
    """Threads that read chunks, from how long one is waited for and worked on.

    Two on a local disk; one more for each time that a chunk is worked on while one is waited for.
    """

    def __init__(self, is_far: bool) -> None:
        self.cores = cores()
        self.waited, self.worked = FAR if is_far else 0.0, WORK

    def saw(self, waited: float, worked: float) -> None:
        """Seconds that a chunk's files took to come, and those that it was worked on.

        A shorter wait counts at once: longer ones may come of the other threads.
        """
        self.waited = min(waited, self.waited + NEW * (waited - self.waited))
        self.worked += NEW * (worked - self.worked)

    @property
    def threads(self) -> int:
        """How many chunks to read at once."""
        wanted = self.cores * (1 + self.waited / max(self.worked, 1e-6))
        return min(MOST_THREADS, max(self.cores, round(wanted)))

    def ahead(self, window: int, size: int) -> int:
        """How many windows of so many chunks and bytes to read ahead, at least one."""
        room = 1 + AHEAD_BYTES // max(size, 1)
        return min(MOST_AHEAD, room, math.ceil(self.threads / window))


def cores() -> int:
    """Threads that decode, where the processes of this machine share its cores."""
    own = os.cpu_count() or LEAST_CORES
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(MOST_CORES, max(LEAST_CORES, own // beside))
