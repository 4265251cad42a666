"""What several processes write into one directory: their shards, and the index of the first.

Each process ends with a note of what it wrote, `written-RANK.json`. The main process waits for all
notes and for files of the sizes they tell, since a shared disk may show them late. Nothing here is
collective, so that it can run beside training steps.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvg.distributed import World, timeout
from nvg.errors import WorkError
from nvg.files import json_bytes, write_atomic
from nvg.training.snapshot import Snapshot
from nvg.weights import INDEX

POLL = 0.05  # seconds between two looks for the files of the other processes


@dataclass
class Deadline:
    """When to stop waiting for other processes, on the clock `time.monotonic`."""

    at: float = field(default_factory=lambda: time.monotonic() + timeout().total_seconds())

    def shorten(self, seconds: float) -> None:
        """Wait for so many seconds more at most."""
        self.at = min(self.at, time.monotonic() + seconds)


def write_shards(directory: Path, files: Mapping[str, Snapshot], world: World) -> None:
    """Write this process's rows of each file, where it has any, and the note that it is done."""
    directory.mkdir(parents=True, exist_ok=True)  # a shared disk may not show it yet
    note = {}
    for name, snapshot in files.items():
        if not snapshot.tensors:
            continue
        path = directory / f"{Path(name).stem}.shard-{world.rank}-of-{world.size}.safetensors"
        snapshot.write(path)
        note[name] = {
            "header": snapshot.header,
            "file": path.name,
            "bytes": path.stat().st_size,
            "tensors": snapshot.entries,
        }
    write_atomic(_note(directory, world.rank), json_bytes(note))


def join_shards(directory: Path, world: World, deadline: Deadline) -> None:
    """Wait for all processes and write the index; WorkError where one's files do not come."""
    index: dict[str, Any] = {}
    for rank in range(world.size):
        while (note := _complete(directory, rank)) is None:
            if time.monotonic() > deadline.at:
                raise WorkError(
                    f"{directory.parent}: process {rank} of {world.size} did not write its part of "
                    "the checkpoint: it ended, or its disk is not this one; all processes must "
                    "share --out. Go on with --resume"
                )
            time.sleep(POLL)
        for name, found in note.items():
            entry = index.setdefault(name, {"header": found["header"], "tensors": {}})
            for tensor, about in found["tensors"].items():
                kept = entry["tensors"].setdefault(tensor, {**about, "rows": {}})
                kept["rows"][found["file"]] = about["rows"]
    write_atomic(directory / INDEX, json.dumps(index, sort_keys=True).encode())
    for rank in range(world.size):
        _note(directory, rank).unlink()


def _complete(directory: Path, rank: int) -> dict[str, Any] | None:
    """The note of a process, None until all that it tells of is there."""
    try:
        note: dict[str, Any] = json.loads(_note(directory, rank).read_text())
        sizes = [(directory / f["file"]).stat().st_size == f["bytes"] for f in note.values()]
    except FileNotFoundError:
        return None
    return note if all(sizes) else None


def _note(directory: Path, rank: int) -> Path:
    return directory / f"written-{rank}.json"
