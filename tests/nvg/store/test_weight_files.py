"""Weights that no network can be made of are told of without making one."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from nvg.format.checks import weights_fault
from nvg.store import Store

SOUND = {"nvg": json.dumps({"config": {}})}


def test_the_weights_of_a_store_are_sound(store: Store) -> None:
    """All of its files."""
    assert len(store.manifest.weights) == 2
    for name in store.manifest.weights:
        assert weights_fault(store.read(name)) == ""


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_nan_and_inf_are_named(kind: type) -> None:
    """The largest number is neither."""
    for value, said in ((np.nan, "w"), (-np.inf, "w"), (np.finfo(kind).max, "")):
        data = save({"w": np.array([0, value], kind)}, SOUND)
        assert weights_fault(data) == (f"holds NaN or Inf, in {said}" if said else "")


def test_a_bfloat16_is_looked_at_too() -> None:
    """Which numpy does not know."""
    for bits, said in ((0x7F80, "holds NaN or Inf, in w"), (0x7F7F, "")):
        data = save({"w": np.array([bits], np.uint16)}, SOUND).replace(b'"U16"', b'"BF16"')
        (size,) = struct.unpack("<Q", data[:8])
        data = struct.pack("<Q", size + 1) + data[8:]
        assert weights_fault(data) == said


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not a safetensors file"),
        (b"\xff" * 20, "is not a safetensors file"),
        (save({"w": np.zeros(1)}), "was not written by nvgctl"),
        (save({"w": np.zeros(1)}, {"nvg": "[" * 9999}), "was not written by nvgctl"),
        (save({"w": np.zeros(1)}, {"nvg": '{"config": 3}'}), "does not say which network it is of"),
        (
            save({"w": np.zeros(1)}, {"nvg": '{"config": {"phis": "fou"}}'}),
            "is of a network whose phis there is not",
        ),
        (
            save({"w": np.zeros(1)}, {"nvg": '{"config": {"phi": [1]}}'}),
            "is of a network whose phi there is not",
        ),
    ],
)
def test_other_files_are_told_of(data: bytes, said: str) -> None:
    """In words."""
    assert weights_fault(data) == said


def test_verify_looks_at_weights_whose_checksum_is_right(store: Store) -> None:
    """Whoever changes a file can change its checksum."""
    from hashlib import sha256

    from tests.nvg.store.makers import write_sealed

    file, manifest = Path(store.path, "detokenizer.safetensors"), Path(store.path, "manifest.json")
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\xc0\x7f")
    table = json.loads(manifest.read_text())
    table["weights"][file.name] = sha256(file.read_bytes()).hexdigest()
    write_sealed(manifest, table)
    (fault,) = Store(store.path).verify()
    assert fault.startswith("detokenizer.safetensors holds NaN or Inf, in ")
