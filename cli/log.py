"""The library's log on the command line: plain lines on stderr, above the progress bars."""

import io
import logging
import sys
from collections.abc import Iterable

import typer

from nvg.errors import printable, rank

LOGGER = logging.getLogger("nvg")


class BarHandler(logging.Handler):
    """Prints messages through tqdm, which redraws its bars below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record to the current stderr, which tests replace."""
        from tqdm import tqdm

        tqdm.write(printable(self.format(record)), file=sys.stderr)


def print_on_any_terminal() -> None:
    """Mark characters that a terminal does not have: Latin-1 has no bars, and names may be any."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def show_log() -> None:
    """Show the library's messages from INFO on; of several processes the first does. Idempotent."""
    if rank() > 0:
        LOGGER.handlers = [logging.NullHandler()]  # without any, Python would show warnings
    elif not any(isinstance(handler, BarHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(BarHandler())
        LOGGER.setLevel(logging.INFO)


def say(lines: Iterable[str]) -> None:
    """Print lines; what names from elsewhere would do to a terminal is written out."""
    for line in lines:
        typer.echo("\n".join(map(printable, line.split("\n"))))
