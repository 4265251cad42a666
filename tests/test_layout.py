"""The house rules as assertions: direction of imports, circles, legend, places, sizes, tests."""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from tests.doc_rules import package_table
from tests.layout_rules import (
    Sources,
    arrows_back,
    circles,
    disorder,
    import_graph,
    imported_packages,
    imports_of,
    legend_clashes,
    long_ones,
    mirror_of,
    module_of,
    outside_functions,
    package_of,
    parsed,
    project_legend,
    undocumented,
)

# Package -> the packages it may import, lowest first; a package imports only what stands above it.
# The files at the root of nvg/ are open to all, and import one another only.
PACKAGES: dict[str, set[str]] = {
    "nvg": set(),
    "nvg.fetch": set(),
    "nvg.kernels": set(),
    "nvg.structure": {"nvg.kernels"},
    "nvg.quantizer": {"nvg.kernels"},
    "nvg.generator": set(),
    "nvg.pretrained": set(),
    "nvg.parts": set(),
    "nvg.format": {"nvg.parts"},
    "nvg.store": {"nvg.parts", "nvg.format"},
    "nvg.compose": {"nvg.parts", "nvg.format", "nvg.store"},
    "nvg.tokenizer": {"nvg.fetch", "nvg.structure", "nvg.quantizer"},
    "nvg.loader": {"nvg.fetch", "nvg.parts", "nvg.format", "nvg.store"},
    "nvg.metrics": {"nvg.quantizer", "nvg.generator", "nvg.tokenizer", "nvg.pretrained"},
    "nvg.sampling": {
        "nvg.fetch",
        "nvg.quantizer",
        "nvg.generator",
        "nvg.tokenizer",
        "nvg.format",
        "nvg.store",
    },
    "nvg.view": {"nvg.structure", "nvg.quantizer", "nvg.tokenizer", "nvg.format", "nvg.store"},
}
LIBRARY = [*PACKAGES, "nvg.training", "nvg.training.autoencoder", "nvg.training.generator"]
PACKAGES |= {
    "nvg.training": set(LIBRARY[:16]),
    "nvg.training.autoencoder": set(LIBRARY[:17]),
    "nvg.training.generator": set(LIBRARY[:17]),
    "pipeline.recipe": set(LIBRARY),
    "pipeline.sources": {*LIBRARY, "pipeline.recipe"},
    "pipeline.images": {*LIBRARY, "pipeline.recipe", "pipeline.sources"},
    "pipeline": {*LIBRARY, "pipeline.recipe", "pipeline.sources", "pipeline.images"},
}
PACKAGES |= {"pipeline.packing": set(PACKAGES)}
PACKAGES |= {"pipeline.sampling": set(PACKAGES)}
PACKAGES |= {"pipeline.studio": set(PACKAGES)}
PACKAGES |= {"pipeline.evaluation": set(PACKAGES)}
PACKAGES |= {"pipeline.tokenize": set(PACKAGES)}
PACKAGES |= {"cli": set(PACKAGES)}
for _package in PACKAGES.keys() - {"nvg"}:
    PACKAGES[_package].add("nvg")

# Source file -> the test file that covers it, where that is not tests/<package>/test_<stem>.py.
COVERED_BY = {
    "cli/evaluate.py": "tests/cli/test_app.py",
    "cli/sample.py": "tests/cli/test_app.py",
    "cli/train.py": "tests/cli/test_app.py",
    "nvg/kernels/nearest.py": "tests/nvg/quantizer/test_nearest.py",
    "nvg/quantizer/config.py": "tests/nvg/quantizer/test_codebook.py",
    "pipeline/run_weights.py": "tests/pipeline/evaluation/test_likelihood.py",
    "pipeline/sampling/batches.py": "tests/pipeline/sampling/test_sample.py",
    "pipeline/tokenize/dataset.py": "tests/pipeline/tokenize/test_engine.py",
}
MAX_EXCEPTIONS = 8

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("nvg", "pipeline", "cli")
TOP_LEVEL = {*ROOMS, "datasets", "tests", "docs"}  # hidden folders such as .ci are free
RAY_FILES = {"pipeline/cluster.py", "pipeline/tokenize/ray_steps.py"}
BINS = {"utils", "util", "common", "helpers"}
MAX_FILES = 16  # of a package, __init__ not counted
MAX_FILE_LINES, MAX_FUNCTION_LINES = 300, 60


def python_files(*folders: str) -> Sources:
    """The Python files below these folders, by their paths from the root."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}


SOURCES = python_files(*ROOMS)
TESTS = python_files("tests")
LEGEND = project_legend((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_imports_flow_one_way() -> None:
    """Every package imports only what PACKAGES allows it, also inside functions."""
    assert disorder(PACKAGES) == []
    assert {package_of(file) for file in SOURCES} == set(PACKAGES), "PACKAGES lists every package"
    assert arrows_back(import_graph(SOURCES), PACKAGES) == []


def test_no_files_import_in_a_circle() -> None:
    """Not even inside functions."""
    assert circles(import_graph(SOURCES)) == []


def test_the_architecture_page_has_these_packages() -> None:
    """docs/ARCHITECTURE.md tells a reader the packages in this order, and what each may import."""
    table = package_table((ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert list(table.items()) == list(PACKAGES.items())


@pytest.mark.thorough
def test_a_letter_means_one_thing() -> None:
    """The shape suffixes of every file are those of the legend in CONTRIBUTING."""
    assert len(LEGEND) > 20
    assert legend_clashes(SOURCES | TESTS, LEGEND) == []


def test_planted_faults_are_found() -> None:
    """A circle inside a function, an arrow back and a clash of letters, each with its place."""
    planted = {
        **SOURCES,
        "nvg/store/lock.py": SOURCES["nvg/store/lock.py"]
        + "\ndef f() -> None:\n    import nvg.store.repair\n",
        "nvg/store/repair.py": SOURCES["nvg/store/repair.py"] + "\nimport nvg.store.lock\n",
        "nvg/quantizer/usage.py": "import nvg.tokenizer.config\n",
        "nvg/geometry.py": '"""Geometry.\n\nLegend: B image of a batch, N row.\n"""\n',
    }
    graph = import_graph(planted)
    (circle,) = [way for way in circles(graph) if "nvg/store/lock.py" in way]
    assert circle.startswith("nvg/store/lock.py:")
    assert circle.endswith(" -> nvg/store/lock.py")
    assert "nvg/store/repair.py:" in circle
    (arrow,) = arrows_back(graph, PACKAGES)
    assert arrow.startswith("nvg/quantizer/usage.py:1 imports nvg/tokenizer/config.py")
    (clash,) = legend_clashes(planted, LEGEND)
    assert clash.startswith("nvg/geometry.py: N is 'row' there")


def test_ray_stays_in_two_files() -> None:
    """Every stage but the engine is a plain function that runs without a cluster."""
    wrong = [
        f"{file}:{line}"
        for file, text in SOURCES.items()
        for line, package in imported_packages(ast.walk(parsed(text)))
        if package == "ray" and file not in RAY_FILES
    ]
    assert wrong == []


def test_every_package_is_installed() -> None:
    """An install that is not editable has them all."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    files = (file for top in ("cli", "nvg", "pipeline") for file in (ROOT / top).rglob("*.py"))
    found = {".".join(file.parent.relative_to(ROOT).parts) for file in files}
    assert sorted(settings["tool"]["setuptools"]["packages"]) == sorted(found)


def test_packages_stay_small() -> None:
    """A reader sees a package at a glance."""
    counts = Counter(package_of(file) for file in SOURCES if not file.endswith("__init__.py"))
    assert {name: count for name, count in counts.items() if count > MAX_FILES} == {}


def test_datasets_holds_no_python() -> None:
    """A package called datasets at the root would shadow Hugging Face's library."""
    assert python_files("datasets") == {}


def test_no_file_is_named_after_nothing() -> None:
    """A function in utils.py is one nobody finds: it belongs where its subject is."""
    wrong = [f for f in SOURCES | TESTS if BINS & set(PurePosixPath(f).with_suffix("").parts)]
    assert wrong == []


def test_the_top_level_is_closed() -> None:
    """Only the known folders are tracked; ignored and untracked ones are a user's own."""
    command = ["git", "ls-files", "-z"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0 or not run.stdout:
        pytest.skip("not a git checkout, so nothing tells tracked folders from others")
    folders = {path.partition("/")[0] for path in run.stdout.split("\0") if "/" in path}
    assert {name for name in folders - TOP_LEVEL if not name.startswith(".")} == set()


def test_every_source_file_has_its_test_file() -> None:
    """tests/<package>/test_<stem>.py, or the file that the short table COVERED_BY names."""
    files = [f for f in SOURCES if Path(f).stem not in ("__init__", "__main__")]
    lost = [f for f in files if not (ROOT / COVERED_BY.get(f, mirror_of(f))).is_file()]
    assert lost == []
    assert len(COVERED_BY) <= MAX_EXCEPTIONS
    assert set(COVERED_BY) <= set(SOURCES), "COVERED_BY names files that are not there"
    assert [f for f in COVERED_BY if (ROOT / mirror_of(f)).is_file()] == [], (
        "needless in COVERED_BY"
    )


@pytest.mark.thorough
def test_no_test_imports_another() -> None:
    """What several need is a fixture of a conftest.py, or a maker."""
    modules = {module_of(file): file for file in TESTS}
    wrong = [
        f"{file}:{line} imports {module}"
        for file, text in TESTS.items()
        for line, module in imports_of(parsed(text), set(modules))
        if PurePosixPath(modules[module]).name.startswith("test_")
    ]
    assert wrong == []


@pytest.mark.thorough
def test_files_and_functions_stay_short() -> None:
    """What is longer has a seam: split it there."""
    assert long_ones(SOURCES | TESTS, MAX_FILE_LINES, MAX_FUNCTION_LINES) == []


def test_public_names_have_docstrings() -> None:
    """A reader learns from `help(nvg.<module>)` what each part is for."""
    assert undocumented({f: text for f, text in SOURCES.items() if f.startswith("nvg/")}) == []


def test_the_command_line_imports_nothing_heavy_at_once() -> None:
    """Heavy libraries are imported inside the verb that needs them."""
    heavy = {"torch", "ray", "faiss", "sklearn"}
    tree = parsed(SOURCES["cli/app.py"])
    assert not heavy & {package for _, package in imported_packages(outside_functions(tree))}
    code = f"import sys, cli.app; print(*sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr


def test_a_main_guard_is_the_last_statement() -> None:
    """What stands below it does not exist yet when the file is run."""
    wrong = [
        file
        for file, text in (SOURCES | TESTS).items()
        if "__main__" in text
        for node in parsed(text).body[:-1]
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
    ]
    assert wrong == []
