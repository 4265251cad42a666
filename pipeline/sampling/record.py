"""The record of a folder of samples: what it was made of, and the batches that are whole.

`samples.jsonl` in the folder: a line of facts, then a line a batch with the digest of its files,
written after them. A line that a kill cut short counts for nothing.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvg.config import as_table
from nvg.errors import InputError
from nvg.files import parse_json, read_small, write_atomic
from nvg.sampling.config import SamplerConfig
from pipeline.run_weights import weights_files
from pipeline.sampling.options import SampleOptions

RECORD = "samples.jsonl"


def files_digest(files: Iterable[bytes]) -> str:
    """SHA-256 over the files of a batch, in order."""
    found = hashlib.sha256()
    for data in files:
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


def sample_facts(
    run: Path, options: SampleOptions, config: SamplerConfig, labels: list[int]
) -> dict[str, Any]:
    """All that the images depend on."""
    given = (options.structure, options.mask, options.tokenizer)
    files = weights_files(run, options.weights, options.checkpoint)
    return {
        "weights": {"of": options.weights, **_digests(files)},
        "sample": as_table(config),
        "seed": options.seed,
        "labels": hashlib.sha256(json.dumps(labels).encode()).hexdigest(),
        "batch_size": options.batch_size,
        "reference": options.reference,
        "keep": options.keep,
        "given": _digests([path for path in given if path and path.is_file()]),
    }


def _digests(files: list[Path]) -> dict[str, str]:
    found = {}
    for path in files:
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


@dataclass
class Record:
    """The batches of a folder that are written."""

    path: Path
    facts: dict[str, Any]
    done: dict[int, str] = field(default_factory=dict)
    """Digest of the files of a batch, by its first image."""

    def begin(self) -> None:
        """Write it with what is known; once, when nothing can refuse the work any more."""
        whole = [json_line(self.facts)]
        whole += [json_line({"batch": n, "files": d}) for n, d in self.done.items()]
        write_atomic(self.path, b"".join(whole))

    def add(self, images: range, digest: str) -> None:
        """Note that the files of a batch are written."""
        with self.path.open("ab") as file:
            file.write(json_line({"batch": images.start, "files": digest}))

    def is_whole(self, images: range, files: list[Path]) -> bool:
        """Whether the files of a batch are there and as they were written."""
        wanted = self.done.get(images.start)
        if wanted is None or not all(path.is_file() for path in files):
            return False
        return files_digest(path.read_bytes() for path in files) == wanted


def open_record(folder: Path, facts: dict[str, Any], resume: bool) -> Record:
    """The record of a folder, new or to go on with; nothing is written before it begins.

    InputError where the folder holds other files, or samples that were made otherwise.
    """
    record = Record(folder / RECORD, facts)
    if not record.path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder} holds files, and no {RECORD} of samples: name a new or empty --folder"
            )
        return record
    if not resume:
        raise InputError(f"{folder} holds samples: go on with --resume, or name another --folder")
    try:
        first, *rest = read_small(record.path).splitlines() or [b""]
    except ValueError as error:
        raise InputError(f"{folder}: {error}: name another --folder") from None
    known = _read(first)
    if not known:
        raise InputError(f"{record.path} is no record of samples: name another --folder")
    for name, value in facts.items():
        if known.get(name) != value:
            raise InputError(
                f"{folder} holds samples that were made otherwise ({name} differs): use the same "
                "command, or name another --folder"
            )
    for line in map(_read, rest):
        batch, digest = line.get("batch"), line.get("files")
        if type(batch) is int and isinstance(digest, str):
            record.done[batch] = digest
    return record


def json_line(value: Any) -> bytes:
    """A value as one line of JSON."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _read(line: bytes) -> dict[str, Any]:
    """The object of a line, empty where it is none."""
    try:
        found = parse_json(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
