"""No damaged or hostile store is called sound, hangs a verb, or is told of in Python's words."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from nvg.errors import InputError, WorkError
from nvg.format.base import TOKENIZER_FILE
from nvg.loader import SequenceLoader
from nvg.quantizer.granularity import load_quantizer
from nvg.store import open_store
from tests.cli.mutations import FIELDS, MUTATIONS, SHARDED
from tests.nvg.store.makers import (
    make_plain_store,
    make_store,
)

VERBS = {
    "verify": "verify @a.vgs",
    "inspect": "inspect @a.vgs",
    "row": "inspect @a.vgs --row 3 --png @new.png",
    "export": "export @a.vgs --format parquet --out @new.parquet",
}
PYTHON = re.compile(r"Traceback|\b[A-Z][A-Za-z]+(Error|Exception|Invalid)\b")


def fed(path: Path) -> str:
    """What training reads first; the one line where it is refused."""
    try:
        store = open_store(str(path))
        load_quantizer(store.read(TOKENIZER_FILE), store.geometry)
        next(iter(SequenceLoader(store, batch_size=4, seed=0)))
    except (InputError, WorkError) as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A sound store of ten rows of each version; of version 2 in two shards."""
    roots = {version: tmp_path_factory.mktemp("sound") for version in (1, 2)}
    make_plain_store(roots[1] / "a.vgs", 10)
    make_store(roots[2] / "a.vgs", 10)
    return roots


HARMLESS = {  # to verbs that need not look there; `verify` objects to all
    *("record {}", "record lost", "record of no chunk", "index of other keys", "decoder cut"),
    *("decoder lost", "label beyond the classes", "leaf twice", "chunks swapped"),
    *("record endless", "weights endless"),
    *("codebook cut", "codebook with a huge header", "token beyond the codebook"),
    *(f"manifest {f}" for f in ({"errors": 1}, {"val_rows": 1}, {"classes": ["ant"]})),
    f"manifest { {'classes': ['ant', 'bee', 'dog']} }",
    f"manifest { {'weights': {'tokenizer.safetensors': '0'}} }",
}

UNREAD = {  # by training, in the first batch
    *("record of no chunk", "index of other keys", "decoder cut", "decoder lost"),
    *(f"manifest {f}" for f in ({"errors": 1}, {"val_rows": 1})),
    f"manifest { {'classes': ['ant', 'bee', 'dog']} }",
    f"manifest { {'weights': {'tokenizer.safetensors': '0'}} }",
}


HARMLESS_SHARDED = {  # nobody needs Zarr's descriptions there, nor counts, but to train
    *(*HARMLESS, "root zarr lost", "array lost", "shard {}", "shard cut", "shard lost"),
    *("counts endless", "index endless", "counts cut", "counts lost", f"manifest {FIELDS[-1]}"),
    *(f"manifest {f}" for f in ({"counts": None}, {"counts": "0" * 64})),
    *("index cut", "index lost", "index short", "parts alike"),  # of rows that are not looked at
}
UNREAD_SHARDED = {  # no index, where all rows have tokens
    *(*UNREAD, "index endless", "index cut", "index lost", "index short", "parts alike"),
    *("index without keys", "index of text"),
}
KINDS = [(1, name) for name in MUTATIONS] + [(2, name) for name in SHARDED]


@pytest.mark.thorough
@pytest.mark.parametrize(("version", "name"), KINDS)
def test_a_mutated_store_is_told_of_in_one_line(
    templates: dict[int, Path], tmp_path: Path, version: int, name: str
) -> None:
    """`verify` never calls it sound; the other verbs refuse it where they would be misled."""
    shutil.copytree(templates[version], tmp_path, dirs_exist_ok=True)
    mutations, harmless = ((MUTATIONS, HARMLESS), (SHARDED, HARMLESS_SHARDED))[version - 1]
    mutations[name](tmp_path / "a.vgs")
    for verb, line in VERBS.items():
        words = line.replace("@", f"{tmp_path}/").split()
        done = CliRunner().invoke(app, words)
        assert done.exit_code in ((0, 1, 2) if verb != "verify" else (1, 2)), (verb, done.output)
        assert not PYTHON.search(done.output), (verb, done.output)
        assert "intact" not in done.output
        if done.exit_code == 0:
            assert name in harmless, (verb, done.output)
        elif verb != "verify":
            assert done.stderr.count("nvgctl: ") == 1
            assert done.stderr.endswith("\n")
    refused = fed(tmp_path / "a.vgs")
    assert refused or name in (UNREAD, UNREAD_SHARDED)[version - 1]
    assert len(refused.splitlines()) <= 1
    assert not PYTHON.search(refused)


@pytest.mark.parametrize("version", [1, 2])
def test_a_sound_store_is_sound(templates: dict[int, Path], tmp_path: Path, version: int) -> None:
    """The verbs of the table do what they should."""
    shutil.copytree(templates[version], tmp_path, dirs_exist_ok=True)
    for line in VERBS.values():
        done = CliRunner().invoke(app, line.replace("@", f"{tmp_path}/").split())
        assert done.exit_code == 0, done.output
    assert fed(tmp_path / "a.vgs") == ""
