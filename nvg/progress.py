"""Progress bars that stay readable in a log file."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from nvg.errors import rank

TERMINAL_SECONDS, FILE_SECONDS = 0.5, 15.0  # between updates


def progress(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """A tqdm bar with `options`, updated rarely when standard error is not a terminal.

    Of several processes that work together the first one shows its own.
    """
    options.setdefault("disable", rank() > 0)
    seconds = TERMINAL_SECONDS if sys.stderr.isatty() else FILE_SECONDS
    return tqdm(items, mininterval=seconds, maxinterval=2 * seconds, **options)
