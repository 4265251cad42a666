"""Which modules each verb may import: printing a table must not wait for torch."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/v0.1"

# Libraries that take from 0.2 to 5 s to import.
HEAVY = {
    "torch",
    "torch.distributed.fsdp",
    "numba",
    "ray",
    "faiss",
    "sklearn",
    "matplotlib",
    "timm",
    "datasets",
    "scipy",
    "pandas",
}
TORCH = {"torch", "numba", "scipy", "pandas"}  # scipy and pandas come with the two others
ARRAYS = {"numpy", "pyarrow", "zarr", "PIL"}

# Words of the command line -> what it must not import.
FORBIDDEN: dict[str, set[str]] = {
    "--help": HEAVY | ARRAYS,
    "inspect --help": HEAVY | ARRAYS,
    "inspect tokens.vgs": HEAVY | {"PIL"},
    "inspect tokens.vgs --row 1": HEAVY | {"PIL"},
    "inspect tokens.vgs --json": HEAVY | {"PIL"},
    "verify tokens.vgs": HEAVY | {"PIL"},
    "export tokens.vgs --format parquet --out tokens.parquet": HEAVY - {"pandas"} | {"PIL"},
    "tokenize recipe.toml --tokenizer autoencoder --out new.vgs --dry-run": HEAVY - TORCH,
    "sample generator -n 1 --png one.png": HEAVY - TORCH,
}

RUN = """
import sys
from cli.app import app
try:
    app(sys.argv[2:], standalone_mode=True)
except SystemExit as done:
    code = done.code or 0
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
print("LOADED", code, *loaded)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a recipe with its photos, an autoencoder and generators."""
    path = tmp_path_factory.mktemp("golden") / "v0.1"
    shutil.copytree(GOLDEN, path)
    return path


@pytest.mark.thorough
@pytest.mark.parametrize("line", FORBIDDEN)
def test_a_verb_imports_only_what_it_needs(folder: Path, line: str) -> None:
    """It succeeds, and none of the forbidden modules is loaded."""
    names = ",".join(sorted(FORBIDDEN[line]))
    run = subprocess.run(
        [sys.executable, "-c", RUN, names, *line.split()],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = run.stdout.rstrip().splitlines()[-1] if run.stdout.strip() else run.stderr
    assert last == "LOADED 0", last


@pytest.mark.parametrize(
    "line",
    [
        "train autoencoder none.toml --out run",
        "train generator none.toml --store tokens.vgs --out run",
        "tokenize none.toml --tokenizer autoencoder --out new.vgs",
        "evaluate generation generator --data none.toml",
        "init none.toml",
    ],
)
def test_a_recipe_that_is_not_there_is_said_at_once(folder: Path, line: str) -> None:
    """Before any library is loaded."""
    run = subprocess.run(
        [sys.executable, "-c", RUN, ",".join(sorted(HEAVY | ARRAYS)), *line.split()],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.splitlines() == ["LOADED 2"]
    assert run.stderr == "nvgctl: cannot read recipe none.toml: No such file or directory\n"


def test_a_latin_1_terminal_shows_a_summary(folder: Path) -> None:
    """Characters that it does not have are marked; nothing crashes."""
    code = (
        "import sys\nsys.argv = ['nvgctl', 'inspect', 'tokens.vgs']\n"
        "sys.stdout.isatty = lambda: True\nfrom cli.app import main\nmain()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONIOENCODING": "latin-1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        encoding="latin-1",
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "finished" in run.stdout
