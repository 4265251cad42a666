"""The pass over a dataset: end to end, killed and resumed, refused, and the same under Ray."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nvg.errors import InputError
from nvg.format.base import StoreError
from nvg.store import open_store, open_writer
from nvg.store.shard_writer import ShardedWriter
from pipeline.recipe import AutoencoderSection, Recipe, TokenizeConfig, View
from pipeline.sources import open_source
from pipeline.tokenize import engine
from pipeline.tokenize.encoders import Room
from pipeline.tokenize.engine import encoder_pool
from pipeline.tokenize.ray_steps import Pool
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.tokenizer.makers import tiny_model, write_autoencoder
from tests.pipeline.images.makers import picture
from tests.pipeline.tokenize.makers import BAD, CHUNKS, ROWS, TOKENIZE, photos, run, stopped


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The recipe over a folder of this test's own."""
    return photos(tmp_path / "images")


def times_below(path: Path) -> dict[str, int]:
    """When each file was last written, in nanoseconds."""
    return {name: (path / name).stat().st_mtime_ns for name in files_below(path)}


def test_a_pass_tokenizes_what_it_can(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """Every row is there, bad files are counted and named in the index, and the store is intact."""
    outcome = run(recipe, tokenizer, tmp_path / "a.vgs")
    assert (outcome.rows, outcome.errors) == (ROWS, len(BAD))
    store = open_store(str(tmp_path / "a.vgs"))
    assert (store.finished, store.chunks, store.verify()) == (True, CHUNKS, [])
    index = store.index.to_pylist()
    assert [entry["key"] for entry in index] == [row.key for row in open_source(recipe.data).rows]
    errors = {entry["key"]: entry["reason"] for entry in index if entry["status"] == "error"}
    assert set(errors) == set(BAD)
    assert all(errors.values())
    assert store.content.shape == (ROWS, 2, 31)


def test_a_pass_works_in_memory(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, tmp_path: Path
) -> None:
    """The store may be any fsspec URL, and holds the same arrays there."""
    recipe, on_disk = calm_pass
    out = f"memory://{tmp_path.name}/a.vgs"
    run(recipe, tokenizer, out)
    for name in ("leaves", "content", "label"):
        local = open_store(str(on_disk)).group[name][:]
        assert (open_store(out).group[name][:] == local).all()
    assert open_store(out).verify() == []


def test_two_passes_make_the_same_files(
    calm_pass: tuple[Recipe, Path],
    tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing in a store depends on when or where it was written, or how that place is named.

    A path is meant from the current directory, as everywhere.
    """
    monkeypatch.chdir(tmp_path)
    run(calm_pass[0], tokenizer, "a.vgs")
    assert files_below(tmp_path / "a.vgs") == files_below(calm_pass[1])


@pytest.mark.thorough
@pytest.mark.parametrize("done", [(), (0,), (0, 1, 3), (4,), tuple(range(CHUNKS))])
def test_a_stopped_pass_resumes_to_the_same_bytes(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, tmp_path: Path, done: tuple[int, ...]
) -> None:
    """Whatever was committed, and with rubbish in other chunks, the end is as if never stopped."""
    recipe, whole = calm_pass
    out = tmp_path / "stopped.vgs"
    stopped(recipe, tokenizer, out, done)
    if 2 not in done:
        half = open_writer(str(out))
        half.group["leaves"][8:12] = 200
        (out / "content" / "c" / "0" / "0").mkdir(parents=True)
        (out / "content" / "c" / "0" / "0" / "0").write_bytes(b"torn")
    outcome = run(recipe, tokenizer, out, resume=True)
    assert (outcome.rows, outcome.errors) == (ROWS, len(BAD))
    assert files_below(out) == files_below(whole)


def test_committed_chunks_are_not_written_again(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Resuming makes the missing ones alone."""
    out, written = tmp_path / "a.vgs", list[int]()
    stopped(recipe, tokenizer, out, (0, 3))
    write_chunk = ShardedWriter.write_chunk

    def noted(store: ShardedWriter, chunk: int, *rest: Any) -> None:
        written.append(chunk)
        write_chunk(store, chunk, *rest)

    monkeypatch.setattr(ShardedWriter, "write_chunk", noted)
    run(recipe, tokenizer, out, resume=True)
    assert written == [1, 2, 4]


def test_a_finished_store_resumes_to_itself(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """Nothing is left to do: the same counts, and not one file written."""
    first = run(recipe, tokenizer, tmp_path / "a.vgs")
    before = times_below(tmp_path / "a.vgs")
    again = run(recipe, tokenizer, tmp_path / "a.vgs", resume=True)
    assert (again.rows, again.errors, again.stages) == (first.rows, first.errors, first.stages)
    assert again.work.images == 0
    assert times_below(tmp_path / "a.vgs") == before


def test_resuming_nothing_begins(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """--resume on a path that is not there makes the store."""
    assert run(recipe, tokenizer, tmp_path / "a.vgs", resume=True).rows == ROWS


@pytest.mark.parametrize("finished", [False, True])
def test_an_existing_store_needs_resume(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, finished: bool
) -> None:
    """Without it the pass refuses, names the remedy, and touches nothing."""
    out = tmp_path / "a.vgs"
    stopped(recipe, tokenizer, out, (0, 1))
    if finished:
        run(recipe, tokenizer, out, resume=True)
    before = files_below(out)
    with pytest.raises(StoreError, match="--resume"):
        run(recipe, tokenizer, out)
    assert files_below(out) == before


def refusal(recipe: Recipe, tokenizer: Path, out: Path) -> str:
    """The one line with which resuming is refused; nothing is touched meanwhile."""
    before = files_below(out)
    with pytest.raises(InputError) as caught:
        run(recipe, tokenizer, out, resume=True)
    assert files_below(out) == before
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"chunk_rows": 5},
        pytest.param({"views": (View.CENTER,)}, marks=pytest.mark.thorough),
        pytest.param({"views": (View.FLIP, View.CENTER)}, marks=pytest.mark.thorough),
    ],
)
def test_resuming_with_another_recipe_is_refused(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    """Another chunk size, other views or their order: the store and the recipe are named."""
    stopped(recipe, tokenizer, tmp_path / "a.vgs", (1,))
    other = tiny_recipe(recipe.data.path, tokenize=replace(TOKENIZE, **change))
    line = refusal(other, tokenizer, tmp_path / "a.vgs")
    assert "a.vgs" in line
    assert "recipe" in line


@pytest.mark.parametrize("change", ["add", "remove", "grow"])
def test_resuming_with_changed_images_is_refused(
    recipe: Recipe, tokenizer: Path, tmp_path: Path, change: str
) -> None:
    """The line says that it is the images that changed, not the recipe."""
    stopped(recipe, tokenizer, tmp_path / "a.vgs", (1,))
    file = Path(recipe.data.path, "ant", "002.png")
    if change == "add":
        picture().save(file.with_name("new.png"))
    elif change == "remove":
        file.unlink()
    else:
        picture(40).save(file)
    assert "images" in refusal(recipe, tokenizer, tmp_path / "a.vgs")


def test_resuming_with_another_tokenizer_is_refused(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """The tokens of one store come from one tokenizer."""
    stopped(recipe, tokenizer, tmp_path / "a.vgs", (1,))
    write_autoencoder(tmp_path / "other", seed=1)
    assert "tokenizer" in refusal(recipe, tmp_path / "other", tmp_path / "a.vgs")


def test_a_tokenizer_of_another_shape_is_refused(
    recipe: Recipe, tokenizer: Path, tmp_path: Path
) -> None:
    """The recipe's model must be the one that was trained."""
    other = tiny_recipe(recipe.data.path, autoencoder=AutoencoderSection(model=tiny_model(8)))
    with pytest.raises(InputError, match=tokenizer.name):
        run(other, tokenizer, tmp_path / "a.vgs")
    assert not (tmp_path / "a.vgs").exists()


def test_a_missing_tokenizer_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    """A path without weights is named."""
    with pytest.raises(InputError, match="absent"):
        run(recipe, tmp_path / "absent", tmp_path / "a.vgs")


def test_the_source_is_read_as_it_is_now(recipe: Recipe, tokenizer: Path, tmp_path: Path) -> None:
    """A second pass of one process sees the classes that were added since the first."""
    run(recipe, tokenizer, tmp_path / "a.vgs")
    write_image_folder(Path(recipe.data.path), ["aardvark"], 4)
    run(recipe, tokenizer, tmp_path / "b.vgs")
    index = open_store(str(tmp_path / "b.vgs")).index.to_pylist()
    assert all(entry["class"] == entry["key"].split("/")[0] for entry in index)


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "room", "expected", "said"),
    [
        ((0, 0), 8, 0, None, (8, 40, 1), ""),  # a core each, and more as nodes join
        ((5, 0), 8, 0, None, (5, 5, 1), ""),
        ((0, 0), 16, 2, Room(80, 30), (4, 40, 2), ", 2 a GPU: each takes 0.0 of 0.0 GiB"),
        ((0, 0), 16, 2, Room(80, 60), (2, 40, 1), ", 1 a GPU: each takes 0.0 of 0.0 GiB"),
        ((0, 0), 16, 2, None, (2, 40, 1), ""),  # GPUs that torch does not see
        ((0, 3), 16, 2, None, (6, 40, 3), ", 3 a GPU"),
        ((2, 0), 16, 2, None, (2, 2, 1), ""),  # no more encoders than GPUs: nothing to share
        ((0, 0), 2, 2, None, (2, 40, 1), ""),  # no cores to decode for more
    ],
)
def test_encoders_follow_the_cluster_and_the_recipe(
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[int, int],
    cpus: int,
    gpus: int,
    room: Room | None,
    expected: tuple[int, int, int],
    said: str,
) -> None:
    """How many at first, at most and on each GPU; a GPU is measured only where it may be shared."""
    config = TokenizeConfig(encoders=asked[0], encoders_per_gpu=asked[1])
    steps: Any = SimpleNamespace(config=config)
    measured: list[Any] = []

    def measure(steps: Any) -> Room | None:
        measured.append(steps)
        return room

    monkeypatch.setattr(engine, "room_of_an_encoder", measure)
    pool, line = encoder_pool(steps, 40, cpus, gpus)
    assert (pool.size, pool.most, pool.per_gpu) == expected
    assert line == said
    shares = asked == (0, 0) and gpus > 0 and cpus > 2
    assert bool(measured) == shares


def test_a_short_pass_has_an_encoder_a_chunk() -> None:
    """No more than there are chunks."""
    steps: Any = SimpleNamespace(config=TokenizeConfig(encoders_per_gpu=4))
    pool, _ = encoder_pool(steps, 3, 16, 2)
    assert (pool.size, pool.most) == (3, 3)


@pytest.mark.parametrize(("address", "most"), [(None, 2), ("10.0.0.1:6379", 40)])
def test_only_a_cluster_that_nodes_may_join_is_asked_for_more(
    monkeypatch: pytest.MonkeyPatch, address: str | None, most: int
) -> None:
    """On this machine alone there are as many encoders as cores, and Ray looks for no other."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(engine, "start_ray", lambda address: (2, 0))
    monkeypatch.setattr(engine, "with_attempts", lambda steps: steps)
    steps: Any = SimpleNamespace(config=TokenizeConfig())
    pools: list[Pool] = []
    monkeypatch.setattr(engine, "ray_on_cpus", lambda *given: pools.append(given[2]))
    engine.run_chunks(steps, range(40), engine.Engine.RAY, address)
    assert pools == [Pool(2, 2, most)]


def test_encoders_change_no_store(
    calm_pass: tuple[Recipe, Path], tokenizer: Path, tmp_path: Path
) -> None:
    """A pass goes on with other numbers of them; the manifest does not know them."""
    recipe, whole = calm_pass
    stopped(recipe, tokenizer, tmp_path / "a.vgs", (0,))
    other = replace(recipe.tokenize, encoders=3, encoders_per_gpu=2)
    run(replace(recipe, tokenize=other), tokenizer, tmp_path / "a.vgs", resume=True)
    assert files_below(tmp_path / "a.vgs") == files_below(whole)
