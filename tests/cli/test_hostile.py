"""JSON and TOML made to break their readers: every one of ours refuses it in its own words."""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nvg.config import ConfigError, load
from nvg.fetch.listing import read_list
from nvg.format.checks import weights_fault
from nvg.format.manifest import Manifest
from nvg.format.record import CommitRecord, read_shard
from nvg.sampling.generators import class_list
from nvg.training.saved_state import read_state
from nvg.weights import read_header
from pipeline.evaluation.sweep import read_results
from pipeline.sampling.record import RECORD, open_record
from pipeline.sampling.references import tokens_of
from pipeline.sampling.request_png import carried_request
from tests.fuzz.judge import fault_of_text
from tests.makers import HOSTILE_JSON


def weights(text: bytes) -> bytes:
    """A safetensors file with this as its metadata."""
    head = json.dumps({"__metadata__": {"nvg": text.decode()}}).encode()
    return struct.pack("<Q", len(head)) + head


def from_file(read: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    """A reader of a file of that name."""

    def from_folder(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return from_folder


READERS: dict[str, Callable[[bytes, Path], object]] = {
    "manifest": lambda data, _: Manifest.from_bytes(data, "a.vgs"),
    "record": lambda data, _: CommitRecord.from_bytes(data, 0, slice(0, 4), ("leaves",)),
    "shard": lambda data, _: read_shard(data, 0, {0: slice(0, 4)}, ("leaves",)),
    "state": lambda data, _: read_state(re.sub(b"NaN|1e400", b"[", data), 4),
    "list of files": lambda data, _: read_list(data, "it"),
    "reference": lambda data, _: tokens_of(data, "tokenizer"),
    "request": lambda data, _: carried_request(data),
    "header": lambda data, _: read_header(weights(data)),
    "classes": from_file(class_list, "classes.json"),
    "sweep": from_file(read_results, "sweep.jsonl"),
    "samples": from_file(lambda path: open_record(path.parent, {"seed": 0}, True), RECORD),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_a_hostile_document_is_refused_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    """As a whole, and as a value of what its reader expects."""
    start = '{"format": "nvg-store", "version": 1, "shard": 0, "step": 4, "chunk": 0, "x": '
    for text in (value, f"{start}{value}}}"):
        with pytest.raises(ValueError, match=r".") as caught:
            READERS[name](text.encode(), tmp_path)
        said = str(caught.value)
        assert (fault_of_text(said), len(said) < 500) == ("", True)


@pytest.mark.parametrize("value", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_hostile_metadata_of_weights_is_a_fault(value: str) -> None:
    """What `verify` says of them."""
    assert weights_fault(weights(value.encode())) == "was not written by nvgctl"


@dataclass(frozen=True)
class Hostile:
    """A key of each simple type."""

    count: int = 0
    rate: float = 0.0
    name: str = ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("count = 1" + "0" * 5000, "a number is too long"),
        ("name = " + "[" * 5000, "too deep"),
        ("a" + ".a" * 5000 + " = 1", "over 100 parts"),
        ("#" * (1 << 21), "over 1,048,576 characters"),
        ("count = 0x" + "f" * 5000, "below 2.63, not a value too long"),
        ("count = 1" + "0" * 400, r"below 2.63, not 10+\.\.\.$"),
        ("rate = 1" + "0" * 400, r"below 2.63, not 10+\.\.\.$"),
        ("name = ['" + "x" * 5000 + "']", r"must be of type str, not \['x+\.\.\.$"),
        ('"' + "k" * 5000 + '" = 1', "unknown key k{120}; known"),
    ],
)
def test_what_a_run_from_elsewhere_may_hold_is_one_short_line(
    tmp_path: Path, text: str, said: str
) -> None:
    """Numbers and lists that TOML's reader, Python or a terminal would choke on."""
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        load(Hostile, tmp_path / "r.toml")
    assert len(str(caught.value)) < 500
