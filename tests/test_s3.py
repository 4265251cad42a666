"""Object storage: sources and stores on a real S3-protocol server on this machine."""

import json
from pathlib import Path
from typing import Any, cast

import fsspec
import numpy as np
import pytest
from torch import Tensor

import nvg
from nvg.errors import InputError
from nvg.fetch import fetched
from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import open_store
from nvg.store.lock import writer_lock
from nvg.tokenizer.autoencoder import load_autoencoder
from nvg.weights import fingerprint
from pipeline.packing.pack import PackOptions, pack_run
from pipeline.recipe import DataConfig, Recipe, SourceKind
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe
from tests.nvg.store.makers import empty_store, index_table, random_arrays, write_rows
from tests.nvg.tokenizer.makers import write_autoencoder
from tests.pipeline.tokenize.makers import ROWS, TOKENIZE
from tests.processes import outputs, start_processes
from tests.s3_server import Server, objects

# moto and botocore use what newer Pythons will drop.
pytestmark = [
    pytest.mark.s3,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


RANK = "tests.nvg.loader.rank"


def run(recipe: Recipe, tokenizer: Path, out: str, mode: PassMode = PassMode.NEW) -> None:
    tokenize_dataset(recipe, tokenizer, out, Engine.INLINE, mode)


def test_a_bucket_holds_what_a_disk_would(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str
) -> None:
    """The same objects with the same bytes; verified, loaded, and free of a lock afterwards."""
    recipe, on_disk = calm_pass
    out = f"{bucket}/deep/a.vgs"
    run(recipe, tokenizer, out)
    assert objects(out) == files_below(on_disk)
    store = open_store(out)
    assert store.verify() == []
    for mode in (LoaderMode.MEMORY, LoaderMode.STREAM):
        loader = SequenceLoader(store, 4, drop_last=False, mode=mode, window=2)
        assert (
            sorted(int(row) for batch in loader for row in cast(Tensor, batch.row))
            == store.ok_rows().tolist()
        )
    assert sorted(objects(f"{bucket}/deep")) == sorted(
        [f"a.vgs/{name}" for name in files_below(on_disk)] + ["a.vgs.report.json"]
    )


def test_a_source_may_be_a_bucket(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str, tmp_path: Path
) -> None:
    """Images fetched from S3 give the arrays of images read from the disk, error rows included."""
    fs = fsspec.filesystem("s3")
    for key, file in files_below(calm_pass[1].with_name("images")).items():
        fs.pipe_file(f"{bucket}/images/{key}", file)
    data = DataConfig(source=SourceKind.FOLDER, path=f"{bucket}/images")
    run(tiny_recipe(data=data, tokenize=TOKENIZE), tokenizer, str(tmp_path / "b.vgs"))
    store, wanted = open_store(str(tmp_path / "b.vgs")), open_store(str(calm_pass[1]))
    assert store.index == wanted.index
    for name in ("leaves", "content", "label"):
        assert (store.group[name][:] == wanted.group[name][:]).all()


PUTS = [
    *("staging/00000/0000002", "content/c/0", "index/00000", "commits/00000", "chunks.parquet"),
    "manifest.json",
]


def test_a_put_that_fails_once_is_tried_again(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str, running: tuple[Server, str]
) -> None:
    """A busy server (503) costs a retry and nothing else, whichever file it is."""
    running[0].refused = 0
    running[0].answers.update({part: ["503 Slow Down"] for part in PUTS})
    run(calm_pass[0], tokenizer, f"{bucket}/a.vgs")
    assert running[0].answers == {part: [] for part in PUTS}
    assert running[0].refused == len(PUTS)
    assert objects(f"{bucket}/a.vgs") == files_below(calm_pass[1])


def test_a_put_that_is_refused_ends_the_pass(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str, running: tuple[Server, str]
) -> None:
    """Of one file after another: it is reported, the lock is gone, nothing half counts.

    Each --resume goes on to where the next is refused; the last one completes the store.
    """
    mode = PassMode.NEW
    for part in PUTS[:-1]:
        running[0].answers[part] = ["403 Forbidden"]
        with pytest.raises(OSError, match=r"(?i)forbidden|denied"):
            run(calm_pass[0], tokenizer, f"{bucket}/a.vgs", mode)
        assert running[0].answers[part] == []
        assert not open_store(f"{bucket}/a.vgs").finished
        mode = PassMode.RESUME
    run(calm_pass[0], tokenizer, f"{bucket}/a.vgs", PassMode.RESUME)
    assert objects(f"{bucket}/a.vgs") == files_below(calm_pass[1])


def test_a_damaged_object_is_found_and_mended(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str
) -> None:
    """A flipped bit, then a lost object: verify names the chunks, --resume makes them again."""
    out = f"{bucket}/a.vgs"
    run(calm_pass[0], tokenizer, out)
    fs, root = fsspec.core.url_to_fs(out)
    data = bytearray(fs.cat_file(f"{root}/leaves/c/0/0/0"))
    start, _ = open_store(out).chunk_span("leaves", 3)
    assert start is not None
    data[start + 9] ^= 4
    fs.pipe_file(f"{root}/leaves/c/0/0/0", bytes(data))
    fs.invalidate_cache()
    faults = open_store(out).verify()
    assert {fault.split(":")[0] for fault in faults} == {"chunk 3"}
    run(calm_pass[0], tokenizer, out, PassMode.RESUME)
    assert objects(out) == files_below(calm_pass[1])
    fs.rm_file(f"{root}/content/c/0/0/0")
    fs.invalidate_cache()
    assert len(open_store(out).verify()) == open_store(out).chunks
    run(calm_pass[0], tokenizer, out, PassMode.RESUME)
    assert objects(out) == files_below(calm_pass[1])


def test_a_bucket_has_one_writer(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, bucket: str
) -> None:
    """A second pass is refused; a dead one's lock is broken on demand."""
    out = f"{bucket}/a.vgs"
    with writer_lock(out), pytest.raises(StoreError, match="is being written by"):
        run(calm_pass[0], tokenizer, out)
    fsspec.filesystem("s3").pipe_file(f"{out}.lock", b"of a dead process")
    with pytest.raises(StoreError, match="--break-lock"):
        run(calm_pass[0], tokenizer, out)
    tokenize_dataset(calm_pass[0], tokenizer, out, break_lock=True)
    assert len(open_store(out)) == ROWS


def test_a_run_in_a_bucket_is_used_as_one_on_a_disk(
    tokenizer: Path, bucket: str, tmp_path: Path
) -> None:
    """As it lies there, and packed; a newer version is fetched; a wrong key is one line."""
    fs = fsspec.filesystem("s3")
    fs.put(str(tokenizer / "autoencoder.safetensors"), f"{bucket}/run/autoencoder.safetensors")
    own, found = (fingerprint(load_autoencoder(fetched(p))) for p in (tokenizer, f"{bucket}/run"))
    assert own == found
    pack_run(tokenizer, PackOptions(out=tmp_path / "pack"))
    fs.put(f"{tmp_path}/pack", f"{bucket}/pack", recursive=True)
    packed = nvg.load_tokenizer(f"{bucket}/pack").model
    assert fingerprint(packed) == own
    write_autoencoder(tmp_path / "other", seed=7)
    fs.put(f"{tmp_path}/other/autoencoder.safetensors", f"{bucket}/run/autoencoder.safetensors")
    assert fingerprint(load_autoencoder(fetched(f"{bucket}/run"))) != own
    with pytest.raises(InputError, match=r"there is (no run|nothing) at s3://.*/none"):
        fetched(f"{bucket}/none")


@pytest.mark.slow
def test_two_nodes_read_the_store_once(
    bucket: str, running: tuple[Server, str], tmp_path: Path
) -> None:
    """Four ranks on two nodes fetch at most 1.05 times its chunks, later no chunk again."""
    rows, place = 5200, tmp_path / "a.vgs"
    classes = [str(row) for row in range(rows)]
    sizes: dict[str, Any] = {"grid": 16, "chunk_rows": 64, "shard_rows": 512}
    store = empty_store(place, rows, classes=classes, codebook_size=65536, **sizes)
    arrays = random_arrays(store) | {"label": np.arange(rows, dtype=np.int32)}
    for chunk in range(store.chunks):
        write_rows(store, chunk, arrays, index_table(store, arrays))
    store.finish()
    fsspec.filesystem("s3").put(str(place), f"{bucket}/a.vgs", recursive=True)
    chunks = [*place.glob("commits/*.json"), *place.glob("*/c/**/*")]
    size = sum(path.stat().st_size for path in chunks if path.is_file())

    def stream(epochs: int) -> int:
        running[0].sent.clear()
        ranks = start_processes(4, RANK, f"{bucket}/a.vgs", tmp_path / "caches", epochs, per_node=2)
        found = [json.loads(said) for said in outputs(ranks)]
        for epoch in range(epochs):
            assert sorted(row for rank in found for row in rank[epoch]) == list(range(rows))
        sent = running[0].sent.items()
        return sum(count for path, count in sent if "/c/" in path or "/commits/" in path)

    once = stream(1)
    assert size <= once <= 1.05 * size
    assert stream(2) < 0.05 * size  # records and places of shards, by each process once
    arrays_sent = [n for path, n in running[0].sent.items() if "/c/" in path]
    assert max(arrays_sent) < 0.01 * size
