"""Compilation of kernels with and without a disk cache, and the threads that share a batch."""

import ast
import gc
import importlib
import importlib.util
import pkgutil
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numba
import numpy as np
import pytest
import torch
from numba.core.dispatcher import Dispatcher

import nvg.kernels
from nvg.kernels.jit import over_slices
from nvg.structure import build_leaves
from tests.nvg.structure.kinds import KINDS, batch_of

FOLDER = Path(nvg.kernels.__file__).parent
COPY = "copy_of_"
MODULES = [
    importlib.import_module(f"nvg.kernels.{found.name}")
    for found in pkgutil.iter_modules(nvg.kernels.__path__)
]
DISPATCHERS: dict[str, Any] = {
    f"{module.__name__.rpartition('.')[2]}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, Dispatcher) and value.__module__ == module.__name__
}


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Set the number of torch's threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def loaded(path: Path) -> ModuleType:
    """Load a file as a module that can be imported by its name, as numba's cache does."""
    spec = importlib.util.spec_from_file_location(COPY + path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kernels(tmp_path: Path) -> Iterator[Path]:
    """A copy of the kernels' sources, and a function to compile beside them."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    for file in FOLDER.glob("*.py"):
        shutil.copy(file, folder)
    (tmp_path / "twice.py").write_text("def twice(value):\n    return 2 * value\n")
    yield folder
    for name in [name for name in sys.modules if name.startswith(COPY)]:
        del sys.modules[name]


def compiled(folder: Path) -> Any:
    """The function beside a copy of the kernels, compiled by that copy."""
    function = loaded(folder / "jit.py").kernel()(loaded(folder.parent / "twice.py").twice)
    assert function(21) == 42
    return function


@pytest.mark.thorough
def test_machine_code_is_kept_on_disk(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies below NUMBA_CACHE_DIR; numba's own setting is unchanged."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert sum(compiled(kernels).stats.cache_misses.values()) == 1
    gc.collect()  # nothing of the first function is left in memory
    assert list((tmp_path / "cache").glob("nvg-*/**/*.nbi"))
    assert sum(compiled(kernels).stats.cache_hits.values()) == 1
    assert "nvg-" not in vars(numba.config)["CACHE_DIR"]


def test_without_a_setting_the_cache_lies_beside_the_kernels(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in __pycache__, which git and packaging ignore."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    compiled(kernels)
    assert list((kernels / "__pycache__").glob("nvg-*/**/*.nbi"))


def test_a_folder_that_cannot_be_written_means_no_cache(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels still compile, and leave no files in a stale folder."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert compiled(kernels).stats.cache_path is None
    assert not list(tmp_path.rglob("*.nbi"))
    assert "nvg-" not in vars(numba.config)["CACHE_DIR"]


@pytest.mark.thorough
def test_any_change_to_the_kernels_means_a_new_cache(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's name depends only on the content of all kernel files."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))

    def folder() -> str:
        return Path(compiled(kernels).stats.cache_path).relative_to(tmp_path / "cache").parts[0]

    names = [folder(), folder()]
    for file in sorted(kernels.glob("*.py")):
        with file.open("a") as text:
            text.write("# one more line\n")
        names.append(folder())
    (kernels / "another.py").write_text("MORE = 1\n")
    names.append(folder())
    assert names[0] == names[1]
    assert len(set(names)) == len(names) - 1


def names_in(code: CodeType) -> set[str]:
    """The names that a function, or one inside it, looks up."""
    inner = [names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


@pytest.mark.parametrize("function", DISPATCHERS)
def test_kernels_call_kernels_of_their_own_folder_only(function: str) -> None:
    """Functions compiled into a kernel lie in the folder whose hash names the cache."""
    python, known = DISPATCHERS[function].py_func, list(DISPATCHERS.values())
    called = [python.__globals__.get(name) for name in names_in(python.__code__)]
    assert all(one in known for one in called if isinstance(one, Dispatcher))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_kernels_take_nothing_from_the_rest_of_nvg(file: Path) -> None:
    """Constants are compiled in, so they must lie in the folder too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert all(name.startswith("nvg.kernels.") for name in names if name.startswith("nvg"))


def test_there_are_kernels_to_look_at() -> None:
    """The folder has kernels, or the tests above would check nothing."""
    assert {"chain.build", "scan.scan", "swaps.swap_pairs", "nearest.search"} <= set(DISPATCHERS)


def test_every_kernel_releases_the_lock() -> None:
    """Every kernel releases the GIL, since threads run slices in parallel."""
    assert all(one.targetoptions["nogil"] for one in DISPATCHERS.values())


def product_less(x: float, y: float, z: float) -> float:
    return x * y - z


def quotient(x: float, y: float) -> float:
    return x / y


def test_floats_are_strict_and_follow_numpy(kernels: Path) -> None:
    """A product is rounded before it is used, and a division by zero is infinite."""
    kernel = loaded(kernels / "jit.py").kernel
    x = 1 + 2.0**-30
    assert kernel()(product_less)(x, x, x * x) == 0.0
    assert kernel()(quotient)(1.0, 0.0) == np.inf


def test_without_threads_the_caller_runs_everything(set_threads: Callable[[int], None]) -> None:
    """One thread runs one slice, in the calling thread."""
    set_threads(1)
    seen = []
    over_slices(lambda part: seen.append((part, threading.get_ident())), 50)
    assert seen == [(slice(0, 50), threading.get_ident())]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_slices_cover_every_index_once(threads: int, set_threads: Callable[[int], None]) -> None:
    """For all counts, slices cover the batch once, none is empty, and threads are limited."""
    set_threads(threads)
    for count in range(1, 51):
        seen: list[tuple[int, int, int]] = []

        def note(part: slice, seen: list[tuple[int, int, int]] = seen) -> None:
            seen.append((part.start, part.stop, threading.get_ident()))

        over_slices(note, count)
        assert [i for start, stop, _ in sorted(seen) for i in range(start, stop)] == [*range(count)]
        assert all(start < stop for start, stop, _ in seen)
        assert len({worker for _, _, worker in seen}) <= threads


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_in_a_slice_reaches_the_caller(
    threads: int, set_threads: Callable[[int], None]
) -> None:
    """An error in a slice propagates, and the pool still works."""
    set_threads(threads)

    def fail(part: slice) -> None:
        if part.start <= 7 < part.stop:
            raise KeyError("the seventh")

    with pytest.raises(KeyError, match="the seventh"):
        over_slices(fail, 20)
    done: list[slice] = []
    over_slices(done.append, 20)
    assert sum(part.stop - part.start for part in done) == 20


def test_several_callers_share_the_threads(set_threads: Callable[[int], None]) -> None:
    """Calls from four Python threads at once each run exactly their own slices."""
    set_threads(2)
    barrier = threading.Barrier(4)

    def sums(caller: int) -> list[int]:
        barrier.wait(timeout=60)
        found = []
        for count in range(1, 60):
            parts: list[slice] = []
            over_slices(parts.append, count + caller)
            found.append(sum(part.stop - part.start for part in parts))
        return found

    with ThreadPoolExecutor(4) as callers:
        found = list(callers.map(sums, range(4)))
    assert found == [[count + caller for count in range(1, 60)] for caller in range(4)]


def test_kernels_of_several_callers_do_not_disturb_each_other(
    set_threads: Callable[[int], None],
) -> None:
    """Leaves built from six Python threads at once equal those built sequentially."""
    set_threads(2)
    batches = [torch.from_numpy(batch_of(kind, 1, 16, 64, 8)) for kind in KINDS]
    expected = [build_leaves(batch).tolist() for batch in batches]
    with ThreadPoolExecutor(6) as callers:
        for _ in range(5):
            assert [one.tolist() for one in callers.map(build_leaves, batches)] == expected
