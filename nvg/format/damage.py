"""Tell bytes that are missing or wrong from a disk or network that fails just now.

Only the first is damage, to be reported or repaired. A time-out says nothing about a chunk:
withdrawing its commit would discard finished work.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from nvg.errors import WorkError, first_line
from nvg.format.base import StoreError

DAMAGE = (ValueError, LookupError, TypeError, FileNotFoundError)
"""What checksums, codecs, JSON, Parquet and lost files cause. All other errors are the storage's:
OSError, time-outs, those of network clients."""


class DamageError(StoreError):
    """Part of a store that is missing, or is not what was written."""


@contextmanager
def reading(path: str) -> Iterator[None]:
    """While reading the store at `path`: damage is a DamageError, any other error a WorkError."""
    try:
        yield
    except (StoreError, WorkError):
        raise
    except DAMAGE as error:
        raise DamageError(_in_words(error)) from error
    except RuntimeError as error:  # what Blosc raises, as do threads, sessions and recursion
        if "blosc" not in str(error).lower():
            raise _failing(path, error) from error
        raise DamageError(_in_words(error)) from error
    except Exception as error:
        raise _failing(path, error) from error


def _failing(path: str, error: Exception) -> WorkError:
    return WorkError(
        f"{path} cannot be read just now ({_one_line(error)}): nothing was changed; see to the "
        "disk or the connection, then try again"
    )


def _in_words(error: Exception) -> str:
    """What is wrong with bytes, in one line and not in Python's words."""
    first = first_line(error) if str(error).strip() else "it cannot be decoded"
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or first} is missing"
    return f"{first} is missing" if isinstance(error, KeyError) else first


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
