"""`--resume` repairs what `verify` names: the store ends equal to one that was never disturbed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nvg.format import manifest
from nvg.store import StoreWriter, open_store, open_writer
from nvg.store.repair import damaged_weights, withdraw_damaged
from nvg.store.shard_writer import ShardedWriter
from pipeline.recipe import Recipe
from pipeline.tokenize.dataset import PassMode, tokenize_dataset
from pipeline.tokenize.engine import Engine
from tests.makers import files_below, tiny_recipe, write_image_folder
from tests.nvg.store.makers import chunk_file, flip, flip_chunk
from tests.nvg.tokenizer.makers import write_autoencoder


@pytest.fixture(scope="module", params=[1, 2])
def template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Recipe, Path]:
    """A recipe over twelve images, one of them bad, and the folder of tokenizer and store.

    The store is of either version; of version 2 its three chunks lie in two shards.
    """
    folder = tmp_path_factory.mktemp("repair")
    write_image_folder(folder / "images")
    (folder / "images" / "bee" / "001.jpg").write_bytes(b"no image")
    write_autoencoder(folder / "run")
    recipe = tiny_recipe(folder / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "SHARD_ROWS", 8)
        if request.param == 1:
            patch.setattr(manifest.Manifest, "sharded", lambda self: self)
        resume(recipe, folder / "tokens.vgs")
    return recipe, folder


@pytest.fixture
def made(template: tuple[Recipe, Path], tmp_path: Path) -> tuple[Recipe, Path]:
    """The recipe, and a copy of its finished store of three chunks."""
    recipe, folder = template
    for name in ("run", "tokens.vgs"):
        shutil.copytree(folder / name, tmp_path / name)
    return recipe, tmp_path / "tokens.vgs"


def resume(recipe: Recipe, out: Path) -> None:
    """`nvgctl tokenize --resume`."""
    tokenize_dataset(recipe, out.parent / "run", str(out), Engine.INLINE, PassMode.RESUME)


def index_file(store: Path) -> Path:
    """The index, or its first part."""
    whole = store / "index.parquet"
    return whole if whole.exists() else store / "index" / "00000.parquet"


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit in leaves": lambda store: flip_chunk(store, "leaves", 1),
    "a flipped bit in content": lambda store: flip_chunk(store, "content", 0),
    "a flipped bit in labels": lambda store: flip_chunk(store, "label", 2),
    "a deleted file": lambda store: chunk_file(store, "leaves", 1).unlink(),
    "all chunks of an array": lambda store: shutil.rmtree(store / "content" / "c"),
    "a lost commit record": lambda store: (store / "commits" / "00000.json").unlink(),
    "a damaged commit record": lambda store: flip(store / "commits" / "00000.json"),
    "an empty commit record": lambda store: (store / "commits" / "00000.json").write_bytes(b""),
    "a damaged index": lambda store: flip(index_file(store)),
    "an empty index": lambda store: index_file(store).write_bytes(b""),
    "a damaged weights file": lambda store: flip(store / "tokenizer.safetensors"),
    "a lost weights file": lambda store: (store / "detokenizer.safetensors").unlink(),
}
COUNTS = "chunks.parquet"


def test_half_written_files_are_swept(made: tuple[Recipe, Path]) -> None:
    """What killed writers leave beside the files they were writing, zarr's and our own, goes."""
    recipe, out = made
    before = files_below(out)
    beside = chunk_file(out, "leaves", 1)
    beside.with_name("0.1b2c.partial").write_bytes(b"half")
    (out / "commits" / "00001.json.1b2c.tmp").write_bytes(b"half")
    resume(recipe, out)
    assert files_below(out) == before


def test_what_waits_for_a_finished_store_is_swept(made: tuple[Recipe, Path]) -> None:
    """A kill between a whole, or a joined index, and the removal of its parts leaves them."""
    recipe, out = made
    before = files_below(out)
    store = open_writer(str(out))
    if isinstance(store, ShardedWriter):
        store._let_wait(1)
    else:
        store.write_index_part(1, store.index.slice(0, 1))
    assert files_below(out) != before
    resume(recipe, out)
    assert files_below(out) == before


def test_a_pass_ends_without_files_of_lost_workers(made: tuple[Recipe, Path]) -> None:
    """A worker that dies while others go on leaves half a file: the end of the pass removes it."""
    _, out = made
    before = files_below(out)
    store = open_writer(str(out))
    unfinish(store)
    chunk_file(out, "leaves", 1).with_name("0.1b2c.partial").write_bytes(b"half")
    store.finish()
    assert files_below(out) == before


def unfinish(store: StoreWriter) -> None:
    """As it was before the end of the pass."""
    if not isinstance(store, ShardedWriter):
        for chunk in store.committed():
            store.write_index_part(chunk, store.index_part(chunk))
    store.reopen()


@pytest.mark.parametrize("way", ["flip", "delete"])
def test_damaged_counts_are_made_again(made: tuple[Recipe, Path], way: str) -> None:
    """Only a store of version 2 has the file."""
    recipe, out = made
    before = files_below(out)
    if COUNTS not in before:
        return
    flip(out / COUNTS) if way == "flip" else (out / COUNTS).unlink()
    assert [COUNTS in fault for fault in faults(out)] == [True]
    resume(recipe, out)
    assert files_below(out) == before


@pytest.mark.thorough
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_finished_store_is_repaired(made: tuple[Recipe, Path], kind: str) -> None:
    """After the damage `verify` objects; after --resume all files are what they were."""
    recipe, out = made
    before = files_below(out)
    DAMAGE[kind](out)
    assert faults(out) != []
    resume(recipe, out)
    assert files_below(out) == before
    assert faults(out) == []


def faults(out: Path) -> list[str]:
    return open_store(str(out)).verify()


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [kind for kind in DAMAGE if "index" not in kind])
def test_an_unfinished_store_is_repaired(made: tuple[Recipe, Path], kind: str) -> None:
    """The same where the pass was not over yet."""
    recipe, out = made
    before = files_below(out)
    store = open_writer(str(out))
    unfinish(store)
    store.withdraw(2)
    for left in ("index.parquet", "commits/00002.parquet"):
        (out / left).unlink(missing_ok=True)
    DAMAGE[kind](out)
    resume(recipe, out)
    assert files_below(out) == before


def test_only_damaged_chunks_are_made_again(
    made: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An intact store is read and left alone; of a damaged one the named chunk alone is written."""
    recipe, out = made
    written: list[int] = []
    kind = type(open_writer(str(out)))
    write_chunk = kind.write_chunk

    def spy(store: StoreWriter, chunk: int, *rest: object) -> None:
        written.append(chunk)
        write_chunk(store, chunk, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "write_chunk", spy)
    resume(recipe, out)
    assert written == []
    assert "damaged" not in caplog.text
    flip_chunk(out, "content", 1)
    resume(recipe, out)
    assert written == [1]
    assert "writing damaged chunks again: 1" in caplog.text


@pytest.mark.thorough
def test_a_kill_while_withdrawing_costs_nothing(
    made: tuple[Recipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before any of its steps, the next --resume repairs the store all the same."""
    recipe, out = made
    before = files_below(out)
    kind = type(open_writer(str(out)))
    own = ("_let_wait", "reopen", "_remove") if kind is ShardedWriter else ()
    for step in own or ("write_index_part", "reopen", "withdraw"):
        flip_chunk(out, "leaves", 1)
        with monkeypatch.context() as patch:
            patch.setattr(kind, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                withdraw_damaged(open_writer(str(out)))
        resume(recipe, out)
        assert files_below(out) == before


def test_damage_is_named(made: tuple[Recipe, Path]) -> None:
    """The numbers of the withdrawn chunks, and the weights that are not the manifest's."""
    _, out = made
    assert damaged_weights(open_store(str(out))) == []
    flip_chunk(out, "leaves", 0)
    flip(out / "tokenizer.safetensors")
    store = open_writer(str(out))
    assert damaged_weights(store) == ["tokenizer.safetensors"]
    assert withdraw_damaged(store) == [0]
    assert store.committed() == [1, 2]
