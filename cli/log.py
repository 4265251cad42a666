"""The library's log on the command line: plain lines on standard error, above the progress bars."""

import logging
import sys

LOGGER = logging.getLogger("nvg")


class BarHandler(logging.Handler):
    """Prints a record's message by tqdm, which redraws its bars below."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record; standard error is looked up now, since tests replace it."""
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def show_log() -> None:
    """Show the library's messages from INFO on; calling it again changes nothing."""
    if not any(isinstance(handler, BarHandler) for handler in LOGGER.handlers):
        LOGGER.addHandler(BarHandler())
        LOGGER.setLevel(logging.INFO)
