"""Storage that fails just now is no damage: nothing is withdrawn, the remedy is to try again."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nvg.errors import WorkError
from nvg.format.damage import DamageError, reading
from nvg.loader.token_reader import TokenReader
from nvg.store import Store, open_store, open_writer
from nvg.store.repair import damaged_weights, withdraw_damaged
from tests.nvg.store.makers import make_plain_store


class ClientError(Exception):
    """What a network client of no common base raises."""


FAILURES = [
    OSError(5, "Input/output error"),
    PermissionError("denied"),
    TimeoutError("timed out"),
    ConnectionResetError("reset by peer"),
    ClientError("503 Slow Down"),
]


@pytest.fixture
def path() -> str:
    """A finished store in memory."""
    path = f"memory://{uuid.uuid4()}/a.vgs"
    make_plain_store(path)
    return path


def fail_at(monkeypatch: pytest.MonkeyPatch, part: str, error: Exception) -> None:
    """From now on reading a file whose path has this part raises the error."""
    read = MemoryFileSystem.cat_file

    def cat_file(fs: MemoryFileSystem, path: str, *rest: Any, **options: Any) -> bytes:
        if part in path:
            raise error
        return read(fs, path, *rest, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)


def verify(store: Store) -> object:
    """Every check of a store."""
    return store.verify()


def read_tokens(store: Store) -> object:
    """What the loader reads."""
    reader = TokenReader(store)
    return reader.read(reader.pieces[1:2])


@pytest.mark.thorough
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("part", ["leaves/c/1", "commits/00001.json", "index.parquet"])
def test_failing_storage_withdraws_nothing(
    path: str, part: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line with the remedy; every chunk stays committed and the store finished."""
    with monkeypatch.context() as patch:
        fail_at(patch, part, error)
        with pytest.raises(
            WorkError, match=r"a\.vgs cannot be read just now .*try again"
        ) as caught:
            withdraw_damaged(open_writer(path))
    assert len(str(caught.value).splitlines()) == 1
    store = open_store(path)
    assert (store.finished, store.committed(), store.verify()) == (True, [0, 1, 2], [])


@pytest.mark.parametrize(
    ("use", "part"),
    [
        (damaged_weights, "tokenizer.safetensors"),
        (read_tokens, "leaves/c/1"),
    ],
)
def test_failing_storage_is_no_damage(
    path: str, use: Callable[[Store], object], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do weights and the loader call it that."""
    store = open_store(path)
    fail_at(monkeypatch, part, TimeoutError("timed out"))
    with pytest.raises(WorkError, match="TimeoutError: timed out"):
        use(store)


@pytest.mark.parametrize("part", ["content/c/1", "index.parquet", "/tokenizer.safetensors"])
def test_verify_names_what_cannot_be_read_and_checks_the_rest(
    path: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line for it beside the other faults, and no commit is withdrawn."""
    store = open_store(path)
    store.fs.rm_file(f"{store.root}/detokenizer.safetensors")
    fail_at(monkeypatch, part, TimeoutError("timed out"))
    faults = store.verify()
    assert "detokenizer.safetensors is missing" in faults
    assert len([fault for fault in faults if "cannot be read just now (TimeoutError" in fault]) == 1
    assert store.committed() == [0, 1, 2]


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), RecursionError("deep")])
def test_a_machine_at_its_end_is_no_damage(error: Exception) -> None:
    """Blosc raises RuntimeError, and so do threads, sessions and recursion."""
    with pytest.raises(WorkError, match="cannot be read just now"), reading("a.vgs"):
        raise error


@pytest.mark.parametrize(
    "error",
    [ValueError("crc"), RuntimeError("error during blosc decompression: -1"), KeyError("sha256")],
)
def test_what_codecs_raise_is_damage(error: Exception) -> None:
    """As is a lost file; the reason is kept in one line."""
    for cause in (error, FileNotFoundError("lost\nfor good")):
        with pytest.raises(DamageError) as caught, reading("a.vgs"):
            raise cause
        assert type(cause).__name__ not in str(caught.value)
        assert str(cause).splitlines()[0] in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
