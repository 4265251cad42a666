"""A store that several jobs write at once is, byte for byte, the one that a single pass writes."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nvg.config import dump
from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.store import StoreWriter, layout, open_store, store_exists
from nvg.store.shard_writer import ShardedWriter
from pipeline.recipe import Recipe, TokenizeConfig
from pipeline.tokenize import dataset, part_pass
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from pipeline.tokenize.part_pass import ShareReport, _join, tokenize_images, tokenize_share
from pipeline.tokenize.report import Report
from pipeline.tokenize.share import Share, note_shares, shares_of
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.pipeline.tokenize.makers import BAD, CHUNKS, ROWS, run, stopped
from tests.processes import Forked

SHARES = 5


@pytest.fixture
def recipe(calm_pass: tuple[Recipe, Path]) -> Recipe:
    """A recipe over a folder of 20 files, three of them bad, in five chunks."""
    return calm_pass[0]


@pytest.fixture
def whole(calm_pass: tuple[Recipe, Path]) -> Path:
    """The store of a single pass, to be read only."""
    return calm_pass[1]


def share(
    recipe: Recipe, tokenizer: Path, out: Path | str, text: str, resume: bool = False
) -> Report | ShareReport:
    """One share in this process."""
    return tokenize_share(recipe, tokenizer, str(out), Share.parse(text), resume=resume)


@pytest.mark.parametrize("order", [[3, 1, 2], pytest.param([1, 2, 3], marks=pytest.mark.thorough)])
@pytest.mark.parametrize("place", ["{}/parts.vgs", "memory://parts{}/a.vgs"])
def test_shares_in_any_order_make_the_store(
    recipe: Recipe, whole: Path, tokenizer: Path, tmp_path: Path, order: list[int], place: str
) -> None:
    """The last one joins it and has its report; the others say what is missing."""
    out = place.format(tmp_path / str(order[0]))
    first, second, last = (share(recipe, tokenizer, out, f"{n}/3") for n in order)
    assert isinstance(first, ShareReport)
    assert isinstance(second, ShareReport)
    assert isinstance(last, Report)
    assert first.chunks + second.chunks + last.work.images // 4 == CHUNKS
    assert (first.missing, second.missing) == (CHUNKS - first.chunks, last.work.images // 4)
    assert f"{second.missing} of {CHUNKS} chunks are missing" in second.lines()[0]
    assert (last.rows, last.errors) == (ROWS, len(BAD))
    if "://" not in out:
        assert files_below(out) == files_below(whole)
        beside = {file.name for file in Path(out).parent.iterdir()}
        assert beside == {"parts.vgs", "parts.vgs.report.json"}
    else:
        store, wanted = open_store(out), open_store(str(whole))
        assert store.verify() == []
        assert store.manifest == wanted.manifest
        assert store.index == wanted.index


def test_a_kill_after_joining_leaves_no_note(
    recipe: Recipe, whole: Path, tokenizer: Path, tmp_path: Path
) -> None:
    """Of how many parts there were: whoever comes next to the finished store removes it."""
    out = Path(shutil.copytree(whole, tmp_path / "a.vgs"))
    for resume in (
        lambda: share(recipe, tokenizer, out, "1/3", resume=True),
        lambda: run(recipe, tokenizer, out, resume=True),
    ):
        note_shares(str(out), Share(1, 3))
        resume()
        assert shares_of(str(out)) is None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tokenizer: Path) -> Path:
    """A folder with recipe.toml over 30 images in chunks of one, and calm.vgs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_image_folder(folder / "images", per_class=10)
    recipe = tiny_recipe(folder / "images", tokenize=TokenizeConfig(chunk_rows=1))
    dump(recipe, folder / "recipe.toml")
    tokenize_dataset(recipe, tokenizer, str(folder / "calm.vgs"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_five_at_once_of_which_two_are_killed(
    undisturbed: Path, tokenizer: Path, tmp_path: Path, seed: int
) -> None:
    """At some moment; resumed, two at once, they write what is missing, and the last one joins."""
    randomness, out = random.Random(seed), tmp_path / "a.vgs"
    verb = ["tokenize", undisturbed / "recipe.toml", "--tokenizer", tokenizer, "--out", out]

    def begun(number: int, *flags: str) -> Forked:
        part = f"{number}/{SHARES}"
        return Forked("cli.app", *verb, "--engine", "inline", "--part", part, *flags)

    jobs = {number: begun(number) for number in range(1, SHARES + 1)}
    for number in randomness.sample(sorted(jobs), 2):
        job, after = jobs.pop(number), randomness.randrange(5)
        while len(done_of(out, number)) < after and job.returncode is None:
            time.sleep(0.005)
        job.send_signal(signal.SIGKILL)
        job.wait()
        if job.returncode == 0:
            continue  # it was quicker than the signal
        jobs[number] = begun(number, "--resume")
    for job in jobs.values():
        assert job.wait() == 0, job.said()[1]
    assert files_below(out) == files_below(undisturbed / "calm.vgs")
    assert not list(tmp_path.glob("a.vgs.*lock"))
    assert not (tmp_path / "a.vgs.parts").exists()


def done_of(out: Path, number: int) -> list[int]:
    """The chunks of a share that are committed."""
    if not store_exists(str(out)):
        return []
    store = open_store(str(out))
    own = Share(number, SHARES).chunks(store.chunks)
    return [chunk for chunk in store.committed() if chunk in own]


def spoil_first(out: Path) -> None:
    """Damage the first chunk, which waits for the others of its shard."""
    chunk = out / "staging" / "00000" / "0000000.parquet"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")


def test_a_resumed_share_writes_its_own_chunks_only(
    recipe: Recipe, whole: Path, tokenizer: Path, tmp_path: Path
) -> None:
    """Those that are missing or damaged; those of others are not even read."""
    out = tmp_path / "a.vgs"
    share(recipe, tokenizer, out, "1/2")
    spoil_first(out)
    with pytest.raises(StoreError, match=r"0000000\.parquet.*: repair it with"):
        share(recipe, tokenizer, out, "2/2", resume=True)
    assert open_store(str(out)).committed() == [0, 1, 2, 3, 4]
    again = share(recipe, tokenizer, out, "1/2", resume=True)
    assert isinstance(again, Report)
    assert again.work.images == 4
    assert files_below(out) == files_below(whole)


@pytest.mark.thorough
def test_a_damaged_chunk_of_a_share_is_written_again(
    recipe: Recipe, whole: Path, tokenizer: Path, tmp_path: Path
) -> None:
    """While the store is unfinished; a plain --resume does all the rest, and ends it."""
    out = tmp_path / "a.vgs"
    share(recipe, tokenizer, out, "1/2")
    spoil_first(out)
    again = share(recipe, tokenizer, out, "1/2", resume=True)
    assert again.work.images == 4
    rest = run(recipe, tokenizer, out, resume=True)
    assert rest.work.images == 12
    assert not (tmp_path / "a.vgs.parts").exists()
    assert files_below(out) == files_below(whole)


@pytest.fixture(scope="module")
def halves(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of stores: `parts.vgs` with the first half written, `whole.vgs` with two chunks."""
    folder, recipe = tmp_path_factory.mktemp("begun"), calm_pass[0]
    share(recipe, tokenizer, folder / "parts.vgs", "1/2")
    stopped(recipe, tokenizer, folder / "whole.vgs", (0, 3))
    write_image_folder(folder / "images", per_class=1)
    return folder


@pytest.fixture
def begun(halves: Path) -> Iterator[Path]:
    """The same, which no test may change."""
    before = files_below(halves)
    yield halves
    assert files_below(halves) == before


@pytest.mark.parametrize(
    ("store", "text", "resume", "line"),
    [
        ("whole.vgs", "1/2", False, "was begun whole: complete it with --resume and without"),
        ("whole.vgs", "1/2", True, "was begun whole: complete it with --resume and without"),
        ("parts.vgs", "1/3", True, r"was begun in 2 parts: name one of them, 1/2 to 2/2"),
        ("parts.vgs", "1/2", False, r"part 1/2 of .*parts\.vgs has been begun: .*--resume"),
        ("images", "1/2", False, "is not empty and no store"),
    ],
)
def test_a_share_that_does_not_fit_changes_nothing(
    begun: Path, recipe: Recipe, tokenizer: Path, store: str, text: str, resume: bool, line: str
) -> None:
    """One line with the remedy."""
    with pytest.raises(StoreError, match=line):
        share(recipe, tokenizer, begun / store, text, resume)


def test_a_share_of_another_recipe_is_refused(begun: Path, recipe: Recipe, tokenizer: Path) -> None:
    """As by a pass over all."""
    other = replace(recipe, tokenize=replace(recipe.tokenize, chunk_rows=5))
    with pytest.raises(StoreError, match=r"begun with another recipe \(chunk_rows differs\)"):
        share(other, tokenizer, begun / "parts.vgs", "2/2")


def test_a_pass_waits_for_no_job(
    begun: Path, recipe: Recipe, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told who writes, while one writes a share."""

    def at_once(*_: object) -> object:
        with pytest.raises(StoreError, match="is being written by process"):
            tokenize_dataset(
                recipe, tokenizer, str(begun / "parts.vgs"), Engine.INLINE, PassMode.RESUME
            )
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "run_chunks", at_once)
    with pytest.raises(KeyboardInterrupt):
        share(recipe, tokenizer, begun / "parts.vgs", "2/2")


@pytest.mark.thorough
def test_two_may_lay_the_store_out_at_once(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """On object storage: the second goes on with what it finds, whenever it finds it."""
    for sights in (3, 4):
        out, looks = f"memory://layout{sights}{tmp_path}/a.vgs", list[str]()
        share(recipe, tokenizer, out, "1/2")

        def late(path: str, looks: list[str] = looks, sights: int = sights) -> bool:
            looks.append(path)
            return len(looks) > sights

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(part_pass, "store_exists", late)
            patch.setattr(layout, "store_exists", lambda path, late=late: late(path))
            report = share(recipe, tokenizer, out, "2/2")
        assert isinstance(report, Report)
        assert len(looks) > sights
        assert open_store(out).verify() == []


def test_two_may_join_at_once(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """On object storage, where no lock keeps them apart: the second finds the store finished."""
    out = f"memory://join{tmp_path}/a.vgs"
    share(recipe, tokenizer, out, "1/2")
    finish, opened = ShardedWriter.finish, list[StoreWriter]()

    def twice(store: ShardedWriter) -> None:
        if not opened:
            opened.append(store)
            _join(out)
        finish(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardedWriter, "finish", twice)
        report = share(recipe, tokenizer, out, "2/2")
    assert isinstance(report, Report)
    assert opened
    assert open_store(out).verify() == []


def test_a_part_is_named_by_its_text(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """None is the whole; a share is not extended, and has no lock to break."""
    out = str(tmp_path / "a.vgs")

    def images(mode: PassMode, **options: Any) -> Report | ShareReport:
        return tokenize_images(recipe, tokenizer, out, Engine.INLINE, mode, **options)

    for mode, options in ((PassMode.EXTEND, {}), (PassMode.RESUME, {"break_lock": True})):
        with pytest.raises(InputError, match="--part takes neither --extend nor --break-lock"):
            images(mode, part="1/2", **options)
    with pytest.raises(InputError, match="--part 3/2 must be"):
        images(PassMode.NEW, part="3/2")
    assert list(tmp_path.iterdir()) == []
    assert isinstance(images(PassMode.NEW, part="1/2"), ShareReport)
    assert isinstance(images(PassMode.RESUME), Report)
