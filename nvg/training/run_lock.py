"""One training at a time for each part of a run directory."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nvg.store.lock import RETRY_SECONDS, writer_lock

RESTART_SECONDS = 30.0  # for a process that was killed and is started again beside what it left


@contextmanager
def run_lock(
    directory: Path, parts: Iterable[str], seconds: float = RETRY_SECONDS
) -> Iterator[None]:
    """Hold the locks of what a training writes; InputError while another process holds one.

    `parts` are the networks that it trains, so that two parts of one directory may be trained at
    once. `seconds` is how long to wait for a holder.
    """
    with ExitStack() as held:
        for part in sorted(parts):
            held.enter_context(writer_lock(str(directory), name=part, seconds=seconds))
        yield
