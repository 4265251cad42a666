"""Object storage as it is: slow, throttling, breaking off, and late with its listings.

Whatever it does, a command ends with the same bytes or with one line that names the remedy.
"""

import shutil
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from nvg.compose.merge import Overlap, merge_stores
from nvg.config import dump
from nvg.format.base import StoreError
from nvg.loader import LoaderMode, SequenceLoader
from nvg.store import Store, open_store
from nvg.view.summary import summarize
from pipeline.recipe import Recipe
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, smooth_image
from tests.pipeline.tokenize.makers import ROWS, photos
from tests.processes import Forked
from tests.s3_server import Faults, Server, objects

# moto and botocore use what newer Pythons will drop.
pytestmark = [
    pytest.mark.s3,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

ALL = Faults(delay=0.002, slow_every=37, reset_every=7, cut_every=5, lag=4)
LATE = Faults(lag=1000)
Running = tuple[Server, str]


@pytest.fixture
def recipe(calm_pass: tuple[Recipe, Path]) -> Recipe:
    """Over a folder of images on the disk."""
    return calm_pass[0]


@pytest.fixture
def on_disk(calm_pass: tuple[Recipe, Path]) -> Path:
    """The store of a pass over them on the disk, to be read only."""
    return calm_pass[1]


def run(recipe: Recipe, tokenizer: Path, out: Path | str, mode: PassMode = PassMode.NEW) -> None:
    tokenize_dataset(recipe, tokenizer, str(out), Engine.INLINE, mode)


def same(server: Server, url: str, on_disk: Path) -> bool:
    """Whether a bucket, asked in quiet, has the files of a folder."""
    server.faults = Faults()
    return objects(url) == files_below(on_disk)


def batches(store: Store) -> list[dict[str, Any]]:
    """Two epochs as they are streamed."""
    loader = SequenceLoader(store, 4, drop_last=False, mode=LoaderMode.STREAM, window=2)
    return [vars(batch) for _ in range(2) for batch in loader]


def test_all_at_once_changes_no_byte(
    recipe: Recipe, on_disk: Path, tokenizer: Path, bucket: str, running: Running
) -> None:
    """A store is written, verified, shown and streamed twice, as on a disk."""
    server, out = running[0], f"{bucket}/a.vgs"
    server.faults = ALL
    server.done.clear()
    run(recipe, tokenizer, out)
    store = open_store(out)
    assert store.verify() == []
    assert summarize(store).reasons == summarize(open_store(str(on_disk))).reasons
    for found, wanted in zip(batches(store), batches(open_store(str(on_disk))), strict=True):
        for name, value in wanted.items():
            assert value is None or np.array_equal(found[name], value), name
    assert min(server.done[fault] for fault in ("slow", "reset", "cut")) > 0
    assert same(server, out, on_disk)


def test_a_killed_pass_goes_on(
    recipe: Recipe, on_disk: Path, tokenizer: Path, bucket: str, running: Running, tmp_path: Path
) -> None:
    """The dead one's lock is named with its remedy; then the store is that of one pass."""
    server, out = running[0], f"{bucket}/a.vgs"
    dump(recipe, tmp_path / "recipe.toml")
    server.faults = ALL
    verb = ["tokenize", tmp_path / "recipe.toml", "--tokenizer", tokenizer, "--engine", "inline"]
    job, deadline = Forked("cli.app", *verb, "--out", out), time.monotonic() + 60
    while not any("staging" in path for path in server.written()) and time.monotonic() < deadline:
        time.sleep(0.01)
    job.kill()
    assert not any("commits" in path for path in server.written())
    with pytest.raises(StoreError, match="--break-lock"):
        run(recipe, tokenizer, out, PassMode.RESUME)
    tokenize_dataset(recipe, tokenizer, out, Engine.INLINE, PassMode.RESUME, break_lock=True)
    assert same(server, out, on_disk)


@pytest.mark.parametrize("faults", [ALL, LATE], ids=["all", "late"])
def test_two_jobs_join_one_store(
    recipe: Recipe,
    on_disk: Path,
    tokenizer: Path,
    bucket: str,
    running: Running,
    tmp_path: Path,
    faults: Faults,
) -> None:
    """Each begins by itself, and no lock keeps them apart; whatever listings show, the last job
    to end finds all chunks, and joins them."""
    server, out = running[0], f"{bucket}/deep/a.vgs"
    dump(recipe, tmp_path / "recipe.toml")
    server.faults = faults
    verb = ["tokenize", tmp_path / "recipe.toml", "--tokenizer", tokenizer, "--engine", "inline"]
    jobs = [Forked("cli.app", *verb, "--out", out, "--part", f"{n}/2") for n in (1, 2)]
    ends = [(job.wait(), job.said()[1]) for job in jobs]
    assert [code for code, _ in ends] == [0, 0], ends
    assert same(server, out, on_disk)
    beside = {name for name in objects(f"{bucket}/deep") if not name.startswith("a.vgs/")}
    assert beside == {"a.vgs.report.json"}


def test_late_listings_hide_no_damage_and_no_repair(
    tokenizer: Path, bucket: str, running: Running, tmp_path: Path
) -> None:
    """Extended, damaged, resumed, while no listing shows what is new or lacks what is gone."""
    server, (out, on_disk) = running[0], (f"{bucket}/a.vgs", tmp_path / "a.vgs")
    recipe = photos(tmp_path / "images")
    for place in (on_disk, out):
        run(recipe, tokenizer, place)
    smooth_image(np.random.default_rng(9), 40).save(tmp_path / "images" / "ant" / "new.png")
    server.faults = LATE
    for place in (on_disk, out):
        run(recipe, tokenizer, place, PassMode.EXTEND)
    store = open_store(out)
    assert (len(store), store.verify()) == (ROWS + 1, [])
    fs, root = fsspec.core.url_to_fs(out)
    fs.rm_file(f"{root}/content/c/0/0/0")
    assert len(open_store(out).verify()) == store.chunks
    run(recipe, tokenizer, out, PassMode.RESUME)
    assert open_store(out).verify() == []
    assert same(server, out, on_disk)


def test_stores_are_merged(on_disk: Path, bucket: str, running: Running, tmp_path: Path) -> None:
    """The linked store has the index that it has on a disk, and is whole."""
    server = running[0]
    for name in ("a.vgs", "b.vgs"):
        shutil.copytree(on_disk, tmp_path / name)
        fsspec.filesystem("s3").put(f"{tmp_path}/{name}", f"{bucket}/{name}", recursive=True)
    server.faults = ALL
    for home in (str(tmp_path), bucket):
        merge_stores([f"{home}/a.vgs", f"{home}/b.vgs"], f"{home}/c.vgs", Overlap.ALL)
    store = open_store(f"{bucket}/c.vgs")
    assert (len(store), store.verify()) == (2 * ROWS, [])
    assert same(server, f"{bucket}/c.vgs", tmp_path / "c.vgs")


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(slow_every=1), id="throttled"),
        pytest.param(Faults(reset_every=1), id="reset"),
        pytest.param(Faults(delay=6), id="silent"),
    ],
)
def test_what_never_recovers_ends_with_a_line(
    recipe: Recipe,
    tokenizer: Path,
    bucket: str,
    running: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: Faults,
) -> None:
    """Attempts are bounded, and so is the time of each, here a second instead of s3fs's own; what
    was written stays."""
    assert 0 < fsspec.get_filesystem_class("s3").read_timeout <= 15
    server, out = running[0], f"{bucket}/a.vgs"
    run(recipe, tokenizer, out)
    dump(recipe, tmp_path / "recipe.toml")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("FSSPEC_S3", '{"config_kwargs": {"read_timeout": 1}}')
    before = objects(out)
    server.faults = faults
    verb = ["tokenize", tmp_path / "recipe.toml", "--tokenizer", tokenizer, "--engine", "inline"]
    job = Forked("cli.app", *verb, "--out", out, "--resume")
    code, said = job.wait(120), job.said()[1].strip().splitlines()
    assert code == 1
    assert "--resume" in said[-1] or "try again" in said[-1], said
    server.faults = Faults()
    assert objects(out) == before
