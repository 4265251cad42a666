"""The house rules as assertions: direction of imports, places, sizes, tests, docstrings."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

# Source file -> the test file that covers it, where that is not tests/test_<stem>.py.
COVERED_BY: dict[str, str] = {
    "nvg/store_layout.py": "tests/test_store.py",
    "nvg/image_batch.py": "tests/test_train_autoencoder.py",
    "nvg/generator_config.py": "tests/test_learner.py",
    "nvg/objective.py": "tests/test_train_generator.py",
    "nvg/epoch.py": "tests/test_loader_resume.py",
    "nvg/preload.py": "tests/test_tokens.py",
    "cli/options.py": "tests/test_app_help.py",
    "cli/sample.py": "tests/test_sampling.py",
    "nvg/guidance.py": "tests/test_sampler.py",
    "cli/train.py": "tests/test_app.py",
    "nvg/alignment.py": "tests/test_features.py",
    "nvg/autoencoder_config.py": "tests/test_autoencoder.py",
    "nvg/convolutional.py": "tests/test_autoencoder.py",
    "nvg/dead_codes.py": "tests/test_autoencoder_learner.py",
    "nvg/vision.py": "tests/test_features.py",
    "pipeline/inspect.py": "tests/test_inspection.py",
    "pipeline/steps.py": "tests/test_cluster.py",
    "pipeline/offline.py": "tests/test_run.py",
    "pipeline/sources/base.py": "tests/test_sources.py",
    "pipeline/sources/digits.py": "tests/test_sources.py",
    "pipeline/sources/folder.py": "tests/test_sources.py",
    "pipeline/sources/huggingface.py": "tests/test_sources_parquet.py",
    "pipeline/sources/manifest.py": "tests/test_sources_listed.py",
    "pipeline/sources/webdataset.py": "tests/test_sources_listed.py",
}

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("nvg", "pipeline", "cli")
TOP_LEVEL = {*ROOMS, "datasets", "tests", "docs"}  # hidden folders such as .ci are free
FORBIDDEN = {"nvg": {"pipeline", "cli", "ray"}, "pipeline": {"cli"}, "cli": set[str]()}
RAY_FILE = "pipeline/run.py"
HEAVY = {"torch", "ray", "faiss", "sklearn"}  # each adds a noticeable wait to `nvgctl --help`
BINS = {"utils", "util", "common", "helpers"}
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[str]:
    """The Python files below these folders, as paths from the root."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


SOURCES = python_files(*ROOMS)
ALL_PYTHON = python_files(*ROOMS, "tests")


def parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=file)


def imported_names(node: ast.AST) -> list[str]:
    """The top-level packages this statement imports; a relative import stays in its own."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        return [node.module.partition(".")[0]]
    return []


def imports(nodes: Iterable[ast.AST], packages: set[str]) -> list[str]:
    """'line 7: ray' for every import of one of the packages among the nodes."""
    return [
        f"line {getattr(node, 'lineno', 0)}: {name}"
        for node in nodes
        for name in imported_names(node)
        if name in packages
    ]


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, Function | ast.Lambda):
            yield child
            yield from outside_functions(child)


def is_source_to_test(file: str) -> bool:
    return Path(file).stem not in {"__init__", "__main__"}


def public_definitions(tree: ast.Module) -> Iterator[Function | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_sources(room: str) -> None:
    """The tests below take their files from the rooms: with none they would pass unseen."""
    assert python_files(room), f"{room}/ holds no Python file"


@pytest.mark.parametrize("file", SOURCES)
def test_imports_flow_one_way(file: str) -> None:
    """cli -> pipeline -> nvg, never back."""
    room = file.partition("/")[0]
    wrong = imports(ast.walk(parse(file)), FORBIDDEN[room])
    assert not wrong, f"{file}: {room} must not import {wrong}"


@pytest.mark.parametrize("file", [file for file in SOURCES if file != RAY_FILE])
def test_ray_stays_in_one_file(file: str) -> None:
    """Every stage but the engine is a plain function that runs without a cluster."""
    wrong = imports(ast.walk(parse(file)), {"ray"})
    assert not wrong, f"{file}: only {RAY_FILE} may import ray, found {wrong}"


def test_the_command_line_imports_nothing_heavy_at_once() -> None:
    """Heavy libraries are imported inside the verb that needs them."""
    wrong = imports(outside_functions(parse("cli/app.py")), HEAVY)
    assert not wrong, f"cli/app.py: import these inside the verb: {wrong}"


def test_the_command_line_loads_nothing_heavy() -> None:
    """The same through every module that cli/app.py imports: `nvgctl --help` stays instant."""
    code = f"import sys, cli.app; print(*sorted({HEAVY} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"`import cli.app` failed:\n{run.stderr}"
    assert not run.stdout.split(), f"importing cli.app also loads {run.stdout.split()}"


def test_datasets_holds_no_python() -> None:
    """A package called datasets at the root would shadow Hugging Face's library."""
    wrong = python_files("datasets")
    assert not wrong, f"datasets/ is for TOML recipes, move {wrong}"


@pytest.mark.parametrize("file", ALL_PYTHON)
def test_no_file_is_named_after_nothing(file: str) -> None:
    """A function in utils.py is one nobody finds: it belongs where its subject is."""
    wrong = BINS & set(Path(file).with_suffix("").parts)
    assert not wrong, f"{file}: name it after what it does, not {wrong}"


def test_the_top_level_is_closed() -> None:
    """Only the known folders are tracked; ignored and untracked ones are a user's own."""
    command = ["git", "ls-files", "-z"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0 or not run.stdout:
        pytest.skip("not a git checkout, so nothing tells tracked folders from others")
    folders = {path.partition("/")[0] for path in run.stdout.split("\0") if "/" in path}
    wrong = {name for name in folders - TOP_LEVEL if not name.startswith(".")}
    assert not wrong, f"folders at the root outside {sorted(TOP_LEVEL)}: {sorted(wrong)}"


@pytest.mark.parametrize("file", [file for file in SOURCES if is_source_to_test(file)])
def test_every_source_file_has_its_test_file(file: str) -> None:
    """tests/test_<stem>.py, or the file that COVERED_BY names."""
    test = COVERED_BY.get(file, f"tests/test_{Path(file).stem}.py")
    assert (ROOT / test).is_file(), f"{file}: no {test}; write it, or name another in COVERED_BY"


def test_the_table_of_exceptions_is_true() -> None:
    """COVERED_BY names files that exist, and none that has a test file of its own."""
    unknown = sorted(set(COVERED_BY) - set(SOURCES))
    needless = [f for f in COVERED_BY if (ROOT / f"tests/test_{Path(f).stem}.py").is_file()]
    assert not unknown, f"COVERED_BY names files that are not there: {unknown}"
    assert not needless, f"COVERED_BY names files with a test file of their own: {needless}"


@pytest.mark.parametrize("file", ALL_PYTHON)
def test_files_and_functions_stay_short(file: str) -> None:
    """What is longer has a seam: split it there."""
    lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{file}: {lines} lines, at most {MAX_FILE_LINES}"
    functions = [node for node in ast.walk(parse(file)) if isinstance(node, Function)]
    sizes = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions]
    wrong = [f"{name}: {size}" for name, size in sizes if size > MAX_FUNCTION_LINES]
    assert not wrong, f"{file}: functions over {MAX_FUNCTION_LINES} lines: {wrong}"


@pytest.mark.parametrize("file", python_files("nvg"))
def test_public_names_of_the_library_have_docstrings(file: str) -> None:
    """A reader learns from `help(nvg.<module>)` what each part is for."""
    wrong = [node.name for node in public_definitions(parse(file)) if not ast.get_docstring(node)]
    assert not wrong, f"{file}: no docstring on {wrong}"
