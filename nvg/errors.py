"""Errors that reach the user as one line with the remedy, and which of several processes speaks.

torchrun and Ray Train tell a process its place in the environment; the first one logs for all.
"""

import errno
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line ends, changes of direction, halves of characters."""
FULL = (errno.ENOSPC, errno.EDQUOT)  # of a disk, of a quota
AGAIN = "give the command again"  # what to do after a failure that leaves nothing
MOST_SHOWN = 120  # characters of a value
NAMES = re.compile(r"\b[A-Z]\w*(?:Exception|Error|Invalid)\b:? ?")
"""Of kinds of errors, which say nothing to a user."""


class InputError(ValueError):
    """Input that cannot be used. Nothing was lost; the command line exits with 2."""


class WorkError(RuntimeError):
    """Work that failed for a reason other than the input.

    Finished work is kept; the command line exits with 1.
    """


class ElsewhereError(Exception):
    """The error of another process, which tells it for all; this one ends without a word."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code
        """Exit code of the command line."""


def exit_code(error: InputError | WorkError) -> int:
    """What the command line exits with: 2 for unusable input, 1 for work that failed."""
    return 2 if isinstance(error, InputError) else 1


class Stopped(KeyboardInterrupt):
    """A signal, by its `number`, has asked this process to end; `left` says what it leaves.

    The command line exits with 128 + `number`, as shells count it.
    """

    def __init__(self, number: int = signal.SIGINT, left: str = "") -> None:
        super().__init__(left)
        self.number, self.left = int(number), left

    @property
    def code(self) -> int:
        """The exit code."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        return f"stopped by {name}{'; ' * bool(self.left)}{self.left}"


def stopped(error: KeyboardInterrupt, left: str) -> Stopped:
    """The same stop; what it leaves is said unless it is known already. Ctrl-C is SIGINT."""
    if isinstance(error, Stopped):
        return Stopped(error.number, error.left or left)
    return Stopped(signal.SIGINT, left)


@contextmanager
def stop_leaves(left: Callable[[], str]) -> Iterator[None]:
    """Say what a stop inside leaves behind."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise stopped(error, left()) from None


@contextmanager
def full_disk_named(place: object, then: str) -> Iterator[None]:
    """While writing to `place`: WorkError, with what to do `then`, where disk or quota is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise WorkError(f"{place}: no space is left to write to: free some, then {then}") from error


def printable(text: str) -> str:
    """Text from elsewhere as one line: what would steer a terminal is shown as \\x1b or \\n."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def shown(value: object) -> str:
    """A value from elsewhere as a message names it: in quotes where it is text, and cut short."""
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # a number of over 4,300 digits; tables in tables
        return "a value too long to show"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def first_line(error: BaseException) -> str:
    """The first line of what an error says, for a message; "no reason given" where it is silent."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, UnicodeEncodeError):
        return "a name or a text in it is not UTF-8: rename it"
    lines = NAMES.sub("", str(error)).strip().splitlines()
    return printable(lines[0]) if lines else "no reason given"


def rank() -> int:
    """The number of this process among those that work together; 0 for one that is alone."""
    return int(os.environ.get("RANK", "0")) if _processes() > 1 else 0


def speaker() -> str:
    """What an error line begins with: `rank 1 of 8 on node7: `; nothing in a process alone."""
    size = _processes()
    return f"rank {rank()} of {size} on {socket.gethostname()}: " if size > 1 else ""


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
