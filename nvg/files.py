"""Whole-file writes that are either there in full or not at all."""

import json
import os
import uuid
from pathlib import Path
from typing import Any

from nvg.errors import InputError


def require_file_place(path: Path) -> None:
    """InputError when `path` cannot become a file: asked before long work, not after."""
    if path.is_dir():
        raise InputError(f"{path} is a directory: name a file to write")


def is_local(fs: Any) -> bool:
    """Whether an fsspec filesystem is this machine's own."""
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def write_bytes(fs: Any, path: str, data: bytes) -> None:
    """Write `data` to `path` on an fsspec filesystem, atomically.

    On a local disk by `write_atomic`; on an object store one put is atomic already.
    """
    if is_local(fs):
        write_atomic(Path(path), data)
    else:
        fs.pipe_file(path, data)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a local file through a temporary one beside it, synced, then renamed over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def json_bytes(value: Any) -> bytes:
    """A value as JSON text, the same for the same value."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode()
