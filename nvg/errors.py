"""Errors that reach the user as one line with the remedy, and which of several processes speaks.

torchrun and Ray Train tell a process its place in the environment; the first one logs for all.
"""

import os
import socket


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


def rank() -> int:
    """The number of this process among those that work together; 0 for one that is alone."""
    return int(os.environ.get("RANK", "0")) if _processes() > 1 else 0


def speaker() -> str:
    """What an error line begins with: `rank 1 of 8 on node7: `; nothing in a process alone."""
    size = _processes()
    return f"rank {rank()} of {size} on {socket.gethostname()}: " if size > 1 else ""


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
