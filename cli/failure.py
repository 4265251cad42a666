"""What an error that no verb foresaw says, in one line without Python's words where they can go."""

import errno
import re
from collections.abc import Sequence
from itertools import pairwise

from nvg.errors import AGAIN, InputError

RESUMED = f"{AGAIN}, with --resume where it knows that"

REMEDIES = {
    errno.ENOSPC: f"free some space, then {RESUMED}",
    errno.EDQUOT: f"free some of your quota, then {RESUMED}",
    errno.EACCES: "change its permissions, or name another place",
    errno.EPERM: "change its permissions, or name another place",
    errno.EROFS: "name another place",
    errno.ENOENT: "name another place",
    errno.EEXIST: "name another place",
    errno.ENOTDIR: "name another place",
    errno.EISDIR: "name a file",
    errno.EMFILE: "raise the limit of open files with `ulimit -n`",
}
CLIENTS = {"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "adlfs"}
"""Packages whose errors are those of storage behind a URL."""
FULL = (
    "lower batch_size or the images at once, or raise accumulate (docs/guides/train-tokenizer.md)"
)


def require_no_empty(arguments: Sequence[str]) -> None:
    """InputError for an empty argument, as a shell makes of a variable that is not set.

    Taken as a path it would be the current folder.
    """
    for before, each in pairwise(["", *arguments]):
        if not each or re.fullmatch("--[a-z-]+=", each):
            name = each[:-1] or (before if before.startswith("-") else "an argument")
            raise InputError(
                f"{name} is empty, as of a shell variable that is not set: give it a value, or "
                "leave it out"
            )


def failure_line(error: Exception) -> str:
    """The line for the user; of a fault of this program with the way to see where it is."""
    name = type(error).__name__
    reason = (str(error).strip().splitlines() or [""])[0]
    if name == "OutOfMemoryError":  # torch's, which is not imported for its name
        return f"the memory of the device is full: {FULL}"
    if isinstance(error, MemoryError):
        return f"the memory of this machine is full: {FULL}"
    if is_of_storage(error):
        return (
            f"storage failed ({reason or name}): see to the connection and the credentials, then "
            "give the command again, with --resume where it knows that"
        )
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        remedy = REMEDIES.get(error.errno or 0)
        return f"{where}{error.strerror}" + (f"; {remedy}" if remedy else "")
    return f"failed: {name}: {reason} (NVG_TRACEBACK=1 shows where)"


def is_of_storage(error: BaseException | None) -> bool:
    """Whether an error comes of a client of storage behind a URL, which has tried long enough."""
    while error is not None:
        if type(error).__module__.partition(".")[0] in CLIENTS:
            return True
        error = error.__cause__ or error.__context__
    return False
