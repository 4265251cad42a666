"""Which modules each verb may import: printing a table must not wait for torch."""

import json
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
PRELOADED = ("numpy", "pyarrow.parquet", "zarr", "fsspec.implementations.local")

# Words of the command line -> what it must not import.
FORBIDDEN: dict[str, set[str]] = {
    "--help": HEAVY | ARRAYS,
    "inspect --help": HEAVY | ARRAYS,
    "recipe": HEAVY | {"pyarrow", "zarr"},
    "recipe generator": HEAVY | {"pyarrow", "zarr"},
    "recipe photos": HEAVY,
    "inspect tokens.vgs": HEAVY | {"PIL"},
    "inspect tokens.vgs --row 1": HEAVY | {"PIL"},
    "inspect tokens.vgs --json": HEAVY | {"PIL"},
    "verify tokens.vgs": HEAVY | {"PIL"},
    "export tokens.vgs --format parquet --out tokens.parquet": HEAVY - {"pandas"} | {"PIL"},
    "tokenize recipe.toml --tokenizer autoencoder --out new.vgs --dry-run": HEAVY - TORCH,
    "sample generator -n 1 --png one.png": HEAVY - TORCH,
}

RUN = """
import json, os, sys
preloaded, lines = json.loads(sys.argv[1])
for name in preloaded:
    __import__(name)
from cli.app import app
for number, (line, watched) in enumerate(lines):
    if os.fork():
        os.wait()
        continue
    for file, end in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"said/{number}.{end}", os.O_WRONLY | os.O_CREAT), file)
    try:
        app(line.split(), standalone_mode=True)
    except SystemExit as done:
        code = done.code or 0
    print("LOADED", code, *[name for name in watched if name in sys.modules], flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, a recipe with its photos, an autoencoder and generators."""
    path = tmp_path_factory.mktemp("golden") / "v0.1"
    shutil.copytree(GOLDEN, path)
    return path


def said_to(
    folder: Path, lines: dict[str, set[str]], preloaded: tuple[str, ...] = ()
) -> dict[str, tuple[str, str]]:
    """What each command line says in that folder: stdout, which ends in LOADED, its exit code and
    which of the modules it has imported, and stderr.

    Each runs in a fork of an interpreter that has imported `cli.app` and what is preloaded.
    """
    shutil.rmtree(folder / "said", ignore_errors=True)
    (folder / "said").mkdir()
    told = [(line, sorted(modules)) for line, modules in lines.items()]
    subprocess.run(
        [sys.executable, "-c", RUN, json.dumps([preloaded, told])],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    files = [(folder / f"said/{n}.out", folder / f"said/{n}.err") for n in range(len(lines))]
    texts = [(out.read_text(), error.read_text()) for out, error in files]
    return dict(zip(lines, texts, strict=True))


@pytest.fixture(scope="module")
def verbs(folder: Path) -> dict[str, tuple[str, str]]:
    """What the lines of FORBIDDEN and those without a recipe say.

    What a line may import is there before, imported once for all such lines.
    """
    light = dict.fromkeys(WITHOUT, HEAVY | ARRAYS)
    arrays: dict[str, set[str]] = {}
    torch: dict[str, set[str]] = {}
    for line, modules in FORBIDDEN.items():
        group = light if {"pyarrow", "zarr"} & modules else arrays if TORCH & modules else torch
        group[line] = modules
    return {
        **said_to(folder, light),
        **said_to(folder, arrays, PRELOADED),
        **said_to(folder, torch, (*PRELOADED, "torch", "numba")),
    }


@pytest.mark.thorough
@pytest.mark.parametrize("line", FORBIDDEN)
def test_a_verb_imports_only_what_it_needs(verbs: dict[str, tuple[str, str]], line: str) -> None:
    """It succeeds, and none of the forbidden modules is loaded."""
    out, error = verbs[line]
    last = out.rstrip().splitlines()[-1] if out.strip() else error
    assert last == "LOADED 0", last


WITHOUT = [
    "train autoencoder none.toml --out run",
    "train generator none.toml --store tokens.vgs --out run",
    "tokenize none.toml --tokenizer autoencoder --out new.vgs",
    "evaluate generation generator --data none.toml",
    "init none.toml",
]


@pytest.mark.thorough
@pytest.mark.parametrize("line", WITHOUT)
def test_a_recipe_that_is_not_there_is_said_at_once(
    verbs: dict[str, tuple[str, str]], line: str
) -> None:
    """Before any library is loaded."""
    out, error = verbs[line]
    assert out.splitlines() == ["LOADED 2"]
    assert error == "nvgctl: cannot read recipe none.toml: No such file or directory\n"


MISTAKES = {  # words of the command line -> what is said of them
    "train autoencoder wrong.toml --out new": "unknown key autoencoder.model.image_sise",
    "train autoencoder photos --image-size 65 --out new": "--image-size 65 is none of",
    "train autoencoder recipe.toml --out new --set sample.topp=1": "unknown key sample.topp",
    "train autoencoder recipe.toml --out new --from none": "none does not exist",
    "train generator recipe.toml --store none.vgs --out new": "none.vgs is not a store",
    "train generator wrong.toml --store tokens.vgs --out new": "unknown key",
    "train generator recipe.toml --store tokens.vgs --out new --from none": "none does not exist",
    "tokenize photos --tokenizer none --out new.vgs": "none does not exist",
    "tokenize nowhere --tokenizer autoencoder --out new.vgs": "nowhere does not exist",
    "tokenize photos --tokenizer autoencoder --out new.vgs --views side": "tokenize.views[0]",
    "sample none": "none does not exist",
    "sample generator --png o.txt": "o.txt names no format",
    "sample generator --top-p 2": "top_p must be in (0, 1]",
    "sample generator --set sample.topp=1": "unknown key sample.topp",
    "sample generator --mask m.png": "--mask says what is done with a --reference",
    "import-weights none.pt --from nvg --out new": "none.pt does not exist",
    "evaluate reconstruction none --data photos": "none does not exist",
    "evaluate generation generator --data nowhere": "nowhere does not exist",
    "evaluate likelihood generator --store none.vgs": "none.vgs is not a store",
    "evaluate generation generator --data photos --extractor resnet": "unknown extractor 'resnet'",
    "evaluate generation generator --data photos --extractor no:thing": "there is no module no in",
    "evaluate reconstruction autoencoder --data photos --extractor vgg16": "vgg16 needs --weights",
    "evaluate reconstruction autoencoder --data photos --vgg none.pth": "none.pth is no file",
    "inspect tokens.vgs --row 1 --png o.txt": "o.txt names no format",
    "inspect tokens.vgs --html o.txt": "o.txt names no format",
    "init photos --tokenizer none": "none does not exist",
    "export tokens.vgs --format parquet --out recipe.toml/new": "recipe.toml is a file: ",
    "tokenize photos --tokenizer autoencoder --out recipe.toml/new": "recipe.toml is a file: ",
    "view none.vgs": "none.vgs is not a store",
    "inspect tokens.vgs --rows 1": "--rows needs --png or --html",
    "recipe wrong.toml": "unknown key autoencoder.model.image_sise",
}


@pytest.fixture(scope="module")
def mistakes(folder: Path) -> dict[str, tuple[str, str]]:
    """What the lines of MISTAKES say; numpy and pyarrow, which they may import, are there."""
    wrong = "[data]\nsource = 'folder'\n[autoencoder.model]\nimage_sise = 64\n"
    (folder / "wrong.toml").write_text(wrong)
    return said_to(folder, dict.fromkeys(MISTAKES, HEAVY), PRELOADED)


@pytest.mark.thorough
@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_said_without_torch(
    folder: Path, mistakes: dict[str, tuple[str, str]], line: str
) -> None:
    """One line, exit 2, nothing written, and no library was waited for."""
    out, error = mistakes[line]
    assert out.splitlines() == ["LOADED 2"]
    *_, said = error.splitlines()
    assert said.startswith("nvgctl: ")
    assert MISTAKES[line] in said
    assert not [*folder.glob("new*")]


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
